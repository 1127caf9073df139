// heddle delete: erases an entity, and gives the receipt.
import { type DeleteOptions, type ErasureReceipt, HeddleError } from "@heddle/client";
import type { AddCommand } from "../add-command.ts";
import { typed } from "../confirm.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { withOutput } from "../output.ts";
import type { Terminal } from "../terminal.ts";
import { counted } from "../text.ts";

interface DeleteValues extends NodeOptionValues {
  readonly yes?: boolean;
  readonly receipt?: string;
  readonly provisional?: boolean;
}

export const addDelete: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("delete")
      .summary("erase an entity for good")
      .description(
        "Overwrites what the events of an entity held, wherever the node wrote it, and destroys the key without which no\n" +
          "backup of it can be read. Nothing brings it back. Its id, sequences and times stay. Prints the receipt, with\n" +
          "which heddle verify-erasure proves it again. Asked again, it gives the same receipt.",
      )
      .argument("<entity>", "kind/name, such as account/alice")
      .option("--yes", "do not ask")
      .option("--receipt <file>", "write the receipt to this file")
      .option("--provisional", "end as soon as the log is clean; the index follows within a minute or so"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle delete account/alice --receipt alice.receipt.json
  heddle delete account/alice --yes --json
  heddle verify-erasure alice.receipt.json --data ./data

An erasure may take longer than other calls: --timeout is 600000 here unless it is given.`,
    )
    .action((entity: string, values: DeleteValues) =>
      run(values, async (terminal) => {
        const receipt = await withNode(values, async (db) => {
          const one = db.entity(entity);
          if (values.yes !== true && !(await confirmed(entity))) return undefined;
          return withReceiptFile(values.receipt, terminal, () => one.delete(deleteOptions(values)));
        });
        if (receipt === undefined) {
          terminal.say("nothing was erased");
          return exitCodes.no;
        }
        if (values.json === true) terminal.out(toJson(receipt));
        else printReceipt(terminal, receipt, values.receipt);
        return exitCodes.ok;
      }),
    );
};

function confirmed(entity: string): Promise<boolean> {
  const question = `this erases ${entity} for good; type its id to go on: `;
  return typed(entity, question, "--yes", { input: process.stdin, output: process.stderr });
}

function deleteOptions({ provisional, timeout }: DeleteValues): DeleteOptions {
  return { ...(provisional === true ? { provisional } : {}), ...(timeout === undefined ? {} : { timeoutMs: timeout }) };
}

/** The file is begun before anything is erased: a receipt that cannot be kept is known in time. */
async function withReceiptFile(
  file: string | undefined,
  terminal: Terminal,
  erase: () => Promise<ErasureReceipt>,
): Promise<ErasureReceipt> {
  if (file === undefined) return erase();
  return withOutput(file, terminal, async ({ write }) => {
    const receipt = await erase();
    try {
      write(`${toJson(receipt)}\n`);
    } catch (cause) {
      const problem = `it is erased, but ${file} could not be written: ${(cause as Error).message}; asked again, delete gives the same receipt`;
      throw new HeddleError("INVALID_REQUEST", { path: "--receipt", problem }, { cause });
    }
    return receipt;
  });
}

export function printReceipt(terminal: Terminal, receipt: ErasureReceipt, file?: string): void {
  const { green, yellow, dim } = terminal.outColours;
  const { entity, shard, seq, position, time, from, to, complete } = receipt;
  terminal.out(`${green("erased")} ${entity}: ${counted(to - from + 1, "event")}, sequences ${from} to ${to}`);
  terminal.out(`  ${dim(`tombstone ${seq}, shard ${shard}, position ${position}, ${new Date(time).toISOString()}`)}`);
  if (!complete) terminal.out(`  ${yellow("the log is clean, the index not yet: it follows within a minute or so")}`);
  if (file !== undefined) terminal.out(`  ${dim(`receipt in ${file}`)}`);
}
