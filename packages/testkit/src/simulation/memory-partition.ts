// MemoryPartition: the partition's contract without LMDB: what was committed outlives a crash, what was not is gone.
//
// M1. Puts become readable and durable together, in the order in which they were made, some turns later.
// M2. A crash keeps what was applied by then and nothing else; the covered position is applied last (K1 of partition).
// M3. The same puts and the same turns give the same contents: no order depends on anything but them.
// Not promised: anything about bytes. What was removed leaves no remains, so a scrub has nothing to do.
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import {
  type AppendIdRecord,
  type CheckpointWriter,
  type EntityHead,
  type ErasureRecord,
  type ErasureStage,
  type Extent,
  erasedIdName,
  type Forgetting,
  type FreshIds,
  hashAppendId,
  type IdHash,
  newIdHash,
  type OpenTransactions,
  type PackedHeads,
  type Partition,
  type ScrubResult,
  type SessionRecord,
  type SnapshotRecord,
  type TypeCount,
} from "@heddle/partition/internal";

type AlarmQuery = Parameters<Partition["alarms"]>[0];
type AlarmRecord = ReturnType<Partition["alarms"]>[number];

/** What stands on the platter. */
interface Tables {
  covered: number;
  cleanEnd: number | undefined;
  readonly heads: Map<string, EntityHead>;
  /** By entity, then by first sequence. */
  readonly extents: Map<string, Map<number, Extent>>;
  readonly snapshots: Map<string, Map<string, SnapshotRecord>>;
  readonly appendIds: Map<string, Map<string, number>>;
  readonly sessions: Map<number, SessionRecord>;
  readonly catalogue: Map<string, TypeCount>;
  readonly erasures: Map<string, ErasureRecord>;
  openTransactions: OpenTransactions;
}

/** What outlives the lives of a partition. One can be open at a time. */
export class MemoryPartitionStore {
  readonly tables: Tables = {
    covered: 0,
    cleanEnd: undefined,
    heads: new Map(),
    extents: new Map(),
    snapshots: new Map(),
    appendIds: new Map(),
    sessions: new Map(),
    catalogue: new Map(),
    erasures: new Map(),
    openTransactions: { pending: [], decided: [] },
  };
}

export interface MemoryPartitionOptions {
  readonly store: MemoryPartitionStore;
  readonly shard: number;
  /** Runs a task in a later turn. */
  readonly later: (task: () => void) => void;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

export interface MemoryPartition extends Partition {
  /** Whether the next commit fails with `DISK_FULL`. */
  failNextCommit(fails: boolean): void;
  /** The process dies: nothing more is applied, and nobody who waits is told. */
  kill(): void;
}

export function openMemoryPartition(options: MemoryPartitionOptions): MemoryPartition {
  return new OpenPartition(options);
}

class OpenPartition implements MemoryPartition {
  readonly cleanEnd: number | undefined;
  readonly counters = { reads: 0, bloomSkips: 0 };
  readonly #options: MemoryPartitionOptions;
  readonly #tables: Tables;
  readonly #queue: ApplyQueue;
  readonly #idHash = newIdHash();
  /** First hashes of all ids that were ever stored or announced. */
  readonly #announced = new Set<number>();
  #checkpoint: MemoryCheckpoint | undefined;
  #isScrubbing = false;
  #failsNext = false;
  #closed = false;

