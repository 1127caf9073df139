import { describe, expect, it } from "vitest";
import { Meter } from "./meter.ts";

function meterAt() {
  const clock = { ms: 0 };
  return { clock, meter: new Meter(() => clock.ms) };
}

describe("meter", () => {
  it("counts only calls that end while it measures", () => {
    const { clock, meter } = meterAt();
    meter.call(9, 5);
    clock.ms = 1_000;
    meter.start();
    meter.call(2, 10);
    meter.call(4, 10);
    clock.ms = 3_000;
    meter.stop(1);
    meter.call(9, 5);
    expect(meter.measurement()).toMatchObject({
      seconds: 2,
      calls: 2,
      events: 20,
      eventsPerSecond: 10,
      callsPerSecond: 1,
    });
    expect(meter.measurement().latency.maxMs).toBe(4);
    expect(meter.totalEvents).toBe(30);
  });

  it("puts every call into exactly one sample", () => {
    const { clock, meter } = meterAt();
    meter.start();
    for (let second = 1; second <= 3; second++) {
      meter.call(second, second);
      clock.ms = second * 1000;
      if (second < 3) meter.sample();
    }
    meter.stop(1);
    const { samples, events } = meter.measurement();
    expect(samples.map(({ events: each, maxMs }) => [each, maxMs])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    expect(events).toBe(6);
  });

  it("makes no sample of the last moments of a run", () => {
    const { clock, meter } = meterAt();
    meter.start();
    clock.ms = 1_000;
    meter.sample();
    clock.ms = 1_200;
    meter.stop(1);
    expect(meter.measurement().samples).toHaveLength(1);
  });
});
