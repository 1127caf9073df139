// What options and arguments may hold. Each reader gives a value that the rest trusts, or says what was wanted.
import { text as readAll } from "node:stream/consumers";
import { InvalidArgumentError } from "commander";
import { UsageError } from "./report-error.ts";

/** Reads a whole number within bounds. */
export function wholeNumber(least: number, most: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least && value <= most) return value;
    const wanted = most === Number.MAX_SAFE_INTEGER ? `from ${least} up` : `from ${least} to ${most}`;
    throw new InvalidArgumentError(`Wanted a whole number ${wanted}.`);
  };
}

/**
 * Reads a time as ms since 1970: ISO 8601, in UTC unless it says otherwise, as every table here prints it; or the
 * milliseconds themselves, as JSON has them.
 */
export function timeText(text: string): number {
  const ms = /^\d{11,15}$/.test(text) ? Number(text) : parseIso(text);
  if (ms !== undefined && Number.isSafeInteger(ms) && ms >= 0) return ms;
  throw new InvalidArgumentError("Wanted a time such as 2026-11-20T12:00:00Z, or milliseconds since 1970.");
}

function parseIso(text: string): number | undefined {
  const [, day, clock = "00:00", zone = "Z"] = isoPattern.exec(text.trim()) ?? [];
  if (day === undefined) return undefined;
  // A day that its month does not have would become one of the next month.
  const midnight = new Date(`${day}T00:00Z`);
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(day)) return undefined;
  return new Date(`${day}T${clock}${zone}`).getTime();
}

const isoPattern = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s?(Z|[+-]\d\d:\d\d)?)?$/;

/** Reads JSON that stands on the command line; `-` reads it from standard input instead. */
export async function jsonArgument(text: string, what: string): Promise<unknown> {
  const json = text === "-" ? await readAll(process.stdin) : text;
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new UsageError(
      `the ${what} is not JSON: ${(error as Error).message}`,
      `Quote it for the shell: '{"amount":100}'. Or give - and pipe it in.`,
    );
  }
}

/** Addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

/** Without tokens and TLS nobody else may come in, so another address is refused rather than opened to all. */
export function loopbackHost(text: string): string {
  if (isLoopback(text)) return text;
  throw new UsageError(
    `${JSON.stringify(text)} is not a loopback address: this version has neither tokens nor TLS, so a node listens to its own machine only`,
    "Leave --host out, and let other machines in through something that checks who they are, such as an SSH tunnel.",
  );
}
