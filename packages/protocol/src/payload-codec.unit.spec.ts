// Goal: plain data survives msgpack; bytes that are anything else are refused before they can do harm.
// Tested elsewhere: arbitrary bytes (adversarial.unit.spec.ts).
import { limits } from "@heddle/kernel";
import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { decodeValue, encodeValue } from "./payload-codec.ts";

const isBadFrame = (bytes: Uint8Array, found = "") =>
  expect(() => decodeValue(bytes)).toThrowError(
    expect.objectContaining({ code: "BAD_FRAME", message: expect.stringContaining(found) }),
  );

describe("values: round trip", () => {
  it("plain data comes back as it was", () => {
    const key = fc.string({ unit: "grapheme" }).filter((text) => text !== "__proto__" && text.isWellFormed());
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 5 },
        fc.constantFrom(null, true, false, undefined, -0.5, 2 ** 53 - 1, -(2 ** 53 - 1)),
        fc.integer(),
        // The sign of zero is lost: msgpackr writes it as an integer.
        fc.double().filter((number) => !Object.is(number, -0)),
        fc.string({ unit: "grapheme", maxLength: 300 }).filter((text) => text.isWellFormed()),
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
        fc.date({ noInvalidDate: true }),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
        fc.array(tie("value"), { maxLength: 20 }),
        fc.dictionary(key, tie("value"), { maxKeys: 20 }),
      ),
    }));
    fc.assert(
      fc.property(value, (given) => {
        expect(withPrototypes(decodeValue(encodeValue(given).slice()))).toStrictEqual(withPrototypes(given));
      }),
      { numRuns: 500 },
    );
  });

  // fast-check gives dictionaries without a prototype, the decoder makes them with one, and bytes as it read them.
  function withPrototypes(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(withPrototypes);
    if (value instanceof Uint8Array) return Uint8Array.from(value);
    if (typeof value !== "object" || value === null || value instanceof Date) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withPrototypes(inner)]));
  }

  it("of a part of the bytes, whatever stands before and behind it, short or long", () => {
    const value = fc.oneof(
      fc.anything({ maxDepth: 2, withDate: false }).filter(isPlain),
      fc.string({ maxLength: 3_000 }),
    );
    fc.assert(
      fc.property(fc.uint8Array(), value, fc.uint8Array(), (before, given, behind) => {
        const encoded = encodeValue(given).slice();
        const bytes = Uint8Array.from([...before, ...encoded, ...behind]);
        const decoded = decodeValue(bytes, before.length, before.length + encoded.length);
        expect(decoded).toStrictEqual(decodeValue(encoded));
      }),
    );
  });

  const isPlain = (value: unknown) => {
    try {
      encodeValue(value);
      return true;
    } catch {
      return false;
    }
  };

  it("is left alone by the next that is decoded", () => {
    const value = { bytes: Uint8Array.of(1, 2, 3), time: new Date(5), text: "é", list: [1.5, 2n ** 60n] };
    const first = decodeValue(encodeValue(value).slice());
    for (let byte = 0; byte < 256; byte++) decodeValue(encodeValue(new Uint8Array(200).fill(byte)).slice());
    expect(first).toEqual(value);
  });

  it("bytes come out as a copy, so that the frame may be overwritten", () => {
    const encoded = encodeValue({ b: Uint8Array.of(1, 2, 3) }).slice();
    const decoded = decodeValue(encoded) as { b: Uint8Array };
    encoded.fill(0xee);
    expect([...decoded.b]).toEqual([1, 2, 3]);
  });

  it("a key named __proto__ does not reach the prototype", () => {
    const decoded = decodeValue(Uint8Array.from([0x81, 0xa9, ...new TextEncoder().encode("__proto__"), 0x80]));
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
  });
});

