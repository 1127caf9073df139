// FrameTurns alone, with a clock and a disk that the test moves. What waves are worth: bench.
import { writeU32 } from "@heddle/protocol/internal";
import { expect, it } from "vitest";
import { FrameTurns } from "./frame-turns.ts";
import { requestBlockHeaderBytes, requestMessageHeaderBytes } from "./thread-messages.ts";

const bodyBytes = 4;
const blockBytes = requestBlockHeaderBytes + 4 + bodyBytes;

/** A message of so many frames, which bear numbers that go on from `first`. */
function message(first: number, frames: number, moreFollows = false): Uint8Array {
  const packed = new Uint8Array(requestMessageHeaderBytes + frames * blockBytes);
  packed[0] = moreFollows ? 1 : 0;
  for (let i = 0; i < frames; i++) {
    const at = requestMessageHeaderBytes + i * blockBytes;
    writeU32(packed, at, 7);
    writeU32(packed, at + 4, 0);
    writeU32(packed, at + requestBlockHeaderBytes, bodyBytes);
    writeU32(packed, at + requestBlockHeaderBytes + 4, first + i);
  }
  return packed;
}

class Rig {
  /** What was done, in order: numbers of frames, `end` of a turn, texts of messages. */
  readonly done: (number | string)[] = [];
  isSyncing = false;
  /** What a frame takes. */
  frameMs = 0;
  #nowMs = 0;
  #later: (() => void)[] = [];
  readonly turns: FrameTurns<string>;

  constructor(hasEnough?: (frames: number) => boolean) {
    this.turns = new FrameTurns<string>({
      receive: (_connection, _shard, bytes, from) => {
        this.done.push(bytes[from + 4]!);
        this.#nowMs += this.frameMs;
      },
      endTurn: () => this.done.push("end"),
      onMessage: (text) => this.done.push(text),
      isSyncing: () => this.isSyncing,
      clock: { monotonic: () => this.#nowMs },
      later: (task) => this.#later.push(task),
      ...(hasEnough === undefined ? {} : { hasEnough }),
    });
  }

  /** Runs what waits for the others to be heard. Returns whether there was anything. */
  goOn(): boolean {
    const tasks = this.#later;
    this.#later = [];
    for (const task of tasks) task();
    return tasks.length > 0;
  }
}

const two = (frames: number) => frames === 2;

it("F2: a message that is not enough for a group is one turn", () => {
  const rig = new Rig();
  rig.frameMs = 0.001;
  rig.turns.take(message(1, 3));
  expect(rig.done).toEqual([1, 2, 3, "end"]);
  expect(rig.goOn()).toBe(false);
});

it("F2: parts of a message that is yet to be complete are one turn with the rest", () => {
  const rig = new Rig();
  rig.turns.take(message(1, 2, true));
  rig.turns.take(message(3, 1));
  expect(rig.done).toEqual([1, 2, 3, "end"]);
});

it("ends a turn that has enough, and goes on when the disk has been heard", () => {
  const rig = new Rig(two);
  rig.turns.take(message(1, 5));
  expect(rig.done).toEqual([1, 2, "end"]);
  rig.goOn();
  expect(rig.done).toEqual([1, 2, "end", 3, 4, "end"]);
  rig.goOn();
  expect(rig.done).toEqual([1, 2, "end", 3, 4, "end", 5, "end"]);
  expect(rig.goOn()).toBe(false);
});

it("does not end a turn before its time while the disk is at work: the next group cannot leave yet", () => {
  const rig = new Rig(two);
  rig.isSyncing = true;
  rig.turns.take(message(1, 5));
  expect(rig.done).toEqual([1, 2, 3, 4, 5, "end"]);
});

it("F2: does not end a turn twice when it has enough with its last frame", () => {
  const rig = new Rig(two);
  rig.turns.take(message(1, 2));
  expect(rig.done).toEqual([1, 2, "end"]);
  expect(rig.goOn()).toBe(false);
});

it("F1: what comes while a part is left waits behind it, frames or not, also when one of these is cut", () => {
  const rig = new Rig(two);
  rig.turns.take(message(1, 3));
  rig.turns.take("opened");
  rig.turns.take(message(4, 3));
  rig.turns.take("closed");
  rig.turns.take(message(7, 1));
  while (rig.goOn()) rig.turns.take("late");
  expect(rig.done.filter((what) => what !== "end")).toEqual([1, 2, 3, "opened", 4, 5, 6, "closed", 7, "late", "late"]);
  rig.turns.take("after");
  expect(rig.done.at(-1)).toBe("after");
});

it.each([
  ["many quick calls", 0.005, 200, 100],
  ["a few slow ones", 0.5, 16, 4],
])("finds %s enough for a group", (_what, frameMs, frames, inFirstTurn) => {
  const rig = new Rig();
  rig.frameMs = frameMs;
  rig.turns.take(message(0, frames));
  expect(rig.done.indexOf("end")).toBe(inFirstTurn);
});
