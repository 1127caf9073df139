// Participant: a shard's part in transactions that another shard decides about.
//
//   hold      its entities are taken, and the operations decided in memory: yes with what they came to, or the reason for no
//   prepare   what it would write is put into the log as pending entries; the answer goes when they are durable. A part that
//             only reads is done with it: every entity of the transaction is held at that moment
//   settle    commit: the events are written once more, now into the histories, and the hold ends. Abort: it ends, and
//             pending entries are overwritten first
//   inquire   asked by this shard, of the one that decides, when it has not heard of a transaction for a while, or finds one
//             prepared when it is opened
//
// P5. A prepared part is neither applied nor given up before its coordinator has said which.
// P6. Pending entries that come to nothing are overwritten where they lie; those that were applied are reached from the entry
//     that applied them, and go with it.
// P7. What is refused, here or on any other shard before anything is prepared, leaves no trace.
// Not promised: an end while the coordinator's shard does not run. Its entities stay held; all others go on.
import { type EntryView, type EventLog, entityOfEntry, entryFlags } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import {
  encodeErrorReply,
  encodeRejectionReply,
  encodeReply,
  encodeResultsReply,
  type Reply,
  readHoldBody,
  readSettleBody,
  readTransactionKey,
  rejection,
  replyKind,
  requestKind,
  type TransactionKey,
  writeTransactionKey,
} from "@heddle/protocol/internal";
import { messageOf } from "../decoding.ts";
import type { Entity } from "../entity.ts";
import { bodyOf, type Frame } from "../frame.ts";
import type { Waiter } from "../holder.ts";
import type { Memory } from "../memory.ts";
import type { OpenGroups } from "../open-groups.ts";
import type { Parts } from "../parts.ts";
import { nextTurnOf } from "../shard-options.ts";
import { Hold } from "./hold.ts";
import { addTo, HoldsByTransaction, take } from "./holds.ts";
import type { OpenTransactions } from "./open-transactions.ts";
import { checkSendable, encodeResults } from "./outcomes.ts";
import type { Plan } from "./plan.ts";
import type { PlanWriter } from "./plan-writer.ts";
import { entityOfOperation, type Planner } from "./planner.ts";

/** A hold of which nothing was heard for so long has its coordinator asked. */
const askAfterMs = 1_000;
/** Between two questions that found no answer; the first pause is the shorter one, and each is twice as long. */
const askPauseMs = 100;
const askPauseMsMax = 5_000;
/** A prepared hold is told in the log once it has waited for its decision for so long. */
const tellAfterMs = 5_000;
/** Bytes that the memory for a reply is reckoned with while it waits. */
const replyBytes = 64;

export class Participant {
  readonly #parts: Parts;
  readonly #planner: Planner;
  readonly #writer: PlanWriter;
  /** Of transactions that other shards decide about. */
  readonly #holds = new HoldsByTransaction();
  #memory!: Memory;
  #log!: EventLog;
  #groups!: OpenGroups;
  #open!: OpenTransactions;

  constructor(parts: Parts, planner: Planner, writer: PlanWriter) {
    this.#parts = parts;
    this.#planner = planner;
    this.#writer = writer;
  }

  get holds(): Iterable<Hold> {
    return this.#holds.all();
  }

