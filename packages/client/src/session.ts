// Session: one stream of numbered calls to a node, over one connection at a time.
//
// Owns call numbers, the window of unanswered calls, retries and time-outs. Does not own the connection (link.ts), what
// calls mean (entity.ts), nor the spread of entities over sessions (heddle.ts).
//
// S1. Calls leave in the order in which they were made, and after a reconnect in that order again.
// S2. A retry carries the same number and the very same bytes, but for its retry flag: it takes effect once (P4).
// S3. From the oldest unanswered call to the newest that was sent there are fewer than `sessionCallsMax` numbers, so that
//     the node's window knows every call that may come again. A call that was given up does not come again.
// S4. All calls of one turn of the event loop leave in one write. When the socket is full, calls wait here (P8).
// S5. Every call is settled: by an answer, by its time-out, by its caller's signal, or by `close`.
// S6. A session of waiting calls has no such window (S3): they only read, so that the node need not know them again, and one
//     that waits for long at the node holds no other up. `close` cuts them off at once.
// Not promised: the order of a call that the node refused as `OVERLOADED` against later calls that were on their way
// already. Whoever needs it awaits each call, or gives `expectedSeq`.
//
// One call that the node keeps refusing holds up the window (S3) until it times out. This is back-pressure: the numbers
// behind it would push it out of the node's window, and its retry could not be told from a new call.
import { HeddleError, limits } from "@heddle/kernel";
import { frameOffset, type Reply, requestFlags, sagaOfRequest, u48Max, type Welcome } from "@heddle/protocol/internal";
import { Alarm } from "./alarm.ts";
import { Call, CallWindow, type Decode } from "./call.ts";
import { FrameWriter, type WriteBody } from "./frame-writer.ts";
import { jittered } from "./jitter.ts";
import { badReply, Link } from "./link.ts";
import { readTimeout, type Settings } from "./options.ts";
import type { Ports } from "./ports.ts";

/** What every call can be given. */
export interface CallOptions {
  /**
   * Milliseconds for this call, retries included, 1 to 600,000. Default: the client's `timeoutMs`.
   * Errors: `TIMEOUT`, or the last refusal.
   */
  readonly timeoutMs?: number | undefined;
  /** Gives the call up: its promise rejects with the signal's reason. A call that was sent may still take effect. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * `calls`: what takes effect, or is answered as soon as the node can. `waiting`: questions that the node answers when there is
 * something to tell.
 */
export type SessionManner = "calls" | "waiting";

/** Counted for each unanswered call besides its frame. */
const callOverheadBytes = 200;
/** Small enough that a slow call holds on to little, large enough that a new one is rare: a thousand small calls. */
const chunkBytes = 64 * 1024;
/** A call that waits for long keeps its chunk for as long. */
const waitingChunkBytes = 1024;
/** A write stops gathering here, so that a full socket is noticed. */
const writeBytesMax = 1024 * 1024;
/** The pause before the first retry of a refused call, and the longest. */
const retryDelayMs = 10;
const retryDelayMaxMs = 1_000;

export class Session {
  readonly #settings: Settings;
  readonly #ports: Ports;
  readonly #alarm: Alarm;
  readonly #link: Link;
  readonly #calls = new CallWindow();
  readonly #frames: FrameWriter;
  readonly #manner: SessionManner;
  /** The next number to send. Those from here to the window's `next` were made but not sent. */
  #unsent = 1;
  /** Numbers below were sent on an earlier connection: they need the retry flag. */
  #resendBelow = 1;
  /** Calls whose pause after a refusal is over, in number order. */
  #again: Call[] = [];
  #unansweredBytes = 0;
  #flushIsDue = false;
  #closing: { readonly deadline: number; readonly end: PromiseWithResolvers<void> } | undefined;

