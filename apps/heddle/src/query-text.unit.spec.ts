// Goal: rows are readable whatever they hold, and parameters mean what was typed.
import { describe, expect, it } from "vitest";
import { csvLines, parameterOf, rowsTable } from "./query-text.ts";

const result = {
  columns: ["account", "balance", "note"],
  rows: [
    { account: "account/alice", balance: 1200, note: null },
    { account: "account/bob", balance: 2n ** 60n, note: 'a "b",\nc' },
    { account: "account/c", balance: null, note: Uint8Array.of(0, 255) },
  ],
};

describe("rows of a query", () => {
  it("stand in columns, numbers to the right", () => {
    expect(rowsTable(result, Number.POSITIVE_INFINITY)).toEqual([
      "account                    balance  note",
      "account/alice                 1200  null",
      'account/bob    1152921504606846976  a "b", c',
      "account/c                     null  x'00ff'",
    ]);
  });

  it("without rows still have their columns", () => {
    expect(rowsTable({ columns: ["a", "b"], rows: [] }, 80)).toEqual(["a  b"]);
  });

  it("are cut on a screen only, and steer no terminal", () => {
    const long = { columns: ["a\u001b[2J"], rows: [{ "a\u001b[2J": `\u001b[31m${"x".repeat(100)}` }] };
    const [title, line] = rowsTable(long, 80);
    expect(title).toBe("a [2J");
    expect(line).toBe(` [31m${"x".repeat(54)}…`);
    expect(rowsTable(long, Number.POSITIVE_INFINITY)[1]).toHaveLength(105);
  });

  it("are CSV that a spreadsheet reads back", () => {
    expect([...csvLines(result)]).toEqual([
      "account,balance,note",
      "account/alice,1200,",
      'account/bob,1152921504606846976,"a ""b"",\nc"',
      "account/c,,AP8=",
    ]);
    expect([...csvLines({ columns: ["a,b"], rows: [{ "a,b": "" }, { "a,b": " x" }] })]).toEqual([
      '"a,b"',
      '""',
      '" x"',
    ]);
  });
});

describe("parameters on the command line", () => {
  it("are numbers, booleans and null where they look like it, and text otherwise", () => {
    for (const [text, value] of [
      ["100", 100],
      ["-5", -5],
      ["1.5", 1.5],
      ["1e3", 1000],
      ["9007199254740993", 9007199254740993n],
      ["true", true],
      ["null", null],
      ['"100"', "100"],
      ["account/alice", "account/alice"],
      ["007", "007"],
      ['{"a":1}', '{"a":1}'],
      ["", ""],
    ] as const)
      expect([text, parameterOf(text)]).toEqual([text, value]);
  });
});
