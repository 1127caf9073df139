// From what a user wrote to what a shard runs.
//
// Owns the checking of a domain module's shape: whatever comes out of compileContext is whole, so the hot path asks
// nothing again. A module in plain JavaScript, or from another copy of this package, gets the same checks.
//
// C1. Every name is unique where it must be, within its bound, and not one of Heddle's own (those begin with `$`); so are kinds.
// C2. Errors that user code throws in a schema, fold, rule, command or upcaster pass through untouched; the shard turns
//     them into DOMAIN_FAILED (`describeThrown`). Answers of the wrong shape are DOMAIN_FAILED here.
// C3. Nothing here allocates per event beyond what the schema and the fold allocate.
// C4. Every event can be read at every version from 1 to its newest: a missing upcaster is found here, not at the
//     thousandth event (upcasters.ts).
// Not promised: that folds are pure or states plain. The testkit's given/when/then looks for that.
import { type EntityId, HeddleError, isSystemEntity, kindOf, limits } from "@heddle/kernel";
import { isKind } from "@heddle/kernel/internal";
import { type Branded, isBranded } from "./brand.ts";
import { type CompiledProjection, compileProjections } from "./compile-projection.ts";
import { type CompiledSaga, RunnableSaga } from "./compile-saga.ts";
import type { AnyAggregate, CommandContext } from "./define-aggregate.ts";
import type { AnyContext } from "./define-context.ts";
import type { AnySaga } from "./define-saga.ts";
import { describeThrown } from "./describe-thrown.ts";
import { checkName, checkNotReserved, isObject, nameOf, type Refuse, shown, whatIs } from "./module-check.ts";
import { isUnwantedPromise } from "./promises.ts";
import { type StandardProps, type Validated, validate } from "./schema.ts";
import { type StoredType, unreadableTypes } from "./stored-types.ts";
import { checkUpcasters, Upcasters } from "./upcasters.ts";

export interface CompiledContext {
  readonly name: string;
  readonly aggregates: ReadonlyMap<string, CompiledAggregate>;
  /** In the order of the definition, without Heddle's own. */
  readonly aggregateNames: readonly string[];
  /** Sagas by name, in the order of the definition. */
  readonly sagas: ReadonlyMap<string, CompiledSaga>;
  /** Projections by name, in the order of the definition. */
  readonly projections: ReadonlyMap<string, CompiledProjection>;
  /** Kinds of entities that may begin, in the order of the definition; undefined where any may. */
  readonly kinds: readonly string[] | undefined;
  /**
   * To be asked where an entity would begin, and of no other: see `defineContext`. Heddle's own entities are of no declared
   * kind, and may. Errors: `UNKNOWN_KIND`.
   */
  checkKind(entity: string): void;
  /** The one aggregate that declares this event type; `undefined` when none or several do. */
  aggregateOfEvent(type: string): CompiledAggregate | undefined;
  /** The one aggregate that declares this command; `undefined` when none or several do. */
  aggregateOfCommand(name: string): CompiledAggregate | undefined;
  /** A sentence for each stored event type that this domain cannot read; empty when it can read all of them. */
  unreadable(stored: Iterable<StoredType>): string[];
}

export interface CompiledAggregate {
  /** Place in the context's list, from 0. */
  readonly index: number;
  readonly name: string;
  /** One of Heddle's own, for Heddle's own entities and nobody else's: its name begins with `$`. */
  readonly system: boolean;
  /** Of the fold. */
  readonly version: number;
  initial(): unknown;
  readonly events: ReadonlyMap<string, CompiledEvent>;
  readonly commands: ReadonlyMap<string, CompiledCommand>;
  /** In the order of the definition. */
  readonly invariantNames: readonly string[];
  /** The name of the first rule that does not hold, in the order of the definition. */
  brokenInvariant(state: unknown): string | undefined;
}

export interface CompiledEvent {
  readonly type: string;
  /** The newest, which is what is written. From 1 to 65,535. */
  readonly schemaVersion: number;
  validate(payload: unknown): Validated;
  /** `payload` is a validated value, or one that {@link upcast} gave. */
  fold(state: unknown, payload: unknown): unknown;
  /**
   * A stored payload in its newest shape. One of the newest version comes back as it is, at the cost of a comparison.
   * What an upcaster makes is not held against the schema: that describes what comes in, not what is stored.
   *
   * Errors: whatever an upcaster throws passes through. DOMAIN_FAILED when one answers with nothing or with a promise,
   *         and for a version that the event does not have ({@link CompiledContext.unreadable} tells before).
   */
  upcast(payload: unknown, fromVersion: number): unknown;
  /** One step of {@link upcast}: from `fromVersion`, which is older than the newest, to the one after. Errors as there. */
  upcastOnce(payload: unknown, fromVersion: number): unknown;
}

