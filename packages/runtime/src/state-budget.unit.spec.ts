// Goal: a node that is told nothing about memory takes what its machine can spare, and never so much that it is ended for it.
import os from "node:os";
import { expect, it } from "vitest";
import { defaultStateBytes, firstMarkingBytesOf, liveBytesOf } from "./state-budget.ts";

const mebibyte = 1 << 20;

it.each([
  ["a container of 256 MiB gets the least", 256 * mebibyte, 64 * mebibyte],
  ["of 2 GiB an eighth", 2_048 * mebibyte, 256 * mebibyte],
  ["of 24 GiB the most", 24_576 * mebibyte, 1_024 * mebibyte],
])("P8: %s", (_, memory, wanted) => {
  expect(defaultStateBytes(memory)).toBe(wanted);
});

it("asks the machine when nobody says how much it has", () => {
  expect(defaultStateBytes()).toBeLessThanOrEqual(Math.max(64 * mebibyte, os.totalmem() / 8));
});

it("P8: a heap grows to half of its budget before it is marked, a small one as the engine has it", () => {
  expect(firstMarkingBytesOf(liveBytesOf(512 * mebibyte))).toBe(256 * mebibyte);
  expect(firstMarkingBytesOf(liveBytesOf(64 * mebibyte))).toBeUndefined();
});
