// The readers scenario as its user runs it, for one second a measurement: every sink, subscribers, a stream, and the referee.
// Figures are not judged here.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BenchDocument } from "../report/document.ts";

const program = fileURLToPath(new URL("../main.ts", import.meta.url));
let data: string;

beforeAll(() => {
  data = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-bench-spec-"));
});

afterAll(() => fs.rmSync(data, { recursive: true, force: true }));

// Some thirty processes start one after another, each with the whole of Heddle to load.
describe("bench: readers", { timeout: 900_000 }, () => {
  it("P5: rows in every sink, what subscribers got and the stream are what the log says", () => {
    const shared = ["--data", data, "--slow-disk", "--seconds", "1", "--warmup", "0.2", "--rounds", "1"];
    const asked = ["--scenario", "readers", "--events", "20000", "--json"];
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...shared, ...asked], {
      encoding: "utf8",
    });
    expect(stderr).toContain("0 missing, 0 double, 0 out of order");
    expect(status).toBe(0);
    const { readers } = JSON.parse(stdout) as BenchDocument;
    expect(readers).toMatchObject({ durability: "fsync", callers: 200, refereeOk: true });
    expect(readers!.verdicts.map(({ of }) => of)).toEqual([
      "readers 1/1, cost, no projection: store",
      "readers 1/1, cost, SQLite: store",
      "readers 1/1, cost, SQLite: rows",
      "lag: store",
      "lag: rows",
      "rebuild: store",
      "rebuild: rows",
      "rqlite: store",
      "rqlite: rows",
      "mongodb: store",
      "mongodb: rows",
      "subscribers",
      "nats: store",
      "nats: stream",
    ]);
    expect(readers!.subscribers).toMatchObject({ subscribers: 1_000, missing: 0, double: 0, outOfOrder: 0 });
    expect(readers!.rebuild.events).toBeGreaterThanOrEqual(20_000);
    expect(readers!.nats).toMatchObject({ server: expect.stringMatching(/^nats 2\./) });
    expect(readers!.targets).toHaveLength(7);
    expect(fs.readdirSync(data)).toEqual([]);
  });
});
