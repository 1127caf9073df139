// NamedSaga: from the input of a saga that the domain module defines to its steps.
import type { CompiledContext } from "@heddle/domain/internal";
import { HeddleError, systemKinds } from "@heddle/kernel";
import { encodeSagaSteps } from "@heddle/protocol/internal";
import { asDomain, decoded } from "./step-plans.ts";

/**
 * Errors: `UNKNOWN_SAGA`; `BAD_FRAME`; `INVALID_PAYLOAD` for an input that the schema refuses; `DOMAIN_FAILED` when the module
 * throws, or gives steps that cannot be a saga.
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
    // The caller's input was good: that it makes no saga is the module's fault.
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new HeddleError("DOMAIN_FAILED", { where, message }, { cause });
  }
}
