// Shard: one writer for a slice of the entities. Takes request frames in arrival order, decides, commits, replies.
//
// Owns the order of everything that happens to its entities. Runs on one thread, takes turns with nobody.
// Talks to: its event log, its partition, a ReplySink. Nothing else.
//
// P1. Frames are taken one at a time in the order they came; sequences have no gaps.
// P2. A reply to a write, and to a read that saw it, leaves only when the log says that its group is durable.
// P3. State changes only after every rule held for every event of the append.
// P4. A call number or id that took effect gives its first receipt again.
// P7. What is refused leaves no trace: not in a state, a sequence, a window, or the log.
// P8. The mailbox is bounded by the listener's credit. Frames wait in it while a full group waits for the disk, while too
//     many bytes of replies do, and while a checkpoint is too far behind the log.
// Not promised: that a call answered with a failure did not take effect; its id tells, when it is sent again.
// Not promised: that waking an entity is quick. One with a million events and no snapshot takes a second or two.
import {
  type CompiledAggregate,
  type CompiledContext,
  type CompiledEvent,
  type DecidedEvent,
  type Decision,
  describeThrown,
} from "@heddle/domain/internal";
import {
  crc32,
  type Disk,
  type Durability,
  type DurableGroup,
  type EntryHeader,
  type EntryView,
  EventLog,
  entryFlags,
} from "@heddle/event-log/internal";
import { type Clock, HeddleError, limits as kernelLimits, type Random } from "@heddle/kernel";
import { InvariantViolation } from "@heddle/kernel/internal";
import type { Partition } from "@heddle/partition/internal";
import {
  decodeValue,
  encodeErrorReply,
  encodeRejectionReply,
  encodeReply,
  frameOffset,
  newAppendView,
  newExecuteView,
  type Rejection,
  readAppendBody,
  readExecuteBody,
  readGetBody,
  readHistoryBody,
  receiptFrameBytes,
  rejection,
  replyKind,
  requestCall,
  requestKind,
  TextCache,
  writeAppendBody,
  writeReceiptFrame,
  writeU16,
} from "@heddle/protocol/internal";
import { Activation } from "./activation.ts";
import { AppendIds } from "./append-ids.ts";
import { Checkpoint } from "./checkpoint.ts";
import { asDomainFailure, type Folded, foldAll, type Proposed, validateAll } from "./decide.ts";
import type { Entity } from "./entity.ts";
import { HistoryPage } from "./history.ts";
import { isTooDeep } from "./plain-data.ts";
import { Sessions, type SessionWindow } from "./sessions.ts";
import { ShardCounters, type ShardState, type ShardStats } from "./stats.ts";
import { type ReplySink, WaitingReplies } from "./waiting-replies.ts";

export interface ShardLimits {
  /** A group is closed at this many bytes; what comes while the one before is not durable waits in the mailbox. */
  readonly groupBytesMax: number;
  /** How long a group may wait for company, in ms. 0: it goes as soon as the disk is free. */
  readonly lingerMs: number;
  /** A checkpoint begins after this many bytes of log … */
  readonly checkpointBytes: number;
  /** … or after this many ms, if anything changed. */
  readonly checkpointIntervalMs: number;
  /** Entities in memory beyond this many are let go, those that the partition has whole … */
  readonly activeEntitiesMax: number;
  /** … and also when their states take more than this, as encoded. Objects take three to five times as much. */
  readonly stateBytesMax: number;
  /** Memory for the idempotency windows of client sessions: beyond it new ones are refused as OVERLOADED. */
  readonly sessionBytesMax: number;
  readonly segmentBytes: number;
}

export const defaultShardLimits: ShardLimits = {
  groupBytesMax: 4 << 20,
  lingerMs: 0,
  checkpointBytes: 64 << 20,
  checkpointIntervalMs: 10_000,
  activeEntitiesMax: 200_000,
  stateBytesMax: 64 << 20,
  sessionBytesMax: 256 << 20,
  segmentBytes: 64 << 20,
};

export interface ShardOptions {
  readonly shard: number;
  readonly shardCount: number;
  readonly domain: CompiledContext;
  readonly logFolder: string;
  readonly disk: Disk;
  readonly partition: Partition;
  readonly clock: Clock;
  readonly random: Random;
  readonly durability: Durability;
  readonly limits: ShardLimits;
  readonly replies: ReplySink;
  /** Runs a task in a later turn, after a delay in ms. */
  readonly schedule: (task: () => void, delayMs: number) => void;
  /** Told of what an operator should know: recoveries, failures, stops. */
  readonly report: (level: "info" | "warn" | "error", message: string, facts: Record<string, unknown>) => void;
  /** Told of every change of state, so that readiness can be answered without asking the thread. */
  readonly onState?: (state: ShardState, reason: string) => void;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

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

/** The log may be so many checkpoints ahead of the partition: memory and the time of a recovery grow with it. */
const tailCheckpointsMax = 4;

/** An append's body in the log. Less than a frame, so that any event fits into a reply together with what describes it. */
const bodyBytesMax = kernelLimits.frameBytesMax - 4_096;

export class Shard {
  readonly #options: ShardOptions;
  readonly #limits: ShardLimits;
  readonly #texts = new TextCache();
  readonly #counters = new ShardCounters();
  #state: ShardState = "recovering";
  #stopReason = "";
  #log!: EventLog;
  #activation!: Activation;
  #appendIds!: AppendIds;
  #sessions!: Sessions;
  #checkpoint: Checkpoint | undefined;
  #checkpointedAt = 0;
  /** Why the last checkpoint failed, if it did. The next one is due by time then. */
  #checkpointFailure: HeddleError | undefined;
  #wantsCheckpoint = false;
  /** A checkpoint is running, and the log is as far ahead of the partition as it may be. */
  #isBehind = false;
  #isClosing = false;
  #closing: Promise<void> | undefined;
  /** Histories that go on in a later turn. */
  #historiesUnderWay = 0;
  #mailbox: MailboxItem[] = [];
  #filling = new WaitingReplies();
  #inFlight = new WaitingReplies();
  #now = 0;
  #lingering = false;
  #spaceProbedAt = Number.NEGATIVE_INFINITY;
  /** Window of the call at hand, if its session has one. */
  #window: SessionWindow | undefined;
  // Reused from call to call, so that an append allocates nothing of its own.
  readonly #append = newAppendView();
  readonly #execute = newExecuteView();
  readonly #types: CompiledEvent[] = [];
  readonly #folded: Folded = { state: undefined };
  readonly #header: EntryHeader = {
    flags: 0,
    firstSeq: 0,
    time: 0,
    fingerprint: 0,
    session: 0,
    call: 0,
    eventCount: 0,
    payloadsOffset: 0,
  };

