// What shards ask each other about transactions: what is written is read back, and nothing else is.
import { isHeddleError } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { requestKind } from "./frames.ts";
import {
  readHoldBody,
  readSettleBody,
  readTransactionKey,
  writeHoldBody,
  writeSettleBody,
  writeTransactionKey,
} from "./transaction-messages.ts";

type Write = (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number;

function written(write: Write): Uint8Array {
  let bytes = new Uint8Array();
  const used = write((wanted) => {
    bytes = new Uint8Array(3 + wanted);
    return { bytes, at: 3 };
  });
  return bytes.slice(3, 3 + used);
}

const key = fc.record({ coordinator: fc.nat(65_535), number: fc.nat(2 ** 48 - 1) });
const cutOrLonger = (body: Uint8Array) => [body.subarray(0, body.length - 1), Uint8Array.of(...body, 0)];

function isRefused(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    expect(isHeddleError(error, "BAD_FRAME")).toBe(true);
    return;
  }
  expect.unreachable();
}

describe("messages about transactions", () => {
  it("are read as they were written, and refused when a byte is missing or too many", () => {
    fc.assert(
      fc.property(key, fc.boolean(), fc.nat(2 ** 48 - 1), (fields, commits, position) => {
        const asked = written((reserve) => writeTransactionKey(fields, reserve));
        expect(readTransactionKey(asked, 0, asked.length)).toEqual(fields);
        const settled = written((reserve) => writeSettleBody({ ...fields, commits, position }, reserve));
        expect(readSettleBody(settled, 0, settled.length)).toEqual({ ...fields, commits, position });
        for (const bad of cutOrLonger(asked)) isRefused(() => readTransactionKey(bad, 0, bad.length));
        for (const bad of cutOrLonger(settled)) isRefused(() => readSettleBody(bad, 0, bad.length));
      }),
    );
  });

  it("carry operations byte for byte", () => {
    const bodies = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 5 });
    fc.assert(
      fc.property(key, fc.boolean(), bodies, (fields, isLast, contents) => {
        const source = Uint8Array.from(contents.flatMap((content) => [...content]));
        let at = 0;
        const operations = contents.map((content) => {
          at += content.length;
          return { kind: requestKind.append, from: at - content.length, to: at };
        });
        const body = written((reserve) => writeHoldBody({ ...fields, isLast, operations }, source, reserve));
        const read = readHoldBody(body, 0, body.length);
        expect(read).toMatchObject({ ...fields, isLast });
        expect(read.operations.map(({ kind, from, to }) => [kind, [...body.slice(from, to)]])).toEqual(
          contents.map((content) => [requestKind.append, [...content]]),
        );
        for (const bad of cutOrLonger(body)) isRefused(() => readHoldBody(bad, 0, bad.length));
      }),
    );
  });
});
