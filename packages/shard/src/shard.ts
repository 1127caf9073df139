// Shard: one writer for a slice of the entities. Takes request frames in arrival order, decides, commits, replies.
//
// Owns the mailbox, the turns, the way of a group to the disk, and the shard's state: open, full, recovering, stopped. What
// it knows stands in memory.ts; who answers what, in writes.ts, resets.ts, reads.ts and transactions/. Runs on one thread, takes
// turns with nobody. Talks to: its event log, its partition, a ReplySink, and for transactions other shards (shard-calls.ts).
//
// P1. Frames are taken one at a time in the order they came; sequences have no gaps.
// P2. A reply to a write, and to a read that saw it, leaves only when the log says that its group is durable.
// P3. State changes only after every rule held for every event of the append.
// P4. A call number or id that took effect gives its first receipt again.
// P6. An erased entity has no history before its tombstone, for anybody (erasures.ts).
// P7. What is refused leaves no trace: not in a state, a sequence, a window, or the log.
// P8. The mailbox is bounded by the listener's credit. Frames wait in it while a full group waits for the disk, while too
//     many bytes of replies do, and while a checkpoint is too far behind the log.
// Not promised: that a call answered with a failure did not take effect; its id tells, when it is sent again. Nor that
// waking an entity is quick: one with a million events and no snapshot takes a second or two.
import type { DurableGroup, EventLog } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { InvariantViolation } from "@heddle/kernel/internal";
import {
  encodeErrorReply,
  frameOffset,
  innerKindMin,
  requestCall,
  requestKind,
  TextCache,
} from "@heddle/protocol/internal";
import type { ShardAlarms } from "./alarms.ts";
import { Checkpoints } from "./checkpoints.ts";
import { messageOf, sized } from "./decoding.ts";
import { type Frame, newFrame } from "./frame.ts";
import type { Waiter } from "./holder.ts";
import type { Memory } from "./memory.ts";
import type { OpenGroups } from "./open-groups.ts";
import type { OwnEvent, OwnShard } from "./own-shard.ts";
import type { Parts, TurnWork } from "./parts.ts";
import { Reads } from "./reads.ts";
import { recoverMemory } from "./recovery.ts";
import { Repeats } from "./repeats.ts";
import { Resets } from "./resets.ts";
import { isInner } from "./shard-calls.ts";
import { nextTurnOf, type ShardLimits, type ShardOptions } from "./shard-options.ts";
import { ShardCounters, type ShardState, type ShardStats } from "./stats.ts";
import { Transactions } from "./transactions/transactions.ts";
import { TurnClock } from "./turn-clock.ts";
import { Watches } from "./watches.ts";
import { Writes } from "./writes.ts";

/** A frame that waits. Its bytes belong to the message that brought it. */
interface MailboxItem {
  readonly connection: number;
  readonly session: number;
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly to: number;
}

/** Bytes that must be free before a full shard takes appends again. */
const freeBytesWanted = 32 << 20;

/** Replies that wait for a sync may take this much before further frames wait. */
const heldReplyBytesMax = 16 << 20;

export class Shard implements OwnShard {
  readonly #options: ShardOptions;
  readonly #limits: ShardLimits;
  readonly #texts = new TextCache();
  readonly #counters = new ShardCounters();
  readonly #turn: TurnClock;
  readonly #checkpoints: Checkpoints;
  readonly #repeats: Repeats;
  readonly #resets: Resets;
  readonly #writes: Writes;
  readonly #reads: Reads;
  readonly #watches: Watches;
  readonly #transactions: Transactions;
  #memory!: Memory;
  // Parts of memory that every frame asks.
  #log!: EventLog;
  #groups!: OpenGroups;
  #state: ShardState = "recovering";
  #stopReason = "";
  #isClosing = false;
  #closing: Promise<void> | undefined;
  /** What goes on when the group that fills, or is on its way, is durable, or will never be. */
  readonly #afterGroup: (() => void)[] = [];
  /** Work that goes on in a later turn. */
  #workUnderWay = 0;
  #mailbox: MailboxItem[] = [];
  /** Those that waited for something else than the mailbox, and come before it now. */
  #resumed: Waiter[] = [];
  /** A turn of the shard's own is about to come. */
  #turnComes = false;
  /** So is one in which a group is chained. */
  #chainComes = false;
  /** The call at hand. */
  readonly #frame = newFrame();
  /** The call at hand that is answered early, perhaps within another. */
  readonly #earlyFrame: Frame = { ...newFrame(), early: true };
  #loss: HeddleError | undefined;
  #lingering = false;
  #spaceProbedAt = Number.NEGATIVE_INFINITY;

