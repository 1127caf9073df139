// LiveSaga: one saga that is under way. Does what its progress says: asks shards, keeps times, writes the saga's own history.
//
// L1. Its own history has one writer: every write expects the sequence after the one before. A write that fails, however, has
//     the saga read again from what is durable, and go on from there as after a restart.
// L2. Times run on the monotonic clock. The wall clock says how much is left after a restart, and no more than there was in
//     all: a clock that jumps neither ends a saga early while its shard is open, nor keeps it alive beyond its own length.
// L3. What is answered to callers is durable (P2).
// L4. What belongs to the saga's own shard is in its own log: there it goes ahead of the disk, and nothing waits for a sync but the next
//     that leaves for elsewhere. If the shard loses what it had not on disk, the saga reads itself again as L1 says.
import { HeddleError, hashEntity, systemKinds } from "@heddle/kernel";
import type { SagaIntervention, SagaProblem, SagaState } from "@heddle/protocol";
import {
  encodeErrorReply,
  encodeSagaReply,
  outcomeOfWire,
  type Reply,
  requestKind,
  type SagaOperateFields,
  sagaEnds,
  sagaOfEntity,
  sagaStepId,
  stepStates,
  type WireOutcome,
  wireReceipt,
  writeGetBody,
  writeProbeBody,
} from "@heddle/protocol/internal";
import { appendOwn, type Frame, type OwnEvent, whenDurable } from "@heddle/shard/internal";
import { answerOf, answerOfProbe, problemOfWire, wireProblem } from "./answers.ts";
import type { SagaLimits } from "./patience.ts";
import {
  answered,
  type Doer,
  goOn,
  type Milestone,
  newProgress,
  newStep,
  type Progress,
  patienceOver,
  pauseOver,
  recorded,
  resumed,
  type StepProgress,
  type Task,
  timeUp,
} from "./progress.ts";
import type { SagaFacts } from "./saga-aggregate.ts";
import type { SagaEvents } from "./saga-events.ts";
import type { SagaCounters, SagaRunnerOptions } from "./saga-runner-options.ts";
import { type Act, bytesOfPlans, type StepPlan, type StepPlanner } from "./step-plans.ts";
import { stuckFacts, stuckWarning } from "./stuck-warning.ts";

/** What one live saga has from the runner. */
export interface SagaHost {
  readonly options: SagaRunnerOptions;
  readonly limits: SagaLimits;
  readonly planner: StepPlanner;
  readonly events: SagaEvents;
  readonly counters: SagaCounters;
  crashPoint(name: string): void;
  /** Whether the entity with this hash is on the shard of the saga's own history. */
  isOwn(hash: number): boolean;
  /** Decides a step on the own shard, with an early reply; says whether it did (`OwnShard.decideOwn`). */
  decide(act: Act, onReply: (reply: Reply) => void): boolean;
  /** Sends a step's body as it is. */
  send(act: Act, hash: number, onReply: (reply: Reply) => void): void;
  /** The pause before the next attempt, in ms. */
  pauseMs(tries: number): number;
  /** Has `check` called at this time of the monotonic clock, or soon after. */
  wakeBy(at: number): void;
  /** It takes so many bytes. */
  weigh(saga: LiveSaga, bytes: number): void;
  /** It is under way no more. */
  finish(saga: LiveSaga): void;
  countEnd(state: (typeof sagaEnds)[number]): void;
  /** `since`: milliseconds since 1970. */
  isStuck(entity: string, since: number): void;
  notStuck(entity: string): void;
}

interface Waiter {
  readonly connection: number;
  readonly requestBytes: number;
  readonly call: number;
  /** Of the steps that it came with; undefined for an operator. */
  readonly fingerprint: number | undefined;
  duplicate: boolean;
}

/** What is asked of a saga that was not begun yet, as far as this runner knows. */
export interface Beginning {
  readonly fingerprint: number;
  readonly name: string;
  readonly timeoutMs: number;
  readonly stepTimeoutMs: number;
  readonly steps: Uint8Array;
  readonly plans: readonly StepPlan[];
}

