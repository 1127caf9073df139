// CopyHistory: a fork. The events of one entity, up to a moment, become the beginning of another.
//
// Copies keep their times, metadata and sequences, but no ids: those belong to appends of the first entity. Where the first
// was erased once, its sequences do not begin at 1; those of the copy do.
// Y4. The source is not touched, and the outcome is the same however often it is called, at once or after a crash.
import { HeddleError } from "@heddle/kernel";
import { badFrame } from "./bad-frame.ts";
import { type CopyPort, EventCopy } from "./copy-events.ts";
import type { Moment } from "./moment.ts";
import { renumbered } from "./renumbered.ts";
import { isTombstone } from "./system-events.ts";

export interface ForkRequest {
  readonly source: string;
  /** Must never have been written to, or hold a beginning of the same copy. */
  readonly target: string;
  /** Left out: the end of the source when the call begins. */
  readonly at?: Moment | undefined;
  /** The time now, in ms since 1970: what lies beyond is not there yet. */
  readonly nowMs: number;
}

/** `seq`: the last sequence of the target. `events`: how many of them this call wrote. */
export interface ForkResult {
  readonly seq: number;
  readonly events: number;
}

const pageEvents = 1_000;

/**
 * Errors: `OUT_OF_RANGE` for a source that was never written and a moment that it has not reached; `ERASED` for a source
 * that is, or was at that moment, or a target that was; `ENTITY_EXISTS`; `INVALID_REQUEST`; `RejectedError` when a rule of
 * today says no; whatever the port rejects with.
 */
export async function copyHistory(port: CopyPort, request: ForkRequest): Promise<ForkResult> {
  const { source, target } = request;
  if (source === target) {
    throw new HeddleError("INVALID_REQUEST", { problem: `a fork of ${source} needs an id of its own` });
  }
  const { base, seq } = await resolve(port, request);
  const copy = new EventCopy(port, target, true);
  for (let from = base + 1; from <= seq; ) {
    const page = await port.history({
      entity: source,
      aggregate: "",
      from,
      to: seq,
      limit: pageEvents,
      direction: "forward",
    });
    const last = page[page.length - 1];
    if (last === undefined) throw await whyItEnds(port, source, from);
    for (const event of page) await copy.add({ ...renumbered(event, base), id: undefined });
    from = last.seq + 1;
  }
  await copy.finish();
  return { seq: seq - base, events: copy.written };
}

// `base`: the sequence of the tombstone that the source's history begins with, or 0.
async function resolve(port: CopyPort, { source, at, nowMs }: ForkRequest): Promise<{ base: number; seq: number }> {
  const all = { entity: source, aggregate: "", from: 0, limit: 1 };
  const [last] = await port.history({ ...all, direction: "backward" });
  if (last === undefined) throw outOfRange(source, "history to fork", "no events");
  const [first] = await port.history({ ...all, direction: "forward" });
  const base = isTombstone(first) ? first!.seq : 0;
  const erased = () => new HeddleError("ERASED", { entity: source, seq: base, time: first!.time });
  if (base === last.seq) throw erased();
  let seq = at?.seq ?? last.seq;
  if (at?.time !== undefined) {
    if (at.time > nowMs) {
      const asked = `state at ${new Date(at.time).toISOString()}, which is yet to come`;
      throw outOfRange(source, asked, `a history up to ${new Date(nowMs).toISOString()}`);
    }
    // A range up to 0 is one without an end.
    const until = Math.max(1, at.time);
    seq = (await port.history({ ...all, direction: "backward", until }))[0]?.seq ?? 0;
  }
  if (seq > last.seq) throw outOfRange(source, `event with sequence ${seq}`, `events up to ${last.seq}`);
  if (seq < base) throw erased();
  return { base, seq };
}

async function whyItEnds(port: CopyPort, source: string, from: number): Promise<HeddleError> {
  const [first] = await port.history({ entity: source, aggregate: "", from: 0, limit: 1, direction: "forward" });
  if (first === undefined || !isTombstone(first)) return badFrame(`the history of ${source} ends before ${from}`);
  return new HeddleError("ERASED", { entity: source, seq: first.seq, time: first.time });
}

function outOfRange(entity: string, asked: string, available: string): HeddleError {
  return new HeddleError("OUT_OF_RANGE", { entity, asked, available });
}
