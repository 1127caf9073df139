// Contexts: the aggregates, sagas and projections of one database instance.
import { brand } from "./brand.ts";
import type { AnyAggregate } from "./define-aggregate.ts";
import type { AnyProjection } from "./define-projection.ts";
import type { AnySaga } from "./define-saga.ts";

/** A database instance's whole domain. Made by {@link defineContext}. */
export interface Context<
  TName extends string,
  TAggregates extends readonly AnyAggregate[],
  TSagas extends readonly AnySaga[] = readonly [],
  TProjections extends readonly AnyProjection[] = readonly [],
> {
  readonly name: TName;
  readonly aggregates: TAggregates;
  readonly sagas: TSagas;
  readonly projections: TProjections;
  /** Left out where an entity of any kind may begin. */
  readonly kinds?: readonly string[] | undefined;
}

/** A context of which nothing is known at compile time; what `new Heddle()` without a type argument works with. */
export type AnyContext = Context<string, readonly AnyAggregate[], readonly AnySaga[], readonly AnyProjection[]>;

/**
 * Puts aggregates, and sagas and projections over them, together into the domain of one database instance. A domain module
 * exports the result as default.
 *
 * `kinds` are the kinds of entities that there are, `["account", "card"]`: what stands before the first slash of their ids.
 * An entity of another kind cannot begin, so that a slip such as `acount/alice` is `UNKNOWN_KIND` and no new entity; that goes
 * for a new life of an erased one, too. A saga with a step on another kind is refused as a whole, before it begins. Nobody
 * asks about the kind of an entity that exists: one whose kind was taken from the list is read, written, exported and erased
 * as before, and what was written before is imported, forked and restored, whatever its kind. Without `kinds` there is no such
 * check.
 */
export function defineContext<
  const TName extends string,
  const TAggregates extends readonly AnyAggregate[],
  const TSagas extends readonly AnySaga[] = readonly [],
  const TProjections extends readonly AnyProjection[] = readonly [],
>(
  name: TName,
  definition: {
    readonly aggregates: TAggregates;
    readonly sagas?: TSagas;
    readonly projections?: TProjections;
    readonly kinds?: readonly string[];
  },
): Context<TName, TAggregates, TSagas, TProjections> {
  const sagas = definition?.sagas ?? ([] as unknown as TSagas);
  const projections = definition?.projections ?? ([] as unknown as TProjections);
  const { aggregates, kinds } = definition ?? {};
  return Object.freeze({ [brand]: "context", name, aggregates, sagas, projections, kinds });
}