export interface CompiledCommand {
  readonly name: string;
  validate(input: unknown): Validated;
  /** `input` is a validated value. The payloads of decided events are not validated yet. */
  decide(state: unknown, input: unknown, context: CommandContext): Decision;
}

export interface DecidedEvent {
  readonly type: string;
  readonly payload: unknown;
}

export type Decision =
  | { readonly kind: "events"; readonly events: readonly DecidedEvent[] }
  | { readonly kind: "rejected"; readonly code: string; readonly facts: Readonly<Record<string, unknown>> };

/**
 * Checks a context and makes it ready to run.
 *
 * `module` names the origin in error messages; without it the context's own name does. `system` are Heddle's own
 * aggregates: they are compiled like the context's, and no name that a user gives leads to them.
 * Errors: DOMAIN_LOAD_FAILED, whose message says what is wrong and where.
 */
export function compileContext(
  context: AnyContext,
  module = nameOf(context),
  system: readonly AnyAggregate[] = [],
): CompiledContext {
  const refuse: Refuse = (message, cause) => {
    throw loadFailed(module, message, cause);
  };
  if (!isBranded(context, "context")) refuse(`wanted what defineContext returns, found ${whatIs(context)}`);
  if (typeof context.name !== "string" || !contextNamePattern.test(context.name)) {
    refuse(
      `the context's name must be letters, digits, _ and -, and begin with a letter; found ${shown(context.name)}`,
    );
  }
  checkName("the context's name", context.name, refuse);
  const definitions: readonly unknown[] = context.aggregates;
  if (!Array.isArray(definitions) || definitions.length === 0) {
    refuse(`context ${context.name}: aggregates must be a list of at least one, found ${whatIs(definitions)}`);
  }
  const aggregates = new Map<string, CompiledAggregate>();
  for (const [index, definition] of definitions.entries()) {
    const aggregate = compileOne(definition, index, refuse);
    if (aggregates.has(aggregate.name)) refuse(`two aggregates are named ${aggregate.name}`);
    aggregates.set(aggregate.name, aggregate);
  }
  for (const definition of system) {
    const aggregate = compileOne(definition, aggregates.size, refuse, true);
    aggregates.set(aggregate.name, aggregate);
  }
  const sagas = compileSagas(context.sagas, refuse);
  return new RunnableContext(
    context.name,
    aggregates,
    sagas,
    compileProjections(context.projections, aggregates, refuse),
    checkKinds(context.kinds, refuse),
  );
}

function checkKinds(kinds: unknown, refuse: Refuse): readonly string[] | undefined {
  if (kinds === undefined) return undefined;
  if (!Array.isArray(kinds) || kinds.length === 0) {
    refuse(`kinds must be a list of at least one, found ${whatIs(kinds)}; leave it out to have any kind`);
  }
  const checked: string[] = [];
  for (const [index, kind] of (kinds as readonly unknown[]).entries()) {
    checkName(`kinds[${index}]`, kind, refuse);
    if (!isKind(kind)) refuse(`kinds[${index}] must be a lower-case word such as account, found ${shown(kind)}`);
    if (checked.includes(kind)) refuse(`kinds names ${kind} twice`);
    checked.push(kind);
  }
  return checked;
}

function compileSagas(definitions: unknown, refuse: Refuse): ReadonlyMap<string, CompiledSaga> {
  const sagas = new Map<string, CompiledSaga>();
  // A context from a copy of this package that knew no sagas has no such list.
  if (definitions === undefined) return sagas;
  if (!Array.isArray(definitions)) refuse(`sagas must be a list, found ${whatIs(definitions)}`);
  for (const [index, definition] of (definitions as readonly unknown[]).entries()) {
    const { standard, run } = checkMade(`sagas[${index}]`, definition, "saga", refuse);
    const { name } = definition as AnySaga;
    checkName(`the name of sagas[${index}]`, name, refuse);
    checkNotReserved(`the name of sagas[${index}]`, name, refuse);
    if (sagas.has(name)) refuse(`two sagas are named ${name}`);
    sagas.set(name, new RunnableSaga(definition as AnySaga, standard, run as (input: unknown) => unknown));
  }
  return sagas;
}

/** Compiles one aggregate by itself, for tests of a single aggregate. Errors as {@link compileContext}. */
export function compileAggregate(aggregate: AnyAggregate): CompiledAggregate {
  return compileOne(aggregate, 0, (message, cause) => {
    throw loadFailed(nameOf(aggregate), message, cause);
  });
}

