// The names that a reader may ask for: a name with a slip in it would be waited for in vain.
import type { CompiledContext } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import { systemAggregate, systemEvents } from "@heddle/protocol/internal";

/** Errors: `UNKNOWN_AGGREGATE`, `UNKNOWN_EVENT_TYPE`. */
export function checkFeedNames(
  { name, aggregates, aggregateNames }: CompiledContext,
  { aggregate, types }: { readonly aggregate: string; readonly types: readonly string[] },
): void {
  const known = [...aggregateNames, systemAggregate];
  if (aggregate !== "" && !known.includes(aggregate)) {
    throw new HeddleError("UNKNOWN_AGGREGATE", { aggregate, known });
  }
  const asked = aggregate === "" ? known : [aggregate];
  const typesOf = (of: string) => {
    return of === systemAggregate ? Object.values(systemEvents) : [...(aggregates.get(of)?.events.keys() ?? [])];
  };
  const knownTypes: readonly string[] = types.length === 0 ? [] : asked.flatMap(typesOf);
  const index = types.findIndex((type) => !knownTypes.includes(type));
  if (index < 0) return;
  throw new HeddleError("UNKNOWN_EVENT_TYPE", {
    aggregate: aggregate === "" ? name : aggregate,
    type: types[index]!,
    index,
    known: knownTypes,
  });
}
