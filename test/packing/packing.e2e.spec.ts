// Goal: what is published works for somebody who has nothing but the packages and the tutorial.
// Method: builds and packs every package, installs them in an empty project, runs the tutorial's own files there.
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const tutorial = fileURLToPath(new URL("tutorial/", import.meta.url));
const project = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-packed-"));
// Only the repository's Node, none of its packages: a missing dependency must be missed.
const bin = path.join(project, "node-bin");
const install = ["install", "--no-fund", "--no-audit", "--prefer-offline", "--fetch-retries=5"];
const env = { ...process.env, PATH: `${bin}:${process.env["PATH"]}`, NODE_PATH: "" };

function run(command: string, args: readonly string[], cwd: string): string {
  const done = spawnSync(command, args, { cwd, env, encoding: "utf8" });
  if (done.status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${done.stdout}\n${done.stderr}`);
  return done.stdout;
}

beforeAll(() => {
  fs.mkdirSync(bin);
  fs.symlinkSync(process.execPath, path.join(bin, "node"));
  run(process.execPath, ["infra/setup/build.ts"], root);
  const staged = path.join(root, "dist/npm");
  const tarballs = fs.readdirSync(staged).map((name) => {
    const [{ filename }] = JSON.parse(
      run("npm", ["pack", "--json", "--pack-destination", project], path.join(staged, name)),
    ) as [{ filename: string }];
    return `file:./${filename}`;
  });
  fs.writeFileSync(
    path.join(project, "package.json"),
    JSON.stringify({ name: "my-bank", private: true, type: "module" }),
  );
  const { devDependencies } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));
  run("npm", [...install, `zod@${devDependencies.zod}`, ...tarballs], project);
  for (const file of ["bank.ts", "client.ts"]) fs.copyFileSync(path.join(tutorial, file), path.join(project, file));
}, 900_000);

afterAll(() => fs.rmSync(project, { recursive: true, force: true }));

describe("packing", () => {
  it("the published packages hold no TypeScript sources and no specs", () => {
    const scope = path.join(project, "node_modules/@heddle");
    const files = fs.readdirSync(scope, { recursive: true, encoding: "utf8" });
    expect(files.filter((file) => /(?<!\.d)\.ts$/.test(file) || file.includes(".spec."))).toEqual([]);
    expect(files.filter((file) => file.endsWith("LICENSE")).length).toBe(fs.readdirSync(scope).length);
  });

  it("the client brings no native code and no server package along", () => {
    const alone = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-client-"));
    fs.writeFileSync(
      path.join(alone, "package.json"),
      JSON.stringify({ name: "alone", private: true, type: "module" }),
    );
    const needed = ["kernel", "domain", "protocol", "client"].map((name) => {
      const file = fs.readdirSync(project).find((found) => found.startsWith(`heddle-${name}-`));
      return `file:${path.join(project, file!)}`;
    });
    run("npm", [...install, "--omit=optional", ...needed], alone);
    const installed = fs.readdirSync(path.join(alone, "node_modules"), { recursive: true, encoding: "utf8" });
    expect(installed.filter((file) => file.endsWith(".node"))).toEqual([]);
    expect(fs.readdirSync(path.join(alone, "node_modules/@heddle")).sort()).toEqual([
      "client",
      "domain",
      "kernel",
      "protocol",
    ]);
    fs.rmSync(alone, { recursive: true, force: true });
  });

  it("the tutorial runs as it is written, and prints what it says", async () => {
    const server = spawn(
      process.execPath,
      ["node_modules/.bin/heddle", "serve", "--domain", "./bank.ts", "--data", "./data", "--port", "0", "--json"],
      {
        cwd: project,
        env,
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    let said = "";
    const port = await new Promise<number>((resolve, reject) => {
      const look = (chunk: Buffer) => {
        said += chunk.toString();
        const found = /"port":\s*(\d+)/.exec(said);
        if (found !== null) resolve(Number(found[1]));
      };
      server.stdout.on("data", look);
      server.stderr.on("data", look);
      server.once("exit", () => reject(new Error(`heddle serve ended: ${said}`)));
    });
    const client = spawnSync(process.execPath, ["client.ts"], {
      cwd: project,
      env: { ...env, PORT: String(port) },
      encoding: "utf8",
    });
    expect(client.stderr).toBe("");
    expect(client.stdout).toBe(fs.readFileSync(path.join(tutorial, "output.txt"), "utf8"));
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.kill("SIGTERM");
    expect(await ended).toBe(0);
  });
});
