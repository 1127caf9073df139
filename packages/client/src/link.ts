// Link: keeps a session connected for as long as somebody needs it. Connects, shakes hands, watches for signs of life,
// and connects again.
//
// Does not know what calls are: whole replies go to its `LinkUser`, which also says whether the link is needed.
//
// L1. Nothing is sent before the node's welcome, and nothing that came over a connection that was given up is looked at.
// L2. Attempts are spaced by pauses that double and vary, so that many clients do not return in step.
// L3. With nobody who needs it, the link rests: no timer, no attempts.
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
  requestKind,
  type Welcome,
  writeRequestHeader,
  writeU32,
} from "@heddle/protocol/internal";
import type { Alarm } from "./alarm.ts";
import { jittered } from "./jitter.ts";
import { addressText, type Settings } from "./options.ts";
import type { Ports } from "./ports.ts";
import type { TransportConnection } from "./transport.ts";

export interface LinkUser {
  /** Whether something is unanswered. */
  needsLink(): boolean;
  /** There is a welcomed connection, or room in it again. */
  onRoom(): void;
  /** A reply to a call. Throws where it makes no sense; the connection is made anew then. */
  onReply(reply: Reply): void;
  /** A value for this call came, but cannot be decoded. False when there is no such call. */
  onUndecodable(call: number, error: unknown): boolean;
  /** The connection is gone; another will come. */
  onLost(): void;
  /** There will be no connection for now: whoever waits must be told. */
  onRefused(error: HeddleError): void;
}

/** One connection, from the attempt to its end. */
interface Connected {
  readonly kind: "connected";
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
  | Connected
  /** Between two attempts. */
  | { readonly kind: "pausing"; readonly until: number }
  | { readonly kind: "closing"; readonly connection: TransportConnection; readonly deadline: number }
  | { readonly kind: "closed" };

interface Waiter {
  readonly resolve: (welcome: Welcome) => void;
  readonly reject: (error: unknown) => void;
  readonly deadline: number;
}

/** How long a socket may take to send its last bytes after `close`. */
const closeGraceMs = 1_000;

export class Link {
  readonly #settings: Settings;
  readonly #ports: Ports;
  readonly #alarm: Alarm;
  readonly #user: LinkUser;
  readonly #session: number;
  #state: State = { kind: "idle" };
  /** The last welcome; none as long as there never was a connection. */
  #welcome: Welcome | undefined;
  /** Attempts since the last welcome, when they began, and what ended the last of them. */
  #attempts = 0;
  #tryingSince = 0;
  #lastFailure: unknown;
  #waiters: Waiter[] = [];
  readonly #closed = Promise.withResolvers<void>();

  constructor(settings: Settings, ports: Ports, alarm: Alarm, user: LinkUser, session: number) {
    this.#settings = settings;
    this.#ports = ports;
    this.#alarm = alarm;
    this.#user = user;
    this.#session = session;
  }

  /** There was a connection at some time. */
  get wasConnected(): boolean {
    return this.#welcome !== undefined;
  }

  /** Why there is no connection now; undefined while there is one. */
  get failure(): unknown {
    return this.#state.kind === "connected" ? undefined : this.#lastFailure;
  }

  get canSend(): boolean {
    return this.#state.kind === "connected" && this.#state.welcomed && !this.#state.full;
  }

