// Goal: members of a consumer group share the events of a node, whoever comes and goes.
// Method: a real node, members over TCP and WebSocket, and over HTTP.
// Tested elsewhere: any order of joins, silences and crashes (packages/feed, group-coordinator.model.unit.spec.ts); processes that
// are killed (test/crash/groups.e2e.spec.ts).
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { committed, type GroupEventOf, Heddle, type Subscription } from "@heddle/client";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { newFolder, startTestNode, type TestNode } from "../support/node.ts";
import { billMovements, collectFees } from "./bill-accounts.ts";

type Members = Subscription<GroupEventOf<typeof bank>>;

const connect = (node: TestNode) => new Heddle<typeof bank>({ port: node.port });

async function credit(db: Heddle<typeof bank>, entities: number, rounds: number, first = 1): Promise<void> {
  for (let round = first; round < first + rounds; round++) {
    const items = Array.from({ length: entities }, (_, i) => {
      return { entity: `account/${i}`, aggregate: "Account", type: "Credited", payload: { amount: round } } as const;
    });
    for (const result of await db.appendMany(items)) committed(result as Parameters<typeof committed>[0]);
  }
}

/** Turns of the event loop until something is so. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

/** Takes events until the loop is ended. */
async function work(members: Members, into: { entity: string; seq: number }[]): Promise<void> {
  for await (const { entity, seq } of members) into.push({ entity, seq });
}

