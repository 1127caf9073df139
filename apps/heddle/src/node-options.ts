// Options of the commands that talk to a node, and the connection that they ask for.
import { Heddle, type HeddleOptions } from "@heddle/client";
import { type Command, Option } from "commander";
import { wholeNumber } from "./options.ts";

export const defaultUrl = "heddle://127.0.0.1:9090";

export interface NodeOptionValues {
  readonly url: string;
  readonly timeout?: number;
  readonly json?: boolean;
}

/** `timeout`: what `--timeout` bounds, and what it is by itself. */
export function withNodeOptions(command: Command, timeout = "how long the call may take (default: 30000)"): Command {
  return command
    .addOption(
      new Option("--url <url>", "node to talk to: heddle://host:port/context").default(defaultUrl).env("HEDDLE_URL"),
    )
    .option("--timeout <ms>", timeout, wholeNumber(1, 600_000))
    .option("--json", "print the result as JSON");
}

/** Runs with a connection, and closes it whatever happens. */
export async function withNode<T>(options: NodeOptionValues, run: (db: Heddle) => Promise<T>): Promise<T> {
  const settings: HeddleOptions = {
    clientName: "heddle-cli",
    ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout, connectTimeoutMs: options.timeout }),
  };
  await using db = new Heddle(options.url, settings);
  return await run(db);
}
