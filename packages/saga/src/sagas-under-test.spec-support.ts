// What the specs of sagas share: several shards, each on a thread of its own, over simulated disks and one simulated clock, and
// a client that speaks frames to them. Calls between shards take a turn of their own; threads are lost, and the power fails, at
// the places that a test names.
//
// Simulated time goes on when nothing else is left to happen: to the next timer, and no further.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type AnyContext, type CompiledContext, compileContext } from "@heddle/domain/internal";
import { type EntityId, HeddleError, hashEntity, systemKinds } from "@heddle/kernel";
import { openPartition, type Partition } from "@heddle/partition/internal";
import type { SagaPage, SagaQuery, SagaRecord, SagaResult } from "@heddle/protocol";
import {
  type AppendFields,
  encodeSagaSteps,
  frameOffset,
  type Reply,
  readReply,
  readSagaList,
  readSagaRecord,
  readSagaResult,
  receiptFrameBytes,
  requestKind,
  type SagaFields,
  type SagaOperateFields,
  type SagaStepFields,
  sagaEntity,
  sagaPage,
  type WireEvent,
  writeAppendBody,
  writeDeleteBody,
  writeGetBody,
  writeHistoryBody,
  writeReceiptFrame,
  writeRequestHeader,
  writeSagaBody,
  writeSagaListBody,
  writeSagaOperateBody,
  writeSagaShowBody,
  writeU32,
} from "@heddle/protocol/internal";
import {
  defaultShardLimits,
  innerConnectionMin,
  isInner,
  type ReplySink,
  Shard,
  type ShardCalls,
  type ShardLimits,
  type WriteBody,
} from "@heddle/shard/internal";
import { SimulatedDisk, type Survival, seededRandom } from "@heddle/testkit";
import { expect } from "vitest";
import type { SagaLimits } from "./patience.ts";
import { sagaAggregate } from "./saga-aggregate.ts";
import { SagaCopies } from "./saga-copies.ts";
import { SagaRunner } from "./saga-runner.ts";

export interface SagasUnderTestOptions {
  readonly shardCount?: number;
  readonly limits?: Partial<SagaLimits>;
  readonly shardLimits?: Partial<ShardLimits>;
}

const root = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-saga-"));
process.on("exit", () => fs.rmSync(root, { recursive: true, force: true }));
/** Nothing that a test waits for takes a disk so long. In ms. */
const patienceMs = 120_000;
const opened = new Set<SagasUnderTest>();
let folders = 0;

/** For `afterEach`: no partition outlives its test. */
export async function closeAll(): Promise<void> {
  for (const under of opened) await under.end();
  opened.clear();
}

export function openSagas(context: AnyContext, options: SagasUnderTestOptions = {}): SagasUnderTest {
  const under = new SagasUnderTest(context, options);
  opened.add(under);
  under.start();
  return under;
}

/** Thrown at a crash point: the code behind it does not run any more. */
class Crash extends Error {
  override readonly name = "Crash";
}

interface Pending {
  readonly to: number;
  readonly onReply: (reply: Reply) => void;
}

/** One shard on its thread, for one life. */
interface Thread {
  readonly index: number;
  readonly partition: Partition;
  readonly pending: Map<number, Pending>;
  shard: Shard;
  runner: SagaRunner;
  isAlive: boolean;
  nextCall: number;
}

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

type Task = () => void;

export class SagasUnderTest {
  readonly disks: readonly SimulatedDisk[];
  readonly reports: { level: string; message: string; facts: Record<string, unknown> }[] = [];
  readonly crashPoints: string[] = [];
  /** What the wall clock is ahead of the time that passes. */
  wallSkewMs = 0;
  /** Requests to this shard stay on their way until it is let go. */
  held: number | undefined;
  readonly #options: SagasUnderTestOptions;
  readonly #folders: readonly string[];
  #domain: CompiledContext;
  #threads: (Thread | undefined)[] = [];
  readonly #dead: Thread[] = [];
  #nowMs = 1_000;
  #timers: Timer[] = [];
  #orders = 0;
  /** What happened since time last went on. */
  #activity = 0;
  #heldBack: Task[] = [];
  #nextCall = 1;
  /** Of threads. */
  #lives = 0;
  #waiting = new Map<number, (reply: Reply) => void>();
  #crashAt: { readonly name: string; left: number; readonly act: () => void } | undefined;
  #ended = false;

