import { describe, expect, it } from "vitest";
import type { BenchDocument } from "./document.ts";
import { callsWithoutReceipt, exitCodeOf } from "./verdict.ts";

describe("exit code", () => {
  it.each([
    { refereeOk: true, targetsReached: true, strict: true, code: 0 },
    { refereeOk: true, targetsReached: false, strict: false, code: 0 },
    { refereeOk: true, targetsReached: undefined, strict: true, code: 0 },
    { refereeOk: true, targetsReached: false, strict: true, code: 1 },
    { refereeOk: false, targetsReached: true, strict: false, code: 1 },
  ])("is $code when the referee is content: $refereeOk, targets: $targetsReached, strict: $strict", (row) => {
    expect(exitCodeOf(row, row.strict)).toBe(row.code);
  });
});

describe("calls without a receipt", () => {
  it("are counted over all rounds, of transfers too", () => {
    const run = (refusedCalls: number, unknownCalls: number) => ({ referee: { refusedCalls, unknownCalls } });
    const document = {
      scenarios: [{ rounds: [{ heddle: run(1, 0) }, { heddle: run(0, 20) }] }],
      transfers: { paths: [{ rounds: [run(300, 0)] }, { rounds: [run(0, 4_000), run(50_000, 0)] }] },
    } as unknown as BenchDocument;
    expect(callsWithoutReceipt(document)).toEqual({ refused: 50_301, unknown: 4_020 });
    expect(callsWithoutReceipt({ scenarios: [], transfers: undefined })).toEqual({ refused: 0, unknown: 0 });
  });
});
