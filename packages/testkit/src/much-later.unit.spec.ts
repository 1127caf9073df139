// Goal: for one call, now is another time by every reading of Date, and nothing else about it is different.
import { describe, expect, it } from "vitest";
import { muchLater } from "./much-later.ts";

describe("much later", () => {
  it("now is more than a year ahead, however it is asked for", () => {
    const year = new Date().getUTCFullYear();
    const made = () => new Date();
    const read = () => [Date.now(), made().getTime(), Reflect.construct(Date, []).getTime(), Date.parse(Date())];
    for (const at of muchLater(read)) expect(new Date(at).getUTCFullYear()).toBeGreaterThan(year);
  });

  it("given times are what they are, and dates are dates", () => {
    const outside = new Date(5);
    muchLater(() => {
      expect(outside).toBeInstanceOf(Date);
      expect(new Date(5)).toEqual(outside);
      expect(Date.UTC(1970, 0, 1)).toBe(0);
      expect(new Date("2026-11-05T10:00:00Z").toISOString()).toBe("2026-11-05T10:00:00.000Z");
      expect(new (class extends Date {})(5).getTime()).toBe(5);
    });
  });

  it("the clock is back afterwards, also when the call throws", () => {
    const before = Date;
    expect(muchLater(() => 7)).toBe(7);
    expect(() =>
      muchLater(() => {
        throw new RangeError("x");
      }),
    ).toThrow(RangeError);
    expect(Date).toBe(before);
  });
});
