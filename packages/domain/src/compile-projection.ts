// From a projection as a user defined it to one that a track runs.
//
// Owns the checks of a definition, and of every row and key that its functions give.
//
// K1. What `apply` and `keysOf` give is whole: every column is there, of its type, and the key is the one that was asked for.
// K2. Errors that user code throws pass through untouched; answers of the wrong shape are DOMAIN_FAILED here.
// K3. Nothing is allocated for an event whose function gives a whole row, beyond what the function allocates.
import { HeddleError } from "@heddle/kernel";
import { isBranded } from "./brand.ts";
import type { AnyAggregate } from "./define-aggregate.ts";
import type { AnyProjection, ColumnBase, Json, ProjectionEvent } from "./define-projection.ts";
import { checkName, checkNotReserved, isObject, type Refuse, shown, whatIs } from "./module-check.ts";
import { columnTypes, fitsNowhere, isReservedWord, jsonProblem, valueProblem } from "./projection-values.ts";
import { isUnwantedPromise } from "./promises.ts";

/** What a column of a row holds, whatever the sink: `json` as it is, `boolean` as true or false, `time` in milliseconds. */
export type ColumnValue = Json;

/** A whole row: every column is there, in no particular order. */
export type Row = Readonly<Record<string, ColumnValue>>;

/** Values of the key's columns, in the order of `key`. None is null or json. */
export type RowKey = readonly (string | number | boolean)[];

export interface KeyedRow {
  /** Tells rows of one projection apart: the text of a key of one text column, and JSON of other keys. */
  readonly id: string;
  readonly key: RowKey;
}

export interface CompiledColumn {
  readonly name: string;
  readonly type: ColumnBase;
  readonly nullable: boolean;
}

/** The function of one event type. */
export type RowFunction = (row: Row | undefined, event: ProjectionEvent, key?: Row) => unknown;

export interface CompiledProjection {
  readonly name: string;
  readonly version: number;
  readonly table: string;
  readonly collection: string;
  readonly sagas: "live" | "settled";
  readonly columns: readonly CompiledColumn[];
  /** The columns of the key, in its order. */
  readonly key: readonly CompiledColumn[];
  /** Names of columns. */
  readonly indexes: readonly (readonly string[])[];
  /** Rows are those whose key is the entity's id: no row is ever written by two entities. */
  readonly ownKey: boolean;
  /** All that a stored table depends on, as JSON: tells whether a table was made by another definition. */
  readonly shape: string;
  /** By event type, for an aggregate that matters; undefined for others. */
  functionsOf(aggregate: string): ReadonlyMap<string, RowFunction> | undefined;
  /** The rows that an event is about. Errors: `DOMAIN_FAILED` for what is no key. What the function throws passes through. */
  keysOf(event: ProjectionEvent): readonly KeyedRow[];
  /**
   * The row that an event makes of a row: null when it is to go, `row` itself when nothing changes.
   * Errors: `DOMAIN_FAILED` for what is no row, or one with another key. What the function throws passes through.
   */
  apply(run: RowFunction, row: Row | undefined, event: ProjectionEvent, key: RowKey): Row | null;
  /** A key by its values, as `keyOf` may give them. Errors: `DOMAIN_FAILED`. */
  keyFrom(values: unknown): KeyedRow;
}

/** Most of them keep well below; a store with smaller bounds is not refused by them. */
const columnsMax = 200;
const indexesMax = 32;
/** Rows that one event may be about. */
const keysMax = 1_000;
/** Characters of a key: it becomes a part of index entries, and a document's id. */
const keyCharactersMax = 1_024;
/** Characters of a row, about: a document of MongoDB takes 16 MiB, and so does a frame. */
const rowCharactersMax = 2 << 20;

type KnownAggregates = ReadonlyMap<string, { readonly system: boolean; readonly events: ReadonlyMap<string, unknown> }>;
type KeyOf = (event: ProjectionEvent) => unknown;

