// An entity's history as an export, read a page at a time: all events up to the newest at the start, since those that come
// later would let an export run for ever. The format is the protocol's (export-format.ts).
import { systemClock } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import { type ExportedEvent, ExportWriter, isTombstone, type WireEvent } from "@heddle/protocol/internal";
import type { Gateway } from "./gateway.ts";

/** Gives lines, many at once. An entity that is erased meanwhile ends it with an error, before its end line. */
export async function* exportPages(
  gateway: Gateway,
  context: string,
  entity: string,
  pageEvents: number,
): AsyncGenerator<string, void> {
  const all = { entity, aggregate: "", direction: "forward" } as const;
  const [newest] = await gateway.history({ ...all, from: 0, limit: 1, direction: "backward" });
  const seq = newest?.[0] ?? 0;
  const writer = new ExportWriter();
  let text = writer.header({ context, entity, seq, exportedAt: new Date(systemClock.now()).toISOString() });
  let from = 1;
  while (from <= seq) {
    const page = (await gateway.history({ ...all, from, to: seq, limit: pageEvents })).map(exportedEvent);
    const first = page[0];
    // A history begins with 1, or with the tombstone of the life before.
    const follows = first?.seq === from || (from === 1 && isTombstone(first));
    invariant(follows, "P1/export-no-gap", { wanted: from, found: first?.seq });
    yield text + page.map((event) => writer.event(event)).join("");
    text = "";
    from = page.at(-1)!.seq + 1;
  }
  yield text + writer.end();
}

/** An event as an export holds it. */
export function exportedEvent([
  seq,
  time,
  aggregate,
  type,
  payload,
  metadata,
  id,
  schemaVersion,
]: WireEvent): ExportedEvent {
  return { seq, time, aggregate, type, payload, metadata, id: id ?? undefined, schemaVersion };
}
