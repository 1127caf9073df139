// A client that can send anything: for what a well-behaved one would never do.
import net from "node:net";
import { hashEntity, parseEntityId } from "@heddle/kernel";
import {
  encodeValue,
  FrameSplitter,
  frameOffset,
  preface,
  type Reply,
  readReply,
  requestKind,
  type TransactFields,
  writeAppendBody,
  writeHistoryBody,
  writeListBody,
  writeRequestHeader,
  writeTransactBody,
  writeU32,
} from "@heddle/protocol/internal";

export class RawClient {
  readonly replies: Reply[] = [];
  readonly closed: Promise<void>;
  readonly #socket: net.Socket;
  readonly #splitter = new FrameSplitter({ frameBytesMax: 1 << 24, frameBytesMin: 5 });
  #waiting: (() => void)[] = [];

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      this.#splitter.push(chunk, (bytes, from, to) => this.replies.push(readReply(bytes, from, to)));
      for (const wake of this.#waiting.splice(0)) wake();
    });
    socket.on("close", () => {
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = net.connect(port, "127.0.0.1");
    const client = new RawClient(socket);
    await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
    return client;
  }

  /** A connection past its handshake. */
  static async open(port: number, session = 1): Promise<RawClient> {
    const client = await RawClient.connect(port);
    client.send(preface, helloFrame({ version: 1, session, client: "raw" }));
    await client.reply(0);
    return client;
  }

  send(...parts: Uint8Array[]): void {
    for (const part of parts) this.#socket.write(part);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** The n-th reply (from 0), as soon as it is there. Fails when the connection closes before. */
  async reply(index: number): Promise<Reply> {
    while (this.replies.length <= index) {
      if (this.#socket.destroyed) throw new Error(`the connection closed after ${this.replies.length} replies`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.replies[index]!;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

export function helloFrame(hello: unknown): Uint8Array {
  return frameOf(requestKind.hello, encodeValue(hello).slice());
}

/** Length, kind, body: what comes before the request header is the caller's to make up. */
export function frameOf(kind: number, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(5 + body.length);
  writeU32(frame, 0, frame.length - 4);
  frame[4] = kind;
  frame.set(body, 5);
  return frame;
}

export function requestFrame(kind: number, call: number, entity: string, body: Uint8Array, flags = 0): Uint8Array {
  const frame = new Uint8Array(frameOffset.requestBody + body.length);
  writeU32(frame, 0, frame.length - 4);
  writeRequestHeader(frame, 0, { kind, flags, hash: hashEntity(parseEntityId(entity)), call });
  frame.set(body, frameOffset.requestBody);
  return frame;
}

export function appendFrame(
  call: number,
  entity: string,
  events: readonly { type: string; payload: unknown }[],
  options: { id?: string; expectedSeq?: number; aggregate?: string; flags?: number } = {},
): Uint8Array {
  return requestFrame(requestKind.append, call, entity, appendBody(entity, events, options), options.flags);
}

export function historyFrame(call: number, entity: string, limit: number): Uint8Array {
  let bytes = new Uint8Array();
  const used = writeHistoryBody({ entity, aggregate: "", from: 0, limit, direction: "forward" }, (wanted) => {
    bytes = new Uint8Array(wanted);
    return { bytes, at: 0 };
  });
  return requestFrame(requestKind.history, call, entity, bytes.subarray(0, used));
}

/** Asks shard 0 for all its entities. */
export function listFrame(call: number, limit: number): Uint8Array {
  let bytes = new Uint8Array();
  const used = writeListBody({ prefix: "", after: "", limit, erased: false }, (wanted) => {
    bytes = new Uint8Array(wanted);
    return { bytes, at: 0 };
  });
  const frame = requestFrame(requestKind.list, call, "any/entity", bytes.subarray(0, used));
  // In place of an entity's hash stands the shard's number.
  writeU32(frame, frameOffset.hash, 0);
  return frame;
}

/** One transaction; sent to the shard of its first entity. */
export function transactFrame(call: number, fields: TransactFields): Uint8Array {
  return requestFrame(requestKind.transact, call, fields.operations[0]!.entity, transactBody(fields));
}

export function transactBody(fields: TransactFields): Uint8Array {
  let bytes = new Uint8Array();
  const used = writeTransactBody(fields, (wanted) => {
    bytes = new Uint8Array(wanted);
    return { bytes, at: 0 };
  });
  return bytes.subarray(0, used);
}

export function appendBody(
  entity: string,
  events: readonly { type: string; payload: unknown }[],
  options: { id?: string; expectedSeq?: number; aggregate?: string } = {},
): Uint8Array {
  let bytes = new Uint8Array();
  const used = writeAppendBody(
    { entity, aggregate: options.aggregate ?? "Account", events, id: options.id, expectedSeq: options.expectedSeq },
    (wanted) => {
      bytes = new Uint8Array(wanted);
      return { bytes, at: 0 };
    },
  );
  return bytes.subarray(0, used);
}