/** Compiles the projections of a context whose aggregates are compiled. */
export function compileProjections(
  definitions: unknown,
  aggregates: KnownAggregates,
  refuse: Refuse,
): ReadonlyMap<string, CompiledProjection> {
  const projections = new Map<string, CompiledProjection>();
  // A context from a copy of this package that knew no projections has no such list.
  if (definitions === undefined) return projections;
  if (!Array.isArray(definitions)) refuse(`projections must be a list, found ${whatIs(definitions)}`);
  const tables = new Map<string, string>();
  const collections = new Map<string, string>();
  for (const [index, made] of (definitions as readonly unknown[]).entries()) {
    const projection = compileOne(made, `projections[${index}]`, aggregates, refuse);
    const { name, table, collection } = projection;
    if (projections.has(name)) refuse(`two projections are named ${name}`);
    // SQL does not tell upper from lower case.
    const sameTable = tables.get(table.toLowerCase());
    if (sameTable !== undefined) refuse(`the projections ${sameTable} and ${name} have the same table, ${table}`);
    const sameCollection = collections.get(collection);
    if (sameCollection !== undefined) {
      refuse(`the projections ${sameCollection} and ${name} have the same collection, ${collection}`);
    }
    projections.set(name, projection);
    tables.set(table.toLowerCase(), name);
    collections.set(collection, name);
  }
  return projections;
}

/** The aggregates that a projection names; none for what is no projection. */
export function aggregatesOf(projection: AnyProjection): readonly AnyAggregate[] {
  const { definition } = projection as { readonly definition?: unknown };
  const from = isObject(definition) ? definition["from"] : undefined;
  return Array.isArray(from) ? (from as readonly AnyAggregate[]) : [];
}

const tablePattern = /^[A-Za-z][A-Za-z0-9_]{0,62}$/;
const collectionPattern = /^[A-Za-z][A-Za-z0-9_.-]{0,62}$/;
const namePattern = /^[A-Za-z][A-Za-z0-9_-]*$/;

function compileOne(made: unknown, place: string, aggregates: KnownAggregates, refuse: Refuse): CompiledProjection {
  if (!isBranded(made, "projection")) refuse(`${place}: wanted what defineProjection returns, found ${whatIs(made)}`);
  const { name, definition } = made as { readonly name: unknown; readonly definition: unknown };
  checkName(`the name of ${place}`, name, refuse);
  checkNotReserved(`the name of ${place}`, name, refuse);
  if (!namePattern.test(name)) {
    refuse(`the name of ${place} must be letters, digits, _ and -, and begin with a letter; found ${shown(name)}`);
  }
  const where = `projection ${name}`;
  const no: Refuse = (message, cause) => refuse(`${where}: ${message}`, cause);
  if (!isObject(definition)) no(`wanted a definition, found ${whatIs(definition)}`);
  const known = ["version", "from", "columns", "key", "indexes", "table", "collection", "sagas", "keyOf", "on"];
  for (const part of Object.keys(definition)) {
    if (!known.includes(part)) no(`there is no ${shown(part)}; known: ${known.join(", ")}`);
  }
  const { version, sagas = "live", keyOf } = definition;
  if (!Number.isSafeInteger(version) || (version as number) < 1) {
    no(`version must be a whole number from 1, found ${shown(version)}`);
  }
  if (sagas !== "live" && sagas !== "settled") no(`sagas must be "live" or "settled", found ${shown(sagas)}`);
  if (keyOf !== undefined && typeof keyOf !== "function") no(`keyOf must be a function, found ${whatIs(keyOf)}`);
  const columns = compileColumns(definition["columns"], no);
  const key = compileKey(definition["key"], columns, no);
  const table = checkTable(definition["table"], name, no);
  const collection = checkCollection(definition["collection"], name, no);
  const ownKey = keyOf === undefined;
  if (ownKey && (key.length !== 1 || key[0]!.type !== "text")) {
    no(
      "without keyOf a row's key is the entity's id, so the key must be one column of type text; give keyOf otherwise",
    );
  }
  const functions = compileFunctions(definition["from"], definition["on"], aggregates, no);
  const indexes = compileIndexes(definition["indexes"], columns, no);
  const shape = JSON.stringify({
    columns: Object.fromEntries(columns.map(({ name, type, nullable }) => [name, nullable ? `${type}?` : type])),
    key: key.map(({ name }) => name),
    indexes,
    table,
    collection,
    sagas,
    keyOf: !ownKey,
    on: [...functions]
      .flatMap(([aggregate, byType]) => [...byType.keys()].map((type) => `${aggregate}.${type}`))
      .sort(),
  });
  return new RunnableProjection({
    name,
    version: version as number,
    table,
    collection,
    sagas,
    columns,
    key,
    indexes,
    shape,
    functions,
    keyOf: keyOf as KeyOf | undefined,
  });
}

