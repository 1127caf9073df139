// Moments: every operation that took place, with its place in the history of each entity.
//
// The stored histories give the order; markers say whose events stand where. Along the way everything is reported that is
// wrong with the store itself.
import { invariant } from "@heddle/kernel/internal";
import type {
  AtomicOperation,
  History,
  HistoryEvent,
  HistoryOperation,
  HistoryRead,
  HistoryWrite,
  SagaOperation,
} from "./history.ts";
import type { ReportFault } from "./history-fault.ts";

/** Versions of one entity. Version n is what it is after its first n events. */
export interface Versions {
  readonly entity: string;
  readonly events: readonly HistoryEvent[];
  /** By event: the moment that wrote it. Undefined for what nobody sent. */
  readonly writers: (Moment | undefined)[];
}

/** What a moment wrote to one entity: from the version before `first` to `last`. */
export interface Span {
  readonly versions: Versions;
  readonly first: number;
  readonly last: number;
}

export interface Seen {
  readonly versions: Versions;
  readonly seq: number;
}

/** Something that happened at one moment between its start and its end. */
export interface Moment {
  readonly index: number;
  readonly operation: HistoryOperation;
  /** Of a saga's step: which, and whether it was the undoing. */
  readonly step: { readonly index: number; readonly isBack: boolean } | undefined;
  readonly start: number;
  readonly end: number;
  readonly seen: readonly Seen[];
  readonly spans: readonly Span[];
}

export interface FoundMoments {
  readonly moments: readonly Moment[];
  /** Where each marker stands. */
  readonly places: ReadonlyMap<string, Place>;
  /** Of entities that have no events as well, once they were read. */
  versionsOf(entity: string): Versions;
  /** How many of these events are there, in their entity. */
  countThere(entity: string, events: readonly HistoryEvent[]): number;
}

export interface Place {
  readonly versions: Versions;
  readonly seq: number;
}

export function findMoments(history: History, report: ReportFault): FoundMoments {
  const finder = new MomentFinder(history, report);
  finder.run(history);
  return finder;
}

class MomentFinder implements FoundMoments {
  readonly moments: Moment[] = [];
  readonly places = new Map<string, Place>();
  readonly #report: ReportFault;
  readonly #versions = new Map<string, Versions>();
  readonly #claims = new Map<string, HistoryOperation>();

