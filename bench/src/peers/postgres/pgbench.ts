// Pgbench: PostgreSQL's own load generator, and the figures out of what it prints and logs.
//
// A transaction that meets a conflict is made again by pgbench until it succeeds; its latency runs from its first try.
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline/promises";
import { LatencyHistogram, type LatencySummary } from "../../statistics/histogram.ts";
import type { PostgresCluster } from "./cluster.ts";

export interface PgbenchJob {
  /** Path of its script. */
  readonly script: string;
  readonly clients: number;
  readonly threads: number;
  readonly seconds: number;
  readonly seed: number;
  /** Values of variables that the script uses. */
  readonly variables: Readonly<Record<string, number>>;
}

export interface PgbenchSummary {
  readonly transactions: number;
  /** Given up after {@link triesMax}. */
  readonly failed: number;
  /** Transactions that met a serialization failure or a deadlock, and how often they did. */
  readonly retried: number;
  readonly retries: number;
  /** Without the time that connecting takes. */
  readonly perSecond: number;
}

export interface PgbenchRun extends PgbenchSummary {
  readonly latency: LatencySummary;
}

export const triesMax = 1_000;

/** Errors: pgbench's last words; an output that says nothing of what was wanted. */
export async function runPgbench(cluster: PostgresCluster, job: PgbenchJob): Promise<PgbenchRun> {
  const { script, clients, threads, seconds, seed, variables } = job;
  const folder = path.join(cluster.folder, "measured");
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder);
  const { user } = cluster.postgres;
  if (user !== undefined) fs.chownSync(folder, user.uid, user.gid);
  // The user of the programs may not be let in where the script lies.
  const own = path.join(folder, "script.sql");
  fs.copyFileSync(script, own);
  fs.chmodSync(own, 0o644);
  const args = [
    ...["--no-vacuum", "--protocol=prepared", `--file=${own}`],
    ...[`--client=${clients}`, `--jobs=${threads}`, `--time=${seconds}`, `--random-seed=${seed}`],
    ...[`--max-tries=${triesMax}`, "--log", `--log-prefix=${path.join(folder, "latency")}`],
    ...Object.entries(variables).map(([name, value]) => `--define=${name}=${value}`),
    // By its place: to pgbench, -d says that it shall print what each client does, which takes a good part of the machine.
    ...cluster.server,
    cluster.database,
  ];
  // One that tells what each of its clients does measures that.
  const printed = await cluster.run("pgbench", args, { neverSays: /client \d+/ });
  const latencies = new LatencyHistogram();
  for (const name of fs.readdirSync(folder).filter((file) => file.startsWith("latency"))) {
    const lines = createInterface({ input: fs.createReadStream(path.join(folder, name)) });
    for await (const line of lines) recordLine(latencies, line);
  }
  fs.rmSync(folder, { recursive: true, force: true });
  return { ...readSummary(printed), latency: latencies.summary() };
}

/** A line of the log: client, number, microseconds or what failed, script, time. */
export function recordLine(latencies: LatencyHistogram, line: string): void {
  const us = Number(line.split(" ")[2]);
  if (Number.isFinite(us)) latencies.record(us / 1000);
}

export function readSummary(printed: string): PgbenchSummary {
  const number = (pattern: RegExp) => {
    const found = pattern.exec(printed);
    if (found === null) throw new Error(`pgbench printed nothing like ${pattern}: ${printed.slice(-500)}`);
    return Number(found[1]);
  };
  return {
    transactions: number(/^number of transactions actually processed: (\d+)/m),
    failed: number(/^number of failed transactions: (\d+)/m),
    retried: number(/^number of transactions retried: (\d+)/m),
    retries: number(/^total number of retries: (\d+)/m),
    perSecond: number(/^tps = ([\d.]+) \(without initial connection time\)/m),
  };
}
