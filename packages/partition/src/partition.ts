// Partition: the LMDB index of one shard, opened by the shard's thread only.
//
// It answers what the log would have to be scanned for: where an entity's entries lie, its newest snapshots, which ids
// were used. Everything in it can be derived from the log.
//
// Owns the environment: opening, the clean-stop mark, the filter in memory, closing. What is read stands in reader.ts,
// what is written in checkpoint.ts; nothing is ever written outside of a checkpoint but the marks of opening, closing and
// scrubbing.
import path from "node:path";
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import { BloomFilter, restorePage } from "./bloom.ts";
import { TableCheckpoint } from "./checkpoint.ts";
import { CommitThreads } from "./commit-threads.ts";
import type { CheckpointWriter, Partition, PartitionReader } from "./contract.ts";
import { asReadError, asWriteError, damaged, dataFile, type Place } from "./damage.ts";
import { defaultBytesMax, metaKeys, openForReading, openForWriting, type Tables } from "./environment.ts";
import type { IdHash } from "./id-hash.ts";
import { filterPlaceOfKey } from "./keys.ts";
import { countReadersBefore } from "./older-readers.ts";
import { TableReader } from "./reader.ts";
import type { Forgetting } from "./records.ts";
import { type Remnants, remnantsOf } from "./remnants.ts";
import { oldestTransaction, type ScrubResult, scrubDataFile } from "./scrub.ts";
import { openValue, ValueWriter } from "./value-writer.ts";
import { writeNumber } from "./values.ts";
import { WriteQueue } from "./write-queue.ts";

export interface PartitionOptions {
  /** The partition's own folder; made if it is missing. */
  readonly folder: string;
  readonly shard: number;
  /** Bytes that the environment may grow to: a checkpoint beyond it fails with `DISK_FULL`. Default 256 GiB. */
  readonly mapSizeBytes?: number;
  /** How long a scrub waits for readers of older states. Default 10 s. */
  readonly readersWaitMs?: number;
  /** Called at named places of making, of a commit and of a scrub, so that tests can kill the process just there. */
  readonly crashPoint?: ((name: string) => void) | undefined;
}

const readersWaitMsDefault = 10_000;
const readersPollMs = 10;

/**
 * Opens the partition of a shard for reading and writing, or makes a new one. One process and one thread at a time: the
 * lock on the data folder sees to the first, the shard to the second. Load this package on the main thread too, before
 * the shards' threads: Node unloads a native library when the last thread that loaded it ends. A commit takes one or two
 * threads of libuv's pool, which all shards share: with N shards, `UV_THREADPOOL_SIZE` should be 2N + 4 or more.
 *
 * Errors: `PARTITION_DAMAGED`; `DATA_FOLDER_UNWRITABLE`; `DISK_FULL`.
 */
export function openPartition(options: PartitionOptions): Partition {
  const place = { folder: options.folder, shard: options.shard };
  const bytesMax = options.mapSizeBytes ?? defaultBytesMax;
  const crashPoint = options.crashPoint ?? (() => {});
  const tables = openForWriting(place, bytesMax, crashPoint);
  try {
    const limits = { bytesMax, readersWaitMs: options.readersWaitMs ?? readersWaitMsDefault };
    return new TablePartition(tables, place, limits, crashPoint);
  } catch (error) {
    void tables.root.close();
    throw asReadError(error, place);
  }
}

/** A reader that works beside a node: in each turn it sees what was committed when the turn's first read began. */
export interface DetachedReader extends PartitionReader {
  /** What is left of an erased entity's life before a tombstone; nothing, once its erasure is done. */
  remnants(entity: string, below: Forgetting): Remnants;
  close(): Promise<void>;
}

/**
 * Opens a partition for reading from another process, for audits and `heddle doctor`. It asks LMDB for every append id,
 * without the filter.
 *
 * Errors: `PARTITION_DAMAGED`, also when there is no partition.
 */
