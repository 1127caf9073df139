// Goal: a stage that needs what the machine does not have is left out with one line, and fails where all is required.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findChromium, obtainChromium } from "./browser.ts";

let empty: string;
beforeEach(() => {
  empty = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-verify-"));
});
afterEach(() => {
  fs.rmSync(empty, { recursive: true, force: true });
});

/** A machine without Go, without servers in its cache, and without the Chromium that its variable names. */
function verify(stages: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { status, stdout } = spawnSync(
    process.execPath,
    [fileURLToPath(new URL("./verify.ts", import.meta.url)), ...stages],
    { env: { PATH: empty, HEDDLE_CACHE: empty, HEDDLE_CHROMIUM: "/nowhere", ...env }, encoding: "utf8" },
  );
  return { status, lines: stdout.split("\n") };
}

describe("verify", () => {
  it("leaves out what can not be had, says why, and counts it", () => {
    const { status, lines } = verify(["servers", "browser"]);
    expect(status).toBe(0);
    const leftOut = lines.filter((line) => /^left out {2}/.test(line));
    expect(leftOut).toEqual([
      expect.stringMatching(
        /^left out {2}servers .* is built with Go, which is not installed: see .* HEDDLE_NATS_SERVER/,
      ),
      expect.stringMatching(/^left out {2}browser .* HEDDLE_CHROMIUM is \/nowhere, which is no file that can be run$/),
    ]);
    expect(lines).toContain("left out: 2");
    expect(lines).toContain("stages: 0 passed, 0 failed");
  });

  it.each([{ CI: "true" }, { HEDDLE_REQUIRE_ALL: "1" }])("fails instead with %j", (env) => {
    const { status, lines } = verify(["servers", "browser"], env);
    expect(status).toBe(1);
    expect(lines.filter((line) => /^FAILED {4}/.test(line))).toHaveLength(2);
    expect(lines).toContain("stages: 0 passed, 2 failed");
  });

  it("knows no stage of another name", () => {
    expect(verify(["serves"]).status).toBe(2);
  });
});

describe("verify: Chromium", () => {
  const program = (name: string) => {
    const file = path.join(empty, name);
    fs.writeFileSync(file, "#!/bin/sh\n", { mode: 0o755 });
    return file;
  };

  it("is the one that HEDDLE_CHROMIUM names, else the first along PATH", () => {
    const chrome = program("google-chrome");
    expect(findChromium({ PATH: `/nowhere:${empty}` })).toBe(chrome);
    const chromium = program("chromium");
    expect(findChromium({ PATH: `/nowhere:${empty}` })).toBe(chromium);
    expect(findChromium({ PATH: `/nowhere:${empty}`, HEDDLE_CHROMIUM: chrome })).toBe(chrome);
    expect(() => findChromium({ PATH: empty, HEDDLE_CHROMIUM: "/nowhere" })).toThrow("HEDDLE_CHROMIUM is /nowhere");
  });

  it("is not installed where there is one", () => {
    const said: string[] = [];
    const found = obtainChromium((line) => said.push(line), { PATH: path.dirname(program("chromium")) });
    expect(found).toEqual({ path: path.join(empty, "chromium") });
    expect(said).toEqual([]);
  });
});
