// Goal: a rebuilt partition equals the one that the shard had written, and a rebuild never makes matters worse.
// Method: a real node fills a folder over HTTP; its partitions are dumped before and after. Odd logs are crafted.
//
// The rule of equality: the same heads, extents, append ids, session windows and covered position; a snapshot of every
// aggregate at each entity's head, byte for byte. A shard that woke an entity without asking for its state may have an
// older snapshot there; then only the rebuilt one is held against a fold (by the audit).
import fs from "node:fs";
import { systemClock } from "@heddle/kernel";
import { type DumpEntry, dumpPartition, openPartitionReadOnly } from "@heddle/partition/internal";
import { afterEach, describe, expect, it } from "vitest";
import { lock, logFolderOf, partitionFolderOf, readDataFolder } from "../data-folder.ts";
import { startNode } from "../start-node.ts";
import { auditFolder } from "./audit.ts";
import {
  craftFolder,
  flipByte,
  received,
  segmentOf,
  shop,
  shopDomain,
  sold,
  temporaryFolder,
  tombstone,
} from "./crafted-folder.spec-support.ts";
import { rebuildIndex } from "./rebuild-index.ts";
import { rebuildShard } from "./rebuild-shard.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});
const keep = (data: string): string => {
  folders.push(data);
  return data;
};

async function dump(data: string): Promise<DumpEntry[][]> {
  const dumps: DumpEntry[][] = [];
  for (let shard = 0; shard < readDataFolder(data)!.shardCount; shard++) {
    const partition = openPartitionReadOnly({ folder: partitionFolderOf(data, shard), shard });
    dumps.push([...dumpPartition(partition)]);
    await partition.close();
  }
  return dumps;
}

async function fill(url: string, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const items = Array.from({ length: 200 }, (_, i) => ({
      entity: `item/${(round * 31 + i * 7) % 90}`,
      aggregate: i % 10 === 0 ? "Price" : "Stock",
      ...(i % 10 === 0
        ? { type: "Set", payload: { cents: String(round + i) } }
        : { type: "Received", payload: { quantity: 1 + (i % 5) } }),
      ...(i % 3 === 0 ? { id: `round-${round}-${i}` } : {}),
    }));
    const answer = await fetch(`${url}/v1/append-many`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ items }),
    });
    expect(answer.status, await answer.clone().text()).toBe(200);
  }
}

describe("index rebuild: what it derives", () => {
  it("equals what the shards had written over many checkpoints, and a node goes on with it", async () => {
    const data = keep(temporaryFolder());
    const start = () => startNode({ domain: shop, data, port: 0, shards: 3, limits: { checkpointBytes: 4_096 } });
    const node = await start();
    await fill(node.url.replace("heddle:", "http:"), 12);
    await node.close();
    const before = await dump(data);
    expect(before.flat().filter(({ table }) => table === "extent").length).toBeGreaterThan(2_000);
    expect(before.flat().filter(({ table }) => table === "snapshot")).toHaveLength(2 * 90);

    const report = await rebuildIndex({ data, domain: shop });

    expect(await dump(data)).toEqual(before);
    expect(report).toMatchObject({ context: "shop", entities: 90, events: 2_400, snapshots: 180 });
    expect(report.shards.map(({ shard }) => shard)).toEqual([0, 1, 2]);
    const again = await start();
    // The first round once more: P4, its 67 ids are known, so only the other 133 items are new.
    await fill(again.url.replace("heddle:", "http:"), 1);
    await again.close();
    expect(await auditFolder({ data, domain: shop })).toMatchObject({ ok: true, problems: [], events: 2_400 + 133 });
  });

  it("is the same whether it is written in one checkpoint or in many", async () => {
    const appends = Array.from({ length: 60 }, (_, i) => received(`item/${i % 7}`, 1, { id: `${i}` }));
    const data = keep(await craftFolder(appends, { segmentBytes: 1_000 }));
    const before = await dump(data);
    for (const shard of [0, 1]) await rebuildShard({ data, shard, domain: shopDomain, checkpointBytes: 300 }, () => {});
    expect(await dump(data)).toEqual(before);
  });

  it("keeps windows of sessions that may still retry, and drops those that were silent for longer by the log's time", async () => {
    const late = 61 * 60_000;
    const data = keep(
      await craftFolder(
        [
          received("item/hammer", 1, { session: 1, time: 1_000 }),
          received("item/hammer", 1, { session: 2, time: late - 60_000 }),
          received("item/hammer", 1, { session: 3, time: late }),
        ],
        { shardCount: 1 },
      ),
    );
    const [entries] = await dump(data);
    expect(entries!.flatMap((entry) => (entry.table === "session" ? [entry.session] : []))).toEqual([2, 3]);
  });

  it("gives an entity that cannot be folded everything but a snapshot, and names it", async () => {
    const data = keep(
      await craftFolder([received("item/a", 20), sold("item/a", 13), received("item/b", 1)], {
        shardCount: 1,
        index: false,
      }),
    );
    const built = await rebuildShard({ data, shard: 0, domain: shopDomain }, () => {});
    expect(built.unfolded).toEqual([
      { entity: "item/a", problem: "Stock.Sold, at the replay of sequence 2: thirteen cannot be sold" },
    ]);
    const [entries] = await dump(data);
    expect(entries).toContainEqual(expect.objectContaining({ table: "head", entity: "item/a", seq: 2 }));
    expect(entries!.filter(({ table }) => table === "snapshot")).toHaveLength(2);
  });

  it("cuts a torn tail first (P5), and covers what stands before it", async () => {
    const data = keep(
      await craftFolder([received("item/a", 1), received("item/a", 2)], { shardCount: 1, index: false }),
    );
    const file = segmentOf(data, 0);
    fs.truncateSync(file, fs.statSync(file).size - 1);
    const built = await rebuildShard({ data, shard: 0, domain: shopDomain }, () => {});
    expect(built).toMatchObject({ events: 1, coveredPosition: fs.statSync(file).size });
  });
});

