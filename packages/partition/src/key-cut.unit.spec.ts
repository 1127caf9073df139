// Goal: whatever becomes of the bytes that a cut gives up, the key stays where it was among the others (P5), and of what it
// does not share with them one byte is left (P6).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tellingLength } from "./key-cut.ts";

// Few different bytes make common beginnings likely, which is where it could go wrong.
const key = fc.uint8Array({ min: 0, max: 3, minLength: 1, maxLength: 8 }).map((bytes) => Buffer.from(bytes));
const three = fc
  .uniqueArray(key, { minLength: 3, maxLength: 3, comparator: (a, b) => a.equals(b) })
  .map((keys) => keys.toSorted(Buffer.compare) as [Buffer, Buffer, Buffer]);

function shared(a: Buffer, b: Buffer): number {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  return at;
}

describe("key cut", () => {
  it("P5 leaves the key between the others with any bytes behind it, also halfway", () => {
    fc.assert(
      fc.property(
        three,
        fc.uint8Array({ minLength: 8, maxLength: 8 }),
        fc.nat(8),
        ([below, middle, above], junk, half) => {
          const told = tellingLength(middle, below, above);
          for (const filler of [Buffer.alloc(8), Buffer.alloc(8, 0xff), Buffer.from(junk)]) {
            const cut = Buffer.from(middle);
            filler.copy(cut, told, told, Math.min(cut.length, told + half));
            expect(Buffer.compare(below, cut)).toBe(-1);
            expect(Buffer.compare(cut, above)).toBeLessThanOrEqual(0);
          }
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it("P6 keeps one byte more than the key shares with one of the others", () => {
    fc.assert(
      fc.property(three, ([below, middle, above]) => {
        const told = tellingLength(middle, below, above);
        expect(told).toBe(Math.min(middle.length, Math.max(shared(middle, below), shared(middle, above)) + 1));
        expect(tellingLength(middle, undefined, above)).toBeLessThanOrEqual(told);
      }),
    );
  });

  it("keeps a key whole that is the one above it, or begins it", () => {
    const above = Buffer.from("account/b\0id");
    expect(tellingLength(above, Buffer.from("account/a"), above)).toBe(above.length);
    expect(tellingLength(above.subarray(0, 9), Buffer.from("account/a"), above)).toBe(9);
    expect(tellingLength(Buffer.from("account/b\0a-secret"), Buffer.from("account/b\0\0"), above)).toBe(11);
  });
});
