// Goal: figures and tables read the same on every machine. Golden texts.
import { describe, expect, it } from "vitest";
import { bytes, count, counted, duration, rate, shortened, table, time } from "./text.ts";

describe("text: figures", () => {
  it("are grouped, and take the singular for one", () => {
    expect([count(0), count(1_234_567)]).toEqual(["0", "1,234,567"]);
    expect([counted(1, "event"), counted(2_000, "event")]).toEqual(["1 event", "2,000 events"]);
    expect([counted(1, "entity", "entities"), counted(0, "entity", "entities")]).toEqual(["1 entity", "0 entities"]);
  });

  it("of bytes and time take the unit that fits", () => {
    expect([bytes(0), bytes(1_023), bytes(1_024), bytes(64 << 20), bytes(3 * 2 ** 50)]).toEqual([
      "0 B",
      "1023 B",
      "1.0 KiB",
      "64.0 MiB",
      "3072.0 TiB",
    ]);
    expect([
      duration(0.4),
      duration(999.4),
      duration(999.6),
      duration(59_949),
      duration(59_960),
      duration(125_000),
    ]).toEqual(["0 ms", "999 ms", "1.0 s", "59.9 s", "1 min 0 s", "2 min 5 s"]);
    expect([rate(40_000, 2_600), rate(5, 0)]).toEqual(["15,385/s", "5/s"]);
    expect(time(Date.UTC(2001, 2, 31, 22, 27, 0, 7))).toBe("2001-03-31 22:27:00.007");
  });
});

describe("text: tables", () => {
  it("align their columns, and leave no spaces at the end of a line", () => {
    const columns = [{ title: "airport" }, { title: "flights", align: "right" as const }, { title: "name" }];
    expect(
      table(columns, [
        ["ORD", "1,095", "O'Hare"],
        ["A", "7", ""],
      ]),
    ).toEqual(["airport  flights  name", "ORD        1,095  O'Hare", "A              7"]);
    expect(table(columns, [])).toEqual(["airport  flights  name"]);
  });

  it("show where they were cut", () => {
    expect([shortened("abcdef", 6), shortened("abcdefg", 6), shortened("abc", 0)]).toEqual(["abcdef", "abcde…", "…"]);
  });
});