export function loadFailed(module: string, message: string, cause?: unknown): HeddleError<"DOMAIN_LOAD_FAILED"> {
  return new HeddleError("DOMAIN_LOAD_FAILED", { module, message }, cause === undefined ? {} : { cause });
}

type Fold = (state: unknown, payload: unknown) => unknown;
type Decide = (state: unknown, input: unknown, context: CommandContext) => unknown;
type Rule = (state: unknown) => unknown;

function compileOne(aggregate: unknown, index: number, refuse: Refuse, system = false): CompiledAggregate {
  if (!isBranded(aggregate, "aggregate")) {
    refuse(`aggregates[${index}]: wanted what defineAggregate returns, found ${whatIs(aggregate)}`);
  }
  const { name, definition } = aggregate as { readonly name: unknown; readonly definition: unknown };
  checkName(`the name of aggregates[${index}]`, name, refuse);
  if (!system) checkNotReserved(`the name of aggregates[${index}]`, name, refuse);
  if (!isObject(definition)) refuse(`aggregate ${name}: wanted a definition, found ${whatIs(definition)}`);
  const { version, initial } = definition;
  if (!Number.isSafeInteger(version) || (version as number) < 1) {
    refuse(`aggregate ${name}: version must be a whole number from 1, found ${shown(version)}`);
  }
  checkInitial(name, initial, refuse);
  const events = new Map<string, CompiledEvent>();
  for (const [type, made] of entriesOf(`${name}.events`, definition["events"], refuse)) {
    checkNotReserved(`a name in ${name}.events`, type, refuse);
    const path = `${name}.${type}`;
    const { standard, run, options } = checkMade(`event ${path}`, made, "event", refuse);
    const upcasters = new Upcasters(path, checkUpcasters(path, options, refuse));
    events.set(type, new RunnableEvent(path, type, standard, run as Fold, upcasters));
  }
  if (events.size === 0) refuse(`aggregate ${name} has no events`);
  const commands = new Map<string, CompiledCommand>();
  for (const [command, made] of entriesOf(`${name}.commands`, definition["commands"] ?? {}, refuse)) {
    checkNotReserved(`a name in ${name}.commands`, command, refuse);
    const { standard, run } = checkMade(`command ${name}.${command}`, made, "command", refuse);
    commands.set(command, new RunnableCommand(`${name}.${command}`, command, standard, run as Decide, events));
  }
  const rules = entriesOf(`${name}.invariants`, definition["invariants"] ?? {}, refuse);
  for (const [rule, holds] of rules) {
    if (typeof holds !== "function") {
      refuse(`the invariant ${shown(rule)} of ${name} must be a function, found ${whatIs(holds)}`);
    }
  }
  return new RunnableAggregate({
    index,
    name,
    system,
    version: version as number,
    initial: initial as () => unknown,
    events,
    commands,
    rules: rules as readonly (readonly [string, Rule])[],
  });
}

function checkInitial(aggregate: string, initial: unknown, refuse: Refuse): void {
  if (typeof initial !== "function")
    refuse(`aggregate ${aggregate}: initial must be a function, found ${whatIs(initial)}`);
  let state: unknown;
  try {
    state = initial();
  } catch (error) {
    refuse(`initial of ${aggregate} threw: ${describeThrown(error)}`, error);
  }
  // Both would come back from a snapshot as something else: nothing, and an empty object.
  if (state === undefined || typeof state === "function" || isUnwantedPromise(state)) {
    refuse(`initial of ${aggregate} must return the first state, found ${whatIs(state)}`);
  }
}

function checkMade(
  where: string,
  made: unknown,
  wanted: Branded & ("event" | "command" | "saga"),
  refuse: Refuse,
): { readonly standard: StandardProps; readonly run: unknown; readonly options: unknown } {
  if (!isBranded(made, wanted)) {
    refuse(
      `${where}: wanted what ${wanted === "saga" ? "defineSaga" : `${wanted}(schema, …)`} returns, found ${whatIs(made)}`,
    );
  }
  const { schema, run, options } = made as {
    readonly schema: unknown;
    readonly run: unknown;
    readonly options?: unknown;
  };
  const standard = standardOf(schema);
  if (standard === undefined) {
    refuse(`${where}: the schema must be a Standard Schema (zod, valibot, arktype, …), found ${whatIs(schema)}`);
  }
  if (typeof run !== "function") {
    refuse(`${where}: the ${runs[wanted]} must be a function, found ${whatIs(run)}`);
  }
  return { standard, run, options };
}

