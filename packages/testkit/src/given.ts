// Given / when / then: tests of an aggregate's rules, beside the code, without a node.
//
// Runs an aggregate the way a shard does: payloads are validated, folds run event by event, every invariant is asked
// after every event (P3), an append happens whole or not at all. Works in any test runner: a failed expectation is an
// AssertionError with `actual` and `expected`, and nothing is awaited.
//
// G1. Folds, rules, deciders and upcasters get frozen values. One that changes what it is given fails the test.
// G2. They run twice on equal arguments, the second time with another clock. One that answers differently fails the test.
// G3. States and payloads have to be plain data; anything that would not come back from a snapshot fails the test.
// Not promised: that every impure function is found. One that changes its mind at the third call is not.
import type { AnyAggregate, AnyProjection, CommandContext, Schemas } from "@heddle/domain";
import {
  type CompiledAggregate,
  type CompiledCommand,
  type CompiledEvent,
  compileAggregate,
  type DecidedEvent,
  type EventInputs,
  type EventOutputs,
  type InputOf,
  type TypesOf,
  type Validated,
} from "@heddle/domain/internal";
import { type PayloadIssue, parseEntityId } from "@heddle/kernel";
import { described, expectEqual, failed, shown } from "./failed.ts";
import { type GivenFact, GivenRows, isProjection } from "./given-rows.ts";
import { frozenCopy } from "./plain-data.ts";
import { frozenPlain, plain, purely } from "./purely.ts";
import { eventNamed, readStored, type StoredEvent } from "./stored.ts";

/** An event that a test sends: `{ type, payload }`, the payload as the schema's input. */
export type GivenEvent<G extends AnyAggregate> = EventInputs<TypesOf<G>["events"]>;

/** An event that a test expects: `{ type, payload }`, the payload as the schema's output. */
export type ThenEvent<G extends AnyAggregate> = EventOutputs<TypesOf<G>["events"]>;

/** A command on its way. Made by {@link command}. */
export interface CommandCall<TName extends string, TInput> {
  readonly command: TName;
  readonly input: TInput;
  readonly context: CommandContext;
}

/** What may happen in a test: a command, an event, or several events as one append. */
export type When<G extends AnyAggregate> =
  | CommandCalls<TypesOf<G>["commands"]>
  | GivenEvent<G>
  | readonly GivenEvent<G>[];

type CommandCalls<TCommands extends Schemas> = {
  [N in keyof TCommands & string]: CommandCall<N, InputOf<TCommands[N]>>;
}[keyof TCommands & string];

export interface Given<G extends AnyAggregate> {
  when(happening: When<G>): Then<G>;
  /** The state that the given events make, whole. */
  thenState(state: TypesOf<G>["state"]): void;
}

/** Expectations can be chained: `.thenEvents([…]).thenState({…})`. Keys whose value is undefined count as absent. */
export interface Then<G extends AnyAggregate> {
  /** It was accepted, and exactly these events came of it. */
  thenEvents(events: readonly ThenEvent<G>[]): this;
  /** The state afterwards, whole; after a refusal, the state before. */
  thenState(state: TypesOf<G>["state"]): this;
  /** It was refused, by a command's code or by the name of an invariant; `facts`, where given, are the command's. */
  thenRejected(reason: string, facts?: Readonly<Record<string, unknown>>): this;
  /** A payload or input did not fit its schema, and one of the issues is at this path (dotted; empty for the whole). */
  thenInvalid(path: string): this;
}

/**
 * Starts a test of one aggregate, with the events that happened before.
 *
 * ```ts
 * given(Account, [{ type: "Credited", payload: { amount: 50 } }])
 *   .when(command("Withdraw", { amount: 80 }))
 *   .thenRejected("INSUFFICIENT_FUNDS", { balance: 50, asked: 80 });
 * ```
 *
 * The events have to be possible: each must fit its schema and keep every invariant. One with a `schemaVersion` is as it
 * lies in the log: it is upcast, and not held against the schema.
 *
 * Of a projection, it takes the events of any entities, in the order in which they are folded, and gives rows:
 *
 * ```ts
 * given(accounts, [{ entity: "account/alice", type: "Credited", payload: { amount: 50 } }])
 *   .thenRows([{ account: "account/alice", balance: 50 }]);
 * ```
 */
