// Goal: heddle groups does what the reference says, against a real node.
// What groups promise is tested in packages/feed and test/e2e.
import fs from "node:fs";
import path from "node:path";
import { committed, Heddle, type ListedGroup } from "@heddle/client";
import { startNode } from "@heddle/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, type Typed, typedAt } from "./captured-terminal.spec-support.ts";
import { groupTable } from "./commands/groups.ts";
import { bank, temporaryFolder } from "./run-heddle.spec-support.ts";

const folder = temporaryFolder();
let node: Awaited<ReturnType<typeof startNode>>;
let db: Heddle;
let typed: (...args: readonly string[]) => Promise<Typed>;
beforeAll(async () => {
  node = await startNode({ domain: bank, data: path.join(folder, "data"), port: 0, shards: 1 });
  db = new Heddle(node.url);
  typed = typedAt(node.url);
});
afterAll(async () => {
  await db.close();
  await node.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

describe("heddle groups", () => {
  it("lists them, and forgets one that has no members", async () => {
    expect(await typed("groups", "ls")).toEqual({ code: 0, out: "", said: "no consumer groups\n" });
    committed(await db.entity("account/alice").append("Credited", { amount: 100 }));
    const members = db.subscribe({ group: "billing", kind: "account" });
    await members.next();
    const listed = await typed("groups", "ls");
    expect(listed.out).toMatch(/^group +members +behind +events\nbilling +1 +\S+ ?B +of account\/…\n/);
    expect(listed.out).toMatch(/billing: m-\w+ has 32 of 32 slots, working\n$/);
    expect(linesOf(await typed("groups", "ls", "--json"))).toMatchObject([{ group: "billing", kind: "account" }]);
    expect(await typed("groups", "forget", "billing")).toMatchObject({ code: 1, out: "" });
    await members.return();
    while ((await db.groups())[0]!.members.length > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(await typed("groups", "forget", "billing")).toEqual({ code: 0, out: "billing is forgotten\n", said: "" });
    expect(await typed("groups", "forget", "billing")).toEqual({
      code: 1,
      out: "",
      said: "there is no group billing\n",
    });
    expect(await typed("groups", "forget", "billing", "--json")).toMatchObject({
      code: 1,
      out: '{"ok":false,"group":"billing"}\n',
    });
  });

  it("says which events each is for", () => {
    const one: ListedGroup = { group: "a", madeAt: 0, members: [], shards: [], lagBytes: 0 };
    const rows = groupTable([one, { ...one, kind: "account", aggregate: "Account", types: ["Credited", "Debited"] }]);
    expect(rows[1]).toMatch(/all$/);
    expect(rows[2]).toMatch(/of account\/…, of Account, Credited, Debited$/);
  });
});