  constructor(context: AnyContext, options: SagasUnderTestOptions) {
    this.#options = options;
    this.#domain = compile(context);
    const count = options.shardCount ?? 3;
    this.disks = Array.from({ length: count }, (_, i) => new SimulatedDisk({ seed: i + 1 }));
    this.#folders = this.disks.map(() => path.join(root, String(folders++)));
  }

  get shardCount(): number {
    return this.disks.length;
  }

  get wallMs(): number {
    return 1_700_000_000_000 + Math.floor(this.#nowMs) + this.wallSkewMs;
  }

  runner(shard: number): SagaRunner {
    return this.#threads[shard]!.runner;
  }

  shard(shard: number): Shard {
    return this.#threads[shard]!.shard;
  }

  shardOf(entity: string): number {
    return hashEntity(entity as EntityId) % this.shardCount;
  }

  // ——— its life

  start(context?: AnyContext): void {
    if (context !== undefined) this.#domain = compile(context);
    for (let i = 0; i < this.shardCount; i++) this.startThread(i);
  }

  startThread(index: number): void {
    const partition = openPartition({ folder: this.#folders[index]!, shard: index });
    const thread: Thread = {
      index,
      partition,
      pending: new Map(),
      shard: undefined as unknown as Shard,
      runner: undefined as unknown as SagaRunner,
      isAlive: true,
      // A late answer to a call of an earlier life is not one to a call of this.
      nextCall: 1 + this.#lives++ * 1_000_000,
    };
    this.#threads[index] = thread;
    const clock = { now: () => this.wallMs, monotonic: () => this.#nowMs };
    const schedule = (task: Task, delayMs: number) => this.#schedule(thread, task, delayMs);
    const report = (level: string, message: string, facts: Record<string, unknown>) => {
      if (thread.isAlive) this.reports.push({ level, message, facts });
    };
    const calls = this.#callsOf(thread);
    const replies = this.#repliesOf(thread);
    const crashPoint = (name: string) => this.#pass(thread, name);
    thread.runner = new SagaRunner({
      shard: index,
      domain: this.#domain,
      calls,
      replies,
      clock,
      random: seededRandom(11),
      own: () => thread.shard,
      alarms: () => thread.shard.alarms,
      schedule,
      report,
      limits: this.#options.limits,
      crashPoint,
    });
    thread.shard = Shard.open({
      shard: index,
      shardCount: this.shardCount,
      domain: this.#domain,
      logFolder: "/log",
      disk: this.disks[index]!,
      partition,
      clock,
      random: seededRandom(7),
      durability: "fsync",
      limits: { ...defaultShardLimits, ...this.#options.shardLimits },
      replies,
      calls,
      handlers: thread.runner.handlers,
      alarms: new Map([[systemKinds.saga, thread.runner.alarmSource]]),
      copies: new SagaCopies(calls),
      crashPoint: (name) => {
        if (name.startsWith("erasure:")) this.#pass(thread, name);
      },
      schedule,
      report,
      onState: (state) => {
        if (state === "stopped") thread.runner.stop();
      },
    });
  }

  /** What the node does every now and then. */
  tick(): void {
    for (const thread of this.#threads) this.#run(thread, () => thread!.shard.tick());
  }

  /** Stops everything cleanly and opens it again. */
  async restart(context?: AnyContext): Promise<void> {
    for (const thread of this.#threads) {
      thread!.runner.stop();
      await thread!.shard.close();
      thread!.isAlive = false;
    }
    this.start(context);
  }

  /** A thread is lost with its memory; its disk keeps what was written. Whoever waits for it is told. */
  loseThread(index: number): void {
    const thread = this.#threads[index];
    if (thread === undefined) return;
    this.#kill(thread);
    this.disks[index]!.killProcess();
    for (const other of this.#threads) {
      if (other === undefined) continue;
      for (const [call, { to, onReply }] of other.pending) {
        if (to !== index) continue;
        other.pending.delete(call);
        const error = new HeddleError("OUTCOME_UNKNOWN", { problem: "the thread was lost" });
        this.#later(other, () => onReply({ kind: "error", call, error }));
      }
    }
  }

  /** The power fails. */
  powerCut(survival: Survival): void {
    for (const thread of this.#threads) if (thread !== undefined) this.#kill(thread);
    for (const disk of this.disks) disk.crash(survival);
    this.#waiting = new Map();
    this.#heldBack = [];
  }

  #kill(thread: Thread): void {
    thread.isAlive = false;
    this.#threads[thread.index] = undefined;
    this.#dead.push(thread);
  }

  /** What the dead have open is closed, and everything that is not there is started. */
  async startAgain(): Promise<void> {
    await this.#bury();
    for (let i = 0; i < this.shardCount; i++) if (this.#threads[i] === undefined) this.startThread(i);
  }

  async #bury(): Promise<void> {
    for (const { partition } of this.#dead.splice(0)) await partition.close();
  }

  /** Something happens at the n-th passing of a crash point, and the code behind it does not run. */
  at(name: string, act: () => void, nth = 1): void {
    this.#crashAt = { name, left: nth, act };
  }

  get isArmed(): boolean {
    return this.#crashAt !== undefined;
  }

  get isDown(): boolean {
    return this.#threads.some((thread) => thread === undefined);
  }

  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    for (const thread of this.#threads) if (thread !== undefined) this.#kill(thread);
    for (const disk of this.disks) disk.killProcess();
    await this.#bury();
  }

  #pass(thread: Thread, name: string): void {
    if (!thread.isAlive) throw new Crash(name);
    this.crashPoints.push(name);
    if (this.#crashAt?.name !== name || --this.#crashAt.left > 0) return;
    const { act } = this.#crashAt;
    this.#crashAt = undefined;
    act();
    if (!thread.isAlive) throw new Crash(name);
  }

  // ——— turns and time

  #run(thread: Thread | undefined, task: Task): void {
    if (thread !== undefined && !thread.isAlive) return;
    this.#activity++;
    try {
      task();
    } catch (thrown) {
      if (!(thrown instanceof Crash)) throw thrown;
    }
  }

  #later(thread: Thread, task: Task): void {
    this.#activity++;
    queueMicrotask(() => this.#run(thread, task));
  }

  #schedule(thread: Thread, task: Task, delayMs: number): void {
    if (delayMs === 0) {
      this.#activity++;
      setImmediate(() => this.#run(thread, task));
      return;
    }
    this.#timers.push({ at: this.#nowMs + delayMs, order: this.#orders++, run: () => this.#run(thread, task) });
  }

  /** Lets time go by, timer by timer. */
  async pass(ms: number): Promise<void> {
    const until = this.#nowMs + ms;
    for (;;) {
      await this.#quiet();
      const next = this.#nextTimer();
      if (next === undefined || next.at > until) break;
      this.#fire(next);
    }
    this.#nowMs = until;
  }

  /** Lets time go by at once, whatever the disks are at. */
  fireTimers(ms: number): void {
    const until = this.#nowMs + ms;
    for (let next = this.#nextTimer(); next !== undefined && next.at <= until; next = this.#nextTimer())
      this.#fire(next);
    this.#nowMs = until;
  }

  /** Waits until something holds; time goes on when nothing else happens. */
  async until(holds: () => boolean): Promise<void> {
    const giveUpAt = performance.now() + patienceMs;
    while (!holds()) {
      if (performance.now() > giveUpAt) {
        throw new Error(`waited ${patienceMs} ms until ${holds}; ${JSON.stringify(this.reports.at(-1))}`);
      }
      await this.#quiet(holds);
      if (holds()) return;
      const next = this.#nextTimer();
      if (next !== undefined) this.#fire(next);
    }
  }

  async #quiet(holds: () => boolean = () => false): Promise<void> {
    for (let idle = 0; idle < 3 && !holds(); ) {
      const before = this.#activity;
      await new Promise((resolve) => setImmediate(resolve));
      const isSyncing = this.disks.some((disk) => disk.syncsWaiting > 0);
      idle = this.#activity === before && !isSyncing ? idle + 1 : 0;
    }
  }

  #nextTimer(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order)) next = timer;
    }
    return next;
  }

  #fire(timer: Timer): void {
    this.#timers = this.#timers.filter((other) => other !== timer);
    this.#nowMs = Math.max(this.#nowMs, timer.at);
    timer.run();
  }

  // ——— what shards send each other

  #callsOf(from: Thread): ShardCalls {
    return {
      shardCount: this.shardCount,
      connection: innerConnectionMin + from.index,
      expect: (shard, onReply) => {
        const call = from.nextCall++;
        from.pending.set(call, { to: shard, onReply });
        this.#later(from, () => from.shard.endTurn());
        return call;
      },
      forgo: (call) => from.pending.delete(call),
      call: (kind, hash, write, onReply) => {
        const to = hash % this.shardCount;
        const call = from.nextCall++;
        const frame = frameOf(kind, hash, call, write);
        from.pending.set(call, { to, onReply });
        const arrive = () => this.#arrive(from, to, call, frame);
        if (this.held === to && from.index !== to) this.#heldBack.push(arrive);
        else this.#later(from, arrive);
      },
    };
  }

  /** What was held goes on, in its order. */
  release(): void {
    this.held = undefined;
    for (const arrive of this.#heldBack.splice(0)) arrive();
  }

  #arrive(from: Thread, to: number, call: number, frame: Uint8Array): void {
    const thread = this.#threads[to];
    if (thread === undefined) {
      const error = new HeddleError("SHARD_STOPPED", { shard: to, reason: "its thread is not there" });
      this.#answer(from, call, { kind: "error", call, error });
      return;
    }
    this.#run(thread, () => {
      thread.shard.receive(innerConnectionMin + from.index, 0, frame, 0, frame.length);
      thread.shard.endTurn();
    });
  }

