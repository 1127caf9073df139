// P1: one writer. Commands to one entity run one at a time, in arrival order; sequences have no gap.
//
// Method: a shard over a simulated disk whose syncs the test can hold; what came out is read from history and from the
// log's own entries.
import { command, defineAggregate, defineContext, event, reject } from "@heddle/domain";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { alice, bank, bob, credit, debit, note } from "./bank.spec-support.ts";
import { brief, closeAll, openShard, receipt, rejected } from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const Flight = defineAggregate("Flight", {
  version: 1,
  initial: () => ({ taken: 0, capacity: 10 }),
  events: { SeatTaken: event(z.object({}), (s) => ({ ...s, taken: s.taken + 1 })) },
  invariants: { "no more seats than there are": (s) => s.taken <= s.capacity },
  commands: {
    TakeSeat: command(z.object({}), (s) =>
      s.taken < s.capacity ? { type: "SeatTaken", payload: {} } : reject("FULL", { taken: s.taken }),
    ),
  },
});
const flights = defineContext("flights", { aggregates: [Flight] });
const seat = { entity: "flight/lh1", aggregate: "Flight", events: [{ type: "SeatTaken", payload: {} }] };

describe("P1: one writer", () => {
  it("P1: 1,000 appends from 20 sessions to one entity get the sequences 1 to 1,000 and answers in arrival order", async () => {
    const under = openShard(bank);
    const asked = [];
    for (let i = 0; i < 1_000; i++) {
      asked.push(under.append(credit(alice, i + 1), { session: 1 + (i % 20), call: i + 1 }));
      if (i % 37 === 0) await under.turns(1);
    }
    const receipts = (await Promise.all(asked)).map(receipt);
    expect(receipts.map(({ firstSeq }) => firstSeq)).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
    expect(under.replies.map(({ call }) => call)).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
    const events = brief(await under.events(alice));
    expect(events).toEqual(Array.from({ length: 1_000 }, (_, i) => [i + 1, "Credited", { amount: i + 1 }]));
    expect(under.logEntries().map(({ firstSeq }) => firstSeq)).toEqual(receipts.map(({ firstSeq }) => firstSeq));
  });

  it("P1: sequences of two entities and two aggregates do not disturb each other", async () => {
    const under = openShard(bank);
    const asked = under.turn(() => [
      under.append(credit(alice, 5, 6)),
      under.append(credit(bob, 7)),
      under.append(note(alice, "x")),
      under.append(credit(bob, 8)),
      under.append(debit(alice, 1)),
    ]);
    const receipts = (await Promise.all(asked)).map(receipt);
    expect(receipts.map(({ firstSeq, seq }) => [firstSeq, seq])).toEqual([
      [1, 2],
      [1, 1],
      [3, 3],
      [2, 2],
      [4, 4],
    ]);
    expect(brief(await under.events(alice)).map(([seq, type]) => [seq, type])).toEqual([
      [1, "Credited"],
      [2, "Credited"],
      [3, "Noted"],
      [4, "Debited"],
    ]);
  });

  it("P1: of two who take the last seat in the same turn exactly one gets it", async () => {
    const under = openShard(flights);
    receipt(await under.append({ ...seat, events: Array.from({ length: 9 }, () => seat.events[0]!) }));
    const [first, second] = under.turn(() => [under.append(seat), under.append(seat, { session: 2 })]);
    expect(receipt(await first).seq).toBe(10);
    expect(rejected(await second)).toMatchObject({
      code: "INVARIANT_VIOLATED",
      facts: { aggregate: "Flight", rule: "no more seats than there are", index: 0 },
    });
    expect(await under.state(seat.entity, "Flight")).toEqual({ state: { taken: 10, capacity: 10 }, seq: 10 });
  });

  it("P1: a command decides on what the command before it left, although that is not durable yet", async () => {
    const under = openShard(flights);
    under.disk.holdSyncs();
    const take = { entity: seat.entity, aggregate: "Flight", command: "TakeSeat", input: {} };
    const asked = Array.from({ length: 25 }, (_, i) => under.execute(take, { session: 1 + (i % 3) }));
    under.disk.releaseSyncs();
    const replies = await Promise.all(asked);
    expect(replies.slice(0, 10).map((reply) => receipt(reply).seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (const reply of replies.slice(10)) {
      expect(rejected(reply)).toMatchObject({ code: "COMMAND_REJECTED", facts: { reason: "FULL" } });
    }
  });

  it("P1: the time of an entity's events never falls, even when the clock does", async () => {
    const under = openShard(bank);
    const first = receipt(await under.append(credit(alice, 1)));
    under.clock.nowMs -= 60_000;
    const second = receipt(await under.append(credit(alice, 1)));
    const other = receipt(await under.append(credit(bob, 1)));
    expect(second.time).toBe(first.time);
    expect(other.time).toBe(under.clock.nowMs);
  });

  it("P1: sequences go on where they were after a clean stop, a crash, and a passivation", async () => {
    const under = openShard(bank, { limits: { activeEntitiesMax: 1 } });
    receipt(await under.append(credit(alice, 1, 2)));
    await under.checkpoint();
    receipt(await under.append(credit(bob, 1)));
    expect(receipt(await under.append(credit(alice, 3))).firstSeq).toBe(3);
    await under.restart();
    expect(receipt(await under.append(credit(alice, 4))).firstSeq).toBe(4);
    await under.crash();
    under.start();
    expect(receipt(await under.append(credit(alice, 5))).firstSeq).toBe(5);
  });
});