  /** Only while `canSend`. */
  send(pieces: readonly Uint8Array[]): void {
    if (this.#state.kind === "connected") this.#state.full = !this.#state.connection.write(pieces);
  }

  /** Somebody needs the link: connects, unless that is under way. */
  need(): void {
    if (this.#state.kind === "idle") this.#connect();
  }

  /** Waits for a welcome, at most `connectTimeoutMs`. */
  ready(): Promise<Welcome> {
    if (this.#state.kind === "connected" && this.#state.welcomed) return Promise.resolve(this.#welcome!);
    const { promise, resolve, reject } = Promise.withResolvers<Welcome>();
    const deadline = this.#alarm.now + this.#settings.connectTimeoutMs;
    this.#waiters.push({ resolve, reject, deadline });
    this.#alarm.wakeBy(deadline);
    this.need();
    return promise;
  }

  /** Ends for good, once what was written has left. */
  close(error: HeddleError): Promise<void> {
    if (this.#state.kind === "closing" || this.#state.kind === "closed") return this.#closed.promise;
    this.#rejectWaiters(error);
    const state = this.#state;
    this.#alarm.stop();
    if (state.kind === "connected" && state.welcomed) {
      const deadline = this.#alarm.now + closeGraceMs;
      this.#state = { kind: "closing", connection: state.connection, deadline };
      this.#alarm.wakeBy(deadline);
      state.connection.close();
    } else {
      this.#state = { kind: "closed" };
      if (state.kind === "connected") state.connection.destroy();
      this.#closed.resolve();
    }
    return this.#closed.promise;
  }

  /** Looks at everything here that may be due. */
  check(): void {
    this.#checkWaiters();
    this.#checkConnection();
    this.#checkFirstConnection();
  }

  // --- Connecting ---

  #connect(): void {
    const { now } = this.#alarm;
    if (this.#attempts === 0) this.#tryingSince = now;
    this.#attempts++;
    const link: Connected = {
      kind: "connected",
      connection: undefined as never,
      splitter: new FrameSplitter({ frameBytesMax: limits.frameBytesMax, frameBytesMin: frameOffset.replyBody }),
      since: now,
      welcomed: false,
      full: false,
      heardAt: now,
      pingedAt: 0,
    };
    const handlers = {
      onOpen: () => {
        if (this.#state === link) this.#greet(link);
      },
      onData: (bytes: Uint8Array) => {
        if (this.#state === link) this.#read(link, bytes);
      },
      onDrain: () => {
        link.full = false;
        if (this.#state === link) this.#user.onRoom();
      },
      onClose: (error: Error | undefined) => {
        this.#alarm.readClock();
        if (this.#state === link) this.#lose(error ?? new Error("the node closed the connection"));
        else if (this.#state.kind === "closing" && this.#state.connection === link.connection) this.#isClosed();
      },
    };
    try {
      link.connection = this.#ports.connect(this.#settings.address, handlers);
    } catch (error) {
      // The transport cannot work here at all (TCP in a browser): trying again is no use.
      this.#lastFailure = error;
      this.#giveUp(this.connectionFailed());
      return;
    }
    this.#state = link;
    this.#alarm.wakeBy(now + this.#settings.connectTimeoutMs);
  }

  #greet(link: Connected): void {
    const { context, clientName } = this.#settings;
    const hello = { version: protocolVersion, session: this.#session, client: clientName };
    const frame = encodeHello(context === undefined ? hello : { ...hello, context });
    link.connection.write([preface, frame]);
  }

  #handshake(link: Connected, reply: Reply): void {
    if (reply.kind === "error") {
      // A node that is going away will be back; whatever else cannot be retried will be said again next time.
      if (reply.error.retryable || reply.error.code === "CLOSED") this.#lose(reply.error);
      else this.#giveUp(reply.error);
      return;
    }
    if (reply.kind !== "welcome" || !isWelcome(reply.value)) throw badReply(`wanted a welcome, found a ${reply.kind}`);
    const welcome = reply.value;
    const { context } = this.#settings;
    if (welcome.version !== protocolVersion) {
      const facts = { found: welcome.version, supported: [protocolVersion] };
      this.#giveUp(new HeddleError("UNSUPPORTED_VERSION", facts));
    } else if (context !== undefined && welcome.context !== context) {
      this.#giveUp(new HeddleError("UNKNOWN_CONTEXT", { context, known: welcome.context }));
    } else {
      link.welcomed = true;
      this.#welcome = welcome;
      this.#attempts = 0;
      for (const waiter of this.#waiters.splice(0)) waiter.resolve(welcome);
      this.#user.onRoom();
    }
  }

  // --- Reading ---

  #read(link: Connected, bytes: Uint8Array): void {
    this.#alarm.readClock();
    link.heardAt = this.#alarm.now;
    try {
      link.splitter.push(bytes, (frame, from, to) => {
        // A frame before this one may have ended the connection.
        if (this.#state === link) this.#visit(link, frame, from, to);
      });
    } catch (error) {
      // The stream has no defined place any more: what is unanswered is asked again on a new connection.
      if (this.#state === link) this.#lose(error);
    }
  }

  #visit(link: Connected, frame: Uint8Array, from: number, to: number): void {
    let reply: Reply;
    try {
      reply = readReply(frame, from, to);
    } catch (error) {
      // A value that cannot be decoded will not become better: its caller gets to know, the others are not disturbed.
      const isValue = frame[from + frameOffset.kind] === replyKind.value;
      if (isValue && this.#user.onUndecodable(readU48(frame, from + frameOffset.replyCall), error)) return;
      throw error;
    }
    if (!link.welcomed) this.#handshake(link, reply);
    else if (reply.call !== 0) this.#user.onReply(reply);
    else if (reply.kind === "error") this.#lose(reply.error);
    else if (reply.kind !== "pong") throw badReply(`a ${reply.kind} that answers no call`);
  }

  // --- Losing ---

  #lose(cause: unknown): void {
    this.#drop(cause);
    if (!this.#user.needsLink() && this.#waiters.length === 0) {
      this.#rest();
      return;
    }
    const { reconnectDelayMs, reconnectDelayMaxMs } = this.#settings;
    const pauseMs = jittered(this.#ports.random, reconnectDelayMs, reconnectDelayMaxMs, this.#attempts);
    this.#state = { kind: "pausing", until: this.#alarm.now + pauseMs };
    this.#alarm.wakeBy(this.#state.until);
  }

  /** No further attempts: everybody who waits is told, and whoever comes next tries anew. */
  #giveUp(error: HeddleError): void {
    this.#drop(error);
    this.#rejectWaiters(error);
    this.#user.onRefused(error);
    this.#rest();
  }

  #drop(cause: unknown): void {
    const state = this.#state;
    this.#state = { kind: "idle" };
    this.#lastFailure = cause;
    if (state.kind !== "connected") return;
    state.connection.destroy();
    this.#user.onLost();
  }

  #rest(): void {
    // Telling the callers may have let the session finish closing.
    if (this.#state.kind === "closed") return;
    this.#state = { kind: "idle" };
    this.#attempts = 0;
    this.#alarm.stop();
  }

  #isClosed(): void {
    this.#state = { kind: "closed" };
    this.#alarm.stop();
    this.#closed.resolve();
  }

  #rejectWaiters(error: HeddleError): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  // --- Time ---

  #checkWaiters(): void {
    this.#waiters = this.#waiters.filter((waiter) => {
      if (this.#alarm.now < waiter.deadline) {
        this.#alarm.wakeBy(waiter.deadline);
        return true;
      }
      waiter.reject(this.connectionFailed());
      return false;
    });
  }

  #checkConnection(): void {
    const { now } = this.#alarm;
    const state = this.#state;
    switch (state.kind) {
      case "idle":
      case "closed":
        return;
      case "pausing":
        if (now < state.until) this.#alarm.wakeBy(state.until);
        else if (this.#user.needsLink() || this.#waiters.length > 0) this.#connect();
        else this.#rest();
        return;
      case "connected":
        if (state.welcomed) this.#checkLife(state);
        else this.#checkAttempt(state);
        return;
      case "closing":
        if (now < state.deadline) this.#alarm.wakeBy(state.deadline);
        else state.connection.destroy();
        return;
    }
  }

  #checkAttempt(link: Connected): void {
    const { connectTimeoutMs } = this.#settings;
    const until = link.since + connectTimeoutMs;
    if (this.#alarm.now < until) this.#alarm.wakeBy(until);
    else this.#lose(new Error(`no welcome within ${connectTimeoutMs} ms`));
  }

  #checkLife(link: Connected): void {
    if (!this.#user.needsLink()) return;
    const { heartbeatMs } = this.#settings;
    const { now } = this.#alarm;
    if (now < link.heardAt + heartbeatMs) {
      this.#alarm.wakeBy(link.heardAt + heartbeatMs);
      return;
    }
    if (link.pingedAt <= link.heardAt) {
      link.pingedAt = now;
      link.connection.write([pingFrame]);
    }
    if (now < link.pingedAt + heartbeatMs) this.#alarm.wakeBy(link.pingedAt + heartbeatMs);
    else this.#lose(new Error(`no sign of life from the node for ${2 * heartbeatMs} ms`));
  }

  /** There never was a connection: the address may be wrong, so waiting as long as a call may is no use. */
  #checkFirstConnection(): void {
    if (this.wasConnected || (this.#state.kind !== "pausing" && this.#state.kind !== "connected")) return;
    const until = this.#tryingSince + this.#settings.connectTimeoutMs;
    if (this.#alarm.now < until) this.#alarm.wakeBy(until);
    else this.#giveUp(this.connectionFailed());
  }

  connectionFailed(): HeddleError {
    const cause = this.#lastFailure ?? new Error(`no answer within ${this.#settings.connectTimeoutMs} ms`);
    const facts = { address: addressText(this.#settings.address), message: messageOf(cause) };
    return new HeddleError("CONNECTION_FAILED", facts, { cause });
  }
}

const pingFrame = new Uint8Array(frameOffset.requestBody);
writeU32(pingFrame, 0, pingFrame.length - 4);
writeRequestHeader(pingFrame, 0, { kind: requestKind.ping, flags: 0, hash: 0, call: 0 });

function isWelcome(value: unknown): value is Welcome {
  const welcome = value as Partial<Welcome> | null | undefined;
  return (
    typeof welcome === "object" &&
    welcome !== null &&
    Number.isSafeInteger(welcome.version) &&
    typeof welcome.context === "string"
  );
}

export function badReply(problem: string): HeddleError {
  return new HeddleError("BAD_FRAME", { problem });
}

/** A failure to connect to several addresses at once has no message of its own, only a code. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message !== "" ? error.message : String((error as { code?: unknown }).code ?? error.name);
}