export function given<T extends AnyAggregate | AnyProjection>(
  tested: T,
  events: readonly GivenTo<T>[] = [],
): GivenOf<T> {
  const made = isProjection(tested)
    ? new GivenRows<AnyProjection>(tested, events as readonly GivenFact<AnyProjection>[])
    : givenHistory(tested, events as readonly GivenEvent<AnyAggregate>[]);
  return made as GivenOf<T>;
}

/** What a test of an aggregate, or of a projection, begins with. */
type GivenTo<T extends AnyAggregate | AnyProjection> = T extends AnyAggregate
  ? GivenEvent<T> | StoredEvent<T>
  : T extends AnyProjection
    ? GivenFact<T>
    : never;

type GivenOf<T extends AnyAggregate | AnyProjection> = T extends AnyAggregate
  ? Given<T>
  : T extends AnyProjection
    ? GivenRows<T>
    : never;

function givenHistory<G extends AnyAggregate>(
  aggregate: G,
  history: readonly (GivenEvent<G> | StoredEvent<G>)[],
): Given<G> {
  const compiled = compileAggregate(aggregate);
  const initial = frozenPlain(compiled.initial(), `the initial state of ${compiled.name}`);
  const before = append(compiled, initial, history, givenPayload);
  if (before.kind !== "accepted") {
    throw failed(`the given events cannot have happened: ${told(before)}`, {}, given);
  }
  return {
    when: (happening) => new Expectations(run(compiled, before.state, happening as When<AnyAggregate>)),
    thenState(state) {
      expectEqual(before.state, state, "the given events make another state", this.thenState);
    },
  };
}

/** A command for `when`. `context` sets the entity (default `test/entity`) and the time (default 0) that it sees. */
export function command<const TName extends string, TInput>(
  name: TName,
  input: TInput,
  context: { readonly entity?: string; readonly now?: number } = {},
): CommandCall<TName, TInput> {
  const { entity = "test/entity", now = 0 } = context;
  return { command: name, input, context: { entity: parseEntityId(entity), now } };
}

/** What came of it. `state` is the one afterwards if it was accepted, and the one before if not. */
type Outcome = { readonly state: unknown } & (
  | { readonly kind: "accepted"; readonly events: readonly DecidedEvent[] }
  | { readonly kind: "rejected"; readonly code: string; readonly facts: Readonly<Record<string, unknown>> }
  | { readonly kind: "broken"; readonly rule: string; readonly event: string; readonly index: number }
  | { readonly kind: "invalid"; readonly what: string; readonly issues: readonly PayloadIssue[] }
);

class Expectations<G extends AnyAggregate> implements Then<G> {
  readonly #outcome: Outcome;

  constructor(outcome: Outcome) {
    this.#outcome = outcome;
  }

  thenEvents(events: readonly ThenEvent<G>[]): this {
    const outcome = this.#outcome;
    if (outcome.kind !== "accepted") {
      throw failed(`wanted events, but ${told(outcome)}`, { expected: events }, this.thenEvents);
    }
    expectEqual(outcome.events, events, "the events are not the expected ones", this.thenEvents);
    return this;
  }

