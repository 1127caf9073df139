// A node by script, behind the client's own ports: it keeps what it was sent and says what the test tells it to say.
// Time stands still unless the test moves it, and chance always gives the middle.
import { HeddleError } from "@heddle/kernel";
import {
  encodeErrorReply,
  encodeReply,
  FrameSplitter,
  frameOffset,
  helloBodyOffset,
  newAppendView,
  preface,
  protocolVersion,
  readAppendBody,
  readHello,
  readU32,
  readU48,
  receiptFrameBytes,
  replyKind,
  requestFlags,
  requestKind,
  TextCache,
  writeReceiptFrame,
} from "@heddle/protocol/internal";
import { Heddle } from "./heddle.ts";
import type { Ports } from "./ports.ts";
import type { Address, TransportConnection, TransportHandlers } from "./transport.ts";

/** A request as it arrived. */
export interface Arrived {
  readonly kind: number;
  readonly call: number;
  readonly hash: number;
  readonly isRetry: boolean;
  /** The whole frame with its retry flag cleared: what must not change between two sendings. */
  readonly bytes: Uint8Array;
  readonly body: Uint8Array;
}

export const welcome = { version: protocolVersion, node: "n1", context: "bank", shardCount: 4, durability: "fsync" };

export class ScriptedNode {
  readonly connections: ScriptedConnection[] = [];
  readonly addresses: Address[] = [];
  readonly world: World;
  /** What becomes of the next attempts to connect. */
  onConnect: "welcome" | "silence" | "refuse" | "greeting only" = "welcome";

  constructor() {
    this.world = new World();
  }

  get ports(): Ports {
    return {
      clock: { now: () => this.world.now, monotonic: () => this.world.now },
      random: { safeInteger: () => 2 ** 52 },
      timers: {
        after: (delayMs, run) => this.world.after(delayMs, run),
        afterTurn: (run) => this.world.soon(run),
      },
      connect: (address, handlers) => {
        this.addresses.push(address);
        const connection = new ScriptedConnection(this, handlers);
        this.connections.push(connection);
        return connection.transport;
      },
    };
  }

  /** The newest connection. */
  get connection(): ScriptedConnection {
    return this.connections.at(-1)!;
  }

  /** All requests that arrived, over all connections. */
  get arrived(): Arrived[] {
    return this.connections.flatMap((connection) => connection.arrived);
  }
}

export class ScriptedConnection {
  readonly transport: TransportConnection;
  readonly arrived: Arrived[] = [];
  /** One entry for each write: how many requests it brought. */
  readonly writes: number[] = [];
  hello: unknown;
  /** What `write` answers; `drain` makes room again. */
  full = false;
  /** Every request is answered at once. */
  answer: ((request: Arrived) => Uint8Array | undefined) | undefined;
  pings = 0;
  isDestroyed = false;
  isClosed = false;
  readonly #node: ScriptedNode;
  readonly #handlers: TransportHandlers;
  readonly #splitter = new FrameSplitter({ frameBytesMax: 2 ** 24, frameBytesMin: 5 });
  #greeted = false;

  constructor(node: ScriptedNode, handlers: TransportHandlers) {
    this.#node = node;
    this.#handlers = handlers;
    this.transport = {
      write: (pieces) => this.#write(pieces),
      close: () => this.end(),
      destroy: () => {
        this.isDestroyed = true;
        this.end();
      },
    };
    node.world.soon(() => {
      if (node.onConnect === "refuse") this.end(new Error("connect ECONNREFUSED"));
      else if (node.onConnect !== "silence") handlers.onOpen();
    });
  }

  say(...frames: readonly Uint8Array[]): void {
    const bytes = Uint8Array.from(frames.flatMap((frame) => [...frame]));
    this.#handlers.onData(bytes);
    // Lent bytes may change afterwards.
    bytes.fill(0xee);
  }

  drain(): void {
    this.full = false;
    this.#handlers.onDrain();
  }

