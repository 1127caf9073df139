// Confirm: asks a person to type something before what cannot be undone is done.
import readline from "node:readline/promises";
import { UsageError } from "./report-error.ts";

export interface Questioning {
  /** Where the person types. */
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  /** Where the question is shown. */
  readonly output: NodeJS.WritableStream;
}

/**
 * Whether a person typed the text. Errors: throws a `UsageError` where nobody can be asked, naming the option that says yes.
 */
export async function typed(wanted: string, question: string, option: string, at: Questioning): Promise<boolean> {
  if (at.input.isTTY !== true) {
    throw new UsageError(`nobody is there to be asked: ${question.replace(/;.*/, "")}`, `Give ${option} to go on.`);
  }
  const lines = readline.createInterface({ input: at.input, output: at.output });
  try {
    return (await lines.question(question)).trim() === wanted;
  } finally {
    lines.close();
  }
}
