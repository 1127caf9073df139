// Random histories: what really happened one after the other always passes, and what is spoilt in one place is found.
//
// Each way of spoiling is something that a store or a node could do; it looks for a place where it is surely wrong, which a
// short history may not have. How often there was one is counted, so that no way is spoilt in vain.
import type { Random } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../seeded-random.ts";
import { checkHistory, describeHistoryFaults } from "./check-history.ts";
import type { AtomicOperation } from "./history.ts";
import type { HistoryRule } from "./history-fault.ts";
import { accounts, type Mutable, type SpoilableHistory, serialRun } from "./serial-run.spec-support.ts";

const check = (history: SpoilableHistory) => checkHistory(history, { model: accounts });

function randomRun(seed: number, operations = 120): SpoilableHistory {
  const random = seededRandom(seed);
  return serialRun({
    random,
    operations,
    entities: 4 + (random.safeInteger() % 5),
    overlap: 1 + (random.safeInteger() % 12),
  });
}

type Atomic = Mutable<AtomicOperation>;

const atomics = ({ operations }: SpoilableHistory): Atomic[] => operations.filter((one) => one.kind !== "saga");

const eventsOf = ({ stored }: SpoilableHistory, entity: string) => stored.find((one) => one.entity === entity)!.events;

function pick<T>(list: readonly T[], random: Random): T | undefined {
  return list[random.safeInteger() % Math.max(1, list.length)];
}

/** Spoils a history in one place, and says by which rules that may be found. Undefined: there was no place for it. */
type Spoil = (history: SpoilableHistory, random: Random) => readonly HistoryRule[] | undefined;

