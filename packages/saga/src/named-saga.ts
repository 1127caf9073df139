// NamedSaga: from the input of a saga that the domain module defines to its steps.
import type { CompiledContext } from "@heddle/domain/internal";
import { HeddleError, systemKinds } from "@heddle/kernel";
import { encodeSagaSteps } from "@heddle/protocol/internal";
import { asDomain, decoded } from "./step-plans.ts";

/**
 * Errors: `UNKNOWN_SAGA`; `BAD_FRAME`; `INVALID_PAYLOAD` for an input that the schema refuses; `INVALID_REQUEST` for one of which
 * the module makes steps that cannot be a saga (two on one entity, an id that is none); `DOMAIN_FAILED` when the module throws, or
 * gives something else than steps.
 */
export function stepsOfNamed(domain: CompiledContext, saga: string, name: string, input: Uint8Array): Uint8Array {
  const definition = domain.sagas.get(name);
  if (definition === undefined) throw new HeddleError("UNKNOWN_SAGA", { saga: name, known: [...domain.sagas.keys()] });
  const given = decoded(input, 0, input.length);
  const where = `the steps of saga ${name}`;
  const validated = asDomain(`the schema of saga ${name}`, () => definition.validate(given));
  if (validated.issues !== undefined) {
    const { issues } = validated;
    throw new HeddleError("INVALID_PAYLOAD", { aggregate: systemKinds.saga, type: name, index: 0, issues });
  }
  const stages = asDomain(where, () => definition.stages(validated.value));
  try {
    return encodeSagaSteps(saga, stages);
  } catch (cause) {
    // An input like "from alice to alice": nobody knows better than the caller, although the module's schema could have said so.
    if (cause instanceof HeddleError) {
      const problem = `saga ${name} makes steps of it that cannot be a saga: ${cause.message}`;
      throw new HeddleError("INVALID_REQUEST", { path: "input", problem }, { cause });
    }
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new HeddleError("DOMAIN_FAILED", { where, message }, { cause });
  }
}
