// A node in memory, as far as copying needs one: histories in short pages, imports with the checks of the real one.
import { HeddleError } from "@heddle/kernel";
import type { CopyPort } from "./copy-events.ts";
import { type ExportedEvent, ExportWriter } from "./export-format.ts";
import type { ImportFields } from "./lifecycle-requests.ts";
import { rejection } from "./replies.ts";
import type { HistoryFields } from "./requests.ts";
import { isTombstone } from "./system-events.ts";

export class MemoryNode implements CopyPort {
  readonly entities = new Map<string, ExportedEvent[]>();
  readonly imports: ImportFields[] = [];
  /** A page never holds more, whatever its limit is. */
  pageMax = 7;
  /** Asked before each import; what it throws is the answer, and the import does not take effect. */
  beforeImport: (fields: ImportFields) => void = () => {};
  /** The same, when it has taken effect. */
  afterImport: (fields: ImportFields) => void = () => {};

  of(entity: string): ExportedEvent[] {
    let events = this.entities.get(entity);
    if (events === undefined) {
      events = [];
      this.entities.set(entity, events);
    }
    return events;
  }

  /** Appends of one event each. */
  write(entity: string, ...parts: Partial<ExportedEvent>[]): void {
    for (const part of parts) {
      const events = this.of(entity);
      const last = events[events.length - 1];
      const seq = (last?.seq ?? 0) + 1;
      events.push({
        seq,
        time: last?.time ?? 1_000,
        aggregate: "Account",
        type: "Credited",
        schemaVersion: 1,
        payload: { amount: seq },
        metadata: undefined,
        id: undefined,
        ...part,
      });
    }
  }

  erase(entity: string): void {
    const events = this.of(entity);
    const to = events[events.length - 1]!.seq;
    this.write(entity, { aggregate: "$heddle", type: "Erased", payload: { from: 1, to }, time: 5_000 });
    events.splice(0, events.length - 1);
  }

  async history(fields: HistoryFields): Promise<readonly ExportedEvent[]> {
    const { entity, direction, limit, from, to = 0, until = 0 } = fields;
    // A real turn, so that others get theirs.
    await new Promise((resolve) => setImmediate(resolve));
    const all = this.entities.get(entity) ?? [];
    const forward = direction === "forward";
    const [first, last] = forward ? [from, to] : [to, from];
    return (forward ? all : all.toReversed())
      .filter(({ seq }) => seq >= first && (last === 0 || seq <= last))
      .filter(({ time }) => until === 0 || time <= until)
      .slice(0, Math.min(limit, this.pageMax));
  }

  async import(fields: ImportFields) {
    await new Promise((resolve) => setImmediate(resolve));
    this.beforeImport(fields);
    const events = this.of(fields.entity);
    const last = events[events.length - 1];
    const actualSeq = last?.seq ?? 0;
    if (isTombstone(last)) throw new HeddleError("ERASED", { entity: fields.entity, seq: last!.seq, time: last!.time });
    if (fields.expectedSeq !== actualSeq) {
      return rejection("SEQUENCE_CONFLICT", { expectedSeq: fields.expectedSeq!, actualSeq });
    }
    if (fields.events.some(({ payload }) => payload === "forbidden")) {
      return rejection("INVARIANT_VIOLATED", { aggregate: fields.aggregate, rule: "nothing forbidden", index: 0 });
    }
    this.imports.push(fields);
    const { aggregate, time, id, metadata } = fields;
    for (const { type, payload, schemaVersion = 0 } of fields.events) {
      const seq = events.length === 0 ? 1 : events[events.length - 1]!.seq + 1;
      events.push({ seq, time, aggregate, type, schemaVersion, payload, metadata, id });
    }
    this.afterImport(fields);
    const seq = events[events.length - 1]!.seq;
    const count = fields.events.length;
    return { ok: true, seq, firstSeq: seq - count + 1, count, shard: 0, position: 0, time, duplicate: false } as const;
  }

  /** An entity's export. */
  lines(entity: string): string[] {
    const events = this.of(entity);
    const writer = new ExportWriter();
    const seq = events[events.length - 1]?.seq ?? 0;
    const header = { context: "bank", entity, seq, exportedAt: "2026-01-01T00:00:00.000Z" };
    return [writer.header(header), ...events.map((event) => writer.event(event)), writer.end()];
  }
}
