// Goal: a call or an id that is under way is found, and nothing else is, also where many sessions and calls make the same number.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Known, UnderWay } from "./under-way.ts";

class One implements Known<One> {
  readonly frame: { readonly session: number; readonly call: number };
  readonly id: string;
  sameKey: One | undefined = undefined;

  constructor(session: number, call: number, id: string) {
    this.frame = { session, call };
    this.id = id;
  }
}

// Few numbers, of which many share their lower bits.
const session = fc.constantFrom(0, 1, 2, 3, 1 + 2 ** 30, 1 + 2 ** 32, 2 + 2 ** 47);
const call = fc.constantFrom(1, 2, 3, 2 + 2 ** 32);
const id = fc.constantFrom("", "", "a", "b");
const step = fc.record({ adds: fc.boolean(), session, call, id, at: fc.nat() });

describe("what is under way", () => {
  it("is found by its call or its id, as a plain list finds it", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const underWay = new UnderWay<One>();
        const list: One[] = [];
        const findIn = (s: number, c: number, name: string) =>
          list.find((one) => s !== 0 && one.frame.session === s && one.frame.call === c) ??
          list.find((one) => name !== "" && one.id === name);
        for (const { adds, session: s, call: c, id: name, at } of steps) {
          const known = underWay.find(s, c, name);
          expect(known).toBe(findIn(s, c, name));
          if (adds && known === undefined) {
            const one = new One(s, c, name);
            underWay.add(one);
            list.push(one);
          } else if (!adds && list.length > 0) {
            const [gone] = list.splice(at % list.length, 1);
            underWay.delete(gone!);
            underWay.delete(gone!);
          }
        }
        for (const { frame, id: name } of list) {
          expect(underWay.find(frame.session, frame.call, name)).toBe(findIn(frame.session, frame.call, name));
        }
      }),
    );
  });
});
