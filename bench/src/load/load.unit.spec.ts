// The callers of a client against a target in memory. The floor's and the SDK's targets are covered by floor.int.spec.ts
// and bench.int.spec.ts.

import { type EntityId, shardOf } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { accountCount, accountNames, loadEvents, openingAmount } from "./accounts.ts";
import { Book } from "./book.ts";
import { Load, type LoadShape } from "./load.ts";
import { Meter } from "./meter.ts";
import { amountMax, Pairs, type Transfer } from "./pairs.ts";
import type { CallResult, Target, TransferResult } from "./target.ts";

/** A bank of its own that answers at once; `answer` may put something else in a receipt's place. */
class MemoryBank implements Target {
  readonly balances = new Array<number>(accountCount).fill(0);
  readonly seqs = new Array<number>(accountCount).fill(0);
  lowest = 0;
  calls = 0;
  answer: (receipt: CallResult) => CallResult | Promise<CallResult> = (receipt) => receipt;
  onCall: () => void = () => {};

  async append(_caller: number, account: number, events: Parameters<Target["append"]>[2]): Promise<CallResult> {
    this.calls++;
    this.onCall();
    for (const { type, payload } of events) {
      this.balances[account]! += type === "Credited" ? payload.amount : -payload.amount;
      this.seqs[account]!++;
      this.lowest = Math.min(this.lowest, this.balances[account]!);
    }
    const seq = this.seqs[account]!;
    return this.answer({ ok: true, seq, firstSeq: seq - events.length + 1, count: events.length, duplicate: false });
  }

  appendMany(items: Parameters<Target["appendMany"]>[0]): Promise<CallResult[]> {
    return Promise.all(items.map(({ account, event }) => this.append(0, account, [event])));
  }

  async state(account: number): Promise<{ seq: number; balance: number }> {
    return { seq: this.seqs[account]!, balance: this.balances[account]! };
  }

  async close(): Promise<void> {}
}

function loadOn(bank: Target, shape: LoadShape): { load: Load; book: Book; meter: Meter } {
  const book = new Book(accountNames);
  let now = 0;
  const meter = new Meter(() => ++now);
  return { load: new Load(bank, shape, book, meter), book, meter };
}

const shapes: readonly LoadShape[] = [
  { callers: 20, batch: 1, entities: "one" },
  { callers: 4, batch: 500, entities: "one" },
  { callers: 1, batch: 1_000, entities: "many" },
];

describe.each(shapes)("load of $callers callers, $batch events a call, $entities", (shape) => {
  it("never asks for a balance below zero, and books what it was told", async () => {
    const bank = new MemoryBank();
    const { load, book, meter } = loadOn(bank, shape);
    expect(await load.open()).toBe(true);
    const opened = bank.calls;
    expect(Math.min(...bank.balances)).toBe(openingAmount);
    bank.onCall = () => {
      if (bank.calls >= opened + 3_000) load.stop();
    };
    await load.closedLoop();
    expect(bank.lowest).toBe(0);
    const data = book.toData();
    expect(data.events).toEqual(bank.seqs);
    expect(data.highestSeq).toEqual(bank.seqs);
    expect(data.credited.map((credited, i) => credited - data.debited[i]!)).toEqual(bank.balances);
    expect(data.contradictions).toBe(0);
    // Half of the events are debits.
    const debited = data.debited.reduce((sum, amount) => sum + amount, 0);
    const credited = data.credited.reduce((sum, amount) => sum + amount, 0) - accountCount * openingAmount;
    expect(debited / credited).toBeCloseTo(1, 1);
    expect(meter.totalEvents).toBe(bank.seqs.reduce((sum, seq) => sum + seq, 0) - accountCount);
  });
});

/** A bank whose transfers are what `end` makes of two receipts. */
class TransferBank extends MemoryBank {
  end: (done: TransferResult) => TransferResult | Promise<TransferResult> = (done) => done;

  async transfer({ from, to, amount }: Transfer): Promise<TransferResult> {
    const sides = [
      { account: from, type: "Debited" },
      { account: to, type: "Credited" },
    ] as const;
    const legs = sides.map(async ({ account, type }) => {
      const receipt = await this.append(0, account, [{ type, payload: { amount, currency: "EUR" } }]);
      if (!receipt.ok) throw new Error(receipt.code);
      const sent = type === "Debited" ? { credited: 0, debited: amount } : { credited: amount, debited: 0 };
      return { account, sent: { events: 1, ...sent }, receipt };
    });
    return this.end({ moved: true, legs: await Promise.all(legs) });
  }
}

