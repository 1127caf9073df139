// ReadEntry: one entry, read without its record.
import { HeddleError } from "@heddle/kernel";
import {
  type EntryView,
  entryChecksumHolds,
  entryHeaderBytes,
  entryLengthAt,
  newEntryView,
  readEntry,
} from "./layout.ts";
import type { SecondLook } from "./second-look.ts";
import type { Segments } from "./segments.ts";

/** Bytes read at first: an entry with one event fits. */
const firstReadBytes = 512;

/**
 * Reads the entry at a position into a view with bytes of its own; beside a node that may be erasing, with a second look.
 * Errors: `LOG_DAMAGED` when its checksum does not hold or the log does not reach there.
 */
export function readEntryAt(segments: Segments, position: number, secondLook?: SecondLook): EntryView {
  const segment = segments.at(position);
  if (segment === undefined) {
    throw new HeddleError("LOG_DAMAGED", {
      file: segments.last?.file ?? "",
      offset: segments.last?.length ?? 0,
      problem: `there is no position ${position}; the log ends at ${segments.end}`,
    });
  }
  const offset = position - segment.base;
  const damaged = (problem: string) => new HeddleError("LOG_DAMAGED", { file: segment.file, offset, problem });
  const available = segment.length - offset;
  let bytes = new Uint8Array(Math.min(firstReadBytes, available));
  let read = segments.read(segment, bytes, offset);
  if (read < entryHeaderBytes) throw damaged("it ends inside an entry's header");
  const length = entryLengthAt(bytes, 0);
  if (length < entryHeaderBytes || length > available) throw damaged(`an entry claims ${length} bytes`);
  if (length > bytes.length) {
    bytes = new Uint8Array(length);
    read = segments.read(segment, bytes, offset);
  }
  if (read < length) throw damaged(`an entry of ${length} bytes begins, ${read} are there`);
  const view = newEntryView();
  readEntry(bytes, 0, position, view);
  if (entryChecksumHolds(view)) return view;
  const own = bytes.subarray(0, length);
  const readAgain = () => void segments.read(segment, own, offset);
  const holds = () => {
    readEntry(bytes, 0, position, view);
    return view.bodyTo === length && entryChecksumHolds(view);
  };
  if (secondLook?.settles(segment, position, own, readAgain, holds)) return view;
  throw damaged("an entry's checksum does not match");
}
