// P7: bad input gets a typed error that says what was found and what was wanted, and changes nothing.
//
// Method: an entity with a past, one bad call, and then everything there is (state, sequence, history, log bytes,
// sessions) held against what it was before. Bytes that are no frame at all are the listener's; decoders by themselves
// are fuzzed in protocol.
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { type ErrorCode, limits } from "@heddle/kernel";
import { decodeValue, encodeValue, requestKind, writeAppendBody, writeU32 } from "@heddle/protocol/internal";
import fc from "fast-check";
import * as v from "valibot";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { alice, bank, bob, credit } from "./bank.spec-support.ts";
import {
  type Asked,
  brief,
  closeAll,
  failure,
  openShard,
  receipt,
  type ShardUnderTest,
} from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

async function snapshotOf(under: ShardUnderTest) {
  return {
    account: await under.state(alice, "Account"),
    notes: await under.state(alice, "Notes"),
    events: await under.events(alice),
    log: under.logEntries(),
    logBytes: under.logBytes(),
    sessions: under.shard.stats().sessions,
    shard: under.shard.state,
  };
}

function bodyOf(fields: Parameters<typeof writeAppendBody>[0]): Uint8Array {
  let bytes = new Uint8Array();
  const used = writeAppendBody(fields, (wanted) => {
    bytes = new Uint8Array(wanted);
    return { bytes, at: 0 };
  });
  return bytes.subarray(0, used);
}

/** A body whose payloads are these bytes. */
function withPayloads(payloads: Uint8Array, eventCount = 1): Uint8Array {
  const body = bodyOf(credit(alice, ...Array.from({ length: eventCount }, () => 1)));
  const own = encodeValue(Array.from({ length: eventCount }, () => ({ amount: 1 }))).length;
  return Buffer.concat([body.subarray(0, body.length - own), payloads]);
}

/** A body whose metadata are these bytes. */
function withMetadata(metadata: Uint8Array): Uint8Array {
  const body = bodyOf({ ...credit(alice, 1), metadata: "m" });
  const at = body.indexOf(Buffer.from(encodeValue("m")).toString("latin1").charCodeAt(1));
  const start = at - 1 - 4;
  const length = new Uint8Array(4);
  writeU32(length, 0, metadata.length);
  return Buffer.concat([body.subarray(0, start), length, metadata, body.subarray(start + 4 + 2)]);
}

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? [value] : { in: value };
  return value;
}

const append = (kind: number, body: Uint8Array) => (under: ShardUnderTest) => under.send(kind, alice, body);

