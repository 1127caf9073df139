// A terminal that keeps what it was told, for tests of texts.
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
