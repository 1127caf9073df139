// A small bank, its projections, and a log of it that a spec writes at random: what the rows must be follows from the log as it is.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type AnyProjection, defineAggregate, defineContext, defineProjection, event } from "@heddle/domain";
import { type CompiledContext, compileContext, type Row } from "@heddle/domain/internal";
import { sagaAggregate } from "@heddle/saga/internal";
import { z } from "zod";
import { type FeedAppend, MemoryFeed } from "./memory-feed.spec-support.ts";
import { SqliteSink } from "./sqlite/sqlite-sink.ts";
import { Track, type TrackOptions } from "./track.ts";

const any = z.object({ amount: z.number(), poison: z.number().optional() });

export const Account = defineAggregate("Account", {
  version: 1,
  initial: () => 0,
  events: {
    Credited: event(any, (s) => s),
    Debited: event(any, (s) => s),
    Closed: event(any, (s) => s),
    Noted: event(any, (s) => s),
  },
});

/** What the functions cannot take at the moment: payloads with a poison below it. */
export const world = { poisonBelow: 0 };

const checked = (payload: { readonly poison?: number | undefined }) => {
  if ((payload.poison ?? Number.POSITIVE_INFINITY) < world.poisonBelow) throw new Error("poison");
};

/** A row for each entity, which an event may take away. */
export const accounts = (version = 1, sagas: "live" | "settled" = "live") =>
  defineProjection("accounts", {
    version,
    from: [Account],
    columns: { account: "text", balance: "integer", movements: "integer", last: "integer" },
    key: ["account"],
    indexes: [["balance"]],
    sagas,
    on: {
      Credited: (row, { entity, payload, seq }) => {
        checked(payload);
        const { balance = 0, movements = 0 } = row ?? {};
        return { account: entity, balance: balance + payload.amount, movements: movements + 1, last: seq };
      },
      Debited: (row, { entity, payload, seq }) => {
        checked(payload);
        const { balance = 0, movements = 0 } = row ?? {};
        return { account: entity, balance: balance - payload.amount, movements: movements + 1, last: seq };
      },
      Closed: () => null,
    },
  });

/** Two rows for each event: one that other entities write to, too, and one of its own. */
export const totals = defineProjection("totals", {
  version: 1,
  from: [Account],
  columns: { what: "text", nr: "integer", amount: "integer", events: "integer" },
  key: ["what", "nr"],
  keyOf: ({ entity, payload }) => [
    { what: "all", nr: payload.amount % 3 },
    { what: entity, nr: payload.amount % 2 },
  ],
  on: {
    Credited: (row, { payload }, key) => {
      checked(payload);
      return { ...key, amount: (row?.amount ?? 0) + payload.amount, events: (row?.events ?? 0) + 1 };
    },
  },
});

/** Several rows for each entity, and none that another one writes to. */
export const halves = defineProjection("halves", {
  version: 1,
  from: [Account],
  columns: { entity: "text", half: "boolean", amount: "integer" },
  key: ["half", "entity"],
  keyOf: ({ entity, payload }) => ({ entity, half: payload.amount % 2 === 0 }),
  on: {
    Credited: (row, { payload }, key) => {
      checked(payload);
      return { ...key, amount: (row?.amount ?? 0) + payload.amount };
    },
  },
});

export function domainOf(...projections: readonly AnyProjection[]): CompiledContext {
  return compileContext(defineContext("bank", { aggregates: [Account], projections }), "bank", [sagaAggregate]);
}

export class TracksUnderTest {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-tracks-"));
  readonly file = path.join(this.folder, "projections.sqlite");
  readonly feed: MemoryFeed;
  readonly reports: string[] = [];
  sink = new SqliteSink({ file: this.file });
  /** Asked at each crash point; may throw. */
  crashPoint: (name: string) => void = () => undefined;
  now = 1_000;
  readonly #tracks: Track[] = [];

  constructor(shardCount = 2) {
    this.feed = new MemoryFeed(shardCount);
  }

  track(domain: CompiledContext, more: Partial<TrackOptions> = {}): Track {
    let random = 0;
    const track = new Track({
      domain,
      projection: domain.projections.values().next().value!,
      source: this.feed,
      sink: this.sink,
      origin: "bank:1",
      clock: { now: () => this.now, monotonic: () => this.now },
      random: { safeInteger: () => this.#tracks.length * 1_000 + random++ },
      report: (message) => this.reports.push(message),
      crashPoint: (name) => this.crashPoint(name),
      ...more,
      limits: { rebuildDelayMs: 0, outcomesKept: 0, ...more.limits },
    });
    this.#tracks.push(track);
    return track;
  }

  async rows(track: Track): Promise<readonly Row[]> {
    const rows: Row[] = [];
    this.sink.open();
    const stored = await this.sink.describe(track.projection.name);
    if (stored?.live === undefined) return rows;
    const ref = { projection: track.projection, generation: stored.live.generation };
    for await (const page of this.sink.rows(ref)) rows.push(...page.map(({ row }) => row));
    return rows;
  }

  async end(): Promise<void> {
    for (const track of this.#tracks) await track.stop();
    this.sink.close();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Works until there is nothing to do. */
export async function drain(track: Track): Promise<void> {
  while (await track.work());
}

export const credited = (
  entity: string,
  amount: number,
  more: Partial<FeedAppend> & { poison?: number } = {},
): FeedAppend => ({
  entity,
  aggregate: "Account",
  events: [{ type: "Credited", payload: more.poison === undefined ? { amount } : { amount, poison: more.poison } }],
  ...(more.id === undefined ? {} : { id: more.id }),
});

export const closed = (entity: string): FeedAppend => ({
  entity,
  aggregate: "Account",
  events: [{ type: "Closed", payload: { amount: 0 } }],
});

export const sagaEnded = (saga: string, type: "Committed" | "Compensated"): FeedAppend => ({
  entity: `$saga/${saga}`,
  aggregate: "$saga",
  events: [{ type, payload: { at: 1, why: null, outcomes: [] } }],
});
