// BinaryConnection: one client on the binary protocol. Cuts frames, routes them unread, writes what comes back.
//
// P7. A frame that makes no sense is answered with a typed error; one after which the stream has no place any more is
//     answered with an error for call 0, then the connection is closed.
// P8. A connection whose unanswered requests, or unread replies, pass a bound is not read from until they are below.
import type { Duplex } from "node:stream";
import { HeddleError, limits } from "@heddle/kernel";
import {
  asksForEnds,
  encodeErrorReply,
  encodeReply,
  FrameSplitter,
  frameOffset,
  type Hello,
  preface,
  protocolVersion,
  readHello,
  readU32,
  readU48,
  replyKind,
  requestCall,
  requestHash,
  requestKind,
  transactFlags,
  type Welcome,
} from "@heddle/protocol/internal";
import type { Router } from "./router.ts";

export interface BinaryConnectionOptions {
  readonly id: number;
  /** A TCP connection, or a WebSocket as a stream. */
  readonly socket: Duplex;
  readonly router: Router;
  readonly welcome: Welcome;
  readonly onOpen: (session: number) => void;
  readonly onClose: () => void;
}

/** Unanswered request bytes and unread reply bytes at which a connection is no longer read from. */
const inFlightBytesMax = 8 << 20;
/** What a call counts for beside its own bytes, because its reply, or what it reads to be written again, is the larger part. */
const readCharge: Readonly<Record<number, number>> = {
  [requestKind.get]: 64 << 10,
  [requestKind.getAt]: 64 << 10,
  [requestKind.history]: 1 << 20,
  [requestKind.restore]: 1 << 20,
  [requestKind.list]: 1 << 20,
  [requestKind.types]: 64 << 10,
  // They wait, and most waits end with little to tell: two thousand may stand on one connection.
  [requestKind.watch]: 4 << 10,
  [requestKind.feed]: 4 << 10,
  [requestKind.groupPoll]: 4 << 10,
  [requestKind.groupList]: 64 << 10,
  [requestKind.query]: 1 << 20,
  [requestKind.projectionList]: 64 << 10,
};
/** Of a transaction that wants states. */
const longReplyCharge = 1 << 20;
const unreadReplyBytesMax = 8 << 20;
const helloTimeoutMs = 10_000;
const requestHeaderBytes = frameOffset.requestBody;

export class BinaryConnection {
  readonly id: number;
  session: number | undefined;
  readonly #options: BinaryConnectionOptions;
  readonly #socket: Duplex;
  readonly #splitter = new FrameSplitter({ frameBytesMax: limits.frameBytesMax, frameBytesMin: 5 });
  /** Unanswered calls by thread: who is told when a thread is lost. */
  readonly #callsByThread: number[];
  /** What unanswered reads count for, by call number. */
  readonly #reads = new Map<number, number>();
  /** Frames that were read from the socket together with the one that filled the bound. */
  #backlog: { bytes: Uint8Array; from: number; to: number }[] = [];
  #bytesInFlight = 0;
  #prefaceSeen = 0;
  #paused = false;
  #closed = false;