  #answer(thread: Thread, call: number, reply: Reply): void {
    const pending = thread.pending.get(call);
    thread.pending.delete(call);
    if (pending !== undefined) this.#later(thread, () => pending.onReply(reply));
  }

  #repliesOf(thread: Thread): ReplySink {
    const hear = (connection: number, frame: Uint8Array) => {
      if (!thread.isAlive) return;
      this.#activity++;
      const reply = readReply(frame, 0, frame.length);
      if (isInner(connection)) {
        const asker = this.#threads[connection - innerConnectionMin];
        if (asker !== undefined) this.#answer(asker, reply.call, reply);
        return;
      }
      const settle = this.#waiting.get(reply.call);
      expect(settle, `a reply that nobody waits for: ${JSON.stringify(reply)}`).toBeDefined();
      this.#waiting.delete(reply.call);
      settle!(reply);
    };
    return {
      receipt: (connection, _requestBytes, call, shard, firstSeq, count, position, time, duplicate) => {
        const frame = new Uint8Array(receiptFrameBytes);
        writeReceiptFrame(frame, 0, call, shard, firstSeq, count, position, time, duplicate);
        hear(connection, frame);
      },
      frame: (connection, _requestBytes, frame) => hear(connection, frame),
      flush: () => {},
    };
  }

  // ——— what clients ask

  ask(kind: number, hash: number, write: WriteBody): Asked {
    const call = this.#nextCall++;
    const frame = frameOf(kind, hash, call, write);
    const asked = new Asked(this);
    this.#waiting.set(call, (reply) => {
      asked.reply = reply;
    });
    const thread = this.#threads[hash % this.shardCount];
    expect(thread, "a shard that is there").toBeDefined();
    this.#run(thread, () => {
      thread!.shard.receive(1, 1, frame, 0, frame.length);
      if (thread!.isAlive) thread!.shard.endTurn();
    });
    return asked;
  }

  append(fields: AppendFields): Asked {
    return this.ask(requestKind.append, hashOf(fields.entity), (reserve) => writeAppendBody(fields, reserve));
  }

  saga(id: string, stages: readonly (readonly SagaStepFields[])[], options: Partial<SagaFields> = {}): Asked {
    return this.begin(id, { steps: encodeSagaSteps(id, stages), ...options });
  }

  begin(id: string, content: Omit<SagaFields, "entity">): Asked {
    const entity = sagaEntity(id);
    return this.ask(requestKind.saga, hashOf(entity), (reserve) => writeSagaBody({ entity, ...content }, reserve));
  }

  operate(id: string, operation: Partial<SagaOperateFields> = {}): Asked {
    const fields = { entity: sagaEntity(id), as: undefined, reason: "mended", by: "ann", ...operation };
    return this.ask(requestKind.sagaOperate, hashOf(fields.entity), (reserve) => writeSagaOperateBody(fields, reserve));
  }

  async show(id: string): Promise<SagaRecord> {
    const entity = sagaEntity(id);
    const asked = this.ask(requestKind.sagaShow, hashOf(entity), (reserve) => writeSagaShowBody({ entity }, reserve));
    return readSagaRecord(await asked.value());
  }

  list(query: SagaQuery = {}): Promise<SagaPage> {
    return sagaPage(
      async (shard, fields) =>
        readSagaList(
          await this.ask(requestKind.sagaList, shard, (reserve) => writeSagaListBody(fields, reserve)).value(),
        ),
      this.shardCount,
      query,
    );
  }

  async state(entity: string, aggregate: string): Promise<unknown> {
    const write: WriteBody = (reserve) => writeGetBody({ entity, aggregate }, reserve);
    return ((await this.ask(requestKind.get, hashOf(entity), write).value()) as { state: unknown }).state;
  }

  /** Type and append id of each event. */
  async events(entity: string): Promise<[type: string, id: string | null][]> {
    const fields = { entity, aggregate: "", from: 0, limit: 10_000, direction: "forward" as const };
    const write: WriteBody = (reserve) => writeHistoryBody(fields, reserve);
    const events = (await this.ask(requestKind.history, hashOf(entity), write).value()) as WireEvent[];
    return events.map((event) => [event[3], event[6]]);
  }

  /** A request of one of the node's own threads. */
  async inner(thread: number, kind: number, entity: string, write: WriteBody): Promise<Reply> {
    let found: Reply | undefined;
    const from = this.#threads[thread]!;
    this.#callsOf(from).call(kind, hashOf(entity), write, (reply) => {
      found = reply;
    });
    await this.until(() => found !== undefined);
    return found!;
  }

  /** Files of logs and partitions that hold a text. */
  filesWith(text: string): string[] {
    const found: string[] = [];
    for (const [index, disk] of this.disks.entries()) {
      for (const name of disk.list("/log")) {
        if (Buffer.from(disk.readFile(`/log/${name}`)).includes(text)) found.push(`${index}/log/${name}`);
      }
      for (const name of fs.readdirSync(this.#folders[index]!)) {
        const file = path.join(this.#folders[index]!, name);
        if (fs.readFileSync(file).includes(text)) found.push(`${index}/partition/${name}`);
      }
    }
    return found;
  }

  erase(entity: string): Promise<Reply> {
    return this.inner(this.shardOf(entity), requestKind.delete, entity, (reserve) =>
      writeDeleteBody({ entity, provisional: false }, reserve),
    );
  }

  /** Of every shard but those whose thread is lost before. */
  async checkpoint(): Promise<void> {
    for (let i = 0; i < this.shardCount; i++) {
      const thread = this.#threads[i];
      if (thread === undefined) continue;
      const { shard } = thread;
      const { checkpoints } = shard.stats();
      await this.until(() => {
        if (this.#threads[i] !== thread) return true;
        if (shard.stats().checkpoints > checkpoints || shard.stats().logBytes <= shard.stats().checkpointPosition) {
          return true;
        }
        shard.requestCheckpoint();
        this.#activity++;
        return false;
      });
    }
  }
}

/** A call under way. */
export class Asked {
  reply: Reply | undefined;
  readonly #under: SagasUnderTest;

  constructor(under: SagasUnderTest) {
    this.#under = under;
  }

  async answer(): Promise<Reply> {
    await this.#under.until(() => this.reply !== undefined);
    return this.reply!;
  }

  async value(): Promise<unknown> {
    const reply = await this.answer();
    expect(reply.kind, reply.kind === "error" ? reply.error.message : reply.kind).toBe("value");
    return (reply as Extract<Reply, { kind: "value" }>).value;
  }

  async result(): Promise<SagaResult> {
    return readSagaResult(await this.value(), "the saga");
  }

  async error(): Promise<HeddleError> {
    const reply = await this.answer();
    expect(reply.kind).toBe("error");
    return (reply as Extract<Reply, { kind: "error" }>).error;
  }
}

function compile(context: AnyContext): CompiledContext {
  return compileContext(context, "the test", [sagaAggregate]);
}

function hashOf(entity: string): number {
  return hashEntity(entity as EntityId);
}

function frameOf(kind: number, hash: number, call: number, write: WriteBody): Uint8Array {
  let bytes = new Uint8Array();
  const used = write((wanted) => {
    bytes = new Uint8Array(frameOffset.requestBody + wanted);
    return { bytes, at: frameOffset.requestBody };
  });
  const frame = bytes.slice(0, frameOffset.requestBody + used);
  writeU32(frame, 0, frame.length - 4);
  writeRequestHeader(frame, 0, { kind, flags: 0, hash, call });
  return frame;
}
