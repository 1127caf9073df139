// From the values of replies to what callers see. A value of another shape is an error, not a wrong answer (P7).
import { HeddleError, limits } from "@heddle/kernel";
import type { ErasureReceipt, StoredType } from "@heddle/protocol";
import { readErasureReceipt, type WireEvent, type WireListed } from "@heddle/protocol/internal";
import type { HistoryEvent } from "./call-types.ts";

/** The state of one aggregate, and where it stands. */
export interface Snapshot<S> {
  /** Of an entity that was never written: the aggregate's initial state. */
  readonly state: S;
  /** The entity's last sequence that the state has seen; 0 before the first event. */
  readonly seq: number;
}

export function readSnapshot(value: unknown): Snapshot<unknown> {
  const { state, seq } = (value ?? {}) as Partial<Snapshot<unknown>>;
  if (!Number.isSafeInteger(seq)) throw misshapen("a state without its sequence");
  return { state, seq: seq as number };
}

export function readEvents(value: unknown): HistoryEvent[] {
  if (!Array.isArray(value) || value.length > limits.historyEventsMax) throw misshapen("a page that is no list");
  return value.map(readEvent);
}

function readEvent(event: WireEvent): HistoryEvent {
  if (!Array.isArray(event) || event.length !== 9) throw misshapen("an event that is no list of nine");
  const [seq, time, aggregate, type, payload, metadata, id, schemaVersion, position] = event as WireEvent;
  return {
    seq,
    time,
    aggregate,
    type,
    payload,
    metadata: metadata ?? undefined,
    id: id ?? undefined,
    schemaVersion,
    position,
  };
}

export function readErasure(value: unknown): ErasureReceipt {
  try {
    return readErasureReceipt(value);
  } catch (cause) {
    throw misshapen("a receipt of an erasure that is none", cause);
  }
}

export function readListed(value: unknown): WireListed[] {
  if (!Array.isArray(value) || value.length > limits.listEntitiesMax) throw misshapen("entities that are no list");
  for (const item of value) {
    if (!Array.isArray(item) || item.length !== 5 || typeof item[0] !== "string") throw misshapen("no listed entity");
  }
  return value;
}

export function readTypes(value: unknown): StoredType[] {
  if (!Array.isArray(value)) throw misshapen("event types that are no list");
  return value.map((row: Partial<StoredType> | null) => {
    const { aggregate, type, schemaVersion, count } = row ?? {};
    if (typeof aggregate !== "string" || typeof type !== "string") throw misshapen("an event type without a name");
    if (!Number.isSafeInteger(schemaVersion) || !Number.isSafeInteger(count)) throw misshapen("no count of events");
    return { aggregate, type, schemaVersion: schemaVersion!, count: count! };
  });
}

function misshapen(what: string, cause?: unknown): HeddleError {
  return new HeddleError("BAD_FRAME", { problem: `the node answered with ${what}` }, { cause });
}
