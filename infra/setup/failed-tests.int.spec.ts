// Goal: what failed can be read at the end of a long run, from the report of a real one.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { failedTests } from "./failed-tests.ts";

it("failed tests, and files that cannot be read, are told in a line each; the others are not", () => {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "heddle-failed-")));
  try {
    const head = 'import { describe, expect, it } from "vitest";\n';
    const passing = 'it("adds", () => expect(1 + 1).toBe(2));\n';
    const failing = 'describe("numbers", () => it("are odd", () => { throw new Error("2 is even\\nand so on"); }));\n';
    fs.writeFileSync(path.join(folder, "a.spec.ts"), head + passing + failing);
    fs.writeFileSync(path.join(folder, "b.spec.ts"), 'throw new Error("no such table");\n');
    fs.writeFileSync(path.join(folder, "c.spec.ts"), head + passing);
    // A spec outside the repository finds Vitest here.
    const modules = fileURLToPath(new URL("../../node_modules", import.meta.url));
    fs.symlinkSync(modules, path.join(folder, "node_modules"));
    const report = path.join(folder, "report.json");
    const asked = ["run", "--root", folder, "--reporter=json", `--outputFile=${report}`];
    const { status } = spawnSync(path.join(modules, ".bin", "vitest"), asked, { stdio: "ignore" });
    expect(status).toBe(1);
    expect(failedTests(report, folder).sort()).toEqual([
      "a.spec.ts > numbers are odd: Error: 2 is even",
      expect.stringMatching(/^b\.spec\.ts: .*no such table/),
    ]);
    expect(failedTests(path.join(folder, "none.json"), folder)).toEqual([]);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
