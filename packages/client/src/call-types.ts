// How a context's types shape the calls. Exists at compile time only.
import type { AggregateName, AnyContext, EventInputOf, EventOf } from "@heddle/domain";
import type { CallOptions } from "./session.ts";
import type { MomentInput } from "./times.ts";

/** What an append or a command can be given. */
export interface WriteOptions extends CallOptions {
  /** The entity's last sequence, 0 for one never written: any other gives the rejection `SEQUENCE_CONFLICT`. */
  readonly expectedSeq?: number | undefined;
  /**
   * Makes the call take effect once for good, whoever sends it again and when: the first receipt comes back. 1 to 200
   * bytes, unique within the entity. Errors: `ID_REUSED` with other content; `expectedSeq` and `newLife` are content, too.
   */
  readonly id?: string | undefined;
  /** Kept with the events and given back by `history`; no rule looks at it. Anything that msgpack can carry. */
  readonly metadata?: unknown;
  /**
   * Writes to an entity that was erased, too: this begins a new history under its id. Without it the call gets `ERASED`.
   * While the erasure is under way the call waits for it.
   */
  readonly newLife?: boolean | undefined;
}

/** True for one name, and for plain `string`, of which nothing is known; false for a choice of several. */
type IsOne<T, U = T> = T extends unknown ? ([U] extends [T] ? true : false) : never;

/** The aggregate must be named where the context has several. */
export type AggregateOption<C extends AnyContext, A extends AggregateName<C>> =
  IsOne<AggregateName<C>> extends true ? { readonly aggregate?: A | undefined } : { readonly aggregate: A };

/** The last parameter of a call: it can be left out where the aggregate can. */
export type OptionsFor<C extends AnyContext, A extends AggregateName<C>, O> =
  IsOne<AggregateName<C>> extends true ? [options?: O & AggregateOption<C, A>] : [options: O & AggregateOption<C, A>];

/** As {@link OptionsFor}, for calls that name the aggregate by itself. */
export type AggregateArgument<C extends AnyContext, A extends AggregateName<C>> =
  IsOne<AggregateName<C>> extends true ? [aggregate?: A, options?: CallOptions] : [aggregate: A, options?: CallOptions];

/** As {@link AggregateArgument}, where the call takes no options. */
export type AggregateOnly<C extends AnyContext, A extends AggregateName<C>> =
  IsOne<AggregateName<C>> extends true ? [aggregate?: A] : [aggregate: A];

/** What `getAt` takes: as {@link AggregateArgument}, and the moment behind it. */
export type AtArguments<C extends AnyContext, A extends AggregateName<C>> =
  | [aggregate: A, at: MomentInput, options?: CallOptions]
  | (IsOne<AggregateName<C>> extends true ? [at: MomentInput, options?: CallOptions] : never);

/** One event as it was committed; `aggregate` and `type` tell the payloads apart. */
export type HistoryEvent<C extends AnyContext = AnyContext, A extends AggregateName<C> = AggregateName<C>> = {
  [G in A]: EventOf<C, G> & {
    /** Place in the entity's history, from 1. */
    readonly seq: number;
    /** Milliseconds since 1970, never falling within one entity. */
    readonly time: number;
    readonly aggregate: G;
    /** What the append was given. */
    readonly metadata?: unknown;
    /** The id that the append was given. */
    readonly id?: string | undefined;
    readonly schemaVersion: number;
    /** Place in the shard's log. */
    readonly position: number;
  };
}[A];

/** One item of `appendMany`. */
export type AppendManyItem<C extends AnyContext = AnyContext> = {
  [A in AggregateName<C>]: EventInputOf<C, A> &
    AggregateOption<C, A> & { readonly entity: string } & Omit<WriteOptions, keyof CallOptions>;
}[AggregateName<C>];
