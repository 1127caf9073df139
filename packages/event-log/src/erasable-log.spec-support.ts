// What the specs of erasure share: logs of real append bodies whose payloads carry a marker, and a checker that reads a
// log's files with none of the log's own code.
import { crc32 } from "node:zlib";
import { writeAppendBody } from "@heddle/protocol/internal";
import { seededRandom } from "@heddle/testkit";
import type { Disk } from "./disk.ts";
import { appendIdDigest } from "./erased-entry.ts";
import type { EventLog, EventLogOptions } from "./event-log.ts";
import { changedDisk, commit, folder, openLog } from "./log-under-test.spec-support.ts";

/** Stands in every payload and in nothing else. */
export const marker = "SECRET-OF-";

export interface Appended {
  readonly position: number;
  readonly entity: string;
  readonly id: string;
  /** The entry's bytes as they were written, whole. */
  readonly bytes: Buffer;
}

export interface AppendOptions {
  readonly payloadBytes?: number;
  readonly flags?: number;
  readonly id?: string;
}

/** Adds append number `n`: it belongs to one of seven entities, and every third has an id. */
export function addAppend(log: EventLog, n: number, options: AppendOptions = {}): Appended {
  const entity = `account/number-${n % 7}`;
  const id = options.id ?? (n % 3 === 0 ? `id-${n}` : "");
  const payload = { note: `${marker}${n}-`.padEnd(options.payloadBytes ?? 30, "x") };
  const fields = { entity, aggregate: "Account", events: [{ type: "Noted", payload, schemaVersion: 1 }] };
  const body = new Uint8Array(2000 + (options.payloadBytes ?? 30));
  const length = writeAppendBody(id === "" ? fields : { ...fields, id, metadata: { by: marker } }, () => ({
    bytes: body,
    at: 0,
  }));
  const { bytes, at } = log.reserve(length);
  bytes.set(body.subarray(0, length), at);
  const header = {
    flags: options.flags ?? n % 2,
    firstSeq: n + 1,
    time: 1_700_000_000_000 + n,
    fingerprint: Math.imul(n, 0x9e3779b1) >>> 0,
    session: 2 ** 40 + n,
    call: n,
    eventCount: 1,
    payloadsOffset: 40,
  };
  const position = log.add(header, length);
  return { position, entity, id, bytes: Buffer.from(bytes.subarray(at - 48, at + length)) };
}

/** Writes one group for each count of appends and closes the log. Payloads have lengths of all kinds. */
export async function writeAppends(
  disk: Disk,
  groups: readonly number[],
  options: Partial<EventLogOptions> & { seed?: number } = {},
): Promise<Appended[]> {
  const { seed, ...logOptions } = options;
  const random = seededRandom(seed ?? 1);
  const opened = openLog(disk, logOptions);
  const appended: Appended[] = [];
  for (const count of groups) {
    for (let i = 0; i < count; i++) {
      const payloadBytes = 12 + (random.safeInteger() % (random.safeInteger() % 10 === 0 ? 900 : 90));
      appended.push(addAppend(opened.log, appended.length, { payloadBytes }));
    }
    await commit(opened);
  }
  opened.log.close();
  return appended;
}

/** An append's bytes as they are documented once it is erased, made anew from what was known of it. */
export function erasedBytes({ entity, id, bytes }: Appended): Buffer {
  const erased = Buffer.alloc(bytes.length);
  bytes.copy(erased, 4, 4, 22);
  bytes.copy(erased, 26, 26, 42);
  erased[8] = bytes[8]! | 4;
  erased.writeUInt16LE(entity.length, 48);
  erased.write(entity, 50, "utf8");
  if (id !== "") {
    erased[50 + entity.length] = 1;
    appendIdDigest(entity, id).copy(erased, 51 + entity.length);
  }
  erased.writeUInt32LE(crc32(erased.subarray(4)), 0);
  return erased;
}

/**
 * Every entry of a log's files by position, read and checked by the documented layout alone: header, record and entry
 * checksums are computed anew over all of their bytes. Throws at the first that does not hold.
 */
