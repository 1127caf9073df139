// RehearsalReport: what the slices of a rehearsal found, put together, and what only all of them together can tell.
import type { CompiledContext } from "@heddle/domain/internal";
import type {
  EntityDifference,
  FaultCount,
  NotCompared,
  RefusedType,
  RehearsalFault,
  SliceRehearsal,
} from "./slice-rehearsal.ts";

export interface RehearsalFindings {
  /** `broken`: events cannot be read, do not fit, or break rules; `differs`: only states are other ones. */
  readonly verdict: "same" | "differs" | "broken";
  readonly against: "module" | "snapshots";
  readonly entities: number;
  readonly entries: number;
  readonly events: number;
  readonly compared: number;
  /** Those of them that were compared at an earlier sequence than their last, where their snapshot stands. */
  readonly comparedEarlier: number;
  readonly notCompared: NotCompared;
  /** Entities whose state would be another. */
  readonly differing: number;
  readonly differences: readonly EntityDifference[];
  /** In the order of the shards and of their logs. */
  readonly faults: readonly RehearsalFault[];
  /** Events that faults concern. */
  readonly faultyEvents: number;
  /** All faults, by what they are about, the most first. */
  readonly faultCounts: readonly FaultCount[];
  /** What could not be checked, and why; none of it is a fault. */
  readonly notes: readonly string[];
}

/** `present` is undefined where states were compared with snapshots. */
export function joinRehearsals(
  slices: readonly SliceRehearsal[],
  next: CompiledContext,
  present: CompiledContext | undefined,
  toldMax: number,
): RehearsalFindings {
  const sum = (pick: (slice: SliceRehearsal) => number) => slices.reduce((all, slice) => all + pick(slice), 0);
  const judged = judgeRefused(slices.flatMap((slice) => slice.refused));
  const faultCounts = joinCounts([...slices.flatMap((slice) => slice.faultCounts), ...judged.counts]);
  const faultyEvents = faultCounts.reduce((all, { events }) => all + events, 0);
  const differing = sum((slice) => slice.differing);
  return {
    verdict: faultyEvents > 0 ? "broken" : differing > 0 ? "differs" : "same",
    against: present === undefined ? "snapshots" : "module",
    entities: sum((slice) => slice.entities),
    entries: sum((slice) => slice.entries),
    events: sum((slice) => slice.events),
    compared: sum((slice) => slice.compared),
    comparedEarlier: sum((slice) => slice.comparedEarlier),
    notCompared: {
      noSnapshot: sum((slice) => slice.notCompared.noSnapshot),
      misplaced: sum((slice) => slice.notCompared.misplaced),
      erased: sum((slice) => slice.notCompared.erased),
      unfoldable: sum((slice) => slice.notCompared.unfoldable),
    },
    differing,
    differences: slices.flatMap((slice) => slice.differences).slice(0, toldMax),
    faults: [...slices.flatMap((slice) => slice.faults), ...judged.faults].sort(inLogOrder).slice(0, toldMax),
    faultyEvents,
    faultCounts,
    notes: [...judged.notes, ...notesOfAggregates(next, present)],
  };
}

// A schema that makes something else of what it takes would refuse all that it made. So a type of which nothing fits is no
// fault if something shows that its schema does so; without that it is one, since the new schema may just refuse it all.
function judgeRefused(met: readonly RefusedType[]): {
  faults: RehearsalFault[];
  counts: FaultCount[];
  notes: string[];
} {
  const faults: RehearsalFault[] = [];
  const counts: FaultCount[] = [];
  const notes: string[] = [];
  for (const [name, parts] of Map.groupBy(met, (type) => type.name)) {
    const events = parts.reduce((all, part) => all + part.events, 0);
    let unchecked = parts.reduce((all, part) => all + part.unchecked, 0);
    const makesOther = parts.some((part) => part.transformed) && !parts.some((part) => part.taken);
    if (makesOther) unchecked += events;
    else if (events > 0) {
      faults.push(...parts.flatMap((part) => part.faults));
      counts.push({ rule: "domain/payload", name, events });
    }
    if (unchecked > 0) {
      notes.push(
        `${name}: ${unchecked} payloads could not be checked, because its schema takes none that it made itself`,
      );
    }
  }
  return { faults, counts, notes };
}

function inLogOrder(a: RehearsalFault, b: RehearsalFault): number {
  return a.shard - b.shard || a.position - b.position || a.seq - b.seq;
}

function joinCounts(counts: readonly FaultCount[]): FaultCount[] {
  return Array.from(Map.groupBy(counts, ({ rule, name }) => `${rule} ${name}`).values(), (same) => ({
    rule: same[0]!.rule,
    name: same[0]!.name,
    events: same.reduce((all, { events }) => all + events, 0),
  })).toSorted((a, b) => b.events - a.events);
}

function notesOfAggregates(next: CompiledContext, present: CompiledContext | undefined): string[] {
  if (present === undefined) return [];
  const added = next.aggregateNames.filter((name) => !present.aggregates.has(name));
  const removed = present.aggregateNames.filter((name) => !next.aggregates.has(name));
  return [
    ...added.map((name) => `${name} is new: there is no present state to compare it with`),
    ...removed.map((name) => `${name} is not in the new module: its states are not compared`),
  ];
}
