// Bodies and queries against the rules of request-checks.ts and query-checks.ts, by examples and by properties: whatever JSON or bytes come
// in, the outcome is fields that the protocol can carry unchanged, or a typed error that is the sender's fault (P7).
import { errorTable, HeddleError, limits, parseEntityId } from "@heddle/kernel";
import {
  type AppendFields,
  decodeValue,
  type GetFields,
  newAppendView,
  readAppendBody,
  TextCache,
  writeAppendBody,
  writeExecuteBody,
  writeGetAtBody,
  writeHistoryBody,
  writeListBody,
  writeRestoreBody,
} from "@heddle/protocol/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseJson } from "./json-body.ts";
import { readDelete, readGet, readHistory, readList } from "./query-checks.ts";
import {
  readAppend,
  readAppendMany,
  readExecute,
  readFork,
  readIdempotencyKey,
  readRestore,
} from "./request-checks.ts";

const alice = parseEntityId("account/alice");
const credited = { type: "Credited", payload: { amount: 5 } };

/** What the error says, as `path: problem`, or its code where that is another. */
function refusalOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    const { path, problem } = error.facts as { path?: string; problem: string };
    const place = path === undefined ? "" : `${path}: `;
    return error.code === "INVALID_REQUEST" ? `${place}${problem}` : error.code;
  }
  return "accepted";
}

