import { describe, expect, it } from "vitest";
import { exitCodeOf } from "./verdict.ts";

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
