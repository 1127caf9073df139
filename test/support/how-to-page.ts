// How-to pages whose commands are run: the shell blocks as they are, in a folder of their own beside a real node; a text
// block behind one is what it prints, but for what is another each time.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

export const repository = fileURLToPath(new URL("../../", import.meta.url));

export interface Printed {
  readonly code: number | null;
  readonly out: string;
  readonly said: string;
}

/** A shell whose `heddle` is this repository's, and talks to a node. */
export function shell(folder: string, url: string): (script: string) => Promise<Printed> {
  const bin = path.join(folder, "bin");
  fs.mkdirSync(bin, { recursive: true });
  const launcher = path.join(repository, "apps/heddle/bin/heddle.js");
  fs.writeFileSync(path.join(bin, "heddle"), `#!/bin/sh\nexec "${process.execPath}" "${launcher}" "$@"\n`, {
    mode: 0o755,
  });
  const env = { ...process.env, PATH: `${bin}:${process.env["PATH"]}`, HEDDLE_URL: url };
  return (script) =>
    new Promise((resolve, reject) => {
      const child = spawn("sh", ["-e", "-c", script], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
      let [out, said] = ["", ""];
      child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
      child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
      child.on("error", reject);
      child.on("close", (code) => resolve({ code, out, said }));
    });
}

interface Step {
  readonly script: string;
  readonly prints: string | undefined;
}

function stepsOf(page: string): Step[] {
  const text = fs.readFileSync(path.join(repository, "docs/how-to", page), "utf8");
  const blocks = [...text.matchAll(/```sh\n([\s\S]*?)```(?:\n```text\n([\s\S]*?)```)?/g)];
  return blocks.map(([, script, prints]) => ({ script: script!, prints }));
}

/** Without what is another each time: times, how long it took, and where in a log something came to lie. */
const settled = (text: string) =>
  text
    .replaceAll(/\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{3}Z?/g, "TIME")
    .replaceAll(/after \d+(?:\.\d)? m?s/g, "after DURATION")
    .replaceAll(/shard \d+, position \d+/g, "PLACE");

export async function runPage(page: string, folder: string, url: string): Promise<void> {
  const run = shell(folder, url);
  const steps = stepsOf(page);
  expect(steps.length).toBeGreaterThan(3);
  for (const { script, prints } of steps) {
    const { code, out, said } = await run(script);
    expect(code, `${script}\n${said}`).toBe(0);
    if (prints !== undefined) expect(settled(out), script).toBe(settled(prints));
  }
}
