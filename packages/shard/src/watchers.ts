// Watchers: calls that wait for the next durable events of one entity. A subscription is one such call after another.
//
// W1. A watch sees durable events only (P2), each once: it is answered from a sequence on, and says where the next begins.
// W2. A watch that waits holds its entity's id and where it got to: no state, no activation, no bytes of its request. It
//     outlives a recovery in place, because what it has seen was durable.
// W3. Every watch is answered once: with events, with an empty page when its time is over or nobody wants it any more, or with
//     why the shard does not serve. One whose connection is gone, too: its credit comes back with the answer.
// W4. A commit group costs nothing while nobody waits, and one look-up an entry while somebody does. What those who are
//     concerned get is read in later turns, a bounded number of them in each (P8).
//
// An entity that was never written may be watched, and so may one that a transaction holds: what is not durable is not
// seen. Erasures and restorings show as they do in a history.
import { HeddleError } from "@heddle/kernel";
import type { Entity } from "./entity.ts";

/** A call that waits, with what is needed to answer it. Its request's bytes are long gone. */
export interface Watch {
  readonly connection: number;
  readonly call: number;
  readonly requestBytes: number;
  readonly entity: string;
  readonly aggregate: string;
  readonly limit: number;
  /** Monotonic time at which it is answered, come what may. */
  readonly deadline: number;
  /** Sequence from which nothing was looked at yet. */
  next: number;
}

/** Of one shard. Each takes some 300 bytes. */
const watchersMax = 16_384;

/** Watches answered in one turn: about two milliseconds. */
const watchesPerTurn = 128;

export interface WatchersOptions {
  /** Runs a task in a later turn. */
  readonly later: (task: () => void) => void;
  /** Looks for events from where the watch got to; it may come back to `wait`. */
  readonly look: (watch: Watch) => void;
  readonly answerEmpty: (watch: Watch) => void;
  readonly refuse: (watch: Watch, error: HeddleError) => void;
}

export class Watchers {
  readonly #options: WatchersOptions;
  readonly #byEntity = new Map<string, Set<Watch>>();
  readonly #byConnection = new Map<number, Map<number, Watch>>();
  #size = 0;
  /** Taken out of the maps, to be answered in a turn that comes. */
  #due: Watch[] = [];
  #turnComes = false;
  /** No watch is over before this. */
  #nextDeadline = Number.POSITIVE_INFINITY;

  constructor(options: WatchersOptions) {
    this.#options = options;
  }

  /** Watches that wait. */
  get size(): number {
    return this.#size;
  }

  /** Errors: `OVERLOADED`. */
  checkRoom(): void {
    if (this.#size < watchersMax) return;
    const facts = { queue: "watches of the shard", depth: this.#size, depthMax: watchersMax };
    throw new HeddleError("OVERLOADED", facts);
  }

  /** Waits for the entity's next durable event. */
  wait(watch: Watch): void {
    const { connection, call, entity, deadline } = watch;
    // A connection that uses a number twice has one wait under it.
    const before = this.#byConnection.get(connection)?.get(call);
    if (before !== undefined) {
      this.#remove(before);
      this.#options.answerEmpty(before);
    }
    addTo(this.#byEntity, entity, () => new Set<Watch>()).add(watch);
    addTo(this.#byConnection, connection, () => new Map<number, Watch>()).set(call, watch);
    this.#size++;
    this.#nextDeadline = Math.min(this.#nextDeadline, deadline);
  }

  /** A group is durable; these are the entities of its entries. To be called only while somebody waits. */
  durable(entities: readonly (Entity | undefined)[]): void {
    for (const entity of entities) {
      if (entity === undefined) continue;
      const watches = this.#byEntity.get(entity.id);
      if (watches !== undefined) for (const watch of watches) this.#makeDue(watch);
    }
  }

  /** Anything may have become durable. */
  wakeAll(): void {
    for (const watch of this.#all()) this.#makeDue(watch);
  }

  /** Answers those whose time is over. */
  tick(now: number): void {
    if (now < this.#nextDeadline) return;
    this.#nextDeadline = Number.POSITIVE_INFINITY;
    for (const watch of this.#all()) {
      if (now < watch.deadline) this.#nextDeadline = Math.min(this.#nextDeadline, watch.deadline);
      else {
        this.#remove(watch);
        this.#options.answerEmpty(watch);
      }
    }
  }

  /** Nobody wants the answer any more; it is given all the same, and now. */
  end(connection: number, call: number): void {
    const watch = this.#byConnection.get(connection)?.get(call);
    if (watch !== undefined) this.#remove(watch);
    const due = this.#due.findIndex((one) => one.connection === connection && one.call === call);
    const ended = watch ?? (due < 0 ? undefined : this.#due.splice(due, 1)[0]);
    if (ended !== undefined) this.#options.answerEmpty(ended);
  }

  /** The connection is gone. What it asked is answered all the same: the credit of the requests comes back with the answers. */
  forget(connection: number): void {
    const watches = [...(this.#byConnection.get(connection)?.values() ?? [])];
    for (const watch of watches) this.#remove(watch);
    const due = this.#due.filter((watch) => watch.connection === connection);
    this.#due = this.#due.filter((watch) => watch.connection !== connection);
    for (const watch of [...watches, ...due]) this.#options.answerEmpty(watch);
  }

  /** The shard does not serve any more. */
  refuseAll(error: HeddleError): void {
    for (const watch of this.#all()) this.#makeDue(watch);
    for (const watch of this.#due.splice(0)) this.#options.refuse(watch, error);
  }

  *#all(): Generator<Watch> {
    for (const watches of this.#byEntity.values()) yield* watches;
  }

  #makeDue(watch: Watch): void {
    this.#remove(watch);
    this.#due.push(watch);
    if (this.#turnComes) return;
    this.#turnComes = true;
    this.#options.later(() => this.#work());
  }

  #work(): void {
    this.#turnComes = false;
    for (const watch of this.#due.splice(0, watchesPerTurn)) this.#options.look(watch);
    if (this.#due.length === 0 || this.#turnComes) return;
    this.#turnComes = true;
    this.#options.later(() => this.#work());
  }

  #remove(watch: Watch): void {
    const { connection, call, entity } = watch;
    const ofEntity = this.#byEntity.get(entity);
    if (ofEntity?.delete(watch) !== true) return;
    if (ofEntity.size === 0) this.#byEntity.delete(entity);
    const ofConnection = this.#byConnection.get(connection)!;
    ofConnection.delete(call);
    if (ofConnection.size === 0) this.#byConnection.delete(connection);
    this.#size--;
  }
}

function addTo<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
