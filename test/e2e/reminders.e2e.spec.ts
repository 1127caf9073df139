// Goal: reminders over a real node: several shards on two threads, a restart, a lost thread, and what the how-to shows.
// Method: what is due at once, or a second ago, is delivered without anybody waiting for a clock. Times, policies, crashes and the
// bound on the rate stand in packages/reminder, over a simulated clock.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Heddle } from "@heddle/client";
import { type DumpEntry, dumpPartition, openPartitionReadOnly } from "@heddle/partition/internal";
import { startNode } from "@heddle/runtime";
import { auditFolder, partitionFolderOf, rebuildIndex } from "@heddle/runtime/internal";
import { afterEach, describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";

// #region once
export async function chargeLater(db: Heddle<typeof bank>, account: string, when: Date) {
  const { due } = await db
    .entity(account)
    .remind(
      "subscription",
      { at: when, command: "Withdraw", input: { amount: 9, reference: "subscription" } },
      { aggregate: "Account" },
    );
  return due;
}
// #endregion once

// #region monthly
export function payMonthly(db: Heddle<typeof bank>, account: string) {
  return db.entity(account).remind(
    "interest",
    {
      cron: "0 8 1 * *", // at eight on the first of each month …
      timeZone: "Europe/Berlin", // … as the clocks there have it
      type: "Credited",
      payload: { amount: 2, reference: "interest" },
      missed: "all", // each month counts, also those that the node was down
    },
    { aggregate: "Account" },
  );
}
// #endregion monthly

// #region look
export async function lookAndCancel(db: Heddle<typeof bank>, account: string) {
  const pending = await db.entity(account).reminders(); // in the order in which they are due
  for (const { name } of pending) await db.entity(account).cancelReminder(name);
  const tomorrow = Date.now() + 86_400_000;
  return { pending, dueByTomorrow: await db.reminders({ before: tomorrow, limit: 500 }) };
}
// #endregion look

const domain = new URL("../../apps/examples/bank", import.meta.url).pathname;
const folders: string[] = [];
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-reminders-"));
  folders.push(folder);
  return path.join(folder, "data");
}

async function open(data: string) {
  const node = await startNode({ domain, data, port: 0, shards: 4, threads: 2 });
  closing.push(() => node.close());
  const db = new Heddle<typeof bank>(node.url);
  closing.push(() => db.close());
  return { node, db };
}

async function dumped(data: string): Promise<DumpEntry[]> {
  const found: DumpEntry[] = [];
  for (let shard = 0; shard < 4; shard++) {
    const partition = openPartitionReadOnly({ folder: partitionFolderOf(data, shard), shard });
    // An index that is derived anew has a snapshot at each head.
    found.push(...[...dumpPartition(partition)].filter(({ table }) => table !== "snapshot"));
    await partition.close();
  }
  return found;
}

/** Asks again and again until it is so; the test's own time-out bounds it. */
async function until<T>(ask: () => Promise<T>, isSo: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (isSo(answer)) return answer;
  }
}

const accounts = Array.from({ length: 20 }, (_, i) => `account/${i}`);

