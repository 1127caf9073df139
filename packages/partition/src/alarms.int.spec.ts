// Goal: the table of alarms says of every entity what its head says, whatever became of the checkpoints that wrote it.
// Method: checkpoints that are cut off at each of their steps, or fail, and openings in between, against the heads.
import { HeddleError, systemKinds } from "@heddle/kernel";
import { seededRandom } from "@heddle/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { cleanUp, freshFolder, headAt, open as openFresh } from "../test/partition-under-test.ts";
import type { Partition } from "./contract.ts";
import { type AlarmRecord, alarmUnknown } from "./records.ts";

afterEach(cleanUp);

const kinds = Object.values(systemKinds);
const steps = ["partition:entities-durable", "partition:filter-durable", "partition:ids-durable", "partition:covered"];

function everyAlarm(partition: Partition): AlarmRecord[] {
  return kinds.flatMap((kind) => partition.alarms({ kind, limit: 10_000 }));
}

/** What the heads say, in the order of the table. */
function alarmsOfHeads(partition: Partition): AlarmRecord[] {
  const found: AlarmRecord[] = [];
  for (const { entity, head } of partition.entities())
    if (head.alarm !== undefined) found.push({ entity, due: head.alarm });
  const place = ({ entity }: AlarmRecord) => kinds.findIndex((kind) => entity.startsWith(`${kind}/`));
  return found.sort(
    (a, b) => place(a) - place(b) || a.due - b.due || Buffer.compare(Buffer.from(a.entity), Buffer.from(b.entity)),
  );
}

describe("alarms", () => {
  it("K2: a row for each head that has one, and no other, after checkpoints that were cut off, failed, or went well", async () => {
    const random = seededRandom(11);
    const chance = (n: number) => random.safeInteger() % n;
    const folder = freshFolder();
    let failAt: string | undefined;
    const open = () =>
      openFresh(folder, {
        crashPoint: (name) => {
          if (name === failAt) throw new HeddleError("DISK_FULL", { shard: 0, path: folder });
        },
      });
    let partition = open();
    const seqs = new Map<string, number>();
    /** As a shard knows it: what it wrote last, or that it cannot tell. */
    const before = new Map<string, number | undefined>();
    for (let round = 0; round < 60; round++) {
      const writer = partition.checkpoint(round);
      const put: string[] = [];
      for (let i = 0; i < 20; i++) {
        const entity = `${kinds[chance(2)]}/${"é".repeat(chance(2))}account/${chance(40)}`;
        if (put.includes(entity)) continue;
        const seq = (seqs.get(entity) ?? 0) + 1;
        const alarm = chance(3) === 0 ? undefined : chance(5) === 0 ? 2 ** 48 - 1 : chance(50);
        writer.putEntity(entity, { ...headAt(seq), alarm }, new Float64Array(), [], before.get(entity));
        seqs.set(entity, seq);
        before.set(entity, alarm);
        put.push(entity);
      }
      failAt = chance(3) === 0 ? steps[chance(steps.length)] : undefined;
      const went = await writer.commit().then(
        () => true,
        () => false,
      );
      if (!went) for (const entity of put) before.set(entity, alarmUnknown);
      if (chance(6) === 0) {
        await partition.close();
        partition = open();
        for (const entity of seqs.keys()) before.set(entity, partition.head(entity)?.alarm);
      }
      expect(everyAlarm(partition), `round ${round}`).toEqual(alarmsOfHeads(partition));
    }
    expect(everyAlarm(partition).length).toBeGreaterThan(10);
  });

  it("an entity with the longest id that is allowed has one, too", async () => {
    const partition = openFresh(freshFolder());
    const entity = `$reminders/account/${"a".repeat(504)}`;
    const writer = partition.checkpoint(1);
    writer.putEntity(entity, { ...headAt(1), alarm: 7 }, new Float64Array(), []);
    await writer.commit();
    expect(partition.alarms({ kind: "$reminders", limit: 2 })).toEqual([{ entity, due: 7 }]);
  });

  it("counts ranges as it lists them", async () => {
    const partition = openFresh(freshFolder());
    const writer = partition.checkpoint(1);
    for (let i = 0; i < 300; i++) {
      writer.putEntity(`$saga/${i}`, { ...headAt(1), alarm: i % 50 }, new Float64Array(), []);
      writer.putEntity(`$reminders/account/${i}`, { ...headAt(1), alarm: i }, new Float64Array(), []);
    }
    await writer.commit();
    for (const range of [
      {},
      { from: 10 },
      { to: 10 },
      { from: 10, to: 20 },
      { to: 20, after: { entity: "$saga/60", due: 10 } },
    ]) {
      const query = { kind: "$saga", ...range };
      expect(partition.countAlarms(query)).toBe(partition.alarms({ ...query, limit: 1_000 }).length);
    }
    expect(partition.countAlarms({ kind: "$saga" })).toBe(300);
  });
});