  /** Takes on a memory, with the holds of what is prepared in the log. */
  attach(memory: Memory): void {
    this.#memory = memory;
    this.#log = memory.log;
    this.#groups = memory.groups;
    this.#open = memory.transactions;
    this.#holds.clear();
    const positions = [...this.#open.pending.keys()].sort((a, b) => a - b);
    for (const position of positions) this.#holdAgain(position, this.#open.pending.get(position)!);
  }

  hold(frame: Frame): void {
    const { bytes } = frame;
    const fields = readHoldBody(bytes, bodyOf(frame), frame.to);
    let { hold } = frame;
    if (hold === undefined) {
      const { coordinator, number } = fields;
      invariant(this.#holds.find(fields) === undefined, "transaction/one-hold", { coordinator, number });
      const since = this.#parts.options.clock.monotonic();
      hold = new Hold(coordinator, number, since);
      hold.askAt = since + askAfterMs;
      this.#holds.add(hold);
    } else if (hold.state === "over") {
      // Given up while it waited.
      throw new HeddleError("TRANSACTION_ABORTED", { reason: "it was given up by the shard that decides" });
    }
    try {
      const ids = fields.operations.map(({ from, to }) => entityOfOperation(this.#parts, bytes, from, to));
      const other = take(hold, ids, this.#memory.activation);
      if (other !== undefined) {
        this.#parts.waitAs(hold, other, frame);
        return;
      }
      const plan = this.#planner.make(bytes, fields.operations, hold.entities);
      if ("rejection" in plan) {
        const refusal = encodeRejectionReply(frame.call, rejection("TRANSACTION_REJECTED", plan));
        this.#groups.say(frame, this.#saw(hold), refusal);
        this.#end(hold);
        return;
      }
      this.#planner.keep(plan);
      hold.plan = plan;
      hold.state = "taken";
      const { results } = plan;
      if (!fields.isLast) {
        this.#parts.options.replies.frame(frame.connection, frame.to - frame.from, encodeResults(frame.call, results));
        return;
      }
      // States may be what cannot be sent, and then that must be known before anything is written.
      checkSendable(results);
      this.#prepare(frame, hold, plan, true);
    } catch (thrown) {
      const saw = this.#saw(hold);
      this.#end(hold);
      if (!(thrown instanceof HeddleError)) throw thrown;
      // It may be so only because of what is not durable yet.
      this.#groups.say(frame, saw, encodeErrorReply(frame.call, thrown));
    }
  }

  prepare(frame: Frame): void {
    const hold = this.#holds.find(readTransactionKey(frame.bytes, bodyOf(frame), frame.to));
    if (hold?.state !== "taken") {
      throw new HeddleError("TRANSACTION_ABORTED", { reason: "a shard has lost its hold" });
    }
    this.#prepare(frame, hold, hold.plan!, false);
  }

  settle(frame: Frame): void {
    const fields = readSettleBody(frame.bytes, bodyOf(frame), frame.to);
    const hold = this.#holds.find(fields);
    if (hold === undefined) {
      // Settled before, and the answer was lost. Or the log was cut before what was prepared: a restore to some time can do that.
      if (fields.commits && fields.position > 0) this.#checkWasPrepared(fields.number, fields.position);
      this.#groups.say(frame, this.#groups.hasUndurable, valueReply(frame, null));
    } else if (fields.commits) {
      this.#parts.checkWritable();
      this.#apply(hold);
      const { call } = frame;
      this.#groups.sayLater(frame, replyBytes, () => {
        this.#parts.options.crashPoint?.("transaction:settled");
        return encodeReply(replyKind.value, call, null);
      });
    } else {
      this.#giveUp(hold);
      this.#parts.options.replies.frame(frame.connection, frame.to - frame.from, valueReply(frame, null));
    }
  }

  /** Asks about holds of which nothing was heard. To be called every now and then. */
  tick(now: number): void {
    for (const hold of this.#holds.all()) {
      if (now >= hold.askAt && !hold.isAsking && hold.state !== "aborting") this.#ask(hold);
    }
  }

  /** Asks about everything that is prepared. To be called when the shard is open. */
  askAll(): void {
    for (const hold of this.#holds.all()) if (!hold.isAsking) this.#ask(hold);
  }

  // ——— steps

  // The answer are the results for a part that was asked to hold and to prepare at once, else the positions.
  #prepare(frame: Frame, hold: Hold, plan: Plan, isBoth: boolean): void {
    if (plan.writes.length === 0) {
      this.#groups.say(frame, this.#saw(hold), valueReply(frame, isBoth ? plan.results : hold.positions));
      this.#end(hold);
      return;
    }
    this.#parts.checkWritable();
    this.#writer.writePending(hold, plan);
    hold.state = "prepared";
    const { call } = frame;
    this.#groups.sayLater(frame, replyBytes * plan.writes.length, () => {
      this.#parts.options.crashPoint?.("transaction:prepared");
      return isBoth ? encodeResultsReply(call, plan.results) : encodeReply(replyKind.value, call, hold.positions);
    });
  }

  #apply(hold: Hold): void {
    invariant(hold.state === "prepared", "transaction/commit-prepared-only", {
      state: hold.state,
      coordinator: hold.coordinator,
      number: hold.number,
    });
    if (hold.plan === undefined) this.#applyAgain(hold);
    else this.#writer.apply(hold.plan, hold.positions);
    this.#end(hold);
  }

