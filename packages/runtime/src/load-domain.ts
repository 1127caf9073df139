// LoadDomain: a user's domain module together with Heddle's own aggregates, as every part of a node runs it.
import type { AnyAggregate } from "@heddle/domain";
import { type CompiledContext, compileContext, loadContext } from "@heddle/domain/internal";

/** The aggregates of Heddle's own entities (`systemKinds`). */
export const systemAggregates: readonly AnyAggregate[] = [];

/** Errors: `DOMAIN_LOAD_FAILED`. */
export async function loadDomain(path: string): Promise<CompiledContext> {
  return compileContext(await loadContext(path), path, systemAggregates);
}
