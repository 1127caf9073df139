// The entry of a query process: runs one query after the other on a read-only handle.
//
// A process of its own, because nothing can interrupt SQLite from JavaScript: a query that goes on for too long is ended by ending
// this (query-processes.ts). What the handle can not do, no text can ask of it: it is opened read-only, and its authorizer allows
// reading and functions, and nothing else.
import { statSync } from "node:fs";
import { constants, DatabaseSync, type StatementSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { HeddleError } from "@heddle/kernel";
import { toWireError } from "@heddle/kernel/internal";
import { encodeValue } from "@heddle/protocol/internal";
import { checkColumns } from "./columns.ts";
import type { QueryAnswer, QueryJob, QueryProcessStart } from "./query-messages.ts";
import type { BoundValue } from "./query-parameters.ts";
import { queryRefused } from "./read-sql.ts";

const start = JSON.parse(process.argv[2]!) as QueryProcessStart;

/** Bytes of one text or blob that a query makes: `zeroblob(1e9)` must not take the memory. */
const valueBytesMax = 16 << 20;
const preparedMax = 64;
const lockWaitMs = 1_000;
const ownPrefix = "heddle_";
/** Tables with the rows of projections, which users see through views of the projections' names. */
const rowsPrefix = "heddle_rows_";
const deniedFunctions: ReadonlySet<string> = new Set(["load_extension", "fts3_tokenizer", "sqlite_log"]);

interface Prepared {
  readonly statement: StatementSync;
  readonly columns: readonly string[];
  readonly tables: Set<string>;
}

/** An open handle, and the file that it is open on: one that was damaged is replaced by another of the same name. */
interface Open {
  readonly db: DatabaseSync;
  readonly inode: number;
  readonly prepared: Map<string, Prepared>;
}

let open: Open | undefined;
/** Of the statement that is being prepared or run. */
let tables = new Set<string>();
/** Why the authorizer said no. */
let denied = "";

const running = new Int32Array(new SharedArrayBuffer(4));
const deadline = new BigInt64Array(new SharedArrayBuffer(8));
/** What the asker needs to notice that time is up. */
const deadlineSlackMs = 1_000;
startWatch();
process.on("message", (job: QueryJob) => process.send!(answer(job)));
process.on("disconnect", () => process.exit());

function startWatch(): void {
  const file = import.meta.url.endsWith(".ts") ? "./query-watch.ts" : "./query-watch.js";
  const { parent, memoryBytesMax } = start;
  new Worker(new URL(file, import.meta.url), { workerData: { parent, memoryBytesMax, running, deadline } }).unref();
}

function answer(job: QueryJob): QueryAnswer {
  Atomics.store(deadline, 0, process.hrtime.bigint() + BigInt(Math.ceil(job.runMs) + deadlineSlackMs) * 1_000_000n);
  Atomics.store(running, 0, 1);
  Atomics.notify(running, 0);
  try {
    return run(job);
  } catch (error) {
    return { id: job.id, error: toWireError(typed(error)) };
  } finally {
    Atomics.store(running, 0, 0);
  }
}

function run(job: QueryJob): QueryAnswer {
  denied = "";
  const prepared = prepare(database(), job.sql);
  // A schema that has changed since is noticed while it runs, and the authorizer is asked again.
  tables = prepared.tables;
  const rows = new RowsWriter(prepared.columns, job);
  const found = Array.isArray(job.values)
    ? prepared.statement.iterate(...(job.values as BoundValue[]))
    : prepared.statement.iterate(job.values as Record<string, BoundValue>);
  for (const row of found) rows.add(row as unknown as BoundValue[]);
  return { id: job.id, tables: [...tables], rows: rows.end() };
}

function database(): DatabaseSync {
  const inode = inodeOf(start.file);
  if (open !== undefined && open.inode === inode) return open.db;
  open?.db.close();
  open = undefined;
  const db = new DatabaseSync(start.file, {
    readOnly: true,
    allowExtension: false,
    enableDoubleQuotedStringLiterals: false,
    timeout: lockWaitMs,
    limits: { length: valueBytesMax, sqlLength: 1 << 20, attach: 0 },
  });
  // Sorting goes to memory, which is bounded (query-watch.ts), rather than to files that hold what may be erased.
  db.exec("PRAGMA query_only = 1; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = 0");
  db.setAuthorizer(authorize);
  open = { db, inode, prepared: new Map() };
  return db;
}

function inodeOf(file: string): number {
  try {
    return statSync(file).ino;
  } catch (cause) {
    const message = `there is no ${file} yet`;
    throw new HeddleError("SINK_UNAVAILABLE", { sink: "sqlite", message }, { cause });
  }
}

// `within`: the view through which a table is read.
function authorize(
  action: number,
  first: string | null,
  second: string | null,
  _database: string | null,
  within: string | null,
): number {
  switch (action) {
    case constants.SQLITE_SELECT:
    case constants.SQLITE_RECURSIVE:
      return constants.SQLITE_OK;
    case constants.SQLITE_READ: {
      const table = (first ?? "").toLowerCase();
      // Of a table none of whose columns is read (`count(*)`) SQLite tells no view. The SQL's text did not name it (Q2).
      const isThroughView = table.startsWith(rowsPrefix) && (within !== null || second === "");
      if (table.startsWith(ownPrefix) && !isThroughView) return deny(`${first} is Heddle's own`);
      tables.add(table);
      if (within !== null) tables.add(within.toLowerCase());
      return constants.SQLITE_OK;
    }
    case constants.SQLITE_FUNCTION:
      return deniedFunctions.has((second ?? "").toLowerCase())
        ? deny(`the function ${second} is not for queries`)
        : constants.SQLITE_OK;
    case constants.SQLITE_PRAGMA:
      return deny(`PRAGMA ${first} is not for queries`);
    case constants.SQLITE_ATTACH:
      return deny("no other file can be attached");
    default:
      return deny("a query only reads");
  }
}

function deny(reason: string): number {
  denied ||= reason;
  return constants.SQLITE_DENY;
}

function prepare(db: DatabaseSync, sql: string): Prepared {
  const { prepared } = open!;
  const known = prepared.get(sql);
  if (known !== undefined) {
    prepared.delete(sql);
    prepared.set(sql, known);
    return known;
  }
  tables = new Set();
  const statement = db.prepare(sql);
  statement.setReturnArrays(true);
  statement.setReadBigInts(true);
  statement.setAllowBareNamedParameters(false);
  const made = { statement, columns: columnsOf(statement), tables };
  if (prepared.size >= preparedMax) prepared.delete(prepared.keys().next().value!);
  prepared.set(sql, made);
  return made;
}

function columnsOf(statement: StatementSync): string[] {
  const columns = statement.columns().map(({ name }) => name);
  checkColumns(columns);
  return columns;
}

/** The answer as it goes over the wire, row by row, so that one that is too long is noticed when it is. */
class RowsWriter {
  readonly #job: QueryJob;
  #bytes: Uint8Array = new Uint8Array(16 * 1024);
  #used = 0;
  #countAt = 0;
  #count = 0;

  constructor(columns: readonly string[], job: QueryJob) {
    this.#job = job;
    // An array of two; the rows are an array whose length is written at the end.
    this.#put(Uint8Array.of(0x92));
    this.#put(encodeValue(columns));
    this.#countAt = this.#used + 1;
    this.#put(Uint8Array.of(0xdd, 0, 0, 0, 0));
  }

  add(row: BoundValue[]): void {
    if (this.#count === this.#job.rowsMax) throw limit("rows", this.#job.rowsMax);
    this.#count++;
    for (let i = 0; i < row.length; i++) {
      const value = row[i];
      if (typeof value === "bigint" && Number.isSafeInteger(Number(value))) row[i] = Number(value);
    }
    this.#put(encodeValue(row));
  }

  end(): Uint8Array {
    new DataView(this.#bytes.buffer).setUint32(this.#countAt, this.#count);
    return this.#bytes.subarray(0, this.#used);
  }

  #put(piece: Uint8Array): void {
    const wanted = this.#used + piece.length;
    if (wanted > this.#job.bytesMax) throw limit("bytes", this.#job.bytesMax);
    if (wanted > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(wanted, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.#used));
      this.#bytes = grown;
    }
    this.#bytes.set(piece, this.#used);
    this.#used = wanted;
  }
}

function limit(of: string, max: number): HeddleError<"QUERY_LIMIT"> {
  return new HeddleError("QUERY_LIMIT", { limit: of, max });
}

/** SQLite's own codes, https://sqlite.org/rescode.html. */
const sqliteCode = {
  busy: 5,
  locked: 6,
  noMemory: 7,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cantOpen: 14,
  tooBig: 18,
  notADb: 26,
};

function typed(error: unknown): HeddleError {
  if (error instanceof HeddleError) return error;
  const { errcode = 0, message } = error as { readonly errcode?: number; readonly message: string };
  switch (errcode & 0xff) {
    case sqliteCode.busy:
    case sqliteCode.locked:
    case sqliteCode.cantOpen:
      return new HeddleError("SINK_UNAVAILABLE", { sink: "sqlite", message }, { cause: error });
    case sqliteCode.ioError:
    case sqliteCode.corrupt:
    case sqliteCode.full:
    case sqliteCode.notADb:
      closeDamaged();
      return new HeddleError("SINK_REFUSED", { sink: "sqlite", message }, { cause: error });
    case sqliteCode.noMemory:
      return limit("bytes of memory", start.memoryBytesMax);
    case sqliteCode.tooBig:
      return limit("bytes of one value", valueBytesMax);
    default:
      return queryRefused(denied === "" ? message : denied, error);
  }
}

// A handle that met damage may go on seeing it after the file was mended.
function closeDamaged(): void {
  open?.db.close();
  open = undefined;
}
