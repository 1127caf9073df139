// Refold: what the rows of a projection should be, folded once more from the logs by other code than tracks run: one entry after
// the other, everything in memory, nothing held back and taken up later.
//
// Whoever asks says how far the rows are, and which entities are held there. What is decided by what comes behind that place, such
// as the end of a saga, is left out as it is left out there.
import type {
  CompiledContext,
  CompiledProjection,
  KeyedRow,
  ProjectionEvent,
  Row,
  RowFunction,
} from "@heddle/domain/internal";
import { besideFlags, type EntryView, entryFlags, type LogReader } from "@heddle/event-log/internal";
import { systemKinds } from "@heddle/kernel";
import { readU16, sagaOfStepId } from "@heddle/protocol/internal";
import { EntryDecoder, upcast } from "@heddle/shard/internal";
import type { Held } from "../sink.ts";

/** A row as it should be. */
export interface ExpectedRow extends KeyedRow {
  readonly row: Row | null;
  /** The one entity that wrote it, or empty for several. */
  readonly source: string;
  /** It was deleted in between, so its source may depend on the order between entities. */
  readonly wasDeleted: boolean;
}

export interface RefoldOptions {
  readonly domain: CompiledContext;
  readonly projection: CompiledProjection;
  /** By shard. */
  readonly logs: readonly LogReader[];
  /** By shard: events below count. */
  readonly positions: readonly number[];
  readonly held: Iterable<Held>;
  /** Told of log that was read, in bytes; each log is read twice. */
  readonly moved?: ((bytes: number) => void) | undefined;
}

export interface Refolded {
  readonly rows: ReadonlyMap<string, ExpectedRow>;
  readonly events: number;
  /** By shard: whether the position is one at which a record ends. */
  readonly atRecordEnd: readonly boolean[];
  /**
   * Entities of which the log cannot tell: an erasure has overwritten what the rows still have, because its tombstone lies behind
   * their position; or the record of a saga that changed them is erased.
   */
  readonly unsure: ReadonlySet<string>;
}

/** What has to be known before anything is folded. */
interface Ahead {
  /** By entity: position of the last tombstone or marker below the projection's position. */
  readonly resets: Map<string, number>;
  /** By the saga's entity. */
  readonly outcomes: Map<string, "committed" | "compensated" | "unknown">;
  /** `entity id` of compensations. */
  readonly undone: Set<string>;
  readonly unsure: Set<string>;
  readonly atRecordEnd: boolean[];
}

export function refold(options: RefoldOptions): Refolded {
  const ahead = lookAhead(options);
  const fold = new Fold(options, ahead);
  for (const [shard, log] of options.logs.entries()) {
    const end = options.positions[shard] ?? 0;
    const visit = (entry: EntryView): void => {
      if (entry.position < end) fold.entry(entry, shard);
    };
    scan(log, visit, (_, length) => options.moved?.(length));
  }
  return { rows: fold.rows, events: fold.events, atRecordEnd: ahead.atRecordEnd, unsure: ahead.unsure };
}

/** Visits the entries of histories. */
function scan(log: LogReader, visit: (entry: EntryView) => void, onRecord: (position: number, length: number) => void) {
  const ofHistory = (entry: EntryView): void => {
    if ((entry.flags & besideFlags) === 0) visit(entry);
  };
  log.scan(0, ofHistory, onRecord);
}

function lookAhead({ projection, logs, positions, moved, domain }: RefoldOptions): Ahead {
  const ahead: Ahead = {
    resets: new Map(),
    outcomes: new Map(),
    undone: new Set(),
    unsure: new Set(),
    atRecordEnd: [],
  };
  const decoder = new EntryDecoder();
  const isSettled = projection.sagas === "settled";
  for (const [shard, log] of logs.entries()) {
    const limit = positions[shard] ?? 0;
    let met = limit === 0;
    const visit = (entry: EntryView): void => {
      const isReset = (entry.flags & (entryFlags.tombstone | entryFlags.restored)) !== 0;
      const isErased = (entry.flags & entryFlags.erased) !== 0;
      if (isErased || (!isReset && !isSettled)) return;
      const { entity, id } = decoder.open(entry);
      const isBelow = entry.position < limit;
      if (isReset && isBelow) ahead.resets.set(entity, entry.position);
      if (isReset && !isBelow && (entry.flags & entryFlags.tombstone) !== 0) ahead.unsure.add(entity);
      if (!isSettled || !isBelow) return;
      if (isReset && isSaga(entity)) ahead.outcomes.set(entity, "unknown");
      else if (isSaga(entity)) noteOutcome(ahead, entity, entry, decoder, domain);
      else if (id.endsWith(":c") && sagaOfStepId(id) !== undefined) ahead.undone.add(`${entity} ${id}`);
    };
    scan(log, visit, (position, length) => {
      if (position + length === limit) met = true;
      moved?.(length);
    });
    ahead.atRecordEnd[shard] = met;
  }
  return ahead;
}

