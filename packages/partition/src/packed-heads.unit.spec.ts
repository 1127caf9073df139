// Goal: a packed head is what the partition stores, stays so while others come, and its room is used again.
// Method: rows of all lengths over several arenas, in three generations; the same heads written one by one.
import { InvariantViolation } from "@heddle/kernel/internal";
import { describe, expect, it } from "vitest";
import { KeyBuilder } from "./keys.ts";
import { PackedHeads } from "./packed-heads.ts";
import type { EntityHead } from "./records.ts";
import { ValueWriter } from "./value-writer.ts";
import { writeHead } from "./values.ts";

const start = 2 ** 40;

function ended(n: number, events = 1 + (n % 8)) {
  const chain = String.fromCharCode(...Array.from({ length: 32 }, (_, i) => (n * 31 + i * 7) & 0xff));
  const extents = Array.from({ length: events }, (_, i) => [i + 1, 1, start + 1_000 * n + i, (2 ** 32 - 1 - n) >>> 0]);
  const head: EntityHead = { seq: events, position: start + 1_000 * n, time: 1_700_000_000_000 + n, chain, baseSeq: 0 };
  return { entity: `$saga/s${n}é`, head, extents: extents.flat() };
}

describe("packed heads", () => {
  it("R1 stay what the partition stores while others come, and their room is used again", () => {
    const heads = new PackedHeads();
    const keys = new KeyBuilder();
    const arenas = new Set<ArrayBufferLike>();
    for (const count of [9_000, 40, 5_000]) {
      const rows = Array.from({ length: count }, (_, n) => {
        const { entity, head, extents } = ended(n + count);
        return heads.add(entity, head, extents);
      });
      expect([heads.size, heads.bytes > 100 * count]).toEqual([count, true]);
      for (const [n, row] of rows.entries()) {
        const { entity, head, extents } = ended(n + count);
        const inlineExtents = Float64Array.from(extents);
        const value = heads.valueAt(row);
        if (count === 9_000) arenas.add(value.buffer);
        else expect(arenas.has(value.buffer)).toBe(true);
        expect(heads.entityAt(row)).toBe(entity);
        const wanted = writeHead(new ValueWriter(), keys.entity(entity), { ...head, inlineExtents });
        expect(Buffer.compare(value, wanted)).toBe(0);
        if (n % 100 === 0) expect(heads.headAt(row)).toEqual({ ...head, inlineExtents });
      }
      heads.clear();
      expect([heads.size, heads.bytes]).toEqual([0, 0]);
    }
    expect(arenas.size).toBeGreaterThan(2);
  });

  it("give back what a storm took", () => {
    const heads = new PackedHeads();
    const fill = (count: number) => {
      const arenas = new Set<ArrayBufferLike>();
      for (let n = 0; n < count; n++) {
        const { entity, head, extents } = ended(n);
        arenas.add(heads.valueAt(heads.add(entity, head, extents)).buffer);
      }
      heads.clear();
      return [...arenas];
    };
    const storm = fill(30_000);
    for (let i = 0; i < 2; i++) fill(10);
    const kept = new Set(storm.slice(0, 3));
    expect(fill(30_000).filter((arena) => storm.includes(arena) && !kept.has(arena))).toEqual([]);
  });

  it("are refused with an alarm, with a gap, with less than all, and with another end than the head's", () => {
    const heads = new PackedHeads();
    const { entity, head, extents } = ended(7);
    const refused = (wrong: Partial<EntityHead>, quads: readonly number[] = extents) =>
      expect(() => heads.add(entity, { ...head, ...wrong }, quads)).toThrow(InvariantViolation);
    refused({ alarm: 5 });
    refused({ baseSeq: 2 });
    refused({ seq: head.seq + 1 });
    refused({}, extents.slice(4));
    refused({}, extents.toSpliced(4, 4));
    refused({}, extents.slice(0, -1));
    refused({}, []);
    expect(heads.size).toBe(0);
  });
});
