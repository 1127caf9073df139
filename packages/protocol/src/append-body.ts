// The body of an append: on the wire behind the request header, and, byte for byte the same, in the event log.
//
//   u16 length, entity | u8 length, aggregate ("" = tell it from the event type) | u8 flags
//   [u48 expected sequence] [u8 length, id]
//   u8 types, each: u8 length, name, u16 schema version (0 on the wire: the node's newest)
//   u32 events | [u8 type index for each event, where there are two types or more]
//   [u32 length, metadata as msgpack]
//   msgpack array of the payloads, to the end
//
// Equal layouts let the shard copy a checked append into the log without encoding it again.
import { HeddleError, limits } from "@heddle/kernel";
import { badFrame } from "./bad-frame.ts";
import {
  copyBytes,
  readText,
  readU16,
  readU32,
  readU48,
  TextCache,
  u48Max,
  writeText,
  writeU16,
  writeU32,
  writeU48,
} from "./bytes.ts";
import { checkMsgpack } from "./check-msgpack.ts";
import { encodeValue } from "./payload-codec.ts";

export const appendFlags = {
  expectedSeq: 1,
  id: 2,
  metadata: 4,
  /** The entity may have been erased: then this append begins a new history. */
  newLife: 8,
} as const;

/** One value as msgpack, `bytes[from, to)`. */
export interface PackedValue {
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly to: number;
}

export interface AppendFields {
  readonly entity: string;
  readonly aggregate: string;
  readonly events: readonly { readonly type: string; readonly payload: unknown; readonly schemaVersion?: number }[];
  readonly expectedSeq?: number | undefined;
  readonly id?: string | undefined;
  readonly metadata?: unknown;
  /** Metadata that is packed already, instead of `metadata`. It must not lie where the body is written to. */
  readonly packedMetadata?: PackedValue | undefined;
  readonly newLife?: boolean | undefined;
}

/** An append body taken apart. Ranges are offsets into the bytes it was read from; one object is reused for many. */
export interface AppendView {
  entity: string;
  aggregate: string;
  /** -1 when the caller expects nothing. */
  expectedSeq: number;
  /** Empty when the caller gave none, or when `leavesId`. */
  id: string;
  /** Where the id stands; from 0 to 0 when the caller gave none. */
  idFrom: number;
  idTo: number;
  /** For who knows what the id must be, and compares bytes: no text is made of them, and nobody has looked whether they are UTF-8. */
  readonly leavesId: boolean;
  newLife: boolean;
  /** Names by type index; only the first `typeCount` count. */
  types: string[];
  /** Where each type's schema version stands, so that the shard can fill it in. */
  versionOffsets: number[];
  typeCount: number;
  eventCount: number;
  /** Where the type indexes start; 0 when every event has type 0. */
  typeIndexes: number;
  metadataFrom: number;
  metadataTo: number;
  payloadsFrom: number;
  end: number;
}

export function newAppendView(options?: { readonly leavesId: boolean }): AppendView {
  return {
    ...newBodyStart(options),
    newLife: false,
    types: [],
    versionOffsets: [],
    typeCount: 0,
    eventCount: 0,
    typeIndexes: 0,
    metadataFrom: 0,
    metadataTo: 0,
    payloadsFrom: 0,
    end: 0,
  };
}

/** Room that the fields before type indexes, metadata and payloads take at most. Longer names are refused anyway. */
function headBytesMax(fields: AppendFields): number {
  return 64 + 3 * (fields.entity.length + limits.nameBytesMax + limits.appendIdBytesMax);
}

const noTypes: string[] = [];

/**
 * Encodes an append body. `reserve(bytes)` must return a byte array and a start with at least that much room; the
 * number of bytes used is returned.
 *
 * Errors: `INVALID_REQUEST` for names too long, no events, too many events, an id that is empty or too long.
 */
