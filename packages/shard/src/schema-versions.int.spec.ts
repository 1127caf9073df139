// Schema versions: old events in the newest shape for every reader, and no start with a module that cannot read them.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { Account, alice, bob, Notes, note } from "./bank.spec-support.ts";
import { closeAll, openShard, receipt, type ShardUnderTest } from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

describe("schema versions", () => {
  const initial = () => ({ balance: 0 });
  const v1 = defineContext("bank", {
    aggregates: [
      defineAggregate("Account", {
        version: 1,
        initial,
        events: {
          Credited: event(z.object({ amount: z.number() }), (s, e) => ({ balance: s.balance + 100 * e.amount })),
        },
      }),
      Notes,
    ],
  });
  const toCents = (e: { amount: number }) => ({ cents: e.amount * 100 });
  const toMoney = (e: { cents: number }) => ({ cents: e.cents, currency: "EUR" });
  const v2 = defineContext("bank", {
    aggregates: [
      defineAggregate("Account", {
        version: 1,
        initial,
        events: {
          Credited: event(z.object({ cents: z.number() }), (s, e) => ({ balance: s.balance + e.cents }), {
            version: 2,
            upcast: { 1: toCents },
          }),
        },
      }),
      Notes,
    ],
  });
  const v3 = defineContext("bank", {
    aggregates: [
      defineAggregate("Account", {
        version: 1,
        initial,
        events: {
          Credited: event(
            z.object({ cents: z.number(), currency: z.string() }),
            (s, e) => ({ balance: s.balance + e.cents }),
            { version: 3, upcast: { 1: toCents, 2: toMoney } },
          ),
        },
      }),
      Notes,
    ],
  });
  const append = (under: ShardUnderTest, payload: unknown) =>
    under.append({ entity: alice, aggregate: "Account", events: [{ type: "Credited", payload }] });

  async function lived(): Promise<ShardUnderTest> {
    const under = openShard(v1);
    receipt(await append(under, { amount: 1 }));
    await under.restart(v2);
    receipt(await append(under, { cents: 250 }));
    await under.crash("everything");
    under.start(v3);
    receipt(await append(under, { cents: 3, currency: "USD" }));
    return under;
  }

  it("events of three versions are read in the newest shape by replay, history, getAt and restoring; stored bytes stay", async () => {
    const under = await lived();
    const bytes: string[] = [];
    const read = (into: string[]) =>
      under.scanLog((entry) =>
        into.push(Buffer.from(entry.bytes.subarray(entry.bodyFrom, entry.bodyTo)).toString("hex")),
      );
    read(bytes);
    await under.crash("everything");
    under.startWithEmptyPartition();
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 353 }, seq: 3 });
    const newest = [
      { cents: 100, currency: "EUR" },
      { cents: 250, currency: "EUR" },
      { cents: 3, currency: "USD" },
    ];
    const events = await under.events(alice);
    expect(events.map(([, , , , payload, , , version]) => [payload, version])).toEqual(newest.map((one) => [one, 3]));
    expect(await under.getAt(alice, "Account", { seq: 2 })).toMatchObject({ value: { state: { balance: 350 } } });
    receipt(await under.restore(alice, { seq: 2 }));
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 350 }, seq: 6 });
    await under.restart();
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 350 }, seq: 6 });
    expect((await under.events(alice, { from: 5 })).map(([, , , , payload]) => payload)).toEqual(newest.slice(0, 2));
    const after: string[] = [];
    read(after);
    expect(after.slice(0, bytes.length)).toEqual(bytes);
    // Copies are what was stored, with the versions of then.
    expect((await under.types()) as object).toMatchObject({
      value: [
        { type: "Credited", schemaVersion: 1, count: 2 },
        { type: "Credited", schemaVersion: 2, count: 2 },
        { type: "Credited", schemaVersion: 3, count: 1 },
      ],
    });
  });

  it.each(["by a checkpoint", "in the log's tail only"])(
    "P7: a shard does not open with a module that cannot read what is stored, known %s, and opens again with the right one",
    async (how) => {
      const under = await lived();
      receipt(await under.append(note(bob, "b")));
      if (how === "by a checkpoint") await under.shard.close();
      else await under.crash("everything");
      const other = defineAggregate("Account", {
        version: 1,
        initial: () => ({}),
        events: { Other: event(z.any(), (s) => s) },
      });
      const wrong = [
        [v2, "Account.Credited is stored at version 3, the domain module knows 2"],
        [defineContext("bank", { aggregates: [other, Notes] }), "has no event Credited"],
        [defineContext("bank", { aggregates: [Account] }), "has no aggregate Notes"],
      ] as const;
      for (const [context, sentence] of wrong) {
        expect(() => under.start(context)).toThrow(
          expect.objectContaining({ code: "SCHEMA_MISMATCH", message: expect.stringContaining(sentence) }),
        );
        await under.partition.close();
      }
      under.start(v3);
      expect(await under.state(alice, "Account")).toEqual({ state: { balance: 353 }, seq: 3 });
    },
  );
});
