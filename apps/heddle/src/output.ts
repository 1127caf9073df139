// Output: where whole lines of a result go: to standard output, or into a file that is whole or not there.
import fs from "node:fs";
import type { Terminal } from "./terminal.ts";

export interface Output {
  /** Takes whole lines, each with its line end. */
  write(text: string): void;
  /** Waits until what was written has been taken. */
  drained(): Promise<void>;
}

/**
 * Runs with standard output, or with a file. The file gets its name when the work has ended well: one of that name that is
 * there already is then replaced, and stays as it was when the work fails.
 */
export async function withOutput<T>(
  file: string | undefined,
  terminal: Terminal,
  work: (output: Output) => Promise<T>,
): Promise<T> {
  if (file === undefined) {
    return work({ write: (text) => terminal.out(text.replace(/\n$/, "")), drained: () => terminal.drained() });
  }
  const unfinished = `${file}.unfinished`;
  const descriptor = fs.openSync(unfinished, "w");
  try {
    const result = await work({
      write: (text) => void fs.writeSync(descriptor, text),
      drained: () => Promise.resolve(),
    });
    fs.fsyncSync(descriptor);
    fs.renameSync(unfinished, file);
    return result;
  } catch (error) {
    fs.rmSync(unfinished, { force: true });
    throw error;
  } finally {
    fs.closeSync(descriptor);
  }
}
