// The bodies of the other requests. Layouts stand above each writer; append has a file of its own.
import { HeddleError, limits } from "@heddle/kernel";
import {
  type AppendFields,
  appendFlags,
  BodyCursor,
  type BodyStart,
  newBodyStart,
  writeBodyStart,
  writeName,
} from "./append-body.ts";
import { badFrame } from "./bad-frame.ts";
import { type TextCache, u48Max, writeText, writeU16, writeU32, writeU48 } from "./bytes.ts";
import { frameOffset, requestKind } from "./frames.ts";
import { decodeValue, encodeValue } from "./payload-codec.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

export interface ExecuteFields extends Omit<AppendFields, "events"> {
  readonly command: string;
  readonly input: unknown;
}

export interface ExecuteView extends BodyStart {
  newLife: boolean;
  command: string;
  metadataFrom: number;
  metadataTo: number;
  inputFrom: number;
  end: number;
}

/** Entity, aggregate, flags, [expected sequence], [id] as in an append | u8 length, command | [metadata] | input. */
export function writeExecuteBody(fields: ExecuteFields, reserve: Reserve): number {
  const metadata = fields.metadata === undefined ? undefined : encodeValue(fields.metadata).slice();
  const input = encodeValue(fields.input);
  const { bytes, at } = reserve(
    64 +
      3 * (fields.entity.length + 2 * limits.nameBytesMax + limits.appendIdBytesMax) +
      (metadata?.length ?? 0) +
      input.length,
  );
  let p = writeBodyStart(bytes, at, fields);
  p = writeName(bytes, p, fields.command, "command");
  if (metadata !== undefined) {
    writeU32(bytes, p, metadata.length);
    bytes.set(metadata, p + 4);
    p += 4 + metadata.length;
  }
  bytes.set(input, p);
  return p + input.length - at;
}

export function newExecuteView(options?: { readonly leavesId: boolean }): ExecuteView {
  return {
    ...newBodyStart(options),
    newLife: false,
    command: "",
    metadataFrom: 0,
    metadataTo: 0,
    inputFrom: 0,
    end: 0,
  };
}

export function readExecuteBody(
  bytes: Uint8Array,
  from: number,
  to: number,
  texts: TextCache,
  into: ExecuteView,
): void {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const flags = cursor.start(into);
  into.newLife = (flags & appendFlags.newLife) !== 0;
  into.command = cursor.name();
  cursor.metadata(flags, into);
  into.inputFrom = cursor.at;
  into.end = to;
  if (cursor.at >= to) throw badFrame("a command has no input");
}

export interface GetFields {
  readonly entity: string;
  /** Empty where the context has one aggregate only. */
  readonly aggregate: string;
}

/** u16 length, entity | u8 length, aggregate. */
export function writeGetBody(fields: GetFields, reserve: Reserve): number {
  const { bytes, at } = reserve(16 + 3 * (fields.entity.length + limits.nameBytesMax));
  const entityBytes = writeText(bytes, at + 2, fields.entity);
  writeU16(bytes, at, entityBytes);
  return writeName(bytes, at + 2 + entityBytes, fields.aggregate, "aggregate") - at;
}

export function readGetBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): GetFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = { entity: cursor.entity(), aggregate: cursor.name() };
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
  return fields;
}

export interface HistoryFields extends GetFields {
  /** Inclusive sequence; 0 means the start (forward) or the end (backward). */
  readonly from: number;
  readonly limit: number;
  readonly direction: "forward" | "backward";
  /** Inclusive sequence to end at; 0 means the end (forward) or the start (backward). */
  readonly to?: number | undefined;
  /** Only events from this millisecond on; 0 or left out: from the beginning. */
  readonly since?: number | undefined;
  /** Only events up to this millisecond, inclusive; 0 or left out: to the end. */
  readonly until?: number | undefined;
}

const historyTailBytes = 29;

/**
 * As get | u48 from | u32 limit | u8 direction (0 forward, 1 backward) | u48 to | u48 since | u48 until. An empty aggregate
 * means all of them.
 */
