// Keys: how each table sorts.
//
//   heads       entity
//   extents     entity  00  first sequence (8 bytes, big-endian)
//   snapshots   entity  00  aggregate
//   append ids  entity  00  id
//   id runs     entity, for its directory of runs; for a part of one: entity  00  run (6 bytes, big-endian)  part (2 bytes)
//   sessions    session (8 bytes, big-endian)
//   catalogue   aggregate  00  type  00  schema version (8 bytes, big-endian)
//   erasures    entity
//   alarms      kind  00  time (6 bytes, big-endian)  the rest of the entity, behind the kind and its slash
//   filter      layer (1 byte)  page (4 bytes, big-endian); the layer alone for its header
//
// Entity ids hold no control characters, so the zero byte separates safely and keeps an entity's keys together. Names in
// the catalogue hold none either; append ids may. Each
// table is a database of its own inside the environment, so keys need no prefix.
import { systemKinds } from "@heddle/kernel";
import { invariant, limits } from "@heddle/kernel/internal";

/** An entity's reminders are named by its whole id. */
const entityBytesMax = systemKinds.reminders.length + 1 + limits.entityIdBytesMax;

/** LMDB's limit is 1,978 bytes; the longest key is an entity, a zero byte and an append id, 724 bytes. */
const keyBytesMax = entityBytesMax + 1 + Math.max(limits.appendIdBytesMax, limits.nameBytesMax);

const separator = 0x00;
const sequenceBytes = 8;
const alarmBytes = 6;
const slash = 0x2f;
const idPartsMax = 2 ** 16;

const loopedCharsMax = 24;

/** Builds keys in a buffer of its own. A key is a view of it, valid until the next one is built. */
export class KeyBuilder {
  // Room for the worst case, an entity and a name of three bytes a character: no write is ever cut short, it is refused.
  readonly #buffer = Buffer.alloc(4 * keyBytesMax);
  // Handed out instead of the Buffer, whose `slice` does not copy.
  readonly #bytes = new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.length);
  // One view per length, made once: views are what the collector would otherwise have most work with.
  readonly #views: (Uint8Array | undefined)[] = [];
  // An entity is used for several keys in a row: its bytes still stand at the start.
  #lastEntity = "";
  #lastEntityEnd = 0;

  entity(entity: string): Uint8Array {
    return this.#view(this.#entity(entity));
  }

  extent(entity: string, firstSeq: number): Uint8Array {
    return this.#view(writeU64(this.#buffer, this.#separated(entity), firstSeq));
  }

  /** An entity's snapshot of an aggregate, or its append id. */
  named(entity: string, name: string): Uint8Array {
    return this.#view(this.#text(name, this.#separated(entity)));
  }

  /** The first key after the entity itself that could belong to it. */
  firstOf(entity: string): Uint8Array {
    return this.#view(this.#separated(entity));
  }

  /** The first key that can no longer belong to the entity. */
  endOf(entity: string): Uint8Array {
    const end = this.#separated(entity);
    this.#buffer[end - 1] = separator + 1;
    return this.#view(end);
  }

  /** A part of one of an entity's runs of ids. */
  idPart(entity: string, run: number, part: number): Uint8Array {
    return this.#view(writeU64(this.#buffer, this.#separated(entity), run * idPartsMax + part));
  }

  session(session: number): Uint8Array {
    this.#lastEntity = "";
    return this.#view(writeU64(this.#buffer, 0, session));
  }

  typeVersion(aggregate: string, type: string, schemaVersion: number): Uint8Array {
    this.#lastEntity = "";
    invariant(!aggregate.includes("\0") && !type.includes("\0"), "partition/type-name", { aggregate, type });
    let end = this.#text(aggregate, 0);
    this.#buffer[end++] = separator;
    end = this.#text(type, end);
    this.#buffer[end++] = separator;
    return this.#view(writeU64(this.#buffer, end, schemaVersion));
  }

