// Queries that rqlite answers itself. It opens its file for reading only, so that no query can change anything there.
import { HeddleError } from "@heddle/kernel";
import type { SinkQuery, SinkRows } from "../sink.ts";
import type { RqliteClient, RqliteStatement } from "./rqlite-client.ts";

/**
 * `linearizable`: as of every write acknowledged before, the default. `strong`: through rqlite's log. `weak`: as of the node that
 * takes itself for the leader. `none`: as of whichever node answers; with a time behind it, only one that has heard from the
 * leader within that time (`none 500ms`). `auto`: what rqlite takes for right.
 */
const levels = /^(?:linearizable|strong|weak|auto|none(?: \d+(?:ms|s|m))?)$/;

/** Of one answer: beyond it reading stops. rqlite itself knows no bound. */
const bytesMax = 64 << 20;
/** An answer that was made in time gets so much longer to arrive, in ms. */
const graceMs = 2_000;

export async function queryRqlite(client: RqliteClient, query: SinkQuery): Promise<SinkRows> {
  const { sql, rowsMax, timeoutMs, consistency = "linearizable" } = query;
  if (!levels.test(consistency)) {
    throw refused(
      `there is no consistency level ${JSON.stringify(consistency.slice(0, 80))}; known: linearizable, strong, weak, none, auto`,
    );
  }
  const [level, freshness] = consistency.split(" ");
  const fresh = freshness === undefined ? "" : `&freshness=${freshness}`;
  const reply = await client.call("/db/query", {
    parameters: `level=${level}${fresh}&blob_array&db_timeout=${Math.ceil(timeoutMs)}ms&timeout=${Math.ceil(timeoutMs)}ms`,
    body: bodyOf(sql, query.params),
    timeoutMs: timeoutMs + graceMs,
    bytesMax,
  });
  if (reply.status === 400) throw refused(reply.text.trim().slice(0, 200));
  const [result] = client.resultsOf(reply, keepingBits);
  if (result?.error !== undefined) throw errorOf(client, result.error, timeoutMs);
  const values = result?.values ?? [];
  if (values.length > rowsMax) throw new HeddleError("QUERY_LIMIT", { limit: "rows", max: rowsMax });
  return { columns: result?.columns ?? [], rows: values.map((row) => row.map(fromReply)) };
}

function bodyOf(sql: string, params: SinkQuery["params"]): string {
  // JSON knows no bigint; rqlite reads every digit.
  const rawNumbers = (_: string, value: unknown) =>
    typeof value === "bigint" ? (JSON as unknown as { rawJSON(text: string): object }).rawJSON(String(value)) : value;
  const given = Array.isArray(params)
    ? params.map(parameterOf)
    : [
        Object.fromEntries(
          Object.entries(params).map(([name, value]) => [name.replace(/^[:@$]/, ""), parameterOf(value)]),
        ),
      ];
  const isNone = given.length === 1 && !Array.isArray(params) && Object.keys(params).length === 0;
  return JSON.stringify([[sql, ...(isNone ? [] : given)]] as readonly (readonly unknown[])[], rawNumbers);
}

function parameterOf(value: unknown): RqliteStatement[1] | unknown {
  if (value instanceof Uint8Array) return Array.from(value);
  // rqlite takes it for bytes, whatever column it is compared with.
  if (typeof value === "string" && /^\s*[xX]'([0-9a-fA-F]{2})*'\s*$/.test(value)) {
    throw refused("rqlite takes a parameter of the form x'…' for bytes: write this text into the SQL");
  }
  return value;
}

/** Whole numbers beyond 53 bits become bigint. */
function keepingBits(_: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  const source = context?.source ?? "";
  return /^-?\d+$/.test(source) ? BigInt(source) : value;
}

function fromReply(value: unknown): unknown {
  return Array.isArray(value) ? Uint8Array.from(value as number[]) : value;
}

function errorOf(client: RqliteClient, text: string, timeoutMs: number): HeddleError {
  if (/timeout|interrupted/i.test(text)) {
    return new HeddleError("QUERY_LIMIT", { limit: "milliseconds", max: timeoutMs });
  }
  const known = client.errorOf(text);
  return known.code === "SINK_UNAVAILABLE" ? known : refused(text);
}

function refused(problem: string): HeddleError {
  return new HeddleError("QUERY_REFUSED", { problem });
}
