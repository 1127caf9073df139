// Goal: what is noted of transactions reads as it was written, and a decision, which is packed by hand, has the bytes of the
// codec of values: logs of earlier versions hold the same.
import { systemAggregate, type WireOperationResult, writeAppendBody } from "@heddle/protocol/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DecidedFacts, journalEntity, writeJournalBody } from "./journal.ts";

const u48 = fc.maxSafeNat().map((value) => value % 2 ** 48);
const receipt = fc.tuple(u48, u48, fc.nat(10_000), fc.nat(70_000), u48, u48);
const result = fc.oneof(receipt, fc.tuple(u48), fc.tuple(u48, fc.jsonValue())) as fc.Arbitrary<WireOperationResult>;
const decided: fc.Arbitrary<DecidedFacts> = fc.record({
  number: u48,
  shards: fc.array(fc.nat(65_535), { maxLength: 20 }),
  settled: fc.tuple(u48, u48),
  results: fc.array(result, { maxLength: 20 }),
});
const id = fc.oneof(fc.constant(""), fc.string({ minLength: 1, maxLength: 40, unit: "grapheme-ascii" }));

function bodyOf(write: (reserve: (wanted: number) => { bytes: Uint8Array; at: number }) => number): Uint8Array {
  let room = new Uint8Array();
  const used = write((wanted) => {
    room = new Uint8Array(5 + wanted);
    return { bytes: room, at: 5 };
  });
  expect(used).toBeLessThanOrEqual(room.length - 5);
  return room.slice(5, 5 + used);
}

describe("a decision in the journal", () => {
  it("has the bytes that the codec of values makes of it, and none of reads", () => {
    fc.assert(
      fc.property(decided, id, (facts, name) => {
        const receipts = facts.results.filter(({ length }) => length === 6);
        const { number, shards, settled } = facts;
        const payload = { number, shards, settled, results: receipts };
        const events = [{ type: "TransactionDecided", payload, schemaVersion: 1 }];
        const fields = {
          entity: journalEntity,
          aggregate: systemAggregate,
          events,
          id: name === "" ? undefined : name,
        };
        const body = bodyOf((reserve) => writeJournalBody({ kind: "decided", ...facts }, name, reserve).bytes);
        expect(Buffer.from(body)).toEqual(Buffer.from(bodyOf((reserve) => writeAppendBody(fields, reserve))));
      }),
    );
  });
});
