// Goal: the peer is a real PostgreSQL with the durability, isolation and schema that its README names, and it is gone afterwards.
// Method: the programs of this machine. Where they are not installed, the benchmark runs without them and says what is
// missing, which find-postgres.unit.spec.ts holds; here that must then be the only reason.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { measurePostgres, objectionsTo, postgresWays } from "./bank.ts";
import { PostgresCluster, settings } from "./cluster.ts";
import { debianFolder, findPostgres } from "./find-postgres.ts";

const found = findPostgres(debianFolder);
const below = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-postgres-spec-"));
let cluster: PostgresCluster | undefined;

beforeAll(async () => {
  if ("missing" in found) return;
  cluster = await PostgresCluster.create(found.postgres, below);
  await cluster.start();
});

afterAll(async () => {
  await cluster?.remove();
  const left = fs.readdirSync(below);
  fs.rmSync(below, { recursive: true, force: true });
  expect(left).toEqual([]);
});

describe("PostgreSQL", () => {
  it("is measured where its programs are, and what is missing is told where they are not", () => {
    const absent = !fs.existsSync(path.join(debianFolder, "pgbench"));
    expect("missing" in found ? found.missing : "").toMatch(absent ? /install the package/ : /^$/);
  });

  it("P2: runs with the settings that are published: nothing is acknowledged before it is on disk", async () => {
    const readme = fs.readFileSync(fileURLToPath(new URL("./README.md", import.meta.url)), "utf8");
    const own = { ...settings };
    for (const [name, value] of Object.entries(own)) expect(readme).toContain(`\`${name} = ${value}\``);
    if (cluster === undefined) return;
    for (const [name, value] of Object.entries(own)) expect(await cluster.sql(`SHOW ${name}`), name).toBe(value);
    expect(await cluster.sql("SHOW transaction_isolation")).toBe("serializable");
  });

  it("P7: names the folder that keeps its user out, and how to choose another", async () => {
    if ("missing" in found || found.postgres.user === undefined) return;
    const closed = path.join(below, "closed");
    const inside = path.join(closed, "inside");
    fs.mkdirSync(inside, { recursive: true });
    fs.chmodSync(closed, 0o700);
    await expect(PostgresCluster.create(found.postgres, inside)).rejects.toThrow(
      `may not pass through ${closed}: choose another folder with --data`,
    );
    expect(fs.readdirSync(inside)).toEqual([]);
    fs.rmSync(closed, { recursive: true });
  });

  it("P3: has the rule that no balance is negative", async () => {
    if (cluster === undefined) return;
    await measurePostgres(cluster, "function", { seconds: 1, warmupSeconds: 0, seed: 1 });
    await expect(cluster.sql("UPDATE account SET balance = balance - 2e12 WHERE id = 1")).rejects.toThrow(
      'violates check constraint "balance is never negative"',
    );
  });

  it.each(postgresWays)("moves money by %s, with two events for each transfer and none lost", async (way) => {
    if (cluster === undefined) return;
    const run = await measurePostgres(cluster, way, { seconds: 1, warmupSeconds: 0, seed: 1 });
    expect(run).toMatchObject({ way, failed: 0, objections: [] });
    expect(run.transactions).toBeGreaterThan(0);
    expect(run.latency.count).toBe(run.transactions);
    expect(Number(await cluster.sql("SELECT count(*) FROM event"))).toBe(2 * run.transactions);
  });

  it("sees money that is missing, an event that is, and a sequence that skipped one", async () => {
    if (cluster === undefined) return;
    const { transactions } = await measurePostgres(cluster, "function", { seconds: 1, warmupSeconds: 0, seed: 1 });
    expect(await objectionsTo(cluster, transactions)).toEqual([]);
    await cluster.sql("UPDATE account SET seq = seq + 1 WHERE id = 3");
    expect(await objectionsTo(cluster, transactions)).toEqual(["1 accounts are not what their events say"]);
    await cluster.sql("UPDATE account SET seq = seq - 1 WHERE id = 3");
    await cluster.sql("UPDATE account SET balance = balance - 1 WHERE id = 1");
    await cluster.sql("DELETE FROM event WHERE ctid = (SELECT min(ctid) FROM event)");
    expect(await objectionsTo(cluster, transactions)).toEqual([
      "the balances add up to 999999999999999, 1000000000000000 were paid in",
      `${transactions} transfers were committed, ${2 * transactions - 1} events are there`,
      expect.stringMatching(/^[12] accounts are not what their events say$/),
    ]);
  });
});
