// Goal: what becomes of projections when a MongoDB server fails, or somebody drops what is in it; writes that are begun and not
// ended, late, or of somebody else; and that what was deleted leaves the files. The server is FerretDB: what MongoDB does with a
// deleted document's bytes is not shown here.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { inspect } from "node:util";
import type { HeddleError } from "@heddle/kernel";
import { Double, MongoClient } from "mongodb";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type RunningServer, startMongo } from "../../../../infra/servers/index.ts";
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
import type { GenerationState, RowWrite, SinkBatch } from "../sink.ts";
import { sinkFailures } from "../sink-failures.spec-support.ts";
import { MongodbSink } from "./mongodb-sink.ts";
import { MongodbStore } from "./mongodb-store.ts";
import { richest } from "./read-accounts.spec-support.ts";
import { Redo } from "./redo.ts";

const code = (expected: string) => expect.objectContaining({ code: expected });

describe("mongodb: a server that fails", () => {
  sinkFailures({
    start: startMongo,
    sinkAt: (url) => new MongodbSink({ url, selectionTimeoutMs: 5_000, answerTimeoutMs: 5_000 }),
    addressOf: (url) => `${url}bank`,
    movements: 3_000,
    scarceBytes: 600_000,
  });
});

describe("mongodb: a server that is gone", () => {
  it("is away, whoever hears of it first, be it a bulk write", async () => {
    await using server = await startMongo();
    const store = new MongodbStore({ url: `${server.url}bank`, selectionTimeoutMs: 2_000 });
    const put = (isNew: boolean) => store.guarded(() => store.put("rows", [{ _id: "one" }], () => isNew));
    await put(true);
    await server.kill();
    for (const isNew of [true, false]) await expect(put(isNew)).rejects.toEqual(code("SINK_UNAVAILABLE"));
    await store.close();
  });
});

