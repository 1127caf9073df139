// Goal: a time that is typed or pasted means what its writer meant, or is refused.
import { describe, expect, it } from "vitest";
import { timeText } from "./options.ts";

const noon = Date.UTC(2026, 10, 20, 12, 0, 0, 0);

describe("options: a time", () => {
  it.each([
    ["2026-11-20T12:00:00Z", noon],
    ["2026-11-20T12:00:00.123Z", noon + 123],
    ["2026-11-20T12:00Z", noon],
    ["2026-11-20T13:30:00+01:30", noon],
    ["2026-11-20", noon - 12 * 3_600_000],
    ["2026-02-28", Date.UTC(2026, 1, 28)],
    // As the tables here print it: in UTC, wherever the reader sits.
    ["2026-11-20 12:00:00.123", noon + 123],
    ["2026-11-20 12:00", noon],
    // As JSON has it.
    [String(noon), noon],
  ])("%s is understood", (text, ms) => {
    expect(timeText(text)).toBe(ms);
  });

  it.each([
    "",
    "yesterday",
    "12:00",
    "2026",
    "20.11.2026",
    "2026-02-30",
    "2026-13-01",
    "2026-11-20T25:00Z",
    "2026-11-20T12:00:00 CET",
    "-1",
    "1969-12-31",
    "17000000",
    "99999999999999999",
  ])("P7: %j is refused", (text) => {
    expect(() => timeText(text)).toThrow("Wanted a time such as 2026-11-20T12:00:00Z");
  });
});
