// Every bound of the HTTP side, in one place (P8). Units come last in each name.
import { limits } from "@heddle/kernel";

export interface HttpBounds {
  /** From the start of a request to the end of its headers. */
  readonly headersMsMax: number;
  /** From the start of a request to the end of its body. 16 MiB in it ask for 0.6 MB/s. */
  readonly requestMsMax: number;
  /** Between two looks for senders that are over the two bounds above; they are exact to this much. */
  readonly timeoutCheckMs: number;
  /** Without a request. Longer than the 60 s of common proxies, so that the side that sends is the one to close. */
  readonly keepAliveMsMax: number;
  /** Without a byte either way while a request is open: ends readers that stopped reading. */
  readonly silenceMsMax: number;
  /** Request line and headers together. */
  readonly headerBytesMax: number;
  readonly bodyBytesMax: number;
  /** Bodies of all requests that are not answered yet. */
  readonly bodyBytesInFlightMax: number;
  readonly connectionsMax: number;
  /** Requests that are not answered yet, over all connections; one connection can pipeline many. */
  readonly requestsMax: number;
  /** Forks under way at once, each of which holds a page of history. */
  readonly forksMax: number;
  /** From `close()` to the end of the last connection, whatever is still running on it. */
  readonly closeMsMax: number;
  /** Streams of server-sent events; each holds a connection. */
  readonly eventStreamsMax: number;
  /** After so long without an event a stream says that it is there. Shorter than `silenceMsMax`, and than proxies' bounds. */
  readonly eventStreamPauseMs: number;
  /** Between two pings of a WebSocket; the answer to one must have come by the next. */
  readonly webSocketPingMs: number;
  /** Events in one read of an export: bounds what an export holds in memory. */
  readonly exportPageEvents: number;
}

export const httpBounds: HttpBounds = {
  headersMsMax: 10_000,
  requestMsMax: 30_000,
  timeoutCheckMs: 1_000,
  keepAliveMsMax: 65_000,
  silenceMsMax: 120_000,
  headerBytesMax: 16 * 1024,
  bodyBytesMax: limits.httpBodyBytesMax,
  bodyBytesInFlightMax: 16 * limits.httpBodyBytesMax,
  connectionsMax: 4_096,
  requestsMax: 8_192,
  forksMax: 64,
  closeMsMax: 10_000,
  eventStreamsMax: 2_048,
  eventStreamPauseMs: 15_000,
  webSocketPingMs: 30_000,
  exportPageEvents: 1_000,
};
