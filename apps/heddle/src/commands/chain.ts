// heddle chain: where every entity's hash chain stands, to be kept elsewhere and verified later.
import type { ChainVerification } from "@heddle/runtime/internal";
import type { AddCommand } from "../add-command.ts";
import { type DataOptionValues, withDataOptions } from "../data-options.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { wholeNumber } from "../options.ts";
import { startProgress } from "../progress.ts";
import { UsageError } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, count, counted, duration } from "../text.ts";

interface VerifyValues extends DataOptionValues {
  readonly told: number;
}

export const addChain: AddCommand = (program, run) => {
  const chain = program
    .command("chain")
    .summary("export and verify hash chains (export, verify)")
    .description(
      "Every entity's history carries a chained hash. Its heads, kept where nobody can write who can write to the data\n" +
        "folder, show later whether a history was altered.",
    );
  withDataOptions(
    chain
      .command("export")
      .summary("print where every entity's hash chain stands")
      .description(
        "Prints entity, sequence and chain of every entity as NDJSON, with a checksum at the end. Reads the partitions of a\n" +
          "data folder, so it has what the last checkpoint covers; or the logs, where there is no partition. May run beside\n" +
          "the node.",
      ),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle chain export --data ./data > heads.ndjson

The output is NDJSON with and without --json.`,
    )
    .action((values: DataOptionValues) =>
      run(values, async (terminal) => {
        const { exportChainHeads } = await import("@heddle/runtime/internal");
        const { entities } = await exportChainHeads({
          data: values.data,
          write: (text) => terminal.out(text.trimEnd()),
          drained: () => terminal.drained(),
          nowMs: Date.now(),
        });
        if (values.json !== true) {
          const exported = counted(entities, "chain head");
          terminal.say(terminal.sayColours.dim(`${exported} exported; heddle chain verify holds them against the log`));
        }
        return exitCodes.ok;
      }),
    );
  withDataOptions(
    chain
      .command("verify")
      .summary("hold exported chain heads against the logs")
      .description(
        "Computes the chains of the exported entities anew from the logs and names each entity of which an event was altered,\n" +
          "dropped or put elsewhere up to the exported sequence. Entities that were erased since are counted, they are no\n" +
          "fault. Changes nothing, and may run beside the node.",
      )
      .argument("<file>", "what heddle chain export printed"),
  )
    .option("--told <n>", "entities that are told; all are counted", wholeNumber(1, 100_000), 100)
    .addHelpText(
      "after",
      `
Exit codes: ${exitCodes.ok} every history is as it was, or erased; ${exitCodes.no} some are not;
            ${exitCodes.failed} the file is damaged, or of another data folder.

Examples:
  heddle chain verify heads.ndjson --data ./data
  heddle chain verify heads.ndjson --data /var/lib/heddle --json | jq .mismatches`,
    )
    .action((file: string, values: VerifyValues) =>
      run(values, async (terminal) => {
        const result = await verify(file, values, terminal);
        if (values.json === true) terminal.out(toJson(result));
        else printVerification(terminal, result);
        return result.ok ? exitCodes.ok : exitCodes.no;
      }),
    );
};

async function verify(file: string, values: VerifyValues, terminal: Terminal): Promise<ChainVerification> {
  const { verifyChainHeads } = await import("@heddle/runtime/internal");
  let progress: ReturnType<typeof startProgress> | undefined;
  try {
    return await verifyChainHeads({
      data: values.data,
      file,
      toldMax: values.told,
      onProgress: ({ doneBytes, totalBytes }) => {
        if (values.json === true) return;
        progress ??= startProgress(terminal, { doing: "verifying", total: totalBytes, amount: bytes });
        progress.at(doneBytes);
      },
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw new UsageError(`there is no file ${file}`);
    throw error;
  } finally {
    progress?.stop();
  }
}

function printVerification(terminal: Terminal, result: ChainVerification): void {
  const { green, red, dim } = terminal.outColours;
  const { verified, erased, mismatchTotal } = result;
  const chains = counted(result.entities, "chain");
  if (result.ok)
    terminal.out(`${green("CHAINS_OK")} (${chains}: ${count(verified)} verified, ${count(erased)} erased since)`);
  else terminal.out(`${red("CHAINS_ALTERED")} (${count(mismatchTotal)} of ${chains})`);
  for (const { entity, seq, found, wanted } of result.mismatches) {
    terminal.out(`${red(entity)}  up to sequence ${seq}`);
    terminal.out(`  found   ${found}`);
    terminal.out(`  wanted  ${wanted}`);
  }
  const untold = mismatchTotal - result.mismatches.length;
  if (untold > 0) terminal.out(dim(`… and ${count(untold)} more; --told tells more of them`));
  terminal.out(dim(`exported ${result.exported}, verified in ${duration(result.tookMs)}`));
}
