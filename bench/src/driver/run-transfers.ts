// The transfers scenario: money from one account to another, as a transaction on one shard, as a transaction over two, and
// as a saga over two. PostgreSQL moves the same money between as many accounts in the same minutes.
//
// T1. The peer and the three paths take turns, each with fresh data; at most two processes work at a time besides this one.
// T2. A store is judged after its node has stopped: by the referee, who wants all money and every saga's end, and by the
//     audit that ships with Heddle.
// Not promised: the same pairs in PostgreSQL. Both pick evenly from as many accounts, from seeds.
import fs from "node:fs";
import path from "node:path";
import { accountCount } from "../load/accounts.ts";
import type { LoadJob } from "../load/job.ts";
import type { TransferShape } from "../load/load.ts";
import {
  measurePostgres,
  type PostgresRun,
  postgresClients,
  postgresThreads,
  postgresWays,
} from "../peers/postgres/bank.ts";
import { PostgresCluster, settings } from "../peers/postgres/cluster.ts";
import { findPostgres } from "../peers/postgres/find-postgres.ts";
import type {
  PostgresReport,
  PostgresWayReport,
  TransferPathReport,
  TransferRun,
  TransfersReport,
} from "../report/document.ts";
import { type Conditions, judgeTarget, type TargetOutcome } from "../report/targets.ts";
import { type TransferPath, transferCallers, transferConnections, transferPaths } from "../scenarios.ts";
import { medianIndex, spreadOf } from "../statistics/spread.ts";
import { sampleSecondsFor } from "../statistics/trend.ts";
import { measure } from "./measure.ts";
import { callReferee, startNodeProcess } from "./processes.ts";
import type { RunContext } from "./run-scenario.ts";

type Peer = { readonly cluster: PostgresCluster } | { readonly missing: string };

export async function runTransfers(context: RunContext): Promise<TransfersReport> {
  const { options, progress } = context;
  const callers = options.callers ?? transferCallers;
  const peer = await preparePeer(context);
  if ("missing" in peer) progress.note(`transfers: without PostgreSQL: ${peer.missing}`);
  const peerRuns: PostgresRun[] = [];
  const runs: PathRun[] = [];
  try {
    for (let round = 1; round <= options.rounds; round++) {
      if ("cluster" in peer) peerRuns.push(...(await runPeer(peer.cluster, round, context)));
      for (const path of transferPaths) runs.push(await runPath(path, callers, round, context));
    }
  } finally {
    if ("cluster" in peer) await peer.cluster.remove();
  }
  const postgres = "missing" in peer ? peer : reportPeer(peer.cluster, peerRuns);
  const conditions: Conditions = {
    durability: options.durability,
    inMemory: context.inMemory,
    ownShape: options.callers === undefined,
  };
  const paths = transferPaths.map((path) =>
    reportPath(
      path,
      runs.filter((run) => run.path === path.name),
      postgres,
    ),
  );
  return {
    durability: options.durability,
    cores: context.cores,
    callers,
    connections: transferConnections,
    accounts: accountCount,
    seconds: options.seconds,
    warmupSeconds: options.warmupSeconds,
    seed: options.seed,
    paths,
    postgres,
    targets: transferPaths.flatMap((path, at) => targetsOf(path, paths[at]!, postgres, conditions)),
    refereeOk:
      runs.every(({ run }) => run.referee.ok && run.referee.audit?.ok === true && !run.givenUp) &&
      peerRuns.every(({ objections }) => objections.length === 0),
  };
}

async function preparePeer({ options, folder, progress }: RunContext): Promise<Peer> {
  if (options.postgres === "none") return { missing: "it was left out (--postgres none)" };
  if (options.durability !== "fsync") return { missing: "it is measured with durability fsync only" };
  const found = findPostgres(options.postgres);
  if ("missing" in found) return found;
  progress.step("transfers: initdb");
  try {
    const cluster = await PostgresCluster.create(found.postgres, folder);
    return { cluster };
  } catch (error) {
    return { missing: (error as Error).message };
  }
}

async function runPeer(cluster: PostgresCluster, round: number, { options, progress }: RunContext) {
  const runs: PostgresRun[] = [];
  await cluster.start();
  for (const way of postgresWays) {
    const what = `transfers ${round}/${options.rounds}, PostgreSQL, ${way}`;
    progress.step(what);
    const { seconds, warmupSeconds } = options;
    const run = await measurePostgres(cluster, way, { seconds, warmupSeconds, seed: seedOf(options.seed, round) });
    progress.note(`${what}: ${Math.round(run.perSecond).toLocaleString("en-GB")} transfers/s`);
    runs.push(run);
  }
  await cluster.stop();
  return runs;
}

