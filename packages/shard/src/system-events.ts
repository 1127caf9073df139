// SystemEvents: how what Heddle itself writes into an entity's history is put into bytes. Their names are protocol's.
import { type AppendFields, systemAggregate, writeAppendBody } from "@heddle/protocol/internal";

/** `from` to `to`: the sequences whose payloads are gone. */
export interface ErasedFacts {
  readonly from: number;
  readonly to: number;
}

/** The states are those after `seq` again, once so many copies of events have followed. */
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
