// Goal: the window finds every unanswered call by its number, however many there are and in whatever order they end.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Call, CallWindow } from "./call.ts";

const newCall = (number: number) =>
  new Call(
    number,
    new Uint8Array(),
    0,
    0,
    0,
    0,
    undefined,
    () => undefined,
    () => undefined,
  );

describe("call window", () => {
  it("behaves like a map in number order, with the oldest number at hand", () => {
    const steps = fc.array(
      fc.oneof(
        { weight: 3, arbitrary: fc.record({ add: fc.integer({ min: 1, max: 900 }) }) },
        { weight: 2, arbitrary: fc.record({ remove: fc.array(fc.nat(), { maxLength: 900 }) }) },
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(steps, (steps) => {
        const window = new CallWindow();
        const model = new Map<number, Call>();
        let next = 1;
        for (const step of steps) {
          if ("add" in step) {
            for (let i = 0; i < step.add; i++) {
              const call = newCall(next++);
              window.add(call);
              model.set(call.number, call);
            }
          } else {
            for (const pick of step.remove) {
              const numbers = [...model.keys()];
              const call = model.get(numbers[pick % numbers.length]!);
              if (call === undefined) continue;
              window.remove(call);
              model.delete(call.number);
            }
          }
          expect(window.size).toBe(model.size);
          expect(window.next).toBe(next);
          expect(window.first).toBe(Math.min(...model.keys(), next));
          for (let number = 0; number <= next; number++) expect(window.find(number)).toBe(model.get(number));
          const visited: Call[] = [];
          window.visitAll((call) => {
            visited.push(call);
          });
          expect(visited).toEqual([...model.values()]);
        }
      }),
      { numRuns: 25 },
    );
  });

  it("may be emptied while it is visited", () => {
    const window = new CallWindow();
    for (let number = 1; number <= 3_000; number++) window.add(newCall(number));
    window.visitAll((call) => window.remove(call));
    expect(window.size).toBe(0);
    expect(window.first).toBe(3_001);
  });
});
