// Goal: a schedule is due when its expression says so in its own time zone, over changes of clocks, and a step never leads back.
import { HeddleError } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkSchedule, firstDue, latestDue, nextDue } from "./schedule.ts";

const berlin = "Europe/Berlin";
const at = (text: string) => new Date(text).getTime();

/** So many occurrences behind a time, as text. */
function following(cron: string, timeZone: string, after: string, count: number): string[] {
  const found: string[] = [];
  for (let time = at(after); found.length < count; ) {
    time = nextDue({ cron, timeZone }, time)!;
    found.push(new Date(time).toISOString().slice(0, 16));
  }
  return found;
}

describe("schedules: when they are due", () => {
  it("a time of day follows the clocks of its zone", () => {
    expect(following("0 8 * * *", berlin, "2026-03-27T12:00Z", 3)).toEqual([
      "2026-03-28T07:00",
      "2026-03-29T06:00",
      "2026-03-30T06:00",
    ]);
    expect(following("0 8 * * *", berlin, "2026-10-23T12:00Z", 3)).toEqual([
      "2026-10-24T06:00",
      "2026-10-25T07:00",
      "2026-10-26T07:00",
    ]);
  });

  it("a time of day that the clocks leave out comes when they are put forward", () => {
    expect(following("30 2 * * *", berlin, "2026-03-28T00:00Z", 3)).toEqual([
      "2026-03-28T01:30",
      "2026-03-29T01:00",
      "2026-03-30T00:30",
    ]);
  });

  it("a time of day that comes twice counts once", () => {
    expect(following("30 2 * * *", berlin, "2026-10-24T12:00Z", 2)).toEqual(["2026-10-25T00:30", "2026-10-26T01:30"]);
  });

  it("what comes at intervals goes on through both hours", () => {
    expect(following("30 * * * *", berlin, "2026-10-24T23:00Z", 4)).toEqual([
      "2026-10-24T23:30",
      "2026-10-25T00:30",
      "2026-10-25T01:30",
      "2026-10-25T02:30",
    ]);
    expect(following("30 * * * *", berlin, "2026-03-29T00:00Z", 2)).toEqual(["2026-03-29T00:30", "2026-03-29T01:30"]);
  });

  it("the last day of a month, the second Friday, a leap day, seconds", () => {
    expect(following("0 0 L * *", "UTC", "2027-12-31T12:00Z", 3)).toEqual([
      "2028-01-31T00:00",
      "2028-02-29T00:00",
      "2028-03-31T00:00",
    ]);
    expect(following("0 9 * * FRI#2", "UTC", "2026-01-01T00:00Z", 2)).toEqual(["2026-01-09T09:00", "2026-02-13T09:00"]);
    expect(following("0 0 29 2 *", "UTC", "2026-01-01T00:00Z", 2)).toEqual(["2028-02-29T00:00", "2032-02-29T00:00"]);
    expect(nextDue({ cron: "*/10 * * * * *", timeZone: "UTC" }, at("2026-01-01T00:00:09.999Z"))).toBe(
      at("2026-01-01T00:00:10Z"),
    );
  });

  it("one time is due then, also when it is over as it is set; after that never", () => {
    const once = { at: at("2026-01-01T00:00Z") };
    expect(firstDue(once, at("2026-06-01T00:00Z"))).toBe(once.at);
    expect(nextDue(once, once.at - 1)).toBe(once.at);
    expect(nextDue(once, once.at)).toBeUndefined();
    expect(firstDue({ cron: "0 0 1 1 * 2020".replace(" 2020", ""), timeZone: "UTC" }, once.at)).toBe(
      at("2027-01-01T00:00Z"),
    );
    expect(firstDue({ cron: "0 0 30 2 *", timeZone: "UTC" }, once.at)).toBeUndefined();
  });
});

const crons = fc.constantFrom(
  "* * * * *",
  "*/7 * * * *",
  "0 * * * *",
  "30 2 * * *",
  "0 8 1 * *",
  "15,45 1-3 * * *",
  "*/20 * 2 * * *",
  "0 0 L * *",
  "5 4 * * MON",
);
const zones = fc.constantFrom("UTC", berlin, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu");
/** The years around two changes of clocks. */
const times = fc.integer({ min: at("2026-01-01T00:00Z"), max: at("2027-06-01T00:00Z") });

describe("schedules: under any expression, zone and time", () => {
  it("S1: the next lies behind, and nothing lies between: asked from just before it, it is the same", () => {
    fc.assert(
      fc.property(crons, zones, times, (cron, timeZone, after) => {
        const schedule = { cron, timeZone };
        const next = nextDue(schedule, after)!;
        expect(next).toBeGreaterThan(after);
        expect(nextDue(schedule, next - 1)).toBe(next);
        expect(nextDue(schedule, Math.floor((after + next) / 2))).toBe(next);
      }),
      { numRuns: 200 },
    );
  });

  it("the latest up to a time is the last that one comes to by going from one to the next", () => {
    fc.assert(
      fc.property(
        crons,
        zones,
        times,
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 0, max: 3_599_999 }),
        (cron, timeZone, after, steps, more) => {
          const schedule = { cron, timeZone };
          const first = nextDue(schedule, after)!;
          let last = first;
          for (let i = 0; i < steps; i++) last = nextDue(schedule, last)!;
          const now = Math.min(last + more, nextDue(schedule, last)! - 1);
          expect(latestDue(schedule, first, now)).toBe(last);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("schedules: what nobody can follow is refused (P7)", () => {
  const refused = (cron: string, timeZone = "UTC") => {
    try {
      checkSchedule({ cron, timeZone });
    } catch (error) {
      return (error as HeddleError<"INVALID_REQUEST">).facts.path;
    }
    return undefined;
  };

  it.each([
    "",
    "every day",
    "* * * *",
    "61 * * * *",
    "* 25 * * *",
    "* * * * * * * *",
    "2026-01-01T00:00:00",
    "? * * * *",
    "@reboot",
    "x".repeat(300),
  ])("%s", (cron) => {
    expect(refused(cron)).toBe("cron");
  });

  it.each(["", "Middle/Earth", "+25:00"])("the time zone %s", (timeZone) => {
    expect(refused("* * * * *", timeZone)).toBe("timeZone");
  });

  it.each(["* * * * *", "0 8 1 * *", "*/5 * * * * *", "@daily", " 0 8 * * MON-FRI ", "0 0 L * *"])(
    "takes %s",
    (cron) => {
      expect(refused(cron)).toBeUndefined();
      expect(() => checkSchedule({ at: 5 })).not.toThrow(HeddleError);
    },
  );
});
