// Goal: what a node makes of a server that refuses its rows: writers go on, readiness and metrics say what is wrong and give no
// password away, and nothing is missing afterwards. What a sink makes of it by itself stands in packages/projection/src.
import fs from "node:fs";
import path from "node:path";
import { committed, Heddle, type ListedProjection } from "@heddle/client";
import { MongoClient } from "mongodb";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { type RunningServer, startMongo } from "../../infra/servers/index.ts";
import { newFolder, startTestNode } from "../support/node.ts";

type TestNode = Awaited<ReturnType<typeof startTestNode>>;

const patience = { timeout: 60_000, interval: 20 };

async function credit(db: Heddle, from: number, to: number): Promise<void> {
  const appends = Array.from({ length: to - from }, (_, i) =>
    db.entity(`account/${from + i}`).append("Credited", { amount: from + i + 1 }, { aggregate: "Account" }),
  );
  for (const receipt of await Promise.all(appends)) committed(receipt);
}

async function inSink(db: Heddle, sink: string): Promise<ListedProjection> {
  return (await db.projections()).find((one) => one.projection === "accounts" && one.sink === sink)!;
}

interface Ready {
  readonly ready: boolean;
  readonly projections: readonly { readonly sink: string; readonly state: string; readonly reason?: string }[];
}

async function readinessOf(node: TestNode, sink: string) {
  const answer = await fetch(`${node.http}/readyz`);
  const { ready, projections } = (await answer.json()) as Ready;
  return { ready, ...projections.find((one) => one.sink === sink)! };
}

/** As many as the accounts, each with its amount: held against the sum of what was appended. */
async function rowsIn(url: string): Promise<{ readonly rows: number; readonly sum: number }> {
  const client = new MongoClient(url);
  try {
    const rows = await client.db("bank").collection("accounts").find({}).toArray();
    return { rows: rows.length, sum: rows.reduce((sum, row) => sum + (row["balance"] as number), 0) };
  } finally {
    await client.close();
  }
}

const expectedOf = (accounts: number) => ({ rows: accounts, sum: (accounts * (accounts + 1)) / 2 });

describe("a node whose MongoDB server does not accept its password", () => {
  it("serves, says so without the password, and has every row once the password is right", async () => {
    await using server = await startMongo({ user: "heddle", password: "the first one" });
    const lines: string[] = [];
    const logger = pino({ level: "trace" }, { write: (line: string) => lines.push(line) });
    const name = `${server.url}bank`;
    const url = `${server.url.replace("//", "//heddle:s%40crament%2F@")}bank?authSource=admin`;
    await using node = await startTestNode({ shards: 1, sinks: ["sqlite", url], logger });
    await using db = new Heddle(node.url);
    await credit(db, 0, 100);
    const isRefused = { state: "waiting", problem: expect.stringContaining("does not accept the user") };
    await vi.waitFor(async () => expect(await inSink(db, name)).toMatchObject(isRefused), patience);
    await vi.waitFor(async () => expect(await inSink(db, "sqlite")).toMatchObject({ lagBytes: 0 }), patience);
    expect(await readinessOf(node, name)).toMatchObject({
      ready: true,
      state: "waiting",
      reason: expect.stringContaining("does not accept the user, the password") as string,
    });
    const told = [
      JSON.stringify(await db.projections()),
      ...(await Promise.all(["readyz", "metrics", "v1/projections"].map((door) => textOf(`${node.http}/${door}`)))),
      ...lines,
    ].join("\n");
    expect(told).toContain(name);
    expect(told).not.toMatch(/crament/);

    const operator = new MongoClient(server.url.replace("//", "//heddle:the%20first%20one@"));
    await operator.db("admin").command({ updateUser: "heddle", pwd: "s@crament/" });
    await operator.close();
    await credit(db, 100, 150);
    await vi.waitFor(
      async () => expect(await inSink(db, name)).toMatchObject({ state: "live", lagBytes: 0 }),
      patience,
    );
    expect(await rowsIn(url)).toEqual(expectedOf(150));
    expect(await readinessOf(node, name)).toMatchObject({ ready: true, state: "live" });
  });
});

describe("a node whose MongoDB server has a full disk", () => {
  it("serves, says so, and has every row once there is room", async () => {
    const folder = newFolder();
    let server: RunningServer = await startMongo({ folder, maxStoreBytes: 400_000 });
    try {
      const name = `${server.url}bank`;
      await using node = await startTestNode({ shards: 1, sinks: ["sqlite", name] });
      await using db = new Heddle(node.url);
      await credit(db, 0, 50);
      await vi.waitFor(async () => expect(await inSink(db, name)).toMatchObject({ lagBytes: 0 }), patience);
      await credit(db, 50, 2_000);
      const isFull = { state: "waiting", problem: expect.stringContaining("database or disk is full") };
      await vi.waitFor(async () => expect(await inSink(db, name)).toMatchObject(isFull), patience);
      expect(await readinessOf(node, name)).toMatchObject({
        ready: true,
        state: "waiting",
        reason: expect.stringMatching(/database or disk is full/) as string,
      });
      await credit(db, 2_000, 2_100);
      await vi.waitFor(async () => expect(await inSink(db, "sqlite")).toMatchObject({ lagBytes: 0 }), patience);
      expect((await db.query("select count(*) as n from accounts")).rows).toEqual([{ n: 2_100 }]);

      const { port } = server;
      await server.stop();
      server = await startMongo({ folder, port });
      await vi.waitFor(
        async () => expect(await inSink(db, name)).toMatchObject({ state: "live", lagBytes: 0 }),
        patience,
      );
      expect(await rowsIn(name)).toEqual(expectedOf(2_100));
    } finally {
      await server.stop();
      fs.rmSync(path.resolve(folder), { recursive: true, force: true });
    }
  });
});

async function textOf(url: string): Promise<string> {
  return (await fetch(url)).text();
}
