// Real time, entity by entity: what was over before something else began stands before it.
//
// The order of one entity's versions is known, so one sweep by the clock finds everything: at the start of each operation the
// newest version that was known for certain must not lie behind what it saw, or before what it wrote.
import { describeMoment, type FoundMoments, type Moment, type Versions } from "./find-moments.ts";
import type { ReportFault } from "./history-fault.ts";

interface Touch {
  readonly moment: Moment;
  /** The version that it rests on. */
  readonly from: number;
  /** The version that is known once it is over. */
  readonly to: number;
}

export function checkRealTime({ moments }: FoundMoments, report: ReportFault): void {
  const touches = new Map<Versions, Touch[]>();
  const add = (versions: Versions, touch: Touch) => {
    const others = touches.get(versions);
    if (others === undefined) touches.set(versions, [touch]);
    else others.push(touch);
  };
  for (const moment of moments) {
    for (const { versions, seq } of moment.seen) add(versions, { moment, from: seq, to: seq });
    for (const { versions, first, last } of moment.spans) add(versions, { moment, from: first - 1, to: last });
  }
  for (const [{ entity }, all] of touches) checkEntity(entity, all, report);
}

function checkEntity(entity: string, touches: readonly Touch[], report: ReportFault): void {
  const byStart = [...touches].sort((a, b) => a.moment.start - b.moment.start);
  const byEnd = touches.filter(({ moment }) => moment.end < Infinity).sort((a, b) => a.moment.end - b.moment.end);
  let newest: Touch | undefined;
  let over = 0;
  for (const touch of byStart) {
    for (; over < byEnd.length && byEnd[over]!.moment.end < touch.moment.start; over++) {
      if (newest === undefined || byEnd[over]!.to > newest.to) newest = byEnd[over]!;
    }
    if (newest === undefined || touch.from >= newest.to) continue;
    const [name, before] = [describeMoment(touch.moment), describeMoment(newest.moment)];
    const text = `${name} rests on ${entity} at ${touch.from}, but ${newest.to} was known since ${before} was over`;
    report("stale", text, newest.moment.operation, touch.moment.operation);
  }
}
