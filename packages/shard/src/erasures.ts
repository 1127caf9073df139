// Erasures: takes erased entities out of everything that the shard wrote (P6), one step after the other, each of them safe
// against a crash, and says when it is done.
//
//   tombstone   in the log, durable: this is the intent; from here on the entity is erased for every reader and writer
//   bury        records elsewhere that hold copies of what it was given (of sagas) are erased with it: first it is made sure that
//               they will be, for afterwards nobody knows of them; at the end it is waited for
//   count       its events are read once more, and taken out of the catalogue's counts by the next checkpoint
//   log         readers of the log that keep copies are told which entries go, durably; then these are overwritten in place, and
//               its keys, without which no backup can be read
//   forget      a checkpoint drops its snapshots, extents and append ids from the partition
//   scrub       what LMDB's file still held of them is overwritten
//   readers     NATS and projections are asked until they have nothing left of it; the next checkpoint then drops the record of
//               the erasure
//
// The partition keeps the stage of each (`ErasureRecord`), written in the same transaction as the position that it covers;
// a tombstone in the log's tail stands for the first stage. So a start goes on where the last process was. Many entities go
// through the stages together: a scrub costs a walk over the whole partition, whoever it is for.
//
// E1. One erasure of an entity at a time: no new life is erased, and none begins, before the one before is gone.
// E2. What fails is begun again at a later tick, from the stage that it had reached; whoever waits is told why.
// E3. It ends within a slice of work when it is stopped, whatever it waits for.
// E4. One that has to wait, for a saga to end or for a reader that is away, holds up no other.
// Not promised: that a receipt asked for anew after a crash has waited for the records of sagas; they are erased all the same.
// For readers it has waited, unless the partition was lost with the crash.
// Not promised: how long it takes. Appends of other entities go on meanwhile, in the turns between.
import { type EventLog, entryFlags } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import type { CheckpointWriter, ErasureStage, Extent, Forgetting } from "@heddle/partition/internal";
import { encodeErrorReply, encodeReply, replyKind } from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import { messageOf } from "./decoding.ts";
import type { Entity } from "./entity.ts";
import { ReaderWaits } from "./reader-waits.ts";
import { type CopyHolder, nextTurnOf, type ShardOptions } from "./shard-options.ts";
import { EntryDecoder } from "./stored-events.ts";
import { countInto, type TypeCounts } from "./type-counts.ts";

/** What `delete` answers. The sequences `from` to `to` are gone; the tombstone has `seq`. */
export interface ErasureReceipt {
  readonly entity: string;
  readonly shard: number;
  readonly seq: number;
  readonly position: number;
  readonly time: number;
  readonly from: number;
  readonly to: number;
  /** False: the log is clean, the partition's file and what readers of the log have not yet. */
  readonly complete: boolean;
}

export type TombstoneFacts = Omit<ErasureReceipt, "complete">;

interface Waiter {
  readonly connection: number;
  readonly requestBytes: number;
  readonly call: number;
  /** An answer when the log is clean is enough. */
  readonly provisional: boolean;
}

interface Erasure {
  readonly receipt: TombstoneFacts;
  /** `done`: the partition still has a record of it, which the next checkpoint drops. */
  stage: ErasureStage | "done";
  /** The partition has dropped what it knew of the life before. */
  forgotten: boolean;
  /** The life that ends here began at this tombstone, or at 0. */
  readonly life: number;
  /** Records elsewhere that go with it, once they have been looked for. */
  copies: ReadonlySet<string> | undefined;
  /** It cannot go on now, and is tried again at a tick: one of the records is still needed. */
  isHeldUp: boolean;
  /** All is done here; what is left is to hear that what is elsewhere is gone. */
  isWaiting: boolean;
  waiters: Waiter[];
}

/** What erasures have of the shard's memory. */
export interface ErasureMemory {
  readonly log: EventLog;
  readonly activation: Activation;
  readonly types: TypeCounts;
}

export interface ErasuresOptions {
  readonly shard: ShardOptions;
  readonly memory: () => ErasureMemory;
  /** Resolves when everything up to now is in a checkpoint on disk; rejects when that cannot be. */
  readonly checkpoint: () => Promise<void>;
  /** Runs while no checkpoint does. */
  readonly withoutCheckpoints: <T>(work: () => Promise<T>) => Promise<T>;
}

/** What a checkpoint writes of erasures under way. */
export interface ErasuresCut {
  /** What the partition is to forget of an entity; undefined for nearly all. */
  forgetting(entity: string): Forgetting | undefined;
  put(writer: CheckpointWriter): void;
  /** To be called when the checkpoint is on disk. */
  settle(): void;
}