  thenState(state: TypesOf<G>["state"]): this {
    const message = `the state is not the expected one (${told(this.#outcome)})`;
    expectEqual(this.#outcome.state, state, message, this.thenState);
    return this;
  }

  thenRejected(reason: string, facts?: Readonly<Record<string, unknown>>): this {
    const outcome = this.#outcome;
    const found = outcome.kind === "rejected" ? outcome.code : outcome.kind === "broken" ? outcome.rule : undefined;
    if (found !== reason) {
      const message = `wanted the rejection ${reason}, but ${told(outcome)}`;
      throw failed(message, { actual: found, expected: reason }, this.thenRejected);
    }
    if (facts !== undefined) {
      const actual = outcome.kind === "rejected" ? outcome.facts : {};
      expectEqual(actual, facts, `the facts of ${reason} are not the expected ones`, this.thenRejected);
    }
    return this;
  }

  thenInvalid(path: string): this {
    const outcome = this.#outcome;
    const paths = outcome.kind === "invalid" ? outcome.issues.map((issue) => issue.path) : undefined;
    if (!paths?.includes(path)) {
      const place = path === "" ? "the whole value" : path;
      const message = `wanted ${place} not to fit its schema, but ${told(outcome)}`;
      throw failed(message, { actual: paths, expected: [path] }, this.thenInvalid);
    }
    return this;
  }
}

function run(aggregate: CompiledAggregate, state: unknown, happening: When<AnyAggregate>): Outcome {
  if (!("command" in happening)) return append(aggregate, state, "type" in happening ? [happening] : happening);
  const { command: name, context } = happening;
  const compiled = aggregate.commands.get(name);
  if (compiled === undefined) {
    const known = [...aggregate.commands.keys()].join(", ");
    throw failed(`${aggregate.name} has no command ${name}; known: ${known}`, {}, run);
  }
  const input = validated(() => compiled.validate(happening.input), `the input of ${aggregate.name}.${name}`);
  if (input.issues !== undefined) return { kind: "invalid", what: name, issues: input.issues, state };
  const decision = decide(aggregate, compiled, state, input.value, context);
  if (decision.kind === "rejected") return { ...decision, state };
  const outcome = append(aggregate, state, decision.events);
  if (outcome.kind !== "invalid") return outcome;
  // The caller's input was fine, so this can only be the decider's doing.
  throw failed(`the command ${aggregate.name}.${name} decided to what does not fit: ${told(outcome)}`, {}, run);
}

function decide(
  aggregate: CompiledAggregate,
  compiled: CompiledCommand,
  state: unknown,
  input: unknown,
  context: CommandContext,
) {
  const where = `the command ${aggregate.name}.${compiled.name}`;
  // The context too is handed over as a copy, for a decider that writes into it.
  return purely(where, [state, input, frozenCopy(context)], (s, i, c) =>
    compiled.decide(s, i, c as unknown as CommandContext),
  );
}

function append(
  aggregate: CompiledAggregate,
  before: unknown,
  events: readonly DecidedEvent[],
  payloadOf: typeof sentPayload = sentPayload,
): Outcome {
  let state = before;
  const accepted: DecidedEvent[] = [];
  for (const [index, sent] of events.entries()) {
    const { type } = sent;
    const event = eventNamed(aggregate, type);
    const path = `${aggregate.name}.${type}`;
    const payload = payloadOf(aggregate, event, sent);
    if (payload.issues !== undefined) return { kind: "invalid", what: type, issues: payload.issues, state: before };
    const folded = purely(
      `the fold of ${path}`,
      [state, payload.value],
      (s, p) => event.fold(s, p),
      (answer) => plain(answer, `the state after ${path}`),
    );
    state = frozenCopy(folded);
    const rule = purely(`an invariant of ${aggregate.name}`, [state], (s) => aggregate.brokenInvariant(s));
    if (rule !== undefined) return { kind: "broken", rule, event: type, index, state: before };
    accepted.push({ type, payload: payload.value });
  }
  return { kind: "accepted", events: accepted, state };
}

/** What is stored of an event that is sent now. */
function sentPayload(aggregate: CompiledAggregate, event: CompiledEvent, sent: DecidedEvent): Validated {
  return validated(() => event.validate(sent.payload), `the payload of ${aggregate.name}.${event.type}`);
}

/** The same of an event that happened before: it may be told as it was stored. */
function givenPayload(aggregate: CompiledAggregate, event: CompiledEvent, given: DecidedEvent): Validated {
  if (!("schemaVersion" in given)) return sentPayload(aggregate, event, given);
  return { issues: undefined, value: readStored(aggregate, given as StoredEvent<AnyAggregate>) };
}

/** Asks a schema; a value that fits comes back frozen. */
function validated(ask: () => Validated, what: string): Validated {
  let answer: Validated;
  try {
    answer = ask();
  } catch (error) {
    throw failed(`${what} could not be validated: ${described(error)}`, { cause: error }, validated);
  }
  if (answer.issues !== undefined) return answer;
  return { issues: undefined, value: frozenPlain(answer.value, what) };
}

/** What came of it, as the second half of a sentence. */
function told(outcome: Outcome): string {
  switch (outcome.kind) {
    case "accepted":
      return `it was accepted: ${shown(outcome.events)}`;
    case "rejected":
      return `it was rejected: ${outcome.code} ${shown(outcome.facts)}`;
    case "broken":
      return `event ${outcome.index} (${outcome.event}) breaks the rule "${outcome.rule}"`;
    case "invalid": {
      const issues = outcome.issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`));
      return `${outcome.what} does not fit its schema: ${issues.join("; ")}`;
    }
  }
}
