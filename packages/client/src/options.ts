// Options of a client: checked once, at the door, into settings that the rest trusts.
import { HeddleError } from "@heddle/kernel";
import type { Address } from "./transport.ts";

/** All optional; a URL such as `heddle://host:9090/bank` gives host, port and context. Times are in milliseconds. */
export interface HeddleOptions {
  /**
   * In place of host, port and context: `heddle://host:9090/bank`, or `ws://host:9090` and `wss://host` for a WebSocket, which a
   * browser takes in any case. Without a port 9090, of a WebSocket 80 and 443.
   */
  readonly url?: string;
  /** Default "localhost". */
  readonly host?: string;
  /** Default 9090. */
  readonly port?: number;
  /** The context that the node must serve; left out, any is right. Errors: `UNKNOWN_CONTEXT` on the first call. */
  readonly context?: string;
  /**
   * Connections to the node, each a session of its own; entities are spread over them by hash, so that the calls of one
   * entity stay in order. Default 1, at most 64. One is enough for some 150,000 calls a second.
   */
  readonly connections?: number;
  /**
   * How long a call may take, retries and reconnects included, where the call itself says nothing else. Default 30,000,
   * at most 600,000: a node forgets a session that was silent for longer. Errors: `TIMEOUT`, or the last refusal
   * (`OVERLOADED`, …) where the node gave one. A time-out may come up to 5 ms late. Sagas have times of their own: `SagaOptions`.
   */
  readonly timeoutMs?: number;
  /**
   * How long to try for a first connection before all waiting calls fail with `CONNECTION_FAILED`, and how long one
   * attempt may take. Default 5,000. Once there was a connection, calls wait for the next one as long as their own
   * time-outs let them.
   */
  readonly connectTimeoutMs?: number;
  /** The pause before the first new attempt to connect; it doubles with each, and varies by half. Default 20. */
  readonly reconnectDelayMs?: number;
  /** The longest pause between two attempts to connect. Default 2,000. */
  readonly reconnectDelayMaxMs?: number;
  /**
   * With calls unanswered and nothing heard for this long, the node is asked for a sign of life; after the same time
   * again without one the connection is given up and made anew. Default 10,000.
   */
  readonly heartbeatMs?: number;
  /**
   * Memory for calls that are unanswered or wait to be sent, in bytes, counting 200 for each call besides its frame. A
   * call beyond it fails at once with `OVERLOADED`. For each connection. Default 256 MiB.
   */
  readonly unansweredBytesMax?: number;
  /** Told to the node, for its logs. Default "heddle-js". */
  readonly clientName?: string;
}

/** Options with nothing left open. */
export interface Settings {
  readonly address: Address;
  readonly context: string | undefined;
  readonly connections: number;
  readonly timeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly reconnectDelayMs: number;
  readonly reconnectDelayMaxMs: number;
  readonly heartbeatMs: number;
  readonly unansweredBytesMax: number;
  readonly clientName: string;
}

/** The longest time-out: a node keeps the idempotency window of a silent session for 15 minutes. */
export const timeoutMsMax = 600_000;

/** Errors: `INVALID_REQUEST`, naming the option. */
export function readOptions(url: string | undefined, options: HeddleOptions): Settings {
  const wanted = url ?? options.url;
  const { webSocket, ...given } = wanted === undefined ? {} : readUrl(wanted);
  const all: HeddleOptions = { ...options, ...given };
  const address = { host: text("host", all.host, "localhost"), port: whole("port", all.port, 9090, 1, 65_535) };
  return {
    address: webSocket === undefined ? address : { ...address, webSocket },
    context: all.context === undefined ? undefined : text("context", all.context, ""),
    connections: whole("connections", all.connections, 1, 1, 64),
    timeoutMs: readTimeout(all.timeoutMs, 30_000),
    connectTimeoutMs: whole("connectTimeoutMs", all.connectTimeoutMs, 5_000, 1, timeoutMsMax),
    reconnectDelayMs: whole("reconnectDelayMs", all.reconnectDelayMs, 20, 1, timeoutMsMax),
    reconnectDelayMaxMs: whole("reconnectDelayMaxMs", all.reconnectDelayMaxMs, 2_000, 1, timeoutMsMax),
    heartbeatMs: whole("heartbeatMs", all.heartbeatMs, 10_000, 1, timeoutMsMax),
    unansweredBytesMax: whole("unansweredBytesMax", all.unansweredBytesMax, 256 * 1024 * 1024, 1, 2 ** 40),
    clientName: text("clientName", all.clientName, "heddle-js"),
  };
}

/** The time-out of one call. Errors: `INVALID_REQUEST`. */
export function readTimeout(value: number | undefined, otherwise: number): number {
  return value === undefined ? otherwise : whole("timeoutMs", value, otherwise, 1, timeoutMsMax);
}

/** By the protocol of a URL. */
const kindsOfUrl: Readonly<Record<string, { readonly port: number; readonly webSocket?: "ws" | "wss" }>> = {
  "heddle:": { port: 9090 },
  "ws:": { port: 80, webSocket: "ws" },
  "wss:": { port: 443, webSocket: "wss" },
};

function readUrl(url: unknown): HeddleOptions & { readonly webSocket?: "ws" | "wss" } {
  const parsed = typeof url === "string" && URL.canParse(url) ? new URL(url) : undefined;
  const kind = parsed === undefined ? undefined : kindsOfUrl[parsed.protocol];
  if (parsed === undefined || kind === undefined || parsed.hostname === "") {
    const found = JSON.stringify(String(url).slice(0, 80));
    throw invalid("url", `wanted heddle://host:port/context, ws://host:port or wss://host, found ${found}`);
  }
  if (parsed.username !== "" || parsed.password !== "") throw invalid("url", "tokens are not spoken by this version");
  if (parsed.search !== "" || parsed.hash !== "") throw invalid("url", "give further options as an object");
  const context = decode(parsed.pathname.replace(/^\//, ""));
  return {
    // An IPv6 address stands in brackets in a URL only.
    host: parsed.hostname.replace(/^\[(.*)\]$/, "$1"),
    ...kind,
    ...(parsed.port === "" ? {} : { port: Number(parsed.port) }),
    ...(context === "" ? {} : { context }),
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw invalid("url", `${JSON.stringify(part)} is not percent-encoded text`);
  }
}

/** Errors: `INVALID_REQUEST`, naming the option. */
export function whole(path: string, value: unknown, otherwise: number, least: number, most: number): number {
  if (value === undefined) return otherwise;
  if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most) {
    throw invalid(path, `wanted a whole number from ${least} to ${most}, found ${String(value)}`);
  }
  return value as number;
}

function text(path: string, value: unknown, otherwise: string): string {
  if (value === undefined) return otherwise;
  if (typeof value !== "string" || value === "") throw invalid(path, `wanted text, found ${JSON.stringify(value)}`);
  return value;
}

function invalid(path: string, problem: string): HeddleError {
  return new HeddleError("INVALID_REQUEST", { path, problem });
}

/** `host:port`, with brackets where the host is an IPv6 address. */
export function addressText({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