describe("a consumer group", () => {
  it("gives each event to one member, those of an entity in order, and shares evenly", async () => {
    await using node = await startTestNode({ shards: 3 });
    await using writer = connect(node);
    await credit(writer, 200, 3);
    const clients = [1, 2, 3].map(() => connect(node));
    const taken = clients.map((): { entity: string; seq: number }[] => []);
    const loops = clients.map((db) => db.subscribe({ group: "billing", kind: "account" }));
    const done = loops.map((members, i) => work(members, taken[i]!));
    await until(async () => (await writer.groups())[0]?.members.length === 3);
    await until(async () => (await writer.groups())[0]!.members.every(({ slots }) => slots >= 10 && slots <= 11));
    const before = taken.reduce((sum, { length }) => sum + length, 0);
    await credit(writer, 200, 4, 4);
    await until(() => taken.reduce((sum, { length }) => sum + length, 0) >= 1_400);
    expect(before).toBeLessThanOrEqual(1_400);
    const seqs = new Map<string, number[]>();
    for (const { entity, seq } of taken.flat()) seqs.set(entity, [...(seqs.get(entity) ?? []), seq]);
    expect(seqs.size).toBe(200);
    for (const of of seqs.values()) expect(of.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    for (const of of taken) {
      const last = new Map<string, number>();
      for (const { entity, seq } of of) {
        expect(seq).toBeGreaterThan(last.get(entity) ?? 0);
        last.set(entity, seq);
      }
      expect(of.length).toBeGreaterThan(0);
    }
    for (const members of loops) await members.return();
    await Promise.all(done);
    await until(async () => (await writer.groups())[0]!.members.length === 0);
    for (const db of clients) await db.close();
  });

  it("goes on where it was: over leaving, closing and a new start of the node", async () => {
    const first = await startTestNode({ shards: 2 });
    const db = connect(first);
    await credit(db, 1, 5);
    const members = db.subscribe({ group: "billing" });
    for (const seq of [1, 2, 3]) expect((await members.next()).value).toMatchObject({ entity: "account/0", seq });
    // The third is in hand, and so it is given back.
    await members.return();
    const again = db.subscribe({ group: "billing" });
    expect((await again.next()).value).toMatchObject({ seq: 3 });
    expect((await again.next()).value).toMatchObject({ seq: 4 });
    await db.close();
    await first.close();
    await using second = await startTestNode({ shards: 2, data: first.data });
    await using other = connect(second);
    // Nobody has asked for anything yet, and yet its place is seen.
    expect((await other.groups())[0]).toMatchObject({ group: "billing", members: [] });
    const third = other.subscribe({ group: "billing" });
    expect((await third.next()).value).toMatchObject({ seq: 4 });
    expect((await third.next()).value).toMatchObject({ seq: 5 });
    const waits = third.next();
    await until(async () => (await other.groups())[0]!.lagBytes === 0);
    await third.return();
    expect(await waits).toMatchObject({ done: true });
    expect(await other.forgetGroup("nobody")).toBe(false);
    await until(async () => (await other.groups())[0]!.members.length === 0);
    expect(await other.forgetGroup("billing")).toBe(true);
    expect(await other.groups()).toEqual([]);
  });

  it("closing a client gives its slots to the others at once", async () => {
    await using node = await startTestNode({ shards: 1 });
    await using stays = connect(node);
    const goes = connect(node);
    const [first, second] = [goes.subscribe({ group: "billing" }), stays.subscribe({ group: "billing" })];
    const cutOff = expect(first.next()).rejects.toThrowError("closed");
    const next = second.next();
    await until(async () => (await stays.groups())[0]?.members.length === 2);
    await goes.close();
    await cutOff;
    const [group] = await stays.groups();
    expect(group!.members).toMatchObject([{ slots: 32 }]);
    await credit(stays, 1, 1);
    expect((await next).value).toMatchObject({ entity: "account/0", seq: 1 });
  });

  it("survives the end of the thread that looks after it", async () => {
    await using node = await startTestNode({ shards: 2, threads: 1 });
    await using db = connect(node);
    const members = db.subscribe({ group: "billing", kind: "account" });
    await credit(db, 10, 1);
    for (let i = 0; i < 5; i++) await members.next();
    node.failThread(1);
    await credit(db, 10, 1);
    const seen = new Map<string, number>();
    await until(async () => {
      const { value } = await members.next();
      seen.set(value!.entity, value!.seq);
      return [...seen.values()].filter((seq) => seq === 2).length === 10;
    });
  });

  it("begins now, where it was told so, and refuses others' filters and its own nonsense", async () => {
    await using node = await startTestNode({ shards: 1 });
    await using db = connect(node);
    await credit(db, 1, 2);
    const members = db.subscribe({ group: "billing", aggregate: "Account", types: ["Credited"], from: "now" });
    const next = members.next();
    await until(async () => (await db.groups()).length === 1);
    await credit(db, 1, 1, 9);
    expect((await next).value).toMatchObject({ seq: 3, type: "Credited", payload: { amount: 9 } });
    const others = db.subscribe({ group: "billing", kind: "account" });
    await expect(others.next()).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    const cursor = db.subscribe({ group: "b", from: "0:0" as "now" });
    await expect(cursor.next()).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    await expect(db.subscribe({ group: "a b" }).next()).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    await expect(db.forgetGroup("billing")).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    expect(() => db.subscribe({ group: "b", handleTimeoutMs: 5 })).toThrowError("handleTimeoutMs");
  });

  it("works over a WebSocket, too", async () => {
    await using node = await startTestNode({ shards: 2 });
    await using db = new Heddle<typeof bank>(`ws://127.0.0.1:${node.port}`);
    await credit(db, 3, 1);
    const taken: string[] = [];
    for await (const { entity } of db.subscribe({ group: "billing" })) {
      taken.push(entity);
      if (taken.length === 3) break;
    }
    expect(taken.sort()).toEqual(["account/0", "account/1", "account/2"]);
  });
});

describe("a member over HTTP", () => {
  it("shares a group with members of the SDK, and goes on behind what it has dealt with", async () => {
    await using node = await startTestNode({ shards: 1 });
    await using db = connect(node);
    await credit(db, 8, 1);
    const poll = async (body: object) => {
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`${node.http}/v1/groups/billing/poll`, {
        method: "POST",
        headers,
        body: JSON.stringify({ member: "worker-1", ...body }),
      });
      return (await answer.json()) as { code?: string; page: string; slots: number; events: { entity: string }[] };
    };
    const first = await poll({ kind: "account", limit: 3 });
    expect(first).toMatchObject({ slots: 32, events: [{ seq: 1 }, { seq: 1 }, { seq: 1 }] });
    expect(await poll({ alive: first.page })).toMatchObject({ slots: 32, events: [] });
    // What was not done comes again.
    expect((await poll({ kind: "account", limit: 3 })).events).toEqual(first.events);
    const second = await poll({ done: first.page, limit: 100 });
    expect(second.events).toHaveLength(5);
    const other = db.subscribe({ group: "billing", kind: "account" });
    const next = other.next();
    await until(async () => (await db.groups())[0]!.members.length === 2);
    expect(await poll({ done: second.page, leave: true })).toMatchObject({ slots: 0 });
    expect(await poll({ done: second.page })).toMatchObject({ code: "GROUP_MEMBER_LOST" });
    await credit(db, 1, 1);
    expect((await next).value).toMatchObject({ entity: "account/0", seq: 2 });
    const listed = await (await fetch(`${node.http}/v1/groups`)).json();
    expect(listed).toMatchObject({ groups: [{ group: "billing", members: [{ slots: 32 }] }] });
    const metrics = await (await fetch(`${node.http}/metrics`)).text();
    expect(metrics).toContain('heddle_group_members{group="billing"} 1');
    expect(metrics).toMatch(/heddle_group_lag_bytes\{group="billing"\} \d/);
  });

  it("that waits does not hold up the end of its node", async () => {
    const node = await startTestNode({ shards: 1 });
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ member: "worker-1", waitMs: 25_000 });
    const answer = fetch(`${node.http}/v1/groups/billing/poll`, { method: "POST", headers, body });
    const db = connect(node);
    await until(async () => (await db.groups()).length === 1);
    await db.close();
    await node.close();
    expect((await answer).status).toBe(503);
  });
});

