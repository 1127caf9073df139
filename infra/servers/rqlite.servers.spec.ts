// Goal: rqlite's HTTP API as the rest of the project uses it, so that another version of rqlite can be held against it.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startRqlite, versions } from "./index.ts";

let server: RunningServer;
beforeAll(async () => {
  server = await startRqlite({ user: "woof", password: "p:w" });
});
afterAll(() => server.stop());

async function call(door: string, statements: unknown, credentials = "woof:p:w"): Promise<[number, string]> {
  const reply = await fetch(`${server.url}${door}`, {
    method: "POST",
    headers: {
      // Without it a text is one statement, whatever is in it.
      "content-type": "application/json",
      Authorization: `Basic ${Buffer.from(credentials).toString("base64")}`,
    },
    body: JSON.stringify(statements),
  });
  return [reply.status, (await reply.text()).trim()];
}

describe("rqlite over HTTP", () => {
  it("is the version that was built", () => {
    if ((process.env["HEDDLE_RQLITED"] ?? "") === "") expect(server.version).toBe(versions.rqlite);
  });

  it("keeps rows, and gives them back as arrays and as objects", async () => {
    expect(await call("/db/execute", ["CREATE TABLE a (id TEXT PRIMARY KEY, n INTEGER)"])).toEqual([
      200,
      '{"results":[{}]}',
    ]);
    const insert = ["INSERT INTO a VALUES (?, ?), (?, ?)", "x", 9007199254740993n.toString(), "y", null];
    const [status, said] = await call("/db/execute?transaction", [insert]);
    expect([status, JSON.parse(said)]).toEqual([200, { results: [{ last_insert_id: 2, rows_affected: 2 }] }]);
    expect(await call("/db/query?level=strong", [["SELECT id, n FROM a WHERE id = ?", "x"]])).toEqual([
      200,
      '{"results":[{"columns":["id","n"],"types":["text","integer"],"values":[["x",9007199254740993]]}]}',
    ]);
    const [, rows] = await call("/db/query?associative", ["SELECT id, n FROM a WHERE n IS NULL"]);
    expect(JSON.parse(rows)).toEqual({
      results: [{ types: { id: "text", n: "integer" }, rows: [{ id: "y", n: null }] }],
    });
  });

  it("tells errors for each statement, and undoes a transaction that has one", async () => {
    await call("/db/execute", ["CREATE TABLE b (id INTEGER PRIMARY KEY)"]);
    const statements = ["INSERT INTO b VALUES (1)", "INSERT INTO b VALUES (1)", "INSERT INTO b VALUES (2)"];
    const [status, said] = await call("/db/execute?transaction", statements);
    expect(status).toBe(200);
    expect((JSON.parse(said) as { results: { error?: string }[] }).results.map(({ error }) => error)).toEqual([
      undefined,
      "UNIQUE constraint failed: b.id",
    ]);
    expect((await call("/db/query", ["SELECT count(*) AS n FROM b"]))[1]).toContain("[[0]]");
    await call("/db/execute", statements);
    expect((await call("/db/query", ["SELECT count(*) AS n FROM b"]))[1]).toContain("[[2]]");
  });

  it("does not write at the door for queries", async () => {
    await call("/db/execute", ["CREATE TABLE c (id INTEGER)"]);
    expect(await call("/db/query", ["INSERT INTO c VALUES (1)"])).toEqual([
      200,
      '{"results":[{"error":"attempt to change database via query operation"}]}',
    ]);
    expect((await call("/db/query", ["SELECT count(*) AS n FROM c"]))[1]).toContain("[[0]]");
  });

  it("ends a query that takes longer than it may, and goes on with others", async () => {
    const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    const [status, said] = await call("/db/query?db_timeout=200ms", [endless]);
    expect([status, said]).toEqual([200, '{"results":[{"error":"query timeout"}]}']);
    expect((await call("/db/query", ["SELECT 1 AS one"]))[1]).toContain("[[1]]");
  });

  it("refuses wrong credentials with 401, and what it can not read with 400", async () => {
    expect((await call("/db/query", ["SELECT 1"], "woof:wrong"))[0]).toBe(401);
    expect((await call("/db/execute", ["DELETE FROM a"], "other:p:w"))[0]).toBe(401);
    expect((await fetch(`${server.url}/db/query?q=SELECT%201`)).status).toBe(401);
    expect((await call("/db/execute", { sql: "SELECT 1" }))[0]).toBe(400);
    expect((await call("/db/query?db_timeout=soon", ["SELECT 1"]))[0]).toBe(400);
  });
});
