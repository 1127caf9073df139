// What the specs of this package share: a shard over a simulated disk and a real partition, and a client that speaks
// frames to it. Everything a reply could depend on (disk, clock, turns) is in the test's hands.
//
// A crash ends the shard as a killed process ends: its turns stop, its files are dead, nothing that it still says counts.
// LMDB cannot be killed inside one process; what was committed stays, what was not is closed away.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type AnyAggregate, type AnyContext, type CompiledContext, compileContext } from "@heddle/domain/internal";
import {
  type Disk,
  type Durability,
  type EntryView,
  entryChecksumHolds,
  entryFlags,
  LogReader,
} from "@heddle/event-log/internal";
import { type EntityId, type HeddleError, hashEntity } from "@heddle/kernel";
import { openPartition, type Partition } from "@heddle/partition/internal";
import type { Moment } from "@heddle/protocol";
import {
  type AnyRejection,
  type AppendFields,
  type ExecuteFields,
  frameOffset,
  type GetFields,
  type HistoryFields,
  type ImportFields,
  type ListFields,
  type Receipt,
  type Reply,
  readReply,
  receiptFrameBytes,
  requestFlags,
  requestKind,
  type TransactOperation,
  type WireEvent,
  type WireListed,
  writeAppendBody,
  writeDeleteBody,
  writeExecuteBody,
  writeGetAtBody,
  writeGetBody,
  writeHistoryBody,
  writeImportBody,
  writeListBody,
  writeReceiptFrame,
  writeRequestHeader,
  writeRestoreBody,
  writeTransactBody,
  writeU32,
} from "@heddle/protocol/internal";
import { SimulatedDisk, type Survival, seededRandom } from "@heddle/testkit";
import { expect } from "vitest";
import type { ErasureReceipt } from "./erasures.ts";
import { Shard } from "./shard.ts";
import { innerConnectionMin, isInner, type ShardCalls } from "./shard-calls.ts";
import { defaultShardLimits, type ShardLimits, type ShardOptions } from "./shard-options.ts";
import { EntryDecoder } from "./stored-events.ts";

/** Where a call comes from. Left out: session 1, the session's next number. Each session has a connection of its own. */
export interface Caller {
  readonly session?: number;
  readonly call?: number;
  readonly retry?: boolean;
}

export interface ShardUnderTestOptions {
  readonly disk?: SimulatedDisk;
  readonly limits?: Partial<ShardLimits>;
  readonly durability?: Durability;
  readonly shard?: number;
  readonly shardCount?: number;
  /** Stands between the shard and its partition. */
  readonly wrapPartition?: (partition: Partition) => Partition;
  readonly eraseKeys?: ShardOptions["eraseKeys"];
  readonly readers?: ShardOptions["readers"];
  /** Where its requests to shards go, and replies to theirs. Left out: it is the only shard. */
  readonly network?: Network;
  /** Heddle's own aggregates, and what works beside the shard on its thread. Made anew at every start. */
  readonly system?: readonly AnyAggregate[];
  readonly beside?: (ports: BesidePorts) => Pick<ShardOptions, "alarms" | "handlers">;
  /** Whether the disk fails to give back what was written. */
  readonly isUnreadable?: () => boolean;
}

export interface BesidePorts extends Pick<ShardOptions, "clock" | "random" | "schedule" | "report" | "replies"> {
  readonly calls: ShardCalls;
  readonly domain: CompiledContext;
  readonly shard: () => Shard;
  readonly crashPoint: (name: string) => void;
}

/** What connects several shards under test. */
export interface Network {
  callsOf(shard: number, isAlive: () => boolean): ShardCalls;
  /** A shard answers a request that came over the network. */
  hear(shard: number, connection: number, reply: Reply): void;
  /** A shard is dead: what it was asked is lost. */
  lose(shard: number): void;
}

/** Thrown at a crash point: the code behind it does not run any more. */
export class Crash extends Error {
  override readonly name = "Crash";
}

const root = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-shard-"));
process.on("exit", () => fs.rmSync(root, { recursive: true, force: true }));
const logFolder = "/log";
/** Nothing that a test waits for takes a disk so long. In ms. */
const patienceMs = 120_000;
const opened = new Set<ShardUnderTest>();
let folders = 0;

/** For `afterEach`: no partition outlives its test. */
export async function closeAll(): Promise<void> {
  for (const under of opened) await under.end();
  opened.clear();
}

