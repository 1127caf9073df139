// SagaBuilder: puts a saga together and has it run. What is wrong with its shape is refused before it leaves (P7).
import type { AggregateName, AnyContext, SagaActIn } from "@heddle/domain";
import { type EntityId, HeddleError, hashEntity } from "@heddle/kernel";
import type { SagaPage, SagaQuery, SagaRecord, SagaResult } from "@heddle/protocol";
import {
  readSagaList,
  readSagaRecord,
  readSagaResult,
  requestKind,
  type SagaFields,
  type SagaOperateFields,
  type SagaStages,
  type SagaStepFields,
  sagaEntity,
  sagaPage,
  sagaTimeoutMsMax,
  writeSagaBody,
  writeSagaListBody,
  writeSagaOperateBody,
  writeSagaShowBody,
} from "@heddle/protocol/internal";
import type { OptionsFor } from "./call-types.ts";
import { timeoutMsMax, whole } from "./options.ts";
import type { CallOptions } from "./session.ts";
import type { Sessions } from "./sessions.ts";

/** What a saga can be given. */
export interface SagaOptions {
  /**
   * How long the saga may take to commit, in ms, up to a day; then it goes back. Default 30,000, whatever the client's `timeoutMs`.
   * Going back takes its own time: the call waits for that, too, as `waitMs` says.
   */
  readonly timeoutMs?: number | undefined;
  /** How long each of its steps may take that says nothing itself, in ms; then the saga goes back. Default 10,000. */
  readonly stepTimeoutMs?: number | undefined;
  /**
   * How long the call waits for the saga's end, in ms, 1 to 600,000; the saga goes on without it. Default: its time to commit and
   * 90,000 for going back, 600,000 at most. Errors: `TIMEOUT` with the saga's id.
   */
  readonly waitMs?: number | undefined;
  /** Gives the call up. The saga goes on on the node. */
  readonly signal?: AbortSignal | undefined;
}

/** What a step can be given. */
export interface SagaStepCallOptions {
  /** How long the step may take, in ms; then the saga goes back. Default: the saga's `stepTimeoutMs`. */
  readonly timeoutMs?: number | undefined;
  /** The schema version that the payloads of events have. Default: the newest that the node has. */
  readonly schemaVsn?: number | undefined;
}

/** What an operator says with an intervention. */
export interface SagaInterventionOptions extends CallOptions {
  /** Kept in the saga's history. */
  readonly reason: string;
  /** Who; kept with it. */
  readonly by?: string | undefined;
}

/** Steps that run side by side. Made by `parallel`. */
export class SagaSide<C extends AnyContext = AnyContext> {
  readonly steps: readonly SagaStepFields[];

  constructor(steps: readonly SagaStepFields[] = []) {
    this.steps = steps;
  }

  /** As `SagaBuilder.step`. */
  step<A extends AggregateName<C>>(
    entity: string,
    forward: SagaActIn<C, A>,
    back: SagaActIn<C, A> | null,
    ...options: OptionsFor<C, A, SagaStepCallOptions>
  ): SagaSide<C>;
  step(entity: string, forward: unknown, back: unknown, options?: AnyStepOptions): SagaSide<C> {
    return new SagaSide<C>([...this.steps, stepFields(entity, forward, back, options)]);
  }
}

/** What all builders of one saga share. */
interface SagaHead {
  readonly id: string;
  readonly entity: EntityId;
  readonly sessions: Sessions;
  readonly options: SagaOptions;
}

/** The last stage, and those before it, which any number of builders may share. */
interface StageChain {
  readonly before: StageChain | undefined;
  readonly stage: readonly SagaStepFields[];
  /** Stages up to this one. */
  readonly count: number;
}

/**
 * A saga that is put together step by step. Made by `Heddle.saga`. It is immutable: each call gives another one, so that one may
 * be kept, and committed again.
 */
export class SagaBuilder<C extends AnyContext = AnyContext> {
  readonly #head: SagaHead;
  readonly #stages: StageChain | undefined;

  /** Made by `newSaga`. */
  constructor(head: SagaHead, stages?: StageChain) {
    this.#head = head;
    this.#stages = stages;
  }

  get id(): string {
    return this.#head.id;
  }

  /**
   * Adds a step: what happens to an entity, and what undoes it when a later step says no. Either is an event `{ type, payload }`,
   * a list of events, or a command `{ command, input }`. `back` is null where nothing can undo it: only for a step that is alone
   * in the last stage. A step takes effect when the one before it has.
   */
  step<A extends AggregateName<C>>(
    entity: string,
    forward: SagaActIn<C, A>,
    back: SagaActIn<C, A> | null,
    ...options: OptionsFor<C, A, SagaStepCallOptions>
  ): SagaBuilder<C>;
  step(entity: string, forward: unknown, back: unknown, options?: AnyStepOptions): SagaBuilder<C> {
    return this.#with([stepFields(entity, forward, back, options)]);
  }

  /**
   * Adds a stage of steps that run side by side: `parallel((side) => side.step(…).step(…))`.
   * Errors: throws `INVALID_REQUEST` for what is no function that gives the side with its steps.
   */
  parallel(build: (side: SagaSide<C>) => SagaSide<C>): SagaBuilder<C> {
    const side: unknown = typeof build === "function" ? build(new SagaSide<C>()) : undefined;
    if (side instanceof SagaSide) return this.#with(side.steps);
    const found = typeof build === "function" ? `a function that gives ${typeof side}` : typeof build;
    throw invalid("parallel", `wanted (side) => side.step(…).step(…), found ${found}`);
  }

  #with(stage: readonly SagaStepFields[]): SagaBuilder<C> {
    const before = this.#stages;
    return new SagaBuilder<C>(this.#head, { before, stage, count: before === undefined ? 1 : before.count + 1 });
  }

