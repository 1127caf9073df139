// SealSegment: takes the payloads out of a segment, each entity's into a blob of its own, and writes both.
//
// An entity's life is the time between two of its tombstones; each has a key of its own, because erasing an entity must
// not take the next life with it. A life whose key is erased already is left out: its payloads are about to be
// overwritten, and a new key would keep them.
import {
  type EntryView,
  entityOfEntry,
  entryFlags,
  entryLengthAt,
  eraseEntry,
  type SegmentHeader,
} from "@heddle/event-log/internal";
import { writeU32 } from "@heddle/protocol/internal";
import { keyNames, nameAt } from "./key-names.ts";
import type { KeyStore } from "./key-store.ts";
import { firstLife, type Life, lifeAfter } from "./life.ts";
import type { ManifestTombstone } from "./manifest.ts";
import { resealRecord, walkSegment } from "./segment-bytes.ts";
import type { SegmentFileWriter } from "./segment-file.ts";

/** Where an entry's own fields begin: before them stand its checksum and length, which erasing renews or keeps. */
export const entryFieldsAt = 8;
export const pieceHeadBytes = 8;

/** The entries of an entity, in one of its lives, that a segment holds. */
interface Group {
  readonly entity: string;
  readonly life: Life;
  /** Offsets in the segment. */
  readonly at: number[];
  /** Of the pieces together. */
  bytes: number;
}

export interface SealedSegment {
  /** The latest time of an entry; 0 without one. */
  readonly lastTime: number;
  readonly tombstones: readonly ManifestTombstone[];
  readonly bytes: number;
  readonly sha256: string;
  readonly entities: number;
  /** Entities, life by life, whose payloads were left out because their key is erased. */
  readonly leftOut: number;
}

/**
 * Writes a segment. Its bytes are erased on the way. `lives` has every entity that was ever erased, as of the segment's
 * start, and is brought to its end. Errors: `KEYS_UNAVAILABLE`; what the file system throws.
 */
export function sealSegment(
  bytes: Uint8Array,
  header: SegmentHeader,
  lives: Map<string, Life>,
  keys: KeyStore,
  into: SegmentFileWriter,
): SealedSegment {
  const found = findGroups(bytes, header.base, lives);
  const keyOfGroup = keys.keysFor(found.groups);
  const names = keyNames(found.groups);
  const room = Buffer.allocUnsafe(found.groups.reduce((most, { bytes: wanted }) => Math.max(most, wanted), 0));
  let leftOut = 0;
  for (let i = 0; i < found.groups.length; i++) {
    const key = keyOfGroup[i]!;
    if (key === "erased") leftOut++;
    else into.addBlob(nameAt(names, i), key, piecesOf(bytes, found.groups[i]!, room));
  }
  walkSegment(
    bytes,
    header.base,
    (_, at) => void eraseEntry(bytes, at),
    (at, length) => resealRecord(bytes, at, length, header),
  );
  const { lastTime, tombstones } = found;
  return { lastTime, tombstones, leftOut, entities: into.entities, ...into.finish(bytes) };
}

function findGroups(bytes: Uint8Array, base: number, lives: Map<string, Life>) {
  const groups: Group[] = [];
  // The group that an entity's entries go into now; a tombstone ends it.
  const current = new Map<string, Group>();
  const tombstones: ManifestTombstone[] = [];
  let lastTime = 0;
  walkSegment(bytes, base, (entry: EntryView, at) => {
    if (entry.time > lastTime) lastTime = entry.time;
    // What is erased has nothing left to seal, and what a shard notes about transactions is nobody's.
    if ((entry.flags & (entryFlags.erased | entryFlags.journal)) !== 0) return;
    const entity = entityOfEntry(entry);
    if ((entry.flags & entryFlags.tombstone) !== 0) {
      const life = lifeAfter(entry);
      lives.set(entity, life);
      current.delete(entity);
      tombstones.push({ entity, ...life, position: base + at });
      return;
    }
    let group = current.get(entity);
    if (group === undefined) {
      group = { entity, life: lives.get(entity) ?? firstLife, at: [], bytes: 0 };
      current.set(entity, group);
      groups.push(group);
    }
    group.at.push(at);
    group.bytes += pieceHeadBytes + entry.bodyTo - at - entryFieldsAt;
  });
  return { groups, tombstones, lastTime };
}

/** Written into `room`, which every group fits. */
function piecesOf(bytes: Uint8Array, group: Group, room: Uint8Array): Uint8Array {
  const pieces = room.subarray(0, group.bytes);
  let p = 0;
  for (const at of group.at) {
    const length = entryLengthAt(bytes, at) - entryFieldsAt;
    writeU32(pieces, p, at);
    writeU32(pieces, p + 4, length);
    p += pieceHeadBytes;
    pieces.set(bytes.subarray(at + entryFieldsAt, at + entryFieldsAt + length), p);
    p += length;
  }
  return pieces;
}
