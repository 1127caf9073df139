// What the specs of feeds share: logs of some shards on a simulated disk, written append by append, a domain with an event that
// has a past, and a loop of turns that is moved by hand.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { type CompiledContext, compileContext } from "@heddle/domain/internal";
import { type EntryHeader, EventLog, type EventLogOptions } from "@heddle/event-log/internal";
import { systemRandom } from "@heddle/kernel";
import { systemAggregate, writeAppendBody } from "@heddle/protocol/internal";
import { SimulatedDisk } from "@heddle/testkit";
import { z } from "zod";
import { DurableEnds } from "./durable-ends.ts";
import { LogFeed } from "./log-feed.ts";

const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0 }),
  events: {
    // Version 1 had whole units, in `units`.
    Credited: event(z.object({ amount: z.number() }), (s, e) => ({ balance: s.balance + e.amount }), {
      version: 2,
      upcast: {
        1: (old) => {
          const { units } = old as { units: number };
          if (units < 0) throw new Error("less than nothing");
          return { amount: units * 100 };
        },
      },
    }),
    Debited: event(z.object({ amount: z.number() }), (s, e) => ({ balance: s.balance - e.amount })),
  },
});

const Notes = defineAggregate("Notes", {
  version: 1,
  initial: () => ({ count: 0 }),
  events: { Noted: event(z.object({ text: z.string() }), (s) => ({ count: s.count + 1 })) },
});

export const domain: CompiledContext = compileContext(defineContext("bank", { aggregates: [Account, Notes] }));

export interface Written {
  readonly entity: string;
  readonly events: readonly { readonly type: string; readonly payload: unknown; readonly schemaVersion?: number }[];
  readonly aggregate?: string;
  readonly id?: string;
  readonly metadata?: unknown;
}

export const credit = (entity: string, ...amounts: number[]): Written => ({
  entity,
  events: amounts.map((amount) => ({ type: "Credited", payload: { amount }, schemaVersion: 2 })),
});

export class WrittenLogs {
  readonly disk = new SimulatedDisk();
  readonly ends: DurableEnds;
  readonly logs: EventLog[];
  readonly feed: LogFeed;
  readonly #seqs = new Map<string, number>();

  constructor(shardCount = 1, options: Partial<EventLogOptions> = {}) {
    const { disk } = this;
    const folders = Array.from({ length: shardCount }, (_, shard) => `/data/${shard}`);
    this.ends = new DurableEnds(shardCount);
    this.logs = folders.map((folder, shard) => {
      return EventLog.open({
        disk,
        folder,
        shard,
        clock: { now: () => 1_700_000_000_000, monotonic: () => 0 },
        random: systemRandom,
        durability: "fsync",
        knownEnd: 0,
        replayFrom: 0,
        onEntry: () => {},
        ...options,
      });
    });
    this.feed = new LogFeed({ disk, folders, ends: this.ends });
  }

  /** Adds one append to the open group of a shard. Returns its position. */
  add(shard: number, append: Written, header: Partial<EntryHeader> = {}): number {
    const { entity, events, aggregate = "Account", id, metadata } = append;
    const log = this.logs[shard]!;
    const stored = events.map((one) => ({ schemaVersion: 1, ...one }));
    const fields = { entity, aggregate, events: stored, id, metadata };
    const length = writeAppendBody(fields, (wanted) => log.reserve(wanted));
    const firstSeq = (this.#seqs.get(entity) ?? 0) + 1;
    const full = { flags: 0, firstSeq, fingerprint: 7, session: 1, call: 1, payloadsOffset: 0, ...header };
    if ((full.flags & 80) === 0) this.#seqs.set(entity, firstSeq + events.length - 1);
    return log.add({ time: 1_700_000_000_000 + firstSeq, eventCount: events.length, ...full }, length);
  }

  addSystem(shard: number, entity: string, type: "Erased" | "Restored"): number {
    const payload = type === "Erased" ? { from: 1, to: 1 } : { seq: 0, copied: 0 };
    const written = { entity, aggregate: systemAggregate, events: [{ type, payload, schemaVersion: 1 }] };
    return this.add(shard, written, { flags: type === "Erased" ? 2 : 8 });
  }

  /** Sends the open group; readers hear of it when it is durable. */
  async commit(shard = 0): Promise<void> {
    const tell = await this.commitUntold(shard);
    tell();
  }

  /** The same, but readers hear of it when the returned function is called. */
  async commitUntold(shard = 0): Promise<() => void> {
    const log = this.logs[shard]!;
    await new Promise<void>((resolve) => {
      log.onDurable = () => resolve();
      log.flush();
    });
    return () => this.ends.advance(shard, log.durableEnd);
  }

  async write(shard: number, ...appends: readonly Written[]): Promise<void> {
    for (const append of appends) this.add(shard, append);
    await this.commit(shard);
  }

  async erase(shard: number, ...positions: readonly number[]): Promise<void> {
    const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
    await this.logs[shard]!.erase(
      [...positions].sort((a, b) => a - b),
      turn,
    );
  }
}
