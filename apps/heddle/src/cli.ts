// The command line: from arguments to an exit code. `bin/heddle.js` calls `main`.
import fs from "node:fs";
import type { Run } from "./add-command.ts";
import { type ExitCode, exitCodes } from "./exit-codes.ts";
import { buildProgram } from "./program.ts";
import { reportError } from "./report-error.ts";
import { type Terminal, terminalOf } from "./terminal.ts";

/** Runs one command. Sets the process's exit code and lets it end by itself, so that everything written gets out. */
export async function main(args: readonly string[]): Promise<void> {
  // Whoever reads our output may have had enough of it, as `head` has.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(exitCodes.ok);
    throw error;
  });
  process.exitCode = await runCommand(args, terminalOf(process.stdout, process.stderr, process.env));
}

export async function runCommand(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  const run: Run = async (values, work) => {
    try {
      exitCode = await work(terminal);
    } catch (error) {
      exitCode = reportError(error, terminal, values.json === true);
    }
  };
  try {
    const program = buildProgram({ version: ownVersion(), terminal, run });
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    return reportError(error, terminal, args.includes("--json"));
  }
}

function ownVersion(): string {
  const manifest = fs.readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}