const cases: [what: string, code: ErrorCode, facts: object, ask: (under: ShardUnderTest) => Asked][] = [
  [
    "an unknown aggregate",
    "UNKNOWN_AGGREGATE",
    { aggregate: "Acount", known: ["Account", "Notes"] },
    (under) => under.append({ ...credit(alice, 1), aggregate: "Acount" }),
  ],
  [
    "an aggregate that cannot be told from the event",
    "UNKNOWN_AGGREGATE",
    { aggregate: "" },
    (under) => under.append({ entity: alice, aggregate: "", events: [{ type: "Unheard", payload: {} }] }),
  ],
  [
    "an unknown event type",
    "UNKNOWN_EVENT_TYPE",
    { aggregate: "Account", type: "Stolen", index: 1, known: ["Credited", "Debited"] },
    (under) =>
      under.append({
        entity: alice,
        aggregate: "Account",
        events: [credit(alice, 1).events[0]!, { type: "Stolen", payload: {} }, credit(alice, 1).events[0]!],
      }),
  ],
  [
    "an event of another aggregate",
    "UNKNOWN_EVENT_TYPE",
    { aggregate: "Account", type: "Noted" },
    (under) =>
      under.append({ entity: alice, aggregate: "Account", events: [{ type: "Noted", payload: { text: "x" } }] }),
  ],
  [
    "an unknown command",
    "UNKNOWN_COMMAND",
    { aggregate: "Account", command: "Rob", known: ["Withdraw", "Close", "Swap"] },
    (under) => under.execute({ entity: alice, aggregate: "Account", command: "Rob", input: {} }),
  ],
  [
    "a command's input against its schema",
    "INVALID_PAYLOAD",
    { aggregate: "Account", type: "Withdraw", index: 0, issues: [{ path: "amount", message: expect.any(String) }] },
    (under) => under.execute({ entity: alice, aggregate: "Account", command: "Withdraw", input: { amount: "5" } }),
  ],
  [
    "the second payload against its schema",
    "INVALID_PAYLOAD",
    { aggregate: "Account", type: "Credited", index: 1, issues: [{ path: "amount", message: expect.any(String) }] },
    (under) => under.append(credit(alice, 1, -5, -6)),
  ],
  ["an entity id without a kind", "INVALID_ENTITY_ID", { found: "alice" }, (under) => under.append(credit("alice", 1))],
  ["an empty entity id", "INVALID_ENTITY_ID", { found: "" }, (under) => under.append(credit("", 1))],
  [
    "an entity id with a control character",
    "INVALID_ENTITY_ID",
    {},
    (under) => under.append(credit("account/a\nb", 1)),
  ],
  [
    "an entity id that is too long",
    "INVALID_ENTITY_ID",
    {},
    (under) => under.append(credit(`account/${"x".repeat(limits.entityIdBytesMax)}`, 1)),
  ],
  ["a bad entity id in a read", "INVALID_ENTITY_ID", { found: "a/" }, (under) => under.get("a/", "Account")],
  ["a bad entity id in a history", "INVALID_ENTITY_ID", { found: "/b" }, (under) => under.history("/b")],
  ["a read of an unknown aggregate", "UNKNOWN_AGGREGATE", { aggregate: "X" }, (under) => under.get(alice, "X")],
  ["a read without an aggregate, of several", "UNKNOWN_AGGREGATE", {}, (under) => under.get(alice, "")],
  ["a history of an unknown aggregate", "UNKNOWN_AGGREGATE", {}, (under) => under.history(alice, { aggregate: "X" })],
  ["a request of an unknown kind", "BAD_FRAME", {}, append(99, new Uint8Array(10))],
  ["a request without a body", "BAD_FRAME", {}, append(requestKind.append, new Uint8Array())],
  ["payloads that are no msgpack", "BAD_FRAME", {}, append(requestKind.append, withPayloads(Uint8Array.of(0xc1)))],
  [
    "payloads that are no list",
    "BAD_FRAME",
    { problem: "wanted a list of 1 payloads" },
    append(requestKind.append, withPayloads(Uint8Array.of(0x80))),
  ],
  [
    "fewer payloads than events",
    "BAD_FRAME",
    { problem: "wanted a list of 2 payloads" },
    append(requestKind.append, withPayloads(encodeValue([{ amount: 1 }]).slice(), 2)),
  ],
  [
    "bytes after the payloads",
    "BAD_FRAME",
    {},
    append(requestKind.append, Buffer.concat([bodyOf(credit(alice, 1)), Uint8Array.of(0)])),
  ],
  [
    "a payload nested 10,000 deep",
    "BAD_FRAME",
    {},
    append(requestKind.append, withPayloads(Uint8Array.from([...Array.from({ length: 10_000 }, () => 0x91), 0x01]))),
  ],
  ["metadata that are no msgpack", "BAD_FRAME", {}, append(requestKind.append, withMetadata(Uint8Array.of(0xc1)))],
  [
    "metadata whose keys are lists",
    "BAD_FRAME",
    {},
    append(requestKind.append, withMetadata(Uint8Array.of(0x81, 0x90, 0x01))),
  ],
  [
    "metadata nested deeper than a payload may be",
    "INVALID_REQUEST",
    { path: "metadata" },
    (under) => under.append({ ...credit(alice, 1), metadata: nested(limits.payloadDepthMax + 1) }),
  ],
  [
    "a command's metadata nested deeper than a payload may be",
    "INVALID_REQUEST",
    { path: "metadata" },
    (under) =>
      under.execute({
        entity: alice,
        aggregate: "Account",
        command: "Swap",
        input: { amount: 1 },
        metadata: nested(limits.payloadDepthMax + 1),
      }),
  ],
  [
    "an append as long as a frame, which no reply could carry",
    "FRAME_TOO_LARGE",
    { bytesMax: limits.frameBytesMax - 4_096 },
    (under) =>
      under.append({
        entity: alice,
        aggregate: "Notes",
        events: [{ type: "Noted", payload: { text: "x".repeat(limits.frameBytesMax - 4_096) } }],
      }),
  ],
];

