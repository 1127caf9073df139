// Decide: from a state and payloads to a new state, or to a no. Pure and synchronous; touches no log and no clock.
import type { CompiledAggregate, CompiledContext, CompiledEvent } from "@heddle/domain/internal";
import { describeThrown } from "@heddle/domain/internal";
import { HeddleError, isSystemEntity } from "@heddle/kernel";
import { InvariantViolation } from "@heddle/kernel/internal";
import { type Rejection, rejection } from "@heddle/protocol/internal";
import { compare, comparison, freeze } from "./plain-data.ts";

/** The events of one append: payloads, and for each the index of its type. */
export interface Proposed {
  readonly aggregate: CompiledAggregate;
  /** By type index. */
  readonly types: readonly CompiledEvent[];
  /** Type indexes start here in `indexBytes`; 0 when every event has type 0. */
  readonly indexFrom: number;
  readonly indexBytes: Uint8Array;
}

export function typeAt(proposed: Proposed, index: number): CompiledEvent {
  return proposed.types[proposed.indexFrom === 0 ? 0 : proposed.indexBytes[proposed.indexFrom + index]!]!;
}

/**
 * Validates every payload in place: `payloads[i]` becomes what the schema makes of it.
 * Returns whether all of them came out as they went in, so that their bytes can be stored as they came.
 *
 * Errors: `INVALID_PAYLOAD` with the first payload that does not fit, `DOMAIN_FAILED` when a schema throws.
 */
export function validateAll(proposed: Proposed, payloads: unknown[]): boolean {
  const { types, indexFrom, indexBytes } = proposed;
  let verbatim = true;
  let index = 0;
  try {
    for (; index < payloads.length; index++) {
      const event = types[indexFrom === 0 ? 0 : indexBytes[indexFrom + index]!]!;
      const payload = payloads[index];
      const validated = event.validate(payload);
      if (validated.issues !== undefined) throw invalidPayload(proposed, index, validated.issues);
      const compared = compare(validated.value, payload);
      if (compared === comparison.same) continue;
      if (compared === comparison.tooDeep) {
        throw invalidPayload(proposed, index, [{ path: "", message: "it is nested too deeply" }]);
      }
      verbatim = false;
      payloads[index] = validated.value;
    }
  } catch (thrown) {
    throw schemaFailure(thrown, proposed, index);
  }
  return verbatim;
}

// A closure in a `catch` costs the way without an error, too: what it captures then lives on the heap. So these stand apart.
function schemaFailure(thrown: unknown, proposed: Proposed, index: number) {
  return asDomainFailure(thrown, () => `the schema of ${proposed.aggregate.name}.${typeAt(proposed, index).type}`);
}

function foldFailure(thrown: unknown, proposed: Proposed, index: number) {
  return asDomainFailure(thrown, () => `${proposed.aggregate.name}.${typeAt(proposed, index).type}`);
}

function invalidPayload(proposed: Proposed, index: number, issues: readonly { path: string; message: string }[]) {
  const type = typeAt(proposed, index).type;
  return new HeddleError("INVALID_PAYLOAD", { aggregate: proposed.aggregate.name, type, index, issues });
}

/** Where `foldAll` leaves the new state. */
export interface Folded {
  state: unknown;
}

/**
 * Folds the payloads and checks every rule after every event (P3). `into.state` is set only when all of them hold.
 * Errors: `DOMAIN_FAILED` when a fold or a rule throws.
 */
export function foldAll(
  proposed: Proposed,
  before: unknown,
  payloads: readonly unknown[],
  into: Folded,
): Rejection | undefined {
  const { aggregate, types, indexFrom, indexBytes } = proposed;
  const last = payloads.length - 1;
  let state = before;
  let index = 0;
  try {
    for (; index <= last; index++) {
      state = types[indexFrom === 0 ? 0 : indexBytes[indexFrom + index]!]!.fold(state, payloads[index]);
      // Before the rules, so that one that changes what it is asked about throws: no replay would repeat the change.
      if (index === last) settle(state);
      const rule = aggregate.brokenInvariant(state);
      if (rule !== undefined) return rejection("INVARIANT_VIOLATED", { aggregate: aggregate.name, rule, index });
    }
  } catch (thrown) {
    throw foldFailure(thrown, proposed, index);
  }
  into.state = state;
  return undefined;
}

/**
 * Ends the folding of one append, live and in a replay alike, so that a fold cannot tell the two apart.
 * Errors: a `TypeError` for what is no state: nothing, which a fold without `return` gives, or a promise.
 */
export function settle(state: unknown): void {
  if (state === undefined || isPromise(state)) {
    throw new TypeError(`the fold returned ${state === undefined ? "nothing" : "a promise"}, wanted the new state`);
  }
  freeze(state);
}

// A promise's rejection is taken care of: nobody awaits it, and unhandled it would end the thread.
function isPromise(state: unknown): boolean {
  if (!(state instanceof Promise)) return false;
  state.catch(() => {});
  return true;
}

/** Errors of user code become `DOMAIN_FAILED`; Heddle's own stay as they are. */
export function asDomainFailure(thrown: unknown, where: () => string): HeddleError | InvariantViolation {
  if (thrown instanceof HeddleError || thrown instanceof InvariantViolation) return thrown;
  return new HeddleError("DOMAIN_FAILED", { where: where(), message: describeThrown(thrown) }, { cause: thrown });
}

/**
 * An entity's states before its first event, by aggregate index: Heddle's own entities have Heddle's own aggregates, all others
 * have the context's. Errors: `DOMAIN_FAILED`.
 */
export function initialStates(domain: CompiledContext, entity: string): unknown[] {
  const system = isSystemEntity(entity);
  // As long as it will be: one that grows makes room for sixteen more, and every entity in memory has one.
  const states = new Array<unknown>(domain.aggregates.size).fill(null);
  for (const aggregate of domain.aggregates.values()) {
    states[aggregate.index] = aggregate.system === system ? initialState(aggregate) : null;
  }
  return states;
}

function initialState({ name, initial }: { readonly name: string; readonly initial: () => unknown }): unknown {
  try {
    const state = initial();
    freeze(state);
    return state;
  } catch (thrown) {
    throw asDomainFailure(thrown, () => `initial of ${name}`);
  }
}
