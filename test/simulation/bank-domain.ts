// The domain that the simulator runs: accounts whose every event carries a marker of its own, so that the history checker finds
// it again wherever it turns up.
import { command, defineAggregate, defineContext, event, reject, type State } from "@heddle/domain";
import type { HistoryEvent, HistoryModel } from "@heddle/testkit";
import { z } from "zod";

const amount = z.object({ amount: z.number().int().positive(), marker: z.string() });
const mark = z.object({ marker: z.string() });

/** A frozen account takes nothing and gives nothing. */
export const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0, isFrozen: false, wasTouched: false }),
  events: {
    Credited: event(amount, (s, e) => ({ ...s, balance: s.balance + e.amount, wasTouched: s.isFrozen })),
    Debited: event(amount, (s, e) => ({ ...s, balance: s.balance - e.amount, wasTouched: s.isFrozen })),
    Frozen: event(mark, (s) => ({ ...s, isFrozen: true })),
    Thawed: event(mark, (s) => ({ ...s, isFrozen: false })),
  },
  invariants: {
    "balance is never negative": (s) => s.balance >= 0,
    "a frozen account is left alone": (s) => !s.wasTouched,
  },
  commands: {
    Deposit: command(amount, (_, input) => ({ type: "Credited", payload: input })),
    Withdraw: command(amount, (state, input) =>
      state.balance < input.amount
        ? reject("INSUFFICIENT_FUNDS", { balance: state.balance })
        : { type: "Debited", payload: input },
    ),
  },
});

export const bank = defineContext("bank", { aggregates: [Account] });
export type Bank = typeof bank;

/** Accounts that may be frozen, on any shard. */
export const accounts = Array.from({ length: 8 }, (_, i) => `account/${i}`);
/** Two accounts that share a shard because of their tag. */
export const pairs = [0, 1].map((i) => [`savings/{${i}}/a`, `savings/{${i}}/b`] as const);
export const everyAccount: readonly string[] = [...accounts, ...pairs.flat()];

type AccountState = State<Bank, "Account">;

/** What an event does to an account, by its marker's value: an amount, or whether it is frozen. */
export type Value = number | "frozen" | "thawed";

export function effectOf(type: string, payload: { readonly amount?: number }): Value {
  if (type === "Credited") return payload.amount!;
  if (type === "Debited") return -payload.amount!;
  return type === "Frozen" ? "frozen" : "thawed";
}

/** The fold again, by other means than the domain's. */
export const bankModel: HistoryModel<AccountState> = {
  initial: () => ({ balance: 0, isFrozen: false, wasTouched: false }),
  apply: (state, { value }: HistoryEvent) =>
    typeof value === "number"
      ? { ...state, balance: state.balance + value, wasTouched: state.isFrozen }
      : { ...state, isFrozen: value === "frozen" },
  isSame: (state, seen) => {
    const { balance, isFrozen } = seen as AccountState;
    return state.balance === balance && state.isFrozen === isFrozen;
  },
};

export function historyEventOf(event: {
  readonly type: string;
  readonly payload: unknown;
}): HistoryEvent & { value: Value } {
  const payload = event.payload as { amount?: number; marker: string };
  return { marker: payload.marker, value: effectOf(event.type, payload) };
}