describe("P7: bad input changes nothing", () => {
  it.each(cases)("P7: %s gets %s and changes nothing", async (_what, code, facts, ask) => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 5)));
    const before = await snapshotOf(under);
    const error = failure(await ask(under));
    expect(error.code, error.message).toBe(code);
    expect(error.facts).toMatchObject(facts);
    expect(error.retryable).toBe(false);
    expect(await snapshotOf(under)).toEqual(before);
    expect(receipt(await under.append(credit(alice, 1))).seq).toBe(2);
  });

  it("P7: a payload of 64 levels is taken, one of 65 is refused; both by schemas that do not look", async () => {
    const Any = defineAggregate("Any", {
      version: 1,
      initial: (): { last: unknown } => ({ last: null }),
      events: { Came: event(z.unknown(), (_, payload) => ({ last: payload })) },
    });
    const under = openShard(defineContext("any", { aggregates: [Any] }));
    const came = (payload: unknown) =>
      under.append({ entity: alice, aggregate: "Any", events: [{ type: "Came", payload }] });
    receipt(await came(nested(limits.payloadDepthMax)));
    const error = failure(await came(nested(limits.payloadDepthMax + 1)));
    expect(error).toMatchObject({
      code: "INVALID_PAYLOAD",
      facts: { issues: [{ message: expect.stringContaining("deep") }] },
    });
    expect(await under.state(alice, "Any")).toEqual({ state: { last: nested(64) }, seq: 1 });
    await under.restart();
    expect(brief(await under.events(alice))).toEqual([[1, "Came", nested(64)]]);
    expect(await under.state(alice, "Any")).toEqual({ state: { last: nested(64) }, seq: 1 });
  });

  it("P7: an entity of another shard is refused, whoever sent it here", async () => {
    const under = openShard(bank, { shard: 1, shardCount: 4 });
    const owned = Array.from({ length: 40 }, (_, i) => `account/user-${i}`);
    let foreign = 0;
    for (const entity of owned) {
      const reply = await under.append(credit(entity, 1));
      if (reply.kind === "receipt") continue;
      foreign++;
      expect(failure(reply)).toMatchObject({
        code: "BAD_FRAME",
        facts: { problem: expect.stringContaining("belongs to shard") },
      });
      expect(failure(await under.get(entity, "Account")).code).toBe("BAD_FRAME");
    }
    expect(foreign).toBeGreaterThan(20);
    expect(under.logEntries()).toHaveLength(40 - foreign);
    expect(under.shard.stats().activeEntities).toBe(40 - foreign);
  });

  it("P7: an append cut at any byte is refused, and changes nothing", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 5)));
    const before = await snapshotOf(under);
    const body = bodyOf({
      entity: alice,
      aggregate: "Account",
      events: [credit(alice, 1).events[0]!, { type: "Debited", payload: { amount: 1 } }],
      id: "an-id",
      expectedSeq: 1,
      metadata: { trace: "x" },
    });
    for (let length = 0; length < body.length; length++) {
      const error = failure(await under.send(requestKind.append, alice, body.slice(0, length)));
      expect(["BAD_FRAME", "INVALID_ENTITY_ID"]).toContain(error.code);
    }
    expect(await snapshotOf(under)).toEqual(before);
    expect(receipt(await under.send(requestKind.append, alice, body)).seq).toBe(3);
  });

  it("P7: an append with any byte changed is answered, and what is accepted can be read back and replayed", async () => {
    const under = openShard(bank);
    const body = bodyOf({ ...credit(alice, 1, 2), id: "an-id", metadata: { trace: "x" } });
    await fc.assert(
      fc.asyncProperty(fc.nat(body.length - 1), fc.nat(255), fc.constantFrom(2, 3, 4, 5), async (at, byte, kind) => {
        const bytes = body.slice();
        bytes[at] = byte;
        const reply = await under.send(kind, alice, bytes);
        expect(["receipt", "rejected", "error", "value"]).toContain(reply.kind);
        expect(under.shard.state).toBe("open");
      }),
      { numRuns: 2_000 },
    );
    const events = await under.events(alice);
    const live = await under.state(alice, "Account");
    await under.crash();
    under.start();
    expect(await under.events(alice)).toEqual(events);
    expect(await under.state(alice, "Account")).toEqual(live);
  });
});

