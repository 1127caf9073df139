// The functions that aggregates are written with, and the types that flow from them.
//
// They only put definitions together and infer types: nothing is checked here, so that a malformed module is refused in
// one place (`compileContext`), with one kind of error, wherever it came from.
//
// D1. The state's type comes from `initial` alone; folds, invariants and commands are held against it.
// D2. A fold's payload has the schema's output type, because what was validated is what is stored and folded.
// D3. A command decides to events of its own aggregate, with payloads of the schema's input type.
// D4. Every older version of an event has an upcaster (event-options.ts).
//
// D1 rests on `event` and `command` returning something callable. TypeScript puts off a generic call whose result is a
// function until the other properties have been read, and so knows the state from `initial` by the time it reaches the
// folds. With a plain object as the result, every fold's state would be `unknown` without an annotation. A unit spec
// holds this.
import type { EntityId } from "@heddle/kernel";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { brand } from "./brand.ts";
import type { EventOptions } from "./event-options.ts";

/** Schemas by the name of their event or command. */
export type Schemas = Readonly<Record<string, StandardSchemaV1>>;

/** What a command knows besides state and input. Both are fixed before deciding, so deciding again gives the same. */
export interface CommandContext {
  readonly entity: EntityId;
  /** The node's time for this command, in milliseconds since 1970. Use it instead of the clock. */
  readonly now: number;
}

/** An event's fold with its schema attached. Calling it folds. Made by {@link event}. */
export interface EventDefinition<TState, TSchema extends StandardSchemaV1> {
  (state: TState, payload: StandardSchemaV1.InferOutput<TSchema>): TState;
  readonly schema: TSchema;
}

/** A command's decider with its schema attached. Calling it decides. Made by {@link command}. */
export interface CommandDefinition<TState, TSchema extends StandardSchemaV1, TDecided> {
  (state: TState, input: StandardSchemaV1.InferOutput<TSchema>, context: CommandContext): TDecided;
  readonly schema: TSchema;
}

