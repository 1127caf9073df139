// The readers scenario: what reading costs the writers, and how far behind it is. Everything is on this machine: the node, the
// client, and the servers that are read from.
//
//   cost         single appends at full speed, without a projection and with one, in turns
//   lag          single appends at a rate, and how old the newest row is meanwhile
//   rebuild      a projection made anew from the whole log, alone and while appends go on
//   rqlite, mongodb     the same rows there, at a rate
//   subscribers  a subscriber for each of a thousand accounts
//   nats         a whole log into JetStream, then single appends beside the publisher
//
// R1. Rows, streams and what subscribers got are held against the log when the node has stopped; the store against the book.
import { fork } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Heddle } from "@heddle/client";
import type { NodeOptions } from "@heddle/runtime";
import { projectionsFileOf } from "@heddle/runtime/internal";
import {
  obtain,
  type RunningServer,
  serverNames,
  startMongo,
  startNats,
  startRqlite,
} from "../../../infra/servers/index.ts";
import type { LoadJob, OpenLoopMeasurement } from "../load/job.ts";
import type { EventShape } from "../load/load.ts";
import type { ReadersJudgeJob, ReadersVerdict, RowSink } from "../readers/judge.ts";
import { LagSampler, waitUntilSeen } from "../readers/lag.ts";
import type { SubscribersJob, SubscribersResult } from "../readers/subscribers.ts";
import type { CostRound, ReadersReport, SinkReport, StreamReport } from "../report/document.ts";
import { type Conditions, judgeTarget, type TargetOutcome } from "../report/targets.ts";
import { readersTargets } from "../scenarios.ts";
import { spreadOf } from "../statistics/spread.ts";
import { sampleSecondsFor } from "../statistics/trend.ts";
import { type Measured, measure } from "./measure.ts";
import { callReferee, type Server, startLoad, startNodeProcess } from "./processes.ts";
import type { RunContext } from "./run-scenario.ts";

const single: EventShape = { callers: 200, batch: 1, entities: "one" };
const batched: EventShape = { callers: 16, batch: 500, entities: "one" };
const connections = 4;
const projection = "accounts";
const contextName = "bank";

/** What the targets are stated for. */
const stated = { lagPerSecond: 60_000, sinkPerSecond: 20_000, subscribers: 1_000, subscribedPerSecond: 1_000 };
/** A little more than is wanted is offered, so that who keeps up is seen to. */
const offeredOver = 1.03;
/** Events that are read in one go, where the scenario's own number is not asked for. */
const rebuildEventsMax = 2_000_000;
const streamEventsMax = 4_000_000;

export async function runReaders(context: RunContext): Promise<ReadersReport> {
  const run = new ReadersRun(context);
  const cost = await run.cost();
  const lag = await run.lag(cost);
  const rebuild = await run.rebuild();
  const missing = await serversProblem();
  const sinks: SinkReport[] = [];
  for (const sink of ["rqlite", "mongodb"] as const) {
    sinks.push(missing === undefined ? await run.sink(sink) : { sink, missing });
  }
  const subscribers = await run.subscribers();
  const nats: StreamReport = missing === undefined ? await run.nats() : { missing };
  return {
    durability: context.options.durability,
    cores: context.cores,
    threads: run.threads,
    shards: run.shards,
    callers: run.callers,
    connections,
    cost,
    lag,
    rebuild,
    sinks,
    subscribers,
    nats,
    verdicts: run.verdicts,
    targets: run.targets(cost, lag, rebuild, sinks, subscribers, nats),
    refereeOk: run.verdicts.every(({ ok }) => ok),
  };
}

class ReadersRun {
  readonly #context: RunContext;
  readonly verdicts: ReadersReport["verdicts"][number][] = [];
  threads = 0;
  shards = 0;

  constructor(context: RunContext) {
    this.#context = context;
  }

  get callers(): number {
    return this.#context.options.callers ?? single.callers;
  }