describe("P7: a domain module that fails", () => {
  let broken = false;
  const Fragile = defineAggregate("Fragile", {
    version: 1,
    initial: () => ({ n: 0 }),
    events: {
      Added: event(z.object({ n: z.number() }), (s, e) => {
        if (e.n === 13 || broken) throw new Error("thirteen is not for me");
        return { n: s.n + e.n };
      }),
      Checked: event(
        v.pipe(
          v.object({ n: v.number() }),
          v.check(({ n }) => {
            if (n === 13) throw new RangeError("no thirteens");
            return true;
          }),
        ),
        (s) => s,
      ),
      Ruled: event(z.object({ n: z.number() }), (_, e) => ({ n: e.n })),
    },
    invariants: {
      "can be asked": (s) => {
        if (s.n === 99) throw new TypeError("asked about ninety-nine");
        return true;
      },
    },
  });
  const context = defineContext("fragile", { aggregates: [Fragile] });
  const add = (under: ShardUnderTest, entity: string, type: string, ...ns: number[]) =>
    under.append({ entity, aggregate: "Fragile", events: ns.map((n) => ({ type, payload: { n } })) });

  afterEach(() => {
    broken = false;
  });

  it.each([
    ["a fold", "Added", 13, "Fragile.Added", "thirteen is not for me"],
    ["a schema", "Checked", 13, "the schema of Fragile.Checked", "no thirteens"],
    ["a rule", "Ruled", 99, "Fragile.Ruled", "TypeError: asked about ninety-nine"],
  ])(
    "P7: %s that throws fails that append with the module's message; the shard and other entities go on",
    async (_what, type, n, where, message) => {
      const under = openShard(context);
      receipt(await add(under, alice, "Added", 1));
      const logged = under.logEntries();
      const [failing, fine] = under.turn(() => [add(under, alice, type, 1, n), add(under, bob, "Added", 2)]);
      expect(failure(await failing)).toMatchObject({
        code: "DOMAIN_FAILED",
        facts: { where, message: expect.stringContaining(message) },
      });
      expect(receipt(await fine).seq).toBe(1);
      expect(under.logEntries()).toHaveLength(logged.length + 1);
      expect(await under.state(alice, "Fragile")).toEqual({ state: { n: 1 }, seq: 1 });
      expect(receipt(await add(under, alice, "Added", 1)).seq).toBe(2);
    },
  );

  it("P7: a fold that throws in a replay fails the calls of that entity only, until the module is mended", async () => {
    const under = openShard(context);
    receipt(await add(under, alice, "Added", 1, 2));
    receipt(await add(under, bob, "Ruled", 3));
    await under.crash();
    under.start();
    broken = true;
    const error = failure(await under.get(alice, "Fragile"));
    expect(error).toMatchObject({
      code: "DOMAIN_FAILED",
      facts: { where: "Fragile.Added, at the replay of sequence 1" },
    });
    expect(failure(await add(under, alice, "Added", 1)).code).toBe("DOMAIN_FAILED");
    expect(await under.state(bob, "Fragile")).toEqual({ state: { n: 3 }, seq: 1 });
    expect(brief(await under.events(alice))).toHaveLength(2);
    await under.checkpoint();
    broken = false;
    expect(await under.state(alice, "Fragile")).toEqual({ state: { n: 3 }, seq: 2 });
    await under.restart();
    expect(receipt(await add(under, alice, "Added", 4)).seq).toBe(3);
    expect(await under.state(alice, "Fragile")).toEqual({ state: { n: 7 }, seq: 3 });
  });

  it("P7: a state that nests without end fails its entity alone, live and in a replay", async () => {
    const Deep = defineAggregate("Deep", {
      version: 1,
      initial: (): { inner: unknown } => ({ inner: null }),
      events: {
        Dug: event(z.object({ levels: z.number() }), (s, { levels }) => {
          let inner: { inner: unknown } = s;
          for (let i = 0; i < levels; i++) inner = { inner };
          return inner;
        }),
      },
    });
    const under = openShard(defineContext("deep", { aggregates: [Deep] }));
    const dig = (entity: string, levels: number) =>
      under.append({ entity, aggregate: "Deep", events: [{ type: "Dug", payload: { levels } }] });
    expect(failure(await dig(alice, 200_000)).code).toBe("DOMAIN_FAILED");
    // Little by little it goes on for long; it has no snapshot beyond some depth, and cannot be sent.
    for (let i = 0; i < 60; i++) receipt(await dig(alice, 200));
    expect(failure(await under.get(alice, "Deep")).code).toBe("DOMAIN_FAILED");
    await under.restart();
    receipt(await dig(alice, 1));
    receipt(await dig(bob, 1));
    expect(under.shard.state).toBe("open");
    expect(under.partition.snapshots(alice)).toEqual([]);
  });
});

