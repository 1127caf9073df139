// Goal: an id that was put is found for good, whether it stands by itself or in a run, however many there are and however
// often runs are merged, after every stop and from another process (P4); and what was never put is not found.
// Elsewhere: the arithmetic of runs (id-runs.unit.spec.ts), kills (crash.int.spec.ts), erasure (forgetting.int.spec.ts).
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, freshFolder, open, openReader } from "../test/partition-under-test.ts";
import { packedIdsMin, runIdsMax, runsMax } from "./id-runs.ts";
import type { AppendIdRecord, Partition, PartitionReader } from "./internal.ts";

afterEach(cleanUp);

const alice = "account/alice";
/** Their keys stand around those of alice. */
const entities = [alice, "account/alic", "account/alice/2", "account/alicf"];

async function put(partition: Partition, ids: readonly AppendIdRecord[]): Promise<void> {
  const writer = partition.checkpoint(partition.coveredPosition + 1);
  for (const { entity, id, position } of ids) writer.putAppendId(entity, id, position);
  await writer.commit();
}

const idsOf = (entity: string, from: number, count: number): AppendIdRecord[] =>
  Array.from({ length: count }, (_, i) => ({ entity, id: `id-${from + i}`, position: 100 * (from + i) }));

const textOf = ({ entity, id, position }: AppendIdRecord): string => `${entity} ${id} ${position}`;

function check(reader: PartitionReader, ids: readonly AppendIdRecord[]): void {
  expect([...reader.appendIds()].map(textOf).sort()).toEqual(ids.map(textOf).sort());
  const wrong = ids.filter(({ entity, id, position }) => reader.appendIdPosition(entity, id) !== position);
  expect(wrong).toEqual([]);
  for (const { entity, id } of ids.slice(0, 50)) expect(reader.appendIdPosition(entity, `${id}x`)).toBeUndefined();
}

describe("append ids", () => {
  it("P4 are found whatever checkpoints bring them, after a stop, and from another process", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.array(fc.tuple(fc.constantFrom(...entities), fc.integer({ min: 1, max: 6 * packedIdsMin })), {
            maxLength: 4,
          }),
          { minLength: 1, maxLength: 8 },
        ),
        async (checkpoints) => {
          const folder = freshFolder();
          let partition = open(folder);
          const all: AppendIdRecord[] = [];
          for (const brought of checkpoints) {
            const fresh = brought.flatMap(([entity, count]) => {
              const before = all.filter((record) => record.entity === entity).length;
              const ids = idsOf(entity, before, count);
              all.push(...ids);
              return ids;
            });
            await put(partition, fresh);
            check(partition, all);
          }
          await partition.close();
          partition = open(folder);
          check(partition, all);
          const reader = openReader(folder);
          check(reader, all);
          await reader.close();
        },
      ),
      { numRuns: 25 },
    );
  });

  it("P4 of one entity are found when there are more than its runs may have", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    let count = 0;
    // The last ones are in no run.
    for (const brought of [...Array.from({ length: runsMax }, () => runIdsMax), runIdsMax, 3 * runIdsMax]) {
      await put(partition, idsOf(alice, count, brought));
      count += brought;
    }
    await put(partition, idsOf(alice, count, packedIdsMin));
    count += packedIdsMin;
    const step = 37;
    for (let i = count - 1; i >= 0; i -= step) {
      if (partition.appendIdPosition(alice, `id-${i}`) !== 100 * i) expect.fail(`id ${i} of ${count} is lost`);
    }
    expect(partition.appendIdPosition(alice, `id-${count}`)).toBeUndefined();
    let listed = 0;
    for (const { id, position } of partition.appendIds()) {
      if (id !== `id-${position / 100}`) expect.fail(id);
      listed++;
    }
    expect(listed).toBe(count);
  });

  it("P4 that a checkpoint brings again, in other company, are there once", async () => {
    const partition = open(freshFolder());
    const ids = idsOf(alice, 0, 400);
    await put(partition, ids.slice(0, 100));
    await put(partition, ids.slice(50, 300));
    await put(partition, ids);
    check(partition, ids);
  });

  it("P4 are listed without a gap while a writer merges what is still to come", async () => {
    const folder = freshFolder();
    const partition = open(folder);
    // Each half of the one before: four runs.
    const counts = [64, 32, 16, 8];
    const ids: AppendIdRecord[] = [];
    for (const count of counts) {
      const fresh = idsOf(alice, ids.length, count);
      ids.push(...fresh);
      await put(partition, fresh);
    }
    const reader = openReader(folder);
    const listed = new Set<string>();
    const listing = reader.appendIds();
    for (let i = 0; i < 10; i++) listed.add(textOf(listing.next().value as AppendIdRecord));
    const more = idsOf(alice, 120, 8);
    await put(partition, more);
    for (const record of listing) listed.add(textOf(record));
    expect(ids.filter((record) => !listed.has(textOf(record)))).toEqual([]);
  });
});
