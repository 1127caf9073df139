// LogLines: the node's JSON log as lines for a person. Where nobody is looking the JSON goes out as it is.
import { toJson } from "./json.ts";
import type { Terminal } from "./terminal.ts";

const names: Readonly<Record<number, string>> = {
  10: "trace",
  20: "debug",
  30: "info",
  40: "warn",
  50: "error",
  60: "fatal",
};

export class LogLines {
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Takes one line as pino writes it. */
  write(line: string): void {
    this.#terminal.say(readableLine(line, this.#terminal));
  }
}

/** `22:27:00.123 info  shard is open  shard=1 logEnd=64` */
export function readableLine(line: string, { sayColours }: Pick<Terminal, "sayColours">): string {
  let fields: Readonly<Record<string, unknown>>;
  try {
    fields = JSON.parse(line) as Readonly<Record<string, unknown>>;
  } catch {
    return line.trimEnd();
  }
  const { level, time, msg, pid: _pid, hostname: _hostname, ...facts } = fields;
  const name = names[Number(level)] ?? String(level);
  const colour = Number(level) >= 50 ? sayColours.red : Number(level) >= 40 ? sayColours.yellow : sayColours.cyan;
  const shown = Object.entries(facts).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : toJson(value)}`,
  );
  const clock = new Date(Number(time)).toISOString().slice(11, 23);
  return [sayColours.dim(clock), colour(name.padEnd(5)), String(msg ?? ""), sayColours.dim(shown.join(" "))]
    .join(" ")
    .trimEnd();
}
