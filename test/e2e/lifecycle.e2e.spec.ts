// Goal: the life of an entity through the SDK and a real node: earlier states, ranges, copies, going back, oblivion, and
// the list of all. Method: a bank, its export, and what a fold of the same amounts by hand gives.
// Tested elsewhere: requests and options (client), copying and formats (protocol), crashes in between (shard, test/crash).
import { asSystemEvent, committed, type Entity, Heddle } from "@heddle/client";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { startTestNode } from "../support/node.ts";

type Db = Heddle<typeof bank>;

async function newNode(shards = 3) {
  const node = await startTestNode({ shards, threads: 2 });
  const db: Db = new Heddle<typeof bank>({ port: node.port });
  return {
    node,
    db,
    async [Symbol.asyncDispose]() {
      await db.close();
      await node[Symbol.asyncDispose]();
    },
  };
}

/** An account with so many credits of rising amounts; gives the balance after each sequence, from 0 on. */
async function credited(db: Db, id: string, count: number): Promise<number[]> {
  const balances = [0];
  for (let amount = 1; amount <= count; amount++) {
    committed(await db.entity(id).append("Credited", { amount }, { metadata: { amount } }));
    balances.push(balances[amount - 1]! + amount);
  }
  return balances;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const seqs = (events: readonly { seq: number }[]) => events.map(({ seq }) => seq);
const withoutPlace = (events: readonly object[]) => events.map((event) => ({ ...event, position: 0 }));
const code = (expected: string) => expect.objectContaining({ code: expected });

describe("lifecycle: earlier states", () => {
  it("getAt by sequence and by time is the fold of the events up to then", async () => {
    await using under = await newNode();
    const { db } = under;
    const balances = await credited(db, "account/a", 20);
    const a = db.entity("account/a");
    const events = await all(a.events());
    for (let seq = 0; seq <= 20; seq++) {
      expect(await a.getAt("Account", { seq })).toEqual({ state: { balance: balances[seq] }, seq });
    }
    for (const { time } of events) {
      const seq = events.findLast((event) => event.time <= time)!.seq;
      expect(await a.getAt({ time: new Date(time) })).toEqual({ state: { balance: balances[seq] }, seq });
    }
    expect(await a.getAt({ time: 0 })).toEqual({ state: { balance: 0 }, seq: 0 });
  });

  it("history by sequence and by time gives the events of the range", async () => {
    await using under = await newNode();
    const { db } = under;
    await credited(db, "account/a", 30);
    const a = db.entity("account/a");
    const events = await all(a.events({ pageEvents: 7 }));
    expect(seqs(events)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    expect(await a.history({ from: 5, to: 9 })).toEqual(events.slice(4, 9));
    expect(await a.history({ from: 9, to: 5, direction: "backward" })).toEqual(events.slice(4, 9).reverse());
    const [since, until] = [events[10]!.time, events[20]!.time];
    const between = events.filter(({ time }) => time >= since && time <= until);
    expect(await a.history({ since, until: new Date(until) })).toEqual(between);
    expect(await all(a.events({ since, until, direction: "backward" }))).toEqual(between.toReversed());
    expect(await a.history({ since: until + 3_600_000 })).toEqual([]);
  });

  it("P7: unknown entities, sequences beyond the end and times to come are OUT_OF_RANGE", async () => {
    await using under = await newNode();
    const { db } = under;
    await credited(db, "account/a", 2);
    const a = db.entity("account/a");
    await expect(a.getAt({ seq: 3 })).rejects.toEqual(code("OUT_OF_RANGE"));
    await expect(a.getAt({ time: Date.now() + 3_600_000 })).rejects.toEqual(code("OUT_OF_RANGE"));
    await expect(a.restore({ seq: 3 })).rejects.toEqual(code("OUT_OF_RANGE"));
    await expect(a.restore({ time: new Date(Date.now() + 3_600_000) })).rejects.toEqual(code("OUT_OF_RANGE"));
    await expect(a.fork("account/b", { at: { seq: 3 } })).rejects.toEqual(code("OUT_OF_RANGE"));
    await expect(a.fork("account/b", { at: { time: Date.now() + 3_600_000 } })).rejects.toEqual(code("OUT_OF_RANGE"));
    const nobody = db.entity("account/nobody");
    await expect(nobody.getAt({ seq: 1 })).rejects.toEqual(code("OUT_OF_RANGE"));
    await expect(nobody.restore({ seq: 1 })).rejects.toEqual(code("OUT_OF_RANGE"));
    await expect(nobody.fork("account/b")).rejects.toEqual(code("OUT_OF_RANGE"));
    await expect(nobody.delete()).rejects.toEqual(code("OUT_OF_RANGE"));
    expect(await nobody.history()).toEqual([]);
    const untyped = new Heddle({ port: under.node.port });
    await expect(untyped.entity("account/a").getAt("Nothing", { seq: 1 })).rejects.toEqual(code("UNKNOWN_AGGREGATE"));
    await untyped.close();
    expect(await db.entity("account/b").history()).toEqual([]);
  });
});

describe("lifecycle: going back", () => {
  it("restore gives the earlier state back by adding to the history, once for its id", async () => {
    await using under = await newNode();
    const { db } = under;
    const balances = await credited(db, "account/a", 6);
    await credited(db, "account/b", 1);
    const a = db.entity("account/a");
    const before = await a.history();
    const receipt = committed(await a.restore({ seq: 4 }, { id: "back", expectedSeq: 6 }));
    expect(receipt).toMatchObject({ firstSeq: 7, count: 5, seq: 11 });
    expect(await a.get()).toEqual({ state: { balance: balances[4] }, seq: 11 });
    expect((await a.history()).slice(0, 6)).toEqual(before);
    const marker = (await a.history({ from: 7, limit: 1 }))[0]!;
    expect(asSystemEvent(marker)).toMatchObject({ type: "Restored", payload: { seq: 4, copied: 4 } });
    const again = committed(await a.restore({ seq: 4 }, { id: "back", expectedSeq: 6 }));
    expect(again).toEqual({ ...receipt, duplicate: true });
    expect(await a.restore({ seq: 4 }, { expectedSeq: 6 })).toMatchObject({ ok: false, code: "SEQUENCE_CONFLICT" });
    // What lies before stays reachable, and others never noticed.
    expect(await a.getAt({ seq: 6 })).toEqual({ state: { balance: balances[6] }, seq: 6 });
    committed(await a.restore({ seq: 0 }));
    expect(await a.get()).toEqual({ state: { balance: 0 }, seq: 12 });
    expect(await db.entity("account/b").get()).toEqual({ state: { balance: 1 }, seq: 1 });
  });

  it("fork copies the history up to a moment; source and copy then live apart", async () => {
    await using under = await newNode();
    const { db } = under;
    const balances = await credited(db, "account/a", 40);
    const a = db.entity("account/a");
    const { entity: b, seq } = await a.fork("account/b", { at: { seq: 25 } });
    expect([b.id, seq]).toEqual(["account/b", 25]);
    expect(await b.get()).toEqual({ state: { balance: balances[25] }, seq: 25 });
    expect(withoutPlace(await all(b.events()))).toEqual(withoutPlace(await a.history({ to: 25 })));
    expect((await a.fork("account/b", { at: { seq: 25 } })).seq).toBe(25);
    committed(await b.append("Credited", { amount: 1_000 }));
    expect(await a.get()).toEqual({ state: { balance: balances[40] }, seq: 40 });
    await expect(a.fork("account/b", { at: { seq: 25 } })).rejects.toEqual(code("ENTITY_EXISTS"));
    await expect(a.fork("account/a")).rejects.toEqual(code("INVALID_REQUEST"));
  });

  it("forks of one entity to one id at the same time make one copy; an id of an append stays with the first", async () => {
    await using under = await newNode();
    const { db } = under;
    const a = db.entity("account/a");
    for (let i = 0; i < 60; i++) committed(await a.append("Credited", { amount: 1 }, { id: `id-${i}` }));
    const forks = await Promise.all(Array.from({ length: 4 }, () => a.fork("account/b")));
    expect(forks.map(({ seq }) => seq)).toEqual([60, 60, 60, 60]);
    const copies = await all(forks[0]!.entity.events());
    expect(seqs(copies)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
    expect(copies.some(({ id }) => id !== undefined)).toBe(false);
    const fresh = committed(await forks[0]!.entity.append("Credited", { amount: 1 }, { id: "id-5" }));
    expect(fresh).toMatchObject({ seq: 61, duplicate: false });
  });
});

describe("lifecycle: export and import", () => {
  it("an export gives the same states, sequences, times, metadata and ids on an empty node", async () => {
    await using from = await newNode(3);
    const ids = Array.from({ length: 40 }, (_, i) => `account/${i}`);
    for (const [i, id] of ids.entries()) {
      const entity = from.db.entity(id);
      committed(await entity.append("Credited", { amount: 100 + i }, { id: `first-${i}`, metadata: { i } }));
      const two = [
        { type: "Debited", payload: { amount: 7 } },
        { type: "Credited", payload: { amount: 3 } },
      ] as const;
      committed(await entity.append(two));
    }
    committed(await from.db.entity("account/3").restore({ seq: 1 }, { id: "back" }));
    const many = Array.from({ length: 2_500 }, () => ({ type: "Credited" as const, payload: { amount: 1 } }));
    committed(await from.db.entity("account/4").append(many, { id: "many" }));
    const lines: string[] = [];
    for (const id of ids) lines.push(...(await all(from.db.entity(id).export())));

    await using to = await newNode(2);
    const events = 40 * 3 + 2 + 2_500;
    const nothing = { renumbered: 0, erased: 0 };
    expect(await to.db.import(lines)).toEqual({ entities: 40, events, present: 0, ...nothing });
    for (const id of ids) {
      expect(await to.db.entity(id).get(), id).toEqual(await from.db.entity(id).get());
      const [copy, original] = [await all(to.db.entity(id).events()), await all(from.db.entity(id).events())];
      expect(withoutPlace(copy), id).toEqual(withoutPlace(original));
      // Two exports differ in when they were made, and in nothing else.
      const again = (await all(to.db.entity(id).export())).slice(1, -1);
      expect(again, id).toEqual((await all(from.db.entity(id).export())).slice(1, -1));
    }
    expect(await to.db.types()).toEqual(await from.db.types());
    // P4: what took effect there does not take effect here again.
    const repeated = to.db
      .entity("account/5")
      .append("Credited", { amount: 105 }, { id: "first-5", metadata: { i: 5 } });
    await expect(repeated).rejects.toEqual(code("ID_REUSED"));
    expect(await to.db.import(lines)).toEqual({ entities: 40, events: 0, present: events, ...nothing });
  });

  it("an import goes on where a damaged file ended, and never mixes with what is there", async () => {
    await using under = await newNode();
    const { db } = under;
    await credited(db, "account/a", 30);
    const lines = await all(db.entity("account/a").export());
    await expect(db.import(lines.slice(0, 20), { as: "account/b" })).rejects.toMatchObject({
      code: "EXPORT_DAMAGED",
      facts: { line: 21 },
    });
    await expect(db.import(lines.with(5, lines[5]!.replace("5", "6")), { as: "account/b" })).rejects.toMatchObject({
      code: "EXPORT_DAMAGED",
      facts: { line: 6 },
    });
    expect(await db.import(lines, { as: "account/b" })).toMatchObject({ entities: 1, events: 30 });
    expect(await db.entity("account/b").get()).toEqual(await db.entity("account/a").get());
    expect(await db.import(lines)).toMatchObject({ events: 0, present: 30 });
    await credited(db, "account/c", 1);
    committed(await db.entity("account/c").append("Debited", { amount: 1 }));
    await expect(db.import(lines, { as: "account/c" })).rejects.toMatchObject({
      code: "ENTITY_EXISTS",
      facts: { entity: "account/c", seq: 2 },
    });
  });
});

describe("lifecycle: oblivion", () => {
  it("P6: an erased entity has a tombstone and a receipt, and answers ERASED", async () => {
    await using under = await newNode();
    const { db } = under;
    await credited(db, "account/a", 5);
    await credited(db, "account/b", 2);
    const a = db.entity("account/a");
    const receipt = await a.delete();
    expect(receipt).toMatchObject({ entity: "account/a", seq: 6, from: 1, to: 5, complete: true });
    // Twice: the same receipt.
    expect(await a.delete()).toEqual(receipt);
    expect(await a.delete({ provisional: true })).toMatchObject({ seq: 6 });
    const [tombstone, ...more] = await a.history();
    expect(asSystemEvent(tombstone!)).toMatchObject({ type: "Erased", payload: { from: 1, to: 5 } });
    expect(tombstone).toMatchObject({ seq: 6, time: receipt.time, position: receipt.position });
    expect(more).toEqual([]);
    for (const call of [
      () => a.get(),
      () => a.getAt({ seq: 3 }),
      () => a.restore({ seq: 3 }),
      () => a.fork("account/c"),
      () => a.append("Credited", { amount: 1 }),
      () => a.execute("Deposit", { amount: 1 }),
    ]) {
      await expect(call(), String(call)).rejects.toMatchObject({ code: "ERASED", facts: { seq: 6 } });
    }
    expect((await all(a.export())).map((line) => JSON.parse(line))).toMatchObject([
      { seq: 6 },
      { seq: 6 },
      { events: 1 },
    ]);
    expect(await db.entity("account/b").get()).toEqual({ state: { balance: 3 }, seq: 2 });
  });

  it("a new life goes on with the next sequence, by every way to write, and is exported as what it is", async () => {
    await using under = await newNode();
    const { db } = under;
    const writes: ((entity: Entity<typeof bank>) => Promise<unknown>)[] = [
      async (entity) => committed(await entity.append("Credited", { amount: 9 }, { newLife: true })),
      async (entity) => committed(await entity.execute("Deposit", { amount: 9 }, { newLife: true })),
      async ({ id }) =>
        (await db.appendMany([{ entity: id, type: "Credited", payload: { amount: 9 }, newLife: true }])).map(committed),
    ];
    for (const [i, write] of writes.entries()) {
      const entity = db.entity(`account/${i}`);
      await credited(db, entity.id, 3);
      await entity.delete();
      await write(entity);
      expect(await entity.get()).toEqual({ state: { balance: 9 }, seq: 5 });
      expect(seqs(await entity.history())).toEqual([4, 5]);
      await expect(entity.getAt({ seq: 2 })).rejects.toEqual(code("ERASED"));
    }
    const lines = await all(db.entity("account/0").export());
    await expect(db.import(lines, { as: "account/copy" })).rejects.toMatchObject({ facts: { path: "renumber" } });
    expect(await db.import(lines, { as: "account/copy", renumber: true })).toMatchObject({ events: 1, renumbered: 1 });
    expect(await db.entity("account/copy").get()).toEqual({ state: { balance: 9 }, seq: 1 });
    expect((await db.entity("account/0").fork("account/fork")).seq).toBe(1);
    expect(await db.entity("account/fork").get()).toEqual({ state: { balance: 9 }, seq: 1 });
    await expect(db.entity("account/0").fork("account/other", { at: { seq: 2 } })).rejects.toEqual(code("ERASED"));
  });

  it("P1: appends and an erasure at the same time: each append comes before it or is told", async () => {
    await using under = await newNode();
    const { db } = under;
    const a = db.entity("account/a");
    committed(await a.append("Credited", { amount: 1 }));
    const append = () => a.append("Credited", { amount: 1 }).catch((error: unknown) => error);
    const before = Array.from({ length: 50 }, append);
    const erasing = [a.delete(), a.delete(), a.delete({ provisional: true })];
    const after = Array.from({ length: 50 }, append);
    const receipts = await Promise.all(erasing);
    for (const receipt of receipts)
      expect(receipt).toMatchObject({ seq: receipts[0]!.seq, from: 1, to: receipts[0]!.seq - 1 });
    for (const result of await Promise.all([...before, ...after])) {
      if (result instanceof Error) expect(result).toEqual(code("ERASED"));
      else expect((result as { seq: number }).seq).toBeLessThan(receipts[0]!.seq);
    }
    expect(seqs(await a.history())).toEqual([receipts[0]!.seq]);
  });
});

describe("lifecycle: all entities", () => {
  it("come in the order of their ids' bytes over all shards, page by page, erased ones when asked for", async () => {
    await using under = await newNode(4);
    const { db } = under;
    const names = ["é", "z", "\u{1f600}", "\uffee", "a/b", "A", ...Array.from({ length: 200 }, (_, i) => `${i}`)];
    const ids = names.map((name) => `account/${name}`).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const results = await db.appendMany(ids.map((entity) => ({ entity, type: "Credited", payload: { amount: 1 } })));
    results.map(committed);
    const pages = await all(db.entities({ kind: "account", limit: 37 }));
    expect(pages.flat().map(({ entity }) => entity)).toEqual(ids);
    expect(pages.map(({ length }) => length)).toEqual([37, 37, 37, 37, 37, 21]);
    for (const [i, page] of pages.slice(0, -1).entries()) {
      const rest = await all(db.entities({ kind: "account", limit: 50, cursor: page.cursor }));
      expect(rest.flat().map(({ entity }) => entity)).toEqual(ids.slice(37 * (i + 1)));
    }
    expect((await db.entitiesPage({ kind: "account", prefix: "1" })).every(({ entity }) => /\/1/.test(entity))).toBe(
      true,
    );
    expect(await all(db.entities({ kind: "order" }))).toEqual([]);
    const { entity, seq, time, erased } = pages[0]![0]!;
    expect([entity, seq, time, erased]).toEqual([ids[0], 1, (await db.entity(ids[0]!).history())[0]!.time, false]);

    await db.entity(ids[3]!).delete();
    const living = (await db.entitiesPage()).map((listed) => listed.entity);
    expect(living).toEqual(ids.toSpliced(3, 1));
    const everyone = await db.entitiesPage({ erased: true });
    expect(everyone.filter((listed) => listed.erased).map((listed) => listed.entity)).toEqual([ids[3]]);
    expect(everyone).toHaveLength(ids.length);
    // Of the erased one nothing counts any more.
    expect(await db.types()).toEqual([
      { aggregate: "Account", type: "Credited", schemaVersion: 1, count: ids.length - 1 },
    ]);
  });
});
