// The whole benchmark as its user runs it, for one second: processes, ports, disk, referee. Figures are not judged here.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BenchDocument } from "./report/document.ts";

const program = fileURLToPath(new URL("./main.ts", import.meta.url));
let data: string;

beforeAll(() => {
  data = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-bench-spec-"));
  // As a folder for temporary files is: other users, such as PostgreSQL's, may pass through.
  fs.chmodSync(data, 0o711);
});

afterAll(() => fs.rmSync(data, { recursive: true, force: true }));

function bench(...args: string[]) {
  const shared = ["--data", data, "--slow-disk", "--seconds", "1", "--warmup", "0.2", "--rounds", "1"];
  const done = spawnSync(process.execPath, [program, ...shared, ...args], { encoding: "utf8" });
  return { status: done.status, out: done.stdout, err: done.stderr };
}

// A dozen processes start one after another, each with the whole of Heddle to load.
describe("bench: end to end", { timeout: 600_000 }, () => {
  it("P2, P4: measures single against the floor, and the referee finds every acknowledged event once", () => {
    const out = path.join(data, "result.json");
    const { status, out: printed, err } = bench("--scenario", "single", "--json", "--out", out);
    expect(err).toContain("REFEREE_OK");
    expect(status).toBe(0);
    const document = JSON.parse(printed) as BenchDocument;
    expect(JSON.parse(fs.readFileSync(out, "utf8"))).toEqual(document);
    expect(document).toMatchObject({ format: 1, durability: "fsync", refereeOk: true });
    expect(document).not.toHaveProperty("restart");
    const [report] = document.scenarios;
    expect(report).toMatchObject({
      scenario: "single",
      callers: 200,
      batch: 1,
      connections: 4,
      accounts: 1000,
      payload: { jsonBytes: 31, msgpackBytes: 24 },
    });
    const { heddle, floors } = report!.rounds[0]!;
    expect(floors[0]!.measurement.events).toBeGreaterThan(0);
    expect(heddle.measurement.events).toBe(heddle.measurement.calls);
    expect(heddle.measurement.latency.count).toBe(heddle.measurement.calls);
    expect(heddle.server.syncs).toBeGreaterThan(0);
    expect(heddle.server.syncs).toBe(heddle.server.groups);
    // What the clients were told is exactly what the store holds: nothing was left open, nothing came on top.
    const { referee } = heddle;
    expect(referee).toMatchObject({ ok: true, unknownCalls: 0, refusedCalls: 0, duplicateReceipts: 0, tornBytes: 0 });
    expect(referee.events).toBe(referee.acknowledgedEvents);
    expect(referee.events).toBeGreaterThan(heddle.measurement.events);
    expect(report!.openLoop!.events).toBeGreaterThan(0);
    expect(fs.readdirSync(data)).toEqual(["result.json"]);
  });

  it("measures the broker over HTTP, without syncs when durability os is asked for, and says so", () => {
    const { status, out } = bench("--scenario", "broker", "--durability", "os", "--open-loop", "0", "--json");
    expect(status).toBe(0);
    const document = JSON.parse(out) as BenchDocument;
    const [report] = document.scenarios;
    expect(report!.ratios.map(({ floor }) => floor)).toEqual(["http", "binary"]);
    expect(report!.rounds[0]!.heddle.server).toMatchObject({ syncs: 0 });
    expect(report!.rounds[0]!.heddle.referee).toMatchObject({ ok: true, refusedCalls: 0 });
    expect(report!.targets.every(({ reached }) => reached === undefined)).toBe(true);
    expect(document).not.toHaveProperty("targetsReached");
  });

  it("P5: kills a node under load, starts it again, and finds all that was acknowledged", () => {
    const { status, out } = bench("--scenario", "restart", "--events", "20000");
    expect(out).toContain("after kill -9 under load, 1: ready in");
    expect(out).toContain("REFEREE_OK: every store holds exactly what was acknowledged");
    expect(status).toBe(0);
  });
});

