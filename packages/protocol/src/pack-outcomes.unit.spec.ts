// Goal: what came of a saga's steps is, packed by hand, the bytes of the codec of values, so that older clients and logs stay
// readable; with a problem among them it is left to that codec.
// Tested elsewhere: single numbers and texts (pack-values).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replyKind } from "./frames.ts";
import { encodeSagaReply, haveProblems, packedOutcomesBytesMax, packOutcomes } from "./pack-outcomes.ts";
import { encodeValue } from "./payload-codec.ts";
import { encodeReply } from "./replies.ts";
import { stepStates, type WireOutcome } from "./saga-replies.ts";

const u48 = fc.maxSafeNat().map((value) => value % 2 ** 48);
const receipt = fc.tuple(u48, u48, fc.nat(10_000), fc.nat(70_000), u48, u48);
const maybe = fc.option(receipt);
const state = fc.nat(stepStates.length - 1);
const plain = fc.tuple(state, maybe, maybe, fc.constant(null));
const problem = fc.tuple(fc.string(), fc.string(), fc.dictionary(fc.string(), fc.integer()));
const troubled = fc.tuple(state, maybe, maybe, fc.option(problem));
const outcomesOf = (one: fc.Arbitrary<unknown>) => fc.array(one, { maxLength: 40 }) as fc.Arbitrary<WireOutcome[]>;
const entity = fc.string({ unit: "binary", maxLength: 300 }).filter((text) => text.isWellFormed());

describe("outcomes of a saga's steps", () => {
  it("are the bytes of the codec of values, in the room that they were said to take", () => {
    fc.assert(
      fc.property(outcomesOf(plain), (outcomes) => {
        const room = new Uint8Array(3 + packedOutcomesBytesMax(outcomes.length));
        const end = packOutcomes(outcomes, room, 3);
        expect(end).toBeLessThanOrEqual(room.length);
        expect(room.slice(3, end)).toEqual(Uint8Array.from(encodeValue(outcomes)));
      }),
    );
  });

  it("are answered in the bytes of any other value, with problems and without, and the next reply does not change a copy", () => {
    const steps = fc.array(fc.tuple(entity, fc.oneof(plain, troubled)), { maxLength: 70 });
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(2), fc.boolean(), steps, (call, end, duplicate, all) => {
        const number = call % 2 ** 48;
        const entities = all.map(([id]) => id);
        const outcomes = all.map(([, outcome]) => outcome as WireOutcome);
        const found = Buffer.from(encodeSagaReply(number, end, duplicate, entities, outcomes));
        encodeSagaReply(1, 2, true, ["account/other"], []);
        expect(found).toEqual(Buffer.from(encodeReply(replyKind.value, number, [end, duplicate, all])));
      }),
    );
  });

  it("have problems if one of them has", () => {
    expect(haveProblems([[1, null, null, null]])).toBe(false);
    expect(
      haveProblems([
        [1, null, null, null],
        [2, null, null, ["NO", "no", null]],
      ]),
    ).toBe(true);
  });
});
