// Checker: holds what a store contains against what its clients were told. Pure; shares no code with the product.
//
// It knows accounts and their one rule, and nothing of logs, shards, windows or checkpoints. Each fault names the rule
// that was broken:
//
//   gap          P1   sequences of an entity run from 1 without a gap; positions rise, times do not fall
//   order        P1   what was over before another call began comes first; calls of one lane keep their order
//   lost         P2   an acknowledged event is there, where its receipt says
//   rule         P3   the balance is never negative, after any event
//   doubled      P4   no event is there twice, and every receipt of an append is the same
//   torn         P5   an append is there whole, its events side by side in their order, or not at all
//   invented     P5   nothing is there that was not sent; nothing that was refused
//   altered      P5   an event is as it was sent
//   state             the state is what the history adds up to
//   read         P2   what a reader was given is in the history: readers see only what is durable
//   surprise     P7   no call got an answer that it should not have
import { isRefused, type KeptReceipt, type LedgerData, receiptsOf, type SentAppend } from "./ledger.ts";

export interface StoredEvent {
  readonly seq: number;
  readonly time: number;
  readonly aggregate: string;
  readonly type: string;
  readonly payload: unknown;
  readonly id: string | undefined;
  /** Events of one append have the same. */
  readonly position: number;
}

export interface StoredEntity {
  readonly entity: string;
  /** Where it was found, as far as that is known. */
  readonly shard: number | undefined;
  readonly events: readonly StoredEvent[];
  /** As the node gives it, if a node was asked. */
  readonly state: { readonly balance: number; readonly seq: number } | undefined;
}

export type Rule =
  | "gap"
  | "order"
  | "lost"
  | "rule"
  | "doubled"
  | "torn"
  | "invented"
  | "altered"
  | "state"
  | "read"
  | "surprise";

export interface Fault {
  readonly rule: Rule;
  readonly entity: string;
  readonly text: string;
}

/** Every fault that there is; none when the store is as the clients were told. */
export function check(ledger: LedgerData, store: readonly StoredEntity[]): Fault[] {
  const faults: Fault[] = ledger.surprises.map((text) => ({ rule: "surprise", entity: "", text }));
  const ledgers = splitByEntity(ledger);
  const seen = new Set<string>();
  for (const stored of store) {
    const report = (rule: Rule, text: string) => faults.push({ rule, entity: stored.entity, text });
    if (seen.has(stored.entity)) report("doubled", "the entity is in two places");
    seen.add(stored.entity);
    checkEntity(ledgers.get(stored.entity) ?? noLedger, stored, report);
  }
  for (const [entity, one] of ledgers) {
    const report = (rule: Rule, text: string) => faults.push({ rule, entity, text });
    if (!seen.has(entity)) checkEntity(one, { entity, shard: undefined, events: [], state: undefined }, report);
  }
  return faults;
}

/** For messages: the first few faults, and how many there are of each rule. */
export function describeFaults(faults: readonly Fault[]): string {
  const counts = new Map<Rule, number>();
  for (const { rule } of faults) counts.set(rule, (counts.get(rule) ?? 0) + 1);
  const totals = [...counts].map(([rule, count]) => `${count} ${rule}`).join(", ");
  const lines = faults.slice(0, 20).map(({ rule, entity, text }) => `  ${rule}: ${entity} ${text}`);
  return `${faults.length} faults (${totals})\n${lines.join("\n")}`;
}

type Report = (rule: Rule, text: string) => void;

interface EntityLedger {
  readonly appends: SentAppend[];
  readonly states: LedgerData["states"][number][];
  readonly pages: LedgerData["pages"][number][];
}

const noLedger: EntityLedger = { appends: [], states: [], pages: [] };

function splitByEntity(ledger: LedgerData): Map<string, EntityLedger> {
  const byEntity = new Map<string, EntityLedger>();
  const of = (entity: string) => {
    const one = byEntity.get(entity) ?? { appends: [], states: [], pages: [] };
    byEntity.set(entity, one);
    return one;
  };
  for (const append of ledger.appends) of(append.entity).appends.push(append);
  for (const state of ledger.states) of(state.entity).states.push(state);
  for (const page of ledger.pages) of(page.entity).pages.push(page);
  return byEntity;
}

/** Where an append stands in the history: the indexes of its events, in its own order; -1 for one that is not there. */
type Places = ReadonlyMap<SentAppend, readonly number[]>;

function checkEntity(ledger: EntityLedger, stored: StoredEntity, report: Report): void {
  checkSequences(stored.events, report);
  const places = findPlaces(ledger.appends, stored.events, report);
  for (const append of ledger.appends) checkAppend(append, places.get(append)!, stored, report);
  const balances = checkBalances(stored.events, report);
  checkState(stored, balances, report);
  checkReads(ledger, stored.events, balances, report);
  checkOrder(ledger, places, stored.events, report);
  checkLanes(ledger.appends, places, report);
}

