// TimedAlarms: the alarms of one kind that ring when their time has come, of any number, in little memory.
//
// The index on disk has the alarms of all entities as checkpoints wrote them; a heap has those of entities that changed since,
// and those of the index that are due. A cursor in the index stands behind the last row that was taken into the heap.
//
// T1. No alarm rings before its time, as the wall clock says it when it rings.
// T2. Where memory knows an entity's alarm, the row of the index is passed over: memory is never older.
// T3. What a checkpoint writes behind the cursor is let go, and read again when it is due; what it writes before the cursor
//     stays, because the cursor does not come back.
// Not promised: an order among alarms that are due.
import type { AlarmRecord } from "@heddle/partition/internal";
import { compareIds } from "@heddle/protocol/internal";

/** Rung in one turn. */
const sliceAlarms = 256;
/** Rows read from the index at a time, and pages in one turn. */
const pageRows = 512;
const slicePages = 4;
/** What is due within this many ms gets a timer of its own; ticks come at least as often for the rest. */
const timerMsMax = 300;

export interface TimedAlarmsOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Rows in the index: all of them, or those in a range. */
  readonly count: (query: { readonly to?: number; readonly after?: AlarmRecord | undefined }) => number;
  readonly page: (query: {
    readonly to?: number;
    readonly after: AlarmRecord | undefined;
    readonly limit: number;
  }) => AlarmRecord[];
  readonly room: () => number;
  readonly ring: (entity: string, due: number) => void;
  readonly schedule: (task: () => void, delayMs: number) => void;
}

interface Known {
  /** Undefined: it has no alarm, whatever the index says. */
  due: number | undefined;
  rung: boolean;
  /** No checkpoint has written it yet. */
  changed: boolean;
}

/** Listed, never rung. */
const never = 2 ** 48 - 1;

export class TimedAlarms {
  readonly #options: TimedAlarmsOptions;
  readonly #heap = new AlarmHeap();
  readonly #known = new Map<string, Known>();
  /** Rows up to this one were taken from the index. */
  #cursor: AlarmRecord | undefined;
  /** No row behind the cursor is due before this. */
  #nextRow = 0;
  /** Undefined until the index was counted. */
  #count: number | undefined;
  #running = false;
  #pumpScheduled = false;
  /** When the earliest timer comes, in ms since 1970. */
  #timerAt = Number.POSITIVE_INFINITY;
  /** The source had no room. */
  #isFull = false;

  constructor(options: TimedAlarmsOptions) {
    this.#options = options;
  }

  /** Entities that have an alarm; before the first start, those that the index has: counted each time. */
  get count(): number {
    return this.#count ?? this.#options.count({});
  }

  /** Entities whose alarm has come, and has not rung. Looks at each. */
  countDue(): number {
    const now = this.#options.now();
    const behind = this.#nextRow > now ? 0 : this.#options.count({ to: now + 1, after: this.#cursor });
    return behind + this.#heap.countUpTo(now);
  }

  /** To be called before anything changes. */
  countStored(): void {
    this.#count = this.#options.count({});
  }

  start(): void {
    this.#running = true;
    this.#isFull = false;
    this.#pumpSoon();
  }

  stop(): void {
    this.#running = false;
  }

