// Imports: events that were written elsewhere come in with the times and sequences that they had there.
//
// Method: a history is exported by reading it and imported into another shard, and both must answer alike. What an export
// looks like is the SDK's.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import type { ImportFields, WireEvent } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { alice, bank, bob, credit, credited, debit, note } from "./bank.spec-support.ts";
import { checkAgainstLog } from "./log-check.spec-support.ts";
import {
  closeAll,
  failure,
  openShard,
  receipt,
  rejected,
  type ShardUnderTest,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

/** Each event as an import of its own. */
function importsOf(events: readonly WireEvent[]): Omit<ImportFields, "trusted">[] {
  return events.map(([seq, time, aggregate, type, payload, metadata, id]) => ({
    entity: alice,
    aggregate,
    events: [{ type, payload }],
    time,
    expectedSeq: seq - 1,
    id: id ?? undefined,
    metadata,
  }));
}

const marker = (payload: unknown, type = "Restored", more: readonly { type: string; payload: unknown }[] = []) => ({
  entity: alice,
  aggregate: "$heddle",
  events: [{ type, payload }, ...more],
});

describe("import", () => {
  it("gives the same states, sequences, times, ids and metadata, restorings too, also after a restart and from the log alone", async () => {
    const source = openShard(bank);
    receipt(await source.append({ ...credit(alice, 10, 5), id: "first", metadata: { by: "x" } }));
    source.advance(1_000);
    receipt(await source.append(note(alice, "kept")));
    source.advance(1_000);
    receipt(await source.append(debit(alice, 3)));
    receipt(await source.restore(alice, { seq: 3 }));
    source.advance(1_000);
    receipt(await source.append(credit(alice, 4)));
    const events = await source.events(alice);
    const without = (all: readonly WireEvent[]) => all.map((one) => one.slice(0, 8));

    const under = openShard(bank);
    under.advance(60_000);
    const markerCall = events.findIndex(([, , , type]) => type === "Restored") + 1;
    for (const [i, fields] of importsOf(events).entries()) {
      // The first entry's two events have one id: it belongs to the first.
      const { id, ...rest } = fields;
      receipt(await under.import({ ...rest, ...(i === 0 ? { id } : {}) }, { session: 4, call: i + 1 }));
    }
    const check = async () => {
      const imported = await under.events(alice);
      expect(without(imported).map((one, i) => (i === 1 ? one.with(6, "first") : one))).toEqual(without(events));
      for (const aggregate of ["Account", "Notes"]) {
        expect(await under.state(alice, aggregate)).toEqual(await source.state(alice, aggregate));
      }
      for (const { 0: seq } of events) {
        expect((await under.getAt(alice, "Account", { seq })) as object).toMatchObject({
          value: ((await source.getAt(alice, "Account", { seq })) as { value: unknown }).value,
        });
      }
      const again = importsOf(events)[markerCall - 1]!;
      const { id: _, ...rest } = again;
      const repeated = receipt(await under.import(rest, { session: 4, call: markerCall, retry: true }));
      expect(repeated).toMatchObject({ firstSeq: markerCall, count: 1, duplicate: true });
      await checkAgainstLog(under);
    };
    await check();
    await under.restart();
    await check();
    await under.crash("everything");
    under.startWithEmptyPartition();
    await check();
    // Goes on like any other, by this node's clock.
    const next = receipt(await under.append(credit(alice, 1)));
    expect([next.seq, next.time]).toEqual([events.length + 1, under.clock.nowMs]);
  });

  describe("P7: refuses, and changes nothing", () => {
    async function lived(): Promise<ShardUnderTest> {
      const under = openShard(bank);
      receipt(await under.append(credit(alice, 10)));
      return under;
    }
    const unchanged = async (under: ShardUnderTest) => {
      expect(under.logEntries()).toHaveLength(1);
      expect(await under.state(alice, "Account")).toEqual({ state: { balance: 10, events: 1 }, seq: 1 });
      expect(receipt(await under.append(credit(alice, 1))).seq).toBe(2);
    };

    it("P7: a time before the entity's last event, and one that is yet to come", async () => {
      const under = await lived();
      const now = under.clock.nowMs;
      for (const time of [now - 1, now + 1]) {
        const refused = failure(await under.import({ ...credit(alice, 1), time }));
        expect(refused).toMatchObject({ code: "INVALID_REQUEST", facts: { path: "time" } });
      }
      await unchanged(under);
      receipt(await under.import({ ...credit(bob, 1), time: 5 }));
    });

    it("P7: another sequence than the one expected, types that nobody knows, payloads that do not fit, and rules that do not hold", async () => {
      const under = await lived();
      const time = under.clock.nowMs;
      expect(rejected(await under.import({ ...credit(alice, 1), time, expectedSeq: 0 })).code).toBe(
        "SEQUENCE_CONFLICT",
      );
      expect(rejected(await under.import({ ...debit(alice, 11), time })).code).toBe("INVARIANT_VIOLATED");
      const unknown = { entity: alice, aggregate: "Account", events: [{ type: "Nothing", payload: {} }], time };
      expect(failure(await under.import(unknown)).code).toBe("UNKNOWN_EVENT_TYPE");
      expect(failure(await under.import({ ...unknown, aggregate: "Nothing" })).code).toBe("UNKNOWN_AGGREGATE");
      expect(failure(await under.import({ ...credit(alice, -1), time })).code).toBe("INVALID_PAYLOAD");
      await unchanged(under);
    });

    it("P7: any system event but one marker of a restoring, and markers in an ordinary append", async () => {
      const under = await lived();
      const time = under.clock.nowMs;
      const wrong = [
        marker({ from: 1, to: 1 }, "Erased"),
        marker({ seq: 1 }),
        marker({ seq: -1, copied: 0 }),
        marker({ seq: "1", copied: 0 }),
        marker(null),
        marker({ seq: 1, copied: 0 }, "Restored", [{ type: "Restored", payload: { seq: 1, copied: 0 } }]),
        marker({ seq: 1, copied: 0 }, "Restored", [credited(1)]),
      ];
      for (const fields of wrong) expect(failure(await under.import({ ...fields, time })).code).toBe("INVALID_REQUEST");
      expect(failure(await under.append(marker({ seq: 1, copied: 0 }))).code).toBe("UNKNOWN_AGGREGATE");
      await unchanged(under);
    });

    it("P6: anything for an erased entity, unless a new life is asked for", async () => {
      const under = await lived();
      const time = under.clock.nowMs;
      await under.erase(alice);
      expect(failure(await under.import({ ...credit(alice, 1), time })).code).toBe("ERASED");
      expect(receipt(await under.import({ ...credit(alice, 1), time, newLife: true })).seq).toBe(3);
    });
  });

  it("a schema that does not take what it returns is passed over for trusted payloads, and only for those", async () => {
    const Dated = defineAggregate("Dated", {
      version: 1,
      initial: () => ({ total: 0 }),
      events: {
        Set: event(
          z.string().transform((text) => text.length),
          (s, e) => ({ total: s.total + e }),
        ),
      },
    });
    const under = openShard(defineContext("dated", { aggregates: [Dated] }));
    const fields = { entity: alice, aggregate: "Dated", events: [{ type: "Set", payload: 4 }], time: 1_000 };
    expect(failure(await under.import(fields)).code).toBe("INVALID_PAYLOAD");
    receipt(await under.import({ ...fields, trusted: true }));
    expect(await under.state(alice, "Dated")).toEqual({ state: { total: 4 }, seq: 1 });
    await under.restart();
    expect(await under.state(alice, "Dated")).toEqual({ state: { total: 4 }, seq: 1 });
  });
});
