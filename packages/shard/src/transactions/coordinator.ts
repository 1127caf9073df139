// Coordinator: the shard that a transaction was sent to carries it out (docs/decisions/0010-two-syncs-to-commit.md).
//
// One shard: its entities are taken, everything is decided in memory, and all entries go into one commit group, in one turn.
//
// Several shards:
//   1. hold     shard by shard, in the order of their numbers, each decides its operations in memory while it holds their
//               entities. A no ends it; nothing was written anywhere (P7)
//   2. prepare  all of them write what they decided as pending entries. The last one asked to hold does so at once, for it
//               knows that all before it said yes
//   3. decide   when all are prepared, this shard's own entries and the decision go into one commit group. It is durable:
//               that is the moment at which the transaction has happened. The caller is answered
//   4. settle   the others write the events into their histories and let go of their entities
//
// P1. All entities of a transaction are held at one moment, from which to the decision those that are written stay held; so
//     all transactions, and all calls of single entities, are as if one came after the other.
// P4. A repeated call, or id, gets the first results.
// P5. What this shard's log does not say was decided never was (presumed abort): who asks about it is told so.
// P7. Refused, or given up before the decision, it leaves nothing but overwritten entries that nobody reads.
// Not promised: that a transaction ends well while one of its shards does not run. It is given up after a bounded time.
import { HeddleError } from "@heddle/kernel";
import { hashEntity, invariant, ofOperation, operationOf, shardOfHash, TurnoverMap } from "@heddle/kernel/internal";
import {
  type AnyRejection,
  encodeErrorReply,
  encodeRejectionReply,
  encodeReply,
  encodeTransactionReply,
  newTransactView,
  type OperationRange,
  type Reply,
  readTransactBody,
  readTransactionKey,
  rejection,
  replyKind,
  requestKind,
  u48Max,
  type WireOperationResult,
  writeHoldBody,
  writeSettleBody,
  writeTransactionKey,
} from "@heddle/protocol/internal";
import { sized } from "../decoding.ts";
import { bodyOf, type Frame } from "../frame.ts";
import type { Waiter } from "../holder.ts";
import type { Memory } from "../memory.ts";
import type { OpenGroups } from "../open-groups.ts";
import type { Parts } from "../parts.ts";
import type { Repeats } from "../repeats.ts";
import { fingerprintOfOperations } from "./fingerprint.ts";
import { Hold } from "./hold.ts";
import { take } from "./holds.ts";
import { journalEntity } from "./journal.ts";
import { checkSendable, encodeOutcome } from "./outcomes.ts";
import type { Plan } from "./plan.ts";
import type { PlanWriter } from "./plan-writer.ts";
import { entityOfOperation, type Planner } from "./planner.ts";
import { type Known, UnderWay } from "./under-way.ts";

/** Between two attempts to have a shard settle: the first pause is the shorter one, and each is twice as long. */
const settlePauseMs = 100;
const settlePauseMsMax = 5_000;
/** Decisions that say the same of what is settled before it is looked at anew. */
const notesPerLook = 64;

interface Operation extends OperationRange {
  /** Its place among all operations of the transaction. */
  readonly index: number;
  readonly entity: string;
}

/** What one shard has to do with a transaction. */
interface Part {
  readonly shard: number;
  /** None any more once all is decided. */
  operations: readonly Operation[];
  /** `asked`: to hold. `held`: it has said yes. `ready`: what it writes is prepared, or it has nothing to write. */
  state: "idle" | "asked" | "held" | "ready";
  writes: boolean;
  /** Position of its first pending entry. */
  position: number;
}

interface Coordination extends Known<Coordination> {
  readonly number: number;
  readonly frame: Frame;
  readonly fingerprint: number;
  readonly parts: readonly Part[];
  readonly results: WireOperationResult[];
  /** This shard's own part. */
  readonly hold: Hold;
  plan: Plan | undefined;
  /** The part that is asked to hold now. */
  at: number;
  state: "holding" | "preparing" | "deciding" | "over";
  /** Monotonic time at which this state, or the asking of this part, began. */
  since: number;
  /** The same call once more, and others who ask what became of it: answered at its end. */
  repeats: Waiter[] | undefined;
  inquirers: Frame[] | undefined;
}