  /** To be called every now and then: the wall clock may have been set. */
  tick(): void {
    if (this.#running && !this.#isFull && this.nextDue <= this.#options.now()) this.#pumpSoon();
    else if (this.#running) this.#armTimer();
  }

  /** There is room again. */
  ring(): void {
    if (!this.#isFull) return;
    this.#isFull = false;
    if (this.#running) this.#pumpSoon();
  }

  /** One that has rung, and was taken by nobody: the clock was set back. It rings again when its time has come. */
  putBack(entity: string, due: number): void {
    const known = this.#known.get(entity);
    if (known === undefined) this.#known.set(entity, { due, rung: false, changed: false });
    else if (known.rung && known.due === due) known.rung = false;
    else return;
    this.#push(due, entity);
    this.#lookAt(due);
  }

  /** `stored` is what the index has, if memory did not know better. */
  changed(entity: string, due: number | undefined, stored: number | undefined): void {
    const known = this.#known.get(entity);
    const before = known === undefined ? stored : known.due;
    if (this.#count !== undefined && (before === undefined) !== (due === undefined))
      this.#count += due === undefined ? -1 : 1;
    if (known === undefined) this.#known.set(entity, { due, rung: false, changed: true });
    else {
      known.changed = true;
      if (known.due === due) return;
      known.due = due;
      known.rung = false;
    }
    if (due === undefined || due === never) return;
    this.#push(due, entity);
    this.#lookAt(due);
  }

  #lookAt(due: number): void {
    if (!this.#running || this.#isFull) return;
    if (due <= this.#options.now()) this.#pumpSoon();
    else this.#armTimer();
  }

  /** The index has what memory knows of an entity. */
  saved(entity: string): void {
    const known = this.#known.get(entity);
    if (known === undefined) return;
    known.changed = false;
    const { due, rung } = known;
    if (due === undefined || due === never) this.#known.delete(entity);
    else if (this.#isBehindCursor(due, entity)) {
      // The row will be met again: one that has rung is remembered until then.
      if (rung) return;
      this.#known.delete(entity);
      this.#nextRow = Math.min(this.#nextRow, due);
    } else if (rung) this.#known.delete(entity);
  }

  #isBehindCursor(due: number, entity: string): boolean {
    return this.#cursor === undefined || compareAlarms({ due, entity }, this.#cursor) > 0;
  }

  #push(due: number, entity: string): void {
    this.#heap.push(due, entity);
    // What was let go or changed is still in there.
    if (this.#heap.size > 2 * this.#known.size + pageRows) this.#compact();
  }

  #compact(): void {
    this.#heap.clear();
    for (const [entity, { due, rung }] of this.#known) {
      if (due !== undefined && due !== never && !rung) this.#heap.push(due, entity);
    }
  }

  get nextDue(): number {
    return Math.min(this.#nextRow, this.#heap.firstDue);
  }

  #pumpSoon(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    this.#options.schedule(() => {
      this.#pumpScheduled = false;
      if (this.#running) this.#pump();
    }, 0);
  }

  #pump(): void {
    const now = this.#options.now();
    let left = Math.min(sliceAlarms, this.#options.room());
    let pages = slicePages;
    while (left > 0 && pages > 0 && this.nextDue <= now) {
      if (this.#nextRow <= this.#heap.firstDue) {
        this.#readPage(now);
        pages--;
        continue;
      }
      const due = this.#heap.firstDue;
      const entity = this.#heap.pop();
      const known = this.#known.get(entity);
      if (known === undefined || known.rung || known.due !== due) continue;
      if (known.changed || this.#isBehindCursor(due, entity)) known.rung = true;
      else this.#known.delete(entity);
      this.#options.ring(entity, due);
      // What it began may take more room than one.
      left = Math.min(left - 1, this.#options.room());
    }
    if (this.nextDue > now) this.#armTimer();
    else if (left <= 0 && this.#options.room() <= 0) this.#isFull = true;
    else this.#pumpSoon();
  }

  #readPage(now: number): void {
    const rows = this.#options.page({ to: now + 1, after: this.#cursor, limit: pageRows });
    for (const { due, entity } of rows) {
      const known = this.#known.get(entity);
      if (known === undefined) {
        this.#known.set(entity, { due, rung: false, changed: false });
        this.#heap.push(due, entity);
      } else if (!known.changed && known.rung && known.due === due) this.#known.delete(entity);
    }
    const last = rows.at(-1);
    if (last !== undefined) this.#cursor = last;
    if (rows.length === pageRows) this.#nextRow = last!.due;
    else this.#nextRow = this.#options.page({ after: this.#cursor, limit: 1 })[0]?.due ?? Number.POSITIVE_INFINITY;
  }

  #armTimer(): void {
    const now = this.#options.now();
    const due = this.nextDue;
    if (due - now > timerMsMax || (this.#timerAt <= due && this.#timerAt > now)) return;
    this.#timerAt = due;
    this.#options.schedule(
      () => {
        this.#timerAt = Number.POSITIVE_INFINITY;
        if (this.#running && !this.#isFull) this.#pump();
      },
      Math.max(1, due - now),
    );
  }
}

export function compareAlarms(a: AlarmRecord, b: AlarmRecord): number {
  return a.due - b.due || compareIds(a.entity, b.entity);
}

/** A binary heap of times with their entities, as two columns. */
class AlarmHeap {
  readonly #dues: number[] = [];
  readonly #entities: string[] = [];

  get size(): number {
    return this.#dues.length;
  }

  get firstDue(): number {
    return this.#dues.length === 0 ? Number.POSITIVE_INFINITY : this.#dues[0]!;
  }

  clear(): void {
    this.#dues.length = 0;
    this.#entities.length = 0;
  }

  push(due: number, entity: string): void {
    let at = this.#dues.length;
    this.#dues.push(due);
    this.#entities.push(entity);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#dues[parent]! <= due) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#dues[at] = due;
    this.#entities[at] = entity;
  }

  countUpTo(due: number, at = 0): number {
    if (at >= this.#dues.length || this.#dues[at]! > due) return 0;
    return 1 + this.countUpTo(due, 2 * at + 1) + this.countUpTo(due, 2 * at + 2);
  }

  /** The entity of the first. */
  pop(): string {
    const first = this.#entities[0]!;
    const due = this.#dues.pop()!;
    const entity = this.#entities.pop()!;
    const size = this.#dues.length;
    if (size === 0) return first;
    let at = 0;
    for (let child = 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && this.#dues[child + 1]! < this.#dues[child]!) child++;
      if (this.#dues[child]! >= due) break;
      this.#move(child, at);
      at = child;
    }
    this.#dues[at] = due;
    this.#entities[at] = entity;
    return first;
  }

  #move(from: number, to: number): void {
    this.#dues[to] = this.#dues[from]!;
    this.#entities[to] = this.#entities[from]!;
  }
}
