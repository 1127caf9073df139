// Goal: an export gives back what went in, bit by bit, and whatever happened to its lines is noticed.
import { crc32 as zlibCrc32 } from "node:zlib";
import { isHeddleError } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ExportedEvent, type ExportHeader, ExportReader, ExportWriter } from "./export-format.ts";

const header: ExportHeader = {
  context: "bank",
  entity: "account/alice",
  seq: 3,
  exportedAt: "2026-01-01T00:00:00.000Z",
};
const event = (seq: number, part: Partial<ExportedEvent> = {}): ExportedEvent => ({
  seq,
  time: 1_000 + seq,
  aggregate: "Account",
  type: "Credited",
  schemaVersion: 2,
  payload: { amount: seq },
  metadata: undefined,
  id: undefined,
  ...part,
});

function linesOf(events: readonly ExportedEvent[], first: Partial<ExportHeader> = {}): string[] {
  const writer = new ExportWriter();
  const seq = events[events.length - 1]?.seq ?? 0;
  return [writer.header({ ...header, seq, ...first }), ...events.map((one) => writer.event(one)), writer.end()];
}

function read(lines: readonly string[]) {
  const reader = new ExportReader();
  const items = lines.map((line) => reader.read(line));
  reader.finish();
  return items.filter((item) => item !== undefined);
}

/** The line and problem that a reader names. */
function damage(lines: readonly string[]): { line: number; problem: string } {
  try {
    read(lines);
  } catch (error) {
    if (isHeddleError(error, "EXPORT_DAMAGED")) return error.facts;
    throw error;
  }
  throw new Error("nothing was found");
}

/** A line with other fields, and a checksum that fits them. */
function forged(line: string, change: (fields: Record<string, unknown>) => void): string {
  const fields = JSON.parse(line) as Record<string, unknown>;
  delete fields["crc"];
  change(fields);
  const text = JSON.stringify(fields).slice(0, -1);
  return `${text},"crc":"${zlibCrc32(text).toString(16).padStart(8, "0")}"}\n`;
}

const three = linesOf([event(1), event(2, { id: "i", metadata: { by: "me" } }), event(3)]);

describe("export format", () => {
  it("golden text", () => {
    const lines = linesOf([event(1), event(2, { type: "Noted", schemaVersion: 1, payload: 5n, id: "i" })]);
    expect(lines).toEqual([
      '{"heddle":"export","format":1,"context":"bank","entity":"account/alice","seq":2,' +
        '"exportedAt":"2026-01-01T00:00:00.000Z","crc":"b73d5678"}\n',
      '{"seq":1,"time":1001,"aggregate":"Account","type":"Credited","schemaVersion":2,"payload":{"amount":1},' +
        '"metadata":null,"id":null,"crc":"1e6b791b"}\n',
      '{"seq":2,"time":1002,"aggregate":"Account","type":"Noted","schemaVersion":1,"payload":{"$bigint":"5"},' +
        '"metadata":null,"id":"i","crc":"cf3b20cb"}\n',
      '{"end":true,"events":2,"schemas":{"Account.Credited":2,"Account.Noted":1},"crc":"136f1e92"}\n',
    ]);
  });

  it("checksums are what zlib computes over the text that the header names", () => {
    const crcOf = (line: string) => JSON.parse(line).crc as string;
    const before = (line: string) => line.slice(0, line.lastIndexOf(',"crc":'));
    const hex = (text: string) => zlibCrc32(text).toString(16).padStart(8, "0");
    for (const line of three.slice(0, -1)) expect(crcOf(line)).toBe(hex(before(line)));
    expect(crcOf(three[4]!)).toBe(hex(before(three.join(""))));
  });

  it("gives back header, events and count, with or without line ends", () => {
    const wanted = [
      { kind: "header", header },
      { kind: "event", event: event(1) },
      { kind: "event", event: event(2, { id: "i", metadata: { by: "me" } }) },
      { kind: "event", event: event(3) },
      { kind: "end", events: 3 },
    ];
    expect(read(three)).toEqual(wanted);
    expect(read(three.map((line) => line.trimEnd()))).toEqual(wanted);
    expect(read(three.map((line) => line.replace("\n", "\r\n")))).toEqual(wanted);
  });

  it("takes several exports one after the other, empty lines between them, and none at all", () => {
    const other = linesOf([event(1)], { entity: "account/bob" });
    const items = read([...three, "\n", "", ...other, ...linesOf([]), ""]);
    expect(items.map((item) => item.kind)).toEqual(
      ["header", "event", "event", "event", "end", "header", "event", "end", "header", "end"], //
    );
    expect(read([])).toEqual([]);
  });

  it("begins with any sequence when its first event says that the entity was erased", () => {
    const erased = event(7, { aggregate: "$heddle", type: "Erased", payload: { from: 1, to: 6 } });
    expect(read(linesOf([erased, event(8)]))).toHaveLength(4);
  });
});

