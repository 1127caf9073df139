// Projections that a domain module defines: query models, made row by row of the events of some aggregates.
//
// As with aggregates nothing is checked here; `compileContext` does, and every row is checked when a function has made it.
//
// J1. Rows are typed by `columns`, events by `from`: both are known before TypeScript looks into the functions of `on`.
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { brand } from "./brand.ts";
import type { AnyAggregate, Immutable } from "./define-aggregate.ts";

/** What a column holds. With `?` behind it, also null. */
export type ColumnType = ColumnBase | `${ColumnBase}?`;

/**
 * `text`     any well-formed text without NUL.
 * `integer`  a whole number of at most 53 bits.
 * `real`     any finite number.
 * `boolean`  true or false; 1 or 0 in SQL.
 * `time`     milliseconds since 1970, whole.
 * `json`     what JSON can carry, but for null itself; text in SQL, a part of the document in MongoDB.
 */
export type ColumnBase = "text" | "integer" | "real" | "boolean" | "time" | "json";

export type Columns = Readonly<Record<string, ColumnType>>;

/** What JSON can carry. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

interface ValueByType {
  text: string;
  integer: number;
  real: number;
  boolean: boolean;
  time: number;
  json: Exclude<Json, null>;
}

type ValueOf<T extends ColumnType> = T extends `${infer B extends ColumnBase}?`
  ? ValueByType[B] | null
  : T extends ColumnBase
    ? ValueByType[T]
    : never;

type NullableOf<TColumns extends Columns> = {
  [N in keyof TColumns]: TColumns[N] extends `${ColumnBase}?` ? N : never;
}[keyof TColumns];

/** A row as it is stored: every column is there. */
export type RowOf<TColumns extends Columns> = { readonly [N in keyof TColumns]: ValueOf<TColumns[N]> };

/** A row as a function gives it: columns that may be null can be left out. */
export type NewRowOf<TColumns extends Columns> = {
  readonly [N in Exclude<keyof TColumns, NullableOf<TColumns>>]: ValueOf<TColumns[N]>;
} & { readonly [N in NullableOf<TColumns> & keyof TColumns]?: ValueOf<TColumns[N]> | undefined };

/** An event as a projection sees it. */
export interface ProjectionEvent<TType extends string = string, TPayload = unknown> {
  /** The entity's id, such as `account/alice`. */
  readonly entity: string;
  readonly aggregate: string;
  readonly type: TType;
  /** In the newest shape of its schema. */
  readonly payload: TPayload;
  /** Place in the entity's history, from 1. */
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** What the caller gave with the append. */
  readonly metadata: unknown;
  /** The append's id, if the caller gave one. */
  readonly id: string | undefined;
}

type SchemasOf<G extends AnyAggregate> = NonNullable<G["~types"]>["events"];

/** The event types of an aggregate, or of several. */
export type EventTypeOf<G extends AnyAggregate> = G extends AnyAggregate ? keyof SchemasOf<G> & string : never;

/** The events of an aggregate, or of several, as a union that `type` tells apart. */
export type EventsOf<G extends AnyAggregate> = G extends AnyAggregate
  ? { [T in keyof SchemasOf<G> & string]: ProjectionEvent<T, PayloadOf<SchemasOf<G>[T]>> }[keyof SchemasOf<G> & string]
  : never;

type PayloadOf<TSchema extends StandardSchemaV1> = Immutable<StandardSchemaV1.InferOutput<TSchema>>;

/** The value of a key of one column, or an object with a value for each column of the key. */
export type KeyOf<TColumns extends Columns, TKey extends keyof TColumns & string> =
  | (TKey extends keyof TColumns ? ValueOf<TColumns[TKey]> : never)
  | { readonly [N in TKey]: ValueOf<TColumns[N]> };

/** A projection. Made by {@link defineProjection}. */
export interface Projection<TName extends string, TColumns extends Columns, TEvent = ProjectionEvent> {
  readonly name: TName;
  /** Exists for TypeScript only; there is no such property at run time. */
  readonly "~types"?: { readonly row: RowOf<TColumns>; readonly event: TEvent };
}