export function writeAppendBody(
  fields: AppendFields,
  reserve: (bytes: number) => { bytes: Uint8Array; at: number },
): number {
  const { events } = fields;
  if (events.length === 0) throw new HeddleError("INVALID_REQUEST", { problem: "an append needs at least one event" });
  if (events.length > limits.appendEventsMax) {
    throw new HeddleError("INVALID_REQUEST", {
      problem: `${events.length} events in one append, at most ${limits.appendEventsMax} are allowed`,
    });
  }
  let types = noTypes;
  let indexes: Uint8Array | undefined;
  const payloads = new Array<unknown>(events.length);
  const firstType = events[0]!.type;
  for (let i = 0; i < events.length; i++) {
    const event = events[i]!;
    payloads[i] = event.payload;
    if (indexes === undefined) {
      if (event.type === firstType) continue;
      types = [firstType];
      indexes = new Uint8Array(events.length);
    }
    let index = types.indexOf(event.type);
    if (index < 0) {
      index = types.push(event.type) - 1;
      // The number of types takes one byte.
      if (index > 254) throw new HeddleError("INVALID_REQUEST", { problem: "more than 255 event types in one append" });
    }
    indexes[i] = index;
  }
  if (indexes === undefined) types = [firstType];
  const metadata = packedMetadataOf(fields);
  const metadataBytes = metadata === undefined ? 0 : metadata.to - metadata.from;
  const packed = encodeValue(payloads);
  const typeBytes = types.length * (3 + 3 * limits.nameBytesMax);
  const { bytes, at } = reserve(
    headBytesMax(fields) + typeBytes + (indexes?.length ?? 0) + metadataBytes + packed.length,
  );
  let p = writeBodyStart(bytes, at, fields);
  bytes[p++] = types.length;
  for (const type of types) {
    p = writeName(bytes, p, type, "event type");
    writeU16(bytes, p, schemaVersionOf(events, type));
    p += 2;
  }
  writeU32(bytes, p, events.length);
  p += 4;
  if (indexes !== undefined) {
    bytes.set(indexes, p);
    p += indexes.length;
  }
  if (metadata !== undefined) {
    writeU32(bytes, p, metadataBytes);
    p = copyBytes(metadata.bytes, metadata.from, metadata.to, bytes, p + 4);
  }
  bytes.set(packed, p);
  return p + packed.length - at;
}

function schemaVersionOf(events: AppendFields["events"], type: string): number {
  const first = events[0]!;
  if (first.type === type) return first.schemaVersion ?? 0;
  return events.find((event) => event.type === type)?.schemaVersion ?? 0;
}

// What is packed here is a copy: the payloads are packed after it, into the same arena.
function packedMetadataOf({ metadata, packedMetadata }: AppendFields): PackedValue | undefined {
  if (packedMetadata !== undefined || metadata === undefined) return packedMetadata;
  const bytes = new Uint8Array(encodeValue(metadata));
  return { bytes, from: 0, to: bytes.length };
}

/** Entity, aggregate, flags, expected sequence and id: the start that appends and commands share. */
export function writeBodyStart(
  bytes: Uint8Array,
  at: number,
  fields: Pick<AppendFields, "entity" | "aggregate" | "expectedSeq" | "id" | "metadata" | "packedMetadata" | "newLife">,
): number {
  const entityBytes = writeText(bytes, at + 2, fields.entity);
  writeU16(bytes, at, entityBytes);
  let p = writeName(bytes, at + 2 + entityBytes, fields.aggregate, "aggregate");
  bytes[p++] =
    (fields.expectedSeq === undefined ? 0 : appendFlags.expectedSeq) |
    (fields.id === undefined ? 0 : appendFlags.id) |
    (fields.metadata === undefined && fields.packedMetadata === undefined ? 0 : appendFlags.metadata) |
    (fields.newLife === true ? appendFlags.newLife : 0);
  if (fields.expectedSeq !== undefined) {
    if (!Number.isSafeInteger(fields.expectedSeq) || fields.expectedSeq < 0 || fields.expectedSeq > u48Max) {
      throw new HeddleError("INVALID_REQUEST", {
        path: "expectedSeq",
        problem: `wanted a whole number from 0 to 2^48 - 1, found ${fields.expectedSeq}`,
      });
    }
    writeU48(bytes, p, fields.expectedSeq);
    p += 6;
  }
  return fields.id === undefined ? p : writeId(bytes, p, fields.id);
}