describe("values: P7 refuses", () => {
  it("record definitions, and they leave no trace in the next decode", () => {
    const records = new Packr({ useRecords: true }).pack([
      { a: 1, b: 2 },
      { a: 3, b: 4 },
    ]);
    // One and two byte record ids, each followed by a use of the record.
    const twoByte = Uint8Array.from([0xd5, 0x72, 0x40, 0x01, 0x91, 0xa1, 0x61, 0x07]);
    for (const bytes of [records, twoByte]) {
      isBadFrame(bytes, "extension 114");
      // The byte that would now stand for the record is the number that it always was.
      expect(decodeValue(Uint8Array.of(0x40))).toBe(0x40);
      expect(decodeValue(Uint8Array.of(0x92, 0x40, 0x41))).toEqual([0x40, 0x41]);
    }
  });

  it("msgpackr's own extensions: references, sets, errors, expressions, bundles, typed arrays, big integers", () => {
    const types = [0x69, 0x70, 0x73, 0x65, 0x78, 0x62, 0x74, 0x42];
    for (const type of types) {
      isBadFrame(Uint8Array.of(0xd4, type, 0, 0x90), `extension ${type}`);
      isBadFrame(Uint8Array.of(0xd6, type, 0, 0, 0, 1, 0x90), `extension ${type}`);
      isBadFrame(Uint8Array.of(0xc7, 1, type, 0), `extension ${type}`);
    }
    isBadFrame(new Packr({ structuredClone: true, useRecords: false }).pack(new Set([1])));
  });

  it("a timestamp of a wrong length, and the byte that means nothing", () => {
    isBadFrame(Uint8Array.of(0xd5, 0xff, 0, 0), "extension 255");
    isBadFrame(Uint8Array.of(0x91, 0xc1), "c1");
  });

  it("a map with a key that is a container, bytes or a timestamp", () => {
    for (const key of [[0x90], [0x80], [0xdc, 0, 0], [0xc4, 0], [0xd6, 0xff, 0, 0, 0, 0]]) {
      isBadFrame(Uint8Array.from([0x82, 0x01, 0x02, ...key, 0x01]), "key");
      isBadFrame(Uint8Array.from([0x91, 0xdf, 0, 0, 0, 1, ...key, 0x01]), "key");
      expect(decodeValue(Uint8Array.from([0x82, 0x01, ...key, 0x02, ...key]))).toHaveProperty("2");
    }
  });

  it("a value that is cut, at every byte, and one with bytes behind it", () => {
    const value = {
      text: "x".repeat(40),
      list: [1, 300, 70_000, 2 ** 40, -1, -200, -40_000, 1.5],
      d: new Date(5),
      n: null,
    };
    const bytes = encodeValue([value, Uint8Array.of(1, 2), "y".repeat(300), 5n, undefined]).slice();
    for (let length = 0; length < bytes.length; length++) {
      isBadFrame(bytes.slice(0, length));
      // Also where its rest does stand behind the end.
      expect(() => decodeValue(bytes, 0, length)).toThrowError(expect.objectContaining({ code: "BAD_FRAME" }));
    }
    isBadFrame(Uint8Array.from([...bytes, 0]), "bytes follow");
  });

  it("nesting 10,000 deep, by any kind of container", () => {
    const containers = [
      [0x91],
      [0x81, 0x01],
      [0xdc, 0x00, 0x01],
      [0xdd, 0x00, 0x00, 0x00, 0x01],
      [0xde, 0x00, 0x01, 0x01],
      [0xdf, 0x00, 0x00, 0x00, 0x01, 0x01],
    ];
    for (const container of containers) {
      const bytes = Uint8Array.from([...new Array(10_000).fill(container).flat(), 0xc0]);
      isBadFrame(bytes, "nests deeper");
    }
  });

  it("one level more than allowed, and not one less", () => {
    const nested = (depth: number) => Uint8Array.from([...new Array(depth).fill(0x91), 0xc0]);
    expect(decodeValue(nested(limits.valueDepthMax))).toBeDefined();
    isBadFrame(nested(limits.valueDepthMax + 1), "nests deeper");
  });

  it("P8 a count that the bytes cannot hold, and more containers than memory should hold", () => {
    isBadFrame(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff), "ends in the middle");
    isBadFrame(Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff, 0x01), "ends in the middle");
    const maps = new Uint8Array(5 + limits.valueContainersMax).fill(0x80);
    maps[0] = 0xdd;
    new DataView(maps.buffer).setUint32(1, limits.valueContainersMax);
    isBadFrame(maps, "more than 4000000");
  });

  it("P8 the largest frame of the worst bytes in a moment: no cycle, no text of it all, no huge number", () => {
    const worst = [
      [0xc9, 0x00, 0xff, 0xff, 0x00, 0x42, 0x5a],
      [0xc9, 0x00, 0xff, 0xff, 0x00, 0x74, 0x01],
      [0xdd, 0x00, 0xff, 0xff, 0x00, 0x90],
      [0x91],
    ];
    for (const start of worst) {
      const bytes = new Uint8Array(limits.frameBytesMax).fill(start.at(-1)!);
      bytes.set(start);
      isBadFrame(bytes);
    }
  });

  it("what has no form as msgpack, when encoding", () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    for (const value of [Symbol("s"), 2n ** 64n, cycle]) expect(() => encodeValue(value)).toThrowError();
    expect(decodeValue(encodeValue({ still: "works" }).slice())).toEqual({ still: "works" });
  });
});
