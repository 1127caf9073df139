// SimulatedDisk: the log's disk in memory, with everything that a real one can do to a log.
//
// Every file has two images: the page cache, which reads see, and the platter, which a power cut leaves. A sync moves
// what was written before it began from one to the other; a folder's sync does the same for names.
//
// S1. The same seed and the same calls give the same outcome and the same trace.
// S2. After `crash` every sector of every file holds what it held at the last sync or after one of the later writes to
//     it, each sector for itself; a file is as long as its last surviving sector, or longer, with zeros. A name whose
//     folder was not synced may be there or not.
// S3. After a failed sync the data that it covered counts as clean but is not on the platter; the error comes once, and
//     the next sync succeeds. So does Linux.
// Not promised: sectors torn in the middle, and syncs of one file that return out of order.
import path from "node:path";
import type { Disk, DiskFile } from "@heddle/event-log/internal";
import type { Random } from "@heddle/kernel";
import { seededRandom } from "./seeded-random.ts";

export interface SimulatedDiskOptions {
  /** Chooses what survives a crash. Default 1. */
  readonly seed?: number;
  /** Bytes that files may take together. Default 1 TiB. */
  readonly capacityBytes?: number;
}

/** How much of what was not synced a crash leaves; `some` lets the seed choose. */
export type Survival = "some" | "nothing" | "everything";

const sectorBytes = 512;

export class SimulatedDisk implements Disk {
  /** Every call that changed something or made it durable, in order. */
  readonly trace: string[] = [];
  /** Syncs count when they begin, failed ones included. */
  readonly counters = { writes: 0, writtenBytes: 0, syncs: 0, folderSyncs: 0 };
  readonly #random: Random;
  readonly #folders = new Set<string>();
  #names = new Map<string, FileContent>();
  #durableNames = new Map<string, FileContent>();
  /** For each name changed since its folder's last sync: what it stood for after each change. */
  readonly #nameChanges = new Map<string, (FileContent | undefined)[]>();
  #capacityBytes: number;
  /** Goes up when the process dies: files opened before are dead, and syncs begun before never call back. */
  #life = 0;
  #waiting: WaitingSync[] = [];
  #holds = false;
  #nextSyncFails: string | undefined;
  #nextWriteFails: string | undefined;

  constructor(options: SimulatedDiskOptions = {}) {
    this.#random = seededRandom(options.seed ?? 1);
    this.#capacityBytes = options.capacityBytes ?? 2 ** 40;
  }

  // ——— the port

  makeFolder(folder: string): void {
    for (let at = path.resolve(folder); ; at = path.dirname(at)) {
      this.#folders.add(at);
      if (at === path.dirname(at)) return;
    }
  }

