// The judge: holds what a store contains against what its clients were told. Pure.
//
// J1. Every acknowledged event is there, once, with its amount, at the sequence that its receipt named.
// J2. A call whose outcome is unknown is there whole or not at all.
// J3. There is nothing else.
// J4. Every saga has ended, as its client was told. Where money was only moved, none came and none went.
// Sequences without gaps, checksums and rules are the reader's part (read-store.ts); its objections are passed on.
import type { BookData, UnknownCall } from "../load/book.ts";

/** What a store holds of one entity. */
export interface StoredEntity {
  readonly entity: string;
  /** Appends: entries in the log. */
  readonly calls: number;
  readonly events: number;
  readonly credited: number;
  readonly debited: number;
  readonly lastSeq: number;
  /** As in the book. */
  readonly places: number;
}

export interface StoreContents {
  readonly entities: ReadonlyMap<string, StoredEntity>;
  /** What is wrong with the store by itself. */
  readonly objections: readonly string[];
  readonly sagas: StoredSagas;
}

export interface StoredSagas {
  /** Sagas by how they ended. */
  readonly ends: Readonly<Record<string, number>>;
  readonly unfinished: number;
  /** A few of them by name. */
  readonly unfinishedExamples: readonly string[];
}

export interface Verdict {
  readonly ok: boolean;
  /** One line: REFEREE_OK or REFEREE_OBJECTS, and why. */
  readonly text: string;
  readonly accounts: number;
  /** In the store. */
  readonly events: number;
  /** In the store, ended. */
  readonly endedSagas: number;
  readonly acknowledgedEvents: number;
  readonly unknownCalls: number;
  /** Of those whose outcome was unknown, how many are in the store. */
  readonly unknownCallsFound: number;
  readonly refusedCalls: number;
  /** By code. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Calls of unknown outcome, by code. */
  readonly failures: Readonly<Record<string, number>>;
  readonly duplicateReceipts: number;
  readonly objections: readonly string[];
  /** Objections beyond those that are listed. */
  readonly moreObjections: number;
}

const objectionsShownMax = 20;

export function judge(store: StoreContents, book: BookData): Verdict {
  const objections = [...store.objections];
  if (book.contradictions > 0) {
    objections.push(
      `${book.contradictions} receipts contradict what was sent, e.g. ${book.contradictionExamples.join("; ")}`,
    );
  }
  const unknownOf = Map.groupBy(book.unknown, (call) => call.account);
  let unknownCallsFound = 0;
  let acknowledgedEvents = 0;
  for (const [account, entity] of book.accounts.entries()) {
    acknowledgedEvents += book.events[account]!;
    const held = store.entities.get(entity) ?? nothing(entity);
    const judged = judgeAccount(held, book, account, unknownOf.get(account) ?? []);
    unknownCallsFound += judged.unknownFound;
    objections.push(...judged.objections);
  }
  let events = 0;
  const booked = new Set(book.accounts);
  for (const { entity, events: held } of store.entities.values()) {
    events += held;
    if (!booked.has(entity)) objections.push(`${entity}: ${held} events that no client sent`);
  }
  objections.push(...judgeSagas(store.sagas, book), ...judgeTotal(store, book));
  if (acknowledgedEvents === 0) objections.push("nothing was acknowledged, so nothing can be vouched for");
  const refusedCalls = Object.values(book.refused).reduce((sum, count) => sum + count, 0);
  const ok = objections.length === 0;
  const endedSagas = Object.values(store.sagas.ends).reduce((sum, count) => sum + count, 0);
  const facts = {
    accounts: book.accounts.length,
    events,
    endedSagas,
    unknownCalls: book.unknown.length,
    unknownCallsFound,
  };
  return {
    ok,
    text: ok
      ? verdictText(facts, book, refusedCalls)
      : `REFEREE_OBJECTS (${objections.length} objections, first: ${objections[0]})`,
    ...facts,
    acknowledgedEvents,
    refusedCalls,
    refusals: book.refused,
    failures: book.failed,
    duplicateReceipts: book.duplicates,
    objections: objections.slice(0, objectionsShownMax),
    moreObjections: Math.max(0, objections.length - objectionsShownMax),
  };
}

function judgeSagas({ ends, unfinished, unfinishedExamples }: StoredSagas, book: BookData): string[] {
  const objections: string[] = [];
  if (unfinished > 0) objections.push(`${unfinished} sagas have not ended, e.g. ${unfinishedExamples.join(", ")}`);
  let beyond = 0;
  for (const end of new Set([...Object.keys(ends), ...Object.keys(book.sagas)])) {
    const held = ends[end] ?? 0;
    const told = book.sagas[end] ?? 0;
    if (held < told) objections.push(`${told} sagas were said to be ${end}, the store holds ${held}`);
    else beyond += held - told;
  }
  if (beyond > book.unknownSagas) {
    objections.push(`${beyond} sagas ended that nobody was told of; of ${book.unknownSagas} nobody knew`);
  }
  return objections;
}

