// Plan: which transfers a storm is made of, and how each must end. The same seed gives the same storm. Pure.
//
// Every twentieth transfer must fail: it asks for more than the bank has, or one of its accounts is frozen. All others
// must succeed, in any order: every account is opened with more than all transfers together could take from it. Transfers are made
// one at a time as they are asked for, so that a storm may go on for as long as it likes.
import type { Random } from "@heddle/kernel";
import { seededRandom } from "@heddle/testkit";

export type FailReason = "INSUFFICIENT_FUNDS" | "ACCOUNT_FROZEN";

export interface PlannedTransfer {
  readonly from: number;
  readonly to: number;
  readonly amount: number;
  /** Undefined: it must succeed. */
  readonly fails: FailReason | undefined;
}

export interface StormPlan {
  readonly accounts: number;
  /** The last ones of all. */
  readonly frozen: number;
  readonly opening: number;
  /** From the first on; as many as the plan was made for. */
  transfers(): Generator<PlannedTransfer, void, undefined>;
}

export const amountMax = 100;
/** One of so many transfers must fail. */
export const failsEvery = 20;
/** One of so many accounts is frozen. */
const frozenEvery = 100;

const failures = ["too much", "from a frozen account", "to a frozen account"] as const;

export function planStorm(options: {
  readonly accounts: number;
  /** At most. */
  readonly transfers: number;
  readonly seed: number;
}): StormPlan {
  const { accounts, transfers, seed } = options;
  const frozen = Math.max(1, Math.floor(accounts / frozenEvery));
  const opening = (transfers + 1) * amountMax;
  return {
    accounts,
    frozen,
    opening,
    *transfers() {
      const plan = planner({ accounts, frozen, opening }, seededRandom(seed));
      for (let index = 0; index < transfers; index++) yield plan(index);
    },
  };
}

/** When the node dies: shares of the storm, in order, spread evenly at random. */
export function planKills({ kills, seed }: { readonly kills: number; readonly seed: number }): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: kills }, () => random.safeInteger() / 2 ** 53).sort((a, b) => a - b);
}

function planner(
  { accounts, frozen, opening }: Pick<StormPlan, "accounts" | "frozen" | "opening">,
  random: Random,
): (index: number) => PlannedTransfer {
  const below = (bound: number) => random.safeInteger() % bound;
  const live = () => below(accounts - frozen);
  const ice = () => accounts - frozen + below(frozen);
  return (index) => {
    const from = live();
    const to = (from + 1 + below(accounts - frozen - 1)) % (accounts - frozen);
    const amount = 1 + below(amountMax);
    if (index % failsEvery !== failsEvery - 1) return { from, to, amount, fails: undefined };
    switch (failures[Math.floor(index / failsEvery) % failures.length]!) {
      case "too much":
        return { from, to, amount: accounts * opening + 1, fails: "INSUFFICIENT_FUNDS" };
      case "from a frozen account":
        return { from: ice(), to, amount, fails: "ACCOUNT_FROZEN" };
      case "to a frozen account":
        return { from, to: ice(), amount, fails: "ACCOUNT_FROZEN" };
    }
  };
}
