// Options of the commands that work on a data folder.
import type { Command } from "commander";

export interface DataOptionValues {
  readonly data: string;
  readonly json?: boolean;
}

export interface DomainOptionValues extends DataOptionValues {
  readonly domain: string;
}

export function withDataOptions(command: Command): Command {
  return command.option("--data <folder>", "data folder", "./data").option("--json", "print the result as JSON");
}

export function withDomainOptions(command: Command): Command {
  return withDataOptions(
    command.requiredOption("--domain <module>", "domain module: a file, or a folder with an index"),
  );
}
