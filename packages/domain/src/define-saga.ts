// Sagas that a domain module defines: a name, the schema of an input, and a function from an input to steps.
//
// As with aggregates nothing is checked here; `compileContext` does, and what the function gives is checked when it has run.
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { brand } from "./brand.ts";
import type { AnyAggregate, EventInputs, Immutable, InputOf, Schemas } from "./define-aggregate.ts";

/** What a step does, or what undoes it: one event, several, or a command. */
export type SagaAct =
  | { readonly type: string; readonly payload: unknown }
  | readonly { readonly type: string; readonly payload: unknown }[]
  | { readonly command: string; readonly input: unknown };

/** What a step of one aggregate can be, with payloads and inputs as their schemas take them. */
export type SagaActOf<TEvents extends Schemas, TCommands extends Schemas> =
  | EventInputs<TEvents>
  | readonly EventInputs<TEvents>[]
  | {
      [N in keyof TCommands & string]: { readonly command: N; readonly input: Immutable<InputOf<TCommands[N]>> };
    }[keyof TCommands & string];

/** One step of a saga. Made by {@link step}. */
export interface SagaStep {
  readonly entity: string;
  /** Empty where the context has one aggregate only. */
  readonly aggregate: string;
  readonly forward: SagaAct;
  readonly back: SagaAct | null;
  readonly timeoutMs: number | undefined;
  readonly schemaVsn: number | undefined;
}

/** Steps one after the other; a list among them is a stage whose steps run side by side. */
export type SagaPlan = readonly (SagaStep | readonly SagaStep[])[];

/** A saga by name. Made by {@link defineSaga}. */
export interface Saga<TName extends string, TSchema extends StandardSchemaV1> {
  readonly name: TName;
  /** Exists for TypeScript only; there is no such property at run time. */
  readonly "~types"?: { readonly input: TSchema };
}

/** Any saga: its name is a string, its input unknown. */
export type AnySaga = Saga<string, StandardSchemaV1>;

/** What {@link step} takes besides what is done and undone. */
export interface SagaStepOptions<A> {
  /** The aggregate, or its name; may be left out where the context has one only. */
  readonly aggregate?: A | undefined;
  /** How long the step may take, in ms. Default: the saga's `stepTimeoutMs`. */
  readonly timeoutMs?: number | undefined;
  /** Schema version that the payloads of events have. Default: the newest. */
  readonly schemaVsn?: number | undefined;
}

/**
 * A step of a saga: what happens to an entity, and what undoes it. `back` is null where nothing can: only for a step that is
 * alone in the last stage. With the aggregate itself as an option, types and payloads are held against it.
 */
export function step<G extends AnyAggregate>(
  entity: string,
  forward: ActOfAggregate<G>,
  back: ActOfAggregate<G> | null,
  options: SagaStepOptions<G> & { readonly aggregate: G },
): SagaStep;
export function step(
  entity: string,
  forward: SagaAct,
  back: SagaAct | null,
  options?: SagaStepOptions<string>,
): SagaStep;
export function step(
  entity: string,
  forward: SagaAct,
  back: SagaAct | null,
  options: SagaStepOptions<string | AnyAggregate> = {},
): SagaStep {
  const { aggregate, timeoutMs, schemaVsn } = options;
  const name = typeof aggregate === "object" ? aggregate.name : (aggregate ?? "");
  return { entity, aggregate: name, forward, back, timeoutMs, schemaVsn };
}

type TypesOf<G extends AnyAggregate> = Extract<NonNullable<G["~types"]>, NonNullable<AnyAggregate["~types"]>>;
type ActOfAggregate<G extends AnyAggregate> = SagaActOf<TypesOf<G>["events"], TypesOf<G>["commands"]>;

/**
 * Defines a saga that callers run by name: the schema of its input, and the steps for an input.
 *
 * `steps` must be pure and synchronous. It runs once for each saga, on the node, with the validated input; the steps that it
 * gives are kept, so that a saga which is under way goes on as it began when the module changes.
 */
export function defineSaga<const TName extends string, TSchema extends StandardSchemaV1>(
  name: TName,
  definition: {
    readonly input: TSchema;
    readonly steps: (input: StandardSchemaV1.InferOutput<TSchema>) => SagaPlan;
  },
): Saga<TName, TSchema> {
  return Object.freeze({ [brand]: "saga", name, schema: definition?.input, run: definition?.steps });
}
