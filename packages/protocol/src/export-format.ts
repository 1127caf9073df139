// ExportFormat: the history of an entity as lines of JSON, which describe themselves and show when they were damaged.
//
//   {"heddle":"export","format":1,"context","entity","seq","exportedAt","crc"}
//   {"seq","time","aggregate","type","schemaVersion","payload","metadata","id","crc"}      one for each event, in order
//   {"end":true,"events":<n>,"schemas":{"Account.Credited":2,…},"crc"}
//
// Each line ends with "\n". `seq` of the first is the last sequence that is exported; `exportedAt` is an ISO 8601 time.
// `time` is in ms since 1970; `metadata` and `id` are null where there are none. Payloads and metadata are written as
// export-values.ts says. `schemas` are the schema versions of the payloads, which are in the shape that was the newest
// when they were exported. Exports may follow each other in one file: then it holds several entities.
//
// `crc` is the last field of every line: CRC-32 (zlib's) as eight hex digits, over UTF-8 bytes. In the first line and in
// those of events: of the line's text before `,"crc":`. In the end line: of everything from the first byte of the first
// line to the text before `,"crc":` in the end line itself, the line ends between included.
//
// X1. Events come in the order of their sequences, without a gap. The first is 1, or a system event `Erased`.
// X2. A line that was changed, dropped, added or moved, and a file that was cut, is found by the reader (P7).
// Not promised: that somebody who wants to deceive is found out; a checksum is no signature.
import { entityIdProblem, HeddleError } from "@heddle/kernel";
import { crc32 } from "@heddle/kernel/internal";
import { fromTagged, toTagged } from "./export-values.ts";
import { isTombstone } from "./system-events.ts";

export const exportFormat = 1;

/** One event, as a history gives it and an export holds it. */
export interface ExportedEvent {
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly aggregate: string;
  readonly type: string;
  readonly schemaVersion: number;
  readonly payload: unknown;
  readonly metadata?: unknown;
  readonly id?: string | undefined;
}

/** What the first line says. */
export interface ExportHeader {
  readonly context: string;
  readonly entity: string;
  /** The last sequence of the export; 0 for an entity that was never written. */
  readonly seq: number;
  /** ISO 8601. */
  readonly exportedAt: string;
}

/** Makes the lines of one export: `header` once, `event` for each in order, `end` once. Each result ends with "\n". */
export class ExportWriter {
  #crc = 0;
  #events = 0;
  readonly #schemas: Record<string, number> = {};

  header({ context, entity, seq, exportedAt }: ExportHeader): string {
    return this.#checked({ heddle: "export", format: exportFormat, context, entity, seq, exportedAt });
  }