function isSaga(entity: string): boolean {
  return entity.startsWith(`${systemKinds.saga}/`);
}

function noteOutcome(
  { outcomes }: Ahead,
  entity: string,
  entry: EntryView,
  decoder: EntryDecoder,
  domain: CompiledContext,
): void {
  for (const { type, payload } of decoder.events(entry, domain)) {
    if (type === "Committed") outcomes.set(entity, "committed");
    if (type === "Compensated") outcomes.set(entity, "compensated");
    if (type !== "Resolved") continue;
    outcomes.set(entity, (payload as { as: string }).as === "COMMITTED" ? "committed" : "compensated");
  }
}

interface Mutable {
  row: Row | null;
  source: string;
  wasDeleted: boolean;
  readonly id: string;
  readonly key: ExpectedRow["key"];
}

class Fold {
  readonly rows = new Map<string, Mutable>();
  events = 0;
  readonly #options: RefoldOptions;
  readonly #ahead: Ahead;
  readonly #held: ReadonlyMap<string, Held>;
  /** Entities that wait for a saga which has not ended. */
  readonly #waiting = new Set<string>();
  readonly #decoder = new EntryDecoder();

  constructor(options: RefoldOptions, ahead: Ahead) {
    this.#options = options;
    this.#ahead = ahead;
    this.#held = new Map([...options.held].map((held) => [held.entity, held]));
  }

  entry(entry: EntryView, shard: number): void {
    if ((entry.flags & (entryFlags.erased | entryFlags.tombstone | entryFlags.restored)) !== 0) return;
    const { domain, projection } = this.#options;
    const view = this.#decoder.open(entry);
    const functions = projection.functionsOf(view.aggregate);
    const { entity, aggregate } = view;
    if (functions === undefined || entity.startsWith("$")) return;
    if (entry.position < (this.#ahead.resets.get(entity) ?? 0)) return;
    const compiled = domain.aggregates.get(aggregate);
    const id = view.id === "" ? undefined : view.id;
    let payloads: unknown[] | undefined;
    for (let i = 0; i < entry.eventCount; i++) {
      const typeIndex = view.typeIndexes === 0 ? 0 : entry.bytes[view.typeIndexes + i]!;
      const type = view.types[typeIndex]!;
      const run = functions.get(type);
      if (run === undefined) continue;
      if (!this.#counts(entity, id, shard, entry.position, i)) continue;
      payloads ??= this.#decoder.payloads(entry);
      const version = readU16(entry.bytes, view.versionOffsets[typeIndex]!);
      const event = compiled?.events.get(type);
      const metadata = this.#decoder.metadata(entry);
      const facts = { entity, aggregate, type, seq: entry.firstSeq + i, time: entry.time, metadata, id };
      const stored = payloads[i];
      try {
        const payload = event === undefined ? stored : upcast(event, stored, version, aggregate);
        this.#apply(run, { ...facts, payload });
      } catch {
        // It failed in the track, too: it is held there, or an operator had it left out.
      }
    }
  }

  #counts(entity: string, id: string | undefined, shard: number, position: number, index: number): boolean {
    const held = this.#held.get(entity);
    if (held !== undefined && held.shard === shard) {
      if (position > held.position || (position === held.position && index >= held.index)) return false;
    }
    if (this.#options.projection.sagas !== "settled") return true;
    if (this.#waiting.has(entity)) return false;
    const saga = id === undefined ? undefined : sagaOfStepId(id);
    if (saga === undefined) return true;
    const outcome = this.#ahead.outcomes.get(saga);
    const { unsure } = this.#ahead;
    // Its end was overwritten, and its tombstone has not been read there: it may have counted, and may not.
    const isOverwritten = outcome === undefined && unsure.has(saga);
    if (outcome === undefined && !isOverwritten) this.#waiting.add(entity);
    if (outcome !== "unknown" && !isOverwritten) return outcome === "committed";
    unsure.add(entity);
    return id!.endsWith(":f") && !this.#ahead.undone.has(`${entity} ${id!.slice(0, -1)}c`);
  }

  // All of its rows, or none.
  #apply(run: RowFunction, event: ProjectionEvent): void {
    const { projection } = this.#options;
    const keys = projection.keysOf(event);
    const made = keys.map(({ id, key }) => projection.apply(run, this.rows.get(id)?.row ?? undefined, event, key));
    for (const [i, { id, key }] of keys.entries()) {
      const row = made[i]!;
      const before = this.rows.get(id) ?? { id, key, row: null, source: "", wasDeleted: false };
      if (row === before.row) continue;
      if (before.row === null) before.source = event.entity;
      else if (before.source !== event.entity) before.source = "";
      before.row = row === null ? null : Object.freeze(row);
      if (row === null) before.wasDeleted = true;
      this.rows.set(id, before);
    }
    this.events++;
  }
}
