// SerialRun: a history that is right by construction. Everything takes place one after the other on a plain map; each
// operation then claims to have begun a little earlier and to have ended a little later, so that they overlap.
import type { Random } from "@heddle/kernel";
import type {
  AtomicOperation,
  HistoryEvent,
  HistoryModel,
  HistoryOperation,
  HistoryRead,
  HistoryWrite,
  SagaOperation,
  SagaStepRun,
  StoredHistory,
} from "./history.ts";

/** An account: the sum of its events, and how many there were. */
interface Account {
  readonly sum: number;
  readonly count: number;
}

export const accounts: HistoryModel<Account> = {
  initial: () => ({ sum: 0, count: 0 }),
  apply: ({ sum, count }, { value }) => ({ sum: sum + (value as number), count: count + 1 }),
};

export type Mutable<T> = T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> } : T;

/** May be spoilt by whoever wants to see it found out. */
export interface SpoilableHistory {
  operations: Mutable<HistoryOperation>[];
  stored: Mutable<StoredHistory>[];
}

export interface SerialRunOptions {
  readonly random: Random;
  readonly operations: number;
  readonly entities: number;
  /** About how many are under way at once. */
  readonly overlap: number;
}

export function serialRun(options: SerialRunOptions): SpoilableHistory {
  const run = new SerialRun(options);
  for (let i = 0; i < options.operations; i++) run.one(i);
  return run.finish();
}

class SerialRun {
  readonly #options: SerialRunOptions;
  readonly #operations: HistoryOperation[] = [];
  readonly #stored = new Map<string, HistoryEvent[]>();
  readonly #states = new Map<string, Account>();
  #markers = 0;
  #at = 0;

  constructor(options: SerialRunOptions) {
    this.#options = options;
    for (let i = 0; i < options.entities; i++) this.#stored.set(`account/${i}`, []);
  }

  one(index: number): void {
    // Every operation happens at a whole number of its own, and says that it took from before that to after it.
    this.#at = (index + 1) * 4;
    const choice = this.#below(100);
    if (choice < 30) this.#add("append", [], [this.#write(this.#entity())]);
    else if (choice < 50) this.#add("get", [this.#read(this.#entity())], []);
    else if (choice < 60)
      this.#add(
        "get",
        this.#entities(4).map((entity) => this.#read(entity)),
        [],
      );
    else if (choice < 85) this.#transaction();
    else if (choice < 90) this.#refused();
    else if (choice < 95) this.#unanswered();
    else this.#saga();
  }

  finish(): SpoilableHistory {
    const stored = [...this.#stored].map(([entity, events]) => ({ entity, events }));
    return { operations: this.#operations as Mutable<HistoryOperation>[], stored: stored as Mutable<StoredHistory>[] };
  }

  #transaction(): void {
    const [first, second, third] = this.#entities(3);
    const reads = this.#below(2) === 0 ? [this.#read(first!), this.#read(third!)] : [this.#read(first!)];
    this.#add("transaction", reads, [this.#write(first!), this.#write(second!)]);
  }

  #refused(): void {
    const entity = this.#entity();
    const reads = [this.#read(entity)];
    this.#add("execute", reads, [{ entity, events: this.#events() }], this.#below(2) === 0 ? "rejected" : "failed");
  }

  /** Happened or not, all of it. */
  #unanswered(): void {
    const happened = this.#below(2) === 0;
    const writes = this.#entities(2).map((entity) =>
      happened ? this.#write(entity) : { entity, events: this.#events() },
    );
    this.#add(
      "transaction",
      [],
      writes.map(({ entity, events }) => ({ entity, events })),
      "unknown",
    );
  }

  #saga(): void {
    const outcome = this.#below(2) === 0 ? "committed" : "compensated";
    const steps: SagaStepRun[] = this.#entities(2).map((entity, index) => {
      const isDone = outcome === "committed" || index === 0;
      const forward = isDone ? this.#write(entity).events : this.#events();
      return { entity, forward, back: this.#events(), state: isDone ? "done" : "refused" };
    });
    if (outcome === "compensated") {
      const [first] = steps;
      steps[0] = { ...first!, back: this.#write(first!.entity).events, state: "compensated" };
    }
    const saga: SagaOperation = {
      kind: "saga",
      client: "c",
      saga: `s${this.#at}`,
      ...this.#interval(),
      outcome,
      steps,
    };
    this.#operations.push(saga);
  }

  #add(
    kind: AtomicOperation["kind"],
    reads: readonly HistoryRead[],
    writes: readonly HistoryWrite[],
    outcome: AtomicOperation["outcome"] = "ok",
  ): void {
    const { start, end } = this.#interval();
    const client = `c${this.#below(8)}`;
    this.#operations.push({ kind, client, start, end: outcome === "unknown" ? Infinity : end, outcome, reads, writes });
  }

  #interval(): { start: number; end: number } {
    const spread = 4 * this.#options.overlap;
    return { start: this.#at - this.#below(spread), end: this.#at + this.#below(spread) };
  }

  #read(entity: string): HistoryRead {
    const stored = this.#stored.get(entity)!;
    const markers = stored.slice(-2).map(({ marker }) => marker);
    return { entity, seq: stored.length, state: this.#states.get(entity) ?? accounts.initial(entity), markers };
  }

  #write(entity: string): HistoryWrite {
    const stored = this.#stored.get(entity)!;
    const firstSeq = stored.length + 1;
    const events = this.#events();
    for (const event of events) {
      stored.push({ ...event });
      this.#states.set(entity, accounts.apply(this.#states.get(entity) ?? accounts.initial(entity), event));
    }
    return { entity, events, firstSeq, expectedSeq: firstSeq - 1 };
  }

  #events(): HistoryEvent[] {
    return Array.from({ length: 1 + this.#below(3) }, () => ({
      marker: `m${++this.#markers}`,
      value: this.#below(100),
    }));
  }

  #entity(): string {
    return `account/${this.#below(this.#options.entities)}`;
  }

  /** Different ones. */
  #entities(count: number): string[] {
    const first = this.#below(this.#options.entities);
    return Array.from({ length: count }, (_, i) => `account/${(first + i) % this.#options.entities}`);
  }

  #below(bound: number): number {
    return this.#options.random.safeInteger() % bound;
  }
}