describe("load of transfers", () => {
  const shape: LoadShape = { callers: 3, batch: 2, entities: "pair", way: "saga", shards: 1, seed: 1 };

  it("moves money and neither makes nor loses any, and books both sides of each transfer", async () => {
    const bank = new TransferBank();
    const { load, book, meter } = loadOn(bank, shape);
    expect(await load.open()).toBe(true);
    bank.onCall = () => {
      if (bank.calls >= 3_000) load.stop();
    };
    await load.closedLoop();
    const data = book.toData();
    expect(data.events).toEqual(bank.seqs);
    expect(data.credited.map((credited, i) => credited - data.debited[i]!)).toEqual(bank.balances);
    expect(bank.balances.reduce((sum, balance) => sum + balance, 0)).toBe(data.total);
    expect(data.total).toBe(accountCount * openingAmount);
    expect(meter.totalEvents).toBe(bank.calls - accountCount);
  });

  it("books a saga that went back by all that it wrote, and as refused", async () => {
    const bank = new TransferBank();
    const { load, book, meter } = loadOn(bank, { ...shape, callers: 1 });
    bank.end = ({ legs: [debit] }) => {
      load.stop();
      const credit = { ...debit!.sent, credited: debit!.sent.debited, debited: 0 };
      const receipt = { ...debit!.receipt, seq: 2, firstSeq: 2 };
      return {
        moved: false,
        code: "COMPENSATED",
        sagaEnd: "COMPENSATED",
        legs: [debit!, { account: debit!.account, sent: credit, receipt }],
      };
    };
    await load.closedLoop();
    const data = book.toData();
    const account = data.events.indexOf(2);
    expect(data.credited[account]).toBe(data.debited[account]);
    expect(data).toMatchObject({ refused: { COMPENSATED: 1 }, sagas: { COMPENSATED: 1 }, unknown: [] });
    expect(meter.totalEvents).toBe(0);
  });

  it.each([
    ["transaction", 2],
    ["saga", 4],
  ] as const)("books a %s of unknown outcome once, with all that it may have written", async (way, legs) => {
    const bank = new TransferBank();
    const { load, book } = loadOn(bank, { ...shape, callers: 1, way });
    bank.end = () => {
      load.stop();
      return Promise.reject(Object.assign(new Error("late"), { code: "TIMEOUT" }));
    };
    await load.closedLoop();
    const data = book.toData();
    expect(data.unknown).toHaveLength(legs);
    expect(data).toMatchObject({ failed: { TIMEOUT: 1 }, unknownSagas: way === "saga" ? 1 : 0 });
  });

  it("books a transaction that was aborted as one that did not happen", async () => {
    const bank = new TransferBank();
    const { load, book } = loadOn(bank, { ...shape, callers: 1, way: "transaction" });
    bank.end = () => {
      load.stop();
      return Promise.reject(Object.assign(new Error("aborted"), { code: "TRANSACTION_ABORTED" }));
    };
    await load.closedLoop();
    expect(book.toData()).toMatchObject({ refused: { TRANSACTION_ABORTED: 1 }, unknown: [] });
  });
});

describe("load: pairs of accounts", () => {
  const taken = (pairs: Pairs, count: number) => Array.from({ length: count }, () => pairs.next());

  it("are the same from the same seed, and others for another caller or seed", () => {
    const first = taken(new Pairs({ shards: 1, seed: 7 }, 0), 100);
    expect(taken(new Pairs({ shards: 1, seed: 7 }, 0), 100)).toEqual(first);
    expect(taken(new Pairs({ shards: 1, seed: 7 }, 1), 100)).not.toEqual(first);
    expect(taken(new Pairs({ shards: 1, seed: 8 }, 0), 100)).not.toEqual(first);
  });

  it("are two accounts each, spread over all, with amounts from 1 to the greatest", () => {
    const all = taken(new Pairs({ shards: 1, seed: 1 }, 0), 50_000);
    expect(all.filter(({ from, to }) => from === to)).toEqual([]);
    for (const side of ["from", "to"] as const) expect(new Set(all.map((pair) => pair[side])).size).toBe(accountCount);
    expect(new Set(all.map(({ amount }) => amount)).size).toBe(amountMax);
    expect(Math.min(...all.map(({ amount }) => amount))).toBe(1);
  });

  it("lie on different shards where there are several", () => {
    const shard = (account: number) => shardOf(accountNames[account]! as EntityId, 2);
    const all = taken(new Pairs({ shards: 2, seed: 1 }, 0), 10_000);
    expect(all.filter(({ from, to }) => shard(from) === shard(to))).toEqual([]);
  });
});

