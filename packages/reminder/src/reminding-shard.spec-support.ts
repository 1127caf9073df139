// What the specs of this package share: a shard with a reminder runner beside it, over a simulated disk, clock and thread, and a
// real partition. A crash ends it as a killed process ends: its turns stop, its files are dead, what it still says is not heard.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { command, defineAggregate, defineContext, event, reject } from "@heddle/domain";
import { compileContext } from "@heddle/domain/internal";
import { type EntityId, hashEntity } from "@heddle/kernel";
import { openPartition, type Partition } from "@heddle/partition/internal";
import type { ReminderRecord } from "@heddle/protocol";
import {
  type AppendFields,
  frameOffset,
  packContent,
  type ReminderContent,
  type RemindFields,
  type Reply,
  readReply,
  receiptFrameBytes,
  requestKind,
  type WireEvent,
  type WireListedReminder,
  writeAppendBody,
  writeCancelReminderBody,
  writeDeleteBody,
  writeHistoryBody,
  writeReceiptFrame,
  writeRemindBody,
  writeReminderListBody,
  writeRemindersBody,
  writeRequestHeader,
  writeU32,
} from "@heddle/protocol/internal";
import {
  defaultShardLimits,
  innerConnectionMin,
  Shard,
  type ShardLimits,
  type WriteBody,
} from "@heddle/shard/internal";
import { SimulatedDisk, type Survival, seededRandom } from "@heddle/testkit";
import { z } from "zod";
import { ReleaseRate } from "./release-rate.ts";
import { ReminderRunner } from "./reminder-runner.ts";
import { remindersAggregate } from "./reminders-aggregate.ts";

/** Counts what it is told; takes no more than its limit. */
export const Bell = defineAggregate("Bell", {
  version: 1,
  initial: () => ({ rung: 0, closed: false }),
  events: {
    Rung: event(z.object({ by: z.string() }), (s) => ({ ...s, rung: s.rung + 1 })),
    Closed: event(z.object({}), (s) => ({ ...s, closed: true })),
  },
  invariants: { "a closed bell is not rung": (s) => !s.closed || s.rung === 0 },
  commands: {
    Ring: command(z.object({ by: z.string() }), (s, { by }) =>
      s.closed ? reject("CLOSED") : { type: "Rung", payload: { by } },
    ),
  },
});

export const bells = defineContext("bells", { aggregates: [Bell], kinds: ["bell"] });
const system = [remindersAggregate];

const root = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-reminder-"));
process.on("exit", () => fs.rmSync(root, { recursive: true, force: true }));
const opened = new Set<RemindingShard>();
let folders = 0;

/** For `afterEach`: no partition outlives its test. */
export async function closeAll(): Promise<void> {
  for (const one of opened) await one.end();
  opened.clear();
}

export interface RemindingOptions {
  readonly perSecond?: number;
  readonly limits?: Partial<ShardLimits>;
  /** What is done with the requests that the runner sends: false for one that gets lost on its way, with an answer that says so. */
  readonly passes?: (kind: number) => boolean;
}

export const start = Date.UTC(2026, 0, 1);
const tickMs = 250;

export class RemindingShard {
  readonly disk = new SimulatedDisk();
  readonly clock = { nowMs: start, monotonicMs: 1_000 };
  readonly reports: { level: string; message: string; facts: Record<string, unknown> }[] = [];
  readonly crashPoints: string[] = [];
  shard!: Shard;
  runner!: ReminderRunner;
  partition!: Partition;
  readonly #options: RemindingOptions;
  readonly #folder = path.join(root, String(folders++));
  #life = 0;
  #isDead = true;
  #isTurnOpen = false;
  /** What the runner has asked and what it is answered, in order: worked off before the turn ends, as on a thread of a node. */
  #inner: (() => void)[] = [];
  #timers: { readonly at: number; readonly run: () => void }[] = [];
  #call = 0;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  readonly #innerWaiting = new Map<number, (reply: Reply) => void>();
  #crash: { readonly point: string; left: number; readonly survival: Survival } | undefined;

