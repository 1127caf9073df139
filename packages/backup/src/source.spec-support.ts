// What the specs of this package share: a data folder whose logs are written by the real EventLog, entity by entity, with
// payloads that are told apart by markers; and the look at every byte of a folder's files.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {
  type EntryHeader,
  EventLog,
  type EventLogOptions,
  entryFlags,
  LogReader,
  nodeDisk,
  recordHeaderBytes,
} from "@heddle/event-log/internal";
import { parseEntityId, shardOf } from "@heddle/kernel";
import { newAppendView, readAppendBody, TextCache, writeAppendBody } from "@heddle/protocol/internal";
import { seededRandom } from "@heddle/testkit";
import { onTestFinished } from "vitest";
import { logFolderOf } from "./data-facts.ts";
import type { Life } from "./life.ts";

export function scratchFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-backup-"));
  onTestFinished(() => fs.rmSync(folder, { recursive: true }));
  return folder;
}

interface Known {
  seq: number;
  life: Life;
  /** Of the entries of the present life. */
  positions: number[];
}

export interface SourceOptions {
  readonly shardCount?: number;
  readonly segmentBytes?: number;
  readonly context?: string;
  readonly log?: Partial<EventLogOptions>;
}

/** A data folder as a node would write it. Time moves on by one millisecond with each append. */
export class Source {
  readonly data: string;
  readonly shardCount: number;
  now = 1_700_000_000_000;
  readonly #logs: EventLog[];
  readonly #entities = new Map<string, Known>();

  constructor(data: string, options: SourceOptions = {}) {
    this.data = data;
    this.shardCount = options.shardCount ?? 1;
    const random = seededRandom(11);
    fs.mkdirSync(data, { recursive: true });
    const description = path.join(data, "heddle.json");
    if (!fs.existsSync(description)) {
      const facts = {
        format: 1,
        context: options.context ?? "bank",
        shardCount: this.shardCount,
        createdMs: 1_700_000_000_000,
      };
      fs.writeFileSync(description, JSON.stringify(facts));
    }
    this.#logs = Array.from({ length: this.shardCount }, (_, shard) =>
      EventLog.open({
        disk: nodeDisk,
        folder: logFolderOf(data, shard),
        shard,
        clock: { now: () => this.now, monotonic: () => 0 },
        random,
        durability: "fsync",
        segmentBytes: options.segmentBytes ?? 2_000,
        knownEnd: 0,
        replayFrom: 0,
        onEntry: () => {},
        ...options.log,
      }),
    );
  }

  get positions(): number[] {
    return this.#logs.map((log) => log.durableEnd);
  }

  lifeOf(entity: string): Life {
    return this.#known(entity).life;
  }

  /** Adds an append to the open group of its shard. */
  add(entity: string, payloads: readonly unknown[], options: { id?: string; metadata?: unknown } = {}): void {
    const events = payloads.map((payload) => ({ type: "Noted", payload, schemaVersion: 1 }));
    this.#add(entity, { entity, aggregate: "Account", events, ...options }, 0);
  }

  /** Adds the system event after which an entity goes back to an earlier state. */
  addRestored(entity: string): void {
    const events = [{ type: "Restored", payload: { seq: 1, copied: 0 }, schemaVersion: 1 }];
    this.#add(entity, { entity, aggregate: "$heddle", events }, entryFlags.restored);
  }

  /** Adds the tombstone of an entity and gives it; its entries are overwritten by {@link overwrite}. */
  addTombstone(entity: string): { readonly entity: string; readonly tombstone: Life; readonly positions: number[] } {
    const known = this.#known(entity);
    const events = [{ type: "Erased", payload: { from: known.life.seq + 1, to: known.seq }, schemaVersion: 1 }];
    const { positions } = known;
    this.#add(entity, { entity, aggregate: "$heddle", events }, entryFlags.tombstone);
    known.life = { time: this.now, seq: known.seq };
    known.positions = [];
    return { entity, tombstone: known.life, positions };
  }

  async overwrite({ entity, positions }: { entity: string; positions: readonly number[] }): Promise<void> {
    await this.#logOf(entity).erase(positions, () => new Promise((resolve) => setImmediate(resolve)));
  }

  /** Erases an entity as a node does, but for the keys: tombstone, durable, then its entries. */
  async erase(entity: string) {
    const erasure = this.addTombstone(entity);
    await this.flush();
    await this.overwrite(erasure);
    return erasure;
  }

  /** Makes the open groups durable. */
  async flush(): Promise<void> {
    await Promise.all(
      this.#logs.map(
        (log) =>
          new Promise<void>((resolve, reject) => {
            if (log.fillingEntries === 0) resolve();
            log.onDurable = () => resolve();
            log.onFailure = reject;
            log.flush();
          }),
      ),
    );
  }

  close(): void {
    for (const log of this.#logs) log.close();
  }

  #logOf(entity: string): EventLog {
    return this.#logs[shardOf(parseEntityId(entity), this.shardCount)]!;
  }

  #known(entity: string): Known {
    let known = this.#entities.get(entity);
    if (known === undefined) {
      known = { seq: 0, life: { time: 0, seq: 0 }, positions: [] };
      this.#entities.set(entity, known);
    }
    return known;
  }

  #add(entity: string, fields: Parameters<typeof writeAppendBody>[0], flags: number): void {
    const log = this.#logOf(entity);
    const known = this.#known(entity);
    const bytes = writeAppendBody(fields, (most) => log.reserve(most));
    const { bytes: body, at } = log.reserve(bytes);
    const view = newAppendView();
    readAppendBody(body, at, at + bytes, new TextCache(16), view);
    this.now++;
    const header: EntryHeader = {
      flags,
      firstSeq: known.seq + 1,
      time: this.now,
      fingerprint: 0xfeed0000 + known.seq,
      session: 77,
      call: this.now % 1000,
      eventCount: fields.events.length,
      payloadsOffset: view.payloadsFrom - at,
    };
    known.positions.push(log.add(header, bytes));
    known.seq += fields.events.length;
  }
}

/** The files below a folder, by their path in it, with their bytes. */
export function filesOf(folder: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(path.relative(folder, file), fs.readFileSync(file));
  }
  return files;
}

/** The segments of a data folder, all shards, by file. */
export function logFilesOf(data: string): Record<string, string> {
  const logs: Record<string, string> = {};
  for (const [file, bytes] of filesOf(data)) if (file.endsWith(".log")) logs[file] = bytes.toString("hex");
  return logs;
}

/** Files below a folder that hold a text anywhere. */
export function filesWith(folder: string, text: string): string[] {
  return [...filesOf(folder)].filter(([, bytes]) => bytes.includes(text)).map(([file]) => file);
}

/** Where the records of a shard's log end, and the latest time before each end. */
export function recordEndsOf(data: string, shard: number): { readonly end: number; readonly time: number }[] {
  const log = new LogReader(nodeDisk, logFolderOf(data, shard));
  const ends: { end: number; time: number }[] = [];
  let time = 0;
  log.scan(
    0,
    (entry) => {
      time = Math.max(time, entry.time);
    },
    (position, length) => ends.push({ end: position + Math.max(length, recordHeaderBytes), time }),
  );
  log.close();
  return ends;
}
