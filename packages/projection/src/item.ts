// Item: one event on its way into rows.
import type { KeyedRow, RowFunction } from "@heddle/domain/internal";
import type { FeedEvent } from "@heddle/protocol/internal";
import type { Held } from "./sink.ts";

export interface Item {
  readonly event: FeedEvent;
  readonly run: RowFunction | undefined;
  /** Position of its record. */
  readonly record: number;
  /** As it is stored, about. */
  readonly bytes: number;
  /** The entity of the saga that it is a step of; empty for none, or where that does not matter. */
  readonly saga: string;
  /** The rows that it is about; left out where that is the row of its entity. */
  keys: readonly KeyedRow[] | undefined;
  /** Why it cannot be folded. */
  error: unknown;
  /** A tombstone or a marker that was read since takes it back. */
  isVoid: boolean;
}

/** The place of an item in the feed, for a record of what is held. */
export function heldAt(item: Item, reason: Held["reason"], since: number, error = ""): Held {
  const { entity, shard, position, index, seq, aggregate, type } = item.event;
  const saga = reason === "saga" ? item.saga : "";
  return { entity, reason, shard, record: item.record, position, index, seq, aggregate, type, saga, error, since };
}
