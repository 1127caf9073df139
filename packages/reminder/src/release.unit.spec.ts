// Goal: what is missed goes by the reminder's policy, and nothing is early.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { missedAfterMs, release } from "./release.ts";
import { nextDue } from "./schedule.ts";

const minute = 60_000;
const noon = Date.UTC(2026, 5, 1, 12);
const minutely = { cron: "* * * * *", timeZone: "UTC" };

describe("release: in time", () => {
  it.each(["all", "latest", "skip"] as const)("policy %s delivers it, up to a minute after it was due", (missed) => {
    for (const late of [0, 1, missedAfterMs]) {
      const found = release(minutely, missed, noon, noon + late);
      expect(found).toEqual({ kind: "deliver", due: noon, from: noon, next: noon + minute });
    }
  });
});

describe("release: missed", () => {
  const now = noon + 10 * minute + 500;

  it("all: one after the other, the first first", () => {
    expect(release(minutely, "all", noon, now)).toEqual({
      kind: "deliver",
      due: noon,
      from: noon,
      next: noon + minute,
    });
  });

  it("latest: the last that has come, and none of those before", () => {
    expect(release(minutely, "latest", noon, now)).toEqual({
      kind: "deliver",
      due: noon + 10 * minute,
      from: noon,
      next: noon + 11 * minute,
    });
  });

  it("skip: passes over those that are missed, and over no other", () => {
    expect(release(minutely, "skip", noon, now)).toEqual({
      kind: "pass",
      due: noon + 9 * minute,
      from: noon,
      next: noon + 10 * minute,
    });
  });

  it("one that is due once: all and latest deliver it, skip passes it over; then it is at its end", () => {
    const once = { at: noon };
    expect(release(once, "all", noon, now)).toEqual({ kind: "deliver", due: noon, from: noon, next: undefined });
    expect(release(once, "latest", noon, now)).toEqual({ kind: "deliver", due: noon, from: noon, next: undefined });
    expect(release(once, "skip", noon, now)).toEqual({ kind: "pass", due: noon, from: noon, next: undefined });
  });
});

describe("release: for any sequence of clock readings", () => {
  const policies = fc.constantFrom("all" as const, "latest" as const, "skip" as const);
  const crons = fc.constantFrom("* * * * *", "*/5 * * * *", "*/10 * * * * *", "7 * * * *");
  /** How the clock moves between two looks at it: back, forward, by little, by much. */
  const moves = fc.array(fc.integer({ min: -5 * minute, max: 30 * minute }), { minLength: 1, maxLength: 30 });

  it("D1 D2 D3: no occurrence is early, none is delivered twice, none is left out but by the policy", () => {
    fc.assert(
      fc.property(policies, crons, moves, (missed, cron, jumps) => {
        const schedule = { cron, timeZone: "UTC" };
        const first = nextDue(schedule, noon)!;
        const delivered: number[] = [];
        const passedOver: number[] = [];
        let due: number = first;
        let now = noon;
        for (const jump of jumps) {
          now += jump;
          for (let looks = 0; due <= now && looks < 500; looks++) {
            const { kind, due: taken, from, next } = release(schedule, missed, due, now);
            expect(taken, "early").toBeLessThanOrEqual(now);
            expect(from).toBe(due);
            for (let one = from; one < taken; one = nextDue(schedule, one)!) passedOver.push(one);
            (kind === "deliver" ? delivered : passedOver).push(taken);
            due = next!;
          }
        }
        expect(new Set(delivered).size, "twice").toBe(delivered.length);
        const all = [...delivered, ...passedOver].sort((a, b) => a - b);
        const expected: number[] = [];
        for (let one = first; one < due; one = nextDue(schedule, one)!) expected.push(one);
        expect(all, "left out").toEqual(expected);
        if (missed === "all") expect(passedOver).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});
