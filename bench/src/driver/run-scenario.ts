// One load scenario: rounds in which the floors and Heddle take turns, each with fresh processes and a fresh folder, so
// that what the machine does meanwhile meets all of them alike.
//
// R1. At most two processes work at a time besides this one, which waits.
// R2. A node's store is judged by the referee after the node has stopped, and only then removed.
import fs from "node:fs";
import path from "node:path";
import { encodeValue } from "@heddle/protocol/internal";
import { accountCount, loadEvent } from "../load/accounts.ts";
import type { LoadJob, OpenLoopMeasurement } from "../load/job.ts";
import type { BenchOptions } from "../options.ts";
import type { FloorRatio, FloorRun, HeddleRun, LoadReport, PayloadFacts, Round } from "../report/document.ts";
import { type Conditions, judgeTarget, type TargetOutcome } from "../report/targets.ts";
import type { LoadScenario, Target } from "../scenarios.ts";
import { medianIndex, spreadOf } from "../statistics/spread.ts";
import { sampleSecondsFor, trendOf } from "../statistics/trend.ts";
import { measure } from "./measure.ts";
import { callReferee, startFloor, startNodeProcess } from "./processes.ts";
import type { Progress } from "./progress.ts";

export interface RunContext {
  readonly options: BenchOptions;
  /** Path of the domain module that the node loads and the referee folds with. */
  readonly domain: string;
  /** Folder of this run; what is made in it is removed again. */
  readonly folder: string;
  readonly cores: number;
  readonly inMemory: boolean;
  readonly progress: Progress;
}

export async function runScenario(
  scenario: LoadScenario,
  context: RunContext,
  batchEventsPerSecond: number | undefined,
): Promise<LoadReport> {
  const { options } = context;
  const shape = { ...scenario.shape, callers: options.callers ?? scenario.shape.callers };
  const rounds: Round[] = [];
  let openLoop: OpenLoopMeasurement | undefined;
  let threads = 0;
  let shards = 0;
  for (let round = 1; round <= options.rounds; round++) {
    const floors: FloorRun[] = [];
    for (const floor of scenario.floors) floors.push(await runFloor({ ...scenario, shape }, floor, round, context));
    const run = await runHeddle({ ...scenario, shape }, round, context);
    rounds.push({ floors, heddle: run.heddle });
    openLoop = run.openLoop ?? openLoop;
    threads = run.threads;
    shards = run.shards;
  }
  const rates = rounds.map(({ heddle }) => heddle.measurement.eventsPerSecond);
  const shown = medianIndex(rates);
  const ratios = scenario.floors.map((floor, index) => floorRatio(floor, index, rounds));
  const figures: Figures = {
    eventsPerSecond: spreadOf(rates)!.median,
    p99Ms: spreadOf(rounds.map(({ heddle }) => heddle.measurement.latency.p99Ms))!.median,
    ratio: ratios[0]!.ratio.median,
    batchEventsPerSecond,
  };
  const conditions: Conditions = {
    durability: options.durability,
    inMemory: context.inMemory,
    ownShape: options.callers === undefined,
  };
  return {
    scenario: scenario.name,
    title: scenario.title,
    protocol: scenario.protocol,
    durability: options.durability,
    callers: shape.callers,
    connections: scenario.connections,
    batch: shape.batch,
    accounts: accountCount,
    payload: payloadFacts(shape.batch),
    cores: context.cores,
    threads,
    shards,
    seconds: options.seconds,
    warmupSeconds: options.warmupSeconds,
    rounds,
    shown,
    eventsPerSecond: spreadOf(rates)!,
    ratios,
    trend: trendOf(rounds[shown]!.heddle.measurement.samples),
    openLoop,
    targets: scenario.targets.map((target) => outcome(target, figures, conditions)),
    refereeOk: rounds.every(({ heddle }) => heddle.referee.ok && !heddle.givenUp),
  };
}

async function runFloor(
  scenario: LoadScenario,
  floor: "binary" | "http",
  round: number,
  { options, folder, progress }: RunContext,
): Promise<FloorRun> {
  const file = path.join(folder, "floor");
  const bookFile = path.join(folder, "floor-book.json");
  const server = await startFloor(floor, file, options.durability);
  try {
    const job: LoadJob = {
      kind: "load",
      target: floor === "http" ? "http" : "floor",
      port: server.port,
      connections: scenario.connections,
      shape: scenario.shape,
      warmupSeconds: options.warmupSeconds,
      seconds: options.floorSeconds,
      sampleSeconds: sampleSecondsFor(options.floorSeconds),
      bookFile,
    };
    const what = `${scenario.name} ${round}/${options.rounds}, ${floor} floor`;
    const measured = await measure(server, job, options.durability, progress, what);
    const { events, logBytes } = await server.usage();
    await server.close();
    return {
      floor,
      measurement: measured.measurement,
      server: measured.server,
      clientCpuSeconds: measured.clientCpuSeconds,
      logBytesPerEvent: events === 0 ? 0 : Number((logBytes / events).toFixed(2)),
    };
  } finally {
    for (const used of [file, bookFile]) fs.rmSync(used, { force: true });
  }
}