/** Entries read in one turn, to count their events or to find them: some milliseconds. */
const sliceEntries = 1_000;
/** Entries that the log is asked to overwrite at a time; a stop waits for no more than these. */
const overwriteEntries = 20_000;

export class Erasures {
  readonly #options: ErasuresOptions;
  readonly #erasures = new Map<string, Erasure>();
  readonly #decoder = new EntryDecoder();
  /** Undefined where no reader keeps copies. */
  readonly #readers: ReaderWaits | undefined;
  #running: Promise<void> | undefined;
  /** Nothing new begins, and what is under way ends at its next turn. */
  #stopped = false;
  readonly #stopping = Promise.withResolvers<never>();
  /** The last round stopped early; it is begun again at a tick. */
  #failed = false;

  constructor(options: ErasuresOptions) {
    this.#options = options;
    this.#stopping.promise.catch(() => {});
    const { readers, schedule } = options.shard;
    this.#readers = readers === undefined ? undefined : new ReaderWaits(readers, schedule);
  }

  get count(): number {
    return this.#erasures.size;
  }

  /** Sequence of an entity's tombstone while its erasure is under way. */
  tombstoneOf(entity: string): number | undefined {
    return this.#erasures.size === 0 ? undefined : this.#erasures.get(entity)?.receipt.seq;
  }

  /** A tombstone that was appended, or found in the log's tail, or that the partition says is not done with. */
  add(receipt: TombstoneFacts, life: number, stage: ErasureStage): void {
    const forgotten = stage === "scrub";
    const state = { copies: undefined, isHeldUp: false, isWaiting: false };
    this.#erasures.set(receipt.entity, { receipt, stage, forgotten, life, ...state, waiters: [] });
  }

  /** Answers when the erasure of an entity is done, or its log is clean if that is enough. */
  wait(entity: string, waiter: Waiter): void {
    const { receipt, stage, waiters } = this.#erasures.get(entity)!;
    if (waiter.provisional && stage === "scrub") this.#answer([waiter], receipt, false);
    else waiters.push(waiter);
  }

  /** Until it is over no new life begins, and no other erasure: the steps know of one life only (E1). */
  isUnderWay(entity: string): boolean {
    const erasure = this.#erasures.get(entity);
    return erasure !== undefined && erasure.stage !== "done";
  }