const runs = { event: "fold", command: "decider", saga: "steps" } as const;

function standardOf(schema: unknown): StandardProps | undefined {
  if (schema === null || (typeof schema !== "object" && typeof schema !== "function")) return undefined;
  // Kept, because in some libraries the property is a getter that makes a new object at every access.
  const standard = (schema as { readonly "~standard"?: unknown })["~standard"];
  if (!isObject(standard) || standard["version"] !== 1 || typeof standard["validate"] !== "function") return undefined;
  return standard as unknown as StandardProps;
}

function entriesOf(where: string, record: unknown, refuse: Refuse): readonly (readonly [string, unknown])[] {
  if (!isObject(record) || Array.isArray(record)) refuse(`${where} must be an object, found ${whatIs(record)}`);
  const entries = Object.entries(record);
  for (const [name] of entries) checkName(`a name in ${where}`, name, refuse);
  return entries;
}

/** Narrower than other names: a context's name becomes part of addresses and subjects. */
const contextNamePattern = /^[A-Za-z][A-Za-z0-9_-]*$/;

class RunnableContext implements CompiledContext {
  readonly name: string;
  readonly aggregates: ReadonlyMap<string, CompiledAggregate>;
  readonly aggregateNames: readonly string[];
  readonly sagas: ReadonlyMap<string, CompiledSaga>;
  readonly projections: ReadonlyMap<string, CompiledProjection>;
  readonly kinds: readonly string[] | undefined;
  readonly #beginnings: readonly string[] | undefined;
  readonly #byEvent: ReadonlyMap<string, CompiledAggregate | undefined>;
  readonly #byCommand: ReadonlyMap<string, CompiledAggregate | undefined>;

  constructor(
    name: string,
    aggregates: ReadonlyMap<string, CompiledAggregate>,
    sagas: ReadonlyMap<string, CompiledSaga>,
    projections: ReadonlyMap<string, CompiledProjection>,
    kinds: readonly string[] | undefined,
  ) {
    this.name = name;
    this.aggregates = aggregates;
    this.sagas = sagas;
    this.projections = projections;
    this.kinds = kinds;
    this.#beginnings = kinds?.map((kind) => `${kind}/`);
    const own = [...aggregates.values()].filter((aggregate) => !aggregate.system);
    this.aggregateNames = own.map((aggregate) => aggregate.name);
    this.#byEvent = byUniqueName(own, (aggregate) => aggregate.events.keys());
    this.#byCommand = byUniqueName(own, (aggregate) => aggregate.commands.keys());
  }

  aggregateOfEvent(type: string): CompiledAggregate | undefined {
    return this.#byEvent.get(type);
  }

  aggregateOfCommand(name: string): CompiledAggregate | undefined {
    return this.#byCommand.get(name);
  }

  checkKind(entity: string): void {
    const beginnings = this.#beginnings;
    if (beginnings === undefined || isSystemEntity(entity)) return;
    for (let i = 0; i < beginnings.length; i++) if (entity.startsWith(beginnings[i]!)) return;
    throw new HeddleError("UNKNOWN_KIND", { entity, kind: kindOf(entity as EntityId), known: this.kinds! });
  }

  unreadable(stored: Iterable<StoredType>): string[] {
    return unreadableTypes(this.aggregates, stored);
  }
}

/** A name that several aggregates declare stays in the map, as nobody's. */
function byUniqueName(
  aggregates: readonly CompiledAggregate[],
  namesOf: (aggregate: CompiledAggregate) => Iterable<string>,
): ReadonlyMap<string, CompiledAggregate | undefined> {
  const owners = new Map<string, CompiledAggregate | undefined>();
  for (const aggregate of aggregates) {
    for (const name of namesOf(aggregate)) owners.set(name, owners.has(name) ? undefined : aggregate);
  }
  return owners;
}

class RunnableAggregate implements CompiledAggregate {
  readonly index: number;
  readonly name: string;
  readonly system: boolean;
  readonly version: number;
  readonly initial: () => unknown;
  readonly events: ReadonlyMap<string, CompiledEvent>;
  readonly commands: ReadonlyMap<string, CompiledCommand>;
  readonly invariantNames: readonly string[];
  readonly #rules: readonly Rule[];

  constructor(parts: {
    readonly index: number;
    readonly name: string;
    readonly system: boolean;
    readonly version: number;
    readonly initial: () => unknown;
    readonly events: ReadonlyMap<string, CompiledEvent>;
    readonly commands: ReadonlyMap<string, CompiledCommand>;
    readonly rules: readonly (readonly [string, Rule])[];
  }) {
    this.index = parts.index;
    this.name = parts.name;
    this.system = parts.system;
    this.version = parts.version;
    this.initial = parts.initial;
    this.events = parts.events;
    this.commands = parts.commands;
    this.invariantNames = parts.rules.map(([name]) => name);
    this.#rules = parts.rules.map(([, holds]) => holds);
  }

