// Reading a whole log without holding the thread, or one view of the partition, for all of that time.
//
// A scan is one synchronous pass. Cut into pieces at the ends of records, it lets the thread's other work run in
// between: LMDB moves on to its newest state and gives pages free that a long read would keep alive.
import { besideFlags, type EntryView, type LogReader, type ScanResult } from "@heddle/event-log/internal";

/** Log read in one turn: some tens of milliseconds of a refold. */
const sliceBytesDefault = 8 << 20;

export interface SliceOptions {
  readonly sliceBytes?: number;
  /** Called for each entry of a history. */
  readonly onEntry: (entry: EntryView) => void;
  /** Called for those that belong to no history: what transactions under way have written, and what shards note of them. */
  readonly onBeside?: (entry: EntryView) => void;
  readonly onRecord?: (position: number, length: number) => void;
  /** Called after each slice, with the end of its last record. */
  readonly afterSlice?: (end: number) => void | Promise<void>;
}

/** Visits a log from its start. Errors: `LOG_DAMAGED`, after what stands before the damage was visited. */
export async function scanInSlices(log: LogReader, options: SliceOptions): Promise<ScanResult> {
  const bytesMax = options.sliceBytes ?? sliceBytesDefault;
  const visit = (entry: EntryView): void => {
    if ((entry.flags & besideFlags) === 0) options.onEntry(entry);
    else options.onBeside?.(entry);
  };
  let records = 0;
  let lastRecord: number | undefined;
  for (let from = 0; ; ) {
    const slice = { bytes: 0, end: from };
    const result = scanOrStop(log, from, visit, (position, length) => {
      options.onRecord?.(position, length);
      records++;
      lastRecord = position;
      slice.bytes += length;
      slice.end = position + length;
      if (slice.bytes >= bytesMax) throw endOfSlice;
    });
    await options.afterSlice?.(slice.end);
    if (result !== undefined) return { ...result, records, lastRecord };
    from = slice.end;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Thrown through a scan to leave it at the end of a record; the log's reader closes its file on the way. */
const endOfSlice = Symbol("end of slice");

function scanOrStop(
  log: LogReader,
  from: number,
  onEntry: (entry: EntryView) => void,
  onRecord: (position: number, length: number) => void,
): ScanResult | undefined {
  try {
    return log.scan(from, onEntry, onRecord);
  } catch (thrown) {
    if (thrown === endOfSlice) return undefined;
    throw thrown;
  }
}
