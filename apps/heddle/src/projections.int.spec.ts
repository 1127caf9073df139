// Goal: heddle query and heddle projections do what the reference says, against a real node. What queries and projections promise is
// tested in packages/projection and test/e2e; texts about what makes no sense in program.unit.spec.ts.
import fs from "node:fs";
import path from "node:path";
import { committed, Heddle, type ListedProjection } from "@heddle/client";
import { startNode } from "@heddle/runtime";
import pc from "picocolors";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, type Typed, typedAt } from "./captured-terminal.spec-support.ts";
import { projectionTable } from "./commands/projections.ts";
import { repository, temporaryFolder } from "./run-heddle.spec-support.ts";

const folder = temporaryFolder();
const domain = path.join(repository, "test/e2e/booked-bank.ts");
let node: Awaited<ReturnType<typeof startNode>>;
let db: Heddle;
let typed: (...args: readonly string[]) => Promise<Typed>;
/** Of the last write, as --after takes it. */
let after: string;

async function credit(entity: string, amount: number): Promise<string> {
  const options = { aggregate: "Account" };
  const { shard, position } = committed(await db.entity(entity).append("Credited", { amount }, options));
  return `${shard}:${position}`;
}

beforeAll(async () => {
  node = await startNode({ domain, data: path.join(folder, "data"), port: 0, shards: 1 });
  db = new Heddle(node.url);
  typed = typedAt(node.url);
  await credit("account/alice", 1200);
  await credit("account/bob", 80);
  after = await credit("account/carol", 1);
});
afterAll(async () => {
  await db.close();
  await node.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

const balances = "select account, balance from accounts where balance >= ? order by account";

describe("heddle query", () => {
  it("prints a table, numbers to the right, after the write that it is to see", async () => {
    expect(await typed("query", balances, "80", "--after", after)).toEqual({
      code: 0,
      out: "account        balance\naccount/alice     1200\naccount/bob         80\n",
      said: "2 rows\n",
    });
  });

  it("takes parameters by name, and of every type", async () => {
    const sql = "select :a as a, typeof(:a) as ta, :b as b, typeof(:c) as tc, :d as d";
    const given = ["a=100", "b=x=y", "c=null", 'd="5"'].flatMap((param) => ["--param", param]);
    expect(linesOf(await typed("query", sql, ...given, "--json"))).toEqual([
      { columns: ["a", "ta", "b", "tc", "d"], rows: [{ a: 100, ta: "integer", b: "x=y", tc: "null", d: "5" }] },
    ]);
  });

  it("prints CSV, and one line of JSON", async () => {
    expect((await typed("query", balances, "80", "--csv")).out).toBe(
      "account,balance\naccount/alice,1200\naccount/bob,80\n",
    );
    const [answer] = linesOf(await typed("query", "select 1152921504606846976 as big, null as nobody", "--json"));
    expect(answer).toEqual({ columns: ["big", "nobody"], rows: [{ big: "1152921504606846976", nobody: null }] });
    expect(await typed("query", "select 1", "--csv", "--json")).toMatchObject({ code: 2 });
  });

  it("P7: says no with code 1 to what is no query, and 3 when it could not be asked", async () => {
    for (const [args, code, sentence] of [
      [["delete from accounts"], 1, "QUERY_REFUSED"],
      [["select * from acounts"], 1, "no such table: acounts"],
      [["select ?"], 1, "it wants 1 parameter, 0 came"],
      [["select account from accounts", "--rows-max", "1"], 1, "QUERY_LIMIT"],
      [["select 1 as n", "--after", "9:8"], 1, "there is no shard 9"],
      [["select 1 as n", "--sink", "rqlite"], 3, "NO_QUERY_SINK"],
      [["select account from accounts", "--after", "0:9999999", "--timeout", "300"], 3, "PROJECTION_LAGS"],
    ] as const)
      expect(await typed("query", ...args), args.join(" ")).toMatchObject({
        code,
        out: "",
        said: expect.stringContaining(sentence),
      });
  });
});

describe("heddle projections", () => {
  it("ls lists them, with what they have set aside; retry and skip deal with that", async () => {
    const write = await credit("account/dora", 13);
    await typed("query", "select 1 as n from bookings", "--after", write);
    let row: Partial<ListedProjection> | undefined;
    while (row?.setAside !== 1) {
      row = linesOf(await typed("projections", "ls", "--json")).find(({ projection }) => projection === "bookings");
    }
    const { out } = await typed("projections", "ls");
    expect(out).toMatch(
      /^projection +version +behind +for +events +set aside +state +sink\naccounts +1 .* live +sqlite\n/,
    );
    expect(out).toContain("bookings in sqlite cannot take Credited, event 1 of account/dora: ");
    const retry = ["projections", "retry", "bookings", "account/dora"];
    expect(await typed(...retry)).toMatchObject({
      code: 1,
      out: expect.stringContaining("bookings in sqlite cannot take Credited, event 1 of account/dora: "),
    });
    expect(linesOf(await typed(...retry, "--sink", "sqlite", "--json"))).toMatchObject([
      { ok: false, projection: "bookings", failures: [{ sink: "sqlite", entity: "account/dora", seq: 1 }] },
    ]);
    const skip = ["projections", "skip", "bookings", "account/dora", "--reason", "a test booking", "--by", "ann"];
    expect(await typed(...skip, "--json")).toMatchObject({ code: 0, out: '{"ok":true,"projection":"bookings"}\n' });
    expect(await typed(...skip)).toMatchObject({ code: 1, said: expect.stringContaining("NOT_SET_ASIDE") });
  });

  it("pause, resume and rebuild one", async () => {
    expect((await typed("projections", "pause", "accounts", "--sink", "sqlite")).out).toBe("accounts is paused\n");
    expect((await typed("projections", "ls")).out).toContain(
      "accounts in sqlite is paused: heddle projections resume accounts lets it go on",
    );
    expect(await typed("projections", "rebuild", "accounts")).toMatchObject({
      code: 3,
      said: expect.stringContaining("PROJECTION_LAGS"),
    });
    expect((await typed("projections", "resume", "accounts")).out).toBe("accounts goes on\n");
    expect((await typed("projections", "rebuild", "accounts")).out).toBe("accounts in sqlite is rebuilt\n");
    expect(linesOf(await typed("projections", "rebuild", "accounts", "--json"))).toMatchObject([
      { ok: true, projections: [{ projection: "accounts", sink: "sqlite" }] },
    ]);
    expect((await typed("query", balances, "80")).out).toContain("account/alice     1200");
  });

  it("P7: of a name that there is not gets code 1", async () => {
    expect(await typed("projections", "pause", "acounts")).toMatchObject({
      code: 1,
      said: expect.stringContaining("known: accounts, bookings"),
    });
    expect(await typed("projections", "pause", "accounts", "--sink", "mongodb")).toMatchObject({ code: 3 });
  });

  it("draw a table in which states have colours and no width", () => {
    const row = { projection: "accounts", sink: "sqlite", version: 2, lagBytes: 2048, lagMs: 1500, events: 7000 };
    const listed = [
      { ...row, setAside: 0, state: "live" },
      { ...row, setAside: 3, state: "stopped" },
    ] as unknown as ListedProjection[];
    const [title, live, stopped] = projectionTable(listed, pc.createColors(true));
    expect(title).toBe("projection  version   behind    for  events  set aside  state    sink");
    expect(live).toBe(
      `accounts          2  2.0 KiB  1.5 s   7,000          0  ${pc.createColors(true).green("live")}     sqlite`,
    );
    expect(stopped).toContain(pc.createColors(true).red("stopped"));
  });
});
