// getMany: the states of several entities at one moment.
import type { AggregateName, AnyContext, State } from "@heddle/domain";
import { HeddleError, limits, parseEntityId } from "@heddle/kernel";
import type { TransactOperation } from "@heddle/protocol/internal";
import { Budget } from "./budget.ts";
import type { AggregateOption } from "./call-types.ts";
import { badReply } from "./link.ts";
import type { CallOptions } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { send } from "./transact-call.ts";
import { readSnapshot, type Snapshot } from "./wire-values.ts";

/** One entity that `getMany` reads. */
export type GetManyItem<C extends AnyContext = AnyContext> = {
  [A in AggregateName<C>]: { readonly entity: string } & AggregateOption<C, A>;
}[AggregateName<C>];

/** What `getMany` gives for items: a state for each, in their order. */
export type GetManyStates<C extends AnyContext, I extends readonly GetManyItem<C>[]> = {
  -readonly [K in keyof I]: Snapshot<State<C, NamedAggregate<C, I[K]>>>;
};

type NamedAggregate<C extends AnyContext, Item> = Item extends { readonly aggregate: infer A }
  ? Extract<A, AggregateName<C>>
  : AggregateName<C>;

/** Reads several entities as they were at one moment. */
export async function getMany(
  sessions: Sessions,
  items: readonly GetManyItem[],
  options: CallOptions = {},
): Promise<Snapshot<unknown>[]> {
  if (items.length > limits.transactionOperationsMax) {
    const problem = `${items.length} entities in one call, at most ${limits.transactionOperationsMax} are allowed`;
    throw new HeddleError("INVALID_REQUEST", { problem });
  }
  if (items.length === 0) return [];
  const operations = items.map(
    ({ entity, aggregate = "" }): TransactOperation => ({
      kind: "read",
      entity: parseEntityId(entity),
      aggregate,
      wantsState: true,
    }),
  );
  const outcome = await send(sessions, new Budget(sessions, options), { operations });
  if (!("results" in outcome)) throw badReply("a rejection of what is only read");
  if (outcome.results.length !== items.length) throw badReply("another number of states than were asked for");
  return outcome.results.map((result) => {
    if (result.length !== 2) throw badReply("a read without its state");
    return readSnapshot({ seq: result[0], state: result[1] });
  });
}
