// What a context tells a client at compile time: names, payloads and states, by aggregate.
//
// Over `AnyContext` every name degrades to string and every payload and state to unknown, so that untyped code works.
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { AnyAggregate, EventInputs, EventOutputs, InputOf } from "./define-aggregate.ts";
import type { AnyContext } from "./define-context.ts";
import type { AnySaga, SagaActOf } from "./define-saga.ts";

/** The aggregates of a context by name. A lookup and not `Extract`, which would find nothing in an untyped context. */
type AggregatesByName<C extends AnyContext> = { [G in C["aggregates"][number] as G["name"]]: G };

type AggregateNamed<C extends AnyContext, A extends AggregateName<C>> = Extract<AggregatesByName<C>[A], AnyAggregate>;

/** What an aggregate was inferred to be: `state`, and the schemas of `events` and `commands`. */
export type TypesOf<G extends AnyAggregate> = Extract<NonNullable<G["~types"]>, NonNullable<AnyAggregate["~types"]>>;

/** The names of a context's aggregates. */
export type AggregateName<C extends AnyContext> = C["aggregates"][number]["name"];

/** The state of an aggregate. */
export type State<C extends AnyContext, A extends AggregateName<C>> = TypesOf<AggregateNamed<C, A>>["state"];

type Events<C extends AnyContext, A extends AggregateName<C>> = TypesOf<AggregateNamed<C, A>>["events"];

/** The event types of an aggregate. */
export type EventType<C extends AnyContext, A extends AggregateName<C>> = keyof Events<C, A> & string;

/** What a writer sends for an event: its schema's input. */
export type PayloadInput<C extends AnyContext, A extends AggregateName<C>, T extends EventType<C, A>> = InputOf<
  Events<C, A>[T]
>;

/** What a reader sees of an event: its schema's output. */
export type Payload<
  C extends AnyContext,
  A extends AggregateName<C>,
  T extends EventType<C, A>,
> = StandardSchemaV1.InferOutput<Events<C, A>[T]>;

/** The events of an aggregate as a reader sees them: a union of `{ type, payload }` that `type` tells apart. */
export type EventOf<C extends AnyContext, A extends AggregateName<C>> = EventOutputs<Events<C, A>>;

/** The events of an aggregate as a writer sends them: a union of `{ type, payload }` that `type` tells apart. */
export type EventInputOf<C extends AnyContext, A extends AggregateName<C>> = EventInputs<Events<C, A>>;

type Commands<C extends AnyContext, A extends AggregateName<C>> = TypesOf<AggregateNamed<C, A>>["commands"];

/** The names of an aggregate's commands. */
export type CommandName<C extends AnyContext, A extends AggregateName<C>> = keyof Commands<C, A> & string;

/** What a caller sends with a command: its schema's input. */
export type CommandInput<C extends AnyContext, A extends AggregateName<C>, N extends CommandName<C, A>> = InputOf<
  Commands<C, A>[N]
>;

/**
 * What a step of a saga can do to an entity with this aggregate. Of several names each for itself: where a name is misspelt the
 * compiler takes all of them, and the error then stands at the name and not at what the step does.
 */
export type SagaActIn<C extends AnyContext, A extends AggregateName<C>> = A extends unknown
  ? SagaActOf<Events<C, A>, Commands<C, A>>
  : never;

/** The sagas of a context by name. As with aggregates a look-up, so that an untyped context has any. */
type SagasByName<C extends AnyContext> = { [G in C["sagas"][number] as G["name"]]: G };

/** The names of a context's sagas. */
export type SagaName<C extends AnyContext> = C["sagas"][number]["name"];

/** What a caller gives to a saga: its schema's input. */
export type SagaInput<C extends AnyContext, N extends SagaName<C>> = InputOf<
  NonNullable<Extract<SagasByName<C>[N], AnySaga>["~types"]>["input"]
>;
