// System events: what Heddle itself writes into an entity's history. Readers see them like other events, of an aggregate
// that no domain module can have. After each of them all of the entity's states are initial.
import { type AppendFields, writeAppendBody } from "@heddle/protocol/internal";

export const systemAggregate = "$heddle";

export const systemEvents = {
  /** `{ from, to }`: the payloads of these sequences are gone. */
  erased: "Erased",
  /** `{ seq, copied }`: the states are those after `seq` again, once so many copies of events have followed. */
  restored: "Restored",
} as const;

export interface ErasedFacts {
  readonly from: number;
  readonly to: number;
}

export interface RestoredFacts {
  readonly seq: number;
  readonly copied: number;
}

export function writeSystemEvent(
  entity: string,
  event: { readonly type: string; readonly payload: ErasedFacts | RestoredFacts; readonly id?: string | undefined },
  reserve: (bytes: number) => { bytes: Uint8Array; at: number },
): number {
  const { type, payload, id } = event;
  const fields: AppendFields = {
    entity,
    aggregate: systemAggregate,
    events: [{ type, payload, schemaVersion: 1 }],
    id,
  };
  return writeAppendBody(fields, reserve);
}
