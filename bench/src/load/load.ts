// Load: the callers of one client. Every call is planned, made, measured and entered into the book, in that order.
//
// Closed loop: a number of callers, each with one call under way. Open loop: calls begin when they are due, whether or
// not earlier ones have been answered, and their latency counts from when they were due, so that a stall of the node is
// felt by every call that should have been made during it.
import {
  accountCount,
  type CallTotals,
  loadEvent,
  loadEvents,
  openingEvent,
  randomAccount,
  shuffledAccounts,
} from "./accounts.ts";
import type { Book } from "./book.ts";
import type { Meter } from "./meter.ts";
import { type CallResult, codeOf, isRefusal, type ManyItem, type Target } from "./target.ts";

export interface LoadShape {
  readonly callers: number;
  /** Events in one call. */
  readonly batch: number;
  /** `one` entity for a whole call, or `many`: an event for each of as many entities. */
  readonly entities: "one" | "many";
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
  readonly #underWay = new Map<number, PlannedCall>();
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
    const totals: CallTotals = { events: 1, credited: event.payload.amount, debited: 0 };
    if (this.#shape.entities === "many") {
      const items = Array.from({ length: accountCount }, (_, account) => ({ account, event }));
      return this.#make({ kind: "many", items });
    }
    for (let from = 0; from < accountCount; from += 100) {
      const calls = Array.from({ length: 100 }, (_, i) =>
        this.#make({ kind: "one", caller: i, account: from + i, events: [event], totals }),
      );
      const done = await Promise.all(calls);
      if (done.includes(false)) return false;
    }
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
          const call = planners[made % planners.length]!.next();
          made++;
          this.#make(call).then(() => this.#meter.call(performance.now() - dueAt, this.#shape.batch));
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
      const call = planner.next();
      const startedAt = performance.now();
      const done = await this.#make(call);
      if (done) this.#meter.call(performance.now() - startedAt, this.#shape.batch);
      else await new Promise((resolve) => setTimeout(resolve, failurePauseMs));
    }
  }

  /** Makes a call and books its outcome. False when it was refused or failed, or its client has given it up. */
  async #make(call: PlannedCall): Promise<boolean> {
    const number = ++this.#lastCall;
    this.#underWay.set(number, call);
    try {
      if (call.kind === "one") {
        const result = await this.#target.append(call.caller, call.account, call.events);
        return this.#underWay.delete(number) && this.#settle(call.account, call.totals, result);
      }
      const results = await this.#target.appendMany(call.items);
      return this.#underWay.delete(number) && this.#settleMany(call.items, results);
    } catch (error) {
      if (this.#underWay.delete(number)) this.#failed(call, codeOf(error));
      return false;
    }
  }

  #settle(account: number, totals: CallTotals, result: CallResult): boolean {
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

  #settleMany(items: readonly ManyItem[], results: readonly CallResult[]): boolean {
    let done = true;
    for (let i = 0; i < items.length; i++) {
      const { account, event } = items[i]!;
      const result = results[i] ?? noAnswer;
      if (!this.#settle(account, totalsOf(event), result)) done = false;
    }
    return done;
  }

  #failed(call: PlannedCall, code: string): void {
    this.#failures++;
    if (isRefusal(code)) this.#book.refused(code);
    else this.#unknown(call, code);
  }

  #unknown(call: PlannedCall, code: string): void {
    if (call.kind === "one") this.#book.outcomeUnknown(call.account, call.totals, code);
    else for (const { account, event } of call.items) this.#book.outcomeUnknown(account, totalsOf(event), code);
  }
}

const rejections: ReadonlySet<string> = new Set(["INVARIANT_VIOLATED", "SEQUENCE_CONFLICT", "COMMAND_REJECTED"]);
const noAnswer: CallResult = { ok: false, code: "NO_RESULT" };

type PlannedCall =
  | {
      readonly kind: "one";
      readonly caller: number;
      readonly account: number;
      readonly events: ManyItem["event"][];
      readonly totals: CallTotals;
    }
  | { readonly kind: "many"; readonly items: readonly ManyItem[] };

function totalsOf({ type, payload }: ManyItem["event"]): CallTotals {
  const { amount } = payload;
  return type === "Credited"
    ? { events: 1, credited: amount, debited: 0 }
    : { events: 1, credited: 0, debited: amount };
}

/** What one caller sends next. */
class Planner {
  readonly #shape: LoadShape;
  readonly #caller: number;
  readonly #order: Uint16Array;
  #n = 0;

  constructor(shape: LoadShape, caller: number) {
    this.#shape = shape;
    this.#caller = caller;
    this.#order = Uint16Array.from({ length: shape.entities === "many" ? accountCount : 0 }, (_, account) => account);
  }

  next(): PlannedCall {
    const { batch, entities } = this.#shape;
    const n = this.#n;
    this.#n += batch;
    if (entities === "many") {
      const order = shuffledAccounts(this.#order);
      const items = new Array<ManyItem>(batch);
      for (let i = 0; i < batch; i++) items[i] = { account: order[i]!, event: loadEvent(n + i, i) };
      return { kind: "many", items };
    }
    const totals: CallTotals = { events: 0, credited: 0, debited: 0 };
    const events = loadEvents(n, batch, totals);
    return { kind: "one", caller: this.#caller, account: randomAccount(), events, totals };
  }
}
