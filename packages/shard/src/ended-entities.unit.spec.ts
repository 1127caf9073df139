// Goal: what is packed comes back as it was, however many rows there are and whatever was taken away between them.
// Method: the same calls on a Map. Rows of all lengths, over several chunks and growths of the table, in three generations.
import type { EntityId } from "@heddle/kernel";
import { InvariantViolation } from "@heddle/kernel/internal";
import { describe, expect, it } from "vitest";
import { EndedEntities } from "./ended-entities.ts";
import { Entity, shortHistoryMax } from "./entity.ts";

function ended(n: number, events = 1 + (n % shortHistoryMax)): Entity {
  const chain = String.fromCharCode(...Array.from({ length: 32 }, (_, i) => (n * 31 + i * 7) & 0xff));
  const position = 2 ** 40 + 1_000 * n;
  const head = { seq: events, position, time: 1_700_000_000_000 + n, chain, baseSeq: 0 };
  const entity = new Entity(`$saga/s${n}` as EntityId, head);
  for (let seq = 1; seq <= events; seq++)
    entity.newExtents = [...entity.newExtents, seq, 1, position - 100 * (events - seq), (0xffff_0000 + n) >>> 0];
  return entity;
}

function headOf({ seq, position, time, chain, newExtents }: Entity) {
  return { seq, position, time, chain, baseSeq: 0, inlineExtents: Float64Array.from(newExtents) };
}

describe("ended entities", () => {
  it("come back as they were packed, those that were taken away do not, and room is used again", () => {
    const rows = new EndedEntities();
    for (const count of [9_000, 40, 5_000]) {
      const known = new Map<string, Entity>();
      for (let n = 0; n < count; n++) {
        const entity = ended(n);
        rows.add(entity);
        known.set(entity.id, entity);
        // Some are taken away, and of these some end once more.
        if (n % 5 === 0) known.delete(entity.id);
        if (n % 5 === 0) rows.delete(entity.id);
        if (n % 10 === 0) {
          const again = ended(n, 2);
          rows.add(again);
          known.set(again.id, again);
        }
      }
      expect(
        rows
          .rows()
          .map((row) => rows.idAt(row))
          .sort(),
      ).toEqual([...known.keys()].sort());
      for (const [id, entity] of known) expect(rows.get(id)).toEqual(headOf(entity));
      expect([rows.has("$saga/s5"), rows.get("$saga/s5"), rows.has("$saga/other")]).toEqual([false, undefined, false]);
      rows.clear();
      expect([rows.bytes, rows.has("$saga/s1"), rows.rows()]).toEqual([0, false, []]);
    }
  });

  it("are short", () => {
    expect(() => new EndedEntities().add(ended(1, shortHistoryMax + 1))).toThrow(InvariantViolation);
  });
});