describe("mongodb: one server", () => {
  let server: RunningServer;
  let client: MongoClient;
  let name: string;
  let sink: MongodbSink;
  const ref = { projection: accounts, generation: 1 };
  const empty: GenerationState = {
    generation: 1,
    version: 1,
    shape: "{}",
    revision: 0,
    positions: [0, 0],
    facts: "{}",
  };

  beforeAll(async () => {
    server = await startMongo();
    client = new MongoClient(server.url);
  });
  afterAll(async () => {
    await client.close();
    await server.stop();
  });
  beforeEach(async () => {
    name = `bank_${randomUUID().replaceAll("-", "")}`;
    sink = new MongodbSink({ url: `${server.url}${name}` });
    await sink.open();
  });
  afterEach(async () => {
    await sink.close();
    await client.db(name).dropDatabase();
  });

  const put = (account: string, balance: number): RowWrite => ({
    id: account,
    key: [account],
    row: { account, balance, movements: 1, last: "" },
    source: account,
  });
  const batch = (revision: number, rows: readonly RowWrite[], more: Partial<SinkBatch> = {}): SinkBatch => ({
    revision,
    writer: "me",
    positions: [revision, revision],
    facts: "{}",
    erased: [],
    rows,
    held: new Map(),
    outcomes: new Map(),
    ...more,
  });
  const balances = async () =>
    Object.fromEntries((await storedRows(sink)).map((row) => [row["account"], row["balance"]]));
  const other = (isGuarded = false) => new MongodbSink({ url: `${server.url}${name}`, isGuarded });

  it("S1 a write that is marked is carried out by whoever describes it next; one that is not has not happened", async () => {
    await sink.create(ref, empty);
    await sink.write(ref, batch(1, [put("account/a", 1), put("account/b", 2)]));
    const store = new MongodbStore({ url: `${server.url}${name}` });
    await store.open();
    // Its process died before the mark: parts of a large write lie there, and nothing else.
    await store.put(
      "heddle_redo",
      [{ _id: "accounts/1/2/dead/0", of: "accounts/1", puts: [], removes: [] }],
      () => true,
    );
    expect((await sink.describe("accounts"))?.live).toMatchObject({ revision: 1 });
    // Its process died behind the mark, with one of two documents written.
    const whole = { ...put("account/c", 30), row: { ...put("account/c", 30).row!, last: new Double(3) as never } };
    const half = batch(2, [put("account/a", 10), whole], { erased: ["account/b"] });
    await new Redo(ref, half, 0).record(store);
    await client
      .db(name)
      .collection<{ _id: string }>("accounts")
      .replaceOne({ _id: "account/a" }, { account: "account/a", balance: 10, heddle_row: { revision: 2 } });
    expect((await sink.describe("accounts"))?.live).toMatchObject({ revision: 2, positions: [2, 2] });
    expect(await balances()).toEqual({ "account/a": 10, "account/c": 30 });
    const ofDoubles = client
      .db(name)
      .collection("accounts")
      .find({ last: { $type: "double" } });
    expect(await ofDoubles.toArray()).toHaveLength(1);
    await sink.write(ref, batch(3, [put("account/a", 100)]));
    await store.close();
  });

  it("P6 what a process that died had written down is gone when the projection is described next", async () => {
    await sink.create(ref, empty);
    const large = Array.from({ length: 16 }, (_, i): RowWrite => {
      const write = put(`account/${i}`, i);
      return { ...write, row: { ...write.row!, last: "x".repeat(1_000_000) } };
    });
    const redos = () => client.db(name).collection<{ _id: string }>("heddle_redo");
    const store = new MongodbStore({ url: `${server.url}${name}` });
    await store.open();
    const redo = new Redo(ref, batch(1, large), 0);
    await redo.record(store);
    await redos().deleteOne({ _id: redo.mark._id });
    expect(await redos().countDocuments({})).toBeGreaterThan(1);
    expect((await sink.describe("accounts"))?.live).toMatchObject({ revision: 0 });
    expect(await redos().countDocuments({})).toBe(0);
    await store.close();
  });

  it("S1 a mark whose parts somebody cleared away has the projection made anew, instead of half of a write", async () => {
    await sink.create(ref, empty);
    await sink.write(ref, batch(1, [put("account/a", 1)]));
    const rows = Array.from({ length: 8 }, (_, i): RowWrite => {
      const write = put(`account/${i}`, i);
      return { ...write, row: { ...write.row!, last: "x".repeat(1_000_000) } };
    });
    const store = new MongodbStore({ url: `${server.url}${name}` });
    await store.open();
    const { mark } = new Redo(ref, batch(2, rows), 0);
    expect(mark.parts.length).toBeGreaterThan(1);
    await new Redo(ref, batch(2, rows), 0).record(store);
    await store.remove("heddle_redo", mark.parts.slice(1));
    expect((await sink.describe("accounts"))?.live).toBeUndefined();
    await sink.create({ ...ref, generation: 2 }, { ...empty, generation: 2 });
    expect(await balances()).toEqual({});
    await store.close();
  });

  it("S2 a mark that the server makes after its write was given up is not what a crash in the next one leaves", async () => {
    await sink.create(ref, empty);
    await sink.write(ref, batch(1, [put("account/a", 1)]));
    const store = new MongodbStore({ url: `${server.url}${name}` });
    await store.open();
    await new Redo(ref, batch(2, [put("account/a", 2)]), 0).record(store);
    // FerretDB takes no list in a list: a write that is marked and cannot be carried out stands for one whose process died.
    const refused = { ...put("account/b", 20), row: { ...put("account/b", 20).row!, last: [["a"]] } };
    await expect(sink.write(ref, batch(2, [put("account/a", 10), refused], { positions: [9, 9] }))).rejects.toEqual(
      code("SINK_REFUSED"),
    );
    const mark = await client.db(name).collection<{ _id: string }>("heddle_redo").findOne({ _id: "accounts/1/2" });
    expect(mark).toMatchObject({ positions: [9, 9] });
    await store.close();
  });

  it("a row that was not there is inserted, and not replaced as well", async () => {
    const commands = async () => {
      const { metrics } = await client.db("admin").command({ serverStatus: 1 });
      return {
        inserts: Number(metrics.commands.insert?.total ?? 0),
        updates: Number(metrics.commands.update?.total ?? 0),
      };
    };
    const rows = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, i) => put(`account/${from + i}`, from + i));
    await sink.create(ref, empty);
    const before = await commands();
    await sink.write(ref, batch(1, rows(0, 400)));
    const made = await commands();
    // The write's mark and its rows; and the state.
    expect([made.inserts - before.inserts, made.updates - before.updates]).toEqual([2, 1]);
    // By a process that has to ask for them.
    const other = new MongodbSink({ url: `${server.url}${name}` });
    await other.describe("accounts");
    const found = await other.load(
      ref,
      rows(399, 500).map(({ key }) => key),
    );
    expect(found.filter((row) => row !== undefined)).toHaveLength(1);
    const asked = await commands();
    await other.write(ref, batch(2, rows(400, 500), { writer: "other" }));
    const added = await commands();
    expect([added.inserts - asked.inserts, added.updates - asked.updates]).toEqual([2, 1]);
    expect(Object.keys(await balances())).toHaveLength(500);
    await other.close();
  });

  it("S1 a write of many megabytes is marked when all of it is written down", async () => {
    await sink.create(ref, empty);
    const text = "x".repeat(1_000_000);
    const rows = Array.from({ length: 16 }, (_, i): RowWrite => {
      const write = put(`account/${i}`, i);
      return { ...write, row: { ...write.row!, last: text } };
    });
    const store = new MongodbStore({ url: `${server.url}${name}` });
    await store.open();
    await new Redo(ref, batch(1, rows), 0).record(store);
    expect(await client.db(name).collection("heddle_redo").countDocuments({})).toBeGreaterThan(2);
    expect((await sink.describe("accounts"))?.live).toMatchObject({ revision: 1 });
    expect(Object.keys(await balances())).toHaveLength(16);
    expect(await client.db(name).collection("heddle_redo").countDocuments({})).toBe(0);
    await store.close();
  });

  it("a store that several open at once leaves no connection behind when it is closed", async () => {
    let open = 0;
    const gone: Promise<void>[] = [];
    const way = net.createServer((socket) => {
      open++;
      const closed = Promise.withResolvers<void>();
      gone.push(closed.promise);
      socket.once("close", () => {
        open--;
        closed.resolve();
      });
      const there = net.connect(server.port, "127.0.0.1");
      there.on("error", () => socket.destroy());
      socket.on("error", () => there.destroy());
      socket.pipe(there).pipe(socket);
    });
    way.listen(0, "127.0.0.1");
    await once(way, "listening");
    const { port } = way.address() as net.AddressInfo;
    const store = new MongodbStore({ url: `mongodb://127.0.0.1:${port}/${name}` });
    await Promise.all([store.open(), store.open(), store.open()]);
    expect(open).toBeGreaterThan(0);
    await store.close();
    await Promise.all(gone);
    await expect.poll(() => open).toBe(0);
    way.close();
  });

  it("S2 of two writers of one revision only the first writes", async () => {
    await sink.create(ref, empty);
    const late = other();
    await sink.write(ref, batch(1, [put("account/a", 1)]));
    await sink.write(ref, batch(2, [put("account/a", 2)]));
    await expect(late.write(ref, batch(2, [put("account/a", 99)], { writer: "late" }))).rejects.toEqual(
      code("SINK_REFUSED"),
    );
    await expect(late.write(ref, batch(1, [put("account/a", 99)], { writer: "late" }))).rejects.toEqual(
      code("SINK_REFUSED"),
    );
    expect(await balances()).toEqual({ "account/a": 2 });
    await sink.write(ref, batch(3, [put("account/a", 3)]));
    await late.close();
  });

  it("M1 a guarded document is not replaced by an earlier revision, however late that comes", async () => {
    const guarded = other(true);
    await guarded.create(ref, empty);
    for (let revision = 1; revision <= 3; revision++) {
      await guarded.write(ref, batch(revision, [put("account/a", revision), put(`account/${revision}`, 0)]));
    }
    const store = new MongodbStore({ url: `${server.url}${name}` });
    await store.open();
    const old = { account: "account/a", balance: 1, movements: 1, last: "", heddle_row: { revision: 2 } };
    await store.put(
      "accounts",
      [
        { _id: "account/a", ...old },
        { _id: "account/new", ...old, account: "account/new" },
      ],
      () => false,
      2,
    );
    expect(await balances()).toMatchObject({ "account/a": 3, "account/new": 1 });
    await store.close();
    await guarded.close();
  });

  it("M2 a collection of somebody else is neither written to nor dropped", async () => {
    const theirs = client.db(name).collection<{ _id: string; theirs: boolean }>("accounts");
    await theirs.insertOne({ _id: "account/a", theirs: true });
    await expect(sink.create(ref, empty)).rejects.toEqual(code("SINK_REFUSED"));
    expect(await theirs.find({}).toArray()).toEqual([{ _id: "account/a", theirs: true }]);
    expect((await sink.describe("accounts"))?.live).toBeUndefined();
  });

  it("M3 a collection that somebody dropped is built again from the beginning", async () => {
    const feed = new MemoryFeed(shards);
    const projections = project(feed, sink);
    // Looking at the sink would find the loss out too, so that comes last.
    const has = async (count: number) => {
      const isThrough = () => expect(projections.list()[0]).toMatchObject({ state: "live", lagBytes: 0 });
      await vi.waitFor(isThrough, { timeout: 60_000, interval: 20 });
      expect(await storedRows(sink)).toEqual(expectedRows(count));
    };
    addMovements(feed, 0, 300);
    await has(300);
    await client.db(name).dropCollection("accounts");
    addMovements(feed, 300, 301);
    await has(301);
    // One by one: FerretDB drops a database by unlinking its file, and one with a request on its way is no database afterwards.
    for (const each of await client.db(name).collections()) await each.drop();
    addMovements(feed, 301, 400);
    await has(400);
    await projections.stop();
  });

  it("S4 a swap that was begun is ended by whoever describes the projection next", async () => {
    await sink.create(ref, empty);
    await sink.write(ref, batch(1, [put("account/a", 1)]));
    const next = { projection: accounts, generation: 2 };
    await sink.create(next, { ...empty, generation: 2 });
    await sink.write(next, batch(1, [put("account/a", 2)]));
    const db = client.db(name);
    // Its process died between the two renamings.
    await db
      .collection<{ _id: string }>("heddle_projections")
      .updateOne({ _id: "accounts" }, { $set: { swapTo: "accounts" } });
    await db.collection("accounts").rename("heddle_old_accounts");
    expect(await sink.describe("accounts")).toMatchObject({ live: { generation: 2, revision: 1 }, next: undefined });
    expect(await balances()).toEqual({ "account/a": 2 });
    const names = (await db.listCollections().toArray()).map((one) => one.name);
    expect(names).toContain("accounts");
    expect(names.filter((one) => /_old_|_rows_/.test(one))).toEqual([]);
  });

  it("users read documents by their columns, under the collection's plain name, with their own driver", async () => {
    await sink.create(ref, empty);
    await sink.write(ref, batch(1, [put("account/a", 10), put("account/b", 300), put("account/c", 200)]));
    const found = await richest(`${server.url}${name}`, 100, 10);
    expect(found.map(({ _id, account, balance }) => [_id, account, balance])).toEqual([
      ["account/b", "account/b", 300],
      ["account/c", "account/c", 200],
    ]);
    expect(await client.db(name).collection<{ _id: string }>("accounts").findOne({ _id: "account/a" })).toEqual({
      ...{ _id: "account/a", account: "account/a", balance: 10, movements: 1, last: "" },
      heddle_row: { revision: 1 },
    });
  });

  it("passwords are in no name and no error", async () => {
    const secret = new MongodbSink({
      url: `mongodb://user:secret-word@127.0.0.1:1/bank?appName=x`,
      selectionTimeoutMs: 100,
    });
    const error = await secret.open().catch((thrown: unknown) => thrown);
    expect(error).toEqual(code("SINK_UNAVAILABLE"));
    expect(String(error)).not.toContain("secret-word");
    expect(secret.name).toBe("mongodb://127.0.0.1:1/bank");
  });

  it("a password that is not percent-encoded is refused, and no part of it is told", async () => {
    for (const password of ["p@hush:t/ree", "hush@tree", "hush/tree", "hush:t@/ree", "hush?t@ree", "%hush%tree"]) {
      const secret = new MongodbSink({ url: `mongodb://user:${password}@127.0.0.1:1/bank`, selectionTimeoutMs: 100 });
      const error = await secret.open().catch((thrown: unknown) => thrown);
      expect(error, password).toEqual(code("SINK_REFUSED"));
      expect(inspect(error, { depth: 10 }), password).not.toMatch(/hush|ree\b/);
      expect(secret.name, password).toBe("mongodb://127.0.0.1:1/bank");
    }
    const unknown = new MongodbSink({ url: "mongodb://127.0.0.1:1/bank?noSuchOption=1" });
    await expect(unknown.open()).rejects.toThrow(/nosuchoption/i);
  });
});

