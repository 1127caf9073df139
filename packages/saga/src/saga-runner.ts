// SagaRunner: the sagas of one shard. Answers requests about them, and brings each to an end.
//
// Owns the sagas that are under way: which there are, their bounds and timers, and that those of an earlier life go on.
// What happens within one stands in live-saga.ts, what is to be done next in progress.ts. Runs on the thread of its shard;
// talks to shards in the frames of clients (ShardCalls), and writes the histories of sagas on the short way (OwnShard).
//
// P4. A saga takes effect once: its id is that of an entity, whose first event says what its steps are.
// P5. Whatever is lost, a saga that has begun ends, or is stuck and listed: its record says that it began, its shard names it
//     when it opens, and every step is asked by an id that is known for good.
// P8. Sagas under way and their bytes are bounded; beyond the bound new ones get OVERLOADED, and those of an earlier life wait.
//     The ids of sagas that are stuck, or wait to go on, are kept: some hundred bytes each.
// Not promised: isolation. Others see a saga's entities between its steps.
import { HeddleError, systemKinds } from "@heddle/kernel";
import { crc32, invariant, shardOfHash, TurnoverMap } from "@heddle/kernel/internal";
import type { ListedSaga, SagaRecord } from "@heddle/protocol";
import {
  copyBytes,
  encodeErrorReply,
  encodeReply,
  frameOffset,
  type Reply,
  readSagaBody,
  readSagaEraseBody,
  readSagaListBody,
  readSagaOperateBody,
  readSagaShowBody,
  replyKind,
  requestKind,
  type SagaListFields,
  type sagaEnds,
  sagaOfEntity,
  TextCache,
  type WireEvent,
  type WireListed,
  type WireSagaList,
  writeDeleteBody,
  writeGetBody,
  writeHistoryBody,
  writeListBody,
} from "@heddle/protocol/internal";
import { type AlarmSource, alarmNever, decideOwn, type Frame, whenDurable } from "@heddle/shard/internal";
import type { SagaHost } from "./live-saga.ts";
import { LiveSaga } from "./live-saga.ts";
import { stepsOfNamed } from "./named-saga.ts";
import { defaultSagaLimits, type SagaLimits, tickMs } from "./patience.ts";
import { type SagaFacts, type Started, sagaAggregate } from "./saga-aggregate.ts";
import { type SagaEvents, sagaEventsOf } from "./saga-events.ts";
import { sagaRecord } from "./saga-record.ts";
import type { SagaCounters, SagaRunnerOptions } from "./saga-runner-options.ts";
import { type Act, type StepPlan, StepPlanner } from "./step-plans.ts";
import { stuckFacts, stuckWarning } from "./stuck-warning.ts";

export interface SagaStats extends Readonly<SagaCounters> {
  readonly running: number;
  /** Learning what has happened, or undoing it. */
  readonly compensating: number;
  readonly stuck: number;
  /** Since the oldest saga of its state began, or became stuck; 0 when there is none. */
  readonly oldestRunningMs: number;
  readonly oldestCompensatingMs: number;
  readonly oldestStuckMs: number;
}

/** Kept as long as one saga is whose steps stand in it. So much may be alive for one saga that does not end. */
const chunkBytes = 4 * 1024;

/** Rows of a list whose records are read at the same time. */
const listedAtOnce = 200;

export class SagaRunner implements SagaHost {
  readonly options: SagaRunnerOptions;
  readonly limits: SagaLimits;
  readonly planner: StepPlanner;
  readonly events: SagaEvents;
  readonly counters: SagaCounters = { started: 0, committed: 0, compensated: 0, becameStuck: 0, stepRetries: 0 };
  /** For `ShardOptions.handlers`. */
  readonly handlers: ReadonlyMap<number, (frame: Frame) => void>;
  /** For `ShardOptions.alarms`, under `systemKinds.saga`. */
  readonly alarmSource: AlarmSource;
  readonly #texts = new TextCache();
  #chunk = new Uint8Array(chunkBytes);
  #chunkUsed = 0;
  readonly #active = new TurnoverMap<string, LiveSaga>();
  #activeBytes = 0;
  /** Of an earlier life, in the order in which the shard named them. */
  #toResume: string[] = [];
  #resuming = 0;
  /** Since when, in milliseconds since 1970; 0 until its record is read. */
  readonly #stuck = new Map<string, number>();
  #wakeAt = Number.POSITIVE_INFINITY;
  #stopped: HeddleError | undefined;
  /** The act that `#writeAct` is to write: `ShardCalls.call` asks for it at once. */
  #act: Act | undefined;

