// Goal: ids given by callers are found at their positions, whatever was added, handed to checkpoints, and taken back.
import type { FreshId, IdHash, Partition } from "@heddle/partition/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AppendIds } from "./append-ids.ts";

/** What checkpoints have written, behind a filter that errs never or always. */
class Written {
  readonly positions = new Map<string, number>();
  readonly #announced = new Set<number>();
  readonly #errs: boolean;
  constructor(errs = false) {
    this.#errs = errs;
  }
  take(ids: Iterable<FreshId>): void {
    for (const { entity, id, position } of ids) this.positions.set(`${entity}\0${id}`, position);
  }
  get partition(): Partition {
    const mayKnowAppendId = ({ first }: IdHash) => this.#errs || this.#announced.has(first);
    const announceAppendId = (hash: IdHash) => {
      const isNew = !mayKnowAppendId(hash);
      this.#announced.add(hash.first);
      return isNew;
    };
    const appendIdPosition = (entity: string, id: string) => this.positions.get(`${entity}\0${id}`);
    return { mayKnowAppendId, announceAppendId, appendIdPosition } as unknown as Partition;
  }
}

const name = fc.integer({ min: 0, max: 20 }).map(String);
const step = fc.oneof(
  { weight: 20, arbitrary: fc.record({ kind: fc.constant("add" as const), entity: name, id: name }) },
  { weight: 1, arbitrary: fc.constant({ kind: "checkpoint" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "failed checkpoint" as const }) },
);

const schedule = fc.array(step, { maxLength: 400 });

describe("append ids", () => {
  it("P4 are found wherever they are on their way to the partition; the last position counts", () => {
    fc.assert(
      fc.property(schedule, fc.array(step, { maxLength: 40 }), fc.boolean(), (steps, meanwhile, errs) => {
        const written = new Written(errs);
        const ids = new AppendIds(written.partition);
        const model = new Map<string, number>();
        let position = 0;
        const add = (entity: string, id: string) => {
          ids.add(entity, id, ++position);
          model.set(`${entity}\0${id}`, position);
        };
        const check = () => {
          for (let entity = 0; entity <= 20; entity++) {
            for (let id = 0; id <= 20; id++) {
              const wanted = model.get(`${entity}\0${id}`);
              expect(ids.find(String(entity), String(id), false)).toBe(wanted);
            }
          }
        };
        for (const each of steps) {
          if (each.kind === "add") {
            add(each.entity, each.id);
            continue;
          }
          const handed = [...ids.flush().all()];
          for (const one of meanwhile) if (one.kind === "add") add(one.entity, one.id);
          check();
          if (each.kind === "checkpoint") {
            written.take(handed);
            ids.flushed();
          } else ids.giveBack();
        }
        check();
      }),
      { numRuns: 60 },
    );
  });

  it("may all be stored after a checkpoint that failed: the next one has to look", () => {
    const ids = new AppendIds(new Written().partition);
    for (let i = 0; i < 10; i++) ids.add("account/a", `id-${i}`, i);
    expect([...ids.flush().doubtful()]).toEqual([]);
    ids.add("account/a", "meanwhile", 10);
    ids.giveBack();
    expect([...ids.flush().doubtful()]).toEqual(Array.from({ length: 11 }, (_, place) => place));
  });

  it("tell an entity's id from another's, also where both together read the same", () => {
    const ids = new AppendIds(new Written().partition);
    ids.add("account/a", "b", 1);
    ids.add("account/ab", "", 2);
    ids.add("account/", "ab", 3);
    expect([ids.find("account/a", "b", false), ids.find("account/ab", "", false)]).toEqual([1, 2]);
    expect(ids.find("account/", "ab", false)).toBe(3);
    expect(ids.find("account/b", "a", false)).toBeUndefined();
  });

  it("are handed over in the order in which they came, each once", () => {
    const ids = new AppendIds(new Written().partition);
    for (let i = 0; i < 1_000; i++) ids.add(`account/${i % 10}`, `id-${i}`, i);
    ids.add("account/3", "id-3", 2_000);
    for (let i = 0; i < 1_000; i++) {
      expect(ids.find(`account/${i % 10}`, `id-${i}`, false)).toBe(i === 3 ? 2_000 : i);
    }
    const handed = [...ids.flush().all()];
    expect(handed.map(({ id }) => id)).toEqual(Array.from({ length: 1_000 }, (_, i) => `id-${i}`));
    expect(handed[3]!.position).toBe(2_000);
  });
});
