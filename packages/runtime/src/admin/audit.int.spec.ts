// Goal: an audit says OK of what a node leaves behind, and names every kind of fault: a fault is planted for each rule.
// Method: logs are written entry by entry and partitions altered through their own writer, so that nothing but the
// planted fault is wrong. Only the audit beside a node needs a node.
import fs from "node:fs";
import { type EntityId, HeddleError, shardOf } from "@heddle/kernel";
import { type Extent, openPartitionReadOnly } from "@heddle/partition/internal";
import { afterEach, describe, expect, it } from "vitest";
import { partitionFolderOf, projectionsFileOf } from "../data-folder.ts";
import { startNode } from "../start-node.ts";
import { type AuditReport, auditFolder } from "./audit.ts";
import { type AuditProblem, type AuditRule, auditRules } from "./audit-problems.ts";
import { auditShard } from "./audit-shard.ts";
import {
  alterEntry,
  alterPartition,
  type CraftedAppend,
  craftFolder,
  flipBehind,
  flipByte,
  received,
  sagaRecord,
  segmentOf,
  shop,
  shopDomain,
  sold,
  temporaryFolder,
  tombstone,
} from "./crafted-folder.spec-support.ts";
import { alterProjections, projected, projectFolder } from "./projected-folder.spec-support.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

async function crafted(...args: Parameters<typeof craftFolder>): Promise<string> {
  const data = await craftFolder(...args);
  folders.push(data);
  return data;
}

const shardOfHammer = shardOf("item/hammer" as EntityId, 2);

/** Two entities, two aggregates, an id: what every planted fault is hidden in. */
const healthy: readonly CraftedAppend[] = [
  received("item/hammer", 10),
  received("item/nail", 500, { id: "delivery-1" }),
  sold("item/hammer", 3),
  // Its schema made a number of a text, so it was not stored as it came.
  { entity: "item/hammer", aggregate: "Price", events: [{ type: "Set", payload: { cents: 1_250 } }], fingerprint: 1 },
  received("item/hammer", 1, { id: "delivery-2" }),
];

async function projectedFolder(appends = healthy): Promise<string> {
  const data = await crafted(appends);
  await projectFolder(data);
  return data;
}

interface Plant {
  readonly data: () => Promise<string>;
  readonly finds: Partial<AuditProblem>;
}

const quadOf = (extent: Extent) => [extent.firstSeq, extent.count, extent.position, extent.check];

const stranger = (shard: number) => {
  for (let i = 0; ; i++) if (shardOf(`item/${i}` as EntityId, 2) === shard) return `item/${i}`;
};

