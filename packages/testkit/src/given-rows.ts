// GivenRows: tests of a projection: given events, then rows. Folds them as a track does, without a log and without a sink.
//
// G1, G2 and G3 of given.ts hold for its functions as well.

import type { ProjectionEvent, RowOfProjection } from "@heddle/domain";
import { type AnyAggregate, type AnyProjection, defineContext, type EventOfProjection } from "@heddle/domain";
import {
  aggregatesOf,
  type CompiledContext,
  type CompiledProjection,
  compileContext,
  type Row,
} from "@heddle/domain/internal";
import { type EntityId, parseEntityId } from "@heddle/kernel";
import { described, expectEqual, failed } from "./failed.ts";
import { frozenCopy } from "./plain-data.ts";
import { frozenPlain, purely } from "./purely.ts";

/** An event as a test of a projection tells it: what is left out follows from the events before. */
export type GivenFact<P extends AnyProjection> =
  EventOfProjection<P> extends infer E
    ? E extends ProjectionEvent<infer T, infer TPayload>
      ? {
          readonly entity: string;
          readonly type: T;
          readonly payload: TPayload;
          /** Default: the only aggregate of the projection that has the event. */
          readonly aggregate?: string;
          /** Milliseconds since 1970. Default: 0. */
          readonly time?: number;
          /** Default: one more than that of the entity's event before. */
          readonly seq?: number;
          readonly metadata?: unknown;
          readonly id?: string;
        }
      : never
    : never;

interface LooseFact extends Partial<ProjectionEvent> {
  readonly entity: string;
  readonly type: string;
}

export function isProjection(tested: AnyAggregate | AnyProjection): tested is AnyProjection {
  return aggregatesOf(tested as AnyProjection).length > 0;
}

export class GivenRows<P extends AnyProjection> {
  readonly #domain: CompiledContext;
  readonly #projection: CompiledProjection;
  readonly #rows = new Map<string, Row>();
  readonly #seqs = new Map<string, number>();

  constructor(projection: P, events: readonly GivenFact<P>[]) {
    const context = defineContext("test", { aggregates: aggregatesOf(projection), projections: [projection] });
    this.#domain = compileContext(context);
    this.#projection = this.#domain.projections.get(projection.name)!;
    for (const event of events) this.#fold(event as LooseFact);
  }

  /** The rows that the given events make, all of them, in any order. */
  thenRows(rows: readonly RowOfProjection<P>[]): void {
    const wanted = new Map(rows.map((row) => [this.#idOf(row as Row), row as Row]));
    if (wanted.size !== rows.length) throw failed("two of the expected rows have the same key", {}, this.thenRows);
    const message = `the rows of ${this.#projection.name} are not the expected ones`;
    expectEqual(inOrder(this.#rows), inOrder(wanted), message, this.thenRows);
  }

  #idOf(row: Row): string {
    return this.#projection.keyFrom(Object.fromEntries(this.#projection.key.map(({ name }) => [name, row[name]]))).id;
  }

  #fold(fact: LooseFact): void {
    const event = this.#eventOf(fact);
    const run = this.#projection.functionsOf(event.aggregate)?.get(event.type);
    if (run === undefined) return;
    const where = `the projection ${this.#projection.name} for ${event.type}`;
    const keys = purely(`keyOf of ${where}`, [event], (given) => this.#projection.keysOf(given));
    const made = keys.map(({ id, key }) => {
      const row = this.#rows.get(id) ?? null;
      const apply = (before: Row | null, given: ProjectionEvent) =>
        this.#projection.apply(run, before ?? undefined, given, key);
      return { id, row: purely(where, [row, event], apply) };
    });
    for (const { id, row } of made) {
      if (row === null) this.#rows.delete(id);
      else this.#rows.set(id, frozenCopy(row));
    }
  }

  #eventOf(fact: LooseFact): ProjectionEvent {
    const { entity, type, time = 0, metadata, id } = fact;
    parseEntityId(entity) satisfies EntityId;
    const named = fact.aggregate ?? this.#domain.aggregateOfEvent(type)?.name;
    const event = named === undefined ? undefined : this.#domain.aggregates.get(named)?.events.get(type);
    if (named === undefined || event === undefined) {
      const known = this.#domain.aggregateNames.join(", ");
      throw failed(
        `no aggregate can be told that has the event ${type}; those of the projection: ${known}`,
        {},
        toldAmiss,
      );
    }
    let validated: ReturnType<typeof event.validate>;
    try {
      validated = event.validate(fact.payload);
    } catch (error) {
      throw failed(
        `the payload of ${named}.${type} could not be validated: ${described(error)}`,
        { cause: error },
        toldAmiss,
      );
    }
    if (validated.issues !== undefined) {
      const issues = validated.issues.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`));
      throw failed(`the given ${type} does not fit its schema: ${issues.join("; ")}`, {}, toldAmiss);
    }
    const seq = fact.seq ?? (this.#seqs.get(entity) ?? 0) + 1;
    this.#seqs.set(entity, seq);
    const payload = frozenPlain(validated.value, `the payload of ${named}.${type}`);
    return Object.freeze({ entity, aggregate: named, type, payload, seq, time, metadata, id });
  }
}

/** Errors of the test itself begin here. */
function toldAmiss(): void {}

function inOrder(rows: ReadonlyMap<string, Row>): readonly Row[] {
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}