  /** The connection ends; nothing is heard from it afterwards. */
  end(error?: Error): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#node.world.soon(() => this.#handlers.onClose(error));
  }

  receipts(from = 0): void {
    this.say(...this.arrived.slice(from).map((request) => receipt(request.call)));
  }

  #write(pieces: readonly Uint8Array[]): boolean {
    if (this.isClosed) return true;
    const before = this.arrived.length;
    for (const piece of pieces) {
      let bytes = piece.slice();
      if (!this.#greeted) {
        if (bytes.some((byte, i) => byte !== preface[i])) throw new Error("the first piece is not the preface");
        this.#greeted = true;
        bytes = bytes.slice(preface.length);
      }
      this.#splitter.push(bytes, (frame, from, to) => this.#visit(frame.slice(from, to)));
    }
    this.writes.push(this.arrived.length - before);
    return !this.full;
  }

  #visit(frame: Uint8Array): void {
    const kind = frame[frameOffset.kind]!;
    if (kind === requestKind.hello) {
      this.hello = readHello(frame.subarray(helloBodyOffset));
      if (this.#node.onConnect === "welcome") {
        this.#node.world.soon(() => {
          if (!this.isClosed) this.say(encodeReply(replyKind.welcome, 0, welcome));
        });
      }
      return;
    }
    if (kind === requestKind.ping) {
      this.pings++;
      return;
    }
    const isRetry = (frame[frameOffset.flags]! & requestFlags.retry) !== 0;
    frame[frameOffset.flags] = 0;
    const request: Arrived = {
      kind,
      isRetry,
      call: readU48(frame, frameOffset.requestCall),
      hash: readU32(frame, frameOffset.hash),
      bytes: frame,
      body: frame.subarray(frameOffset.requestBody),
    };
    this.arrived.push(request);
    const reply = this.answer?.(request);
    if (reply !== undefined) this.#node.world.soon(() => this.say(reply));
  }
}

/** Time and turns of the event loop, moved by hand. */
export class World {
  now = 1_000;
  #soon: (() => void)[] = [];
  #timers: { at: number; run: () => void }[] = [];

  get timers(): number {
    return this.#timers.length;
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { at: this.now + delayMs, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Runs turns until nothing is left to do without time going by. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 2; idle++) {
      // A real turn, so that every promise has had its say.
      await new Promise((resolve) => setImmediate(resolve));
      while (this.#soon.length > 0) {
        idle = 0;
        for (const run of this.#soon.splice(0)) run();
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  /** Lets time go by, timer by timer. */
  async pass(ms: number): Promise<void> {
    const until = this.now + ms;
    await this.settle();
    for (;;) {
      const next = this.#timers.reduce<number>((least, timer) => Math.min(least, timer.at), Infinity);
      if (next > until) break;
      this.now = Math.max(this.now, next);
      const due = this.#timers.filter((timer) => timer.at <= this.now);
      this.#timers = this.#timers.filter((timer) => timer.at > this.now);
      for (const timer of due) timer.run();
      await this.settle();
    }
    this.now = until;
    await this.settle();
  }
}

export function receipt(call: number, seq = call): Uint8Array {
  const frame = new Uint8Array(receiptFrameBytes);
  writeReceiptFrame(frame, 0, call, 1, seq, 1, 100 + seq, 1_763_600_000_000, false);
  return frame;
}

export function value(call: number, content: unknown): Uint8Array {
  return encodeReply(replyKind.value, call, content);
}

export function failure(call: number, error: HeddleError = overloaded): Uint8Array {
  return encodeErrorReply(call, error);
}

export const overloaded = new HeddleError("OVERLOADED", { queue: "mailbox", depth: 1, depthMax: 1 });

/** Entity, types and id of an append that arrived. */
export function appendOf(request: Arrived): {
  entity: string;
  aggregate: string;
  types: string[];
  id: string;
  seq: number;
} {
  const view = newAppendView();
  readAppendBody(request.body, 0, request.body.length, new TextCache(), view);
  const types = view.types.slice(0, view.typeCount);
  return { entity: view.entity, aggregate: view.aggregate, types, id: view.id, seq: view.expectedSeq };
}

/** A client whose node answers every request with what `answer` makes of it. */
export async function answering(answer: (request: Arrived) => Uint8Array | undefined) {
  const node = new ScriptedNode();
  const db = new Heddle({}, undefined, node.ports);
  const ready = db.ready();
  await node.world.settle();
  await ready;
  node.connection.answer = answer;
  const run = async <T>(promise: Promise<T>): Promise<T> => {
    // Marked as handled at once: it may reject while the world is still settling.
    const result = outcome(promise);
    await node.world.settle();
    const { value, error } = await result;
    if (error !== undefined) throw error;
    return value as T;
  };
  return { node, db, run };
}

/** What became of a promise, once everything has settled. */
export async function outcome<T>(promise: Promise<T>): Promise<{ value?: T; error?: unknown }> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}
