// The logger of a node, for programs that run one and have no pino of their own.
import { type DestinationStream, type Logger, pino } from "pino";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "silent";

/** Writes JSON lines; `destination.write` gets one line at a time. */
export function nodeLogger(level: LogLevel, destination: DestinationStream): Logger {
  return pino({ level }, destination);
}
