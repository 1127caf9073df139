// Goal: one order of everything, and no other time than the simulation's.
import { describe, expect, it } from "vitest";
import { Chance } from "./chance.ts";
import { SimulatedTime, Way } from "./simulated-time.ts";

const fail = (error: unknown): never => {
  throw error;
};
const toTheEnd = (time: SimulatedTime) => time.runUntil(() => false, fail);

describe("simulated time", () => {
  it("lets events happen by their time, and those of one time in the order in which they were asked for", async () => {
    const time = new SimulatedTime();
    const happened: string[] = [];
    const note = (name: string) => () => void happened.push(`${name} ${time.nowMs}`);
    time.after(5, note("e"));
    time.after(1, note("b"));
    time.after(1, note("c"));
    time.after(0, note("a"));
    time.after(1, () => time.after(0, note("d")));
    time.after(3, note("never"))();
    await toTheEnd(time);
    expect(happened).toEqual(["a 0", "b 1", "c 1", "d 1", "e 5"]);
    expect(time.happened).toBe(6);
  });

  it("ends what an event's promises lead to before the next event", async () => {
    const time = new SimulatedTime();
    const happened: string[] = [];
    time.after(1, async () => {
      for (let i = 0; i < 50; i++) await Promise.resolve();
      happened.push("promises");
    });
    time.after(1, () => void happened.push("next"));
    await toTheEnd(time);
    expect(happened).toEqual(["promises", "next"]);
  });

  it("stops as soon as it is over, and goes on from there", async () => {
    const time = new SimulatedTime();
    let count = 0;
    for (let i = 1; i <= 10; i++) time.after(i, () => void count++);
    await time.runUntil(() => count === 4, fail);
    expect([count, time.nowMs]).toEqual([4, 4]);
    await toTheEnd(time);
    expect([count, time.nowMs]).toEqual([10, 10]);
  });

  it("keeps a thousand events in order, whatever their times", async () => {
    const time = new SimulatedTime();
    const chance = new Chance(3);
    const times: number[] = [];
    for (let i = 0; i < 1_000; i++) time.after(chance.below(200), () => void times.push(time.nowMs));
    await toTheEnd(time);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times).toHaveLength(1_000);
  });
});

describe("a way", () => {
  it("keeps the order of its messages, however long each of them takes", async () => {
    const time = new SimulatedTime();
    const chance = new Chance(8);
    const way = new Way(time, () => chance.below(1_000_000) / 7_000);
    const arrived: number[] = [];
    for (let i = 0; i < 500; i++) time.after(chance.below(300) / 3, () => void 0);
    for (let i = 0; i < 200; i++) time.after(i / 3, () => way.send(() => void arrived.push(i)));
    await toTheEnd(time);
    expect(arrived).toEqual(Array.from({ length: 200 }, (_, i) => i));
  });

  it("loses what is on its way when it is cut", async () => {
    const time = new SimulatedTime();
    const way = new Way(time, () => 10);
    const arrived: string[] = [];
    way.send(() => void arrived.push("first"));
    time.after(5, () => way.send(() => void arrived.push("second")));
    time.after(12, () => way.cut());
    await toTheEnd(time);
    expect(arrived).toEqual(["first"]);
  });
});

describe("chance", () => {
  it("gives the same for the same seed and name, and something else for any other", () => {
    const draw = (chance: Chance) => Array.from({ length: 5 }, () => chance.safeInteger());
    expect(draw(new Chance(1).fork("disk"))).toEqual(draw(new Chance(1).fork("disk")));
    const others = [new Chance(1), new Chance(2).fork("disk"), new Chance(1).fork("clock")].map(draw);
    for (const other of others) expect(other).not.toEqual(draw(new Chance(1).fork("disk")));
  });

  it("is not used up by what was drawn from a stream of its own", () => {
    const one = new Chance(5);
    one.fork("other").safeInteger();
    expect(one.fork("this").safeInteger()).toBe(new Chance(5).fork("this").safeInteger());
  });
});
