// Goal: queries on a real SQLite file in real processes: what they give, what they may not do, and that their bounds hold.
// Refused before a process sees it: read-sql.unit.spec.ts.
import { fork } from "node:child_process";
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { HeddleError } from "@heddle/kernel";
import { decodeValue } from "@heddle/protocol/internal";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { QueryJob, QueryProcessStart } from "./query-messages.ts";
import { bindParameters } from "./query-parameters.ts";
import { QueryProcesses, type QueryProcessesOptions } from "./query-processes.ts";
import { readSql } from "./read-sql.ts";

const endless = "with recursive n(x) as (values (1) union all select x + 1 from n) select count(*) from n";
const noTimeMs = 250;

let folder: string;
let file: string;
let db: DatabaseSync;
let processes: QueryProcesses;
let reports: string[];

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "heddle-query-"));
  file = path.join(folder, "projections.sqlite");
  db = new DatabaseSync(file);
  db.exec(`PRAGMA journal_mode = WAL;
    CREATE TABLE accounts (account TEXT PRIMARY KEY, balance INTEGER, rate REAL, picture BLOB);
    CREATE TABLE heddle_positions (shard INTEGER, position INTEGER);
    CREATE TABLE heddle_rows_departures_3 (flight TEXT PRIMARY KEY, delay INTEGER, heddle_source TEXT);
    CREATE VIEW departures AS SELECT flight, delay FROM heddle_rows_departures_3;
    CREATE VIEW late AS SELECT * FROM departures WHERE delay > 15;
    INSERT INTO heddle_rows_departures_3 VALUES ('LH 400', 20, 'flight/lh-400');
    CREATE VIEW rich AS SELECT * FROM accounts WHERE balance > 100;
    CREATE VIEW behind AS SELECT * FROM heddle_positions;
    INSERT INTO accounts VALUES ('alice', 120, 1.5, x'00ff'), ('bob', 80, NULL, NULL);`);
  reports = [];
  open();
});

afterEach(async () => {
  await processes.close();
  if (db.isOpen) db.close();
  rmSync(folder, { recursive: true });
});

function open(options: Partial<QueryProcessesOptions> = {}): void {
  processes = new QueryProcesses({ file, report: (message) => reports.push(message), ...options });
}

interface Asked {
  readonly params?: unknown;
  readonly rowsMax?: number;
  readonly bytesMax?: number;
  readonly timeoutMs?: number;
}

async function ask(sql: string, { params, rowsMax = 100, bytesMax = 1 << 20, timeoutMs = 30_000 }: Asked = {}) {
  const values = bindParameters(readSql(sql), params);
  const found = await processes.run({
    sql,
    values,
    rowsMax,
    bytesMax,
    timeoutMs,
    deadline: performance.now() + timeoutMs,
  });
  const [columns, rows] = decodeValue(found.rows) as [string[], unknown[][]];
  return { columns, rows, tables: [...found.tables].sort() };
}

async function failure(sql: string, asked?: Asked): Promise<[string, unknown]> {
  const error = await ask(sql, asked).catch((thrown: unknown) => thrown);
  if (!(error instanceof HeddleError)) throw new Error(`no typed error, but ${JSON.stringify(error)}`);
  return [error.code, error.facts];
}

