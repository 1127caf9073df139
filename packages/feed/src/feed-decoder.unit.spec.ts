// Goal: the entries of a log become the events of a feed, and nothing else does.
// Method: logs on a simulated disk, written append by append.
// Tested elsewhere: reading records (event-log, tail-reader.unit.spec.ts).
import { entryFlags } from "@heddle/event-log/internal";
import { type FeedEvent, type FeedPosition, feedBeginning } from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { FeedDecoder, type FeedFilter, type FeedReset } from "./feed-decoder.ts";
import { credit, domain, WrittenLogs } from "./written-logs.spec-support.ts";

function readAll(logs: WrittenLogs, filter: FeedFilter = {}, from: FeedPosition = feedBeginning, bytesMax = 1 << 20) {
  const events: FeedEvent[] = [];
  const resets: FeedReset[] = [];
  const decoder = new FeedDecoder(domain, filter);
  let at = from;
  for (;;) {
    const chunk = logs.feed.read(0, at.record, bytesMax);
    if (chunk === undefined) return { events, resets, at };
    const visitor = {
      events(entry: Parameters<Parameters<FeedDecoder["visit"]>[1]["events"]>[0]) {
        for (let i = 0; i < entry.count; i++) if (entry.wanted(i)) events.push(entry.event(i));
      },
      reset: (reset: FeedReset) => void resets.push(reset),
    };
    at = decoder.visit(chunk, visitor, at);
  }
}

const summary = ({ entity, seq, type, payload }: FeedEvent) => [entity, seq, type, payload];

describe("feed decoder: events", () => {
  it("gives every event with its place, its names and what the append carried", async () => {
    const logs = new WrittenLogs();
    const position = logs.add(0, { ...credit("account/alice", 5, 6), id: "pay-1", metadata: { by: "ann" } });
    await logs.commit();
    expect(readAll(logs).events).toEqual(
      [5, 6].map((amount, index) => ({
        shard: 0,
        position,
        index,
        entity: "account/alice",
        seq: index + 1,
        time: 1_700_000_000_001,
        aggregate: "Account",
        type: "Credited",
        payload: { amount },
        metadata: { by: "ann" },
        id: "pay-1",
        schemaVersion: 2,
      })),
    );
  });

  it("D3: payloads have their newest shape, whatever they were stored as", async () => {
    const logs = new WrittenLogs();
    const old = { type: "Credited", payload: { units: 3 }, schemaVersion: 1 };
    const today = { type: "Debited", payload: { amount: 4 }, schemaVersion: 1 };
    await logs.write(0, { entity: "account/alice", events: [old, today] });
    const { events } = readAll(logs);
    expect(events.map(({ payload, schemaVersion }) => [payload, schemaVersion])).toEqual([
      [{ amount: 300 }, 2],
      [{ amount: 4 }, 1],
    ]);
  });

  it("D3: what is filtered out by its type is not decoded", async () => {
    const logs = new WrittenLogs();
    const bad = { type: "Credited", payload: { units: -1 }, schemaVersion: 1 };
    await logs.write(0, { entity: "account/alice", events: [bad, { type: "Debited", payload: { amount: 4 } }] });
    expect(readAll(logs, { types: new Set(["Debited"]) }).events.map(summary)).toEqual([
      ["account/alice", 2, "Debited", { amount: 4 }],
    ]);
    expect(() => readAll(logs)).toThrow(expect.objectContaining({ code: "DOMAIN_FAILED" }));
  });

  it("D1: what a transaction prepared is shown once, where it came to pass, and a shard's notes never", async () => {
    const logs = new WrittenLogs();
    const pending = logs.add(0, credit("account/alice", 5), { flags: entryFlags.pending });
    logs.add(0, credit("$transactions", 1), { flags: entryFlags.journal });
    logs.add(0, credit("account/bob", 1));
    await logs.commit();
    expect(readAll(logs).events.map(summary)).toEqual([["account/bob", 1, "Credited", { amount: 1 }]]);
    const applied = logs.add(0, credit("account/alice", 5), { flags: entryFlags.applied, call: pending });
    await logs.commit();
    const { events } = readAll(logs);
    expect(events.map(({ entity, position }) => [entity, position])).toEqual([
      ["account/bob", expect.any(Number)],
      ["account/alice", applied],
    ]);
  });

  it("leaves Heddle's own entities out unless they are asked for", async () => {
    const logs = new WrittenLogs();
    await logs.write(0, credit("$saga/transfer-1", 1), credit("account/alice", 2));
    expect(readAll(logs).events.map(({ entity }) => entity)).toEqual(["account/alice"]);
    expect(readAll(logs, { system: true }).events.map(({ entity }) => entity)).toEqual([
      "$saga/transfer-1",
      "account/alice",
    ]);
  });

  it("filters by kind, aggregate, type, and by who asks", async () => {
    const logs = new WrittenLogs();
    const note = { aggregate: "Notes", events: [{ type: "Noted", payload: { text: "x" } }] };
    await logs.write(
      0,
      credit("account/alice", 1),
      { entity: "account/alice", ...note },
      credit("accounts/alice", 2),
      credit("acc/alice", 3),
      { entity: "order/1", ...note },
    );
    const found = (filter: FeedFilter) => readAll(logs, filter).events.map(({ entity, type }) => `${entity} ${type}`);
    expect(found({ kind: "account" })).toEqual(["account/alice Credited", "account/alice Noted"]);
    expect(found({ aggregate: "Notes" })).toEqual(["account/alice Noted", "order/1 Noted"]);
    expect(found({ kind: "account", types: new Set(["Noted"]) })).toEqual(["account/alice Noted"]);
    expect(found({ wants: (aggregate, type) => aggregate === "Account" && type === "Credited" })).toEqual([
      "account/alice Credited",
      "accounts/alice Credited",
      "acc/alice Credited",
    ]);
  });
});

