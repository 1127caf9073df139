// heddle verify-erasure: is what was erased still gone?
import fs from "node:fs";
import { text as readAll } from "node:stream/consumers";
import type { ErasureProof } from "@heddle/runtime/internal";
import type { AddCommand } from "../add-command.ts";
import { type DataOptionValues, withDataOptions } from "../data-options.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { wholeNumber } from "../options.ts";
import { withByteProgress } from "../progress.ts";
import { UsageError } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, count, counted, duration } from "../text.ts";

interface VerifyValues extends DataOptionValues {
  readonly keys?: string;
  readonly leftovers: number;
}

export const addVerifyErasure: AddCommand = (program, run) => {
  withDataOptions(
    program
      .command("verify-erasure")
      .summary("prove again that an erased entity is gone")
      .description(
        "Takes the receipt of heddle delete and looks into the files of the data folder and of the key store, beside the\n" +
          "running node or without one. Changes nothing. Prints ERASURE_OK, or what is left and where; then the exit code\n" +
          "is 1.",
      )
      .argument("<receipt>", "file of the receipt as JSON; - reads standard input"),
  )
    .option("--keys <file>", "key store of the backups (default: keys/keys.sqlite in the data folder)")
    .option("--leftovers <n>", "leftovers that are told; all are counted", wholeNumber(1, 100_000), 100)
    .addHelpText(
      "after",
      `
Examples:
  heddle verify-erasure alice.receipt.json --data ./data
  heddle verify-erasure alice.receipt.json --data /var/lib/heddle --keys /mnt/keys/keys.sqlite --json
  heddle delete account/alice --yes --json | heddle verify-erasure - --data ./data`,
    )
    .action((file: string, values: VerifyValues) =>
      run(values, async (terminal) => {
        const receipt = await readReceiptFile(file);
        const proof = await verify(receipt, values, terminal);
        if (values.json === true) terminal.out(toJson(proof));
        else printProof(terminal, proof);
        return proof.ok ? exitCodes.ok : exitCodes.no;
      }),
    );
};

async function readReceiptFile(file: string): Promise<unknown> {
  if (file !== "-" && !fs.existsSync(file)) throw new UsageError(`there is no file ${file}`);
  const json = file === "-" ? await readAll(process.stdin) : fs.readFileSync(file, "utf8");
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new UsageError(
      `the receipt is not JSON: ${(error as Error).message}`,
      "heddle delete --receipt FILE writes one.",
    );
  }
}

async function verify(receipt: unknown, values: VerifyValues, terminal: Terminal): Promise<ErasureProof> {
  const { verifyErasure } = await import("@heddle/runtime/internal");
  const { data, keys, leftovers, json } = values;
  return withByteProgress(terminal, { doing: "reading the log", quiet: json === true }, (onProgress) =>
    verifyErasure({ data, receipt, keys, toldMax: leftovers, onProgress }),
  );
}

export function printProof(terminal: Terminal, proof: ErasureProof): void {
  const { green, red, dim } = terminal.outColours;
  const { entity, from, to, shard, time } = proof.receipt;
  const what = `${entity}, sequences ${from} to ${to}, erased ${new Date(time).toISOString()}`;
  if (proof.ok) terminal.out(`${green("ERASURE_OK")} (${what})`);
  else {
    terminal.out(`${red("ERASURE_FAILED")} (${what}: ${counted(proof.leftoverTotal, "leftover")})`);
    for (const { check, where, found, wanted } of proof.leftovers) {
      terminal.out(`${red(check)}  ${where}`);
      terminal.out(`  found   ${found}`);
      terminal.out(`  wanted  ${wanted}`);
    }
    const untold = proof.leftoverTotal - proof.leftovers.length;
    if (untold > 0) terminal.out(dim(`… and ${count(untold)} more; --leftovers tells more of them`));
  }
  for (const { check, leftovers } of proof.checks) {
    terminal.out(`${leftovers === 0 ? green("holds") : red("fails")}  ${check}`);
  }
  if (!proof.hasPartition) terminal.out(dim("note: the shard has no partition; a node makes it from this log"));
  terminal.out(
    dim("note: NATS, rqlite and MongoDB are not looked into; the receipt waited for those that the node had"),
  );
  const read = `${counted(proof.entries, "entry", "entries")} of the entity in shard ${shard}, ${bytes(proof.logBytes)} of log`;
  terminal.out(dim(`${read}, ${duration(proof.tookMs)}`));
}
