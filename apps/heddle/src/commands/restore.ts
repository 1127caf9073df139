// heddle restore: makes a data folder out of a backup, or takes one entity out of it.
import type { Command } from "commander";
import type { AddCommand } from "../add-command.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { timeText, wholeNumber } from "../options.ts";
import { withOutput } from "../output.ts";
import { withByteProgress } from "../progress.ts";
import { UsageError } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, counted, duration } from "../text.ts";
import { positionTable } from "./backup.ts";

interface RestoreValues {
  readonly keys: string;
  readonly run?: number;
  readonly until?: number;
  readonly entity?: string;
  readonly domain?: string;
  readonly out?: string;
  readonly json?: boolean;
}

export const addRestore: AddCommand = (program, run) => {
  program
    .command("restore")
    .summary("make a data folder out of a backup, or take one entity out of it")
    .description(
      "Makes a new data folder as the source was at a run of the backup, or at a time before. What has been erased since is\n" +
        "erased there too. With --entity it prints the history of one entity as heddle import takes it.",
    )
    .argument("<backup>", "folder of the backup")
    .argument("[data]", "data folder to be made; must not be there, or be empty")
    .requiredOption("--keys <file>", "key store that the backup was made with")
    .option("--run <n>", "run of the backup (default: the newest)", wholeNumber(1))
    .option("--until <time>", "leave out what is later, such as 2026-11-20T12:00:00Z", timeText)
    .option("--entity <id>", "print this entity's history instead of making a folder")
    .option("--domain <module>", "with --entity: the domain module, which reads older events")
    .option("--out <file>", "with --entity: write to this file")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Examples:
  heddle restore /mnt/backup/bank ./restored --keys /mnt/keys/keys.sqlite
  heddle restore /mnt/backup/bank ./restored --keys /mnt/keys/keys.sqlite --until 2026-11-20T12:00:00Z
  heddle restore /mnt/backup/bank --keys ./data/keys/keys.sqlite --entity account/alice --domain ./domain.ts --out alice.ndjson
  heddle import alice.ndjson

A living node refuses an entity that exists: import it --as another one, and compare.`,
    )
    .action((backup: string, data: string | undefined, values: RestoreValues, _command: Command) =>
      run(values, (terminal) => {
        const { entity, domain, out } = values;
        if (entity !== undefined) return restoreEntity(backup, data, { ...values, entity }, terminal);
        if (data === undefined)
          throw new UsageError("no data folder is named", "Name one, or an entity with --entity.");
        if (domain !== undefined || out !== undefined) {
          throw new UsageError(`--${domain === undefined ? "out" : "domain"} goes with --entity only`, "Leave it out.");
        }
        return restoreData(backup, data, values, terminal);
      }),
    );
};

async function restoreData(backup: string, data: string, values: RestoreValues, terminal: Terminal): Promise<ExitCode> {
  const { restoreFolder } = await import("@heddle/runtime/internal");
  const { keys, run, until } = values;
  const result = await withByteProgress(terminal, { doing: "restoring", quiet: values.json === true }, (onProgress) =>
    restoreFolder({ backup, data, keys, run, until: until === undefined ? undefined : { time: until }, onProgress }),
  );
  if (values.json === true) {
    terminal.out(toJson({ ok: true, data, ...result }));
    return exitCodes.ok;
  }
  const { green, dim } = terminal.outColours;
  const { entries, logBytes, closed, tookMs, positions } = result;
  terminal.out(`${green("restored")} ${data} from run ${result.run} of ${backup}: context ${result.context}`);
  for (const line of positionTable(positions)) terminal.out(line);
  terminal.out(dim(`${counted(entries, "append")}, ${bytes(logBytes)} of log, ${duration(tookMs)}`));
  if (closed > 0)
    terminal.out(dim(`${counted(closed, "entity was", "entities were")} erased since, and so it is here`));
  terminal.say(`start it with the same key store: heddle serve --domain … --data ${data} --keys ${keys}`);
  return exitCodes.ok;
}

async function restoreEntity(
  backup: string,
  data: string | undefined,
  values: RestoreValues & { readonly entity: string },
  terminal: Terminal,
): Promise<ExitCode> {
  const { entity, domain, keys, run, until, out, json } = values;
  if (data !== undefined) {
    throw new UsageError("--entity makes no data folder: it goes without a second one", "Leave out one of the two.");
  }
  if (domain === undefined) {
    throw new UsageError("--entity needs --domain", "It gives older events the shape in which a node takes them.");
  }
  const { exportFromBackup } = await import("@heddle/runtime/internal");
  const result = await withOutput(out, terminal, ({ write, drained }) =>
    exportFromBackup({
      backup,
      keys,
      entity,
      domain,
      nowMs: Date.now(),
      write,
      drained,
      ...(run === undefined ? {} : { run }),
      ...(until === undefined ? {} : { until: { time: until } }),
    }),
  );
  const told = `${counted(result.events, "event")} of ${entity}, up to sequence ${result.seq}, from run ${result.run}`;
  if (json !== true) terminal.say(terminal.sayColours.dim(told));
  else if (out !== undefined) terminal.out(toJson({ ok: true, out, ...result }));
  return exitCodes.ok;
}