  brokenInvariant(state: unknown): string | undefined {
    for (let i = 0; i < this.#rules.length; i++) {
      const holds = this.#rules[i]!(state);
      // Exactly true: an asynchronous rule returns a promise, which is truthy and has decided nothing.
      if (holds !== true) {
        isUnwantedPromise(holds);
        return this.invariantNames[i];
      }
    }
    return undefined;
  }
}

class RunnableEvent implements CompiledEvent {
  readonly type: string;
  readonly schemaVersion: number;
  readonly fold: Fold;
  readonly #where: string;
  readonly #standard: StandardProps;
  readonly #upcasters: Upcasters;

  constructor(path: string, type: string, standard: StandardProps, fold: Fold, upcasters: Upcasters) {
    this.type = type;
    this.schemaVersion = upcasters.newest;
    this.fold = fold;
    this.#where = `the schema of event ${path}`;
    this.#standard = standard;
    this.#upcasters = upcasters;
  }

  validate(payload: unknown): Validated {
    return validate(this.#standard, payload, this.#where);
  }

  upcast(payload: unknown, fromVersion: number): unknown {
    return fromVersion === this.schemaVersion ? payload : this.#upcasters.toNewest(payload, fromVersion);
  }

  upcastOnce(payload: unknown, fromVersion: number): unknown {
    return this.#upcasters.once(payload, fromVersion);
  }
}

class RunnableCommand implements CompiledCommand {
  readonly name: string;
  readonly #path: string;
  readonly #where: string;
  readonly #standard: StandardProps;
  readonly #decide: Decide;
  readonly #events: ReadonlyMap<string, CompiledEvent>;

  constructor(
    path: string,
    name: string,
    standard: StandardProps,
    decide: Decide,
    events: ReadonlyMap<string, CompiledEvent>,
  ) {
    this.name = name;
    this.#path = path;
    this.#where = `the schema of command ${path}`;
    this.#standard = standard;
    this.#decide = decide;
    this.#events = events;
  }

  validate(input: unknown): Validated {
    return validate(this.#standard, input, this.#where);
  }

  decide(state: unknown, input: unknown, context: CommandContext): Decision {
    const decide = this.#decide;
    const decided = decide(state, input, context);
    if (!isObject(decided)) this.#fail(`it returned ${whatIs(decided)}, ${wantedDecision}`);
    if (Array.isArray(decided)) return { kind: "events", events: this.#checkEvents(decided) };
    if (decided["kind"] === "rejected") return this.#checkRejection(decided);
    return { kind: "events", events: [this.#checkEvent(decided)] };
  }

  #checkEvents(decided: readonly unknown[]): readonly DecidedEvent[] {
    if (decided.length === 0) this.#fail(`it returned an empty array, ${wantedDecision}`);
    if (decided.length > limits.appendEventsMax) {
      this.#fail(`it returned ${decided.length} events, at most ${limits.appendEventsMax} are allowed`);
    }
    for (const event of decided) this.#checkEvent(event);
    return decided as readonly DecidedEvent[];
  }

  #checkEvent(decided: unknown): DecidedEvent {
    if (!isObject(decided) || typeof decided["type"] !== "string") {
      isUnwantedPromise(decided);
      this.#fail(`it returned ${whatIs(decided)}, ${wantedDecision}`);
    }
    if (!this.#events.has(decided["type"])) {
      const known = [...this.#events.keys()].join(", ");
      this.#fail(`it returned the event ${shown(decided["type"])}, which the aggregate does not have; known: ${known}`);
    }
    return decided as unknown as DecidedEvent;
  }

  #checkRejection(decided: Readonly<Record<string, unknown>>): Decision {
    if (typeof decided["code"] !== "string" || decided["code"] === "") {
      this.#fail(`it rejected with the code ${shown(decided["code"])}, wanted a word such as INSUFFICIENT_FUNDS`);
    }
    if (!isObject(decided["facts"]))
      this.#fail(`it rejected with ${whatIs(decided["facts"])} as facts, wanted an object`);
    return decided as unknown as Decision;
  }

  #fail(message: string): never {
    throw new HeddleError("DOMAIN_FAILED", { where: `command ${this.#path}`, message });
  }
}

const wantedDecision = "wanted an event { type, payload }, an array of at least one, or reject(code, facts)";