/** For each rule a folder that breaks it, and what the audit has to say about it. */
const plants: { readonly [R in AuditRule]: Plant } = {
  "log/readable": {
    data: async () => {
      const data = await crafted(healthy);
      flipByte(segmentOf(data, shardOfHammer), 64 + 24 + 60);
      return data;
    },
    finds: { shard: shardOfHammer },
  },
  "log/reaches-checkpoint": {
    data: async () => {
      const data = await crafted([...healthy, received("item/hammer", 5)]);
      const shorter = await crafted(healthy);
      fs.truncateSync(segmentOf(data, shardOfHammer), fs.statSync(segmentOf(shorter, shardOfHammer)).size);
      return data;
    },
    finds: { shard: shardOfHammer },
  },
  "log/entry-checksum": {
    data: () =>
      crafted([received("item/hammer", 10), received("item/hammer", 1, { breakChecksum: true })], { index: false }),
    finds: { seq: 2 },
  },
  "log/entry-whole": {
    data: () => crafted([...healthy, received("item/hammer", 1, { eventCount: 2 })], { index: false }),
    finds: { entity: "item/hammer", seq: 5 },
  },
  "entity/in-its-shard": {
    data: () => crafted([received("item/hammer", 1, { shard: 1 - shardOfHammer })], { index: false }),
    finds: { shard: 1 - shardOfHammer, entity: "item/hammer", seq: 1 },
  },
  "entity/sequence": {
    data: () => crafted([...healthy, received("item/hammer", 1, { firstSeq: 7 })], { index: false }),
    finds: { entity: "item/hammer", seq: 7, found: "sequence 7", wanted: "sequence 5" },
  },
  "entity/time": {
    data: () => crafted([...healthy, received("item/hammer", 1, { time: 999 })], { index: false }),
    finds: { entity: "item/hammer", seq: 5, found: "time 999" },
  },
  "entity/append-id-once": {
    data: () => crafted([...healthy, received("item/hammer", 1, { id: "delivery-2" })], { index: false }),
    finds: { entity: "item/hammer", seq: 5 },
  },
  "entity/erased": {
    data: () => crafted([...healthy, tombstone("item/hammer", { keepsPayloads: true })], { settleErasures: true }),
    finds: { entity: "item/hammer", seq: 5, found: expect.stringContaining("the payloads of sequence 1") as string },
  },
  "entity/chain": {
    data: async () => {
      const data = await crafted(healthy);
      // The quantity of the second sale of hammers: the last byte of its payload.
      alterEntry(data, shardOfHammer, 2, (entry) => {
        entry[entry.length - 1] = 2;
      });
      return data;
    },
    finds: { entity: "item/hammer", seq: 2 },
  },
  "session/call-once": {
    data: () => crafted([...healthy, received("item/hammer", 1, { call: 5 })], { index: false }),
    finds: { entity: "item/hammer", seq: 5 },
  },
  "saga/steps": {
    data: () => crafted([...healthy, sagaRecord("t-1", "Committed", [["item/hammer", "done"]])]),
    finds: {
      entity: "$saga/t-1",
      found: 'no entry with the id "saga:t-1:0:f"',
      wanted: "one, as the record has step 1 done",
    },
  },
  "domain/known": {
    data: () => crafted([...healthy, { entity: "item/hammer", events: [{ type: "Lost", payload: {} }] }]),
    finds: { entity: "item/hammer", seq: 5, found: "the event Stock.Lost" },
  },
  "domain/upcast": {
    data: () =>
      crafted([
        ...healthy,
        { entity: "item/hammer", events: [{ type: "Adjusted", payload: { counted: 13 }, schemaVersion: 1 }] },
      ]),
    finds: { entity: "item/hammer", seq: 5 },
  },
  "domain/payload": {
    data: () => crafted([...healthy, received("item/hammer", 0)]),
    finds: { entity: "item/hammer", seq: 5 },
  },
  "domain/fold": {
    data: () => crafted([...healthy, received("item/hammer", 20), sold("item/hammer", 13)]),
    finds: { entity: "item/hammer", seq: 6 },
  },
  "domain/invariant": {
    data: () => crafted([...healthy, sold("item/hammer", 100), received("item/hammer", 1)]),
    finds: { entity: "item/hammer", seq: 5 },
  },
  "partition/readable": {
    data: async () => {
      const data = await crafted(healthy);
      // In the snapshot: a key of four letters, "left", behind which stands the number.
      flipBehind(`${partitionFolderOf(data, shardOfHammer)}/data.mdb`, Buffer.from("\xa4left", "latin1"));
      return data;
    },
    finds: { entity: "item/hammer" },
  },
  "partition/covered": {
    data: async () => {
      const data = await crafted(healthy, { index: false });
      await alterPartition(data, shardOfHammer, () => {}, 72);
      return data;
    },
    finds: { shard: shardOfHammer, position: 72 },
  },
  "partition/head": {
    data: async () => {
      const data = await crafted(healthy);
      await alterPartition(data, shardOfHammer, (writer, partition) => {
        const head = partition.head("item/hammer")!;
        writer.putEntity("item/hammer", { ...head, time: head.time + 1 }, new Float64Array(), []);
      });
      return data;
    },
    finds: { entity: "item/hammer", seq: 4 },
  },
  "partition/extents": {
    data: async () => {
      const data = await crafted(healthy);
      await alterPartition(data, shardOfHammer, (writer, partition) => {
        const quads = [...partition.extents("item/hammer", 1, "forward")].map(quadOf);
        quads[1]![2]! -= 8;
        writer.putEntity("item/hammer", partition.head("item/hammer")!, Float64Array.from(quads.flat()), []);
      });
      return data;
    },
    finds: { entity: "item/hammer", seq: 2 },
  },
  "partition/snapshot": {
    data: async () => {
      const data = await crafted(healthy);
      await alterPartition(data, shardOfHammer, (writer, partition) => {
        const [price] = partition.snapshots("item/hammer");
        const stock = { ...price!, aggregate: "Stock", state: Buffer.from("\x81\xa4left\x63", "latin1") };
        writer.putEntity("item/hammer", partition.head("item/hammer")!, new Float64Array(), [stock]);
      });
      return data;
    },
    finds: { entity: "item/hammer", seq: 4 },
  },
  "partition/erased": {
    data: async () => {
      const data = await crafted([
        received("item/nail", 500, { id: "delivery-1" }),
        ...healthy,
        tombstone("item/hammer"),
      ]);
      await alterPartition(data, shardOfHammer, (writer, partition) => {
        const head = partition.head("item/hammer")!;
        const kept = { aggregate: "Stock", foldVersion: 1, seq: 4, state: Buffer.from("\x81\xa4left\x08", "latin1") };
        writer.putEntity("item/hammer", head, new Float64Array(), [kept]);
      });
      return data;
    },
    finds: { entity: "item/hammer", seq: 4 },
  },
  "partition/catalogue": {
    data: async () => {
      const data = await crafted(healthy);
      await alterPartition(data, shardOfHammer, (writer) => writer.putTypeCount("Stock", "Sold", 1, 2));
      return data;
    },
    finds: { found: "2 events of Stock.Sold, schema version 1", wanted: "1, as the log has" },
  },
  "partition/append-id": {
    data: async () => {
      const data = await crafted(healthy);
      await alterPartition(data, shardOfHammer, (writer) => writer.putAppendId("item/hammer", "delivery-2", 88));
      return data;
    },
    finds: { entity: "item/hammer", seq: 4 },
  },
  "projection/readable": {
    data: async () => {
      const data = await projectedFolder();
      fs.writeFileSync(projectionsFileOf(data), Buffer.alloc(8_192, 0x41));
      return data;
    },
    finds: { found: expect.stringContaining("file is not a database") as string },
  },
  "projection/position": {
    data: async () => {
      const data = await projectedFolder();
      const moved = "UPDATE heddle_generations SET positions = json_replace(positions, '$[0]', 65, '$[1]', 65)";
      alterProjections(data, moved);
      return data;
    },
    finds: { found: "stock, shard 0: position 65", wanted: "the end of a record of the log" },
  },
  "projection/rows": {
    data: async () => {
      const data = await projectedFolder();
      alterProjections(data, "UPDATE heddle_rows_stock_1 SET pieces = 9 WHERE item = 'item/hammer'");
      return data;
    },
    finds: { entity: "item/hammer", found: "stock, the row item/hammer, column pieces: 9", wanted: "8" },
  },
};