  constructor(options: BinaryConnectionOptions) {
    this.id = options.id;
    this.#options = options;
    this.#socket = options.socket;
    this.#callsByThread = new Array<number>(options.router.threadCount).fill(0);
    const helloTimer = setTimeout(() => {
      if (this.session === undefined) this.#refuse(new HeddleError("TIMEOUT", { afterMs: helloTimeoutMs }));
    }, helloTimeoutMs);
    this.#socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    this.#socket.on("drain", () => this.#resume());
    this.#socket.on("error", () => this.#socket.destroy());
    this.#socket.on("end", () => this.#socket.end());
    this.#socket.on("close", () => {
      clearTimeout(helloTimer);
      this.#closed = true;
      options.onClose();
    });
  }

  /** Takes the bytes that were read before this object was made. */
  begin(firstBytes: Uint8Array): void {
    this.#onData(firstBytes);
  }

  /** What is held for this client: unanswered requests, and replies that it has not taken. */
  get bytesInFlight(): number {
    return this.#bytesInFlight + this.#socket.writableLength;
  }

  /** Reply frames from a thread, with the credit that they give back. */
  deliver(thread: number, calls: number, requestBytes: number, frames: Uint8Array): void {
    this.#callsByThread[thread]! -= calls;
    this.#bytesInFlight -= requestBytes;
    if (this.#reads.size > 0) this.#giveBackReads(frames);
    if (this.#closed) return;
    this.#socket.write(frames);
    this.#resume();
  }

  /** A thread is gone: when it owed replies, their outcome is unknown, and a reconnect lets the client ask again. */
  threadLost(thread: number): void {
    if (this.#callsByThread[thread]! > 0) this.#socket.destroy();
    this.#callsByThread[thread] = 0;
  }

  /** Ends the connection after what was written has gone out. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #onData(chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.#prefaceSeen < preface.length) {
      const taken = this.#checkPreface(bytes);
      if (taken < 0) return;
      bytes = bytes.subarray(taken);
    }
    try {
      this.#splitter.push(bytes, (from, start, end) => {
        if (this.#isFull()) this.#backlog.push({ bytes: from, from: start, to: end });
        else this.#onFrame(from, start, end);
      });
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (this.#isFull()) this.#pause();
  }

  #isFull(): boolean {
    return this.#paused || this.#bytesInFlight > inFlightBytesMax || this.#socket.writableLength > unreadReplyBytesMax;
  }

  #pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  #giveBackReads(frames: Uint8Array): void {
    for (let at = 0; at < frames.length; at += 4 + readU32(frames, at)) {
      const call = readU48(frames, at + frameOffset.replyCall);
      const charge = this.#reads.get(call);
      if (charge === undefined) continue;
      this.#bytesInFlight -= charge;
      this.#reads.delete(call);
    }
  }

  // Returns the bytes that belonged to the preface, or -1 when the connection was refused.
  #checkPreface(bytes: Uint8Array): number {
    let taken = 0;
    for (; this.#prefaceSeen < preface.length && taken < bytes.length; taken++, this.#prefaceSeen++) {
      const wanted = preface[this.#prefaceSeen];
      if (bytes[taken] === wanted) continue;
      const isVersion = this.#prefaceSeen === preface.length - 1;
      this.#refuse(
        isVersion
          ? new HeddleError("UNSUPPORTED_VERSION", { found: bytes[taken]!, supported: [protocolVersion] })
          : new HeddleError("BAD_FRAME", { problem: "the connection does not begin with the protocol's preface" }),
      );
      return -1;
    }
    return taken;
  }

  #onFrame(bytes: Uint8Array, from: number, to: number): void {
    if (this.#closed) return;
    const kind = bytes[from + frameOffset.kind];
    if (kind === requestKind.hello || this.session === undefined) {
      this.#onHello(kind, bytes.subarray(from + frameOffset.kind + 1, to));
      return;
    }
    if (to - from < requestHeaderBytes) {
      throw new HeddleError("BAD_FRAME", { problem: `a request of ${to - from} bytes is too short for its header` });
    }
    const call = requestCall(bytes, from);
    if (kind === requestKind.ping) {
      this.#socket.write(encodeReply(replyKind.pong, call, null));
      return;
    }
    const { router } = this.#options;
    if (kind === requestKind.feed && asksForEnds(bytes, from, to)) {
      this.#socket.write(encodeReply(replyKind.value, call, router.ends()));
      return;
    }
    const shard = router.shardOf(requestHash(bytes, from));
    const link = router.linkFor(kind!, shard);
    const refusal = router.refusal(shard, link);
    if (link === undefined || refusal !== undefined) {
      this.#socket.write(encodeErrorReply(call, refusal!));
      return;
    }
    link.send(this.id, shard, bytes, from, to);
    this.#callsByThread[link.index]!++;
    this.#bytesInFlight += to - from;
    const charge = kind === requestKind.transact ? chargeOfTransact(bytes, from, to) : readCharge[kind!];
    if (charge !== undefined) {
      this.#reads.set(call, charge);
      this.#bytesInFlight += charge;
    }
  }

  #onHello(kind: number | undefined, body: Uint8Array): void {
    if (kind !== requestKind.hello || this.session !== undefined) {
      throw new HeddleError("BAD_FRAME", { problem: "a connection begins with one hello" });
    }
    const hello: Hello = readHello(body);
    const { welcome, onOpen } = this.#options;
    if (hello.version !== protocolVersion) {
      throw new HeddleError("UNSUPPORTED_VERSION", { found: hello.version, supported: [protocolVersion] });
    }
    if (hello.context !== undefined && hello.context !== welcome.context) {
      throw new HeddleError("UNKNOWN_CONTEXT", { context: hello.context, known: welcome.context });
    }
    this.session = hello.session;
    onOpen(hello.session);
    this.#socket.write(encodeReply(replyKind.welcome, 0, welcome));
  }

  #refuse(error: unknown): void {
    if (!(error instanceof HeddleError)) throw error;
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.end(encodeErrorReply(0, error), () => this.#socket.destroy());
  }

  #resume(): void {
    if (!this.#paused || this.#closed) return;
    if (this.#bytesInFlight > inFlightBytesMax / 2 || this.#socket.writableLength > unreadReplyBytesMax / 2) return;
    this.#paused = false;
    const backlog = this.#backlog;
    this.#backlog = [];
    try {
      for (const { bytes, from, to } of backlog) {
        if (this.#isFull()) this.#backlog.push({ bytes, from, to });
        else this.#onFrame(bytes, from, to);
      }
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (this.#isFull()) this.#pause();
    else this.#socket.resume();
  }
}

/** One byte of the body is looked at: whether the reply may be long. */
function chargeOfTransact(bytes: Uint8Array, from: number, to: number): number | undefined {
  const at = from + frameOffset.requestBody;
  return at < to && (bytes[at]! & transactFlags.long) !== 0 ? longReplyCharge : undefined;
}
