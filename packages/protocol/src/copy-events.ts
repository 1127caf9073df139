// EventCopy: writes events that exist elsewhere into one entity, with their sequences and times.
//
// Y1. What is written is exactly the given events, in order, from sequence 1 on; every request names the sequence that it
//     expects, so that none takes effect twice, and nothing is written behind events of another origin.
// Y2. It goes on where another copy of the same events ended, or gets to, at the same time: what is there already is read
//     and compared. An entity that has anything else is refused.
// Y3. Memory holds one request: 1,000 events and about 1 MiB. A group of events that has an id stays whole, as the append
//     was that had it.
// Not promised: that others see the copy only when it is whole.
import { HeddleError, limits } from "@heddle/kernel";
import type { ExportedEvent } from "./export-format.ts";
import type { ImportFields } from "./lifecycle-requests.ts";
import { encodeValue } from "./payload-codec.ts";
import { RejectedError } from "./rejected-error.ts";
import type { AppendResult } from "./replies.ts";
import type { HistoryFields } from "./requests.ts";
import { isSameValue } from "./same-value.ts";
import { isTombstone, systemAggregate } from "./system-events.ts";

/** What copying needs of a node. Both reject with a `HeddleError`. */
export interface CopyPort {
  history(fields: HistoryFields): Promise<readonly ExportedEvent[]>;
  import(fields: ImportFields): Promise<AppendResult>;
}

interface Bounds {
  readonly events: number;
  readonly bytes: number;
}

const requestMax: Bounds = { events: 1_000, bytes: 1 << 20 };
/** A quarter is left for what else a frame holds. */
const groupMax: Bounds = { events: limits.appendEventsMax, bytes: (limits.frameBytesMax / 4) * 3 };

export class EventCopy {
  readonly #port: CopyPort;
  readonly #entity: string;
  readonly #trusted: boolean;
  #group: ExportedEvent[] = [];
  #groupBytes = 0;
  /** The id of the group at hand, or undefined when its first part has gone. */
  #groupId: string | undefined;
  /** The entity may have some of the events: what it has is compared, before anything is written. */
  #comparing = true;
  #last: ExportedEvent | undefined;
  #written = 0;
  #present = 0;

  /** `trusted`: payloads are not held against their schemas. Rules are asked in any case. */
  constructor(port: CopyPort, entity: string, trusted: boolean) {
    this.#port = port;
    this.#entity = entity;
    this.#trusted = trusted;
  }

  /** Events that this copy wrote. */
  get written(): number {
    return this.#written;
  }

  /** Events that were there already. */
  get present(): number {
    return this.#present;
  }

  /**
   * Takes the next event, and writes those before it when they are enough for a request.
   * Errors: `ENTITY_EXISTS`, `ERASED`; `RejectedError` when a rule says no; whatever the port rejects with.
   */
  async add(event: ExportedEvent): Promise<void> {
    const bytes = encodeValue(event.payload).length;
    const continues = this.#last !== undefined && isOneGroup(this.#last, event);
    const { events: eventsMax, bytes: bytesMax } = event.id === undefined ? requestMax : groupMax;
    const full = this.#group.length >= eventsMax || this.#groupBytes + bytes > bytesMax;
    if (!continues || full) await this.#flush();
    if (!continues) this.#groupId = event.id;
    this.#group.push(event);
    this.#groupBytes += bytes;
    this.#last = event;
  }

  /** Writes the rest, and makes sure that nothing stands behind it. Errors: as `add`. */
  async finish(): Promise<void> {
    await this.#flush();
    // An import that expected a sequence and took effect has shown it.
    if (this.#last !== undefined && !this.#comparing) return;
    const next = (this.#last?.seq ?? 0) + 1;
    if ((await this.#page(next, 0, 1)).length > 0) throw await this.#exists();
  }

  async #flush(): Promise<void> {
    let rest = this.#group;
    this.#group = [];
    this.#groupBytes = 0;
    while (rest.length > 0) {
      if (this.#comparing) {
        const same = await this.#compare(rest);
        this.#present += same;
        if (same > 0) {
          rest = rest.slice(same);
          this.#groupId = undefined;
          continue;
        }
        this.#comparing = false;
      }
      const result = await this.#port.import(this.#request(rest));
      if (result.ok) {
        this.#written += rest.length;
        this.#groupId = undefined;
        return;
      }
      if (result.code !== "SEQUENCE_CONFLICT") throw new RejectedError(result);
      if (result.facts.actualSeq < rest[0]!.seq) throw await this.#exists();
      this.#comparing = true;
    }
  }

  #request(events: readonly ExportedEvent[]): ImportFields {
    const { seq, time, aggregate, metadata } = events[0]!;
    return {
      entity: this.#entity,
      aggregate,
      events: events.map(({ type, payload, schemaVersion }) => ({ type, payload, schemaVersion })),
      expectedSeq: seq - 1,
      id: this.#groupId,
      metadata,
      time,
      trusted: this.#trusted,
    };
  }

  // How many of the events the entity has, from the first on; none when it ends before them.
  async #compare(events: readonly ExportedEvent[]): Promise<number> {
    const found = await this.#page(events[0]!.seq, events[events.length - 1]!.seq, events.length);
    if (!found.every((event, i) => isSameEvent(event, events[i]!))) throw await this.#exists();
    return found.length;
  }

  #page(from: number, to: number, limit: number): Promise<readonly ExportedEvent[]> {
    return this.#port.history({ entity: this.#entity, aggregate: "", from, to, limit, direction: "forward" });
  }

  async #exists(): Promise<HeddleError> {
    const newest = { entity: this.#entity, aggregate: "", from: 0, limit: 1, direction: "backward" } as const;
    const [last] = await this.#port.history(newest);
    const { seq = 0, time = 0 } = last ?? {};
    if (isTombstone(last)) return new HeddleError("ERASED", { entity: this.#entity, seq, time });
    return new HeddleError("ENTITY_EXISTS", { entity: this.#entity, seq });
  }
}

// A system event stands alone, whatever stands beside it.
function isOneGroup(a: ExportedEvent, b: ExportedEvent): boolean {
  if (a.time !== b.time || a.aggregate !== b.aggregate || a.id !== b.id || a.aggregate === systemAggregate)
    return false;
  // Versions go by type in a request: one type has one version.
  return isSameValue(a.metadata, b.metadata) && (a.type !== b.type || a.schemaVersion === b.schemaVersion);
}

// A node with a newer domain module gives payloads in a newer shape.
function isSameEvent(a: ExportedEvent, b: ExportedEvent): boolean {
  if (a.seq !== b.seq || a.time !== b.time || a.aggregate !== b.aggregate || a.type !== b.type) return false;
  return a.schemaVersion !== b.schemaVersion || isSameValue(a.payload, b.payload);
}
