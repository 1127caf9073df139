// checkHistory: is there one order of everything that explains what every client saw? Pure; shares no code with the product.
//
// What it proves of a history without faults:
//   each entity is linearizable: its sequences are one order, every read is a prefix of it, and what was over before
//     something else began comes before it;
//   transactions are strictly serializable: what came before what (it was read, it was followed, it had not been seen yet,
//     it was over) has no cycle over all entities together;
//   operations are atomic: their events are there side by side or not at all, and nobody saw a part of one;
//   sagas are atomic in the end: committed means that all is there, compensated that what is there is undone.
// An operation of unknown outcome may have taken place or not, but not in part.
//
// Not proved: anything about entities that the history does not name, nor what nobody looked at. A history without reads
// proves little. Rules of the domain (money is conserved) are the caller's to add up.
import { checkReads } from "./check-reads.ts";
import { checkRealTime } from "./check-real-time.ts";
import { checkSagas } from "./check-sagas.ts";
import { checkSerialOrder } from "./check-serial-order.ts";
import { findMoments } from "./find-moments.ts";
import type { History, HistoryModel } from "./history.ts";
import type { HistoryFault, HistoryRule, ReportFault } from "./history-fault.ts";

export interface CheckHistoryOptions {
  /** What states are held against. Without one, the states that readers saw are not looked at. */
  readonly model?: HistoryModel<never> | HistoryModel;
}

/**
 * Every fault that was found; none when one order explains it all.
 *
 * Of each knot of circles one of the smallest is reported. Time and memory grow with the operations: a hundred thousand take
 * a second or two.
 * Errors: `InvariantViolation` for a history that is not one: a marker that two operations claim, an end before its start.
 */
export function checkHistory(history: History, options: CheckHistoryOptions = {}): HistoryFault[] {
  const faults: HistoryFault[] = [];
  const report: ReportFault = (rule, text, ...operations) => faults.push({ rule, text, operations });
  const found = findMoments(history, report);
  checkSagas(history, found, report);
  checkReads(history, found, options.model as HistoryModel | undefined, report);
  checkRealTime(found, report);
  checkSerialOrder(found, report, () => faults.length > 0);
  return faults;
}

/** For messages: how many faults there are of each rule, and the first few. */
export function describeHistoryFaults(faults: readonly HistoryFault[], shownMax = 20): string {
  const counts = new Map<HistoryRule, number>();
  for (const { rule } of faults) counts.set(rule, (counts.get(rule) ?? 0) + 1);
  const totals = [...counts].map(([rule, count]) => `${count} ${rule}`).join(", ");
  const lines = faults.slice(0, shownMax).map(({ rule, text }) => `  ${rule}: ${text}`);
  if (faults.length > shownMax) lines.push(`  and ${faults.length - shownMax} more`);
  return `${faults.length} faults (${totals})\n${lines.join("\n")}`;
}
