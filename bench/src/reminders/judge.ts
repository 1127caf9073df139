// What a store says of reminders: each that was due was delivered once, with what it was to bring, and none before its time.
//
// Read from the segments of a stopped node, with the rules of no part of the node but the log's format. The time of a delivery
// is the one that its entry has: when the shard decided it, not yet when it was durable.
import { besideFlags, type EntryView, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { EntryDecoder } from "@heddle/shard/internal";
import { findLogFolders } from "../referee/read-store.ts";
import { LatencyHistogram, type LatencySummary } from "../statistics/histogram.ts";
import { accountOf, amountOf, dueOf, duePerEntity, nameOf, type ReminderPlan } from "./plan.ts";

export interface ReminderVerdict {
  readonly delivered: number;
  readonly lost: number;
  readonly early: number;
  /** From when one was due to when its delivery was decided, in ms. */
  readonly lag: LatencySummary;
  /** When the last was delivered, in milliseconds since 1970. */
  readonly lastAt: number;
  /** The second with the most deliveries. */
  readonly perSecondMax: number;
  readonly objections: readonly string[];
  readonly objectionTotal: number;
}

const objectionsShownMax = 20;

export function judgeReminders(data: string, plan: ReminderPlan): ReminderVerdict {
  const fold = new ReminderFold(plan);
  for (const folder of findLogFolders(data)) {
    const reader = new LogReader(nodeDisk, folder);
    try {
      reader.scan(0, (entry) => fold.entry(entry));
    } finally {
      reader.close();
    }
  }
  return fold.verdict();
}

/** Exported for tests: fed with entries, in the order of their log. */
export class ReminderFold {
  readonly #plan: ReminderPlan;
  readonly #decoder = new EntryDecoder();
  /** By entity, a bit for each reminder that was delivered. */
  readonly #delivered: Uint8Array;
  readonly #lastSeq: Uint32Array;
  readonly #lag = new LatencyHistogram();
  readonly #perSecond = new Map<number, number>();
  readonly #objections: string[] = [];
  #objectionTotal = 0;
  #count = 0;
  #early = 0;
  #lastAt = 0;

  constructor(plan: ReminderPlan) {
    this.#plan = plan;
    this.#delivered = new Uint8Array(plan.entities);
    this.#lastSeq = new Uint32Array(plan.entities);
  }

  entry(entry: EntryView): void {
    if ((entry.flags & besideFlags) !== 0) return;
    const { entity, id } = this.#decoder.open(entry);
    if (entity.startsWith("$")) return;
    const number = Number(entity.slice(entity.indexOf("/") + 1));
    if (!(number < this.#plan.entities) || entity !== accountOf(number)) {
      this.#object(`${entity}: nobody opened it`);
      return;
    }
    if (entry.firstSeq !== this.#lastSeq[number]! + 1) {
      this.#object(`${entity}: sequence ${entry.firstSeq} follows ${this.#lastSeq[number]}`);
    }
    this.#lastSeq[number] = entry.firstSeq + entry.eventCount - 1;
    if (entry.firstSeq > 1) this.#delivery(entry, number, id);
  }

  #delivery(entry: EntryView, entity: number, id: string): void {
    const reminder = Array.from({ length: duePerEntity }, (_, place) => place).find(
      (place) => id === `reminder:${nameOf(place)}:${dueOf(this.#plan, entity, place)}`,
    );
    if (reminder === undefined) {
      this.#object(`${accountOf(entity)}: ${JSON.stringify(id)} is no reminder that was due`);
      return;
    }
    if ((this.#delivered[entity]! & (1 << reminder)) !== 0) this.#object(`${accountOf(entity)}: ${id} came twice`);
    this.#delivered[entity]! |= 1 << reminder;
    const [payload] = this.#decoder.payloads(entry) as [{ readonly amount?: unknown }];
    if (entry.eventCount !== 1 || payload.amount !== amountOf(entity, reminder)) {
      this.#object(`${accountOf(entity)}: ${id} brought ${JSON.stringify(payload)}`);
    }
    const late = entry.time - dueOf(this.#plan, entity, reminder);
    if (late < 0) {
      this.#early++;
      this.#object(`${accountOf(entity)}: ${id} came ${-late} ms early`);
    }
    this.#lag.record(late);
    this.#count++;
    this.#lastAt = Math.max(this.#lastAt, entry.time);
    const second = Math.floor(entry.time / 1_000);
    this.#perSecond.set(second, (this.#perSecond.get(second) ?? 0) + 1);
  }

  verdict(): ReminderVerdict {
    let lost = 0;
    for (const [entity, delivered] of this.#delivered.entries()) {
      for (let reminder = 0; reminder < duePerEntity; reminder++) {
        if ((delivered & (1 << reminder)) !== 0) continue;
        lost++;
        this.#object(`${accountOf(entity)}: the reminder ${nameOf(reminder)} never came`);
      }
    }
    return {
      delivered: this.#count,
      lost,
      early: this.#early,
      lag: this.#lag.summary(),
      lastAt: this.#lastAt,
      perSecondMax: Math.max(0, ...this.#perSecond.values()),
      objections: this.#objections,
      objectionTotal: this.#objectionTotal,
    };
  }

  #object(problem: string): void {
    this.#objectionTotal++;
    if (this.#objections.length < objectionsShownMax) this.#objections.push(problem);
  }
}
