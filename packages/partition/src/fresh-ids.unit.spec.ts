// Goal: ids that wait for a checkpoint are found, and handed over entity by entity, whatever came, was renamed, dropped or doubted.
// Method: the same calls on maps. Several chunks and growths of the table, in three generations.
import { describe, expect, it } from "vitest";
import { FreshIds } from "./fresh-ids.ts";
import { hashAppendId, newIdHash } from "./id-hash.ts";

const hashOf = (entity: string, id: string) => hashAppendId(entity, id, newIdHash());
const find = (ids: FreshIds, entity: string, id: string) => ids.find(entity, id, hashOf(entity, id));

function filled(count: number, entities: number): FreshIds {
  const ids = new FreshIds();
  for (let i = 0; i < count; i++) add(ids, `account/${i % entities}`, `id-${i}`, 100 * i);
  return ids;
}

function add(ids: FreshIds, entity: string, id: string, position: number, isNew = true): void {
  ids.add(entity, id, hashOf(entity, id), position, isNew);
}

describe("fresh ids", () => {
  it("P4 are found and handed over as they came, and their room is used again", () => {
    const ids = new FreshIds();
    for (const count of [9_000, 30, 6_000]) {
      const places = new Map<string, number[]>();
      for (let i = 0; i < count; i++) {
        const entity = `account/${i % 70}`;
        add(ids, entity, `id-${i}`, 100 * i);
        places.set(entity, [i, ...(places.get(entity) ?? [])]);
        // Looked for now and then, so that the table is brought up to date in steps.
        if (i % 1_000 === 0) expect(find(ids, entity, `id-${i}`)).toBe(100 * i);
      }
      expect(ids.count).toBe(count);
      expect([...ids.entities()]).toEqual([...places.keys()]);
      for (const [entity, wanted] of places) expect(ids.placesOf(entity, [])).toEqual(wanted);
      let place = 0;
      for (const { entity, id, position } of ids.all()) {
        expect([entity, id, position]).toEqual([`account/${place % 70}`, `id-${place}`, 100 * place]);
        expect(find(ids, entity, id)).toBe(position);
        expect(ids.hashAt(place)).toBe(hashOf(entity, id).first >>> 0);
        place++;
      }
      expect([place, [...ids.doubtful()]]).toEqual([count, []]);
      expect(find(ids, "account/1", "id-0")).toBeUndefined();
      ids.clear();
      expect([ids.count, [...ids.all()], [...ids.entities()]]).toEqual([0, [], []]);
      expect(find(ids, "account/1", "id-1")).toBeUndefined();
    }
  });

  it("P4 stand there once, with their last position, where the filter could not say that they were new", () => {
    const ids = filled(10, 3);
    add(ids, "account/1", "id-4", 7_777, false);
    add(ids, "account/1", "another", 8_888, false);
    add(ids, "account/1", "another", 9_999, false);
    expect([ids.count, find(ids, "account/1", "id-4"), find(ids, "account/1", "another")]).toEqual([11, 7_777, 9_999]);
    expect([...ids.doubtful()]).toEqual([10]);
  });

  it("are all doubted after a failed checkpoint, dropped ones too, and what came meanwhile is added to them", () => {
    const ids = filled(10, 3);
    ids.drop(4);
    expect(ids.placesOf("account/1", [])).toEqual([7, 1]);
    ids.doubtAll();
    const meanwhile = filled(12, 3);
    ids.addAll(meanwhile);
    expect([...ids.doubtful()]).toEqual(Array.from({ length: 12 }, (_, place) => place));
    expect(ids.placesOf("account/1", [])).toEqual([10, 7, 4, 1]);
    for (let i = 0; i < 12; i++) expect(find(ids, `account/${i % 3}`, `id-${i}`)).toBe(100 * i);
    ids.clear();
    add(ids, "account/1", "id", 1);
    expect([...ids.doubtful()]).toEqual([]);
  });

  it("P6 that were renamed are found by their new names only, however many there are", () => {
    const count = 3_000;
    const ids = filled(count, 3);
    for (let i = 0; i < count; i++) {
      const entity = ids.entityAt(i);
      ids.rename(i, `new-${i}`, hashOf(entity, `new-${i}`), i % 2 === 0);
    }
    for (let i = 0; i < count; i++) {
      const entity = `account/${i % 3}`;
      expect([find(ids, entity, `id-${i}`), find(ids, entity, `new-${i}`)]).toEqual([undefined, 100 * i]);
      expect(ids.hashAt(i)).toBe(hashOf(entity, `new-${i}`).first >>> 0);
    }
    expect([...ids.doubtful()]).toEqual(Array.from({ length: count / 2 }, (_, i) => 2 * i + 1));
  });
});
