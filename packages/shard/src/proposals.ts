// Proposals: from the names in a request to the domain's aggregates, events and commands. Pure.
import type { CompiledAggregate, CompiledContext, CompiledEvent, DecidedEvent } from "@heddle/domain/internal";
import { HeddleError, isSystemEntity } from "@heddle/kernel";
import type { AppendView } from "@heddle/protocol/internal";
import type { Proposed } from "./decide.ts";

/** Whether an entity may have events of an aggregate: one of Heddle's own has that of its kind, others have all of the context. */
export function hasAggregate(entity: string, { name, system }: CompiledAggregate): boolean {
  if (!isSystemEntity(entity)) return !system;
  return system && entity.length > name.length && entity[name.length] === "/" && entity.startsWith(name);
}

/** The aggregate of an append; without a name it is told from the event type. Errors: `UNKNOWN_AGGREGATE`. */
export function aggregateOfAppend(
  domain: CompiledContext,
  entity: string,
  name: string,
  firstType: string,
): CompiledAggregate {
  const found =
    name === "" ? (soleAggregate(domain) ?? domain.aggregateOfEvent(firstType)) : domain.aggregates.get(name);
  return checkBelongs(domain, entity, name, found);
}

/** The same for a command. */
export function aggregateOfCommand(
  domain: CompiledContext,
  entity: string,
  name: string,
  command: string,
): CompiledAggregate {
  const found =
    name === "" ? (soleAggregate(domain) ?? domain.aggregateOfCommand(command)) : domain.aggregates.get(name);
  return checkBelongs(domain, entity, name, found);
}

/** The same for a read, which must name it where there are several. */
export function aggregateToRead(domain: CompiledContext, entity: string, name: string): CompiledAggregate {
  const found = name === "" ? soleAggregate(domain) : domain.aggregates.get(name);
  return checkBelongs(domain, entity, name, found);
}

function soleAggregate(domain: CompiledContext): CompiledAggregate | undefined {
  return domain.aggregateNames.length === 1 ? domain.aggregates.get(domain.aggregateNames[0]!) : undefined;
}

// Heddle's own entities have Heddle's own aggregates, and nobody else has.
function checkBelongs(
  domain: CompiledContext,
  entity: string,
  name: string,
  found: CompiledAggregate | undefined,
): CompiledAggregate {
  if (found !== undefined && found.system === isSystemEntity(entity)) return found;
  throw new HeddleError("UNKNOWN_AGGREGATE", { aggregate: name, known: domain.aggregateNames });
}

/** What an append proposes. `types` is filled and becomes a part of it. Errors: `UNKNOWN_EVENT_TYPE`. */
export function proposalOfAppend(
  aggregate: CompiledAggregate,
  view: AppendView,
  bytes: Uint8Array,
  types: CompiledEvent[],
): Proposed {
  types.length = view.typeCount;
  for (let i = 0; i < view.typeCount; i++) {
    const event = aggregate.events.get(view.types[i]!);
    types[i] = event ?? eventOf(aggregate, view.types[i]!, firstOfType(bytes, view.typeIndexes, view.eventCount, i));
  }
  return { aggregate, types, indexFrom: view.typeIndexes, indexBytes: bytes };
}

/** What a command decided. Errors: a `TypeError` for more types than a number of one byte can tell apart. */
export function proposalOfDecision(aggregate: CompiledAggregate, events: readonly DecidedEvent[]): Proposed {
  const { type } = events[0]!;
  // As nearly all are: types need no telling apart.
  if (events.every((event) => event.type === type)) {
    return { aggregate, types: [eventOf(aggregate, type, 0)], indexFrom: 0, indexBytes: noIndexes };
  }
  const names = [...new Set(events.map((event) => event.type))];
  if (names.length > 255) throw new TypeError("it decided events of more than 255 types");
  const types = names.map((name) => eventOf(aggregate, name, 0));
  const indexBytes = Uint8Array.from([0, ...events.map((event) => names.indexOf(event.type))]);
  return { aggregate, types, indexFrom: 1, indexBytes };
}

const noIndexes = new Uint8Array();

function eventOf(aggregate: CompiledAggregate, type: string, index: number): CompiledEvent {
  const event = aggregate.events.get(type);
  if (event !== undefined) return event;
  const known = [...aggregate.events.keys()];
  throw new HeddleError("UNKNOWN_EVENT_TYPE", { aggregate: aggregate.name, type, index, known });
}

// The first event of a type; 0 for a type that no event has.
function firstOfType(bytes: Uint8Array, indexFrom: number, eventCount: number, type: number): number {
  return indexFrom === 0 ? 0 : Math.max(0, bytes.subarray(indexFrom, indexFrom + eventCount).indexOf(type));
}
