// Goal: questions for events, and the pages that answer them, arrive as they were written; cursors stand for one place.
// Tested elsewhere: any bytes at all (test/fuzz).
import { limits } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TextCache, u48Max } from "./bytes.ts";
import { type FeedPosition, feedSkipMax, readCursor, writeCursor } from "./feed-cursor.ts";
import {
  asksForEnds,
  type FeedFields,
  feedWaitMsMax,
  readFeedBody,
  readFeedEnds,
  readFeedPage,
  type WireFeedPage,
  writeFeedBody,
} from "./feed-requests.ts";
import { frameOffset } from "./frames.ts";

const name = fc.string({ unit: "grapheme", maxLength: 12 }).filter((text) => text.isWellFormed());
const place = fc.record({
  record: fc.integer({ min: 0, max: u48Max }),
  skip: fc.integer({ min: 0, max: feedSkipMax }),
});
const fields: fc.Arbitrary<FeedFields> = fc.record({
  from: fc.oneof(place, fc.constant("now" as const)),
  waitMs: fc.integer({ min: 0, max: feedWaitMsMax }),
  limit: fc.integer({ min: 1, max: limits.historyEventsMax }),
  kind: fc.constantFrom("", "account", "a_1-b"),
  aggregate: name,
  types: fc.array(name, { maxLength: 255 }),
});
const some: FeedFields = { from: { record: 0, skip: 0 }, waitMs: 0, limit: 1, kind: "", aggregate: "", types: [] };

function written(question: FeedFields, before: number) {
  let bytes = new Uint8Array();
  const used = writeFeedBody(question, (wanted) => {
    bytes = new Uint8Array(before + wanted).fill(0xee);
    return { bytes, at: before };
  });
  expect(used).toBeLessThanOrEqual(bytes.length - before);
  return { bytes, from: before, to: before + used };
}

describe("feed requests", () => {
  it("arrive as they were written", () => {
    fc.assert(
      fc.property(fields, (question) => {
        const { bytes, from, to } = written(question, 3);
        expect(readFeedBody(bytes, from, to, new TextCache())).toEqual(question);
      }),
    );
  });

  it("P7: are refused before they leave, with the path of what is wrong", () => {
    const refused = (change: Record<string, unknown>, path: string) => {
      const thrown = expect.objectContaining({ code: "INVALID_REQUEST", facts: expect.objectContaining({ path }) });
      expect(() => written({ ...some, ...change } as FeedFields, 0)).toThrow(thrown);
    };
    refused({ from: { record: -1, skip: 0 } }, "from");
    refused({ from: { record: 0, skip: 2 ** 32 } }, "from");
    refused({ waitMs: feedWaitMsMax + 1 }, "waitMs");
    refused({ limit: 0 }, "limit");
    refused({ limit: limits.historyEventsMax + 1 }, "limit");
    refused({ kind: "Account" }, "kind");
    refused({ kind: "$saga" }, "kind");
    refused({ types: "Credited" }, "types");
    refused({ types: Array.from({ length: 256 }, () => "x") }, "types");
    refused({ types: ["x".repeat(limits.nameBytesMax + 1)] }, "types");
    refused({ aggregate: "x".repeat(limits.nameBytesMax + 1) }, "aggregate");
  });

  it("one that asks where the feeds end is told by its first byte", () => {
    for (const [from, asks] of [
      ["now", true],
      [{ record: 1, skip: 1 }, false],
    ] as const) {
      const { bytes, to } = written({ ...some, from }, frameOffset.requestBody);
      expect(asksForEnds(bytes, 0, to)).toBe(asks);
    }
    expect(asksForEnds(Uint8Array.of(...new Uint8Array(frameOffset.requestBody), 1), 0, frameOffset.requestBody)).toBe(
      false,
    );
  });
});

describe("feed pages", () => {
  const page: WireFeedPage = [
    4096,
    2,
    [
      [
        64,
        3,
        88,
        "account/alice",
        "Account",
        7,
        1_000,
        null,
        { by: "ann" },
        [
          [0, "Credited", 2, { amount: 5 }],
          [2, "Debited", 1, 6],
        ],
      ],
      [64, 6, 200, "order/1", "Order", 1, 1_001, "id-1", null, [[0, "Placed", 1, null]]],
    ],
  ];

  it("give each event with the place behind it, which counts those that were left out", () => {
    const { events, next } = readFeedPage(page, 5);
    expect(next).toEqual({ record: 4096, skip: 2 });
    expect(events.map(({ behind }) => behind)).toEqual([
      { record: 64, skip: 4 },
      { record: 64, skip: 6 },
      { record: 64, skip: 7 },
    ]);
    expect(events.map(({ event }) => event)).toEqual([
      {
        shard: 5,
        position: 88,
        index: 0,
        entity: "account/alice",
        seq: 7,
        time: 1_000,
        aggregate: "Account",
        type: "Credited",
        payload: { amount: 5 },
        metadata: { by: "ann" },
        id: undefined,
        schemaVersion: 2,
      },
      expect.objectContaining({ seq: 9, index: 2, type: "Debited", payload: 6 }),
      expect.objectContaining({ entity: "order/1", id: "id-1", metadata: undefined, payload: null }),
    ]);
  });

  it("P7: of another shape are BAD_FRAME", () => {
    const bad: unknown[] = [
      null,
      [],
      [1, 2],
      [1, 2, 3],
      ["a", 0, []],
      [1, 0, [[]]],
      [1, 0, [[64, 0, 88, 1, "A", 1, 1, null, null, []]]],
    ];
    bad.push([1, 0, [[64, 0, 88, "a/b", "A", 1, 1, null, null, [[0, 5, 1, 1]]]]]);
    for (const value of bad)
      expect(() => readFeedPage(value, 0)).toThrow(expect.objectContaining({ code: "BAD_FRAME" }));
    for (const value of [null, [], ["1"], [1.5]]) {
      expect(() => readFeedEnds(value)).toThrow(expect.objectContaining({ code: "BAD_FRAME" }));
    }
    expect(readFeedEnds([0, 64])).toEqual([0, 64]);
  });
});

describe("cursors", () => {
  it("stand for the place in each shard's feed that they were made of", () => {
    fc.assert(
      fc.property(fc.array(place, { minLength: 1, maxLength: 70 }), (positions: FeedPosition[]) => {
        expect(readCursor(writeCursor(positions), positions.length)).toEqual(positions);
      }),
    );
    expect(
      writeCursor([
        { record: 8192, skip: 3 },
        { record: 64, skip: 0 },
      ]),
    ).toBe("0:8192.3,1:64");
  });

  it("P7: what is none, or one of another context, is refused", () => {
    const none = [
      "",
      "x",
      "0:1",
      "0:1,1:2,2:3",
      "1:1,0:2",
      "0:1,1:-2",
      "0:1,1:2.",
      "0:1,1:999999999999999",
      "0:1,1:2 ",
    ];
    for (const cursor of [...none, undefined, 7, {}]) {
      const refused = expect.objectContaining({
        code: "INVALID_REQUEST",
        facts: expect.objectContaining({ path: "from" }),
      });
      expect(() => readCursor(cursor as string, 2), String(cursor)).toThrow(refused);
    }
  });
});
