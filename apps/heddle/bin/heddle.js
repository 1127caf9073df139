#!/usr/bin/env node
// The launcher. Plain JavaScript without recent syntax, so that a Node that is too old says so in a sentence.
import fs from "node:fs";
import os from "node:os";

const oldestMajor = 24;

if (Number(process.versions.node.split(".")[0]) < oldestMajor) {
  console.error(
    `heddle needs Node ${oldestMajor} or newer, this is ${process.version} (${process.execPath}).\n` +
      "  In Heddle's repository, npx heddle takes the right one. Elsewhere, get one from https://nodejs.org.",
  );
  process.exitCode = 3;
} else {
  // One pool of threads serves the syncs of every log and the commits of every partition. Its size is read from the
  // environment when it is first used, so this stands before anything that uses it.
  if (process.env.UV_THREADPOOL_SIZE === undefined) {
    process.env.UV_THREADPOOL_SIZE = String(Math.max(16, 4 * os.availableParallelism()));
  }
  // The repository runs its TypeScript as it is; a published package has JavaScript instead.
  const source = new URL("../src/cli.ts", import.meta.url);
  const compiled = new URL("../dist/cli.js", import.meta.url);
  import((fs.existsSync(source) ? source : compiled).href).then(({ main }) => main(process.argv.slice(2)));
}
