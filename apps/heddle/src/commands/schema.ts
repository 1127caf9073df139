// heddle schema: which event types are stored, in which versions, and how many events of each.
import type { Heddle } from "@heddle/client";
import { HeddleError } from "@heddle/kernel";
import type { StoredSchema } from "@heddle/runtime/internal";
import type { AddCommand } from "../add-command.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { UsageError } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { count, table } from "../text.ts";

interface SchemaValues extends NodeOptionValues {
  readonly data?: string;
  readonly domain?: string;
}

export const addSchema: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("schema")
      .summary("list stored event types, versions and counts")
      .description(
        "Lists the event types that are stored, the schema versions they were written with, and how many events there are\n" +
          "of each; beside them the newest version, which every reader gets. With --data and --domain it reads a data folder\n" +
          "and says what the module cannot read; then the exit code is 1.",
      )
      .option("--data <folder>", "read this data folder instead of asking a node; with --domain")
      .option("--domain <module>", "with --data: the domain module to hold against it"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle schema
  heddle schema --data ./data --domain ./new.ts
  heddle schema --json | jq '.types[] | select(.schemaVersion < .newest)'`,
    )
    .action((values: SchemaValues) =>
      run(values, async (terminal) => {
        const { data, domain } = values;
        if ((data === undefined) !== (domain === undefined)) {
          throw new UsageError("--data and --domain go together", "Give both, or neither to ask a node.");
        }
        const schema = data === undefined || domain === undefined ? await ofNode(values) : await ofFolder(data, domain);
        if (values.json === true) terminal.out(toJson(schema));
        else printSchema(terminal, schema);
        return (schema.ok ? exitCodes.ok : exitCodes.no) satisfies ExitCode;
      }),
    );
};

async function ofFolder(data: string, domain: string): Promise<StoredSchema> {
  const { storedSchema } = await import("@heddle/runtime/internal");
  return storedSchema({ data, domain });
}

interface ContextFacts {
  readonly context: string;
  readonly aggregates: readonly {
    readonly name: string;
    readonly events: readonly { readonly name: string; readonly schemaVersion: number }[];
  }[];
}

// A node that serves can read all that it has: it would not have started otherwise.
async function ofNode(values: NodeOptionValues): Promise<StoredSchema> {
  const stored = await withNode(values, (db: Heddle) => db.types());
  const facts = await contextOf(values);
  const newest = new Map<string, number>();
  for (const { name, events } of facts.aggregates) {
    for (const event of events) newest.set(`${name}.${event.name}`, event.schemaVersion);
  }
  const types = stored.map((row) => ({ ...row, newest: newest.get(`${row.aggregate}.${row.type}`), readable: true }));
  for (const { name: aggregate, events } of facts.aggregates) {
    for (const { name: type, schemaVersion } of events) {
      if (types.some((row) => row.aggregate === aggregate && row.type === type)) continue;
      types.push({ aggregate, type, schemaVersion, count: 0, newest: schemaVersion, readable: true });
    }
  }
  return { ok: true, context: facts.context, types, unreadable: [] };
}

async function contextOf({ url, timeout = 30_000 }: NodeOptionValues): Promise<ContextFacts> {
  const { host } = new URL(url.replace(/^heddle:/, "http:"));
  try {
    const answer = await fetch(`http://${host}/v1/context`, { signal: AbortSignal.timeout(timeout) });
    if (!answer.ok) throw new Error(`GET /v1/context answered ${answer.status}`);
    return (await answer.json()) as ContextFacts;
  } catch (cause) {
    throw new HeddleError("CONNECTION_FAILED", { address: host, message: (cause as Error).message }, { cause });
  }
}

export function printSchema(terminal: Terminal, { context, types, unreadable }: StoredSchema): void {
  const { red, dim } = terminal.outColours;
  const lines = table(
    [
      { title: "event" },
      { title: "version", align: "right" },
      { title: "newest", align: "right" },
      { title: "events", align: "right" },
    ],
    types.map(({ aggregate, type, schemaVersion, newest, count: events }) => [
      `${aggregate}.${type}`,
      String(schemaVersion),
      newest === undefined ? "-" : String(newest),
      count(events),
    ]),
  );
  for (const [index, line] of lines.entries()) {
    terminal.out(index === 0 || types[index - 1]!.readable ? line : `${red(line)}  ${red("cannot be read")}`);
  }
  for (const sentence of unreadable) terminal.out(red(sentence));
  terminal.out(dim(`context ${context}`));
}