  constructor(history: History, report: ReportFault) {
    this.#report = report;
    for (const { entity, events } of history.stored) {
      invariant(!this.#versions.has(entity), "history/entity stored once", { entity });
      const versions: Versions = { entity, events, writers: new Array<undefined>(events.length).fill(undefined) };
      this.#versions.set(entity, versions);
      for (const [i, { marker }] of events.entries()) this.#addPlace(marker, { versions, seq: i + 1 });
    }
  }

  run(history: History): void {
    for (const operation of history.operations) {
      invariant(operation.end >= operation.start, "history/end after start", { operation });
      if (operation.kind === "saga") this.#addSaga(operation);
      else this.#addAtomic(operation);
    }
    for (const { entity, events, writers } of this.#versions.values()) {
      for (const [i, { marker }] of events.entries()) {
        if (writers[i] !== undefined || this.#claims.has(marker)) continue;
        this.#report("invented", `${entity} has ${marker} at ${i + 1}, which nobody sent`);
      }
    }
  }

  versionsOf(entity: string): Versions {
    let versions = this.#versions.get(entity);
    if (versions === undefined) {
      versions = { entity, events: [], writers: [] };
      this.#versions.set(entity, versions);
    }
    return versions;
  }

  countThere(entity: string, events: readonly HistoryEvent[]): number {
    let there = 0;
    for (const { marker } of events) if (this.places.get(marker)?.versions.entity === entity) there++;
    return there;
  }

  #addPlace(marker: string, place: Place): void {
    const other = this.places.get(marker);
    if (other === undefined) this.places.set(marker, place);
    else {
      const [first, second] = [nameOf(other), nameOf(place)];
      this.#report("duplicate", `${marker} is there twice: ${first} and ${second}`);
    }
  }

  #addAtomic(operation: AtomicOperation): void {
    const { start, end, outcome, writes } = operation;
    const name = describeOperation(operation);
    for (const write of writes) this.#claim(operation, write.events);
    const isRefused = outcome === "rejected" || outcome === "failed";
    const spans: Span[] = [];
    let missing = "";
    for (const write of writes) {
      if (write.events.length === 0) continue;
      const span = this.#place(operation, write.entity, write.events, name);
      if (span === undefined) missing ||= write.entity;
      else if (isRefused) {
        this.#report("invented", `${name} was refused, its events are there: ${nameOfSpan(span)}`, operation);
      } else {
        spans.push(span);
        this.#checkReceipt(operation, write, span, name);
      }
      if (span === undefined && outcome === "ok") {
        this.#report("lost", `${name} was acknowledged, its events are not in ${write.entity}`, operation);
      }
    }
    if (missing !== "" && spans.length > 0 && outcome !== "ok") {
      const there = spans.map(nameOfSpan).join(", ");
      this.#report("torn", `${name}: a half of it is there, ${there}; nothing in ${missing}`, operation);
    }
    const seen = outcome === "ok" || outcome === "rejected" ? this.#seenBy(operation.reads) : [];
    if (spans.length === 0 && seen.length === 0) return;
    this.#addMoment({ operation, step: undefined, start, end, seen, spans: this.#join(operation, spans, name) });
  }

  #addSaga(operation: SagaOperation): void {
    const { steps, start, outcome } = operation;
    const isOver = outcome === "committed" || outcome === "compensated";
    for (const [index, { entity, forward, back, state }] of steps.entries()) {
      for (const isBack of [false, true]) {
        const events = isBack ? (back ?? []) : forward;
        this.#claim(operation, events);
        if (events.length === 0) continue;
        const step = { index, isBack };
        const span = this.#place(operation, entity, events, describeStep(operation, step));
        if (span === undefined) continue;
        const isKnown = isOver || (!isBack && (state === "done" || state === "stuck"));
        const end = isKnown ? operation.end : Infinity;
        this.#addMoment({ operation, step, start, end, seen: [], spans: [span] });
      }
    }
  }

  #addMoment(found: Omit<Moment, "index">): void {
    const moment: Moment = { index: this.moments.length, ...found };
    this.moments.push(moment);
    for (const { versions, first, last } of moment.spans) {
      for (let seq = first; seq <= last; seq++) versions.writers[seq - 1] ??= moment;
    }
  }

  #claim(operation: HistoryOperation, events: readonly HistoryEvent[]): void {
    for (const { marker } of events) {
      invariant(!this.#claims.has(marker), "history/marker sent once", { marker });
      this.#claims.set(marker, operation);
    }
  }

  /** Where the events of one append are; undefined for nowhere. What is wrong with how they lie is reported. */
  #place(operation: HistoryOperation, entity: string, events: readonly HistoryEvent[], name: string): Span | undefined {
    let [first, last, there] = [Infinity, 0, 0];
    for (const [i, event] of events.entries()) {
      const place = this.places.get(event.marker);
      if (place === undefined) continue;
      if (place.versions.entity !== entity) {
        this.#report("invented", `${event.marker} of ${name} was sent to ${entity}, it is ${nameOf(place)}`, operation);
        continue;
      }
      there++;
      if (there > 1 && place.seq !== first + i) {
        this.#report("torn", `${name}: ${event.marker} is ${nameOf(place)}, not beside the event before it`, operation);
      }
      first = Math.min(first, place.seq);
      last = Math.max(last, place.seq);
      const stored = place.versions.events[place.seq - 1]!;
      if (!isSameValue(event.value, stored.value)) {
        const [found, sent] = [JSON.stringify(stored.value), JSON.stringify(event.value)];
        this.#report("altered", `${event.marker} of ${name} is ${found}, sent was ${sent}`, operation);
      }
    }
    if (there === 0) return undefined;
    if (there < events.length) {
      this.#report("torn", `${name}: ${there} of its ${events.length} events are in ${entity}`, operation);
    }
    return { versions: this.versionsOf(entity), first, last };
  }

  #checkReceipt(operation: AtomicOperation, { firstSeq, expectedSeq }: HistoryWrite, span: Span, name: string): void {
    if (firstSeq !== undefined && firstSeq !== span.first) {
      this.#report("misplaced", `${name}: its receipt says ${firstSeq}, it is ${nameOfSpan(span)}`, operation);
    }
    if (expectedSeq !== undefined && expectedSeq !== span.first - 1) {
      this.#report("condition", `${name} was to follow ${expectedSeq}, it is ${nameOfSpan(span)}`, operation);
    }
  }

  /** Several writes of one operation to one entity lie side by side, as if they were one. */
  #join(operation: AtomicOperation, spans: readonly Span[], name: string): readonly Span[] {
    if (spans.length < 2) return spans;
    const joined = new Map<Versions, Span>();
    for (const span of [...spans].sort((a, b) => a.first - b.first)) {
      const before = joined.get(span.versions);
      if (before !== undefined && before.last + 1 !== span.first) {
        const [one, other] = [nameOfSpan(before), nameOfSpan(span)];
        this.#report("torn", `${name}: something stands between ${one} and ${other}`, operation);
      }
      joined.set(span.versions, before === undefined ? span : { ...before, last: Math.max(before.last, span.last) });
    }
    return [...joined.values()];
  }

  #seenBy(reads: readonly HistoryRead[]): Seen[] {
    const seen: Seen[] = [];
    for (const { entity, seq, past } of reads) {
      if (past !== true) seen.push({ versions: this.versionsOf(entity), seq });
    }
    return seen;
  }
}

