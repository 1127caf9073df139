// P6 on a node with projections in SQLite: an erased entity leaves no byte in their file. With NATS, rqlite and MongoDB:
// erasure-readers.servers.spec.ts. What kills it: test/crash/erasure.e2e.spec.ts.
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Heddle } from "@heddle/client";
import { auditFolder } from "@heddle/runtime/internal";
import { describe, expect, it } from "vitest";
import { newFolder, startTestNode } from "../support/node.ts";
import {
  type Bank,
  erasedEverywhere,
  filesWith,
  fill,
  Markers,
  markedBank,
  nothingLeft,
  receiptOf,
} from "./erased-everywhere.ts";

const unprojectedBank = fileURLToPath(new URL("./unprojected-bank.ts", import.meta.url));

/** Until every projection is as far as the log. */
async function caughtUp(_node: unknown, db: Bank): Promise<void> {
  for (;;) {
    const rows = await db.projections();
    if (rows.every(({ lagBytes, state }) => lagBytes === 0 && state === "live")) return;
    await pause(50);
  }
}

describe("P6: an erased entity and the projections of its node", () => {
  it("P6: when the receipt comes no byte of it is in SQLite's file: rows, indexes, shared rows, set-aside errors, old pages", async () => {
    await erasedEverywhere({ node: {}, folders: [], hadMarkers: ["projections.sqlite"], caughtUp });
  });

  it("P6: a projection that is paused holds the receipt back, and says so; resumed, the same call gives it", async () => {
    await using node = await startTestNode({ domain: markedBank, shards: 2, threads: 1 });
    await using db = new Heddle(node.url) as Bank;
    const markers = new Markers();
    await fill(db, "account/alice", markers, 5);
    await caughtUp(node, db);
    await db.pauseProjection("movements");
    const refused = await db
      .entity("account/alice")
      .delete({ timeoutMs: 1_500 })
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: expect.stringMatching(/^(PROJECTION_LAGS|TIMEOUT)$/) as string });
    // It goes on also when its caller is gone, as far as it can.
    const projections = path.join(node.data, "projections");
    await nothingLeft([path.join(node.data, "shards")], markers.all, 120_000);
    await expect(db.entity("account/alice").get()).rejects.toMatchObject({ code: "ERASED" });
    expect(filesWith([projections], markers.all)).not.toEqual([]);
    // Others are erased meanwhile, as far as they can be, and written to.
    await fill(db, "account/bob", new Markers(), 3);
    await db.resumeProjection("movements");
    expect(await db.entity("account/alice").delete()).toMatchObject({ complete: true });
    expect(filesWith([projections], markers.all)).toEqual([]);
  });

  it("P6: rows of a projection that the domain module has no more go as well", async () => {
    const data = path.join(newFolder(), "data");
    const markers = new Markers();
    {
      await using node = await startTestNode({ domain: markedBank, data, shards: 1 });
      await using db = new Heddle(node.url) as Bank;
      await fill(db, "account/alice", markers, 5);
      await caughtUp(node, db);
    }
    await using node = await startTestNode({ domain: unprojectedBank, data });
    await using db = new Heddle(node.url);
    expect(await db.entity("account/alice").delete()).toMatchObject({ complete: true });
    expect(filesWith([data], markers.all)).toEqual([]);
    fs.rmSync(path.dirname(data), { recursive: true, force: true });
  });

  it("P6: rows in SQLite go when it is no sink any more, because nobody would erase in them", async () => {
    const data = path.join(newFolder(), "data");
    const markers = new Markers();
    {
      await using node = await startTestNode({ domain: markedBank, data, shards: 1 });
      await using db = new Heddle(node.url) as Bank;
      await fill(db, "account/alice", markers, 5);
      await caughtUp(node, db);
    }
    expect(filesWith([path.join(data, "projections")], markers.all)).not.toEqual([]);
    {
      await using node = await startTestNode({ domain: markedBank, data, sinks: [] });
      await using db = new Heddle(node.url) as Bank;
      expect(await db.entity("account/alice").delete()).toMatchObject({ complete: true });
      expect(filesWith([data], markers.all)).toEqual([]);
      await fill(db, "account/bob", new Markers(), 3);
    }
    await using node = await startTestNode({ domain: markedBank, data });
    await using db = new Heddle(node.url) as Bank;
    await caughtUp(node, db);
    expect((await db.query("SELECT account FROM accounts")).rows).toEqual([{ account: "account/bob" }]);
    fs.rmSync(path.dirname(data), { recursive: true, force: true });
  });

  it("P6: the projection thread is lost again and again meanwhile: the receipt comes all the same", async () => {
    await using node = await startTestNode({ domain: markedBank, shards: 2, threads: 1 });
    await using db = new Heddle(node.url, { timeoutMs: 60_000 }) as Bank;
    const markers = new Markers();
    const entities = Array.from({ length: 8 }, (_, i) => `account/${i}`);
    for (const entity of entities) await fill(db, entity, markers, 3);
    const deleted = entities.map((entity, i) => {
      if (i % 3 === 0) node.failThread(node.threadCount + 1);
      return receiptOf(db, entity);
    });
    for (const one of await Promise.all(deleted)) expect(one).toMatchObject({ complete: true });
    expect(filesWith([node.data], markers.all)).toEqual([]);
    await caughtUp(node, db);
    expect((await auditFolder({ data: node.data, domain: markedBank })).problems).toEqual([]);
  });
});
