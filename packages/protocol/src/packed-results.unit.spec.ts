// Goal: results of transactions that are packed by hand are the bytes of the codec of values, so that older clients and logs
// stay readable; what is read by hand is what that codec reads; anything else is left to it.
// Tested elsewhere: single numbers (pack-values).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replyKind } from "./frames.ts";
import {
  hasStates,
  packedResultsBytesMax,
  packReceipts,
  packTransaction,
  readPackedResults,
} from "./packed-results.ts";
import { decodeValue, encodeValue } from "./payload-codec.ts";
import { encodeReply, readReply } from "./replies.ts";
import { encodeResultsReply, encodeTransactionReply } from "./transaction-replies.ts";
import { readTransaction, type WireOperationResult } from "./transaction-requests.ts";

const u48 = fc.maxSafeNat().map((value) => value % 2 ** 48);
const seq = fc.oneof(fc.nat(300), u48);
const receipt = fc.tuple(seq, seq, fc.nat(10_000), fc.nat(70_000), u48, u48);
const read = fc.tuple(seq);
const state = fc.tuple(seq, fc.oneof(fc.constant(null), fc.integer(), fc.dictionary(fc.string(), fc.integer())));
const packable = fc.array(fc.oneof(receipt, read), { maxLength: 40 }) as fc.Arbitrary<WireOperationResult[]>;
const results = fc.array(fc.oneof(receipt, read, state), { maxLength: 6 }) as fc.Arbitrary<WireOperationResult[]>;
const call = fc.nat();

const replyOf = (number: number, value: unknown) => Buffer.from(encodeReply(replyKind.value, number, value));

describe("results of a transaction", () => {
  it("are answered in the bytes of any other value", () => {
    fc.assert(
      fc.property(call, fc.oneof(packable, results), fc.boolean(), (number, all, duplicate) => {
        expect(Buffer.from(encodeTransactionReply(number, all, duplicate))).toEqual(
          replyOf(number, { results: all, duplicate }),
        );
        expect(Buffer.from(encodeResultsReply(number, all))).toEqual(replyOf(number, all));
      }),
    );
  });

  it("are answered whatever their number, and the next answer does not change an owned copy", () => {
    const many = Array.from({ length: 10_000 }, (_, i): WireOperationResult => [i, i, 1, 0, i * 1_000, 1.7e12]);
    const first = Buffer.from(encodeTransactionReply(1, many, false));
    const second = Buffer.from(encodeTransactionReply(2, [[1]], true));
    expect(first).toEqual(replyOf(1, { results: many, duplicate: false }));
    expect(second).toEqual(replyOf(2, { results: [[1]], duplicate: true }));
    expect(packedResultsBytesMax(many.length)).toBeGreaterThanOrEqual(first.length - 11);
  });

  it("come back from a reply as they went in, by hand or not", () => {
    fc.assert(
      fc.property(call, results, fc.boolean(), (number, all, duplicate) => {
        const frame = encodeTransactionReply(number, all, duplicate);
        const reply = readReply(frame, 0, frame.length);
        expect(reply).toEqual({ kind: "value", call: number, value: { results: all, duplicate } });
        expect(readTransaction((reply as { value: unknown }).value)).toEqual({ results: all, duplicate });
      }),
    );
  });

  it("are read by hand wherever there are no states among them", () => {
    fc.assert(
      fc.property(packable, fc.boolean(), (all, duplicate) => {
        const room = new Uint8Array(1 + packedResultsBytesMax(all.length));
        const end = packTransaction(room, 1, all, duplicate);
        expect(readPackedResults(room, 1, end)).toEqual({ results: all, duplicate });
      }),
    );
  });

  it("of reads are left out where only receipts count", () => {
    fc.assert(
      fc.property(results, (all) => {
        const receipts = all.filter((result) => result.length === 6);
        const room = new Uint8Array(packedResultsBytesMax(receipts.length));
        const end = packReceipts(room, 0, all, receipts.length);
        expect(room.slice(0, end)).toEqual(Uint8Array.from(encodeValue(receipts)));
      }),
    );
  });

  it("with a state among them are told from those without", () => {
    expect(hasStates([[1], [1, 1, 1, 0, 0, 0]])).toBe(false);
    expect(hasStates([[1], [1, null]])).toBe(true);
  });
});

describe("a value that is read by hand", () => {
  const bytesOfIt = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.oneof(packable, results, fc.jsonValue()).map((value) => Uint8Array.from(encodeValue(value))),
    fc.tuple(packable, fc.nat(), fc.nat(255)).map(([all, at, byte]) => {
      const bytes = Uint8Array.from(encodeValue({ results: all, duplicate: true }));
      bytes[at % bytes.length] = byte;
      return bytes;
    }),
  );

  it("is what the codec of values reads, whatever the bytes are", () => {
    fc.assert(
      fc.property(bytesOfIt, fc.nat(3), (bytes, behind) => {
        const padded = new Uint8Array(bytes.length + behind);
        padded.set(bytes);
        const found = readPackedResults(padded, 0, bytes.length);
        if (found !== undefined) expect(found).toEqual(decodeValue(bytes));
      }),
      { numRuns: 1_000 },
    );
  });

  it("cut short, is left to the codec of values, which refuses it", () => {
    const bytes = Uint8Array.from(encodeValue({ results: [[300, 300, 1, 0, 2 ** 40, 1.7e12], [1]], duplicate: false }));
    for (let length = 0; length < bytes.length; length++) {
      expect(readPackedResults(bytes, 0, length)).toBeUndefined();
    }
  });
});
