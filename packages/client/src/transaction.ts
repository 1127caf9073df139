// Transactions: several entities changed together or not at all, upon what was true of all of them at one moment.
//
// The function of a transaction reads with ordinary reads and collects what it wants written. The commit is one request:
// that what was read is unchanged, and the writes. If something changed, the function runs again.
//
// T1. What the function read, and what the transaction wrote, were true at one moment: nobody was in between. This holds for
//     every outcome that it has: committed, rejected, and thrown by the function.
// T2. Nothing is written before the commit, and at the commit all or nothing.
// Not promised: that reads agree with each other while the function runs. One that acts on a mixture runs again.
import type {
  AggregateName,
  AnyContext,
  CommandInput,
  CommandName,
  EventInputOf,
  EventType,
  Immutable,
  PayloadInput,
  State,
} from "@heddle/domain";
import type { Receipt, TransactionRejection } from "@heddle/protocol";
import type { AggregateOnly, OptionsFor, WriteOptions } from "./call-types.ts";
import type { CallOptions } from "./session.ts";
import type { Snapshot } from "./wire-values.ts";

/** What `transaction` can be given. Time-out and signal hold for the whole, whatever number of times its function runs. */
export interface TransactionOptions extends CallOptions {
  /**
   * Makes the transaction take effect once for good, whoever sends it again and when: the first receipts come back. 1 to 200
   * bytes, unique among the transactions that write to the same entities. Errors: `ID_REUSED` when it writes something else.
   */
  readonly id?: string | undefined;
  /** How many times the function may run, 1 to 1,000, before `TRANSACTION_CONFLICT`. Default 10. */
  readonly attempts?: number | undefined;
}

/** What a write inside a transaction can be given: as for an append, but for the id, which the transaction has. */
export type TransactionWriteOptions = Omit<WriteOptions, "id" | keyof CallOptions>;

/** What the function of a transaction is given. It must not be used after the function has ended. */
export interface Transaction<C extends AnyContext = AnyContext> {
  /**
   * Reads the state of an aggregate; the commit fails, and the function runs again, if the entity changed since. Read again, it
   * gives the same. An entity is read before it is written to: `INVALID_REQUEST` otherwise.
   */
  get<A extends AggregateName<C>>(entity: string, ...args: AggregateOnly<C, A>): Promise<Snapshot<State<C, A>>>;
  /** Appends one event, at the commit. */
  append<A extends AggregateName<C>, T extends EventType<C, A>>(
    entity: string,
    type: T,
    payload: Immutable<PayloadInput<C, A, T>>,
    ...options: OptionsFor<C, A, TransactionWriteOptions>
  ): void;
  /** Appends 1 to 10,000 events of one aggregate, at the commit. */
  append<A extends AggregateName<C>>(
    entity: string,
    events: readonly EventInputOf<C, A>[],
    ...options: OptionsFor<C, A, TransactionWriteOptions>
  ): void;
  /** Lets a command decide, at the commit: upon the state then, which nobody else can change meanwhile. */
  execute<A extends AggregateName<C>, N extends CommandName<C, A>>(
    entity: string,
    command: N,
    input: Immutable<CommandInput<C, A, N>>,
    ...options: OptionsFor<C, A, TransactionWriteOptions>
  ): void;
  /** The entity's last sequence must be this one at the commit: else the transaction is rejected. For what is only read. */
  require(entity: string, seq: number): void;
  /** Writes nothing, and lets `transaction` resolve to this: `return tx.reject("INSUFFICIENT", { balance })`. */
  reject(reason: string, facts?: Readonly<Record<string, unknown>>): RejectedTransaction;
}

/** What the function of a transaction itself said no to. Nothing was written. */
export interface RejectedTransaction {
  readonly ok: false;
  readonly code: "REJECTED";
  readonly reason: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Everything is durable. */
export interface CommittedTransaction<T> {
  readonly ok: true;
  /** What the function returned. */
  readonly value: T;
  /** One for each `append` and `execute`, in the order in which they were called. */
  readonly receipts: readonly Receipt[];
  /** How many times the function ran. */
  readonly attempts: number;
  /** True when its id had taken effect before: nothing was written now, and these are the first receipts. */
  readonly duplicate: boolean;
}

/** `ok` tells a commit from the rest, `code` a rejection by the function from one by a rule, a command or a condition. */
export type TransactionResult<T> =
  | CommittedTransaction<Exclude<T, RejectedTransaction>>
  | TransactionRejection
  | RejectedTransaction;
