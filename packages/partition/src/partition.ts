// Partition: the LMDB index of one shard, opened by the shard's thread only.
//
// It answers what the log would have to be scanned for: where an entity's entries lie, its newest snapshots, which ids
// were used. Everything in it can be derived from the log.
//
// Owns the environment: opening, the clean-stop mark, the filter in memory, closing. What is read stands in reader.ts,
// what is written in checkpoint.ts; nothing is ever written outside of a checkpoint but the marks of opening and closing.
import { invariant } from "@heddle/kernel/internal";
import { BloomFilter, restorePage } from "./bloom.ts";
import { TableCheckpoint } from "./checkpoint.ts";
import type { CheckpointWriter, Partition, PartitionReader } from "./contract.ts";
import { asReadError, asWriteError, damaged, type Place } from "./damage.ts";
import { defaultBytesMax, metaKeys, openForReading, openForWriting, type Tables } from "./environment.ts";
import { filterPlaceOfKey } from "./keys.ts";
import { TableReader } from "./reader.ts";
import { openValue, ValueWriter, writeNumber } from "./values.ts";
import { WriteQueue } from "./write-queue.ts";

export interface PartitionOptions {
  /** The partition's own folder; made if it is missing. */
  readonly folder: string;
  readonly shard: number;
  /** Bytes that the environment may grow to: a checkpoint beyond it fails with `DISK_FULL`. Default 256 GiB. */
  readonly mapSizeBytes?: number;
  /** Called at named places of making and of a commit, so that tests can kill the process just there. */
  readonly crashPoint?: ((name: string) => void) | undefined;
}

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
    return new TablePartition(tables, place, bytesMax, crashPoint);
  } catch (error) {
    void tables.root.close();
    throw asReadError(error, place);
  }
}

/** A reader that works beside a node: in each turn it sees what was committed when the turn's first read began. */
export interface DetachedReader extends PartitionReader {
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
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.tables.root.close();
  }
}

class TablePartition extends TableReader implements Partition {
  readonly cleanEnd: number | undefined;
  readonly #queue: WriteQueue;
  readonly #values = new ValueWriter();
  readonly #filter: BloomFilter;
  readonly #crashPoint: (name: string) => void;
  #covered: number;
  #checkpoint: TableCheckpoint | undefined;
  #closing: Promise<void> | undefined;

  constructor(tables: Tables, place: Place, bytesMax: number, crashPoint: (name: string) => void) {
    super(tables, place);
    this.cleanEnd = this.number(metaKeys.cleanEnd);
    // Synced before it returns. From here on, a stop is clean only if `close` says so.
    if (this.cleanEnd !== undefined) clearCleanEnd(tables, place);
    this.#covered = this.number(metaKeys.covered) ?? 0;
    this.#filter = loadFilter(tables, place);
    this.#queue = new WriteQueue(tables.root, place, bytesMax);
    this.#crashPoint = crashPoint;
    this.counters.reads = 0;
  }

  override get coveredPosition(): number {
    return this.#covered;
  }

  checkpoint(covering: number): CheckpointWriter {
    if (this.#closing !== undefined) throw this.closedError();
    invariant(this.#checkpoint === undefined || this.#checkpoint.ended, "partition/one-checkpoint");
    invariant(covering >= this.#covered, "partition/covers-forward", { covering, covered: this.#covered });
    this.#queue.forgive();
    this.#checkpoint = new TableCheckpoint({
      shard: this.place.shard,
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

  close(options: { cleanEnd?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.cleanEnd);
    return this.#closing;
  }

  // The order matters. First no new writes, then an end to those on their way (lmdb's own close would wait for them, but
  // a commit that is running would find its database closed), then the mark, which says that nothing follows, and only
  // then the environment.
  async #close(cleanEnd: number | undefined): Promise<void> {
    this.#checkpoint?.close();
    await this.#queue.settled().catch(() => {});
    this.closed = true;
    try {
      if (cleanEnd === undefined) return;
      this.#queue.forgive();
      this.#queue.begin();
      this.#queue.put(this.tables.meta, metaKeys.cleanEnd, writeNumber(this.#values, metaKeys.cleanEnd, cleanEnd));
      await this.#queue.settled();
    } finally {
      await this.tables.root.close();
    }
  }

  protected override mayHoldAppendId(key: Uint8Array): boolean {
    return this.#filter.mayContain(key);
  }
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
