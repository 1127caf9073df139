// The bank in PostgreSQL: accounts like those of the other contestants, transfers in two ways, and a look at what was kept.
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { accountCount, openingAmount } from "../../load/accounts.ts";
import type { PostgresCluster } from "./cluster.ts";
import { type PgbenchRun, runPgbench } from "./pgbench.ts";

/** `statements`: as an application sends a transaction. `function`: all of it on the server, in one round trip. */
export const postgresWays = ["statements", "function"] as const;
export type PostgresWay = (typeof postgresWays)[number];

export const postgresClients = 32;
export const postgresThreads = 2;

export interface PostgresRun extends PgbenchRun {
  readonly way: PostgresWay;
  /** Syncs of the write-ahead log in the measurement. */
  readonly syncs: number;
  /** What is wrong with the tables afterwards; empty when they hold what was committed. */
  readonly objections: readonly string[];
}

const fileOf = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Fresh tables, a warm-up, and one measurement. */
export async function measurePostgres(
  cluster: PostgresCluster,
  way: PostgresWay,
  { seconds, warmupSeconds, seed }: { readonly seconds: number; readonly warmupSeconds: number; readonly seed: number },
): Promise<PostgresRun> {
  await cluster.sql(fs.readFileSync(fileOf("./schema.sql"), "utf8"));
  await cluster.sql(
    `INSERT INTO account SELECT id, ${openingAmount}, 1 FROM generate_series(1, ${accountCount}) AS id; ` +
      "VACUUM ANALYZE account; CHECKPOINT;",
  );
  const job = {
    script: fileOf(`./${way}.sql`),
    clients: postgresClients,
    threads: postgresThreads,
    variables: { accounts: accountCount },
  };
  let before = 0;
  // It measures whole seconds only.
  if (warmupSeconds > 0) {
    const warmedUp = await runPgbench(cluster, { ...job, seconds: Math.ceil(warmupSeconds), seed: seed + 1_000_000 });
    before = warmedUp.transactions;
  }
  const syncsBefore = await syncs(cluster);
  const run = await runPgbench(cluster, { ...job, seconds: Math.ceil(seconds), seed });
  const syncsAfter = await syncs(cluster);
  const objections = await objectionsTo(cluster, before + run.transactions);
  return { ...run, way, syncs: syncsAfter - syncsBefore, objections };
}

async function syncs(cluster: PostgresCluster): Promise<number> {
  return Number(await cluster.sql("SELECT wal_sync FROM pg_stat_wal"));
}

/** Every transfer has its two events, every account as many as its sequence says, and no money came or went. */
export async function objectionsTo(cluster: PostgresCluster, transfers: number): Promise<readonly string[]> {
  const found = await cluster.sql(
    "SELECT sum(balance), min(balance) FROM account; SELECT count(*) FROM event; " +
      "SELECT count(*) FROM account LEFT JOIN (SELECT account, count(*) AS events, " +
      "sum(CASE type WHEN 'Credited' THEN amount ELSE -amount END) AS moved FROM event GROUP BY account) AS history " +
      `ON history.account = account.id WHERE seq <> 1 + coalesce(events, 0) OR balance <> ${openingAmount} + coalesce(moved, 0);`,
  );
  const [sums = "", events, differing] = found.split("\n");
  const [total, lowest] = sums.split("|").map(Number);
  const objections: string[] = [];
  const opened = accountCount * openingAmount;
  if (total !== opened) objections.push(`the balances add up to ${total}, ${opened} were paid in`);
  if (!(lowest! >= 0)) objections.push(`a balance is ${lowest}`);
  if (Number(events) !== 2 * transfers)
    objections.push(`${transfers} transfers were committed, ${events} events are there`);
  if (Number(differing) !== 0) objections.push(`${differing} accounts are not what their events say`);
  return objections;
}
