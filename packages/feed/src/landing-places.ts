// LandingPlaces: where in the feed the events of a receipt stand.
//
// Nearly always where the receipt says. Not so the receipts of a transaction over several shards: they name the entry that was
// prepared, which nobody may see; its events follow when the transaction has been decided, in an entry that names the first. So
// whoever waits until a reader has seen a receipt has to wait for that one (P5).
//
// N1. What it gives is the position of the entry that readers are given, or of one that readers never will be.
// Not promised: that it is quick for receipts of long ago. It looks from the nearest place on that it knows.
import {
  type Disk,
  entryFlags,
  newEntryView,
  recordPosition,
  TailReader,
  visitRecords,
} from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import type { DurableEnds } from "./durable-ends.ts";

export interface LandingPlacesOptions {
  readonly disk: Disk;
  /** Folder of each shard's log. */
  readonly folders: readonly string[];
  readonly ends: DurableEnds;
}

/** Ends of groups that are remembered for each shard: reading can begin at each. At four a second, a quarter of an hour. */
const placesMax = 4_096;
/** Bytes that are looked through before other work of the thread gets its turn. */
const sliceBytes = 1 << 20;

export class LandingPlaces {
  readonly #options: LandingPlacesOptions;
  readonly #readers: TailReader[];
  /** By shard, in order. */
  readonly #places: number[][];
  readonly #view = newEntryView();
  #isClosed = false;

  constructor(options: LandingPlacesOptions) {
    this.#options = options;
    this.#readers = options.folders.map((folder) => new TailReader(options.disk, folder));
    this.#places = options.folders.map(() => []);
    this.note();
  }

  /** Remembers where the logs end now. To be called every now and then. */
  note(): void {
    for (const [shard, places] of this.#places.entries()) {
      const end = this.#options.ends.of(shard);
      if (end === places.at(-1)) continue;
      places.push(end);
      if (places.length > placesMax) places.splice(0, placesMax / 2);
    }
  }

  /**
   * The position of the entry with the events that a receipt is about; undefined when there is none yet after `timeoutMs`.
   * Errors: `LOG_DAMAGED`.
   */
  async of(
    { shard, position }: { readonly shard: number; readonly position: number },
    timeoutMs: number,
  ): Promise<number | undefined> {
    if (!this.#isPending(shard, position)) return position;
    const deadline = performance.now() + timeoutMs;
    const { ends } = this.#options;
    let from = this.#placeBefore(shard, position);
    while (!this.#isClosed) {
      const { mark } = ends;
      const end = ends.of(shard);
      while (from < end) {
        const found = this.#look(shard, from, end, position);
        if (found.position !== undefined) return found.position;
        from = found.to;
        await new Promise((resolve) => setImmediate(resolve));
        if (this.#isClosed) return undefined;
      }
      const left = deadline - performance.now();
      if (left <= 0) return undefined;
      await ends.changedSince(mark, left);
    }
    return undefined;
  }

  close(): void {
    this.#isClosed = true;
    for (const reader of this.#readers) reader.close();
  }

  // What is no entry of the log is nobody's receipt, and is left to whoever waits for it.
  #isPending(shard: number, position: number): boolean {
    const end = this.#options.ends.of(shard);
    if (position >= end) return false;
    try {
      const { flags } = this.#readers[shard]!.entryAt(position, end);
      return (flags & entryFlags.pending) !== 0 && (flags & entryFlags.erased) === 0;
    } catch (error) {
      if (error instanceof HeddleError && error.code === "LOG_DAMAGED") return false;
      throw error;
    }
  }

  #placeBefore(shard: number, position: number): number {
    const known = this.#places[shard]!.findLast((place) => place <= position);
    return known ?? this.#readers[shard]!.segmentBase(position, this.#options.ends.of(shard));
  }

  #look(
    shard: number,
    from: number,
    end: number,
    pending: number,
  ): { readonly position?: number; readonly to: number } {
    const run = this.#readers[shard]!.read(from, end, sliceBytes);
    if (run === undefined) return { to: end };
    let found: number | undefined;
    visitRecords(run.bytes, 0, run.bytes.length, recordPosition(run), this.#view, (entry) => {
      if ((entry.flags & entryFlags.applied) !== 0 && entry.call === pending) found = entry.position;
    });
    return found === undefined ? { to: run.to } : { position: found, to: run.to };
  }
}
