// heddle history: the newest events of an entity, or those from a place on.
import type { Entity, HistoryEvent } from "@heddle/client";
import { limits } from "@heddle/kernel";
import type { AddCommand } from "../add-command.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { timeText, wholeNumber } from "../options.ts";
import { shortened, table, time } from "../text.ts";

interface HistoryValues extends NodeOptionValues {
  readonly aggregate?: string;
  readonly from?: number;
  readonly to?: number;
  readonly since?: number;
  readonly until?: number;
  readonly backward?: boolean;
}

export const addHistory: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("history")
      .summary("print events of an entity")
      .description(
        "Prints the newest events of an entity, oldest of them first; with --from, --since or --backward, from a place on.\n" +
          "All bounds are inclusive.",
      )
      .argument("<entity>", "kind/name, such as account/alice")
      .argument("[limit]", "events at most", wholeNumber(1, limits.historyEventsMax), 20)
      .option("--aggregate <name>", "only the events of one aggregate")
      .option("--from <seq>", "begin at this sequence", wholeNumber(1))
      .option("--to <seq>", "end at this sequence", wholeNumber(1))
      .option("--since <time>", "only from this time on, such as 2026-11-20T12:00:00Z", timeText)
      .option("--until <time>", "only up to this time", timeText)
      .option("--backward", "falling sequences, from the end or from --from down"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle history account/alice
  heddle history account/alice 100 --from 1 --to 50
  heddle history account/alice --since 2026-11-20 --until 2026-11-20T12:00:00Z
  heddle history account/alice 5 --backward --json`,
    )
    .action((entity: string, limit: number, values: HistoryValues) =>
      run(values, async (terminal) => {
        const events = await withNode(values, (db) => eventsOf(db.entity(entity), limit, values));
        if (values.json === true) terminal.out(toJson(events.map((event) => ({ entity, ...event }))));
        else if (events.length === 0) terminal.say(terminal.sayColours.dim(`${entity} has no such events`));
        else for (const line of eventTable(events, terminal.outColumns)) terminal.out(line);
        return exitCodes.ok;
      }),
    );
};

async function eventsOf(entity: Entity, limit: number, values: HistoryValues): Promise<HistoryEvent[]> {
  const { aggregate, from, to, since, until, backward } = values;
  if (from !== undefined || since !== undefined || backward === true) {
    const direction = backward === true ? "backward" : "forward";
    return entity.history({ limit, aggregate, from, to, since, until, direction });
  }
  // The newest up to the bounds: read down from them, told upwards.
  const newest = await entity.history({ limit, aggregate, from: to, until, direction: "backward" });
  return newest.reverse();
}

export function eventTable(events: readonly HistoryEvent[], columns: number): string[] {
  const lines = table(
    [{ title: "seq", align: "right" }, { title: "time (UTC)" }, { title: "event" }, { title: "payload" }],
    events.map((event) => [
      String(event.seq),
      time(event.time),
      `${event.aggregate}.${event.type}`,
      toJson(event.payload),
    ]),
  );
  return lines.map((line) => shortened(line, Math.max(columns, 60)));
}
