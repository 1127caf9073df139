// Goal: a wall clock that was set is told of, and one that is corrected is not.
import { describe, expect, it } from "vitest";
import { ClockWatch } from "./clock-watch.ts";

describe("clock watch", () => {
  it("tells of a clock that was set, forward and back, and by how much", () => {
    const clock = { wall: 1_000_000, ms: 0, now: () => clock.wall, monotonic: () => clock.ms };
    const told: unknown[] = [];
    const watch = new ClockWatch(clock, (_level, message, { jumpMs }) => told.push([message.split(":")[0], jumpMs]));
    const pass = (ms: number, jump = 0) => {
      clock.ms += ms;
      clock.wall += ms + jump;
      watch.tick();
    };
    for (let i = 0; i < 1_000; i++) pass(250, 10);
    expect(told).toEqual([]);
    pass(250, 60_000);
    pass(250);
    pass(250, -3_600_000);
    expect(told).toEqual([
      ["the wall clock was set forward", 60_000],
      ["the wall clock was set back", -3_600_000],
    ]);
  });
});
