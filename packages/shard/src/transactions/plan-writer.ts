// PlanWriter: takes what a transaction decided into the commit group that fills, in one step, so that all of it is in one
// record: durable as a whole or not at all (P5).
import { type EntryHeader, type EntryView, type EventLog, entryFlags } from "@heddle/event-log/internal";
import { invariant } from "@heddle/kernel/internal";
import { copyBytes, newAppendView, readAppendBody, type WireOperationResult } from "@heddle/protocol/internal";
import type { Activation } from "../activation.ts";
import type { Entity } from "../entity.ts";
import type { Memory } from "../memory.ts";
import type { OpenGroups } from "../open-groups.ts";
import type { Parts } from "../parts.ts";
import { EntryDecoder } from "../stored-events.ts";
import type { TypeCounts } from "../type-counts.ts";
import type { Hold } from "./hold.ts";
import { type JournalFacts, writeJournalBody } from "./journal.ts";
import type { OpenTransactions } from "./open-transactions.ts";
import type { Plan, PlannedWrite, Shadow } from "./plan.ts";

/** Who asked, as an entry's header tells it. */
type Asked = Pick<EntryHeader, "session" | "call" | "fingerprint" | "time">;

const nobody: Asked = { session: 0, call: 0, fingerprint: 0, time: 0 };

export class PlanWriter {
  readonly #parts: Parts;
  readonly #view = newAppendView();
  readonly #decoder = new EntryDecoder();
  readonly #header: EntryHeader = { ...nobody, flags: 0, firstSeq: 0, eventCount: 0, payloadsOffset: 0 };
  readonly #journalHeader: EntryHeader = { ...this.#header, flags: entryFlags.journal, eventCount: 1 };
  #log!: EventLog;
  #groups!: OpenGroups;
  #activation!: Activation;
  #types!: TypeCounts;
  #open!: OpenTransactions;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  attach({ log, groups, activation, types, transactions }: Memory): void {
    this.#log = log;
    this.#groups = groups;
    this.#activation = activation;
    this.#types = types;
    this.#open = transactions;
  }

  /** Writes a plan's events into the histories of their entities. The results get their positions. */
  write(plan: Plan): void {
    const { writes, results } = plan;
    for (let i = 0; i < writes.length; i++) {
      setPosition(results[writes[i]!.result]!, this.#writeOne(plan, writes[i]!, 0, 0));
    }
    this.#adopt(plan.shadows);
  }

  /** The same for a plan whose events are in the log as pending entries. */
  apply(plan: Plan, pendingAt: readonly number[]): void {
    const { writes } = plan;
    for (let i = 0; i < writes.length; i++) {
      this.#writeOne(plan, writes[i]!, entryFlags.applied, pendingAt[i]!);
      this.#open.dropPending(pendingAt[i]!);
    }
    this.#adopt(plan.shadows);
  }

  /** Writes a hold's plan as pending entries: nobody sees them yet. */
  writePending(hold: Hold, plan: Plan): void {
    const header = this.#header;
    header.session = hold.coordinator + 1;
    header.call = hold.number;
    const { writes, results } = plan;
    const positions = new Array<number>(writes.length);
    for (let i = 0; i < writes.length; i++) {
      const position = this.#add(plan, writes[i]!, entryFlags.pending);
      this.#groups.entities.push(undefined);
      this.#open.addPending(position, hold);
      setPosition(results[writes[i]!.result]!, position);
      positions[i] = position;
    }
    hold.positions = positions;
  }

  /** Returns the entry's position. */
  writeJournal(facts: JournalFacts, id = "", asked = nobody): number {
    const body = writeJournalBody(facts, id, (wanted) => this.#log.reserve(wanted));
    const header = this.#journalHeader;
    header.session = asked.session;
    header.call = asked.call;
    header.fingerprint = asked.fingerprint;
    header.time = asked.time;
    header.payloadsOffset = body.payloadsOffset;
    const position = this.#log.add(header, body.bytes);
    this.#groups.entities.push(undefined);
    this.#open.note(facts);
    return position;
  }

  /** The plan that pending entries stand for, after a recovery: they are of one transaction, in the order of the log. */
  planOf(entries: readonly EntryView[], entities: readonly Entity[]): Plan {
    const shadows = new Map<Entity, Shadow & { states: unknown[] }>();
    const writes: PlannedWrite[] = [];
    const { domain } = this.#parts.options;
    const bytes = Buffer.concat(entries.map((entry) => entry.bytes.subarray(entry.bodyFrom, entry.bodyTo)));
    let from = 0;
    for (const [i, entry] of entries.entries()) {
      const { flags, firstSeq, eventCount: count, time, payloadsOffset } = entry;
      const entity = entities[i]!;
      let shadow = shadows.get(entity);
      if (shadow === undefined) {
        shadow = { entity, seq: entity.seq, time, states: this.#activation.statesOf(entity).slice() };
        shadows.set(entity, shadow);
      }
      const seen = shadow.states.map(() => firstSeq - 1);
      this.#decoder.foldInto(shadow.states, entry, domain, seen);
      shadow.seq += count;
      const to = from + entry.bodyTo - entry.bodyFrom;
      const own = { flags: flags & ~entryFlags.pending, proposed: undefined, result: i };
      writes.push({ ...own, entity, firstSeq, count, time, payloadsOffset, from, to });
      from = to;
    }
    return { bytes, from: 0, writes, shadows: [...shadows.values()], results: [] };
  }

  #writeOne(plan: Plan, write: PlannedWrite, flags: number, call: number): number {
    const { entity, firstSeq, count, time, proposed } = write;
    invariant(firstSeq === entity.seq + 1, "P1/no-gap", { entity: entity.id, firstSeq, seq: entity.seq });
    this.#header.session = 0;
    this.#header.call = call;
    this.#activation.beforeChange(entity);
    if (proposed !== undefined) this.#types.add(proposed, count);
    else {
      readAppendBody(plan.bytes, plan.from + write.from, plan.from + write.to, this.#parts.texts, this.#view);
      this.#types.addEntry(plan, this.#view);
    }
    const position = this.#add(plan, write, flags);
    this.#activation.extend(entity, count, position, time);
    this.#groups.entities.push(entity);
    this.#parts.counters.appends++;
    return position;
  }

  #add(plan: Plan, write: PlannedWrite, flags: number): number {
    const { from, to } = write;
    const { bytes, at } = this.#log.reserve(to - from);
    copyBytes(plan.bytes, plan.from + from, plan.from + to, bytes, at);
    const header = this.#header;
    header.flags = write.flags | flags;
    header.firstSeq = write.firstSeq;
    header.time = write.time;
    header.eventCount = write.count;
    header.payloadsOffset = write.payloadsOffset;
    return this.#log.add(header, to - from);
  }

  #adopt(shadows: readonly Shadow[]): void {
    for (let i = 0; i < shadows.length; i++) {
      const { entity, states } = shadows[i]!;
      if (states !== undefined) entity.states = states;
    }
  }
}

// A result was made with room for the position, which nobody knew then.
function setPosition(result: WireOperationResult, position: number): void {
  if (result.length === 6) (result as unknown as number[])[4] = position;
}