describe("load: what is not acknowledged", () => {
  const shape: LoadShape = { callers: 1, batch: 2, entities: "one" };

  async function oneCall(answer: () => CallResult | Promise<CallResult>) {
    const bank = new MemoryBank();
    const { load, book, meter } = loadOn(bank, shape);
    bank.onCall = () => load.stop();
    bank.answer = answer;
    await load.closedLoop();
    return { data: book.toData(), meter };
  }

  it("books a rejection as a call that did not happen", async () => {
    const { data, meter } = await oneCall(() => ({ ok: false, code: "INVARIANT_VIOLATED" }));
    expect(data).toMatchObject({ refused: { INVARIANT_VIOLATED: 1 }, unknown: [], failed: {} });
    expect(meter.totalEvents).toBe(0);
  });

  it.each(["OVERLOADED", "INVALID_PAYLOAD"])(
    "books the error %s, after which nothing changed, the same way",
    async (code) => {
      const { data } = await oneCall(() => Promise.reject(Object.assign(new Error(code), { code })));
      expect(data).toMatchObject({ refused: { [code]: 1 }, unknown: [] });
    },
  );

  it.each(["TIMEOUT", "OUTCOME_UNKNOWN", "ECONNRESET"])(
    "books the error %s as a call that may have happened",
    async (code) => {
      const { data } = await oneCall(() => Promise.reject(Object.assign(new Error(code), { code })));
      expect(data.failed).toEqual({ [code]: 1 });
      expect(data.unknown).toMatchObject([{ events: 2, credited: 100, debited: 101 }]);
      expect(data.events.every((events) => events === 0)).toBe(true);
    },
  );

  it("books a receipt that says another number of events as a contradiction", async () => {
    const { data } = await oneCall(() => ({ ok: true, seq: 1, firstSeq: 1, count: 1, duplicate: false }));
    expect(data.contradictions).toBe(1);
    expect(data.contradictionExamples[0]).toContain("sent 2 events, the receipt says 1");
  });

  it("books calls that are under way when it is told to end as unknown, whatever comes later", async () => {
    const bank = new MemoryBank();
    const { load, book } = loadOn(bank, { callers: 3, batch: 2, entities: "one" });
    const held: ((outcome: CallResult | Promise<CallResult>) => void)[] = [];
    bank.answer = () => new Promise((resolve) => held.push(resolve));
    const running = load.closedLoop();
    load.abandon();
    held[0]!({ ok: true, seq: 2, firstSeq: 1, count: 2, duplicate: false });
    held[1]!({ ok: false, code: "OVERLOADED" });
    held[2]!(Promise.reject(new Error("the connection is gone")));
    await running;
    const data = book.toData();
    expect(data.unknown).toHaveLength(3);
    expect(data.failed).toEqual({ ABANDONED: 3 });
    expect(data.refused).toEqual({});
    expect(data.events.every((events) => events === 0)).toBe(true);
  });

  it("books every item of a call for many that got no result as unknown", async () => {
    const bank = new MemoryBank();
    bank.appendMany = async () => [{ ok: true, seq: 1, firstSeq: 1, count: 1, duplicate: false }];
    const { load, book } = loadOn(bank, { callers: 1, batch: 1_000, entities: "many" });
    expect(await load.open()).toBe(false);
    expect(book.toData().failed).toEqual({ NO_RESULT: 999 });
  });
});

describe("load: opening the accounts", () => {
  it("says so when one of them could not be credited: the run would end in rejections", async () => {
    const bank = new MemoryBank();
    bank.answer = (receipt) => (bank.calls === 500 ? { ok: false, code: "OVERLOADED" } : receipt);
    const { load } = loadOn(bank, { callers: 1, batch: 1, entities: "one" });
    expect(await load.open()).toBe(false);
    expect(bank.calls).toBeLessThan(accountCount);
  });
});

describe("load: open loop", () => {
  it("makes calls when they are due though none has been answered, and then waits for all answers", async () => {
    const bank = new MemoryBank();
    const { load, book, meter } = loadOn(bank, { callers: 1, batch: 1, entities: "one" });
    const held: (() => void)[] = [];
    let holding = true;
    bank.answer = (receipt) => {
      if (!holding) return receipt;
      // The third call that falls due while two are held shows that nobody waited for them.
      if (held.length === 2) {
        holding = false;
        for (const release of held) release();
        load.stop();
        return receipt;
      }
      return new Promise((resolve) => held.push(() => resolve(receipt)));
    };
    const made = await load.openLoop(1_000);
    expect(made).toBeGreaterThanOrEqual(3);
    expect(meter.totalEvents).toBe(made);
    expect(book.toData().events.reduce((sum, events) => sum + events, 0)).toBe(made);
  });
});

describe("load: events", () => {
  it("alternates between credits and debits over the calls of a caller", () => {
    const totals = { events: 0, credited: 0, debited: 0 };
    expect(loadEvents(3, 3, totals)).toEqual([
      { type: "Debited", payload: { amount: 100, currency: "EUR" } },
      { type: "Credited", payload: { amount: 101, currency: "EUR" } },
      { type: "Debited", payload: { amount: 102, currency: "EUR" } },
    ]);
    expect(totals).toEqual({ events: 3, credited: 101, debited: 202 });
  });
});
