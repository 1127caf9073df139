// What is noted of gaps, as a file: that it comes back as it was, for the stream that it was noted of.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ReaderState } from "../reader-state.ts";
import { FilledGaps } from "./filled-gaps.ts";

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-gaps-"));
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Opens what is there, and closes it again. */
function withGaps<T>(use: (gaps: FilledGaps) => T): T {
  const state = ReaderState.open(path.join(folder, "readers.sqlite"));
  try {
    return use(new FilledGaps(state));
  } finally {
    state.close();
  }
}

const far = 2 ** 47;
const gap = (first: number, last: number, ...froms: number[]) => ({
  first,
  last,
  repairs: froms.map((from) => ({ from, parts: 1 + (from % 3) })),
});

it("gives back what was noted, in order, after the file was opened anew", () => {
  withGaps((gaps) => gaps.add(1, "made today", [gap(20, 22, far, far + 100), gap(3, 3)]));
  withGaps((gaps) => gaps.add(1, "made today", [gap(9, 12, 500), gap(3, 4, 80)]));
  const found = withGaps((gaps) => gaps.of(1, "made today"));
  expect(found).toEqual([gap(3, 4, 80), gap(9, 12, 500), gap(20, 22, far, far + 100)]);
});

it("gives nothing of another shard, nor of a stream that was made at another time", () => {
  withGaps((gaps) => gaps.add(1, "made today", [gap(3, 3, 80)]));
  expect(withGaps((gaps) => [gaps.of(0, "made today"), gaps.of(1, "made before")])).toEqual([[], []]);
});

it("forgets what is replaced, of that shard only", () => {
  withGaps((gaps) => {
    gaps.add(0, "a", [gap(3, 3, 80)]);
    gaps.add(1, "b", [gap(5, 6, 90), gap(8, 8, 120)]);
    gaps.replace(1, "c", [gap(5, 5, 90)]);
  });
  const found = withGaps((gaps) => [gaps.of(0, "a"), gaps.of(1, "b"), gaps.of(1, "c")]);
  expect(found).toEqual([[gap(3, 3, 80)], [], [gap(5, 5, 90)]]);
});