  constructor(options: MemoryPartitionOptions) {
    this.#options = options;
    this.#tables = options.store.tables;
    this.cleanEnd = this.#tables.cleanEnd;
    this.#tables.cleanEnd = undefined;
    this.#queue = new ApplyQueue(options.later);
    for (const [entity, ids] of this.#tables.appendIds) for (const id of ids.keys()) this.#announce(entity, id);
  }

  get coveredPosition(): number {
    return this.#tables.covered;
  }

  head(entity: string): EntityHead | undefined {
    return this.#read().heads.get(entity);
  }

  snapshots(entity: string): SnapshotRecord[] {
    return inOrder(this.#read().snapshots.get(entity) ?? []).map(([, snapshot]) => snapshot);
  }

  snapshot(entity: string, aggregate: string): SnapshotRecord | undefined {
    return this.#read().snapshots.get(entity)?.get(aggregate);
  }

  *extents(entity: string, fromSeq: number, direction: "forward" | "backward"): Generator<Extent, undefined> {
    const { heads, extents } = this.#read();
    const head = heads.get(entity);
    if (head === undefined) return undefined;
    const base = Math.max(1, head.baseSeq);
    const all = [...(extents.get(entity)?.values() ?? [])]
      .filter(({ firstSeq }) => firstSeq >= base && firstSeq <= head.seq)
      .sort((a, b) => a.firstSeq - b.firstSeq);
    if (direction === "forward") yield* all.filter(({ firstSeq, count }) => firstSeq + count > fromSeq);
    else yield* all.filter(({ firstSeq }) => firstSeq <= fromSeq).reverse();
    return undefined;
  }

  mayKnowAppendId({ first }: IdHash): boolean {
    const mayKnow = this.#announced.has(first);
    if (!mayKnow) this.counters.bloomSkips++;
    return mayKnow;
  }

  announceAppendId({ first }: IdHash): boolean {
    const isNew = !this.#announced.has(first);
    this.#announced.add(first);
    return isNew;
  }

  appendIdPosition(entity: string, id: string): number | undefined {
    if (!this.mayKnowAppendId(hashAppendId(entity, id, this.#idHash))) return undefined;
    return this.#read().appendIds.get(entity)?.get(id);
  }

  *sessions(): Generator<SessionRecord, undefined> {
    yield* [...this.#read().sessions.values()].sort((a, b) => a.session - b.session);
    return undefined;
  }

  *entities(from = ""): Generator<{ entity: string; head: EntityHead }, undefined> {
    for (const [entity, head] of inOrder(this.#read().heads)) {
      if (compareUtf8(entity, from) >= 0) yield { entity, head };
    }
    return undefined;
  }

  *allSnapshots(): Generator<SnapshotRecord & { readonly entity: string }, undefined> {
    for (const [entity, snapshots] of inOrder(this.#read().snapshots)) {
      for (const [, snapshot] of inOrder(snapshots)) yield { entity, ...snapshot };
    }
    return undefined;
  }

  *appendIds(): Generator<AppendIdRecord, undefined> {
    for (const [entity, ids] of inOrder(this.#read().appendIds)) {
      for (const [id, position] of inOrder(ids)) yield { entity, id, position };
    }
    return undefined;
  }

  catalogue(): TypeCount[] {
    return inOrder(this.#read().catalogue).map(([, count]) => count);
  }

  erasures(): ErasureRecord[] {
    return inOrder(this.#read().erasures).map(([, erasure]) => erasure);
  }

  openTransactions(): OpenTransactions {
    return this.#read().openTransactions;
  }

  alarms({ kind, from = 0, to = Infinity, after, limit }: AlarmQuery): AlarmRecord[] {
    const isBehind = (alarm: AlarmRecord) => after === undefined || compareAlarms(alarm, after) > 0;
    const alarms: AlarmRecord[] = [];
    for (const [entity, { alarm: due }] of this.#read().heads) {
      if (due === undefined || due < from || due >= to || !entity.startsWith(`${kind}/`)) continue;
      if (isBehind({ entity, due })) alarms.push({ entity, due });
    }
    return alarms.sort(compareAlarms).slice(0, limit);
  }

  countAlarms(query: Omit<AlarmQuery, "limit">): number {
    return this.alarms({ ...query, limit: Infinity }).length;
  }

  checkpoint(covering: number): CheckpointWriter {
    this.#assertOpen();
    this.#assertNobodyWrites();
    const { covered } = this.#tables;
    invariant(covering >= covered, "partition/covers-forward", { covering, covered });
    const { shard, crashPoint } = this.#options;
    const queue = this.#queue;
    this.#checkpoint = new MemoryCheckpoint({
      tables: this.#tables,
      shard,
      queue,
      covering,
      crashPoint: crashPoint ?? (() => {}),
      announce: (entity, id) => this.#announce(entity, id),
      takeFailure: () => {
        const fails = this.#failsNext;
        this.#failsNext = false;
        return fails;
      },
    });
    return this.#checkpoint;
  }

  async scrub(nextTurn: () => Promise<void> = () => this.#queue.settled()): Promise<ScrubResult> {
    this.#assertOpen();
    this.#assertNobodyWrites();
    this.#isScrubbing = true;
    try {
      await this.#queue.settled();
      await nextTurn();
      this.#assertOpen();
      return { pagesZeroed: 0, holesZeroed: 0 };
    } finally {
      this.#isScrubbing = false;
    }
  }

  async close({ cleanEnd }: { cleanEnd?: number } = {}): Promise<void> {
    if (this.#closed) return;
    this.#checkpoint?.close();
    this.#closed = true;
    await this.#queue.settled();
    this.#tables.cleanEnd = cleanEnd;
  }

  failNextCommit(fails: boolean): void {
    this.#failsNext = fails;
  }

  kill(): void {
    this.#closed = true;
    this.#queue.kill();
  }

  #announce(entity: string, id: string): void {
    this.announceAppendId(hashAppendId(entity, id, this.#idHash));
  }

  #read(): Tables {
    this.#assertOpen();
    this.counters.reads++;
    return this.#tables;
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError(this.#options.shard);
  }

  #assertNobodyWrites(): void {
    invariant(this.#checkpoint === undefined || this.#checkpoint.ended, "partition/one-checkpoint");
    invariant(!this.#isScrubbing, "partition/no-scrub-under-way");
  }
}

/** What was put and does not count yet. */
class ApplyQueue {
  readonly #later: (task: () => void) => void;
  #waiting: (() => void)[] = [];
  #scheduled = false;
  #killed = false;

  constructor(later: (task: () => void) => void) {
    this.#later = later;
  }

  add(apply: () => void): void {
    this.#waiting.push(apply);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#later(() => {
      if (this.#killed) return;
      this.#scheduled = false;
      for (const each of this.#waiting.splice(0)) each();
    });
  }

  /** Resolves when all that was added before is applied. */
  settled(): Promise<void> {
    return new Promise((resolve) => this.add(resolve));
  }

  kill(): void {
    this.#killed = true;
    this.#waiting = [];
  }
}

interface CheckpointParts {
  readonly tables: Tables;
  readonly shard: number;
  readonly queue: ApplyQueue;
  readonly covering: number;
  readonly crashPoint: (name: string) => void;
  readonly announce: (entity: string, id: string) => void;
  /** Whether this commit is to fail; asked once. */
  readonly takeFailure: () => boolean;
}

class MemoryCheckpoint implements CheckpointWriter {
  readonly #parts: CheckpointParts;
  readonly #forgotten = new Map<string, Forgetting>();
  readonly #headsAwaited = new Set<string>();
  #appendIds: AppendIdRecord[] = [];
  /** Applied in the transaction of the covered position. */
  readonly #last: (() => void)[] = [];
  #state: "open" | "committing" | "ended" | "closed" = "open";

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
  }

  get ended(): boolean {
    return this.#state === "ended" || this.#state === "closed";
  }

  close(): void {
    this.#state = "closed";
  }

  // Extents that a head is to hold stand where all others do.
  putEntity(
    entity: string,
    { inlineExtents, ...head }: EntityHead,
    newExtents: Float64Array,
    snapshots: readonly SnapshotRecord[],
  ): void {
    this.#assertOpen();
    const quads = inlineExtents ?? newExtents;
    const extents: Extent[] = [];
    for (let at = 0; at < quads.length; at += 4) {
      const [firstSeq, count, position, check] = quads.subarray(at, at + 4) as unknown as number[];
      extents.push({ firstSeq: firstSeq!, count: count!, position: position!, check: check! });
    }
    const lastSeq = extents.length === 0 ? head.seq : extents.at(-1)!.firstSeq + extents.at(-1)!.count - 1;
    invariant(lastSeq === head.seq, "partition/extents-reach-head", { entity, lastSeq, head: head.seq });
    const { tables, queue } = this.#parts;
    const forgets = this.#headsAwaited.delete(entity);
    if (forgets) {
      const { belowSeq } = this.#forgotten.get(entity)!;
      invariant(head.baseSeq === belowSeq, "partition/forgotten-below-base", { entity, belowSeq, base: head.baseSeq });
    }
    const kept = snapshots.map((snapshot) => ({ ...snapshot, state: snapshot.state.slice() }));
    const headKept = { ...head };
    queue.add(() => {
      if (forgets) tables.snapshots.delete(entity);
      const stored = rowsOf(tables.extents, entity);
      for (const extent of extents) stored.set(extent.firstSeq, extent);
      for (const snapshot of kept) rowsOf(tables.snapshots, entity).set(snapshot.aggregate, snapshot);
      tables.heads.set(entity, headKept);
    });
  }

  putPackedHead(heads: PackedHeads, row: number): void {
    this.putEntity(heads.entityAt(row), heads.headAt(row), new Float64Array(), []);
  }

  takeAppendIds(ids: FreshIds): void {
    for (const { entity, id, position } of ids.all()) this.putAppendId(entity, id, position);
  }

  putAppendId(entity: string, id: string, position: number): void {
    this.#assertOpen();
    this.#parts.announce(entity, id);
    this.#appendIds.push({ entity, id, position });
  }

  forgetHistory(entity: string, { belowSeq, belowPosition }: Forgetting): void {
    this.#assertOpen();
    const earlier = this.#forgotten.get(entity);
    this.#forgotten.set(entity, {
      belowSeq: Math.max(belowSeq, earlier?.belowSeq ?? 0),
      belowPosition: Math.max(belowPosition, earlier?.belowPosition ?? 0),
    });
    this.#headsAwaited.add(entity);
  }

  putTypeCount(aggregate: string, type: string, schemaVersion: number, count: number): void {
    this.#assertOpen();
    const { catalogue } = this.#parts.tables;
    const key = `${aggregate}\u0000${type}\u0000${String(schemaVersion).padStart(10, "0")}`;
    this.#last.push(() => {
      if (count === 0) catalogue.delete(key);
      else catalogue.set(key, { aggregate, type, schemaVersion, count });
    });
  }

  putErasure(entity: string, seq: number, stage: ErasureStage): void {
    this.#assertOpen();
    this.#last.push(() => this.#parts.tables.erasures.set(entity, { entity, seq, stage }));
  }

  dropErasure(entity: string): void {
    this.#assertOpen();
    this.#last.push(() => this.#parts.tables.erasures.delete(entity));
  }

  putOpenTransactions({ pending, decided }: OpenTransactions): void {
    this.#assertOpen();
    const open = {
      pending: [...pending],
      decided: decided.map((record) => ({ ...record, shards: [...record.shards] })),
    };
    this.#last.push(() => {
      this.#parts.tables.openTransactions = open;
    });
  }

  putSession(session: number, lastSeenMs: number, calls: Float64Array): void {
    this.#assertOpen();
    const record = { session, lastSeenMs, calls: calls.slice() };
    this.#parts.queue.add(() => this.#parts.tables.sessions.set(session, record));
  }

  dropSession(session: number): void {
    this.#assertOpen();
    this.#parts.queue.add(() => this.#parts.tables.sessions.delete(session));
  }

  drained(): Promise<void> {
    return this.#parts.queue.settled();
  }

  async commit(): Promise<void> {
    this.#assertOpen();
    const [awaited] = this.#headsAwaited;
    invariant(awaited === undefined, "partition/forgotten-is-put", { entity: awaited });
    this.#state = "committing";
    try {
      await this.#write();
    } finally {
      if (this.#state === "committing") this.#state = "ended";
    }
  }

  async #write(): Promise<void> {
    const { tables, queue, covering, crashPoint, shard } = this.#parts;
    await this.#durable();
    crashPoint("partition:entities-durable");
    if (this.#parts.takeFailure()) throw new HeddleError("DISK_FULL", { shard, path: "the partition's memory" });
    crashPoint("partition:filter-durable");
    for (const { entity, id, position } of this.#appendIds) {
      queue.add(() => rowsOf(tables.appendIds, entity).set(id, position));
    }
    for (const [entity, forgetting] of this.#forgotten) {
      queue.add(() => forget(tables, entity, forgetting, (id) => this.#parts.announce(entity, id)));
    }
    await this.#durable();
    crashPoint("partition:ids-durable");
    queue.add(() => {
      for (const apply of this.#last) apply();
      tables.covered = covering;
    });
    await queue.settled();
    crashPoint("partition:covered");
  }

  async #durable(): Promise<void> {
    await this.#parts.queue.settled();
    this.#assertNotClosed();
  }

  #assertOpen(): void {
    this.#assertNotClosed();
    invariant(this.#state === "open", "partition/checkpoint-open", { state: this.#state });
  }

  #assertNotClosed(): void {
    if (this.#state === "closed") throw closedError(this.#parts.shard);
  }
}

function forget(
  tables: Tables,
  entity: string,
  { belowSeq, belowPosition }: Forgetting,
  announce: (id: string) => void,
): void {
  const extents = rowsOf(tables.extents, entity);
  for (const firstSeq of [...extents.keys()]) if (firstSeq < belowSeq) extents.delete(firstSeq);
  const ids = rowsOf(tables.appendIds, entity);
  for (const [id, position] of [...ids]) {
    // A digest is found by its name again: replacing it by itself changes nothing.
    if (position >= belowPosition || id.startsWith("\u0000")) continue;
    const name = erasedIdName(entity, id);
    announce(name);
    ids.delete(id);
    ids.set(name, position);
  }
}

function rowsOf<K, V>(table: Map<string, Map<K, V>>, entity: string): Map<K, V> {
  let rows = table.get(entity);
  if (rows === undefined) {
    rows = new Map();
    table.set(entity, rows);
  }
  return rows;
}

/** Entries in the order of their keys' UTF-8 bytes. */
function inOrder<V>(entries: Iterable<[string, V]>): [string, V][] {
  return [...entries].sort(([a], [b]) => compareUtf8(a, b));
}

function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function compareAlarms(a: AlarmRecord, b: AlarmRecord): number {
  return a.due - b.due || compareUtf8(a.entity, b.entity);
}

function closedError(shard: number): HeddleError {
  return new HeddleError("CLOSED", { what: `the partition of shard ${shard}` });
}
