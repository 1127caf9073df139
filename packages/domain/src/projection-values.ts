// What a column can hold, and what it can be called, so that every sink can keep it.
//
// Owns the rules of values; how a sink writes them down is the sink's.
import type { ColumnBase } from "./define-projection.ts";

export const columnTypes = ["text", "integer", "real", "boolean", "time", "json"] as const;

/** Levels of lists and objects inside of a json value. */
const jsonDepthMax = 64;

/** Whether a text holds what some store cannot keep: half of a surrogate pair is no UTF-8, and NUL ends a text in some. */
export function fitsNowhere(text: string): boolean {
  return !text.isWellFormed() || text.includes("\0");
}

/** Why a value, which is not null, does not fit a type; undefined when it does. Tells no content. */
export function valueProblem(type: ColumnBase, value: unknown): string | undefined {
  const found = foundBut(value);
  switch (type) {
    case "text":
      if (typeof value !== "string") return `wanted text, ${found}`;
      if (!value.isWellFormed()) return "the text holds half of a surrogate pair";
      return value.includes("\0") ? "the text holds a NUL character" : undefined;
    case "integer":
      return Number.isSafeInteger(value) ? undefined : `wanted a whole number of at most 53 bits, ${found}`;
    case "time":
      return Number.isSafeInteger(value) ? undefined : `wanted whole milliseconds since 1970, ${found}`;
    case "real":
      return Number.isFinite(value) ? undefined : `wanted a finite number, ${found}`;
    case "boolean":
      return typeof value === "boolean" ? undefined : `wanted true or false, ${found}`;
    case "json": {
      const problem = jsonProblem(value);
      return typeof problem === "string" ? problem : undefined;
    }
  }
}

/** Why a value is not what JSON can carry, or about how many characters it takes. */
export function jsonProblem(value: unknown, depth = 0): string | number {
  switch (typeof value) {
    case "string":
      return fitsNowhere(value) ? "a text in it holds NUL or half of a surrogate pair" : value.length + 2;
    case "number":
      return Number.isFinite(value) ? 8 : `wanted JSON, ${foundBut(value)} in it`;
    case "boolean":
      return 5;
    case "object":
      if (value === null) return 4;
      break;
    default:
      return `wanted JSON, ${foundBut(value)} in it`;
  }
  if (depth >= jsonDepthMax) return `it is nested deeper than ${jsonDepthMax} levels`;
  return Array.isArray(value) ? listProblem(value, depth) : objectProblem(value, depth);
}

function listProblem(list: readonly unknown[], depth: number): string | number {
  let characters = 2;
  for (let i = 0; i < list.length; i++) {
    const item = jsonProblem(list[i], depth + 1);
    if (typeof item === "string") return item;
    characters += item;
  }
  return characters;
}

function objectProblem(object: object, depth: number): string | number {
  const prototype: unknown = Object.getPrototypeOf(object);
  // A date, a map or bytes would come back as something else.
  if (prototype !== Object.prototype && prototype !== null) return "wanted JSON, found an object of a class in it";
  let characters = 2;
  for (const [name, item] of Object.entries(object)) {
    if (fitsNowhere(name)) return "a name in it holds NUL or half of a surrogate pair";
    const found = jsonProblem(item, depth + 1);
    if (typeof found === "string") return found;
    characters += name.length + 3 + found;
  }
  return characters;
}

function foundBut(value: unknown): string {
  if (typeof value === "number")
    return Number.isInteger(value) || !Number.isFinite(value) ? `found ${value}` : "found a fraction";
  if (value === null) return "found null";
  if (value === undefined) return "found nothing";
  if (value instanceof Date) return "found a date";
  return Array.isArray(value) ? "found a list" : `found a ${typeof value}`;
}

/** Words that SQL does not take for a name, in SQLite or elsewhere, and names that SQLite gives to every table. */
export function isReservedWord(name: string): boolean {
  return reserved.has(name.toUpperCase());
}

const reserved = new Set(
  `ADD ALL ALTER AND AS AUTOINCREMENT BETWEEN CASE CHECK COLLATE COMMIT CONSTRAINT CREATE CROSS DEFAULT DEFERRABLE DELETE
  DISTINCT DROP ELSE ESCAPE EXCEPT EXISTS FOREIGN FROM FULL GROUP HAVING IN INDEX INNER INSERT INTERSECT INTO IS ISNULL
  JOIN LEFT LIMIT NATURAL NOT NOTHING NOTNULL NULL OID ON OR ORDER OUTER PRIMARY REFERENCES RETURNING RIGHT ROWID SELECT SET
  TABLE THEN TO TRANSACTION UNION UNIQUE UPDATE USING VALUES WHEN WHERE WITH`.split(/\s+/),
);