function checkSequences(events: readonly StoredEvent[], report: Report): void {
  for (const [index, event] of events.entries()) {
    if (event.seq !== index + 1) report("gap", `event ${index + 1} of the history has the sequence ${event.seq}`);
    const before = events[index - 1];
    if (before === undefined) continue;
    if (event.position < before.position) report("gap", `the position falls at sequence ${event.seq}`);
    if (event.time < before.time) report("gap", `the time falls at sequence ${event.seq}`);
  }
}

function findPlaces(appends: readonly SentAppend[], events: readonly StoredEvent[], report: Report): Places {
  const sent = new Map<string, { readonly append: SentAppend; readonly index: number }>();
  const places = new Map<SentAppend, number[]>();
  for (const append of appends) {
    places.set(append, new Array<number>(append.events.length).fill(-1));
    for (const [index, event] of append.events.entries()) sent.set(event.reference, { append, index });
  }
  for (const [place, event] of events.entries()) {
    const reference = referenceOf(event.payload);
    const found = reference === undefined ? undefined : sent.get(reference);
    if (found === undefined) {
      report("invented", `sequence ${event.seq} holds ${JSON.stringify(event.payload)}, which nobody sent`);
      continue;
    }
    const at = places.get(found.append)!;
    if (at[found.index] !== -1) report("doubled", `${reference} is there twice, the second time at ${event.seq}`);
    else at[found.index] = place;
    checkContent(found.append, found.index, event, report);
  }
  return places;
}

function checkContent(append: SentAppend, index: number, event: StoredEvent, report: Report): void {
  const { type, amount, reference } = append.events[index]!;
  const wanted = JSON.stringify(["Account", type, { amount, reference }, append.id ?? null]);
  const payload = typeof event.payload === "object" && event.payload !== null ? event.payload : {};
  const sorted = Object.fromEntries(Object.entries(payload).sort(([a], [b]) => (a < b ? -1 : 1)));
  const found = JSON.stringify([event.aggregate, event.type, sorted, event.id ?? null]);
  if (found !== wanted) report("altered", `sequence ${event.seq} is ${found}, sent was ${wanted}`);
}

function checkAppend(append: SentAppend, at: readonly number[], stored: StoredEntity, report: Report): void {
  const name = `the append of ${append.events[0]!.reference} (${append.events.length} events)`;
  const there = at.filter((place) => place >= 0).length;
  const receipts = receiptsOf(append);
  checkReceipts(name, append, receipts, report);
  const [receipt] = receipts;
  if (receipt !== undefined && there < at.length) {
    report("lost", `${name} was acknowledged at ${receipt.firstSeq}, ${there} of its events are there`);
  }
  if (there === 0) return;
  if (isRefused(append)) report("invented", `${name} was refused, ${there} of its events are there`);
  if (there < at.length) {
    report("torn", `${name}: only ${there} of its events are there`);
    return;
  }
  const first = stored.events[at[0]!]!;
  for (let i = 1; i < at.length; i++) {
    if (at[i] !== at[0]! + i) {
      report("torn", `${name}: its event ${i} is ${at[i]! - at[0]!} places after its first`);
      break;
    }
    if (stored.events[at[i]!]!.position !== first.position) report("torn", `${name} lies at two positions`);
  }
  if (append.expectedSeq !== undefined && at[0] !== append.expectedSeq) {
    report("order", `${name} expected to follow sequence ${append.expectedSeq}, it follows ${at[0]}`);
  }
  if (receipt === undefined) return;
  const { firstSeq, position, time, shard } = receipt;
  const [foundSeq, wantedSeq] = [at[0]! + 1, firstSeq];
  if (foundSeq !== wantedSeq) report("lost", `${name} was acknowledged at ${wantedSeq}, it is at ${foundSeq}`);
  if (first.position !== position)
    report("altered", `${name} is at position ${first.position}, its receipt says ${position}`);
  if (first.time !== time) report("altered", `${name} has the time ${first.time}, its receipt says ${time}`);
  if (stored.shard !== undefined && stored.shard !== shard) {
    report("altered", `${name} is in shard ${stored.shard}, its receipt says ${shard}`);
  }
}

function checkReceipts(name: string, append: SentAppend, receipts: readonly KeptReceipt[], report: Report): void {
  const [first] = receipts;
  if (first === undefined) return;
  const { firstSeq, seq, count } = first;
  if (count !== append.events.length || seq !== firstSeq + count - 1) {
    report("altered", `${name}: its receipt says ${count} events, ${firstSeq} to ${seq}`);
  }
  if (receipts.filter((receipt) => !receipt.duplicate).length > 1) report("doubled", `${name} took effect twice`);
  const text = (receipt: KeptReceipt) => JSON.stringify({ ...receipt, duplicate: false });
  for (const other of receipts) {
    if (text(other) === text(first)) continue;
    report("doubled", `${name} has two receipts: ${text(first)} and ${text(other)}`);
    return;
  }
}

