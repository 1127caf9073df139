// Goal: what a client writes into a request is what the node reads out of it. Golden bytes: frames.unit.spec.ts.
import { limits } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TextCache, u48Max } from "./bytes.ts";
import { decodeValue, encodeValue } from "./payload-codec.ts";
import {
  type ExecuteFields,
  encodeHello,
  type HistoryFields,
  helloBodyOffset,
  newExecuteView,
  readExecuteBody,
  readGetBody,
  readHello,
  readHistoryBody,
  writeExecuteBody,
  writeGetBody,
  writeHistoryBody,
} from "./requests.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };
type Body = { bytes: Uint8Array; from: number; to: number };

function write<F>(writer: (fields: F, reserve: Reserve) => number, fields: F): Body {
  let bytes = new Uint8Array();
  const used = writer(fields, (wanted) => {
    bytes = new Uint8Array(3 + wanted).fill(0xee);
    return { bytes, at: 3 };
  });
  expect(used).toBeLessThanOrEqual(bytes.length - 3);
  return { bytes, from: 3, to: 3 + used };
}

const texts = new TextCache();
const name = fc.string({ unit: "grapheme", maxLength: 12 }).filter((text) => text.isWellFormed());
const entity = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).filter((text) => text.isWellFormed());

describe("execute: round trip", () => {
  it("gives back every field", () => {
    const fields = fc.record({
      entity,
      aggregate: name,
      command: name,
      input: fc.oneof(fc.integer(), fc.array(fc.integer())),
      expectedSeq: fc.option(fc.nat(), { nil: undefined }),
      id: fc.option(
        name.filter((id) => id !== ""),
        { nil: undefined },
      ),
      metadata: fc.option(fc.array(fc.boolean()), { nil: undefined }),
    });
    fc.assert(
      fc.property(fields, (given: ExecuteFields) => {
        const { bytes, from, to } = write(writeExecuteBody, given);
        const view = newExecuteView();
        readExecuteBody(bytes, from, to, texts, view);
        expect({
          entity: view.entity,
          aggregate: view.aggregate,
          command: view.command,
          input: decodeValue(bytes.subarray(view.inputFrom, view.end)),
          expectedSeq: view.expectedSeq === -1 ? undefined : view.expectedSeq,
          id: view.id === "" ? undefined : view.id,
          metadata:
            view.metadataTo === view.metadataFrom
              ? undefined
              : decodeValue(bytes.subarray(view.metadataFrom, view.metadataTo)),
        }).toEqual(given);
      }),
    );
  });

  it("P7 refuses a command without input", () => {
    const { bytes, from, to } = write(writeExecuteBody, { entity: "a/b", aggregate: "", command: "C", input: null });
    expect(() => readExecuteBody(bytes, from, to - 1, texts, newExecuteView())).toThrowError(
      expect.objectContaining({ code: "BAD_FRAME" }),
    );
  });
});

