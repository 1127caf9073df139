// Goal: wherever an export was cut off, what is whole stays and the rest is known to be missing; nothing else is taken for
// an export.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { ExportWriter } from "@heddle/protocol/internal";
import { afterAll, describe, expect, it } from "vitest";
import { readUnfinishedExport } from "./unfinished-export.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-unfinished-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));
const file = path.join(folder, "export.ndjson");

function section(entity: string, payloads: readonly unknown[], context = "bank"): string {
  const writer = new ExportWriter();
  const header = writer.header({ context, entity, seq: payloads.length, exportedAt: "2026-11-20T12:00:00.000Z" });
  const events = payloads.map((payload, index) =>
    writer.event({ seq: index + 1, time: 1_000, aggregate: "Account", type: "Noted", schemaVersion: 1, payload }),
  );
  return header + events.join("") + writer.end();
}

const read = (bytes: Uint8Array | string) => {
  fs.writeFileSync(file, bytes);
  return readUnfinishedExport(file);
};

describe("unfinished export", () => {
  it("cut at every byte: the whole entities before it stay, and nothing else", () => {
    const sections = [
      section("account/a", [1, 2]),
      section("account/Zoë", ["über", { text: "日本\n" }]),
      section("account/c", []),
    ];
    const bytes = Buffer.from(sections.join(""), "utf8");
    const ends = sections.map((_, index) => Buffer.byteLength(sections.slice(0, index + 1).join("")));
    for (let cut = 0; cut <= bytes.length; cut++) {
      const whole = ends.filter((end) => end <= cut).length;
      expect(read(bytes.subarray(0, cut)), `cut at ${cut}`).toEqual({
        context: whole === 0 ? undefined : "bank",
        lastEntity: [undefined, "account/a", "account/Zoë", "account/c"][whole],
        entities: whole,
        events: [0, 2, 4, 4][whole],
        endByte: whole === 0 ? 0 : ends[whole - 1],
      });
    }
  });

  it("longer than what is read at once", () => {
    const long = section("account/long", ["x".repeat(3 << 20), "y"]);
    const bytes = long + section("account/z", [1]);
    expect(read(bytes)).toMatchObject({ entities: 2, events: 3, endByte: bytes.length });
    expect(read(bytes.slice(0, -1))).toMatchObject({ entities: 1, lastEntity: "account/long", endByte: long.length });
  });

  it.each([
    ["another file", "name,amount\nalice,5\n", 1],
    ["plain lines", '{"entity":"account/a","type":"Credited","payload":{}}\n', 1],
    ["a line that was changed", section("account/a", [1, 2]).replace('"payload":1', '"payload":9'), 2],
    [
      "an entity whose end is missing",
      `${section("account/a", [1]).split("\n").slice(0, 2).join("\n")}\n${section("account/b", [])}`,
      3,
    ],
    ["entities of two contexts", section("account/a", [1]) + section("account/b", [], "shop"), 4],
  ])("P7: %s is refused with the line", (_, text, line) => {
    expect(() => read(text)).toThrow(
      expect.objectContaining({ code: "EXPORT_DAMAGED", facts: expect.objectContaining({ line }) }),
    );
    expect(fs.readFileSync(file, "utf8")).toBe(text);
  });
});
