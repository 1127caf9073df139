// heddle rehearse: what would new code make of what is stored?
import type { RehearsalReport } from "@heddle/runtime/internal";
import type { AddCommand } from "../add-command.ts";
import { type DomainOptionValues, withDomainOptions } from "../data-options.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { wholeNumber } from "../options.ts";
import { startProgress } from "../progress.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, count, counted, duration, rate } from "../text.ts";

interface RehearseValues extends DomainOptionValues {
  readonly against?: string;
  readonly told: number;
}

const exitCodeOf: { readonly [V in RehearsalReport["verdict"]]: ExitCode } = {
  same: exitCodes.ok,
  broken: exitCodes.no,
  differs: exitCodes.differs,
};

export const addRehearse: AddCommand = (program, run) => {
  withDomainOptions(
    program
      .command("rehearse")
      .summary("refold the stored events with new code and compare")
      .description(
        "Folds every event of a data folder with the new domain module and tells every entity whose state would be another,\n" +
          "field by field; every event that could not be read or would not fit; every rule that would not hold. Changes\n" +
          "nothing, and may run beside the node. The present states are the snapshots that the node made, each compared at the\n" +
          "event where it stands; entities without one are counted, not compared. With --against everything is folded with\n" +
          "the present module, too, and compared at its last event.",
      ),
  )
    .option("--against <module>", "the present domain module")
    .option("--told <n>", "differences, and faults, that are told; all are counted", wholeNumber(1, 100_000), 100)
    .addHelpText(
      "after",
      `
Exit codes: ${exitCodes.ok} nothing would differ; ${exitCodes.no} events could not be read, would not fit, or would break rules;
            ${exitCodes.differs} nothing is broken, but states would differ; ${exitCodes.usage} and ${exitCodes.failed} as everywhere.

Examples:
  heddle rehearse --domain ./next --data ./data
  heddle rehearse --domain ./next --against ./apps/examples/bank --data /var/lib/heddle --json | jq .differences`,
    )
    .action((values: RehearseValues) =>
      run(values, async (terminal) => {
        const report = await rehearse(values, terminal);
        if (values.json === true) terminal.out(toJson(report));
        else printRehearsal(terminal, report);
        return exitCodeOf[report.verdict];
      }),
    );
};

async function rehearse(values: RehearseValues, terminal: Terminal): Promise<RehearsalReport> {
  const { data, domain, against, told, json } = values;
  const { rehearseFolder } = await import("@heddle/runtime/internal");
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    return await rehearseFolder({
      data,
      domain,
      against,
      toldMax: told,
      onProgress: ({ doneBytes, totalBytes }) => {
        if (json === true) return;
        progress ??= startProgress(terminal, { doing: "rehearsing", total: totalBytes, amount: bytes });
        progress.at(doneBytes);
      },
    });
  } finally {
    progress?.stop();
  }
}

const verdictText = {
  same: "NOTHING_DIFFERS",
  differs: "STATES_DIFFER",
  broken: "WOULD_BREAK",
} as const;

export function printRehearsal(terminal: Terminal, report: RehearsalReport): void {
  const { green, red, yellow, dim } = terminal.outColours;
  const colour = { same: green, differs: yellow, broken: red }[report.verdict];
  const { differing, faultyEvents } = report;
  const differ = differing === 1 ? "1 entity differs" : `${count(differing)} entities differ`;
  terminal.out(`${colour(verdictText[report.verdict])} (${differ}, ${counted(faultyEvents, "event")} with faults)`);
  for (const { rule, name, events } of report.faultCounts)
    terminal.out(`${red(rule)}  ${name}: ${counted(events, "event")}`);
  for (const { shard, rule, entity, seq, position, found, wanted } of report.faults) {
    terminal.out(`${red(rule)}  shard ${shard}, ${entity}, sequence ${seq}, position ${position}`);
    terminal.out(`  found   ${found}`);
    terminal.out(`  wanted  ${wanted}`);
  }
  for (const { shard, entity, aggregate, seq, fields, fieldTotal } of report.differences) {
    terminal.out(`${yellow(entity)}  ${aggregate} at sequence ${seq}, shard ${shard}`);
    for (const { path, present = "nothing", next = "nothing" } of fields) {
      terminal.out(`  ${path === "" ? "the state" : path}: ${present} -> ${next}`);
    }
    if (fieldTotal > fields.length) terminal.out(dim(`  … and ${count(fieldTotal - fields.length)} more fields`));
  }
  if (differing > report.differences.length && report.differences.length > 0) {
    terminal.out(dim(`… of ${count(differing)} entities that differ; --told tells more of them`));
  }
  if (faultyEvents > report.faults.length && report.faults.length > 0) {
    terminal.out(dim(`… of ${count(faultyEvents)} events with faults; --told tells more of them`));
  }
  printCompared(terminal, report);
}

function printCompared(terminal: Terminal, report: RehearsalReport): void {
  const { dim } = terminal.outColours;
  const { noSnapshot, misplaced, erased, unfoldable } = report.notCompared;
  const with_ = report.against === "module" ? "the present module" : "snapshots";
  terminal.out(`compared ${count(report.compared)} of ${counted(report.entities, "entity", "entities")} with ${with_}`);
  if (report.comparedEarlier > 0) {
    terminal.out(`  ${count(report.comparedEarlier)} of them before their last event, where their snapshot stands`);
  }
  if (noSnapshot > 0) terminal.out(`  ${count(noSnapshot)} not compared: no snapshot; --against compares them`);
  if (misplaced > 0)
    terminal.out(`  ${count(misplaced)} not compared: their snapshots do not fit the log; heddle audit tells more`);
  if (erased > 0) terminal.out(`  ${count(erased)} not compared: erased`);
  if (unfoldable > 0) terminal.out(`  ${count(unfoldable)} not compared: one of the modules cannot fold them`);
  for (const note of report.notes) terminal.out(dim(`note: ${note}`));
  terminal.out(
    dim(
      `${counted(report.events, "event")} in ${counted(report.shards, "shard")}, ${duration(report.tookMs)}, ${rate(report.events, report.tookMs)} on ${counted(report.threads, "thread")}`,
    ),
  );
}