describe("a consumer group whose domain module cannot read an event", () => {
  const domainOf = (name: string) => fileURLToPath(new URL(`./bank-in-cents-${name}.ts`, import.meta.url));
  const seen = (taken: readonly { entity: string; seq: number }[]) =>
    taken.map(({ entity, seq }) => `${entity}:${seq}`);

  it("ends loops with an error that names the event, and goes on with that one when the module is mended", async () => {
    const folder = newFolder();
    const data = path.join(folder, "data");
    const nodeOf = (domain?: string) => startTestNode({ data, shards: 1, ...(domain === undefined ? {} : { domain }) });
    {
      await using node = await nodeOf();
      await using db = connect(node);
      const alice = db.entity("account/alice");
      for (const reference of ["card", "by hand", "card"])
        committed(await alice.append("Credited", { amount: 3, reference }));
    }
    const taken: { entity: string; seq: number }[] = [];
    {
      await using node = await nodeOf(domainOf("broken"));
      await using db = connect(node);
      const failure = {
        code: "DOMAIN_FAILED",
        facts: {
          where: "an upcaster of Account.Credited, from version 1, at event 2 of account/alice",
          message: "nobody knows what that was",
        },
      };
      // Whoever comes next fails at the same event, which nobody has dealt with; readers by themselves do so, too.
      for (const group of ["billing", "billing"])
        await expect(work(db.subscribe({ group }), taken)).rejects.toMatchObject(failure);
      const alone = async () => {
        for await (const { entity, seq } of db.subscribe({ kind: "account" })) taken.push({ entity, seq });
      };
      await expect(alone()).rejects.toMatchObject(failure);
      expect(seen(taken)).toEqual(["account/alice:1", "account/alice:1"]);
    }
    {
      await using node = await nodeOf(domainOf("mended"));
      await using db = connect(node);
      const since: { entity: string; seq: number }[] = [];
      const end = new AbortController();
      const loop = work(db.subscribe({ group: "billing", signal: end.signal }), since);
      await until(() => since.length === 2);
      expect(seen(since)).toEqual(["account/alice:2", "account/alice:3"]);
      end.abort("done");
      await expect(loop).rejects.toBe("done");
    }
    fs.rmSync(folder, { recursive: true, force: true });
  });
});

describe("the code of the how-to", () => {
  it("bills every debit, and collects a fee for each once, over a member that leaves early", async () => {
    await using node = await startTestNode({ shards: 2 });
    await using db = connect(node);
    const accounts = Array.from({ length: 10 }, (_, i) => db.entity(`account/${i}`));
    for (const account of accounts) {
      committed(await account.append("Credited", { amount: 100 }));
      for (const amount of [1, 2, 3]) committed(await account.append("Debited", { amount }));
    }
    const billed = new Map<string, number>();
    const ends = [new AbortController(), new AbortController(), new AbortController()] as const;
    const bill = async (_account: string, amount: number, key: string) => void billed.set(key, amount);
    const working = [
      billMovements(db, bill, ends[0].signal),
      billMovements(db, bill, ends[1].signal),
      collectFees(db, ends[2].signal),
    ].map((work) => work.catch((error: unknown) => error));
    await until(() => billed.size > 5);
    ends[0].abort("early");
    await until(() => billed.size === 30);
    const fees = db.entity("fees/all");
    await until(async () => (await fees.get("Account")).state.balance === 30);
    expect([...billed.values()].reduce((a, b) => a + b)).toBe(60);
    for (const end of ends.slice(1)) end.abort("done");
    expect(await Promise.all(working)).toEqual(["early", "done", "done"]);
    expect(await fees.get("Account")).toMatchObject({ state: { balance: 30 } });
  });
});