describe("append bodies", () => {
  it("hold one event, or many, and options", () => {
    expect(readAppend(credited, alice)).toEqual({
      entity: alice,
      aggregate: "",
      events: [credited],
      expectedSeq: undefined,
      id: undefined,
      metadata: undefined,
    });
    const options = { aggregate: "Account", expectedSeq: 0, id: "a-1", metadata: { user: 7 }, newLife: true };
    expect(readAppend({ events: [credited, credited], ...options }, alice)).toEqual({
      entity: alice,
      events: [credited, credited],
      ...options,
    });
  });

  it.each<[string, unknown, string]>([
    ["no object", [credited], "wanted an object, found an array"],
    ["no object", null, "wanted an object, found null"],
    ["no type", { payload: 1 }, "type: missing; wanted type and payload, or events"],
    ["no payload", { type: "Credited" }, "payload: missing; write {} for an event that carries nothing"],
    ["a type that is no string", { ...credited, type: 5 }, "type: wanted a string, found a number"],
    ["an empty type", { ...credited, type: "" }, "type: it is empty"],
    ["a long type", { ...credited, type: "x".repeat(129) }, "type: it has 129 bytes, at most 128 are allowed"],
    [
      "a long type in other letters",
      { ...credited, type: "ü".repeat(65) },
      "type: it has 130 bytes, at most 128 are allowed",
    ],
    [
      "half a character",
      { ...credited, id: "\ud800" },
      "id: it holds half of a surrogate pair, which has no UTF-8 form",
    ],
    ["a long id", { ...credited, id: "x".repeat(201) }, "id: it has 201 bytes, at most 200 are allowed"],
    [
      "a fraction",
      { ...credited, expectedSeq: 1.5 },
      `expectedSeq: wanted a whole number from 0 to ${2 ** 48 - 1}, found 1.5`,
    ],
    [
      "a negative",
      { ...credited, expectedSeq: -1 },
      `expectedSeq: wanted a whole number from 0 to ${2 ** 48 - 1}, found -1`,
    ],
    [
      "what the wire would cut off",
      { ...credited, expectedSeq: 2 ** 48 },
      `expectedSeq: wanted a whole number from 0 to ${2 ** 48 - 1}, found ${2 ** 48}`,
    ],
    [
      "null for none",
      { ...credited, expectedSeq: null },
      `expectedSeq: wanted a whole number from 0 to ${2 ** 48 - 1}, found null`,
    ],
    [
      "both forms",
      { ...credited, events: [credited] },
      "events: wanted either events, or type and payload; found both",
    ],
    ["a word for a flag", { ...credited, newLife: "true" }, "newLife: wanted true or false, found a string"],
    ["no events", { events: [] }, "events: wanted at least one event, found none"],
    ["events that are no array", { events: credited }, "events: wanted an array, found an object"],
    ["an event that is none", { events: [credited, 5] }, "events.1: wanted an object, found a number"],
    [
      "an event without payload",
      { events: [{ type: "A" }] },
      "events.0.payload: missing; write {} for an event that carries nothing",
    ],
    [
      "an unknown field in an event",
      { events: [{ ...credited, seq: 1 }] },
      "events.0.seq: unknown; an event has type and payload",
    ],
    [
      "a misspelt option",
      { ...credited, expectedseq: 1 },
      "expectedseq: unknown; known: aggregate, type, payload, events, expectedSeq, id, metadata, newLife",
    ],
    [
      "the entity, which the path names",
      { ...credited, entity: "account/bob" },
      "entity: unknown; known: aggregate, type, payload, events, expectedSeq, id, metadata, newLife",
    ],
  ])("P7: with %s are refused", (_what, body, problem) => {
    expect(refusalOf(() => readAppend(body, alice))).toBe(problem);
  });

  it("P7: with more events than one append may have are refused", () => {
    const events = new Array(limits.appendEventsMax + 1).fill(credited);
    expect(refusalOf(() => readAppend({ events }, alice))).toBe(
      "events: 10001 events in one append, at most 10000 are allowed",
    );
    expect(readAppend({ events: events.slice(1) }, alice).events).toHaveLength(limits.appendEventsMax);
  });

  it("P7: with values that could not be stored as they are get refused, naming the place", () => {
    const read = (text: string): string => refusalOf(() => readAppend(JSON.parse(text), alice));
    expect(read('{"type":"A","payload":{"x":[{"__proto__":{"admin":true}}]}}')).toBe(
      "payload.x.0.__proto__: a key of this name cannot be stored",
    );
    expect(read('{"type":"A","payload":{},"metadata":{"__proto__":1}}')).toBe(
      "metadata.__proto__: a key of this name cannot be stored",
    );
    expect(read('{"type":"A","payload":{},"__proto__":{"id":"x"}}')).toContain("__proto__: unknown; known:");
    expect(read('{"type":"A","payload":["\\ud83d"]}')).toBe(
      "payload.0: it holds half of a surrogate pair, which has no UTF-8 form",
    );
    expect(read('{"type":"A","payload":{"\\udc00":1}}')).toContain("it holds half of a surrogate pair");
    const nested = (levels: number): string => `{"type":"A","payload":${"[".repeat(levels)}${"]".repeat(levels)}}`;
    expect(read(nested(limits.payloadDepthMax))).toBe("accepted");
    expect(read(nested(limits.payloadDepthMax + 1))).toContain("nested more than 64 levels deep");
    expect(read(nested(10_000))).toContain("nested more than 64 levels deep");
  });

  it("take keys such as constructor and prototype for the data that they are", () => {
    const payload = JSON.parse('{"constructor":{"prototype":{"polluted":true}},"toString":"x","hasOwnProperty":1}');
    expect(readAppend({ type: "A", payload }, alice).events[0]!.payload).toBe(payload);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it("may give the id in the header Idempotency-Key instead, and not another one there", () => {
    expect(readAppend(credited, alice, "k-1").id).toBe("k-1");
    expect(readAppend({ ...credited, id: "k-1" }, alice, "k-1").id).toBe("k-1");
    expect(refusalOf(() => readAppend({ ...credited, id: "k-2" }, alice, "k-1"))).toContain(
      "id: differs from the header",
    );
    expect(refusalOf(() => readExecute({ command: "A", input: 1, id: "k-2" }, alice, "k-1"))).toContain("id: differs");
    expect(readIdempotencyKey(undefined)).toBeUndefined();
    expect(readIdempotencyKey("k 1")).toBe("k 1");
    expect(refusalOf(() => readIdempotencyKey(""))).toBe("Idempotency-Key: it is empty");
    expect(refusalOf(() => readIdempotencyKey("k".repeat(201)))).toContain("Idempotency-Key: it has 201 bytes");
    expect(refusalOf(() => readIdempotencyKey("schlÃ¼ssel"))).toBe(
      "Idempotency-Key: wanted ASCII; write other ids as id in the body",
    );
  });
});

describe("execute bodies", () => {
  it("hold a command, its input, and options", () => {
    const options = { aggregate: "Account", expectedSeq: 3, id: "a", metadata: [], newLife: false };
    const body = { command: "Withdraw", input: null, ...options };
    expect(readExecute(body, alice)).toEqual({ entity: alice, ...body });
    expect(readExecute({ command: "Withdraw", input: {} }, alice)).toMatchObject({ aggregate: "", id: undefined });
  });

  it.each<[unknown, string]>([
    [{ input: {} }, "command: missing; wanted the name of a command"],
    [{ command: "W" }, "input: missing; write {} or null for a command that takes none"],
    [
      { command: "W", input: 1, type: "A" },
      "type: unknown; known: aggregate, command, input, expectedSeq, id, metadata, newLife",
    ],
    ["W", "wanted an object, found a string"],
  ])("P7: %j is refused", (body, problem) => {
    expect(refusalOf(() => readExecute(body, alice))).toBe(problem);
  });
});

const wholeNumber = `wanted a whole number from 0 to ${2 ** 48 - 1}`;
const wantedTime = "wanted milliseconds since 1970, or ISO 8601 such as 2026-01-31T12:00:00Z";

describe("restore bodies", () => {
  it("hold a sequence or a time, and options", () => {
    expect(readRestore({ seq: 0 }, alice)).toEqual({ entity: alice, at: { seq: 0 } });
    const options = { expectedSeq: 9, id: "r-1" };
    expect(readRestore({ time: "2026-01-31T12:00:00+02:00", ...options }, alice)).toEqual({
      entity: alice,
      at: { time: Date.UTC(2026, 0, 31, 10) },
      ...options,
    });
    expect(readRestore({ time: 5 }, alice, "r-2")).toEqual({ entity: alice, at: { time: 5 }, id: "r-2" });
  });

  it.each<[unknown, string]>([
    [[], "wanted an object, found an array"],
    [{}, "seq: missing; wanted seq or time"],
    [{ seq: 1, time: 1 }, "time: wanted either seq or time, found both"],
    [{ seq: "1" }, `seq: ${wholeNumber}, found a string`],
    [{ seq: -1 }, `seq: ${wholeNumber}, found -1`],
    [{ seq: null }, `seq: ${wholeNumber}, found null`],
    [{ time: 1.5 }, `time: ${wantedTime}, found 1.5`],
    [{ time: -1 }, `time: ${wantedTime}, found -1`],
    [{ time: {} }, `time: ${wantedTime}, found an object`],
    [{ seq: 1, at: 2 }, "at: unknown; known: seq, time, expectedSeq, id"],
    [{ seq: 1, expectedSeq: "2" }, `expectedSeq: ${wholeNumber}, found a string`],
    [{ seq: 1, id: "" }, "id: it is empty"],
  ])("P7: %j is refused", (body, problem) => {
    expect(refusalOf(() => readRestore(body, alice))).toBe(problem);
  });
});

describe("fork bodies", () => {
  it("hold the new entity's id, and where to", () => {
    expect(readFork({ entity: "account/bob" })).toEqual({ entity: "account/bob", at: undefined });
    expect(readFork({ entity: "account/bob", seq: 3 })).toEqual({ entity: "account/bob", at: { seq: 3 } });
    expect(readFork({ entity: "account/bob", time: "7" })).toEqual({ entity: "account/bob", at: { time: 7 } });
  });

  it.each<[unknown, string]>([
    ["account/bob", "wanted an object, found a string"],
    [{ seq: 3 }, "entity: missing; wanted the id of the new entity, kind/name"],
    [{ entity: "bob" }, "INVALID_ENTITY_ID"],
    [{ entity: 5 }, "INVALID_ENTITY_ID"],
    [{ entity: "account/bob", seq: 1, time: 1 }, "time: wanted either seq or time, found both"],
    [{ entity: "account/bob", id: "x" }, "id: unknown; known: entity, seq, time"],
  ])("P7: %j is refused", (body, problem) => {
    expect(refusalOf(() => readFork(body))).toBe(problem);
  });
});

describe("append-many bodies", () => {
  it("hold items, each an append that names its entity", () => {
    const items = [
      { entity: "a/b", ...credited, id: "x" },
      { entity: "c/d/e", aggregate: "Account", events: [credited] },
    ];
    expect(readAppendMany({ items })).toMatchObject([
      { entity: "a/b", aggregate: "", events: [credited], id: "x" },
      { entity: "c/d/e", aggregate: "Account", events: [credited], id: undefined },
    ]);
    expect(readAppendMany({ items: [] })).toEqual([]);
  });

  it("P7: a fault in any item refuses the call and names its place", () => {
    const good = { entity: "a/b", ...credited };
    const read = (...items: unknown[]): string => refusalOf(() => readAppendMany({ items }));
    expect(read(good, 5)).toBe("items.1: wanted an object, found a number");
    expect(read(good, credited)).toBe("items.1.entity: missing; wanted kind/name");
    expect(read(good, { ...good, idd: "" })).toBe(
      "items.1.idd: unknown; known: entity, aggregate, type, payload, events, expectedSeq, id, metadata, newLife",
    );
    expect(read(good, { ...good, events: [{ type: "A", payload: { a: ["\ud800"] } }] })).toContain(
      "items.1.events.0.payload.a.0: it holds half",
    );
    expect(read({ entity: "a/b", events: [credited, {}] })).toContain("items.0.events.1.type: missing");
    expect(read(good, { ...good, entity: "alice" })).toBe("INVALID_ENTITY_ID");
    expect(refusalOf(() => readAppendMany({ items: {} }))).toBe("items: wanted an array, found an object");
    expect(refusalOf(() => readAppendMany({}))).toBe("items: wanted an array, found nothing");
    expect(refusalOf(() => readAppendMany({ items: [], all: true }))).toBe("all: unknown; known: items");
  });

  it("P7: a bad id is shown with its place", () => {
    const items = [{ entity: "Account/x", ...credited }];
    expect(() => readAppendMany({ items })).toThrow(/items\.0\.entity.*Account\/x/);
  });

  it("P7: more items than one call may have are refused", () => {
    const items = new Array(limits.appendManyItemsMax + 1).fill({ entity: "a/b", ...credited });
    expect(refusalOf(() => readAppendMany({ items }))).toBe(
      "items: 10001 items in one call, at most 10000 are allowed",
    );
  });
});

describe("queries", () => {
  it("of a history have defaults", () => {
    const whole = { from: 0, to: 0, since: 0, until: 0 };
    const all = { entity: alice, aggregate: "", limit: 100, direction: "forward", ...whole };
    expect(readHistory({}, alice)).toEqual(all);
    expect(readHistory({ aggregate: "" }, alice)).toEqual(all);
    const given = { aggregate: "Account", from: "12", to: "3", limit: "10000", direction: "backward" };
    expect(readHistory(given, alice)).toEqual({ ...whole, ...given, entity: alice, from: 12, to: 3, limit: 10_000 });
    const between = { since: "2026-01-31", until: "1769860800000" };
    expect(readHistory(between, alice)).toEqual({ ...all, since: Date.UTC(2026, 0, 31), until: 1_769_860_800_000 });
    expect(readHistory({ from: "7", to: "7" }, alice)).toMatchObject({ from: 7, to: 7 });
  });

  it.each<[Record<string, unknown>, string]>([
    [{ limit: "0" }, 'limit: wanted a whole number from 1 to 10000, found "0"'],
    [{ limit: "10001" }, 'limit: wanted a whole number from 1 to 10000, found "10001"'],
    [{ limit: "1e2" }, 'limit: wanted a whole number from 1 to 10000, found "1e2"'],
    [{ limit: "" }, 'limit: wanted a whole number from 1 to 10000, found ""'],
    [{ from: "-1" }, `from: wanted a whole number from 0 to ${2 ** 48 - 1}, found "-1"`],
    [{ from: String(2 ** 48) }, `from: wanted a whole number from 0 to ${2 ** 48 - 1}, found "${2 ** 48}"`],
    [{ direction: "down" }, 'direction: wanted forward or backward, found "down"'],
    [{ limit: ["1", "2"] }, "limit: given more than once"],
    [{ limt: "5" }, "limt: unknown; known: aggregate, limit, from, to, since, until, direction"],
    [{ aggregate: "x".repeat(129) }, "aggregate: it has 129 bytes, at most 128 are allowed"],
    [{ to: "x" }, `to: ${wholeNumber}, found "x"`],
    [{ from: "5", to: "4" }, "to: the range goes from 5 to 4, which is against its direction, forward"],
    [
      { from: "4", to: "5", direction: "backward" },
      "to: the range goes from 4 to 5, which is against its direction, backward",
    ],
    [{ since: "2026-02-01", until: "2026-01-31" }, "until: it lies before since"],
    [{ since: "0" }, "since: wanted a time after the beginning of 1970; leave it out for no bound"],
    [{ since: "1969-12-31" }, `since: ${wantedTime}, found "1969-12-31"`],
    [{ until: "yesterday" }, `until: ${wantedTime}, found "yesterday"`],
    [{ until: "2026-01-31T12:00:00" }, `until: ${wantedTime}, found "2026-01-31T12:00:00"`],
    [{ until: "2026-02-30T12:00:00Z" }, `until: ${wantedTime}, found "2026-02-30T12:00:00Z"`],
    [{ until: "2026-01-31T25:00:00Z" }, `until: ${wantedTime}, found "2026-01-31T25:00:00Z"`],
    [{ until: "-5" }, `until: ${wantedTime}, found "-5"`],
  ])("P7: %j is refused", (query, problem) => {
    expect(refusalOf(() => readHistory(query, alice))).toBe(problem);
  });

  it("of a state name an aggregate or nothing", () => {
    expect(readGet({ aggregate: "Account" }, alice)).toEqual({ entity: alice, aggregate: "Account" });
    expect(refusalOf(() => readGet({ at: "5" }, alice))).toBe("at: unknown; known: aggregate, seq, time");
  });

  it("of an earlier state name a sequence or a time", () => {
    expect(readGet({ seq: "0" }, alice)).toEqual({ entity: alice, aggregate: "", at: { seq: 0 } });
    const instant = { entity: alice, aggregate: "A", at: { time: Date.UTC(2024, 1, 29, 1, 2, 3, 456) } };
    expect(readGet({ aggregate: "A", time: "2024-02-29T01:02:03.456789Z" }, alice)).toEqual(instant);
    expect(refusalOf(() => readGet({ seq: "1", time: "1" }, alice))).toBe(
      "time: wanted either seq or time, found both",
    );
    expect(refusalOf(() => readGet({ seq: "1.5" }, alice))).toBe(`seq: ${wholeNumber}, found "1.5"`);
    expect(refusalOf(() => readGet({ seq: "" }, alice))).toBe(`seq: ${wholeNumber}, found ""`);
    expect(refusalOf(() => readGet({ time: "" }, alice))).toBe(`time: ${wantedTime}, found ""`);
  });

  it("of a list have defaults", () => {
    expect(readList({})).toEqual({ limit: 1_000, erased: false });
    const given = { kind: "account", prefix: "a/b", cursor: "16162" };
    expect(readList({ ...given, limit: "10000", erased: "true" })).toEqual({ ...given, limit: 10_000, erased: true });
    expect(readList({ prefix: "" })).toEqual({ limit: 1_000, erased: false });
  });

  it.each<[Record<string, unknown>, string]>([
    [{ kind: "Account" }, "kind: the kind is not a lower-case word such as account"],
    [{ kind: "" }, "kind: the kind is not a lower-case word such as account"],
    [{ kind: "account/a" }, "kind: a kind has no slash"],
    [{ kind: "account", prefix: "x".repeat(600) }, "prefix: it has 600 bytes, at most 504 are allowed"],
    [{ limit: "0" }, 'limit: wanted a whole number from 1 to 10000, found "0"'],
    [{ limit: "10001" }, 'limit: wanted a whole number from 1 to 10000, found "10001"'],
    [{ erased: "yes" }, 'erased: wanted true or false, found "yes"'],
    [{ after: "x" }, "after: unknown; known: kind, prefix, limit, cursor, erased"],
    [{ kind: ["a", "b"] }, "kind: given more than once"],
  ])("P7: %j of a list is refused", (query, problem) => {
    expect(refusalOf(() => readList(query))).toBe(problem);
  });

  it("of an erasure say whether an early answer will do", () => {
    expect(readDelete({}, alice)).toEqual({ entity: alice, provisional: false });
    expect(readDelete({ provisional: "true" }, alice)).toEqual({ entity: alice, provisional: true });
    expect(refusalOf(() => readDelete({ provisional: "1" }, alice))).toBe(
      'provisional: wanted true or false, found "1"',
    );
    expect(refusalOf(() => readDelete({ force: "true" }, alice))).toBe("force: unknown; known: provisional");
  });
});

describe("parsing", () => {
  it.each<[string, string | Buffer, string]>([
    ["nothing", "", "the body is empty, wanted a JSON object"],
    ["no JSON", '{"a": nil}', "the body is not JSON: Unexpected token"],
    ["JSON that is cut", '{"a": [1, 2', "the body is not JSON: Expected"],
    ["bytes that are not UTF-8", Buffer.from([0x22, 0xff, 0x22]), "the body is not UTF-8"],
  ])("P7: refuses %s, saying what stands in the way", (_what, body, problem) => {
    expect(refusalOf(() => parseJson(Buffer.from(body)))).toContain(problem);
  });

  it("P8: refuses deep nesting in a large body before parsing it", () => {
    const levels = 4_000_000;
    const deep = "[".repeat(levels) + "]".repeat(levels);
    expect(refusalOf(() => parseJson(Buffer.from(deep)))).toBe("the body is nested more than 71 levels deep");
    expect(refusalOf(() => parseJson(Buffer.from(`{"a":"\\"","b":${deep}}`)))).toContain("nested more than");
  });

  it("does not take brackets in texts for nesting", () => {
    const value = { a: '[{"\\'.repeat(200_000), b: [{}, [], { c: [] }], d: "\\\\" };
    expect(parseJson(Buffer.from(JSON.stringify(value)))).toEqual(value);
  });
});

// Values that are near to what is wanted find more than any JSON does: mostly right ones, and now and then another.
const mostly = <A, B>(right: fc.Arbitrary<A>, ...others: fc.Arbitrary<B>[]): fc.Arbitrary<A | B | fc.JsonValue> =>
  fc.oneof({ weight: 40, arbitrary: right }, anyJson, ...others);
const anyJson = fc.jsonValue({ stringUnit: "binary", maxDepth: 4 });
const halves = fc.string({ unit: fc.constantFrom("a", "\ud83d", "\ude00") });
const name = mostly(
  fc.constantFrom("Credited", "Account", "größe"),
  fc.string({ unit: "binary", maxLength: 140 }),
  halves,
);
const seq = mostly(fc.nat(), fc.maxSafeInteger(), fc.double());
const payload = mostly(
  fc.dictionary(fc.string({ unit: "binary" }), anyJson),
  fc.dictionary(halves, halves),
  fc.constant(JSON.parse('{"__proto__":1}')),
);
const newEvent = mostly(
  fc.record({ type: name, payload }),
  fc.record({ type: name, payload, x: anyJson }, { requiredKeys: [] }),
);
const options = { aggregate: name, expectedSeq: seq, id: name, metadata: payload };
const entity = mostly(fc.constantFrom("account/alice", "a/b/c", "k/größe"), fc.string({ unit: "binary" }), halves);
const one = fc.record({ type: name, payload, ...options }, { requiredKeys: ["type", "payload"] });
const several = fc.record({ events: fc.array(newEvent, { maxLength: 4 }), ...options }, { requiredKeys: ["events"] });
const appendBody = fc.oneof(one, several, anyJson);
const item = fc.tuple(fc.oneof(one, several), entity).map(([body, id]) => ({ ...body, entity: id }));
const manyBody = mostly(fc.record({ items: fc.array(mostly(item), { maxLength: 4 }) }));
const executeBody = mostly(fc.record({ command: name, input: payload, ...options }, { requiredKeys: ["command"] }));

/** Fields, or undefined for an error that says that the sender is at fault; anything else throws. */
function outcomeOf<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    expect(errorTable[(error as HeddleError).code].status).toBe(400);
    expect(error.message.length).toBeLessThan(1_000);
    return undefined;
  }
}