describe("reminders over a node", () => {
  it("what the how-to shows", async () => {
    const { db } = await open(newFolder());
    const [alice, bob] = ["account/alice", "account/bob"];
    for (const one of [alice, bob]) await db.entity(one).append("Credited", { amount: 10 }, { aggregate: "Account" });
    const due = await chargeLater(db, alice, new Date());
    const history = await until(
      () => db.entity(alice).history(10),
      (events) => events.length === 2,
    );
    expect(history[1]).toMatchObject({
      type: "Debited",
      payload: { amount: 9, reference: "subscription" },
      id: `reminder:subscription:${due}`,
      metadata: { reminder: "subscription", due },
    });
    expect(history[1]!.time).toBeGreaterThanOrEqual(due);
    const first = await payMonthly(db, bob);
    expect(
      new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Berlin", day: "numeric", hour: "numeric" }).format(
        first.due,
      ),
    ).toBe("1, 08");
    const { pending, dueByTomorrow } = await lookAndCancel(db, bob);
    expect(pending).toMatchObject([
      { name: "interest", due: first.due, cron: "0 8 1 * *", timeZone: "Europe/Berlin", missed: "all" },
    ]);
    expect(pending[0]!.content).toEqual({
      aggregate: "Account",
      events: [{ type: "Credited", payload: { amount: 2, reference: "interest" } }],
    });
    expect(dueByTomorrow).toMatchObject([]);
    expect(await db.entity(bob).reminders()).toEqual([]);
  });

  it("come to entities of all shards, those that were set before a restart too, each once", async () => {
    const data = newFolder();
    const before = await open(data);
    for (const account of accounts) {
      const entity = before.db.entity(account);
      await entity.append("Credited", { amount: 1 }, { aggregate: "Account" });
      const input = { amount: 1 };
      await entity.remind("now", { at: Date.now(), command: "Deposit", input }, { aggregate: "Account" });
      await entity.remind("later", { at: Date.now() + 5_000, command: "Deposit", input }, { aggregate: "Account" });
    }
    expect((await before.db.reminders({ limit: 100 })).length).toBeGreaterThan(0);
    for (const close of closing.splice(0).reverse()) await close();
    const { db } = await open(data);
    for (const account of accounts) {
      const { state } = await until(
        () => db.entity(account).get("Account"),
        ({ state: { balance } }) => balance === 3,
      );
      expect(state.balance).toBe(3);
      const names = (await db.entity(account).history(10)).flatMap(({ metadata }) => metadata ?? []);
      expect(names).toMatchObject([{ reminder: "now" }, { reminder: "later" }]);
    }
    await until(
      () => db.reminders(),
      (page) => page.length === 0,
    );
  });

  it("an index that is derived anew has the same reminders and the same alarms, and an audit finds all well", async () => {
    const data = newFolder();
    const { db } = await open(data);
    for (const [i, account] of accounts.entries()) {
      await db.entity(account).append("Credited", { amount: 1 }, { aggregate: "Account" });
      const deposit = { command: "Deposit", input: { amount: 1 } } as const;
      await db
        .entity(account)
        .remind("tomorrow", { at: Date.now() + 86_400_000 + i, ...deposit }, { aggregate: "Account" });
      await db.entity(account).remind("yearly", { cron: "0 0 1 1 *", ...deposit }, { aggregate: "Account" });
      if (i % 4 === 0) await db.entity(account).cancelReminder("tomorrow");
      if (i % 5 === 0) await db.entity(account).delete();
    }
    for (const close of closing.splice(0).reverse()) await close();
    const before = await dumped(data);
    expect(before.filter(({ table }) => table === "alarm")).toHaveLength(16);
    await rebuildIndex({ data, domain });
    expect(await dumped(data)).toEqual(before);
    expect(await auditFolder({ data, domain })).toMatchObject({ ok: true, problems: [] });
    const again = await open(data);
    expect(await again.db.reminders()).toHaveLength(16);
  });

  it("come once although a shard thread is lost on the way", async () => {
    const { node, db } = await open(newFolder());
    for (const account of accounts) {
      await db.entity(account).append("Credited", { amount: 1 }, { aggregate: "Account" });
      const reminder = { at: Date.now() + 300, command: "Deposit", input: { amount: 1 } } as const;
      await db.entity(account).remind("soon", reminder, { aggregate: "Account" });
    }
    node.failThread(0);
    node.failThread(1);
    for (const account of accounts) {
      await until(
        () => db.entity(account).get("Account"),
        ({ state }) => state.balance === 2,
      );
      expect(await db.entity(account).history(10)).toHaveLength(2);
    }
  });

  it("refuse what can not be followed, with the field that is wrong", async () => {
    const { db } = await open(newFolder());
    const entity = db.entity("account/alice");
    const brings = { type: "Credited", payload: { amount: 1 } } as const;
    const refused = (reminder: object) =>
      entity.remind("r", reminder as never, { aggregate: "Account" }).catch(({ code, facts }) => [code, facts.path]);
    expect(await refused({ at: 0, ...brings })).toEqual(["INVALID_REQUEST", "entity"]);
    await entity.append("Credited", { amount: 1 }, { aggregate: "Account" });
    expect(await refused({ at: Number.NaN, ...brings })).toEqual(["INVALID_REQUEST", "at"]);
    expect(await refused({ cron: "soon", ...brings })).toEqual(["INVALID_REQUEST", "cron"]);
    expect(await refused({ cron: "* * * * *", timeZone: "Nowhere", ...brings })).toEqual([
      "INVALID_REQUEST",
      "timeZone",
    ]);
    expect(await refused({ at: 0 })).toEqual(["INVALID_REQUEST", "reminder"]);
    expect(await refused({ at: 0, missed: "some", ...brings })).toEqual(["INVALID_REQUEST", "missed"]);
    expect(await refused({ at: 0, type: "Credited", payload: { amount: "much" } })).toEqual([
      "INVALID_PAYLOAD",
      undefined,
    ]);
    expect(await entity.cancelReminder("r").catch(({ code }) => code)).toBe("NO_SUCH_REMINDER");
    expect(await db.reminders({ limit: 0 }).catch(({ facts }) => facts.path)).toBe("limit");
    expect(await db.reminders({ cursor: "x" }).catch(({ facts }) => facts.path)).toBe("cursor");
  });
});
