// Goal: what a client writes into an append is what a shard reads out of it, and what cannot be written is refused.
// Method: round trips with fast-check; the bounds one by one. Golden bytes stand in frames.unit.spec.ts.
import { type ErrorCode, HeddleError, limits } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AppendFields, newAppendView, readAppendBody, writeAppendBody } from "./append-body.ts";
import { TextCache, u48Max } from "./bytes.ts";
import { decodeValue } from "./payload-codec.ts";

const before = 5;

/** The body among other bytes, as it lies in a frame. */
function write(fields: AppendFields): { bytes: Uint8Array; from: number; to: number } {
  let room = new Uint8Array();
  const used = writeAppendBody(fields, (wanted) => {
    room = new Uint8Array(before + wanted).fill(0xee);
    return { bytes: room, at: before };
  });
  expect(used).toBeLessThanOrEqual(room.length - before);
  return { bytes: room, from: before, to: before + used };
}

function read(body: { bytes: Uint8Array; from: number; to: number }): AppendFields {
  const view = newAppendView();
  readAppendBody(body.bytes, body.from, body.to, new TextCache(), view);
  const payloads = decodeValue(body.bytes.subarray(view.payloadsFrom, view.end)) as unknown[];
  expect(payloads).toHaveLength(view.eventCount);
  return {
    entity: view.entity,
    aggregate: view.aggregate,
    events: payloads.map((payload, i) => {
      const index = view.typeIndexes === 0 ? 0 : body.bytes[view.typeIndexes + i]!;
      const at = view.versionOffsets[index]!;
      return { type: view.types[index]!, payload, schemaVersion: body.bytes[at]! + 256 * body.bytes[at + 1]! };
    }),
    expectedSeq: view.expectedSeq === -1 ? undefined : view.expectedSeq,
    id: view.id === "" ? undefined : view.id,
    metadata:
      view.metadataTo > view.metadataFrom
        ? decodeValue(body.bytes.subarray(view.metadataFrom, view.metadataTo))
        : undefined,
  };
}

const utf8Bytes = (text: string) => new TextEncoder().encode(text).length;
const textUpTo = (bytesMax: number, minLength = 0) =>
  fc
    .string({
      unit: fc.oneof(fc.constantFrom("a", "é", "語", "🦄", "\u0000", "\ufeff"), fc.string()),
      minLength,
      maxLength: 60,
    })
    .filter((text) => text.isWellFormed() && utf8Bytes(text) <= bytesMax && text.length >= minLength);
// The sign of zero is lost: msgpackr writes it as an integer.
const double = fc.double().filter((value) => !Object.is(value, -0));
const payload = fc.dictionary(
  fc.string({ maxLength: 10 }).filter((key) => key !== "__proto__" && key.isWellFormed()),
  fc.oneof(fc.integer(), double, fc.boolean(), fc.constant(null), textUpTo(100)),
);

describe("append body: round trip", () => {
  it("gives back entity, aggregate, types, payloads, expected sequence, id and metadata", () => {
    const fields = fc.record({
      entity: textUpTo(limits.entityIdBytesMax, 1),
      aggregate: textUpTo(limits.nameBytesMax),
      events: fc.array(
        fc.record({ type: fc.oneof(fc.constantFrom("A", "B"), textUpTo(limits.nameBytesMax)), payload }),
        { minLength: 1, maxLength: 20 },
      ),
      expectedSeq: fc.option(fc.oneof(fc.nat(), fc.constant(0), fc.constant(u48Max)), { nil: undefined }),
      id: fc.option(textUpTo(limits.appendIdBytesMax, 1), { nil: undefined }),
      metadata: fc.option(payload, { nil: undefined }),
    });
    fc.assert(
      fc.property(fields, (given) => {
        const wanted = { ...given, events: given.events.map((event) => ({ ...event, schemaVersion: 0 })) };
        expect(read(write(given))).toEqual(wanted);
      }),
      { numRuns: 400 },
    );
  });

  it("keeps a schema version for each type", () => {
    const events = [
      { type: "A", payload: 1, schemaVersion: 2 },
      { type: "B", payload: 2, schemaVersion: 0x1234 },
      { type: "A", payload: 3, schemaVersion: 2 },
    ];
    expect(read(write({ entity: "a/b", aggregate: "", events })).events).toEqual(events);
  });

  it("carries up to 255 event types, and refuses more", () => {
    const events = (count: number) => Array.from({ length: count }, (_, i) => ({ type: `T${i}`, payload: i }));
    const read255 = read(write({ entity: "a/b", aggregate: "A", events: events(255) }));
    expect(read255.events.map((event) => event.type)).toEqual(events(255).map((event) => event.type));
    refuses({ events: events(256) }, "more than 255 event types");
  });

  it("tells two ids apart that differ in a byte order mark only", () => {
    const events = [{ type: "A", payload: 1 }];
    const plain = write({ entity: "a/b", aggregate: "A", events, id: "x" });
    const marked = write({ entity: "a/b", aggregate: "A", events, id: "\ufeffx" });
    expect(read(plain).id).toBe("x");
    expect(read(marked).id).toBe("\ufeffx");
  });
});

const good: AppendFields = { entity: "a/b", aggregate: "A", events: [{ type: "T", payload: 1 }] };

