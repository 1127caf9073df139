// heddle sagas: the operator's desk. Which sagas there are, what one of them did, and what to do about a stuck one.
import type { Heddle, ListedSaga, SagaPage, SagaRecord, SagaResult } from "@heddle/client";
import { limits } from "@heddle/kernel";
import { type Command, Option } from "commander";
import type { AddCommand, Run } from "../add-command.ts";
import { typed } from "../confirm.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { jsonArgument, wholeNumber } from "../options.ts";
import { UsageError } from "../report-error.ts";
import { inColour, sagaPicture } from "../saga-picture.ts";
import type { Terminal } from "../terminal.ts";
import { time } from "../text.ts";

export const addSagas: AddCommand = (program, run) => {
  const sagas = program
    .command("sagas")
    .summary("look after sagas (ls, show, run, retry, resolve)")
    .description(
      "A saga changes several entities step by step, and undoes what it did when a step says no. One whose undoing is\n" +
        "refused is stuck: it waits for somebody who looks, repairs, and lets it go on or says how it ended.",
    );
  addList(sagas, run);
  addShow(sagas, run);
  addRun(sagas, run);
  addRetry(sagas, run);
  addResolve(sagas, run);
};

/** Going back takes its own time, and the call waits for that, too. */
const timeoutOfSaga = "how long to wait for the saga's end; it goes on without the call (default: 120000)";

interface ListValues extends NodeOptionValues {
  readonly stuck?: boolean;
  readonly unfinished?: boolean;
  readonly limit: number;
  readonly cursor?: string;
}

