// Queries: finds the sink that a query is for, waits until the projections that it reads have seen what the caller wrote, and
// runs it there.
//
// Q6. A query with `after` sees these writes in every projection that it reads, those behind a view too: the tables that were
//     really read are looked at once more when it has run.
// Q7. One time limit is for all of it: waiting for projections, for a process, and running.
// Not promised: that tables which different projections keep are of the same moment.
import { HeddleError } from "@heddle/kernel";
import type { LogPlace } from "@heddle/protocol";
import { encodeValue, type QueryFields } from "@heddle/protocol/internal";
import type { Sink } from "../sink.ts";
import { checkColumns } from "./columns.ts";
import { type BoundValue, type BoundValues, bindParameters } from "./query-parameters.ts";
import type { QueryFound, QueryTask } from "./query-processes.ts";
import { readSql, type SqlText } from "./read-sql.ts";

/** A projection in the sink that is asked. */
export interface QueriedTrack {
  readonly projection: string;
  readonly table: string;
  /**
   * Resolves when its rows, as they are read, have seen these places.
   * Errors: `PROJECTION_LAGS` after `timeoutMs`, and at once when it does not go on by itself.
   */
  waitFor(places: readonly LogPlace[], timeoutMs: number): Promise<void>;
}

export interface QueriedSink {
  readonly sink: Pick<Sink, "name" | "kind" | "query">;
  readonly tracks: readonly QueriedTrack[];
}

export interface QueriesOptions {
  readonly shardCount: number;
  /** In the order of the node's options. */
  readonly sinks: readonly QueriedSink[];
  /**
   * Where in the feed the events of a receipt stand: see `LandingPlaces`. Undefined when that is not known within the time.
   * Default: where the receipt says.
   */
  readonly landing?: ((place: LogPlace, timeoutMs: number) => Promise<number | undefined>) | undefined;
  /** Of SQLite's file; undefined when no sink is one. */
  readonly processes: { run(task: QueryTask): Promise<QueryFound> } | undefined;
  /** Bytes of an answer. */
  readonly bytesMax: number;
}

export interface QueryStats {
  /** By outcome: `ok`, or the code of the error. */
  readonly ended: Readonly<Record<string, number>>;
  readonly sumMs: number;
}

export class Queries {
  readonly #options: QueriesOptions;
  readonly #ended: Record<string, number> = { ok: 0 };
  #sumMs = 0;

  constructor(options: QueriesOptions) {
    this.#options = options;
  }

  stats(): QueryStats {
    return { ended: { ...this.#ended }, sumMs: this.#sumMs };
  }

  /**
   * Gives msgpack of [column names, rows as arrays].
   * Errors: `QUERY_REFUSED`, `QUERY_LIMIT`, `NO_QUERY_SINK`, `PROJECTION_LAGS`, `OVERLOADED`, `SINK_UNAVAILABLE`, `SINK_REFUSED`.
   */
  async run(fields: QueryFields): Promise<Uint8Array> {
    const begun = performance.now();
    let outcome = "ok";
    try {
      return await this.#run(fields, begun + fields.timeoutMs);
    } catch (error) {
      outcome = error instanceof HeddleError ? error.code : "OUTCOME_UNKNOWN";
      throw error;
    } finally {
      this.#ended[outcome] = (this.#ended[outcome] ?? 0) + 1;
      this.#sumMs += performance.now() - begun;
    }
  }

  async #run(fields: QueryFields, deadline: number): Promise<Uint8Array> {
    const sql = readSql(fields.sql);
    const values = bindParameters(sql, fields.params);
    const { sink, tracks } = this.#sinkOf(fields.sink);
    checkPlaces(fields.after, this.#options.shardCount);
    const after = await this.#landed(fields, sink.name, deadline);
    return this.#runAfter({ ...fields, after }, sql, values, { sink, tracks }, deadline);
  }

  async #runAfter(
    fields: QueryFields,
    sql: SqlText,
    values: BoundValues,
    { sink, tracks }: QueriedSink,
    deadline: number,
  ): Promise<Uint8Array> {
    const named = tracks.filter(({ table }) => sql.names.has(table.toLowerCase()));
    if (sink.kind === "sqlite") return this.#inProcess(fields, values, tracks, named, deadline);
    // What stands behind a view cannot be told here: whoever names no table waits for all of them.
    await this.#wait(named.length > 0 ? named : tracks, fields, deadline);
    const { rowsMax, consistency } = fields;
    const timeoutMs = Math.max(1, Math.ceil(deadline - performance.now()));
    const found = await sink.query!({ sql: fields.sql, params: plain(values), rowsMax, timeoutMs, consistency });
    return this.#encoded(found, rowsMax);
  }

  async #landed({ after, timeoutMs }: QueryFields, sink: string, deadline: number): Promise<readonly LogPlace[]> {
    const { landing } = this.#options;
    if (landing === undefined || after.length === 0) return after;
    const landed = async (place: LogPlace): Promise<LogPlace> => {
      const position = await landing(place, Math.max(0, deadline - performance.now()));
      if (position !== undefined) return { shard: place.shard, position };
      const state = "waiting for a transaction to be applied";
      throw new HeddleError("PROJECTION_LAGS", { projection: "*", sink, waitedMs: timeoutMs, state });
    };
    return Promise.all(after.map(landed));
  }