  async cost(): Promise<ReadersReport["cost"]> {
    const { options } = this.#context;
    const rounds: CostRound[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      const [without, withOne] = [await this.#single([], round), await this.#single(["sqlite"], round)];
      const share = 1 - withOne.eventsPerSecond / Math.max(1, without.eventsPerSecond);
      rounds.push({ without, with: withOne, share: Number(share.toFixed(3)) });
    }
    return { rounds, share: spreadOf(rounds.map(({ share }) => share))! };
  }

  async lag(cost: ReadersReport["cost"]): Promise<ReadersReport["lag"]> {
    const taken = spreadOf(cost.rounds.map((round) => round.with.eventsPerSecond))!.median;
    // More than the machine takes would show a queue of calls, and not what a projection is behind.
    const perSecond = Math.min(stated.lagPerSecond, Math.floor(taken));
    return this.#atRate("lag", "sqlite", perSecond, (data) => ({ kind: "sqlite", file: projectionsFileOf(data) }));
  }

  async rebuild(): Promise<ReadersReport["rebuild"]> {
    const { options, progress } = this.#context;
    const data = this.#folder("rebuild");
    const wanted = Math.min(options.events, rebuildEventsMax);
    const node = await this.#node(data, { sinks: ["sqlite"] });
    const filled = await this.#fill(node, data, wanted, "readers, rebuild: filling");
    await using db = new Heddle({ host: "127.0.0.1", port: node.port });
    await waitUntilSeen(db, projection);
    const alone = await this.#rebuildOnce(db, filled, "readers, rebuild");
    // The same while single appends come, at half of what they might.
    const job = this.#job(node, data, { ...single, callers: Math.ceil(this.callers / 4) }, { seconds: 600 });
    const load = this.#startLoad(job, "readers, rebuild while appends go on");
    const beside = await this.#rebuildOnce(db, filled, "readers, rebuild beside appends");
    load.abandon();
    await load.done.catch(() => {});
    await this.#settled(node, db);
    await db.close();
    await node.close();
    progress.note(
      `readers, rebuild: ${rate(alone.eventsPerSecond)} alone, ${rate(beside.eventsPerSecond)} beside single appends`,
    );
    await this.#judge("rebuild", data, { kind: "rows", data, sink: { kind: "sqlite", file: projectionsFileOf(data) } });
    return { events: filled, alone, besideAppends: beside };
  }

  async sink(sink: "rqlite" | "mongodb"): Promise<SinkReport> {
    await using server = sink === "rqlite" ? await startRqlite() : await startMongo();
    const url = sink === "rqlite" ? server.url : new URL("/heddle", server.url).href;
    const perSecond = Math.floor(stated.sinkPerSecond * offeredOver);
    const report = await this.#atRate(sink, url, perSecond, () => ({ kind: sink, url }));
    return { sink, server: describeServer(sink, server), ...report };
  }

  async subscribers(): Promise<SubscribersResult> {
    const { options, progress } = this.#context;
    const data = this.#folder("subscribers");
    const node = await this.#node(data, { sinks: [] });
    progress.step("readers, subscribers", `${stated.subscribers.toLocaleString("en-GB")} of them`);
    const result = await ask<SubscribersJob, SubscribersResult>("../readers/subscribers.ts", {
      port: node.port,
      subscribers: stated.subscribers,
      eventsPerSecond: stated.subscribedPerSecond,
      warmupSeconds: options.warmupSeconds,
      seconds: options.seconds,
    });
    await node.close();
    const { missing, double, outOfOrder, events, latency } = result;
    const ok = missing === 0 && double === 0 && outOfOrder === 0;
    const text = `${missing} missing, ${double} double, ${outOfOrder} out of order of ${events.toLocaleString("en-GB")}`;
    this.verdicts.push({ of: "subscribers", ok, text });
    progress.note(`readers, subscribers: p50 ${latency.p50Ms}, p99 ${latency.p99Ms} ms; ${text}`);
    this.#remove(data);
    return result;
  }

  async nats(): Promise<StreamReport> {
    const { options, progress } = this.#context;
    const data = this.#folder("nats");
    const wanted = Math.min(options.events, streamEventsMax);
    const alone = await this.#node(data, { sinks: [] });
    const filled = await this.#fill(alone, data, wanted, "readers, nats: filling");
    await alone.close();
    await using server = await startNats();
    const from = performance.now();
    const node = await this.#node(data, { sinks: [], nats: { url: server.url } });
    const readyMs = performance.now() - from;
    const { logBytes } = await node.usage();
    for (;;) {
      const { lagBytes, messages } = await natsFigures(node.port);
      if (messages > 0 && lagBytes === 0) break;
      progress.step("readers, nats: publishing", `${rate(filled)}`, 1 - Math.min(1, lagBytes / logBytes));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const seconds = (performance.now() - from) / 1000;
    const whole = await natsFigures(node.port);
    const live = await this.#measure(
      node,
      this.#job(node, data, single, {}),
      "readers, nats: single appends beside it",
    );
    const liveEnd = performance.now();
    while ((await natsFigures(node.port)).lagBytes > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const drainedMs = Math.round(performance.now() - liveEnd);
    await node.close();
    const report = {
      server: describeServer("nats", server),
      events: filled,
      logBytes,
      messages: whole.messages,
      readyMs: Math.round(readyMs),
      seconds: Number(seconds.toFixed(3)),
      eventsPerSecond: Math.round(filled / seconds),
      live: { eventsPerSecond: live.measurement.eventsPerSecond, latency: live.measurement.latency, drainedMs },
    };
    progress.note(`readers, nats: ${rate(report.eventsPerSecond)} into the stream in ${whole.messages} messages`);
    await this.#judge("nats", data, { kind: "stream", data, context: contextName, nats: server.url });
    return report;
  }

  targets(
    cost: ReadersReport["cost"],
    lag: ReadersReport["lag"],
    rebuild: ReadersReport["rebuild"],
    sinks: readonly SinkReport[],
    subscribers: SubscribersResult,
    nats: StreamReport,
  ): readonly TargetOutcome[] {
    const { options, inMemory } = this.#context;
    const conditions: Conditions = {
      durability: options.durability,
      inMemory,
      ownShape: options.callers === undefined,
    };
    const lagOutcome = judgeTarget(readersTargets.lag, lag.lag.p99Ms, conditions, { of: "of SQLite" });
    const isSmall = (events: number) => events < rebuildEventsMax;
    const rebuilt = judgeTarget(readersTargets.rebuild, rebuild.alone.eventsPerSecond, conditions, { of: "rebuilt" });
    const streamed =
      "missing" in nats
        ? judgeTarget(readersTargets.nats, undefined, conditions, { of: "to NATS", missing: nats.missing })
        : judgeTarget(readersTargets.nats, nats.eventsPerSecond, conditions, { of: "to NATS" });
    const tooSmall = (events: number) => `stated for a log of millions, this one has ${events.toLocaleString("en-GB")}`;
    return [
      judgeTarget(readersTargets.cost, cost.share.median, conditions, { of: "of the writers' rate" }),
      lag.offeredPerSecond >= 0.98 * stated.lagPerSecond
        ? lagOutcome
        : unjudged(
            lagOutcome,
            `stated for ${rate(stated.lagPerSecond)}, the machine took ${rate(lag.offeredPerSecond)}`,
          ),
      isSmall(rebuild.events) ? unjudged(rebuilt, tooSmall(rebuild.events)) : rebuilt,
      ...sinks.map((sink) =>
        "missing" in sink
          ? judgeTarget(readersTargets.sink, undefined, conditions, { of: sink.sink, missing: sink.missing })
          : judgeTarget(readersTargets.sink, sink.projectedPerSecond, conditions, { of: sink.sink }),
      ),
      judgeTarget(readersTargets.subscribers, subscribers.latency.p99Ms, conditions, { of: "of subscribers" }),
      !("missing" in nats) && isSmall(nats.events) ? unjudged(streamed, tooSmall(nats.events)) : streamed,
    ];
  }

  async #single(sinks: readonly string[], round: number) {
    const { options, progress } = this.#context;
    const data = this.#folder("cost");
    const node = await this.#node(data, { sinks });
    const what = `readers ${round}/${options.rounds}, cost, ${sinks.length === 0 ? "no projection" : "SQLite"}`;
    const measured = await this.#measure(node, this.#job(node, data, single, {}), what);
    if (sinks.length > 0) {
      await using db = new Heddle({ host: "127.0.0.1", port: node.port });
      await waitUntilSeen(db, projection);
    }
    await node.close();
    const { eventsPerSecond, latency } = measured.measurement;
    progress.note(`${what}: ${rate(eventsPerSecond)}`);
    await this.#judge(
      what,
      data,
      sinks.length === 0 ? undefined : { kind: "rows", data, sink: { kind: "sqlite", file: projectionsFileOf(data) } },
    );
    return { eventsPerSecond, latency, nodeCpuSeconds: measured.server.cpuSeconds, syncs: measured.server.syncs };
  }