function refuses(fields: Partial<AppendFields>, found: string, code: ErrorCode = "INVALID_REQUEST"): void {
  expect(() => write({ ...good, ...fields })).toThrowError(
    expect.objectContaining({ code, message: expect.stringContaining(found) }),
  );
}

describe("append body: P7 refuses to write", () => {
  it("no events, and more than an append may hold", () => {
    refuses({ events: [] }, "at least one");
    const event = { type: "T", payload: 1 };
    refuses({ events: new Array(limits.appendEventsMax + 1).fill(event) }, "at most 10000");
  });

  it("names that are too long, ill-formed, or no text", () => {
    refuses({ aggregate: "é".repeat(65) }, "aggregate");
    refuses({ aggregate: "a".repeat(1_000_000) }, "1000000 characters");
    refuses({ aggregate: 5 as never }, "number");
    refuses({ events: [{ type: "\ud800", payload: 1 }] }, "event type");
    refuses({ events: [{ type: undefined as never, payload: 1 }] }, "undefined");
  });

  it("an id that is empty, too long, ill-formed, or no text", () => {
    refuses({ id: "" }, "id");
    refuses({ id: "é".repeat(101) }, "200 bytes");
    refuses({ id: "x\udc00" }, "well-formed");
    refuses({ id: null as never }, "null");
  });

  it("an expected sequence that is no whole number, negative, or beyond 48 bits", () => {
    refuses({ expectedSeq: -1 }, "expectedSeq");
    refuses({ expectedSeq: 1.5 }, "1.5");
    refuses({ expectedSeq: 2 ** 48 }, "281474976710656");
  });
});

describe("append body: P7 refuses to read", () => {
  const body = write({
    ...good,
    events: [...good.events, { type: "U", payload: { a: "b" } }],
    expectedSeq: 7,
    id: "id",
    metadata: { m: 1 },
  });
  const readBytes = (bytes: Uint8Array) => readAppendBody(bytes, 0, bytes.length, new TextCache(), newAppendView());
  const whole = body.bytes.slice(body.from, body.to);
  const changed = (change: (bytes: Uint8Array) => void) => {
    const bytes = whole.slice();
    change(bytes);
    return bytes;
  };

  it("a body that is cut anywhere before its payloads; the payloads' own decoder refuses the rest", () => {
    const view = newAppendView();
    readAppendBody(whole, 0, whole.length, new TextCache(), view);
    for (let length = 0; length < whole.length; length++) {
      const cut = whole.subarray(0, length);
      if (length <= view.payloadsFrom) {
        expect(() => readBytes(cut)).toThrowError(expect.objectContaining({ code: "BAD_FRAME" }));
      } else {
        expect(() => decodeValue(cut.subarray(view.payloadsFrom))).toThrowError();
      }
    }
  });

  const isBadFrame = (bytes: Uint8Array, found: string) =>
    expect(() => readBytes(bytes)).toThrowError(
      expect.objectContaining({ code: "BAD_FRAME", message: expect.stringContaining(found) }),
    );
  // u16, "a/b", u8, "A", flags, u48, u8, "id", types: u8, (u8, "T", u16), (u8, "U", u16), u32, two indexes
  const offset = { idLength: 14, typeCount: 17, eventCount: 26, index: 31 };

  it("no type, no event, too many events, a type index past the types", () => {
    isBadFrame(
      changed((bytes) => bytes.fill(0, offset.typeCount, offset.typeCount + 1)),
      "names no event type",
    );
    isBadFrame(
      changed((bytes) => bytes.fill(0, offset.eventCount, offset.eventCount + 4)),
      "0 events",
    );
    isBadFrame(
      changed((bytes) => bytes.fill(0xff, offset.eventCount, offset.eventCount + 4)),
      "4294967295 events",
    );
    isBadFrame(
      changed((bytes) => bytes.fill(2, offset.index, offset.index + 1)),
      "past the types",
    );
  });

  it("an id that is empty or longer than an id may be", () => {
    isBadFrame(
      changed((bytes) => bytes.fill(0, offset.idLength, offset.idLength + 1)),
      "found 0",
    );
    const long = new Uint8Array(300);
    long.set(whole.subarray(0, offset.idLength));
    long.fill(0x61, offset.idLength);
    long[offset.idLength] = 201;
    isBadFrame(long, "found 201");
  });

  it("metadata that could not be decoded later", () => {
    const at = 36;
    isBadFrame(
      changed((bytes) => bytes.fill(0xc1, at, at + 1)),
      "c1",
    );
  });

  it("a name or an id that is not UTF-8", () => {
    isBadFrame(
      changed((bytes) => bytes.fill(0xff, 2, 3)),
      "a name is not UTF-8",
    );
    isBadFrame(
      changed((bytes) => bytes.fill(0xff, offset.idLength + 1, offset.idLength + 2)),
      "an id is not UTF-8",
    );
  });

  it("and a refusal leaves nothing behind for the body that comes next", () => {
    const view = newAppendView();
    readAppendBody(whole, 0, whole.length, new TextCache(), view);
    for (let length = 0; length <= view.payloadsFrom; length++) {
      expect(() => readBytes(whole.subarray(0, length))).toThrowError(HeddleError);
      const next = newAppendView();
      readAppendBody(whole, 0, whole.length, new TextCache(), next);
      expect(next).toEqual(view);
    }
  });

  it("is a HeddleError", () => {
    expect(() => readBytes(new Uint8Array())).toThrowError(HeddleError);
  });
});