export class LiveSaga implements Doer {
  readonly entity: string;
  /** Of its steps, for the runner's bound. */
  bytes = 0;
  /** Of an earlier life: as long as it is under way it counts for the bound of those. */
  isResumed = false;
  /** On the monotonic clock: nothing is to be looked at before. */
  checkAt = Number.POSITIVE_INFINITY;
  /** Of its steps; undefined until they are on record, as far as this runner knows. */
  fingerprint: number | undefined;
  /** Milliseconds since 1970; 0 until it is known. */
  startedAt = 0;
  readonly #host: SagaHost;
  #waiters: Waiter[] = [];
  #seq = 0;
  #plans: readonly StepPlan[] = [];
  #progress: Progress | undefined;
  #stepTimeoutMs = 0;
  /** Goes up when it is read again: what was asked before is answered to nobody. */
  #life = 0;
  #writing = false;
  /** To be written when what is being written is there. */
  #next: (() => void) | undefined;
  /** What was decided early since all that went before was known to be durable; and the shard's last loss before. */
  #ahead = 0;
  #lossBefore: HeddleError | undefined;
  /** Why the last write or reading failed, and how often in a row. */
  #failure: HeddleError | undefined;
  #failures = 0;
  #reloadAt = Number.POSITIVE_INFINITY;
  #deadlineAt = Number.POSITIVE_INFINITY;
  #graceAt = Number.POSITIVE_INFINITY;
  #patienceAt = Number.POSITIVE_INFINITY;
  /** By step: when it has taken too long. */
  #lateAt: number[] = [];
  /** By step: when its pause is over. */
  #dueAt: number[] = [];
  #operation: SagaOperateFields | undefined;
  #lastIntervention: SagaIntervention | undefined;
  #ended = false;

  constructor(entity: string, host: SagaHost) {
    this.entity = entity;
    this.#host = host;
  }

  /** What it is at; undefined as long as it is read. */
  get state(): SagaState | undefined {
    const progress = this.#progress;
    // Learning what has happened, to undo it.
    return progress?.state === "RUNNING" && progress.why !== undefined ? "COMPENSATING" : progress?.state;
  }

