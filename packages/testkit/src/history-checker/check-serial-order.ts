// Serial order: everything that happened can be put into one row that explains what each saw. If not, there is a circle.
//
// Each entity's versions say who came before whom: its writers in their order, each reader after the writer of what it saw and
// before the writer of what it did not see. The clock says who was over before another began; a saga, which of its steps
// had to be done before others were asked for. A row exists exactly if all of this together has no circle.
import { describeMoment, type FoundMoments, type Moment, type Seen } from "./find-moments.ts";
import type { SagaOperation } from "./history.ts";
import type { HistoryRule, ReportFault } from "./history-fault.ts";
import { type Edge, PrecedenceGraph } from "./precedence-graph.ts";

interface Reason {
  /** `read`: it saw what the other wrote. `followed`: it wrote behind the other. `unseen`: it saw what was before the other. */
  readonly kind: "read" | "followed" | "unseen" | "saga";
  readonly entity: string;
  /** The version that was read, or was the last before the other's. */
  readonly seq: number;
}

/** A history that is wrong everywhere is wrong; nobody reads the hundredth circle. */
const knotsMax = 20;

export function checkSerialOrder({ moments }: FoundMoments, report: ReportFault, hasFaults: () => boolean): void {
  const graph = new PrecedenceGraph<Reason>(moments);
  const sagas = new Map<SagaOperation, Moment[]>();
  for (const moment of moments) {
    for (const seen of moment.seen) addRead(graph, moment, seen);
    for (const { versions, first } of moment.spans) {
      const before = versions.writers[first - 2];
      if (before !== undefined) {
        graph.add(before.index, moment.index, { kind: "followed", entity: versions.entity, seq: first - 1 });
      }
    }
    const { operation } = moment;
    if (operation.kind !== "saga") continue;
    const steps = sagas.get(operation);
    if (steps === undefined) sagas.set(operation, [moment]);
    else steps.push(moment);
  }
  for (const [saga, steps] of sagas) addSaga(graph, saga, steps);
  for (const cycle of graph.findCycles(knotsMax)) {
    // Circles about one entity have been reported already, and in fewer words.
    const entities = new Set(cycle.flatMap(({ reason }) => (reason === undefined ? [] : [reason.entity])));
    if (entities.size < 2 && hasFaults()) continue;
    report(classOf(cycle), describeCycle(cycle, moments), ...cycle.map(({ from }) => moments[from]!.operation));
  }
}

function addRead(graph: PrecedenceGraph<Reason>, reader: Moment, { versions, seq }: Seen): void {
  const { entity, writers } = versions;
  const writer = writers[seq - 1];
  if (writer !== undefined) graph.add(writer.index, reader.index, { kind: "read", entity, seq });
  const next = writers[seq];
  if (next !== undefined && next !== writer) graph.add(reader.index, next.index, { kind: "unseen", entity, seq });
}

/** Stage after stage; what is undone is undone after all that was done, the last stage first. */
function addSaga(graph: PrecedenceGraph<Reason>, saga: SagaOperation, moments: readonly Moment[]): void {
  const placeOf = ({ step }: Moment) => {
    const stage = saga.steps[step!.index]!.stage ?? step!.index;
    return step!.isBack ? 2 * limitOfStages - stage : stage;
  };
  const inOrder = [...moments].sort((a, b) => placeOf(a) - placeOf(b));
  let before: Moment[] = [];
  let level: Moment[] = [];
  for (const [i, moment] of inOrder.entries()) {
    if (i > 0 && placeOf(inOrder[i - 1]!) !== placeOf(moment)) [before, level] = [level, []];
    level.push(moment);
    for (const one of before) graph.add(one.index, moment.index, { kind: "saga", entity: saga.saga, seq: 0 });
  }
}

const limitOfStages = 1_000_000;

function classOf(cycle: readonly Edge<Reason>[]): HistoryRule {
  const count = (kind: Reason["kind"]) => cycle.filter(({ reason }) => reason?.kind === kind).length;
  if (cycle.some(({ reason }) => reason === undefined)) return "stale";
  if (count("unseen") > 1) return "write skew";
  if (count("unseen") === 1 && count("saga") === 0) return count("read") > 0 ? "half seen" : "lost update";
  return "cycle";
}

function describeCycle(cycle: readonly Edge<Reason>[], moments: readonly Moment[]): string {
  const lines = cycle.map(({ from, to, reason }) => {
    const why = reason === undefined ? "was over before it began" : sentences[reason.kind](reason);
    return `\n    ${describeMoment(moments[from]!)}\n      before ${describeMoment(moments[to]!)}: ${why}`;
  });
  return `${cycle.length} that each come before the next, and the last before the first:${lines.join("")}`;
}

const sentences: Record<Reason["kind"], (reason: Reason) => string> = {
  read: ({ entity, seq }) => `it saw ${entity} at ${seq}`,
  followed: ({ entity, seq }) => `it wrote to ${entity} behind ${seq}`,
  unseen: ({ entity, seq }) => `that wrote to ${entity} behind ${seq}, which this one still saw`,
  saga: ({ entity }) => `the saga ${entity} goes step by step`,
};
