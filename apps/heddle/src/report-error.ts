// What a command says when it fails: the message, what to do about it, the code. And the exit code that follows.
import { RejectedError } from "@heddle/client";
import { type ErrorCode, HeddleError, isHeddleError } from "@heddle/kernel";
import { CommanderError } from "commander";
import { type ExitCode, exitCodes } from "./exit-codes.ts";
import { toJson } from "./json.ts";
import type { Terminal } from "./terminal.ts";

/** The command line makes no sense. The message says what was found and what was wanted. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly advice: string;

  constructor(
    message: string,
    advice = "heddle help lists the commands, heddle help <command> shows one with examples.",
  ) {
    super(message);
    this.advice = advice;
  }
}

/** What a node said to one line of the input. */
export class LineError extends Error {
  override readonly name = "LineError";
  /** From 1. */
  readonly line: number;
  readonly error: HeddleError;

  constructor(line: number, error: HeddleError) {
    super(`line ${line}: ${error.message}`, { cause: error });
    this.line = line;
    this.error = error;
  }
}

/** Runs what reads addresses from the command line: one that is none is wrong usage, and nothing was done yet. */
export async function withAddresses<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const option = isHeddleError(error, "INVALID_REQUEST") ? addressOptions[error.facts.path ?? ""] : undefined;
    if (option === undefined) throw error;
    throw new UsageError(`${option}: ${(error as HeddleError<"INVALID_REQUEST">).facts.problem}`);
  }
}

/** What the node calls the options that hold addresses. */
const addressOptions: Readonly<Record<string, string>> = { sinks: "--sink", "nats.url": "--nats" };

/** Says what went wrong and gives the exit code. In JSON the error is the result, so it goes to standard output. */
export function reportError(error: unknown, terminal: Terminal, asJson: boolean): ExitCode {
  // Commander has said it already; help and version end the same way.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  const { code, message, advice, exitCode } = describe(error);
  if (asJson) {
    const { retryable, facts } = factsOf(error);
    terminal.out(toJson({ ok: false, error: { code, message, advice, retryable, facts } }));
    return exitCode;
  }
  const { red, bold, dim } = terminal.sayColours;
  terminal.say(`${red(bold("heddle:"))} ${message}`);
  if (advice !== "") terminal.say(`  ${advice}`);
  if (code !== "") terminal.say(`  ${dim(code)}`);
  return exitCode;
}

function factsOf(error: unknown): { readonly retryable: boolean; readonly facts: object } {
  if (error instanceof LineError) {
    return { retryable: error.error.retryable, facts: { ...error.error.facts, line: error.line } };
  }
  return error instanceof HeddleError ? error : { retryable: false, facts: {} };
}

interface Description {
  readonly code: string;
  readonly message: string;
  readonly advice: string;
  readonly exitCode: ExitCode;
}

/** Codes that say no to what was sent, where the rest say that nothing could be done about it. */
const inputCodes: ReadonlySet<string> = new Set<ErrorCode>([
  "INVALID_ENTITY_ID",
  "INVALID_REQUEST",
  "INVALID_PAYLOAD",
  "UNKNOWN_AGGREGATE",
  "UNKNOWN_KIND",
  "UNKNOWN_EVENT_TYPE",
  "UNKNOWN_COMMAND",
  "OUT_OF_RANGE",
  "ID_REUSED",
  "ID_EXPIRED",
  "FRAME_TOO_LARGE",
  "DOMAIN_FAILED",
  "ERASED",
  "ENTITY_EXISTS",
  "EXPORT_DAMAGED",
  "UNKNOWN_SAGA",
  "NO_SUCH_SAGA",
  "SAGA_NOT_STUCK",
  "NO_SUCH_REMINDER",
  "QUERY_REFUSED",
  "QUERY_LIMIT",
  "UNKNOWN_PROJECTION",
  "NOT_SET_ASIDE",
]);

/** Whether a node refused what it was sent, and would refuse it again. */
export function isRefusal(error: unknown): error is HeddleError {
  return error instanceof HeddleError && inputCodes.has(error.code);
}

function describe(error: unknown): Description {
  if (error instanceof UsageError) {
    return { code: "", message: error.message, advice: error.advice, exitCode: exitCodes.usage };
  }
  if (error instanceof LineError) {
    const said = describe(error.error);
    return { ...said, message: `line ${error.line}, ${said.message}` };
  }
  if (error instanceof HeddleError) {
    const { code, advice } = error;
    const exitCode = isRefusal(error) ? exitCodes.no : exitCodes.failed;
    return { code, message: withoutAdvice(error), advice, exitCode };
  }
  if (error instanceof RejectedError)
    return { code: error.code, message: error.message, advice: "", exitCode: exitCodes.no };
  if (isSystemError(error))
    return { code: error.code ?? "", message: error.message, advice: "", exitCode: exitCodes.failed };
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: "", message, advice: "", exitCode: exitCodes.failed };
}

/** What the file system says needs no stack: a folder that is not there, a file that may not be written, a full disk. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === "string";
}

/** The message of an error carries its advice at the end; here the two stand apart. */
export function withoutAdvice({ message, advice }: HeddleError): string {
  return message.endsWith(`. ${advice}`) ? message.slice(0, -advice.length - 2) : message;
}
