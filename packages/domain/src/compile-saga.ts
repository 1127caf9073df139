// From a saga as a user defined it to one that a node runs. Owns the checks of what its function gives back.
import { HeddleError, limits } from "@heddle/kernel";
import type { AnySaga, SagaPlan, SagaStep } from "./define-saga.ts";
import { isObject, whatIs } from "./module-check.ts";
import { isUnwantedPromise } from "./promises.ts";
import { type StandardProps, type Validated, validate } from "./schema.ts";

export interface CompiledSaga {
  readonly name: string;
  validate(input: unknown): Validated;
  /**
   * The steps for a validated input, stage by stage. What each step holds is for the caller to check.
   * Errors: `DOMAIN_FAILED` for what are no steps. What the function throws passes through.
   */
  stages(input: unknown): readonly (readonly SagaStep[])[];
}

export class RunnableSaga implements CompiledSaga {
  readonly name: string;
  readonly #standard: StandardProps;
  readonly #steps: (input: unknown) => unknown;

  constructor(saga: AnySaga, standard: StandardProps, steps: (input: unknown) => unknown) {
    this.name = saga.name;
    this.#standard = standard;
    this.#steps = steps;
  }

  validate(input: unknown): Validated {
    return validate(this.#standard, input, `the schema of saga ${this.name}`);
  }

  stages(input: unknown): readonly (readonly SagaStep[])[] {
    const steps = this.#steps;
    const plan = steps(input);
    if (!Array.isArray(plan)) this.#fail(plan);
    if (plan.length > limits.sagaStepsMax) {
      throw this.#failure(`it returned ${plan.length} steps, at most ${limits.sagaStepsMax} are allowed`);
    }
    return (plan as SagaPlan).map((item) => (Array.isArray(item) ? item : [item]).map((step) => this.#check(step)));
  }

  #check(step: unknown): SagaStep {
    if (isObject(step) && !Array.isArray(step) && typeof step["entity"] === "string")
      return step as unknown as SagaStep;
    return this.#fail(step);
  }

  #fail(found: unknown): never {
    isUnwantedPromise(found);
    throw this.#failure(`it returned ${whatIs(found)}, wanted a list of what step(entity, forward, back) returns`);
  }

  #failure(message: string): HeddleError {
    return new HeddleError("DOMAIN_FAILED", { where: `the steps of saga ${this.name}`, message });
  }
}
