// heddle backup: makes a backup of a data folder, adds a run to one, or checks one.
import { isHeddleError } from "@heddle/kernel";
import type { Command } from "commander";
import type { AddCommand } from "../add-command.ts";
import { type DataOptionValues, withDataOptions } from "../data-options.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { wholeNumber } from "../options.ts";
import { withByteProgress } from "../progress.ts";
import { reportError, UsageError } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, count, counted, duration, table } from "../text.ts";

interface BackupValues extends DataOptionValues {
  readonly keys?: string;
  readonly keep: number;
  readonly check?: boolean;
  readonly run?: number;
}

export const addBackup: AddCommand = (program, run) => {
  withDataOptions(
    program
      .command("backup")
      .summary("copy a data folder, encrypted, or check a copy")
      .description(
        "Copies the logs of a data folder into a backup, beside the running node. A run after the first copies what is\n" +
          "new, and every run has the whole history. Payloads are encrypted with a key for each entity; the keys stay in\n" +
          "the key store, so that an erased entity is unreadable in every backup. Keep the key store, and apart from the\n" +
          "backups: without it nobody can read them.",
      )
      .argument("<backup>", "folder of the backup, outside of the data folder; made when it is not there"),
  )
    .option("--keys <file>", "key store (default: keys/keys.sqlite in the data folder)")
    .option("--keep <n>", "runs that can be restored; older ones are removed", wholeNumber(1, 10_000), 3)
    .option("--check", "make no run, but read all of the backup; with --keys also decrypt it")
    .option("--run <n>", "with --check: the run to check (default: the newest)", wholeNumber(1))
    .addHelpText(
      "after",
      `
Examples:
  heddle backup /mnt/backup/bank --data ./data
  heddle backup /mnt/backup/bank --data /var/lib/heddle --keys /mnt/keys/keys.sqlite --keep 30
  heddle backup --check /mnt/backup/bank --keys /mnt/keys/keys.sqlite`,
    )
    .action((backup: string, values: BackupValues, command: Command) =>
      run(values, (terminal) => {
        if (values.check === true) return check(backup, values, terminal, command).catch(asAnswer(values, terminal));
        if (values.run !== undefined)
          throw new UsageError("--run goes with --check only", "A new run gets the next number.");
        return makeRun(backup, values, terminal);
      }),
    );
};

async function makeRun(backup: string, values: BackupValues, terminal: Terminal): Promise<ExitCode> {
  const { backUpFolder } = await import("@heddle/runtime/internal");
  const { data, keys, keep } = values;
  const result = await withByteProgress(terminal, { doing: "backing up", quiet: values.json === true }, (onProgress) =>
    backUpFolder({ data, backup, keys, keepRuns: keep, onProgress }),
  );
  if (values.json === true) {
    terminal.out(toJson({ ok: true, backup, ...result }));
    return exitCodes.ok;
  }
  const { green, dim } = terminal.outColours;
  const { run, shards, filesWritten, bytesWritten, logBytes, logBytesRead, leftOut, tookMs, positions } = result;
  const speed = `${bytes(Math.round((logBytesRead / Math.max(1, tookMs)) * 1000))}/s`;
  terminal.out(`${green(`run ${run}`)} of ${backup}: ${counted(shards, "shard")}, ${bytes(logBytes)} of log`);
  for (const line of positionTable(positions)) terminal.out(line);
  const kept = bytes(logBytes - logBytesRead);
  terminal.out(
    dim(
      `${counted(filesWritten, "segment")} written (${bytes(bytesWritten)}), ${kept} of log kept from earlier runs, ${duration(tookMs)} (${speed})`,
    ),
  );
  if (leftOut > 0) terminal.out(dim(`payloads of ${counted(leftOut, "erased life", "erased lives")} left out`));
  return exitCodes.ok;
}

async function check(backup: string, values: BackupValues, terminal: Terminal, command: Command): Promise<ExitCode> {
  if (command.getOptionValueSource("data") !== "default") {
    throw new UsageError("--check looks at the backup alone: it goes without --data", "Leave out one of the two.");
  }
  const { checkBackup } = await import("@heddle/runtime/internal");
  const { keys, run } = values;
  const result = await withByteProgress(terminal, { doing: "checking", quiet: values.json === true }, (onProgress) =>
    checkBackup({ backup, keys, run, onProgress }),
  );
  if (values.json === true) {
    terminal.out(toJson({ ok: true, backup, decrypted: keys !== undefined, ...result }));
    return exitCodes.ok;
  }
  const { green, dim, yellow } = terminal.outColours;
  const when = new Date(result.finishedMs).toISOString();
  terminal.out(`${green("BACKUP_OK")} (run ${result.run} of ${when}, context ${result.context})`);
  for (const line of positionTable(result.positions)) terminal.out(line);
  const size = `${counted(result.files, "segment")}, ${bytes(result.bytes)}, ${bytes(result.logBytes)} of log`;
  if (keys === undefined) terminal.out(yellow("the files are whole; --keys checks that they can be decrypted, too"));
  const lives = `${count(result.readable)} readable, ${count(result.erased)} erased`;
  terminal.out(dim(keys === undefined ? size : `${size}; entities, segment by segment: ${lives}`));
  return exitCodes.ok;
}

/** To a question whether a backup is right, what refuses it is the answer. */
function asAnswer({ json }: BackupValues, terminal: Terminal): (error: unknown) => ExitCode {
  return (error) => {
    if (!isHeddleError(error, "BACKUP_REFUSED") && !isHeddleError(error, "KEYS_UNAVAILABLE")) throw error;
    reportError(error, terminal, json === true);
    return exitCodes.no;
  };
}

/** How far each shard's log goes. */
export function positionTable(positions: readonly number[]): string[] {
  return table(
    [
      { title: "shard", align: "right" },
      { title: "position", align: "right" },
    ],
    positions.map((position, shard) => [String(shard), count(position)]),
  );
}
