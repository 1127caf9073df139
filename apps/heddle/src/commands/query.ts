// heddle query: asks the tables that projections keep.
import type { LogPlace, QueryConsistency, QueryParameter, QueryParameters } from "@heddle/client";
import { queryRowsDefault, queryRowsMax, queryTimeoutMsMax } from "@heddle/protocol/internal";
import { InvalidArgumentError, Option } from "commander";
import type { AddCommand } from "../add-command.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { wholeNumber } from "../options.ts";
import { csvLines, parameterOf, rowsTable } from "../query-text.ts";
import { UsageError } from "../report-error.ts";
import { counted } from "../text.ts";

interface QueryValues extends NodeOptionValues {
  readonly param?: ReadonlyMap<string, QueryParameter>;
  readonly after?: readonly LogPlace[];
  readonly sink?: string;
  readonly rowsMax: number;
  readonly level?: QueryConsistency;
  readonly csv?: boolean;
}

export const addQuery: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("query")
      .summary("ask the tables of projections with SQL")
      .description(
        "Runs one SELECT over the tables that the domain module's projections keep, and prints its rows. Parameters stand\n" +
          "behind the SQL, in the order of its question marks, or are named by --param. With --after it sees a write.",
      )
      .argument("<sql>", "one statement that reads: SELECT, WITH, VALUES or EXPLAIN")
      .argument("[params...]", "a value for each ? of it: numbers, true, false and null are such, all else is text")
      .option("--param <name=value>", "a value for :name; may be given many times", namedParameter)
      .option("--after <shard:position>", "see this write, by its receipt; may be given many times", logPlace)
      .option("--sink <name>", "the sink to ask (default: the node's first SQL sink)")
      .option("--rows-max <n>", "rows at most; more are an error", wholeNumber(1, queryRowsMax), queryRowsDefault)
      .addOption(
        new Option("--level <level>", "of rqlite: how sure it has to be that it saw the last write").choices([
          "none",
          "weak",
          "linearizable",
          "strong",
          "auto",
        ]),
      )
      .option("--csv", "print the rows as CSV"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle query 'select account, balance from accounts order by balance desc limit 10'
  heddle query 'select count(*) as n from accounts where balance > ?' 100
  heddle query 'select * from accounts where account = :id' --param id=account/alice --json
  heddle query 'select * from accounts' --csv > accounts.csv
  heddle query 'select balance from accounts where account = ?' account/alice --after 0:8192

A receipt's shard and position are what --after takes. --timeout bounds waiting and running together (default: 5000).
With --json the result is one line: {"columns":[…],"rows":[{…}]}.`,
    )
    .action((sql: string, params: readonly string[], values: QueryValues) =>
      run(values, async (terminal) => {
        const { param, after, sink, rowsMax, level: consistency, csv, json, timeout } = values;
        if (csv === true && json === true) throw new UsageError("--csv and --json name two forms", "Leave out one.");
        const timeoutMs = timeout === undefined ? undefined : Math.min(timeout, queryTimeoutMsMax);
        const options = { after, sink, rowsMax, timeoutMs, consistency };
        const result = await withNode(values, (db) => db.query(sql, parametersOf(params, param), options));
        if (json === true) terminal.out(toJson(result));
        else if (csv === true) for (const line of csvLines(result)) terminal.out(line);
        else {
          for (const line of rowsTable(result, terminal.outColumns)) terminal.out(line);
          terminal.say(terminal.sayColours.dim(counted(result.rows.length, "row")));
        }
        return exitCodes.ok;
      }),
    );
};

function parametersOf(
  inOrder: readonly string[],
  byName: ReadonlyMap<string, QueryParameter> | undefined,
): QueryParameters | undefined {
  if (byName === undefined) return inOrder.length === 0 ? undefined : inOrder.map(parameterOf);
  if (inOrder.length > 0) {
    throw new UsageError("parameters in order and by --param", "Give all of them one way.");
  }
  return Object.fromEntries(byName);
}

function namedParameter(text: string, before: ReadonlyMap<string, QueryParameter> | undefined) {
  const [, name, value] = /^[:@$]?(\w+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError("Wanted name=value.");
  if (before?.has(name)) throw new InvalidArgumentError(`${name} is given twice.`);
  return new Map([...(before ?? []), [name, parameterOf(value)]]);
}

function logPlace(text: string, before: readonly LogPlace[] = []): LogPlace[] {
  const [, shard, position] = /^(\d{1,5}):(\d{1,15})$/.exec(text) ?? [];
  if (shard === undefined || position === undefined) {
    throw new InvalidArgumentError("Wanted the shard and position of a receipt, such as 0:8192.");
  }
  return [...before, { shard: Number(shard), position: Number(position) }];
}