export function openShard(context: AnyContext, options: ShardUnderTestOptions = {}): ShardUnderTest {
  const under = new ShardUnderTest(context, options);
  opened.add(under);
  return under;
}

interface Waiter {
  readonly resolve: (reply: Reply) => void;
  readonly settled: { reply: Reply | undefined };
}

/** A call under way. Awaiting it gives the reply. */
export interface Asked extends Promise<Reply> {
  /** The reply, if it has come. */
  readonly reply: Reply | undefined;
}

export class ShardUnderTest {
  readonly disk: SimulatedDisk;
  readonly clock = { nowMs: 1_700_000_000_000, monotonicMs: 1_000 };
  /** Every reply in the order in which they left. */
  readonly replies: Reply[] = [];
  readonly reports: { level: string; message: string; facts: Record<string, unknown> }[] = [];
  readonly states: string[] = [];
  readonly crashPoints: string[] = [];
  shard!: Shard;
  partition!: Partition;
  readonly #options: ShardUnderTestOptions;
  #folder: string;
  #context: AnyContext;
  #life = 0;
  #ended = false;
  /** The process is dead: what is sent to it is never answered. */
  #dead = false;
  readonly #calls = new Map<number, number>();
  readonly #waiting = new Map<string, Waiter[]>();
  readonly #innerWaiting = new Map<number, (reply: Reply) => void>();
  #innerCall = 0;
  #turnOpen = false;
  #crashAt: { name: string; left: number; survival: Survival } | undefined;
  #crashed: PromiseWithResolvers<void> | undefined;
  /** Rejects when the shard that runs now is dead. */
  #death = Promise.withResolvers<never>();
  #failAt: { name: string; error: Error; left: number } | undefined;

  constructor(context: AnyContext, options: ShardUnderTestOptions) {
    this.#context = context;
    this.#options = options;
    this.disk = options.disk ?? new SimulatedDisk();
    this.#folder = path.join(root, String(folders++));
    this.start();
  }

  // ——— its life

