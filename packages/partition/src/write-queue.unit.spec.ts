// Goal: what is put goes to LMDB in few transactions (Q4), unit by unit (Q1), and no more waits here than whoever puts can be told of (Q3).
// Method: an LMDB that counts, and commits when it is told to.
import { InvariantViolation } from "@heddle/kernel/internal";
import { describe, expect, it } from "vitest";
import type { Tables } from "./environment.ts";
import type { Table } from "./table.ts";
import { WriteQueue } from "./write-queue.ts";

const key = Uint8Array.of(1);

function queueUnderTest() {
  let issued = 0;
  let commit = Promise.withResolvers<boolean>();
  let beforeCommit = () => {};
  const table = {
    put: () => {
      issued++;
      return commit.promise;
    },
  } as unknown as Table;
  const root = {
    on: (_event: string, listener: () => void) => {
      beforeCommit = listener;
    },
    get committed() {
      return commit.promise;
    },
    getStats: () => ({ root: { pageSize: 4_096 }, lastPageNumber: 2 }),
  } as unknown as Tables["root"];
  const queue = new WriteQueue(root, { folder: "/partition", shard: 0 }, 2 ** 40);
  const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
  return {
    queue,
    issued: () => issued,
    /** Ends the turn; LMDB commits what was issued in it when it is told to. */
    turn: async () => {
      beforeCommit();
      await nextTurn();
    },
    commit: async () => {
      commit.resolve(true);
      commit = Promise.withResolvers();
      await nextTurn();
    },
    putUnits: (units: number, puts = 1) => {
      for (let unit = 0; unit < units; unit++) {
        queue.begin();
        for (let i = 0; i < puts; i++) queue.put(table, key, key);
      }
    },
  };
}

describe("write queue", () => {
  it("Q4 hands nothing over before it is worth a transaction, unless somebody waits for it", async () => {
    const { queue, issued, turn, commit, putUnits } = queueUnderTest();
    putUnits(2_000);
    await turn();
    expect(issued()).toBe(0);
    let isSettled = false;
    const settled = queue.settled().then(() => {
      isSettled = true;
    });
    await turn();
    expect([issued(), isSettled]).toEqual([2_000, false]);
    await commit();
    await settled;
  });

  it("Q1 hands over whole units, all that wait", async () => {
    const { issued, turn, putUnits } = queueUnderTest();
    putUnits(690, 3);
    await turn();
    // As many as were there when the unit began that came when there were enough.
    expect([issued(), issued() % 3]).toEqual([2_049, 0]);
  });

  it("Q3 tells whoever puts to wait while LMDB has its hands full, and no longer", async () => {
    const { queue, issued, turn, commit, putUnits } = queueUnderTest();
    for (let i = 0; i < 9; i++) {
      putUnits(1_100);
      await turn();
    }
    await queue.drained();
    const before = issued();
    expect(before).toBeLessThan(9_216);
    putUnits(3_000);
    let isDrained = false;
    const drained = queue.drained().then(() => {
      isDrained = true;
    });
    await turn();
    expect([issued(), isDrained]).toEqual([before, false]);
    await commit();
    await turn();
    await drained;
    expect(issued()).toBeGreaterThan(before);
  });

  it("Q3 lets nobody wait for puts that nothing would hand over, however many they are", async () => {
    for (const puts of [2_047, 2_048, 2_049, 4_095, 4_096]) {
      const { queue, issued, turn, putUnits } = queueUnderTest();
      putUnits(puts);
      const drained = queue.drained();
      await turn();
      await drained;
      expect(issued(), String(puts)).toBe(puts - (puts % 2_048));
    }
  });

  it("P6 drops what a checkpoint left that never ended, as soon as it is to take something else", async () => {
    const { queue, issued, turn, commit, putUnits } = queueUnderTest();
    putUnits(1_000);
    await turn();
    queue.forgive();
    putUnits(1);
    const settled = queue.settled();
    await turn();
    await commit();
    await settled;
    expect(issued()).toBe(1);
  });

  it("Q1 takes no put that belongs to no unit", async () => {
    const { queue, turn, commit, putUnits } = queueUnderTest();
    putUnits(1);
    const settled = queue.settled();
    expect(() => queue.put({} as Table, key, key)).toThrow(InvariantViolation);
    await turn();
    await commit();
    await settled;
  });
});