function compileColumns(found: unknown, refuse: Refuse): readonly CompiledColumn[] {
  if (!isObject(found) || Array.isArray(found)) {
    refuse(`columns must be an object such as { account: "text" }, found ${whatIs(found)}`);
  }
  const entries = Object.entries(found);
  if (entries.length === 0) refuse("there are no columns");
  if (entries.length > columnsMax) refuse(`it has ${entries.length} columns, at most ${columnsMax} are allowed`);
  const seen = new Set<string>();
  return entries.map(([name, type]) => {
    checkIdentifier("a column", name, refuse);
    if (seen.has(name.toLowerCase())) refuse(`two columns are named ${name}; SQL does not tell upper from lower case`);
    seen.add(name.toLowerCase());
    const nullable = typeof type === "string" && type.endsWith("?");
    const base = nullable ? (type as string).slice(0, -1) : type;
    if (!(columnTypes as readonly unknown[]).includes(base)) {
      refuse(
        `column ${name} must be one of ${columnTypes.join(", ")}, with a ? where null is allowed; found ${shown(type)}`,
      );
    }
    return { name, type: base as ColumnBase, nullable };
  });
}

function checkIdentifier(what: string, name: string, refuse: Refuse): void {
  if (!tablePattern.test(name)) {
    refuse(
      `the name of ${what} must be letters, digits and _, at most 63, and begin with a letter; found ${shown(name)}`,
    );
  }
  if (/^(heddle|sqlite)_/i.test(name)) refuse(`the name of ${what} begins with heddle_ or sqlite_: ${shown(name)}`);
  if (isReservedWord(name)) refuse(`the name of ${what} is a word of SQL: ${shown(name)}`);
}

function compileKey(found: unknown, columns: readonly CompiledColumn[], refuse: Refuse): readonly CompiledColumn[] {
  if (!Array.isArray(found) || found.length === 0) {
    refuse(`key must be a list of at least one column, found ${whatIs(found)}`);
  }
  const key = (found as readonly unknown[]).map((name) => columnNamed("key", name, columns, refuse));
  if (new Set(key).size !== key.length) refuse("the key has a column twice");
  for (const { name, type, nullable } of key) {
    if (nullable) refuse(`column ${name} belongs to the key, so it cannot be null`);
    if (type === "json" || type === "real") refuse(`column ${name} is ${type}: it cannot belong to the key`);
  }
  return key;
}

function compileIndexes(
  found: unknown,
  columns: readonly CompiledColumn[],
  refuse: Refuse,
): readonly (readonly string[])[] {
  if (found === undefined) return [];
  if (!Array.isArray(found) || found.length > indexesMax) {
    refuse(`indexes must be a list of at most ${indexesMax} lists of columns, found ${whatIs(found)}`);
  }
  const seen = new Set<string>();
  return (found as readonly unknown[]).map((index) => {
    if (!Array.isArray(index) || index.length === 0) {
      refuse(`an index must be a list of columns such as ["balance"], found ${whatIs(index)}`);
    }
    const names = (index as readonly unknown[]).map((name) => {
      const column = columnNamed("an index", name, columns, refuse);
      if (column.type === "json") refuse(`column ${column.name} is json: it cannot belong to an index`);
      return column.name;
    });
    if (new Set(names).size !== names.length) refuse(`the index ${names.join(", ")} has a column twice`);
    if (seen.has(names.join())) refuse(`two indexes are over ${names.join(", ")}`);
    seen.add(names.join());
    return names;
  });
}

function columnNamed(where: string, name: unknown, columns: readonly CompiledColumn[], refuse: Refuse): CompiledColumn {
  const column = columns.find((one) => one.name === name);
  if (column !== undefined) return column;
  return refuse(
    `${where} names ${shown(name)}, which is no column; known: ${columns.map((one) => one.name).join(", ")}`,
  );
}

function checkTable(found: unknown, name: string, refuse: Refuse): string {
  const table = found ?? name;
  if (typeof table !== "string") refuse(`table must be a string, found ${whatIs(table)}`);
  checkIdentifier(found === undefined ? "its table, which is its own," : "its table", table, refuse);
  return table;
}

function checkCollection(found: unknown, name: string, refuse: Refuse): string {
  const collection = found ?? name;
  if (typeof collection !== "string") refuse(`collection must be a string, found ${whatIs(collection)}`);
  if (!collectionPattern.test(collection) || /^(heddle_|system\.)/i.test(collection) || collection.endsWith(".")) {
    refuse(
      `the name of its collection must be letters, digits, _, . and -, begin with a letter, and not with heddle_ or system.; found ${shown(collection)}`,
    );
  }
  return collection;
}

