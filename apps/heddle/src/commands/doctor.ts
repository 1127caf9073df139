// heddle doctor: is the disk good enough, and can everything be read?
import type { DoctorReport, ExaminedShard } from "@heddle/runtime/internal";
import type { AddCommand } from "../add-command.ts";
import { type DataOptionValues, withDataOptions } from "../data-options.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { wholeNumber } from "../options.ts";
import { startProgress } from "../progress.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, count, counted } from "../text.ts";

interface DoctorValues extends DataOptionValues {
  readonly syncThresholdUs: number;
  readonly samples: number;
}

export const addDoctor: AddCommand = (program, run) => {
  withDataOptions(
    program
      .command("doctor")
      .summary("measure the disk and read every file")
      .description(
        "Measures how long a synced write to the data folder takes, reads every segment of every log and every partition,\n" +
          "and says what is wrong and what can be saved. Changes nothing. Works beside a running node, and on a folder that\n" +
          "no node can open. The exit code is 1 if there are faults.",
      ),
  )
    .option("--sync-threshold-us <n>", "the median of a synced write may take this long, in µs", wholeNumber(0), 5_000)
    .option("--samples <n>", "synced writes to measure", wholeNumber(1, 100_000), 200)
    .addHelpText(
      "after",
      `
Examples:
  heddle doctor --data ./data
  heddle doctor --data /var/lib/heddle --sync-threshold-us 20000
  heddle doctor --data ./data --json | jq .findings`,
    )
    .action((values: DoctorValues) =>
      run(values, async (terminal) => {
        const report = await examine(values, terminal);
        if (values.json === true) terminal.out(toJson(report));
        else printDoctor(terminal, report);
        return report.ok ? exitCodes.ok : exitCodes.no;
      }),
    );
};

async function examine(values: DoctorValues, terminal: Terminal): Promise<DoctorReport> {
  const { doctorFolder } = await import("@heddle/runtime/internal");
  const { data, samples, syncThresholdUs, json } = values;
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    return doctorFolder({
      data,
      samples,
      syncThresholdUs,
      onProgress: ({ doneShards, totalShards }) => {
        if (json === true) return;
        progress ??= startProgress(terminal, { doing: "examining", total: totalShards, unit: "shards" });
        progress.at(doneShards);
      },
    });
  } finally {
    progress?.stop();
  }
}

export function printDoctor(terminal: Terminal, report: DoctorReport): void {
  const { green, red, yellow, bold, dim } = terminal.outColours;
  const line = (title: string, text: string) => terminal.out(`${bold(title.padEnd(12))} ${text}`);
  const { machine, sync, folder, shards, findings } = report;
  const inUse = report.inUse ? ", open in another process" : "";
  const facts =
    folder === undefined ? "no description" : `context ${folder.context}, ${counted(folder.shardCount, "shard")}`;
  line("data folder", `${report.data} (${facts}${inUse})`);
  if (machine !== undefined) {
    line(
      "machine",
      `${machine.system}, ${counted(machine.cores, "core")}, ${bytes(machine.memoryBytes)}, Node ${machine.node}`,
    );
    line("disk", `${machine.fileSystem}, ${bytes(machine.freeBytes)} free`);
  }
  if (sync !== undefined) {
    const figures = `p50 ${count(sync.p50Us)} µs, p99 ${count(sync.p99Us)} µs, max ${count(sync.maxUs)} µs`;
    const verdict = sync.pass ? green("PASS") : red("FAIL");
    line(
      "sync",
      `${figures} of ${count(sync.samples)}; threshold ${count(sync.thresholdUs)} µs on the median: ${verdict}`,
    );
  }
  for (const shard of shards) line(`shard ${shard.shard}`, describeShard(shard));
  for (const { severity, where, problem, advice } of findings) {
    const colour = severity === "fault" ? red : yellow;
    terminal.out(`${colour(severity)}  ${where}: ${problem}`);
    terminal.out(dim(`  ${advice}`));
  }
  const faults = findings.filter(({ severity }) => severity === "fault").length;
  terminal.out(faults === 0 ? green("HEALTHY") : red(`UNHEALTHY (${counted(faults, "fault")})`));
}

function describeShard({ log, partition }: ExaminedShard): string {
  const events = log.segments.reduce((sum, segment) => sum + segment.events, 0);
  const size = log.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  const found = `${counted(log.segments.length, "segment")}, ${bytes(size)}, ${counted(events, "event")}`;
  if (partition === undefined) return `${found}; no partition that can be read`;
  return `${found}; partition covers position ${count(partition.coveredPosition)} of ${count(log.end)}, ${counted(partition.entities, "entity", "entities")}`;
}