type Unsettled = Pick<Part, "shard" | "position">;

/** A decided transaction that others have still to apply. */
interface Settling {
  readonly number: number;
  /** Each with the position of its first pending entry there; 0 where that is not known any more. */
  readonly left: Unsettled[];
  /** From before the shard was opened: its settling is noted in the log. */
  readonly isRecovered: boolean;
  tryAt: number;
  failures: number;
  isAsking: number;
}

export class Coordinator {
  readonly #parts: Parts;
  readonly #repeats: Repeats;
  readonly #planner: Planner;
  readonly #writer: PlanWriter;
  readonly #view = newTransactView();
  readonly #firstNumber: number;
  #nextNumber: number;
  /** By number, in the order in which they began. */
  readonly #active = new TurnoverMap<number, Coordination>();
  readonly #settling = new TurnoverMap<number, Settling>();
  readonly #underWay = new UnderWay<Coordination>();
  /** Their group failed: the log tells what became of them, once it is read again. */
  #undecided: Coordination[] = [];
  #memory!: Memory;
  #groups!: OpenGroups;
  #notesLeft = 0;
  #lastSettledBelow = 0;
  committed = 0;
  refused = 0;
  aborted = 0;

  constructor(parts: Parts, repeats: Repeats, planner: Planner, writer: PlanWriter) {
    this.#parts = parts;
    this.#repeats = repeats;
    this.#planner = planner;
    this.#writer = writer;
    // Numbers of one opening must not be those of an earlier one: others may ask about these.
    this.#firstNumber = 1 + (parts.options.random.safeInteger() % Math.floor(u48Max / 2));
    this.#nextNumber = this.#firstNumber;
  }