describe("mongodb: a server that knows users", () => {
  const password = "p@ss:w/ord ö%25?#&";
  let server: RunningServer;
  beforeAll(async () => {
    server = await startMongo({ user: "heddle", password });
  });
  afterAll(() => server.stop());
  const at = (user: string, options = "?authSource=admin") =>
    new MongodbSink({ url: `${server.url.replace("//", `//${user}`)}bank${options}`, selectionTimeoutMs: 60_000 });

  it("who is not accepted is refused, whatever is asked for, without the password; the right one is served", async () => {
    const encoded = encodeURIComponent(password);
    const wrong = {
      nobody: at(""),
      "a wrong password": at("heddle:wrong-word@"),
      "no password": at("heddle@"),
      "somebody else": at(`other:${encoded}@`),
      "a user of another database": at(`heddle:${encoded}@`, ""),
      "a password encoded twice": at(`heddle:${encodeURIComponent(encoded)}@`),
    };
    for (const [who, sink] of Object.entries(wrong)) {
      for (const ask of [() => sink.open(), () => sink.list(), () => sink.describe("accounts"), () => sink.scrub()]) {
        const error = await ask().catch((thrown: unknown) => thrown);
        expect(error, who).toEqual(code("SINK_REFUSED"));
        expect((error as HeddleError).message, who).toContain("does not accept the user, the password");
        expect(inspect(error, { depth: 10 }), who).not.toMatch(/wrong-word|p@ss|p%40ss|p%2540ss/);
      }
      expect(sink.name, who).toBe(`${server.url}bank`);
      await sink.close();
    }
    const right = at(`heddle:${encoded}@`);
    await right.open();
    expect(await right.list()).toEqual([]);
    await right.close();
  });

  it("a projection whose password is wrong waits, and goes on when the server has that one", async () => {
    const changed = encodeURIComponent("another word");
    const sink = at(`heddle:${changed}@`);
    const feed = new MemoryFeed(shards);
    const projections = project(feed, sink);
    addMovements(feed, 0, 200);
    const status = () => projections.list()[0]!;
    const patience = { timeout: 60_000, interval: 20 };
    await vi.waitFor(
      () => expect(status()).toMatchObject({ state: "waiting", problem: { code: "SINK_REFUSED" } }),
      patience,
    );
    const operator = new MongoClient(`${server.url.replace("//", `//heddle:${encodeURIComponent(password)}@`)}`);
    await operator.db("admin").command({ updateUser: "heddle", pwd: "another word" });
    await vi.waitFor(() => expect(status()).toMatchObject({ state: "live", lagBytes: 0 }), patience);
    expect(await storedRows(sink)).toEqual(expectedRows(200));
    await operator.db("admin").command({ updateUser: "heddle", pwd: password });
    await projections.stop();
    await sink.close();
    await operator.close();
  });
});

describe("mongodb: what was deleted", () => {
  it("P6 leaves no byte in FerretDB's files after a scrub", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-mongo-"));
    const server = await startMongo({ folder });
    const sink = new MongodbSink({ url: `${server.url}bank` });
    const ref = { projection: accounts, generation: 1 };
    const names = Array.from({ length: 200 }, (_, i) => `account/${i}`);
    const write = (name: string): RowWrite => ({
      id: name,
      key: [name],
      row: { account: name, balance: 1, movements: 1, last: `MARK-${name}-${"x".repeat(300)}` },
      source: name,
    });
    const common = { writer: "me", positions: [1, 1], facts: "{}", held: new Map(), outcomes: new Map() };
    try {
      await sink.open();
      await sink.create(ref, { generation: 1, version: 1, shape: "{}", revision: 0, positions: [0, 0], facts: "{}" });
      await sink.write(ref, { ...common, revision: 1, erased: [], rows: names.map(write) });
      const gone = names.slice(100, 160).map((name) => ({ ...write(name), row: null }));
      await sink.write(ref, { ...common, revision: 2, erased: names.slice(0, 100), rows: gone });
      expect(marksIn(folder).size).toBeGreaterThan(100);
      await sink.scrub();
      expect([...marksIn(folder)].sort()).toEqual(names.slice(160).sort());
    } finally {
      await sink.close();
      await server.stop();
      fs.rmSync(folder, { recursive: true, force: true });
    }
  });
});
