// heddle transact: operations on several entities, all of them or none.
import { existsSync, readFileSync } from "node:fs";
import { text as readAll } from "node:stream/consumers";
import type { TransactionRejection } from "@heddle/client";
import type { AddCommand } from "../add-command.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { UsageError } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { counted } from "../text.ts";
import {
  atLine,
  doLines,
  type LineResult,
  lineOf,
  parseTransactLines,
  resultsOf,
  type TransactLine,
} from "../transact-lines.ts";

interface TransactValues extends NodeOptionValues {
  readonly file?: string;
  readonly id?: string;
}

export const addTransact: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("transact")
      .summary("write to several entities, all or nothing")
      .description(
        "Reads operations from standard input, one a line as JSON, and lets all of them take effect at one moment, or none.\n" +
          "A line names its entity and one of: type and payload; events; command and input; read (true). It may have\n" +
          "aggregate, expectedSeq, metadata, newLife. Reads give states as they were just before the writes.",
      )
      .option("--file <file>", "read the operations from a file instead")
      .option("--id <id>", "makes it take effect once for good: the same id again gives the first receipts"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle transact <<'END'
  {"entity":"account/alice","command":"Withdraw","input":{"amount":500}}
  {"entity":"account/bob","type":"Credited","payload":{"amount":500}}
  END
  heddle transact --file transfer.ndjson --id transfer-17   (again: the first receipts)
  echo '{"entity":"account/alice","read":true,"expectedSeq":3}' | heddle transact --json`,
    )
    .action((values: TransactValues) =>
      run(values, async (terminal) => {
        const lines = parseTransactLines(await inputText(values.file));
        const done = await withNode(values, (db) =>
          db.transaction((tx) => doLines(tx, lines), { id: values.id }),
        ).catch((error) => Promise.reject(atLine(error, lines)));
        if (!done.ok) {
          // These lines have no way to say no by themselves.
          return printRejection(terminal, done as TransactionRejection, lines, values.json === true);
        }
        const { duplicate } = done;
        const results = resultsOf(lines, done.value, done.receipts);
        if (values.json === true) terminal.out(toJson({ ok: true, results, duplicate }));
        else printResults(terminal, results, duplicate);
        return exitCodes.ok;
      }),
    );
};

async function inputText(file: string | undefined): Promise<string> {
  if (file === undefined) return readAll(process.stdin);
  if (!existsSync(file)) throw new UsageError(`there is no file ${file}`);
  return readFileSync(file, "utf8");
}

function printResults(terminal: Terminal, results: readonly LineResult[], duplicate: boolean): void {
  const { green, dim } = terminal.outColours;
  for (const result of results) {
    const what = "state" in result ? toJson(result.state) : `${counted(result.count, "event")} written`;
    terminal.out(`${green(result.entity)} is at sequence ${result.seq}: ${what}`);
  }
  const together = duplicate
    ? "this id had taken effect before: nothing was written now"
    : `${counted(results.length, "operation")}, at one moment`;
  terminal.out(`  ${dim(together)}`);
}

function printRejection(
  terminal: Terminal,
  rejected: TransactionRejection,
  lines: readonly TransactLine[],
  asJson: boolean,
): ExitCode {
  const { yellow, dim } = terminal.outColours;
  const { line } = lineOf(rejected, lines);
  const { rejection, entity } = rejected.facts;
  if (asJson) terminal.out(toJson({ ...rejected, facts: { ...rejected.facts, line } }));
  else {
    terminal.out(`${yellow("rejected:")} line ${line}, ${entity}: ${rejection.message}. Nothing was written.`);
    terminal.out(`  ${dim(`${rejection.code} ${toJson(rejection.facts)}`)}`);
  }
  return exitCodes.no;
}