  constructor(settings: Settings, ports: Ports, manner: SessionManner = "calls") {
    this.#settings = settings;
    this.#ports = ports;
    this.#manner = manner;
    this.#frames = new FrameWriter(manner === "calls" ? chunkBytes : waitingChunkBytes);
    this.#alarm = new Alarm(ports, () => this.#check());
    const user = {
      needsLink: () => this.#calls.size > 0,
      onRoom: () => this.#pump(),
      onReply: (reply: Reply) => this.#answer(reply),
      onUndecodable: (number: number, error: unknown) => this.#failNumber(number, error),
      onLost: () => this.#prepareResend(),
      onRefused: (error: HeddleError) => this.#failAll(error),
    };
    this.#link = new Link(settings, ports, this.#alarm, user, 1 + (ports.random.safeInteger() % u48Max));
  }

  /** Calls without an answer. */
  get size(): number {
    return this.#calls.size;
  }

  /**
   * Makes a call. The promise gives the receipt or rejection, or what `decode` makes of the reply's value.
   *
   * Errors: rejects with `INVALID_REQUEST`, `FRAME_TOO_LARGE`, `OVERLOADED`, `CLOSED`, `CONNECTION_FAILED`, `TIMEOUT`, the
   * node's own errors, or the signal's reason.
   */
  request<T, F>(
    kind: number,
    hash: number,
    body: WriteBody<F>,
    fields: F,
    options: CallOptions | undefined,
    decode?: Decode,
  ): Promise<T> {
    try {
      if (this.#closing !== undefined) throw clientClosed();
      const timeoutMs = readTimeout(options?.timeoutMs, this.#settings.timeoutMs);
      options?.signal?.throwIfAborted();
      const bytes = this.#frames.write(kind, hash, this.#calls, body, fields);
      const number = this.#calls.next;
      this.#count(bytes + callOverheadBytes);
      if (!this.#flushIsDue) this.#flushLater();
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const { chunk, end } = this.#frames;
      const deadline = this.#alarm.now + timeoutMs;
      const call = new Call(number, chunk, end - bytes, end, deadline, timeoutMs, decode, resolve, reject);
      this.#calls.add(call);
      if (options?.signal !== undefined) this.#listen(call, options.signal);
      this.#alarm.wakeBy(Math.min(deadline, this.#alarm.now + this.#settings.heartbeatMs));
      return promise as Promise<T>;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Connects now. Errors: `CONNECTION_FAILED` after `connectTimeoutMs`, and what the node says to the handshake. */
  ready(): Promise<Welcome> {
    if (this.#closing !== undefined) return Promise.reject(clientClosed());
    this.#alarm.readClock();
    return this.#link.ready();
  }

  /**
   * Waits for unanswered calls, at most `timeoutMs`, then closes. Calls that are cut off reject with `OUTCOME_UNKNOWN`, or
   * with `CLOSED` when they were never sent. Waiting calls (S6) are not waited for, and reject with `CLOSED`. Closing again
   * waits for the same end.
   */
  close(timeoutMs: number): Promise<void> {
    if (this.#closing !== undefined) return this.#closing.end.promise;
    this.#alarm.readClock();
    this.#closing = { deadline: this.#alarm.now + timeoutMs, end: Promise.withResolvers<void>() };
    if (this.#calls.size === 0) this.#finish();
    else if (this.#manner === "waiting") this.#failAll(clientClosed());
    else this.#alarm.wakeBy(this.#closing.deadline);
    return this.#closing.end.promise;
  }

  // --- Making calls ---

  #flushLater(): void {
    this.#flushIsDue = true;
    this.#alarm.readClock();
    this.#ports.timers.afterTurn(() => {
      this.#flushIsDue = false;
      if (this.#calls.size === 0) return;
      this.#link.need();
      this.#pump();
    });
  }

  #count(bytes: number): void {
    const depth = this.#unansweredBytes + bytes;
    const depthMax = this.#settings.unansweredBytesMax;
    if (depth > depthMax) {
      throw new HeddleError("OVERLOADED", { queue: "the client's memory for unanswered calls", depth, depthMax });
    }
    this.#unansweredBytes = depth;
  }

  #listen(call: Call, signal: AbortSignal): void {
    const giveUp = () => this.#fail(call, signal.reason);
    signal.addEventListener("abort", giveUp, { once: true });
    call.unlisten = () => signal.removeEventListener("abort", giveUp);
  }

  // --- Sending ---

  /** Sends what may be sent: refused calls whose pause is over, then everything that was not sent yet. */
  #pump(): void {
    while (this.#link.canSend) {
      const pieces = this.#gather();
      if (pieces.length === 0) return;
      this.#link.send(pieces);
    }
  }

  #gather(): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (const call of this.#again.splice(0)) {
      if (this.#calls.find(call.number) !== call) continue;
      markRetry(call);
      pieces.push(call.chunk.subarray(call.from, call.to));
    }
    const callsMax = this.#manner === "calls" ? limits.sessionCallsMax : Number.POSITIVE_INFINITY;
    const until = Math.min(this.#calls.next, this.#calls.first + callsMax - 1);
    // Frames of calls made one after another lie side by side: they become one piece.
    let chunk: Uint8Array | undefined;
    let from = 0;
    let to = 0;
    let bytes = 0;
    while (this.#unsent < until && bytes < writeBytesMax) {
      const call = this.#calls.find(this.#unsent++);
      if (call === undefined || call.retryAt > 0) continue;
      if (call.number < this.#resendBelow) markRetry(call);
      if (call.chunk !== chunk || call.from !== to) {
        if (chunk !== undefined) pieces.push(chunk.subarray(from, to));
        chunk = call.chunk;
        from = call.from;
      }
      to = call.to;
      bytes += call.to - call.from;
    }
    if (chunk !== undefined) pieces.push(chunk.subarray(from, to));
    return pieces;
  }

  /** The connection is gone: everything unanswered goes again over the next one, from the oldest on. */
  #prepareResend(): void {
    this.#resendBelow = this.#sentBelow;
    this.#unsent = this.#calls.first;
    this.#again = [];
  }

  /** Numbers from here on were never sent. */
  get #sentBelow(): number {
    return Math.max(this.#unsent, this.#resendBelow);
  }

  // --- Answers ---

  #answer(reply: Reply): void {
    const call = this.#calls.find(reply.call);
    if (call === undefined) {
      // Given up by its caller, or answered before; a number that was never sent is a fault of the node.
      if (reply.call < this.#sentBelow) return;
      throw badReply(`an answer to call ${reply.call}, which was not made`);
    }
    switch (reply.kind) {
      case "receipt":
        this.#forget(call);
        call.resolve(reply.receipt);
        return;
      case "rejected":
        this.#forget(call);
        call.resolve(reply.rejection);
        return;
      case "value":
        this.#settleValue(call, reply.value);
        return;
      case "error":
        if (mayPass(reply.error)) this.#retryLater(call, reply.error);
        else this.#fail(call, reply.error);
        return;
      default:
        throw badReply(`a ${reply.kind} as the answer to call ${reply.call}`);
    }
  }

  #settleValue(call: Call, value: unknown): void {
    this.#forget(call);
    try {
      call.resolve(call.decode === undefined ? value : call.decode(value));
    } catch (error) {
      call.reject(error);
    }
  }

  #retryLater(call: Call, error: HeddleError): void {
    call.refusal = error;
    call.refusals++;
    const pauseMs = jittered(this.#ports.random, retryDelayMs, retryDelayMaxMs, call.refusals);
    call.retryAt = this.#alarm.now + pauseMs;
    this.#alarm.wakeBy(call.retryAt);
  }

  // --- Ending calls ---

  /** Every way for a call to end goes through here, once. */
  #forget(call: Call): void {
    this.#calls.remove(call);
    this.#unansweredBytes -= call.to - call.from + callOverheadBytes;
    call.unlisten?.();
    // The window may have moved on, so that calls which waited for that can leave.
    if (this.#unsent < this.#calls.next && !this.#flushIsDue) this.#flushLater();
    if (this.#closing !== undefined && this.#calls.size === 0) this.#finish();
  }

  #fail(call: Call, error: unknown): void {
    this.#forget(call);
    call.reject(error);
  }

  #failNumber(number: number, error: unknown): boolean {
    const call = this.#calls.find(number);
    if (call === undefined) return false;
    this.#fail(call, error);
    return true;
  }

  /** What was sent has an unknown outcome; the rest certainly had no effect. */
  #failAll(error: HeddleError): void {
    const sentBelow = this.#sentBelow;
    const mayHaveEffects = this.#manner === "calls";
    this.#calls.visitAll((call) => {
      this.#fail(call, mayHaveEffects && call.number < sentBelow ? outcomeUnknown(error) : error);
    });
  }

