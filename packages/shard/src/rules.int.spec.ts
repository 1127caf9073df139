// P3: rules hold at every commit, and what is stored, folded and read back is what the schemas made of what was sent.
//
// Method: live states are compared with those after a passivation without snapshot (a replay), after a checkpoint (a
// snapshot), and with a fold done in the test. Rules of single events are tested in domain; here it is their commit.
import { command, defineAggregate, defineContext, event } from "@heddle/domain";
import type { AppendFields } from "@heddle/protocol/internal";
import { type } from "arktype";
import * as v from "valibot";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { Account, alice, bank, bob, credit, credited, debit } from "./bank.spec-support.ts";
import {
  brief,
  closeAll,
  failure,
  openShard,
  receipt,
  rejected,
  type ShardUnderTest,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

/** What there is to change: nothing of it may, by an append that is refused. */
async function everything(under: ShardUnderTest, entity: string, aggregate = "Account") {
  return {
    state: await under.state(entity, aggregate),
    events: await under.events(entity),
    log: under.logEntries(),
    logBytes: under.logBytes(),
  };
}

describe("P3: rules hold after every event", () => {
  it("P3: an append of 500 whose event 300 breaks a rule writes nothing, and says which rule and which event", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 299)));
    const before = await everything(under, alice);
    const events = Array.from({ length: 500 }, (_, i) => ({
      type: i === 300 ? "Debited" : "Credited",
      payload: { amount: i === 300 ? 600 : 1 },
    }));
    const reply = await under.append({ entity: alice, aggregate: "Account", events });
    expect(rejected(reply)).toMatchObject({
      code: "INVARIANT_VIOLATED",
      facts: { aggregate: "Account", rule: "balance is never negative", index: 300 },
    });
    expect(await everything(under, alice)).toEqual(before);
    expect(receipt(await under.append(debit(alice, 299)))).toMatchObject({ firstSeq: 2, seq: 2 });
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 0, events: 2 }, seq: 2 });
  });

  it("P3: a rule that holds at the end but not in between rejects all the same", async () => {
    const under = openShard(bank);
    const append = { entity: alice, aggregate: "Account", events: [debit(alice, 5).events[0]!, credited(5)] };
    expect(rejected(await under.append(append))).toMatchObject({ facts: { index: 0 } });
    expect(under.logEntries()).toEqual([]);
  });

  it("P3: every rule is asked, and the one that fails is named", async () => {
    const under = openShard(bank);
    expect(rejected(await under.append(credit(alice, 5, 999_999_999)))).toMatchObject({
      facts: { rule: "balance is below a billion", index: 1 },
    });
  });

  it("P3: a fold that changes its input is refused, and leaves no trace in state, sequence or log", async () => {
    const Impure = defineAggregate("Impure", {
      version: 1,
      initial: () => ({ list: [0], total: 0 }),
      events: {
        Pushed: event(z.object({ n: z.number() }), (s, e) => {
          s.list.push(e.n);
          return s;
        }),
        Set: event(z.object({ n: z.number() }), (s, e) => {
          s.total = e.n;
          return s;
        }),
        Added: event(z.object({ n: z.number() }), (s, e) => ({ ...s, total: s.total + e.n })),
      },
    });
    const under = openShard(defineContext("impure", { aggregates: [Impure] }));
    const entity = "thing/x";
    const append = (eventType: string): AppendFields => ({
      entity,
      aggregate: "Impure",
      events: [{ type: eventType, payload: { n: 7 } }],
    });
    receipt(await under.append(append("Added")));
    const before = await everything(under, entity, "Impure");
    for (const eventType of ["Pushed", "Set"]) {
      const error = failure(await under.append(append(eventType)));
      expect(error.code).toBe("DOMAIN_FAILED");
      expect(error.facts).toMatchObject({ where: `Impure.${eventType}` });
      expect(await everything(under, entity, "Impure")).toEqual(before);
    }
    await under.restart();
    expect(await under.state(entity, "Impure")).toEqual({ state: { list: [0], total: 7 }, seq: 1 });
  });

  it("P3: a rule that changes the state it is asked about is refused, because no replay would repeat the change", async () => {
    const Meddling = defineAggregate("Meddling", {
      version: 1,
      initial: () => ({ n: 0, asked: 0 }),
      events: { Added: event(z.object({}), (s) => ({ ...s, n: s.n + 1 })) },
      invariants: {
        meddles: (s) => {
          s.asked++;
          return true;
        },
      },
    });
    const under = openShard(defineContext("meddling", { aggregates: [Meddling] }));
    const reply = await under.append({
      entity: "thing/x",
      aggregate: "Meddling",
      events: [{ type: "Added", payload: {} }],
    });
    expect(failure(reply).code).toBe("DOMAIN_FAILED");
    expect(under.logEntries()).toEqual([]);
  });

  it.each([
    ["nothing", () => undefined],
    ["a promise", async () => ({ n: 1 })],
    ["a promise that fails", () => Promise.reject(new Error("later"))],
  ])("P3: a fold that returns %s is refused", async (_what, fold) => {
    const Odd = defineAggregate("Odd", {
      version: 1,
      initial: (): unknown => ({ n: 0 }),
      events: { Happened: event(z.object({}), fold) },
    });
    const under = openShard(defineContext("odd", { aggregates: [Odd] }));
    const reply = await under.append({
      entity: "thing/x",
      aggregate: "Odd",
      events: [{ type: "Happened", payload: {} }],
    });
    expect(failure(reply)).toMatchObject({ code: "DOMAIN_FAILED", facts: { where: "Odd.Happened" } });
    expect(under.logEntries()).toEqual([]);
    expect(under.shard.state).toBe("open");
  });

  it("P3: expectedSeq is held against the sequence at the append's turn, and the conflict says what it is", async () => {
    const under = openShard(bank);
    const [first, second, third] = under.turn(() => [
      under.append({ ...credit(alice, 1), expectedSeq: 0 }),
      under.append({ ...credit(alice, 1), expectedSeq: 0 }),
      under.append({ ...credit(alice, 1), expectedSeq: 1 }),
    ]);
    expect(receipt(await first).seq).toBe(1);
    expect(rejected(await second)).toMatchObject({
      code: "SEQUENCE_CONFLICT",
      facts: { expectedSeq: 0, actualSeq: 1 },
    });
    expect(receipt(await third).seq).toBe(2);
    const swap = { entity: alice, aggregate: "Account", command: "Swap", input: { amount: 1 } };
    expect(rejected(await under.execute({ ...swap, expectedSeq: 1 }))).toMatchObject({ facts: { actualSeq: 2 } });
    expect(receipt(await under.execute({ ...swap, expectedSeq: 2 }))).toMatchObject({ firstSeq: 3, count: 2 });
  });
});

