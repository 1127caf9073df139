// heddle audit: is everything that is stored right?
import type { AuditReport } from "@heddle/runtime/internal";
import type { AddCommand } from "../add-command.ts";
import { type DomainOptionValues, withDomainOptions } from "../data-options.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { wholeNumber } from "../options.ts";
import { startProgress } from "../progress.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, count, counted, duration } from "../text.ts";

interface AuditValues extends DomainOptionValues {
  readonly problems: number;
}

export const addAudit: AddCommand = (program, run) => {
  withDomainOptions(
    program
      .command("audit")
      .summary("refold everything and check every rule")
      .description(
        "Reads the logs of a data folder from their first byte, folds every entity anew with the domain module, and checks\n" +
          "sequences, times, ids, checksums, hash chains, schemas, invariants, that nothing is left of what was erased, that the\n" +
          "records of sagas agree with their entities' histories, and that the partitions and the projections in SQLite agree. Changes nothing, and may run beside the node. Prints INTEGRITY_OK (n aggregates), or what is wrong; then the exit code is 1.",
      ),
  )
    .option("--problems <n>", "problems that are told; all are counted", wholeNumber(1, 100_000), 100)
    .addHelpText(
      "after",
      `
Examples:
  heddle audit --domain ./apps/examples/bank --data ./data
  heddle audit --domain ./domain.ts --data /var/lib/heddle --json | jq .problems`,
    )
    .action((values: AuditValues) =>
      run(values, async (terminal) => {
        const report = await audit(values, terminal);
        if (values.json === true) terminal.out(toJson(report));
        else printAudit(terminal, report);
        return report.ok ? exitCodes.ok : exitCodes.no;
      }),
    );
};

async function audit({ data, domain, problems, json }: AuditValues, terminal: Terminal): Promise<AuditReport> {
  const { auditFolder } = await import("@heddle/runtime/internal");
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    return await auditFolder({
      data,
      domain,
      problemsMax: problems,
      onProgress: ({ doneBytes, totalBytes }) => {
        if (json === true) return;
        progress ??= startProgress(terminal, { doing: "auditing", total: totalBytes, amount: bytes });
        progress.at(doneBytes);
      },
    });
  } finally {
    progress?.stop();
  }
}

export function printAudit(terminal: Terminal, report: AuditReport): void {
  const { green, red, yellow, dim } = terminal.outColours;
  const { ended, unfinished, stuck } = report.sagas;
  const erased = report.erased === 0 ? "" : `, ${count(report.erased)} erased`;
  const sagaTotal = ended + unfinished + stuck;
  const sagas = sagaTotal === 0 ? "" : `, ${counted(sagaTotal, "saga")}`;
  const projected = report.projections.length === 0 ? "" : `, ${counted(report.projections.length, "projection")}`;
  const read = `${counted(report.events, "event")} of ${counted(report.entities, "entity", "entities")}${erased}${sagas}${projected} in ${counted(report.shards, "shard")}, ${bytes(report.logBytes)} of log, ${duration(report.tookMs)}`;
  if (report.ok) terminal.out(`${green("INTEGRITY_OK")} (${counted(report.aggregates, "aggregate")})`);
  else {
    terminal.out(`${red("INTEGRITY_FAILED")} (${counted(report.problemTotal, "problem")})`);
    for (const { shard, rule, entity, seq, position, found, wanted } of report.problems) {
      const place = [`shard ${shard}`];
      if (entity !== undefined) place.push(entity);
      if (seq !== undefined) place.push(`sequence ${seq}`);
      if (position !== undefined) place.push(`position ${position}`);
      terminal.out(`${red(rule)}  ${place.join(", ")}`);
      terminal.out(`  found   ${found}`);
      terminal.out(`  wanted  ${wanted}`);
    }
    const untold = report.problemTotal - report.problems.length;
    if (untold > 0) terminal.out(dim(`… and ${count(untold)} more; --problems tells more of them`));
  }
  if (unfinished > 0) terminal.out(dim(`${counted(unfinished, "saga")} had not ended; a node goes on with them`));
  if (stuck > 0) {
    terminal.out(
      yellow(`${counted(stuck, "saga")} ${stuck === 1 ? "waits" : "wait"} for an operator: heddle sagas ls --stuck`),
    );
  }
  for (const note of report.notes) terminal.out(dim(`note: ${note}`));
  terminal.out(dim(read));
}