function compileFunctions(
  from: unknown,
  on: unknown,
  aggregates: KnownAggregates,
  refuse: Refuse,
): ReadonlyMap<string, ReadonlyMap<string, RowFunction>> {
  if (!Array.isArray(from) || from.length === 0) {
    refuse(`from must be a list of at least one aggregate, found ${whatIs(from)}`);
  }
  if (!isObject(on) || Array.isArray(on))
    refuse(`on must be an object of functions by event type, found ${whatIs(on)}`);
  const types = Object.entries(on).filter(([, run]) => run !== undefined);
  if (types.length === 0) refuse("on names no event");
  const functions = new Map<string, Map<string, RowFunction>>();
  for (const [at, made] of (from as readonly unknown[]).entries()) {
    if (!isBranded(made, "aggregate")) {
      refuse(`from[${at}]: wanted what defineAggregate returns, found ${whatIs(made)}`);
    }
    const { name } = made as AnyAggregate;
    const aggregate = aggregates.get(name);
    if (aggregate === undefined || aggregate.system) refuse(`the context has no aggregate ${shown(name)}`);
    if (functions.has(name)) refuse(`from names ${name} twice`);
    const byType = types.filter(([type]) => aggregate.events.has(type));
    functions.set(name, new Map(byType as [string, RowFunction][]));
  }
  for (const [type, run] of types) {
    if (typeof run !== "function") refuse(`on.${type} must be a function, found ${whatIs(run)}`);
    if (![...functions.values()].some((byType) => byType.has(type))) {
      refuse(`on names the event ${shown(type)}, which none of ${[...functions.keys()].join(", ")} has`);
    }
  }
  for (const [name, byType] of functions) {
    if (byType.size === 0) refuse(`from names ${name}, but on names none of its events`);
  }
  return functions;
}

interface Parts {
  readonly name: string;
  readonly version: number;
  readonly table: string;
  readonly collection: string;
  readonly sagas: "live" | "settled";
  readonly columns: readonly CompiledColumn[];
  readonly key: readonly CompiledColumn[];
  readonly indexes: readonly (readonly string[])[];
  readonly shape: string;
  readonly functions: ReadonlyMap<string, ReadonlyMap<string, RowFunction>>;
  readonly keyOf: KeyOf | undefined;
}

class RunnableProjection implements CompiledProjection {
  readonly name: string;
  readonly version: number;
  readonly table: string;
  readonly collection: string;
  readonly sagas: "live" | "settled";
  readonly columns: readonly CompiledColumn[];
  readonly key: readonly CompiledColumn[];
  readonly indexes: readonly (readonly string[])[];
  readonly ownKey: boolean;
  readonly shape: string;
  readonly #functions: ReadonlyMap<string, ReadonlyMap<string, RowFunction>>;
  readonly #keyOf: KeyOf | undefined;
  /** Whether a key's text is its id. */
  readonly #plainKey: boolean;

  constructor(parts: Parts) {
    this.name = parts.name;
    this.version = parts.version;
    this.table = parts.table;
    this.collection = parts.collection;
    this.sagas = parts.sagas;
    this.columns = parts.columns;
    this.key = parts.key;
    this.indexes = parts.indexes;
    this.ownKey = parts.keyOf === undefined;
    this.shape = parts.shape;
    this.#functions = parts.functions;
    this.#keyOf = parts.keyOf;
    this.#plainKey = parts.key.length === 1 && parts.key[0]!.type === "text";
  }

  functionsOf(aggregate: string): ReadonlyMap<string, RowFunction> | undefined {
    return this.#functions.get(aggregate);
  }

  keysOf(event: ProjectionEvent): readonly KeyedRow[] {
    const keyOf = this.#keyOf;
    if (keyOf === undefined) return [{ id: event.entity, key: [event.entity] }];
    const found = keyOf(event);
    if (found === null) return [];
    if (!Array.isArray(found)) return [this.keyFrom(found)];
    if (found.length > keysMax) this.#fail(`keyOf gave ${found.length} keys, at most ${keysMax} are allowed`);
    const keys = found.map((one) => this.keyFrom(one));
    if (keys.length < 2) return keys;
    const seen = new Set(keys.map(({ id }) => id));
    // The same row twice would get the event twice.
    if (seen.size !== keys.length) this.#fail("keyOf gave the same key twice");
    return keys;
  }

