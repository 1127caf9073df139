// Frame: one request as it came, and where its reply goes.
import { crc32 } from "@heddle/event-log/internal";
import { frameOffset } from "@heddle/protocol/internal";
import type { Hold } from "./transactions/hold.ts";

/** The request is `bytes[from, to)`. The shard reuses one object from call to call: whoever needs it later copies it. */
export interface Frame {
  connection: number;
  session: number;
  /** The session's number for this call. */
  call: number;
  bytes: Uint8Array;
  from: number;
  to: number;
  /** What a transaction has taken already, if its frame has waited for more. */
  hold: Hold | undefined;
  /** Monotonic time since when it has waited for a hold; 0 for one that has not. */
  since: number;
  /** The reply leaves when the request is decided, before that is durable: see own-shard.ts. */
  early: boolean;
}

export function newFrame(): Frame {
  return {
    connection: 0,
    session: 0,
    call: 0,
    bytes: new Uint8Array(),
    from: 0,
    to: 0,
    hold: undefined,
    since: 0,
    early: false,
  };
}

/** Where the request's body begins. */
export function bodyOf({ from }: Frame): number {
  return from + frameOffset.requestBody;
}

/** Tells whether a repeated call brings the same content: the CRC-32 of its body. */
export function fingerprintOf({ bytes, from, to }: Frame): number {
  return crc32(bytes, from + frameOffset.requestBody, to);
}
