// OpenSegment: puts payloads back into a segment of a backup, byte for byte, as far as their keys are there.
import fs from "node:fs";
import path from "node:path";
import {
  crc32,
  decodeSegmentHeader,
  entryLengthAt,
  type SegmentHeader,
  segmentHeaderBytes,
  segmentHeaderProblem,
} from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { readU32, writeU32 } from "@heddle/protocol/internal";
import { segmentFileOf } from "./backup-folder.ts";
import type { FoundKey } from "./key-store.ts";
import type { ManifestSegment } from "./manifest.ts";
import { refused } from "./refuse.ts";
import { entryFieldsAt, pieceHeadBytes } from "./seal-segment.ts";
import { resealRecord, walkSegment } from "./segment-bytes.ts";
import { SegmentFile } from "./segment-file.ts";

/** Runs what reads one file of a backup; whatever is wrong with it is a refusal that names the file. */
function inFile<T>(folder: string, file: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof HeddleError) throw cause;
    throw refused(folder, `${path.relative(folder, file)}: ${(cause as Error).message}`, cause);
  }
}

/** Reads a file of a backup and checks it against its manifest. Errors: `BACKUP_REFUSED`. */
export function readSegmentFile(folder: string, shard: number, segment: ManifestSegment): SegmentFile {
  const file = segmentFileOf(folder, shard, segment);
  return inFile(folder, file, () => new SegmentFile(fs.readFileSync(file), { ...segment, shard }));
}

export interface OpenedSegment {
  readonly header: SegmentHeader;
  readonly bytes: Uint8Array;
}

/**
 * The segment with the payloads of those blobs whose key is given; the others' entries stay erased.
 * Errors: `BACKUP_REFUSED` when a blob cannot be read with its key, or does not fit the segment.
 */
export function openSegment(
  folder: string,
  shard: number,
  segment: ManifestSegment,
  source: SegmentFile,
  keys: readonly FoundKey[],
): OpenedSegment {
  return inFile(folder, segmentFileOf(folder, shard, segment), () => {
    const bytes = source.skeleton();
    const header = segmentHeaderProblem(bytes) ?? decodeSegmentHeader(bytes);
    if (typeof header === "string") throw new Error(`its segment: ${header}`);
    const { base, salt, createdMs } = header;
    if (header.shard !== shard || base !== segment.base || salt !== segment.salt || createdMs !== segment.createdMs) {
      throw new Error("it holds another segment than the manifest says");
    }
    for (let i = 0; i < source.entities; i++) {
      const key = keys[i]!;
      if (typeof key !== "string") putBack(bytes, source.pieces(i, key));
    }
    walkSegment(
      bytes,
      base,
      () => {},
      (at, length) => resealRecord(bytes, at, length, header),
    );
    return { header, bytes };
  });
}

function putBack(bytes: Uint8Array, pieces: Uint8Array): void {
  for (let p = 0; p < pieces.length; ) {
    const at = readU32(pieces, p);
    const length = readU32(pieces, p + 4);
    p += pieceHeadBytes;
    const end = at + entryFieldsAt + length;
    if (at < segmentHeaderBytes || end > bytes.length || entryLengthAt(bytes, at) !== end - at) {
      throw new Error(`an entry of ${length} bytes has no place at offset ${at}`);
    }
    bytes.set(pieces.subarray(p, p + length), at + entryFieldsAt);
    writeU32(bytes, at, crc32(bytes, at + 4, end));
    p += length;
  }
}
