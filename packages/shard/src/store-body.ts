// StoreBody: puts events that were decided here into the bytes of an append, and takes them back out: what is folded now
// must be what a replay will fold.
import { describeThrown } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import {
  type AppendView,
  type PackedValue,
  readAppendBody,
  type TextCache,
  writeAppendBody,
} from "@heddle/protocol/internal";
import { asDomainFailure, type Proposed, typeAt } from "./decide.ts";
import { areTooDeep, checkBodyBytes, decodePayloads } from "./decoding.ts";

export interface BodyFields {
  readonly entity: string;
  /** Empty where the caller gave none. */
  readonly id: string;
  readonly proposed: Proposed;
  readonly payloads: readonly unknown[];
  readonly packedMetadata: PackedValue | undefined;
}

/** Returns the bytes that it took of the room. Errors: `DOMAIN_FAILED`, `FRAME_TOO_LARGE`. */
export function encodeBody(
  { entity, id, proposed, payloads, packedMetadata }: BodyFields,
  reserve: (bytes: number) => { bytes: Uint8Array; at: number },
): number {
  const events = payloads.map((payload, index) => {
    const event = typeAt(proposed, index);
    return { type: event.type, payload, schemaVersion: event.schemaVersion };
  });
  try {
    return writeAppendBody(
      { entity, aggregate: proposed.aggregate.name, events, id: id === "" ? undefined : id, packedMetadata },
      (wanted) => {
        // A schema can make much of little.
        checkBodyBytes(wanted);
        return reserve(wanted);
      },
    );
  } catch (thrown) {
    throw asDomainFailure(thrown, () => storing(proposed));
  }
}

/** The payloads of a body that `encodeBody` has just made at a place; `view` is read from there. Errors: `DOMAIN_FAILED`. */
export function storedPayloads(
  bytes: Uint8Array,
  at: number,
  bodyBytes: number,
  proposed: Proposed,
  texts: TextCache,
  view: AppendView,
): unknown[] {
  try {
    readAppendBody(bytes, at, at + bodyBytes, texts, view);
    const payloads = decodePayloads(bytes, view.payloadsFrom, at + bodyBytes, view.eventCount);
    if (areTooDeep(payloads)) throw new TypeError("it is nested too deeply");
    return payloads;
  } catch (thrown) {
    // The request was good: what the schemas made of it is not.
    const message = describeThrown(thrown);
    throw new HeddleError("DOMAIN_FAILED", { where: storing(proposed), message }, { cause: thrown });
  }
}

function storing(proposed: Proposed): string {
  return `${proposed.aggregate.name}: storing what its schemas made of the payloads`;
}
