// Goal: what a storm objects to. Method: a bank in memory that is wrong in one way. The real node: storm.int.spec.ts.
import { describe, expect, it } from "vitest";
import type { StormClient } from "./domain.ts";
import { planStorm } from "./plan.ts";
import { type Blow, Storm, whyCompensated } from "./run-storm.ts";

const plan = planStorm({ accounts: 10, transfers: 60, seed: 3 });

type Transfer = { readonly from: string; readonly to: string; readonly amount: number };

/** Does what a node would, but for what a test replaces. */
class MemoryBank {
  readonly balances = new Map<string, number>();
  readonly frozen = new Set<string>();
  /** As the node would list them. */
  readonly unfinished: { readonly saga: string }[] = [];

  move({ from, to, amount }: Transfer): string | undefined {
    if (this.frozen.has(from) || this.frozen.has(to)) return "ACCOUNT_FROZEN";
    if (this.balances.get(from)! < amount) return "INSUFFICIENT_FUNDS";
    this.add(from, -amount);
    this.add(to, amount);
    return undefined;
  }

  add(account: string, amount: number): void {
    this.balances.set(account, (this.balances.get(account) ?? 0) + amount);
  }

  read(account: string): number {
    return this.balances.get(account)!;
  }

  client(): StormClient {
    const entity = (id: string) => ({
      append: async (events: readonly { type: string; payload: { amount: number } }[]) => {
        this.add(id, events[0]!.payload.amount);
        if (events.length > 1) this.frozen.add(id);
        return { ok: true };
      },
    });
    const getMany = async (items: readonly { entity: string }[]) =>
      items.map(({ entity }) => ({ state: { balance: this.read(entity) } }));
    const transaction = async (run: (tx: object) => void) => {
      const sides: { id: string; amount: number }[] = [];
      run({ execute: (id: string, _: string, { amount }: { amount: number }) => sides.push({ id, amount }) });
      const [from, to] = sides;
      const reason = this.move({ from: from!.id, to: to!.id, amount: from!.amount });
      if (reason === undefined) return { ok: true };
      const rejection = { code: "COMMAND_REJECTED", facts: { reason } };
      return { ok: false, code: "TRANSACTION_REJECTED", facts: { rejection } };
    };
    const runSaga = async (_name: string, _id: string, input: Transfer) => {
      const reason = this.move(input);
      if (reason === undefined) return { resultType: "COMMITTED", steps: [] };
      return { resultType: "COMPENSATED", steps: [{ state: "refused", problem: { facts: { reason } } }] };
    };
    const sagas = async () => this.unfinished;
    return { entity, getMany, transaction, runSaga, sagas } as unknown as StormClient;
  }
}

async function stormOn(bank: MemoryBank, way: "transaction" | "saga", more: Partial<Blow> = {}) {
  const storm = new Storm(plan, { callers: 5 });
  await storm.open(bank.client());
  const report = await storm.blow(bank.client(), { way, planned: plan.transfers(), transfers: 60, ...more });
  await storm.expectNoneUnderWay(bank.client());
  await storm.compareBalances(bank.client());
  return { report, objections: storm.objections };
}

describe.each(["transaction", "saga"] as const)("storm by %s", (way) => {
  it("objects to nothing in a bank that is right", async () => {
    const { report, objections } = await stormOn(new MemoryBank(), way);
    expect(objections).toEqual([]);
    expect(report).toMatchObject({ moved: 57, failed: { INSUFFICIENT_FUNDS: 1, ACCOUNT_FROZEN: 2 }, missedMax: 0 });
    expect(report.audits).toBeGreaterThan(0);
  });

  it("objects to money that is lost on the way", async () => {
    class Leaking extends MemoryBank {
      override add(account: string, amount: number): void {
        super.add(account, amount > 0 && amount <= 100 ? amount - 1 : amount);
      }
    }
    const { objections } = await stormOn(new Leaking(), way);
    expect(objections).toContainEqual(expect.stringMatching(/^account\/\d has \d+, wanted is \d+$/));
  });

  it("objects to a transfer that succeeds where it must fail, and to one that fails for another reason", async () => {
    class Lenient extends MemoryBank {
      override move(transfer: Transfer): string | undefined {
        const reason = super.move(transfer);
        return reason === "ACCOUNT_FROZEN" ? undefined : reason === undefined ? undefined : "BAD_WEATHER";
      }
    }
    const { objections } = await stormOn(new Lenient(), way);
    expect(objections).toContainEqual(expect.stringMatching(/planned was ACCOUNT_FROZEN, found success$/));
    expect(objections).toContainEqual(expect.stringMatching(/planned was INSUFFICIENT_FUNDS, found BAD_WEATHER$/));
  });
});