  constructor(options: SagaRunnerOptions) {
    this.options = options;
    this.limits = { ...defaultSagaLimits, ...options.limits };
    this.planner = new StepPlanner(options.domain, this.#texts);
    this.events = sagaEventsOf(options.domain);
    this.handlers = new Map([
      [requestKind.saga, (frame: Frame) => this.#begin(frame)],
      [requestKind.sagaShow, (frame: Frame) => this.#show(frame)],
      [requestKind.sagaList, (frame: Frame) => this.#list(frame)],
      [requestKind.sagaOperate, (frame: Frame) => this.#operate(frame)],
      [requestKind.sagaErase, (frame: Frame) => this.#erase(frame)],
    ]);
    this.alarmSource = {
      aggregate: sagaAggregate.name,
      alarmOf: (state) => alarmOfSaga(state as SagaFacts),
      timed: false,
      onOpen: (entity, due) => {
        if (due === alarmNever) this.#tellStuck(entity);
        else this.#resume(entity);
      },
    };
  }

  /** No more steps are asked, and nobody is answered but with `SHARD_STOPPED`. To be called before the shard closes. */
  stop(): void {
    if (this.#stopped !== undefined) return;
    const error = new HeddleError("SHARD_STOPPED", { shard: this.options.shard, reason: "it is closing" });
    this.#stopped = error;
    this.#toResume = [];
    for (const saga of this.#active.values()) saga.stop(error);
    this.#active.clear();
  }

  stats(): SagaStats {
    const now = this.options.clock.now();
    let compensating = 0;
    let oldestRunning = now;
    let oldestCompensating = now;
    let oldestStuck = now;
    for (const { state, startedAt } of this.#active.values()) {
      const began = startedAt === 0 ? now : startedAt;
      if (state === "COMPENSATING") {
        compensating++;
        oldestCompensating = Math.min(oldestCompensating, began);
      } else oldestRunning = Math.min(oldestRunning, began);
    }
    for (const since of this.#stuck.values()) if (since > 0) oldestStuck = Math.min(oldestStuck, since);
    return {
      ...this.counters,
      running: this.#active.size - compensating + this.#toResume.length,
      compensating,
      stuck: this.#stuck.size,
      oldestRunningMs: now - oldestRunning,
      oldestCompensatingMs: now - oldestCompensating,
      oldestStuckMs: now - oldestStuck,
    };
  }

  // ——— requests

  #begin(frame: Frame): void {
    const { bytes, to } = frame;
    const from = frame.from + frameOffset.requestBody;
    const view = readSagaBody(bytes, from, to, this.#texts);
    const { entity, name, contentFrom } = view;
    const saga = sagaOfEntity(entity);
    this.#checkServing();
    // The name belongs to it: the same input makes other steps by another name.
    const fingerprint = crc32(bytes, contentFrom, to, crcOfName(name));
    if (this.#joins(frame, entity, fingerprint)) return;
    this.#checkRoom(to - contentFrom);
    const content = this.#keep(bytes, contentFrom, to);
    let steps: Uint8Array;
    let plans: StepPlan[];
    try {
      steps = name === "" ? content : stepsOfNamed(this.options.domain, saga, name, content);
      plans = this.planner.plan(saga, steps);
    } catch (thrown) {
      if (!(thrown instanceof HeddleError)) throw thrown;
      this.#refuseUnlessBegun(frame, entity, fingerprint, thrown);
      return;
    }
    const live = this.#add(entity, steps.length);
    live.wait(frame, fingerprint, false);
    const timeoutMs = view.timeoutMs || this.limits.timeoutMs;
    const stepTimeoutMs = view.stepTimeoutMs || this.limits.stepTimeoutMs;
    live.begin({ fingerprint, name, timeoutMs, stepTimeoutMs, steps, plans });
  }

  // Whether one of this id is under way: then the call waits for its end. Errors: `ID_REUSED`.
  #joins(frame: Frame, entity: string, fingerprint: number): boolean {
    const active = this.#active.get(entity);
    if (active === undefined) return false;
    if (active.fingerprint !== undefined && active.fingerprint !== fingerprint) {
      throw new HeddleError("ID_REUSED", { entity, id: sagaOfEntity(entity) });
    }
    active.wait(frame, fingerprint, true);
    return true;
  }

  // One that could not begin today may have begun when the domain module was another: then it gives what it gave (P4).
  #refuseUnlessBegun(frame: Frame, entity: string, fingerprint: number, refusal: HeddleError): void {
    const own = { ...frame };
    this.#read(entity, this.#replyTo(frame), ({ state }) => {
      if (state === "NONE") throw refusal;
      this.#checkServing();
      if (this.#joins(own, entity, fingerprint)) return;
      this.#checkRoom(0);
      const live = this.#add(entity, 0);
      live.wait(own, fingerprint, true);
      live.resume();
    });
  }

  #operate(frame: Frame): void {
    const from = frame.from + frameOffset.requestBody;
    const operation = readSagaOperateBody(frame.bytes, from, frame.to, this.#texts);
    const { entity } = operation;
    this.#checkServing();
    const active = this.#active.get(entity);
    if (active !== undefined) {
      if (!active.isRepeated(operation)) {
        const state = active.state ?? "RUNNING";
        throw new HeddleError("SAGA_NOT_STUCK", { saga: sagaOfEntity(entity), state });
      }
      active.wait(frame, undefined, true);
      return;
    }
    this.#checkRoom(0);
    this.#add(entity, 0).operate(operation, frame);
  }

  #show(frame: Frame): void {
    const from = frame.from + frameOffset.requestBody;
    const { entity } = readSagaShowBody(frame.bytes, from, frame.to, this.#texts);
    const reply = this.#replyTo(frame);
    this.#read(entity, reply, (facts) => {
      if (facts.state === "NONE") throw new HeddleError("NO_SUCH_SAGA", { saga: sagaOfEntity(entity) });
      if (facts.steps.length > 0) this.#sayRecord(entity, facts, facts.steps, reply);
      else this.#readSteps(entity, reply, (steps) => this.#sayRecord(entity, facts, steps, reply));
    });
  }

  // Erases the record of a saga that has ended, because an entity that it wrote to is being erased.
  #erase(frame: Frame): void {
    const from = frame.from + frameOffset.requestBody;
    const { entity, participant, gone } = readSagaEraseBody(frame.bytes, from, frame.to, this.#texts);
    this.#checkServing();
    const reply = this.#replyTo(frame);
    const remove = (): void => {
      const fields = { entity, provisional: false, buried: !gone };
      this.#ask(
        requestKind.delete,
        (reserve) => writeDeleteBody(fields, reserve),
        reply,
        () => reply(null),
      );
    };
    const read = { entity, aggregate: systemKinds.saga };
    this.options.calls.call(
      requestKind.get,
      this.options.shard,
      (reserve) => writeGetBody(read, reserve),
      (answer) => {
        // Erased with another of its entities, or by this call when it was sent before.
        if (answer.kind === "error" && answer.error.code === "ERASED") remove();
        else {
          this.#valueOf(reply, (value) => {
            const { state, entities } = (value as { readonly state: SagaFacts }).state;
            if (!entities.includes(participant)) reply(null);
            else if (state === "COMMITTED" || state === "COMPENSATED") remove();
            else throw overloaded(`the saga ${sagaOfEntity(entity)}, which has not ended (${state})`, 1, 0);
          })(answer);
        }
      },
    );
  }

  // What a live saga knows beyond its history may be ahead of the disk.
  #sayRecord(entity: string, facts: SagaFacts, steps: Uint8Array, reply: Answer): void {
    const live = this.#active.get(entity);
    const record = this.#record(entity, facts, steps, live);
    const { own, calls } = this.options;
    if (live?.isAhead !== true) reply(record);
    else whenDurable(own(), calls, (answer) => reply(answer.kind === "error" ? answer.error : record));
  }

  #record(entity: string, facts: SagaFacts, steps: Uint8Array, live: LiveSaga | undefined): SagaRecord {
    const state = live?.state;
    // That it goes back or has ended is not on record yet, what its steps answered is.
    const isLive = state !== undefined && (facts.state === "RUNNING" || facts.state === "COMPENSATING");
    const liveFacts = isLive && live !== undefined ? { state, outcomes: live.outcomes } : undefined;
    return sagaRecord(sagaOfEntity(entity), facts, steps, liveFacts, this.#texts);
  }

  // The steps of a saga that has ended stand in its history.
  #readSteps(entity: string, reply: Answer, then: (steps: Uint8Array) => void): void {
    const fields = { entity, aggregate: systemKinds.saga, from: 0, limit: 1, direction: "forward" as const };
    this.#ask(
      requestKind.history,
      (reserve) => writeHistoryBody(fields, reserve),
      reply,
      (value) => {
        const [first] = value as readonly WireEvent[];
        const started = first?.[4] as Partial<Started> | undefined;
        if (started?.steps === undefined) throw new HeddleError("NO_SUCH_SAGA", { saga: sagaOfEntity(entity) });
        then(started.steps);
      },
    );
  }

  #list(frame: Frame): void {
    const from = frame.from + frameOffset.requestBody;
    const fields = readSagaListBody(frame.bytes, from, frame.to, this.#texts);
    const reply = this.#replyTo(frame);
    if (fields.only === "all") {
      this.#listAll(fields, reply);
      return;
    }
    const { after, limit, only } = fields;
    const query = {
      from: only === "stuck" ? alarmNever : 0,
      limit,
      ...(after.entity === "" ? {} : { after: { due: after.time, entity: after.entity } }),
    };
    const rows = this.options.alarms().list(systemKinds.saga, query);
    this.#listRows(
      rows.map(({ entity, due }) => ({ entity, place: due })),
      rows.length === limit,
      reply,
    );
  }

  #listAll({ after, limit }: SagaListFields, reply: Answer): void {
    const fields = { prefix: `${systemKinds.saga}/`, after: after.entity, limit, erased: false };
    this.#ask(
      requestKind.list,
      (reserve) => writeListBody(fields, reserve),
      reply,
      (value) => {
        const rows = (value as readonly WireListed[]).map(([entity]) => ({ entity, place: 0 }));
        this.#listRows(rows, rows.length === limit, reply);
      },
    );
  }

  #listRows(rows: readonly { readonly entity: string; readonly place: number }[], more: boolean, reply: Answer): void {
    const sagas: (ListedSaga & { readonly place: number })[] = [];
    let at = 0;
    const nextSlice = (): void => {
      const slice = rows.slice(at, at + listedAtOnce);
      at += slice.length;
      let left = slice.length;
      if (left === 0) {
        const list: WireSagaList = { sagas, more };
        reply(list);
        return;
      }
      for (const { entity, place } of slice) {
        this.#read(entity, reply, (facts) => {
          if (facts.state !== "NONE") sagas.push({ ...listedOf(entity, facts), place });
          if (--left === 0) nextSlice();
        });
      }
    };
    nextSlice();
  }

  // ——— asking the own shard

  #read(entity: string, reply: Answer, then: (facts: SagaFacts) => void): void {
    const fields = { entity, aggregate: systemKinds.saga };
    this.#ask(
      requestKind.get,
      (reserve) => writeGetBody(fields, reserve),
      reply,
      (value) => {
        then((value as { readonly state: SagaFacts }).state);
      },
    );
  }

  #ask(
    kind: number,
    write: Parameters<SagaRunnerOptions["calls"]["call"]>[2],
    reply: Answer,
    then: (value: unknown) => void,
  ): void {
    // The number of the shard leads to it as a hash does.
    this.options.calls.call(kind, this.options.shard, write, this.#valueOf(reply, then));
  }

  // What `then` throws is the answer, as is an error instead of a value.
  #valueOf(reply: Answer, then: (value: unknown) => void): (answer: Reply) => void {
    return (answer) => {
      if (answer.kind === "error") {
        reply(answer.error);
        return;
      }
      invariant(answer.kind === "value", "saga/read-gives-value", { kind: answer.kind });
      try {
        then(answer.value);
      } catch (thrown) {
        if (!(thrown instanceof HeddleError)) throw thrown;
        reply(thrown);
      }
    };
  }

  // Answers once, whoever comes first.
  #replyTo({ connection, from, to, call }: Frame): Answer {
    let isAnswered = false;
    return (value) => {
      if (isAnswered) return;
      isAnswered = true;
      const made =
        value instanceof HeddleError ? encodeErrorReply(call, value) : encodeReply(replyKind.value, call, value);
      this.options.replies.frame(connection, to - from, made);
    };
  }

  // ——— sagas under way

  #checkServing(): void {
    if (this.#stopped !== undefined) throw this.#stopped;
  }

  #checkRoom(bytes: number): void {
    const { activeSagasMax, activeBytesMax } = this.limits;
    if (this.#active.size >= activeSagasMax) {
      throw overloaded("sagas under way", this.#active.size, activeSagasMax);
    }
    if (this.#activeBytes + bytes > activeBytesMax) {
      throw overloaded("bytes of sagas under way", this.#activeBytes, activeBytesMax);
    }
  }

  #add(entity: string, bytes: number): LiveSaga {
    const saga = new LiveSaga(entity, this);
    this.weigh(saga, bytes);
    this.#active.set(entity, saga);
    return saga;
  }

  // One that may not have ended.
  #resume(entity: string): void {
    if (this.#stopped !== undefined || this.#active.has(entity)) return;
    this.#toResume.push(entity);
    this.#resumeMore();
  }

  // One that waits for an operator since an earlier life.
  #tellStuck(entity: string): void {
    const { report, shard } = this.options;
    this.isStuck(entity, 0);
    const sayError: Answer = (error) => {
      if (this.#stopped === undefined) report("warn", "a stuck saga cannot be read", { shard, entity, error });
    };
    this.#read(entity, sayError, ({ state, endedAt, entities, outcomes }) => {
      if (state !== "STUCK" || !this.#stuck.has(entity)) return;
      this.isStuck(entity, endedAt);
      report("warn", stuckWarning, { shard, ...stuckFacts(entity, entities, outcomes) });
    });
  }

  #resumeMore(): void {
    const { activeSagasMax, resumedAtOnceMax } = this.limits;
    while (this.#toResume.length > 0 && this.#resuming < resumedAtOnceMax && this.#active.size < activeSagasMax) {
      const entity = this.#toResume.shift()!;
      if (this.#active.has(entity)) continue;
      this.#resuming++;
      const saga = this.#add(entity, 0);
      saga.isResumed = true;
      saga.resume();
    }
  }

  // ——— SagaHost

  crashPoint(name: string): void {
    this.options.crashPoint?.(name);
  }

  isOwn(hash: number): boolean {
    return shardOfHash(hash, this.options.calls.shardCount) === this.options.shard;
  }

  decide({ kind, bytes, from, to }: Act, onReply: (reply: Reply) => void): boolean {
    const { own, calls } = this.options;
    return decideOwn(own(), calls, kind, bytes, from, to, onReply);
  }

  send(act: Act, hash: number, onReply: (reply: Reply) => void): void {
    this.#act = act;
    this.options.calls.call(act.kind, hash, this.#writeAct, onReply);
  }

  // A copy of a frame's content. Those of small ones share a chunk: a buffer of its own costs as much as a step.
  #keep(bytes: Uint8Array, from: number, to: number): Uint8Array {
    const length = to - from;
    if (length > chunkBytes / 4) return bytes.slice(from, to);
    if (this.#chunkUsed + length > chunkBytes) {
      this.#chunk = new Uint8Array(chunkBytes);
      this.#chunkUsed = 0;
    }
    const at = this.#chunkUsed;
    this.#chunkUsed = copyBytes(bytes, from, to, this.#chunk, at);
    return this.#chunk.subarray(at, this.#chunkUsed);
  }

  readonly #writeAct = (reserve: (bytes: number) => { bytes: Uint8Array; at: number }): number => {
    const { bytes, from, to } = this.#act!;
    const room = reserve(to - from);
    return copyBytes(bytes, from, to, room.bytes, room.at) - room.at;
  };

  pauseMs(tries: number): number {
    const { retryDelayMs, retryDelayMaxMs } = this.limits;
    const whole = Math.min(retryDelayMaxMs, retryDelayMs * 2 ** Math.min(Math.max(0, tries - 1), 30));
    return whole * (0.5 + this.options.random.safeInteger() / 2 ** 54);
  }

  wakeBy(at: number): void {
    if (at >= this.#wakeAt || this.#stopped !== undefined) return;
    this.#wakeAt = at;
    const wait = Math.max(tickMs, Math.ceil(at - this.options.clock.monotonic()));
    this.options.schedule(() => this.#tick(at), Math.min(wait, scheduleMsMax));
  }

  // One that was set earlier than another, and rings later, has nothing to do.
  #tick(wakeAt: number): void {
    if (this.#wakeAt !== wakeAt || this.#stopped !== undefined) return;
    this.#wakeAt = Number.POSITIVE_INFINITY;
    const now = this.options.clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const saga of this.#active.values()) {
      if (saga.checkAt <= now) saga.check(now);
      if (saga.checkAt < next) next = saga.checkAt;
    }
    if (next < Number.POSITIVE_INFINITY) this.wakeBy(next);
  }

  weigh(saga: LiveSaga, bytes: number): void {
    this.#activeBytes += bytes - saga.bytes;
    saga.bytes = bytes;
  }

  finish(saga: LiveSaga): void {
    if (this.#active.get(saga.entity) !== saga) return;
    this.#active.delete(saga.entity);
    this.#activeBytes -= saga.bytes;
    if (saga.isResumed) this.#resuming--;
    this.#resumeMore();
  }

  countEnd(state: (typeof sagaEnds)[number]): void {
    if (state === "COMMITTED") this.counters.committed++;
    else if (state === "COMPENSATED") this.counters.compensated++;
    else this.counters.becameStuck++;
  }

  isStuck(entity: string, since: number): void {
    this.#stuck.set(entity, since);
  }

  notStuck(entity: string): void {
    this.#stuck.delete(entity);
  }
}

type Answer = (value: unknown) => void;

/** The longest wait that a timer of Node takes. */
const scheduleMsMax = 2 ** 31 - 1;

function overloaded(queue: string, depth: number, depthMax: number): HeddleError {
  return new HeddleError("OVERLOADED", { queue, depth, depthMax });
}

const encoder = new TextEncoder();

function crcOfName(name: string): number {
  return name === "" ? 0 : crc32(encoder.encode(`${name}\0`));
}

/** Unfinished ones are resumed when their shard opens, stuck ones are listed. */
export function alarmOfSaga({ state, startedAt }: SagaFacts): number | undefined {
  if (state === "RUNNING" || state === "COMPENSATING") return startedAt;
  return state === "STUCK" ? alarmNever : undefined;
}

function listedOf(entity: string, { state, name, startedAt, endedAt }: SagaFacts): ListedSaga {
  return {
    saga: sagaOfEntity(entity),
    state: state === "NONE" ? "RUNNING" : state,
    ...(name === "" ? {} : { name }),
    startedAt,
    ...(endedAt === 0 ? {} : { endedAt }),
  };
}
