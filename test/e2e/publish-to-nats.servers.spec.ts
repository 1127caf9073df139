// Goal: a node that publishes, whole: what clients were told is in NATS, once and in order, after NATS was away for half a million
// events, and killed under load; and an erasure's receipt means that it is gone there too.
// Tested elsewhere: each thing that can go wrong with a stream (packages/feed, publisher.servers.spec.ts).
import path from "node:path";
import { committed, Heddle } from "@heddle/client";
import { entityOfEntry } from "@heddle/event-log/internal";
import { loadNats } from "@heddle/feed/internal";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { filesWith } from "../../infra/servers/files-of.spec-support.ts";
import { type RunningServer, startNats } from "../../infra/servers/index.ts";
import { startTestNode } from "../support/node.ts";

interface Ready {
  readonly ready: boolean;
  readonly nats: { readonly server: string; readonly connected: boolean; readonly problems: readonly string[] };
}

const readyOf = async (node: { http: string }) => (await (await fetch(`${node.http}/readyz`)).json()) as Ready;

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error("it did not come about within two minutes");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The last sequence of each entity, from the streams. Fails when one is missing, doubled, or out of order. */
async function lastSeqs(nats: RunningServer): Promise<Map<string, number>> {
  const { NatsFeed } = await loadNats();
  const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
  const last = new Map<string, number>();
  for (let shard = 0; shard < feed.shardCount; shard++) {
    for (let at = 0; ; ) {
      const chunk = await feed.read(shard, at, 1 << 20);
      if (chunk === undefined) break;
      chunk.visit((entry) => {
        const entity = entityOfEntry(entry);
        if (entity.startsWith("$")) return;
        if (entry.firstSeq !== (last.get(entity) ?? 0) + 1)
          throw new Error(`${entity}: ${entry.firstSeq} comes behind ${last.get(entity)}`);
        last.set(entity, entry.firstSeq + entry.eventCount - 1);
      });
      at = chunk.to;
    }
  }
  await feed.close();
  return last;
}

async function lagOf(node: { http: string }): Promise<number> {
  const text = await (await fetch(`${node.http}/metrics`)).text();
  const lags = [...text.matchAll(/^heddle_nats_lag_bytes\{.*\} (\d+)$/gm)].map(([, bytes]) => Number(bytes));
  return lags.length === 0 ? Number.POSITIVE_INFINITY : lags.reduce((sum, bytes) => sum + bytes, 0);
}

async function metricOf(node: { http: string }, what: "messages" | "connections"): Promise<number> {
  const text = await (await fetch(`${node.http}/metrics`)).text();
  return Number(new RegExp(`^heddle_nats_${what}_total (\\d+)$`, "m").exec(text)?.[1] ?? 0);
}

describe("a node that publishes to NATS", () => {
  it("has everything there in order after NATS was away for half a million events, and killed under load", async () => {
    await using nats = await startNats();
    await nats.kill();
    await using node = await startTestNode({ shards: 2, nats: { url: nats.url } });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const credits = Array.from({ length: 500 }, () => ({ type: "Credited" as const, payload: { amount: 1 } }));
    const acknowledged = new Map<string, number>();
    const write = async (appends: number) => {
      const accounts = Array.from({ length: 8 }, (_, i) => `account/a${i}` as const);
      await Promise.all(
        accounts.map(async (id) => {
          for (let i = 0; i < appends / accounts.length; i++)
            acknowledged.set(id, committed(await db.entity(id).append(credits, { aggregate: "Account" })).seq);
        }),
      );
    };
    await write(1_000);
    expect([...acknowledged.values()].reduce((sum, seq) => sum + seq, 0)).toBe(500_000);
    const away = await readyOf(node);
    expect(away.ready).toBe(true);
    expect(away.nats).toMatchObject({ server: `NATS at ${nats.url}`, connected: false });
    expect(away.nats.problems[0]).toContain("cannot be reached");
    await nats.restart();
    await until(async () => (await lagOf(node)) === 0);
    expect(await lastSeqs(nats)).toEqual(acknowledged);
    const before = await metricOf(node, "messages");
    const writing = write(600);
    await until(async () => (await metricOf(node, "messages")) > before);
    const connections = await metricOf(node, "connections");
    await nats.kill();
    await writing;
    await nats.restart();
    // The lag by itself may be nothing already: all of it may have been there before NATS was killed.
    await until(async () => (await metricOf(node, "connections")) > connections && (await lagOf(node)) === 0);
    const { server } = away.nats;
    await expect.poll(async () => (await readyOf(node)).nats).toEqual({ server, connected: true, problems: [] });
    expect(await lastSeqs(nats)).toEqual(acknowledged);
  });

  it("goes on where the streams end when the thread that publishes dies", async () => {
    await using nats = await startNats();
    await using node = await startTestNode({ shards: 2, threads: 1, nats: { url: nats.url } });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const alice = db.entity("account/alice");
    for (let i = 1; i <= 100; i++) {
      committed(await alice.append("Credited", { amount: i }));
      if (i % 40 === 0) node.failThread(1);
    }
    await until(async () => (await lagOf(node)) === 0);
    expect(await lastSeqs(nats)).toEqual(new Map([["account/alice", 100]]));
  });

  it("gives an erasure's receipt when NATS has nothing of the entity any more, in either kind of stream", async () => {
    await using nats = await startNats();
    await using node = await startTestNode({ shards: 2, nats: { url: nats.url, events: true } });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const metadata = { note: "SECRET-OF-ALICE" };
    for (const id of ["account/alice", "account/bob"] as const)
      for (let i = 0; i < 10; i++)
        committed(await db.entity(id).append("Credited", { amount: 4_711 }, { metadata: { ...metadata, id } }));
    await until(async () => (await lagOf(node)) === 0);
    const store = path.join(nats.folder, "store");
    const inMessages = '"id":"account/alice"';
    await until(async () => filesWith(store, inMessages).length > 0);
    await db.entity("account/alice").delete();
    expect(filesWith(store, inMessages)).toEqual([]);
    const { NatsFeed } = await loadNats();
    const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
    const erased = new Map<string, number>();
    for (let shard = 0; shard < feed.shardCount; shard++) {
      const chunk = await feed.read(shard, 0, 1 << 20);
      chunk?.visit((entry) => {
        const holdsPayload = Buffer.from(entry.bytes.subarray(entry.bodyFrom, entry.bodyTo)).includes("SECRET");
        if (!holdsPayload) erased.set(entityOfEntry(entry), (erased.get(entityOfEntry(entry)) ?? 0) + 1);
      });
    }
    // Ten that were erased, and the tombstone.
    expect(erased.get("account/alice")).toBe(11);
    expect(erased.get("account/bob")).toBeUndefined();
    await feed.close();
  });
});