const spoils: Record<string, Spoil> = {
  "an acknowledged write is gone": (history, random) => {
    const one = pick(
      atomics(history).filter(({ outcome, writes }) => outcome === "ok" && writes.length > 0),
      random,
    );
    if (one === undefined) return undefined;
    const write = one.writes[0]!;
    const events = eventsOf(history, write.entity);
    events.splice(write.firstSeq! - 1, write.events.length);
    return ["lost"];
  },
  "the last event of an append is gone": (history, random) => {
    const long = (one: Atomic) => one.outcome === "ok" && one.writes.some(({ events }) => events.length > 1);
    const one = pick(atomics(history).filter(long), random);
    if (one === undefined) return undefined;
    const { entity, firstSeq, events } = one.writes.find((write) => write.events.length > 1)!;
    eventsOf(history, entity).splice(firstSeq! - 1 + events.length - 1, 1);
    return ["torn"];
  },
  "a half of an unanswered transaction is there": (history, random) => {
    const events = (entity: string) => eventsOf(history, entity);
    const isThere = ({ writes, outcome }: Atomic) =>
      outcome === "unknown" && events(writes[0]!.entity).some(({ marker }) => marker === writes[0]!.events[0]!.marker);
    const one = pick(
      atomics(history).filter((other) => isThere(other)),
      random,
    );
    if (one === undefined) return undefined;
    const { entity, events: written } = one.writes[0]!;
    const at = events(entity).findIndex(({ marker }) => marker === written[0]!.marker);
    events(entity).splice(at, written.length);
    return ["torn"];
  },
  "an event is there twice": (history, random) => {
    const { events } = pick(history.stored, random)!;
    const event = pick(events, random);
    if (event === undefined) return undefined;
    events.push({ ...event });
    return ["duplicate"];
  },
  "an event is there that nobody sent": (history, random) => {
    pick(history.stored, random)!.events.push({ marker: "nobody's", value: 1 });
    return ["invented"];
  },
  "a refused append is there": (history, random) => {
    const isRefused = ({ outcome }: Atomic) => outcome === "rejected" || outcome === "failed";
    const one = pick(atomics(history).filter(isRefused), random);
    if (one === undefined) return undefined;
    eventsOf(history, one.writes[0]!.entity).push(...one.writes[0]!.events);
    return ["invented"];
  },
  "an amount is another": (history, random) => {
    const event = pick(pick(history.stored, random)!.events, random);
    if (event === undefined) return undefined;
    event.value = (event.value as number) + 1;
    return ["altered"];
  },
  "two acknowledged appends have changed places": (history, random) => {
    const wrote = ({ outcome, writes }: Atomic) => outcome === "ok" && writes.length > 0;
    const one = pick(atomics(history).filter(wrote), random);
    if (one === undefined) return undefined;
    const { entity, firstSeq, events: written } = one.writes[0]!;
    const events = eventsOf(history, entity);
    if (firstSeq! + written.length > events.length) return undefined;
    const [next] = events.splice(firstSeq! - 1 + written.length, 1);
    events.splice(firstSeq! - 1, 0, next!);
    return ["misplaced", "torn"];
  },
  "a reader is given a sum that never was": (history, random) => {
    const one = pick(
      atomics(history).filter(({ outcome, reads }) => outcome === "ok" && reads.length > 0),
      random,
    );
    if (one === undefined) return undefined;
    const read = pick(one.reads, random)!;
    read.state = { ...(read.state as object), sum: -1 };
    return ["wrong read"];
  },
  "a reader is given what is not there yet": (history, random) => {
    const one = pick(
      atomics(history).filter(({ outcome, reads }) => outcome === "ok" && reads.length > 0),
      random,
    );
    if (one === undefined) return undefined;
    const read = pick(one.reads, random)!;
    read.seq = eventsOf(history, read.entity).length + 1;
    return ["dirty read"];
  },
  "a reader is given what was overwritten before it began": (history, random) => {
    const all = atomics(history);
    const readers = all.filter(({ kind, reads }) => kind === "get" && reads.length === 1);
    for (const one of shuffle(readers, random)) {
      const read = one.reads[0]!;
      for (const other of all) {
        const write = other.writes.find(({ entity }) => entity === read.entity);
        if (other.outcome !== "ok" || write === undefined || other.end >= one.start) continue;
        delete read.state;
        delete read.markers;
        read.seq = write.firstSeq! - 1;
        return ["stale"];
      }
    }
    return undefined;
  },
  "a reader is given one account before a transfer and one after it": (history, random) => {
    for (const one of shuffle(atomics(history), random)) {
      if (one.kind !== "transaction" || one.outcome !== "ok") continue;
      const [debit, credit] = one.writes;
      const reads = [
        { entity: debit!.entity, seq: debit!.firstSeq! - 1 + debit!.events.length },
        { entity: credit!.entity, seq: credit!.firstSeq! - 1 },
      ];
      history.operations.push({ kind: "get", client: "c", start: 0, end: Infinity, outcome: "ok", reads, writes: [] });
      return ["half seen"];
    }
    return undefined;
  },
  "a transaction has not seen the one before it": (history, random) => {
    const both = ({ kind, outcome }: Atomic) => kind === "transaction" && outcome === "ok";
    for (const one of shuffle(atomics(history).filter(both), random)) {
      const read = one.reads[0]!;
      const before = atomics(history).find(
        ({ outcome, writes }) =>
          outcome === "ok" &&
          writes.some(
            ({ entity, firstSeq, events }) => entity === read.entity && firstSeq! + events.length - 1 === read.seq,
          ),
      );
      const write = before?.writes.find(({ entity }) => entity === read.entity);
      if (write === undefined) continue;
      delete read.state;
      delete read.markers;
      read.seq = write.firstSeq! - 1;
      return ["lost update"];
    }
    return undefined;
  },
  "two transactions have not seen each other": (history) => {
    // At the end, on accounts of their own.
    const write = (entity: string) => ({ entity, events: [{ marker: entity, value: 1 }], firstSeq: 1 });
    const reads = [
      { entity: "skew/x", seq: 0 },
      { entity: "skew/y", seq: 0 },
    ];
    for (const entity of ["skew/x", "skew/y"]) {
      history.stored.push({ entity, events: [{ marker: entity, value: 1 }] });
      const [start, end, writes] = [0, Infinity, [write(entity)]];
      history.operations.push({ kind: "transaction", client: "c", start, end, outcome: "ok", reads, writes });
    }
    return ["write skew"];
  },
  "a committed saga lacks a step": (history, random) => {
    const sagas = history.operations.filter((one) => one.kind === "saga" && one.outcome === "committed");
    const saga = pick(sagas, random);
    if (saga?.kind !== "saga") return undefined;
    const { entity, forward } = pick(saga.steps, random)!;
    const events = eventsOf(history, entity);
    events.splice(
      events.findIndex(({ marker }) => marker === forward[0]!.marker),
      forward.length,
    );
    return ["saga"];
  },
  "a compensated saga has compensated what did not happen": (history, random) => {
    const sagas = history.operations.filter((one) => one.kind === "saga" && one.outcome === "compensated");
    const saga = pick(sagas, random);
    if (saga?.kind !== "saga") return undefined;
    const { entity, back } = saga.steps[1]!;
    eventsOf(history, entity).push(...back!);
    return ["saga"];
  },
};

function shuffle<T>(list: readonly T[], random: Random): T[] {
  return list
    .map((item) => ({ item, place: random.safeInteger() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

describe("history: random ones", () => {
  it("what happened one after the other passes, however its operations overlap", () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const faults = check(randomRun(seed));
        expect(faults, describeHistoryFaults(faults)).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  it.each(Object.entries(spoils))("%s: is found, by its name", (_, spoil) => {
    let spoilt = 0;
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const history = randomRun(seed);
        const rules = spoil(history, seededRandom(seed + 1));
        if (rules === undefined) return;
        spoilt++;
        const found = check(history).map(({ rule }) => rule);
        expect(
          found.some((rule) => rules.includes(rule)),
          `found ${found.join(", ")}`,
        ).toBe(true);
      }),
      { numRuns: 40 },
    );
    expect(spoilt).toBeGreaterThan(20);
  });
});

describe("history: long ones", () => {
  it("one stale read is found among tens of thousands of operations", () => {
    const random = seededRandom(7);
    const history = serialRun({ random, operations: 20_000, entities: 500, overlap: 200 });
    expect(check(history)).toEqual([]);
    expect(spoils["a reader is given what was overwritten before it began"]!(history, random)).toEqual(["stale"]);
    const [fault, ...others] = check(history);
    expect(fault?.rule).toBe("stale");
    expect(others).toEqual([]);
  });
});
