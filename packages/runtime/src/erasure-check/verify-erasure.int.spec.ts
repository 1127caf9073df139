// Goal: a proof of an erasure holds for an entity that is gone, and names every single thing that can be left of one (P6).
// Method: crafted folders, in which one leftover is planted at a time. That a node's own deletions pass the proof is tested
// with the command line, in apps/heddle.
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { KeyStore } from "@heddle/backup";
import { EventLog, entityOfEntry, entryFlags, entryHeaderBytes, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { NatsErasures, ReaderState } from "@heddle/feed/internal";
import { systemClock, systemRandom } from "@heddle/kernel";
import type { ErasureReceipt } from "@heddle/protocol";
import { afterEach, describe, expect, it } from "vitest";
import {
  alterEntry,
  alterPartition,
  type CraftedAppend,
  craftFolder,
  received,
  segmentOf,
  sold,
  temporaryFolder,
  tombstone,
} from "../admin/crafted-folder.spec-support.ts";
import { alterProjections, projectFolder } from "../admin/projected-folder.spec-support.ts";
import { keysFileOf, lock, logFolderOf, partitionFolderOf, projectionsFileOf, readersFileOf } from "../data-folder.ts";
import { verifyErasure } from "./verify-erasure.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

const entity = "item/a";
const gone = (from: number, to: number): Partial<CraftedAppend> => ({
  events: [{ type: "Erased", payload: { from, to } }],
});
/** Two entries of three events, one with an append id, and the tombstone; another entity's lie between. */
const life: readonly CraftedAppend[] = [
  received(entity, 10, { id: "order-17" }),
  received("item/b", 4, { id: "order-18" }),
  {
    entity,
    events: [
      { type: "Sold", payload: { quantity: 2 } },
      { type: "Sold", payload: { quantity: 1 } },
    ],
  },
  tombstone(entity, gone(1, 3)),
  sold("item/b", 1),
];

interface Erased {
  readonly data: string;
  readonly receipt: ErasureReceipt;
}

async function erased(appends = life, seq = 4): Promise<Erased> {
  const data = await craftFolder(appends, { shardCount: 1, settleErasures: true });
  folders.push(data);
  const log = new LogReader(nodeDisk, logFolderOf(data, 0));
  let receipt: ErasureReceipt | undefined;
  log.scan(0, ({ flags, firstSeq, position, time }) => {
    if ((flags & entryFlags.tombstone) === 0 || firstSeq !== seq) return;
    receipt = { entity, shard: 0, seq, position, time, from: 1, to: seq - 1, complete: true };
  });
  log.close();
  withKeys(data, (keys) => {
    keys.keysFor([{ entity, life: { time: 0, seq: 0 } }]);
    keys.erase([{ entity, tombstone: { time: receipt!.time, seq } }]);
  });
  return { data, receipt: receipt! };
}

function withKeys(data: string, work: (keys: KeyStore) => void): void {
  const keys = KeyStore.open(keysFileOf(data), { create: true });
  work(keys);
  keys.close();
}

/** The log of the only shard, which dies at its first erasure, and where the entity's entries before the tombstone lie. */
function openLog(data: string, seq: number): { log: EventLog; positions: Float64Array } {
  const positions: number[] = [];
  const log = EventLog.open({
    disk: nodeDisk,
    folder: logFolderOf(data, 0),
    shard: 0,
    clock: systemClock,
    random: systemRandom,
    durability: "os",
    segmentBytes: 64 << 20,
    knownEnd: 0,
    replayFrom: 0,
    onEntry: (entry) => {
      if (entityOfEntry(entry) === entity && entry.firstSeq < seq) positions.push(entry.position);
    },
    crashPoint: (name) => {
      if (name === "erase:journal-durable") throw new Error("died here");
    },
  });
  return { log, positions: Float64Array.from(positions) };
}

/** Every check that found something, with what it found. */
async function found({ data, receipt }: Erased, keys?: string): Promise<string[]> {
  const { ok, leftovers, leftoverTotal } = await verifyErasure({ data, receipt, keys });
  expect(ok).toBe(leftoverTotal === 0);
  expect(leftovers).toHaveLength(leftoverTotal);
  return leftovers.map((leftover) => `${leftover.check}: ${leftover.found}`);
}

describe("proof of an erasure", () => {
  it("P6: holds for an entity that is gone, and says what was looked at", async () => {
    const { data, receipt } = await erased();
    const proof = await verifyErasure({ data, receipt });
    expect(proof).toMatchObject({ ok: true, receipt, leftovers: [], entries: 2, hasPartition: true });
    expect(proof.checks).toHaveLength(10);
    expect(proof.logBytes).toBeGreaterThan(500);
  });

  it("P6: holds when the entity has a new life, and when that was erased too", async () => {
    const newLife = [...life, received(entity, 7, { id: "order-99" }), sold(entity, 1)];
    expect(await found(await erased(newLife))).toEqual([]);
    expect(await found(await erased([...newLife, tombstone(entity, gone(5, 6))]))).toEqual([]);
  });

  it("P6: holds without a partition, because one that is made from the log has nothing of the entity", async () => {
    const { data, receipt } = await erased();
    fs.rmSync(partitionFolderOf(data, 0), { recursive: true });
    const proof = await verifyErasure({ data, receipt });
    expect(proof).toMatchObject({ ok: true, hasPartition: false });
    expect(proof.checks.map(({ check }) => check)).not.toContain("partition/done");
  });

  it("tells some leftovers whole and counts all of them", async () => {
    const many = Array.from({ length: 20 }, () => received(entity, 1));
    const kept = await erased([...many, tombstone(entity, { ...gone(1, 20), keepsPayloads: true })], 21);
    const proof = await verifyErasure({ ...kept, toldMax: 3 });
    expect(proof).toMatchObject({ ok: false, leftoverTotal: 20, leftovers: { length: 3 } });
    expect(proof.checks).toContainEqual({ check: "log/overwritten", leftovers: 20 });
  });
});

describe("proof of an erasure: what is left in the log", () => {
  it("P6: log/overwritten finds an entry that is not erased", async () => {
    const kept = life.map((append) =>
      append.flags === entryFlags.tombstone ? { ...append, keepsPayloads: true } : append,
    );
    expect(await found(await erased(kept))).toEqual([
      "log/overwritten: an entry that is not erased",
      "log/overwritten: an entry that is not erased",
    ]);
  });

  it.each([
    ["a last byte that is not zero", "a byte that is not zero, ", (entry: Uint8Array) => (entry[entry.length - 1] = 1)],
    ["a fingerprint", "the fingerprint of what was sent", (entry: Uint8Array) => (entry[22] = 1)],
    ["an offset of payloads", "the offset of its payloads", (entry: Uint8Array) => (entry[42] = 1)],
    [
      "a body of another form",
      "a body that is not an erased one's",
      (entry: Uint8Array) => (entry[entryHeaderBytes + 2 + entity.length] = 2),
    ],
  ])("P6: log/overwritten finds %s", async (_, problem, plant) => {
    const planted = await erased();
    alterEntry(planted.data, 0, 2, plant);
    expect(await found(planted)).toEqual([expect.stringMatching(`^log/overwritten: ${problem}`)]);
  });

  it("P6: log/overwritten reads the file itself, and names it and the position", async () => {
    const planted = await erased();
    alterEntry(planted.data, 0, 0, (entry) => (entry[entry.length - 1] = 7));
    const { leftovers } = await verifyErasure(planted);
    expect(leftovers[0]).toMatchObject({
      check: "log/overwritten",
      where: `${segmentOf(planted.data, 0)}, position 88`,
      wanted: "an erased entry, sequence 1",
    });
  });

  it("P6: log/overwritten finds an erasure that a dead node left half done, although readers see it as done", async () => {
    const half = await erased(life.map((one) => ({ ...one, keepsPayloads: true })));
    const file = segmentOf(half.data, 0);
    const before = fs.readFileSync(file);
    const { log, positions } = openLog(half.data, half.receipt.seq);
    // The process dies when all is noted and nothing is overwritten yet.
    await expect(log.erase(positions, () => Promise.resolve())).rejects.toThrow("died here");
    log.close();
    expect(fs.readFileSync(file)).toEqual(before);
    // Of the first entry the disk has a part of what was to be written.
    const bytes = Buffer.from(before);
    bytes[88 + entryHeaderBytes + 30] = 0;
    fs.writeFileSync(file, bytes);
    const [first, second] = await found(half);
    expect(first).toBe(
      "log/overwritten: an erasure that was begun and is not finished; the next start of a node finishes it",
    );
    expect(second).toBe("log/overwritten: an entry that is not erased");
  });

  it("log/tombstone finds none at the receipt's position, and says where there is one", async () => {
    const { data, receipt } = await erased();
    const elsewhere = { data, receipt: { ...receipt, position: receipt.position + 8 } };
    expect(await found(elsewhere)).toEqual([
      `log/tombstone: one at position ${receipt.position}, time ${receipt.time}`,
    ]);
    const none = { data, receipt: { ...receipt, seq: 3, to: 2 } };
    expect(await found(none)).toContain("log/tombstone: no tombstone of the entity with that sequence");
    fs.rmSync(logFolderOf(data, 0), { recursive: true });
    expect(await found({ data, receipt })).toContain("log/tombstone: no log");
  });

  it("log/whole finds sequences that have no entry", async () => {
    const { data, receipt } = await erased(
      [received(entity, 10), sold(entity, 1, { firstSeq: 3 }), tombstone(entity, { firstSeq: 5, ...gone(1, 4) })],
      5,
    );
    expect(await found({ data, receipt })).toEqual([
      "log/whole: an entry with sequence 3",
      "log/whole: no entry with sequence 4",
    ]);
  });
});

describe("proof of an erasure: what is left in the partition", () => {
  it("P6: partition/snapshots, extents and append-ids find what was forgotten to be forgotten", async () => {
    const planted = await erased();
    const { position } = planted.receipt;
    await alterPartition(planted.data, 0, (writer, partition) => {
      const head = partition.head(entity)!;
      const state = new Uint8Array([0xc0]);
      writer.putEntity(entity, head, Float64Array.of(1, 1, 88, 0, 2, 2, 300, 0, 4, 1, position, 0), [
        { aggregate: "Stock", foldVersion: 1, seq: 3, state },
      ]);
      writer.putAppendId(entity, "order-17", position - 8);
      writer.putAppendId(entity, "order-of-the-new-life", position + 8);
    });
    expect(await found(planted)).toEqual([
      "partition/snapshots: a snapshot of Stock",
      "partition/extents: places of 2 entries",
      "partition/append-ids: 1 append ids",
    ]);
  });

  it.each(["count", "log", "scrub"] as const)("P6: partition/done finds an erasure at the stage %s", async (stage) => {
    const planted = await erased();
    await alterPartition(planted.data, 0, (writer) => writer.putErasure(entity, 4, stage));
    expect(await found(planted)).toEqual([`partition/done: an erasure under way, at the stage "${stage}"`]);
  });

  it("beside a running node an erasure that is under way is waited for, and without one it is not", async () => {
    const { data, receipt } = await erased();
    const note = (stage?: "scrub") =>
      alterPartition(data, 0, (writer) =>
        stage === undefined ? writer.dropErasure(entity) : writer.putErasure(entity, 4, stage),
      );
    await note("scrub");
    const alone = await verifyErasure({ data, receipt, pause: () => Promise.reject(new Error("waited")) });
    expect(alone.leftovers).toMatchObject([{ check: "partition/done" }]);
    const release = lock(data);
    try {
      let pauses = 0;
      const pause = async () => {
        if (++pauses === 3) await note();
      };
      expect(await verifyErasure({ data, receipt, waitMs: 60_000, pause })).toMatchObject({ ok: true });
      expect(pauses).toBe(3);
    } finally {
      release();
    }
  });

  it("partition/current finds a partition that has not come to the tombstone, or has another life", async () => {
    const planted = await erased();
    await alterPartition(planted.data, 0, (writer, partition) => {
      const head = partition.head(entity)!;
      writer.putEntity(entity, { ...head, baseSeq: 0 }, new Float64Array(), []);
    });
    expect(await found(planted)).toEqual(["partition/current: a life that began at sequence 0"]);
    const receipt = { ...planted.receipt, position: 1_000_000 };
    expect(await found({ ...planted, receipt })).toContainEqual(
      expect.stringMatching(/^partition\/current: the log up to position \d+$/),
    );
  });
});

describe("proof of an erasure: what is left in the key store", () => {
  it("P6: keys/gone finds a key that came back, although the life is marked as over", async () => {
    const planted = await erased();
    // As a copy of an older file would bring it back, name and all.
    const older = path.join(planted.data, "older.sqlite");
    const keys = KeyStore.open(older, { create: true });
    keys.keysFor([{ entity, life: { time: 0, seq: 0 } }]);
    keys.close();
    const database = new DatabaseSync(keysFileOf(planted.data));
    database.exec(`ATTACH '${older}' AS older; INSERT INTO ids SELECT * FROM older.ids`);
    database.close();
    expect(await found(planted)).toEqual(["keys/gone: 1 key"]);
  });

  it("P6: keys/marked finds no mark, an older mark, no file, another folder's store, and a file that is none", async () => {
    const { data, receipt } = await erased();
    const folder = temporaryFolder();
    folders.push(folder);
    const file = path.join(folder, "keys.sqlite");
    expect(await found({ data, receipt }, file)).toEqual(["keys/marked: no such file; --keys names another"]);
    KeyStore.open(file, { create: true }).close();
    expect(await found({ data, receipt }, file)).toEqual(["keys/marked: no mark of an erasure"]);
    const keys = KeyStore.open(file, { create: false });
    keys.erase([{ entity, tombstone: { time: receipt.time, seq: 2 } }]);
    keys.close();
    expect(await found({ data, receipt }, file)).toEqual(["keys/marked: a mark of an earlier one, at sequence 2"]);
    fs.writeFileSync(path.join(data, "keystore.id"), "00000000-0000-4000-8000-000000000000\n");
    expect(await found({ data, receipt }, file)).toEqual([expect.stringMatching(/^keys\/marked: the key store /)]);
    fs.writeFileSync(file, "no database at all, and longer than a header of one would be ".repeat(4));
    expect(await found({ data, receipt }, file)).toEqual(["keys/marked: file is not a database"]);
  });
});

describe("proof of an erasure: bad input", () => {
  it.each([
    [undefined, "entity: wanted a string, found undefined"],
    [[], "entity: wanted a string, found undefined"],
    [{ entity: "item" }, "entity: there is no slash between kind and name"],
    [{ seq: "4" }, "seq: wanted a whole number, found 4"],
    [{ position: undefined }, "position: wanted a whole number, found undefined"],
    [{ complete: 1 }, "complete: wanted true or false"],
    [{ from: 5 }, "from: sequences 5 to 3 are none that a tombstone at 4 ends"],
    [{ from: 0 }, "from: sequences 0 to 3 are none that a tombstone at 4 ends"],
    [{ to: 9 }, "from: sequences 1 to 9 are none that a tombstone at 4 ends"],
  ])("P7: refuses a receipt that is none: %j", async (change, problem) => {
    const { data, receipt } = await erased();
    const given = change === undefined || Array.isArray(change) ? change : { ...receipt, ...change };
    await expect(verifyErasure({ data, receipt: given })).rejects.toThrow(problem);
  });

  it("P7: refuses a folder that is none, and one whose shards are others", async () => {
    const { data, receipt } = await erased();
    await expect(verifyErasure({ data: `${data}/nowhere`, receipt })).rejects.toMatchObject({
      code: "DATA_FOLDER_UNWRITABLE",
    });
    await expect(verifyErasure({ data, receipt: { ...receipt, shard: 3 } })).rejects.toMatchObject({
      code: "DATA_FOLDER_MISMATCH",
      facts: { found: "shard 0", wanted: "shard 3" },
    });
  });
});

describe("verify-erasure: what readers of the log keep", () => {
  const projectedLife = async (appends = life) => {
    const made = await erased(appends);
    await projectFolder(made.data);
    return made;
  };
  const toldOf = async ({ data, receipt }: Erased) => {
    const { leftovers } = await verifyErasure({ data, receipt });
    return leftovers.map(({ check, found }) => `${check}: ${found}`);
  };

  it("P6: rows in SQLite that are past the tombstone, and hold nothing of it, are proved, also beside a new life", async () => {
    const { data, receipt } = await projectedLife();
    const proof = await verifyErasure({ data, receipt });
    expect(proof.leftovers).toEqual([]);
    expect(proof.checks.map(({ check }) => check)).toContain("projections/rows");
    const again = await projectedLife([...life, received(entity, 3)]);
    expect(await toldOf(again)).toEqual([]);
  });

  it("without files of readers nothing is said of them", async () => {
    const { data, receipt } = await erased();
    const { checks } = await verifyErasure({ data, receipt });
    expect(checks.filter(({ check }) => /^(projections|nats)/.test(check))).toEqual([]);
  });

  it.each([
    [
      "a row of the entity",
      "INSERT INTO heddle_rows_stock_1 VALUES ('item/a', 1, '[1]')",
      "projections/rows: 1 rows of stock come from it",
    ],
    [
      "a row that comes from it under another key",
      "INSERT INTO heddle_rows_sizes_1 VALUES (99, 1, 'item/a')",
      "projections/rows: 1 rows of sizes come from it",
    ],
    [
      "rows of the entity at a position from before the tombstone, whatever life they are of",
      "UPDATE heddle_generations SET positions = '[0]' WHERE projection = 'stock'; INSERT INTO heddle_rows_stock_1 VALUES ('item/a', 1, '[1]')",
      "projections/passed: stock is at position 0, and has rows of the entity",
      [received(entity, 3)],
    ],
    [
      "rows of several entities that are still to be made anew",
      `UPDATE heddle_generations SET facts = json_set(facts, '$.tainted', json('{"0":64}')) WHERE projection = 'sizes'`,
      "projections/passed: sizes has rows of several entities that are still to be made anew",
    ],
    [
      "the note of an event of it that failed",
      `INSERT INTO heddle_held VALUES ('stock', 1, 'item/a', '{"entity":"item/a","position":64,"seq":1,"error":"secret"}')`,
      "projections/rows: stock has a note of its event 1",
    ],
  ] as const)("P6: finds %s", async (_, statement, wanted, more: readonly CraftedAppend[] = []) => {
    const made = await projectedLife([...life, ...more]);
    if (more.length > 0) alterProjections(made.data, "DELETE FROM heddle_rows_stock_1");
    alterProjections(made.data, statement);
    expect(await toldOf(made)).toEqual([wanted]);
  });

  it("P6: finds a file of projections that cannot be read", async () => {
    const made = await projectedLife();
    fs.writeFileSync(projectionsFileOf(made.data), Buffer.alloc(8_192, 0x41));
    expect(await toldOf(made)).toEqual(["projections/rows: file is not a database"]);
  });

  it("P6: finds what is still to be erased in NATS", async () => {
    const made = await erased();
    const { position } = made.receipt;
    fs.mkdirSync(path.dirname(readersFileOf(made.data)));
    const state = ReaderState.open(readersFileOf(made.data));
    const erasures = new NatsErasures(state);
    erasures.bury({ shard: 0, entity: "item/b", seq: 9, position: 900 }, Float64Array.of(64));
    expect(await toldOf(made)).toEqual([]);
    erasures.bury({ shard: 0, entity, seq: 4, position }, Float64Array.of(64));
    state.close();
    expect(await toldOf(made)).toEqual(["nats/done: what NATS has of it is still to be erased"]);
  });
});
