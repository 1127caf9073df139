// Goal: what is packed by hand is what the codec of values would have packed, to the last byte.
import { encodeValue } from "@heddle/protocol/internal";
import fc from "fast-check";
import { expect, it } from "vitest";
import { deliveredPacker } from "./delivered-event.ts";

it("a record of deliveries is packed as the codec of values packs it, within the room that it asks for", () => {
  const time = fc.nat({ max: 2 ** 48 - 1 });
  const text = fc.string({ unit: "grapheme", maxLength: 40 });
  const item = fc.record({
    name: text,
    version: fc.integer({ min: 1, max: 70_000 }),
    from: time,
    due: time,
    outcome: fc.constantFrom("delivered" as const, "refused" as const, "missed" as const),
    code: fc.oneof(fc.constant(""), text),
    next: fc.oneof(fc.constant(-1), time),
  });
  fc.assert(
    fc.property(fc.array(item, { maxLength: 64 }), fc.nat({ max: 9 }), (items, at) => {
      const room = deliveredPacker.room({ items });
      const bytes = new Uint8Array(at + room);
      const end = deliveredPacker.pack({ items }, bytes, at);
      expect(Buffer.from(bytes.subarray(at, end))).toEqual(Buffer.from(encodeValue({ items })));
      expect(end - at).toBeLessThanOrEqual(room);
    }),
  );
});