/** u8 length, id. Errors: `INVALID_REQUEST` for one that is empty, too long, or no text. */
export function writeId(bytes: Uint8Array, at: number, id: string): number {
  const idBytes = textBytes(bytes, at + 1, id, limits.appendIdBytesMax);
  if (idBytes === 0 || idBytes > limits.appendIdBytesMax) {
    throw new HeddleError("INVALID_REQUEST", {
      path: "id",
      problem: `wanted 1 to ${limits.appendIdBytesMax} bytes of well-formed text, found ${shown(id)}`,
    });
  }
  bytes[at] = idBytes;
  return at + 1 + idBytes;
}

export function writeName(bytes: Uint8Array, at: number, name: string, what: string): number {
  const nameBytes = textBytes(bytes, at + 1, name, limits.nameBytesMax);
  if (nameBytes > limits.nameBytesMax) {
    throw new HeddleError("INVALID_REQUEST", {
      path: what,
      problem: `a name is well-formed text of at most ${limits.nameBytesMax} bytes, found ${shown(name)}`,
    });
  }
  bytes[at] = nameBytes;
  return at + 1 + nameBytes;
}

/**
 * Writes text and returns its bytes, or Infinity for what is no text, too long, or holds half of a surrogate pair: such
 * a half has no UTF-8 form, so two different ids would become the same bytes.
 */
function textBytes(bytes: Uint8Array, at: number, text: string, bytesMax: number): number {
  if (typeof text !== "string" || text.length > bytesMax || !text.isWellFormed()) return Infinity;
  return writeText(bytes, at, text);
}

function shown(text: unknown): string {
  if (typeof text !== "string") return text === null ? "null" : typeof text;
  return text.length <= 40 ? JSON.stringify(text) : `${JSON.stringify(text.slice(0, 40))}… (${text.length} characters)`;
}

/** Takes an append body apart. Errors: `BAD_FRAME`, whatever the bytes are; it never reads outside them. */
export function readAppendBody(bytes: Uint8Array, from: number, to: number, texts: TextCache, into: AppendView): void {
  const cursor = appendCursor.on(bytes, from, to, texts);
  const flags = cursor.start(into);
  into.newLife = (flags & appendFlags.newLife) !== 0;
  const typeCount = cursor.u8();
  if (typeCount === 0) throw badFrame("an append names no event type");
  into.typeCount = typeCount;
  for (let i = 0; i < typeCount; i++) {
    into.types[i] = cursor.name(into.types[i]);
    into.versionOffsets[i] = cursor.skip(2);
  }
  const eventCount = cursor.u32();
  if (eventCount === 0 || eventCount > limits.appendEventsMax) {
    throw badFrame(`${eventCount} events in one append, wanted 1 to ${limits.appendEventsMax}`);
  }
  into.eventCount = eventCount;
  into.typeIndexes = typeCount > 1 ? cursor.skip(eventCount) : 0;
  for (let i = 0; typeCount > 1 && i < eventCount; i++) {
    if (bytes[into.typeIndexes + i]! >= typeCount) throw badFrame("a type index points past the types");
  }
  cursor.metadata(flags, into);
  into.payloadsFrom = cursor.at;
  into.end = to;
  if (cursor.at >= to) throw badFrame("an append holds no payloads");
}

/** What the bodies of appends and commands begin with. */
export type BodyStart = Pick<
  AppendView,
  "entity" | "aggregate" | "expectedSeq" | "id" | "idFrom" | "idTo" | "leavesId"
>;

