// Given / when / then: tests of an aggregate's rules, beside the code, without a node.
//
// Runs an aggregate the way a shard does: payloads are validated, folds run event by event, every invariant is asked
// after every event (P3), an append happens whole or not at all. Works in any test runner: a failed expectation is an
// AssertionError with `actual` and `expected`, and nothing is awaited.
//
// G1. Folds, rules and deciders get frozen values. One that changes what it is given fails the test.
// G2. Folds, rules and deciders run twice on equal arguments. One that answers differently fails the test.
// G3. States and payloads have to be plain data; anything that would not come back from a snapshot fails the test.
// Not promised: that every impure function is found. One that reads the clock twice within a millisecond is not.
import { AssertionError } from "node:assert";
import { inspect, isDeepStrictEqual } from "node:util";
import type { AnyAggregate, CommandContext, Schemas } from "@heddle/domain";
import {
  type CompiledAggregate,
  type CompiledCommand,
  compileAggregate,
  type DecidedEvent,
  describeThrown,
  type EventInputs,
  type EventOutputs,
  type InputOf,
  type TypesOf,
  type Validated,
} from "@heddle/domain/internal";
import { isHeddleError, type PayloadIssue, parseEntityId } from "@heddle/kernel";
import { frozenCopy, plainProblem, withoutUndefined } from "./plain-data.ts";

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
 * The events have to be possible: each must fit its schema and keep every invariant.
 */
export function given<G extends AnyAggregate>(aggregate: G, history: readonly GivenEvent<G>[] = []): Given<G> {
  const compiled = compileAggregate(aggregate);
  const initial = frozenCopy(plain(compiled.initial(), `the initial state of ${compiled.name}`));
  const before = append(compiled, initial, history);
  if (before.kind !== "accepted") {
    throw failed(`the given events cannot have happened: ${told(before)}`, {}, given);
  }
  return {
    when: (happening) => new Expectations(run(compiled, before.state, happening as When<AnyAggregate>)),
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

function append(aggregate: CompiledAggregate, before: unknown, events: readonly DecidedEvent[]): Outcome {
  let state = before;
  const accepted: DecidedEvent[] = [];
  for (const [index, { type, payload: sent }] of events.entries()) {
    const event = aggregate.events.get(type);
    if (event === undefined) {
      const known = [...aggregate.events.keys()].join(", ");
      throw failed(`${aggregate.name} has no event ${type}; known: ${known}`, {}, append);
    }
    const path = `${aggregate.name}.${type}`;
    const payload = validated(() => event.validate(sent), `the payload of ${path}`);
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

/** Asks a schema; a value that fits comes back frozen. */
function validated(ask: () => Validated, what: string): Validated {
  let answer: Validated;
  try {
    answer = ask();
  } catch (error) {
    throw failed(`${what} could not be validated: ${described(error)}`, { cause: error }, validated);
  }
  if (answer.issues !== undefined) return answer;
  return { issues: undefined, value: frozenCopy(plain(answer.value, what)) };
}

/**
 * Runs user code on frozen arguments, and again on copies that it could change: it must not throw, must not change
 * them, and must answer the same (G1, G2). The second run is what finds code in sloppy mode, where writing to something
 * frozen is silently ignored, and what is done to dates and bytes, which cannot be frozen. `check` sees the first
 * answer before the two are compared, because no two functions or promises are equal.
 */
function purely<const TArguments extends readonly unknown[], TAnswer>(
  where: string,
  frozen: TArguments,
  run: (...args: TArguments) => TAnswer,
  check: (answer: TAnswer) => void = () => {},
): TAnswer {
  const before = structuredClone(frozen);
  const copies = structuredClone(frozen) as TArguments;
  let answer: TAnswer;
  try {
    answer = run(...frozen);
  } catch (error) {
    if (throws(() => run(...copies))) throw failed(`${where} failed: ${described(error)}`, { cause: error }, purely);
    throw failed(`${where} ${changesItsArguments} (${described(error)})`, { cause: error }, purely);
  }
  check(answer);
  const again = run(...copies);
  for (const after of [frozen, copies]) {
    if (isDeepStrictEqual(after, before)) continue;
    throw failed(`${where} ${changesItsArguments}`, { actual: after, expected: before }, purely);
  }
  if (!isDeepStrictEqual(again, answer)) {
    throw failed(`${where} ${answersDifferently}`, { actual: again, expected: answer }, purely);
  }
  return answer;
}

const changesItsArguments = "is impure: it changes what it is given. Return a new value instead";
const answersDifferently =
  "is impure: it gives different answers to the same arguments. Replay must be able to repeat it; " +
  "take the time from a command's context, and ids from its input";

function throws(run: () => unknown): boolean {
  try {
    run();
    return false;
  } catch {
    return true;
  }
}

function plain<T>(value: T, what: string): T {
  const problem = plainProblem(value, what);
  if (problem === undefined) return value;
  const wanted = "wanted plain data: objects, lists, strings, numbers, booleans, null, dates and bytes";
  throw failed(`${problem}; ${wanted}`, {}, plain);
}

function expectEqual(actual: unknown, expected: unknown, message: string, caller: Caller): void {
  const [found, wanted] = [withoutUndefined(actual), withoutUndefined(expected)];
  if (isDeepStrictEqual(found, wanted)) return;
  const text = `${message}\n  wanted: ${shown(wanted)}\n  found:  ${shown(found)}`;
  throw failed(text, { actual: found, expected: wanted }, caller);
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

/** A HeddleError here is DOMAIN_FAILED: its message already says everything, in sentences for another reader. */
function described(error: unknown): string {
  return isHeddleError(error, "DOMAIN_FAILED") ? error.facts.message : describeThrown(error);
}

function shown(value: unknown): string {
  return inspect(value, { depth: 10, breakLength: 120, compact: 3 });
}

/** The function whose caller the error's stack begins with, so that a runner points at the line of the test. */
type Caller = (...args: never[]) => unknown;

function failed(
  message: string,
  facts: { readonly actual?: unknown; readonly expected?: unknown; readonly cause?: unknown },
  caller: Caller,
): AssertionError {
  const { cause, ...compared } = facts;
  const error = new AssertionError({ message, operator: "then", stackStartFn: caller, ...compared });
  if (cause !== undefined) error.cause = cause;
  return error;
}
