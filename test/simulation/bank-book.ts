// BankBook: where the bank's clients write down what they asked for and were told.
import type { HistoryRecorder } from "@heddle/testkit";

export interface Change {
  readonly type: "Credited" | "Debited";
  readonly payload: { amount: number; marker: string };
}

export interface BankBook {
  readonly recorder: HistoryRecorder;
  /** Does what may throw. What a client may not be told is a violation. */
  trying(name: string, act: () => Promise<void>): Promise<void>;
  /** Of an amount, with a marker that no other has. */
  change(type: Change["type"], amount: number): Change;
}