function judgeTotal({ entities }: StoreContents, { total }: BookData): string[] {
  if (total === undefined) return [];
  let held = 0;
  for (const { credited, debited } of entities.values()) held += credited - debited;
  return held === total ? [] : [`the balances add up to ${held}, ${total} were paid in: money is not conserved`];
}

function nothing(entity: string): StoredEntity {
  return { entity, calls: 0, events: 0, credited: 0, debited: 0, lastSeq: 0, places: 0 };
}

function judgeAccount(
  held: StoredEntity,
  book: BookData,
  account: number,
  unknown: readonly UnknownCall[],
): { objections: string[]; unknownFound: number } {
  const surplus: Figures = {
    calls: held.calls - book.calls[account]!,
    events: held.events - book.events[account]!,
    credited: held.credited - book.credited[account]!,
    debited: held.debited - book.debited[account]!,
  };
  const objections: string[] = [];
  const object = (problem: string) => objections.push(`${held.entity}: ${problem}`);
  if (held.lastSeq < book.highestSeq[account]!) {
    object(`sequence ${book.highestSeq[account]} was acknowledged, the store ends at ${held.lastSeq}`);
  }
  const explained = isSumOfSome(surplus, unknown);
  if (explained === undefined) object(`its ${unknown.length} calls of unknown outcome are too many to be told apart`);
  else if (!explained) object(`the store holds ${describe(surplus, unknown.length)}`);
  else if (surplus.calls === 0 && held.places !== book.places[account]!) {
    object("the events are all there, but not in the places that the receipts named");
  }
  return { objections, unknownFound: objections.length === 0 ? surplus.calls : 0 };
}

interface Figures {
  readonly calls: number;
  readonly events: number;
  readonly credited: number;
  readonly debited: number;
}

/** Distinct sums that are looked at for one account. Unknown calls are much alike, so real runs stay far below. */
const sumsMax = 50_000;

// Whether some of the unknown calls, each whole, add up to what the store holds beyond the acknowledged ones (J2).
// Undefined when that would take too long to find out.
function isSumOfSome(wanted: Figures, unknown: readonly UnknownCall[]): boolean | undefined {
  if (wanted.calls === 0) return wanted.events === 0 && wanted.credited === 0 && wanted.debited === 0;
  if (wanted.calls < 0 || wanted.calls > unknown.length) return false;
  let sums = new Map<string, Figures>([["", { calls: 0, events: 0, credited: 0, debited: 0 }]]);
  for (const call of unknown) {
    const next = new Map(sums);
    for (const sum of sums.values()) {
      const grown: Figures = {
        calls: sum.calls + 1,
        events: sum.events + call.events,
        credited: sum.credited + call.credited,
        debited: sum.debited + call.debited,
      };
      if (grown.calls <= wanted.calls && grown.events <= wanted.events) next.set(Object.values(grown).join(), grown);
    }
    sums = next;
    if (sums.size > sumsMax) return undefined;
  }
  return sums.has(Object.values(wanted).join());
}

function describe({ calls, events, credited, debited }: Figures, unknown: number): string {
  const part = (value: number, what: string) => `${value > 0 ? "+" : ""}${value} ${what}`;
  const parts = [part(calls, "calls"), part(events, "events"), part(credited, "credited"), part(debited, "debited")];
  const excuse = unknown === 0 ? "" : `, which no choice of the ${unknown} calls with unknown outcome explains`;
  return `${parts.join(", ")} against what was acknowledged${excuse}`;
}

function verdictText(
  facts: { accounts: number; events: number; endedSagas: number; unknownCalls: number; unknownCallsFound: number },
  book: BookData,
  refusedCalls: number,
): string {
  const remarks: string[] = [];
  if (facts.unknownCalls > 0) {
    const found = `${facts.unknownCallsFound} of them in the store`;
    remarks.push(`${facts.unknownCalls} calls of unknown outcome (${listed(book.failed)}), ${found}`);
  }
  if (refusedCalls > 0) remarks.push(`${refusedCalls} calls were refused (${listed(book.refused)})`);
  if (book.total !== undefined) remarks.unshift("money conserved");
  if (facts.endedSagas > 0) remarks.unshift(`${facts.endedSagas} sagas, all ended`);
  const remark = remarks.length === 0 ? "" : `; ${remarks.join("; ")}`;
  return `REFEREE_OK (${facts.accounts} accounts, ${facts.events} events${remark})`;
}

function listed(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([code, count]) => `${code} ${count}`)
    .join(", ");
}