async function runHeddle(
  scenario: LoadScenario,
  round: number,
  { options, folder, domain, progress }: RunContext,
): Promise<{ heddle: HeddleRun; openLoop: OpenLoopMeasurement | undefined; threads: number; shards: number }> {
  const data = path.join(folder, `${scenario.name}-${round}`);
  const bookFile = `${data}.book.json`;
  const { durability, shards, threads } = options;
  const node = await startNodeProcess(
    {
      domain,
      data,
      host: "127.0.0.1",
      port: 0,
      durability,
      ...(shards === undefined ? {} : { shards }),
      ...(threads === undefined ? {} : { threads }),
    },
    options.profile,
  );
  const what = `${scenario.name} ${round}/${options.rounds}, Heddle`;
  const isLast = round === options.rounds;
  const job: LoadJob = {
    kind: "load",
    target: scenario.protocol === "http" ? "http" : "heddle",
    port: node.port,
    connections: scenario.connections,
    shape: scenario.shape,
    warmupSeconds: options.warmupSeconds,
    seconds: options.seconds,
    sampleSeconds: sampleSecondsFor(options.seconds),
    ...(isLast && options.openLoop > 0
      ? { openLoop: { share: options.openLoop, seconds: Math.min(options.seconds, 30) } }
      : {}),
    bookFile,
  };
  const measured = await measure(node, job, durability, progress, what);
  progress.step(`${what}: stopping`);
  const stoppingAt = performance.now();
  await node.close();
  const closeMs = Math.round(performance.now() - stoppingAt);
  progress.step(`${what}: the referee refolds the store`);
  const referee = await callReferee(data, domain, bookFile);
  const { measurement, server, clientCpuSeconds, clientRssBytes, givenUp, openLoop } = measured;
  progress.note(`${what}: ${measurement.eventsPerSecond.toLocaleString("en-GB")} events/s, ${referee.text}`);
  if (!options.keep) {
    fs.rmSync(data, { recursive: true, force: true });
    fs.rmSync(bookFile, { force: true });
  }
  return {
    heddle: { measurement, server, clientCpuSeconds, clientRssBytes, closeMs, givenUp, referee },
    openLoop,
    threads: node.threads,
    shards: node.shards,
  };
}

function floorRatio(floor: "binary" | "http", index: number, rounds: readonly Round[]): FloorRatio {
  const floorRates = rounds.map(({ floors }) => floors[index]!.measurement.eventsPerSecond);
  const ratios = rounds.map(
    ({ heddle }, round) => heddle.measurement.eventsPerSecond / Math.max(1, floorRates[round]!),
  );
  const { median, min, max } = spreadOf(ratios)!;
  const short = (ratio: number) => Number(ratio.toFixed(3));
  return {
    floor,
    ratio: { median: short(median), min: short(min), max: short(max) },
    floorEventsPerSecond: spreadOf(floorRates)!,
  };
}

interface Figures {
  readonly eventsPerSecond: number;
  readonly p99Ms: number;
  readonly ratio: number;
  readonly batchEventsPerSecond: number | undefined;
}

function outcome(target: Target, figures: Figures, conditions: Conditions): TargetOutcome {
  switch (target.id) {
    case "ratio":
      return judgeTarget(target, figures.ratio, conditions, { of: "to the floor" });
    case "events/s":
      return judgeTarget(target, figures.eventsPerSecond, conditions);
    case "p99":
      return judgeTarget(target, figures.p99Ms, conditions);
    case "share of batch": {
      const batch = figures.batchEventsPerSecond;
      const share = batch === undefined ? undefined : Number((figures.eventsPerSecond / batch).toFixed(3));
      return judgeTarget(target, share, conditions, { missing: "batch was not measured in this run" });
    }
    case "ready":
    case "transfers/s":
    case "deliveries/s":
    case "own memory":
    case "share":
    case "lag p99":
      return judgeTarget(target, undefined, conditions);
  }
}

function payloadFacts(batch: number): PayloadFacts {
  const payloads = Array.from({ length: batch }, (_, i) => loadEvent(i, i).payload);
  const mean = (bytes: (payload: unknown) => number) =>
    Number((payloads.reduce((sum, payload) => sum + bytes(payload), 0) / batch).toFixed(1));
  return {
    jsonBytes: mean((payload) => Buffer.byteLength(JSON.stringify(payload))),
    msgpackBytes: mean((payload) => encodeValue(payload).length),
    example: payloads[0],
  };
}
