// Goal: what becomes of projections when rqlite fails, refuses, is not rqlite, or has older data; that what was deleted leaves its
// files; and what its queries answer. Several nodes are in rqlite-cluster.servers.spec.ts.
import fs from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type RunningServer, startRqlite } from "../../../../infra/servers/index.ts";
import {
  accounts,
  addMovements,
  expectedRows,
  project,
  shards,
  storedRows,
} from "../accounts-under-test.spec-support.ts";
import { marksIn } from "../marks-in.spec-support.ts";
import { MemoryFeed } from "../memory-feed.spec-support.ts";
import { sinkFailures } from "../sink-failures.spec-support.ts";
import { RqliteClient } from "./rqlite-client.ts";
import { RqliteSink } from "./rqlite-sink.ts";

const code = (expected: string) => expect.objectContaining({ code: expected });

describe("rqlite: a server that fails", () => {
  sinkFailures({
    start: startRqlite,
    sinkAt: (url) => new RqliteSink({ url, timeoutMs: 5_000 }),
    addressOf: (url) => url,
    movements: 6_000,
  });
});

describe("rqlite: a server that refuses", () => {
  it("credentials that are not accepted are named, without the password; the right ones open it", async () => {
    await using server = await startRqlite({ user: "heddle", password: "open sesame" });
    const at = (user: string) => new RqliteSink({ url: server.url.replace("//", `//${user}@`) });
    for (const sink of [new RqliteSink({ url: server.url }), at("heddle:wrong-word")]) {
      const error = await sink.open().catch((thrown: unknown) => thrown);
      expect(error).toEqual(code("SINK_REFUSED"));
      expect(String(error)).not.toContain("wrong-word");
      expect(sink.name).toBe(server.url);
    }
    await at("heddle:open%20sesame").open();
  });

  it("a user needs execute and query, and for erasures status and snapshot; what it lacks is told", async () => {
    const allowed = ["execute", "query", "status", "snapshot"];
    const sinkOf = ({ url }: RunningServer) => new RqliteSink({ url: url.replace("//", "//u:p@") });
    {
      await using server = await startRqlite({ user: "u", password: "p", permissions: allowed });
      const sink = sinkOf(server);
      await sink.open();
      await sink.settings("accounts", "{}");
      expect((await sink.describe("accounts"))?.settings).toBe("{}");
      expect((await sink.query({ sql: "SELECT 1", params: [], rowsMax: 1, timeoutMs: 30_000 })).rows).toEqual([[1]]);
      await sink.scrub();
    }
    {
      await using server = await startRqlite({ user: "u", password: "p", permissions: ["execute", "query"] });
      const sink = sinkOf(server);
      await sink.open();
      await sink.settings("accounts", "{}");
      await expect(sink.scrub()).rejects.toEqual(code("SINK_REFUSED"));
    }
  });

  it("a server that is not rqlite is refused, one that has trouble is waited for", async () => {
    let status = 200;
    const server = http
      .createServer((_, reply) => reply.writeHead(status).end("<html>welcome</html>"))
      .listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const sink = new RqliteSink({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    await expect(sink.open()).rejects.toEqual(code("SINK_REFUSED"));
    status = 404;
    await expect(sink.open()).rejects.toEqual(code("SINK_REFUSED"));
    for (status of [500, 503]) await expect(sink.open()).rejects.toEqual(code("SINK_UNAVAILABLE"));
    server.close();
  });

  it("a proxy that answers in its place while something is scrubbed is waited for", async () => {
    const server = http
      .createServer(({ url }, reply) =>
        reply.end(url?.startsWith("/db/") === true ? '{"results":[{}],"raft_index":7}' : "<html>one moment</html>"),
      )
      .listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const sink = new RqliteSink({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    await expect(sink.scrub()).rejects.toEqual(code("SINK_UNAVAILABLE"));
    server.close();
  });

  it("an error that a statement gets in a reply with status 200 is an error", async () => {
    const replies = [
      ['{"results":[{"error":"database or disk is full"}]}', "SINK_REFUSED"],
      ['{"results":[{"error":"no such table: heddle_rows_accounts_1"}]}', "SINK_REFUSED"],
      ['{"results":[{"error":"database is locked"}]}', "SINK_UNAVAILABLE"],
      ['{"results":[],"error":"leadership lost while committing log"}', "SINK_UNAVAILABLE"],
      ['{"results":[],"error":"not leader"}', "SINK_UNAVAILABLE"],
    ] as const;
    for (const [reply, expected] of replies) {
      const server = http.createServer((_, to) => to.end(reply)).listen(0, "127.0.0.1");
      await new Promise((resolve) => server.once("listening", resolve));
      const sink = new RqliteSink({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
      await expect(sink.settings("accounts", "{}"), reply).rejects.toEqual(code(expected));
      server.close();
    }
  });

  it("follows a server that sends it on to the leader, with the same request", async () => {
    await using leader = await startRqlite();
    const follower = http.createServer((asked, reply) => {
      reply.writeHead(301, { location: `${leader.url}${asked.url}` }).end();
    });
    follower.listen(0, "127.0.0.1");
    await new Promise((resolve) => follower.once("listening", resolve));
    const sink = new RqliteSink({ url: `http://127.0.0.1:${(follower.address() as AddressInfo).port}` });
    await sink.open();
    await sink.settings("accounts", "{}");
    expect((await new RqliteSink({ url: leader.url }).describe("accounts"))?.settings).toBe("{}");
    follower.close();
  });
});

describe("rqlite: a disk that is full", () => {
  it("P5 is told with a typed error; nothing is lost, and all goes on when there is room again", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-rqlite-"));
    const full = await startRqlite({ folder, fileBytesMax: 300 << 10 });
    const sink = new RqliteSink({ url: full.url, timeoutMs: 3_000 });
    const feed = new MemoryFeed(shards);
    const projections = project(feed, sink, { limits: { eventsMax: 100, bytesMax: 16_384 } });
    const problem = () => projections.list()[0]!.problem;
    let server = full;
    try {
      let count = 0;
      const add = (more: number) => {
        addMovements(feed, count, count + more);
        count += more;
      };
      await vi.waitFor(
        () => {
          if (problem() === undefined) add(50);
          expect(problem()).toMatchObject({
            code: expect.stringMatching(/^SINK_(UNAVAILABLE|REFUSED)$/) as string,
            message: expect.stringMatching(/file too large|disk is full/) as string,
          });
        },
        { timeout: 60_000, interval: 5 },
      );
      // What was refused is in its log already: it is carried out at the next start, and must not be taken for what came later.
      add(500);
      await full.stop();
      server = await startRqlite({ folder, port: full.port });
      // The rows can be read before their writer has its reply.
      await vi.waitFor(
        async () => {
          expect(problem()).toBeUndefined();
          expect(await storedRows(sink)).toEqual(expectedRows(count));
        },
        { timeout: 60_000, interval: 20 },
      );
    } finally {
      await projections.stop();
      await server.stop();
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });

  it("P5 a write that was refused, and carried out by the next start, mixes with none that came after it", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-rqlite-"));
    const fileBytesMax = 600 << 10;
    const full = await startRqlite({ folder, fileBytesMax });
    let server = full;
    const client = new RqliteClient({ url: full.url });
    const sink = new RqliteSink({ url: full.url });
    const ref = { projection: accounts, generation: 1 };
    const state = { generation: 1, version: 1, shape: "{}", revision: 0, positions: [0, 0], facts: "{}" };
    const write = (revision: number, ...names: readonly string[]) =>
      sink.write(ref, {
        ...{ revision, writer: "me", positions: [revision, 0], facts: "{}", erased: [], held: new Map() },
        outcomes: new Map(),
        rows: names.map((name) => ({
          ...{ id: name, key: [name], source: name },
          row: { account: name, balance: 1, movements: 1, last: "" },
        })),
      });
    const many = Array.from({ length: 4_000 }, (_, i) => `account/many-${10_000 + i}`);
    const names = async () => (await storedRows(sink)).map((row) => row["account"]);
    const walBytes = () => fs.statSync(path.join(folder, "store", "db.sqlite-wal")).size;
    try {
      await sink.open();
      await sink.create(ref, state);
      await client.transaction([["CREATE TABLE filling (text TEXT)"]]);
      while (walBytes() < fileBytesMax - (150 << 10)) {
        await client.transaction([["INSERT INTO filling VALUES (?)", "x".repeat(3_000)]]);
      }
      // There is room for a few rows, and not for so many.
      await expect(write(1, ...many)).rejects.toEqual(code("SINK_UNAVAILABLE"));
      expect((await sink.describe("accounts"))?.live?.revision).toBe(0);
      await write(1, "account/1");
      await write(2, "account/2");
      expect(await names()).toEqual(["account/1", "account/2"]);
      await full.kill();
      server = await startRqlite({ folder, port: full.port });
      // All that came after it is gone there, and the next write finds it out.
      expect(await names()).toEqual(many);
      await expect(write(3, "account/3")).rejects.toEqual(code("SINK_REFUSED"));
      expect((await sink.describe("accounts"))?.live).toMatchObject({ revision: 1, positions: [1, 0] });
      await write(2, "account/3");
      expect(await names()).toEqual(["account/3", ...many]);
    } finally {
      await server.stop();
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });

  it("P5 a write that was carried out late is not taken for another one at the same revision", async () => {
    await using server = await startRqlite();
    const sink = new RqliteSink({ url: server.url });
    const ref = { projection: accounts, generation: 1 };
    const state = { generation: 1, version: 1, shape: "{}", revision: 0, positions: [0, 0], facts: "{}" };
    const rowOf = (name: string) => ({
      id: name,
      key: [name],
      row: { account: name, balance: 1, movements: 1, last: "movement 1" },
      source: name,
    });
    const common = { revision: 1, writer: "me", facts: "{}", erased: [], held: new Map(), outcomes: new Map() };
    const late = { ...common, positions: [1, 0], rows: [rowOf("account/1")] };
    await sink.open();
    await sink.create(ref, state);
    await sink.write(ref, late);
    const more = { ...common, positions: [1, 1], rows: [rowOf("account/1"), rowOf("account/2")] };
    await expect(sink.write(ref, more)).rejects.toEqual(code("SINK_UNAVAILABLE"));
    await expect(sink.write(ref, { ...late, rows: more.rows })).rejects.toEqual(code("SINK_UNAVAILABLE"));
    await sink.write(ref, late);
    expect((await sink.describe("accounts"))?.live).toMatchObject({ revision: 1, positions: [1, 0] });
    await expect(sink.write(ref, { ...more, writer: "other" })).rejects.toEqual(code("SINK_REFUSED"));
  });
});

describe("rqlite: older data", () => {
  it("P5 a database that was put back from a copy is caught up from where it is", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-rqlite-"));
    const store = path.join(folder, "store");
    const server = await startRqlite({ folder });
    const sink = new RqliteSink({ url: server.url });
    const feed = new MemoryFeed(shards);
    const projections = project(feed, sink);
    const has = (count: number) =>
      vi.waitFor(async () => expect(await storedRows(sink)).toEqual(expectedRows(count)), {
        timeout: 60_000,
        interval: 20,
      });
    try {
      let count = 0;
      const add = (more: number) => {
        addMovements(feed, count, count + more);
        count += more;
      };
      for (const older of ["some rows", "nothing at all"]) {
        add(200);
        await has(count);
        await server.kill();
        const copy = path.join(folder, "copy");
        if (older === "some rows") fs.cpSync(store, copy, { recursive: true });
        await server.restart();
        add(300);
        await has(count);
        await server.kill();
        fs.rmSync(store, { recursive: true });
        if (older === "some rows") fs.cpSync(copy, store, { recursive: true });
        await server.restart();
        // It is found out by the next write.
        add(1);
        await has(count);
      }
    } finally {
      await projections.stop();
      await server.stop();
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("rqlite: what was deleted", () => {
  it("P6 leaves no byte in the server's files after a scrub", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-rqlite-"));
    const server = await startRqlite({ folder });
    const sink = new RqliteSink({ url: server.url });
    const ref = { projection: accounts, generation: 1 };
    const row = (name: string) => ({
      account: name,
      balance: 1,
      movements: 1,
      last: `MARK-${name}-${"x".repeat(300)}`,
    });
    const write = (name: string, gone = false) => ({
      id: name,
      key: [name],
      row: gone ? null : row(name),
      source: name,
    });
    const state = { generation: 1, version: 1, shape: "{}", revision: 0, positions: [0, 0], facts: "{}" };
    const common = { writer: "me", positions: [1, 1], facts: "{}", held: new Map(), outcomes: new Map() };
    const names = Array.from({ length: 500 }, (_, i) => `account/${i}`);
    try {
      await sink.open();
      await sink.create(ref, state);
      await sink.write(ref, { ...common, revision: 1, erased: [], rows: names.map((name) => write(name)) });
      await sink.write(ref, {
        ...common,
        revision: 2,
        erased: names.slice(0, 250),
        rows: names.slice(250, 400).map((name) => write(name, true)),
      });
      expect(marksIn(folder).size).toBeGreaterThan(100);
      await sink.scrub();
      expect([...marksIn(folder)].sort()).toEqual(names.slice(400).sort());
    } finally {
      await server.stop();
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });

  it("P6 leaves no byte in the server's files, however short the free pieces of its log are", async () => {
    await using server = await startRqlite();
    const client = new RqliteClient({ url: server.url });
    const sink = new RqliteSink({ url: server.url });
    await client.transaction([["CREATE TABLE texts (text TEXT)"]]);
    let number = 0;
    const insert = (length: number) =>
      client.transaction([["INSERT INTO texts VALUES (?)", `MARK-account/${number++}-${"x".repeat(length)}`]]);
    for (let round = 0; round < 4; round++) {
      // Long and short requests, some of which share a sync: runs of one page, and of many.
      for (let i = 0; i < 60; i++) {
        await insert((i * i * 37) % 20_000);
        if (i % 10 === 0) await Promise.all(Array.from({ length: 20 }, (_, k) => insert(20 * k)));
      }
      await client.transaction([["DELETE FROM texts"]]);
      expect(marksIn(server.folder).size).toBeGreaterThan(100);
      await sink.scrub();
      expect([...marksIn(server.folder)]).toEqual([]);
    }
  });
});

describe("rqlite: queries", () => {
  let server: RunningServer;
  let sink: RqliteSink;
  beforeAll(async () => {
    server = await startRqlite();
    sink = new RqliteSink({ url: server.url });
    await new RqliteClient({ url: server.url }).transaction([
      ["CREATE TABLE things (name TEXT PRIMARY KEY, number INTEGER, bytes BLOB)"],
      ["INSERT INTO things VALUES ('one', 1, x'6162'), ('two', 9007199254740993, x'00ff'), ('x''61''', 3, NULL)"],
    ]);
  });
  afterAll(() => server.stop());
  const ask = (sql: string, more: object = {}) =>
    sink.query({ sql, params: [], rowsMax: 100, timeoutMs: 30_000, ...more });

  it("give rows by column, with every bit of a number", async () => {
    expect(
      await ask("SELECT name, number, bytes FROM things WHERE number < ? ORDER BY 1", {
        params: [9007199254740993n],
      }),
    ).toEqual({
      columns: ["name", "number", "bytes"],
      rows: [
        ["one", 1, Uint8Array.of(0x61, 0x62)],
        ["x'61'", 3, null],
      ],
    });
    const named = await ask("SELECT number FROM things WHERE name = :name", { params: { name: "two" } });
    expect(named.rows).toEqual([[9007199254740993n]]);
    expect((await ask("SELECT name FROM things WHERE 0")).rows).toEqual([]);
  });

  it("pass consistency levels on, and refuse others", async () => {
    for (const consistency of ["none", "none 500ms", "weak", "linearizable", "strong", "auto"]) {
      expect((await ask("SELECT count(*) FROM things", { consistency })).rows).toEqual([[3]]);
    }
    await expect(ask("SELECT 1", { consistency: "eventual" })).rejects.toEqual(code("QUERY_REFUSED"));
  });

  it("change nothing, and are bounded in rows and time", async () => {
    await expect(ask("DELETE FROM things")).rejects.toEqual(code("QUERY_REFUSED"));
    await expect(ask("SELECT nothing FROM things")).rejects.toEqual(code("QUERY_REFUSED"));
    await expect(ask("SELECT * FROM things", { rowsMax: 2 })).rejects.toEqual(code("QUERY_LIMIT"));
    const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    await expect(ask(endless, { timeoutMs: 200 })).rejects.toEqual(code("QUERY_LIMIT"));
    expect((await ask("SELECT count(*) FROM things")).rows).toEqual([[3]]);
  });

  it("refuse a text that rqlite would take for bytes", async () => {
    await expect(ask("SELECT * FROM things WHERE name = ?", { params: ["x'61'"] })).rejects.toEqual(
      code("QUERY_REFUSED"),
    );
    expect((await ask("SELECT * FROM things WHERE name = ?", { params: ["x'6'"] })).rows).toEqual([]);
  });
});
