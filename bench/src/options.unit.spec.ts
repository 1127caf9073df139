import { describe, expect, it } from "vitest";
import { readOptions, UsageError } from "./options.ts";

describe("command line", () => {
  it("measures everything for ten seconds, three times, when nothing is said", () => {
    expect(readOptions([])).toMatchObject({
      scenarios: ["single", "batch", "broker", "dense", "restart", "sleepers", "transfers", "reminders", "readers"],
      seconds: 10,
      warmupSeconds: 2,
      rounds: 3,
      floorSeconds: 10,
      durability: "fsync",
      shards: undefined,
      threads: undefined,
      events: 10_000_000,
      strict: false,
    });
  });

  it("runs scenarios in the order of the table, so that batch is known when dense is compared with it", () => {
    expect(readOptions(["--scenario", "dense,single,batch"])!.scenarios).toEqual(["single", "batch", "dense"]);
  });

  it("takes figures with separators", () => {
    expect(readOptions(["--events", "2_000_000"])!.events).toBe(2_000_000);
    expect(readOptions(["--events", "2,000,000"])!.events).toBe(2_000_000);
  });

  it("keeps the floor's share of a ten-minute run to one minute", () => {
    expect(readOptions(["--seconds", "600"])).toMatchObject({ seconds: 600, floorSeconds: 60 });
  });

  it("asks for help by itself", () => {
    expect(readOptions(["--help"])).toBeUndefined();
  });

  it.each([
    [
      ["--scenario", "fast"],
      'there is no scenario "fast"; known: single, batch, broker, dense, restart, sleepers, transfers, reminders',
    ],
    [["--seconds", "601"], '--seconds is a number from 0.2 to 600, found "601"'],
    [["--rounds", "1.5"], '--rounds is a whole number from 1 to 100, found "1.5"'],
    [["--shards", ""], '--shards is a whole number from 1 to 1024, found ""'],
    [["--durability", "none"], '--durability is fsync or os, found "none"'],
    [["--fast"], "Unknown option '--fast'"],
    [["single"], "Unexpected argument 'single'"],
  ])("P7: refuses %j and says what was wanted", (args, message) => {
    expect(() => readOptions(args)).toThrow(UsageError);
    expect(() => readOptions(args)).toThrow(message);
  });
});
