// HistoryFault: what can be wrong with a history.
import type { HistoryOperation } from "./history.ts";

/**
 * The names of what can be wrong.
 *
 * Of the store:  `lost` acknowledged and not there · `misplaced` not where its receipt says · `duplicate` there twice ·
 *   `invented` never sent, or refused · `altered` other content than was sent · `torn` a part of an append or of a transaction
 *   is there, or something stands in its middle · `condition` an expected sequence that was not met · `lost update` something
 *   came between what an operation read and what it wrote.
 * Of readers:  `dirty read` events that did not happen · `wrong read` not what the history adds up to · `half seen` a part of
 *   an append or a transaction.
 * Of the order:  `stale` older than what was known when it began · `write skew` two who did not see each other ·
 *   `cycle` any other circle of what came before what.
 * Of sagas:  `saga` an outcome that its events do not bear out, an undoing of what was not done.
 */
export type HistoryRule =
  | "lost"
  | "misplaced"
  | "duplicate"
  | "invented"
  | "altered"
  | "torn"
  | "condition"
  | "lost update"
  | "dirty read"
  | "wrong read"
  | "half seen"
  | "stale"
  | "write skew"
  | "cycle"
  | "saga";

export interface HistoryFault {
  readonly rule: HistoryRule;
  readonly text: string;
  /** Those that it is about; in a cycle each comes before the next, and the last before the first. */
  readonly operations: readonly HistoryOperation[];
}

export type ReportFault = (rule: HistoryRule, text: string, ...operations: readonly HistoryOperation[]) => void;
