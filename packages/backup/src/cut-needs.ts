// CutNeeds: what entries that go into a backup need of the logs of other shards.
//
//   a decision about a transaction    what other shards had prepared for it, at the positions that its results name; and of
//                                     earlier ones that it notes as settled, what other shards have applied
//   an applied entry                  the decision, on the shard that it names
//   an event of a saga                the steps and compensations that it records as done, by their receipts
//   a step, a compensation            that the saga's record begins, that it turns back
//
// All of these were durable before whatever needs them was written.
import { type EntryView, entryFlags, type LogReader } from "@heddle/event-log/internal";
import { parseAnyEntityId, shardOf, systemKinds } from "@heddle/kernel";
import {
  type AppendView,
  decodeValue,
  newAppendView,
  readAppendBody,
  sagaOfStepId,
  TextCache,
} from "@heddle/protocol/internal";

/** The parts of payloads that name entries of other shards: log-format.md. */
interface Facts {
  readonly number?: number;
  readonly settled?: readonly [from: number, below: number];
  readonly results?: readonly Receipt[];
  readonly numbers?: readonly number[];
  readonly outcomes?: readonly (readonly [state: number, receipt: Receipt | null, compensation: Receipt | null])[];
}

/** [sequence, first sequence, events, shard, position, time]. */
type Receipt = readonly number[];

const sagaPrefix = `${systemKinds.saga}/`;

export class CutNeeds {
  readonly #shardCount: number;
  /** By shard. */
  readonly #positions: Set<number>[];
  /** By deciding shard, the numbers of transactions. */
  readonly #decisions: Set<number>[];
  /** By deciding shard, ranges of numbers: where each begins, and below what it ends. */
  readonly #settled: Map<number, number>[];
  /** By shard, what sagas have recorded: `recordOf`. */
  readonly #records: Set<string>[];
  readonly #texts = new TextCache();
  readonly #view = newAppendView();

  constructor(shardCount: number) {
    const each = <T>(make: () => T): T[] => Array.from({ length: shardCount }, make);
    this.#shardCount = shardCount;
    this.#positions = each(() => new Set());
    this.#decisions = each(() => new Set());
    this.#settled = each(() => new Map());
    this.#records = each(() => new Set());
  }

  /** Takes in what an entry of a shard needs that goes into the backup. */
  note(entry: EntryView, shard: number, log: LogReader): void {
    const { flags } = entry;
    if ((flags & entryFlags.applied) !== 0) {
      const { coordinator, number } = pendingOf(entry, log);
      this.#decisions[coordinator]?.add(number);
    }
    if ((flags & (entryFlags.erased | entryFlags.pending)) !== 0) return;
    const { entity, id } = this.#open(entry);
    if ((flags & entryFlags.journal) !== 0 || entity.startsWith(sagaPrefix)) {
      for (const facts of this.#facts(entry)) this.#noteFacts(facts, shard);
      return;
    }
    const saga = sagaOfStepId(id);
    if (saga === undefined) return;
    const record = recordOf(saga, id.endsWith(":f") ? "Started" : "CompensationBegan");
    const place = shardOfSaga(saga, this.#shardCount);
    if (place !== undefined && place !== shard) this.#records[place]!.add(record);
  }

  /** Whether anything that is needed could lie on a shard. */
  mayLieOn(shard: number): boolean {
    const isNoted = this.#positions[shard]!.size + this.#decisions[shard]!.size + this.#records[shard]!.size > 0;
    return isNoted || this.#settled.some(({ size }, coordinator) => size > 0 && coordinator !== shard);
  }

  /** Whether an entry is one of those that are needed. */
  names(entry: EntryView, shard: number, log: LogReader): boolean {
    const { flags, position } = entry;
    if (this.#positions[shard]!.has(position)) return true;
    if ((flags & entryFlags.applied) !== 0) {
      const { coordinator, number } = pendingOf(entry, log);
      for (const [from, below] of this.#settled[coordinator] ?? []) if (number >= from && number < below) return true;
    }
    if ((flags & (entryFlags.erased | entryFlags.pending)) !== 0) return false;
    if ((flags & entryFlags.journal) !== 0) {
      if (this.#decisions[shard]!.size === 0) return false;
      this.#open(entry);
      return this.#facts(entry).some(({ number = 0 }) => this.#decisions[shard]!.has(number));
    }
    if (this.#records[shard]!.size === 0) return false;
    const { entity, types, typeCount } = this.#open(entry);
    if (!entity.startsWith(sagaPrefix)) return false;
    for (let i = 0; i < typeCount; i++) if (this.#records[shard]!.has(recordOf(entity, types[i]!))) return true;
    return false;
  }

  #noteFacts({ results = [], settled, numbers = [], outcomes = [] }: Facts, shard: number): void {
    for (const result of results) this.#noteReceipt(result, shard);
    for (const [, receipt, compensation] of outcomes) {
      this.#noteReceipt(receipt, shard);
      this.#noteReceipt(compensation, shard);
    }
    const ranges = this.#settled[shard]!;
    const noteRange = (from: number, below: number) => ranges.set(from, Math.max(below, ranges.get(from) ?? 0));
    if (settled !== undefined && settled[0] < settled[1]) noteRange(settled[0], settled[1]);
    for (const number of numbers) noteRange(number, number + 1);
  }

  #noteReceipt(receipt: Receipt | null, shard: number): void {
    if (receipt !== null && receipt[3] !== shard) this.#positions[receipt[3]!]?.add(receipt[4]!);
  }

  #open(entry: EntryView): AppendView {
    readAppendBody(entry.bytes, entry.bodyFrom, entry.bodyTo, this.#texts, this.#view);
    return this.#view;
  }

  /** What the events say of the entry that was opened last. */
  #facts({ bytes }: EntryView): readonly Facts[] {
    return decodeValue(bytes.subarray(this.#view.payloadsFrom, this.#view.end)) as Facts[];
  }
}

/** The transaction of an applied entry: the pending one names it. */
function pendingOf({ call }: EntryView, log: LogReader): { readonly coordinator: number; readonly number: number } {
  const pending = log.read(call);
  return { coordinator: pending.session - 1, number: pending.call };
}

function recordOf(saga: string, type: string): string {
  return `${type} ${saga}`;
}

// Whoever names appends like steps of a saga that cannot be means none.
function shardOfSaga(saga: string, shardCount: number): number | undefined {
  try {
    return shardOf(parseAnyEntityId(saga), shardCount);
  } catch {
    return undefined;
  }
}