const audit = (data: string, more: { problemsMax?: number; domain?: string } = {}): Promise<AuditReport> =>
  auditFolder({ data, domain: shop, ...more });

/** The same without its threads, for what is wrong inside one shard. */
async function problemsOf(data: string): Promise<AuditProblem[]> {
  const audits = [0, 1].map((shard) =>
    auditShard({ data, shard, shardCount: 2, domain: shopDomain, problemsMax: 100 }, () => {}),
  );
  return (await Promise.all(audits)).flatMap(({ problems }) => problems);
}

describe("audit: a healthy folder", () => {
  it("is OK, and counts pairs of entity and aggregate that have events", async () => {
    const data = await crafted(healthy);
    const report = await audit(data);
    expect(report.problems).toEqual([]);
    expect(report).toMatchObject({
      ok: true,
      problemTotal: 0,
      shards: 2,
      entities: 2,
      aggregates: 3,
      entries: 5,
      events: 5,
    });
  });

  it("is OK without any partition, over several segments, and with an append of several events", async () => {
    const many = Array.from({ length: 50 }, (_, i) => received(`item/${i % 7}`, i + 1));
    const data = await crafted(
      [...many, { entity: "item/1", events: [...many[0]!.events, { type: "Sold", payload: { quantity: 1 } }] }],
      { index: false, segmentBytes: 512 },
    );
    expect(fs.readdirSync(`${data}/shards/0000/log`).length).toBeGreaterThan(3);
    expect(await audit(data)).toMatchObject({ ok: true, entities: 7, events: 52, problems: [] });
  });

  it("is OK while empty, before a node has made any shard", async () => {
    const data = await crafted([]);
    fs.rmSync(`${data}/shards`, { recursive: true });
    expect(await audit(data)).toMatchObject({ ok: true, entities: 0, aggregates: 0, events: 0 });
  });

  it("moves its progress up to all bytes of the logs", async () => {
    const data = await crafted(healthy);
    const seen: number[] = [];
    const { logBytes } = await auditFolder({ data, domain: shop, onProgress: (p) => seen.push(p.doneBytes) });
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe(logBytes);
  });

  it("notes payloads that a schema made and would not take back, and calls them no fault", async () => {
    const price = {
      entity: "item/nail",
      aggregate: "Price",
      events: [{ type: "Set", payload: { cents: 5 } }],
      fingerprint: 1,
    };
    const report = await audit(await crafted([...healthy.slice(0, 3), price]));
    expect(report).toMatchObject({ ok: true, problems: [] });
    expect(report.notes).toEqual([
      "Price.Set: 1 payloads could not be checked, because its schema takes none that it made itself",
    ]);
  });
});