export function openPartitionReadOnly(options: { readonly folder: string; readonly shard: number }): DetachedReader {
  return new DetachedTableReader(openForReading(options), options);
}

class DetachedTableReader extends TableReader implements DetachedReader {
  remnants(entity: string, below: Forgetting): Remnants {
    if (this.closed) throw this.closedError();
    try {
      return remnantsOf(this.tables, entity, below);
    } catch (error) {
      throw asReadError(error, this.place);
    }
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.tables.root.close();
  }
}

interface Limits {
  readonly bytesMax: number;
  readonly readersWaitMs: number;
}

interface ScrubUnderWay {
  readonly ended: PromiseWithResolvers<void>;
  /** Resolves when it is to end early. */
  readonly stop: PromiseWithResolvers<void>;
}

class TablePartition extends TableReader implements Partition {
  readonly cleanEnd: number | undefined;
  readonly #queue: WriteQueue;
  readonly #commitThreads: CommitThreads;
  readonly #values = new ValueWriter();
  readonly #filter: BloomFilter;
  readonly #limits: Limits;
  readonly #crashPoint: (name: string) => void;
  #covered: number;
  #checkpoint: TableCheckpoint | undefined;
  #scrub: ScrubUnderWay | undefined;
  /** Counts up, so that a mark of a scrub is never what stands there already. */
  #scrubMarks: number;
  #closing: Promise<void> | undefined;

  constructor(tables: Tables, place: Place, limits: Limits, crashPoint: (name: string) => void) {
    super(tables, place);
    this.#commitThreads = new CommitThreads(tables.root);
    this.cleanEnd = this.number(metaKeys.cleanEnd);
    // Synced before it returns. From here on, a stop is clean only if `close` says so.
    if (this.cleanEnd !== undefined) clearCleanEnd(tables, place);
    this.#covered = this.number(metaKeys.covered) ?? 0;
    this.#scrubMarks = this.number(metaKeys.scrubs) ?? 0;
    this.#filter = loadFilter(tables, place);
    this.#queue = new WriteQueue(tables.root, place, limits.bytesMax);
    this.#limits = limits;
    this.#crashPoint = crashPoint;
    this.counters.reads = 0;
  }

  override get coveredPosition(): number {
    return this.#covered;
  }

  checkpoint(covering: number): CheckpointWriter {
    if (this.#closing !== undefined) throw this.closedError();
    this.#assertNobodyWrites();
    invariant(covering >= this.#covered, "partition/covers-forward", { covering, covered: this.#covered });
    this.#queue.forgive();
    this.#checkpoint = new TableCheckpoint({
      place: this.place,
      tables: this.tables,
      queue: this.#queue,
      values: this.#values,
      filter: this.#filter,
      covering,
      onCovered: () => {
        this.#covered = covering;
      },
      crashPoint: this.#crashPoint,
    });
    return this.#checkpoint;
  }