  /**
   * Opens and recovers a shard. Errors: `LOG_DAMAGED`, `PARTITION_DAMAGED`; `SCHEMA_MISMATCH` when the domain cannot read
   * what is stored; whatever the disk throws. The partition is then still the caller's to close.
   */
  static open(options: ShardOptions): Shard {
    const shard = new Shard(options);
    const startedAt = options.clock.monotonic();
    shard.#recover(Math.max(options.partition.coveredPosition, options.partition.cleanEnd ?? 0));
    const { log, types, erasures } = shard.#memory;
    const missing = options.domain.unreadable(types.list());
    if (missing.length > 0) {
      log.close();
      throw new HeddleError("SCHEMA_MISMATCH", { shard: options.shard, missing });
    }
    shard.#enter("open");
    erasures.start();
    shard.#transactions.start();
    const { recovery } = log;
    options.report(recovery.cutBytes > 0 ? "warn" : "info", "shard is open", {
      shard: options.shard,
      logEnd: log.durableEnd,
      replayedFrom: options.partition.coveredPosition,
      replayedRecords: recovery.records,
      cutBytes: recovery.cutBytes,
      tookMs: Math.round(options.clock.monotonic() - startedAt),
    });
    return shard;
  }

  private constructor(options: ShardOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#turn = new TurnClock(options.clock);
    this.#checkpoints = new Checkpoints({
      shard: options,
      counters: this.#counters,
      memory: () => this.#memory,
      isOpen: () => this.#state === "open",
      flush: () => this.#flush(),
      wake: () => this.#wake(),
      stop: (reason) => this.#stop(reason),
      notServing: () => this.#notServing(),
    });
    const parts: Parts = {
      options,
      texts: this.#texts,
      counters: this.#counters,
      turn: this.#turn,
      checkWritable: () => this.#checkWritable(),
      isHeldBack: () => this.#checkpoints.isWanted || this.#checkpoints.isBehind,
      isServing: () => this.#state === "open",
      waitFor: (entity, frame) => this.#transactions.waitFor(entity, frame),
      waitAs: (hold, other, frame) => this.#transactions.waitAs(hold, other, frame),
      enlist: (hold, waiter) => this.#transactions.enlist(hold, waiter),
      waiterOf: (frame) => this.#transactions.waiterOf(frame),
      letGo: (hold) => this.#transactions.letGo(hold),
      resume: (waiters) => this.#resume(waiters),
      guarded: (work) => this.#guarded(work),
      beginWork: () => this.#beginWork(),
      endTurn: () => this.endTurn(),
      overTurns: (frame, work) => this.#overTurns(frame, work),
    };
    this.#repeats = new Repeats(parts);
    this.#resets = new Resets(parts, this.#repeats);
    this.#writes = new Writes(parts, this.#repeats, this.#resets);
    this.#reads = new Reads(parts);
    this.#watches = new Watches(parts, {
      canRead: () => this.#state === "open" || this.#state === "full",
      refuse: (frame, error) => this.#refuse(frame, error),
    });
    this.#transactions = new Transactions(parts, this.#repeats, {
      answer: (frame) => this.#answer(frame),
      refuse: (frame, error) => this.#refuse(frame, error),
    });
  }

  get shard(): number {
    return this.#options.shard;
  }

  get state(): ShardState {
    return this.#state;
  }

  get loss(): HeddleError | undefined {
    return this.#loss;
  }

  get now(): number {
    return this.#turn.peek();
  }

  /** A commit group is on its way to the disk. */
  get isSyncing(): boolean {
    return this.#log.inFlight;
  }

  get stopReason(): string {
    return this.#stopReason;
  }

  /** Not to be kept over a turn: a recovery makes new ones. */
  get alarms(): ShardAlarms {
    return this.#memory.alarms;
  }

  /**
   * Takes one request frame. The bytes must stay as they are until its reply has gone.
   * The reply goes to the sink, now or later; there is exactly one for each frame.
   */
  receive(connection: number, session: number, bytes: Uint8Array, from: number, to: number): void {
    if (this.#mustWait()) this.#mailbox.push({ connection, session, bytes, from, to });
    else {
      this.#handle(connection, session, bytes, from, to);
      if (this.#resumed.length > 0) this.#workResumed();
    }
  }

  appendOwn<P>(
    entity: string,
    event: OwnEvent<P>,
    payload: P,
    expectedSeq: number,
    connection: number,
    call: number,
  ): boolean {
    if (this.#state !== "open" || this.#isClosing || this.#mustWait()) return false;
    try {
      return this.#writes.appendOwn(entity, event, payload, expectedSeq, connection, call);
    } catch (thrown) {
      // A frame's answer says why.
      if (!(thrown instanceof HeddleError)) this.#stop(faultOf(thrown));
      return false;
    }
  }

  decideOwn(kind: number, bytes: Uint8Array, from: number, to: number, connection: number, call: number): boolean {
    if (this.#state !== "open" || this.#isClosing || this.#mustWait()) return false;
    const frame = this.#earlyFrame;
    frame.connection = connection;
    frame.call = call;
    frame.bytes = bytes;
    frame.from = from - frameOffset.requestBody;
    frame.to = to;
    try {
      return this.#writes.decideEarly(frame, kind);
    } catch (thrown) {
      this.#refuse(frame, thrown);
      return true;
    }
  }

  awaitDurable(connection: number, call: number): void {
    const { shard, replies } = this.#options;
    if (this.#state === "open" || this.#state === "full") this.#groups.sayWhenDurable(connection, call, shard);
    else replies.frame(connection, 0, encodeErrorReply(call, this.#notServing()));
  }

  /** Ends a turn: what was decided in it goes on its way to the disk. */
  endTurn(): void {
    this.#turn.endTurn();
    const log = this.#log;
    if (this.#state !== "open" || log.inFlight || log.fillingEntries === 0) return;
    if (this.#limits.lingerMs === 0 || this.#checkpoints.isWanted || log.fillingBytes >= this.#limits.groupBytesMax) {
      this.#flush();
    } else if (!this.#lingering) {
      this.#lingering = true;
      this.#options.schedule(() => {
        this.#lingering = false;
        this.#flush();
      }, this.#limits.lingerMs);
    }
  }

  /** To be called every now and then: begins checkpoints that are due by time, looks whether a full disk has room. */
  tick(): void {
    const now = this.#options.clock.monotonic();
    if (this.#state === "full") this.#probeSpace(now);
    this.#memory.sessions.tick(now);
    this.#watches.tick(now);
    this.#memory.activation.passivate();
    this.#memory.alarms.tick();
    if (this.#state === "open" && !this.#isClosing && !this.#checkpoints.isBackingOff) this.#memory.erasures.tick();
    if (this.#state !== "recovering" && this.#state !== "stopped" && !this.#isClosing) {
      this.#guarded(() => this.#transactions.tick(now));
    }
    this.#checkpoints.tick();
  }

  /** A connection is gone: what waits for it is answered with nothing. */
  forget(connection: number): void {
    this.#watches.forget(connection);
  }

  /** Begins a checkpoint as soon as everything decided is durable. */
  requestCheckpoint(): void {
    this.#checkpoints.request();
  }

  stats(): ShardStats {
    const { log, groups, activation, sessions, erasures } = this.#memory;
    const { partition, shard } = this.#options;
    return this.#counters.snapshot({
      shard,
      state: this.#state,
      stopReason: this.#stopReason,
      mailboxDepth: this.#mailbox.length,
      waitingReplies: groups.size,
      activeEntities: activation.activeCount,
      activations: activation.activations,
      erasures: erasures.count,
      stateBytes: activation.stateBytes,
      sessions: sessions.count,
      sessionBytes: sessions.bytes,
      logBytes: log.durableEnd,
      checkpointPosition: partition.coveredPosition,
      checkpointAgeMs: this.#checkpoints.ageMs,
      isCheckpointing: this.#checkpoints.isRunning,
      partitionReads: partition.counters.reads,
      watches: this.#watches.size,
      transactions: this.#transactions.stats(),
    });
  }

  /**
   * Answers further frames with `SHARD_STOPPED`, commits what was decided, writes a last checkpoint and closes the files.
   * Never fails: what could not be recorded is reported, and the next opening replays the log instead.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { partition, shard, report } = this.#options;
    this.#isClosing = true;
    this.#memory.alarms.stop();
    this.#watches.stop(this.#notServing());
    this.#transactions.stop(this.#notServing(), false);
    this.#workResumed();
    this.#drainMailbox((call) => encodeErrorReply(call, this.#notServing()));
    await this.#memory.erasures.stop(this.#notServing());
    await this.#settled();
    if (this.#state === "open" && this.#memory.log.durableEnd > partition.coveredPosition) {
      this.requestCheckpoint();
      await this.#settled();
    }
    const clean = this.#state === "open" || this.#state === "full";
    const { log } = this.#memory;
    if (this.#state !== "stopped") this.#enter("closed");
    log.close();
    try {
      await partition.close(clean ? { cleanEnd: log.durableEnd } : {});
    } catch (error) {
      report("warn", "the clean stop could not be recorded", { shard, error: messageOf(error) });
    }
  }

  /** Closes the partition and nothing else: for a thread whose memory can no longer be trusted. */
  async abandon(): Promise<void> {
    this.#isClosing = true;
    this.#stopReason = "its thread ends after a fault";
    this.#enter("stopped");
    this.#checkpoints.cancel();
    // Before the partition closes under it: who waits for an erasure is told that the shard stops, and asks again.
    const erasuresEnd = this.#memory.erasures.stop(this.#notServing());
    await this.#options.partition.close({});
    await erasuresEnd;
  }

  #enter(state: ShardState, because = this.#notServing()): void {
    this.#state = state;
    this.#goOnAfterGroup();
    if (state !== "open") this.#checkpoints.halt(because);
    // Nobody is woken but to write.
    if (state !== "open") this.#memory.alarms.stop();
    else if (!this.#isClosing) this.#memory.alarms.start();
    this.#options.onState?.(state, state === "full" ? "no room on the disk" : this.#stopReason);
  }

  // Waits until nothing is under way: no group, checkpoint, recovery or work over turns.
  async #settled(): Promise<void> {
    for (;;) {
      const { log } = this.#memory;
      const isSettled =
        this.#state !== "recovering" &&
        !log.inFlight &&
        (this.#state !== "open" || log.fillingEntries === 0) &&
        !this.#checkpoints.isWanted &&
        !this.#checkpoints.isRunning &&
        this.#workUnderWay === 0;
      if (isSettled) return;
      this.#flush();
      await nextTurnOf(this.#options);
    }
  }

  // Makes memory from what is on the disk.
  #recover(knownEnd: number): void {
    this.#memory = recoverMemory({
      shard: this.#options,
      texts: this.#texts,
      knownEnd,
      erasures: {
        checkpoint: () => this.#checkpoints.after(),
        withoutCheckpoints: (work) => this.#checkpoints.without(work),
      },
    });
    const { log, groups } = this.#memory;
    this.#log = log;
    this.#groups = groups;
    log.onDurable = (group) => this.#onDurable(group);
    log.onFailure = (error) => this.#onLogFailure(error);
    const parts = [this.#repeats, this.#resets, this.#writes, this.#reads, this.#watches, this.#transactions];
    for (const part of parts) part.attach(this.#memory);
    this.#checkpoints.restartClock();
    this.#options.onDurableEnd?.(log.durableEnd);
  }

  // ——— the mailbox

  // Whoever is told to wait is sure to be woken: by the end of a group, a checkpoint, or a recovery.
  #mustWait(): boolean {
    if (this.#state !== "open" || this.#isClosing) return this.#state === "recovering" && !this.#isClosing;
    if (this.#mailbox.length > 0 || this.#resumed.length > 0) return true;
    return this.#isHeldBack();
  }

  #isHeldBack(): boolean {
    if (this.#checkpoints.isWanted || this.#checkpoints.isBehind) return true;
    if (!this.#hasEnough()) return false;
    this.#flush();
    // The flush may have failed, and then a recovery is under way.
    return this.#hasEnough() || this.#state !== "open";
  }

  #hasEnough(): boolean {
    return this.#log.fillingBytes >= this.#limits.groupBytesMax || this.#groups.heldBytes >= heldReplyBytesMax;
  }

  #wake(): void {
    if (this.#mailbox.length > 0 || this.#resumed.length > 0) this.#workMailbox();
  }

  #workMailbox(): void {
    this.#workResumed();
    const mailbox = this.#mailbox;
    let done = 0;
    this.#mailbox = [];
    for (; done < mailbox.length && !this.#mustWait(); done++) {
      const item = mailbox[done]!;
      this.#handle(item.connection, item.session, item.bytes, item.from, item.to);
      if (this.#resumed.length > 0) this.#workResumed();
    }
    if (done < mailbox.length) this.#mailbox = done === 0 ? mailbox : mailbox.slice(done);
    this.endTurn();
  }

  // Each may lead to others, which come behind those that were there.
  #workResumed(): void {
    let done = 0;
    const resumed = this.#resumed;
    for (; done < resumed.length; done++) {
      const isEnding = this.#isClosing || this.#state === "stopped";
      if (!isEnding && (this.#state === "recovering" || (this.#state === "open" && this.#isHeldBack()))) break;
      if (isEnding) resumed[done]!.refuse(this.#notServing());
      else this.#guardedWork(() => resumed[done]!.resume());
    }
    resumed.splice(0, done);
  }

  #resume(waiters: readonly Waiter[]): void {
    if (waiters.length === 0) return;
    for (const waiter of waiters) this.#resumed.push(waiter);
    this.#turnSoon();
  }

  // Once for all that happens in this turn, so that it shares a commit group.
  #turnSoon(): void {
    if (this.#turnComes) return;
    this.#turnComes = true;
    queueMicrotask(() => {
      this.#turnComes = false;
      if (this.#state !== "closed") this.#workMailbox();
    });
  }

  #guarded(work: () => void): void {
    if (this.#state === "closed") return;
    this.#guardedWork(work);
    this.#turnSoon();
  }

  #guardedWork(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      this.#stop(faultOf(thrown));
    }
  }

  #beginWork(): () => void {
    this.#workUnderWay++;
    return () => {
      this.#workUnderWay--;
    };
  }

  #drainMailbox(answer: (call: number) => Uint8Array): void {
    const mailbox = this.#mailbox;
    this.#mailbox = [];
    for (const { connection, bytes, from, to } of mailbox) {
      this.#options.replies.frame(connection, to - from, answer(requestCall(bytes, from)));
    }
  }

  // ——— one frame

  #handle(connection: number, session: number, bytes: Uint8Array, from: number, to: number): void {
    const frame = this.#frame;
    frame.connection = connection;
    frame.session = session;
    frame.call = requestCall(bytes, from);
    frame.bytes = bytes;
    frame.from = from;
    frame.to = to;
    frame.hold = undefined;
    frame.since = 0;
    this.#answer(frame);
  }

  #answer(frame: Frame): void {
    const { bytes, from } = frame;
    try {
      if (this.#isClosing || this.#state === "stopped") throw this.#notServing();
      switch (bytes[from + frameOffset.kind]) {
        case requestKind.append:
          this.#writes.append(frame);
          return;
        case requestKind.execute:
          this.#writes.execute(frame);
          return;
        case requestKind.get:
          this.#reads.get(frame);
          return;
        case requestKind.history:
          this.#reads.history(frame);
          return;
        case requestKind.getAt:
          this.#reads.getAt(frame);
          return;
        case requestKind.restore:
          this.#resets.restore(frame);
          return;
        case requestKind.delete:
          this.#resets.delete(frame);
          return;
        case requestKind.import:
          this.#writes.import(frame);
          return;
        case requestKind.list:
          this.#reads.list(frame);
          return;
        case requestKind.types:
          this.#reads.types(frame);
          return;
        case requestKind.watch:
          this.#watches.watch(frame);
          return;
        case requestKind.unwatch:
          this.#watches.unwatch(frame);
          return;
        default:
          this.#handleElsewhere(frame, bytes[from + frameOffset.kind]!);
      }
    } catch (thrown) {
      this.#refuse(frame, thrown);
    }
  }

  #handleElsewhere(frame: Frame, kind: number): void {
    if (kind === requestKind.probe && isInner(frame.connection)) {
      this.#reads.probe(frame);
      return;
    }
    const handler = this.#options.handlers?.get(kind);
    const isAllowed = kind < innerKindMin || isInner(frame.connection);
    if (isAllowed && this.#transactions.answers(frame, kind)) return;
    if (handler === undefined || !isAllowed) {
      throw new HeddleError("BAD_FRAME", { problem: `an unknown kind of request, ${kind}` });
    }
    handler(frame);
  }

  #notServing(): HeddleError {
    const reason =
      this.#state === "stopped" ? this.#stopReason : this.#state === "recovering" ? "it recovers" : "it is closing";
    return new HeddleError("SHARD_STOPPED", { shard: this.#options.shard, reason });
  }

  #refuse({ connection, call, from, to }: Frame, thrown: unknown): void {
    if (!(thrown instanceof HeddleError)) {
      // Neither input nor user code: a fault of Heddle's own. Nothing that was decided may become durable after it.
      this.#stop(faultOf(thrown));
      thrown = this.#notServing();
    }
    const error = thrown as HeddleError;
    this.#counters.countError(error.code);
    this.#options.replies.frame(connection, to - from, encodeErrorReply(call, error));
  }

  #checkWritable(): void {
    if (this.#state === "full") {
      throw new HeddleError("DISK_FULL", { shard: this.#options.shard, path: this.#options.logFolder });
    }
    this.#checkpoints.checkTail();
  }

  #overTurns(frame: Frame, work: TurnWork): void {
    const made = work(frame);
    if (made === "replied") return;
    if (made !== undefined && made !== "undurable") {
      this.#options.replies.frame(frame.connection, frame.to - frame.from, sized(made, frame.call));
      return;
    }
    const own = { ...frame };
    this.#workUnderWay++;
    const goOn = () => {
      if (this.#state === "recovering" && !this.#isClosing) {
        this.#options.schedule(goOn, 0);
        return;
      }
      this.#workUnderWay--;
      try {
        if (this.#isClosing || this.#state === "stopped") throw this.#notServing();
        this.#overTurns(own, work);
      } catch (thrown) {
        this.#refuse(own, thrown);
      }
    };
    if (made === "undurable") this.#afterGroup.push(goOn);
    else this.#options.schedule(goOn, 0);
  }

  #goOnAfterGroup(): void {
    for (const goOn of this.#afterGroup.splice(0)) this.#options.schedule(goOn, 0);
  }

  // ——— durability

  #flush(): void {
    if (this.#state === "open") this.#memory.groups.flush();
  }

  #onDurable(group: DurableGroup): void {
    if (this.#state !== "open") return;
    const { groups, erasures } = this.#memory;
    this.#counters.countGroup(group);
    this.#options.onDurableEnd?.(group.end);
    this.#options.crashPoint?.("shard:before-reply");
    const entities = groups.release(this.#options.shard);
    this.#options.crashPoint?.("shard:after-reply");
    this.#checkpoints.onDurable();
    this.#options.replies.flush();
    this.#flush();
    if (this.#watches.size > 0) this.#watches.durable(entities);
    // Nothing waits for the chains: neither replies, nor the next group's write, nor what the replies lead to on this thread.
    groups.chainLater(group, entities);
    this.#chainSoon();
    if (this.#state !== "open") return;
    this.#checkpoints.beginIfWanted();
    if (erasures.count > 0 && !this.#isClosing) erasures.start();
    if (this.#afterGroup.length > 0) this.#goOnAfterGroup();
    this.#wake();
  }

  // One group for each turn, behind all else that the turn has heard.
  #chainSoon(): void {
    if (this.#chainComes || this.#memory.groups.isChained) return;
    this.#chainComes = true;
    this.#options.schedule(() => {
      this.#chainComes = false;
      if (this.#state !== "open") return;
      this.#guardedWork(() => this.#memory.groups.chainNext());
      this.#chainSoon();
    }, 0);
  }

  // ——— failure

  #onLogFailure(error: HeddleError): void {
    const { shard, report } = this.#options;
    report("error", "a commit group could not be made durable; none of it was acknowledged", {
      shard,
      code: error.code,
      error: error.message,
      cause: messageOf(error.cause),
    });
    if (this.#state !== "open") return;
    const { groups, erasures } = this.#memory;
    this.#loss = error;
    this.#enter("recovering", error);
    const erasuresEnd = erasures.stop(error);
    this.#transactions.onLogFailure(error);
    groups.fail((call) => encodeErrorReply(call, error));
    void erasuresEnd.then(() => this.#recoverInPlace(error.code === "DISK_FULL" ? "full" : "open"));
  }

  // Memory is ahead of the disk: everything is dropped and read again. Frames that come meanwhile wait in the mailbox.
  async #recoverInPlace(next: "open" | "full"): Promise<void> {
    // A checkpoint that runs was cut when all was durable: it may as well end. At least a turn passes in any case, so
    // that whoever was adding to the log when its write failed comes back first.
    do await nextTurnOf(this.#options);
    while (this.#checkpoints.isRunning);
    if (this.#state !== "recovering") return;
    try {
      const { log } = this.#memory;
      log.close();
      this.#recover(log.durableEnd);
      this.#spaceProbedAt = this.#options.clock.monotonic();
      this.#enter(next);
      const { shard, report } = this.#options;
      report("info", "the shard has recovered in place", {
        shard,
        state: next,
        logEnd: this.#memory.log.durableEnd,
      });
      this.#watches.recovered();
      if (next === "open" && !this.#isClosing) this.#memory.erasures.start();
      if (!this.#isClosing) this.#guarded(() => this.#transactions.start());
    } catch (thrown) {
      this.#stop(`it could not recover: ${messageOf(thrown)}`);
    }
    this.#workMailbox();
  }

  #stop(reason: string): void {
    if (this.#state === "stopped") return;
    this.#stopReason = reason;
    this.#enter("stopped");
    void this.#memory.erasures.stop(this.#notServing());
    this.#checkpoints.cancel();
    this.#watches.stop(this.#notServing());
    this.#transactions.stop(this.#notServing(), true);
    this.#options.report("error", "the shard stops", { shard: this.#options.shard, reason });
    const answer = (call: number) => encodeErrorReply(call, this.#notServing());
    this.#memory.groups.fail(answer);
    this.#drainMailbox(answer);
  }

  #probeSpace(now: number): void {
    if (now - this.#spaceProbedAt < 1_000) return;
    this.#spaceProbedAt = now;
    if (this.#options.disk.freeBytes(this.#options.logFolder) < freeBytesWanted) return;
    this.#enter("open");
    this.#options.report("info", "there is room on the disk again", { shard: this.#options.shard });
  }
}

function faultOf(thrown: unknown): string {
  if (thrown instanceof InvariantViolation) return thrown.message;
  return `it failed: ${String((thrown as Error)?.stack ?? thrown)}`;
}
