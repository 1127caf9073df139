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

function storm(...args: string[]) {
  const done = spawnSync(process.execPath, [program, "--data", base, ...args], { encoding: "utf8" });
  return { status: done.status, out: done.stdout, said: done.stderr };
}

describe("npm run storm", () => {
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

  it("P7: refuses what it does not know, with 2 and the options that there are", () => {
    expect(storm("--by", "hand")).toMatchObject({ status: 2, out: "" });
    expect(storm("--accounts", "2").said).toContain('--accounts is a whole number from 3 to 10000, found "2"');
  });
});