  async #inProcess(
    { sql, rowsMax, timeoutMs, ...fields }: QueryFields,
    values: BoundValues,
    tracks: readonly QueriedTrack[],
    named: readonly QueriedTrack[],
    deadline: number,
  ): Promise<Uint8Array> {
    const seen = new Set(named);
    let waitFor: readonly QueriedTrack[] = named;
    // Each round finds a projection more, or is the last.
    for (;;) {
      await this.#wait(waitFor, { ...fields, timeoutMs }, deadline);
      const task = { sql, values, rowsMax, bytesMax: this.#options.bytesMax, deadline, timeoutMs };
      const found = await this.#options.processes!.run(task);
      if (fields.after.length === 0) return found.rows;
      const isRead = readersOf(found.tables);
      waitFor = tracks.filter((track) => !seen.has(track) && isRead(track));
      if (waitFor.length === 0) return found.rows;
      for (const track of waitFor) seen.add(track);
    }
  }

  async #wait(
    tracks: readonly QueriedTrack[],
    { after, timeoutMs }: Pick<QueryFields, "after" | "timeoutMs">,
    deadline: number,
  ): Promise<void> {
    if (after.length === 0) return;
    const leftMs = Math.max(0, Math.min(timeoutMs, deadline - performance.now()));
    await Promise.all(tracks.map((track) => track.waitFor(after, leftMs)));
  }

  #sinkOf(wanted: string): QueriedSink {
    const { sinks } = this.#options;
    const able = sinks.filter(({ sink }) => sink.kind === "sqlite" || sink.query !== undefined);
    const found = able.find(({ sink }) => wanted === "" || sink.name === wanted || sink.kind === wanted);
    if (found !== undefined) return found;
    // One that is there and was not found takes no SQL.
    const isThere = wanted === "" || sinks.some(({ sink }) => sink.name === wanted || sink.kind === wanted);
    const known = sinks.map(({ sink }) => sink.name);
    throw new HeddleError("NO_QUERY_SINK", { wanted: isThere ? "a SQL sink" : wanted, known });
  }

  #encoded(
    found: { readonly columns: readonly string[]; readonly rows: readonly unknown[] },
    rowsMax: number,
  ): Uint8Array {
    const { columns, rows } = found;
    if (rows.length > rowsMax) throw new HeddleError("QUERY_LIMIT", { limit: "rows", max: rowsMax });
    checkColumns(columns);
    const encoded = encodeValue([columns, rows]);
    const { bytesMax } = this.#options;
    if (encoded.length > bytesMax) throw new HeddleError("QUERY_LIMIT", { limit: "bytes", max: bytesMax });
    return encoded.slice();
  }
}

// A projection is read under its table's name; the table of its rows is told besides, or alone: see query-process.ts.
function readersOf(tables: readonly string[]): (track: QueriedTrack) => boolean {
  const views = new Set(tables);
  const projections = new Set(tables.flatMap((table) => /^heddle_rows_(.+)_\d+$/.exec(table)?.[1] ?? []));
  return ({ table, projection }) => views.has(table.toLowerCase()) || projections.has(projection.toLowerCase());
}

// Of another node: it would be waited for in vain.
function checkPlaces(after: readonly LogPlace[], shardCount: number): void {
  for (const [i, { shard }] of after.entries()) {
    if (shard < shardCount) continue;
    const problem = `there is no shard ${shard}, the shards are 0 to ${shardCount - 1}`;
    throw new HeddleError("INVALID_REQUEST", { path: `after.${i}`, problem });
  }
}

/** For stores that are spoken to in JSON: numbers where they are safe, names without their signs. */
function plain(values: BoundValues): readonly unknown[] | Readonly<Record<string, unknown>> {
  if (Array.isArray(values)) return (values as readonly BoundValue[]).map(plainValue);
  const named = Object.entries(values as Record<string, BoundValue>);
  return Object.fromEntries(named.map(([sign, value]) => [sign.slice(1), plainValue(value)]));
}

function plainValue(value: BoundValue): unknown {
  return typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
