// Transactions: the shard's door to them: requests, holds and who waits for them, time, failures, figures.
//
// How a transaction goes is told in coordinator.ts, the part of other shards in participant.ts.
import { HeddleError } from "@heddle/kernel";
import { TurnoverMap } from "@heddle/kernel/internal";
import { requestKind } from "@heddle/protocol/internal";
import type { Entity } from "../entity.ts";
import type { Frame } from "../frame.ts";
import type { Holder, Waiter } from "../holder.ts";
import type { Memory } from "../memory.ts";
import type { Parts } from "../parts.ts";
import type { Repeats } from "../repeats.ts";
import type { TransactionStats } from "../stats.ts";
import { Coordinator, waitedTooLong } from "./coordinator.ts";
import type { Hold } from "./hold.ts";
import { letGo } from "./holds.ts";
import { Participant } from "./participant.ts";
import { PlanWriter } from "./plan-writer.ts";
import { Planner } from "./planner.ts";

/** What transactions have from the shard, beside what all have. */
export interface TransactionsOptions {
  /** Answers a frame as if it had come just now. */
  readonly answer: (frame: Frame) => void;
  readonly refuse: (frame: Frame, error: HeddleError) => void;
}

export class Transactions {
  readonly #parts: Parts;
  readonly #options: TransactionsOptions;
  readonly #planner: Planner;
  readonly #writer: PlanWriter;
  readonly #participant: Participant;
  readonly #coordinator: Coordinator;
  /** Everybody who waits for a hold. */
  readonly #waiting = new TurnoverMap<number, Waiter>();
  #nextWaiter = 1;

  constructor(parts: Parts, repeats: Repeats, options: TransactionsOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#planner = new Planner(parts);
    this.#writer = new PlanWriter(parts);
    this.#participant = new Participant(parts, this.#planner, this.#writer);
    this.#coordinator = new Coordinator(parts, repeats, this.#planner, this.#writer);
  }

  attach(memory: Memory): void {
    this.#planner.attach(memory);
    this.#writer.attach(memory);
    this.#participant.attach(memory);
    this.#coordinator.attach(memory);
  }

  /** Answers a request of a kind that concerns transactions, and says whether it is one. */
  answers(frame: Frame, kind: number): boolean {
    switch (kind) {
      case requestKind.transact:
        this.#coordinator.transact(frame);
        return true;
      case requestKind.hold:
        this.#participant.hold(frame);
        return true;
      case requestKind.prepare:
        this.#participant.prepare(frame);
        return true;
      case requestKind.settle:
        this.#participant.settle(frame);
        return true;
      case requestKind.inquire:
        this.#coordinator.inquire(frame);
        return true;
      default:
        return false;
    }
  }

  /** What an earlier process left is gone on with. To be called when the shard is open. */
  start(): void {
    this.#participant.askAll();
    this.#coordinator.settleAll();
  }

  tick(now: number): void {
    const { holdWaitMs } = this.#parts.options.limits;
    for (const waiter of this.#waiting.values()) {
      if (now - waiter.since <= holdWaitMs || this.#waiting.delete(waiter.number) === undefined) continue;
      waiter.expire(now - waiter.since);
    }
    this.#participant.tick(now);
    this.#coordinator.tick(now);
  }

  /** A frame waits for the hold of an entity that it names. */
  waitFor(entity: Entity, frame: Frame): void {
    const { refuse } = this.#options;
    const hold = entity.hold!;
    const own = this.#own(frame, undefined);
    this.enlist(hold, {
      ...this.#waiterFor(own),
      expire: () => {
        const heldMs = Math.round(this.#parts.options.clock.monotonic() - own.since);
        refuse(own, new HeddleError("ENTITY_HELD", { entity: entity.id, heldMs }));
      },
    });
  }

  /** The frame of a transaction waits for the hold of another; what it has taken by then, it keeps. */
  waitAs(hold: Hold, other: Holder, frame: Frame): void {
    const own = this.#own(frame, hold);
    const end = () => {
      this.#participant.forget(hold);
      this.letGo(hold);
    };
    this.enlist(other, {
      ...this.#waiterFor(own),
      refuse: (error) => {
        end();
        this.#options.refuse(own, error);
      },
      expire: (waitedMs) => {
        end();
        this.#options.refuse(own, waitedTooLong(waitedMs));
      },
    });
  }

  /** A frame that is to be answered anew when something else is over. */
  waiterOf(frame: Frame): Waiter {
    return this.#waiterFor(this.#own(frame, undefined));
  }

  enlist(hold: Holder, waiter: Waiter): void {
    if (hold.waiters === undefined) hold.waiters = [waiter];
    else hold.waiters.push(waiter);
    waiter.number = this.#nextWaiter++;
    this.#waiting.set(waiter.number, waiter);
  }

  /** Ends a hold; who waited for it goes on. */
  letGo(hold: Hold): void {
    const waiters = letGo(hold);
    if (waiters.length > 0)
      this.#parts.resume(waiters.filter(({ number }) => this.#waiting.delete(number) !== undefined));
  }

  /** The shard is about to lose its memory. Who waits begins from the start afterwards. */
  onLogFailure(error: HeddleError): void {
    this.#coordinator.onLogFailure(error);
    const waiting = this.#waiting.values();
    this.#waiting.clear();
    for (const waiter of waiting) waiter.forget();
    this.#parts.resume(waiting);
  }

  /** The shard closes, or stops because of a fault. */
  stop(error: HeddleError, isFault: boolean): void {
    this.#coordinator.stop(error, isFault);
    const waiting = this.#waiting.values();
    this.#waiting.clear();
    for (const waiter of waiting) waiter.refuse(error);
  }

  stats(): TransactionStats {
    const { committed, refused, aborted, heldEntities } = this.#coordinator;
    let holds = heldEntities;
    let pending = 0;
    for (const hold of this.#participant.holds) {
      holds += hold.entities.length;
      if (hold.state === "prepared" || hold.state === "aborting") pending++;
    }
    return { committed, refused, aborted, holds, waiters: this.#waiting.size, pending };
  }

  #own(frame: Frame, hold: Hold | undefined): Frame {
    const since = frame.since > 0 ? frame.since : this.#parts.options.clock.monotonic();
    return { ...frame, hold, since };
  }

  #waiterFor(own: Frame): Waiter {
    const { answer, refuse } = this.#options;
    return {
      number: 0,
      since: own.since,
      resume: () => answer(own),
      refuse: (error) => refuse(own, error),
      expire: () => {},
      forget: () => {
        own.hold = undefined;
      },
    };
  }
}