  #finish(): void {
    const { end } = this.#closing!;
    this.#link.close(clientClosed()).then(end.resolve);
  }

  // --- Time ---

  /** The alarm rang: looks at everything that can fall due, and sets it for the next. */
  #check(): void {
    this.#checkClosing();
    this.#checkCalls();
    this.#link.check();
    this.#pump();
  }

  #checkClosing(): void {
    if (this.#closing === undefined || this.#calls.size === 0) return;
    if (this.#alarm.now < this.#closing.deadline) this.#alarm.wakeBy(this.#closing.deadline);
    else this.#failAll(clientClosed());
  }

  #checkCalls(): void {
    const { now } = this.#alarm;
    let next = now + this.#settings.heartbeatMs;
    this.#calls.visitAll((call) => {
      if (now >= call.deadline) {
        this.#fail(call, this.#timeoutOf(call));
        return;
      }
      next = Math.min(next, call.deadline);
      if (call.retryAt > now) next = Math.min(next, call.retryAt);
      else if (call.retryAt > 0) {
        call.retryAt = 0;
        // One that was not sent on this connection yet goes with the rest, in order.
        if (call.number < this.#unsent) this.#again.push(call);
      }
    });
    if (this.#calls.size > 0) this.#alarm.wakeBy(next);
  }

  #timeoutOf(call: Call): HeddleError {
    // Between a refusal and the next try, the refusal says more than that time is up.
    if (call.retryAt > 0 && call.refusal !== undefined) return call.refusal;
    if (!this.#link.wasConnected) return this.#link.connectionFailed();
    const saga = sagaOfRequest(call.chunk, call.from);
    const facts = { afterMs: call.timeoutMs, ...(saga === undefined ? {} : { saga }) };
    return new HeddleError("TIMEOUT", facts, { cause: call.refusal ?? this.#link.failure });
  }
}

function markRetry(call: Call): void {
  call.chunk[call.from + frameOffset.flags] = requestFlags.retry;
}

/**
 * Refusals that the session outwaits by itself. Not `DISK_FULL`, although it may pass too: somebody must make room, and
 * should hear of it now. Nor `TRANSACTION_CONFLICT`: the same call can not succeed, its caller must read again.
 */
function mayPass({ code }: HeddleError): boolean {
  switch (code) {
    case "OVERLOADED":
    case "SHARD_STOPPED":
    case "OUTCOME_UNKNOWN":
    case "ENTITY_HELD":
    case "TRANSACTION_ABORTED":
      return true;
    default:
      return false;
  }
}

function clientClosed(): HeddleError {
  return new HeddleError("CLOSED", { what: "the client" });
}

function outcomeUnknown(cause: HeddleError): HeddleError {
  const problem = `it was sent, and there was no answer before the end: ${cause.message}`;
  return new HeddleError("OUTCOME_UNKNOWN", { problem }, { cause });
}
