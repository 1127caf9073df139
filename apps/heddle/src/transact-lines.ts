// Transact lines: from lines of JSON to what a transaction's function does. One operation a line, as over HTTP.
//
// Reads come first, whatever their place: they give states as they were before the transaction's own writes.
import type { Receipt, Snapshot, Transaction, TransactionRejection } from "@heddle/client";
import { entityIdProblem, HeddleError } from "@heddle/kernel";
import { ofOperation, operationOf } from "@heddle/kernel/internal";
import { LineError, UsageError } from "./report-error.ts";

export interface TransactLine {
  /** From 1. */
  readonly line: number;
  readonly entity: string;
  readonly aggregate: string | undefined;
  readonly expectedSeq: number | undefined;
  readonly metadata: unknown;
  readonly newLife: boolean | undefined;
  readonly does:
    | { readonly kind: "append"; readonly events: readonly { readonly type: string; readonly payload: unknown }[] }
    | { readonly kind: "execute"; readonly command: string; readonly input: unknown }
    | { readonly kind: "read" };
}

/** What a line came to. */
export type LineResult = (Receipt | Snapshot<unknown>) & { readonly entity: string };

const fieldNames = "entity, aggregate, type, payload, events, command, input, read, expectedSeq, metadata, newLife";
const known: ReadonlySet<string> = new Set(fieldNames.split(", "));

/** Blank lines are passed over. Errors: `UsageError`, naming the line. */
export function parseTransactLines(text: string): TransactLine[] {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const found = lines.flatMap((line, i) => (line.trim() === "" ? [] : [parseLine(line, i + 1)]));
  if (found.length === 0) throw new UsageError("there are no operations: wanted one a line, as JSON", example);
  return found;
}

const example = `For example: {"entity":"account/alice","command":"Withdraw","input":{"amount":500}}`;

function parseLine(text: string, line: number): TransactLine {
  const refuse = (problem: string) => new UsageError(`line ${line}: ${problem}`, example);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw refuse(`it is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refuse("wanted an object");
  const fields = value as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(fields).find((name) => !known.has(name));
  if (unknown !== undefined) throw refuse(`${unknown}: there is no such field; known are ${fieldNames}`);
  const { entity, aggregate, expectedSeq, metadata, newLife } = fields;
  const problem = entityIdProblem(entity);
  if (problem !== undefined) throw refuse(`entity: ${problem}`);
  if (aggregate !== undefined && (typeof aggregate !== "string" || aggregate === "")) {
    throw refuse("aggregate: wanted text that is not empty");
  }
  if (expectedSeq !== undefined && (!Number.isSafeInteger(expectedSeq) || (expectedSeq as number) < 0)) {
    throw refuse("expectedSeq: wanted a whole number from 0 up");
  }
  if (newLife !== undefined && typeof newLife !== "boolean") throw refuse("newLife: wanted true or false");
  const does = whatItDoes(fields, refuse);
  if (does.kind === "read" && (metadata !== undefined || newLife !== undefined)) throw refuse("a read writes nothing");
  return { line, entity, aggregate, expectedSeq, metadata, newLife, does } as TransactLine;
}

function whatItDoes(
  fields: Readonly<Record<string, unknown>>,
  refuse: (problem: string) => UsageError,
): TransactLine["does"] {
  const { type, payload, events, command, input, read } = fields;
  const wanted = "type and payload, events, command and input, or read";
  const given = [type, events, command, read].filter((one) => one !== undefined).length;
  if (given !== 1) throw refuse(`wanted one of ${wanted}, found ${given === 0 ? "none" : "several"}`);
  if (payload !== undefined && type === undefined) throw refuse("payload: it goes with type");
  if (input !== undefined && command === undefined) throw refuse("input: it goes with command");
  if (read !== undefined) {
    if (read !== true) throw refuse("read: wanted true");
    return { kind: "read" };
  }
  if (command !== undefined) {
    if (typeof command !== "string" || command === "") throw refuse("command: wanted the name of a command");
    return { kind: "execute", command, input: input === undefined ? {} : input };
  }
  const list = events ?? [{ type, payload: payload === undefined ? {} : payload }];
  if (!Array.isArray(list) || list.length === 0) throw refuse("events: wanted a list of { type, payload }");
  for (const event of list) {
    if (typeof event?.type !== "string" || event.type === "") throw refuse("type: wanted the name of an event");
  }
  return {
    kind: "append",
    events: list.map(({ type, payload }: { type: string; payload?: unknown }) => ({
      type,
      payload: payload === undefined ? {} : payload,
    })),
  };
}

/** Does what the lines say. Gives the states that were read, by line number. */
export async function doLines(
  tx: Transaction,
  lines: readonly TransactLine[],
): Promise<Map<number, Snapshot<unknown>>> {
  const reads = lines.filter(({ does }) => does.kind === "read");
  const states = await Promise.all(
    reads.map(async (one) => {
      const { line, entity, aggregate } = one;
      const state = await tx.get(entity, aggregate).catch((error) => Promise.reject(ofLine(error, one)));
      return [line, state] as const;
    }),
  );
  for (const one of inOrderOfCalls(lines)) {
    const { entity, aggregate, expectedSeq, metadata, newLife, does } = one;
    const options = { aggregate, expectedSeq, metadata, newLife };
    if (does.kind === "read") tx.require(entity, expectedSeq!);
    else if (does.kind === "append") tx.append(entity, does.events, options);
    else tx.execute(entity, does.command, does.input, options);
  }
  return new Map(states);
}

/** The lines that are calls of `require`, `append` and `execute`: what was read is required before anything is written. */
function inOrderOfCalls(lines: readonly TransactLine[]): TransactLine[] {
  const required = lines.filter(({ does, expectedSeq }) => does.kind === "read" && expectedSeq !== undefined);
  return [...required, ...lines.filter(({ does }) => does.kind !== "read")];
}

/** The line that a rejection speaks of. */
export function lineOf({ facts }: TransactionRejection, lines: readonly TransactLine[]): TransactLine {
  return inOrderOfCalls(lines)[facts.operation]!;
}

/** An error that speaks of an operation, as the error of its line. */
export function atLine(error: unknown, lines: readonly TransactLine[]): unknown {
  const operation = error instanceof HeddleError ? operationOf(error) : undefined;
  const line = operation === undefined ? undefined : inOrderOfCalls(lines)[operation];
  return line === undefined ? error : ofLine(error, line);
}

// Its lines are what the reader counts.
function ofLine(error: unknown, { line, entity }: TransactLine): unknown {
  return error instanceof HeddleError ? new LineError(line, ofOperation(error, undefined, entity)) : error;
}

/** What each line came to, in their order. */
export function resultsOf(
  lines: readonly TransactLine[],
  states: ReadonlyMap<number, Snapshot<unknown>>,
  receipts: readonly Receipt[],
): LineResult[] {
  let next = 0;
  return lines.map(({ line, entity, does }) => {
    const result = does.kind === "read" ? states.get(line)! : receipts[next++]!;
    return { entity, ...result };
  });
}