describe("export format: P7 damage is found, with its line", () => {
  it("any changed character", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.constantFrom(...'0123456789abcdefxyz{}[],:" \u00e9'), (at, in_, character) => {
        const index = at % three.length;
        const line = three[index]!.trimEnd();
        const place = in_ % line.length;
        if (line[place] === character) return;
        const changed = three.with(index, line.slice(0, place) + character + line.slice(place + 1));
        expect(damage(changed).line).toBe(index + 1);
      }),
      { numRuns: 500 },
    );
  });

  it("a file that is cut, after any line and within one", () => {
    for (let lines = 1; lines < three.length; lines++) {
      expect(damage(three.slice(0, lines))).toEqual({
        line: lines + 1,
        problem: expect.stringContaining("no end line"),
      });
      const cut = [...three.slice(0, lines), three[lines]!.slice(0, -10)];
      expect(damage(cut)).toEqual({ line: lines + 1, problem: expect.stringContaining("was cut") });
    }
  });

  it("lines that are dropped, doubled or moved", () => {
    expect(damage(three.toSpliced(2, 1))).toEqual({ line: 3, problem: "sequence 3 stands behind 1" });
    expect(damage(three.toSpliced(3, 1))).toEqual({
      line: 4,
      problem: expect.stringContaining("checksum of the whole"),
    });
    expect(damage(three.toSpliced(2, 0, three[1]!))).toEqual({ line: 3, problem: "sequence 1 stands behind 1" });
    expect(damage(three.with(1, three[2]!).with(2, three[1]!)).line).toBe(2);
    expect(damage(three.toSpliced(2, 0, "\n")).line).toBe(3);
    // An event of another export, whose own checksum and sequence are right.
    const other = linesOf([event(1, { payload: "other" }), event(2), event(3)]);
    expect(damage(three.with(1, other[1]!))).toEqual({ line: 5, problem: expect.stringContaining("the whole export") });
  });

  it("a line of something else, or no line of an export", () => {
    for (const line of ["{}", "null", "hello", '{"seq":1}', "\ufeff"]) expect(damage([line]).line).toBe(1);
    expect(damage(three.slice(1)).problem).toContain("begins with a line that has heddle: export");
    expect(damage([three[0]!, three[0]!]).problem).toContain("no end line before");
  });

  it("a format that this program does not know, told by its number", () => {
    const line = forged(three[0]!, (fields) => Object.assign(fields, { format: 2 }));
    expect(damage([line])).toEqual({ line: 1, problem: "its format is 2, this program reads 1" });
  });

  it.each<[string, number, object]>([
    ["an entity that is none", 0, { entity: "alice" }],
    ["a header without its last sequence", 0, { seq: "3" }],
    ["a sequence that is no number", 1, { seq: "1" }],
    ["a sequence with a fraction", 1, { seq: 1.5 }],
    ["a time that is none", 1, { time: -1 }],
    ["a time that goes back", 2, { time: 1 }],
    ["an aggregate that is no text", 1, { aggregate: 5 }],
    ["an id that is no text", 1, { id: 5 }],
    ["no payload", 1, { payload: undefined }],
    ["a value with an unknown tag", 1, { payload: { $what: 1 } }],
    ["a tag among other keys", 1, { payload: { $bigint: "1", a: 1 } }],
    ["a number that is none", 1, { payload: { $bigint: "1x" } }],
    ["bytes that are none", 1, { payload: { $bytes: "a" } }],
    ["a date that is none", 1, { payload: { $date: "yesterday" } }],
    ["an erasure in the middle", 2, { aggregate: "$heddle", type: "Erased" }],
    ["a first sequence without an erasure before", 1, { seq: 2 }],
  ])("%s, with a checksum that fits", (_, index, change) => {
    const lines = three.with(
      index,
      forged(three[index]!, (fields) => Object.assign(fields, change)),
    );
    expect(damage(lines).line).toBe(index + 1);
  });

  it("values nested deeper than any that was ever stored", () => {
    const deep = "[".repeat(20_000) + "]".repeat(20_000);
    const text = `{"seq":1,"time":1,"aggregate":"A","type":"T","schemaVersion":1,"payload":${deep},"metadata":null,"id":null`;
    const line = `${text},"crc":"${zlibCrc32(text).toString(16).padStart(8, "0")}"}`;
    expect(damage([three[0]!, line])).toEqual({ line: 2, problem: expect.stringContaining("nests deeper") });
  });
});