describe("bench: transfers", { timeout: 600_000 }, () => {
  it("P2, P4: moves money in three ways beside PostgreSQL, and the referee finds all of it, and every saga's end", () => {
    const { status, out, err } = bench("--scenario", "transfers", "--seed", "7", "--json");
    expect(err).toContain("money conserved");
    expect(status).toBe(0);
    const { transfers } = JSON.parse(out) as BenchDocument;
    expect(transfers).toMatchObject({ durability: "fsync", callers: 200, accounts: 1000, seed: 7, refereeOk: true });
    expect(transfers!.paths.map(({ way, shards }) => [way, shards])).toEqual([
      ["transaction", 1],
      ["transaction", 2],
      ["saga", 2],
    ]);
    for (const { path: name, way, rounds, ratios } of transfers!.paths) {
      const [{ measurement, server, referee }] = rounds as [(typeof rounds)[0]];
      expect(measurement.calls, name).toBeGreaterThan(0);
      expect(measurement.events).toBe(2 * measurement.calls);
      expect(server.syncs).toBeGreaterThan(0);
      expect(referee).toMatchObject({ ok: true, refusedCalls: 0, unknownCalls: 0, audit: { ok: true } });
      expect(referee.events).toBe(referee.acknowledgedEvents);
      if (way === "saga") expect(referee.endedSagas).toBe((referee.events - 1000) / 2);
      else expect(referee.endedSagas).toBe(0);
      expect(ratios.map((ratio) => ratio.way)).toEqual(
        "missing" in transfers!.postgres ? [] : ["statements", "function"],
      );
    }
    const { postgres } = transfers!;
    if ("missing" in postgres) expect(postgres.missing).toContain("postgresql-15");
    else {
      expect(postgres).toMatchObject({ isolation: "SERIALIZABLE", clients: 32, settings: { fsync: "on" } });
      for (const { rounds } of postgres.ways) expect(rounds[0]!.objections).toEqual([]);
    }
    expect(fs.readdirSync(data).filter((name) => name.startsWith("heddle-bench"))).toEqual([]);
  });

  it("runs without PostgreSQL where there is none, and says what is missing", () => {
    const { status, out } = bench(
      ...["--scenario", "transfers", "--postgres", data, "--callers", "20", "--seconds", "0.3", "--warmup", "0"],
    );
    expect(status).toBe(0);
    expect(out).toContain("PostgreSQL was not measured:");
    expect(out).toContain("install the package postgresql-15");
    expect(out).toContain("another number of callers than the scenario's");
  });
});

describe("bench: reminders", { timeout: 600_000 }, () => {
  it("P5: delivers what is due after a restart, once each and none early, and says how fast", () => {
    const { status, out } = bench("--scenario", "reminders", "--reminders", "5000");
    expect(out).toContain("reminders: 5,000 pending for 500 entities");
    expect(out).toContain("2,500 delivered, 0 lost, 0 early; audit: INTEGRITY_OK");
    expect(out).toContain("stated for 1,000,000 reminders");
    expect(status).toBe(0);
  });
});

describe("bench: sleepers", { timeout: 600_000 }, () => {
  it("P8: serves more entities than memory is given, every state as it must be, and says what its own memory was", () => {
    const { status, out } = bench("--scenario", "sleepers", "--entities", "5000");
    expect(out).toContain("sleepers: 5,000 entities");
    expect(out).toMatch(/own memory [\d,]+ MiB at most; every state as it must be/);
    expect(out).toContain("stated for 10,000,000 entities");
    expect(status).toBe(0);
  });
});

describe("bench: its command line", () => {
  it("P7: refuses what it does not know, with 2 and the options that there are", () => {
    const { status, out, err } = bench("--scenario", "fast");
    expect(status).toBe(2);
    expect(out).toBe("");
    expect(err).toContain('there is no scenario "fast"');
    expect(err).toContain("--durability");
  });

  it("prints its options when asked", () => {
    const { status, out } = bench("--help");
    expect(status).toBe(0);
    expect(out).toContain("npm run bench");
  });
});