describe("get and history: round trip", () => {
  it("give back every field", () => {
    fc.assert(
      fc.property(entity, name, (entity, aggregate) => {
        const { bytes, from, to } = write(writeGetBody, { entity, aggregate });
        expect(readGetBody(bytes, from, to, texts)).toEqual({ entity, aggregate });
      }),
    );
    const fields = fc.record({
      entity,
      aggregate: name,
      from: fc.oneof(fc.nat(), fc.constant(u48Max)),
      limit: fc.integer({ min: 1, max: limits.historyEventsMax }),
      direction: fc.constantFrom("forward" as const, "backward" as const),
    });
    fc.assert(
      fc.property(fields, (given: HistoryFields) => {
        const { bytes, from, to } = write(writeHistoryBody, given);
        expect(readHistoryBody(bytes, from, to, texts)).toEqual({ ...given, to: 0, since: 0, until: 0 });
      }),
    );
    const bound = fc.oneof(fc.nat(), fc.constant(u48Max));
    fc.assert(
      fc.property(entity, bound, bound, bound, bound, (entity, a, b, c, d) => {
        const range = { from: Math.min(a, b), to: Math.max(a, b), since: Math.min(c, d), until: Math.max(c, d) };
        const given = { entity, aggregate: "", limit: 7, direction: "forward" as const, ...range };
        const { bytes, from, to } = write(writeHistoryBody, given);
        expect(readHistoryBody(bytes, from, to, texts)).toEqual(given);
      }),
    );
  });

  it("P7 refuse a range that runs backwards", () => {
    const forward = { entity: "a/b", aggregate: "", from: 5, limit: 1, direction: "forward" } as const;
    const backward = { ...forward, direction: "backward" } as const;
    for (const [path, wrong] of [
      ["to", { ...forward, to: 4 }],
      ["to", { ...backward, to: 6 }],
      ["until", { ...forward, since: 9, until: 8 }],
      ["since", { ...forward, since: Number.NaN }],
      ["until", { ...forward, until: -1 }],
    ] as const) {
      expect(() => write(writeHistoryBody, wrong)).toThrowError(
        expect.objectContaining({ code: "INVALID_REQUEST", facts: expect.objectContaining({ path }) }),
      );
    }
    for (const good of [
      { ...forward, to: 5 },
      { ...backward, to: 5 },
      { ...forward, since: 8, until: 8 },
    ]) {
      expect(() => write(writeHistoryBody, good)).not.toThrow();
    }
  });

  it("P7 refuse a place or a limit out of bounds, on either side", () => {
    const good: HistoryFields = { entity: "a/b", aggregate: "", from: 0, limit: 1, direction: "forward" };
    const wrong = [
      { from: -1 },
      { from: 0.5 },
      { from: 2 ** 48 },
      { limit: 0 },
      { limit: 10_001 },
      { limit: Number.NaN },
    ];
    for (const part of wrong) {
      expect(() => write(writeHistoryBody, { ...good, ...part })).toThrowError(
        expect.objectContaining({
          code: "INVALID_REQUEST",
          facts: expect.objectContaining({ path: Object.keys(part)[0] }),
        }),
      );
    }
    const { bytes, from, to } = write(writeHistoryBody, good);
    // The limit.
    bytes.fill(0, to - 23, to - 19);
    expect(() => readHistoryBody(bytes, from, to, texts)).toThrowError(
      expect.objectContaining({ code: "INVALID_REQUEST" }),
    );
  });

  it("P7 refuse bytes behind the last field", () => {
    const get = write(writeGetBody, { entity: "a/b", aggregate: "" });
    expect(() => readGetBody(get.bytes, get.from, get.to + 1, texts)).toThrowError(
      expect.objectContaining({ code: "BAD_FRAME" }),
    );
  });

  it("P7 refuse an aggregate that is too long or no text", () => {
    for (const aggregate of ["x".repeat(129), 7 as never]) {
      expect(() => write(writeGetBody, { entity: "a/b", aggregate })).toThrowError(
        expect.objectContaining({ code: "INVALID_REQUEST" }),
      );
    }
  });
});

describe("hello", () => {
  const good = { version: 1, session: u48Max, client: "c", context: "bank" };

  it("round trip", () => {
    expect(readHello(encodeHello(good).subarray(helloBodyOffset))).toEqual(good);
  });

  it("P7 refuses a part that is missing or wrong", () => {
    const wrong = [
      null,
      5,
      [],
      { ...good, version: "1" },
      { ...good, session: 0 },
      { ...good, session: u48Max + 1 },
      { ...good, session: 1.5 },
      { ...good, client: undefined },
      { ...good, context: 3 },
    ];
    for (const hello of wrong) {
      expect(() => readHello(encodeValue(hello).slice())).toThrowError(expect.objectContaining({ code: "BAD_FRAME" }));
    }
  });
});