export function newBodyStart({ leavesId = false } = {}): BodyStart {
  return { entity: "", aggregate: "", expectedSeq: -1, id: "", idFrom: 0, idTo: 0, leavesId };
}

/** What every body reader shares: bounds are checked before each read, so that a cut frame is only ever refused. */
export class BodyCursor {
  #bytes: Uint8Array;
  #to: number;
  #texts: TextCache;
  at: number;

  constructor(bytes: Uint8Array, from: number, to: number, texts: TextCache) {
    this.#bytes = bytes;
    this.#to = to;
    this.#texts = texts;
    this.at = from;
  }

  /** Begins with another body. */
  on(bytes: Uint8Array, from: number, to: number, texts: TextCache): this {
    this.#bytes = bytes;
    this.#to = to;
    this.#texts = texts;
    this.at = from;
    return this;
  }

  start(into: BodyStart): number {
    into.entity = this.entity(into.entity);
    into.aggregate = this.name(into.aggregate);
    const flags = this.u8();
    into.expectedSeq = flags & appendFlags.expectedSeq ? readU48(this.#bytes, this.skip(6)) : -1;
    const hasId = (flags & appendFlags.id) !== 0;
    into.idFrom = hasId ? this.#skipId() : 0;
    into.idTo = hasId ? this.at : 0;
    into.id = hasId && !into.leavesId ? this.#rareText(into.idFrom) : "";
    return flags;
  }

  metadata(flags: number, into: { metadataFrom: number; metadataTo: number }): void {
    if (flags & appendFlags.metadata) {
      const length = this.u32();
      into.metadataFrom = this.skip(length);
      into.metadataTo = this.at;
      // No schema looks at metadata, and it is stored as it came: what cannot be decoded must not get so far.
      checkMsgpack(this.#bytes, into.metadataFrom, into.metadataTo);
    } else {
      into.metadataFrom = 0;
      into.metadataTo = 0;
    }
  }

  /** `likely`: as for a name. */
  entity(likely?: string): string {
    const length = readU16(this.#bytes, this.skip(2));
    return this.#text(length, likely);
  }

  /** One that is seldom seen again, as an id is. */
  rareEntity(): string {
    return this.#rareText(this.skip(readU16(this.#bytes, this.skip(2))));
  }

  id(): string {
    return this.#rareText(this.#skipId());
  }

  #skipId(): number {
    const idBytes = this.u8();
    const start = this.skip(idBytes);
    if (idBytes === 0 || idBytes > limits.appendIdBytesMax) {
      throw badFrame(`an id has 1 to ${limits.appendIdBytesMax} bytes, found ${idBytes}`);
    }
    return start;
  }

  /** `likely`: what the last body had in this place. */
  name(likely?: string): string {
    return this.#text(this.u8(), likely);
  }

  u8(): number {
    return this.#bytes[this.skip(1)]!;
  }

  u32(): number {
    return readU32(this.#bytes, this.skip(4));
  }

  u48(): number {
    return readU48(this.#bytes, this.skip(6));
  }

  /** Passes over bytes and returns where they started. */
  skip(length: number): number {
    const start = this.at;
    if (length > this.#to - start) throw badFrame("it ends in the middle of a field");
    this.at = start + length;
    return start;
  }

  // Not one of the texts that are kept: it would only take the place of a name, and live as long.
  #rareText(start: number): string {
    try {
      return readText(this.#bytes, start, this.at);
    } catch (cause) {
      throw badFrame("an id is not UTF-8", cause);
    }
  }

  #text(length: number, likely?: string): string {
    const start = this.skip(length);
    try {
      return this.#texts.read(this.#bytes, start, this.at, likely);
    } catch (cause) {
      throw badFrame("a name is not UTF-8", cause);
    }
  }
}

/** For all appends, one after the other: nothing that reads an append reads another meanwhile. */
const appendCursor = new BodyCursor(new Uint8Array(), 0, 0, new TextCache(1));
