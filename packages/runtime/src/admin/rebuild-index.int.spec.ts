// Goal: a rebuilt partition equals the one that the shard had written, and a rebuild never makes matters worse.
// Method: a real node fills a folder over HTTP; its partitions are dumped before and after. Odd logs are crafted.
//
// The rule of equality: the same heads, extents, append ids, session windows and covered position; a snapshot of every
// aggregate at each entity's head, byte for byte. A shard that woke an entity without asking for its state may have an
// older snapshot there; then only the rebuilt one is held against a fold (by the audit).
import fs from "node:fs";
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
