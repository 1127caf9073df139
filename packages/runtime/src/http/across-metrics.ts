// The figures of what happens between entities: sagas, transactions, reminders.
import type { Labels, MetricsPage, Sample } from "./metrics-page.ts";

export interface AcrossFigures {
  readonly sagas: SagaFigures;
  readonly transactions: TransactionFigures;
  readonly reminders: ReminderFigures;
}

/** Of the sagas that the shard coordinates. */
export interface SagaFigures {
  readonly running: number;
  readonly compensating: number;
  readonly stuck: number;
  /** Since the oldest of its state was begun, or became stuck; 0 when there is none. */
  readonly oldestRunningMs: number;
  readonly oldestCompensatingMs: number;
  readonly oldestStuckMs: number;
  readonly started: number;
  readonly committed: number;
  readonly compensated: number;
  /** Times that a saga became stuck. */
  readonly becameStuck: number;
  readonly stepRetries: number;
}

export interface TransactionFigures {
  /** Of the transactions that the shard coordinated. */
  readonly committed: number;
  readonly refused: number;
  readonly aborted: number;
  /** Entities that a transaction holds now. */
  readonly holds: number;
  /** Calls that wait for a held entity. */
  readonly waiters: number;
  /** Prepared transactions whose decision the shard does not know yet. */
  readonly pending: number;
}

export interface ReminderFigures {
  /** Entities that have reminders. */
  readonly pending: number;
  /** Of these: entities whose reminders are due, and not on record yet. */
  readonly due: number;
  readonly delivered: number;
  /** Deliveries that a rule or an error said no to. */
  readonly refused: number;
  /** Times that the policy for what was missed passed occurrences over. */
  readonly missed: number;
  readonly retries: number;
  /** How long the longest due one has waited. */
  readonly lagMs: number;
}

type Shard = { readonly shard: number; readonly figures: AcrossFigures };

export function writeAcross(page: MetricsPage, shards: readonly Shard[]): void {
  const each = (pick: (figures: AcrossFigures) => number): Sample[] =>
    shards.map(({ shard, figures }) => [{ shard }, pick(figures)]);
  const by = (label: string, pick: (figures: AcrossFigures) => Readonly<Record<string, number>>): Sample[] =>
    shards.flatMap(({ shard, figures }) =>
      Object.entries(pick(figures)).map(
        ([value, count]): Sample => [{ shard, [label]: value } satisfies Labels, count],
      ),
    );

  page.add(
    "heddle_sagas",
    "gauge",
    "Sagas that have not ended, by state.",
    by("state", ({ sagas: { running, compensating, stuck } }) => ({ running, compensating, stuck })),
  );
  page.add(
    "heddle_saga_oldest_seconds",
    "gauge",
    "Since the oldest saga of its state was begun, or became stuck; 0 when there is none.",
    by("state", ({ sagas: { oldestRunningMs, oldestCompensatingMs, oldestStuckMs } }) => {
      return { running: oldestRunningMs / 1e3, compensating: oldestCompensatingMs / 1e3, stuck: oldestStuckMs / 1e3 };
    }),
  );
  page.add(
    "heddle_sagas_started_total",
    "counter",
    "Sagas begun.",
    each((f) => f.sagas.started),
  );
  page.add(
    "heddle_sagas_ended_total",
    "counter",
    "Sagas that came to a result.",
    by("result", ({ sagas }) => {
      return { committed: sagas.committed, compensated: sagas.compensated, stuck: sagas.becameStuck };
    }),
  );
  page.add(
    "heddle_saga_step_retries_total",
    "counter",
    "Steps and compensations that were sent again.",
    each((f) => f.sagas.stepRetries),
  );
  page.add(
    "heddle_transactions_total",
    "counter",
    "Transactions that the shard coordinated, by outcome.",
    by("outcome", ({ transactions: { committed, refused, aborted } }) => ({ committed, refused, aborted })),
  );
  page.add(
    "heddle_held_entities",
    "gauge",
    "Entities that a transaction holds.",
    each((f) => f.transactions.holds),
  );
  page.add(
    "heddle_hold_waiters",
    "gauge",
    "Calls that wait for a held entity.",
    each((f) => f.transactions.waiters),
  );
  page.add(
    "heddle_transactions_pending",
    "gauge",
    "Prepared transactions whose decision the shard does not know yet.",
    each((f) => f.transactions.pending),
  );
  page.add(
    "heddle_reminder_entities",
    "gauge",
    "Entities that have reminders.",
    each((f) => f.reminders.pending),
  );
  page.add(
    "heddle_reminders_due",
    "gauge",
    "Entities whose reminders are due and not delivered yet.",
    each((f) => f.reminders.due),
  );
  page.add(
    "heddle_reminder_lag_seconds",
    "gauge",
    "How long the longest due reminder has waited.",
    each((f) => f.reminders.lagMs / 1e3),
  );
  page.add(
    "heddle_reminders_total",
    "counter",
    "Reminders that were due, by outcome.",
    by("outcome", ({ reminders: { delivered, refused, missed } }) => ({ delivered, refused, missed })),
  );
  page.add(
    "heddle_reminder_retries_total",
    "counter",
    "Deliveries that were sent again.",
    each((f) => f.reminders.retries),
  );
}
