// Goal: what states are said to take in memory follows what they are made of. Which states have a snapshot, and that it gives
// them back: plain-data.unit.spec.ts.
import { describe, expect, it } from "vitest";
import { encodeState, memoryOf } from "./encode-state.ts";

const weight = (entity: string, state: unknown) => memoryOf(entity, [null, state], encodeState(state)!.length);

describe("the memory that states take, as estimated", () => {
  it("an encoded byte becomes four, whatever the state of an entity of the context", () => {
    for (const state of [{ balance: 5 }, { picture: new Uint8Array(1_000) }]) {
      expect(weight("account/alice", state)).toBe(4 * encodeState(state)!.length);
    }
  });

  it("bytes in states of Heddle's own stay as many, and each array of them has its price", () => {
    const packed = (blocks: number) => ({
      version: 7,
      pending: Array.from({ length: blocks }, () => new Uint8Array(4_000)),
    });
    expect(weight("$reminders/account/alice", packed(1))).toBeGreaterThan(4_000);
    expect(weight("$reminders/account/alice", packed(1))).toBeLessThan(4_500);
    expect(weight("$reminders/account/alice", packed(20)) / weight("$reminders/account/alice", packed(10))).toBeCloseTo(
      2,
      1,
    );
  });

  it("states that no snapshot was made of take nothing", () => {
    expect(memoryOf("$saga/one", [{ steps: new Uint8Array(4_000) }], 0)).toBe(0);
    expect(memoryOf("account/alice", [{ balance: 5 }], 0)).toBe(0);
  });
});
