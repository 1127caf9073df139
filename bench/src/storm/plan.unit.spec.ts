import { describe, expect, it } from "vitest";
import { amountMax, planKills, planStorm } from "./plan.ts";

const plan = planStorm({ accounts: 1_000, transfers: 100_000, seed: 1 });
const transfers = [...plan.transfers()];
const failing = transfers.filter(({ fails }) => fails !== undefined);
const isFrozen = (account: number) => account >= plan.accounts - plan.frozen;

describe("storm: its plan", () => {
  it("has 5 % that must fail, for want of money and for frozen accounts at either end", () => {
    expect(failing).toHaveLength(5_000);
    const poor = failing.filter(({ fails }) => fails === "INSUFFICIENT_FUNDS");
    expect(poor).toHaveLength(1_667);
    expect(failing.filter(({ from }) => isFrozen(from))).toHaveLength(1_667);
    expect(failing.filter(({ to }) => isFrozen(to))).toHaveLength(1_666);
    for (const { amount } of poor) expect(amount).toBeGreaterThan(plan.accounts * plan.opening);
  });

  it("has only transfers besides that must succeed in any order: no account can run dry or is frozen", () => {
    const sent = transfers.filter(({ fails }) => fails === undefined);
    expect(sent.filter(({ from, to }) => isFrozen(from) || isFrozen(to) || from === to)).toEqual([]);
    expect(Math.max(...sent.map(({ amount }) => amount))).toBe(amountMax);
    expect(sent.length * amountMax).toBeLessThan(plan.opening);
    expect(new Set(sent.flatMap(({ from, to }) => [from, to])).size).toBe(plan.accounts - plan.frozen);
  });

  it("is the same from the same seed, and another from another", () => {
    const of = (seed: number) => [...planStorm({ accounts: 10, transfers: 50, seed }).transfers()];
    expect(of(7)).toEqual(of(7));
    expect(of(7)).not.toEqual(of(8));
  });

  it("has the node die at as many moments as wanted, in order, spread over the whole of the storm", () => {
    const kills = planKills({ kills: 1_000, seed: 3 });
    expect(kills).toEqual(kills.toSorted((a, b) => a - b));
    expect(kills.filter((share) => share < 0 || share >= 1)).toEqual([]);
    for (const quarter of [0, 1, 2, 3]) {
      expect(kills.filter((share) => Math.floor(share * 4) === quarter).length).toBeGreaterThan(200);
    }
    expect(planKills({ kills: 1_000, seed: 3 })).toEqual(kills);
    expect(planKills({ kills: 1_000, seed: 4 })).not.toEqual(kills);
    expect(planKills({ kills: 0, seed: 3 })).toEqual([]);
  });
});