  /**
   * Opens and recovers a shard. Errors: `LOG_DAMAGED`, `PARTITION_DAMAGED`; whatever the disk throws. The partition is
   * then still the caller's to close.
   */
  static open(options: ShardOptions): Shard {
    const shard = new Shard(options);
    const startedAt = options.clock.monotonic();
    shard.#openLog(Math.max(options.partition.coveredPosition, options.partition.cleanEnd ?? 0));
    shard.#enter("open");
    const { recovery } = shard.#log;
    options.report(recovery.cutBytes > 0 ? "warn" : "info", "shard is open", {
      shard: options.shard,
      logEnd: shard.#log.durableEnd,
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
  }

  get state(): ShardState {
    return this.#state;
  }

  get stopReason(): string {
    return this.#stopReason;
  }

  /**
   * Takes one request frame. The bytes must stay as they are until its reply has gone.
   * The reply goes to the sink, now or later; there is exactly one for each frame.
   */
  receive(connection: number, session: number, bytes: Uint8Array, from: number, to: number): void {
    if (this.#mustWait()) this.#mailbox.push({ connection, session, bytes, from, to });
    else this.#handle(connection, session, bytes, from, to);
  }

  /** Ends a turn: what was decided in it goes on its way to the disk. */
  endTurn(): void {
    this.#now = 0;
    if (this.#state !== "open" || this.#log.inFlight || this.#log.fillingEntries === 0) return;
    if (this.#limits.lingerMs === 0 || this.#wantsCheckpoint || this.#log.fillingBytes >= this.#limits.groupBytesMax) {
      this.#flush();
    } else if (!this.#lingering) {
      this.#lingering = true;
      this.#options.schedule(() => {
        this.#lingering = false;
        if (this.#state === "open") this.#flush();
      }, this.#limits.lingerMs);
    }
  }

  /** To be called every now and then: begins checkpoints that are due by time, looks whether a full disk has room. */
  tick(): void {
    const now = this.#options.clock.monotonic();
    if (this.#state === "full") this.#probeSpace(now);
    this.#sessions.tick(now);
    this.#activation.passivate();
    if (this.#state !== "open" || this.#checkpoint !== undefined || this.#wantsCheckpoint) return;
    const due = now - this.#checkpointedAt >= this.#limits.checkpointIntervalMs;
    if (due && this.#log.durableEnd > this.#options.partition.coveredPosition) this.requestCheckpoint();
  }

  /** Begins a checkpoint as soon as everything decided is durable. */
  requestCheckpoint(): void {
    if (this.#checkpoint !== undefined || this.#state !== "open") return;
    this.#wantsCheckpoint = true;
    if (this.#log.inFlight) return;
    if (this.#log.fillingEntries > 0) this.#flush();
    else this.#beginCheckpoint();
  }

  stats(): ShardStats {
    return this.#counters.snapshot({
      shard: this.#options.shard,
      state: this.#state,
      stopReason: this.#stopReason,
      mailboxDepth: this.#mailbox.length,
      waitingReplies: this.#filling.size + this.#inFlight.size,
      activeEntities: this.#activation.activeCount,
      stateBytes: this.#activation.stateBytes,
      sessions: this.#sessions.count,
      sessionBytes: this.#sessions.bytes,
      logBytes: this.#log.durableEnd,
      checkpointPosition: this.#options.partition.coveredPosition,
      checkpointAgeMs: this.#options.clock.monotonic() - this.#checkpointedAt,
      isCheckpointing: this.#checkpoint !== undefined,
      partitionReads: this.#options.partition.counters.reads,
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
    this.#drainMailbox((call) => encodeErrorReply(call, this.#notServing()));
    await this.#settled();
    if (this.#state === "open" && this.#log.durableEnd > partition.coveredPosition) {
      this.requestCheckpoint();
      await this.#settled();
    }
    const clean = this.#state === "open" || this.#state === "full";
    const end = this.#log.durableEnd;
    if (this.#state !== "stopped") this.#enter("closed");
    this.#log.close();
    try {
      await partition.close(clean ? { cleanEnd: end } : {});
    } catch (error) {
      report("warn", "the clean stop could not be recorded", { shard, error: messageOf(error) });
    }
  }

  /** Closes the partition and nothing else: for a thread whose memory can no longer be trusted. */
  async abandon(): Promise<void> {
    this.#isClosing = true;
    this.#stopReason = "its thread ends after a fault";
    this.#enter("stopped");
    await this.#options.partition.close({});
  }

  #enter(state: ShardState): void {
    this.#state = state;
    if (state !== "open") {
      this.#wantsCheckpoint = false;
      this.#isBehind = false;
    }
    this.#options.onState?.(state, state === "full" ? "no room on the disk" : this.#stopReason);
  }

  // Waits until nothing is under way: no group, checkpoint, recovery or history.
  async #settled(): Promise<void> {
    while (
      this.#state === "recovering" ||
      this.#log.inFlight ||
      (this.#state === "open" && this.#log.fillingEntries > 0) ||
      this.#wantsCheckpoint ||
      this.#checkpoint !== undefined ||
      this.#historiesUnderWay > 0
    ) {
      this.#flush();
      await this.#nextTurn();
    }
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#options.schedule(resolve, 0));
  }

  #openLog(knownEnd: number): void {
    const options = this.#options;
    const limits = this.#limits;
    const { partition } = options;
    const nowMonotonic = options.clock.monotonic();
    this.#sessions = new Sessions({ bytesMax: limits.sessionBytesMax, nowMonotonic });
    for (const kept of partition.sessions()) this.#sessions.restore(kept.session, kept.lastSeenMs, kept.calls);
    this.#appendIds = new AppendIds(partition);
    this.#activation = new Activation({
      shard: options.shard,
      shardCount: options.shardCount,
      domain: options.domain,
      partition,
      readEntry: (position) => this.#readEntry(position),
      activeEntitiesMax: limits.activeEntitiesMax,
      stateBytesMax: limits.stateBytesMax,
    });
    this.#log = EventLog.open({
      disk: options.disk,
      folder: options.logFolder,
      shard: options.shard,
      clock: options.clock,
      random: options.random,
      durability: options.durability,
      segmentBytes: limits.segmentBytes,
      knownEnd,
      replayFrom: partition.coveredPosition,
      onEntry: (entry) => this.#recoverEntry(entry),
      crashPoint: options.crashPoint,
    });
    this.#log.onDurable = (group) => this.#onDurable(group);
    this.#log.onFailure = (error) => this.#onLogFailure(error);
    this.#checkpointedAt = nowMonotonic;
  }

  #recoverEntry(entry: EntryView): void {
    const view = this.#append;
    readAppendBody(entry.bytes, entry.bodyFrom, entry.bodyTo, this.#texts, view);
    this.#activation.recover(view.entity, entry.firstSeq, entry.eventCount, entry.position, entry.time);
    if (view.id !== "") this.#appendIds.add(view.entity, view.id, entry.position);
    this.#sessions.recover(entry.session, entry.call, entry.position, entry.time);
  }

  // A disk that cannot give back a few bytes concerns those who asked for them, not the whole shard.
  #readEntry(position: number): EntryView {
    try {
      return this.#log.read(position);
    } catch (cause) {
      if (!isSystemError(cause)) throw cause;
      const problem = `position ${position} could not be read: ${cause.message}`;
      throw new HeddleError("LOG_DAMAGED", { file: this.#options.logFolder, offset: 0, problem }, { cause });
    }
  }

  // ——— the mailbox

  // Whoever is told to wait is sure to be woken: by the end of a group, a checkpoint, or a recovery.
  #mustWait(): boolean {
    if (this.#state !== "open" || this.#isClosing) return this.#state === "recovering" && !this.#isClosing;
    if (this.#mailbox.length > 0 || this.#wantsCheckpoint || this.#isBehind) return true;
    if (!this.#hasEnough()) return false;
    this.#flush();
    // The flush may have failed, and then a recovery is under way.
    return this.#hasEnough() || this.#state !== "open";
  }

  #hasEnough(): boolean {
    return (
      this.#log.fillingBytes >= this.#limits.groupBytesMax ||
      this.#filling.heldBytes + this.#inFlight.heldBytes >= heldReplyBytesMax
    );
  }

  #workMailbox(): void {
    const mailbox = this.#mailbox;
    let done = 0;
    this.#mailbox = [];
    for (; done < mailbox.length && !this.#mustWait(); done++) {
      const item = mailbox[done]!;
      this.#handle(item.connection, item.session, item.bytes, item.from, item.to);
    }
    if (done < mailbox.length) this.#mailbox = done === 0 ? mailbox : mailbox.slice(done);
    this.endTurn();
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
    const call = requestCall(bytes, from);
    try {
      if (this.#isClosing || this.#state === "stopped") throw this.#notServing();
      switch (bytes[from + frameOffset.kind]) {
        case requestKind.append:
          this.#onAppend(connection, session, bytes, from, to, call);
          return;
        case requestKind.execute:
          this.#onExecute(connection, session, bytes, from, to, call);
          return;
        case requestKind.get:
          this.#onGet(connection, bytes, from, to, call);
          return;
        case requestKind.history:
          this.#onHistory(connection, bytes, from, to, call);
          return;
        default:
          throw new HeddleError("BAD_FRAME", {
            problem: `an unknown kind of request, ${bytes[from + frameOffset.kind]}`,
          });
      }
    } catch (thrown) {
      this.#refuse(connection, to - from, call, thrown);
    }
  }

  #notServing(): HeddleError {
    const reason = this.#state === "stopped" ? this.#stopReason : "it is closing";
    return new HeddleError("SHARD_STOPPED", { shard: this.#options.shard, reason });
  }

  #refuse(connection: number, requestBytes: number, call: number, thrown: unknown): void {
    if (!(thrown instanceof HeddleError)) {
      // Neither input nor user code: a fault of Heddle's own. Nothing that was decided may become durable after it.
      this.#stop(
        thrown instanceof InvariantViolation
          ? thrown.message
          : `it failed: ${String((thrown as Error)?.stack ?? thrown)}`,
      );
      thrown = new HeddleError("SHARD_STOPPED", { shard: this.#options.shard, reason: this.#stopReason });
    }
    const error = thrown as HeddleError;
    this.#counters.countError(error.code);
    this.#options.replies.frame(connection, requestBytes, encodeErrorReply(call, error));
  }

  #onAppend(connection: number, session: number, bytes: Uint8Array, from: number, to: number, call: number): void {
    const body = from + frameOffset.requestBody;
    const view = this.#append;
    readAppendBody(bytes, body, to, this.#texts, view);
    const entity = this.#activation.activate(view.entity);
    if (this.#answersRepeat(connection, session, bytes, from, to, call, entity, view.id)) return;
    this.#checkWritable(call);
    if (view.expectedSeq >= 0 && view.expectedSeq !== entity.seq) {
      this.#reject(connection, to - from, call, entity, sequenceConflict(view.expectedSeq, entity));
      return;
    }
    checkBodyBytes(to - body);
    const aggregate = this.#aggregateOf(view.aggregate, view.types[0]!);
    const proposed = this.#propose(aggregate, bytes);
    const payloads = decodePayloads(bytes, view.payloadsFrom, to, view.eventCount);
    // Decoded even when its bytes are stored as they came: what cannot be decoded would make the history unreadable.
    const metadata = metadataOf(bytes, view.metadataFrom, view.metadataTo);
    const verbatim = validateAll(proposed, payloads) && view.aggregate !== "";
    this.#commit({
      connection,
      session,
      call,
      requestBytes: to - from,
      entity,
      id: view.id,
      proposed,
      payloads,
      flags: 0,
      fingerprint: crc32(bytes, body, to),
      source: verbatim ? bytes : undefined,
      bodyFrom: body,
      bodyTo: to,
      metadata,
    });
  }

  #onExecute(connection: number, session: number, bytes: Uint8Array, from: number, to: number, call: number): void {
    const body = from + frameOffset.requestBody;
    const view = this.#execute;
    readExecuteBody(bytes, body, to, this.#texts, view);
    const entity = this.#activation.activate(view.entity);
    if (this.#answersRepeat(connection, session, bytes, from, to, call, entity, view.id)) return;
    this.#checkWritable(call);
    if (view.expectedSeq >= 0 && view.expectedSeq !== entity.seq) {
      this.#reject(connection, to - from, call, entity, sequenceConflict(view.expectedSeq, entity));
      return;
    }
    const aggregate = this.#aggregateOfCommand(view.aggregate, view.command);
    const command = aggregate.commands.get(view.command);
    if (command === undefined) {
      const known = [...aggregate.commands.keys()];
      throw new HeddleError("UNKNOWN_COMMAND", { aggregate: aggregate.name, command: view.command, known });
    }
    const where = () => `${aggregate.name}.${view.command}`;
    const input = decodeInput(bytes, view.inputFrom, to);
    const metadata = metadataOf(bytes, view.metadataFrom, view.metadataTo);
    const states = this.#activation.statesOf(entity);
    let decision: Decision;
    let proposed: Proposed | undefined;
    let payloads: unknown[] = [];
    try {
      const validated = command.validate(input);
      if (validated.issues !== undefined) {
        const issues = validated.issues;
        throw new HeddleError("INVALID_PAYLOAD", { aggregate: aggregate.name, type: view.command, index: 0, issues });
      }
      const state = states[aggregate.index];
      decision = command.decide(state, validated.value, { entity: entity.id, now: this.#time(entity) });
      // What the module decided is its own object, and looking at it may run its code.
      if (decision.kind === "events") {
        proposed = proposalOf(aggregate, decision.events);
        payloads = decision.events.map((event) => event.payload);
      }
    } catch (thrown) {
      throw asDomainFailure(thrown, where);
    }
    if (proposed === undefined || decision.kind === "rejected") {
      const { code: reason, facts: details } = decision as Extract<Decision, { kind: "rejected" }>;
      const facts = { command: view.command, reason, details };
      this.#reject(connection, to - from, call, entity, rejection("COMMAND_REJECTED", facts));
      return;
    }
    try {
      validateAll(proposed, payloads);
    } catch (thrown) {
      // The caller's input was good: that its events are not is the module's fault, not the caller's.
      if (!(thrown instanceof HeddleError) || thrown.code !== "INVALID_PAYLOAD") throw thrown;
      throw new HeddleError("DOMAIN_FAILED", {
        where: where(),
        message: `it decided an event that is not valid: ${thrown.message}`,
      });
    }
    this.#commit({
      connection,
      session,
      call,
      requestBytes: to - from,
      entity,
      id: view.id,
      proposed,
      payloads,
      flags: entryFlags.command,
      fingerprint: crc32(bytes, body, to),
      source: undefined,
      bodyFrom: 0,
      bodyTo: 0,
      metadata,
    });
  }

  // Folds, and if every rule holds takes the append into the open group. Nothing before `log.add` leaves a trace.
  #commit(append: {
    connection: number;
    session: number;
    call: number;
    requestBytes: number;
    entity: Entity;
    id: string;
    proposed: Proposed;
    payloads: unknown[];
    flags: number;
    fingerprint: number;
    /** Holds the body to be stored as it came, or undefined when it must be encoded anew. */
    source: Uint8Array | undefined;
    bodyFrom: number;
    bodyTo: number;
    metadata: unknown;
  }): void {
    const { entity, proposed } = append;
    const states = this.#activation.statesOf(entity);
    const { aggregate } = proposed;
    let payloads = append.payloads;
    let bodyBytes = 0;
    if (append.source === undefined) {
      bodyBytes = this.#encodeBody(append);
      // What is folded now must be what a replay will fold: the values as they come back from the log.
      payloads = this.#storedPayloads(bodyBytes, proposed);
    }
    const rejected = foldAll(proposed, states[aggregate.index], payloads, this.#folded);
    if (rejected !== undefined) {
      this.#reject(append.connection, append.requestBytes, append.call, entity, rejected);
      return;
    }
    if (append.source !== undefined)
      bodyBytes = this.#copyBody(append.source, append.bodyFrom, append.bodyTo, proposed);
    const time = this.#time(entity);
    const header = this.#header;
    header.flags = append.flags;
    header.firstSeq = entity.seq + 1;
    header.time = time;
    header.fingerprint = append.fingerprint;
    header.session = append.session;
    header.call = append.call;
    header.eventCount = payloads.length;
    // An encoded body was made relative to its own start by `#storedPayloads`.
    header.payloadsOffset = this.#append.payloadsFrom - (append.source === undefined ? 0 : append.bodyFrom);
    this.#activation.beforeChange(entity);
    const position = this.#log.add(header, bodyBytes);
    states[aggregate.index] = this.#folded.state;
    this.#activation.extend(entity, payloads.length, position, time);
    this.#sessions.add(this.#window, append.session, append.call, position, time);
    if (append.id !== "") this.#appendIds.add(entity.id, append.id, position);
    this.#counters.appends++;
    this.#filling.addReceipt(
      append.connection,
      append.requestBytes,
      append.call,
      header.firstSeq,
      payloads.length,
      position,
      time,
    );
  }

  // Copies a checked body into the open group and fills in the schema versions.
  #copyBody(source: Uint8Array, from: number, to: number, proposed: Proposed): number {
    const { bytes, at } = this.#log.reserve(to - from);
    bytes.set(source.subarray(from, to), at);
    for (let i = 0; i < this.#append.typeCount; i++) {
      writeU16(bytes, at + this.#append.versionOffsets[i]! - from, proposed.types[i]!.schemaVersion);
    }
    return to - from;
  }

  #encodeBody(append: {
    entity: Entity;
    id: string;
    proposed: Proposed;
    payloads: unknown[];
    metadata: unknown;
  }): number {
    const { proposed } = append;
    const events = append.payloads.map((payload, index) => {
      const event = proposed.types[proposed.indexFrom === 0 ? 0 : proposed.indexBytes[proposed.indexFrom + index]!]!;
      return { type: event.type, payload, schemaVersion: event.schemaVersion };
    });
    try {
      return writeAppendBody(
        {
          entity: append.entity.id,
          aggregate: proposed.aggregate.name,
          events,
          id: append.id === "" ? undefined : append.id,
          metadata: append.metadata,
        },
        (wanted) => {
          // A schema can make much of little.
          checkBodyBytes(wanted);
          return this.#log.reserve(wanted);
        },
      );
    } catch (thrown) {
      throw asDomainFailure(thrown, () => storing(proposed));
    }
  }

  #storedPayloads(bodyBytes: number, proposed: Proposed): unknown[] {
    const { bytes, at } = this.#log.reserve(bodyBytes);
    const view = this.#append;
    try {
      readAppendBody(bytes, at, at + bodyBytes, this.#texts, view);
      const payloads = decodePayloads(bytes, view.payloadsFrom, at + bodyBytes, view.eventCount);
      if (isTooDeep(payloads, kernelLimits.payloadDepthMax + 1)) throw new TypeError("it is nested too deeply");
      view.payloadsFrom -= at; // `#commit` takes it from the body's start, which is 0 for an encoded body.
      return payloads;
    } catch (thrown) {
      // The request was good: what the schemas made of it is not.
      const message = describeThrown(thrown);
      throw new HeddleError("DOMAIN_FAILED", { where: storing(proposed), message }, { cause: thrown });
    }
  }

  #propose(aggregate: CompiledAggregate, bytes: Uint8Array): Proposed {
    const view = this.#append;
    const types = this.#types;
    types.length = view.typeCount;
    for (let i = 0; i < view.typeCount; i++) {
      const event = aggregate.events.get(view.types[i]!);
      types[i] = event ?? eventOf(aggregate, view.types[i]!, firstOfType(bytes, view.typeIndexes, view.eventCount, i));
    }
    return { aggregate, types, indexFrom: view.typeIndexes, indexBytes: bytes };
  }

  #aggregateOf(name: string, firstType: string): CompiledAggregate {
    const { domain } = this.#options;
    const found =
      name === "" ? (soleAggregate(domain) ?? domain.aggregateOfEvent(firstType)) : domain.aggregates.get(name);
    if (found !== undefined) return found;
    throw new HeddleError("UNKNOWN_AGGREGATE", { aggregate: name, known: domain.aggregateNames });
  }

  #aggregateOfCommand(name: string, command: string): CompiledAggregate {
    const { domain } = this.#options;
    const found =
      name === "" ? (soleAggregate(domain) ?? domain.aggregateOfCommand(command)) : domain.aggregates.get(name);
    if (found !== undefined) return found;
    throw new HeddleError("UNKNOWN_AGGREGATE", { aggregate: name, known: domain.aggregateNames });
  }

  #reject(connection: number, requestBytes: number, call: number, entity: Entity, value: Rejection): void {
    let frame: Uint8Array;
    try {
      frame = encodeRejectionReply(call, value);
    } catch (thrown) {
      // Only a command's own facts can be anything.
      throw asDomainFailure(thrown, () => `the facts of the rejection ${value.message}`);
    }
    this.#counters.countRejection(value.code);
    // A rejection saw state that may not be durable yet; it must not be heard before that state is.
    this.#sayWhenDurable(connection, requestBytes, call, this.#isUndurable(entity), frame);
  }