describe("index rebuild: what it refuses", () => {
  it("a folder that a node has open, and leaves its partition alone", async () => {
    const data = keep(await craftFolder([received("item/a", 1)]));
    const before = await dump(data);
    const release = lock(data);
    await expect(rebuildIndex({ data, domain: shop })).rejects.toMatchObject({ code: "DATA_FOLDER_IN_USE" });
    release();
    expect(await dump(data)).toEqual(before);
  });

  it("a damaged log (P5): the partition stays, and the folder is free again", async () => {
    const data = keep(
      await craftFolder([received("item/a", 1), received("item/a", 2), received("item/a", 3)], { shardCount: 1 }),
    );
    const before = await dump(data);
    flipByte(segmentOf(data, 0), 150);
    await expect(rebuildIndex({ data, domain: shop })).rejects.toMatchObject({
      code: "LOG_DAMAGED",
      facts: { file: segmentOf(data, 0) },
    });
    expect(await dump(data)).toEqual(before);
    lock(data)();
  });

  it("a log that has lost what its partition covers (P5)", async () => {
    const data = keep(await craftFolder([received("item/a", 1), received("item/a", 2)], { shardCount: 1 }));
    fs.rmSync(logFolderOf(data, 0), { recursive: true });
    await expect(rebuildIndex({ data, domain: shop })).rejects.toMatchObject({ code: "LOG_DAMAGED" });
    expect((await dump(data))[0]!.length).toBeGreaterThan(1);
  });
});

describe("index rebuild: the life of entities", () => {
  it("equals what a shard had written of erased, restored and forked entities, and of new lives (P6)", async () => {
    const data = keep(temporaryFolder());
    const start = () => startNode({ domain: shop, data, port: 0, shards: 2, limits: { checkpointBytes: 8_192 } });
    const node = await start();
    const url = node.url.replace("heddle:", "http:");
    await fill(url, 3);
    for (const name of ["1", "2", "3"]) await call(url, "DELETE", `item/${name}`);
    await call(url, "POST", "item/4/restore", { seq: 2 });
    await call(url, "POST", "item/5/fork", { entity: "item/copy", seq: 3 });
    await call(url, "POST", "item/2/append", { ...sale, newLife: true });
    await call(url, "POST", "item/3/append", { ...sale, newLife: true, id: "again" });
    await call(url, "DELETE", "item/3");
    // So that every shard has a checkpoint to write when it closes, which drops what is noted of erasures that have ended.
    await fill(url, 1);
    await node.close();
    const before = await dump(data);
    const heads = before.flat().filter((entry) => entry.table === "head");
    expect(heads.filter(({ baseSeq }) => baseSeq > 0)).toHaveLength(3);
    expect(heads.filter(({ baseSeq, seq }) => baseSeq === seq)).toHaveLength(2);
    expect(before.flat().filter(({ table }) => table === "erasure")).toEqual([]);
    expect(await auditFolder({ data, domain: shop })).toMatchObject({ ok: true, problems: [], erased: 2 });

    await rebuildIndex({ data, domain: shop });

    expect(await dump(data)).toEqual(before);
    expect(await auditFolder({ data, domain: shop })).toMatchObject({ ok: true, problems: [], erased: 2 });
  });

  it("notes an erasure that the log shows to be unfinished, so that the next start ends it (P6)", async () => {
    // Recent, so that its session may still bring a retry.
    const recent = { time: systemClock.now() };
    const data = keep(
      await craftFolder(
        [
          received("item/a", 2, { id: "one", ...recent }),
          received("item/b", 1, recent),
          tombstone("item/a", { keepsPayloads: true, ...recent }),
        ],
        { shardCount: 1 },
      ),
    );
    expect((await dump(data))[0]).toContainEqual({ table: "erasure", entity: "item/a", seq: 2, stage: "count" });
    const node = await startNode({ domain: shop, data, port: 0, shards: 1 });
    const url = node.url.replace("heddle:", "http:");
    // Answers when the erasure that is under way has ended.
    await call(url, "DELETE", "item/a");
    await call(url, "POST", "item/b/append", sale);
    await node.close();
    const after = await dump(data);
    expect(after[0]).toContainEqual(expect.objectContaining({ table: "head", entity: "item/a", seq: 2, baseSeq: 2 }));
    expect(await auditFolder({ data, domain: shop })).toMatchObject({ ok: true, problems: [], erased: 1, notes: [] });
    await rebuildIndex({ data, domain: shop });
    expect(await dump(data)).toEqual(after);
  });
});

const sale = { aggregate: "Stock", type: "Received", payload: { quantity: 7 } };

async function call(url: string, method: string, path: string, body?: object): Promise<void> {
  const answer = await fetch(`${url}/v1/entities/${path}`, {
    method,
    ...(body && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  expect(answer.status, `${method} ${path}: ${await answer.clone().text()}`).toBeLessThan(300);
}
