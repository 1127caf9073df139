// Goal: the place of a transaction's part is where it was applied, from wherever the looking begins; any other place is itself. On a
// real node: test/e2e/queries.e2e.spec.ts. What pending and applied entries are: packages/shard/src/transactions.
import { entryFlags } from "@heddle/event-log/internal";
import { describe, expect, it } from "vitest";
import { LandingPlaces } from "./landing-places.ts";
import { credit, WrittenLogs } from "./written-logs.spec-support.ts";

const { applied, pending } = entryFlags;
/** Nothing is waited for that long: what is there is found, what comes wakes. */
const patientMs = 60_000;

function placesOf({ disk, ends }: WrittenLogs): LandingPlaces {
  return new LandingPlaces({ disk, folders: ["/data/0"], ends });
}

async function prepared(logs: WrittenLogs, id: string): Promise<number> {
  const position = logs.add(0, credit(id, 1), { flags: pending, session: 1, call: 7 });
  await logs.commit();
  return position;
}

async function apply(logs: WrittenLogs, id: string, position: number): Promise<number> {
  const found = logs.add(0, credit(id, 1), { flags: applied, session: 0, call: position });
  await logs.commit();
  return found;
}

describe("landing places", () => {
  it("N1: an append stands where its receipt says", async () => {
    const logs = new WrittenLogs();
    const first = logs.add(0, credit("account/a", 1));
    const second = logs.add(0, credit("account/b", 1));
    await logs.commit();
    const places = placesOf(logs);
    for (const position of [first, second]) expect(await places.of({ shard: 0, position }, 0)).toBe(position);
  });

  it("N1: a transaction's part stands where it was applied, and not where another was", async () => {
    const logs = new WrittenLogs();
    await logs.write(0, credit("account/x", 1));
    const one = await prepared(logs, "account/a");
    const other = await prepared(logs, "account/b");
    const appliedOther = await apply(logs, "account/b", other);
    await logs.write(0, credit("account/x", 2));
    const appliedOne = await apply(logs, "account/a", one);
    const places = placesOf(logs);
    expect(await places.of({ shard: 0, position: one }, 0)).toBe(appliedOne);
    expect(await places.of({ shard: 0, position: other }, 0)).toBe(appliedOther);
  });

  it("N1: is found over segments, and from places that were noted on the way", async () => {
    const logs = new WrittenLogs(1, { segmentBytes: 4_096 });
    const places = placesOf(logs);
    const expected = new Map<number, number>();
    for (let i = 0; i < 60; i++) {
      const position = await prepared(logs, `account/${i}`);
      if (i % 7 === 0) places.note();
      await logs.write(0, credit("account/x", i + 1));
      expected.set(position, await apply(logs, `account/${i}`, position));
    }
    for (const [position, found] of expected) expect(await places.of({ shard: 0, position }, 0)).toBe(found);
  });

  it("one that is not applied yet is waited for", async () => {
    const logs = new WrittenLogs();
    const position = await prepared(logs, "account/a");
    const places = placesOf(logs);
    expect(await places.of({ shard: 0, position }, 0)).toBeUndefined();
    const found = places.of({ shard: 0, position }, patientMs);
    await logs.write(0, credit("account/x", 1));
    const stands = await apply(logs, "account/a", position);
    expect(await found).toBe(stands);
  });

  it("one that was erased, or is no entry at all, is left as it is", async () => {
    const logs = new WrittenLogs();
    const position = await prepared(logs, "account/a");
    await logs.erase(0, position);
    const places = placesOf(logs);
    expect(await places.of({ shard: 0, position }, 0)).toBe(position);
    expect(await places.of({ shard: 0, position: position + 8 }, 0)).toBe(position + 8);
    expect(await places.of({ shard: 0, position: 1 << 30 }, 0)).toBe(1 << 30);
  });

  it("nobody is kept waiting when it is closed", async () => {
    const logs = new WrittenLogs();
    const position = await prepared(logs, "account/a");
    const places = placesOf(logs);
    const found = places.of({ shard: 0, position }, patientMs);
    places.close();
    logs.ends.wake();
    expect(await found).toBeUndefined();
  });
});
