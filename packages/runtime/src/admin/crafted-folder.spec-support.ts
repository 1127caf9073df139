// Makes data folders as a node would leave them, or as no node ever should: entries are written straight into event logs,
// partitions are derived by the index rebuild and may be altered afterwards.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { compileContext } from "@heddle/domain/internal";
import {
  crc32,
  EventLog,
  entryFlags,
  entryHeaderBytes,
  LogReader,
  nodeDisk,
  recordHeaderBytes,
} from "@heddle/event-log/internal";
import { parseAnyEntityId, shardOf, systemClock, systemKinds, systemRandom } from "@heddle/kernel";
import { type CheckpointWriter, openPartition, type Partition } from "@heddle/partition/internal";
import {
  newAppendView,
  readAppendBody,
  readU32,
  stepStates,
  TextCache,
  writeAppendBody,
  writeU32,
} from "@heddle/protocol/internal";
import { logFolderOf, openDataFolder, partitionFolderOf } from "../data-folder.ts";
import { systemAggregates } from "../load-domain.ts";
import { rebuildShard } from "./rebuild-shard.ts";
import shopContext from "./shop.spec-support.ts";

export const shop = fileURLToPath(new URL("./shop.spec-support.ts", import.meta.url));

export const shopDomain = compileContext(shopContext, "the shop", systemAggregates);

export interface CraftedAppend {
  readonly entity: string;
  readonly aggregate?: string;
  readonly events: readonly { readonly type: string; readonly payload: unknown; readonly schemaVersion?: number }[];
  readonly id?: string;
  /** The next of its entity, unless something else is planted here and below. */
  readonly firstSeq?: number;
  readonly flags?: number;
  /** A tombstone whose entity is not overwritten, as after a crash. */
  readonly keepsPayloads?: boolean;
  readonly time?: number;
  readonly session?: number;
  readonly call?: number;
  readonly shard?: number;
  readonly eventCount?: number;
  /** As if the stored body were not the request's. */
  readonly fingerprint?: number;
  /** May spoil the body before it gets its checksums. */
  readonly spoil?: (body: Uint8Array) => void;
  /** Changes the entry after it got its checksum, but before its record gets one. */
  readonly breakChecksum?: boolean;
}

export const received = (entity: string, quantity: number, more: Partial<CraftedAppend> = {}): CraftedAppend => ({
  entity,
  events: [{ type: "Received", payload: { quantity } }],
  ...more,
});

export const sold = (entity: string, quantity: number, more: Partial<CraftedAppend> = {}): CraftedAppend => ({
  entity,
  events: [{ type: "Sold", payload: { quantity } }],
  ...more,
});

/** What `entity.delete()` leaves: the last event of an entity, everything before it overwritten. */
export const tombstone = (entity: string, more: Partial<CraftedAppend> = {}): CraftedAppend => ({
  entity,
  aggregate: "$heddle",
  events: [{ type: "Erased", payload: { from: 1, to: 1 } }],
  flags: entryFlags.tombstone,
  ...more,
});

/**
 * A saga's record: that it began, and what came of it by its steps: [place in `stepStates`, …]. `end` is an event of a saga's
 * own aggregate.
 */
export function sagaRecord(
  saga: string,
  end: "Committed" | "Compensated" | "Stuck" | "StepsSettled" | undefined,
  steps: readonly (readonly [entity: string, state: (typeof stepStates)[number], code?: string])[],
): CraftedAppend {
  const outcomes = steps.map(([, state, code]) => {
    return [stepStates.indexOf(state), null, null, code === undefined ? null : [code, "", {}]];
  });
  const began = {
    at: 1_000,
    deadline: 2_000,
    stepTimeoutMs: 100,
    name: "",
    fingerprint: 1,
    entities: steps.map(([entity]) => entity),
    steps: new Uint8Array(),
  };
  return {
    entity: `${systemKinds.saga}/${saga}`,
    aggregate: systemKinds.saga,
    events: [
      { type: "Started", payload: began },
      ...(end === undefined ? [] : [{ type: end, payload: { at: 1_500, why: null, outcomes } }]),
    ],
  };
}

/** What `entity.restore()` begins with; copies of events follow. */
export const restored = (entity: string, seq: number): CraftedAppend => ({
  entity,
  aggregate: "$heddle",
  events: [{ type: "Restored", payload: { seq, copied: 1 } }],
  flags: entryFlags.restored,
});

export function temporaryFolder(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), "heddle-admin-"));
}

/** Makes a folder of two shards whose logs hold the appends, one record each. Gives its path; nothing is left open. */
export async function craftFolder(
  appends: readonly CraftedAppend[],
  { index = true, shardCount = 2, segmentBytes = 64 << 20, settleErasures = false } = {},
): Promise<string> {
  const data = temporaryFolder();
  openDataFolder(data, { context: "shop", shardCount, defaultShardCount: shardCount, nowMs: 1 }).release();
  const writer = new Writer(data, shardCount, segmentBytes);
  for (const append of appends) await writer.write(append);
  writer.close();
  for (let shard = 0; index && shard < shardCount; shard++)
    await rebuildShard({ data, shard, domain: shopDomain }, () => {});
  if (settleErasures) for (let shard = 0; shard < shardCount; shard++) await forgetErasures(data, shard);
  return data;
}

// As if they had ended, whatever the log has left.
async function forgetErasures(data: string, shard: number): Promise<void> {
  await alterPartition(data, shard, (writer, partition) => {
    for (const { entity, seq } of partition.erasures()) {
      const head = partition.head(entity)!;
      writer.forgetHistory(entity, { belowSeq: seq, belowPosition: head.position });
      writer.putEntity(entity, { ...head, baseSeq: seq }, new Float64Array(), []);
      writer.dropErasure(entity);
    }
  });
}

