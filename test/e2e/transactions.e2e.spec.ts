// Goal: what a user is told of transactions is true of a whole node: all or nothing, isolated, once, and over lost threads.
// Method: real nodes with four shards on two threads, clients over sockets; the functions of the how-to page are those that run.
// Tested elsewhere: crashes at every point (test/crash), schedules (test/simulation), what the SDK asks for (packages/client).
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { committed, Heddle } from "@heddle/client";
import { type EntityId, shardOf } from "@heddle/kernel";
import { auditFolder } from "@heddle/runtime/internal";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { runPage } from "../support/how-to-page.ts";
import { bank as bankModule, newFolder, startTestNode } from "../support/node.ts";
import type pairs from "./pairs.ts";

// #region transfer
export function transfer(db: Heddle<typeof bank>, from: string, to: string, amount: number, id: string) {
  return db.transaction(
    (tx) => {
      tx.execute(from, "Withdraw", { amount });
      tx.execute(to, "Deposit", { amount });
    },
    { id },
  );
}
// #endregion transfer

// #region decide
/** Fills a current account up to 1,000 from its owner's savings. */
export function fillUp(db: Heddle<typeof bank>, current: string, savings: string) {
  return db.transaction(async (tx) => {
    const [has, saved] = await Promise.all([tx.get(current), tx.get(savings)]);
    const missing = 1000 - has.state.balance;
    if (missing <= 0) return 0;
    if (saved.state.balance < missing) return tx.reject("INSUFFICIENT", { missing, saved: saved.state.balance });
    tx.append(savings, "Debited", { amount: missing });
    tx.append(current, "Credited", { amount: missing });
    return missing;
  });
}
// #endregion decide

// #region rule
/** Moves the credit of one of two cards, which together stay between 0 and 100. */
export function moveCredit(db: Heddle<typeof pairs>, card: string, other: string, by: number, least = 0) {
  return db.transaction(async (tx) => {
    const [mine, theirs] = await Promise.all([tx.get(card, "Card"), tx.get(other, "Card")]);
    const credit = mine.state.credit + theirs.state.credit + by;
    if (credit < least || credit > 100) return tx.reject("OUT_OF_BOUNDS", { credit });
    tx.append(card, "CreditMoved", { by }, { aggregate: "Card" });
    return credit;
  });
}
// #endregion rule

// #region audit
export async function totalOf(db: Heddle<typeof bank>, accounts: readonly string[]) {
  const found = await db.getMany(accounts.map((entity) => ({ entity })));
  return found.reduce((sum, { state }) => sum + state.balance, 0);
}
// #endregion audit

const pairsModule = fileURLToPath(new URL("./pairs.ts", import.meta.url));
const shards = 4;
const nodeOptions = { shards, threads: 2 };

/** Ids of accounts on one shard. */
function accountsOn(shard: number, count: number, prefix: string): string[] {
  const found: string[] = [];
  for (let i = 0; found.length < count; i++) {
    const id = `account/${prefix}-${i}`;
    if (shardOf(id as EntityId, shards) === shard) found.push(id);
  }
  return found;
}

async function open(db: Heddle<typeof bank>, accounts: readonly string[], balance: number): Promise<void> {
  const items = accounts.map((entity) => ({ entity, type: "Credited", payload: { amount: balance } }) as const);
  for (const result of await db.appendMany(items)) committed(result);
}

