// Load: the callers of one client. Every call is planned, made, measured and entered into the book, in that order.
//
// Closed loop: a number of callers, each with one call under way. Open loop: calls begin when they are due, whether or
// not earlier ones have been answered, and their latency counts from when they were due, so that a stall of the node is
// felt by every call that should have been made during it.
import {
  accountCount,
  type CallTotals,
  type LoadEvent,
  loadEvent,
  loadEvents,
  openingAmount,
  openingEvent,
  randomAccount,
  shuffledAccounts,
} from "./accounts.ts";
import type { Book } from "./book.ts";
import type { Meter } from "./meter.ts";
import { type PairShape, Pairs, type Transfer } from "./pairs.ts";
import { type CallResult, codeOf, isRefusal, type ManyItem, type Target, type TransferResult } from "./target.ts";

export type LoadShape = EventShape | TransferShape;

export interface EventShape {
  readonly callers: number;
  /** Events in one call. */
  readonly batch: number;
  /** `one` entity for a whole call, or `many`: an event for each of as many entities. */
  readonly entities: "one" | "many";
}

/** Each call moves money from one account to another. */
export interface TransferShape extends PairShape {
  readonly callers: number;
  readonly batch: 2;
  readonly entities: "pair";
}

/** After this many calls that failed or were refused, a run is given up: it would only count failures. */
const failuresMax = 10_000;
/** Pause of a caller after a failure, so that a node that is gone is not asked in a tight loop. */
const failurePauseMs = 10;
/** Open loop: calls that may be unanswered at once; what is due beyond waits, and the wait counts. */
const openCallsMax = 4_096;
/** Open loop: how often due calls are looked for. Timers are no finer. */
const openTickMs = 1;

export class Load {
  readonly #target: Target;
  readonly #shape: LoadShape;
  readonly #book: Book;
  readonly #meter: Meter;
  #stopped = false;
  #failures = 0;
  /** Calls made and not answered yet: their outcome is unknown if the client ends now. */
  readonly #underWay = new Map<number, SentCall>();
  #lastCall = 0;

  constructor(target: Target, shape: LoadShape, book: Book, meter: Meter) {
    this.#target = target;
    this.#shape = shape;
    this.#book = book;
    this.#meter = meter;
  }

  get givenUp(): boolean {
    return this.#failures >= failuresMax;
  }