/** Any projection: its name is a string, its rows unknown. */
export type AnyProjection = Projection<string, Columns>;

/** A function for each event type that matters. */
export type RowFunctions<G extends AnyAggregate, TColumns extends Columns, TKey extends keyof TColumns & string> = {
  readonly [T in EventTypeOf<G>]?: (
    row: RowOf<TColumns> | undefined,
    event: Extract<EventsOf<G>, { readonly type: T }>,
    key: { readonly [N in TKey]: ValueOf<TColumns[N]> },
  ) => NewRowOf<TColumns> | null;
};

/** What {@link defineProjection} takes. Every part is described there. */
export interface ProjectionDefinition<
  TAggregate extends AnyAggregate,
  TColumns extends Columns,
  TKey extends keyof TColumns & string,
> {
  readonly version: number;
  readonly from: readonly TAggregate[];
  readonly columns: TColumns;
  readonly key: readonly TKey[];
  readonly indexes?: readonly (readonly (keyof TColumns & string)[])[] | undefined;
  readonly table?: string | undefined;
  readonly collection?: string | undefined;
  readonly sagas?: "live" | "settled" | undefined;
  readonly keyOf?:
    | ((
        event: EventsOf<TAggregate>,
      ) => NoInfer<KeyOf<TColumns, TKey>> | readonly NoInfer<KeyOf<TColumns, TKey>>[] | null)
    | undefined;
  readonly on: RowFunctions<TAggregate, NoInfer<TColumns>, NoInfer<TKey>>;
}

/**
 * Defines a projection: a table, or a collection, whose rows follow from events.
 *
 * - `version`    a whole number from 1. Raise it when a function of `on`, or anything else here, changes: the projection is then
 *                built anew beside the old one, which stays readable until the new one has caught up.
 * - `from`       the aggregates whose events are looked at. Only events that `on` names matter.
 * - `columns`    a type for each: `text`, `integer`, `real`, `boolean`, `time`, `json`; with a `?` behind it, it may be null.
 * - `key`        the columns that tell rows apart. None of them may be null.
 * - `indexes`    lists of columns that queries look for.
 * - `table`, `collection`  what it is called in SQL and in MongoDB. Default: its name.
 * - `sagas`      `live`: events of a saga's steps count as they come. `settled`: they count once the saga has been COMMITTED,
 *                and those of sagas that went back never do; what follows in an entity's history waits for them.
 * - `keyOf`      which row an event is about: a value, an object for a key of several columns, an array for several rows, null
 *                for none. Default: the row whose key is the entity's id.
 * - `on`         what becomes of the row, by event type. Gets the row as it is, or undefined, the event, and the key as an object;
 *                gives the new row, or null for none. It must be pure and synchronous, and change nothing of what it gets.
 *
 * An event whose function throws, or gives what is no row, is set aside with its error; later events of the same entity wait
 * for an operator, others go on. Prefer a row for each entity or event, and let SQL add up: a row that several entities have
 * written cannot be taken apart again, so that the whole projection is built anew when one of them is erased or restored.
 */
export function defineProjection<
  const TName extends string,
  TAggregate extends AnyAggregate,
  const TColumns extends Columns,
  const TKey extends keyof TColumns & string,
>(
  name: TName,
  definition: ProjectionDefinition<TAggregate, TColumns, TKey>,
): Projection<TName, TColumns, EventsOf<TAggregate>> {
  return Object.freeze({ [brand]: "projection", name, definition });
}

/** The events that a projection looks at. */
export type EventOfProjection<P extends AnyProjection> = Extract<NonNullable<P["~types"]>, { event: unknown }>["event"];

/** The rows of a projection, for readers. */
export type RowOfProjection<P extends AnyProjection> = Extract<NonNullable<P["~types"]>, { row: unknown }>["row"];