/** Numbers that look random and are the same in every run. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const balancesOf = async (db: Heddle<typeof bank>, accounts: readonly string[]) =>
  (await db.getMany(accounts.map((entity) => ({ entity })))).map(({ state }) => state.balance);

describe("transactions: all or nothing", () => {
  it("on one shard, over two and over all: everything at once, or nothing when one operation is refused", async () => {
    await using node = await startTestNode(nodeOptions);
    await using db = new Heddle<typeof bank>({ port: node.port });
    const groups = {
      "one shard": accountsOn(2, 3, "a"),
      "two shards": [...accountsOn(3, 1, "b"), ...accountsOn(0, 2, "b")],
      "all shards": [3, 1, 0, 2].flatMap((shard) => accountsOn(shard, 2, "c")),
    };
    for (const [what, accounts] of Object.entries(groups)) {
      await open(db, accounts, 10);
      const first = accounts[0]!;
      const done = await db.transaction((tx) => {
        for (const account of accounts.slice(1)) tx.execute(account, "Deposit", { amount: 2 });
        tx.append(first, [
          { type: "Debited", payload: { amount: 1 } },
          { type: "Credited", payload: { amount: 4 } },
        ]);
        tx.execute(first, "Withdraw", { amount: 13 });
      });
      expect(done, what).toMatchObject({ ok: true, attempts: 1, duplicate: false });
      expect(done.ok && done.receipts.map(({ seq, count }) => [seq, count]), what).toEqual([
        ...accounts.slice(1).map(() => [2, 1]),
        [3, 2],
        [4, 1],
      ]);
      expect(await balancesOf(db, accounts), what).toEqual([0, ...accounts.slice(1).map(() => 12)]);

      for (const refuse of [accounts.at(-1)!, first]) {
        const refused = await db.transaction((tx) => {
          for (const account of accounts) if (account !== refuse) tx.execute(account, "Deposit", { amount: 100 });
          tx.execute(refuse, "Withdraw", { amount: 50 });
        });
        expect(refused, what).toMatchObject({
          ok: false,
          code: "TRANSACTION_REJECTED",
          facts: {
            operation: accounts.length - 1,
            entity: refuse,
            rejection: { code: "COMMAND_REJECTED", facts: { reason: "INSUFFICIENT_FUNDS" } },
          },
        });
      }
      const broken = await db.transaction((tx) => {
        tx.execute(accounts.at(-1)!, "Deposit", { amount: 100 });
        tx.append(first, "Debited", { amount: 1 });
      });
      expect(broken, what).toMatchObject({ facts: { rejection: { code: "INVARIANT_VIOLATED" } } });
      const stale = await db.transaction((tx) => {
        tx.execute(first, "Deposit", { amount: 100 });
        tx.require(accounts.at(-1)!, 1);
      });
      expect(stale, what).toMatchObject({ facts: { operation: 1, rejection: { code: "SEQUENCE_CONFLICT" } } });
      expect(await balancesOf(db, accounts), what).toEqual([0, ...accounts.slice(1).map(() => 12)]);
    }
  });

  it("P7: bad input is refused with its own error, by every shard, and writes nothing", async () => {
    await using node = await startTestNode(nodeOptions);
    await using db = new Heddle({ port: node.port });
    const [near, far] = [accountsOn(0, 1, "near")[0]!, accountsOn(3, 1, "far")[0]!];
    const beside = accountsOn(0, 1, "beside")[0]!;
    for (const [good, bad] of [
      [far, near],
      [near, far],
      [beside, near],
    ] as const) {
      for (const [code, operation] of [
        ["UNKNOWN_COMMAND", (tx) => tx.execute(bad, "Widraw", {})],
        ["UNKNOWN_EVENT_TYPE", (tx) => tx.append(bad, "Credit", {}, { aggregate: "Account" })],
        ["UNKNOWN_AGGREGATE", (tx) => tx.execute(bad, "Withdraw", {}, { aggregate: "Acount" })],
        ["UNKNOWN_KIND", (tx) => tx.append(bad.replace("account/", "acount/"), "Credited", { amount: 5 })],
        ["INVALID_PAYLOAD", (tx) => tx.append(bad, "Credited", { amount: "5" })],
        ["INVALID_PAYLOAD", (tx) => tx.execute(bad, "Deposit", { amount: -5 })],
      ] as [string, (tx: Parameters<Parameters<typeof db.transaction>[0]>[0]) => void][]) {
        const call = (reads: boolean) =>
          db.transaction(async (tx) => {
            if (reads) await tx.get(good);
            tx.append(good, "Credited", { amount: 5 });
            operation(tx);
          });
        for (const reads of [false, true]) {
          // A kind is refused before operations are looked at one by one: its entity says which it is.
          const misspelt = { entity: bad.replace("account/", "acount/") };
          const place = { code, facts: code === "UNKNOWN_KIND" ? misspelt : { operation: 1, entity: bad } };
          await expect(call(reads), `${code} on ${bad}`).rejects.toMatchObject(place);
        }
      }
    }
    expect(await db.entitiesPage()).toEqual(Object.assign([], { cursor: undefined }));
    expect(await db.getMany([{ entity: near }, { entity: far }])).toEqual([
      { state: { balance: 0 }, seq: 0 },
      { state: { balance: 0 }, seq: 0 },
    ]);
  });
});

describe("transactions: isolation", () => {
  it("an auditor who reads all accounts at one moment never finds a total that is not right", async () => {
    await using node = await startTestNode(nodeOptions);
    await using db = new Heddle<typeof bank>({ port: node.port });
    await using auditing = new Heddle<typeof bank>({ port: node.port });
    const accounts = Array.from({ length: 60 }, (_, i) => `account/${i}`);
    await open(db, accounts, 100);
    let isOver = false;
    const audits = (async () => {
      let count = 0;
      for (; !isOver || count < 20; count++) expect(await totalOf(auditing, accounts)).toBe(6_000);
      return count;
    })();
    let refused = 0;
    const worker = async (number: number): Promise<void> => {
      const roll = dice(number);
      for (let i = 0; i < 60; i++) {
        const [from, to] = [accounts[roll(60)]!, accounts[roll(60)]!];
        if (from === to) continue;
        const amount = 1 + roll(80);
        const done =
          i % 3 === 0
            ? await readAndMove(db, from, to, amount)
            : await transfer(db, from, to, amount, `t-${number}-${i}`);
        if (!done.ok) refused++;
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, number) => worker(number + 1)));
    isOver = true;
    expect(await audits).toBeGreaterThanOrEqual(20);
    expect(refused).toBeGreaterThan(0);
    expect(await totalOf(db, accounts)).toBe(6_000);
    for (const balance of await balancesOf(db, accounts)) expect(balance).toBeGreaterThanOrEqual(0);
  });

  it("a rule over two entities is never broken by two who each see only what was before: 100,000 tries", async () => {
    await using node = await startTestNode({ ...nodeOptions, domain: pairsModule });
    await using one = new Heddle<typeof pairs>({ port: node.port, timeoutMs: 120_000 });
    await using two = new Heddle<typeof pairs>({ port: node.port, timeoutMs: 120_000 });
    // Half of the pairs lie on one shard, the others mostly on two.
    const cards = Array.from({ length: 200 }, (_, i) =>
      i % 2 === 0 ? ([`card/{${i}}/a`, `card/{${i}}/b`] as const) : ([`card/${i}/a`, `card/${i}/b`] as const),
    );
    const all = cards.flat();
    const items = all.map(
      (entity) => ({ entity, aggregate: "Card", type: "CreditMoved", payload: { by: 45 } }) as const,
    );
    for (const result of await one.appendMany(items)) committed(result);
    const tries = 100_000;
    const rounds = tries / 2 / cards.length;
    const outcomes = { moved: 0, refused: 0 };
    // At 90, two add 8 at once: one of the two must fail each time. Then the 8 are taken away where they came.
    const pairOf = async ([a, b]: readonly [string, string]): Promise<void> => {
      for (let round = 0; round < rounds; round++) {
        const both = await Promise.all([moveCredit(one, a, b, 8, 90), moveCredit(two, b, a, 8, 90)]);
        if (both.filter(({ ok }) => ok).length !== 1) throw new Error(`round ${round}: ${JSON.stringify(both)}`);
        for (const done of both) {
          if (done.ok) outcomes.moved++;
          else if (done.code === "REJECTED") outcomes.refused++;
        }
        const [mine, theirs] = both[0]!.ok ? [a, b] : [b, a];
        const back = await moveCredit(one, mine, theirs, -8, 90);
        if (!back.ok) throw new Error(`round ${round}: ${JSON.stringify(back)}`);
      }
    };
    await Promise.all(cards.map(pairOf));
    expect(outcomes).toEqual({ moved: tries / 2, refused: tries / 2 });
    const found = await one.getMany(all.map((entity) => ({ entity, aggregate: "Card" }) as const));
    const sums = cards.map((_, i) => found[2 * i]!.state.credit + found[2 * i + 1]!.state.credit);
    expect(new Set(sums)).toEqual(new Set([90]));
  });

  it("of ten seats, nine are taken: of two who come at once, each to another cabin, one gets the last", async () => {
    await using node = await startTestNode({ ...nodeOptions, domain: pairsModule });
    await using db = new Heddle<typeof pairs>({ port: node.port });
    const board = (flight: string, cabin: string, other: string, passenger: string) =>
      db.transaction(async (tx) => {
        const [mine, theirs] = await Promise.all([tx.get(cabin, "Cabin"), tx.get(other, "Cabin")]);
        const taken = mine.state.taken + theirs.state.taken;
        if (taken >= 10) return tx.reject("FULL", { flight, taken });
        tx.append(cabin, "Boarded", { passenger }, { aggregate: "Cabin" });
        return taken + 1;
      });
    const flight = async (number: number): Promise<void> => {
      const id = number % 2 === 0 ? `flight/{${number}}` : `flight/${number}`;
      const [front, back] = [`${id}/front`, `${id}/back`];
      const nine = Array.from({ length: 9 }, (_, i) => ({ type: "Boarded", payload: { passenger: `p${i}` } }) as const);
      committed(await db.entity(front).append(nine.slice(0, 4), { aggregate: "Cabin" }));
      committed(await db.entity(back).append(nine.slice(4), { aggregate: "Cabin" }));
      const both = await Promise.all([board(id, front, back, "ann"), board(id, back, front, "ben")]);
      expect(both.filter(({ ok }) => ok)).toMatchObject([{ ok: true, value: 10 }]);
      expect(both.filter(({ ok }) => !ok)).toEqual([
        { ok: false, code: "REJECTED", reason: "FULL", facts: { flight: id, taken: 10 } },
      ]);
    };
    for (let i = 0; i < 2_000; i += 100) await Promise.all(Array.from({ length: 100 }, (_, n) => flight(i + n)));
  });

  it("entities with the same tag lie on one shard, whatever else their ids say", async () => {
    await using node = await startTestNode(nodeOptions);
    await using db = new Heddle<typeof bank>({ port: node.port });
    for (const tag of ["acme", "a/b", "é", "7"]) {
      const done = await db.transaction((tx) => {
        for (const entity of [`account/{${tag}}`, `account/2026/{${tag}}/17`, `fees/x{${tag}}{y}`]) {
          tx.append(entity, "Credited", { amount: 1 });
        }
      });
      expect(done).toMatchObject({ ok: true });
      expect(new Set(done.ok ? done.receipts.map(({ shard }) => shard) : []).size, tag).toBe(1);
      // One record of the log: that is what makes it cheap.
      const positions = done.ok ? done.receipts.map(({ position }) => position) : [];
      expect(Math.max(...positions) - Math.min(...positions), tag).toBeLessThan(1_000);
    }
  });
});

describe("transactions: once (P4)", () => {
  it("the same id gives the first receipts, at once, later and after a restart; with other writes it is refused", async () => {
    const data = path.join(newFolder(), "data");
    const [alice, bob] = [accountsOn(0, 1, "alice")[0]!, accountsOn(3, 1, "bob")[0]!];
    const near = accountsOn(0, 1, "near")[0]!;
    const first = new Map<string, unknown>();
    {
      await using node = await startTestNode({ ...nodeOptions, data });
      await using db = new Heddle<typeof bank>({ port: node.port });
      await open(db, [alice, bob, near], 100);
      for (const [id, to] of [
        ["far", bob],
        ["near", near],
      ] as const) {
        const [a, b] = await Promise.all([transfer(db, alice, to, 7, id), transfer(db, alice, to, 7, id)]);
        expect([a, b].filter((done) => done.ok && done.duplicate)).toHaveLength(1);
        if (!a.ok || !b.ok) throw new Error("refused");
        const receipts = a.receipts.map((receipt) => ({ ...receipt, duplicate: true }));
        expect(b.receipts.map((receipt) => ({ ...receipt, duplicate: true }))).toEqual(receipts);
        first.set(id, receipts);
      }
    }
    await using node = await startTestNode({ ...nodeOptions, data });
    await using db = new Heddle<typeof bank>({ port: node.port });
    for (const [id, to] of [
      ["far", bob],
      ["near", near],
    ] as const) {
      expect(await transfer(db, alice, to, 7, id)).toMatchObject({ duplicate: true, receipts: first.get(id) });
      await expect(transfer(db, alice, to, 8, id)).rejects.toMatchObject({ code: "ID_REUSED" });
    }
    // Whatever it reads this time, and whatever sequences it expects.
    const read = await db.transaction(
      async (tx) => {
        const { seq } = await tx.get(alice);
        tx.execute(alice, "Withdraw", { amount: 7 }, { expectedSeq: seq });
        tx.execute(bob, "Deposit", { amount: 7 });
      },
      { id: "far" },
    );
    expect(read).toMatchObject({ duplicate: true, receipts: first.get("far") });
    expect(await balancesOf(db, [alice, bob, near])).toEqual([86, 107, 107]);
  });

  it("an id is found again whatever was read beside the writes, on lower shards and on higher ones", async () => {
    await using node = await startTestNode(nodeOptions);
    await using db = new Heddle<typeof bank>({ port: node.port });
    const [lowest, low, high, highest] = [0, 1, 2, 3].map((shard) => accountsOn(shard, 1, "id")[0]!);
    const pay = (reads: readonly string[]) =>
      db.transaction(
        async (tx) => {
          for (const entity of reads) await tx.get(entity);
          tx.append(low!, "Credited", { amount: 1 });
          tx.append(high!, "Credited", { amount: 1 });
        },
        { id: "paid" },
      );
    expect(await pay([lowest!, high!])).toMatchObject({ ok: true, duplicate: false });
    for (const reads of [[], [lowest!], [highest!, low!, lowest!]]) {
      expect(await pay(reads), String(reads)).toMatchObject({ duplicate: true, receipts: [{ seq: 1 }, { seq: 1 }] });
    }
    expect(await balancesOf(db, [lowest!, low!, high!, highest!])).toEqual([0, 1, 1, 0]);
  });

  it("over threads that are lost in the middle: each takes effect once or is refused, and nobody hangs", async () => {
    const data = path.join(newFolder(), "data");
    await using node = await startTestNode({ ...nodeOptions, data });
    await using db = new Heddle<typeof bank>({ port: node.port, timeoutMs: 120_000 });
    const accounts = Array.from({ length: 40 }, (_, i) => `account/${i}`);
    await open(db, accounts, 50);
    const events = new Map(accounts.map((account) => [account, 1]));
    const done: { from: string; to: string; amount: number; id: string }[] = [];
    let finished = 0;
    const worker = async (number: number): Promise<void> => {
      const roll = dice(100 + number);
      for (let i = 0; i < 100; i++) {
        const [from, to] = [accounts[roll(40)]!, accounts[roll(40)]!];
        if (from === to) continue;
        const [amount, id] = [1 + roll(30), `t-${number}-${i}`];
        const result = await transfer(db, from, to, amount, id);
        // The others have calls under way at this moment, of which some get no answer.
        finished++;
        if (finished === 400 || finished === 1_200) node.failThread(0);
        if (finished === 800 || finished === 1_200) node.failThread(1);
        if (!result.ok) continue;
        done.push({ from, to, amount, id });
        for (const account of [from, to]) events.set(account, events.get(account)! + 1);
      }
    };
    await Promise.all(Array.from({ length: 20 }, (_, number) => worker(number)));
    expect(await totalOf(db, accounts)).toBe(2_000);
    const found = await db.getMany(accounts.map((entity) => ({ entity })));
    expect(found.map(({ seq }) => seq)).toEqual([...events.values()]);
    for (const { from, to, amount, id } of done.slice(0, 300)) {
      expect(await transfer(db, from, to, amount, id)).toMatchObject({ ok: true, duplicate: true });
    }
    expect(await totalOf(db, accounts)).toBe(2_000);
    await db.close();
    await node.close();
    expect(await auditFolder({ data, domain: bankModule })).toMatchObject({ ok: true, problems: [], entities: 40 });
    fs.rmSync(path.dirname(data), { recursive: true, force: true });
  });
});

describe("transactions: other doors", () => {
  it("over HTTP: writes and reads together, a refusal by its place, and states of one moment", async () => {
    await using node = await startTestNode(nodeOptions);
    const post = async (route: string, body: object) => {
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${node.http}${route}`, { method: "POST", headers, body: JSON.stringify(body) });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const [alice, bob] = [accountsOn(1, 1, "alice")[0]!, accountsOn(2, 1, "bob")[0]!];
    const operations = [
      { entity: alice, type: "Credited", payload: { amount: 50 } },
      { entity: alice, read: true },
      { entity: alice, command: "Withdraw", input: { amount: 20 } },
      { entity: bob, command: "Deposit", input: { amount: 20 } },
      { entity: bob, read: true, expectedSeq: 1 },
    ];
    const first = await post("/v1/transactions", { operations, id: "t-1" });
    expect(first).toMatchObject({
      status: 200,
      body: {
        ok: true,
        duplicate: false,
        results: [
          { entity: alice, seq: 1 },
          { entity: alice, state: { balance: 50 }, seq: 1 },
          { entity: alice, seq: 2 },
          { entity: bob, seq: 1 },
          { entity: bob, state: { balance: 20 }, seq: 1 },
        ],
      },
    });
    expect(await post("/v1/transactions", { operations, id: "t-1" })).toMatchObject({
      status: 200,
      body: { duplicate: true, results: [{ seq: 1, duplicate: true }, null, { seq: 2 }, { seq: 1 }, null] },
    });
    const refused = [operations[3]!, { entity: alice, command: "Withdraw", input: { amount: 31 } }];
    expect(await post("/v1/transactions", { operations: refused })).toMatchObject({
      status: 409,
      body: { code: "TRANSACTION_REJECTED", facts: { operation: 1, entity: alice } },
    });
    expect(await post("/v1/read", { items: [{ entity: bob }, { entity: alice }] })).toEqual({
      status: 200,
      body: {
        states: [
          { entity: bob, aggregate: "Account", state: { balance: 20 }, seq: 1 },
          { entity: alice, aggregate: "Account", state: { balance: 30 }, seq: 2 },
        ],
      },
    });
  });

  it("change-entities-together.md: its commands run, and print what it says", async () => {
    const folder = newFolder();
    await using node = await startTestNode({ data: path.join(folder, "data"), shards });
    await runPage("change-entities-together.md", folder, node.url);
    fs.rmSync(folder, { recursive: true, force: true });
  });

  it("change-entities-together.md: its functions do what it says", async () => {
    await using node = await startTestNode(nodeOptions);
    await using db = new Heddle<typeof bank>({ port: node.port });
    const [current, savings] = ["account/{ann}/current", "account/{ann}/savings"] as const;
    await open(db, [current], 300);
    expect(await fillUp(db, current, savings)).toEqual({
      ok: false,
      code: "REJECTED",
      reason: "INSUFFICIENT",
      facts: { missing: 700, saved: 0 },
    });
    await open(db, [savings], 5_000);
    expect(await fillUp(db, current, savings)).toMatchObject({ ok: true, value: 700 });
    expect(await fillUp(db, current, savings)).toMatchObject({ ok: true, value: 0, receipts: [] });
    expect(await balancesOf(db, [current, savings])).toEqual([1_000, 4_300]);
  });
});

/** As `transfer`, deciding in the client. */
function readAndMove(db: Heddle<typeof bank>, from: string, to: string, amount: number) {
  return db.transaction(
    async (tx) => {
      const { state } = await tx.get(from);
      if (state.balance < amount) return tx.reject("INSUFFICIENT", { balance: state.balance });
      tx.append(from, "Debited", { amount });
      tx.append(to, "Credited", { amount });
    },
    { attempts: 100 },
  );
}