describe("audit: beside a running node", () => {
  it("is OK again and again while the node takes appends and writes checkpoints, and sees more each time", async () => {
    const data = temporaryFolder();
    folders.push(data);
    // A checkpoint every few milliseconds, so that the partition moves on under the audit.
    const node = await startNode({ domain: shop, data, port: 0, shards: 2, limits: { checkpointBytes: 8_192 } });
    const stop = new AbortController();
    const load = keepAppending(node.url.replace("heddle:", "http:"), stop.signal);
    const events: number[] = [];
    try {
      for (let i = 0; i < 3; i++) {
        const report = await audit(data);
        expect(report.problems).toEqual([]);
        events.push(report.events);
      }
    } finally {
      stop.abort();
      await load;
      await node.close();
    }
    expect(events).toEqual(events.toSorted((a, b) => a - b));
    const last = await audit(data);
    expect(last).toMatchObject({ ok: true, notes: [] });
    expect(last.events).toBeGreaterThan(events[0]!);
  });

  it("P6: is OK again and again while the node erases entities, and new lives begin", async () => {
    const data = temporaryFolder();
    folders.push(data);
    const node = await startNode({ domain: shop, data, port: 0, shards: 1, limits: { checkpointBytes: 8_192 } });
    const url = node.url.replace("heddle:", "http:");
    const stop = new AbortController();
    const load = keepAppending(url, stop.signal);
    const erasing = keepErasing(url, stop.signal);
    try {
      for (let i = 0; i < 4; i++) expect((await audit(data)).problems).toEqual([]);
    } finally {
      stop.abort();
      await Promise.all([load, erasing]);
      await node.close();
    }
    const last = await audit(data);
    expect(last.problems).toEqual([]);
    expect(last.erased).toBeGreaterThan(0);
  });
});

async function keepErasing(url: string, stop: AbortSignal): Promise<void> {
  for (let i = 0; !stop.aborted; i++) {
    const path = `${url}/v1/entities/item/${(i * 13) % 400}`;
    await (await fetch(path, { method: "DELETE" })).arrayBuffer();
    if (i % 2 === 0) continue;
    const answer = await fetch(`${path}/append`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ aggregate: "Stock", type: "Received", payload: { quantity: 1 }, newLife: true }),
    });
    await answer.arrayBuffer();
  }
}

async function keepAppending(url: string, stop: AbortSignal): Promise<void> {
  for (let round = 0; !stop.aborted; round++) {
    const items = Array.from({ length: 100 }, (_, i) => ({
      entity: `item/${(round * 31 + i * 7) % 400}`,
      aggregate: "Stock",
      type: "Received",
      payload: { quantity: 1 + (i % 5) },
      ...(i % 3 === 0 ? { id: `round-${round}-${i}` } : {}),
    }));
    const answer = await fetch(`${url}/v1/append-many`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ items }),
    });
    await answer.arrayBuffer();
  }
}