/** A command's refusal. A value, not an error: the caller is meant to switch on its code. Made by {@link reject}. */
export interface Rejection<TCode extends string = string> {
  readonly kind: "rejected";
  readonly code: TCode;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** What a command may return: one event, several (all or nothing, at least one), or a rejection. */
export type Decided<TEvent> = TEvent | readonly TEvent[] | Rejection;

/** An aggregate: a named fold over an entity's events. Made by {@link defineAggregate}. */
export interface Aggregate<TName extends string, TState, TEvents extends Schemas, TCommands extends Schemas> {
  readonly name: TName;
  /** Exists for TypeScript only; there is no such property at run time. */
  readonly "~types"?: { readonly state: TState; readonly events: TEvents; readonly commands: TCommands };
}

/** Any aggregate: names are strings, payloads and states unknown. */
export type AnyAggregate = Aggregate<string, unknown, Schemas, Schemas>;

/** What a sender has to give for a schema. */
export type InputOf<TSchema extends StandardSchemaV1> = StandardSchemaV1.InferInput<TSchema>;

/** The events that a writer may send, as a union that `type` tells apart; payloads as schema inputs. */
export type EventInputs<TEvents extends Schemas> = {
  [T in keyof TEvents & string]: {
    readonly type: T;
    readonly payload: Immutable<InputOf<TEvents[T]>>;
  };
}[keyof TEvents & string];

/** The events that a reader sees, as a union that `type` tells apart; payloads as schema outputs. */
export type EventOutputs<TEvents extends Schemas> = {
  [T in keyof TEvents & string]: { readonly type: T; readonly payload: StandardSchemaV1.InferOutput<TEvents[T]> };
}[keyof TEvents & string];

/** Read-only all the way down, so that what is sent may be built from frozen or `as const` parts. */
export type Immutable<T> = T extends string | number | boolean | bigint | symbol | null | undefined
  ? T
  : T extends (...args: never[]) => unknown
    ? T
    : T extends object
      ? { readonly [K in keyof T]: Immutable<T[K]> }
      : T;

/** What {@link defineAggregate} takes. Every part is described there. */
export interface AggregateDefinition<TState, TEvents extends Schemas, TCommands extends Schemas> {
  readonly version: number;
  readonly initial: () => TState;
  readonly events: { readonly [T in keyof TEvents]: EventDefinition<NoInfer<TState>, TEvents[T]> };
  readonly invariants?: Readonly<Record<string, (state: NoInfer<TState>) => boolean>>;
  readonly commands?: {
    readonly [N in keyof TCommands]: CommandDefinition<
      NoInfer<TState>,
      TCommands[N],
      Decided<EventInputs<NoInfer<TEvents>>>
    >;
  };
}

/**
 * Defines an aggregate.
 *
 * - `version`    of the fold: a whole number from 1. Raise it when a fold or `initial` changes what it computes;
 *                snapshots of other versions are then discarded and states are folded anew.
 * - `initial`    the state before the first event. Its type is the state's type; where it cannot be seen from the value
 *                (an empty list, one of several words) annotate the return type: `initial: (): Order => ({ lines: [] })`.
 * - `events`     every event the aggregate knows, made by {@link event}.
 * - `invariants` rules by the name that a refused caller gets to read. Each is asked after every event, before it is
 *                committed (P3). Only `true` means that the rule holds.
 * - `commands`   made by {@link command}.
 *
 * States must be plain data, what msgpack can carry: objects, arrays, strings, numbers, bigints up to 64 bits, booleans,
 * null, dates and bytes. No functions, no class instances, no Map or Set: they would not come back from a snapshot.
 */
export function defineAggregate<
  const TName extends string,
  TState,
  TEvents extends Schemas,
  TCommands extends Schemas = Readonly<Record<never, never>>,
>(
  name: TName,
  definition: AggregateDefinition<TState, TEvents, TCommands>,
): Aggregate<TName, TState, TEvents, TCommands> {
  return Object.freeze({ [brand]: "aggregate", name, definition });
}

/**
 * Defines an event: the schema of its payload, and the fold.
 *
 * The schema is any synchronous Standard Schema (zod, valibot, arktype, …). Payloads are validated once, on the way in,
 * and what the schema returns is stored.
 *
 * The fold must be pure: it returns a new state, changes neither of its arguments, and uses no clock, no randomness and
 * nothing else from outside. It runs again at every replay and has to give the same state. It may throw, which fails the
 * append with DOMAIN_FAILED; a rule about what is allowed belongs into `invariants` or a command.
 *
 * When the payload's shape changes, `version` (of the schema, a whole number from 1 to 65,535, by default 1) goes up by
 * one, and `upcast` gets a function from the shape before to the new one: `{ version: 2, upcast: { 1: (old: { cents:
 * number }) => ({ amount: old.cents }) } }`. Stored bytes stay as they are; every reader sees the newest shape. An
 * upcaster must be pure and synchronous, like a fold, and needs its argument's type written down.
 */
export function event<TState, TSchema extends StandardSchemaV1, const TVersion extends number = 1>(
  schema: TSchema,
  fold: (state: TState, payload: StandardSchemaV1.InferOutput<TSchema>) => NoInfer<TState>,
  options?: EventOptions<TVersion, StandardSchemaV1.InferOutput<TSchema>>,
): EventDefinition<TState, TSchema> {
  // A new function each time: one fold may serve several events, and each needs a schema of its own.
  const definition = (state: TState, payload: StandardSchemaV1.InferOutput<TSchema>): TState => fold(state, payload);
  return Object.freeze(Object.assign(definition, { [brand]: "event", schema, run: fold, options }));
}

/**
 * Defines a command: the schema of its input, and the decider.
 *
 * The decider gets the state, the validated input and a {@link CommandContext}. It returns one event, an array of at
 * least one, or {@link reject}; each event's payload goes through the event's schema afterwards, like any append. It
 * must be pure and synchronous: time comes from the context, ids come with the input.
 */
export function command<TState, TSchema extends StandardSchemaV1, const TDecided extends Decided<LooseEvent>>(
  schema: TSchema,
  decide: (state: TState, input: StandardSchemaV1.InferOutput<TSchema>, context: CommandContext) => TDecided,
): CommandDefinition<TState, TSchema, TDecided> {
  const definition = (state: TState, input: StandardSchemaV1.InferOutput<TSchema>, context: CommandContext): TDecided =>
    decide(state, input, context);
  return Object.freeze(Object.assign(definition, { [brand]: "command", schema, run: decide }));
}

interface LooseEvent {
  readonly type: string;
  readonly payload: unknown;
}

/** Refuses a command. `code` is for programs, `facts` say what was found; both reach the caller, nothing is written. */
export function reject<const TCode extends string>(
  code: TCode,
  facts: Readonly<Record<string, unknown>> = {},
): Rejection<TCode> {
  return { kind: "rejected", code, facts };
}