export function writeHistoryBody(fields: HistoryFields, reserve: Reserve): number {
  checkHistory(fields);
  let start = 0;
  let out: Uint8Array = new Uint8Array();
  const used = writeGetBody(fields, (wanted) => {
    const room = reserve(wanted + historyTailBytes);
    start = room.at;
    out = room.bytes;
    return room;
  });
  const tail = start + used;
  writeU48(out, tail, fields.from);
  writeU32(out, tail + 6, fields.limit);
  out[tail + 10] = fields.direction === "forward" ? 0 : 1;
  writeU48(out, tail + 11, fields.to ?? 0);
  writeU48(out, tail + 17, fields.since ?? 0);
  writeU48(out, tail + 23, fields.until ?? 0);
  return used + historyTailBytes;
}

export function readHistoryBody(bytes: Uint8Array, from: number, to: number, texts: TextCache): HistoryFields {
  const cursor = new BodyCursor(bytes, from, to, texts);
  const fields = {
    entity: cursor.entity(),
    aggregate: cursor.name(),
    from: cursor.u48(),
    limit: cursor.u32(),
    direction: cursor.u8() === 0 ? ("forward" as const) : ("backward" as const),
    to: cursor.u48(),
    since: cursor.u48(),
    until: cursor.u48(),
  };
  if (cursor.at !== to) throw badFrame("bytes follow the last field");
  checkHistory(fields);
  return fields;
}

function checkHistory(fields: HistoryFields): void {
  const { from, to = 0, since = 0, until = 0 } = fields;
  for (const [path, value] of Object.entries({ from, to, since, until })) {
    if (Number.isSafeInteger(value) && value >= 0 && value <= u48Max) continue;
    const problem = `wanted a whole number from 0 to 2^48 - 1, found ${value}`;
    throw new HeddleError("INVALID_REQUEST", { path, problem });
  }
  const [first, last] = fields.direction === "forward" ? [from, to] : [to, from];
  if (last !== 0 && first > last) {
    const problem = `the range goes from ${from} to ${to}, which is against its direction, ${fields.direction}`;
    throw new HeddleError("INVALID_REQUEST", { path: "to", problem });
  }
  if (until !== 0 && since > until) {
    throw new HeddleError("INVALID_REQUEST", { path: "until", problem: `it lies before since, ${since}` });
  }
  if (!Number.isSafeInteger(fields.limit) || fields.limit < 1 || fields.limit > limits.historyEventsMax) {
    throw new HeddleError("INVALID_REQUEST", {
      path: "limit",
      problem: `wanted a whole number from 1 to ${limits.historyEventsMax}, found ${fields.limit}`,
    });
  }
}

/** The first frame of a connection. */
export interface Hello {
  readonly version: number;
  /** Random, 1 to 2^48 - 1; one client keeps it over reconnects, because it scopes the idempotency window. */
  readonly session: number;
  readonly client: string;
  readonly context?: string | undefined;
}

/** A whole hello frame: u32 length | u8 kind | msgpack of {@link Hello}. It has no call number. */
export function encodeHello(hello: Hello): Uint8Array {
  const body = encodeValue(hello);
  const frame = new Uint8Array(helloBodyOffset + body.length);
  writeU32(frame, 0, frame.length - 4);
  frame[frameOffset.kind] = requestKind.hello;
  frame.set(body, helloBodyOffset);
  return frame;
}

export const helloBodyOffset = 5;

/** Takes the msgpack of a hello frame apart. Errors: `BAD_FRAME`, whatever the bytes are. */
export function readHello(body: Uint8Array): Hello {
  let value: unknown;
  try {
    value = decodeValue(body);
  } catch (cause) {
    throw badFrame("the hello is not msgpack", cause);
  }
  const hello = value as Partial<Hello> | null;
  if (typeof hello !== "object" || hello === null) throw badFrame("the hello is not a map");
  if (!Number.isSafeInteger(hello.version)) throw badFrame("the hello has no version");
  const session = hello.session as number;
  if (!Number.isSafeInteger(session) || session <= 0 || session > u48Max) {
    throw badFrame("the hello has no session from 1 to 2^48 - 1");
  }
  if (typeof hello.client !== "string") throw badFrame("the hello does not say who the client is");
  if (hello.context !== undefined && typeof hello.context !== "string") throw badFrame("the context is not a string");
  return hello as Hello;
}

/** The node's answer to a hello. */
export interface Welcome {
  readonly version: number;
  readonly node: string;
  readonly context: string;
  readonly shardCount: number;
  readonly durability: string;
}