describe("P7: schemas that make much of little", () => {
  const Much = defineAggregate("Much", {
    version: 1,
    initial: () => ({ bytes: 0 }),
    events: {
      Blown: event(
        z.number().transform((n) => "x".repeat(n)),
        (s, e) => ({ bytes: s.bytes + e.length }),
      ),
      Dug: event(
        z.number().transform((n) => new Map([["in", nested(n)]])),
        (s) => s,
      ),
    },
  });
  const context = defineContext("much", { aggregates: [Much] });

  it("P7: an output that is longer than a frame is refused, and the group that fills keeps its bounds", async () => {
    const under = openShard(context);
    const blow = (n: number) =>
      under.append({ entity: alice, aggregate: "Much", events: [{ type: "Blown", payload: n }] });
    expect(failure(await blow(limits.frameBytesMax)).code).toBe("FRAME_TOO_LARGE");
    expect(failure(await blow(4 * limits.frameBytesMax)).code).toBe("FRAME_TOO_LARGE");
    expect(receipt(await blow(limits.frameBytesMax - 8_192)).seq).toBe(1);
    const [, , , , payload] = (await under.events(alice))[0]!;
    expect((payload as string).length).toBe(limits.frameBytesMax - 8_192);
  });

  it("P7: an output that hides its depth from the comparison is found when it is stored", async () => {
    const under = openShard(context);
    const dig = (n: number) =>
      under.append({ entity: alice, aggregate: "Much", events: [{ type: "Dug", payload: n }] });
    receipt(await dig(limits.payloadDepthMax - 1));
    for (const levels of [limits.payloadDepthMax, 600]) {
      expect(failure(await dig(levels)).code).toBe("DOMAIN_FAILED");
    }
    expect(await under.events(alice)).toHaveLength(1);
  });
});

it("P7: an error reply is data: it survives its encoding with code and facts", async () => {
  const under = openShard(bank);
  const error = failure(await under.append(credit(alice, -1)));
  expect(decodeValue(encodeValue(error.facts).slice())).toEqual(error.facts);
});