  /** Errors: `INVALID_REQUEST` for a payload that cannot come from a history, such as one with a function. */
  event(event: ExportedEvent): string {
    const { seq, time, aggregate, type, schemaVersion, payload, metadata, id } = event;
    this.#events++;
    this.#schemas[`${aggregate}.${type}`] = schemaVersion;
    return this.#checked({
      seq,
      time,
      aggregate,
      type,
      schemaVersion,
      payload: toTagged(payload),
      metadata: toTagged(metadata ?? null),
      id: id ?? null,
    });
  }

  end(): string {
    const text = startOf({ end: true, events: this.#events, schemas: this.#schemas });
    return withCrc(text, crcOf(text, this.#crc));
  }

  #checked(fields: object): string {
    const text = startOf(fields);
    const line = withCrc(text, crcOf(text));
    this.#crc = crcOf(line, this.#crc);
    return line;
  }
}

/** What a line turned out to be. */
export type ExportItem =
  | { readonly kind: "header"; readonly header: ExportHeader }
  | { readonly kind: "event"; readonly event: ExportedEvent }
  | { readonly kind: "end"; readonly events: number };

/** Reads exports line by line, as they come. Give it every line to `read`, then call `finish`. */
export class ExportReader {
  #line = 0;
  #open: OpenExport | undefined;

  /** The number of the line that was read last, from 1. */
  get line(): number {
    return this.#line;
  }

  /** `text` may end with a line end or not. Empty lines between two exports are nothing. Errors: `EXPORT_DAMAGED`. */
  read(text: string): ExportItem | undefined {
    this.#line++;
    const line = text.replace(/\r?\n$/, "");
    if (this.#open === undefined && line === "") return undefined;
    try {
      return this.#read(line);
    } catch (cause) {
      if (cause instanceof HeddleError) throw cause;
      throw this.#damaged(cause instanceof Error ? cause.message : String(cause), cause);
    }
  }

  /** To be called after the last line. Errors: `EXPORT_DAMAGED` when the last export has no end. */
  finish(): void {
    if (this.#open === undefined) return;
    this.#line++;
    throw this.#damaged(`it ends in the middle of ${this.#open.header.entity}: there is no end line`);
  }

  #read(line: string): ExportItem {
    const found = crcPattern.exec(line);
    if (found === null) throw new TypeError("it does not end with a checksum: it is no line of an export, or was cut");
    const text = line.slice(0, found.index);
    const crc = Number.parseInt(found[1]!, 16);
    const open = this.#open;
    const fields = parse(`${text}}`);
    if (open !== undefined && fields["end"] === true) {
      if (crc !== crcOf(text, open.crc)) throw new TypeError("the checksum of the whole export is another");
      this.#open = undefined;
      return { kind: "end", events: readEnd(fields, open) };
    }
    if (crc !== crcOf(text)) throw new TypeError("the checksum is another: the line was changed");
    if (open === undefined) {
      const header = readHeader(fields);
      this.#open = { header, crc: crcOf(`${line}\n`), lastSeq: 0, lastTime: 0, events: 0 };
      return { kind: "header", header };
    }
    const event = readEvent(fields, open);
    open.crc = crcOf(`${line}\n`, open.crc);
    open.lastSeq = event.seq;
    open.lastTime = event.time;
    open.events++;
    return { kind: "event", event };
  }

  #damaged(problem: string, cause?: unknown): HeddleError<"EXPORT_DAMAGED"> {
    return new HeddleError("EXPORT_DAMAGED", { line: this.#line, problem }, { cause });
  }
}

/** An export of which the end line is still to come. */
interface OpenExport {
  readonly header: ExportHeader;
  crc: number;
  lastSeq: number;
  lastTime: number;
  events: number;
}

function readHeader(fields: Record<string, unknown>): ExportHeader {
  if (fields["heddle"] !== "export") throw new TypeError("an export begins with a line that has heddle: export");
  if (fields["format"] !== exportFormat) {
    throw new TypeError(`its format is ${String(fields["format"])}, this program reads ${exportFormat}`);
  }
  const entity = text(fields, "entity");
  const problem = entityIdProblem(entity);
  if (problem !== undefined) throw new TypeError(`entity: ${problem}`);
  return {
    context: text(fields, "context"),
    entity,
    seq: whole(fields, "seq"),
    exportedAt: text(fields, "exportedAt"),
  };
}

function readEvent(fields: Record<string, unknown>, open: OpenExport): ExportedEvent {
  if (fields["heddle"] !== undefined) throw new TypeError(`${open.header.entity} has no end line before this one`);
  if (!Object.hasOwn(fields, "payload")) throw new TypeError("it has no payload");
  const event = {
    seq: whole(fields, "seq"),
    time: whole(fields, "time"),
    aggregate: text(fields, "aggregate"),
    type: text(fields, "type"),
    schemaVersion: whole(fields, "schemaVersion"),
    payload: fromTagged(fields["payload"]),
    metadata: fromTagged(fields["metadata"]) ?? undefined,
    id: fields["id"] === null ? undefined : text(fields, "id"),
  };
  const begins = open.events === 0 && isTombstone(event);
  if (!begins && (event.seq !== open.lastSeq + 1 || isTombstone(event))) {
    throw new TypeError(`sequence ${event.seq} stands behind ${open.lastSeq}`);
  }
  if (event.time < open.lastTime) throw new TypeError(`its time lies before that of sequence ${open.lastSeq}`);
  if (event.seq > open.header.seq) throw new TypeError(`sequence ${event.seq} is beyond the last, ${open.header.seq}`);
  return event;
}

function readEnd(fields: Record<string, unknown>, { header, lastSeq, events }: OpenExport): number {
  if (lastSeq !== header.seq) throw new TypeError(`the last sequence is ${lastSeq}, the first line says ${header.seq}`);
  if (fields["events"] !== events) throw new TypeError(`${events} events stand before it, it says ${fields["events"]}`);
  return events;
}

function parse(json: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw new TypeError("it is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("it is no JSON object");
  return value as Record<string, unknown>;
}

function text(fields: Record<string, unknown>, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") throw new TypeError(`${name} is no text`);
  return value;
}

function whole(fields: Record<string, unknown>, name: string): number {
  const value = fields[name];
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError(`${name} is no whole number`);
  return value as number;
}

const crcPattern = /,"crc":"([0-9a-f]{8})"\}$/;

// Without the closing brace.
function startOf(fields: object): string {
  return JSON.stringify(fields).slice(0, -1);
}

function withCrc(text: string, crc: number): string {
  return `${text},"crc":"${crc.toString(16).padStart(8, "0")}"}\n`;
}

const encoder = new TextEncoder();

function crcOf(text: string, seed = 0): number {
  const bytes = encoder.encode(text);
  return crc32(bytes, 0, bytes.length, seed);
}