class Writer {
  readonly #logs: EventLog[];
  readonly #seqs = new Map<string, number>();
  readonly #positions = new Map<string, number[]>();
  #calls = 0;

  constructor(data: string, shardCount: number, segmentBytes: number) {
    this.#logs = Array.from({ length: shardCount }, (_, shard) =>
      EventLog.open({
        disk: nodeDisk,
        folder: logFolderOf(data, shard),
        shard,
        clock: systemClock,
        random: systemRandom,
        durability: "os",
        segmentBytes,
        knownEnd: 0,
        replayFrom: 0,
        onEntry: () => {},
      }),
    );
  }

  async write(append: CraftedAppend): Promise<void> {
    const { entity, aggregate = "Stock", events, id } = append;
    const log = this.#logs[append.shard ?? shardOf(parseAnyEntityId(entity), this.#logs.length)]!;
    const firstSeq = append.firstSeq ?? (this.#seqs.get(entity) ?? 0) + 1;
    this.#seqs.set(entity, firstSeq + events.length - 1);
    const request = new Uint8Array(1 << 16);
    const asSent = { entity, aggregate, id, events: events.map((event) => ({ ...event, schemaVersion: 0 })) };
    const requestBytes = writeAppendBody(asSent, () => ({ bytes: request, at: 0 }));
    const stored = { ...asSent, events: events.map((event) => ({ schemaVersion: 1, ...event })) };
    let body: Uint8Array = new Uint8Array();
    const bodyBytes = writeAppendBody(stored, (wanted) => {
      const room = log.reserve(wanted);
      body = room.bytes.subarray(room.at, room.at + wanted);
      return room;
    });
    const offset = payloadsOffset(body, bodyBytes);
    append.spoil?.(body.subarray(0, bodyBytes));
    this.#calls++;
    const position = log.add(
      {
        flags: append.flags ?? 0,
        firstSeq,
        time: append.time ?? 1_000 + this.#calls,
        fingerprint: append.fingerprint ?? crc32(request, 0, requestBytes),
        session: append.session ?? 7,
        call: append.call ?? this.#calls,
        eventCount: append.eventCount ?? events.length,
        payloadsOffset: offset,
      },
      bodyBytes,
    );
    if (append.breakChecksum === true) body[bodyBytes - 1]! ^= 0x02;
    const durable = new Promise<void>((resolve, reject) => {
      log.onDurable = () => resolve();
      log.onFailure = reject;
    });
    log.flush();
    await durable;
    const positions = this.#positions.get(entity) ?? [];
    if (append.flags === entryFlags.tombstone && append.keepsPayloads !== true) {
      await log.erase(Float64Array.from(positions), () => new Promise((resolve) => setImmediate(resolve)));
    }
    this.#positions.set(entity, [...positions, position]);
  }

  close(): void {
    for (const log of this.#logs) log.close();
  }
}

function payloadsOffset(body: Uint8Array, bodyBytes: number): number {
  const view = newAppendView();
  readAppendBody(body, 0, bodyBytes, new TextCache(16), view);
  return view.payloadsFrom;
}

/** Changes the partition of the shard that owns an entity, by a checkpoint that covers the same as the one before. */
export async function alterPartition(
  data: string,
  shard: number,
  alter: (writer: CheckpointWriter, partition: Partition) => void,
  covering?: number,
): Promise<void> {
  const partition = openPartition({ folder: partitionFolderOf(data, shard), shard });
  try {
    const writer = partition.checkpoint(covering ?? partition.coveredPosition);
    alter(writer, partition);
    await writer.commit();
  } finally {
    await partition.close();
  }
}

/** The only segment of a shard's log. */
export function segmentOf(data: string, shard: number): string {
  const folder = logFolderOf(data, shard);
  return path.join(folder, fs.readdirSync(folder).sort()[0]!);
}

/**
 * Changes an entry as somebody would who knows the format: every checksum fits afterwards. `alter` gets the bytes of the
 * entry, header included; the only record is the one whose `nth` entry (of one entry each) it is, from 0.
 */
export function alterEntry(data: string, shard: number, nth: number, alter: (entry: Uint8Array) => void): void {
  const file = segmentOf(data, shard);
  const log = new LogReader(nodeDisk, logFolderOf(data, shard));
  const records: number[] = [];
  log.scan(
    0,
    () => {},
    (position) => records.push(position),
  );
  log.close();
  const bytes = fs.readFileSync(file);
  const record = records[nth]!;
  const at = record + recordHeaderBytes;
  const end = at + readU32(bytes, at + 4);
  alter(bytes.subarray(at, end));
  writeU32(bytes, at, crc32(bytes, at + 4, end));
  const salt = readU32(bytes, 12);
  writeU32(bytes, record + 4, crc32(bytes, record + 8, record + readU32(bytes, record + 8), salt));
  fs.writeFileSync(file, bytes);
}

/** Where an entry's body begins. */
export const bodyAt = entryHeaderBytes;

export function flipByte(file: string, offset: number): void {
  const bytes = fs.readFileSync(file);
  bytes[offset]! ^= 0x01;
  fs.writeFileSync(file, bytes);
}

/** Changes the first byte behind every occurrence, for values of which LMDB may hold older copies in free pages. */
export function flipBehind(file: string, wanted: Uint8Array): void {
  const bytes = fs.readFileSync(file);
  for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1)) bytes[at + wanted.length]! ^= 0x01;
  fs.writeFileSync(file, bytes);
}
