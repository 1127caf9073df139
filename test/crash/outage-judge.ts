// What a store says of reminders after an outage: each policy was kept to, none came early, none twice, none is lost, and no second
// had more of them than the bound allows.
//
// Read from the segments of a stopped node, with the rules of no part of the node but the log's format. The time of a delivery is
// the one that its entry has: when the shard decided it. What was passed over stands in the history of `$reminders/…`.
//
// An occurrence is missed when it would leave more than a minute late (reminder's release.ts):
//   all      every occurrence was delivered
//   latest   the last was delivered, and of those before it those that were not had been missed when the next one came, which
//            was then the last that there was
//   skip     every occurrence was delivered no more than a minute late, or is on record as missed, and was
import { besideFlags, type EntryView, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { logFolderOf } from "@heddle/runtime/internal";
import { EntryDecoder } from "@heddle/shard/internal";
import { accountOf, amountOf, type OutagePlan, remindersOf, remindersPerEntity } from "./outage-plan.ts";

export interface OutageVerdict {
  /** By the policy of the reminder. */
  readonly delivered: { readonly all: number; readonly latest: number; readonly skip: number };
  /** Occurrences that were neither delivered nor to be delivered. */
  readonly passedOver: number;
  /** From when one was due to when its delivery was decided. */
  readonly lagMsMax: number;
  /** The second of the wall clock with the most deliveries. */
  readonly perSecondMax: number;
  /** The most deliveries, over any stretch of time, beyond what the bound allows for so long. */
  readonly aheadMax: number;
  readonly objections: readonly string[];
  readonly objectionTotal: number;
}

const missedAfterMs = 60_000;
/**
 * Between what was decided to leave and its delivery: nothing, unless the entity's shard had to put it off and tried again.
 */
const decisionMsMax = 2_000;
/** A node may release so much of a second's reminders at once (reminder's release-rate.ts). */
const burstSeconds = 0.05;
/** What leaves in one turn of a shard has the time at which the turn began; on a busy machine it may last. */
const turnSecondsMax = 0.5;
const objectionsShownMax = 20;
const remindersPrefix = "$reminders/";

/** What `aheadMax` may be: a burst, what leaves in a turn, and the rest of an account's batch, which goes out whole. */
export function aheadAllowed({ perSecond, threads }: { readonly perSecond: number; readonly threads: number }): number {
  return perSecond * (burstSeconds + turnSecondsMax) + threads * remindersPerEntity;
}

export function judgeOutage(data: string, shards: number, plan: OutagePlan, perSecond: number): OutageVerdict {
  const fold = new OutageFold(plan, perSecond);
  for (let shard = 0; shard < shards; shard++) {
    const reader = new LogReader(nodeDisk, logFolderOf(data, shard));
    const decoder = new EntryDecoder();
    try {
      reader.scan(0, (entry) => readEntry(entry, decoder, fold));
    } finally {
      reader.close();
    }
  }
  return fold.verdict();
}

function readEntry(entry: EntryView, decoder: EntryDecoder, fold: OutageFold): void {
  if ((entry.flags & besideFlags) !== 0) return;
  const { entity, id, types } = decoder.open(entry);
  if (entity.startsWith(remindersPrefix)) {
    if (types[0] !== "Delivered") return;
    const owner = entity.slice(remindersPrefix.length);
    for (const payload of decoder.payloads(entry)) {
      for (const item of (payload as { readonly items: readonly RecordedItem[] }).items) {
        fold.recorded(owner, item, entry.time);
      }
    }
  } else if (entry.firstSeq > 1) {
    const [payload] = decoder.payloads(entry) as [{ readonly amount?: unknown }];
    fold.delivered(entity, id, payload.amount, entry.time);
  }
}

/** What the history of `$reminders/…` says of an occurrence, as far as it matters here. */
export interface RecordedItem {
  readonly name: string;
  readonly from: number;
  readonly due: number;
  readonly outcome: string;
}

/** One reminder of one account: by occurrence, when it was delivered (0: it was not), and whether it is on record as missed. */
interface Seen {
  readonly at: Float64Array;
  missed: number;
}

export class OutageFold {
  readonly #plan: OutagePlan;
  readonly #perSecond: number;
  /** By account and reminder, made when something comes of it. */
  readonly #seen = new Map<number, Seen>();
  /** Deliveries by millisecond: they come from several logs, and count together. */
  readonly #byMs = new Map<number, number>();
  readonly #objections: string[] = [];
  #objectionTotal = 0;
  #lagMsMax = 0;

  constructor(plan: OutagePlan, perSecond: number) {
    this.#plan = plan;
    this.#perSecond = perSecond;
  }

  delivered(entity: string, id: string, amount: unknown, time: number): void {
    const [, name = "", due = ""] = /^reminder:(.*):(\d+)$/.exec(id) ?? [];
    const place = this.#placeOf(entity, name, Number(due));
    if (place === undefined) {
      this.#object(`${entity}: ${JSON.stringify(id)} is no reminder that was due`);
      return;
    }
    const { number, reminder, occurrence, seen } = place;
    if (seen.at[occurrence] !== 0) this.#object(`${entity}: ${id} came twice`);
    seen.at[occurrence] = time;
    if (amount !== amountOf(number, reminder)) this.#object(`${entity}: ${id} brought ${JSON.stringify(amount)}`);
    const late = time - Number(due);
    if (late < 0) this.#object(`${entity}: ${id} came ${-late} ms early`);
    this.#lagMsMax = Math.max(this.#lagMsMax, late);
    this.#byMs.set(time, (this.#byMs.get(time) ?? 0) + 1);
  }

  recorded(entity: string, { name, from, due, outcome }: RecordedItem, time: number): void {
    if (outcome === "refused") this.#object(`${entity}: ${name} of ${due} was refused`);
    if (outcome !== "missed") return;
    const first = this.#placeOf(entity, name, from);
    const last = this.#placeOf(entity, name, due);
    if (first === undefined || last === undefined) {
      this.#object(`${entity}: ${name} was passed over from ${from} to ${due}, when it was not due`);
      return;
    }
    for (let occurrence = first.occurrence; occurrence <= last.occurrence; occurrence++) {
      first.seen.missed |= 1 << occurrence;
    }
    if (time - due <= missedAfterMs) this.#object(`${entity}: ${name} of ${due} was missed after ${time - due} ms`);
  }

  verdict(): OutageVerdict {
    const delivered = { all: 0, latest: 0, skip: 0 };
    let passedOver = 0;
    for (let number = 0; number < this.#plan.entities; number++) {
      for (const [reminder, { name, missed, occurrences }] of remindersOf(this.#plan, number).entries()) {
        if (occurrences.length === 0) continue;
        const { at, missed: onRecord } = this.#seenOf(number, reminder, occurrences.length);
        const came = at.filter((time) => time !== 0).length;
        delivered[missed] += came;
        passedOver += occurrences.length - came;
        const object = (place: number, problem: string) =>
          this.#object(`${accountOf(number)}: ${name} of ${occurrences[place]} ${problem}`);
        for (const [place, due] of occurrences.entries()) {
          const time = at[place]!;
          if (missed === "all" && time === 0) object(place, "never came");
          if (missed === "skip" && time === 0 && (onRecord & (1 << place)) === 0) object(place, "is lost");
          if (missed === "skip" && time - due > missedAfterMs + decisionMsMax)
            object(place, "came, though it was missed");
          if (missed === "latest") this.#judgeLatest(occurrences, at, place, object);
        }
      }
    }
    const { perSecondMax, aheadMax } = this.#rate();
    return {
      delivered,
      passedOver,
      lagMsMax: this.#lagMsMax,
      perSecondMax,
      aheadMax,
      objections: this.#objections,
      objectionTotal: this.#objectionTotal,
    };
  }

  #judgeLatest(
    occurrences: readonly number[],
    at: Float64Array,
    place: number,
    object: (place: number, problem: string) => void,
  ): void {
    const next = at[place + 1];
    if (at[place] !== 0) {
      // It stands for those before it that were missed, so it was the last by then.
      const isLast =
        place === 0 || at[place - 1] !== 0 || at[place]! - decisionMsMax < (occurrences[place + 1] ?? Infinity);
      if (!isLast) object(place, "came where a later one was due");
      return;
    }
    if (next === undefined) object(place, "never came, and was the latest");
    // Of those that are passed over in one go, the last is not a minute late yet only where the next one has just come.
    const standsFor = at.find((time, other) => other > place && time !== 0);
    if (standsFor !== undefined && standsFor - occurrences[place]! < missedAfterMs)
      object(place, "was not missed, and never came");
  }

  // A bucket that leaks as fast as the bound allows: what is in it is ahead of the bound.
  #rate(): { perSecondMax: number; aheadMax: number } {
    const perSecond = new Map<number, number>();
    let level = 0;
    let aheadMax = 0;
    let last = 0;
    for (const [time, count] of [...this.#byMs].sort(([a], [b]) => a - b)) {
      const second = Math.floor(time / 1_000);
      perSecond.set(second, (perSecond.get(second) ?? 0) + count);
      level = Math.max(0, level - ((time - last) / 1_000) * this.#perSecond) + count;
      last = time;
      aheadMax = Math.max(aheadMax, level);
    }
    return { perSecondMax: Math.max(0, ...perSecond.values()), aheadMax: Math.round(aheadMax) };
  }

  #placeOf(entity: string, name: string, due: number) {
    const number = Number(entity.slice(entity.indexOf("/") + 1));
    if (!(number < this.#plan.entities) || entity !== accountOf(number)) return undefined;
    const reminders = remindersOf(this.#plan, number);
    const reminder = reminders.findIndex((one) => one.name === name);
    const occurrences = reminders[reminder]?.occurrences ?? [];
    const occurrence = occurrences.indexOf(due);
    if (occurrence < 0) return undefined;
    return { number, reminder, occurrence, seen: this.#seenOf(number, reminder, occurrences.length) };
  }

  #seenOf(number: number, reminder: number, occurrences: number): Seen {
    const key = number * remindersPerEntity + reminder;
    const seen = this.#seen.get(key) ?? { at: new Float64Array(occurrences), missed: 0 };
    this.#seen.set(key, seen);
    return seen;
  }

  #object(problem: string): void {
    this.#objectionTotal++;
    if (this.#objections.length < objectionsShownMax) this.#objections.push(problem);
  }
}
