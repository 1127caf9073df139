import { describe, expect, it } from "vitest";
import { amountMax, planStorm } from "./plan.ts";

const plan = planStorm({ accounts: 1_000, transfers: 100_000, seed: 1 });
const failing = plan.transfers.filter(({ fails }) => fails !== undefined);
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
    const sent = plan.transfers.filter(({ fails }) => fails === undefined);
    expect(sent.filter(({ from, to }) => isFrozen(from) || isFrozen(to) || from === to)).toEqual([]);
    expect(Math.max(...sent.map(({ amount }) => amount))).toBe(amountMax);
    expect(sent.length * amountMax).toBeLessThan(plan.opening);
    expect(new Set(sent.flatMap(({ from, to }) => [from, to])).size).toBe(plan.accounts - plan.frozen);
  });

  it("is the same from the same seed, and another from another", () => {
    const of = (seed: number) => planStorm({ accounts: 10, transfers: 50, seed });
    expect(of(7)).toEqual(of(7));
    expect(of(7)).not.toEqual(of(8));
  });
});
