// Documents: how a row becomes a document of MongoDB, and a document a row again.
//
//   { _id: "account/alice", account: "account/alice", balance: 5000, changedAt: ISODate(…), tags: […],
//     heddle_row: { revision: 12 } }
//
//   text string | integer int, or long beyond 31 bits | real double | boolean bool | time date, a long beyond what a date can be |
//   json what it is, or { heddle_json: "<JSON>" } for what some server refuses
//
// `_id` is the key itself where it is one text column, and JSON of its values otherwise. `heddle_row` has the revision that
// wrote the document and, for projections whose rows can come from several entities, the entity that it comes from.
import type { ColumnValue, CompiledColumn, CompiledProjection, Row, RowKey } from "@heddle/domain/internal";
import { Double, Long } from "mongodb";
import type { RowWrite, SourcedRow } from "../sink.ts";

export interface RowMark {
  readonly revision: number;
  readonly source?: string;
}

export type RowDocument = { readonly _id: string; readonly heddle_row: RowMark } & Readonly<Record<string, unknown>>;

/** A date of JavaScript reaches so far; MongoDB's reaches farther, and the driver reads it into one. */
const dateMsMax = 8.64e15;
const int32Max = 2 ** 31;

export function documentOf(projection: CompiledProjection, write: RowWrite, revision: number): RowDocument {
  const document: Record<string, unknown> = { _id: write.id };
  for (const { name, type } of projection.columns) document[name] = toBson(type, write.row![name]!);
  document["heddle_row"] = projection.ownKey ? { revision } : { revision, source: write.source };
  return document as RowDocument;
}

export function rowOf(projection: CompiledProjection, document: RowDocument): SourcedRow {
  const row: Record<string, ColumnValue> = {};
  for (const { name, type } of projection.columns) row[name] = fromBson(type, document[name]);
  return { row: row as Row, source: document.heddle_row.source ?? document._id };
}

/** As `KeyedRow.id`. */
export function idOf(projection: CompiledProjection, key: RowKey): string {
  const [first] = projection.key;
  return projection.key.length === 1 && first!.type === "text" ? (key[0] as string) : JSON.stringify(key);
}

function toBson(type: CompiledColumn["type"], value: ColumnValue): unknown {
  if (value === null) return null;
  switch (type) {
    case "time":
      return Math.abs(value as number) <= dateMsMax ? new Date(value as number) : Long.fromNumber(value as number);
    case "integer":
      return Math.abs(value as number) < int32Max ? value : Long.fromNumber(value as number);
    case "real":
      // Else a whole number would be an int, and the column of two types.
      return new Double(value as number);
    case "json":
      return isPlain(value) ? value : { heddle_json: JSON.stringify(value) };
    default:
      return value;
  }
}

function fromBson(type: CompiledColumn["type"], value: unknown): ColumnValue {
  if (value === null || value === undefined) return null;
  if (type === "time") return value instanceof Date ? value.getTime() : (value as number);
  if (type !== "json" || typeof value !== "object" || !("heddle_json" in value)) return value as ColumnValue;
  return JSON.parse(value.heddle_json as string) as ColumnValue;
}

/** Whether every server takes it as it is, and gives it back so: no lists in lists, no names that mean something to BSON. */
function isPlain(value: ColumnValue): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (Array.isArray(value)) return value.every((item: ColumnValue) => !Array.isArray(item) && isPlain(item));
  return Object.entries(value).every(
    ([name, item]) => plainName.test(name) && !specialNames.has(name) && isPlain(item),
  );
}

const plainName = /^[^$.][^.]*$/;
const specialNames = new Set(["__proto__", "_bsontype", "toBSON", "heddle_json"]);