  /** Takes on a memory. What was decided before, as far as the log says, is to be settled. */
  attach(memory: Memory): void {
    this.#memory = memory;
    this.#groups = memory.groups;
    const { decided } = memory.transactions;
    for (const coordination of this.#undecided.splice(0)) {
      if (decided.has(coordination.number) || !coordination.parts.some(({ writes }) => writes)) continue;
      this.#tellAborted(coordination);
    }
    for (const number of this.#settling.keys()) if (!decided.has(number)) this.#settling.delete(number);
    for (const [number, shards] of decided) {
      if (this.#settling.has(number)) continue;
      const left = shards.map((shard) => ({ shard, position: 0 }));
      const isRecovered = number < this.#firstNumber || number >= this.#nextNumber;
      this.#settling.set(number, { number, left, isRecovered, tryAt: 0, failures: 0, isAsking: 0 });
    }
  }

  transact(frame: Frame): void {
    // One that has waited takes all anew, in this turn: nobody comes between.
    if (frame.hold !== undefined) this.#parts.letGo(frame.hold);
    frame.hold = undefined;
    const view = this.#view;
    const { bytes } = frame;
    readTransactBody(bytes, bodyOf(frame), frame.to, this.#parts.texts, view);
    const { id, operationCount, kinds, froms, tos } = view;
    const operations = new Array<Operation>(operationCount);
    let writes = false;
    for (let i = 0; i < operationCount; i++) {
      const kind = kinds[i]!;
      const entity = entityOfOperation(this.#parts, bytes, froms[i]!, tos[i]!);
      operations[i] = { kind, from: froms[i]!, to: tos[i]!, index: i, entity };
      if (kind !== requestKind.get) writes = true;
    }
    const fingerprint = fingerprintOfOperations(bytes, operations);
    if (this.#repeats.answersTransaction(frame, id, fingerprint)) return;
    if (this.#joins(frame, id)) return;
    if (writes) {
      this.#parts.checkWritable();
      this.#memory.sessions.checkRoom(this.#repeats.window, frame.call);
    }
    if (this.#areHere(operations)) this.#transactHere(frame, id, fingerprint, operations);
    else this.#begin(frame, id, fingerprint, operations);
  }

  /** Answers a shard that asks what became of a transaction: true for committed. */
  inquire(frame: Frame): void {
    const { number } = readTransactionKey(frame.bytes, bodyOf(frame), frame.to);
    const active = this.#active.get(number);
    if (active !== undefined) {
      active.inquirers ??= [];
      active.inquirers.push({ ...frame });
      return;
    }
    this.#tell(frame, this.#memory.transactions.decided.has(number));
  }

  /** Gives up what takes too long, and has others settle that have not. To be called every now and then. */
  tick(now: number): void {
    const { holdMs } = this.#parts.options.limits;
    for (const coordination of this.#active.values()) {
      const { state, since } = coordination;
      if ((state !== "holding" && state !== "preparing") || now - since <= holdMs) continue;
      this.#abort(coordination, aborted(`another shard has not answered for ${Math.round(now - since)} ms`));
    }
    this.#settleWhatIsDue(now);
  }

  /** Has others settle what was decided before the shard was opened. */
  settleAll(): void {
    this.#settleWhatIsDue(Number.POSITIVE_INFINITY);
  }

  /** The log has failed: what is not decided is given up, what may be is looked up in the log. */
  onLogFailure(error: HeddleError): void {
    for (const coordination of this.#active.values()) {
      if (coordination.state === "deciding") {
        this.#undecided.push(coordination);
        this.#finish(coordination, undefined);
      } else this.#abort(coordination, aborted(`its shard's log has failed: ${error.code}`));
    }
  }

  /** The shard closes, or stops: then what it is deciding will not become durable, as far as it knows. */
  stop(error: HeddleError, isFault: boolean): void {
    for (const coordination of this.#active.values()) {
      if (coordination.state !== "deciding") this.#abort(coordination, error);
      else if (isFault) this.#finish(coordination, undefined);
    }
  }

  /** Entities that its own part of transactions holds. */
  get heldEntities(): number {
    let held = 0;
    for (const { hold } of this.#active.values()) held += hold.entities.length;
    return held;
  }

  // ——— one shard

  #transactHere(frame: Frame, id: string, fingerprint: number, operations: readonly Operation[]): void {
    const hold = new Hold(this.#parts.options.shard, 0, 0);
    let waits = false;
    try {
      const ids = operations.map(({ entity }) => entity);
      const other = take(hold, ids, this.#memory.activation);
      if (other !== undefined) {
        waits = true;
        this.#parts.waitAs(hold, other, frame);
        return;
      }
      const plan = this.#planner.make(frame.bytes, operations, hold.entities);
      if ("rejection" in plan) {
        this.refused++;
        this.#sayRejection(frame, rejection("TRANSACTION_REJECTED", plan), this.#saw(hold));
        return;
      }
      const { results } = plan;
      if (plan.writes.length === 0) {
        this.#groups.say(frame, this.#saw(hold), encodeOutcome(frame.call, results));
        this.committed++;
        return;
      }
      // States may be what cannot be sent, and then that must be known before anything is written.
      checkSendable(results);
      this.#writer.write(plan);
      this.#note(frame, id, fingerprint, 0, noShards, results);
      const { call } = frame;
      this.#groups.sayLater(frame, replyBytesOf(results), () => {
        this.committed++;
        return sized(encodeTransactionReply(call, results, false), call);
      });
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      this.#parts.counters.countError(thrown.code);
      // It may be so only because of what is not durable yet.
      this.#groups.say(frame, this.#saw(hold), encodeErrorReply(frame.call, thrown));
    } finally {
      if (!waits) this.#parts.letGo(hold);
    }
  }

  // ——— several shards

  #begin(frame: Frame, id: string, fingerprint: number, operations: readonly Operation[]): void {
    const { shard, clock, calls } = this.#parts.options;
    if (calls === undefined) {
      throw new HeddleError("SHARD_STOPPED", { shard, reason: "nothing leads from it to other shards" });
    }
    const number = this.#nextNumber++;
    const now = clock.monotonic();
    const coordination: Coordination = {
      number,
      id,
      sameKey: undefined,
      frame: { ...frame, hold: undefined },
      fingerprint,
      parts: this.#partsOf(operations),
      results: new Array<WireOperationResult>(operations.length),
      hold: new Hold(shard, number, now),
      plan: undefined,
      at: 0,
      state: "holding",
      since: now,
      repeats: undefined,
      inquirers: undefined,
    };
    this.#active.set(number, coordination);
    this.#underWay.add(coordination);
    this.#hold(coordination);
  }

  #goOn(coordination: Coordination): void {
    coordination.since = this.#parts.options.clock.monotonic();
    this.#hold(coordination);
  }

  // Goes on with the parts that have not been asked yet, until one has to be waited for.
  #hold(coordination: Coordination): void {
    const { parts } = coordination;
    const { shard } = this.#parts.options;
    while (coordination.state === "holding" && coordination.at < parts.length) {
      const part = parts[coordination.at]!;
      if (part.shard !== shard) {
        this.#askToHold(coordination, part);
        return;
      }
      if (!this.#holdHere(coordination, part)) return;
      coordination.at++;
    }
    if (coordination.state === "holding") this.#prepare(coordination);
  }

  #askToHold(coordination: Coordination, part: Part): void {
    const { number, frame } = coordination;
    const { shard, calls } = this.#parts.options;
    const isLast = coordination.at === coordination.parts.length - 1;
    part.state = "asked";
    const fields = { coordinator: shard, number, isLast, operations: part.operations };
    calls!.call(
      requestKind.hold,
      part.shard,
      (reserve) => writeHoldBody(fields, frame.bytes, reserve),
      (reply) => this.#parts.guarded(() => this.#onHeld(coordination, part, isLast, reply)),
    );
  }

  #onHeld(coordination: Coordination, part: Part, isLast: boolean, reply: Reply): void {
    if (coordination.state !== "holding") return;
    if (reply.kind !== "value") {
      part.state = "idle";
      this.#onNo(coordination, part, reply);
      return;
    }
    const results = reply.value as WireOperationResult[];
    takeResults(coordination, part, results);
    part.state = isLast ? "ready" : "held";
    part.position = firstPositionOf(results);
    coordination.at++;
    this.#goOn(coordination);
  }

  /** Says whether this shard's own part is held now; if not, it waits, or all is over. */
  #holdHere(coordination: Coordination, part: Part): boolean {
    const { frame, hold } = coordination;
    part.state = "asked";
    try {
      const ids = part.operations.map(({ entity }) => entity);
      const other = take(hold, ids, this.#memory.activation);
      if (other !== undefined) {
        this.#parts.enlist(other, this.#waiterOf(coordination));
        return false;
      }
      const plan = this.#planner.make(frame.bytes, part.operations, hold.entities);
      if ("rejection" in plan) {
        this.#refuse(coordination, part, plan, this.#saw(hold));
        return false;
      }
      this.#planner.keep(plan);
      coordination.plan = plan;
      // The positions come into these very results once they are known.
      takeResults(coordination, part, plan.results);
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      this.#abort(coordination, ofWhole(thrown, part));
      return false;
    }
    part.state = "ready";
    return true;
  }

  #waiterOf(coordination: Coordination): Waiter {
    return {
      number: 0,
      since: coordination.since,
      resume: () => {
        if (coordination.state === "holding") this.#goOn(coordination);
      },
      refuse: (error) => {
        if (coordination.state === "holding") this.#abort(coordination, error);
      },
      expire: (waitedMs) => {
        if (coordination.state === "holding") this.#abort(coordination, waitedTooLong(waitedMs));
      },
      forget: nothing,
    };
  }

  // Parts that only read are asked as well: that they still hold is what makes all reads true at one moment.
  #prepare(coordination: Coordination): void {
    const { number, parts } = coordination;
    const { shard, calls } = this.#parts.options;
    coordination.state = "preparing";
    for (const part of parts) {
      if (part.state === "ready") continue;
      calls!.call(
        requestKind.prepare,
        part.shard,
        (reserve) => writeTransactionKey({ coordinator: shard, number }, reserve),
        (reply) => this.#parts.guarded(() => this.#onPrepared(coordination, part, reply)),
      );
    }
    this.#decideIfReady(coordination);
  }

  #onPrepared(coordination: Coordination, part: Part, reply: Reply): void {
    if (coordination.state !== "preparing") return;
    if (reply.kind !== "value") {
      this.#onNo(coordination, part, reply);
      return;
    }
    const positions = reply.value as number[];
    part.position = positions[0] ?? 0;
    let next = 0;
    for (const { index } of part.operations) {
      const result = coordination.results[index]!;
      if (result.length === 6) (result as unknown as number[])[4] = positions[next++]!;
    }
    part.state = "ready";
    this.#decideIfReady(coordination);
  }

