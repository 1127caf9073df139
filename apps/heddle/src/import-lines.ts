// ImportLines: from NDJSON to appends.
//
// I1. A line is one event: entity, type, payload; aggregate, id and metadata if they are given. Anything else on a line
//     is refused, but for the fields that an export adds.
// I2. Lines that follow each other and were one append when they were exported (same entity, position and id) are one
//     append again, all or nothing.
// I3. An append without an id gets one made of the whole file's hash and its line: the same file again changes nothing,
//     whereas an edited file is another file.
import { createHash } from "node:crypto";
import fs from "node:fs";
import readline from "node:readline";
import { entityIdProblem, limits } from "@heddle/kernel";

export interface ImportEvent {
  readonly type: string;
  readonly payload: unknown;
}

export interface ImportAppend {
  /** Number of its first line, from 1. */
  readonly line: number;
  /** Offset in the file behind its last line. */
  readonly endByte: number;
  readonly entity: string;
  readonly aggregate: string | undefined;
  readonly id: string;
  readonly metadata: unknown;
  readonly events: readonly ImportEvent[];
}

export interface BadLine {
  readonly line: number;
  readonly endByte: number;
  readonly problem: string;
}

/** One line taken apart, or what is wrong with it; undefined for a blank one. */
export type ParsedLine =
  | { readonly ok: true; readonly value: LineValue }
  | { readonly ok: false; readonly problem: string }
  | undefined;

interface LineValue extends ImportEvent {
  readonly entity: string;
  readonly aggregate: string | undefined;
  readonly id: string | undefined;
  readonly metadata: unknown;
  /** Where an export found the append. */
  readonly position: number | undefined;
}

const takenFields = ["entity", "aggregate", "type", "payload", "id", "metadata"];
/** What an export adds: said by the node that takes the event, not by the file. */
const exportedFields = ["seq", "time", "schemaVersion", "position"];
const knownFields: ReadonlySet<string> = new Set([...takenFields, ...exportedFields]);

export function parseLine(text: string): ParsedLine {
  if (text.trim() === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { ok: false, problem: `it is not JSON: ${(error as Error).message}` };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { ok: false, problem: "wanted an object with entity, type and payload" };
  }
  const fields = value as Readonly<Record<string, unknown>>;
  const problem = problemOf(fields);
  if (problem !== undefined) return { ok: false, problem };
  const { entity, aggregate, type, payload, id, metadata, position } = fields;
  return { ok: true, value: { entity, aggregate, type, payload, id, metadata, position } as LineValue };
}

function problemOf(fields: Readonly<Record<string, unknown>>): string | undefined {
  const idProblem = entityIdProblem(fields["entity"]);
  if (idProblem !== undefined) return `entity: ${idProblem}`;
  if (typeof fields["type"] !== "string" || fields["type"] === "") return "type: wanted the name of an event";
  if (!("payload" in fields)) return "payload: it is missing";
  for (const name of ["aggregate", "id"]) {
    if (fields[name] !== undefined && (typeof fields[name] !== "string" || fields[name] === "")) {
      return `${name}: wanted text that is not empty`;
    }
  }
  const unknown = Object.keys(fields).find((name) => !knownFields.has(name));
  return unknown === undefined ? undefined : `${unknown}: there is no such field; known are ${takenFields.join(", ")}`;
}

/** The hash that ids are made of. Reads the file once, from its start to its end. */
export async function hashFile(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of fs.createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest("base64url").slice(0, 22);
}

/** Reads appends and bad lines in the order of the file. Memory: one append, which may hold many lines. */
export async function* readImport(
  file: string,
  fileHash: string,
): AsyncGenerator<ImportAppend | BadLine, void, undefined> {
  const input = fs.createReadStream(file);
  let open: OpenAppend | undefined;
  let line = 0;
  let endByte = 0;
  try {
    for await (const text of readline.createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      line++;
      endByte += Buffer.byteLength(text) + 1;
      const parsed = parseLine(line === 1 ? text.replace(/^\uFEFF/, "") : text);
      if (parsed === undefined) continue;
      if (parsed.ok && open?.takes(parsed.value) === true) {
        open.add(parsed.value, endByte);
        continue;
      }
      if (open !== undefined) yield open.append();
      open = undefined;
      if (parsed.ok) open = new OpenAppend(parsed.value, line, endByte, fileHash);
      else yield { line, endByte, problem: parsed.problem };
    }
    if (open !== undefined) yield open.append();
  } finally {
    input.destroy();
  }
}

/** An append that the next line may still belong to. */
class OpenAppend {
  readonly #first: LineValue;
  readonly #line: number;
  readonly #fileHash: string;
  readonly #events: ImportEvent[] = [];
  #endByte: number;

  constructor(first: LineValue, line: number, endByte: number, fileHash: string) {
    this.#first = first;
    this.#line = line;
    this.#endByte = endByte;
    this.#fileHash = fileHash;
    this.#events.push({ type: first.type, payload: first.payload });
  }

  takes({ entity, aggregate, id, position }: LineValue): boolean {
    const first = this.#first;
    return (
      position !== undefined &&
      position === first.position &&
      entity === first.entity &&
      aggregate === first.aggregate &&
      id === first.id &&
      this.#events.length < limits.appendEventsMax
    );
  }

  add({ type, payload }: LineValue, endByte: number): void {
    this.#events.push({ type, payload });
    this.#endByte = endByte;
  }

  append(): ImportAppend {
    const { entity, aggregate, id, metadata } = this.#first;
    return {
      line: this.#line,
      endByte: this.#endByte,
      entity,
      aggregate,
      id: id ?? `import-${this.#fileHash}-${this.#line}`,
      metadata,
      events: this.#events,
    };
  }
}
