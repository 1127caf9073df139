// Goal: what a user types about earlier states, lists and stored types does what the reference says.
// Method: one node as a process of its own; commands run in this process, as in program.unit.spec.ts. What the node makes of
// the calls is tested in packages/shard, packages/client.
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, type Typed, typed, typedAt } from "./captured-terminal.spec-support.ts";
import { bank, type ServedNode, serve, temporaryFolder } from "./run-heddle.spec-support.ts";

let node: ServedNode;
let heddle: ReturnType<typeof typedAt>;
beforeAll(async () => {
  node = await serve(temporaryFolder(), ["--shards", "2"]);
  heddle = typedAt(node.url);
});
afterAll(async () => {
  await node.stop();
  fs.rmSync(node.data, { recursive: true, force: true });
});

const json = ({ out }: Typed) => JSON.parse(out) as Record<string, unknown>;
const refusal = ({ code, said }: Typed) => [code, said.trimEnd().split("\n").at(-1)!.trim()];

/** An account with these amounts: credits, and debits below zero. Gives the times of the events. */
async function account(entity: string, amounts: readonly number[]): Promise<number[]> {
  const times: number[] = [];
  for (const amount of amounts) {
    const type = amount > 0 ? "Credited" : "Debited";
    const payload = JSON.stringify({ amount: Math.abs(amount) });
    const receipt = json(await heddle("append", entity, type, payload, "--json"));
    times.push(receipt["time"] as number);
    // So that every event has a millisecond of its own.
    while (Date.now() <= times.at(-1)!);
  }
  return times;
}

describe("heddle get --seq, --time", () => {
  it("print the state as it was, and say after which sequence", async () => {
    const times = await account("account/then", [100, -30, 5]);
    expect(await heddle("get", "account/then", "--seq", "2")).toEqual({
      code: 0,
      out: '{\n  "balance": 70\n}\n',
      said: "account/then, sequence 2\n",
    });
    const first = new Date(times[0]!).toISOString();
    expect(json(await heddle("get", "account/then", "Account", "--time", first, "--json"))).toEqual({
      entity: "account/then",
      state: { balance: 100 },
      seq: 1,
    });
    expect(await heddle("get", "account/then", "--seq", "0")).toMatchObject({
      code: 0,
      out: '{\n  "balance": 0\n}\n',
      said: "account/then, before its first event\n",
    });
    expect(json(await heddle("get", "account/then", "--time", "2001-01-01", "--json"))).toMatchObject({ seq: 0 });
  });

  it("P7: refuse a sequence that is not there, a time to come, and an entity that was never written", async () => {
    await account("account/short", [1]);
    expect(refusal(await heddle("get", "account/short", "--seq", "2"))).toEqual([1, "OUT_OF_RANGE"]);
    expect(refusal(await heddle("get", "account/short", "--time", "2222-01-01"))).toEqual([1, "OUT_OF_RANGE"]);
    expect(refusal(await heddle("get", "account/never", "--seq", "1"))).toEqual([1, "OUT_OF_RANGE"]);
  });
});

describe("heddle history with bounds", () => {
  it("prints a range of sequences or of time, from either end", async () => {
    const times = await account("account/range", [1, 2, 3, 4, 5]);
    const seqs = async (...more: string[]) =>
      (JSON.parse((await heddle("history", "account/range", ...more, "--json")).out) as { seq: number }[]).map(
        ({ seq }) => seq,
      );
    expect(await seqs("--from", "2", "--to", "4")).toEqual([2, 3, 4]);
    expect(await seqs("--from", "4", "--to", "2", "--backward")).toEqual([4, 3, 2]);
    expect(await seqs("--since", String(times[1]), "--until", String(times[2]))).toEqual([2, 3]);
    // The newest up to a bound, when no beginning is named.
    expect(await seqs("2", "--to", "4")).toEqual([3, 4]);
    expect(await seqs("2", "--until", new Date(times[3]!).toISOString())).toEqual([3, 4]);
    expect(await seqs("--since", "2222-01-01")).toEqual([]);
    const table = await heddle("history", "account/range", "--from", "5");
    expect(table.out).toContain(`  5  ${new Date(times[4]!).toISOString().replace("T", " ").slice(0, 23)}  Account`);
  });

  it("P7: refuses a range that runs backwards", async () => {
    const backwards = await heddle("history", "account/range", "--from", "3", "--to", "1");
    expect(refusal(backwards)).toEqual([1, "INVALID_REQUEST"]);
    const times = ["--since", "2026-11-20T12:00Z", "--until", "2026-11-20T11:00Z"];
    expect(refusal(await heddle("history", "account/range", ...times))).toEqual([1, "INVALID_REQUEST"]);
  });
});