  #isUndurable(entity: Entity): boolean {
    return entity.seq > 0 && entity.position >= this.#log.durableEnd;
  }

  #sayWhenDurable(connection: number, requestBytes: number, call: number, undurable: boolean, made: Uint8Array): void {
    const frame = sized(made, call);
    if (!undurable) this.#options.replies.frame(connection, requestBytes, frame);
    else this.#waiting().addOther(connection, requestBytes, call, frame.length, () => frame);
  }

  // The replies that leave with what was decided last.
  #waiting(): WaitingReplies {
    return this.#log.fillingEntries > 0 ? this.#filling : this.#inFlight;
  }

  #time(entity: Entity): number {
    if (this.#now === 0) this.#now = this.#options.clock.now();
    return Math.max(this.#now, entity.time);
  }

  #checkWritable(call: number): void {
    if (this.#state === "full") {
      throw new HeddleError("DISK_FULL", { shard: this.#options.shard, path: this.#options.logFolder });
    }
    if (this.#checkpointFailure !== undefined && this.#tailIsTooLong()) throw this.#checkpointFailure;
    this.#sessions.checkRoom(this.#window, call);
  }

  // ——— repeats (P4)

  // Answers a call that took effect before, and says whether it did so.
  #answersRepeat(
    connection: number,
    session: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    call: number,
    entity: Entity,
    id: string,
  ): boolean {
    const window = this.#sessions.find(session);
    this.#window = window;
    let position = window?.find(call);
    if (position === undefined && id !== "") position = this.#appendIds.find(entity.id, id);
    // An id that is not known says for good that the append did not take effect; a number says so within the window only.
    else if (position === undefined && window?.expired(call)) {
      throw new HeddleError("ID_EXPIRED", {
        problem: `call ${call} is too old: its session is at ${window.lastCall} and its outcome is no longer known`,
      });
    }
    if (position === undefined) return false;
    const first = position;
    const fingerprint = crc32(bytes, from + frameOffset.requestBody, to);
    const reply = () => this.#repeatedReceipt(call, first, fingerprint, entity, id);
    this.#counters.duplicates++;
    if (first < this.#log.durableEnd) this.#options.replies.frame(connection, to - from, reply());
    else this.#waiting().addOther(connection, to - from, call, receiptFrameBytes, reply);
    return true;
  }

  #repeatedReceipt(call: number, position: number, fingerprint: number, entity: Entity, id: string): Uint8Array {
    try {
      const entry = this.#readEntry(position);
      if (entry.fingerprint !== fingerprint) {
        throw new HeddleError("ID_REUSED", { entity: entity.id, id: id === "" ? `call ${call}` : id });
      }
      const frame = new Uint8Array(receiptFrameBytes);
      const { firstSeq, eventCount, time } = entry;
      writeReceiptFrame(frame, 0, call, this.#options.shard, firstSeq, eventCount, position, time, true);
      return frame;
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      this.#counters.countError(thrown.code);
      return encodeErrorReply(call, thrown);
    }
  }

  // ——— reads

  #onGet(connection: number, bytes: Uint8Array, from: number, to: number, call: number): void {
    const fields = readGetBody(bytes, from + frameOffset.requestBody, to, this.#texts);
    const { domain } = this.#options;
    const aggregate = fields.aggregate === "" ? soleAggregate(domain) : domain.aggregates.get(fields.aggregate);
    if (aggregate === undefined) {
      throw new HeddleError("UNKNOWN_AGGREGATE", { aggregate: fields.aggregate, known: domain.aggregateNames });
    }
    const entity = this.#activation.find(fields.entity);
    const seq = entity?.seq ?? 0;
    let frame: Uint8Array;
    try {
      const state = entity === undefined ? aggregate.initial() : this.#activation.statesOf(entity)[aggregate.index];
      frame = encodeReply(replyKind.value, call, { state, seq });
    } catch (thrown) {
      throw asDomainFailure(thrown, () => `the state of ${fields.entity}`);
    }
    this.#counters.gets++;
    const undurable = entity !== undefined && this.#isUndurable(entity);
    this.#sayWhenDurable(connection, to - from, call, undurable, frame);
  }

  #onHistory(connection: number, bytes: Uint8Array, from: number, to: number, call: number): void {
    const fields = readHistoryBody(bytes, from + frameOffset.requestBody, to, this.#texts);
    const { domain } = this.#options;
    if (fields.aggregate !== "" && !domain.aggregates.has(fields.aggregate)) {
      throw new HeddleError("UNKNOWN_AGGREGATE", { aggregate: fields.aggregate, known: domain.aggregateNames });
    }
    this.#readHistory(connection, to - from, call, fields.entity, new HistoryPage(fields));
  }

  #readHistory(connection: number, requestBytes: number, call: number, id: string, page: HistoryPage): void {
    const entity = this.#activation.find(id);
    if (entity === undefined || page.read(this.#activation, this.#log, entity)) {
      const frame = sized(encodeReply(replyKind.value, call, page.events), call);
      this.#options.replies.frame(connection, requestBytes, frame);
      return;
    }
    this.#historiesUnderWay++;
    const goOn = () => {
      if (this.#state === "recovering" && !this.#isClosing) {
        this.#options.schedule(goOn, 0);
        return;
      }
      this.#historiesUnderWay--;
      try {
        if (this.#isClosing || this.#state === "stopped") throw this.#notServing();
        this.#readHistory(connection, requestBytes, call, id, page);
      } catch (thrown) {
        this.#refuse(connection, requestBytes, call, thrown);
      }
    };
    this.#options.schedule(goOn, 0);
  }

  // ——— durability

  #flush(): void {
    if (this.#state !== "open" || this.#log.inFlight || this.#log.fillingEntries === 0) return;
    const filled = this.#filling;
    this.#filling = this.#inFlight;
    this.#inFlight = filled;
    this.#log.flush();
  }

  #onDurable(group: DurableGroup): void {
    if (this.#state !== "open") return;
    this.#counters.countGroup(group);
    this.#options.crashPoint?.("shard:before-reply");
    this.#inFlight.release(this.#options.shard, this.#options.replies);
    this.#options.crashPoint?.("shard:after-reply");
    const tailBytes = group.end - this.#options.partition.coveredPosition;
    if (tailBytes >= this.#limits.checkpointBytes) {
      if (this.#checkpoint !== undefined) this.#isBehind = this.#tailIsTooLong();
      else if (this.#checkpointFailure === undefined) this.#wantsCheckpoint = true;
    }
    if (this.#log.fillingEntries > 0) this.#flush();
    else if (this.#wantsCheckpoint) this.#beginCheckpoint();
    if (this.#mailbox.length > 0) this.#workMailbox();
  }

  #tailIsTooLong(): boolean {
    const tailBytes = this.#log.durableEnd - this.#options.partition.coveredPosition;
    return tailBytes >= tailCheckpointsMax * this.#limits.checkpointBytes;
  }

  #beginCheckpoint(): void {
    this.#wantsCheckpoint = false;
    const { shard, partition, domain, durability, schedule, crashPoint } = this.#options;
    const checkpoint = new Checkpoint({
      shard,
      partition,
      domain,
      activation: this.#activation,
      appendIds: this.#appendIds,
      sessions: this.#sessions,
      covering: this.#log.durableEnd,
      syncLog: durability === "os" ? () => this.#syncLog() : undefined,
      schedule: (task) => schedule(task, 0),
      crashPoint,
    });
    this.#checkpoint = checkpoint;
    checkpoint.done.then(
      () => this.#onCheckpointEnd(undefined),
      (error: unknown) => this.#onCheckpointEnd(error),
    );
    if (this.#mailbox.length > 0) this.#workMailbox();
  }

  // Mode `os` syncs nothing on the way of an append. Every segment but the last was synced when the next was begun.
  #syncLog(): Promise<void> {
    const last = this.#log.segments.at(-1);
    if (last === undefined) return Promise.resolve();
    const file = this.#options.disk.open(last.file, "write");
    return new Promise((resolve, reject) => {
      file.sync((error) => {
        file.close();
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  #onCheckpointEnd(error: unknown): void {
    this.#checkpoint = undefined;
    this.#checkpointedAt = this.#options.clock.monotonic();
    this.#checkpointFailure = undefined;
    this.#isBehind = false;
    if (error === undefined) this.#counters.checkpoints++;
    else if (this.#state !== "stopped") this.#onCheckpointFailure(error);
    if (this.#mailbox.length > 0) this.#workMailbox();
  }

  // Memory has everything again, and the log has it anyway: appends go on until the log's tail is too long.
  #onCheckpointFailure(error: unknown): void {
    const { shard, report } = this.#options;
    if (!(error instanceof HeddleError)) {
      this.#stop(`a checkpoint failed: ${messageOf(error)}`);
      return;
    }
    this.#checkpointFailure = error;
    report("warn", "a checkpoint failed; the next one writes the same again", { shard, error: messageOf(error) });
  }

  // ——— failure

  #onLogFailure(error: HeddleError): void {
    const { shard, report, replies } = this.#options;
    report("error", "a commit group could not be made durable; none of it was acknowledged", {
      shard,
      code: error.code,
      error: error.message,
      cause: messageOf(error.cause),
    });
    if (this.#state !== "open") return;
    const answer = (call: number) => encodeErrorReply(call, error);
    this.#enter("recovering");
    this.#inFlight.fail(replies, answer);
    this.#filling.fail(replies, answer);
    void this.#recoverInPlace(error.code === "DISK_FULL" ? "full" : "open");
  }

  // Memory is ahead of the disk: everything is dropped and read again. Frames that come meanwhile wait in the mailbox.
  async #recoverInPlace(next: "open" | "full"): Promise<void> {
    // A checkpoint that runs was cut when all was durable: it may as well end. At least a turn passes in any case, so
    // that whoever was adding to the log when its write failed comes back first.
    do await this.#nextTurn();
    while (this.#checkpoint !== undefined);
    if (this.#state !== "recovering") return;
    try {
      const durable = this.#log.durableEnd;
      this.#log.close();
      this.#openLog(durable);
      this.#spaceProbedAt = this.#options.clock.monotonic();
      this.#enter(next);
      const { shard, report } = this.#options;
      report("info", "the shard has recovered in place", { shard, state: next, logEnd: this.#log.durableEnd });
    } catch (thrown) {
      this.#stop(`it could not recover: ${messageOf(thrown)}`);
    }
    this.#workMailbox();
  }

  #stop(reason: string): void {
    if (this.#state === "stopped") return;
    this.#stopReason = reason;
    this.#enter("stopped");
    // What it would still write comes from a memory that is not to be trusted.
    this.#checkpoint?.cancel();
    this.#options.report("error", "the shard stops", { shard: this.#options.shard, reason });
    const answer = (call: number) => encodeErrorReply(call, this.#notServing());
    this.#inFlight.fail(this.#options.replies, answer);
    this.#filling.fail(this.#options.replies, answer);
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

// The client would take a longer frame for the end of all sense and connect anew, again and again.
function sized(frame: Uint8Array, call: number): Uint8Array {
  const bytes = frame.length - 4;
  if (bytes <= kernelLimits.frameBytesMax) return frame;
  return encodeErrorReply(call, new HeddleError("FRAME_TOO_LARGE", { bytes, bytesMax: kernelLimits.frameBytesMax }));
}

function isSystemError(thrown: unknown): thrown is NodeJS.ErrnoException {
  return thrown instanceof Error && !(thrown instanceof HeddleError) && "code" in thrown;
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function sequenceConflict(expectedSeq: number, entity: Entity): Rejection {
  return rejection("SEQUENCE_CONFLICT", { expectedSeq, actualSeq: entity.seq });
}

function soleAggregate(domain: CompiledContext): CompiledAggregate | undefined {
  return domain.aggregateNames.length === 1 ? domain.aggregates.get(domain.aggregateNames[0]!) : undefined;
}

function eventOf(aggregate: CompiledAggregate, type: string, index: number): CompiledEvent {
  const event = aggregate.events.get(type);
  if (event !== undefined) return event;
  const known = [...aggregate.events.keys()];
  throw new HeddleError("UNKNOWN_EVENT_TYPE", { aggregate: aggregate.name, type, index, known });
}

// The first event of a type; 0 for a type that no event has.
function firstOfType(bytes: Uint8Array, indexFrom: number, eventCount: number, type: number): number {
  return indexFrom === 0 ? 0 : Math.max(0, bytes.subarray(indexFrom, indexFrom + eventCount).indexOf(type));
}

// Errors: `DOMAIN_FAILED` for more types than a number of one byte can tell apart.
function proposalOf(aggregate: CompiledAggregate, events: readonly DecidedEvent[]): Proposed {
  const names = [...new Set(events.map((event) => event.type))];
  if (names.length > 255) throw new TypeError("it decided events of more than 255 types");
  const types = names.map((name) => eventOf(aggregate, name, 0));
  const indexBytes = Uint8Array.from([0, ...events.map((event) => names.indexOf(event.type))]);
  return { aggregate, types, indexFrom: names.length > 1 ? 1 : 0, indexBytes };
}

function storing(proposed: Proposed): string {
  return `${proposed.aggregate.name}: storing what its schemas made of the payloads`;
}

function checkBodyBytes(bytes: number): void {
  if (bytes > bodyBytesMax) throw new HeddleError("FRAME_TOO_LARGE", { bytes, bytesMax: bodyBytesMax });
}

function decodePayloads(bytes: Uint8Array, from: number, to: number, count: number): unknown[] {
  const payloads = decodeInput(bytes, from, to);
  if (!Array.isArray(payloads) || payloads.length !== count) {
    throw new HeddleError("BAD_FRAME", { problem: `wanted a list of ${count} payloads` });
  }
  return payloads;
}

function decodeInput(bytes: Uint8Array, from: number, to: number): unknown {
  try {
    return decodeValue(bytes.subarray(from, to));
  } catch (cause) {
    throw new HeddleError(
      "BAD_FRAME",
      { problem: `a payload cannot be decoded: ${(cause as Error).message}` },
      { cause },
    );
  }
}

function metadataOf(bytes: Uint8Array, from: number, to: number): unknown {
  if (to === from) return undefined;
  const metadata = decodeInput(bytes, from, to);
  if (!isTooDeep(metadata)) return metadata;
  const problem = `it nests deeper than ${kernelLimits.payloadDepthMax} levels`;
  throw new HeddleError("INVALID_REQUEST", { path: "metadata", problem });
}
