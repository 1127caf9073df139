// heddle append, heddle execute: one write, and its receipt.
import type { AppendResult } from "@heddle/client";
import type { Command } from "commander";
import type { AddCommand } from "../add-command.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { jsonArgument, wholeNumber } from "../options.ts";
import type { Terminal } from "../terminal.ts";
import { counted } from "../text.ts";

interface WriteValues extends NodeOptionValues {
  readonly aggregate?: string;
  readonly id?: string;
  readonly expectedSeq?: number;
  readonly metadata?: string;
  readonly newLife?: boolean;
}

export const addAppend: AddCommand = (program, run) => {
  withWriteOptions(
    program
      .command("append")
      .summary("append one event to an entity")
      .description("Appends one event to an entity, and prints its receipt once the event is durable.")
      .argument("<entity>", "kind/name, such as account/alice")
      .argument("<type>", "event type, such as Credited")
      .argument("[payload]", "payload as JSON; - reads it from standard input", "{}"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle append account/alice Credited '{"amount":5000}'
  heddle append account/alice Debited '{"amount":500}' --expected-seq 1
  heddle append account/alice Credited '{"amount":100}' --id payment-17   (again: the first receipt)
  echo '{"amount":100}' | heddle append account/alice Credited -`,
    )
    .action((entity: string, type: string, payload: string, values: WriteValues) =>
      run(values, async (terminal) => {
        const event = await jsonArgument(payload, "payload");
        const options = await writeOptions(values);
        const result = await withNode(values, (db) => db.entity(entity).append(type, event, options));
        return printResult(terminal, entity, result, values.json === true);
      }),
    );
};

export const addExecute: AddCommand = (program, run) => {
  withWriteOptions(
    program
      .command("execute")
      .summary("let an entity decide a command")
      .description("Sends a command to an entity. The domain module decides its events, or rejects it.")
      .argument("<entity>", "kind/name, such as account/alice")
      .argument("<command>", "command, such as Withdraw")
      .argument("[input]", "input as JSON; - reads it from standard input", "{}"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle execute account/alice Withdraw '{"amount":500}'
  heddle execute account/alice Withdraw '{"amount":500}' --json || echo "it said no"`,
    )
    .action((entity: string, name: string, input: string, values: WriteValues) =>
      run(values, async (terminal) => {
        const asked = await jsonArgument(input, "input");
        const options = await writeOptions(values);
        const result = await withNode(values, (db) => db.entity(entity).execute(name, asked, options));
        return printResult(terminal, entity, result, values.json === true);
      }),
    );
};

function withWriteOptions(command: Command): Command {
  return withNodeOptions(
    command
      .option("--aggregate <name>", "aggregate; may be left out where the name tells it")
      .option("--id <id>", "makes it take effect once for good: the same id again gives the first receipt")
      .option("--expected-seq <n>", "refuse unless the entity is at this sequence; 0 for a new one", wholeNumber(0))
      .option("--metadata <json>", "kept with the events, as JSON")
      .option("--new-life", "write to an entity that was erased, too: begins a new history under its id"),
  );
}

async function writeOptions({ aggregate, id, expectedSeq, metadata, newLife }: WriteValues) {
  return {
    aggregate,
    id,
    expectedSeq,
    newLife,
    metadata: metadata === undefined ? undefined : await jsonArgument(metadata, "metadata"),
  };
}

export function printResult(terminal: Terminal, entity: string, result: AppendResult, asJson: boolean): ExitCode {
  const { green, yellow, dim } = terminal.outColours;
  if (asJson) terminal.out(toJson(result));
  else if (!result.ok) {
    terminal.out(`${yellow("rejected:")} ${result.message}`);
    terminal.out(`  ${dim(`${result.code} ${toJson(result.facts)}`)}`);
  } else {
    const what = result.duplicate
      ? "this id had taken effect before: nothing was written now"
      : `${counted(result.count, "event")} written`;
    terminal.out(`${green(entity)} is at sequence ${result.seq}: ${what}`);
    terminal.out(
      `  ${dim(`shard ${result.shard}, position ${result.position}, ${new Date(result.time).toISOString()}`)}`,
    );
  }
  return result.ok ? exitCodes.ok : exitCodes.no;
}