  /** Goes on with what is to be done. To be called when a tombstone has become durable, and when a shard is open. */
  start(): void {
    if (this.#running !== undefined || this.#erasures.size === 0 || this.#stopped || this.#failed) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** As `start`, also after a failure. To be called every now and then. */
  tick(): void {
    if (this.#running === undefined) this.#failed = false;
    for (const erasure of this.#erasures.values()) erasure.isHeldUp = false;
    this.start();
  }

  /** Resolves when nothing is under way any more; nothing new begins. What waits for an erasure is answered with an error. */
  async stop(error: HeddleError): Promise<void> {
    this.#stopped = true;
    this.#stopping.reject(new HeddleError("CLOSED", { what: `the erasures of shard ${this.#options.shard.shard}` }));
    this.#readers?.stop();
    await this.#running;
    this.#failWaiters([...this.#erasures.values()], error);
  }

  /** The stages as a checkpoint that begins now is to write them. */
  cut(): ErasuresCut {
    const stages = new Map([...this.#erasures.values()].map((erasure) => [erasure, erasure.stage]));
    return {
      forgetting: (entity) => {
        const erasure = stages.size === 0 ? undefined : this.#erasures.get(entity);
        if (erasure === undefined || erasure.forgotten || stages.get(erasure) !== "scrub") return undefined;
        return { belowSeq: erasure.receipt.seq, belowPosition: erasure.receipt.position };
      },
      put: (writer) => {
        for (const [{ receipt }, stage] of stages) {
          if (stage === "done") writer.dropErasure(receipt.entity);
          else writer.putErasure(receipt.entity, receipt.seq, stage);
        }
      },
      settle: () => {
        for (const [erasure, stage] of stages) {
          const { entity, seq } = erasure.receipt;
          if (stage === "done" && this.#erasures.get(entity) === erasure) this.#erasures.delete(entity);
          if (stage !== "scrub" || erasure.forgotten) continue;
          erasure.forgotten = true;
          this.#entityOf(erasure).indexBase = seq;
        }
      },
    };
  }

  async #run(): Promise<void> {
    while (!this.#stopped && !this.#failed) {
      const { durableEnd } = this.#options.memory().log;
      let batch = [...this.#erasures.values()].filter(
        ({ receipt, stage, isHeldUp, isWaiting }) =>
          receipt.position < durableEnd && stage !== "done" && !isHeldUp && !isWaiting,
      );
      if (batch.length === 0) return;
      try {
        for (const erasure of batch) if (erasure.stage === "count") await this.#bury(erasure);
        batch = batch.filter(({ isHeldUp }) => !isHeldUp);
        if (batch.length > 0) await this.#erase(batch);
      } catch (thrown) {
        this.#onFailure(batch, thrown);
      }
    }
  }

  async #erase(batch: readonly Erasure[]): Promise<void> {
    const { checkpoint, withoutCheckpoints } = this.#options;
    const { partition, crashPoint, report, shard } = this.#options.shard;
    crashPoint?.("erasure:begun");
    for (const erasure of batch) if (erasure.stage === "count") await this.#count(erasure);
    await checkpoint();
    crashPoint?.("erasure:counted");
    await this.#overwrite(batch.filter(({ stage }) => stage === "log"));
    crashPoint?.("erasure:overwritten");
    for (const { waiters, receipt } of batch) this.#answer(waiters, receipt, false);
    await checkpoint();
    crashPoint?.("erasure:forgotten");
    await withoutCheckpoints(() => partition.scrub(() => this.#nextTurn()));
    crashPoint?.("erasure:scrubbed");
    for (const erasure of batch) {
      if (this.#readers !== undefined || (erasure.copies?.size ?? 0) > 0) void this.#awaitCopies(erasure);
      else {
        erasure.stage = "done";
        this.#answer(erasure.waiters, erasure.receipt, true);
      }
    }
    report("info", "entities were erased", { shard, count: batch.length });
    // Without it the next start would scrub again, and so would every further one until something else is written.
    await checkpoint();
    crashPoint?.("erasure:dropped");
  }

  // Looks for records elsewhere, and makes sure that they will be erased.
  async #bury(erasure: Erasure): Promise<void> {
    const { copies: holder, report, shard } = this.#options.shard;
    if (holder === undefined) return;
    // One that was held up has been looked through: nothing has come to its history since its tombstone.
    erasure.copies ??= await this.#copiesOf(erasure, holder);
    if (erasure.copies.size === 0) return;
    try {
      await this.#unlessStopped(holder.bury(erasure.receipt.entity, erasure.copies));
    } catch (thrown) {
      if (this.#stopped || !(thrown instanceof HeddleError)) throw thrown;
      erasure.isHeldUp = true;
      if (erasure.waiters.length === 0) return;
      report("warn", "an erasure waits for what still needs a copy", { shard, error: thrown.message });
      this.#failWaiters([erasure], thrown);
    }
  }

  async #copiesOf(erasure: Erasure, holder: CopyHolder): Promise<Set<string>> {
    const { activation } = this.#options.memory();
    const copies = new Set<string>();
    let left = sliceEntries;
    for (const extent of this.#extentsOf(erasure)) {
      activation.readEntry(this.#entityOf(erasure), extent, this.#decoder);
      const record = holder.recordOf(this.#decoder.view.id);
      if (record !== undefined) copies.add(record);
      if (--left > 0) continue;
      left = sliceEntries;
      await this.#nextTurn();
    }
    return copies;
  }

  async #awaitCopies(erasure: Erasure): Promise<void> {
    erasure.isWaiting = true;
    const { copies, receipt } = erasure;
    const waits: (Promise<void> | undefined)[] = [];
    if (copies !== undefined && copies.size > 0) waits.push(this.#options.shard.copies!.gone(receipt.entity, copies));
    waits.push(this.#readers?.wait(receipt, (error) => this.#tellProblem(erasure, error)));
    try {
      await this.#unlessStopped(Promise.all(waits));
      erasure.stage = "done";
      this.#answer(erasure.waiters, erasure.receipt, true);
      await this.#options.checkpoint();
    } catch (thrown) {
      // Tried again from here at a tick.
      if (!this.#stopped) this.#onFailure([erasure], thrown);
    } finally {
      erasure.isWaiting = false;
    }
  }

  #tellProblem(erasure: Erasure, error: HeddleError): void {
    if (this.#stopped || erasure.waiters.length === 0) return;
    const { shard, report } = this.#options.shard;
    report("warn", "an erasure waits for a reader that still has a copy", { shard, error: error.message });
    this.#failWaiters([erasure], error);
  }

  // Errors: `CLOSED` when it is stopped meanwhile (E3).
  async #unlessStopped<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#stopping.promise]);
  }

  // Entries that are erased already were counted out before: a rebuilt partition never counted them in.
  async #count(erasure: Erasure): Promise<void> {
    const { activation, types } = this.#options.memory();
    const counted = new Map<string, number>();
    let left = sliceEntries;
    for (const extent of this.#extentsOf(erasure)) {
      const entry = activation.readEntry(this.#entityOf(erasure), extent, this.#decoder);
      countInto(counted, entry, this.#decoder.view);
      if (--left > 0) continue;
      left = sliceEntries;
      await this.#nextTurn();
    }
    // In one turn, so that a checkpoint has all three or none.
    types.subtract(counted);
    erasure.stage = "log";
    activation.touch(this.#entityOf(erasure));
  }

  async #overwrite(batch: readonly Erasure[]): Promise<void> {
    const { activation, log } = this.#options.memory();
    const found: number[] = [];
    for (const erasure of batch) {
      let left = sliceEntries;
      let told = found.length;
      for (const extent of this.#extentsOf(erasure)) {
        const { flags, call } = activation.readAt(extent.position);
        // The tombstone that this life began behind stays as it is.
        if ((flags & entryFlags.tombstone) === 0) found.push(extent.position);
        // What a transaction had prepared lies elsewhere, and goes with what it became.
        if ((flags & entryFlags.applied) !== 0) found.push(call);
        if (--left > 0) continue;
        left = sliceEntries;
        await this.#tellReaders(erasure, found.slice(told));
        told = found.length;
        await this.#nextTurn();
      }
      await this.#tellReaders(erasure, found.slice(told));
    }
    if (batch.length > 0) this.#options.shard.crashPoint?.("erasure:readers-told");
    const positions = Float64Array.from(found).sort();
    for (let at = 0; at < positions.length; at += overwriteEntries) {
      if (at > 0) await this.#nextTurn();
      // Not to be ended in the middle: the log would have to be opened anew.
      await log.erase(positions.subarray(at, at + overwriteEntries), () => nextTurnOf(this.#options.shard));
    }
    // All at once: for a key store each call is a transaction of its own.
    if (batch.length > 0) this.#options.shard.eraseKeys?.(batch.map(({ receipt }) => receipt));
    for (const erasure of batch) {
      erasure.stage = "scrub";
      activation.touch(this.#entityOf(erasure));
    }
  }

  // Afterwards nobody knows which entries they were. An empty part still says that there is a tombstone.
  async #tellReaders({ receipt }: Erasure, positions: readonly number[]): Promise<void> {
    const { readers } = this.#options.shard;
    if (readers !== undefined) await this.#unlessStopped(readers.bury(receipt, Float64Array.from(positions)));
  }

  // It may have been let go and come back since it was asked for.
  #entityOf({ receipt }: Erasure): Entity {
    return this.#options.memory().activation.find(receipt.entity)!;
  }

  // Read in pages by sequence, because an iterator must not be kept over a turn.
  *#extentsOf(erasure: Erasure): Generator<Extent> {
    let next = Math.max(1, erasure.life);
    while (next < erasure.receipt.seq) {
      const page = [];
      for (const extent of this.#options.memory().activation.extentsToErase(this.#entityOf(erasure), next)) {
        page.push(extent);
        if (page.length >= sliceEntries) break;
      }
      if (page.length === 0) return;
      yield* page;
      const last = page[page.length - 1]!;
      next = last.firstSeq + last.count;
    }
  }

  // Errors: `CLOSED` when it has been stopped meanwhile (E3).
  async #nextTurn(): Promise<void> {
    await nextTurnOf(this.#options.shard);
    if (this.#stopped) throw new HeddleError("CLOSED", { what: `the erasures of shard ${this.#options.shard.shard}` });
  }

  #answer(waiters: Waiter[], receipt: TombstoneFacts, complete: boolean): void {
    for (const { connection, requestBytes, call, provisional } of waiters) {
      if (!complete && !provisional) continue;
      const frame = encodeReply(replyKind.value, call, { ...receipt, complete } satisfies ErasureReceipt);
      this.#options.shard.replies.frame(connection, requestBytes, frame);
    }
    const left = waiters.filter(({ provisional }) => !complete && !provisional);
    waiters.length = 0;
    waiters.push(...left);
  }

  #onFailure(batch: readonly Erasure[], thrown: unknown): void {
    // Whoever stopped it says why, to all who wait.
    if (this.#stopped) return;
    const { shard, report } = this.#options.shard;
    this.#failed = true;
    const message = messageOf(thrown);
    report("warn", "an erasure could not go on; it is tried again", { shard, error: message });
    const error =
      thrown instanceof HeddleError ? thrown : new HeddleError("OUTCOME_UNKNOWN", { problem: `erasing: ${message}` });
    this.#failWaiters(batch, error);
  }

  #failWaiters(erasures: readonly Erasure[], error: HeddleError): void {
    for (const { waiters } of erasures) {
      for (const { connection, requestBytes, call } of waiters.splice(0)) {
        this.#options.shard.replies.frame(connection, requestBytes, encodeErrorReply(call, error));
      }
    }
  }
}
