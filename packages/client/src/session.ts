// Session: one stream of numbered calls to a node, over one connection at a time.
//
// Owns call numbers, the window of unanswered calls, the connection and its renewal, retries and time-outs. Does not own
// what calls mean (entity.ts), nor the spread of entities over sessions (heddle.ts).
//
// S1. Calls leave in the order in which they were made, and after a reconnect in that order again.
// S2. A retry carries the same number and the very same bytes, but for its retry flag: it takes effect once (P4).
// S3. From the oldest unanswered call to the newest that was sent there are fewer than `sessionCallsMax` numbers, so that
//     the node's window knows every call that may come again. A call that was given up does not come again.
// S4. All calls of one turn of the event loop leave in one write. When the socket is full, calls wait here (P8).
// S5. Every call is settled: by an answer, by its time-out, by its caller's signal, or by `close`.
// Not promised: the order of a call that the node refused as `OVERLOADED` against later calls that were on their way
// already. Whoever needs it awaits each call, or gives `expectedSeq`.
//
// One call that the node keeps refusing holds up the window (S3) until it times out. This is back-pressure: the numbers
// behind it would push it out of the node's window, and its retry could not be told from a new call.
import { HeddleError, limits } from "@heddle/kernel";
import {
  encodeHello,
  FrameSplitter,
  frameOffset,
  preface,
  protocolVersion,
  type Reply,
  readReply,
  readU48,
  replyKind,
  requestFlags,
  requestKind,
  u48Max,
  type Welcome,
  writeRequestHeader,
  writeU32,
} from "@heddle/protocol/internal";
import { Call, CallWindow, type Decode } from "./call.ts";
import { FrameWriter, type WriteBody } from "./frame-writer.ts";
import { addressText, readTimeout, type Settings } from "./options.ts";
import type { Ports } from "./ports.ts";
import type { TransportConnection } from "./transport.ts";

/** What every call can be given. */
export interface CallOptions {
  /** Milliseconds for this call, retries included. Default: the client's `timeoutMs`. Errors: `TIMEOUT`. */
  readonly timeoutMs?: number | undefined;
  /** Gives the call up: its promise rejects with the signal's reason. A call that was sent may still take effect. */
  readonly signal?: AbortSignal | undefined;
}

/** One connection, from the attempt to the end. Handlers of a link that was given up find that they are not `#link`. */
interface Link {
  connection: TransportConnection;
  readonly splitter: FrameSplitter;
  readonly since: number;
  /** The node said welcome: calls may be sent. */
  welcomed: boolean;
  /** The socket is full: nothing is sent until it drains. */
  full: boolean;
  heardAt: number;
  pingedAt: number;
}

type State =
  /** No connection, and nobody who needs one. */
  | { readonly kind: "idle" }
  | { readonly kind: "linked"; readonly link: Link }
  /** Between two attempts. */
  | { readonly kind: "waiting"; readonly until: number }
  | { readonly kind: "closed" };

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
  readonly deadline: number;
}

/** Counted for each unanswered call besides its frame. */
const callOverheadBytes = 200;
/** Chunks of this size keep what a slow call holds on to small, and make a new one necessary every thousand calls. */
const chunkBytes = 64 * 1024;
/** A write stops gathering here, so that a full socket is noticed. */
const writeBytesMax = 1024 * 1024;
/** The alarm is not set closer than this, so that many calls that fall due share one. */
const alarmStepMs = 5;
const retryDelayMs = 10;
const retryDelayMaxMs = 1_000;

export class Session {
  readonly #settings: Settings;
  readonly #ports: Ports;
  readonly #id: number;
  readonly #calls = new CallWindow();
  readonly #frames = new FrameWriter(chunkBytes);
  #state: State = { kind: "idle" };
  #welcome: Welcome | undefined;

  /** The next number to send. Those from here to the window's `next` were made but not sent. */
  #unsent = 1;
  /** Numbers below were sent on an earlier connection: they need the retry flag. */
  #resendBelow = 1;
  /** Calls whose pause after a refusal is over, in number order. */
  #again: Call[] = [];
  #unansweredBytes = 0;

  /** Attempts to connect since the last welcome, when they began, and what ended the last of them. */
  #attempts = 0;
  #tryingSince = 0;
  #lastFailure: unknown;
  #ready: Waiter<Welcome>[] = [];
  #closing: (Waiter<void> & { readonly promise: Promise<void> }) | undefined;

  /** The time, read once for all calls of a turn. */
  #now = 0;
  #flushIsDue = false;
  #alarmAt = Infinity;
  #cancelAlarm: (() => void) | undefined;

