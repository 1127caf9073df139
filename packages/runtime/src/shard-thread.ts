// The entry of a shard thread: opens its shards, hands them frames, posts their replies.
//
// Ends by itself when told to stop, after closing every LMDB environment: a thread that is terminated with one open can
// take the process with it. A fault that nobody caught ends the thread in the same order.
import { monitorEventLoopDelay } from "node:perf_hooks";
import v8 from "node:v8";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { type KeyStore, openKeysOf } from "@heddle/backup";
import type { CompiledContext } from "@heddle/domain/internal";
import { nodeDisk } from "@heddle/event-log/internal";
import { DurableEnds } from "@heddle/feed/internal";
import { HeddleError, systemClock, systemKinds, systemRandom } from "@heddle/kernel";
import { toWireError } from "@heddle/kernel/internal";
import { openPartition } from "@heddle/partition/internal";
import { encodeErrorReply, requestCall } from "@heddle/protocol/internal";
import { ClockWatch, ReleaseRate, ReminderRunner } from "@heddle/reminder/internal";
import { SagaCopies, SagaRunner } from "@heddle/saga/internal";
import { Shard } from "@heddle/shard/internal";
import { type CrashPoint, CrashPoints } from "./crash-points.ts";
import { logFolderOf, partitionFolderOf } from "./data-folder.ts";
import { delayResolutionMs, eventLoopDelay } from "./event-loop-delay.ts";
import { FrameTurns } from "./frame-turns.ts";
import { loadDomain } from "./load-domain.ts";
import { ReaderErasures } from "./reader-erasures.ts";
import { ThreadCalls } from "./thread-calls.ts";
import {
  type FromAnyThread,
  type FromThread,
  ReplyBatch,
  type ThreadStart,
  type ThreadStats,
  type ToThread,
} from "./thread-messages.ts";

/** How often shards look whether a checkpoint is due by time, or a full disk has room. */
const tickMs = 250;

/**
 * Once active entities take this share of their budget V8 is made to collect sooner: it would let the heap grow to four times of
 * what lives in it, and a budget of memory would say little. Not before, because the flag holds for the whole process, and costs
 * a tenth of the rate over HTTP (bench, broker), and of reminders while entities come into memory.
 */
const manyStatesShare = 1 / 4;
const heapGrowingPercent = 50;

const port = parentPort as MessagePort;
const start = workerData as ThreadStart;
const say = (message: FromAnyThread<ThreadStats> | FromThread) => port.postMessage(message);
const ends = new DurableEnds(start.ends);
const calls = new ThreadCalls({
  thread: start.thread,
  threadCount: start.threadCount,
  shardCount: start.shardCount,
  random: systemRandom,
  receive: receiveInner,
  endTurn,
});
const replies = new ReplyBatch((packed) => port.postMessage(packed, [packed.buffer]), calls);
const sessions = new Map<number, number>();
/** By shard number; only this thread's shards are there. */
const shards: (Shard | undefined)[] = [];
/** The same for those who run their sagas. */
const sagas: (SagaRunner | undefined)[] = [];
/** And for those who deliver their reminders. */
const reminders: (ReminderRunner | undefined)[] = [];
const releaseRate = new ReleaseRate(start.remindersPerSecond, systemClock);
const clockWatch = new ClockWatch(systemClock, (level, message, facts) => {
  // One thread says so for the node.
  if (start.thread === 0) say({ kind: "report", level, message, facts });
});
const delays = monitorEventLoopDelay({ resolution: delayResolutionMs });
/** Opened by the first erasure: a node that erases nothing has no business with keys. */
let keys: KeyStore | undefined;
let heapIsBounded = false;
const { publisher, projections } = start.readers;
/** Undefined in a node whose readers keep no copies: its erasures end with the shards. */
const erasures =
  publisher || projections ? new ReaderErasures({ readers: start.readers, random: systemRandom, say }) : undefined;
const crashPoints = new CrashPoints(start.crashAt);

try {
  await openShards();
} catch (thrown) {
  await closeShards().catch(() => {});
  const error =
    thrown instanceof HeddleError
      ? thrown
      : new HeddleError("SHARD_STOPPED", {
          shard: start.shards[0] ?? 0,
          reason: String((thrown as Error)?.stack ?? thrown),
        });
  say({ kind: "failed", error: toWireError(error) });
  port.close();
}

async function openShards(): Promise<void> {
  const domain = await loadDomain(start.domain);
  const crashPoint = crashPoints.pass;
  for (const shard of start.shards) shards[shard] = await openShard(shard, domain, crashPoint);
  delays.enable();
  const ticker = setInterval(() => {
    clockWatch.tick();
    for (const shard of shards) shard?.tick();
    boundHeap();
  }, tickMs);
  process.on("uncaughtException", (error) => void endAfter(error));
  const turns = new FrameTurns<ToThread>({
    receive,
    endTurn: () => calls.endTurn(),
    onMessage: (message) => onMessage(message, ticker),
    isSyncing: () => shards.some((shard) => shard?.isSyncing),
    clock: systemClock,
    later: setImmediate,
  });
  port.on("message", (message: ToThread | Uint8Array) => turns.take(message));
  say({ kind: "ready" });
}

function boundHeap(): void {
  if (heapIsBounded) return;
  const stateBytes = shards.reduce((sum, shard) => sum + (shard?.stats().stateBytes ?? 0), 0);
  if (stateBytes < manyStatesShare * start.shards.length * start.limits.stateBytesMax) return;
  heapIsBounded = true;
  v8.setFlagsFromString(`--heap-growing-percent=${heapGrowingPercent}`);
}