  /** Without an entity: the first key that an alarm of that time could have. */
  alarm(kind: string, due: number, entity?: string): Uint8Array {
    this.#lastEntity = "";
    const end = this.#text(kind, 0);
    this.#buffer[end] = separator;
    const rest = writeU48(this.#buffer, end + 1, due);
    if (entity === undefined) return this.#view(rest);
    invariant(entity.startsWith(kind) && entity.charCodeAt(kind.length) === slash, "partition/alarm-kind", { entity });
    return this.#view(this.#text(entity.slice(kind.length + 1), rest));
  }

  filterPage(layer: number, page: number): Uint8Array {
    this.#lastEntity = "";
    this.#buffer[0] = layer;
    return this.#view(this.#buffer.writeUInt32BE(page, 1));
  }

  filterHeader(layer: number): Uint8Array {
    this.#lastEntity = "";
    this.#buffer[0] = layer;
    return this.#view(1);
  }

  #entity(entity: string): number {
    if (entity === this.#lastEntity) return this.#lastEntityEnd;
    const end = entity.length <= entityBytesMax ? this.#text(entity, 0) : entity.length;
    invariant(end > 0 && end <= entityBytesMax, "partition/entity-fits", { bytes: end });
    this.#lastEntity = entity;
    this.#lastEntityEnd = end;
    return end;
  }

  #separated(entity: string): number {
    const end = this.#entity(entity);
    this.#buffer[end] = separator;
    return end + 1;
  }

  // Short ASCII goes through a loop, which is faster than the call into Node up to about 24 characters.
  #text(text: string, from: number): number {
    if (text.length > keyBytesMax) invariant(false, "partition/key-fits", { length: text.length });
    if (text.length > loopedCharsMax) return from + this.#buffer.write(text, from, "utf8");
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) return from + this.#buffer.write(text, from, "utf8");
      this.#buffer[from + i] = unit;
    }
    return from + text.length;
  }

  #view(end: number): Uint8Array {
    const known = this.#views[end];
    if (known !== undefined) return known;
    invariant(end <= keyBytesMax, "partition/key-fits", { bytes: end, bytesMax: keyBytesMax });
    const view = this.#bytes.subarray(0, end);
    this.#views[end] = view;
    return view;
  }
}

/** The entity of a key of any table that is sorted by entity. */
export function entityOfKey(key: Uint8Array): string {
  const end = key.indexOf(separator);
  return textOf(key, 0, end < 0 ? key.length : end);
}

/** The part after the separator: the aggregate of a snapshot, or an append id. */
export function nameOfKey(key: Uint8Array): string {
  return textOf(key, key.indexOf(separator) + 1, key.length);
}

export function firstSeqOfKey(key: Uint8Array): number {
  return readU64(key, key.length - sequenceBytes);
}

export function sessionOfKey(key: Uint8Array): number {
  return readU64(key, 0);
}

/** Aggregate, type and schema version of a key of the catalogue. */
export function typeVersionOfKey(key: Uint8Array): { aggregate: string; type: string; schemaVersion: number } {
  const aggregateEnd = key.indexOf(separator);
  const versionAt = key.length - sequenceBytes;
  return {
    aggregate: textOf(key, 0, aggregateEnd),
    type: textOf(key, aggregateEnd + 1, versionAt - 1),
    schemaVersion: readU64(key, versionAt),
  };
}

/** Entity and time of a key of the alarms. */
export function alarmOfKey(key: Uint8Array): { entity: string; due: number } {
  const kindEnd = key.indexOf(separator);
  const restAt = kindEnd + 1 + alarmBytes;
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  const due = view.getUint16(kindEnd + 1) * 0x1_0000_0000 + view.getUint32(kindEnd + 3);
  return { entity: `${textOf(key, 0, kindEnd)}/${textOf(key, restAt, key.length)}`, due };
}

/** Layer and page of a key of the filter; no page for a layer's header. */
export function filterPlaceOfKey(key: Uint8Array): { readonly layer: number; readonly page: number | undefined } {
  if (key.length === 1) return { layer: key[0]!, page: undefined };
  return { layer: key[0]!, page: new DataView(key.buffer, key.byteOffset, key.length).getUint32(1) };
}

/** The smallest key above a key: where a scan goes on after it. */
export function successorOf(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

function textOf(key: Uint8Array, from: number, to: number): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("utf8", from, to);
}

function writeU64(buffer: Buffer, at: number, value: number): number {
  invariant(Number.isSafeInteger(value) && value >= 0, "partition/key-number", { value });
  buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at);
  return buffer.writeUInt32BE(value % 0x1_0000_0000, at + 4);
}

function writeU48(buffer: Buffer, at: number, value: number): number {
  invariant(Number.isSafeInteger(value) && value >= 0 && value < 2 ** 48, "partition/key-number", { value });
  return buffer.writeUIntBE(value, at, alarmBytes);
}

function readU64(key: Uint8Array, at: number): number {
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  return view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
}
