// Goal: readers on other threads see how far a log is durable, and wake when that changes.
// Method: two views of one shared memory, as two threads have them.
import { describe, expect, it } from "vitest";
import { DurableEnds } from "./durable-ends.ts";

describe("durable ends", () => {
  it("D1: what one thread says others see, by shard, and an end only grows", () => {
    const shard = new DurableEnds(3);
    const reader = new DurableEnds(shard.shared);
    expect(reader.shardCount).toBe(3);
    shard.advance(1, 2 ** 40);
    shard.advance(2, 64);
    shard.advance(1, 4096);
    expect([0, 1, 2].map((each) => reader.of(each))).toEqual([0, 2 ** 40, 64]);
  });

  it("wakes who waits when an end moves, and at once who has not seen the last move", async () => {
    const shard = new DurableEnds(1);
    const reader = new DurableEnds(shard.shared);
    const { mark } = reader;
    const waits = reader.changedSince(mark, 600_000);
    shard.advance(0, 64);
    await waits;
    await reader.changedSince(mark, 600_000);
    expect(reader.mark).not.toBe(mark);
  });

  it("an end that does not move wakes nobody; `wake` does, and a wait ends by itself", async () => {
    const ends = new DurableEnds(1);
    ends.advance(0, 64);
    const { mark } = ends;
    ends.advance(0, 64);
    expect(ends.mark).toBe(mark);
    const waits = ends.changedSince(mark, 600_000);
    ends.wake();
    await waits;
    await ends.changedSince(ends.mark, 1);
  });
});
