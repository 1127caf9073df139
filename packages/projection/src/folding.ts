// Folding: one generation of a projection on its way through the feed: reads whole records, decides which events count, loads
// the rows that they are about, folds, and writes rows and position at once.
//
// O1. Events of one entity are folded in the order of its history, each once, however often the process ends (P5).
// O2. An event whose function fails holds its entity and nobody else. Nothing of it is written.
// O3. After a tombstone, or the marker of a restoring, nothing of the entity's earlier events is in a row that only it has
//     written. Where others have written to rows, too, `facts.tainted` says so, until all is made anew.
// O4. The rows are what a fold of the log as it is now gives: erased events never count, nor do those before a reset.
// A failed write ends it: whoever drives it begins again from what the sink has.
import type { CompiledContext, CompiledProjection } from "@heddle/domain/internal";
import { describeThrown } from "@heddle/domain/internal";
import { FeedDecoder, type FeedEntry, type FeedReset, type FeedSource } from "@heddle/feed/internal";
import { type Clock, HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import { sagaOfStepId } from "@heddle/protocol/internal";
import { type GenerationFacts, readFacts } from "./facts.ts";
import { HeldEntities } from "./held-entities.ts";
import { heldAt, type Item } from "./item.ts";
import { type CachedRow, cachedRow, RowCache } from "./row-cache.ts";
import { compensationOf, isSagaEnd, isSagaEntity, outcomeOf, outcomesMax, SagaSteps } from "./saga-steps.ts";
import type { GenerationRef, GenerationState, Held, Sink } from "./sink.ts";

export interface FoldingParts {
  readonly domain: CompiledContext;
  readonly projection: CompiledProjection;
  readonly source: FeedSource;
  readonly sink: Sink;
  readonly clock: Clock;
  /** Tells this process from others that write to the sink: random. */
  readonly writer: string;
  readonly rowsMax: number;
  readonly outcomesKept: number;
  /** Events of an entity that goes on, which are read again in one step, about. */
  readonly replayEventsMax: number;
  readonly crashPoint: (name: string) => void;
  /**
   * Where earlier events of entities are not to be folded at all, because a tombstone or a marker is known to follow: its
   * position, by entity.
   */
  readonly resets?: ReadonlyMap<string, number> | undefined;
}

export interface StepBudget {
  /** Events that are folded in one write, about. */
  readonly events: number;
  /** Bytes of log that are read for one write, about. */
  readonly bytes: number;
}

export interface StepResult {
  /** Bytes of log that were read. */
  readonly bytes: number;
  readonly events: number;
  readonly hasWritten: boolean;
}

/** Bytes of one reading: a slice of one shard. */
const chunkBytesMax = 1 << 20;
/** Bytes of log without anything for the projection, before its position is written all the same. */
const unwrittenBytesMax = 64 << 20;

const idle: StepResult = { bytes: 0, events: 0, hasWritten: false };

/** What a step has gathered, in the order in which it is folded. */
type Ready = Item | FeedReset;

export class Folding {
  readonly ref: GenerationRef;
  readonly facts: GenerationFacts;
  readonly #parts: FoldingParts;
  readonly #decoder: FeedDecoder;
  readonly #isSettled: boolean;
  readonly #held: HeldEntities;
  readonly #sagas: SagaSteps;
  readonly #rows: RowCache;
  readonly #positions: number[];
  readonly #kinds: Set<string>;
  #revision: number;
  #batch = 0;
  #changed: CachedRow[] = [];
  #erased = new Set<string>();
  #factsChanged = false;
  #unwrittenBytes = 0;
  #firstShard = 0;
  #events = 0;
  #erasures = 0;
  #lastTime = 0;
  #isDead = false;

  static async open(parts: FoldingParts, state: GenerationState): Promise<Folding> {
    const ref: GenerationRef = { projection: parts.projection, generation: state.generation };
    const held = await parts.sink.held(ref);
    const outcomes = await parts.sink.outcomes(ref);
    return new Folding(parts, ref, state, held, new SagaSteps(outcomes, parts.outcomesKept));
  }

  private constructor(
    parts: FoldingParts,
    ref: GenerationRef,
    state: GenerationState,
    held: readonly Held[],
    sagas: SagaSteps,
  ) {
    const { projection, source, domain, rowsMax } = parts;
    this.#parts = parts;
    this.ref = ref;
    this.facts = readFacts(state.facts);
    this.#kinds = new Set(this.facts.kinds);
    this.#revision = state.revision;
    this.#positions = Array.from({ length: source.shardCount }, (_, shard) => state.positions[shard] ?? 0);
    this.#held = new HeldEntities(held);
    this.#sagas = sagas;
    this.#rows = new RowCache(rowsMax, state.revision === 0);
    this.#isSettled = projection.sagas === "settled";
    const wants = (aggregate: string, type: string) =>
      projection.functionsOf(aggregate)?.has(type) === true || (this.#isSettled && isSagaEnd(aggregate, type));
    this.#decoder = new FeedDecoder(domain, { wants, system: this.#isSettled });
  }

  /** By shard: everything below is in the rows, or held. */
  get positions(): readonly number[] {
    return this.#positions;
  }

  /** By shard: below it, nothing is missing that an erasure could want to be gone. */
  passed(shard: number): number {
    return Math.min(this.#positions[shard]!, this.facts.tainted[shard] ?? Number.POSITIVE_INFINITY);
  }

  /** Events that were folded since it was opened. */
  get events(): number {
    return this.#events;
  }

  /** Time of the last event that was folded; 0 for none. */
  get lastTime(): number {
    return this.#lastTime;
  }

  /** Entities that began anew, since it was opened. */
  get erasures(): number {
    return this.#erasures;
  }

  get held(): Iterable<Held> {
    return [...this.#held.values()].map(({ record }) => record);
  }

  heldOf(entity: string): Held | undefined {
    return this.#held.get(entity)?.record;
  }

  get setAside(): number {
    return this.#held.errors;
  }

  get waiting(): number {
    return this.#held.size - this.#held.errors;
  }

  /** Lets an entity go on that was set aside: with the event that failed, or behind it. The next step does it. */
  goOn(entity: string, from: "same" | "next"): void {
    const held = this.#held.get(entity);
    invariant(held !== undefined, "O2/held", { entity });
    const { record } = held;
    this.#held.hold(
      { ...record, reason: "retry", saga: "", error: "", index: record.index + (from === "next" ? 1 : 0) },
      undefined,
    );
  }

  /** Reads, folds and writes some. Errors: those of source and sink; afterwards it cannot be used any more. */
  async step(budget: StepBudget): Promise<StepResult> {
    invariant(!this.#isDead, "O1/dead");
    try {
      for (const { record } of this.#held.values())
        if (record.reason === "retry") return await this.#replay(record, budget);
      return await this.#forward(budget);
    } catch (thrown) {
      this.#isDead = true;
      throw thrown;
    }
  }

  /** Writes the position where only that has moved. */
  async flush(): Promise<void> {
    if (this.#unwrittenBytes > 0 && !this.#isDead) await this.#write(this.#positions);
  }

  async #forward(budget: StepBudget): Promise<StepResult> {
    const { source } = this.#parts;
    const reached = [...this.#positions];
    const ready: Ready[] = [];
    let bytes = 0;
    let open = source.shardCount;
    for (let shard = this.#firstShard; open > 0 && bytes < budget.bytes && ready.length < budget.events; ) {
      const from = reached[shard]!;
      const asked = source.read(shard, from, Math.min(chunkBytesMax, budget.bytes));
      const chunk = asked instanceof Promise ? await asked : asked;
      if (chunk === undefined) open--;
      else {
        // Between the records of two segments, and in front of the first, is a segment's header.
        invariant(chunk.from >= from && chunk.to > chunk.from, "P5/no-gap", { shard, from, found: chunk.from });
        const read = chunk.to - chunk.from;
        this.#collect((visitor) => this.#decoder.visit(chunk, visitor), read, ready);
        reached[shard] = chunk.to;
        bytes += read;
        open = source.shardCount;
      }
      shard = (shard + 1) % source.shardCount;
      this.#firstShard = shard;
    }
    if (bytes === 0) return idle;
    if (this.#isSettled) this.#settleUnknown(reached, ready);
    return this.#foldAndWrite(ready, reached, bytes);
  }

  // Reads again what an entity has waiting, from where it is held; in slices, where that is much.
  async #replay(record: Held, budget: StepBudget): Promise<StepResult> {
    const { entity, shard } = record;
    const { source } = this.#parts;
    const items: Item[] = [];
    let at = record.record;
    let bytes = 0;
    while (at < this.#positions[shard]! && bytes < replayBytesMax && items.length < this.#parts.replayEventsMax) {
      const asked = source.read(shard, at, Math.min(chunkBytesMax, budget.bytes));
      const chunk = asked instanceof Promise ? await asked : asked;
      if (chunk === undefined) break;
      const visitor = {
        events: (entry: FeedEntry) => {
          if (entry.entity !== entity || entry.position < record.position) return;
          if (entry.position >= this.#positions[shard]!) return false;
          const from = entry.position === record.position ? record.index : 0;
          this.#addItems(entry, from, entry.storedBytes, items);
          return undefined;
        },
      };
      this.#decoder.visit(chunk, visitor);
      bytes += chunk.to - at;
      at = chunk.to;
    }
    const ready: Ready[] = [];
    const isAll = at >= this.#positions[shard]!;
    this.#held.release(entity);
    if (items.length > 0) {
      this.#held.hold(heldAt(items[0]!, "retry", record.since), items);
      this.#drain(entity, this.#positions, ready);
    }
    if (!isAll) {
      const blocked = this.#held.get(entity);
      // What is behind is not at hand, so nothing may be added to what is.
      if (blocked !== undefined) blocked.queue = undefined;
      else this.#held.hold({ ...record, reason: "retry", record: at, position: at, index: 0 }, undefined);
    }
    return this.#foldAndWrite(ready, [...this.#positions], 0);
  }

  #collect(
    visit: (visitor: { events(entry: FeedEntry): void; reset(reset: FeedReset): void }) => void,
    bytes: number,
    ready: Ready[],
  ): void {
    const { resets, projection } = this.#parts;
    const isSettled = this.#isSettled;
    const items: Item[] = [];
    visit({
      events: (entry) => {
        if (isSettled && isSagaEntity(entry.entity)) {
          this.#noteOutcomes(entry, ready);
          return;
        }
        if (resets !== undefined && entry.position < (resets.get(entry.entity) ?? 0)) return;
        if (projection.functionsOf(entry.aggregate) === undefined) return;
        items.length = 0;
        this.#addItems(entry, 0, bytes, items);
        for (let i = 0; i < items.length; i++) this.#admit(items[i]!, ready);
      },
      reset: (reset) => this.#noteReset(reset, ready),
    });
  }

  #addItems(entry: FeedEntry, from: number, bytes: number, items: Item[]): void {
    const functions = this.#parts.projection.functionsOf(entry.aggregate)!;
    const { id, count, record } = entry;
    const saga = this.#isSettled && id !== undefined ? (sagaOfStepId(id) ?? "") : "";
    const perEvent = Math.ceil(Math.min(bytes, entry.storedBytes) / count) + itemBytes;
    for (let i = from; i < count; i++) {
      if (!entry.wanted(i)) continue;
      let error: unknown;
      let event: Item["event"];
      try {
        event = entry.event(i);
      } catch (thrown) {
        error = thrown ?? new Error("nothing was thrown");
        event = undecoded(entry, i);
      }
      items.push({
        event,
        run: functions.get(event.type),
        record,
        bytes: perEvent,
        saga,
        keys: undefined,
        error,
        isVoid: false,
      });
    }
  }

  // Whether an event counts now, later, or never.
  #admit(item: Item, ready: Ready[]): void {
    if (this.#held.size > 0 && this.#held.waits(item)) return;
    if (item.saga === "") {
      ready.push(item);
      return;
    }
    const outcome = this.#sagas.outcomeOf(item.saga)?.outcome;
    if (outcome === "committed") ready.push(item);
    else if (outcome !== "compensated") this.#held.hold(heldAt(item, "saga", this.#parts.clock.now()), [item]);
  }

  #noteOutcomes(entry: FeedEntry, ready: Ready[]): void {
    for (let i = 0; i < entry.count; i++) {
      if (!entry.wanted(i)) continue;
      const saga = entry.entity;
      this.#sagas.settle({ saga, outcome: outcomeOf(entry.type(i), entry.payload(i)), ends: this.#ends() });
      for (const entity of this.#held.waitingFor(saga)) this.#drain(entity, this.#positions, ready);
    }
    if (this.#sagas.size <= outcomesMax) return;
    const message = `the ends of ${this.#sagas.size} sagas wait for one that has not ended: resolve those that are stuck`;
    throw new HeddleError("DOMAIN_FAILED", { where: `the projection ${this.ref.projection.name}`, message });
  }

  #noteReset(reset: FeedReset, ready: Ready[]): void {
    const { entity } = reset;
    if (isSagaEntity(entity)) {
      if (this.#isSettled) this.#sagas.settle({ saga: entity, outcome: "unknown", ends: this.#ends() });
      return;
    }
    if (entity.startsWith("$")) return;
    this.#held.release(entity);
    // What was gathered before it does not count any more, and must not fail either.
    for (const item of ready) if ("event" in item && item.event.entity === entity) item.isVoid = true;
    ready.push(reset);
  }

  // Sagas whose record was erased: their steps are decided once no compensation can come any more (G2).
  #settleUnknown(reached: readonly number[], ready: Ready[]): void {
    for (const { record } of [...this.#held.values()]) {
      if (record.reason !== "saga") continue;
      if (this.#sagas.outcomeOf(record.saga) !== undefined) this.#drain(record.entity, reached, ready);
    }
  }

  // Folds what an entity has waiting, up to the next event that has to wait.
  #drain(entity: string, reached: readonly number[], ready: Ready[]): void {
    const held = this.#held.get(entity)!;
    const { queue, record } = held;
    if (queue === undefined) {
      this.#held.hold({ ...record, reason: "retry", saga: "" }, undefined);
      return;
    }
    let at = 0;
    for (; at < queue.length; at++) {
      const verdict = this.#verdict(queue, at, reached);
      if (verdict === "waits") break;
      if (verdict === "counts") ready.push(queue[at]!);
    }
    if (at === queue.length) this.#held.release(entity);
    else if (at > 0 || record.reason !== "saga") {
      const rest = queue.slice(at);
      this.#held.hold(heldAt(rest[0]!, "saga", this.#parts.clock.now()), rest);
    }
  }

  #verdict(queue: readonly Item[], at: number, reached: readonly number[]): "counts" | "waits" | "never" {
    const { saga, event } = queue[at]!;
    if (saga === "") return "counts";
    const known = this.#sagas.outcomeOf(saga);
    if (known === undefined) return "waits";
    if (known.outcome !== "unknown") return known.outcome === "committed" ? "counts" : "never";
    const compensation = compensationOf(event.id!);
    if (event.id === compensation || queue.some((later) => later.event.id === compensation)) return "never";
    return reached[event.shard]! >= known.ends[event.shard]! ? "counts" : "waits";
  }

  #ends(): number[] {
    const { source } = this.#parts;
    return Array.from({ length: source.shardCount }, (_, shard) => source.end(shard));
  }

  async #foldAndWrite(ready: readonly Ready[], reached: number[], bytes: number): Promise<StepResult> {
    this.#batch++;
    const missing = this.#lookUp(ready);
    if (missing.length > 0) {
      const asked = this.#parts.sink.load(
        this.ref,
        missing.map(({ key }) => key),
      );
      const found = asked instanceof Promise ? await asked : asked;
      for (let i = 0; i < missing.length; i++) {
        const row = missing[i]!;
        const stored = found[i];
        if (stored === undefined) continue;
        row.row = Object.freeze(stored.row);
        row.source = stored.source;
      }
    }
    let events = 0;
    for (let i = 0; i < ready.length; i++) {
      const next = ready[i]!;
      if (!("event" in next)) this.#reset(next);
      else if (!next.isVoid && this.#fold(next)) events++;
    }
    this.#events += events;
    this.facts.events += events;
    if (this.#isSettled) this.#sagas.forget(this.#low(reached));
    const hasChanges =
      this.#changed.length + this.#erased.size + this.#held.changes.size + this.#sagas.changes.size > 0 ||
      this.#factsChanged;
    this.#unwrittenBytes += bytes;
    if (hasChanges || this.#unwrittenBytes >= unwrittenBytesMax) {
      await this.#write(reached);
      return { bytes, events, hasWritten: true };
    }
    this.#advance(reached);
    return { bytes, events, hasWritten: false };
  }

  // Makes sure that every row which may be touched is at hand. Gives those that the sink has to be asked for.
  #lookUp(ready: readonly Ready[]): CachedRow[] {
    const { projection } = this.#parts;
    const missing: CachedRow[] = [];
    if (projection.ownKey) {
      for (let i = 0; i < ready.length; i++) {
        const next = ready[i]!;
        const entity = "event" in next ? next.event.entity : next.entity;
        if (this.#rows.get(entity) === undefined) this.#miss(cachedRow(entity, [entity], entity), missing);
      }
      return missing;
    }
    for (const next of ready) {
      if (!("event" in next) || next.error !== undefined) continue;
      try {
        next.keys ??= projection.keysOf(next.event);
      } catch (thrown) {
        next.error = thrown ?? new Error("nothing was thrown");
        continue;
      }
      for (const { id, key } of next.keys) {
        if (this.#rows.get(id) === undefined) this.#miss(cachedRow(id, key, ""), missing);
      }
    }
    return missing;
  }

  #miss(row: CachedRow, missing: CachedRow[]): void {
    this.#rows.set(row);
    if (!this.#rows.hasAll) missing.push(row);
  }

  // True when it was folded; false when its entity is held.
  #fold(item: Item): boolean {
    const { event, run } = item;
    if (this.#held.errors > 0 && this.#held.get(event.entity)?.record.reason === "error") return false;
    try {
      if (item.error !== undefined) throw item.error;
      if (item.keys === undefined) this.#foldOwn(item);
      else if (item.keys.length === 1) this.#foldOne(item);
      else this.#foldMany(item);
    } catch (thrown) {
      this.#setAside(item, run === undefined ? "no function" : describeThrown(thrown));
      return false;
    }
    this.#lastTime = event.time;
    return true;
  }

  #foldOwn({ event, run }: Item): void {
    const row = this.#rows.get(event.entity)!;
    const made = this.#parts.projection.apply(run!, row.row ?? undefined, event, row.key);
    if (made !== row.row) this.#change(row, made);
  }

  #foldOne({ event, run, keys }: Item): void {
    const row = this.#rows.get(keys![0]!.id)!;
    const made = this.#parts.projection.apply(run!, row.row ?? undefined, event, row.key);
    this.#changeBy(event.entity, row, made);
  }

  // All of its rows, or none.
  #foldMany({ event, run, keys }: Item): void {
    const { projection } = this.#parts;
    const rows = keys!.map(({ id }) => this.#rows.get(id)!);
    const made = rows.map((row) => projection.apply(run!, row.row ?? undefined, event, row.key));
    for (let i = 0; i < rows.length; i++) this.#changeBy(event.entity, rows[i]!, made[i]!);
  }

  #changeBy(entity: string, row: CachedRow, made: CachedRow["row"]): void {
    if (made === row.row) return;
    if (row.row === null) row.source = entity;
    else if (row.source !== entity) {
      row.source = "";
      this.#noteShared();
    }
    this.#noteKind(entity);
    this.#change(row, made);
  }

  #change(row: CachedRow, made: CachedRow["row"]): void {
    // A function that changed what it is given would change it for whoever comes next.
    row.row = made === null ? null : Object.freeze(made);
    if (row.changedIn === this.#batch) return;
    row.changedIn = this.#batch;
    this.#changed.push(row);
  }

  #setAside(item: Item, error: string): void {
    this.#held.hold(heldAt(item, "error", this.#parts.clock.now(), error), undefined);
  }

  // Rows that come from the entity alone go. Those that others have written to have to be made anew, all of them (O3).
  #reset({ entity, shard, position }: FeedReset): void {
    this.#erasures++;
    if (this.#parts.projection.ownKey) {
      const row = this.#rows.get(entity)!;
      if (row.row !== null) this.#change(row, null);
      return;
    }
    for (const row of this.#rows.from(entity)) if (row.row !== null) this.#change(row, null);
    this.#erased.add(entity);
    const isKnown = position <= (this.#parts.resets?.get(entity) ?? -1);
    const { facts } = this;
    if (!facts.shared || isKnown || !this.#kinds.has(kindOf(entity))) return;
    if (facts.tainted[shard] !== undefined) return;
    facts.tainted[shard] = position;
    this.#factsChanged = true;
  }

  #noteShared(): void {
    if (this.facts.shared) return;
    this.facts.shared = true;
    this.#factsChanged = true;
  }

  #noteKind(entity: string): void {
    const kind = kindOf(entity);
    if (this.#kinds.has(kind)) return;
    this.#kinds.add(kind);
    this.facts.kinds.push(kind);
    this.#factsChanged = true;
  }

  // By shard: below it, all events have been folded, those of held entities included.
  #low(reached: readonly number[]): number[] {
    const low = [...reached];
    for (const { record } of this.#held.values()) low[record.shard] = Math.min(low[record.shard]!, record.record);
    return low;
  }

  async #write(reached: readonly number[]): Promise<void> {
    const { sink, writer, crashPoint } = this.#parts;
    crashPoint("projection:before-write");
    const asked = sink.write(this.ref, {
      revision: this.#revision + 1,
      writer,
      positions: reached,
      facts: JSON.stringify(this.facts),
      erased: [...this.#erased],
      rows: this.#changed,
      held: this.#held.changes,
      outcomes: this.#sagas.changes,
    });
    if (asked instanceof Promise) await asked;
    crashPoint("projection:after-write");
    this.#revision++;
    this.#unwrittenBytes = 0;
    this.#changed = [];
    this.#erased = new Set();
    this.#held.changes.clear();
    this.#sagas.changes.clear();
    this.#factsChanged = false;
    this.#advance(reached);
  }

  #advance(reached: readonly number[]): void {
    for (let shard = 0; shard < reached.length; shard++) this.#positions[shard] = reached[shard]!;
    this.#rows.trim();
  }
}

/** What an event takes in memory beside its payload. */
const itemBytes = 200;
/** What one step reads again of an entity that goes on. */
const replayBytesMax = 32 << 20;

function kindOf(entity: string): string {
  return entity.slice(0, entity.indexOf("/"));
}

function undecoded(entry: FeedEntry, index: number): Item["event"] {
  return {
    shard: entry.shard,
    position: entry.position,
    index,
    entity: entry.entity,
    seq: entry.firstSeq + index,
    time: entry.time,
    aggregate: entry.aggregate,
    type: entry.type(index),
    payload: undefined,
    metadata: undefined,
    id: entry.id,
    schemaVersion: 0,
  };
}
