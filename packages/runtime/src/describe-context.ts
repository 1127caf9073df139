// What a domain module declares, as data for people and tools.
import type { CompiledContext } from "@heddle/domain/internal";
import type { CompiledContextInfo } from "./http/gateway.ts";

export function describeContext(context: CompiledContext): CompiledContextInfo {
  return {
    name: context.name,
    aggregates: context.aggregateNames
      .map((name) => context.aggregates.get(name)!)
      .map((aggregate) => ({
        name: aggregate.name,
        version: aggregate.version,
        events: [...aggregate.events.values()].map((event) => ({
          name: event.type,
          schemaVersion: event.schemaVersion,
        })),
        commands: [...aggregate.commands.keys()].map((name) => ({ name })),
        invariants: aggregate.invariantNames,
      })),
    sagas: [...context.sagas.keys()].map((name) => ({ name })),
    ...(context.kinds === undefined ? {} : { kinds: context.kinds }),
  };
}