const room = new Uint8Array(1 << 20);
const reserve = (): { bytes: Uint8Array; at: number } => ({ bytes: room, at: 0 });

/** Through the protocol's encoder and back. Fields that passed the checks must come out as they went in. */
function expectCarried(fields: AppendFields): void {
  const length = writeAppendBody(fields, reserve);
  const view = newAppendView();
  readAppendBody(room, 0, length, new TextCache(), view);
  expect([view.entity, view.aggregate, view.expectedSeq, view.id]).toEqual([
    fields.entity,
    fields.aggregate,
    fields.expectedSeq ?? -1,
    fields.id ?? "",
  ]);
  const payloads = decodeValue(room.subarray(view.payloadsFrom, view.end));
  expect(JSON.stringify(payloads)).toBe(JSON.stringify(fields.events.map((event) => event.payload)));
}

describe("P7: whatever JSON comes in, the outcome is fields that can be carried, or a typed error", () => {
  it("as an append", () => {
    let carried = 0;
    fc.assert(
      fc.property(appendBody, (body) => {
        const fields = outcomeOf(() => readAppend(JSON.parse(JSON.stringify(body)), alice));
        if (fields === undefined) return;
        expectCarried(fields);
        carried++;
      }),
      { numRuns: 1_000 },
    );
    expect(carried).toBeGreaterThan(100);
  });

  it("as many appends", () => {
    let carried = 0;
    fc.assert(
      fc.property(manyBody, (body) => {
        const items = outcomeOf(() => readAppendMany(JSON.parse(JSON.stringify(body))));
        for (const fields of items ?? []) {
          expectCarried(fields);
          carried++;
        }
      }),
      { numRuns: 1_000 },
    );
    expect(carried).toBeGreaterThan(100);
  });

  it("as a command", () => {
    fc.assert(
      fc.property(executeBody, (body) => {
        const fields = outcomeOf(() => readExecute(JSON.parse(JSON.stringify(body)), alice));
        if (fields !== undefined) expect(writeExecuteBody(fields, reserve)).toBeGreaterThan(0);
      }),
      { numRuns: 1_000 },
    );
  });

  it("as a restoring or a fork", () => {
    const moment = fc.record(
      {
        seq,
        time: fc.oneof(
          seq,
          fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
        ),
        expectedSeq: seq,
        id: name,
        entity,
      },
      {
        requiredKeys: [],
      },
    );
    fc.assert(
      fc.property(mostly(moment), (body) => {
        const fields = outcomeOf(() => readRestore(body, alice));
        if (fields !== undefined) expect(writeRestoreBody(fields, reserve)).toBeGreaterThan(0);
        outcomeOf(() => readFork(body));
      }),
      { numRuns: 1_000 },
    );
  });

  it("as a query", () => {
    const value = fc.oneof(
      fc.string(),
      fc.nat().map(String),
      fc.array(fc.string()),
      fc.constantFrom("forward", "backward", "true", "2026-01-31", "2026-01-31T12:00Z"),
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    );
    const known = ["limit", "from", "to", "since", "until", "direction", "aggregate", "seq", "time"];
    const listed = ["kind", "prefix", "cursor", "erased"];
    const key = fc.oneof(fc.constantFrom(...known, ...listed), fc.string());
    fc.assert(
      fc.property(fc.dictionary(key, value), (query) => {
        const history = outcomeOf(() => readHistory(query, alice));
        if (history !== undefined) expect(writeHistoryBody(history, reserve)).toBeGreaterThan(0);
        const { at, ...get } = outcomeOf(() => readGet(query, alice)) ?? {};
        if (at !== undefined) expect(writeGetAtBody({ ...(get as GetFields), at }, reserve)).toBeGreaterThan(0);
        const { kind, prefix = "", limit = 1, erased = false } = outcomeOf(() => readList(query)) ?? {};
        const start = kind === undefined ? prefix : `${kind}/${prefix}`;
        expect(writeListBody({ prefix: start, after: "", limit, erased }, reserve)).toBeGreaterThan(0);
        outcomeOf(() => readDelete(query, alice));
      }),
      { numRuns: 1_000 },
    );
  });

  it("as bytes that may not be JSON at all", () => {
    const cut = fc.tuple(appendBody, fc.nat()).map(([value, at]) => {
      const text = Buffer.from(JSON.stringify(value));
      return text.subarray(0, at % (text.length + 1));
    });
    const bytes = fc.uint8Array().map((array) => Buffer.from(array));
    fc.assert(
      fc.property(fc.oneof(cut, bytes), (body) => {
        outcomeOf(() => readAppend(parseJson(body), alice));
      }),
      { numRuns: 1_000 },
    );
  });
});