/** The balance after each event; the one before all events stands at 0. */
function checkBalances(events: readonly StoredEvent[], report: Report): number[] {
  const balances = [0];
  for (const event of events) {
    const amount = Number((event.payload as { amount?: unknown } | null)?.amount);
    const balance = balances.at(-1)! + (event.type === "Debited" ? -amount : amount);
    if (!(balance >= 0)) report("rule", `the balance is ${balance} after sequence ${event.seq}`);
    balances.push(balance);
  }
  return balances;
}

function checkState({ state, events }: StoredEntity, balances: readonly number[], report: Report): void {
  if (state === undefined) return;
  if (state.seq !== events.length)
    report("state", `the state is at ${state.seq}, the history ends at ${events.length}`);
  const sum = balances.at(-1);
  if (state.balance !== sum) report("state", `the state says ${state.balance}, the history adds up to ${sum}`);
}

function checkReads(
  { states, pages }: EntityLedger,
  events: readonly StoredEvent[],
  balances: readonly number[],
  report: Report,
): void {
  for (const { seq, balance } of states) {
    if (balances[seq] === balance) continue;
    report("read", `a reader was given ${balance} at sequence ${seq}, the history says ${balances[seq] ?? "nothing"}`);
  }
  for (const page of pages) {
    for (const { seq, reference } of page.events) {
      const found = referenceOf(events[seq - 1]?.payload);
      if (found === reference) continue;
      report("read", `a reader was given ${reference} at sequence ${seq}, the history has ${found ?? "nothing"} there`);
    }
  }
}

// Sweeps over all calls by the clock: at the start of each, everything that was answered before must lie behind it.
function checkOrder(ledger: EntityLedger, places: Places, events: readonly StoredEvent[], report: Report): void {
  const starts: { readonly sentAt: number; readonly seqMin: number; readonly name: string }[] = [];
  const ends: { readonly answeredAt: number; readonly seq: number; readonly name: string }[] = [];
  const end = (answeredAt: number, seq: number, name: string) => ends.push({ answeredAt, seq, name });
  for (const append of ledger.appends) {
    const place = places.get(append)![0]!;
    if (place < 0) continue;
    const name = `the append of ${append.events[0]!.reference}`;
    starts.push({ sentAt: append.sendings[0]!.sentAt, seqMin: place, name });
    for (const { answer, answeredAt } of append.sendings) {
      if (answer?.kind === "acknowledged") end(answeredAt, place + append.events.length, name);
    }
  }
  for (const { sentAt, answeredAt, seq } of ledger.states) {
    starts.push({ sentAt, seqMin: seq, name: `a state at ${seq}` });
    end(answeredAt, seq, `a state at ${seq}`);
  }
  for (const page of ledger.pages) {
    const seq = page.events.at(-1)?.seq ?? 0;
    starts.push({ sentAt: page.sentAt, seqMin: seq, name: `a page up to ${seq}` });
    end(page.answeredAt, Math.min(seq, events.length), `a page up to ${seq}`);
  }
  starts.sort((a, b) => a.sentAt - b.sentAt);
  ends.sort((a, b) => a.answeredAt - b.answeredAt);
  let over = 0;
  let newest = { seq: 0, name: "" };
  for (const start of starts) {
    for (; over < ends.length && ends[over]!.answeredAt < start.sentAt; over++) {
      if (ends[over]!.seq > newest.seq) newest = ends[over]!;
    }
    if (start.seqMin >= newest.seq) continue;
    report("order", `${start.name} began after ${newest.name} was over, and stands before it`);
  }
}

function checkLanes(appends: readonly SentAppend[], places: Places, report: Report): void {
  const last = new Map<number, { readonly place: number; readonly name: string }>();
  const bySending = [...appends].sort((a, b) => a.sendings[0]!.sentAt - b.sendings[0]!.sentAt);
  for (const append of bySending) {
    const place = places.get(append)![0]!;
    if (append.lane === undefined || place < 0) continue;
    const name = append.events[0]!.reference;
    const before = last.get(append.lane);
    if (before !== undefined && before.place > place) {
      report("order", `${name} was sent after ${before.name} by the same client, and stands before it`);
    }
    last.set(append.lane, { place, name });
  }
}

function referenceOf(payload: unknown): string | undefined {
  const reference = (payload as { reference?: unknown } | null | undefined)?.reference;
  return typeof reference === "string" ? reference : undefined;
}
