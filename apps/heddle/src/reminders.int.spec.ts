// Goal: heddle reminders does what the reference says, against a real node; a reminder that is due arrives.
// What reminders promise is tested in packages/reminder; texts about what makes no sense in program.unit.spec.ts.
import fs from "node:fs";
import path from "node:path";
import { committed, Heddle } from "@heddle/client";
import { startNode } from "@heddle/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, type Typed, typedAt } from "./captured-terminal.spec-support.ts";
import { reminderTable } from "./commands/reminders.ts";
import { bank, temporaryFolder } from "./run-heddle.spec-support.ts";

const folder = temporaryFolder();
let node: Awaited<ReturnType<typeof startNode>>;
let db: Heddle;
let typed: (...args: readonly string[]) => Promise<Typed>;
beforeAll(async () => {
  node = await startNode({ domain: bank, data: path.join(folder, "data"), port: 0, shards: 2 });
  db = new Heddle(node.url);
  typed = typedAt(node.url);
  for (const entity of ["account/alice", "account/bob"]) {
    committed(await db.entity(entity).append("Credited", { amount: 100 }));
  }
});
afterAll(async () => {
  await db.close();
  await node.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

describe("heddle reminders", () => {
  it("set, list, and cancel them", async () => {
    const set = ["reminders", "set", "account/alice"];
    const once = ["bonus", "--at", "2100-12-24T08:00:00Z", "--type", "Credited", "--payload", '{"amount":50}'];
    expect(await typed(...set, ...once)).toEqual({
      code: 0,
      out: "bonus of account/alice is due at 2100-12-24 08:00:00.000 UTC\n",
      said: "",
    });
    const again = ["fee", "--cron", "0 8 1 1 *", "--time-zone", "Europe/Berlin", "--command", "Withdraw"];
    expect(await typed(...set, ...again, "--input", '{"amount":1}', "--missed", "all", "--json")).toMatchObject({
      code: 0,
    });
    const later = ["later", "--at", "2101-01-01", "--command", "Withdraw", "--input", '{"amount":1}'];
    expect(await typed("reminders", "set", "account/bob", ...later)).toMatchObject({ code: 0 });

    const listed = linesOf(await typed("reminders", "ls", "account/alice", "--json"));
    expect(listed).toMatchObject([
      { entity: "account/alice", name: "fee", cron: "0 8 1 1 *", timeZone: "Europe/Berlin", missed: "all" },
      { entity: "account/alice", name: "bonus", due: Date.UTC(2100, 11, 24, 8), missed: "latest" },
    ]);
    const bonus = (await typed("reminders", "ls", "account/alice")).out
      .split("\n")
      .find((line) => line.includes("bonus"));
    expect(bonus).toMatch(/^2100-12-24 08:00:00\.000 {2}bonus +- +latest +- +(?:Account\.)?Credited \{"amount":50\}$/);
    expect((await typed("reminders", "ls", "account/alice", "--before", "2100-01-01")).out).not.toContain("bonus");

    const [first, cursor] = linesOf(await typed("reminders", "ls", "--limit", "1", "--json"));
    expect(first).toMatchObject({ entity: "account/alice", name: "fee", pending: 2 });
    const rest = await typed("reminders", "ls", "--limit", "1", "--cursor", String(cursor!["cursor"]));
    expect(rest.out).toMatch(/^due \(UTC\).*\n2101-01-01 00:00:00\.000 {8}1 {2}later {2}account\/bob\n$/);

    expect(await typed("reminders", "cancel", "account/alice", "bonus")).toEqual({
      code: 0,
      out: "bonus of account/alice is cancelled\n",
      said: "",
    });
    expect(await typed("reminders", "cancel", "account/alice", "bonus")).toMatchObject({
      code: 1,
      said: expect.stringContaining("NO_SUCH_REMINDER"),
    });
    expect(linesOf(await typed("reminders", "ls", "account/alice", "--json"))).toHaveLength(1);
  });

  it("P7: what could never be delivered is refused, and leaves nothing", async () => {
    const set = ["reminders", "set", "account/bob", "x"];
    for (const [args, code] of [
      [["--at", "2100-01-01", "--command", "Widthdraw"], "UNKNOWN_COMMAND"],
      [["--at", "2100-01-01", "--type", "Credited", "--payload", "{}"], "INVALID_PAYLOAD"],
      [["--cron", "every day", "--command", "Withdraw", "--input", '{"amount":1}'], "INVALID_REQUEST"],
    ] as const) {
      expect(await typed(...set, ...args), args.join(" ")).toMatchObject({
        code: 1,
        said: expect.stringContaining(code),
      });
    }
    expect(await typed("reminders", "ls", "account/bob")).toMatchObject({
      code: 0,
      out: expect.not.stringContaining(" x "),
    });
  });

  it("one that is due arrives, once, and is on record", async () => {
    const set = await typed(
      "reminders",
      "set",
      "account/bob",
      "now",
      "--at",
      "2001-01-01",
      "--type",
      "Credited",
      "--payload",
      '{"amount":7}',
    );
    expect(set.code).toBe(0);
    const account = db.entity("account/bob");
    let seq = 1;
    while (seq < 2) ({ seq } = await account.get());
    expect(await account.history({ from: 2 })).toMatchObject([
      { type: "Credited", payload: { amount: 7 }, id: `reminder:now:${Date.UTC(2001, 0, 1)}` },
    ]);
  });

  it("what a rule says no to is on record, which everybody may read and only Heddle writes", async () => {
    const set = ["reminders", "set", "account/carol", "rent", "--at", "2001-01-01", "--command", "Withdraw"];
    committed(await db.entity("account/carol").append("Credited", { amount: 1 }));
    expect((await typed(...set, "--input", '{"amount":900}')).code).toBe(0);
    const record = db.entity("$reminders/account/carol");
    while ((await record.history()).length < 2);
    expect(JSON.parse((await typed("history", record.id, "--json")).out)).toMatchObject([
      { type: "Set", payload: { name: "rent" } },
      { type: "Delivered", payload: { items: [{ name: "rent", outcome: "refused", code: "COMMAND_REJECTED" }] } },
    ]);
    await expect(record.append("Delivered", { items: [] } as never)).rejects.toThrow("only Heddle writes to");
    const deleted = await typed("delete", record.id, "--yes");
    expect([deleted.code, deleted.said]).toEqual([1, expect.stringContaining("only Heddle writes to")]);
  });

  it("draw a table that fits the screen, and that no name can steer", () => {
    const content = { aggregate: "Account", command: "Bill", input: { note: "x".repeat(100) } };
    const last = { due: 5, outcome: "refused", code: "COMMAND_REJECTED" } as const;
    const [title, line] = reminderTable([{ name: "a\u001b[2J", due: 0, missed: "skip", content, last }], 90);
    expect(title).toBe("due (UTC)                name   repeats  missed  last                       brings");
    expect(line).toBe("1970-01-01 00:00:00.000  a [2J  -        skip    refused, COMMAND_REJECTED  Account.Bill …");
  });
});
