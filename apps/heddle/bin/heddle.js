#!/usr/bin/env node
// The launcher. Plain JavaScript without recent syntax, so that a Node that is too old says so in a sentence.
import fs from "node:fs";

const oldestMajor = 24;

if (Number(process.versions.node.split(".")[0]) < oldestMajor) {
  console.error(
    `heddle needs Node ${oldestMajor} or newer, this is ${process.version} (${process.execPath}).\n` +
      "  In Heddle's repository, npx heddle takes the right one. Elsewhere, get one from https://nodejs.org.",
  );
  process.exitCode = 3;
} else {
  // The repository runs its TypeScript as it is; a published package has JavaScript instead.
  const isSource = fs.existsSync(new URL("../src/cli.ts", import.meta.url));
  const load = (name) => import(new URL(isSource ? `../src/${name}.ts` : `../dist/${name}.js`, import.meta.url).href);
  load("process-settings")
    .then((settings) => {
      prepare(settings);
      return load("cli");
    })
    .then(({ main }) => main(process.argv.slice(2)));
}

// The pool's size is read when it is first used, so this stands before anything that uses it. The engine's helpers are there from the
// start: with another number of them, this process begins anew as itself, with the same id.
function prepare({ engineFlags, hasEngineFlags, threadPoolSize }) {
  if (process.env.UV_THREADPOOL_SIZE === undefined) process.env.UV_THREADPOOL_SIZE = String(threadPoolSize());
  const flags = hasEngineFlags(process.execArgv, process.env.NODE_OPTIONS) ? [] : engineFlags();
  const canBeginAnew = process.platform !== "win32" && process.execve !== undefined;
  if (process.argv[2] !== "serve" || flags.length === 0 || !canBeginAnew) return;
  const args = [...flags, ...process.execArgv, ...process.argv.slice(1)];
  process.execve(process.execPath, [process.execPath, ...args], process.env);
}
