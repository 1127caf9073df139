// What readers have, held against the log: rows in each sink, and the records in JetStream. As a process of its own:
// node readers/judge.ts <job as JSON>
//
// The log is read and added up here, with no part of the projection but its table's name and columns; rows are read in the way
// of an application.
import { DatabaseSync } from "node:sqlite";
import { besideFlags, crc32, type EntryView, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { DurableEnds, type FeedSource, LogFeed, loadNats } from "@heddle/feed/internal";
import { EntryDecoder } from "@heddle/shard/internal";
import { MongoClient } from "mongodb";
import { findLogFolders } from "../referee/read-store.ts";

export type ReadersJudgeJob =
  | { readonly kind: "rows"; readonly data: string; readonly sink: RowSink }
  | { readonly kind: "stream"; readonly data: string; readonly context: string; readonly nats: string };

/** Where the rows of the projection `accounts` are. */
export type RowSink =
  | { readonly kind: "sqlite"; readonly file: string }
  | { readonly kind: "rqlite"; readonly url: string }
  | { readonly kind: "mongodb"; readonly url: string };

export interface ReadersVerdict {
  readonly ok: boolean;
  /** Rows, or records' entries, that were compared. */
  readonly compared: number;
  /** Events in the log that they stand for. */
  readonly events: number;
  readonly objections: readonly string[];
  readonly objectionTotal: number;
}

/** An account as the log has it. */
export interface AccountFigures {
  balance: number;
  movements: number;
}

const objectionsShownMax = 20;

export async function judgeReaders(job: ReadersJudgeJob): Promise<ReadersVerdict> {
  if (job.kind === "rows") return compareRows(accountsOf(job.data), await rowsOf(job.sink));
  return compareStream(job.data, job.context, job.nats);
}

/** Exported for tests. Every account has one row with its figures, and there is no other row. */
export function compareRows(
  accounts: ReadonlyMap<string, AccountFigures>,
  rows: ReadonlyMap<string, AccountFigures>,
): ReadersVerdict {
  const objections: string[] = [];
  let events = 0;
  for (const [account, wanted] of accounts) {
    events += wanted.movements;
    const row = rows.get(account);
    if (row === undefined) objections.push(`${account}: there is no row`);
    else if (row.balance !== wanted.balance || row.movements !== wanted.movements) {
      objections.push(
        `${account}: ${row.movements} movements, balance ${row.balance}; the log has ${wanted.movements}, ${wanted.balance}`,
      );
    }
  }
  for (const account of rows.keys()) if (!accounts.has(account)) objections.push(`${account}: nobody opened it`);
  return verdictOf(accounts.size, events, objections);
}

function accountsOf(data: string): Map<string, AccountFigures> {
  const accounts = new Map<string, AccountFigures>();
  const decoder = new EntryDecoder();
  for (const folder of findLogFolders(data)) {
    const reader = new LogReader(nodeDisk, folder);
    try {
      reader.scan(0, (entry) => addEntry(accounts, decoder, entry));
    } finally {
      reader.close();
    }
  }
  return accounts;
}

function addEntry(accounts: Map<string, AccountFigures>, decoder: EntryDecoder, entry: EntryView): void {
  if ((entry.flags & besideFlags) !== 0) return;
  const { entity, types, typeIndexes } = decoder.open(entry);
  if (entity.startsWith("$")) return;
  let figures = accounts.get(entity);
  if (figures === undefined) {
    figures = { balance: 0, movements: 0 };
    accounts.set(entity, figures);
  }
  for (const [index, payload] of (decoder.payloads(entry) as { readonly amount: number }[]).entries()) {
    const type = types[typeIndexes === 0 ? 0 : entry.bytes[typeIndexes + index]!];
    figures.balance += type === "Credited" ? payload.amount : -payload.amount;
    figures.movements++;
  }
}

async function rowsOf(sink: RowSink): Promise<Map<string, AccountFigures>> {
  const rows = await readRows(sink);
  return new Map(rows.map(({ account, balance, movements }) => [account, { balance, movements }]));
}

type Row = AccountFigures & { readonly account: string };

const select = "SELECT account, balance, movements FROM accounts";

async function readRows(sink: RowSink): Promise<readonly Row[]> {
  if (sink.kind === "sqlite") {
    const database = new DatabaseSync(sink.file, { readOnly: true });
    try {
      return database.prepare(select).all() as unknown as Row[];
    } finally {
      database.close();
    }
  }
  if (sink.kind === "rqlite") {
    const answer = await fetch(`${sink.url}/db/query?associative&q=${encodeURIComponent(select)}`);
    const { results } = (await answer.json()) as { results: [{ rows?: Row[]; error?: string }] };
    if (results[0].error !== undefined) throw new Error(results[0].error);
    return results[0].rows ?? [];
  }
  const client = new MongoClient(sink.url);
  try {
    return await client.db().collection<Row>("accounts").find().toArray();
  } finally {
    await client.close();
  }
}

async function compareStream(data: string, context: string, nats: string): Promise<ReadersVerdict> {
  const folders = findLogFolders(data);
  const ends = new DurableEnds(folders.length);
  for (const [shard, folder] of folders.entries()) {
    const reader = new LogReader(nodeDisk, folder);
    ends.advance(shard, reader.end);
    reader.close();
  }
  const log = new LogFeed({ disk: nodeDisk, folders, ends });
  const { NatsFeed } = await loadNats();
  const stream = await NatsFeed.open({ context, nats: { url: nats } });
  const objections: string[] = [];
  let compared = 0;
  let events = 0;
  try {
    for (let shard = 0; shard < folders.length; shard++) {
      const [wanted, found] = [await digestOf(log, shard), await digestOf(stream, shard)];
      compared += wanted.entries;
      events += wanted.events;
      if (found.digest !== wanted.digest || found.entries !== wanted.entries) {
        objections.push(
          `shard ${shard}: the stream has ${found.entries} entries, the log ${wanted.entries}, not the same`,
        );
      }
    }
  } finally {
    await stream.close();
    log.close();
  }
  return verdictOf(compared, events, objections);
}

const readBytesMax = 1 << 20;

/** Over all entries' bytes in their order, and their positions. */
async function digestOf(source: FeedSource, shard: number) {
  let digest = 0;
  let entries = 0;
  let events = 0;
  for (let position = 0; ; ) {
    const chunk = await source.read(shard, position, readBytesMax);
    if (chunk === undefined) return { digest, entries, events };
    chunk.visit((entry) => {
      digest = crc32(entry.bytes, entry.bodyFrom, entry.bodyTo, (digest ^ entry.position) >>> 0);
      entries++;
      if ((entry.flags & besideFlags) === 0) events += entry.eventCount;
    });
    position = chunk.to;
  }
}

function verdictOf(compared: number, events: number, objections: readonly string[]): ReadersVerdict {
  return {
    ok: objections.length === 0,
    compared,
    events,
    objections: objections.slice(0, objectionsShownMax),
    objectionTotal: objections.length,
  };
}

// At the end: what stands above is made when it runs.
if (import.meta.main) {
  process.on("disconnect", () => process.exit(1));
  const verdict = await judgeReaders(JSON.parse(process.argv[2]!) as ReadersJudgeJob);
  process.send!(verdict, () => process.exit(0));
}
