// SimulatedNode: a whole node without sockets, threads and files: the listener's part of connections and routing, and threads
// that are lost and come back. The SDK connects to it through its own port to the network.
//
// N1. A connection that waits for a thread which is lost is closed, as the listener does it.
// N2. A crash of the node takes every thread at once; what the disks keep is chosen by the disks' seeds.
// Not simulated: flow control between listener and clients, HTTP, and the time that work takes.

import type { Connect, TransportConnection, TransportHandlers } from "@heddle/client/internal";
import type { CompiledContext } from "@heddle/domain/internal";
import { HeddleError, limits } from "@heddle/kernel";
import { shardOfHash } from "@heddle/kernel/internal";
import type { Partition } from "@heddle/partition/internal";
import {
  encodeErrorReply,
  encodeReply,
  FrameSplitter,
  frameOffset,
  helloBodyOffset,
  preface,
  protocolVersion,
  readHello,
  replyKind,
  requestCall,
  requestHash,
  requestKind,
  writeU32,
} from "@heddle/protocol/internal";
import { requestBlockHeaderBytes, requestMessageHeaderBytes, visitReplies } from "@heddle/runtime/internal";
import type { ShardLimits, ShardStats } from "@heddle/shard/internal";
import { SimulatedDisk, type Survival } from "../simulated-disk.ts";
import type { Chance } from "./chance.ts";
import { MemoryPartitionStore } from "./memory-partition.ts";
import { type OnTheWay, type Packed, SimulatedPort } from "./simulated-port.ts";
import { type ShardStorage, SimulatedThread, type SyncFate } from "./simulated-thread.ts";
import { type SimulatedTime, Way } from "./simulated-time.ts";
import { repliesText, requestsText, requestText, type Trace } from "./trace.ts";
import type { Watch } from "./watch.ts";

/** Where planted bugs stand: between parts, never inside one. */
export interface Seams {
  /** Whether a shard's disk says of its next sync that it is done, and does nothing. */
  readonly liesAboutSync?: (shard: number) => boolean;
  readonly wrapPartition?: (shard: number, partition: Partition) => Partition;
  /** Messages from thread to thread. */
  readonly betweenThreads?: OnTheWay;
  /** Replies of a thread on their way to the listener; gives back what arrives, or undefined. */
  readonly replies?: (packed: Packed) => Packed | undefined;
}

export interface NodeOptions {
  readonly time: SimulatedTime;
  readonly trace: Trace;
  readonly chance: Chance;
  readonly domain: CompiledContext;
  readonly context: string;
  readonly shardCount: number;
  readonly threadCount: number;
  readonly limits: Partial<ShardLimits>;
  readonly seams: Seams;
  readonly watch: Watch;
  /** How long a message takes on its way. */
  readonly delayMs: (between: "client" | "threads") => number;
  readonly syncFate: (shard: number) => SyncFate;
  /** A thread passes a named place where a process may die. */
  readonly onCrashPoint: (thread: number, name: string) => void;
  /** What must never be: a thread that fails by itself, a shard that stops or cannot be opened. */
  readonly onViolation: (text: string) => void;
}

/** Wall clock of the node at the beginning: 2023-11-14T22:13:20Z. */
const beganAtMs = 1_700_000_000_000;

interface ThreadSlot {
  readonly index: number;
  readonly shards: readonly number[];
  /** Undefined while it is lost or starting. */
  thread: SimulatedThread | undefined;
  /** Its shards are open and at work, and the listener does not know of it yet. */
  starting: SimulatedThread | undefined;
  readonly ports: Map<number, SimulatedPort>;
  toThread: Way;
  fromThread: Way;
}

export class SimulatedNode {
  readonly storages: readonly ShardStorage[];
  readonly #options: NodeOptions;
  readonly #slots: readonly ThreadSlot[];
  readonly #connections = new Map<number, NodeConnection>();
  #isUp = false;
  #isBroken = false;
  /** Goes up with each crash: what an earlier life had planned does not happen. */
  #life = 0;
  #nextConnection = 1;
  /** What the node's wall clock is ahead. */
  skewMs = 0;

