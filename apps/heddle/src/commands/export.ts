// heddle export: events as NDJSON, of some entities through a node, or of all of them straight from a data folder.
import type { Heddle } from "@heddle/client";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import type { AddCommand } from "../program.ts";
import { startProgress } from "../progress.ts";
import { UsageError } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, counted } from "../text.ts";

interface ExportValues extends NodeOptionValues {
  readonly data?: string;
}

export const addExport: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("export")
      .summary("print all events of entities as NDJSON")
      .description(
        "Prints every event of the named entities, one JSON object a line, as heddle import takes them.\n" +
          "With --data it reads the data folder itself: every entity, also beside a running node.",
      )
      .argument("[entities...]", "kind/name, one or several; none with --data")
      .option("--data <folder>", "read this data folder instead of asking a node"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle export account/alice account/bob > accounts.ndjson
  heddle export --data ./data > everything.ndjson
  heddle export account/alice | jq .payload

The output is NDJSON with and without --json.`,
    )
    .action((entities: string[], values: ExportValues) =>
      run(values, async (terminal) => {
        if (values.data !== undefined && entities.length > 0) {
          throw new UsageError("--data exports every entity: it goes without names", "Leave out one of the two.");
        }
        if (values.data === undefined && entities.length === 0) {
          throw new UsageError("no entity is named", "Name one or several, or give --data for all of a data folder.");
        }
        const events =
          values.data === undefined
            ? await withNode(values, (db) => exportEntities(db, entities, terminal))
            : await exportData(values.data, terminal, values.json === true);
        if (values.json !== true) terminal.say(terminal.sayColours.dim(`${counted(events, "event")} exported`));
        return exitCodes.ok;
      }),
    );
};

async function exportEntities(db: Heddle, entities: readonly string[], terminal: Terminal): Promise<number> {
  let events = 0;
  for (const entity of entities) {
    for await (const event of db.entity(entity).export()) {
      terminal.out(toJson({ entity, ...event }));
      events++;
      await terminal.drained();
    }
  }
  return events;
}

async function exportData(data: string, terminal: Terminal, quiet: boolean): Promise<number> {
  const { exportFolder } = await import("@heddle/runtime/internal");
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    return await exportFolder({
      data,
      onEvent: (event) => terminal.out(toJson(event)),
      drained: () => terminal.drained(),
      onProgress: ({ doneBytes, totalBytes }) => {
        if (quiet) return;
        progress ??= startProgress(terminal, { doing: "exporting", total: totalBytes, amount: bytes });
        progress.at(doneBytes);
      },
    });
  } finally {
    progress?.stop();
  }
}