describe("storm: the auditor", () => {
  /** Shows a single reader a bank in which money is under way. */
  class Halfway extends MemoryBank {
    readonly #missing: number;

    constructor(missing: number) {
      super();
      this.#missing = missing;
    }

    override read(account: string): number {
      return super.read(account) - (account === "account/0" ? this.#missing : 0);
    }
  }

  it("lets nothing be missing in the middle of transactions, and in the middle of sagas what is under way", async () => {
    const atOnce = 5 * 100;
    const audit = async (way: "transaction" | "saga", missing: number) =>
      (await stormOn(new Halfway(missing), way)).objections.filter((objection) => objection.includes("audit"));
    expect(await audit("transaction", 1)).not.toEqual([]);
    expect(await audit("saga", atOnce)).toEqual([]);
    expect(await audit("saga", atOnce + 1)).not.toEqual([]);
    expect(await audit("saga", -1)).not.toEqual([]);
  });
});

describe("storm: a saga that is under way at the end", () => {
  it("is objected to", async () => {
    const bank = new MemoryBank();
    bank.unfinished.push({ saga: "storm-7" });
    const { objections } = await stormOn(bank, "saga");
    expect(objections).toEqual([expect.stringContaining("storm-7")]);
  });
});

describe("storm: its kills", () => {
  it("come at their shares of the transfers, one at a time, and all of them", async () => {
    let answers = 0;
    class Counting extends MemoryBank {
      override move(transfer: Transfer): string | undefined {
        answers++;
        return super.move(transfer);
      }
    }
    const at: number[] = [];
    let underWay = 0;
    const kill = async () => {
      expect(++underWay).toBe(1);
      at.push(answers);
      await Promise.resolve();
      underWay--;
    };
    const { report } = await stormOn(new Counting(), "transaction", { deaths: [0.1, 0.5, 0.99], kill });
    expect(report).toMatchObject({ transfers: 60, kills: 3 });
    expect(at).toHaveLength(3);
    expect(at[0]).toBeGreaterThanOrEqual(6);
    expect(at[0]).toBeLessThan(30);
    expect(at[1]).toBeGreaterThanOrEqual(30);
    expect(at[1]).toBeLessThan(60);
    expect(at[2]).toBe(60);
  });

  it("end the storm when the node does not start again", async () => {
    const kill = () => Promise.reject(new Error("the port is taken"));
    await expect(stormOn(new MemoryBank(), "saga", { deaths: [0.2], kill })).rejects.toThrow("the port is taken");
  });
});

describe("storm: for a time", () => {
  it("goes on until its time is over, whatever is planned", async () => {
    const long = planStorm({ accounts: 10, transfers: 10_000_000, seed: 3 });
    const bank = new MemoryBank();
    const storm = new Storm(long, { callers: 5 });
    await storm.open(bank.client());
    const blow: Blow = { way: "transaction", planned: long.transfers(), transfers: 10_000_000, seconds: 0.05 };
    const report = await storm.blow(bank.client(), blow);
    await storm.compareBalances(bank.client());
    expect(storm.objections).toEqual([]);
    expect(report.tookMs).toBeGreaterThanOrEqual(50);
    expect(report.transfers).toBeGreaterThan(0);
    expect(report.transfers).toBeLessThan(10_000_000);
  });
});

describe("storm: why a saga went back", () => {
  it("is the reason of the step that was refused, or its code, or that it is stuck", () => {
    const refused = (problem: object) =>
      whyCompensated({
        resultType: "COMPENSATED",
        steps: [
          { entity: "account/a", state: "compensated" },
          { entity: "account/b", state: "refused", problem: { code: "COMMAND_REJECTED", message: "", facts: problem } },
        ],
      });
    expect(refused({ reason: "ACCOUNT_FROZEN" })).toBe("ACCOUNT_FROZEN");
    expect(refused({})).toBe("COMMAND_REJECTED");
    expect(whyCompensated({ resultType: "STUCK", steps: [] })).toBe("STUCK");
    expect(whyCompensated({ resultType: "COMMITTED", steps: [] })).toBeUndefined();
  });
});