function addList(sagas: Command, run: Run): void {
  withNodeOptions(
    sagas
      .command("ls")
      .summary("list sagas")
      .description(
        "Lists sagas in the order of their ids; with --unfinished the oldest first, and behind them those that are stuck.\n" +
          "A page says how to go on.",
      )
      .option("--stuck", "only those that wait for an operator")
      .option("--unfinished", "only those that have not ended: running, compensating and stuck ones")
      .option("--limit <n>", "sagas in a page", wholeNumber(1, limits.listEntitiesMax), 50)
      .option("--cursor <cursor>", "go on where a page ended"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle sagas ls --stuck
  heddle sagas ls --unfinished --limit 500 --json

With --json each saga is a line, and the last line is {"cursor": …}: null when there are no more.`,
    )
    .action((values: ListValues) =>
      run(values, async (terminal) => {
        if (values.stuck === true && values.unfinished === true) {
          throw new UsageError("--stuck and --unfinished name two lists", "Leave out one of the two.");
        }
        const { limit, cursor } = values;
        const only = values.stuck === true ? "stuck" : values.unfinished === true ? "unfinished" : "all";
        const page = await withNode(values, (db) => db.sagas({ only, limit, cursor }));
        printPage(page, values, terminal);
        return exitCodes.ok;
      }),
    );
}

function printPage(page: SagaPage, { json, stuck, unfinished, limit }: ListValues, terminal: Terminal): void {
  if (json === true) {
    for (const listed of page) terminal.out(toJson(listed));
    terminal.out(toJson({ cursor: page.cursor ?? null }));
    return;
  }
  if (page.length > 0) for (const line of sagaLines(page, terminal)) terminal.out(line);
  const { dim } = terminal.sayColours;
  if (page.length === 0) terminal.say(dim("there are no such sagas"));
  if (page.cursor === undefined) return;
  const kind = stuck === true ? ["--stuck"] : unfinished === true ? ["--unfinished"] : [];
  terminal.say(dim(["more: heddle sagas ls", ...kind, "--limit", String(limit), "--cursor", page.cursor].join(" ")));
}

/** The id comes last, because it may be long. Padded before they are coloured: colours have no width. */
function sagaLines(page: readonly ListedSaga[], { outColours }: Terminal): readonly string[] {
  const nameWidth = Math.max(4, ...page.map(({ name }) => (name ?? "-").length));
  const row = (state: string, begun: string, ended: string, name: string, saga: string) =>
    `${state}  ${begun.padEnd(23)}  ${ended.padEnd(23)}  ${name.padEnd(nameWidth)}  ${saga}`;
  return [
    row("state".padEnd(stateWidth), "begun (UTC)", "ended (UTC)", "name", "saga"),
    ...page.map(({ state, startedAt, endedAt, name, saga }) =>
      row(
        inColour(state, outColours) + " ".repeat(stateWidth - state.length),
        time(startedAt),
        endedAt === undefined ? "-" : time(endedAt),
        name ?? "-",
        saga,
      ),
    ),
  ];
}

const stateWidth = "COMPENSATING".length;

function addShow(sagas: Command, run: Run): void {
  withNodeOptions(
    sagas
      .command("show")
      .summary("show what a saga did, step by step")
      .description(
        "Draws a saga: its stages from top to bottom, each step with its state, its receipt, what undoes it and what said\n" +
          "no, what operators did, and what can be done next.",
      )
      .argument("<id>", "the saga's id"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle sagas show transfer-002
  heddle sagas show transfer-002 --json | jq '.steps[].state'`,
    )
    .action((id: string, values: NodeOptionValues) =>
      run(values, async (terminal) => {
        printRecord(await withNode(values, (db) => db.showSaga(id)), terminal, values.json === true);
        return exitCodes.ok;
      }),
    );
}

function printRecord(record: SagaRecord, terminal: Terminal, asJson: boolean): void {
  if (asJson) terminal.out(toJson(record));
  else for (const line of sagaPicture(record, terminal.outColours, terminal.outColumns)) terminal.out(line);
}

interface RunValues extends NodeOptionValues {
  readonly input: string;
}

function addRun(sagas: Command, run: Run): void {
  withNodeOptions(
    sagas
      .command("run")
      .summary("run a saga of the domain module")
      .description(
        "Runs a saga that the domain module defines, and waits for its end. The same id with the same input again gives the\n" +
          "same result; with another input it is refused. The exit code is 0 for COMMITTED, and 1 for COMPENSATED and STUCK.",
      )
      .argument("<name>", "name of the saga in the domain module, such as transfer")
      .argument("<id>", "id of this run, such as transfer-002")
      .option("--input <json>", "what the saga is given, as JSON; - reads it from standard input", "{}"),
    timeoutOfSaga,
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle sagas run transfer transfer-002 --input '{"from":"alice","to":"bob","amount":5}'`,
    )
    .action((name: string, id: string, values: RunValues) =>
      run(values, async (terminal) => {
        const input = await jsonArgument(values.input, "input");
        const result = await withNode(values, (db) => db.runSaga(name, id, input, { waitMs: values.timeout }));
        return printResult(result, terminal, values.json === true);
      }),
    );
}

function printResult(result: SagaResult, terminal: Terminal, asJson: boolean): ExitCode {
  const { resultType, saga, steps, duplicate } = result;
  const exitCode = resultType === "COMMITTED" ? exitCodes.ok : exitCodes.no;
  if (asJson) {
    terminal.out(toJson(result));
    return exitCode;
  }
  const { bold, dim } = terminal.outColours;
  const before = duplicate ? ": it had been begun before, and this is its result" : "";
  terminal.out(`${bold(saga)} is ${inColour(resultType, terminal.outColours)}${before}`);
  steps.forEach(({ entity, state, problem }, i) => {
    const why = problem === undefined ? "" : `: ${problem.code}, ${problem.message.replaceAll(/\p{Cc}/gu, " ")}`;
    terminal.out(dim(`  step ${i + 1}, ${entity}: ${state}${why}`));
  });
  if (resultType === "STUCK") terminal.say(`heddle sagas show ${saga} says what can be done`);
  return exitCode;
}

interface RetryValues extends NodeOptionValues {
  readonly reason: string;
  readonly by?: string;
}

function addRetry(sagas: Command, run: Run): void {
  withNodeOptions(
    withReason(
      sagas
        .command("retry")
        .summary("let a stuck saga go on")
        .description(
          "Lets a stuck saga try again what it could not do, with all the patience of its first attempt. Reason and name are\n" +
            "kept in its history. Prints the saga as it then is. The exit code is 0 when it has ended, COMMITTED or COMPENSATED,\n" +
            "and 1 when it is stuck again.",
        )
        .argument("<id>", "the saga's id"),
    ),
    timeoutOfSaga,
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle sagas retry transfer-002 --reason 'account/alice is open again' --by ann`,
    )
    .action((id: string, { reason, by, ...values }: RetryValues) =>
      run(values, async (terminal) => {
        const record = await withNode(values, async (db) => {
          await db.retrySaga(id, { reason, by, timeoutMs: values.timeout });
          return db.showSaga(id);
        });
        printRecord(record, terminal, values.json === true);
        return record.state === "COMMITTED" || record.state === "COMPENSATED" ? exitCodes.ok : exitCodes.no;
      }),
    );
}

interface ResolveValues extends RetryValues {
  readonly as: "committed" | "compensated";
  readonly yes?: boolean;
}

function addResolve(sagas: Command, run: Run): void {
  withNodeOptions(
    withReason(
      sagas
        .command("resolve")
        .summary("say how a stuck saga ended")
        .description(
          "Ends a stuck saga by declaration, after somebody has repaired by hand what it left. Writes to none of the entities\n" +
            "of its steps; reason and name are kept in its history. Whoever asks for the saga gets this end from then on.\n" +
            "The exit code is 0 when that is on record, whichever end it is.",
        )
        .argument("<id>", "the saga's id")
        .addOption(new Option("--as <end>", "the end").choices(["committed", "compensated"]).makeOptionMandatory(true)),
    ).option("--yes", "do not ask"),
    timeoutOfSaga,
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle sagas resolve transfer-002 --as compensated --reason 'paid back by hand, ticket 17' --by ann
  heddle sagas resolve transfer-002 --as committed --reason 'the goods were delivered' --yes --json`,
    )
    .action((id: string, { reason, by, as, yes, ...values }: ResolveValues) =>
      run(values, async (terminal) => {
        const end = as === "committed" ? "COMMITTED" : "COMPENSATED";
        if (yes !== true && !(await confirmed(id, end))) {
          terminal.say("nothing was changed");
          return exitCodes.no;
        }
        const record = await withNode(values, (db) =>
          resolve(db, id, { as: end, reason, by, timeoutMs: values.timeout }),
        );
        printRecord(record, terminal, values.json === true);
        return exitCodes.ok;
      }),
    );
}

async function resolve(db: Heddle, id: string, given: Parameters<Heddle["resolveSaga"]>[1]): Promise<SagaRecord> {
  await db.resolveSaga(id, given);
  return db.showSaga(id);
}

function confirmed(saga: string, end: string): Promise<boolean> {
  const question = `this declares ${saga} ${end} for good; type its id to go on: `;
  return typed(saga, question, "--yes", { input: process.stdin, output: process.stderr });
}

function withReason(command: Command): Command {
  return command
    .requiredOption("--reason <text>", "why; kept in the saga's history")
    .option("--by <name>", "who; kept with it");
}
