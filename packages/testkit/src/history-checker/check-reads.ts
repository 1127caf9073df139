// Reads: what each reader saw is what the entity was after some event, and no reader saw a part of anything.
import { describeMoment, describeOperation, type FoundMoments, nameOfSpan, type Versions } from "./find-moments.ts";
import type { AtomicOperation, History, HistoryModel, HistoryRead } from "./history.ts";
import type { ReportFault } from "./history-fault.ts";

interface SeenState {
  readonly read: HistoryRead;
  readonly operation: AtomicOperation;
}

export function checkReads(
  history: History,
  found: FoundMoments,
  model: HistoryModel | undefined,
  report: ReportFault,
): void {
  const states = new Map<Versions, SeenState[]>();
  for (const operation of history.operations) {
    if (operation.kind === "saga" || operation.outcome === "unknown" || operation.outcome === "failed") continue;
    for (const read of operation.reads) {
      const versions = found.versionsOf(read.entity);
      if (read.seq > versions.events.length) {
        const text = `${describeOperation(operation)} saw ${read.entity} at ${read.seq}, it ends at ${versions.events.length}`;
        report("dirty read", text, operation);
        continue;
      }
      checkMarkers(read, versions, found, operation, report);
      checkWhole(read, versions, operation, report);
      if (model === undefined || read.state === undefined) continue;
      const others = states.get(versions);
      if (others === undefined) states.set(versions, [{ read, operation }]);
      else others.push({ read, operation });
    }
    checkFollows(operation, found, report);
  }
  if (model !== undefined) for (const [versions, seen] of states) checkStates(versions, seen, model, report);
}

function checkMarkers(
  { entity, seq, markers }: HistoryRead,
  { events }: Versions,
  found: FoundMoments,
  operation: AtomicOperation,
  report: ReportFault,
): void {
  if (markers === undefined) return;
  for (const [i, marker] of markers.entries()) {
    const at = seq - markers.length + i + 1;
    const stored = events[at - 1]?.marker;
    if (stored === marker) continue;
    const name = describeOperation(operation);
    if (!found.places.has(marker)) report("dirty read", `${name} saw ${marker}, which did not happen`, operation);
    else
      report("wrong read", `${name} saw ${marker} in ${entity} at ${at}, ${stored ?? "nothing"} is there`, operation);
    return;
  }
}

/** A version in the middle of what one operation wrote is one that nobody may see. */
function checkWhole(
  { entity, seq }: HistoryRead,
  { writers }: Versions,
  operation: AtomicOperation,
  report: ReportFault,
) {
  const writer = seq === 0 ? undefined : writers[seq - 1];
  if (writer === undefined || writer !== writers[seq]) return;
  const span = writer.spans.find(({ versions }) => versions.entity === entity)!;
  const [name, whole] = [describeOperation(operation), describeMoment(writer)];
  report("half seen", `${name} saw ${entity} at ${seq}, in the middle of ${whole}, ${nameOfSpan(span)}`, operation);
}

/** What an operation both read and wrote, it wrote right behind what it read. */
function checkFollows(operation: AtomicOperation, found: FoundMoments, report: ReportFault): void {
  if (operation.outcome !== "ok" || operation.reads.length === 0) return;
  for (const { entity, events } of operation.writes) {
    const [firstEvent] = events;
    const place = firstEvent === undefined ? undefined : found.places.get(firstEvent.marker);
    const read = operation.reads.find((one) => one.entity === entity && one.past !== true);
    if (place === undefined || read === undefined || place.versions.entity !== entity) continue;
    const isFirst =
      operation.writes.find((write) => write.entity === entity && write.events.length > 0)!.events === events;
    if (!isFirst || place.seq === read.seq + 1) continue;
    const name = describeOperation(operation);
    report("lost update", `${name} read ${entity} at ${read.seq} and wrote at ${place.seq}`, operation);
  }
}

/** One fold of each history, past all the states that anybody saw. */
function checkStates({ entity, events }: Versions, seen: SeenState[], model: HistoryModel, report: ReportFault): void {
  const isSame = model.isSame ?? ((state, other) => JSON.stringify(state) === JSON.stringify(other));
  seen.sort((a, b) => a.read.seq - b.read.seq);
  let state = model.initial(entity);
  let seq = 0;
  for (const { read, operation } of seen) {
    for (; seq < read.seq; seq++) state = model.apply(state, events[seq]!);
    if (isSame(state, read.state)) continue;
    const [saw, is] = [JSON.stringify(read.state), JSON.stringify(state)];
    report(
      "wrong read",
      `${describeOperation(operation)} saw ${saw} in ${entity} at ${seq}, which is ${is}`,
      operation,
    );
  }
}