  list(folder: string): string[] {
    const wanted = this.#folder(folder);
    return [...this.#names.keys()].filter((name) => path.dirname(name) === wanted).map((name) => path.basename(name));
  }

  open(file: string, mode: "read" | "write" | "create"): DiskFile {
    const name = path.resolve(file);
    this.#folder(path.dirname(name));
    let content = this.#names.get(name);
    if (mode === "create") {
      if (content !== undefined) throw diskError("EEXIST", `${name} is there already`);
      content = new FileContent(name);
      this.#rename(name, content);
      this.trace.push(`create ${path.basename(name)}`);
    }
    if (content === undefined) throw diskError("ENOENT", `there is no ${name}`);
    return this.#handle(content, mode !== "read");
  }

  remove(file: string): void {
    const { name } = this.#content(file);
    this.#rename(name, undefined);
    this.trace.push(`remove ${path.basename(name)}`);
  }

  syncFolder(folder: string): void {
    const wanted = this.#folder(folder);
    this.counters.folderSyncs++;
    this.trace.push(`sync folder ${path.basename(wanted)}`);
    for (const [name, changes] of this.#nameChanges) {
      if (path.dirname(name) !== wanted) continue;
      setName(this.#durableNames, name, changes.at(-1));
      this.#nameChanges.delete(name);
    }
  }

  freeBytes(folder: string): number {
    this.#folder(folder);
    return this.#free();
  }

  // ——— what a test does to it

  /** A power cut. Files that were open are dead; what was not synced survives in part, see S2. */
  crash(survival: Survival = "some"): void {
    this.killProcess();
    this.trace.push(`crash ${survival}`);
    for (const [name, changes] of this.#nameChanges) {
      const kept =
        survival === "some" ? this.#below(changes.length + 1) : survival === "everything" ? changes.length : 0;
      if (kept > 0) setName(this.#durableNames, name, changes[kept - 1]);
    }
    this.#nameChanges.clear();
    this.#names = new Map(this.#durableNames);
    for (const content of this.#names.values()) content.loseCache(survival, (bound) => this.#below(bound));
  }

  /** The process dies, the machine goes on: files that were open are dead, the page cache stays. */
  killProcess(): void {
    this.#life++;
    this.#waiting = [];
    this.#holds = false;
    this.#nextSyncFails = undefined;
    this.#nextWriteFails = undefined;
  }

  /** Clean pages leave the cache, so that reads see the platter where nothing unsynced stands. */
  dropCleanPages(): void {
    for (const content of this.#names.values()) content.dropCleanPages();
  }

  /** Syncs begun from now on do not return until they are let go. */
  holdSyncs(): void {
    this.#holds = true;
  }

  /** Lets held syncs return, each in a turn of its own, and holds no more. */
  releaseSyncs(): void {
    this.#holds = false;
    for (const _ of this.#waiting) this.#returnOneLater();
  }

  /** Makes the oldest sync under way return now. False when there is none. */
  returnNextSync(): boolean {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return false;
    waiting.finish();
    return true;
  }

  get syncsWaiting(): number {
    return this.#waiting.length;
  }

  /** The next sync to begin fails with this code, once. */
  failNextSync(code = "EIO"): void {
    this.#nextSyncFails = code;
  }

  /** The next write fails with this code, once, and writes nothing. */
  failNextWrite(code = "EIO"): void {
    this.#nextWriteFails = code;
  }

  /** Leaves room for this many bytes beyond what there is. A write that does not fit is cut short, then `ENOSPC`. */
  setFreeBytes(bytes: number): void {
    this.#capacityBytes = this.#used() + bytes;
  }

  /** Flips one bit of a file at rest: what was unsynced in the file counts as synced. */
  flipBit(file: string, offset: number, bit: number): void {
    const bytes = this.readFile(file);
    if (offset >= bytes.length) throw new RangeError(`${file} has ${bytes.length} bytes, no byte ${offset}`);
    bytes[offset]! ^= 1 << bit;
    this.writeFile(file, bytes);
  }

  /** Cuts a file at rest: what was unsynced in the part that stays counts as synced. */
  cutFile(file: string, length: number): void {
    this.writeFile(file, this.readFile(file).subarray(0, length));
  }

  /** All bytes of a file as reads see them, copied. */
  readFile(file: string): Uint8Array {
    return this.#content(file).cache.copy();
  }

  /** Puts a file there, or replaces its bytes, as if it had always been so: name and bytes are durable. */
  writeFile(file: string, bytes: Uint8Array): void {
    const name = path.resolve(file);
    const content = this.#names.get(name) ?? new FileContent(name);
    content.replace(bytes);
    this.#names.set(name, content);
    this.#durableNames.set(name, content);
    this.#nameChanges.delete(name);
  }

  /** Takes a file away, as if it had never been there. */
  dropFile(file: string): void {
    const { name } = this.#content(file);
    this.#names.delete(name);
    this.#durableNames.delete(name);
    this.#nameChanges.delete(name);
  }

  /** A second disk with the same files at rest: what was unsynced counts as synced, and nothing is open. */
  copy(options: SimulatedDiskOptions = {}): SimulatedDisk {
    const copied = new SimulatedDisk({ capacityBytes: this.#capacityBytes, ...options });
    for (const folder of this.#folders) copied.makeFolder(folder);
    for (const [name, content] of this.#names) copied.writeFile(name, content.cache.copy());
    return copied;
  }

  // ——— inside

  #handle(content: FileContent, writable: boolean): DiskFile {
    const life = this.#life;
    let open = true;
    const alive = () => {
      if (life !== this.#life) throw diskError("EBADF", `the process that opened ${content.name} is gone`);
      if (!open) throw diskError("EBADF", `${content.name} was closed`);
    };
    const changing = () => {
      alive();
      if (!writable) throw diskError("EBADF", `${content.name} was opened for reading`);
    };
    return {
      write: (bytes, from, to, at) => {
        changing();
        this.#write(content, bytes.subarray(from, to), at);
      },
      writeThrough: (bytes, from, to, at, done) => {
        changing();
        try {
          this.#write(content, bytes.subarray(from, to), at);
        } catch (error) {
          this.#await({ finish: () => done(error as Error) });
          return;
        }
        // The file system's journal keeps its order, so a cut before it is durable with it; other writes are not.
        const own = content.changes - 1;
        const covers: Covers = ({ kind, number }) => number === own || (kind === "truncate" && number < own);
        this.#beginSync(content, covers, done);
      },
      sync: (done) => {
        alive();
        this.#beginSync(content, allSoFar(content), done);
      },
      syncNow: () => {
        alive();
        const failsWith = this.#countSync(content);
        const error = this.#finishSync(content, allSoFar(content), failsWith);
        if (error !== null) throw error;
      },
      read: (into, at) => {
        alive();
        return content.cache.read(into, at);
      },
      size: () => {
        alive();
        return content.cache.size;
      },
      truncate: (length) => {
        changing();
        this.trace.push(`truncate ${path.basename(content.name)} ${length}`);
        content.change({ kind: "truncate", length });
      },
      close: () => {
        // A dead process has nothing left to close; its cleaning up may still run.
        if (life === this.#life) alive();
        open = false;
      },
    };
  }

  #write(content: FileContent, bytes: Uint8Array, at: number): void {
    const failsWith = this.#nextWriteFails;
    this.#nextWriteFails = undefined;
    if (failsWith !== undefined) throw diskError(failsWith, `writing ${content.name} failed`);
    const endMax = content.cache.size + this.#free();
    const taken = Math.max(0, Math.min(bytes.length, endMax - at));
    if (taken > 0) {
      this.counters.writes++;
      this.counters.writtenBytes += taken;
      this.trace.push(`write ${path.basename(content.name)} ${at}+${taken}`);
      content.change({ kind: "write", at, bytes: bytes.slice(0, taken) });
    }
    if (taken < bytes.length) throw diskError("ENOSPC", `no room for ${bytes.length} bytes in ${content.name}`);
  }

  #beginSync(content: FileContent, covers: Covers, done: (error: Error | null) => void): void {
    const failsWith = this.#countSync(content);
    this.#await({ finish: () => done(this.#finishSync(content, covers, failsWith)) });
  }

  #await(waiting: WaitingSync): void {
    this.#waiting.push(waiting);
    if (!this.#holds) this.#returnOneLater();
  }

  #returnOneLater(): void {
    const life = this.#life;
    setImmediate(() => {
      if (life === this.#life) this.returnNextSync();
    });
  }

  #countSync(content: FileContent): string | undefined {
    this.counters.syncs++;
    this.trace.push(`sync ${path.basename(content.name)}`);
    const failsWith = this.#nextSyncFails;
    this.#nextSyncFails = undefined;
    return failsWith;
  }

  #finishSync(content: FileContent, covers: Covers, failsWith: string | undefined): Error | null {
    content.clean(covers, failsWith !== undefined);
    this.trace.push(`${failsWith ?? "synced"} ${path.basename(content.name)}`);
    return failsWith === undefined ? null : diskError(failsWith, `syncing ${content.name} failed`);
  }

  #rename(name: string, content: FileContent | undefined): void {
    setName(this.#names, name, content);
    const changes = this.#nameChanges.get(name) ?? [];
    changes.push(content);
    this.#nameChanges.set(name, changes);
  }

  #folder(folder: string): string {
    const name = path.resolve(folder);
    if (!this.#folders.has(name)) throw diskError("ENOENT", `there is no folder ${name}`);
    return name;
  }

  #content(file: string): FileContent {
    const content = this.#names.get(path.resolve(file));
    if (content === undefined) throw diskError("ENOENT", `there is no ${file}`);
    return content;
  }

  #used(): number {
    let used = 0;
    for (const content of this.#names.values()) used += content.cache.size;
    return used;
  }

  #free(): number {
    return Math.max(0, this.#capacityBytes - this.#used());
  }

  #below(bound: number): number {
    return this.#random.safeInteger() % bound;
  }
}

/** Sync or write-through that has begun. */
interface WaitingSync {
  readonly finish: () => void;
}

type Covers = (change: NumberedChange) => boolean;

type Change =
  | { readonly kind: "write"; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly length: number };

type NumberedChange = Change & { readonly number: number };

function allSoFar({ changes }: FileContent): Covers {
  return ({ number }) => number < changes;
}

/** One file: cache, platter, and the changes that lie between them. */
class FileContent {
  readonly name: string;
  readonly cache = new Image();
  readonly #platter = new Image();
  #dirty: NumberedChange[] = [];
  /** Changes so far, those that were synced included. */
  changes = 0;

  constructor(name: string) {
    this.name = name;
  }

  change(change: Change): void {
    this.cache.apply(change);
    this.#dirty.push({ ...change, number: this.changes++ });
  }

  /** Changes that are covered reach the platter; or, when the sync failed, writes among them never will. */
  clean(covers: Covers, failed: boolean): void {
    const before = this.#dirty;
    if (failed) {
      // A file's length lives in the file system's journal and stays dirty there; only pages are given up.
      this.#dirty = before.filter((change) => change.kind === "truncate" || !covers(change));
      return;
    }
    this.#dirty = before.filter((change) => !covers(change));
    for (const change of before) if (covers(change)) this.#platter.apply(change);
  }

  replace(bytes: Uint8Array): void {
    this.#dirty = [];
    this.cache.replace(bytes);
    this.#platter.replace(bytes);
  }

  dropCleanPages(): void {
    const { size } = this.cache;
    this.cache.replace(this.#platter.copy());
    for (const change of this.#dirty) this.cache.apply(change);
    this.cache.extend(size);
  }

  loseCache(survival: Survival, below: (bound: number) => number): void {
    const sizeBefore = this.cache.size;
    if (survival === "everything") for (const change of this.#dirty) this.#platter.apply(change);
    if (survival === "some" && this.#dirty.length > 0) {
      this.#keepSome(below);
      if (below(2) === 0) this.#platter.extend(sizeBefore);
    }
    this.#dirty = [];
    this.cache.replace(this.#platter.copy());
  }

  // Three kinds of crash, because each alone would leave some kind of tear untried: a start of what was written, all
  // but a little of it, and each sector for itself.
  #keepSome(below: (bound: number) => number): void {
    const pieces = this.#dirty.flatMap(inSectors);
    const style = below(3);
    if (style === 0) {
      for (const piece of pieces.slice(0, below(pieces.length + 1))) this.#platter.apply(piece);
      return;
    }
    const writesOf = new Map<number, number>();
    for (const piece of pieces) {
      if (piece.kind === "write") writesOf.set(sectorOf(piece), (writesOf.get(sectorOf(piece)) ?? 0) + 1);
    }
    // A sector holds one of its earlier states: its first writes, up to some number.
    const kept = new Map<number, number>();
    for (const [sector, writes] of writesOf) kept.set(sector, style === 1 && below(8) > 0 ? writes : below(writes + 1));
    for (const piece of pieces) {
      if (piece.kind === "truncate") {
        if (below(2) === 0) this.#platter.apply(piece);
        continue;
      }
      const left = kept.get(sectorOf(piece))!;
      if (left === 0) continue;
      kept.set(sectorOf(piece), left - 1);
      this.#platter.apply(piece);
    }
  }
}

function sectorOf(piece: { readonly at: number }): number {
  return Math.floor(piece.at / sectorBytes);
}

function inSectors(change: Change): Change[] {
  if (change.kind === "truncate") return [change];
  const pieces: Change[] = [];
  for (let from = 0; from < change.bytes.length; ) {
    const at = change.at + from;
    const to = Math.min(change.bytes.length, from + sectorBytes - (at % sectorBytes));
    pieces.push({ kind: "write", at, bytes: change.bytes.subarray(from, to) });
    from = to;
  }
  return pieces;
}

/** The bytes of a file in one place. Bytes beyond `size` are zero, so that a file that grows over a hole reads zeros. */
class Image {
  #bytes = new Uint8Array(4096);
  size = 0;

  apply(change: Change): void {
    if (change.kind === "truncate") {
      this.#bytes.fill(0, change.length, Math.max(change.length, this.size));
      this.size = 0;
      this.extend(change.length);
      return;
    }
    this.extend(change.at + change.bytes.length);
    this.#bytes.set(change.bytes, change.at);
  }

  extend(size: number): void {
    if (size <= this.size) return;
    if (size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(size, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.size));
      this.#bytes = grown;
    }
    this.size = size;
  }

  read(into: Uint8Array, at: number): number {
    const available = this.#bytes.subarray(at, Math.min(this.size, at + into.length));
    into.set(available);
    return available.length;
  }

  copy(): Uint8Array {
    return this.#bytes.slice(0, this.size);
  }

  replace(bytes: Uint8Array): void {
    this.#bytes = bytes.slice();
    this.size = bytes.length;
  }
}

function setName(names: Map<string, FileContent>, name: string, content: FileContent | undefined): void {
  if (content === undefined) names.delete(name);
  else names.set(name, content);
}

function diskError(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}
