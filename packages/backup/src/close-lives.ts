// CloseLives: writes a tombstone for every entity that a restored log has only as erased entries.
//
// An entity that was erased after the restored moment has no tombstone in that part of the log. Without one it would be
// an entity whose events cannot be read; with one it is what it is: erased. The tombstone is later than any that the
// entity had, so that its next life gets keys of its own.
import { besideFlags, type EntryView, EventLog, entityOfEntry, entryFlags, nodeDisk } from "@heddle/event-log/internal";
import { type HeddleError, systemClock, systemRandom } from "@heddle/kernel";
import { newAppendView, readAppendBody, TextCache, writeAppendBody } from "@heddle/protocol/internal";
import type { KeyStore } from "./key-store.ts";

/** The erased entries of an entity that no tombstone follows. */
interface OpenLife {
  firstSeq: number;
  lastSeq: number;
  lastTime: number;
}

export interface CloseOptions {
  /** The log's folder, and where its last segment begins. */
  readonly folder: string;
  readonly shard: number;
  readonly lastBase: number;
  readonly keys: KeyStore;
  readonly nowMs: number;
}

/** Bytes of one commit group. */
const groupBytes = 1 << 20;

/** Sees the entries of a shard in order and knows which entities are to be closed. */
export class OpenLives {
  readonly #open = new Map<string, OpenLife>();

  see(entry: EntryView): void {
    // An erased entry of a transaction that was given up is nothing of the entity's life.
    if ((entry.flags & besideFlags) !== 0) return;
    const isErased = (entry.flags & entryFlags.erased) !== 0;
    const isTombstone = (entry.flags & entryFlags.tombstone) !== 0;
    if (!isErased && (!isTombstone || this.#open.size === 0)) return;
    const entity = entityOfEntry(entry);
    if (isTombstone) {
      this.#open.delete(entity);
      return;
    }
    const lastSeq = entry.firstSeq + entry.eventCount - 1;
    const known = this.#open.get(entity);
    if (known === undefined) this.#open.set(entity, { firstSeq: entry.firstSeq, lastSeq, lastTime: entry.time });
    else Object.assign(known, { lastSeq, lastTime: Math.max(known.lastTime, entry.time) });
  }

  get count(): number {
    return this.#open.size;
  }

  /** Appends the tombstones to the log and makes them durable. */
  async close({ folder, shard, lastBase, keys, nowMs }: CloseOptions): Promise<void> {
    if (this.#open.size === 0) return;
    const log = EventLog.open({
      disk: nodeDisk,
      folder,
      shard,
      clock: systemClock,
      random: systemRandom,
      durability: "fsync",
      knownEnd: 0,
      replayFrom: lastBase,
      onEntry: () => {},
    });
    try {
      for (const [entity, life] of this.#open) {
        const before = keys.erasedBefore(entity)?.time ?? 0;
        addTombstone(log, entity, life, Math.max(nowMs, life.lastTime, before + 1));
        if (log.fillingBytes >= groupBytes) await flushed(log);
      }
      await flushed(log);
    } finally {
      log.close();
    }
  }
}

function addTombstone(log: EventLog, entity: string, { firstSeq, lastSeq }: OpenLife, time: number): void {
  const events = [{ type: "Erased", payload: { from: firstSeq, to: lastSeq }, schemaVersion: 1 }];
  const bytes = writeAppendBody({ entity, aggregate: "$heddle", events }, (most) => log.reserve(most));
  const view = newAppendView();
  const { bytes: body, at } = log.reserve(bytes);
  readAppendBody(body, at, at + bytes, new TextCache(1), view);
  const payloadsOffset = view.payloadsFrom - at;
  const flags = entryFlags.tombstone;
  const header = {
    flags,
    firstSeq: lastSeq + 1,
    time,
    fingerprint: 0,
    session: 0,
    call: 0,
    eventCount: 1,
    payloadsOffset,
  };
  log.add(header, bytes);
}

function flushed(log: EventLog): Promise<void> {
  return new Promise((resolve, reject) => {
    if (log.fillingEntries === 0) {
      resolve();
      return;
    }
    log.onDurable = () => resolve();
    log.onFailure = (error: HeddleError) => reject(error);
    log.flush();
  });
}
