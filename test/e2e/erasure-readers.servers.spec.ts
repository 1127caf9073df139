// P6 with real servers: an erased entity leaves no byte in the files of NATS, rqlite and MongoDB's wire server, as it leaves none
// in the node's own. Each reader by itself, then all of them, then what happens while they are away.
//
// MongoDB here is FerretDB with SQLite; what it does not show is in docs/how-to/erase-an-entity.md. Several nodes of rqlite are in
// packages/projection/src/rqlite/rqlite-cluster.servers.spec.ts.
import { setTimeout as pause } from "node:timers/promises";
import { Heddle, type HeddleError } from "@heddle/client";
import { describe, expect, it } from "vitest";
import { startMongo, startNats, startRqlite } from "../../infra/servers/index.ts";
import { startTestNode } from "../support/node.ts";
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

type TestNode = Awaited<ReturnType<typeof startTestNode>>;

/** Until every projection, and what is published, is as far as the log. */
async function caughtUp(node: TestNode, db: Bank): Promise<void> {
  for (;;) {
    const rows = await db.projections();
    const metrics = await (await fetch(`${node.http}/metrics`)).text();
    const lags = [...metrics.matchAll(/^heddle_nats_lag_bytes\S* (\d+)$/gm)].map(([, bytes]) => Number(bytes));
    const isPublished = lags.every((bytes) => bytes === 0);
    if (isPublished && rows.every(({ lagBytes, state }) => lagBytes === 0 && state === "live")) return;
    await pause(50);
  }
}

describe("P6: an erased entity and the servers that have copies of it", () => {
  it("P6: NATS: no byte of it is in JetStream's store", async () => {
    await using nats = await startNats();
    await erasedEverywhere({
      node: { nats: { url: nats.url }, sinks: [] },
      folders: [nats.folder],
      hadMarkers: [nats.folder],
      caughtUp,
    });
  });

  it("P6: NATS, with a message for each event: no byte of it is in JetStream's store", async () => {
    await using nats = await startNats();
    await erasedEverywhere({
      node: { nats: { url: nats.url, events: true }, sinks: [] },
      folders: [nats.folder],
      hadMarkers: [nats.folder],
      caughtUp,
    });
  });

  it("P6: rqlite: no byte of it is in its files", async () => {
    await using rqlite = await startRqlite();
    await erasedEverywhere({
      node: { sinks: [rqlite.url] },
      folders: [rqlite.folder],
      hadMarkers: [rqlite.folder],
      caughtUp,
    });
  });

  it("P6: MongoDB's wire server: no byte of it is in its files", async () => {
    await using mongo = await startMongo();
    await erasedEverywhere({
      node: { sinks: [mongo.url] },
      folders: [mongo.folder],
      hadMarkers: [mongo.folder],
      caughtUp,
    });
  });

  it("P6: all at once, and SQLite", async () => {
    await using nats = await startNats();
    await using rqlite = await startRqlite();
    await using mongo = await startMongo();
    await erasedEverywhere({
      node: { nats: { url: nats.url, events: true }, sinks: ["sqlite", rqlite.url, mongo.url] },
      folders: [nats.folder, rqlite.folder, mongo.folder],
      hadMarkers: [nats.folder, rqlite.folder, mongo.folder, "projections.sqlite"],
      caughtUp,
    });
  });
});

/** The whole of it, so that a failure tells what there was. */
const told = ({ code, message }: HeddleError) => `${code}: ${message}`;

describe("P6: a server that is away while an entity is erased", () => {
  it("P6: NATS: the receipt waits and says for what; when it is back, it comes and nothing is left", async () => {
    await using nats = await startNats();
    const options = { domain: markedBank, shards: 2, threads: 1, sinks: [], nats: { url: nats.url } };
    await using node = await startTestNode(options);
    await using db = new Heddle(node.url, { timeoutMs: 120_000 }) as Bank;
    const markers = new Markers();
    await fill(db, "account/alice", markers, 10);
    await caughtUp(node, db);
    await nats.kill();
    expect(filesWith([nats.folder], markers.all)).not.toEqual([]);
    const early = await db.entity("account/alice").delete({ timeoutMs: 3_000 }).catch(told);
    expect(early).toMatch(/^(SINK_UNAVAILABLE|TIMEOUT): /);
    await nothingLeft([node.data], markers.all, 120_000);
    // Whoever asks again gets the receipt when it is back.
    const asked = receiptOf(db, "account/alice");
    await nats.restart();
    expect(await asked).toMatchObject({ complete: true });
    await nothingLeft([nats.folder, node.data], markers.all, 0);
  });

  it.each([
    ["rqlite", startRqlite],
    ["MongoDB", startMongo],
  ] as const)("P6: %s: the same, over a restart of the node", async (_, start) => {
    await using server = await start();
    const options = { domain: markedBank, shards: 1, sinks: ["sqlite", server.url] };
    const first = await startTestNode(options);
    const markers = new Markers();
    {
      await using db = new Heddle(first.url, { timeoutMs: 120_000 }) as Bank;
      await fill(db, "account/alice", markers, 10);
      await caughtUp(first, db);
      await server.kill();
      const early = await db.entity("account/alice").delete({ timeoutMs: 3_000 }).catch(told);
      expect(early).toMatch(/^(SINK_UNAVAILABLE|PROJECTION_LAGS|TIMEOUT): /);
      await first.close();
    }
    expect(filesWith([server.folder], markers.all)).not.toEqual([]);
    await using node = await startTestNode({ ...options, data: first.data });
    await using db = new Heddle(node.url, { timeoutMs: 120_000 }) as Bank;
    const asked = receiptOf(db, "account/alice");
    await server.restart();
    expect(await asked).toMatchObject({ complete: true });
    await nothingLeft([server.folder, first.data], markers.all, 0);
    await first[Symbol.asyncDispose]();
  });
});
