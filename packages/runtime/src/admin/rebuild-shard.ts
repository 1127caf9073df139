// RebuildShard: derives one shard's partition from its log.
//
// R1. The log is read whole and its end made durable before the old partition is deleted, by the log's own recovery: a
//     damaged log costs no index, and a partition never covers what a power cut could still take from the log.
// R2. The new partition is written in checkpoints like those of a shard. A crash halfway leaves one that covers less;
//     the next start goes on from there.
// What it holds equals what the shard would have written: heads, extents, append ids, and the windows of sessions that
// can still bring a retry. Snapshots stand at each entity's head, where a shard that was not asleep has them too.
// Memory: the states of all entities of the shard.
import { type CompiledContext, describeThrown } from "@heddle/domain/internal";
import { type EntryView, EventLog, entryHeaderBytes, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { HeddleError, isHeddleError, systemClock, systemRandom } from "@heddle/kernel";
import {
  type CheckpointWriter,
  destroyPartition,
  openPartition,
  openPartitionReadOnly,
  type Partition,
  type SnapshotRecord,
} from "@heddle/partition/internal";
import { EntryDecoder, encodeState, SessionWindow } from "@heddle/shard/internal";
import { logFolderOf, partitionFolderOf } from "../data-folder.ts";
import { scanInSlices } from "./scan-slices.ts";
import { sessionSilenceMsMax } from "./session-calls.ts";

export interface RebuildShardOptions {
  readonly data: string;
  readonly shard: number;
  readonly domain: CompiledContext;
  /** Log covered by one checkpoint. Default 64 MiB, as in a shard. */
  readonly checkpointBytes?: number;
}

export interface RebuiltShard {
  readonly shard: number;
  readonly entities: number;
  readonly events: number;
  readonly appendIds: number;
  readonly sessions: number;
  readonly snapshots: number;
  readonly coveredPosition: number;
  /** Entities whose events the domain module cannot fold: they have no snapshot, and no state until it can. */
  readonly unfolded: readonly { readonly entity: string; readonly problem: string }[];
}

const defaultCheckpointBytes = 64 << 20;
const unfoldedToldMax = 20;

/** The data folder must be locked. `moved` counts the log twice: checked, then read. Errors: `LOG_DAMAGED`, `DISK_FULL`. */
export async function rebuildShard(
  options: RebuildShardOptions,
  moved: (bytes: number) => void,
): Promise<RebuiltShard> {
  const folder = partitionFolderOf(options.data, options.shard);
  settleLog(options, await coveredBefore(folder, options.shard), moved);
  destroyPartition(folder);
  const partition = openPartition({ folder, shard: options.shard });
  const log = new LogReader(nodeDisk, logFolderOf(options.data, options.shard));
  try {
    const rebuild = new Rebuild(options, partition);
    const { end } = await scanInSlices(log, {
      sliceBytes: options.checkpointBytes ?? defaultCheckpointBytes,
      onEntry: (entry) => rebuild.onEntry(entry),
      onRecord: (_, length) => moved(length),
      afterSlice: (covering) => rebuild.checkpoint(covering),
    });
    await partition.close({ cleanEnd: end });
    return { shard: options.shard, ...rebuild.facts(), coveredPosition: end };
  } finally {
    log.close();
    await partition.close();
  }
}

// The position that the old partition covers is known to have been durable. One that cannot be read says nothing.
async function coveredBefore(folder: string, shard: number): Promise<number> {
  try {
    const old = openPartitionReadOnly({ folder, shard });
    try {
      return old.coveredPosition;
    } finally {
      await old.close();
    }
  } catch (error) {
    if (error instanceof HeddleError) return 0;
    throw error;
  }
}

// Opening the log for writing is its recovery (R1).
function settleLog({ data, shard }: RebuildShardOptions, knownEnd: number, moved: (bytes: number) => void): void {
  const log = EventLog.open({
    disk: nodeDisk,
    folder: logFolderOf(data, shard),
    shard,
    clock: systemClock,
    random: systemRandom,
    durability: "fsync",
    knownEnd,
    replayFrom: 0,
    onEntry: (entry) => moved(entryHeaderBytes + entry.bodyTo - entry.bodyFrom),
  });
  log.close();
}

interface RebuiltEntity {
  readonly id: string;
  seq: number;
  position: number;
  time: number;
  states: unknown[] | undefined;
  /** Triples of first sequence, count, position since the last checkpoint. */
  extents: number[];
  /** Snapshots that the last checkpoint wrote. */
  snapshots: number;
}

class Rebuild {
  readonly #domain: CompiledContext;
  readonly #partition: Partition;
  readonly #decoder = new EntryDecoder();
  readonly #nothingFolded: readonly number[];
  readonly #entities = new Map<string, RebuiltEntity>();
  readonly #sessions = new Map<number, SessionWindow>();
  readonly #unfolded: { entity: string; problem: string }[] = [];
  #changed = new Set<RebuiltEntity>();
  #ids: { entity: string; id: string; position: number }[] = [];
  #events = 0;
  #appendIds = 0;
  #newestMs = 0;

  constructor({ domain }: RebuildShardOptions, partition: Partition) {
    this.#domain = domain;
    this.#partition = partition;
    this.#nothingFolded = domain.aggregateNames.map(() => 0);
  }

  onEntry(entry: EntryView): void {
    const { entity: id, id: appendId } = this.#decoder.open(entry);
    const entity = this.#entity(id);
    entity.extents.push(entry.firstSeq, entry.eventCount, entry.position);
    entity.seq = entry.firstSeq + entry.eventCount - 1;
    entity.position = entry.position;
    entity.time = entry.time;
    this.#changed.add(entity);
    this.#events += entry.eventCount;
    this.#newestMs = Math.max(this.#newestMs, entry.time);
    if (appendId !== "") this.#ids.push({ entity: id, id: appendId, position: entry.position });
    this.#addCall(entry);
    this.#fold(entity, entry);
  }

  async checkpoint(covering: number): Promise<void> {
    const writer = this.#partition.checkpoint(covering);
    for (const entity of this.#changed) {
      const snapshots = this.#snapshotsOf(entity);
      writer.putEntity(entity.id, entity, Float64Array.from(entity.extents), snapshots);
      entity.extents = [];
      entity.snapshots = snapshots.length;
    }
    for (const { entity, id, position } of this.#ids) writer.putAppendId(entity, id, position);
    this.#appendIds += this.#ids.length;
    this.#putSessions(writer);
    this.#changed = new Set();
    this.#ids = [];
    await writer.commit();
  }

  facts(): Omit<RebuiltShard, "shard" | "coveredPosition"> {
    let snapshots = 0;
    for (const entity of this.#entities.values()) snapshots += entity.snapshots;
    return {
      entities: this.#entities.size,
      events: this.#events,
      appendIds: this.#appendIds,
      sessions: this.#sessions.size,
      snapshots,
      unfolded: this.#unfolded,
    };
  }

  #entity(id: string): RebuiltEntity {
    let entity = this.#entities.get(id);
    if (entity === undefined) {
      const states = Array.from(this.#domain.aggregates.values(), (aggregate) => aggregate.initial());
      entity = { id, seq: 0, position: 0, time: 0, states, extents: [], snapshots: 0 };
      this.#entities.set(id, entity);
    }
    return entity;
  }

  #addCall({ session, call, position, time }: EntryView): void {
    let window = this.#sessions.get(session);
    if (window === undefined) {
      window = new SessionWindow(session);
      this.#sessions.set(session, window);
    }
    window.add(call, position, time);
  }

  #fold(entity: RebuiltEntity, entry: EntryView): void {
    if (entity.states === undefined) return;
    try {
      this.#decoder.foldInto(entity.states, entry, this.#domain, this.#nothingFolded);
    } catch (error) {
      entity.states = undefined;
      if (this.#unfolded.length < unfoldedToldMax) {
        const problem = isHeddleError(error, "DOMAIN_FAILED")
          ? `${error.facts.where}: ${error.facts.message}`
          : describeThrown(error);
        this.#unfolded.push({ entity: entity.id, problem });
      }
    }
  }

  #snapshotsOf({ states, seq }: RebuiltEntity): SnapshotRecord[] {
    if (states === undefined) return [];
    const snapshots: SnapshotRecord[] = [];
    for (const { name, version, index } of this.#domain.aggregates.values()) {
      const state = encodeState(states[index]);
      if (state !== undefined) snapshots.push({ aggregate: name, foldVersion: version, seq, state });
    }
    return snapshots;
  }

  #putSessions(writer: CheckpointWriter): void {
    for (const [session, window] of this.#sessions) {
      if (this.#newestMs - window.lastSeenMs > sessionSilenceMsMax) {
        this.#sessions.delete(session);
        writer.dropSession(session);
      } else if (window.dirty) {
        window.dirty = false;
        writer.putSession(session, window.lastSeenMs, window.calls());
      }
    }
  }
}