  /** Credits every account with more than all later debits together. False when a call failed or was refused. */
  async open(): Promise<boolean> {
    const event = openingEvent();
    const totals = totalsOf(event);
    if (this.#shape.entities === "many") {
      const accounts = Uint16Array.from({ length: accountCount }, (_, account) => account);
      const items = Array.from(accounts, (account) => ({ account, event }));
      return this.#await({ kind: "many", accounts, totalsAt: () => totals }, this.#target.appendMany(items));
    }
    for (let from = 0; from < accountCount; from += openingCalls) {
      const calls = Array.from({ length: openingCalls }, (_, i) =>
        this.#await({ kind: "one", account: from + i, totals }, this.#target.append(i, from + i, [event])),
      );
      const done = await Promise.all(calls);
      if (done.includes(false)) return false;
    }
    if (this.#shape.entities === "pair") this.#book.total = accountCount * openingAmount;
    return true;
  }

  /** Keeps all callers busy until `stop`. */
  async closedLoop(): Promise<void> {
    this.#stopped = false;
    await Promise.all(Array.from({ length: this.#shape.callers }, (_, caller) => this.#caller(caller)));
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Makes calls at a rate until `stop`, then waits for the answers. Returns the calls that were made. */
  async openLoop(callsPerSecond: number): Promise<number> {
    this.#stopped = false;
    const startedAt = performance.now();
    const planners = Array.from({ length: this.#shape.callers }, (_, caller) => new Planner(this.#shape, caller));
    let made = 0;
    await new Promise<void>((resolve) => {
      const tick = () => {
        if (this.#stopped || this.givenUp) return resolve();
        const due = Math.floor(((performance.now() - startedAt) / 1000) * callsPerSecond);
        while (made < due && this.#underWay.size < openCallsMax) {
          const dueAt = startedAt + (made / callsPerSecond) * 1000;
          const planner = planners[made % planners.length]!;
          made++;
          this.#make(planner).then((done) => {
            if (done) this.#meter.call(performance.now() - dueAt, this.#shape.batch);
          });
        }
        setTimeout(tick, openTickMs);
      };
      tick();
    });
    while (this.#underWay.size > 0 && !this.givenUp) await new Promise((resolve) => setTimeout(resolve, openTickMs));
    return made;
  }

  /** Enters all calls that are under way as unknown: for a client whose node was killed and that ends now. */
  abandon(): void {
    this.#stopped = true;
    for (const call of this.#underWay.values()) this.#unknown(call, "ABANDONED");
    this.#underWay.clear();
  }

  async #caller(caller: number): Promise<void> {
    const planner = new Planner(this.#shape, caller);
    while (!this.#stopped && !this.givenUp) {
      const startedAt = performance.now();
      const done = await this.#make(planner);
      if (done) this.#meter.call(performance.now() - startedAt, this.#shape.batch);
      else await new Promise((resolve) => setTimeout(resolve, failurePauseMs));
    }
  }

  // What is kept until the answer comes is only what the book needs. Events that stayed alive as long would be copied by
  // the garbage collector again and again, at the cost of a third of the client's time.
  #make(planner: Planner): Promise<boolean> {
    if (this.#shape.entities === "pair") {
      const transfer = planner.forPair();
      return this.#await({ kind: "pair", way: this.#shape.way, transfer }, this.#target.transfer!(transfer));
    }
    if (this.#shape.entities === "many") {
      const { sent, items } = planner.forMany();
      return this.#await(sent, this.#target.appendMany(items));
    }
    const { sent, events } = planner.forOne();
    return this.#await(sent, this.#target.append(planner.caller, sent.account, events));
  }

  /** Books the outcome of a call. False when it was refused or failed, or its client has given it up. */
  async #await(sent: SentCall, answer: Promise<Answer>): Promise<boolean> {
    const number = ++this.#lastCall;
    this.#underWay.set(number, sent);
    try {
      const result = await answer;
      return this.#underWay.delete(number) && this.#settle(sent, result);
    } catch (error) {
      if (this.#underWay.delete(number)) this.#failed(sent, codeOf(error));
      return false;
    }
  }

  #settle(sent: SentCall, result: Answer): boolean {
    if (sent.kind === "pair") return this.#settleTransfer(result as TransferResult);
    if (sent.kind === "one") return this.#settleOne(sent.account, sent.totals, result as CallResult);
    const results = result as readonly CallResult[];
    let done = true;
    for (let i = 0; i < sent.accounts.length; i++) {
      if (!this.#settleOne(sent.accounts[i]!, sent.totalsAt(i), results[i] ?? noResult)) done = false;
    }
    return done;
  }

  #settleOne(account: number, totals: CallTotals, result: CallResult): boolean {
    if (result.ok) {
      this.#book.acknowledged(account, totals, result);
      return true;
    }
    this.#failures++;
    // An item of a call for many may have failed for a reason that leaves its outcome open.
    if (isRefusal(result.code) || rejections.has(result.code)) this.#book.refused(result.code);
    else this.#book.outcomeUnknown(account, totals, result.code);
    return false;
  }

  #settleTransfer({ moved, code, legs, sagaEnd }: TransferResult): boolean {
    for (const { account, sent, receipt } of legs) this.#book.acknowledged(account, sent, receipt);
    if (sagaEnd !== undefined) this.#book.sagaEnded(sagaEnd);
    if (moved) return true;
    this.#failures++;
    this.#book.refused(code ?? "NO_CODE");
    return false;
  }

  #failed(sent: SentCall, code: string): void {
    this.#failures++;
    if (isRefusal(code)) this.#book.refused(code);
    else this.#unknown(sent, code);
  }

  #unknown(sent: SentCall, code: string): void {
    if (sent.kind === "one") this.#book.outcomeUnknown(sent.account, sent.totals, code);
    else if (sent.kind === "pair") this.#book.transferUnknown(mayHaveWritten(sent), code, sent.way === "saga");
    else for (const [i, account] of sent.accounts.entries()) this.#book.outcomeUnknown(account, sent.totalsAt(i), code);
  }
}

const rejections: ReadonlySet<string> = new Set(["INVARIANT_VIOLATED", "SEQUENCE_CONFLICT", "COMMAND_REJECTED"]);
const noResult: CallResult = { ok: false, code: "NO_RESULT" };
/** Accounts that are opened at a time. */
const openingCalls = 100;

type Answer = CallResult | readonly CallResult[] | TransferResult;

/** What the book needs to know of a call. */
type SentCall =
  | { readonly kind: "pair"; readonly way: PairShape["way"]; readonly transfer: Transfer }
  | { readonly kind: "one"; readonly account: number; readonly totals: CallTotals }
  | { readonly kind: "many"; readonly accounts: Uint16Array; readonly totalsAt: (item: number) => CallTotals };

function totalsOf({ type, payload }: LoadEvent): CallTotals {
  const { amount } = payload;
  return type === "Credited"
    ? { events: 1, credited: amount, debited: 0 }
    : { events: 1, credited: 0, debited: amount };
}

// A transaction writes both sides or none; a saga may have written one of them, and what undoes it.
function mayHaveWritten({ way, transfer }: SentCall & { readonly kind: "pair" }) {
  const { from, to, amount } = transfer;
  const debit = { events: 1, credited: 0, debited: amount };
  const credit = { events: 1, credited: amount, debited: 0 };
  const forward = [
    { account: from, sent: debit },
    { account: to, sent: credit },
  ];
  return way === "saga" ? [...forward, { account: from, sent: credit }, { account: to, sent: debit }] : forward;
}

/** What one caller sends next. */
class Planner {
  readonly caller: number;
  readonly #batch: number;
  readonly #order: Uint16Array;
  readonly #pairs: Pairs | undefined;
  #n = 0;

  constructor(shape: LoadShape, caller: number) {
    const { batch, entities } = shape;
    this.caller = caller;
    this.#batch = batch;
    this.#pairs = shape.entities === "pair" ? new Pairs(shape, caller) : undefined;
    this.#order = Uint16Array.from({ length: entities === "many" ? accountCount : 0 }, (_, account) => account);
  }

  forPair(): Transfer {
    return this.#pairs!.next();
  }

  forOne(): { readonly sent: SentCall & { readonly kind: "one" }; readonly events: LoadEvent[] } {
    const totals: CallTotals = { events: 0, credited: 0, debited: 0 };
    const events = loadEvents(this.#n, this.#batch, totals);
    this.#n += this.#batch;
    return { sent: { kind: "one", account: randomAccount(), totals }, events };
  }

  forMany(): { readonly sent: SentCall; readonly items: ManyItem[] } {
    const n = this.#n;
    this.#n += this.#batch;
    const accounts = shuffledAccounts(this.#order).slice(0, this.#batch);
    const items = Array.from(accounts, (account, i): ManyItem => ({ account, event: loadEvent(n + i, i) }));
    return { sent: { kind: "many", accounts, totalsAt: (i) => totalsOf(loadEvent(n + i, i)) }, items };
  }
}