describe("feed decoder: D2 erasures and resets", () => {
  it("leaves out what was erased, and tells of tombstones and `restored` markers", async () => {
    const logs = new WrittenLogs();
    const first = logs.add(0, credit("account/alice", 1));
    const second = logs.add(0, credit("account/alice", 2, 3));
    logs.add(0, credit("account/bob", 4));
    await logs.commit();
    const restored = logs.addSystem(0, "account/bob", "Restored");
    const tombstone = logs.addSystem(0, "account/alice", "Erased");
    await logs.commit();
    await logs.erase(0, first, second);
    const { events, resets } = readAll(logs);
    expect(events.map(({ entity, type }) => [entity, type])).toEqual([
      ["account/bob", "Credited"],
      ["account/bob", "Restored"],
      ["account/alice", "Erased"],
    ]);
    expect(resets).toEqual([
      { kind: "restored", entity: "account/bob", shard: 0, seq: 2, time: expect.any(Number), position: restored },
      { kind: "erased", entity: "account/alice", shard: 0, seq: 4, time: expect.any(Number), position: tombstone },
    ]);
  });

  it("tells of resets whatever events are asked for, but for those of other kinds", async () => {
    const logs = new WrittenLogs();
    logs.addSystem(0, "account/bob", "Restored");
    logs.addSystem(0, "order/1", "Erased");
    await logs.commit();
    const { events, resets } = readAll(logs, { kind: "order", aggregate: "Notes" });
    expect(events).toEqual([]);
    expect(resets.map(({ entity }) => entity)).toEqual(["order/1"]);
  });
});

describe("feed decoder: D4 places", () => {
  it("a visit that was ended goes on exactly there, in front of any event of any entry", async () => {
    const logs = new WrittenLogs();
    await logs.write(0, credit("account/alice", 1, 2, 3), credit("account/bob", 4), credit("account/carol", 5, 6));
    await logs.write(0, credit("account/alice", 7));
    const all = readAll(logs).events;
    expect(all).toHaveLength(7);
    const decoder = new FeedDecoder(domain);
    for (let give = 0; give <= 6; give++) {
      const events: FeedEvent[] = [];
      const chunk = logs.feed.read(0, 0, 1)!;
      const at = decoder.visit(chunk, {
        events(entry) {
          if (events.length === give) return false;
          for (let i = 0; i < entry.count; i++) {
            if (events.length === give) return i;
            events.push(entry.event(i));
          }
          return undefined;
        },
      });
      expect([...events, ...readAll(logs, {}, at).events]).toEqual(all);
    }
  });

  it("a place stays where it is when what lies before it in its record is erased", async () => {
    const logs = new WrittenLogs();
    const first = logs.add(0, credit("account/alice", 1, 2));
    logs.add(0, credit("account/bob", 3));
    logs.add(0, credit("account/carol", 4));
    await logs.commit();
    const chunk = logs.feed.read(0, 0, 1)!;
    const at = new FeedDecoder(domain).visit(chunk, { events: (entry) => entry.entity !== "account/carol" });
    expect(at.skip).toBe(3);
    await logs.erase(0, first);
    expect(readAll(logs, {}, at).events.map(({ entity }) => entity)).toEqual(["account/carol"]);
  });

  it("counts what is filtered out, so that a place means the same to every reader", async () => {
    const logs = new WrittenLogs();
    logs.add(0, credit("account/x", 9), { flags: entryFlags.pending });
    await logs.write(
      0,
      credit("$saga/a", 1),
      credit("order/1", 2, 3),
      credit("account/alice", 4),
      credit("order/2", 5),
    );
    const chunk = logs.feed.read(0, 0, 1)!;
    const stopAt = (filter: FeedFilter) =>
      new FeedDecoder(domain, filter).visit(chunk, { events: ({ entity }) => entity !== "order/2" });
    expect(stopAt({})).toEqual(stopAt({ kind: "order" }));
    expect(readAll(logs, {}, stopAt({ kind: "order" })).events.map(({ entity }) => entity)).toEqual(["order/2"]);
  });
});