  async #atRate(
    name: string,
    sink: string,
    perSecond: number,
    rows: (data: string) => RowSink,
  ): Promise<ReadersReport["lag"]> {
    const { options, progress } = this.#context;
    const data = this.#folder(name);
    const node = await this.#node(data, { sinks: [sink] });
    const seconds = Math.max(options.seconds, 1);
    const job = this.#job(node, data, single, {
      warmupSeconds: 0,
      seconds: 0.2,
      openLoop: { callsPerSecond: perSecond, seconds },
    });
    const sampler = new LagSampler(node.port, projection);
    const { openLoop } = await this.#measure(node, job, `readers, ${name}`);
    const { lag, projectedPerSecond, drainedMs } = await sampler.drained();
    const { events, latency, offeredPerSecond } = openLoop as OpenLoopMeasurement;
    await node.close();
    progress.note(
      `readers, ${name}: ${rate(offeredPerSecond)} offered, lag p50 ${lag.p50Ms}, p99 ${lag.p99Ms} ms, drained in ${drainedMs} ms`,
    );
    await this.#judge(name, data, { kind: "rows", data, sink: rows(data) });
    return { offeredPerSecond, events, latency, lag, projectedPerSecond, drainedMs };
  }

  async #rebuildOnce(db: Heddle, events: number, what: string) {
    const { progress } = this.#context;
    const startedAt = performance.now();
    await db.rebuildProjection(projection, {
      onProgress: ({ done, total }) => progress.step(what, `${rate(events)} to read`, total === 0 ? 1 : done / total),
    });
    const seconds = (performance.now() - startedAt) / 1000;
    return { seconds: Number(seconds.toFixed(3)), eventsPerSecond: Math.round(events / seconds) };
  }

  /** Waits for rows of what an abandoned client had sent, too. */
  async #settled(node: Server, db: Heddle): Promise<void> {
    for (let events = -1, unchanged = 0; unchanged < 3; ) {
      await waitUntilSeen(db, projection);
      const now = (await node.usage()).events;
      unchanged = now === events ? unchanged + 1 : 0;
      events = now;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Writes events in batches; resolves to how many there are. */
  async #fill(node: Server, data: string, events: number, what: string): Promise<number> {
    await this.#measure(
      node,
      this.#job(node, data, batched, { seconds: 600, eventsMax: events, warmupSeconds: 0 }),
      what,
    );
    return (await node.usage()).events;
  }

  #folder(name: string): string {
    return path.join(this.#context.folder, `readers-${name}`);
  }

  async #node(data: string, extra: Pick<NodeOptions, "sinks" | "nats">): Promise<Server> {
    const { options, domain } = this.#context;
    const { durability, shards, threads } = options;
    const node = await startNodeProcess(
      {
        domain,
        data,
        host: "127.0.0.1",
        port: 0,
        durability,
        ...extra,
        ...(shards === undefined ? {} : { shards }),
        ...(threads === undefined ? {} : { threads }),
      },
      options.profile,
    );
    this.threads = node.threads;
    this.shards = node.shards;
    return node;
  }

  #job(node: Server, data: string, shape: EventShape, extra: Partial<LoadJob>): LoadJob {
    const { options } = this.#context;
    return {
      kind: "load",
      target: "heddle",
      port: node.port,
      connections,
      shape: shape === single ? { ...single, callers: this.callers } : shape,
      warmupSeconds: options.warmupSeconds,
      seconds: options.seconds,
      sampleSeconds: sampleSecondsFor(options.seconds),
      bookFile: bookOf(data),
      ...extra,
    };
  }

  #measure(node: Server, job: LoadJob, what: string): Promise<Measured> {
    const { options, progress } = this.#context;
    return measure(node, job, options.durability, progress, what);
  }

  #startLoad(job: LoadJob, what: string) {
    return startLoad(job, ({ events }) => this.#context.progress.step(what, `${rate(events)}`));
  }

  /** The store against the book, and what readers have against the store; then the store is removed. */
  async #judge(of: string, data: string, job: ReadersJudgeJob | undefined): Promise<void> {
    const { domain, progress } = this.#context;
    progress.step(`readers, ${of}: the referee refolds the store`);
    const { ok, text } = await callReferee(data, domain, bookOf(data));
    this.verdicts.push({ of: `${of}: store`, ok, text });
    if (job !== undefined) {
      const verdict = await ask<ReadersJudgeJob, ReadersVerdict>("../readers/judge.ts", job);
      const { compared, events, objections, objectionTotal } = verdict;
      const what = job.kind === "rows" ? "rows" : "entries of the log";
      const found = verdict.ok
        ? `${compared.toLocaleString("en-GB")} ${what} are what ${events.toLocaleString("en-GB")} events make`
        : `${objectionTotal} objections, first: ${objections[0]}`;
      this.verdicts.push({ of: `${of}: ${job.kind}`, ok: verdict.ok, text: found });
      progress.note(`readers, ${of}: ${text}; ${found}`);
    }
    this.#remove(data);
  }

  #remove(data: string): void {
    if (this.#context.options.keep) return;
    fs.rmSync(data, { recursive: true, force: true });
    fs.rmSync(bookOf(data), { force: true });
  }
}

