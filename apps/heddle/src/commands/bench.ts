// heddle bench: the benchmark lives in the repository, beside the servers that it compares with. This only starts it.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { AddCommand } from "../add-command.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { UsageError } from "../report-error.ts";

export const addBench: AddCommand = (program, run) => {
  program
    .command("bench")
    .summary("run the benchmark of this repository")
    .description(
      "Runs the benchmark, with its floor and its referee, as npm run bench does. All arguments go to it as they are.\n" +
        "It is part of Heddle's repository and not of the published package.",
    )
    .argument("[arguments...]", "what npm run bench takes; heddle bench -- --help lists it")
    .allowUnknownOption()
    .addHelpText(
      "after",
      `
Examples:
  heddle bench -- --help
  heddle bench -- --seconds 10`,
    )
    .action((args: string[]) => run({}, () => bench(args)));
};

async function bench(args: readonly string[]): Promise<ExitCode> {
  const script = benchmarkScript();
  if (script === undefined) {
    throw new UsageError(
      "the benchmark is not part of the published package",
      "It is in the bench folder of Heddle's repository: clone it, and run npm run bench there.",
    );
  }
  const child = spawn(process.execPath, [script, ...args], { stdio: "inherit" });
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (...ended) => resolve(ended));
  });
  // Its verdicts keep their meaning: 0 reached, 1 not reached.
  if (signal !== null) return exitCodes.failed;
  return (code ?? exitCodes.failed) as ExitCode;
}

/** From the published package the same path leads into the user's own project, whose files are not ours to run. */
function benchmarkScript(): string | undefined {
  const root = fileURLToPath(new URL("../../../../", import.meta.url));
  const manifest = path.join(root, "package.json");
  if (!fs.existsSync(manifest)) return undefined;
  const { name } = JSON.parse(fs.readFileSync(manifest, "utf8")) as { name?: string };
  const script = path.join(root, "bench/src/main.ts");
  return name === "heddle-workspace" && fs.existsSync(script) ? script : undefined;
}