describe("queries: what they give", () => {
  it("columns in order, and values of every type", async () => {
    const { columns, rows } = await ask("select *, balance / 7 as seventh from accounts order by account");
    expect(columns).toEqual(["account", "balance", "rate", "picture", "seventh"]);
    expect(rows).toEqual([
      ["alice", 120, 1.5, Uint8Array.of(0, 255), 17],
      ["bob", 80, null, null, 11],
    ]);
  });

  it("integers beyond 2^53 as they are, both ways", async () => {
    const values = [2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n - 1n];
    const { rows } = await ask("select ? as a, ? as b, ? as c, ? as d", { params: values });
    expect(rows).toEqual([[2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n), Number.MAX_SAFE_INTEGER]]);
  });

  it("parameters in order and by name, with their types", async () => {
    const sql =
      "select typeof(?1) as a, typeof(?2) as b, typeof(?3) as c, typeof(?4) as d, typeof(?5) as e, 5 / ?1 as f";
    const { rows } = await ask(sql, { params: [2, 1.5, "x", null, Uint8Array.of(1)] });
    expect(rows).toEqual([["integer", "real", "text", "null", "blob", 2]]);
    const named = await ask("select account from accounts where balance > :least and account <> @not", {
      params: { least: 50, not: "bob" },
    });
    expect(named.rows).toEqual([["alice"]]);
  });

  it("the tables that were read, those behind views too", async () => {
    expect((await ask("select count(*) as n from rich")).tables).toEqual(["accounts", "rich"]);
    expect((await ask("select 1 as one")).tables).toEqual([]);
    const { rows, tables } = await ask("select * from late, accounts where account = 'alice'");
    expect(rows).toEqual([["LH 400", 20, "alice", 120, 1.5, Uint8Array.of(0, 255)]]);
    expect(tables).toEqual(["accounts", "departures", "heddle_rows_departures_3", "late"]);
  });

  it("how many rows there are, whose columns nobody reads", async () => {
    const { rows, tables } = await ask("select count(*) as n, (select 1 from late) as one from departures, rich");
    expect(rows).toEqual([[1, 1]]);
    expect(tables).toContain("heddle_rows_departures_3");
  });

  it("the rows of the table that a view stands for now", async () => {
    const sql = "select flight from departures";
    expect((await ask(sql)).rows).toEqual([["LH 400"]]);
    db.exec(`BEGIN; CREATE TABLE heddle_rows_departures_4 (flight TEXT PRIMARY KEY, delay INTEGER);
      INSERT INTO heddle_rows_departures_4 VALUES ('AF 1', 0); DROP VIEW late; DROP VIEW departures;
      CREATE VIEW departures AS SELECT flight, delay FROM heddle_rows_departures_4; DROP TABLE heddle_rows_departures_3; COMMIT`);
    expect(await ask(sql)).toMatchObject({ rows: [["AF 1"]], tables: expect.arrayContaining(["departures"]) });
  });

  it("what was committed last, in the tables that there are now", async () => {
    const sql = "select sum(balance) as sum from accounts";
    expect((await ask(sql)).rows).toEqual([[200]]);
    db.exec("INSERT INTO accounts VALUES ('carol', 1, NULL, NULL)");
    expect((await ask(sql)).rows).toEqual([[201]]);
    db.exec(`CREATE TABLE accounts_next (account TEXT PRIMARY KEY, balance INTEGER, more TEXT);
      INSERT INTO accounts_next VALUES ('dora', 7, 'x');
      BEGIN; DROP VIEW rich; ALTER TABLE accounts RENAME TO accounts_old; ALTER TABLE accounts_next RENAME TO accounts; COMMIT`);
    expect((await ask(sql)).rows).toEqual([[7]]);
  });

  it("what is in the file that took a damaged one's place", async () => {
    expect((await ask("select count(*) as n from accounts")).rows).toEqual([[2]]);
    db.close();
    for (const end of ["", "-wal", "-shm"]) renameSync(file + end, `${file}.damaged${end}`);
    db = new DatabaseSync(file);
    db.exec("PRAGMA journal_mode = WAL; CREATE TABLE accounts (account TEXT)");
    expect((await ask("select count(*) as n from accounts")).rows).toEqual([[0]]);
  });

  it("no file yet: says that it is away, and makes none", async () => {
    open({ file: path.join(folder, "none.sqlite") });
    expect((await failure("select 1"))[0]).toBe("SINK_UNAVAILABLE");
    expect(existsSync(path.join(folder, "none.sqlite"))).toBe(false);
  });

  it("a file that is none: says so", async () => {
    db.close();
    writeFileSync(file, "this is no database at all, however long one looks at it".repeat(100));
    rmSync(`${file}-wal`, { force: true });
    expect((await failure("select * from accounts"))[0]).toBe("SINK_REFUSED");
  });
});