function bookOf(data: string): string {
  return `${data}.book.json`;
}

function rate(events: number): string {
  return `${Math.round(events).toLocaleString("en-GB")} events/s`;
}

function unjudged(outcome: TargetOutcome, remark: string): TargetOutcome {
  return { ...outcome, reached: undefined, remark };
}

/** Why there are no servers to read into, or undefined; builds them where they are not there yet. */
async function serversProblem(): Promise<string | undefined> {
  try {
    for (const server of serverNames) await obtain(server);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function describeServer(name: string, { version }: RunningServer): string {
  return `${name} ${version}`;
}

/** Out of the node's own metrics, over all shards. */
async function natsFigures(port: number): Promise<{ readonly lagBytes: number; readonly messages: number }> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  const lines = (await answer.text()).split("\n");
  const sum = (name: string) =>
    lines
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
  return { lagBytes: sum("heddle_nats_lag_bytes"), messages: sum("heddle_nats_messages_total") };
}

/** Runs a module as a process of its own, and resolves to the one thing that it says. */
function ask<J, A>(module: string, job: J): Promise<A> {
  const child = fork(fileURLToPath(new URL(module, import.meta.url)), [JSON.stringify(job)], {
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  return new Promise((resolve, reject) => {
    let answer: { readonly said: A } | undefined;
    child.on("message", (said) => {
      answer = { said: said as A };
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (answer === undefined) reject(new Error(`${path.basename(module)} ended with ${code} and no answer`));
      else resolve(answer.said);
    });
  });
}
