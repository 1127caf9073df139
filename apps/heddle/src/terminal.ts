// Terminal: where a command writes, and what the reader at the other end can show.
//
// Results go to standard output, whole and alone, so that they can be piped; everything else (progress, advice, errors)
// goes to standard error. Colours and bars appear only where a person is looking.
import pc from "picocolors";

export interface Terminal {
  /** Writes a line of the result. */
  out(line: string): void;
  /** Writes a line that is not part of the result. */
  say(line: string): void;
  /** Waits until standard output has taken what was written: for results that are larger than memory should be. */
  drained(): Promise<void>;
  /** Whether a person is looking at standard error: then progress is drawn, not listed. */
  readonly interactive: boolean;
  /** Columns of standard error. */
  readonly columns: number;
  /** Columns of standard output; no bound where it is no screen. */
  readonly outColumns: number;
  readonly outColours: Colours;
  readonly sayColours: Colours;
}

export type Colours = ReturnType<typeof pc.createColors>;

interface Stream {
  write(text: string): boolean;
  once(event: "drain", listener: () => void): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly writableNeedDrain?: boolean;
}

export function terminalOf(
  stdout: Stream,
  stderr: Stream,
  environment: Readonly<Record<string, string | undefined>>,
): Terminal {
  const plain = (environment["NO_COLOR"] ?? "") !== "" || environment["TERM"] === "dumb";
  const colours = (stream: Stream) => pc.createColors(stream.isTTY === true && !plain);
  return {
    out: (line) => void stdout.write(`${line}\n`),
    say: (line) => void stderr.write(`${line}\n`),
    drained: () =>
      stdout.writableNeedDrain === true ? new Promise((resolve) => stdout.once("drain", resolve)) : Promise.resolve(),
    interactive: stderr.isTTY === true && environment["TERM"] !== "dumb",
    columns: stderr.columns || 80,
    outColumns: stdout.isTTY === true ? stdout.columns || 80 : Number.POSITIVE_INFINITY,
    outColours: colours(stdout),
    sayColours: colours(stderr),
  };
}