export function entriesByHand(disk: Disk): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  let base = 0;
  for (const name of disk
    .list(folder)
    .filter((each) => each.endsWith(".log"))
    .sort()) {
    const bytes = fileBytes(disk, name);
    const wrong = (what: string, at: number) => new Error(`${what} at ${name}, offset ${at}`);
    if (bytes.readUInt32LE(60) !== crc32(bytes.subarray(0, 60))) throw wrong("header", 0);
    if (bytes.readUIntLE(16, 6) !== base) throw wrong("base", 16);
    for (let at = 64; at < bytes.length; ) {
      const length = bytes.readUInt32LE(at + 8);
      const crc = crc32(bytes.subarray(at + 8, at + length), bytes.readUInt32LE(12));
      if (bytes.toString("latin1", at, at + 4) !== "HREC" || bytes.readUInt32LE(at + 4) !== crc) {
        throw wrong("record", at);
      }
      let entryAt = at + 24;
      for (let left = bytes.readUInt32LE(at + 12); left > 0; left--) {
        const entry = bytes.subarray(entryAt, entryAt + bytes.readUInt32LE(entryAt + 4));
        if (entry.readUInt32LE(0) !== crc32(entry.subarray(4))) throw wrong("entry", entryAt);
        found.set(base + entryAt, Buffer.from(entry));
        entryAt += entry.length;
      }
      at += length;
    }
    base += bytes.length;
  }
  return found;
}

export function fileBytes(disk: Disk, name: string): Buffer {
  const file = disk.open(`${folder}/${name}`, "read");
  const bytes = Buffer.alloc(file.size());
  file.read(bytes, 0);
  file.close();
  return bytes;
}

/** What the log must hold: each append as it was written, or erased when its position is among these. */
export function expectedEntries(appended: readonly Appended[], erased: ReadonlySet<number>): Map<number, Buffer> {
  return new Map(
    appended.map((each) => [each.position, erased.has(each.position) ? erasedBytes(each) : each.bytes] as const),
  );
}

/** The numbers of the appends whose marker stands anywhere in any file of the folder. */
export function markersInFolder(disk: Disk): Set<number> {
  const numbers = new Set<number>();
  for (const name of disk.list(folder)) {
    const text = fileBytes(disk, name).toString("latin1");
    for (const [, n] of text.matchAll(new RegExp(`${marker}(\\d+)-`, "g"))) numbers.add(Number(n));
  }
  return numbers;
}

export const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A clock by which every look is a while later, so that each slice is as short as it can be. */
export function hurriedClock() {
  let now = 0;
  return { now: () => 1_700_000_000_000, monotonic: () => (now += 10) };
}

/**
 * A disk that tells each call which changes something or makes it durable, before it is made. `step` may throw; given a
 * write, it may have it done in part first.
 */
export function steppingDisk(disk: Disk, step: (what: string, writePart: (share: number) => void) => void): Disk {
  const nothing = () => {};
  return changedDisk(disk, {
    open(name, mode) {
      if (mode === "create") step("create", nothing);
      const file = disk.open(name, mode);
      return {
        ...file,
        write(bytes, from, to, at) {
          step("write", (share) => file.write(bytes, from, from + Math.floor((to - from) * share), at));
          file.write(bytes, from, to, at);
        },
        sync(done) {
          step("sync", nothing);
          file.sync(done);
        },
        syncNow() {
          step("sync", nothing);
          file.syncNow();
        },
        truncate(length) {
          step("truncate", nothing);
          file.truncate(length);
        },
      };
    },
    remove(name) {
      step("remove", nothing);
      disk.remove(name);
    },
    syncFolder(name) {
      step("sync folder", nothing);
      disk.syncFolder(name);
    },
  });
}

/** What became of a promise. */
export async function outcomeOf<T>(promise: Promise<T>): Promise<{ value?: T; thrown?: unknown }> {
  return promise.then(
    (value) => ({ value }),
    (thrown: unknown) => ({ thrown }),
  );
}