  keyFrom(found: unknown): KeyedRow {
    if (isUnwantedPromise(found)) this.#fail("keyOf gave a promise, wanted a key");
    const isWhole = isObject(found) && !Array.isArray(found);
    if (!isWhole && this.key.length > 1) {
      this.#fail(`keyOf gave ${whatIs(found)}, wanted an object with ${this.key.map(({ name }) => name).join(", ")}`);
    }
    if (isWhole) {
      for (const name of Object.keys(found)) {
        if (!this.key.some((column) => column.name === name))
          this.#fail(`keyOf gave ${shown(name)}, which is not of the key`);
      }
    }
    const key = this.key.map((column) => {
      const value = isWhole ? found[column.name] : found;
      const problem = valueProblem(column.type, value);
      if (problem !== undefined) this.#fail(`the key's ${column.name}: ${problem}`);
      return (value === 0 ? 0 : value) as string | number | boolean;
    });
    let characters = 0;
    for (const value of key) if (typeof value === "string") characters += value.length;
    if (characters > keyCharactersMax) {
      this.#fail(`a key of ${characters} characters, at most ${keyCharactersMax} are allowed`);
    }
    return { id: this.#plainKey ? (key[0] as string) : JSON.stringify(key), key };
  }

  apply(run: RowFunction, row: Row | undefined, event: ProjectionEvent, key: RowKey): Row | null {
    // An object for the key only where the function asks for it.
    const made = run.length < 3 ? run(row, event) : run(row, event, this.#keyAsRow(key));
    if (made === null) return null;
    if (made === row && row !== undefined) return row;
    if (!isObject(made) || Array.isArray(made) || made instanceof Promise) {
      const isPromise = isUnwantedPromise(made);
      this.#fail(`it gave ${isPromise ? "a promise" : whatIs(made)}, wanted a row, or null for none`, event);
    }
    return this.#check(made, event, key);
  }

  #keyAsRow(key: RowKey): Row {
    return Object.fromEntries(this.key.map(({ name }, i) => [name, key[i]!]));
  }

  // The very object that the function made, unless something has to be filled in.
  #check(made: Readonly<Record<string, unknown>>, event: ProjectionEvent, key: RowKey): Row {
    const { columns } = this;
    let isWhole = true;
    let characters = 0;
    for (let i = 0; i < columns.length; i++) {
      const { name, type, nullable } = columns[i]!;
      const value = made[name];
      if (typeof value === "number" && type !== "text" && type !== "boolean" && type !== "json") {
        if (type === "real" ? !Number.isFinite(value) : !Number.isSafeInteger(value))
          this.#failColumn(name, type, value, event);
        if (value === 0 && Object.is(value, -0)) isWhole = false;
      } else if (value === null || value === undefined) {
        if (!nullable) this.#failColumn(name, type, value, event);
        if (value === undefined) isWhole = false;
      } else if (type === "json") {
        const problem = jsonProblem(value);
        if (typeof problem === "string") this.#fail(`column ${name}: ${problem}`, event);
        characters += problem;
      } else if (typeof value === "string" && type === "text") {
        if (fitsNowhere(value)) this.#failColumn(name, type, value, event);
        characters += value.length;
      } else if (typeof value !== "boolean" || type !== "boolean") this.#failColumn(name, type, value, event);
    }
    let found = 0;
    for (const name in made) {
      found++;
      if (found > columns.length || !columns.some((column) => column.name === name)) {
        const known = columns.map((column) => column.name).join(", ");
        this.#fail(`it gave ${shown(name)}, which is no column; known: ${known}`, event);
      }
    }
    if (characters > rowCharactersMax) {
      this.#fail(`it gave a row of ${characters} characters, at most ${rowCharactersMax} are allowed`, event);
    }
    const row = isWhole && found === columns.length ? (made as Row) : this.#filledIn(made);
    for (let i = 0; i < key.length; i++) {
      const { name } = this.key[i]!;
      if (row[name] !== key[i]) this.#fail(`it gave a row with another key: ${name} is not the one of keyOf`, event);
    }
    return row;
  }

  #filledIn(made: Readonly<Record<string, unknown>>): Row {
    const row: Record<string, ColumnValue> = {};
    for (const { name } of this.columns) {
      const value = made[name];
      row[name] = (value === undefined ? null : value === 0 ? 0 : value) as ColumnValue;
    }
    return row;
  }

  #failColumn(name: string, type: ColumnBase, value: unknown, event: ProjectionEvent): never {
    if (value === undefined) this.#fail(`column ${name} is missing`, event);
    this.#fail(`column ${name}: ${valueProblem(type, value) ?? `wanted ${type}, found ${whatIs(value)}`}`, event);
  }

  #fail(message: string, event?: ProjectionEvent): never {
    const of = event === undefined ? "" : `, ${event.aggregate}.${event.type}`;
    throw new HeddleError("DOMAIN_FAILED", { where: `the projection ${this.name}${of}`, message });
  }
}
