// FeedCursor: a place in the feeds of all shards, between two events.
//
// C1. A position stands for the same place for good: it counts all events of its record, those too that were erased since.
// C2. A cursor is text that only this file makes and reads. Whoever has one hands it on as it is.
import { HeddleError } from "@heddle/kernel";
import { u48Max } from "./bytes.ts";

/** A place in one shard's feed. */
export interface FeedPosition {
  /** Position of a record in the shard's log; 0 is the beginning. */
  readonly record: number;
  /** Events of that record, in feed order, that lie before this place. */
  readonly skip: number;
}

export const feedBeginning: FeedPosition = { record: 0, skip: 0 };

export const feedSkipMax = 2 ** 32 - 1;

/** `0:8192.3,1:64`: by shard, all of them. */
export function writeCursor(positions: readonly FeedPosition[]): string {
  return positions.map(({ record, skip }, shard) => `${shard}:${record}${skip === 0 ? "" : `.${skip}`}`).join(",");
}

/** Errors: `INVALID_REQUEST` for what is no cursor of a context with so many shards. */
export function readCursor(cursor: string, shardCount: number): FeedPosition[] {
  const parts = typeof cursor === "string" ? cursor.split(",") : [];
  const positions = parts.map((part, shard) => {
    const found = /^(\d{1,5}):(\d{1,15})(?:\.(\d{1,10}))?$/.exec(part);
    const [record, skip] = [Number(found?.[2]), Number(found?.[3] ?? 0)];
    if (found === null || Number(found[1]) !== shard || record > u48Max || skip > feedSkipMax) throw noCursor();
    return { record, skip };
  });
  if (positions.length !== shardCount) throw noCursor(`, it has ${positions.length} of ${shardCount} shards`);
  return positions;
}

function noCursor(why = ""): HeddleError {
  return new HeddleError("INVALID_REQUEST", { path: "from", problem: `it is no cursor of an event${why}` });
}
