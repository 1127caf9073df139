// Events as they lie in the log: of an older version perhaps, and read through upcasters.
//
// Runs each upcaster the way given.ts runs folds: one that changes what it is given, answers differently to the same, or
// makes something that is not plain data fails the test and is named (G1 to G3).
import type { AnyAggregate } from "@heddle/domain";
import {
  type CompiledAggregate,
  type CompiledEvent,
  compileAggregate,
  type EventOutputs,
  type TypesOf,
} from "@heddle/domain/internal";
import { expectEqual, failed } from "./failed.ts";
import { frozenPlain, plain, purely } from "./purely.ts";

/** An event as it was stored, in whatever shape its version had. */
export interface StoredEvent<G extends AnyAggregate, T extends TypeOf<G> = TypeOf<G>> {
  readonly type: T;
  readonly schemaVersion: number;
  readonly payload: unknown;
}

type TypeOf<G extends AnyAggregate> = keyof TypesOf<G>["events"] & string;

export interface Stored<TPayload> {
  /** What every reader sees of it, whole. Keys whose value is undefined count as absent. */
  readsAs(payload: TPayload): void;
}

/**
 * Starts a test of upcasters alone.
 *
 * ```ts
 * stored(Account, { type: "Credited", schemaVersion: 1, payload: { amount: 5 } }).readsAs({ cents: 500 });
 * ```
 */
export function stored<G extends AnyAggregate, const T extends TypeOf<G>>(
  aggregate: G,
  event: StoredEvent<G, T>,
): Stored<EventOutputs<Pick<TypesOf<G>["events"], T>>["payload"]> {
  const compiled = compileAggregate(aggregate);
  const found = readStored(compiled, event);
  return {
    readsAs(payload) {
      const message = `version ${event.schemaVersion} of ${compiled.name}.${event.type} does not read as expected`;
      expectEqual(found, payload, message, this.readsAs);
    },
  };
}

/** The newest shape of a stored payload, frozen. */
export function readStored(aggregate: CompiledAggregate, stored: StoredEvent<AnyAggregate>): unknown {
  const event = eventNamed(aggregate, stored.type);
  const path = `${aggregate.name}.${stored.type}`;
  const { schemaVersion } = stored;
  if (!Number.isSafeInteger(schemaVersion) || schemaVersion < 1 || schemaVersion > event.schemaVersion) {
    const known = event.schemaVersion === 1 ? "is only version 1" : `are versions 1 to ${event.schemaVersion}`;
    throw failed(`${path} cannot have been stored at version ${schemaVersion}: there ${known}`, {}, readStored);
  }
  let payload = frozenPlain(stored.payload, `the stored payload of ${path}`);
  for (let from = schemaVersion; from < event.schemaVersion; from++) {
    const upcast = purely(
      `the upcaster of ${path} from version ${from} to ${from + 1}`,
      [payload],
      (old) => event.upcastOnce(old, from),
      (answer) => plain(answer, `version ${from + 1} of ${path}`),
    );
    payload = frozenPlain(upcast, path);
  }
  return payload;
}

/** Fails the test when the aggregate has no such event. */
export function eventNamed(aggregate: CompiledAggregate, type: string): CompiledEvent {
  const event = aggregate.events.get(type);
  if (event !== undefined) return event;
  const known = [...aggregate.events.keys()].join(", ");
  throw failed(`${aggregate.name} has no event ${type}; known: ${known}`, {}, eventNamed);
}