describe("P3: commands", () => {
  it("P3: a command that decides several events is one append: all or nothing", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 100)));
    const close = { entity: alice, aggregate: "Account", command: "Close", input: { steps: 3 } };
    expect(receipt(await under.execute(close))).toMatchObject({ firstSeq: 2, count: 3, seq: 4 });
    expect(brief(await under.events(alice)).slice(1)).toEqual([
      [2, "Debited", { amount: 33 }],
      [3, "Debited", { amount: 33 }],
      [4, "Debited", { amount: 34 }],
    ]);
    const logged = under.logEntries();
    // Nothing is left: the last step would have to be of zero, which the event's schema refuses.
    expect(failure(await under.execute(close)).code).toBe("DOMAIN_FAILED");
    expect(under.logEntries()).toEqual(logged);
  });

  it("P3: a command that decides events of several types stores each with its own", async () => {
    const under = openShard(bank);
    const swap = { entity: alice, aggregate: "Account", command: "Swap", input: { amount: 7 } };
    receipt(await under.execute(swap));
    await under.restart();
    expect(brief(await under.events(alice))).toEqual([
      [1, "Credited", { amount: 7 }],
      [2, "Debited", { amount: 7 }],
    ]);
  });

  it("P3: a command's event that its schema refuses is the module's failure, not the caller's", async () => {
    const under = openShard(bank);
    const close = { entity: alice, aggregate: "Account", command: "Close", input: { steps: 2 } };
    const error = failure(await under.execute(close));
    expect(error.code).toBe("DOMAIN_FAILED");
    expect(error.facts).toMatchObject({ where: "Account.Close", message: expect.stringContaining("amount") });
    expect(under.logEntries()).toEqual([]);
  });

  it.each<[what: string, decide: () => unknown]>([
    [
      "throws",
      () => {
        throw new Error("no such luck");
      },
    ],
    ["returns nothing", () => undefined],
    ["returns an event of another aggregate", () => ({ type: "Noted", payload: {} })],
    ["returns a promise", async () => ({ type: "Done", payload: {} })],
    [
      "changes the state",
      (...args: unknown[]) => {
        (args[0] as { n: number }).n = 1;
        return { type: "Done", payload: {} };
      },
    ],
    [
      "returns an event that throws when it is looked at",
      () => ({
        type: "Done",
        get payload() {
          throw new Error("look away");
        },
      }),
    ],
    ["rejects with facts that cannot be sent", () => ({ kind: "rejected", code: "NO", facts: { huge: 2n ** 80n } })],
    [
      "rejects with facts that hold themselves",
      () => {
        const facts: Record<string, unknown> = {};
        facts["facts"] = facts;
        return { kind: "rejected", code: "NO", facts };
      },
    ],
  ])("P3: a command that %s fails alone: nothing is written, and the shard goes on", async (_what, decide) => {
    const Job = defineAggregate("Job", {
      version: 1,
      initial: () => ({ n: 0 }),
      events: { Done: event(z.object({}), (s) => ({ n: s.n + 1 })) },
      commands: { Do: command(z.object({}), decide as () => { type: "Done"; payload: Record<string, never> }) },
    });
    const under = openShard(defineContext("jobs", { aggregates: [Job] }));
    const error = failure(await under.execute({ entity: "job/1", aggregate: "Job", command: "Do", input: {} }));
    expect(error.code).toBe("DOMAIN_FAILED");
    expect(under.shard.state).toBe("open");
    expect(under.logEntries()).toEqual([]);
    expect(
      receipt(await under.append({ entity: "job/1", aggregate: "Job", events: [{ type: "Done", payload: {} }] })).seq,
    ).toBe(1);
  });

  it("P3: a command is told the time that its events get", async () => {
    const Stamp = defineAggregate("Stamp", {
      version: 1,
      initial: () => ({ at: 0 }),
      events: { Stamped: event(z.object({ at: z.number() }), (_, e) => e) },
      commands: {
        Stamp: command(z.object({}), (_, __, { now, entity }) => {
          expect(entity).toBe("stamp/1");
          return { type: "Stamped", payload: { at: now } };
        }),
      },
    });
    const under = openShard(defineContext("stamps", { aggregates: [Stamp] }));
    const stamp = { entity: "stamp/1", aggregate: "Stamp", command: "Stamp", input: {} };
    receipt(await under.execute(stamp));
    under.clock.nowMs -= 5_000;
    const { time } = receipt(await under.execute(stamp));
    expect(await under.state("stamp/1", "Stamp")).toEqual({ state: { at: time }, seq: 2 });
  });
});

