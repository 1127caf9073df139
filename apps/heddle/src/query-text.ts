// Rows of a query as a person reads them, and as a spreadsheet does; and parameters as they are typed.
import type { QueryParameter, QueryResult, QueryValue } from "@heddle/client";
import { shortened, table } from "./text.ts";

/** Characters of a cell on a screen. */
const cellMax = 60;

/** An aligned table: columns of numbers to the right, `null` where there is nothing. A screen gets long texts cut. */
export function rowsTable({ columns, rows }: QueryResult, screenColumns: number): string[] {
  const isScreen = Number.isFinite(screenColumns);
  const cells = rows.map((row) =>
    columns.map((name) => {
      const text = cellText(row[name]!);
      return isScreen ? shortened(text, cellMax) : text;
    }),
  );
  const heads = columns.map((title) => {
    const isNumeric = rows.length > 0 && rows.every((row) => isNumberOrNull(row[title]!));
    return { title: plain(title), align: isNumeric ? ("right" as const) : ("left" as const) };
  });
  return table(heads, cells);
}

function isNumberOrNull(value: QueryValue): boolean {
  return value === null || typeof value === "number" || typeof value === "bigint";
}

function cellText(value: QueryValue): string {
  if (value === null) return "null";
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString("hex")}'`;
  return plain(String(value));
}

// A text is anything: none of it may steer the terminal, or break the table.
function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, " ");
}

/** Lines of RFC 4180, the first with the columns' names. Null is an empty field, an empty text is "". Bytes are in base64. */
export function* csvLines({ columns, rows }: QueryResult): Generator<string> {
  yield columns.map(csvField).join(",");
  for (const row of rows) yield columns.map((name) => csvField(row[name]!)).join(",");
}

function csvField(value: QueryValue): string {
  if (value === null) return "";
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  const text = String(value);
  return text === "" || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Numbers, true, false and null as what they are, text in JSON's quotes as that text, and everything else as it was typed. */
export function parameterOf(text: string): QueryParameter {
  if (/^-?(?:0|[1-9]\d*)$/.test(text)) {
    const value = Number(text);
    return Number.isSafeInteger(value) ? value : BigInt(text);
  }
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? text : (value as QueryParameter);
  } catch {
    return text;
  }
}
