// Goal: requests about an entity's life arrive as they were written. Golden bytes: frames.unit.spec.ts; any bytes at all:
// test/fuzz.
import { limits } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { appendFlags, newAppendView, writeBodyStart } from "./append-body.ts";
import { TextCache, u48Max } from "./bytes.ts";
import {
  type ListFields,
  readDeleteBody,
  readGetAtBody,
  readImportBody,
  readListBody,
  readRestoreBody,
  writeDeleteBody,
  writeGetAtBody,
  writeImportBody,
  writeListBody,
  writeRestoreBody,
} from "./lifecycle-requests.ts";
import type { Moment } from "./moment.ts";
import { decodeValue } from "./payload-codec.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

function write<F>(writer: (fields: F, reserve: Reserve) => number, fields: F) {
  let bytes = new Uint8Array();
  const used = writer(fields, (wanted) => {
    bytes = new Uint8Array(3 + wanted).fill(0xee);
    return { bytes, at: 3 };
  });
  expect(used).toBeLessThanOrEqual(bytes.length - 3);
  return { bytes, from: 3, to: 3 + used };
}

const texts = new TextCache();
const entity = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).filter((text) => text.isWellFormed());
const name = fc.string({ unit: "grapheme", maxLength: 12 }).filter((text) => text.isWellFormed());
const id = fc.option(
  name.filter((text) => text !== ""),
  { nil: undefined },
);
const whole = fc.oneof(fc.nat(), fc.constant(u48Max));
const moment: fc.Arbitrary<Moment> = fc.oneof(
  whole.map((seq) => ({ seq })),
  whole.map((time) => ({ time })),
);
const error = (code: string, path?: string) =>
  expect.objectContaining({ code, ...(path === undefined ? {} : { facts: expect.objectContaining({ path }) }) });

describe("lifecycle requests: round trip", () => {
  it("getAt gives back every field", () => {
    fc.assert(
      fc.property(entity, name, moment, (entity, aggregate, at) => {
        const { bytes, from, to } = write(writeGetAtBody, { entity, aggregate, at });
        expect(readGetAtBody(bytes, from, to, texts)).toEqual({ entity, aggregate, at });
      }),
    );
  });

  it("restore gives back every field", () => {
    fc.assert(
      fc.property(entity, moment, fc.option(whole, { nil: undefined }), id, (entity, at, expectedSeq, id) => {
        const { bytes, from, to } = write(writeRestoreBody, { entity, at, expectedSeq, id });
        const wanted = { entity, aggregate: "", at, expectedSeq: expectedSeq ?? -1, id: id ?? "" };
        expect(readRestoreBody(bytes, from, to, texts)).toEqual(wanted);
      }),
    );
  });

  it("delete gives back every field", () => {
    fc.assert(
      fc.property(entity, fc.boolean(), (entity, provisional) => {
        const { bytes, from, to } = write(writeDeleteBody, { entity, provisional });
        expect(readDeleteBody(bytes, from, to, texts)).toEqual({ entity, provisional, buried: false });
        const inner = write(writeDeleteBody, { entity, provisional: false, buried: true });
        expect(readDeleteBody(inner.bytes, inner.from, inner.to, texts)).toMatchObject({ entity, buried: true });
      }),
    );
  });

  it("import gives back time, trust and the append", () => {
    const fields = fc.record({ entity, aggregate: name, time: whole, trusted: fc.boolean(), id, amount: fc.nat() });
    fc.assert(
      fc.property(fields, ({ entity, aggregate, time, trusted, id, amount }) => {
        const events = [{ type: "Credited", payload: { amount }, schemaVersion: 3 }];
        const { bytes, from, to } = write(writeImportBody, { entity, aggregate, time, trusted, id, events });
        const view = newAppendView();
        expect(readImportBody(bytes, from, to, texts, view)).toEqual({ time, trusted });
        expect(view).toMatchObject({ entity, aggregate, id: id ?? "", eventCount: 1, typeCount: 1 });
        expect(bytes[view.versionOffsets[0]!]).toBe(3);
        expect(decodeValue(bytes.subarray(view.payloadsFrom, view.end))).toEqual([{ amount }]);
      }),
    );
  });

  it("list gives back every field", () => {
    const limit = fc.integer({ min: 1, max: limits.listEntitiesMax });
    fc.assert(
      fc.property(name, name, limit, fc.boolean(), (prefix, after, limit, erased) => {
        const { bytes, from, to } = write(writeListBody, { prefix, after, limit, erased });
        expect(readListBody(bytes, from, to, texts)).toEqual({ prefix, after, limit, erased });
      }),
    );
  });
});