describe("queries: what they may not do", () => {
  it("write, attach, load or look at what is Heddle's own, whatever the text says", async () => {
    const problems: Record<string, RegExp> = {
      "with a as (select 1) insert into accounts values ('x', 1, 1, 1)": /a query only reads/,
      "with a as (select 1) delete from accounts": /a query only reads/,
      "with a as (select 1) update accounts set balance = 0": /a query only reads/,
      "explain delete from accounts": /a query only reads/,
      "select * from behind": /heddle_positions is Heddle's own/,
      "select load_extension('x')": /load_extension|no such function/,
      "select * from pragma_journal_mode": /PRAGMA|not authorized/,
      "select * from nobody": /no such table: nobody/,
      "select nobody from accounts": /no such column: nobody/,
      "select from": /syntax error/,
      "select account, account from accounts": /two columns are called account/,
    };
    for (const [sql, problem] of Object.entries(problems)) {
      const [code, facts] = await failure(sql);
      expect([sql, code]).toEqual([sql, "QUERY_REFUSED"]);
      expect((facts as { problem: string }).problem).toMatch(problem);
    }
    expect(db.prepare("SELECT count(*) AS n FROM accounts").get()).toEqual({ n: 2 });
  });

  it("go beyond the rows that were allowed: an error, and not fewer rows", async () => {
    expect((await ask("select account from accounts", { rowsMax: 2 })).rows).toHaveLength(2);
    expect(await failure("select account from accounts", { rowsMax: 1 })).toEqual([
      "QUERY_LIMIT",
      { limit: "rows", max: 1 },
    ]);
    expect(await failure("select 1 as one", { rowsMax: 0 })).toEqual(["QUERY_LIMIT", { limit: "rows", max: 0 }]);
  });

  it("go beyond the bytes of an answer, or of one value", async () => {
    const long = "select printf('%.*c', 900, 'x') as a from accounts";
    expect((await ask(long, { bytesMax: 2_000 })).rows).toHaveLength(2);
    expect(await failure(long, { bytesMax: 1_500 })).toEqual(["QUERY_LIMIT", { limit: "bytes", max: 1_500 }]);
    expect((await failure("select length(zeroblob(1000000000)) as n"))[0]).toBe("QUERY_LIMIT");
    expect((await ask("select 1 as one")).rows).toEqual([[1]]);
  });

  it("take more memory than they may: the process is ended, and the next query has another", async () => {
    await processes.close();
    open({ memoryBytesMax: 160 << 20, processesMax: 1 });
    const hungry = `with recursive n(x) as (values (1) union all select x + 1 from n)
      select group_concat(b) as all_of_it from (select hex(randomblob(1000)) as b from n order by 1)`;
    expect(await failure(hungry, { timeoutMs: 60_000 })).toEqual([
      "QUERY_LIMIT",
      { limit: "bytes of memory", max: 160 << 20 },
    ]);
    expect((await ask("select 1 as one")).rows).toEqual([[1]]);
  });
});

describe("queries: Q3-Q5, limits that hold", () => {
  it("Q3: a query without end is ended when its time is over, and others go on meanwhile and after", async () => {
    const limited = failure(endless, { timeoutMs: 1_500 });
    expect((await ask("select 1 as one")).rows).toEqual([[1]]);
    expect(await limited).toEqual(["QUERY_LIMIT", { limit: "milliseconds", max: 1_500 }]);
    const both = await Promise.all([ask("select 2 as two"), ask("select 3 as three")]);
    expect(both.map(({ rows }) => rows)).toEqual([[[2]], [[3]]]);
  });

  it("Q3: one whose time is over before a process was free is told so, and never runs", async () => {
    await processes.close();
    open({ processesMax: 1 });
    const first = failure(endless, { timeoutMs: 60_000 });
    expect(await failure("select 1", { timeoutMs: noTimeMs })).toEqual([
      "QUERY_LIMIT",
      { limit: "milliseconds", max: noTimeMs },
    ]);
    expect(processes.waiting).toBe(0);
    await processes.close();
    expect((await first)[0]).toBe("CLOSED");
  });

  it("Q3: a query whose asker is gone, or has forgotten it, ends its own process when its time is up", async () => {
    const begin = JSON.stringify({ file, parent: process.pid, memoryBytesMax: 1 << 30 } satisfies QueryProcessStart);
    const child = fork(new URL("./query-process.ts", import.meta.url), [begin], {
      serialization: "advanced",
      execArgv: [],
    });
    const ended = new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)));
    const job = { id: 1, sql: endless, values: [], rowsMax: 1, bytesMax: 1_000, runMs: 100 } satisfies QueryJob;
    child.send(job);
    expect(await ended).toBe("SIGKILL");
  });

  it("Q4: what waits is bounded", async () => {
    await processes.close();
    open({ processesMax: 1, waitingMax: 2 });
    const first = failure(endless, { timeoutMs: 60_000 });
    const waiting = [failure("select 1"), failure("select 1")];
    expect(await failure("select 1")).toEqual(["OVERLOADED", { queue: "the queue of queries", depth: 2, depthMax: 2 }]);
    await processes.close();
    expect((await Promise.all([first, ...waiting])).map(([code]) => code)).toEqual(["CLOSED", "CLOSED", "CLOSED"]);
    expect((await failure("select 1"))[0]).toBe("CLOSED");
  });

  it("Q5: a process that ends by itself fails its query, says so, and is replaced", async () => {
    await processes.close();
    open({ processesMax: 1 });
    await ask("select 1");
    const query = failure(endless, { timeoutMs: 60_000 });
    for (const id of processes.processIds) process.kill(id, "SIGKILL");
    expect(await query).toEqual([
      "SINK_UNAVAILABLE",
      { sink: "sqlite", message: "the query's process ended: SIGKILL" },
    ]);
    expect(reports).toEqual(["a query process ended"]);
    expect((await ask("select 1 as one")).rows).toEqual([[1]]);
  });
});