describe("audit: it can fail", () => {
  it("has a planted fault for each of its rules", () => {
    expect(Object.keys(plants).sort()).toEqual(Object.keys(auditRules).sort());
  });

  it.each(Object.entries(plants))("%s: a planted fault is found and named", async (rule, { data, finds }) => {
    const folder = await data();
    // What lies across shards only the whole audit finds.
    const domain = rule.startsWith("projection/") ? projected : shop;
    const isWhole = rule === "saga/steps" || domain === projected;
    const problems = isWhole ? (await audit(folder, { domain })).problems : await problemsOf(folder);
    expect(problems).toContainEqual(expect.objectContaining({ rule, ...finds }));
  });

  it("tells a fault that stays once, and counts every one that it does not tell", async () => {
    const data = await crafted([...healthy, sold("item/hammer", 100), sold("item/hammer", 1), sold("item/hammer", 1)]);
    expect((await problemsOf(data)).filter((problem) => problem.rule === "domain/invariant")).toHaveLength(1);
    const bad = Array.from({ length: 30 }, (_, i) => received(`item/${i}`, 1, { firstSeq: 2 }));
    const report = await audit(await crafted(bad, { index: false }), { problemsMax: 5 });
    expect(report.ok).toBe(false);
    expect(report.problems).toHaveLength(5);
    expect(report.problemTotal).toBe(30);
  });

  it("finds entities, ids and extents that only the partition knows", async () => {
    const data = await crafted(healthy);
    const ghost = stranger(shardOfHammer);
    await alterPartition(data, shardOfHammer, (writer) => {
      const head = { seq: 1, position: 88, time: 1, chain: "", baseSeq: 0 };
      writer.putEntity(ghost, head, Float64Array.of(1, 1, 88, 0), []);
      writer.putAppendId("item/hammer", "never sent", 88);
    });
    const problems = await problemsOf(data);
    expect(problems).toContainEqual(expect.objectContaining({ rule: "partition/head", entity: ghost }));
    expect(problems).toContainEqual(
      expect.objectContaining({ rule: "partition/append-id", found: 'the id "never sent"' }),
    );
  });

  it("finds an entity that the partition leaves out, and one whose head stays behind what it covers", async () => {
    const data = await crafted(healthy, { index: false });
    const built = await crafted(healthy);
    const old = openPartitionReadOnly({ folder: partitionFolderOf(built, shardOfHammer), shard: shardOfHammer });
    const [first] = old.extents("item/hammer", 1, "forward");
    const covered = old.coveredPosition;
    await old.close();
    await alterPartition(data, shardOfHammer, () => {}, covered);
    expect((await audit(data)).problems).toContainEqual(
      expect.objectContaining({
        rule: "partition/head",
        entity: "item/hammer",
        found: "no head",
        wanted: "sequence 4 or later",
      }),
    );
    await alterPartition(data, shardOfHammer, (writer) => {
      writer.putEntity(
        "item/hammer",
        { seq: 1, position: first!.position, time: 1_001, chain: "", baseSeq: 0 },
        Float64Array.from(quadOf(first!)),
        [],
      );
    });
    expect(await problemsOf(data)).toContainEqual(
      expect.objectContaining({ rule: "partition/head", entity: "item/hammer", found: "sequence 1" }),
    );
  });

  it("judges a payload that its schema refuses by what the schema takes otherwise", async () => {
    // Decided by a command, so that the fingerprint says nothing; other quantities fit, so this one is wrong.
    const data = await crafted([...healthy, received("item/hammer", 0, { fingerprint: 1 })]);
    expect((await audit(data)).problems).toContainEqual(
      expect.objectContaining({ rule: "domain/payload", entity: "item/hammer", seq: 5 }),
    );
  });
});

describe("audit: what it refuses", () => {
  it("a folder that is no data folder, or another context's", async () => {
    const empty = temporaryFolder();
    folders.push(empty);
    await expect(audit(empty)).rejects.toMatchObject({ code: "DATA_FOLDER_UNWRITABLE" });
    const data = await crafted(healthy);
    fs.writeFileSync(
      `${data}/heddle.json`,
      JSON.stringify({ format: 2, context: "bank", shardCount: 2, createdMs: 1 }),
    );
    const refusal = await audit(data).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(HeddleError);
    expect(refusal).toMatchObject({ code: "DATA_FOLDER_MISMATCH", facts: { found: "bank", wanted: "shop" } });
  });

  it("a domain module that cannot be loaded", async () => {
    const data = await crafted(healthy);
    await expect(auditFolder({ data, domain: `${data}/none.ts` })).rejects.toMatchObject({
      code: "DOMAIN_LOAD_FAILED",
    });
  });
});
