// heddle reminders: what entities are reminded of, and when.
import type { ReminderPage, ReminderRecord } from "@heddle/client";
import { limits } from "@heddle/kernel";
import { type Command, Option } from "commander";
import type { AddCommand, Run } from "../add-command.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { jsonArgument, timeText, wholeNumber } from "../options.ts";
import { UsageError } from "../report-error.ts";
import { contentText } from "../saga-picture.ts";
import type { Terminal } from "../terminal.ts";
import { shortened, table, time } from "../text.ts";

export const addReminders: AddCommand = (program, run) => {
  const reminders = program
    .command("reminders")
    .summary("look after reminders (ls, set, cancel)")
    .description(
      "A reminder brings its entity a command or an event when its time has come, once or again and again, also when the\n" +
        "node was down meanwhile. An entity may have many, by name.",
    );
  addList(reminders, run);
  addSet(reminders, run);
  addCancel(reminders, run);
};

interface ListValues extends NodeOptionValues {
  readonly before?: number;
  readonly limit: number;
  readonly cursor?: string;
}

function addList(reminders: Command, run: Run): void {
  withNodeOptions(
    reminders
      .command("ls")
      .summary("list reminders")
      .description(
        "Lists the reminders of an entity; or, without one, the entities that have reminders, in the order in which the\n" +
          "first of each is due. A page says how to go on.",
      )
      .argument("[entity]", "kind/name, such as account/alice")
      .option("--before <time>", "only what is due before this time, such as 2026-12-01", timeText)
      .option("--limit <n>", "entities in a page", wholeNumber(1, limits.listEntitiesMax), 50)
      .option("--cursor <cursor>", "go on where a page ended"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle reminders ls
  heddle reminders ls --before 2026-12-01 --limit 500
  heddle reminders ls account/alice --json

With --json each reminder is a line; without an entity the last line is {"cursor": …}: null when there are no more.`,
    )
    .action((entity: string | undefined, values: ListValues) =>
      run(values, async (terminal) => {
        const { before, limit, cursor, json } = values;
        if (entity === undefined) {
          printPage(await withNode(values, (db) => db.reminders({ before, limit, cursor })), values, terminal);
          return exitCodes.ok;
        }
        if (cursor !== undefined) throw new UsageError("--cursor goes without an entity", "Leave out one of the two.");
        const found = await withNode(values, (db) => db.entity(entity).reminders());
        const asked = found.filter(({ due }) => before === undefined || due < before);
        if (json === true) for (const reminder of asked) terminal.out(toJson({ entity, ...reminder }));
        else if (asked.length === 0) terminal.say(terminal.sayColours.dim(`${entity} has no such reminders`));
        else for (const line of reminderTable(asked, terminal.outColumns)) terminal.out(line);
        return exitCodes.ok;
      }),
    );
}

function printPage(page: ReminderPage, { json, before, limit }: ListValues, terminal: Terminal): void {
  if (json === true) {
    for (const listed of page) terminal.out(toJson(listed));
    terminal.out(toJson({ cursor: page.cursor ?? null }));
    return;
  }
  const { dim } = terminal.sayColours;
  if (page.length === 0) terminal.say(dim("there are no such reminders"));
  else {
    const lines = table(
      [{ title: "due (UTC)" }, { title: "pending", align: "right" }, { title: "first" }, { title: "entity" }],
      page.map(({ due, pending, name, entity }) => [time(due), String(pending), plain(name), entity]),
    );
    for (const line of lines) terminal.out(line);
  }
  if (page.cursor === undefined) return;
  const bound = before === undefined ? [] : ["--before", new Date(before).toISOString()];
  const options = [...bound, "--limit", String(limit), "--cursor", `'${page.cursor.replaceAll("'", `'\\''`)}'`];
  terminal.say(dim(["more: heddle reminders ls", ...options].join(" ")));
}

/** What it brings comes last, because it may be long, and is cut at the screen's edge. */
export function reminderTable(reminders: readonly ReminderRecord[], columns: number): string[] {
  const lines = table(
    [
      { title: "due (UTC)" },
      { title: "name" },
      { title: "repeats" },
      { title: "missed" },
      { title: "last" },
      { title: "brings" },
    ],
    reminders.map(({ due, name, cron, timeZone, missed, last, content }) => [
      time(due),
      plain(name),
      cron === undefined ? "-" : `${plain(cron)} in ${timeZone}`,
      missed,
      last === undefined ? "-" : last.code === undefined ? last.outcome : `${last.outcome}, ${last.code}`,
      contentText(content),
    ]),
  );
  return lines.map((line) => shortened(line, Math.max(columns, 60)));
}

/** A name is anything but empty: none of it may steer the terminal. */
function plain(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, " ");
}

interface SetValues extends NodeOptionValues {
  readonly at?: number;
  readonly cron?: string;
  readonly timeZone?: string;
  readonly command?: string;
  readonly input?: string;
  readonly type?: string;
  readonly payload?: string;
  readonly aggregate?: string;
  readonly missed: "all" | "latest" | "skip";
}

function addSet(reminders: Command, run: Run): void {
  withNodeOptions(
    reminders
      .command("set")
      .summary("set a reminder of an entity")
      .description(
        "Sets a reminder, in place of one of the same name: for one moment, or to repeat by a cron expression in a time zone.\n" +
          "It brings the entity a command, or an event.",
      )
      .argument("<entity>", "kind/name, such as account/alice")
      .argument("<name>", "the reminder's name, such as monthly")
      .option("--at <time>", "one moment, such as 2026-12-01T08:00:00Z", timeText)
      .option("--cron <expression>", "again and again, such as '0 8 1 * *'")
      .option("--time-zone <zone>", "where the expression counts, such as Europe/Berlin (default: UTC)")
      .option("--command <name>", "the command that it brings")
      .option("--input <json>", "the command's input, as JSON (default: {})")
      .option("--type <name>", "the event that it brings")
      .option("--payload <json>", "the event's payload, as JSON (default: {})")
      .option("--aggregate <name>", "aggregate of what it brings; may be left out where there is only one")
      .addOption(
        new Option(
          "--missed <policy>",
          "of occurrences that the node could not deliver in time: which are delivered later",
        )
          .choices(["all", "latest", "skip"])
          .default("latest"),
      ),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle reminders set account/alice statement --at 2026-12-01T08:00:00Z --command Close
  heddle reminders set account/alice monthly --cron '0 8 1 * *' --time-zone Europe/Berlin --command Bill --missed all
  heddle reminders set account/alice bonus --at 2026-12-24 --type Credited --payload '{"amount":50}'`,
    )
    .action((entity: string, name: string, values: SetValues) =>
      run(values, async (terminal) => {
        const brought = { ...scheduleOf(values), ...(await contentOf(values)), missed: values.missed };
        const { aggregate } = values;
        const { due } = await withNode(values, (db) => db.entity(entity).remind(name, brought, { aggregate }));
        if (values.json === true) terminal.out(toJson({ ok: true, entity, name, due }));
        else terminal.out(`${terminal.outColours.green(plain(name))} of ${entity} is due at ${time(due)} UTC`);
        return exitCodes.ok;
      }),
    );
}

function scheduleOf({ at, cron, timeZone }: SetValues): { at: number } | { cron: string; timeZone: string } {
  if (at !== undefined && cron !== undefined) {
    throw new UsageError("--at and --cron name two schedules", "Leave out one of the two.");
  }
  if (at !== undefined) {
    if (timeZone === undefined) return { at };
    throw new UsageError(
      "--time-zone goes with --cron",
      "A time of --at may end in its zone: 2026-12-01T08:00:00+01:00.",
    );
  }
  if (cron === undefined) throw new UsageError("no time is named", "Give --at or --cron.");
  return { cron, timeZone: timeZone ?? "UTC" };
}

async function contentOf({ command, input, type, payload }: SetValues) {
  if ((command === undefined) === (type === undefined)) {
    throw new UsageError("it brings one thing: a command or an event", "Give either --command or --type.");
  }
  if (command !== undefined) {
    if (payload !== undefined) throw new UsageError("--payload goes with --type", "A command has an --input.");
    return { command, input: await jsonArgument(input ?? "{}", "input") };
  }
  if (input !== undefined) throw new UsageError("--input goes with --command", "An event has a --payload.");
  return { type: type!, payload: await jsonArgument(payload ?? "{}", "payload") };
}

function addCancel(reminders: Command, run: Run): void {
  withNodeOptions(
    reminders
      .command("cancel")
      .summary("cancel a reminder")
      .description("Cancels a reminder of an entity. What it has delivered already stays.")
      .argument("<entity>", "kind/name, such as account/alice")
      .argument("<name>", "the reminder's name"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle reminders cancel account/alice monthly`,
    )
    .action((entity: string, name: string, values: NodeOptionValues) =>
      run(values, async (terminal) => {
        await withNode(values, (db) => db.entity(entity).cancelReminder(name));
        if (values.json === true) terminal.out(toJson({ ok: true, entity, name }));
        else terminal.out(`${terminal.outColours.green(plain(name))} of ${entity} is cancelled`);
        return exitCodes.ok;
      }),
    );
}
