// What the log says by itself, worked out again by other means than the shard's: chains, counts, and states at every
// sequence. Held against what the shard and its partition answer.
import { createHash } from "node:crypto";
import type { PartitionReader, TypeCount } from "@heddle/partition/internal";
import {
  decodeValue,
  newAppendView,
  readAppendBody,
  readU16,
  TextCache,
  type WireListed,
} from "@heddle/protocol/internal";
import { expect } from "vitest";
import { type ShardUnderTest, value } from "./shard-under-test.spec-support.ts";

// As the format says them, written out again.
const tombstone = 2;
const erased = 4;
const restored = 8;
const headerBytes = 48;

export interface LoggedLife {
  /** Sequence of the last tombstone, 0 if there is none. */
  base: number;
  seq: number;
  /** 64 hex digits. */
  chain: string;
  /** First sequence, count, position, and the first four bytes of the chain after it. */
  extents: [firstSeq: number, count: number, position: number, check: number][];
  /** Events since the last reset that stands before them, in order. */
  events: { seq: number; time: number; reset: boolean; aggregate: string; type: string; payload: unknown }[];
  hasErased: boolean;
}

export interface LogFacts {
  readonly lives: Map<string, LoggedLife>;
  readonly counts: TypeCount[];
}

export function readLog(under: ShardUnderTest): LogFacts {
  const lives = new Map<string, LoggedLife>();
  const counts = new Map<string, TypeCount>();
  const view = newAppendView();
  const texts = new TextCache();
  under.scanLog((entry) => {
    const { bytes, bodyFrom, bodyTo, firstSeq, eventCount, position, time } = entry;
    const idBytes = readU16(bytes, bodyFrom);
    const id = Buffer.from(bytes.subarray(bodyFrom + 2, bodyFrom + 2 + idBytes)).toString();
    const life = lives.get(id) ?? { base: 0, seq: 0, chain: "", extents: [], events: [], hasErased: false };
    lives.set(id, life);
    expect(firstSeq, `P1: no gap in ${id}`).toBe(life.seq + 1);
    if ((entry.flags & tombstone) !== 0) {
      Object.assign(life, { base: firstSeq, chain: "", extents: [], events: [], hasErased: false });
    }
    life.seq = firstSeq + eventCount - 1;
    const previous = life.chain === "" ? Buffer.alloc(32) : Buffer.from(life.chain, "hex");
    const hash = createHash("sha256")
      .update(previous)
      .update(bytes.subarray(bodyFrom - headerBytes + 8, bodyTo));
    life.chain = hash.digest("hex");
    life.extents.push([firstSeq, eventCount, position, Number.parseInt(life.chain.slice(0, 8), 16)]);
    if ((entry.flags & erased) !== 0) {
      life.hasErased = true;
      return;
    }
    readAppendBody(bytes, bodyFrom, bodyTo, texts, view);
    const payloads = decodeValue(bytes.subarray(view.payloadsFrom, bodyTo)) as unknown[];
    for (const [i, payload] of payloads.entries()) {
      const typeIndex = view.typeIndexes === 0 ? 0 : bytes[view.typeIndexes + i]!;
      const type = view.types[typeIndex]!;
      const { aggregate } = view;
      const reset = (entry.flags & (tombstone | restored)) !== 0;
      life.events.push({ seq: firstSeq + i, time, reset, aggregate, type, payload });
      if (aggregate.startsWith("$")) continue;
      const schemaVersion = readU16(bytes, view.versionOffsets[typeIndex]!);
      const key = `${aggregate} ${type} ${String(schemaVersion).padStart(5, "0")}`;
      const count = (counts.get(key)?.count ?? 0) + 1;
      counts.set(key, { aggregate, type, schemaVersion, count });
    }
  });
  return { lives, counts: [...counts.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row) };
}

/** Balance and texts of the bank's entities after a sequence. */
export function foldBank(
  events: LoggedLife["events"],
  upTo = Number.POSITIVE_INFINITY,
): { balance: number; events: number; texts: string[] } {
  let state = { balance: 0, events: 0, texts: [] as string[] };
  for (const { seq, reset, type, payload } of events) {
    if (seq > upTo) break;
    if (reset) state = { balance: 0, events: 0, texts: [] };
    const { amount = 0, text } = payload as { amount?: number; text?: string };
    if (type === "Credited" || type === "Debited") {
      state = { ...state, balance: state.balance + (type === "Debited" ? -amount : amount), events: state.events + 1 };
    }
    if (type === "Noted") state = { ...state, texts: [...state.texts, text!] };
  }
  return state;
}

/** Holds chains, checks, counts, lists and states against the log. The shard must be idle. */
export async function checkAgainstLog(under: ShardUnderTest): Promise<LogFacts> {
  const facts = readLog(under);
  const listed = new Map((await under.listed({ erased: true })).map((one) => [one[0], one]));
  expect([...listed.keys()].sort()).toEqual([...facts.lives.keys()].sort());
  for (const [id, life] of facts.lives) {
    const { seq, base, events } = life;
    const [, listedSeq, , chain, isErased]: WireListed = listed.get(id)!;
    expect([id, listedSeq, isErased]).toEqual([id, seq, base === seq]);
    // What is being erased has a chain of its own until it is gone.
    if (!life.hasErased) expect([id, chain]).toEqual([id, life.chain]);
    if (base === seq) continue;
    const { balance, events: count, texts } = foldBank(events);
    expect(await under.state(id, "Account")).toEqual({ state: { balance, events: count }, seq });
    expect(await under.state(id, "Notes")).toEqual({ state: { texts }, seq });
  }
  // What is being erased is counted out before it is overwritten.
  if (under.shard.stats().erasures === 0) expect(value(await under.types())).toEqual(facts.counts);
  return facts;
}

/** Holds what the partition has against the log; everything must be covered. */
export function checkPartition(partition: PartitionReader, { lives, counts }: LogFacts): void {
  checkEntities(partition, lives);
  expect(partition.catalogue()).toEqual(counts);
}

/** The same of heads and extents alone. */
export function checkEntities(partition: PartitionReader, lives: LogFacts["lives"]): void {
  const heads = new Map([...partition.entities()].map(({ entity, head }) => [entity, head]));
  expect([...heads.keys()].sort()).toEqual([...lives.keys()].sort());
  for (const [id, { seq, base, chain, extents }] of lives) {
    const head = heads.get(id)!;
    expect({ id, seq: head.seq, base: head.baseSeq, chain: Buffer.from(head.chain, "latin1").toString("hex") }).toEqual(
      {
        id,
        seq,
        base,
        chain,
      },
    );
    const stored = [...partition.extents(id, 1, "forward")];
    expect(stored.map(({ firstSeq, count, position, check }) => [firstSeq, count, position, check])).toEqual(extents);
  }
}