describe("heddle rewind", () => {
  it("brings an earlier state back by adding to the history, once for an id (P4)", async () => {
    await account("account/back", [100, -30, -60]);
    const rewound = await heddle("rewind", "account/back", "--seq", "1", "--id", "undo-7", "--expected-seq", "3");
    expect(rewound).toMatchObject({ code: 0, said: "" });
    expect(rewound.out).toMatch(/^account\/back is at sequence 5: 2 events written\n/);
    expect(json(await heddle("get", "account/back", "--json"))).toMatchObject({ state: { balance: 100 }, seq: 5 });
    const again = await heddle("rewind", "account/back", "--seq", "1", "--id", "undo-7", "--expected-seq", "3");
    expect(again.out).toContain("is at sequence 5: this id had taken effect before");
    const history = await heddle("history", "account/back", "--from", "3");
    expect(history.out.replaceAll(/\d{4}-\d\d-\d\d \S+/g, "then")).toBe(
      "seq  time (UTC)               event             payload\n" +
        '  3  then  Account.Debited   {"amount":60}\n' +
        '  4  then  $heddle.Restored  {"seq":1,"copied":1}\n' +
        '  5  then  Account.Credited  {"amount":100}\n',
    );
    // What was before can still be looked at.
    expect(json(await heddle("get", "account/back", "--seq", "3", "--json"))).toMatchObject({ state: { balance: 10 } });
  });

  it("P7: refuses what is not there, and exits with 1 for a stale sequence", async () => {
    await account("account/stale", [1, 2]);
    expect(refusal(await heddle("rewind", "account/stale", "--seq", "9"))).toEqual([1, "OUT_OF_RANGE"]);
    expect(refusal(await heddle("rewind", "account/stale", "--time", "2222-01-01"))).toEqual([1, "OUT_OF_RANGE"]);
    const stale = await heddle("rewind", "account/stale", "--seq", "1", "--expected-seq", "1");
    expect(stale).toMatchObject({ code: 1, out: expect.stringContaining("SEQUENCE_CONFLICT") });
    expect(json(await heddle("get", "account/stale", "--json"))).toMatchObject({ seq: 2, state: { balance: 3 } });
  });
});

describe("heddle fork", () => {
  it("copies a history up to a moment, or all of it, and leaves the first entity alone", async () => {
    const times = await account("account/trunk", [10, 20, 30]);
    expect(await heddle("fork", "account/trunk", "account/branch", "--time", String(times[1]))).toEqual({
      code: 0,
      out: "account/branch is at sequence 2, a copy of account/trunk\n",
      said: "",
    });
    expect(json(await heddle("get", "account/branch", "--json"))).toMatchObject({ state: { balance: 30 }, seq: 2 });
    expect(json(await heddle("fork", "account/trunk", "account/whole", "--json"))).toEqual({
      ok: true,
      entity: "account/whole",
      source: "account/trunk",
      seq: 3,
    });
    expect(json(await heddle("get", "account/trunk", "--json"))).toMatchObject({ state: { balance: 60 }, seq: 3 });
    // Cut off and called again it would go on; done, it changes nothing.
    expect((await heddle("fork", "account/trunk", "account/whole")).code).toBe(0);
    expect(json(await heddle("get", "account/whole", "--json"))).toMatchObject({ seq: 3 });
  });

  it("P7: refuses an entity that lives, itself, one that was never written, and an id that is none", async () => {
    await account("account/lives", [1]);
    expect(refusal(await heddle("fork", "account/trunk", "account/lives"))).toEqual([1, "ENTITY_EXISTS"]);
    expect(refusal(await heddle("fork", "account/trunk", "account/trunk"))).toEqual([1, "INVALID_REQUEST"]);
    expect(refusal(await heddle("fork", "account/never", "account/new"))).toEqual([1, "OUT_OF_RANGE"]);
    expect(refusal(await heddle("fork", "account/trunk", "account/new", "--seq", "9"))).toEqual([1, "OUT_OF_RANGE"]);
    expect(refusal(await heddle("fork", "account/trunk", "new"))).toEqual([1, "INVALID_ENTITY_ID"]);
    expect(json(await heddle("get", "account/lives", "--json"))).toMatchObject({ seq: 1, state: { balance: 1 } });
  });
});