async function openShard(shard: number, domain: CompiledContext, crashPoint: CrashPoint): Promise<Shard> {
  const partition = openPartition({ folder: partitionFolderOf(start.data, shard), shard, crashPoint });
  const runner = sagaRunner(shard, domain, crashPoint);
  sagas[shard] = runner;
  const reminding = reminderRunner(shard, domain, crashPoint);
  reminders[shard] = reminding;
  try {
    return Shard.open({
      shard,
      shardCount: start.shardCount,
      domain,
      logFolder: logFolderOf(start.data, shard),
      disk: nodeDisk,
      partition,
      clock: systemClock,
      random: systemRandom,
      durability: start.durability,
      limits: start.limits,
      replies,
      calls,
      handlers: new Map([...runner.handlers, ...reminding.handlers]),
      alarms: new Map([
        [systemKinds.saga, runner.alarmSource],
        [systemKinds.reminders, reminding.source],
      ]),
      copies: new SagaCopies(calls),
      readers: erasures,
      eraseKeys: (tombstones) => {
        keys ??= openKeysOf(start.data, start.keys);
        keys.erase(tombstones.map(({ entity, time, seq }) => ({ entity, tombstone: { time, seq } })));
      },
      schedule: (task, delayMs) => {
        if (delayMs === 0) setImmediate(task);
        else setTimeout(task, delayMs);
      },
      report: (level, message, facts) => say({ kind: "report", level, message, facts }),
      onState: (state, reason) => {
        if (state === "stopped") runner.stop();
        say({ kind: "state", shard, state, reason });
      },
      onDurableEnd: (end) => ends.advance(shard, end),
      crashPoint,
    });
  } catch (error) {
    await partition.close(); // This thread is about to end, and must not do so with an environment open.
    throw error;
  }
}

function sagaRunner(shard: number, domain: CompiledContext, crashPoint: CrashPoint): SagaRunner {
  return new SagaRunner({
    shard,
    domain,
    calls,
    replies,
    clock: systemClock,
    random: systemRandom,
    own: () => shards[shard]!,
    alarms: () => shards[shard]!.alarms,
    // Nobody waits for a timer of theirs when the thread is told to stop.
    schedule: (task, delayMs) => void setTimeout(task, delayMs).unref(),
    report: (level, message, facts) => say({ kind: "report", level, message, facts }),
    crashPoint,
  });
}

function receiveInner(connection: number, shard: number, bytes: Uint8Array, from: number, to: number): void {
  const open = shards[shard];
  if (open !== undefined) {
    open.receive(connection, 0, bytes, from, to);
    return;
  }
  // Shards of this thread open one after the other, and what one has left from its last life may ask the next.
  const error = new HeddleError("SHARD_STOPPED", { shard, reason: "it is not open yet" });
  replies.frame(connection, to - from, encodeErrorReply(requestCall(bytes, from), error));
}

function reminderRunner(shard: number, domain: CompiledContext, crashPoint: CrashPoint): ReminderRunner {
  return new ReminderRunner({
    shard,
    domain,
    calls,
    replies,
    clock: systemClock,
    random: systemRandom,
    rate: releaseRate,
    own: () => shards[shard]!,
    alarms: () => shards[shard]!.alarms,
    schedule: (task, delayMs) => {
      if (delayMs === 0) setImmediate(task);
      else setTimeout(task, delayMs).unref();
    },
    report: (level, message, facts) => say({ kind: "report", level, message, facts }),
    crashPoint,
  });
}

function receive(connection: number, shard: number, bytes: Uint8Array, from: number, to: number): void {
  shards[shard]!.receive(connection, sessions.get(connection) ?? 0, bytes, from, to);
}

function endTurn(): void {
  for (const shard of shards) shard?.endTurn();
}

function onMessage(message: ToThread, ticker: NodeJS.Timeout): void {
  switch (message.kind) {
    case "connection-opened":
      sessions.set(message.connection, message.session);
      return;
    case "connection-closed":
      sessions.delete(message.connection);
      for (const shard of shards) shard?.forget(message.connection);
      // What was answered gives the credit of those requests back.
      replies.flush();
      replies.forget(message.connection);
      return;
    case "stats": {
      const eventLoopDelayMs = eventLoopDelay(delays);
      say({
        kind: "stats",
        id: message.id,
        stats: {
          shards: shards.flatMap((shard) => shard?.stats() ?? []),
          sagas: sagas.flatMap((runner) => runner?.stats() ?? []),
          reminders: reminders.flatMap((runner) => runner?.stats() ?? []),
          eventLoopDelayMs,
        },
      });
      return;
    }
    case "peer":
      calls.connect(message.thread, message.port);
      return;
    case "checkpoint":
      for (const shard of shards) shard?.requestCheckpoint();
      return;
    case "erasure-answer":
      erasures?.onAnswer(message);
      return;
    case "crash-at":
      crashPoints.killAt(message.crashAt);
      return;
    case "fail":
      throw new Error("told to fail");
    case "stop":
      clearInterval(ticker);
      void closeShards().finally(() => {
        replies.flush();
        say({ kind: "stopped" });
        calls.close();
        port.close();
        delays.disable();
      });
  }
}

async function closeShards(): Promise<void> {
  for (const runner of sagas) runner?.stop();
  await Promise.all(shards.map((shard) => shard?.close()));
}

async function endAfter(error: Error): Promise<void> {
  say({
    kind: "report",
    level: "error",
    message: "a shard thread ends after a fault",
    facts: { error: String(error.stack) },
  });
  // Memory may be wrong now: nothing that is not durable may become so. Only the environments are closed in order.
  await Promise.all(shards.map((shard) => shard?.abandon())).catch(() => {});
  process.exit(1);
}