  constructor(options: RemindingOptions = {}) {
    this.#options = options;
    opened.add(this);
    this.open();
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  // ——— its life

  open(): void {
    const life = ++this.#life;
    this.#isDead = false;
    this.#timers = [];
    this.#inner = [];
    const isAlive = () => life === this.#life;
    const inTurn = (task: () => void) => {
      this.#inner.push(task);
      if (this.#inner.length > 1) return;
      queueMicrotask(() => {
        // What a task leads to is behind it.
        for (let at = 0; at < this.#inner.length && isAlive(); at++) this.#inner[at]!();
        if (!isAlive()) return;
        this.#inner = [];
        this.shard.endTurn();
      });
    };
    const clock = { now: () => this.clock.nowMs, monotonic: () => this.clock.monotonicMs };
    const domain = compileContext(bells, undefined, system);
    const crashPoint = (point: string) => this.#pass(point, isAlive);
    const schedule = (task: () => void, delayMs: number) => {
      const run = () => {
        if (isAlive()) task();
      };
      if (delayMs === 0) setImmediate(run);
      else this.#timers.push({ at: this.clock.monotonicMs + delayMs, run });
    };
    const report = (level: string, message: string, facts: Record<string, unknown>) => {
      if (isAlive()) this.reports.push({ level, message, facts });
    };
    const hear = (connection: number, frame: Uint8Array) => {
      if (!isAlive()) return;
      const reply = readReply(frame, 0, frame.length);
      const isInner = connection === innerConnectionMin;
      const waiting = isInner ? this.#innerWaiting : this.#waiting;
      const onReply = waiting.get(reply.call)!;
      waiting.delete(reply.call);
      if (isInner) inTurn(() => onReply(reply));
      else {
        queueMicrotask(() => {
          if (isAlive()) onReply(reply);
        });
      }
    };
    this.partition = openPartition({ folder: this.#folder, shard: 0, crashPoint });
    this.runner = new ReminderRunner({
      shard: 0,
      domain,
      calls: {
        shardCount: 1,
        connection: innerConnectionMin,
        expect: (_shard, onReply) => {
          const call = ++this.#call;
          this.#innerWaiting.set(call, onReply);
          inTurn(() => {});
          return call;
        },
        forgo: (call) => this.#innerWaiting.delete(call),
        call: (kind, hash, write, onReply) => {
          const frame = this.#frame(kind, hash, write);
          const call = this.#call;
          this.#innerWaiting.set(call, onReply);
          inTurn(() => this.shard.receive(innerConnectionMin, 0, frame, 0, frame.length));
        },
      },
      replies: { frame: (connection, _requestBytes, frame) => hear(connection, frame) },
      own: () => this.shard,
      alarms: () => this.shard.alarms,
      clock,
      random: seededRandom(3),
      rate: new ReleaseRate(this.#options.perSecond ?? 1e6, clock),
      schedule,
      report,
      crashPoint,
    });
    this.shard = Shard.open({
      shard: 0,
      shardCount: 1,
      domain,
      logFolder: "/log",
      disk: this.disk,
      partition: this.partition,
      clock,
      random: seededRandom(7),
      durability: "fsync",
      limits: { ...defaultShardLimits, ...this.#options.limits },
      replies: {
        receipt: (connection, _requestBytes, call, shard, firstSeq, count, position, time, duplicate) => {
          const frame = new Uint8Array(receiptFrameBytes);
          writeReceiptFrame(frame, 0, call, shard, firstSeq, count, position, time, duplicate);
          hear(connection, frame);
        },
        frame: (connection, _requestBytes, frame) => hear(connection, frame),
        flush: () => {},
      },
      handlers: this.runner.handlers,
      alarms: new Map([["$reminders", this.runner.source]]),
      schedule,
      report,
      crashPoint,
    });
  }

  async restart(): Promise<void> {
    await this.shard.close();
    this.open();
  }

  /** The power fails; nothing is open afterwards. */
  async crash(survival: Survival = "nothing"): Promise<void> {
    this.#die(survival);
    await this.partition.close();
  }

  /** Arms a crash at the n-th passing of a crash point. The partition is then the caller's to close. */
  armCrash(point: string, survival: Survival, nth = 1): void {
    this.#crash = { point, left: nth, survival };
  }

  async end(): Promise<void> {
    this.#life++;
    this.#isDead = true;
    this.disk.killProcess();
    await this.partition.close();
  }

  async turns(count = 10): Promise<void> {
    for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Lets time pass, in the steps in which a node ticks. */
  async pass(ms: number, stepMs = tickMs): Promise<void> {
    for (let left = ms; left > 0 && !this.#isDead; left -= stepMs) {
      const step = Math.min(left, stepMs);
      this.clock.nowMs += step;
      this.clock.monotonicMs += step;
      await this.#tick();
    }
  }

  /** The wall clock is set. */
  async set(nowMs: number): Promise<void> {
    this.clock.nowMs = nowMs;
    await this.#tick();
  }

  async checkpoint(): Promise<void> {
    const { checkpoints } = this.shard.stats();
    // However long the disk takes: the partition lies on a real one.
    while (!this.#isDead && this.shard.stats().checkpoints === checkpoints) {
      this.shard.requestCheckpoint();
      await this.turns(1);
    }
  }

  // ——— calls

  async append(entity: string, type = "Rung", payload: unknown = { by: "hand" }): Promise<void> {
    const fields: AppendFields = { entity, aggregate: "Bell", events: [{ type, payload }] };
    const reply = await this.ask(requestKind.append, entity, (reserve) => writeAppendBody(fields, reserve));
    if (reply.kind !== "receipt") throw new Error(`not appended: ${JSON.stringify(reply)}`);
  }

  remind(
    entity: string,
    name: string,
    fields: Partial<RemindFields> & { readonly content?: never; readonly brings?: ReminderContent },
  ): Promise<Reply> {
    const { brings = { command: "Ring", input: { by: name } }, ...rest } = fields;
    const whole: RemindFields = {
      entity,
      aggregate: "Bell",
      name,
      schedule: { at: this.clock.nowMs },
      missed: "latest",
      ...rest,
      content: packContent(brings),
    };
    return this.ask(requestKind.remind, entity, (reserve) => writeRemindBody(whole, reserve));
  }

  cancel(entity: string, name: string): Promise<Reply> {
    const fields = { entity, name };
    return this.ask(requestKind.cancelReminder, entity, (reserve) => writeCancelReminderBody(fields, reserve));
  }

  async reminders(entity: string): Promise<ReminderRecord[]> {
    const write: WriteBody = (reserve) => writeRemindersBody({ entity }, reserve);
    return valueIn(await this.ask(requestKind.reminders, entity, write)) as ReminderRecord[];
  }

  async list(limit = 1_000): Promise<WireListedReminder[]> {
    const fields = { before: 2 ** 48 - 1, limit, afterDue: 0, afterEntity: "" };
    const write: WriteBody = (reserve) => writeReminderListBody(fields, reserve);
    return valueIn(await this.ask(requestKind.reminderList, "list/all", write)) as WireListedReminder[];
  }

  delete(entity: string): Promise<Reply> {
    const fields = { entity, provisional: false };
    return this.ask(requestKind.delete, entity, (reserve) => writeDeleteBody(fields, reserve));
  }

  /** What reminders brought an entity: name and due time, in the order of its history. */
  async brought(entity: string): Promise<{ name: string; due: number; time: number }[]> {
    const found: { name: string; due: number; time: number }[] = [];
    for (let from = 1; ; ) {
      const fields = { entity, aggregate: "", from, limit: 1_000, direction: "forward" as const };
      const reply = await this.ask(requestKind.history, entity, (reserve) => writeHistoryBody(fields, reserve));
      const events = valueIn(reply) as WireEvent[];
      for (const event of events) {
        const metadata = event.find((part) => typeof part === "object" && part !== null && "reminder" in part) as
          | { readonly reminder: string; readonly due: number }
          | undefined;
        if (metadata !== undefined) found.push({ name: metadata.reminder, due: metadata.due, time: event[1] });
      }
      if (events.length < 1_000) return found;
      from = events.at(-1)![0] + 1;
    }
  }

  async ask(kind: number, entity: string, write: WriteBody): Promise<Reply> {
    const frame = this.#frame(kind, hashEntity(entity as EntityId), write);
    const call = this.#call;
    const reply = new Promise<Reply>((resolve) => this.#waiting.set(call, resolve));
    this.shard.receive(1, 1, frame, 0, frame.length);
    if (!this.#isDead && !this.#isTurnOpen) this.shard.endTurn();
    return reply;
  }

  /** What is asked within arrives in one turn. */
  async together<T>(ask: () => readonly Promise<T>[]): Promise<T[]> {
    this.#isTurnOpen = true;
    const asked = ask();
    this.#isTurnOpen = false;
    this.shard.endTurn();
    return Promise.all(asked);
  }

  /** Files of the log and of the partition in which a text stands. */
  filesWith(text: string): string[] {
    const wanted = Buffer.from(text);
    const ofLog = this.disk.list("/log").map((name) => [name, this.disk.readFile(`/log/${name}`)] as const);
    const ofPartition = fs
      .readdirSync(this.#folder)
      .map((name) => [name, fs.readFileSync(path.join(this.#folder, name))] as const);
    return [...ofLog, ...ofPartition].filter(([, bytes]) => Buffer.from(bytes).includes(wanted)).map(([name]) => name);
  }

  #frame(kind: number, hash: number, write: WriteBody): Uint8Array {
    let bytes = new Uint8Array();
    const used = write((wanted) => {
      bytes = new Uint8Array(frameOffset.requestBody + wanted);
      return { bytes, at: frameOffset.requestBody };
    });
    const length = frameOffset.requestBody + used;
    writeU32(bytes, 0, length - 4);
    writeRequestHeader(bytes, 0, { kind, flags: 0, hash, call: ++this.#call });
    return bytes.subarray(0, length);
  }

  async #tick(): Promise<void> {
    const due = this.#timers.filter(({ at }) => at <= this.clock.monotonicMs);
    this.#timers = this.#timers.filter((timer) => !due.includes(timer));
    for (const { run } of due) run();
    if (!this.#isDead) this.shard.tick();
    await this.turns(6);
  }

  #pass(point: string, isAlive: () => boolean): void {
    if (!isAlive()) return;
    this.crashPoints.push(point);
    if (this.#crash?.point !== point || --this.#crash.left > 0) return;
    this.#die(this.#crash.survival);
    // The log finds its files dead, and calls from places where nobody would catch this.
    if (point.startsWith("checkpoint:") || point.startsWith("partition:")) throw new Error(`a crash at ${point}`);
  }

  #die(survival: Survival): void {
    this.#life++;
    this.#isDead = true;
    this.#crash = undefined;
    this.#timers = [];
    this.#waiting.clear();
    this.#innerWaiting.clear();
    this.disk.crash(survival);
  }
}

export function valueIn(reply: Reply): unknown {
  if (reply.kind === "value") return reply.value;
  throw new Error(`wanted a value, found ${JSON.stringify(reply)}`);
}

export function codeOf(reply: Reply): string {
  return reply.kind === "error" ? reply.error.code : reply.kind;
}