  get outcomes(): WireOutcome[] {
    return (this.#progress?.steps ?? []).map(outcomeOf);
  }

  /** Whether something that it knows may not be durable. */
  get isAhead(): boolean {
    return this.#ahead > 0;
  }

  /** Somebody waits for the end. One who came with other steps is told so as soon as it is known. */
  wait({ connection, from, to, call }: Frame, fingerprint: number | undefined, duplicate: boolean): void {
    const waiter = { connection, requestBytes: to - from, call, fingerprint, duplicate };
    // An empty list that is added to makes room for many, and nearly all have one.
    if (this.#waiters.length === 0) this.#waiters = [waiter];
    else this.#waiters.push(waiter);
  }

  // ——— ways to begin

  begin({ fingerprint, name, timeoutMs, stepTimeoutMs, steps, plans }: Beginning): void {
    const { clock } = this.#host.options;
    const at = clock.now();
    this.startedAt = at;
    this.#stepTimeoutMs = stepTimeoutMs;
    this.#take(
      plans,
      plans.map(({ stage, back }) => newStep(stage, back !== undefined)),
      "RUNNING",
    );
    this.#deadlineAt = clock.monotonic() + timeoutMs;
    this.#host.crashPoint("saga:before-started");
    const entities = plans.map(({ entity }) => entity);
    const deadline = at + timeoutMs;
    const started = { at, deadline, stepTimeoutMs, name, fingerprint, entities, steps: bytesOfPlans(steps, plans) };
    let isUnderWay = false;
    const goOnFrom = () => {
      if (isUnderWay) return;
      isUnderWay = true;
      this.#started();
    };
    const then = () => {
      this.#knowFingerprint(fingerprint);
      this.#host.crashPoint("saga:started");
      goOnFrom();
    };
    const leadsHere = plans.some(({ stage, hash }) => stage === plans[0]!.stage && this.#host.isOwn(hash));
    this.#write(this.#host.events.Started, started, then, leadsHere ? goOnFrom : undefined);
  }

  /** Goes on from what its entity says. */
  resume(): void {
    this.#reload();
  }

  operate(operation: SagaOperateFields, frame: Frame): void {
    this.#operation = operation;
    this.wait(frame, undefined, false);
    this.#reload();
  }

  /** Whether this is what an operator has just had done: a repeated call. */
  isRepeated(operation: SagaOperateFields): boolean {
    return isSameIntervention(this.#lastIntervention, operation) || isSameOperation(this.#operation, operation);
  }

  /** The shard stops: whoever waits asks again, and the saga goes on when it is open again. */
  stop(error: HeddleError): void {
    this.#life++;
    this.#ended = true;
    this.#fail(error);
  }

  #take(plans: readonly StepPlan[], steps: StepProgress[], state: "RUNNING" | "COMPENSATING", facts?: SagaFacts): void {
    this.#plans = plans;
    this.#lateAt = plans.map(() => Number.POSITIVE_INFINITY);
    this.#dueAt = plans.map(() => Number.POSITIVE_INFINITY);
    this.#progress = facts === undefined ? newProgress(steps) : resumed(state, problemOfWire(facts.why), steps);
  }

  #started(): void {
    this.#host.counters.started++;
    const { limits } = this.#host;
    this.#graceAt = this.#deadlineAt + limits.outcomeGraceMs;
    this.#checkBy(this.#deadlineAt);
    goOn(this.#progress!, this);
  }

  // ——— what progress wants

  ask(index: number, task: Task): void {
    const { tries } = this.#progress!.steps[index]!;
    if (tries > 1) this.#host.counters.stepRetries++;
    if (task !== "forward" && task !== "back") {
      this.#probe(index, task);
      return;
    }
    const plan = this.#plans[index]!;
    if (task === "forward" && tries === 1) {
      const lateAt = this.#host.options.clock.monotonic() + (plan.timeoutMs || this.#stepTimeoutMs);
      this.#lateAt[index] = lateAt;
      this.#checkBy(lateAt);
    }
    this.#send(index, task, task === "forward" ? plan.forward : plan.back!, plan.hash);
  }

  #send(index: number, task: "forward" | "back", act: Act, hash: number): void {
    const hears = this.#hears(index, task);
    const isOwn = this.#host.isOwn(hash);
    if (isOwn && this.#host.decide(act, hears)) {
      this.#goAhead();
      return;
    }
    if (isOwn || this.#ahead === 0) {
      this.#host.send(act, hash, hears);
      return;
    }
    this.#onceDurable(() => {
      // Over time meanwhile: what was never sent may have been probed.
      if (this.#progress!.steps[index]!.task === task) this.#host.send(act, hash, hears);
    });
  }

  #goAhead(): void {
    if (this.#ahead++ === 0) this.#lossBefore = this.#host.options.own().loss;
  }

  #onceDurable(then: () => void): void {
    const { own, calls } = this.#host.options;
    const life = this.#life;
    const ahead = this.#ahead;
    whenDurable(own(), calls, (reply) => {
      if (life !== this.#life || this.#hasLostGround()) return;
      if (reply.kind === "error") {
        this.#fallBack(reply.error);
        return;
      }
      if (this.#ahead === ahead) this.#ahead = 0;
      then();
    });
  }

  // Whether the shard has dropped what this saga rests on; then it reads itself again.
  #hasLostGround(): boolean {
    const { loss } = this.#host.options.own();
    if (this.#ahead === 0 || loss === undefined || loss === this.#lossBefore) return false;
    this.#fallBack(loss);
    return true;
  }

  #fallBack(error: HeddleError): void {
    this.#failure = error;
    this.#reload();
  }

