// EntityExport: one entity's history as the lines of an export, made while they are consumed.
import { type Clock, HeddleError } from "@heddle/kernel";
import { ExportWriter, isTombstone } from "@heddle/protocol/internal";
import { type HistorySource, historyPages } from "./history-pages.ts";
import type { CallOptions } from "./session.ts";

/** What `export` can be asked. Time-out and signal hold for each page. */
export interface ExportOptions extends CallOptions {
  /** Events fetched at once, 1 to 10,000. Default 1,000. */
  readonly pageEvents?: number | undefined;
}

export const defaultPageEvents = 1_000;

/** Errors: `ERASED` when the entity is erased meanwhile: what came so far has no end line then. */
export async function* exportLines(
  source: HistorySource,
  context: string,
  clock: Clock,
  options: ExportOptions,
): AsyncGenerator<string, void, undefined> {
  const { pageEvents = defaultPageEvents, ...call } = options;
  const writer = new ExportWriter();
  const seq = await endSeq(source, { ...call, direction: "backward" });
  yield writer.header({ context, entity: source.id, seq, exportedAt: new Date(clock.now()).toISOString() });
  let last = 0;
  if (seq > 0) {
    for await (const page of historyPages(source, { ...call, to: seq }, pageEvents)) {
      for (const event of page) yield writer.event(event);
      last = page[page.length - 1]!.seq;
    }
  }
  if (last !== seq) throw await whyItEnds(source, call, last);
  yield writer.end();
}

async function endSeq(source: HistorySource, range: Parameters<typeof historyPages>[1]): Promise<number> {
  for await (const [event] of historyPages(source, range, 1, 1)) return event!.seq;
  return 0;
}

// What an export was to read is there until it is erased.
async function whyItEnds(source: HistorySource, call: CallOptions, last: number): Promise<HeddleError> {
  for await (const [first] of historyPages(source, call, 1, 1)) {
    if (!isTombstone(first)) break;
    return new HeddleError("ERASED", { entity: source.id, seq: first!.seq, time: first!.time });
  }
  return new HeddleError("BAD_FRAME", { problem: `the history of ${source.id} ends at ${last}, before its end` });
}
