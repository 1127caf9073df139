// The values that answer requests about sagas.
import { limits } from "@heddle/kernel";
import { badFrame } from "./bad-frame.ts";
import type { Receipt } from "./receipt.ts";
import type { ListedSaga, SagaProblem, SagaRecord, SagaResult, SagaState, SagaStepState } from "./sagas.ts";

/** [sequence, first sequence, events, shard, position, time]. */
export type WireReceipt = readonly [number, number, number, number, number, number];
export type WireProblem = readonly [code: string, message: string, facts: unknown];
/** What came of a step: [place in `stepStates`, receipt, receipt of the compensation, problem]. */
export type WireOutcome = readonly [number, WireReceipt | null, WireReceipt | null, WireProblem | null];
export type WireSagaStep = readonly [entity: string, outcome: WireOutcome];
/** [place in `sagaEnds`, begun by an earlier call, steps]. */
export type WireSagaResult = readonly [number, boolean, readonly WireSagaStep[]];

export const stepStates = ["waiting", "done", "refused", "unknown", "compensated", "stuck"] as const;
export const sagaEnds = ["COMMITTED", "COMPENSATED", "STUCK"] as const;

/** Of one shard: sagas in the order of their places. */
export interface WireSagaList {
  readonly sagas: readonly (ListedSaga & { readonly place: number })[];
  /** Whether there may be more behind the last. */
  readonly more: boolean;
}

export function wireReceipt(receipt: Receipt): WireReceipt {
  const { seq, firstSeq, count, shard, position, time } = receipt;
  return [seq, firstSeq, count, shard, position, time];
}

/** Errors: `BAD_FRAME` for what is no receipt. */
export function receiptOfWire(wire: WireReceipt, duplicate = false): Receipt {
  if (!Array.isArray(wire) || wire.length !== 6) throw badFrame("a receipt is none");
  return {
    ok: true,
    seq: wire[0],
    firstSeq: wire[1],
    count: wire[2],
    shard: wire[3],
    position: wire[4],
    time: wire[5],
    duplicate,
  };
}

/** Errors: `BAD_FRAME` for what is no result. */
export function readSagaResult(value: unknown, saga: string): SagaResult {
  const [end, duplicate, steps] = (Array.isArray(value) ? value : []) as unknown as WireSagaResult;
  const resultType = sagaEnds[end];
  if (resultType === undefined || !Array.isArray(steps)) throw badFrame("the node answered with no saga's result");
  return { resultType, saga, steps: (steps as WireSagaStep[]).map(stepOutcome), duplicate: duplicate === true };
}

function stepOutcome(step: WireSagaStep): SagaResult["steps"][number] {
  if (!Array.isArray(step) || !Array.isArray(step[1])) throw badFrame("a step of a saga that is none");
  const entity = step[0];
  const outcome = step[1] as WireOutcome;
  const state = stepStates[outcome[0]];
  const receipt = outcome[1];
  // Most steps are done and have nothing else to them; the parts that there are, copied one by one, cost several times as much.
  if (state !== undefined && receipt !== null && outcome[2] === null && outcome[3] === null) {
    return { entity, state, receipt: receiptOfWire(receipt) };
  }
  return { entity, ...outcomeOfWire(outcome) };
}

/** The parts of a step's outcome that there are. */
export function outcomeOfWire([state, receipt, compensation, problem]: WireOutcome): {
  readonly state: SagaStepState;
  readonly receipt?: Receipt;
  readonly compensation?: Receipt;
  readonly problem?: SagaProblem;
} {
  const known = stepStates[state];
  if (known === undefined) throw badFrame("a step of a saga in no known state");
  return {
    state: known,
    ...(receipt === null ? {} : { receipt: receiptOfWire(receipt) }),
    ...(compensation === null ? {} : { compensation: receiptOfWire(compensation) }),
    ...(problem === null ? {} : { problem: { code: problem[0], message: problem[1], facts: problem[2] } }),
  };
}

/** Errors: `BAD_FRAME`. */
export function readSagaList(value: unknown): WireSagaList {
  const list = (value ?? {}) as Partial<WireSagaList>;
  if (!Array.isArray(list.sagas) || list.sagas.length > limits.listEntitiesMax) {
    throw badFrame("the node answered with sagas that are no list");
  }
  for (const row of list.sagas as readonly Partial<WireSagaList["sagas"][number]>[]) {
    const isRow = typeof row?.saga === "string" && isSagaState(row.state) && Number.isSafeInteger(row.place);
    if (!isRow) throw badFrame("a listed saga that is none");
  }
  return { sagas: list.sagas, more: list.more === true };
}

/** Errors: `BAD_FRAME`. */
export function readSagaRecord(value: unknown): SagaRecord {
  const record = (value ?? {}) as Partial<SagaRecord>;
  const isRecord =
    typeof record.saga === "string" &&
    isSagaState(record.state) &&
    Array.isArray(record.steps) &&
    Array.isArray(record.interventions);
  if (!isRecord) throw badFrame("the node answered with no saga's record");
  return record as SagaRecord;
}

function isSagaState(state: unknown): state is SagaState {
  return state === "RUNNING" || state === "COMPENSATING" || (sagaEnds as readonly unknown[]).includes(state);
}

/** The receipt that a probe's value tells of; undefined when no append with the id took effect. Errors: `BAD_FRAME`. */
export function readProbe(value: unknown): Receipt | undefined {
  if (value === null) return undefined;
  if (!Array.isArray(value) || value.length !== 6 || !value.every(Number.isSafeInteger)) {
    throw badFrame("a probe was answered with no receipt");
  }
  return receiptOfWire(value as unknown as WireReceipt, true);
}