  constructor(options: NodeOptions) {
    this.#options = options;
    const { shardCount, threadCount, chance } = options;
    this.storages = Array.from({ length: shardCount }, (_, shard) => ({
      disk: new SimulatedDisk({ seed: chance.fork(`disk ${shard}`).safeInteger() % 2 ** 32 }),
      store: new MemoryPartitionStore(),
    }));
    this.#slots = Array.from({ length: threadCount }, (_, index) => ({
      index,
      shards: Array.from({ length: shardCount }, (_, shard) => shard).filter((shard) => shard % threadCount === index),
      thread: undefined,
      starting: undefined,
      ports: new Map(),
      toThread: this.#way("threads"),
      fromThread: this.#way("threads"),
    }));
  }

  /** A shard cannot be opened on what its disk holds: nothing that is asked of it will ever be answered. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  get wallMs(): number {
    return Math.floor(beganAtMs + this.#options.time.nowMs + this.skewMs);
  }

  /** Whether every thread is there and every shard takes writes. */
  get isWell(): boolean {
    return this.#isUp && this.#slots.every(({ thread }) => thread !== undefined && areOpen(thread));
  }

  get threadCount(): number {
    return this.#slots.length;
  }

  stats(): ShardStats[] {
    return this.#slots.flatMap(({ thread }) => [...(thread?.shards ?? [])].map((shard) => shard.stats()));
  }

  /** Answers that shard threads still owe each other. */
  get innerCalls(): number {
    return this.#slots.reduce((sum, { thread }) => sum + (thread?.calls.size ?? 0), 0);
  }

  /** Answers that the node still owes to connections that are open. */
  get unanswered(): number {
    let sum = 0;
    for (const connection of this.#connections.values()) sum += connection.unanswered;
    return sum;
  }

  start(): void {
    this.#isUp = true;
    this.#options.trace.note("node", "starts");
    for (const slot of this.#slots) this.#startThread(slot);
  }

  /** The power fails. */
  crash(survival: Survival): void {
    this.#options.trace.note("node", `the power fails; of what was not synced the disks keep: ${survival}`);
    this.#life++;
    this.#isUp = false;
    for (const slot of this.#slots) this.#endThread(slot, true);
    for (const { disk } of this.storages) disk.crash(survival);
    for (const connection of [...this.#connections.values()]) connection.lose();
  }

  /** One thread is lost; it is started again soon. */
  loseThread(index: number, reason: string): void {
    const slot = this.#slots[index]!;
    if (slot.thread === undefined && slot.starting === undefined) return;
    const { trace, chance } = this.#options;
    trace.note(`thread ${index}`, `is lost: ${reason}`);
    const loses = chance.happens(0.5);
    const { fromThread } = slot;
    this.#endThread(slot, loses);
    for (const shard of slot.shards) this.storages[shard]!.disk.killProcess();
    const notice = loses ? this.#way("threads") : fromThread;
    const life = this.#life;
    notice.send(() => {
      if (life !== this.#life) return;
      for (const connection of [...this.#connections.values()]) connection.threadLost(index);
    });
    this.#after(chance.between(1, 60), () => this.#startThread(slot));
  }

  /** One of the open connections breaks; false when there is none. */
  breakConnection(): boolean {
    const open = [...this.#connections.values()];
    if (open.length === 0) return false;
    const connection = this.#options.chance.pick(open);
    this.#options.trace.note(`connection ${connection.id}`, "breaks");
    connection.lose();
    return true;
  }

  failNextCheckpoint(): void {
    const threads = this.#slots.flatMap(({ thread }) => thread ?? []);
    if (threads.length > 0) this.#options.chance.pick(threads).failNextCheckpoint();
  }

  spareCheckpoints(): void {
    for (const { thread } of this.#slots) thread?.spareCheckpoints();
  }

  requestCheckpoints(): void {
    for (const { thread } of this.#slots) {
      thread?.run(() => {
        for (const shard of thread.shards) shard.requestCheckpoint();
      });
    }
  }

  /** The SDK's port to the network. */
  readonly connect: Connect = (_address, handlers) => {
    const connection = new NodeConnection(this, this.#options, this.#nextConnection++, handlers);
    return connection.transport;
  };

  // ——— what connections ask for

  accept(connection: NodeConnection): boolean {
    if (!this.#isUp) return false;
    this.#connections.set(connection.id, connection);
    return true;
  }

  /** The listener forgets a connection and tells the threads. */
  forget(connection: NodeConnection): void {
    if (!this.#connections.delete(connection.id)) return;
    for (const slot of this.#slots) this.#tell(slot, (thread) => thread.sessionClosed(connection.id));
  }

  opened(connection: NodeConnection, session: number): void {
    for (const slot of this.#slots) this.#tell(slot, (thread) => thread.sessionOpened(connection.id, session));
  }

  /** The thread that has a shard, or why it takes nothing. */
  threadOf(shard: number): number | HeddleError {
    const index = shard % this.#slots.length;
    if (this.#slots[index]!.thread !== undefined) return index;
    return new HeddleError("SHARD_STOPPED", { shard, reason: "its thread is being started again" });
  }

  toThread(index: number, packed: Packed): void {
    this.#tell(this.#slots[index]!, (thread) => thread.onFrames(packed));
  }

  // ——— threads

  #startThread(slot: ThreadSlot): void {
    const { trace, chance, time, domain, shardCount, threadCount, seams, syncFate, onViolation } = this.#options;
    slot.toThread = this.#way("threads");
    slot.fromThread = this.#way("threads");
    const { fromThread } = slot;
    const life = this.#life;
    let opened: SimulatedThread;
    try {
      opened = new SimulatedThread({
        thread: slot.index,
        threadCount,
        shardCount,
        shards: slot.shards,
        domain,
        limits: this.#options.limits,
        storageOf: (shard) => this.storages[shard]!,
        time,
        trace,
        chance: chance.fork(`thread ${slot.index} ${time.happened}`),
        wallMs: () => this.wallMs,
        syncFate,
        post: (packed) => {
          const arriving = seams.replies === undefined ? packed : seams.replies(packed);
          if (arriving === undefined) return;
          fromThread.send(() => {
            if (life === this.#life) this.#onReplies(slot.index, arriving);
          });
        },
        onFault: (error) => {
          if (slot.thread !== opened && slot.starting !== opened) return;
          onViolation(`thread ${slot.index} failed: ${String((error as Error)?.stack ?? error)}`);
          this.loseThread(slot.index, "it failed");
        },
        onCrashPoint: (name) => this.#options.onCrashPoint(slot.index, name),
        onStopped: (shard, reason) => onViolation(`shard ${shard} stopped: ${reason}`),
        liesAboutSync: seams.liesAboutSync,
        wrapPartition: seams.wrapPartition,
      });
    } catch (error) {
      this.#isBroken = true;
      onViolation(`thread ${slot.index} cannot open its shards: ${String((error as Error)?.stack ?? error)}`);
      return;
    }
    slot.starting = opened;
    // It is ready once it has said so.
    this.#after(chance.between(1, 20), () => {
      if (slot.starting !== opened) return;
      slot.starting = undefined;
      slot.thread = opened;
      trace.note(`thread ${slot.index}`, "is ready");
      for (const connection of this.#connections.values()) {
        if (connection.session !== undefined) opened.sessionOpened(connection.id, connection.session);
      }
      for (const other of this.#slots) {
        if (other !== slot && other.thread !== undefined) this.#connectThreads(slot, other);
      }
    });
  }

  #connectThreads(one: ThreadSlot, other: ThreadSlot): void {
    const { time, seams } = this.#options;
    const [near, far] = SimulatedPort.pair({
      time,
      delayMs: () => this.#options.delayMs("threads"),
      from: one.index,
      to: other.index,
      onTheWay: seams.betweenThreads,
      onSent: (from, to, message) => {
        for (const text of requestsText(message)) this.#options.trace.note(`thread ${from} > ${to}`, text);
      },
      arriveAt: (index, arrive) => this.#slots[index]!.thread?.run(arrive),
    });
    one.ports.set(other.index, near);
    other.ports.set(one.index, far);
    one.thread!.calls.connect(other.index, near.asMessagePort);
    other.thread!.calls.connect(one.index, far.asMessagePort);
  }

  #endThread(slot: ThreadSlot, loses: boolean): void {
    for (const thread of [slot.thread, slot.starting]) thread?.kill();
    slot.thread = undefined;
    slot.starting = undefined;
    slot.toThread.cut();
    if (loses) slot.fromThread.cut();
    for (const [other, port] of slot.ports) {
      port.die(loses);
      this.#slots[other]!.ports.delete(slot.index);
    }
    slot.ports.clear();
  }

  #tell(slot: ThreadSlot, what: (thread: SimulatedThread) => void): void {
    const { thread } = slot;
    if (thread === undefined) return;
    slot.toThread.send(() => thread.run(() => what(thread)));
  }

  #onReplies(thread: number, packed: Packed): void {
    visitReplies(packed, (connection, calls, _requestBytes, from, to) => {
      this.#connections.get(connection)?.deliver(thread, calls, packed.subarray(from, to));
    });
  }

  #way(between: "client" | "threads"): Way {
    return new Way(this.#options.time, () => this.#options.delayMs(between));
  }

  #after(delayMs: number, run: () => void): void {
    const life = this.#life;
    this.#options.time.after(delayMs, () => {
      if (life === this.#life) run();
    });
  }
}

function areOpen(thread: SimulatedThread): boolean {
  for (const shard of thread.shards) if (shard.state !== "open") return false;
  return true;
}

/** Both sides of one connection: the client's transport, and what the listener knows of it. */
class NodeConnection {
  readonly id: number;
  readonly transport: TransportConnection;
  session: number | undefined;
  readonly #node: SimulatedNode;
  readonly #options: NodeOptions;
  readonly #handlers: TransportHandlers;
  readonly #splitter = new FrameSplitter({ frameBytesMax: limits.frameBytesMax, frameBytesMin: 5 });
  readonly #up: Way;
  readonly #down: Way;
  readonly #callsByThread: number[];
  #prefaceLeft = preface.length;
  #isOpen = false;
  /** The client has been told, or has said, that it is over. */
  #isOver = false;

  constructor(node: SimulatedNode, options: NodeOptions, id: number, handlers: TransportHandlers) {
    this.#node = node;
    this.#options = options;
    this.id = id;
    this.#handlers = handlers;
    this.#callsByThread = Array.from({ length: options.threadCount }, () => 0);
    this.#up = new Way(options.time, () => options.delayMs("client"));
    this.#down = new Way(options.time, () => options.delayMs("client"));
    this.transport = {
      write: (pieces) => {
        const bytes = joined(pieces);
        this.#up.send(() => this.#onBytes(bytes));
        return true;
      },
      close: () => this.#up.send(() => this.lose()),
      destroy: () => this.lose(),
    };
    this.#up.send(() => {
      if (this.#isOver) return;
      this.#isOpen = node.accept(this);
      if (this.#isOpen) this.#down.send(() => this.#tellClient(() => handlers.onOpen()));
      else this.lose(new Error("connect ECONNREFUSED"));
    });
  }

  get unanswered(): number {
    return this.#callsByThread.reduce((sum, calls) => sum + calls, 0);
  }

  deliver(thread: number, calls: number, frames: Uint8Array): void {
    this.#callsByThread[thread]! -= calls;
    if (!this.#isOpen) return;
    for (const text of repliesText(frames))
      this.#options.trace.note(`connection ${this.id}`, `${text}, thread ${thread}`);
    const bytes = frames.slice();
    this.#down.send(() =>
      this.#tellClient(() => {
        this.#options.watch.replied(this.session!, bytes);
        this.#handlers.onData(bytes);
      }),
    );
  }

  threadLost(thread: number): void {
    if (this.#callsByThread[thread]! > 0) this.lose();
    this.#callsByThread[thread] = 0;
  }

  /** The connection ends; what is on its way in either direction is lost. */
  lose(error?: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#isOpen = false;
    this.#up.cut();
    this.#down.cut();
    this.#node.forget(this);
    this.#options.time.after(this.#options.delayMs("client"), () => this.#handlers.onClose(error));
  }

  #say(bytes: Uint8Array): void {
    this.#down.send(() => this.#tellClient(() => this.#handlers.onData(bytes)));
  }

  #tellClient(tell: () => void): void {
    if (!this.#isOver) tell();
  }

  #onBytes(bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    const taken = Math.min(this.#prefaceLeft, bytes.length);
    this.#prefaceLeft -= taken;
    const packs = new Map<number, { readonly shard: number; readonly frame: Uint8Array }[]>();
    this.#splitter.push(bytes.subarray(taken), (from, start, end) => this.#onFrame(from.slice(start, end), packs));
    for (const [thread, frames] of packs) this.#node.toThread(thread, packed(this.id, frames));
  }

  #onFrame(frame: Uint8Array, packs: Map<number, { readonly shard: number; readonly frame: Uint8Array }[]>): void {
    const kind = frame[frameOffset.kind]!;
    if (kind === requestKind.hello) {
      this.session = readHello(frame.subarray(helloBodyOffset)).session;
      this.#node.opened(this, this.session);
      const { context, shardCount } = this.#options;
      const welcome = { version: protocolVersion, node: "simulated", context, shardCount, durability: "fsync" };
      this.#say(encodeReply(replyKind.welcome, 0, welcome));
      return;
    }
    const call = requestCall(frame);
    if (kind === requestKind.ping) {
      this.#say(encodeReply(replyKind.pong, call, null));
      return;
    }
    const shard = shardOfHash(requestHash(frame), this.#options.shardCount);
    const thread = this.#node.threadOf(shard);
    if (thread instanceof HeddleError) {
      this.#say(encodeErrorReply(call, thread));
      return;
    }
    this.#options.trace.note(`connection ${this.id}`, `${requestText(frame)}, to shard ${shard}`);
    this.#options.watch.requested(this.session!, frame);
    this.#callsByThread[thread]!++;
    const frames = packs.get(thread) ?? [];
    frames.push({ shard, frame });
    packs.set(thread, frames);
  }
}

function packed(connection: number, frames: readonly { readonly shard: number; readonly frame: Uint8Array }[]): Packed {
  const bytes = frames.reduce((sum, { frame }) => sum + requestBlockHeaderBytes + frame.length, 0);
  const message = new Uint8Array(requestMessageHeaderBytes + bytes);
  let at = requestMessageHeaderBytes;
  for (const { shard, frame } of frames) {
    writeU32(message, at, connection);
    writeU32(message, at + 4, shard);
    message.set(frame, at + requestBlockHeaderBytes);
    at += requestBlockHeaderBytes + frame.length;
  }
  return message;
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