  /** Opens the shard on what is there. */
  start(context: AnyContext = this.#context, limits: Partial<ShardLimits> = this.#options.limits ?? {}): void {
    this.#context = context;
    const life = ++this.#life;
    this.#dead = false;
    const { shard = 0, shardCount = 1, durability = "fsync", wrapPartition = (partition) => partition } = this.#options;
    const crashPoint = (name: string) => this.#pass(name, life);
    this.#death = Promise.withResolvers();
    this.#death.promise.catch(() => {});
    this.partition = wrapPartition(this.#mortal(openPartition({ folder: this.#folder, shard, crashPoint })));
    const domain = compileContext(context, undefined, this.#options.system);
    const ports = { ...this.#ports(life), crashPoint };
    this.shard = Shard.open({
      ...this.#options.beside?.({ ...ports, calls: this.#innerCalls(life), domain, shard: () => this.shard }),
      shard,
      shardCount,
      domain,
      logFolder,
      disk: this.#silentOnceDead(this.#diskOfShard(), life),
      partition: this.partition,
      durability,
      limits: { ...defaultShardLimits, ...limits },
      calls: this.#callsOf(life),
      eraseKeys: this.#options.eraseKeys,
      readers: this.#options.readers,
      ...ports,
      onState: (state) => {
        if (life === this.#life) this.states.push(state);
      },
    });
  }

  #ports(life: number): Pick<ShardOptions, "clock" | "random" | "schedule" | "report" | "replies"> {
    return {
      clock: { now: () => this.clock.nowMs, monotonic: () => this.clock.monotonicMs },
      // Another one for each shard and each life, as it is in a node.
      random: seededRandom(7 + life + 1_000 * (this.#options.shard ?? 0)),
      replies: {
        receipt: (connection, _requestBytes, call, shardNumber, firstSeq, count, position, time, duplicate) => {
          const frame = new Uint8Array(receiptFrameBytes);
          writeReceiptFrame(frame, 0, call, shardNumber, firstSeq, count, position, time, duplicate);
          this.#hear(life, connection, frame);
        },
        frame: (connection, _requestBytes, frame) => this.#hear(life, connection, frame),
        flush: () => {},
      },
      schedule: (task, delayMs) => {
        const run = () => {
          if (life === this.#life) task();
        };
        if (delayMs === 0) setImmediate(run);
        else setTimeout(run, delayMs);
      },
      report: (level, message, facts) => {
        if (life === this.#life) this.reports.push({ level, message, facts });
      },
    };
  }

  #callsOf(life: number): ShardCalls {
    const { network, shard = 0 } = this.#options;
    return network?.callsOf(shard, () => life === this.#life) ?? this.#innerCalls(life);
  }

  // As the threads of a node do it: nothing is delivered while the shard is at work.
  #innerCalls(life: number): ShardCalls {
    return {
      shardCount: this.#options.shardCount ?? 1,
      connection: innerConnectionMin,
      expect: (_shard, onReply) => {
        const call = ++this.#innerCall;
        this.#innerWaiting.set(call, onReply);
        queueMicrotask(() => {
          if (life === this.#life) this.shard.endTurn();
        });
        return call;
      },
      forgo: (call) => this.#innerWaiting.delete(call),
      call: (kind, hash, write, onReply) => {
        let bytes = new Uint8Array();
        const used = write((wanted) => {
          bytes = new Uint8Array(frameOffset.requestBody + wanted);
          return { bytes, at: frameOffset.requestBody };
        });
        const length = frameOffset.requestBody + used;
        const call = ++this.#innerCall;
        writeU32(bytes, 0, length - 4);
        writeRequestHeader(bytes, 0, { kind, flags: 0, hash, call });
        this.#innerWaiting.set(call, onReply);
        queueMicrotask(() => {
          if (life !== this.#life) return;
          this.shard.receive(innerConnectionMin, 0, bytes, 0, length);
          if (life === this.#life) this.shard.endTurn();
        });
      },
    };
  }

  /** Opens the shard on the same log beside a new, empty partition; the one before stays as it is. */
  startWithEmptyPartition(limits?: Partial<ShardLimits>): void {
    this.#folder = path.join(root, String(folders++));
    this.start(this.#context, limits);
  }

  /** Stops it cleanly and opens it again. */
  async restart(context?: AnyContext): Promise<void> {
    await this.shard.close();
    this.start(context);
  }

  /** The power fails. Nothing is open afterwards; `start` opens it again. Calls under way stay unanswered. */
  async crash(survival: Survival = "nothing"): Promise<void> {
    this.#crashAt = undefined;
    this.#die(survival);
    await this.partition.close();
  }

  /** Arms a crash at the n-th passing of a crash point; resolves when it has happened and all is closed. */
  async crashAt(name: string, act: () => unknown, options: { nth?: number; survival?: Survival } = {}): Promise<void> {
    this.#crashAt = { name, left: options.nth ?? 1, survival: options.survival ?? "nothing" };
    this.#crashed = Promise.withResolvers();
    this.#failAt = undefined;
    try {
      act();
    } catch (error) {
      // The log meets its dead files.
      if (!this.#dead) throw error;
    }
    await this.#crashed.promise;
    await this.partition.close();
  }

  /** Arms a crash at a crash point, which may never be passed; `isDead` tells. The partition is then the caller's to close. */
  armCrash(name: string, survival: Survival): void {
    this.#crashAt = { name, left: 1, survival };
  }

  /** The crash or failure that was armed is not to come any more. */
  disarm(): void {
    this.#crashAt = undefined;
    this.#failAt = undefined;
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** The code at a named place fails once with this error, and the process lives on. */
  failAt(name: string, error: Error, nth = 1): void {
    this.#failAt = { name, error, left: nth };
  }

  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#life++;
    this.#death.reject(new Crash("the end of the test"));
    this.disk.killProcess();
    await this.partition.close();
  }

  // ——— turns

  /** What the callback sends arrives in one turn. */
  turn<T>(send: () => T): T {
    this.#turnOpen = true;
    try {
      return send();
    } finally {
      this.#turnOpen = false;
      if (!this.#dead) this.shard.endTurn();
    }
  }

  /** Lets turns of the event loop pass: all that can happen without a sync or the clock happens. */
  async turns(count = 5): Promise<void> {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** A checkpoint, from its beginning to its end. */
  async checkpoint(): Promise<void> {
    await this.until(() => this.shard.state === "open" && !this.shard.stats().isCheckpointing);
    const { checkpoints } = this.shard.stats();
    await this.until(() => {
      if (this.shard.stats().checkpoints > checkpoints) return true;
      this.shard.requestCheckpoint();
      return false;
    });
  }

  /** Waits, turn by turn, until something holds, however long the disk takes: the partition lies on a real one. */
  async until(holds: () => boolean): Promise<void> {
    const giveUpAt = performance.now() + patienceMs;
    while (!holds()) {
      if (performance.now() > giveUpAt) {
        const last = JSON.stringify(this.reports.at(-1));
        throw new Error(`waited ${patienceMs} ms until ${holds}; states ${this.states}; ${last}`);
      }
      await this.turns(1);
    }
  }

  advance(ms: number): void {
    this.clock.nowMs += ms;
    this.clock.monotonicMs += ms;
  }

  // ——— calls

  append(fields: AppendFields, caller: Caller = {}): Asked {
    return this.ask(requestKind.append, fields.entity, (reserve) => writeAppendBody(fields, reserve), caller);
  }

  execute(fields: ExecuteFields, caller: Caller = {}): Asked {
    return this.ask(requestKind.execute, fields.entity, (reserve) => writeExecuteBody(fields, reserve), caller);
  }

  get(entity: string, aggregate: string, caller: Caller = {}): Asked {
    const fields: GetFields = { entity, aggregate };
    return this.ask(requestKind.get, entity, (reserve) => writeGetBody(fields, reserve), caller);
  }

  history(entity: string, options: Partial<HistoryFields> = {}, caller: Caller = {}): Asked {
    const fields: HistoryFields = { entity, aggregate: "", from: 0, limit: 10_000, direction: "forward", ...options };
    return this.ask(requestKind.history, entity, (reserve) => writeHistoryBody(fields, reserve), caller);
  }

  /** The state that a read gives, and the sequence it is of. */
  async state(entity: string, aggregate: string): Promise<{ state: unknown; seq: number }> {
    return value(await this.get(entity, aggregate)) as { state: unknown; seq: number };
  }

  /** All events of an entity, page after page. */
  async events(entity: string, options: Partial<HistoryFields> = {}): Promise<WireEvent[]> {
    const events: WireEvent[] = [];
    for (;;) {
      const from = events.length === 0 ? (options.from ?? 0) : events.at(-1)![0] + 1;
      const page = value(await this.history(entity, { ...options, from })) as WireEvent[];
      if (page.length === 0) return events;
      events.push(...page);
    }
  }

  ask(
    kind: number,
    entity: string,
    write: (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number,
    caller: Caller = {},
  ): Asked {
    let bytes = new Uint8Array();
    const used = write((wanted) => {
      bytes = new Uint8Array(frameOffset.requestBody + wanted);
      return { bytes, at: frameOffset.requestBody };
    });
    return this.send(kind, entity, bytes.subarray(frameOffset.requestBody, frameOffset.requestBody + used), caller);
  }

  /** Sends a body as it is, whatever it is. */
  send(kind: number, entity: string, body: Uint8Array, { session = 1, call, retry = false }: Caller = {}): Asked {
    const number = call ?? (this.#calls.get(session) ?? 0) + 1;
    this.#calls.set(session, Math.max(number, this.#calls.get(session) ?? 0));
    const frame = new Uint8Array(frameOffset.requestBody + body.length);
    writeU32(frame, 0, frame.length - 4);
    const flags = retry ? requestFlags.retry : 0;
    writeRequestHeader(frame, 0, { kind, flags, hash: hashEntity(entity as EntityId), call: number });
    frame.set(body, frameOffset.requestBody);
    const settled: Waiter["settled"] = { reply: undefined };
    const promise = new Promise<Reply>((resolve) => {
      if (this.#dead) return;
      const key = `${session} ${number}`;
      this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), { resolve, settled }]);
    });
    if (!this.#dead) this.shard.receive(session, session, frame, 0, frame.length);
    if (!this.#dead && !this.#turnOpen) this.shard.endTurn();
    return Object.defineProperty(promise, "reply", { get: () => settled.reply }) as Asked;
  }

  /** A transaction. It is sent to this shard, whatever entities it has. */
  transact(operations: readonly TransactOperation[], { id, ...caller }: Caller & { readonly id?: string } = {}): Asked {
    return this.ask(requestKind.transact, "", (reserve) => writeTransactBody({ operations, id }, reserve), caller);
  }

  getAt(entity: string, aggregate: string, at: Moment, caller: Caller = {}): Asked {
    const fields = { entity, aggregate, at };
    return this.ask(requestKind.getAt, entity, (reserve) => writeGetAtBody(fields, reserve), caller);
  }

  restore(
    entity: string,
    at: Moment,
    { id, expectedSeq, ...caller }: Caller & { readonly id?: string; readonly expectedSeq?: number } = {},
  ): Asked {
    const fields = { entity, at, id, expectedSeq };
    return this.ask(requestKind.restore, entity, (reserve) => writeRestoreBody(fields, reserve), caller);
  }

  delete(entity: string, { provisional = false, ...caller }: Caller & { readonly provisional?: boolean } = {}): Asked {
    const fields = { entity, provisional };
    return this.ask(requestKind.delete, entity, (reserve) => writeDeleteBody(fields, reserve), caller);
  }

  import(fields: Omit<ImportFields, "trusted"> & { readonly trusted?: boolean }, caller: Caller = {}): Asked {
    const whole = { trusted: false, ...fields };
    return this.ask(requestKind.import, fields.entity, (reserve) => writeImportBody(whole, reserve), caller);
  }

  list(fields: Partial<ListFields> = {}): Asked {
    const whole = { prefix: "", after: "", limit: 1_000, erased: false, ...fields };
    return this.ask(requestKind.list, "list/shard", (reserve) => writeListBody(whole, reserve));
  }

  types(): Asked {
    return this.ask(requestKind.types, "types/shard", (reserve) => {
      reserve(0);
      return 0;
    });
  }

  /** Deletes an entity to the end; the receipt. */
  async erase(entity: string, caller: Caller = {}): Promise<ErasureReceipt> {
    const receipt = value(await this.delete(entity, caller)) as ErasureReceipt;
    expect(receipt).toMatchObject({ entity, complete: true });
    return receipt;
  }

  /** Every entity, page after page. */
  async listed(fields: Partial<ListFields> = {}): Promise<WireListed[]> {
    const listed: WireListed[] = [];
    for (;;) {
      const page = value(await this.list({ ...fields, after: listed.at(-1)?.[0] ?? "" })) as WireListed[];
      if (page.length === 0) return listed;
      listed.push(...page);
    }
  }

  /** Files of the log and of the partition in which a text stands as UTF-8 bytes. */
  filesWith(text: string): string[] {
    const wanted = Buffer.from(text);
    const ofLog = this.disk
      .list(logFolder)
      .map((name) => [name, this.disk.readFile(path.join(logFolder, name))] as const);
    const ofPartition = fs
      .readdirSync(this.#folder)
      .map((name) => [name, fs.readFileSync(path.join(this.#folder, name))] as const);
    return [...ofLog, ...ofPartition].filter(([, bytes]) => Buffer.from(bytes).includes(wanted)).map(([name]) => name);
  }

  /** Visits every entry of the log, as an independent reader finds it. */
  scanLog(visit: (entry: EntryView) => void): void {
    const reader = new LogReader(this.disk, logFolder);
    reader.scan(0, visit);
    reader.close();
  }

  /** Everything in the log, as an independent reader finds it; what stands in headers is held against the bodies. */
  logEntries(): { entity: string; firstSeq: number; eventCount: number; position: number }[] {
    const entries: { entity: string; firstSeq: number; eventCount: number; position: number }[] = [];
    const decoder = new EntryDecoder();
    this.scanLog((entry) => {
      const { entity, eventCount, payloadsFrom } = decoder.open(entry);
      expect(entry.eventCount).toBe(eventCount);
      expect(entryChecksumHolds(entry)).toBe(true);
      if ((entry.flags & entryFlags.erased) !== 0) expect([entry.payloadsOffset, entry.fingerprint]).toEqual([0, 0]);
      else {
        expect(entry.payloadsOffset).toBe(payloadsFrom - entry.bodyFrom);
        expect(decoder.payloads(entry)).toHaveLength(eventCount);
      }
      entries.push({ entity, firstSeq: entry.firstSeq, eventCount, position: entry.position });
    });
    return entries;
  }

  /** Bytes in the log's files. */
  logBytes(): number {
    const files = this.disk.list(logFolder);
    return files.reduce((sum, file) => sum + this.disk.readFile(path.join(logFolder, file)).length, 0);
  }

  // A scrub waits for turns of a shard that may be dead by then; its partition could not be closed.
  #mortal(partition: Partition): Partition {
    const { promise } = this.#death;
    return overridden(partition, "scrub", (nextTurn: () => Promise<void>) =>
      partition.scrub(() => Promise.race([nextTurn(), promise])),
    );
  }

  #diskOfShard(): Disk {
    const { isUnreadable } = this.#options;
    if (isUnreadable === undefined) return this.disk;
    return overridden<Disk>(this.disk, "open", (file: string, mode: "read" | "write" | "create") => {
      const opened = this.disk.open(file, mode);
      return overridden(opened, "read", (into: Uint8Array, at: number) => {
        if (isUnreadable()) throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
        return opened.read(into, at);
      });
    });
  }

  // Among several shards, others hand work to one that is dead, and nobody would catch what its log throws then.
  #silentOnceDead(disk: Disk, life: number): Disk {
    return overridden<Disk>(disk, "open", (file: string, mode: "read" | "write" | "create") => {
      // A log whose segment is full would else make the next one, on the disk that the next process has. To read does no harm:
      // what a turn still says that was under way when its process died, nobody hears.
      if (life !== this.#life && mode !== "read") throw new Crash(file);
      const opened = disk.open(file, mode);
      if (this.#options.network === undefined) return opened;
      return overridden(opened, "sync", (done: (error: Error | null) => void) => {
        if (life === this.#life) opened.sync(done);
      });
    });
  }

  #hear(life: number, connection: number, frame: Uint8Array): void {
    if (life !== this.#life) return;
    const reply = readReply(frame, 0, frame.length);
    if (isInner(connection) && this.#options.network !== undefined) {
      this.#options.network.hear(this.#options.shard ?? 0, connection, reply);
      return;
    }
    if (connection === innerConnectionMin) {
      const onReply = this.#innerWaiting.get(reply.call)!;
      this.#innerWaiting.delete(reply.call);
      queueMicrotask(() => {
        if (life === this.#life) onReply(reply);
      });
      return;
    }
    this.replies.push(reply);
    const waiters = this.#waiting.get(`${connection} ${reply.call}`) ?? [];
    const waiter = waiters.shift();
    expect(waiter, `a reply that nobody waits for: ${JSON.stringify(reply)}`).toBeDefined();
    waiter!.settled.reply = reply;
    waiter!.resolve(reply);
  }

  #pass(name: string, life: number): void {
    if (life !== this.#life) return;
    this.crashPoints.push(name);
    if (this.#failAt?.name === name && --this.#failAt.left === 0) {
      const { error } = this.#failAt;
      this.#failAt = undefined;
      throw error;
    }
    if (this.#crashAt?.name !== name || --this.#crashAt.left > 0) return;
    this.#die(this.#crashAt.survival);
    // The log finds its files dead, and comes from a place where nobody would catch this. LMDB is alive.
    if (!/^(log|shard|transaction):/.test(name)) throw new Crash(name);
  }

  #die(survival: Survival): void {
    this.#life++;
    this.#dead = true;
    this.#death.reject(new Crash("a crash"));
    this.#crashAt = undefined;
    this.#waiting.clear();
    this.#innerWaiting.clear();
    this.#options.network?.lose(this.#options.shard ?? 0);
    this.disk.crash(survival);
    this.#crashed?.resolve();
  }
}

/** The same object with one method replaced. */
export function overridden<T extends object>(target: T, name: keyof T, method: unknown): T {
  return new Proxy(target, {
    get: (_, wanted) => {
      if (wanted === name) return method;
      const found: unknown = Reflect.get(target, wanted, target);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

// ——— reading replies

export function receipt(reply: Reply): Receipt {
  expect(reply.kind, describeReply(reply)).toBe("receipt");
  return (reply as Extract<Reply, { kind: "receipt" }>).receipt;
}

export function rejected(reply: Reply): AnyRejection {
  expect(reply.kind, describeReply(reply)).toBe("rejected");
  return (reply as Extract<Reply, { kind: "rejected" }>).rejection;
}

export function failure(reply: Reply): HeddleError {
  expect(reply.kind, describeReply(reply)).toBe("error");
  return (reply as Extract<Reply, { kind: "error" }>).error;
}

export function value(reply: Reply): unknown {
  expect(reply.kind, describeReply(reply)).toBe("value");
  return (reply as Extract<Reply, { kind: "value" }>).value;
}

function describeReply(reply: Reply): string {
  return reply.kind === "error" ? reply.error.message : JSON.stringify(reply);
}

/** Sequence, type and payload of each event: what most tests care about. */
export function brief(events: readonly WireEvent[]): [seq: number, type: string, payload: unknown][] {
  return events.map(([seq, , , type, payload]) => [seq, type, payload]);
}
