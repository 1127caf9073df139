// Goal: a saga's result that is read by hand is what the codec of values reads, whatever wrote it and whatever the bytes are;
// anything else is left to that codec.
// Tested elsewhere: single numbers and texts (pack-values), what callers see of a result (saga-requests).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replyKind } from "./frames.ts";
import { readPackedSagaResult } from "./packed-saga-result.ts";
import { decodeValue, encodeValue } from "./payload-codec.ts";
import { encodeReply, readReply } from "./replies.ts";

const number = fc.oneof(fc.nat(300), fc.maxSafeNat());
const receipt = fc.option(fc.tuple(number, number, number, number, number, number));
const ascii = fc.oneof(
  fc.string({ unit: "binary-ascii", maxLength: 40 }),
  fc.nat(255).map((length) => "x".repeat(length)),
);
const done = fc.tuple(fc.nat(5), receipt, receipt, fc.constant(null));
const withProblem = fc.tuple(
  fc.nat(5),
  receipt,
  receipt,
  fc.option(fc.tuple(fc.string(), fc.string(), fc.jsonValue())),
);
const resultOf = (entity: fc.Arbitrary<string>, outcome: fc.Arbitrary<unknown>) =>
  fc.tuple(fc.nat(3), fc.boolean(), fc.array(fc.tuple(entity, outcome), { maxLength: 20 }));
const usual = resultOf(ascii, done);
const any = resultOf(fc.string({ unit: "binary", maxLength: 40 }), withProblem);

describe("the result of a saga", () => {
  it("is read by hand wherever there are no problems and no names beyond ASCII in it", () => {
    fc.assert(
      fc.property(usual, fc.nat(3), (result, before) => {
        const bytes = Uint8Array.from([...new Uint8Array(before), ...encodeValue(result), 0xc0]);
        expect(readPackedSagaResult(bytes, before, bytes.length - 1)).toEqual(result);
      }),
    );
  });

  it("comes back from a reply as it went in, by hand or not", () => {
    fc.assert(
      fc.property(fc.nat(), any, (call, result) => {
        const frame = encodeReply(replyKind.value, call, result);
        const value = decodeValue(encodeValue(result));
        expect(readReply(frame, 0, frame.length)).toEqual({ kind: "value", call, value });
      }),
    );
  });

  it("is what the codec of values reads, whatever the bytes are", () => {
    const bytesOfIt = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map((bytes) => Uint8Array.of(0x93, ...bytes)),
      fc.oneof(any, fc.jsonValue()).map((value) => Uint8Array.from(encodeValue(value))),
      fc.tuple(usual, fc.nat(), fc.nat(255)).map(([result, at, byte]) => {
        const bytes = Uint8Array.from(encodeValue(result));
        bytes[at % bytes.length] = byte;
        return bytes;
      }),
    );
    fc.assert(
      fc.property(bytesOfIt, fc.nat(3), (bytes, behind) => {
        const padded = new Uint8Array(bytes.length + behind);
        padded.set(bytes);
        const found = readPackedSagaResult(padded, 0, bytes.length);
        if (found !== undefined) expect(found).toEqual(decodeValue(bytes));
      }),
      { numRuns: 1_000 },
    );
  });

  it("cut short, is left to the codec of values, which refuses it", () => {
    const step = ["account/alice", [1, [300, 300, 1, 0, 2 ** 40, 1.7e12], null, null]];
    const bytes = Uint8Array.from(encodeValue([0, false, [step, step]]));
    expect(readPackedSagaResult(bytes, 0, bytes.length)).toBeDefined();
    for (let length = 0; length < bytes.length; length++) {
      expect(readPackedSagaResult(bytes, 0, length)).toBeUndefined();
    }
  });
});