  #giveUp(hold: Hold): void {
    if (hold.state === "prepared") void this.#abort(hold);
    else if (hold.state !== "aborting") this.#end(hold);
  }

  // The entities stay held until nothing is left of what was prepared: an erasure that comes next must not find it.
  async #abort(hold: Hold): Promise<void> {
    const log = this.#log;
    const { options } = this.#parts;
    hold.state = "aborting";
    const isOver = () => this.#log !== log || log.failed || !this.#parts.isServing();
    const done = this.#parts.beginWork();
    try {
      while (!isOver() && hold.positions.at(-1)! >= log.durableEnd) await nextTurnOf(options);
      if (isOver()) return;
      options.crashPoint?.("transaction:aborting");
      await log.erase(hold.positions, () => nextTurnOf(options));
      while (!isOver() && this.#parts.isHeldBack()) await nextTurnOf(options);
      if (isOver()) return;
      this.#writer.writeJournal({ kind: "aborted", positions: hold.positions });
      this.#end(hold);
      this.#parts.endTurn();
    } catch (thrown) {
      if (isOver()) return;
      // Such as a full disk. It is prepared as before, and asked about again.
      const { shard, report } = options;
      report("warn", "what a transaction had prepared could not be overwritten; it is tried again", {
        shard,
        error: messageOf(thrown),
      });
    } finally {
      if (hold.state === "aborting") {
        hold.state = "prepared";
        this.#askLater(hold);
      }
      done();
    }
  }

  /** A hold is over without this having ended it. */
  forget(hold: Hold): void {
    this.#holds.delete(hold);
  }

  #end(hold: Hold): void {
    this.#holds.delete(hold);
    this.#parts.letGo(hold);
  }

  /** Whether what a hold's entities are is not durable yet. */
  #saw({ entities }: Hold): boolean {
    return entities.some((entity) => this.#groups.isUndurable(entity));
  }

  // ——— after a recovery

  #holdAgain(position: number, key: TransactionKey): void {
    let hold = this.#holds.find(key);
    if (hold === undefined) {
      hold = new Hold(key.coordinator, key.number, this.#parts.options.clock.monotonic());
      hold.state = "prepared";
      hold.positions = [];
      this.#holds.add(hold);
    }
    const entry = this.#log.read(position);
    const entity = this.#memory.activation.activate(entityOfEntry(entry));
    invariant(entity.hold === undefined || entity.hold === hold, "transaction/one-hold", { entity: entity.id });
    addTo(hold, entity);
    (hold.positions as number[]).push(position);
  }

  // Of an entity that was erased after a backup was made, what it had prepared then is erased there too: that came to nothing.
  #applyAgain({ positions, entities }: Hold): void {
    const gone: number[] = [];
    const whole: number[] = [];
    const entries: EntryView[] = [];
    const theirs: Entity[] = [];
    for (const [i, position] of positions.entries()) {
      const entry = this.#log.read(position);
      if ((entry.flags & entryFlags.erased) !== 0) gone.push(position);
      else {
        whole.push(position);
        entries.push(entry);
        theirs.push(entities[i]!);
      }
    }
    this.#writer.apply(this.#writer.planOf(entries, theirs), whole);
    if (gone.length > 0) this.#writer.writeJournal({ kind: "aborted", positions: gone });
  }

  #checkWasPrepared(number: number, position: number): void {
    try {
      if (position < this.#log.durableEnd) {
        const entry = this.#log.read(position);
        if ((entry.flags & entryFlags.pending) !== 0 && entry.call === number) return;
      }
    } catch {
      // No entry lies there.
    }
    const { shard, report } = this.#parts.options;
    report("error", "a transaction was committed of which this shard's part is missing; was its log cut?", {
      shard,
      position,
    });
  }

  // ——— inquiries

  #ask(hold: Hold): void {
    const { calls } = this.#parts.options;
    if (calls === undefined) return;
    hold.isAsking = true;
    const { coordinator } = hold;
    calls.call(
      requestKind.inquire,
      coordinator,
      (reserve) => writeTransactionKey(hold, reserve),
      (reply) => this.#parts.guarded(() => this.#onAnswer(hold, reply)),
    );
  }

  #onAnswer(hold: Hold, reply: Reply): void {
    hold.isAsking = false;
    // It may be over, or the shard may have lost its memory of it, and have another in its place.
    if (this.#holds.find(hold) !== hold) return;
    if (reply.kind === "value") {
      hold.failures = 0;
      if (reply.value !== true) this.#giveUp(hold);
      else if (hold.state === "prepared") this.#parts.resume([this.#applyLater(hold)]);
      else this.#askLater(hold);
      return;
    }
    // Without its thread, no coordinator can commit what this shard has not prepared.
    const isLost = reply.kind === "error" && reply.error.code === "OUTCOME_UNKNOWN";
    if (isLost && hold.state !== "prepared") this.#giveUp(hold);
    else this.#askLater(hold);
  }

  #applyLater(hold: Hold): Waiter {
    const isStill = () => this.#holds.find(hold) === hold && hold.state === "prepared";
    return {
      number: 0,
      since: this.#parts.options.clock.monotonic(),
      resume: () => {
        if (!isStill()) return;
        // Such as while the disk is full: it is asked about again.
        if (this.#parts.isServing()) this.#apply(hold);
        else this.#askLater(hold);
      },
      refuse: () => {},
      expire: () => {},
      forget: () => {},
    };
  }

  #askLater(hold: Hold): void {
    const pause = Math.min(askPauseMsMax, askPauseMs * 2 ** hold.failures);
    hold.failures = Math.min(hold.failures + 1, 10);
    const now = this.#parts.options.clock.monotonic();
    hold.askAt = now + pause;
    if (hold.state === "prepared" && !hold.isTold && now - hold.since >= tellAfterMs) this.#tell(hold, now);
  }

  #tell(hold: Hold, now: number): void {
    hold.isTold = true;
    const { shard, report } = this.#parts.options;
    report("warn", "a prepared transaction waits for the shard that decides; its entities stay held", {
      shard,
      coordinator: hold.coordinator,
      transaction: hold.number,
      entities: hold.entities.length,
      heldMs: Math.round(now - hold.since),
      advice: `see why shard ${hold.coordinator} does not answer: /readyz and its lines in this log`,
    });
  }
}

function valueReply({ call }: Frame, value: unknown): Uint8Array {
  return encodeReply(replyKind.value, call, value);
}
