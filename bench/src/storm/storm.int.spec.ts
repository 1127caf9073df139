// A small storm on a real node, as its user runs it: money is conserved, every transfer ends as planned, and the closed folder
// passes the audit. What the storm would object to: storm.unit.spec.ts.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import type { StormReport } from "./run-storm.ts";

const program = fileURLToPath(new URL("./main.ts", import.meta.url));
const base = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-storm-spec-"));
afterAll(() => fs.rmSync(base, { recursive: true, force: true }));

/** Compiled code, kept from process to process: most of a start is compiling. */
const env = {
  ...process.env,
  NODE_COMPILE_CACHE: fileURLToPath(new URL("../../../node_modules/.cache/heddle-storm", import.meta.url)),
};

function storm(...args: string[]) {
  const done = spawnSync(process.execPath, [program, "--data", base, ...args], { encoding: "utf8", env });
  return { status: done.status, out: done.stdout, said: done.stderr };
}

describe("npm run storm", { timeout: 600_000 }, () => {
  it("moves money by transaction and by saga, over shards and threads, while an auditor reads all of it", () => {
    const { status, out, said } = storm(
      ...["--transfers", "1200", "--accounts", "100", "--callers", "50", "--threads", "2", "--json"],
    );
    expect(said).toContain("transfers by saga");
    const report = JSON.parse(out) as StormReport;
    expect(report.objections).toEqual([]);
    expect(report).toMatchObject({
      ok: true,
      accounts: 100,
      shards: 4,
      threads: 2,
      durability: "fsync",
      total: 100 * 2401 * 100,
      integrity: expect.stringMatching(/^INTEGRITY_OK/),
      ways: [
        { way: "transaction", transfers: 1200, moved: 1140, failed: { INSUFFICIENT_FUNDS: 20, ACCOUNT_FROZEN: 40 } },
        { way: "saga", transfers: 1200, moved: 1140, failed: { INSUFFICIENT_FUNDS: 20, ACCOUNT_FROZEN: 40 } },
      ],
    });
    for (const { audits } of report.ways) expect(audits).toBeGreaterThan(0);
    expect(report.ways[0]!.missedMax).toBe(0);
    expect(status).toBe(0);
    expect(fs.readdirSync(base)).toEqual([]);
  });

  it("P4 P5: loses and makes no money, and ends every transfer as planned, when the node is killed again and again", () => {
    const { out, said } = storm(
      ...["--transfers", "2000", "--kills", "2", "--accounts", "100", "--callers", "50", "--threads", "2", "--json"],
    );
    expect(said).toContain("transfers by saga");
    const report = JSON.parse(out) as StormReport;
    expect(report.objections).toEqual([]);
    expect(report).toMatchObject({
      ok: true,
      integrity: expect.stringMatching(/^INTEGRITY_OK/),
      ways: [
        { way: "transaction", kills: 2, transfers: 2000, moved: 1900, missedMax: 0 },
        { way: "saga", kills: 2, transfers: 2000, moved: 1900 },
      ],
    });
    // One client of each way died with the node: its calls were known by their ids only.
    expect(report.askedAgain).toBeGreaterThan(0);
    expect(report.sagasEndedAlone).toBeGreaterThan(0);
    expect(fs.readdirSync(base)).toEqual([]);
  });

  it("goes on for a time instead of a number of transfers", () => {
    const report = JSON.parse(storm("--seconds", "1", "--by", "transaction", "--json").out) as StormReport;
    expect(report.objections).toEqual([]);
    expect(report.ways[0]!.tookMs).toBeGreaterThanOrEqual(1_000);
    expect(report.ways[0]!.transfers).toBeGreaterThan(0);
  });

  it("P7: refuses what it does not know, with 2 and the options that there are", () => {
    expect(storm("--by", "hand")).toMatchObject({ status: 2, out: "" });
    expect(storm("--seconds", "1", "--transfers", "5")).toMatchObject({ status: 2, out: "" });
    expect(storm("--accounts", "2").said).toContain('--accounts is a whole number from 3 to 10000, found "2"');
  });
});
