// heddle index rebuild: makes the partitions anew from the logs.
import type { AddCommand } from "../add-command.ts";
import { type DomainOptionValues, withDomainOptions } from "../data-options.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { startProgress } from "../progress.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, counted, duration } from "../text.ts";

export const addIndex: AddCommand = (program, run) => {
  const index = program
    .command("index")
    .summary("look after the index (rebuild)")
    .description("The index of a data folder: one partition for each shard, all of it derived from the logs.");
  withDomainOptions(
    index
      .command("rebuild")
      .summary("make the partitions anew from the logs")
      .description(
        "Deletes every partition of a data folder and derives it from the log. Each log is checked first: a damaged one is\n" +
          "refused, and its partition stays. No node may have the folder open.",
      ),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle index rebuild --domain ./apps/examples/bank --data ./data`,
    )
    .action((values: DomainOptionValues) =>
      run(values, async (terminal) => {
        const report = await rebuild(values, terminal);
        if (values.json === true) terminal.out(toJson(report));
        else {
          const { green, dim, yellow } = terminal.outColours;
          const entities = counted(report.entities, "entity", "entities");
          terminal.out(
            `${green("rebuilt")} ${counted(report.shards.length, "partition")}: ${entities}, ${counted(report.events, "event")}`,
          );
          for (const { shard, unfolded } of report.shards) {
            for (const { entity, problem } of unfolded) {
              terminal.out(yellow(`shard ${shard}: ${entity} cannot be folded and has no snapshot: ${problem}`));
            }
          }
          terminal.out(dim(`${counted(report.snapshots, "snapshot")}, ${duration(report.tookMs)}`));
        }
        return exitCodes.ok;
      }),
    );
};

async function rebuild({ data, domain, json }: DomainOptionValues, terminal: Terminal) {
  const { rebuildIndex } = await import("@heddle/runtime/internal");
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    return await rebuildIndex({
      data,
      domain,
      onProgress: ({ doneBytes, totalBytes }) => {
        if (json === true) return;
        progress ??= startProgress(terminal, { doing: "rebuilding", total: totalBytes, amount: bytes });
        progress.at(doneBytes);
      },
    });
  } finally {
    progress?.stop();
  }
}
