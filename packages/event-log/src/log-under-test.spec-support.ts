// What the specs of this package share: a log over any disk, entries that are told apart by a number, and the record
// of what was written, kept apart from the log so that it can be held against what comes back.
import type { HeddleError } from "@heddle/kernel";
import { seededRandom } from "@heddle/testkit";
import type { Disk } from "./disk.ts";
import { type DurableGroup, EventLog, type EventLogOptions } from "./event-log.ts";
import type { EntryView } from "./layout.ts";
import { LogReader } from "./log-reader.ts";

export const folder = "/data/shard-3";
export const shard = 3;

/** An entry as a test knows it: everything but where it lies in memory. */
export interface Written {
  readonly position: number;
  readonly flags: number;
  readonly firstSeq: number;
  readonly time: number;
  readonly fingerprint: number;
  readonly session: number;
  readonly call: number;
  readonly eventCount: number;
  readonly payloadsOffset: number;
  readonly body: string;
}

export interface LogUnderTest {
  readonly log: EventLog;
  /** Entries that opening the log brought, in order. */
  readonly replayed: Written[];
  readonly durable: DurableGroup[];
  readonly failures: HeddleError[];
}

export function openLog(disk: Disk, options: Partial<EventLogOptions> = {}): LogUnderTest {
  const replayed: Written[] = [];
  const durable: DurableGroup[] = [];
  const failures: HeddleError[] = [];
  const log = EventLog.open({
    disk,
    folder,
    shard,
    clock: { now: () => 1_700_000_000_000, monotonic: () => 0 },
    random: seededRandom(7),
    durability: "fsync",
    knownEnd: 0,
    replayFrom: 0,
    onEntry: (entry) => replayed.push(writtenAs(entry)),
    ...options,
  });
  log.onDurable = (group) => durable.push(group);
  log.onFailure = (error) => failures.push(error);
  return { log, replayed, durable, failures };
}

/** Adds entry number `n` to the open group. Every field and byte follows from the number, and no two are alike. */
export function add(log: EventLog, n: number, bodyBytes = 20): Written {
  return addBody(log, n, bodyOf(n, bodyBytes));
}

export function addBody(log: EventLog, n: number, body: Uint8Array): Written {
  const header = {
    flags: n % 2,
    firstSeq: n + 1,
    time: 1_700_000_000_000 + n,
    fingerprint: Math.imul(n, 0x9e3779b1) >>> 0,
    session: 2 ** 40 + n,
    call: n,
    eventCount: 1 + (n % 3),
    payloadsOffset: n % body.length,
  };
  const { bytes, at } = log.reserve(body.length + 10);
  bytes.set(body, at);
  const position = log.add(header, body.length);
  return { position, ...header, body: Buffer.from(body).toString("hex") };
}

function bodyOf(n: number, length: number): Uint8Array {
  const random = seededRandom(n);
  const start = Uint8Array.from({ length: Math.min(length, 4099) }, () => random.safeInteger());
  const body = new Uint8Array(length);
  for (let at = 0; at < length; at += start.length) body.set(start.subarray(0, length - at), at);
  return body;
}

export function writtenAs(entry: EntryView): Written {
  const { position, flags, firstSeq, time, fingerprint, session, call, eventCount, payloadsOffset } = entry;
  const body = Buffer.from(entry.bytes.subarray(entry.bodyFrom, entry.bodyTo)).toString("hex");
  return { position, flags, firstSeq, time, fingerprint, session, call, eventCount, payloadsOffset, body };
}

/** Sends the open group and waits until it is durable or has failed. */
export async function commit({ log }: LogUnderTest): Promise<void> {
  const { onDurable, onFailure } = log;
  const settled = new Promise<void>((resolve) => {
    log.onDurable = (group) => {
      onDurable(group);
      resolve();
    };
    log.onFailure = (error) => {
      onFailure(error);
      resolve();
    };
  });
  log.flush();
  await settled;
  Object.assign(log, { onDurable, onFailure });
}

/** One durable record: its entries and where it ends. */
export interface WrittenGroup {
  readonly entries: readonly Written[];
  readonly end: number;
}

/** Writes one group for each list of body lengths and closes the log. Entries are numbered through. */
export async function writeGroups(
  disk: Disk,
  groups: readonly (readonly number[])[],
  options: Partial<EventLogOptions> = {},
): Promise<WrittenGroup[]> {
  const opened = openLog(disk, options);
  const written: WrittenGroup[] = [];
  let n = 0;
  for (const bodies of groups) {
    const entries = bodies.map((bodyBytes) => add(opened.log, n++, bodyBytes));
    await commit(opened);
    written.push({ entries, end: opened.log.durableEnd });
  }
  opened.log.close();
  return written;
}

/** Everything that a reader finds from the log's start. */
export function readAll(disk: Disk, logFolder = folder) {
  const reader = new LogReader(disk, logFolder);
  const entries: Written[] = [];
  const result = reader.scan(0, (entry) => entries.push(writtenAs(entry)));
  reader.close();
  return { entries, ...result };
}

/** A disk that does some things in another way. */
export function changedDisk(disk: Disk, changes: Partial<Disk>): Disk {
  return {
    makeFolder: (name) => disk.makeFolder(name),
    list: (name) => disk.list(name),
    open: (file, mode) => disk.open(file, mode),
    remove: (file) => disk.remove(file),
    syncFolder: (name) => disk.syncFolder(name),
    freeBytes: (name) => disk.freeBytes(name),
    ...changes,
  };
}

export function entriesOf(groups: readonly WrittenGroup[]): Written[] {
  return groups.flatMap((group) => group.entries);
}