  scrub(nextTurn: () => Promise<void> = turnOfTheLoop): Promise<ScrubResult> {
    if (this.#closing !== undefined) return Promise.reject(this.closedError());
    this.#assertNobodyWrites();
    const underWay = { ended: Promise.withResolvers<void>(), stop: Promise.withResolvers<void>() };
    this.#scrub = underWay;
    return this.#runScrub(nextTurn, underWay.stop.promise).finally(() => {
      this.#scrub = undefined;
      underWay.ended.resolve();
    });
  }

  close(options: { cleanEnd?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.cleanEnd);
    return this.#closing;
  }

  // The order matters. First no new writes, then an end to those on their way (lmdb's own close would wait for them, but
  // a commit that is running would find its database closed), then the mark, which says that nothing follows, and only
  // then the environment.
  async #close(cleanEnd: number | undefined): Promise<void> {
    this.#checkpoint?.close();
    this.#scrub?.stop.resolve();
    await this.#scrub?.ended.promise;
    await this.#queue.settled().catch(() => {});
    this.closed = true;
    try {
      if (cleanEnd === undefined) return;
      this.#queue.forgive();
      this.#queue.begin();
      this.#queue.put(this.tables.meta, metaKeys.cleanEnd, writeNumber(this.#values, metaKeys.cleanEnd, cleanEnd));
      await this.#queue.settled();
    } finally {
      await this.#commitThreads.ended();
      await this.tables.root.close();
    }
  }

  async #runScrub(nextTurn: () => Promise<void>, stop: Promise<void>): Promise<ScrubResult> {
    const file = path.join(this.place.folder, dataFile);
    this.#queue.forgive();
    // One transaction more, so that the older of the two meta pages, too, refers to a tree of after the last removal: LMDB
    // falls back to it if the newer one is torn.
    await this.#markScrub();
    this.#crashPoint("partition:scrub-committed");
    await this.#olderReadersGone(oldestTransaction(file));
    const result = await scrubDataFile({
      place: this.place,
      file,
      nextTurn: async () => {
        // A shard that stops may never come to another turn.
        await Promise.race([nextTurn(), stop]);
        this.#assertNotClosing();
      },
      crashPoint: this.#crashPoint,
    });
    this.#crashPoint("partition:scrubbed");
    return result;
  }

  async #markScrub(): Promise<void> {
    this.#assertNotClosing();
    this.#scrubMarks++;
    this.#queue.begin();
    this.#queue.put(this.tables.meta, metaKeys.scrubs, writeNumber(this.#values, metaKeys.scrubs, this.#scrubMarks));
    await this.#queue.settled();
  }

  // They may look at pages that are in neither tree.
  async #olderReadersGone(transaction: bigint): Promise<void> {
    for (let waitedMs = 0; ; waitedMs += readersPollMs) {
      this.#assertNotClosing();
      const depth = countReadersBefore(this.tables.root, transaction);
      if (depth === 0) return;
      if (waitedMs >= this.#limits.readersWaitMs) {
        const queue = `the list of those who read older states of the partition of shard ${this.place.shard}`;
        throw new HeddleError("OVERLOADED", { queue, depth, depthMax: 0 });
      }
      await new Promise((resolve) => setTimeout(resolve, readersPollMs));
    }
  }

  #assertNobodyWrites(): void {
    invariant(this.#checkpoint === undefined || this.#checkpoint.ended, "partition/one-checkpoint");
    invariant(this.#scrub === undefined, "partition/no-scrub-under-way");
  }

  #assertNotClosing(): void {
    if (this.#closing !== undefined) throw this.closedError();
  }

  override mayKnowAppendId(hash: IdHash): boolean {
    const mayKnow = this.#filter.mayContain(hash);
    if (!mayKnow) this.counters.bloomSkips++;
    return mayKnow;
  }

  announceAppendId(hash: IdHash): boolean {
    return this.#filter.add(hash);
  }
}

function turnOfTheLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function clearCleanEnd(tables: Tables, place: Place): void {
  try {
    tables.meta.removeSync(metaKeys.cleanEnd);
  } catch (error) {
    throw asWriteError(error, place);
  }
}

function loadFilter(tables: Tables, { folder }: Place): BloomFilter {
  const filter = new BloomFilter();
  for (const { key, value: stored } of tables.filter.getRange({})) {
    const value = openValue(key, stored);
    const { layer, page } = filterPlaceOfKey(key);
    // A layer's header sorts before its pages. What has no place was not written by this format.
    if (page === undefined && layer === filter.layers.length) filter.addLayer(value.unsigned());
    else if (page === undefined || layer >= filter.layers.length || !restorePage(filter.layers[layer]!, page, value)) {
      throw damaged(folder, `the filter has an entry without a place (layer ${layer}, page ${page ?? "none"})`);
    }
  }
  return filter;
}