  #probe(index: number, task: "probeForward" | "probeBack"): void {
    const { entity, hash } = this.#plans[index]!;
    const id = sagaStepId(sagaOfEntity(this.entity), index, task === "probeForward" ? "forward" : "back");
    const write = (reserve: Parameters<typeof writeProbeBody>[1]) => writeProbeBody({ entity, id }, reserve);
    this.#host.options.calls.call(requestKind.probe, hash, write, this.#hears(index, task));
  }

  #hears(index: number, task: Task): (reply: Reply) => void {
    const life = this.#life;
    return (reply) => this.#answered(life, index, task, reply);
  }

  pause(index: number, tries: number): void {
    const { clock } = this.#host.options;
    const dueAt = clock.monotonic() + this.#host.pauseMs(tries);
    this.#dueAt[index] = dueAt;
    this.#checkBy(dueAt);
    if (tries >= this.#host.limits.settledAfterTries) this.#settle();
  }

  record(milestone: Milestone): void {
    if (this.#writing) this.#next = () => this.#writeMilestone(milestone);
    else this.#writeMilestone(milestone);
  }

  #writeMilestone(milestone: Milestone): void {
    const began = milestone === "CompensationBegan";
    this.#host.crashPoint(began ? "saga:before-compensation" : "saga:before-end");
    const progress = this.#progress!;
    const { outcomes } = this;
    const why = wireProblem(progress.why);
    const { events, options } = this.#host;
    const then = () => this.#recorded(milestone, outcomes);
    if (milestone === "CompensationBegan") this.#write(events.CompensationBegan, { why, outcomes }, then);
    else this.#write(events[milestone], { at: options.clock.now(), why, outcomes }, then);
  }

  #recorded(milestone: Milestone, outcomes: readonly WireOutcome[]): void {
    const began = milestone === "CompensationBegan";
    this.#host.crashPoint(began ? "saga:compensation" : "saga:ended");
    if (began) this.#bePatient();
    recorded(this.#progress!, milestone, this);
    if (began) return;
    this.#end(this.#progress!.state as (typeof sagaEnds)[number], outcomes);
  }

  // Outcomes that are known, while others are still waited for.
  #settle(): void {
    const progress = this.#progress!;
    if (!progress.hasNews || this.#writing || progress.recording !== undefined) return;
    progress.hasNews = false;
    this.#write(this.#host.events.StepsSettled, { outcomes: this.outcomes }, () => {});
  }

  #answered(life: number, index: number, task: Task, reply: Reply): void {
    if (life !== this.#life || this.#hasLostGround()) return;
    const isProbe = task === "probeForward" || task === "probeBack";
    this.#host.crashPoint(isProbe ? "saga:probed" : task === "forward" ? "saga:forward" : "saga:back");
    answered(this.#progress!, index, task, isProbe ? answerOfProbe(reply) : answerOf(reply), this);
  }

  // ——— its own history

  // `then` comes when it is durable; `decided` before, when it is in the log.
  #write<P>(event: OwnEvent<P>, payload: P, then: () => void, decided?: () => void): void {
    this.#writing = true;
    let isAhead = false;
    const life = this.#life;
    const { own, calls } = this.#host.options;
    const isDecided = appendOwn(own(), calls, this.entity, event, payload, this.#seq, (reply) => {
      if (life !== this.#life) return;
      if (!isAhead) this.#writing = false;
      if (reply.kind !== "receipt") {
        this.#notWritten(reply);
        return;
      }
      this.#failures = 0;
      if (isAhead) {
        then();
        return;
      }
      this.#seq = reply.receipt.seq;
      then();
      const next = this.#next;
      this.#next = undefined;
      next?.();
    });
    if (!isDecided || decided === undefined) return;
    isAhead = true;
    this.#writing = false;
    this.#seq++;
    this.#goAhead();
    decided();
  }

  // Nobody knows for sure what is durable now: it is read.
  #notWritten(reply: Reply): void {
    if (reply.kind === "error" && !reply.error.retryable) {
      this.#drop(reply.error);
      return;
    }
    if (reply.kind === "error") {
      this.#failure = reply.error;
      this.#reloadLater();
    } else this.#reload();
  }

  #reloadLater(): void {
    this.#life++;
    this.#reloadAt = this.#host.options.clock.monotonic() + this.#host.pauseMs(++this.#failures);
    this.#checkBy(this.#reloadAt);
  }

  #reload(): void {
    const life = ++this.#life;
    this.#reloadAt = Number.POSITIVE_INFINITY;
    this.#writing = false;
    this.#next = undefined;
    this.#ahead = 0;
    const fields = { entity: this.entity, aggregate: systemKinds.saga };
    this.#host.options.calls.call(
      requestKind.get,
      hashEntity(this.entity as Parameters<typeof hashEntity>[0]),
      (reserve) => writeGetBody(fields, reserve),
      (reply) => {
        if (life === this.#life) this.#read(reply);
      },
    );
  }

  #read(reply: Reply): void {
    if (reply.kind === "error") {
      if (reply.error.retryable) this.#reloadLater();
      else this.#drop(reply.error);
      return;
    }
    const { state: facts, seq } = (reply as Extract<Reply, { kind: "value" }>).value as {
      readonly state: SagaFacts;
      readonly seq: number;
    };
    this.#seq = seq;
    this.#lastIntervention = facts.interventions.at(-1);
    if (facts.state === "NONE") {
      this.#drop(this.#failure ?? new HeddleError("NO_SUCH_SAGA", { saga: sagaOfEntity(this.entity) }));
      return;
    }
    this.#knowFingerprint(facts.fingerprint);
    // Without a failure, somebody else had begun it.
    if (this.#failure === undefined && this.#operation === undefined) {
      for (const waiter of this.#waiters) waiter.duplicate = true;
    }
    this.startedAt = facts.startedAt;
    if (this.#operation !== undefined) this.#operateOn(facts, this.#operation);
    else if (facts.state === "RUNNING" || facts.state === "COMPENSATING") this.#resumeFrom(facts, facts.state);
    else this.#endAs(facts, facts.state);
  }

  #resumeFrom(facts: SagaFacts, state: "RUNNING" | "COMPENSATING"): void {
    const { clock } = this.#host.options;
    const now = clock.monotonic();
    const length = facts.deadline - facts.startedAt;
    const left = Math.min(length, Math.max(0, facts.deadline - clock.now()));
    this.#load(facts, state);
    this.#deadlineAt = now + left;
    this.#graceAt = this.#deadlineAt + this.#host.limits.outcomeGraceMs;
    this.#checkBy(this.#deadlineAt);
    if (state === "COMPENSATING") this.#bePatient();
    // Its time ran out while nobody was there: no step is asked any more that was not asked then.
    else if (left === 0) this.#progress!.why ??= timeProblem("the saga");
    this.#host.crashPoint("saga:resumed");
    goOn(this.#progress!, this);
  }

  #load(facts: SagaFacts, state: "RUNNING" | "COMPENSATING"): void {
    this.#host.weigh(this, facts.steps.length);
    this.#stepTimeoutMs = facts.stepTimeoutMs;
    const plans = this.#host.planner.planStored(facts.steps);
    const steps = plans.map(({ stage, back }, i) => storedStep(stage, back !== undefined, facts.outcomes[i]));
    this.#take(plans, steps, state, facts);
  }

  #bePatient(): void {
    this.#patienceAt = this.#host.options.clock.monotonic() + this.#host.limits.compensationPatienceMs;
    this.#checkBy(this.#patienceAt);
  }

  // ——— the operator

  #operateOn(facts: SagaFacts, operation: SagaOperateFields): void {
    if (facts.state !== "STUCK") {
      this.#operation = undefined;
      const isRepeated = isSameIntervention(this.#lastIntervention, operation);
      if (!isRepeated) {
        this.#fail(new HeddleError("SAGA_NOT_STUCK", { saga: sagaOfEntity(this.entity), state: facts.state }));
      }
      for (const waiter of this.#waiters) waiter.duplicate = true;
      // One that is under way goes on in any case.
      if (facts.state === "RUNNING" || facts.state === "COMPENSATING") this.#resumeFrom(facts, facts.state);
      else if (facts.state !== "NONE") this.#endAs(facts, facts.state);
      return;
    }
    const at = this.#host.options.clock.now();
    const { as, reason, by } = operation;
    if (as !== undefined) {
      this.#write(this.#host.events.Resolved, { at, as, reason, by }, () => {
        this.#host.crashPoint("saga:resolved");
        this.#host.notStuck(this.entity);
        this.#endAs(facts, as);
      });
      return;
    }
    this.#write(this.#host.events.Retried, { at, reason, by }, () => {
      this.#host.crashPoint("saga:retried");
      this.#operation = undefined;
      this.#lastIntervention = { action: "retry", reason, by, time: at };
      this.#host.notStuck(this.entity);
      const state = facts.goesBack ? "COMPENSATING" : "RUNNING";
      this.#load(facts, state);
      this.#graceAt = this.#host.options.clock.monotonic() + this.#host.limits.outcomeGraceMs;
      this.#checkBy(this.#graceAt);
      this.#bePatient();
      goOn(this.#progress!, this);
    });
  }

  // ——— the end

  #end(state: (typeof sagaEnds)[number], outcomes: readonly WireOutcome[]): void {
    this.#host.countEnd(state);
    if (state === "STUCK") this.#sayStuck();
    const entities = this.#plans.map(({ entity }) => entity);
    this.#answer(sagaEnds.indexOf(state), entities, outcomes);
  }

  #endAs(facts: SagaFacts, state: (typeof sagaEnds)[number]): void {
    if (state === "STUCK") this.#host.isStuck(this.entity, facts.endedAt);
    this.#answer(sagaEnds.indexOf(state), facts.entities, facts.outcomes);
  }

  #answer(end: number, entities: readonly string[], outcomes: readonly WireOutcome[]): void {
    this.#ended = true;
    this.#host.finish(this);
    this.#host.crashPoint("saga:before-reply");
    const { replies } = this.#host.options;
    for (const { connection, requestBytes, call, duplicate } of this.#waiters) {
      replies.frame(connection, requestBytes, encodeSagaReply(call, end, duplicate, entities, outcomes));
    }
    this.#waiters = [];
    this.#host.crashPoint("saga:after-reply");
  }

  #drop(error: HeddleError): void {
    if (this.fingerprint !== undefined) {
      const { shard, report } = this.#host.options;
      const facts = { shard, saga: sagaOfEntity(this.entity), code: error.code, error: error.message };
      report("error", "a saga that has begun cannot go on before its shard is opened again", facts);
    }
    this.#ended = true;
    this.#host.finish(this);
    this.#fail(error);
  }

  #fail(error: HeddleError): void {
    for (const waiter of this.#waiters) this.#refuse(waiter, error);
    this.#waiters = [];
  }

  #refuse({ connection, requestBytes, call }: Waiter, error: HeddleError): void {
    this.#host.options.replies.frame(connection, requestBytes, encodeErrorReply(call, error));
  }

  // The saga goes on, whoever came with other steps.
  #knowFingerprint(fingerprint: number): void {
    this.fingerprint = fingerprint;
    if (!this.#waiters.some((waiter) => isOther(waiter, fingerprint))) return;
    this.#refuseOthers(fingerprint);
  }

  #refuseOthers(fingerprint: number): void {
    const error = new HeddleError("ID_REUSED", { entity: this.entity, id: sagaOfEntity(this.entity) });
    for (const waiter of this.#waiters) if (isOther(waiter, fingerprint)) this.#refuse(waiter, error);
    this.#waiters = this.#waiters.filter((waiter) => !isOther(waiter, fingerprint));
  }

  #sayStuck(): void {
    const { clock, report, shard } = this.#host.options;
    this.#host.isStuck(this.entity, clock.now());
    const entities = this.#plans.map(({ entity }) => entity);
    report("warn", stuckWarning, { shard, ...stuckFacts(this.entity, entities, this.outcomes) });
  }

  // ——— time

  #checkBy(at: number): void {
    if (at >= this.checkAt) return;
    this.checkAt = at;
    this.#host.wakeBy(at);
  }

  /** Looks at everything that may be due, and sets `checkAt` for the next time. */
  check(now: number): void {
    this.checkAt = Number.POSITIVE_INFINITY;
    if (this.#reloadAt <= now) this.#reload();
    else if (this.#hasLostGround()) return;
    const progress = this.#progress;
    if (progress === undefined || this.#reloadAt < Number.POSITIVE_INFINITY) {
      this.#checkBy(this.#reloadAt);
      return;
    }
    for (let i = 0; i < this.#plans.length; i++) this.#checkStep(progress, i, now);
    if (this.#deadlineAt <= now) {
      this.#deadlineAt = Number.POSITIVE_INFINITY;
      if (progress.state === "RUNNING" && progress.why === undefined) {
        timeUp(progress, timeProblem("the saga"), this);
        this.#settle();
      }
    }
    const isForward = progress.state === "RUNNING";
    const patientUntil = isForward ? this.#graceAt : this.#patienceAt;
    if (patientUntil <= now) {
      if (isForward) this.#graceAt = Number.POSITIVE_INFINITY;
      else this.#patienceAt = Number.POSITIVE_INFINITY;
      patienceOver(progress, timeProblem(isForward ? "learning what happened" : "its compensation"), this);
    }
    if (this.#ended) return;
    let next = Math.min(this.#deadlineAt, this.#graceAt, this.#patienceAt);
    for (let i = 0; i < this.#plans.length; i++) next = Math.min(next, this.#lateAt[i]!, this.#dueAt[i]!);
    this.#checkBy(next);
  }

  #checkStep(progress: Progress, index: number, now: number): void {
    if (this.#dueAt[index]! <= now) {
      this.#dueAt[index] = Number.POSITIVE_INFINITY;
      pauseOver(progress, index, this);
    }
    if (this.#lateAt[index]! > now) return;
    this.#lateAt[index] = Number.POSITIVE_INFINITY;
    if (progress.state !== "RUNNING" || progress.steps[index]!.task !== "forward") return;
    timeUp(progress, timeProblem(`step ${index + 1}, on ${this.#plans[index]!.entity}`), this, index);
    this.#settle();
  }
}

/** Whether somebody came with other steps. */
function isOther(waiter: Waiter, fingerprint: number): boolean {
  return waiter.fingerprint !== undefined && waiter.fingerprint !== fingerprint;
}

function timeProblem(what: string): SagaProblem {
  return { code: "TIMEOUT", message: `${what} took longer than it may`, facts: null };
}

function outcomeOf(step: StepProgress): WireOutcome {
  return [
    stepStates.indexOf(step.state),
    step.receipt === undefined ? null : wireReceipt(step.receipt),
    step.compensation === undefined ? null : wireReceipt(step.compensation),
    wireProblem(step.problem),
  ];
}

function storedStep(stage: number, canGoBack: boolean, outcome: WireOutcome | undefined): StepProgress {
  const step = newStep(stage, canGoBack);
  if (outcome === undefined) return step;
  const { state, receipt, compensation, problem } = outcomeOfWire(outcome);
  return Object.assign(step, { state, receipt, compensation, problem });
}

function isSameIntervention(last: SagaIntervention | undefined, { as, reason, by }: SagaOperateFields): boolean {
  const action = as === undefined ? "retry" : "resolve";
  return last?.action === action && last.as === as && last.reason === reason && last.by === by;
}

function isSameOperation(a: SagaOperateFields | undefined, b: SagaOperateFields): boolean {
  return a !== undefined && a.as === b.as && a.reason === b.reason && a.by === b.by;
}
