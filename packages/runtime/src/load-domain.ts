// LoadDomain: a user's domain module together with Heddle's own aggregates, as every part of a node runs it.
import type { AnyAggregate } from "@heddle/domain";
import { type CompiledContext, compileContext, loadContext } from "@heddle/domain/internal";
import { systemKinds } from "@heddle/kernel";
import { remindersAggregate, remindersAlarm } from "@heddle/reminder/internal";
import { alarmOfSaga, type SagaFacts, sagaAggregate } from "@heddle/saga/internal";
import type { AlarmSource } from "@heddle/shard/internal";

/** The aggregates of Heddle's own entities (`systemKinds`). */
export const systemAggregates: readonly AnyAggregate[] = [sagaAggregate, remindersAggregate];

/** When entities of Heddle's own want to be woken, by their kind. For whoever derives an index without running them. */
export const systemAlarms: ReadonlyMap<string, Pick<AlarmSource, "aggregate" | "alarmOf">> = new Map([
  [systemKinds.saga, { aggregate: sagaAggregate.name, alarmOf: (state: unknown) => alarmOfSaga(state as SagaFacts) }],
  [systemKinds.reminders, { aggregate: remindersAggregate.name, alarmOf: remindersAlarm }],
]);

/** Errors: `DOMAIN_LOAD_FAILED`. */
export async function loadDomain(path: string): Promise<CompiledContext> {
  return compileContext(await loadContext(path), path, systemAggregates);
}