  // In the order of the mailbox: a decision waits, as calls do, while a checkpoint is about to begin.
  #decideIfReady(coordination: Coordination): void {
    if (!coordination.parts.every(({ state }) => state === "ready")) return;
    const resume = (): void => {
      if (coordination.state === "preparing") this.#decide(coordination);
    };
    this.#parts.resume([
      { number: 0, since: coordination.since, resume, refuse: nothing, expire: nothing, forget: nothing },
    ]);
  }

  #decide(coordination: Coordination): void {
    const { id, frame, fingerprint, parts, results, plan, hold, number } = coordination;
    const { crashPoint } = this.#parts.options;
    const { call } = frame;
    if (!parts.some(({ writes }) => writes)) {
      this.committed++;
      this.#groups.say(frame, this.#saw(hold), encodeOutcome(call, results));
      this.#finish(coordination, false);
      return;
    }
    try {
      this.#parts.checkWritable();
      // States may be what cannot be sent, and then that must be known before anything is written.
      checkSendable(results);
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      this.#abort(coordination, thrown);
      return;
    }
    crashPoint?.("transaction:before-decision");
    if (plan !== undefined) this.#writer.write(plan);
    coordination.state = "deciding";
    const others = parts.filter(({ shard, writes }) => writes && shard !== this.#parts.options.shard);
    const shards = others.map(({ shard }) => shard);
    for (const part of parts) part.operations = noOperations;
    this.#note(frame, id, fingerprint, number, shards, results);
    // What comes next for these entities is durable after the decision only.
    this.#parts.letGo(hold);
    this.#groups.sayLater(frame, replyBytesOf(results), () => {
      crashPoint?.("transaction:decided");
      this.#onDecided(coordination, others);
      return sized(encodeTransactionReply(call, results, false), call);
    });
  }

  // Called while replies leave: nothing is to be added to a group from here.
  #onDecided(coordination: Coordination, others: Part[]): void {
    const { number } = coordination;
    this.committed++;
    this.#finish(coordination, true);
    this.#parts.options.crashPoint?.("transaction:before-settle");
    if (others.length === 0) return;
    const settling = { number, left: others, isRecovered: false, tryAt: 0, failures: 0, isAsking: 0 };
    this.#settling.set(number, settling);
    this.#settle(settling);
  }

  // ——— no

  #onNo(coordination: Coordination, part: Part, reply: Reply): void {
    if (reply.kind === "rejected") {
      const { facts } = reply.rejection as Extract<AnyRejection, { code: "TRANSACTION_REJECTED" }>;
      this.#refuse(coordination, part, facts, false);
      return;
    }
    invariant(reply.kind === "error", "transaction/reply-kind", { kind: reply.kind });
    const { error } = reply;
    // What passes by itself is one thing for the caller: to be sent again.
    const passes = error.retryable && error.code !== "DISK_FULL" && error.code !== "TRANSACTION_ABORTED";
    this.#abort(coordination, passes ? aborted(`shard ${part.shard}: ${error.code}`) : ofWhole(error, part));
  }

  #refuse(
    coordination: Coordination,
    part: Part,
    { operation, entity, rejection: value }: { operation: number; entity: string; rejection: unknown },
    undurable: boolean,
  ): void {
    this.refused++;
    const { index } = part.operations[operation]!;
    const facts = { operation: index, entity, rejection: value as never };
    this.#sayRejection(coordination.frame, rejection("TRANSACTION_REJECTED", facts), undurable);
    this.#tellAborted(coordination);
    this.#finish(coordination, false);
  }

  #abort(coordination: Coordination, error: HeddleError): void {
    const { connection, from, to, call } = coordination.frame;
    this.aborted++;
    this.#parts.counters.countError(error.code);
    this.#tellAborted(coordination);
    this.#finish(coordination, false);
    this.#parts.options.replies.frame(connection, to - from, encodeErrorReply(call, error));
  }

  #tellAborted({ number, parts }: Coordination): void {
    const { shard, calls } = this.#parts.options;
    for (const part of parts) {
      if (part.state === "idle" || part.shard === shard) continue;
      const fields = { coordinator: shard, number, commits: false, position: 0 };
      calls!.call(
        requestKind.settle,
        part.shard,
        (reserve) => writeSettleBody(fields, reserve),
        // Who does not hear of it asks, and is told.
        () => {},
      );
    }
  }

  // ——— ends

  /** `committed`: undefined where the log will tell. */
  #finish(coordination: Coordination, committed: boolean | undefined): void {
    const { number, hold, inquirers, repeats } = coordination;
    coordination.state = "over";
    this.#active.delete(number);
    this.#underWay.delete(coordination);
    for (const inquirer of inquirers ?? []) {
      if (committed !== undefined) this.#tell(inquirer, committed);
      else this.#tellUnknown(inquirer);
    }
    this.#parts.letGo(hold);
    if (repeats !== undefined) this.#parts.resume(repeats);
  }

  #tell({ connection, from, to, call }: Frame, committed: boolean): void {
    this.#parts.options.replies.frame(connection, to - from, encodeReply(replyKind.value, call, committed));
  }

  #tellUnknown({ connection, from, to, call }: Frame): void {
    const { shard, replies } = this.#parts.options;
    const error = new HeddleError("SHARD_STOPPED", { shard, reason: "its log is read again" });
    replies.frame(connection, to - from, encodeErrorReply(call, error));
  }

  // The same call, or another with the same id, while the first is under way: it is looked at again afterwards.
  #joins(frame: Frame, id: string): boolean {
    const first = this.#underWay.find(frame.session, frame.call, id);
    if (first === undefined) return false;
    first.repeats ??= [];
    first.repeats.push(this.#parts.waiterOf(frame));
    return true;
  }

  #settleWhatIsDue(now: number): void {
    for (const settling of this.#settling.values()) {
      if (settling.isAsking === 0 && now >= settling.tryAt) this.#settle(settling);
    }
  }

  #settle(settling: Settling): void {
    const { number, left } = settling;
    const { shard, calls } = this.#parts.options;
    if (calls === undefined) return;
    for (const one of left) {
      settling.isAsking++;
      const fields = { coordinator: shard, number, commits: true, position: one.position };
      calls.call(
        requestKind.settle,
        one.shard,
        (reserve) => writeSettleBody(fields, reserve),
        (reply) => this.#parts.guarded(() => this.#onSettled(settling, one, reply)),
      );
    }
  }

  #onSettled(settling: Settling, one: Unsettled, reply: Reply): void {
    settling.isAsking--;
    if (this.#settling.get(settling.number) !== settling) return;
    const { left } = settling;
    if (reply.kind === "value") left.splice(left.indexOf(one), 1);
    else {
      const pause = Math.min(settlePauseMsMax, settlePauseMs * 2 ** settling.failures);
      settling.failures = Math.min(settling.failures + 1, 10);
      settling.tryAt = this.#parts.options.clock.monotonic() + pause;
    }
    if (left.length > 0) return;
    this.#settling.delete(settling.number);
    if (settling.isRecovered && this.#parts.isServing()) {
      this.#writer.writeJournal({ kind: "settled", numbers: [settling.number] });
    }
  }

  // ——— what is written of it

  #note(
    frame: Frame,
    id: string,
    fingerprint: number,
    number: number,
    shards: readonly number[],
    results: readonly WireOperationResult[],
  ): void {
    const { session, call } = frame;
    const time = this.#parts.turn.now();
    const settled = [this.#firstNumber, this.#settledBelow()] as const;
    const facts = { kind: "decided" as const, number, shards, settled, results };
    const position = this.#writer.writeJournal(facts, id, { session, call, fingerprint, time });
    this.#memory.sessions.add(this.#memory.sessions.find(session), session, call, position, time);
    if (id !== "") this.#memory.appendIds.add(journalEntity, id, position);
  }

  // Everything that began before the oldest that is not settled is. What was true a few transactions ago still is, and it takes
  // a look at all that are under way.
  #settledBelow(): number {
    if (this.#notesLeft-- > 0) return this.#lastSettledBelow;
    this.#notesLeft = notesPerLook;
    let least = this.#nextNumber;
    const [active] = this.#active.keys();
    if (active !== undefined) least = active;
    for (const { number, isRecovered } of this.#settling.values()) if (!isRecovered && number < least) least = number;
    this.#lastSettledBelow = least;
    return least;
  }

  #sayRejection(frame: Frame, value: AnyRejection, undurable: boolean): void {
    this.#parts.counters.countRejection(value.code);
    this.#groups.say(frame, undurable, encodeRejectionReply(frame.call, value));
  }

  #saw({ entities }: Hold): boolean {
    return entities.some((entity) => this.#groups.isUndurable(entity));
  }

  #areHere(operations: readonly Operation[]): boolean {
    const { shard, shardCount } = this.#parts.options;
    if (shardCount === 1) return true;
    for (let i = 0; i < operations.length; i++) if (this.#shardOf(operations[i]!) !== shard) return false;
    return true;
  }

  #partsOf(operations: readonly Operation[]): Part[] {
    let parts: Part[] = [];
    for (const operation of operations) {
      const shard = this.#shardOf(operation);
      const writes = operation.kind !== requestKind.get;
      const part = parts.find((known) => known.shard === shard);
      if (part === undefined) {
        // In the order of their numbers (H3), and of the very length: each of these lists lives as long as its transaction.
        const at = parts.filter((known) => known.shard < shard).length;
        parts = parts.toSpliced(at, 0, { shard, operations: [operation], state: "idle", writes, position: 0 });
      } else {
        (part.operations as Operation[]).push(operation);
        if (writes) part.writes = true;
      }
    }
    return parts;
  }

  #shardOf({ entity }: Operation): number {
    return shardOfHash(hashEntity(entity as never), this.#parts.options.shardCount);
  }
}

const noShards: readonly number[] = [];
const noOperations: readonly Operation[] = [];

function nothing(): void {}

function takeResults({ results }: Coordination, { operations }: Part, found: readonly WireOperationResult[]): void {
  for (let i = 0; i < operations.length; i++) results[operations[i]!.index] = found[i]!;
}

/** 0 where nothing was written. */
function firstPositionOf(results: readonly WireOperationResult[]): number {
  for (const result of results) if (result.length === 6) return result[4];
  return 0;
}

// The shard of a part counts that part's operations.
function ofWhole(error: HeddleError, { operations }: Part): HeddleError {
  const place = operationOf(error);
  const operation = place === undefined ? undefined : operations[place];
  return operation === undefined ? error : ofOperation(error, operation.index, operation.entity);
}

export function waitedTooLong(waitedMs: number): HeddleError {
  return aborted(`it waited ${Math.round(waitedMs)} ms for an entity that another transaction holds`);
}

function aborted(reason: string): HeddleError {
  return new HeddleError("TRANSACTION_ABORTED", { reason });
}

function replyBytesOf(results: readonly WireOperationResult[]): number {
  return 32 + 40 * results.length;
}