describe("heddle entities", () => {
  it("lists them in order, page by page, and says how to go on", async () => {
    for (const name of ["c", "a", "b"]) await account(`fees/${name}`, [1]);
    const first = await heddle("entities", "--kind", "fees", "--limit", "2");
    expect(first.out.replaceAll(/\d{4}-\d\d-\d\d \S+/g, "then")).toBe(
      "       seq  last event (UTC)         entity\n" + "         1  then  fees/a\n" + "         1  then  fees/b\n",
    );
    const more = /^more: heddle (entities --kind fees --limit 2 --cursor \w+)\n$/.exec(first.said)!;
    const second = await heddle(...more[1]!.split(" "));
    expect(second.out).toContain("fees/c");
    expect(second.said).toBe("");
    expect(linesOf(await heddle("entities", "--kind", "fees", "--all", "--json"))).toEqual([
      ...["a", "b", "c"].map((name) => expect.objectContaining({ entity: `fees/${name}`, seq: 1, erased: false })),
      { cursor: null },
    ]);
    const page = linesOf(await heddle("entities", "--prefix", "fees/", "--limit", "1", "--json"));
    expect(page).toEqual([expect.objectContaining({ entity: "fees/a" }), { cursor: expect.any(String) }]);
  });

  it("P7: says that there are none, and refuses a cursor and a kind that are none", async () => {
    expect(await heddle("entities", "--kind", "nobody")).toEqual({
      code: 0,
      out: "",
      said: "there are no such entities\n",
    });
    expect(refusal(await heddle("entities", "--cursor", "zz"))).toEqual([1, "INVALID_REQUEST"]);
    expect(refusal(await heddle("entities", "--kind", "Not a kind"))).toEqual([1, "INVALID_REQUEST"]);
  });
});

describe("heddle schema", () => {
  it("lists types, versions and counts, from a node and from a folder", async () => {
    const data = temporaryFolder();
    const other = await serve(data);
    const at = typedAt(other.url);
    for (const amount of [1, 2]) await at("append", "account/alice", "Credited", `{"amount":${amount}}`);
    const wanted =
      "event             version  newest  events\n" +
      "Account.Credited        1       1       2\n" +
      "Account.Debited         1       1       0\n" +
      "context bank\n";
    expect(await at("schema")).toEqual({ code: 0, out: wanted, said: "" });
    await other.stop();
    const offline = ["schema", "--data", data, "--domain"];
    expect(await typed(...offline, bank)).toEqual({ code: 0, out: wanted, said: "" });

    // A module that has lost an event, as a careless change leaves it.
    const broken = path.join(data, "broken.ts");
    fs.writeFileSync(
      broken,
      `import { defineAggregate, defineContext, event } from "${import.meta.resolve("@heddle/domain")}";
       import { z } from "${import.meta.resolve("zod")}";
       export default defineContext("bank", { aggregates: [defineAggregate("Account", { version: 1,
         initial: () => ({}), events: { Debited: event(z.object({}), (s) => s) } })] });`,
    );
    const refused = await typed(...offline, broken);
    expect(refused.code).toBe(1);
    expect(refused.out).toContain("Account.Credited        1       -       2  cannot be read\n");
    expect(refused.out).toContain("Account.Credited is stored, the domain module's Account has no event Credited\n");
    expect(json(await typed(...offline, broken, "--json"))).toMatchObject({ ok: false, unreadable: { length: 1 } });
    fs.rmSync(data, { recursive: true, force: true });
  });

  it("P7: says what is wrong with a folder or a node that is none", async () => {
    const nowhere = path.join(node.data, "nowhere");
    expect(refusal(await typed("schema", "--data", nowhere, "--domain", bank))).toEqual([3, "DATA_FOLDER_UNWRITABLE"]);
    const closed = await typed("schema", "--url", "heddle://127.0.0.1:1", "--timeout", "300");
    expect(closed.code).toBe(3);
  });
});