interface PathRun {
  readonly path: TransferPath["name"];
  readonly shards: number;
  readonly threads: number;
  readonly run: TransferRun;
}

async function runPath(
  { name, way, shards }: TransferPath,
  callers: number,
  round: number,
  { options, folder, domain, progress }: RunContext,
): Promise<PathRun> {
  const data = path.join(folder, `transfers-${way}-${shards}-${round}`);
  const bookFile = `${data}.book.json`;
  const { durability, threads } = options;
  const across = shards === 1 ? 1 : Math.max(shards, options.shards ?? shards);
  const node = await startNodeProcess(
    {
      domain,
      data,
      host: "127.0.0.1",
      port: 0,
      durability,
      shards: across,
      ...(threads === undefined ? {} : { threads }),
    },
    options.profile,
  );
  const what = `transfers ${round}/${options.rounds}, ${name}`;
  const shape: TransferShape = {
    callers,
    batch: 2,
    entities: "pair",
    way,
    shards: across,
    seed: seedOf(options.seed, round),
  };
  const job: LoadJob = {
    kind: "load",
    target: "heddle",
    port: node.port,
    connections: transferConnections,
    shape,
    warmupSeconds: options.warmupSeconds,
    seconds: options.seconds,
    sampleSeconds: sampleSecondsFor(options.seconds),
    bookFile,
  };
  const { measurement, server, clientCpuSeconds, clientRssBytes, givenUp } = await measure(
    node,
    job,
    durability,
    progress,
    what,
  );
  progress.step(`${what}: stopping`);
  const stoppingAt = performance.now();
  await node.close();
  const closeMs = Math.round(performance.now() - stoppingAt);
  progress.step(`${what}: the referee and the audit refold the store`);
  const referee = await callReferee(data, domain, bookFile, { audit: true });
  const perSecond = measurement.callsPerSecond.toLocaleString("en-GB");
  progress.note(`${what}: ${perSecond} transfers/s, ${referee.text}, ${referee.audit?.text}`);
  if (!options.keep) {
    fs.rmSync(data, { recursive: true, force: true });
    fs.rmSync(bookFile, { force: true });
  }
  const run = { measurement, server, clientCpuSeconds, clientRssBytes, closeMs, givenUp, referee };
  return { path: name, shards: node.shards, threads: node.threads, run };
}

/** Each round has pairs of its own. */
function seedOf(seed: number, round: number): number {
  return seed * 1_000 + round;
}

function reportPeer(cluster: PostgresCluster, runs: readonly PostgresRun[]): PostgresReport {
  const ways = postgresWays.map((way): PostgresWayReport => {
    const rounds = runs.filter((run) => run.way === way);
    const rates = rounds.map(({ perSecond }) => perSecond);
    return { way, rounds, shown: medianIndex(rates), transfersPerSecond: spreadOf(rates)! };
  });
  const { version } = cluster.postgres;
  return { version, isolation: "SERIALIZABLE", clients: postgresClients, threads: postgresThreads, settings, ways };
}

function reportPath(
  { name, way }: TransferPath,
  runs: readonly PathRun[],
  postgres: TransfersReport["postgres"],
): TransferPathReport {
  const rounds = runs.map(({ run }) => run);
  const rates = rounds.map(({ measurement }) => measurement.callsPerSecond);
  const ways = "missing" in postgres ? [] : postgres.ways;
  return {
    path: name,
    way,
    shards: runs[0]!.shards,
    threads: runs[0]!.threads,
    rounds,
    shown: medianIndex(rates),
    transfersPerSecond: spreadOf(rates)!,
    ratios: ways.map((peer) => ({
      way: peer.way,
      ratio: spreadOf(rates.map((rate, round) => rate / Math.max(1, peer.rounds[round]!.perSecond)))!,
    })),
  };
}

// The ratio is judged against transactions that are sent as an application sends them; the other one is shown beside it.
function targetsOf(
  { name, rate, ratio }: TransferPath,
  report: TransferPathReport,
  postgres: TransfersReport["postgres"],
  conditions: Conditions,
): TargetOutcome[] {
  const missing = "missing" in postgres ? `PostgreSQL was not measured: ${postgres.missing}` : "not measured";
  const statements = report.ratios.find(({ way }) => way === "statements");
  return [
    judgeTarget(rate, report.transfersPerSecond.median, conditions, { of: `of ${name}` }),
    judgeTarget(ratio, statements?.ratio.median, conditions, { of: `of ${name} to PostgreSQL`, missing }),
  ];
}
