// Shard: one writer for a slice of the entities. Takes request frames in arrival order, decides, commits, replies.
//
// Owns the order of everything that happens to its entities. Runs on one thread, takes turns with nobody.
// Talks to: its event log, its partition, a ReplySink. Nothing else.
//
// P1. Frames are taken one at a time in the order they came; sequences have no gaps.
// P2. A reply to a write, and to a read that saw it, leaves only when the log says that its group is durable.
// P3. State changes only after every rule held for every event of the append.
// P4. A call number or id that took effect gives its first receipt again.
// P8. The mailbox is bounded by the listener's credit; while a full group waits for the disk, frames wait in the mailbox.
// Not promised: that a call answered with a failure did not take effect; its id tells, when it is sent again.
import type { CompiledAggregate, CompiledContext, CompiledEvent } from "@heddle/domain/internal";
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
import { type Clock, HeddleError, type Random } from "@heddle/kernel";
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
  requestFlags,
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
import { readHistory } from "./history.ts";
import { SessionWindow } from "./sessions.ts";
import { ShardCounters, type ShardStats } from "./stats.ts";
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
  readonly activeEntitiesMax: number;
  readonly segmentBytes: number;
}

export const defaultShardLimits: ShardLimits = {
  groupBytesMax: 4 << 20,
  lingerMs: 0,
  checkpointBytes: 64 << 20,
  checkpointIntervalMs: 10_000,
  activeEntitiesMax: 200_000,
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

/** `full`: reads are served, appends are refused until there is room. `stopped`: nothing is served. */
export type ShardState = "open" | "full" | "recovering" | "stopped" | "closed";

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

export class Shard {
  readonly #options: ShardOptions;
  readonly #limits: ShardLimits;
  readonly #sessions = new Map<number, SessionWindow>();
  readonly #texts = new TextCache();
  readonly #counters = new ShardCounters();
  #state: ShardState = "recovering";
  #stopReason = "";
  #log!: EventLog;
  #activation!: Activation;
  #appendIds!: AppendIds;
  #checkpoint: Checkpoint | undefined;
  #checkpointedAt = 0;
  #wantsCheckpoint = false;
  #mailbox: MailboxItem[] = [];
  #filling = new WaitingReplies();
  #inFlight = new WaitingReplies();
  #now = 0;
  #lingering = false;
  #spaceProbedAt = Number.NEGATIVE_INFINITY;
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

  /** Opens and recovers a shard. Errors: `LOG_DAMAGED`, `PARTITION_DAMAGED`; whatever the disk throws. */
  static open(options: ShardOptions): Shard {
    const shard = new Shard(options);
    const startedAt = options.clock.monotonic();
    shard.#openLog(Math.max(options.partition.coveredPosition, options.partition.cleanEnd ?? 0));
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
    if (this.#state === "full") this.#probeSpace();
    // Appends that are refused wake entities too, but never lead to a checkpoint, after which the others are let go.
    this.#activation.passivate();
    if (this.#state !== "open" || this.#checkpoint !== undefined || this.#wantsCheckpoint) return;
    const due = this.#options.clock.monotonic() - this.#checkpointedAt >= this.#limits.checkpointIntervalMs;
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
      sessions: this.#sessions.size,
      logBytes: this.#log.durableEnd,
      checkpointPosition: this.#options.partition.coveredPosition,
      checkpointAgeMs: this.#options.clock.monotonic() - this.#checkpointedAt,
      partitionReads: this.#options.partition.counters.reads,
    });
  }

  /** Stops taking frames, commits what was decided, writes a last checkpoint and closes the files. */
  async close(): Promise<void> {
    while (this.#state === "recovering") await new Promise<void>((resolve) => this.#options.schedule(resolve, 0));
    if (this.#state === "closed") return;
    const working = this.#state === "open" || this.#state === "full";
    if (this.#state === "open") {
      await this.#idle();
      if (this.#state === "open" && this.#log.durableEnd > this.#options.partition.coveredPosition) {
        this.requestCheckpoint();
      }
    }
    await this.#checkpoint?.done.catch(() => {});
    const end = this.#log.durableEnd;
    this.#enter("closed");
    this.#drainMailbox((call) =>
      encodeErrorReply(call, new HeddleError("CLOSED", { what: `shard ${this.#options.shard}` })),
    );
    if (!this.#log.inFlight) this.#log.close();
    await this.#options.partition.close(working ? { cleanEnd: end } : {});
  }

  /** Closes the partition and nothing else: for a thread whose memory can no longer be trusted. */
  async abandon(): Promise<void> {
    this.#enter("stopped");
    await this.#options.partition.close({});
  }

  #enter(state: ShardState): void {
    this.#state = state;
    this.#options.onState?.(state, state === "full" ? "no room on the disk" : this.#stopReason);
  }

  // Waits until nothing is filling or in flight and no checkpoint runs.
  async #idle(): Promise<void> {
    while (
      this.#state === "open" &&
      (this.#log.inFlight || this.#log.fillingEntries > 0 || this.#mailbox.length > 0 || this.#checkpoint !== undefined)
    ) {
      if (!this.#log.inFlight && this.#log.fillingEntries > 0) this.#flush();
      await new Promise<void>((resolve) => this.#options.schedule(resolve, 0));
    }
  }

  #openLog(knownEnd: number): void {
    const options = this.#options;
    const limits = this.#limits;
    const { partition } = options;
    this.#sessions.clear();
    for (const kept of partition.sessions()) this.#session(kept.session).restore(kept.lastSeenMs, kept.calls);
    this.#appendIds = new AppendIds(partition);
    this.#activation = new Activation({
      shard: options.shard,
      shardCount: options.shardCount,
      domain: options.domain,
      partition,
      readEntry: (position) => this.#log.read(position),
      activeEntitiesMax: limits.activeEntitiesMax,
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
    this.#checkpointedAt = options.clock.monotonic();
    this.#enter("open");
  }

  #recoverEntry(entry: EntryView): void {
    const view = this.#append;
    readAppendBody(entry.bytes, entry.bodyFrom, entry.bodyTo, this.#texts, view);
    this.#activation.recover(view.entity, entry.firstSeq, entry.eventCount, entry.position, entry.time);
    if (view.id !== "") this.#appendIds.add(view.entity, view.id, entry.position);
    const window = this.#session(entry.session);
    if (!window.mayRepeat(entry.call) || window.find(entry.call) === undefined) {
      window.add(entry.call, entry.position, entry.time);
    }
  }

  #session(session: number): SessionWindow {
    let window = this.#sessions.get(session);
    if (window === undefined) {
      window = new SessionWindow();
      this.#sessions.set(session, window);
    }
    return window;
  }

  // ——— the mailbox

  #mustWait(): boolean {
    return (
      this.#mailbox.length > 0 ||
      this.#wantsCheckpoint ||
      this.#state === "recovering" ||
      (this.#log.inFlight && this.#log.fillingBytes >= this.#limits.groupBytesMax)
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
      if (this.#state === "stopped" || this.#state === "closed") {
        throw new HeddleError("SHARD_STOPPED", {
          shard: this.#options.shard,
          reason: this.#state === "closed" ? "it is closing" : this.#stopReason,
        });
      }
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
    const retried = (bytes[from + frameOffset.flags]! & requestFlags.retry) !== 0;
    if (this.#answersRepeat(connection, session, bytes, from, to, call, retried, entity, view.id)) return;
    this.#checkWritable();
    if (view.expectedSeq >= 0 && view.expectedSeq !== entity.seq) {
      this.#reject(connection, to - from, call, entity, sequenceConflict(view.expectedSeq, entity));
      return;
    }
    const aggregate = this.#aggregateOf(view.aggregate, view.types[0]!);
    const proposed = this.#propose(aggregate, bytes);
    const payloads = decodePayloads(bytes, view.payloadsFrom, to, view.eventCount);
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
      metadata: verbatim ? undefined : metadataOf(bytes, view.metadataFrom, view.metadataTo),
    });
  }

  #onExecute(connection: number, session: number, bytes: Uint8Array, from: number, to: number, call: number): void {
    const body = from + frameOffset.requestBody;
    const view = this.#execute;
    readExecuteBody(bytes, body, to, this.#texts, view);
    const entity = this.#activation.activate(view.entity);
    const retried = (bytes[from + frameOffset.flags]! & requestFlags.retry) !== 0;
    if (this.#answersRepeat(connection, session, bytes, from, to, call, retried, entity, view.id)) return;
    this.#checkWritable();
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
    let decision: ReturnType<typeof command.decide>;
    try {
      const validated = command.validate(input);
      if (validated.issues !== undefined) {
        const issues = validated.issues;
        throw new HeddleError("INVALID_PAYLOAD", { aggregate: aggregate.name, type: view.command, index: 0, issues });
      }
      const state = this.#activation.statesOf(entity)[aggregate.index];
      decision = command.decide(state, validated.value, { entity: entity.id, now: this.#time(entity) });
    } catch (thrown) {
      throw asDomainFailure(thrown, where);
    }
    if (decision.kind === "rejected") {
      const facts = { command: view.command, reason: decision.code, details: decision.facts };
      this.#reject(connection, to - from, call, entity, rejection("COMMAND_REJECTED", facts));
      return;
    }
    const names = [...new Set(decision.events.map((event) => event.type))];
    const types = names.map((name) => eventOf(aggregate, name, 0));
    const indexBytes = Uint8Array.from([0, ...decision.events.map((event) => names.indexOf(event.type))]);
    const proposed = { aggregate, types, indexFrom: names.length > 1 ? 1 : 0, indexBytes };
    const payloads = decision.events.map((event) => event.payload);
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
      metadata: metadataOf(bytes, view.metadataFrom, view.metadataTo),
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
      payloads = this.#storedPayloads(bodyBytes);
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
    header.payloadsOffset = this.#append.payloadsFrom - append.bodyFrom;
    if (entity.awaitsCheckpoint) this.#checkpoint!.write(entity);
    const position = this.#log.add(header, bodyBytes);
    states[aggregate.index] = this.#folded.state;
    this.#activation.extend(entity, payloads.length, position, time);
    this.#session(append.session).add(append.call, position, time);
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
        (wanted) => this.#log.reserve(wanted),
      );
    } catch (thrown) {
      throw asDomainFailure(thrown, () => `${proposed.aggregate.name}: storing what its schemas made of the payloads`);
    }
  }

  #storedPayloads(bodyBytes: number): unknown[] {
    const { bytes, at } = this.#log.reserve(bodyBytes);
    readAppendBody(bytes, at, at + bodyBytes, this.#texts, this.#append);
    const payloads = decodePayloads(bytes, this.#append.payloadsFrom, at + bodyBytes, this.#append.eventCount);
    this.#append.payloadsFrom -= at; // `#commit` takes it from the body's start, which is 0 for an encoded body.
    return payloads;
  }

  #propose(aggregate: CompiledAggregate, bytes: Uint8Array): Proposed {
    const view = this.#append;
    const types = this.#types;
    types.length = view.typeCount;
    for (let i = 0; i < view.typeCount; i++) {
      const event = aggregate.events.get(view.types[i]!);
      types[i] = event ?? eventOf(aggregate, view.types[i]!, firstOfType(bytes, view.typeIndexes, i));
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
    this.#counters.countRejection(value.code);
    // A rejection saw state that may not be durable yet; it must not be heard before that state is.
    this.#sayWhenDurable(connection, requestBytes, call, this.#isUndurable(entity), encodeRejectionReply(call, value));
  }

  #isUndurable(entity: Entity): boolean {
    return entity.seq > 0 && entity.position >= this.#log.durableEnd;
  }

  #sayWhenDurable(connection: number, requestBytes: number, call: number, undurable: boolean, frame: Uint8Array): void {
    if (!undurable) this.#options.replies.frame(connection, requestBytes, frame);
    else if (this.#log.fillingEntries > 0) this.#filling.addOther(connection, requestBytes, call, () => frame);
    else this.#inFlight.addOther(connection, requestBytes, call, () => frame);
  }

  #time(entity: Entity): number {
    if (this.#now === 0) this.#now = this.#options.clock.now();
    return Math.max(this.#now, entity.time);
  }

  #checkWritable(): void {
    if (this.#state === "full") {
      throw new HeddleError("DISK_FULL", { shard: this.#options.shard, path: this.#options.logFolder });
    }
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
    retried: boolean,
    entity: Entity,
    id: string,
  ): boolean {
    const window = this.#session(session);
    let position: number | undefined;
    if (retried || window.mayRepeat(call)) {
      position = window.find(call);
      if (position === undefined && window.expired(call)) {
        throw new HeddleError("ID_EXPIRED", {
          problem: `call ${call} is too old: its session is at ${window.lastCall} and its outcome is no longer known`,
        });
      }
    }
    if (position === undefined && id !== "") position = this.#appendIds.find(entity.id, id);
    if (position === undefined) return false;
    const first = position;
    const fingerprint = crc32(bytes, from + frameOffset.requestBody, to);
    const reply = () => this.#repeatedReceipt(call, first, fingerprint, entity, id);
    this.#counters.duplicates++;
    if (first < this.#log.durableEnd) this.#options.replies.frame(connection, to - from, reply());
    else if (this.#log.fillingEntries > 0) this.#filling.addOther(connection, to - from, call, reply);
    else this.#inFlight.addOther(connection, to - from, call, reply);
    return true;
  }

  #repeatedReceipt(call: number, position: number, fingerprint: number, entity: Entity, id: string): Uint8Array {
    try {
      const entry = this.#log.read(position);
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
    const entity = this.#activation.find(fields.entity);
    const events = entity === undefined ? [] : readHistory(this.#activation, this.#log, entity, fields);
    this.#options.replies.frame(connection, to - from, encodeReply(replyKind.value, call, events));
  }

  // ——— durability

  #flush(): void {
    if (this.#log.inFlight || this.#log.fillingEntries === 0) return;
    const filled = this.#filling;
    this.#filling = this.#inFlight;
    this.#inFlight = filled;
    this.#log.flush();
  }

  #onDurable(group: DurableGroup): void {
    if (this.#state === "closed" || this.#state === "stopped") return;
    this.#counters.countGroup(group);
    this.#options.crashPoint?.("shard:before-reply");
    this.#inFlight.release(this.#options.shard, this.#options.replies);
    this.#options.crashPoint?.("shard:after-reply");
    const due = group.end - this.#options.partition.coveredPosition >= this.#limits.checkpointBytes;
    if (due && this.#checkpoint === undefined) this.#wantsCheckpoint = true;
    if (this.#log.fillingEntries > 0) this.#flush();
    else if (this.#wantsCheckpoint) this.#beginCheckpoint();
    if (this.#mailbox.length > 0) this.#workMailbox();
  }

  #beginCheckpoint(): void {
    this.#wantsCheckpoint = false;
    const { partition, domain, clock, schedule, crashPoint } = this.#options;
    const checkpoint = new Checkpoint({
      partition,
      domain,
      activation: this.#activation,
      appendIds: this.#appendIds,
      sessions: this.#sessions,
      covering: this.#log.durableEnd,
      nowMs: clock.now(),
      schedule: (task) => schedule(task, 0),
      crashPoint,
    });
    this.#checkpoint = checkpoint;
    checkpoint.done.then(
      () => this.#onCheckpointEnd(checkpoint),
      (error: unknown) => this.#onCheckpointEnd(checkpoint, error),
    );
    if (this.#mailbox.length > 0) this.#workMailbox();
  }

  #onCheckpointEnd(checkpoint: Checkpoint, error?: unknown): void {
    if (this.#checkpoint !== checkpoint) return;
    this.#checkpoint = undefined;
    this.#checkpointedAt = this.#options.clock.monotonic();
    if (error === undefined) {
      this.#counters.checkpoints++;
      return;
    }
    // What it had taken over from memory may be neither here nor there: start over from the log, which has everything.
    this.#options.report("warn", "a checkpoint failed; the shard recovers from its log", {
      shard: this.#options.shard,
      error: String((error as Error)?.message ?? error),
    });
    if (this.#state === "open" || this.#state === "full") void this.#recoverInPlace(this.#state);
  }

  // ——— failure

  #onLogFailure(error: HeddleError): void {
    const full = error.code === "DISK_FULL";
    this.#options.report("error", "a commit group could not be made durable; none of it was acknowledged", {
      shard: this.#options.shard,
      code: error.code,
      error: error.message,
      cause: String((error.cause as Error)?.message ?? error.cause),
    });
    const answer = (call: number) => encodeErrorReply(call, error);
    this.#inFlight.fail(this.#options.replies, answer);
    this.#filling.fail(this.#options.replies, answer);
    void this.#recoverInPlace(full ? "full" : "open");
  }

  // Memory is ahead of the disk: everything is dropped and read again. Frames that come meanwhile wait in the mailbox.
  async #recoverInPlace(next: "open" | "full"): Promise<void> {
    if (this.#state === "recovering" || this.#state === "closed") return;
    this.#enter("recovering");
    this.#wantsCheckpoint = false;
    while (!this.#log.failed && (this.#log.inFlight || this.#log.fillingEntries > 0)) {
      this.#flush();
      await new Promise<void>((resolve) => this.#options.schedule(resolve, 0));
    }
    await this.#checkpoint?.done.catch(() => {});
    this.#checkpoint = undefined;
    try {
      const durable = this.#log.durableEnd;
      this.#log.close();
      this.#openLog(durable);
      this.#enter(next);
      this.#spaceProbedAt = this.#options.clock.monotonic();
    } catch (thrown) {
      this.#stop(`it could not recover: ${String((thrown as Error)?.message ?? thrown)}`);
    }
    this.#workMailbox();
  }

  #stop(reason: string): void {
    if (this.#state === "stopped") return;
    this.#stopReason = reason;
    this.#enter("stopped");
    this.#options.report("error", "the shard stops", { shard: this.#options.shard, reason });
    const answer = (call: number) =>
      encodeErrorReply(call, new HeddleError("SHARD_STOPPED", { shard: this.#options.shard, reason }));
    this.#inFlight.fail(this.#options.replies, answer);
    this.#filling.fail(this.#options.replies, answer);
    this.#drainMailbox(answer);
  }

  #probeSpace(): void {
    const now = this.#options.clock.monotonic();
    if (now - this.#spaceProbedAt < 1_000) return;
    this.#spaceProbedAt = now;
    if (this.#options.disk.freeBytes(this.#options.logFolder) < freeBytesWanted) return;
    this.#enter("open");
    this.#options.report("info", "there is room on the disk again", { shard: this.#options.shard });
  }
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

function firstOfType(bytes: Uint8Array, indexFrom: number, type: number): number {
  return indexFrom === 0 ? 0 : Math.max(0, bytes.indexOf(type, indexFrom) - indexFrom);
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
  return to > from ? decodeInput(bytes, from, to) : undefined;
}