describe("P3: what is stored is what the schema returned", () => {
  const fold = (s: { seen: readonly unknown[] }, e: unknown) => ({ seen: [...s.seen, e] });
  const initial = (): { seen: readonly unknown[] } => ({ seen: [] });
  const Shapes = defineAggregate("Shapes", {
    version: 1,
    initial,
    events: {
      ZodDefault: event(z.object({ a: z.number().default(5) }), fold),
      ZodStrip: event(z.object({ a: z.number() }), fold),
      ZodTransform: event(
        z.string().transform((text) => ({ length: text.length })),
        fold,
      ),
      ZodCoerceDate: event(z.object({ at: z.coerce.date() }), fold),
      ZodEmptied: event(
        z.preprocess((value) => (Array.isArray(value) ? {} : value), z.object({})),
        fold,
      ),
      ZodSame: event(z.object({ a: z.number(), b: z.array(z.string()), d: z.date() }), fold),
      Valibot: event(v.object({ a: v.optional(v.number(), 9), b: v.pipe(v.string(), v.trim()) }), fold),
      Arktype: event(type({ a: "string.numeric.parse", "+": "delete" }), fold),
      Tagged: event(
        z.any().transform((value) => new Map([["tag", value]])),
        fold,
      ),
    },
  });
  const context = defineContext("shapes", { aggregates: [Shapes] });
  const cases: [type: string, sent: unknown, stored: unknown][] = [
    ["ZodDefault", {}, { a: 5 }],
    ["ZodDefault", { a: 1 }, { a: 1 }],
    ["ZodStrip", { a: 1, b: 2 }, { a: 1 }],
    ["ZodTransform", "four", { length: 4 }],
    ["ZodCoerceDate", { at: "2020-01-01" }, { at: new Date("2020-01-01") }],
    ["ZodEmptied", [], {}],
    ["ZodSame", { a: 1.5, b: ["x", "ü"], d: new Date(7) }, { a: 1.5, b: ["x", "ü"], d: new Date(7) }],
    ["Valibot", { b: "  x " }, { a: 9, b: "x" }],
    ["Arktype", { a: "42", rest: true }, { a: 42 }],
    // Maps are no plain data: they are stored as msgpack can, and folded as they will be in every replay.
    ["Tagged", 1, { tag: 1 }],
  ];

  it.each(["alone", "with others, under other types"])(
    "P3: schema outputs are stored and folded (%s), the same live, after a replay, and from a snapshot",
    async (how) => {
      const under = openShard(context);
      const entity = "shape/1";
      const events = cases.map(([eventType, payload]) => ({ type: eventType, payload }));
      if (how === "alone")
        for (const one of events) receipt(await under.append({ entity, aggregate: "Shapes", events: [one] }));
      else receipt(await under.append({ entity, aggregate: "Shapes", events }));
      under.logEntries();
      const stored = cases.map(([, , payload]) => payload);
      const expected = { state: { seen: stored }, seq: cases.length };
      expect(await under.state(entity, "Shapes")).toEqual(expected);
      expect(brief(await under.events(entity)).map(([, , payload]) => payload)).toEqual(stored);
      await under.crash();
      under.start();
      expect(await under.state(entity, "Shapes")).toEqual(expected);
      await under.restart();
      expect(await under.state(entity, "Shapes")).toEqual(expected);
      expect(brief(await under.events(entity)).map(([, eventType]) => eventType)).toEqual(
        cases.map(([eventType]) => eventType),
      );
    },
  );

  it("P3: a fold gets what a replay will give it, not what the schema made: a map comes as the object that is stored", async () => {
    const Maps = defineAggregate("Maps", {
      version: 1,
      initial: () => ({ maps: 0, objects: 0 }),
      events: {
        Came: event(
          z.number().transform((n) => new Map([["n", n]])),
          (s, e) => (e instanceof Map ? { ...s, maps: s.maps + 1 } : { ...s, objects: s.objects + 1 }),
        ),
      },
    });
    const under = openShard(defineContext("maps", { aggregates: [Maps] }));
    receipt(await under.append({ entity: alice, aggregate: "Maps", events: [{ type: "Came", payload: 1 }] }));
    expect(await under.state(alice, "Maps")).toEqual({ state: { maps: 0, objects: 1 }, seq: 1 });
    await under.crash();
    under.start();
    expect(await under.state(alice, "Maps")).toEqual({ state: { maps: 0, objects: 1 }, seq: 1 });
  });

  it("P3: a state that is no plain data survives a checkpoint, because it is folded anew", async () => {
    const Tags = defineAggregate("Tags", {
      version: 1,
      initial: () => ({ byTag: new Map<string, number>(), zero: 0 }),
      events: {
        Tagged: event(z.object({ tag: z.string() }), (s, e) => ({
          byTag: new Map(s.byTag).set(e.tag, (s.byTag.get(e.tag) ?? 0) + 1),
          zero: -0,
        })),
      },
    });
    const under = openShard(defineContext("tags", { aggregates: [Tags] }));
    const tag = (name: string) =>
      under.append({ entity: "tags/1", aggregate: "Tags", events: [{ type: "Tagged", payload: { tag: name } }] });
    receipt(await tag("a"));
    await under.restart();
    receipt(await tag("a"));
    await under.restart();
    expect(await under.state("tags/1", "Tags")).toMatchObject({ state: { byTag: { a: 2 } }, seq: 2 });
    expect(under.partition.snapshots("tags/1")).toEqual([]);
  });

  it("P3: a new version of a fold discards the snapshots of the old one, of its own aggregate only", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 5)));
    receipt(await under.append(credit(bob, 5)));
    const Counted = defineAggregate("Account", {
      version: 2,
      initial: () => ({ cents: 0 }),
      events: {
        Credited: event(z.object({ amount: z.number() }), (s, e) => ({ cents: s.cents + 100 * e.amount })),
        Debited: event(z.object({ amount: z.number() }), (s, e) => ({ cents: s.cents - 100 * e.amount })),
      },
    });
    await under.restart(defineContext("bank", { aggregates: [Counted] }));
    expect(await under.state(alice, "Account")).toEqual({ state: { cents: 500 }, seq: 1 });
    receipt(await under.append(credit(alice, 1)));
    await under.restart(defineContext("bank", { aggregates: [Account] }));
    expect(await under.state(alice, "Account")).toEqual({ state: { balance: 6, events: 2 }, seq: 2 });
  });

  it("P3: without a name the aggregate is told from the event's type, and stored by name", async () => {
    const under = openShard(bank);
    receipt(await under.append({ entity: alice, aggregate: "", events: [{ type: "Noted", payload: { text: "x" } }] }));
    receipt(await under.execute({ entity: alice, aggregate: "", command: "Swap", input: { amount: 3 } }));
    expect((await under.events(alice)).map(([, , aggregate]) => aggregate)).toEqual(["Notes", "Account", "Account"]);
    await under.restart();
    expect(await under.state(alice, "Notes")).toEqual({ state: { texts: ["x"] }, seq: 3 });
  });

  it("P3: metadata and schema version are stored with the events, whether their bytes were copied or made anew", async () => {
    const under = openShard(context);
    const entity = "shape/1";
    const metadata = { traceparent: "00-ab-cd-01", tags: ["x"] };
    for (const payload of [{ a: 1 }, {}]) {
      const append = { entity, aggregate: "Shapes", events: [{ type: "ZodDefault", payload }], metadata };
      receipt(await under.append(append));
    }
    const events = await under.events(entity);
    expect(events.map((one) => one[5])).toEqual([metadata, metadata]);
    expect(events.map((one) => one[7])).toEqual([1, 1]);
  });

  it("P3: several events of mixed types keep their order and types", async () => {
    const under = openShard(bank);
    const events = Array.from({ length: 200 }, (_, i) => (i % 3 === 1 ? debit(alice, 1).events[0]! : credited(2)));
    receipt(await under.append({ entity: alice, aggregate: "Account", events }));
    await under.restart();
    expect(brief(await under.events(alice)).map(([, eventType]) => eventType)).toEqual(events.map((one) => one.type));
  });
});