  /**
   * Runs the saga, and resolves when it has ended: COMMITTED, COMPENSATED, or STUCK, which waits for an operator. The same id
   * with the same steps again, at the same time, after a crash or after years, gives the same result with `duplicate: true`.
   *
   * Errors: `INVALID_REQUEST` naming the step, `FRAME_TOO_LARGE`, before anything is sent; `ID_REUSED` for an id that began
   * with other steps; `UNKNOWN_KIND`, `UNKNOWN_AGGREGATE`, `UNKNOWN_EVENT_TYPE`, `UNKNOWN_COMMAND`, and `INVALID_PAYLOAD` for
   * a compensation that could never be written: nothing has happened then. `TIMEOUT` after `waitMs`: the saga goes on, and the
   * same call again waits for the same end.
   */
  commit(): Promise<SagaResult> {
    const { entity, options } = this.#head;
    const { timeoutMs, stepTimeoutMs } = options;
    return run(this.#head, { entity, timeoutMs, stepTimeoutMs, stages: listed(this.#stages) });
  }
}

function listed(chain: StageChain | undefined): SagaStages {
  const stages = new Array<readonly SagaStepFields[]>(chain?.count ?? 0);
  for (let link = chain; link !== undefined; link = link.before) stages[link.count - 1] = link.stage;
  return stages;
}

/** A saga without steps. Errors: throws `INVALID_REQUEST` for what is no id of a saga. */
export function newSaga<C extends AnyContext>(
  sessions: Sessions,
  id: string,
  options: SagaOptions = {},
): SagaBuilder<C> {
  return new SagaBuilder<C>({ id, entity: sagaEntity(id), sessions, options });
}

/** Runs a saga that the domain module defines. */
export async function runNamedSaga(
  sessions: Sessions,
  name: string,
  id: string,
  input: unknown,
  options: SagaOptions = {},
): Promise<SagaResult> {
  const { timeoutMs, stepTimeoutMs } = options;
  const entity = sagaEntity(id);
  return run({ id, entity, sessions, options }, { entity, timeoutMs, stepTimeoutMs, named: { name, input } });
}

function run({ id, entity, sessions, options }: SagaHead, fields: SagaFields): Promise<SagaResult> {
  const { timeoutMs = defaultTimeoutMs, signal } = options;
  const hash = hashEntity(entity);
  try {
    // Looked at here, too: what is no number at all would be refused as the time of the call.
    whole("timeoutMs", timeoutMs, defaultTimeoutMs, 1, sagaTimeoutMsMax);
    const longest = Math.min(timeoutMsMax, timeoutMs + goingBackMs);
    const call = { signal, timeoutMs: whole("waitMs", options.waitMs, longest, 1, timeoutMsMax) };
    const decode = (value: unknown) => readSagaResult(value, id);
    return sessions.of(hash).request(requestKind.saga, hash, writeSagaBody, fields, call, decode);
  } catch (error) {
    return Promise.reject(error);
  }
}

/** One page. */
export async function listSagas(sessions: Sessions, options: SagaQuery & CallOptions): Promise<SagaPage> {
  const { shardCount } = await sessions.ready(options);
  return sagaPage(
    (shard, fields) =>
      sessions.of(shard).request(requestKind.sagaList, shard, writeSagaListBody, fields, options, readSagaList),
    shardCount,
    options,
  );
}

export async function showSaga(sessions: Sessions, id: string, options?: CallOptions): Promise<SagaRecord> {
  const entity = sagaEntity(id);
  const hash = hashEntity(entity);
  const fields = { entity };
  return sessions.of(hash).request(requestKind.sagaShow, hash, writeSagaShowBody, fields, options, readSagaRecord);
}

/** An operator's retry, or resolution where `as` says how it ended. */
export async function operateSaga(
  sessions: Sessions,
  id: string,
  as: SagaOperateFields["as"],
  options: SagaInterventionOptions,
): Promise<SagaResult> {
  const entity = sagaEntity(id);
  // Left out by who has no compiler, it is a reason that is none.
  const { reason, by = "", signal, timeoutMs } = options ?? {};
  const hash = hashEntity(entity);
  const call = { signal, timeoutMs: timeoutMs ?? defaultTimeoutMs + goingBackMs };
  const decode = (value: unknown) => readSagaResult(value, id);
  const fields = { entity, as, reason, by };
  return sessions.of(hash).request(requestKind.sagaOperate, hash, writeSagaOperateBody, fields, call, decode);
}

type AnyStepOptions = SagaStepCallOptions & { readonly aggregate?: string | undefined };

/** As the node has it. */
const defaultTimeoutMs = 30_000;
/** What a saga may take beyond its time to commit: learning outcomes, and undoing. */
const goingBackMs = 90_000;

// What is wrong with a step is said by `writeSagaBody`; so options that there are not go with it.
function stepFields(entity: string, forward: unknown, back: unknown, options: AnyStepOptions = {}): SagaStepFields {
  if (typeof options !== "object" || options === null) {
    throw invalid("options", `wanted options of a step, such as { aggregate }, found ${String(options)}`);
  }
  const { aggregate, timeoutMs, schemaVsn } = options;
  const fields: SagaStepFields = {
    entity,
    aggregate,
    forward: forward as SagaStepFields["forward"],
    back: back as SagaStepFields["back"],
    timeoutMs,
    schemaVsn,
  };
  for (const key in options) if (!(key in fields)) return { ...fields, [key]: "given as an option" };
  return fields;
}

function invalid(path: string, problem: string): HeddleError {
  return new HeddleError("INVALID_REQUEST", { path, problem });
}
