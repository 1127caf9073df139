// Goal: what a client writes into a watch is what the node reads out of it, and nothing else is taken for one.
import { limits } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TextCache, u48Max } from "./bytes.ts";
import {
  readUnwatchBody,
  readWatchBody,
  readWatchPage,
  type WatchFields,
  watchWaitMsMax,
  writeUnwatchBody,
  writeWatchBody,
} from "./watch-requests.ts";

const texts = new TextCache();

function write<F>(
  writer: (fields: F, reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number,
  fields: F,
) {
  let bytes = new Uint8Array();
  const used = writer(fields, (wanted) => {
    bytes = new Uint8Array(3 + wanted).fill(0xee);
    return { bytes, at: 3 };
  });
  expect(used).toBeLessThanOrEqual(bytes.length - 3);
  return { bytes, from: 3, to: 3 + used };
}

const watch: WatchFields = { entity: "account/alice", aggregate: "Account", from: 8, limit: 100, waitMs: 10_000 };
const invalid = (path: string) =>
  expect.objectContaining({ code: "INVALID_REQUEST", facts: expect.objectContaining({ path }) });
const badFrame = expect.objectContaining({ code: "BAD_FRAME" });

describe("watch", () => {
  it("gives back every field", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 30 }).filter((one) => one.isWellFormed());
    const fields = fc.record({
      entity: text.filter((one) => one !== ""),
      aggregate: text,
      from: fc.integer({ min: 0, max: u48Max }),
      limit: fc.integer({ min: 1, max: limits.historyEventsMax }),
      waitMs: fc.integer({ min: 0, max: watchWaitMsMax }),
    });
    fc.assert(
      fc.property(fields, (given) => {
        const { bytes, from, to } = write(writeWatchBody, given);
        expect(readWatchBody(bytes, from, to, texts)).toEqual(given);
      }),
    );
  });

  it("has this form on the wire", () => {
    const { bytes, from, to } = write(writeWatchBody, { ...watch, entity: "a/b", aggregate: "C" });
    expect(Buffer.from(bytes.subarray(from, to)).toString("hex")).toBe(
      ["0300612f62", "0143", "080000000000", "64000000", "10270000"].join(""),
    );
  });

  it("P7 refuses numbers out of bounds on both sides, and a body of another length", () => {
    const wrong: [string, Partial<WatchFields>][] = [
      ["from", { from: -1 }],
      ["from", { from: u48Max + 1 }],
      ["limit", { limit: 0 }],
      ["limit", { limit: limits.historyEventsMax + 1 }],
      ["waitMs", { waitMs: watchWaitMsMax + 1 }],
      ["waitMs", { waitMs: 0.5 }],
    ];
    for (const [path, fields] of wrong) {
      expect(() => write(writeWatchBody, { ...watch, ...fields }), path).toThrowError(invalid(path));
    }
    const { bytes, from, to } = write(writeWatchBody, watch);
    for (const end of [to - 1, to - 4, from + 1]) {
      expect(() => readWatchBody(bytes, from, end, texts)).toThrowError(badFrame);
    }
    expect(() => readWatchBody(new Uint8Array([...bytes, 0]), from, to + 1, texts)).toThrowError(badFrame);
    bytes.fill(0, to - 8, to - 4);
    expect(() => readWatchBody(bytes, from, to, texts)).toThrowError(invalid("limit"));
  });
});

describe("unwatch", () => {
  it("gives back the call, and P7 refuses a body of another length", () => {
    const { bytes, from, to } = write(writeUnwatchBody, { call: u48Max });
    expect(readUnwatchBody(bytes, from, to, texts)).toEqual({ call: u48Max });
    expect(() => readUnwatchBody(bytes, from, to - 1, texts)).toThrowError(badFrame);
    expect(() => readUnwatchBody(new Uint8Array(12), 0, 7, texts)).toThrowError(badFrame);
  });
});

describe("the page of a watch", () => {
  it("is a list of events and where to go on; P7 refuses any other value", () => {
    expect(readWatchPage([[], 8])).toEqual({ events: [], next: 8 });
    for (const value of [null, 7, [], [[], 0], [[], "8"], [{}, 8], [[], 8, 9], { events: [], next: 8 }]) {
      expect(() => readWatchPage(value), JSON.stringify(value)).toThrowError(badFrame);
    }
  });
});