  constructor(settings: Settings, ports: Ports) {
    this.#settings = settings;
    this.#ports = ports;
    this.#id = 1 + (ports.random.safeInteger() % u48Max);
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
    if (!this.#flushIsDue) this.#startTurn();
    try {
      if (this.#closing !== undefined) throw new HeddleError("CLOSED", { what: "the client" });
      const timeoutMs = readTimeout(options?.timeoutMs, this.#settings.timeoutMs);
      options?.signal?.throwIfAborted();
      const number = this.#calls.next;
      const bytes = this.#frames.write(kind, hash, number, body, fields);
      this.#count(bytes + callOverheadBytes);
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const { chunk, end } = this.#frames;
      const call = new Call(number, chunk, end - bytes, end, this.#now + timeoutMs, timeoutMs, decode, resolve, reject);
      this.#calls.add(call);
      if (options?.signal !== undefined) this.#listen(call, options.signal);
      this.#wakeBy(Math.min(call.deadline, this.#now + this.#settings.heartbeatMs));
      return promise as Promise<T>;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Connects now. Errors: `CONNECTION_FAILED` after `connectTimeoutMs`, and what the node says to the handshake. */
  ready(): Promise<Welcome> {
    if (this.#closing !== undefined) return Promise.reject(new HeddleError("CLOSED", { what: "the client" }));
    const state = this.#state;
    if (state.kind === "linked" && state.link.welcomed) return Promise.resolve(this.#welcome!);
    const { promise, resolve, reject } = Promise.withResolvers<Welcome>();
    this.#now = this.#ports.clock.monotonic();
    const deadline = this.#now + this.#settings.connectTimeoutMs;
    this.#ready.push({ resolve, reject, deadline });
    this.#wakeBy(deadline);
    if (state.kind === "idle") this.#connect();
    return promise;
  }

  /**
   * Waits for unanswered calls, at most `timeoutMs`, then closes. Calls that are cut off reject with `OUTCOME_UNKNOWN`, or
   * with `CLOSED` when they were never sent. Closing again waits for the same end.
   */
  close(timeoutMs: number): Promise<void> {
    if (this.#closing !== undefined) return this.#closing.promise;
    this.#now = this.#ports.clock.monotonic();
    const deadline = this.#now + timeoutMs;
    this.#closing = { ...Promise.withResolvers<void>(), deadline };
    const closed = new HeddleError("CLOSED", { what: "the client" });
    for (const waiter of this.#ready.splice(0)) waiter.reject(closed);
    if (this.#calls.size === 0) this.#finish();
    else this.#wakeBy(deadline);
    return this.#closing.promise;
  }

  // --- Making calls ---

  #startTurn(): void {
    this.#flushIsDue = true;
    this.#now = this.#ports.clock.monotonic();
    this.#ports.timers.afterTurn(() => {
      this.#flushIsDue = false;
      if (this.#calls.size === 0) return;
      if (this.#state.kind === "idle") this.#connect();
      else this.#pump();
    });
  }

  #count(bytes: number): void {
    const depth = this.#unansweredBytes + bytes;
    const depthMax = this.#settings.unansweredBytesMax;
    if (depth > depthMax) {
      throw new HeddleError("OVERLOADED", {
        queue: "the client's memory for unanswered calls (bytes)",
        depth,
        depthMax,
      });
    }
    this.#unansweredBytes = depth;
  }

  #listen(call: Call, signal: AbortSignal): void {
    const give = () => {
      this.#forget(call);
      call.reject(signal.reason);
    };
    signal.addEventListener("abort", give, { once: true });
    call.unlisten = () => signal.removeEventListener("abort", give);
  }

  /** Every way for a call to end goes through here, once. */
  #forget(call: Call): void {
    this.#calls.remove(call);
    this.#unansweredBytes -= call.to - call.from + callOverheadBytes;
    call.unlisten?.();
    if (this.#closing !== undefined && this.#calls.size === 0) this.#finish();
  }

  #fail(call: Call, error: unknown): void {
    this.#forget(call);
    call.reject(error);
  }

  // --- Sending ---

  /** Sends what may be sent: refused calls whose pause is over, then everything that was not sent yet. */
  #pump(): void {
    while (this.#state.kind === "linked" && this.#state.link.welcomed && !this.#state.link.full) {
      const pieces = this.#gather();
      if (pieces.length === 0) return;
      this.#state.link.full = !this.#state.link.connection.write(pieces);
    }
  }

  #gather(): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (const call of this.#again.splice(0)) {
      if (this.#calls.find(call.number) === call) pieces.push(flagged(call));
    }
    const until = Math.min(this.#calls.next, this.#calls.first + limits.sessionCallsMax - 1);
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

  // --- The connection ---

  #connect(): void {
    if (this.#attempts === 0) this.#tryingSince = this.#now;
    this.#attempts++;
    const link: Link = {
      connection: undefined as never,
      splitter: new FrameSplitter({ frameBytesMax: limits.frameBytesMax, frameBytesMin: frameOffset.replyBody }),
      since: this.#now,
      welcomed: false,
      full: false,
      heardAt: this.#now,
      pingedAt: 0,
    };
    const isCurrent = () => this.#state.kind === "linked" && this.#state.link === link;
    link.connection = this.#ports.connect(this.#settings.address, {
      onOpen: () => {
        if (isCurrent()) this.#greet(link);
      },
      onData: (bytes) => {
        if (isCurrent()) this.#read(link, bytes);
      },
      onDrain: () => {
        link.full = false;
        if (isCurrent()) this.#pump();
      },
      onClose: (error) => {
        if (isCurrent()) this.#lose(error ?? new Error("the node closed the connection"));
        else if (this.#state.kind === "closed") this.#closing?.resolve();
      },
    });
    this.#state = { kind: "linked", link };
    this.#wakeBy(this.#now + this.#settings.connectTimeoutMs);
  }

  #greet(link: Link): void {
    const { context, clientName } = this.#settings;
    const hello = { version: protocolVersion, session: this.#id, client: clientName };
    const frame = encodeHello(context === undefined ? hello : { ...hello, context });
    link.connection.write([preface, frame]);
  }

  #read(link: Link, bytes: Uint8Array): void {
    this.#now = this.#ports.clock.monotonic();
    link.heardAt = this.#now;
    try {
      link.splitter.push(bytes, (frame, from, to) => this.#visit(link, frame, from, to));
    } catch (error) {
      // The stream has no defined place any more: what is unanswered is asked again on a new connection.
      if (this.#state.kind === "linked" && this.#state.link === link) this.#lose(error);
    }
  }

  #visit(link: Link, frame: Uint8Array, from: number, to: number): void {
    // A frame before this one may have ended the connection.
    if (this.#state.kind !== "linked" || this.#state.link !== link) return;
    let reply: Reply;
    try {
      reply = readReply(frame, from, to);
    } catch (error) {
      const call = this.#calls.find(readU48(frame, from + frameOffset.replyCall));
      const isValue = frame[from + frameOffset.kind] === replyKind.value;
      if (!isValue || call === undefined) throw error;
      // A value that cannot be decoded will not become better: its caller gets to know, the others are not disturbed.
      this.#fail(call, error);
      return;
    }
    if (!link.welcomed) this.#welcomeOrNot(link, reply);
    else if (reply.call === 0) this.#aboutConnection(reply);
    else this.#answer(reply);
  }

  #welcomeOrNot(link: Link, reply: Reply): void {
    if (reply.kind === "error") {
      // A node that is going away will be back; whatever else cannot be retried will be said again next time.
      if (reply.error.retryable || reply.error.code === "CLOSED") this.#lose(reply.error);
      else this.#refused(reply.error);
      return;
    }
    if (reply.kind !== "welcome" || !isWelcome(reply.value)) {
      throw new HeddleError("BAD_FRAME", { problem: `wanted a welcome, found a ${reply.kind}` });
    }
    const welcome = reply.value;
    const { context } = this.#settings;
    if (welcome.version !== protocolVersion) {
      this.#refused(new HeddleError("UNSUPPORTED_VERSION", { found: welcome.version, supported: [protocolVersion] }));
    } else if (context !== undefined && welcome.context !== context) {
      this.#refused(new HeddleError("UNKNOWN_CONTEXT", { context, known: welcome.context }));
    } else {
      link.welcomed = true;
      this.#welcome = welcome;
      this.#attempts = 0;
      for (const waiter of this.#ready.splice(0)) waiter.resolve(welcome);
      this.#pump();
    }
  }

  #aboutConnection(reply: Reply): void {
    if (reply.kind === "error") this.#lose(reply.error);
    else if (reply.kind !== "pong") {
      throw new HeddleError("BAD_FRAME", { problem: `a ${reply.kind} that answers no call` });
    }
  }

  /** The connection is gone. Everything unanswered will be sent again on the next. */
  #lose(cause: unknown): void {
    this.#drop(cause);
    if (this.#calls.size === 0 && this.#ready.length === 0) {
      this.#rest();
      return;
    }
    const { reconnectDelayMs, reconnectDelayMaxMs } = this.#settings;
    const until = this.#now + this.#jittered(reconnectDelayMs, reconnectDelayMaxMs, this.#attempts);
    this.#state = { kind: "waiting", until };
    this.#wakeBy(until);
  }

  /** The node will not have this client, now or later: everybody who waits is told, and the next call asks again. */
  #refused(error: HeddleError): void {
    const wasSent = this.#resendBelow;
    this.#drop(error);
    for (const waiter of this.#ready.splice(0)) waiter.reject(error);
    this.#calls.forEach((call) => this.#fail(call, call.number < wasSent ? outcomeUnknown(error) : error));
    this.#rest();
  }

  #drop(cause: unknown): void {
    if (this.#state.kind === "linked") this.#state.link.connection.destroy();
    this.#state = { kind: "idle" };
    this.#lastFailure = cause;
    this.#resendBelow = Math.max(this.#resendBelow, this.#unsent);
    this.#unsent = this.#calls.first;
    this.#again = [];
  }

  /** Nothing to do until the next call: no timer is left that would keep the process alive. */
  #rest(): void {
    if (this.#state.kind !== "closed") this.#state = { kind: "idle" };
    this.#attempts = 0;
    this.#cancelAlarm?.();
    this.#cancelAlarm = undefined;
    this.#alarmAt = Infinity;
  }

  #finish(): void {
    const link = this.#state.kind === "linked" ? this.#state.link : undefined;
    this.#state = { kind: "closed" };
    this.#rest();
    if (link === undefined) this.#closing?.resolve();
    else link.connection.close();
  }

  // --- Answers ---

  #answer(reply: Reply): void {
    const call = this.#calls.find(reply.call);
    if (call === undefined) {
      // Given up by its caller, or answered before; a number that was never sent is a fault of the node.
      if (reply.call < Math.max(this.#unsent, this.#resendBelow)) return;
      throw new HeddleError("BAD_FRAME", { problem: `an answer to call ${reply.call}, which was not made` });
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
        throw new HeddleError("BAD_FRAME", { problem: `a ${reply.kind} as the answer to call ${reply.call}` });
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
    call.retryAt = this.#now + this.#jittered(retryDelayMs, retryDelayMaxMs, call.refusals);
    this.#wakeBy(call.retryAt);
  }

  // --- Time ---

  /** From half to the whole of `least` doubled for each attempt after the first. */
  #jittered(least: number, most: number, attempts: number): number {
    const whole = Math.min(most, least * 2 ** Math.min(attempts - 1, 30));
    return whole * (0.5 + this.#ports.random.safeInteger() / 2 ** 54);
  }

  #wakeBy(at: number): void {
    if (at >= this.#alarmAt) return;
    this.#cancelAlarm?.();
    this.#alarmAt = at;
    this.#cancelAlarm = this.#ports.timers.after(Math.max(alarmStepMs, at - this.#now), () => this.#alarm());
  }

  /** The one timer of a session: looks at everything that can fall due and sets itself for the next. */
  #alarm(): void {
    this.#alarmAt = Infinity;
    this.#cancelAlarm = undefined;
    this.#now = this.#ports.clock.monotonic();
    this.#checkClosing();
    this.#checkConnection();
    this.#checkReady();
    this.#checkCalls();
    this.#pump();
  }

  #checkClosing(): void {
    const closing = this.#closing;
    if (closing === undefined || this.#state.kind === "closed") return;
    if (this.#now < closing.deadline) {
      this.#wakeBy(closing.deadline);
      return;
    }
    const wasSent = Math.max(this.#unsent, this.#resendBelow);
    const closed = new HeddleError("CLOSED", { what: "the client" });
    this.#calls.forEach((call) => this.#fail(call, call.number < wasSent ? outcomeUnknown(closed) : closed));
  }

  #checkConnection(): void {
    const { connectTimeoutMs, heartbeatMs } = this.#settings;
    const state = this.#state;
    if (state.kind === "waiting" && this.#now >= state.until) this.#connect();
    else if (state.kind === "waiting") this.#wakeBy(state.until);
    else if (state.kind === "linked" && !state.link.welcomed) {
      const until = state.link.since + connectTimeoutMs;
      if (this.#now >= until) this.#lose(new Error(`no welcome within ${connectTimeoutMs} ms`));
      else this.#wakeBy(until);
    } else if (state.kind === "linked" && this.#calls.size > 0) this.#checkHeartbeat(state.link, heartbeatMs);
    // There never was a connection: fail fast, the address may be wrong.
    if (this.#welcome !== undefined || (this.#state.kind !== "waiting" && this.#state.kind !== "linked")) return;
    if (this.#now < this.#tryingSince + connectTimeoutMs) this.#wakeBy(this.#tryingSince + connectTimeoutMs);
    else {
      const error = this.#connectionFailed();
      this.#drop(this.#lastFailure);
      for (const waiter of this.#ready.splice(0)) waiter.reject(error);
      this.#calls.forEach((call) => this.#fail(call, error));
      this.#rest();
    }
  }

  #checkHeartbeat(link: Link, heartbeatMs: number): void {
    if (this.#now < link.heardAt + heartbeatMs) {
      this.#wakeBy(link.heardAt + heartbeatMs);
      return;
    }
    if (link.pingedAt <= link.heardAt) {
      link.pingedAt = this.#now;
      link.connection.write([pingFrame]);
    }
    if (this.#now < link.pingedAt + heartbeatMs) this.#wakeBy(link.pingedAt + heartbeatMs);
    else this.#lose(new Error(`no sign of life from the node for ${2 * heartbeatMs} ms`));
  }

  #checkReady(): void {
    this.#ready = this.#ready.filter((waiter) => {
      if (this.#now < waiter.deadline) {
        this.#wakeBy(waiter.deadline);
        return true;
      }
      waiter.reject(this.#connectionFailed());
      return false;
    });
  }

  #checkCalls(): void {
    let next = Infinity;
    this.#calls.forEach((call) => {
      if (this.#now >= call.deadline) {
        this.#fail(call, this.#timeoutOf(call));
        return;
      }
      next = Math.min(next, call.deadline);
      if (call.retryAt > 0 && this.#now >= call.retryAt) {
        call.retryAt = 0;
        // Not sent on this connection yet: it goes with the rest, in order.
        if (call.number < this.#unsent) this.#again.push(call);
      } else if (call.retryAt > 0) next = Math.min(next, call.retryAt);
    });
    if (next < Infinity) this.#wakeBy(Math.min(next, this.#now + this.#settings.heartbeatMs));
  }

  #timeoutOf(call: Call): HeddleError {
    // Between a refusal and the next try it is certain that nothing was written; say why rather than that time is up.
    if (call.retryAt > 0 && call.refusal !== undefined) return call.refusal;
    if (this.#welcome === undefined) return this.#connectionFailed();
    const cause = call.refusal ?? (this.#state.kind === "linked" ? undefined : this.#lastFailure);
    return new HeddleError("TIMEOUT", { afterMs: call.timeoutMs }, { cause });
  }

  #connectionFailed(): HeddleError {
    const cause = this.#lastFailure ?? new Error(`no answer within ${this.#settings.connectTimeoutMs} ms`);
    const facts = { address: addressText(this.#settings.address), message: messageOf(cause) };
    return new HeddleError("CONNECTION_FAILED", facts, { cause });
  }
}

const pingFrame = new Uint8Array(frameOffset.requestBody);
writeU32(pingFrame, 0, pingFrame.length - 4);
writeRequestHeader(pingFrame, 0, { kind: requestKind.ping, flags: 0, hash: 0, call: 0 });

function markRetry(call: Call): void {
  call.chunk[call.from + frameOffset.flags] = requestFlags.retry;
}

function flagged(call: Call): Uint8Array {
  markRetry(call);
  return call.chunk.subarray(call.from, call.to);
}

/**
 * Refusals that the session outwaits by itself. Not `DISK_FULL`, although it may pass too: somebody must make room, and
 * should hear of it now.
 */
function mayPass(error: HeddleError): boolean {
  return error.code === "OVERLOADED" || error.code === "SHARD_STOPPED" || error.code === "OUTCOME_UNKNOWN";
}

function outcomeUnknown(cause: HeddleError): HeddleError {
  const problem = `it was sent, and then the connection ended (${cause.code})`;
  return new HeddleError("OUTCOME_UNKNOWN", { problem }, { cause });
}

function isWelcome(value: unknown): value is Welcome {
  const welcome = value as Partial<Welcome> | null | undefined;
  return (
    typeof welcome === "object" &&
    welcome !== null &&
    Number.isSafeInteger(welcome.version) &&
    typeof welcome.context === "string"
  );
}

/** A failure to connect to several addresses at once has no message of its own, only a code. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message !== "" ? error.message : String((error as { code?: unknown }).code ?? error.name);
}