describe("lifecycle requests: P7", () => {
  it("a moment is one whole number, of a sequence or of a time", () => {
    const at = (moment: unknown) => () => write(writeGetAtBody, { entity: "a/b", aggregate: "", at: moment as Moment });
    expect(at({})).toThrowError(error("INVALID_REQUEST", "at"));
    expect(at({ seq: 1, time: 1 })).toThrowError(error("INVALID_REQUEST", "at"));
    for (const seq of [-1, 0.5, 2 ** 48, "7", null, Number.NaN]) {
      expect(at({ seq })).toThrowError(error("INVALID_REQUEST", "seq"));
      expect(at({ time: seq })).toThrowError(error("INVALID_REQUEST", "time"));
    }
  });

  it("a moment of an unknown kind is refused", () => {
    const { bytes, from, to } = write(writeGetAtBody, { entity: "a/b", aggregate: "", at: { seq: 1 } });
    bytes[to - 7] = 2;
    expect(() => readGetAtBody(bytes, from, to, texts)).toThrowError(error("BAD_FRAME"));
  });

  it("a restore with flags of an append is refused", () => {
    const { bytes, from, to } = write(writeRestoreBody, { entity: "a/b", at: { seq: 1 } });
    for (const flag of [appendFlags.metadata, appendFlags.newLife, 16]) {
      const changed = bytes.slice();
      changed[from + 2 + 3 + 1] = flag;
      expect(() => readRestoreBody(changed, from, to, texts)).toThrowError(error("BAD_FRAME"));
    }
    // The place is right: without the flag it reads.
    expect(readRestoreBody(bytes, from, to, texts)).toMatchObject({ entity: "a/b", at: { seq: 1 } });
    expect(writeBodyStart(new Uint8Array(64), 0, { entity: "a/b", aggregate: "" })).toBe(7);
  });

  it("a time of an import is a whole number of milliseconds", () => {
    const fields = { entity: "a/b", aggregate: "", events: [{ type: "T", payload: 1 }], trusted: false };
    for (const time of [-1, 1.5, 2 ** 48, Number.NaN]) {
      expect(() => write(writeImportBody, { ...fields, time })).toThrowError(error("INVALID_REQUEST", "time"));
    }
  });

  it("a list has a limit and the beginnings of ids", () => {
    const good: ListFields = { prefix: "", after: "", limit: 1, erased: false };
    const wrong = [
      { limit: 0 },
      { limit: limits.listEntitiesMax + 1 },
      { prefix: "x".repeat(limits.entityIdBytesMax + 1) },
      { prefix: 7 as never },
      { after: "\ud800" },
    ];
    for (const part of wrong) {
      expect(() => write(writeListBody, { ...good, ...part })).toThrowError(
        error("INVALID_REQUEST", Object.keys(part)[0]),
      );
    }
  });

  it("bytes behind the last field are refused", () => {
    const at: Moment = { seq: 1 };
    const bodies = [
      [write(writeGetAtBody, { entity: "a/b", aggregate: "", at }), readGetAtBody],
      [write(writeRestoreBody, { entity: "a/b", at }), readRestoreBody],
      [write(writeDeleteBody, { entity: "a/b", provisional: false }), readDeleteBody],
      [write(writeListBody, { prefix: "", after: "", limit: 1, erased: false }), readListBody],
    ] as const;
    for (const [{ bytes, from, to }, read] of bodies) {
      const longer = new Uint8Array(to + 1);
      longer.set(bytes.subarray(0, to));
      expect(() => read(longer, from, to + 1, texts)).toThrowError(error("BAD_FRAME"));
    }
  });
});
