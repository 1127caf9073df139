// A terminal that keeps what it was told, for tests of texts.
import { runCommand } from "./cli.ts";
import { type Terminal, terminalOf } from "./terminal.ts";

export interface Captured {
  readonly terminal: Terminal;
  /** Standard output, whole. */
  out(): string;
  /** Standard error, whole. */
  said(): string;
}

export function capturedTerminal({
  isTTY = false,
  columns = 120,
  environment = {} as Record<string, string>,
} = {}): Captured {
  const written = { out: "", said: "" };
  const stream = (name: "out" | "said") => ({
    write(text: string) {
      written[name] += text;
      return true;
    },
    once: () => {},
    isTTY,
    columns,
  });
  return {
    terminal: terminalOf(stream("out"), stream("said"), environment),
    out: () => written.out,
    said: () => written.said,
  };
}

export interface Typed {
  readonly code: number;
  readonly out: string;
  readonly said: string;
}

/** Runs a command in this process, as if it had been typed. */
export async function typed(...args: readonly string[]): Promise<Typed> {
  const captured = capturedTerminal();
  const code = await runCommand(args, captured.terminal);
  return { code, out: captured.out(), said: captured.said() };
}

/** The same with a node to talk to. */
export function typedAt(url: string): (...args: readonly string[]) => Promise<Typed> {
  return (...args) => typed(...args, "--url", url);
}

export function linesOf({ out }: Pick<Typed, "out">): Record<string, unknown>[] {
  return out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