function isSameValue(sent: unknown, stored: unknown): boolean {
  return (
    sent === undefined || stored === undefined || sent === stored || JSON.stringify(sent) === JSON.stringify(stored)
  );
}

// ——— names, for messages

export function describeMoment({ operation, step }: Moment): string {
  return step === undefined || operation.kind !== "saga" ? describeOperation(operation) : describeStep(operation, step);
}

/** Who, what and when; and what it read and wrote, as far as that is short. */
export function describeOperation(operation: HistoryOperation): string {
  const { client, kind, start, end } = operation;
  const when = `${start}–${end === Infinity ? "?" : end}`;
  if (operation.kind === "saga") return `saga ${operation.saga} of ${client} [${when}]`;
  const reads = operation.reads.map(({ entity, seq }) => `${entity}@${seq}`);
  const writes = operation.writes.map(
    ({ entity, events }) =>
      `${entity}+${events.length > 1 ? `${events[0]!.marker}…(${events.length})` : (events[0]?.marker ?? "nothing")}`,
  );
  const parts = [...reads, ...writes];
  const shown = parts.length > 6 ? [...parts.slice(0, 6), `and ${parts.length - 6} more`] : parts;
  return `${kind} of ${client} [${when}] (${shown.join(", ")})`;
}

function describeStep(saga: SagaOperation, { index, isBack }: NonNullable<Moment["step"]>): string {
  return `${isBack ? "compensation of " : ""}step ${index} (${saga.steps[index]!.entity}) of ${describeOperation(saga)}`;
}

function nameOf({ versions, seq }: Place): string {
  return `in ${versions.entity} at ${seq}`;
}

export function nameOfSpan({ versions, first, last }: Span): string {
  return first === last ? `in ${versions.entity} at ${first}` : `in ${versions.entity} at ${first} to ${last}`;
}
