// Listing: every entity once, in the order of the bytes of its id, asleep or awake, and none is woken for it.
import type { WireListed } from "@heddle/protocol/internal";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, credit } from "./bank.spec-support.ts";
import { closeAll, failure, openShard, receipt, type ShardUnderTest, value } from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const inOrder = (ids: readonly string[]) => ids.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
const idsOf = (listed: readonly WireListed[]) => listed.map(([id]) => id);

async function write(under: ShardUnderTest, ids: readonly string[]): Promise<void> {
  for (let i = 0; i < ids.length; i += 500) {
    const asked = under.turn(() => ids.slice(i, i + 500).map((id) => under.append(credit(id, 1))));
    for (const one of asked) receipt(await one);
  }
}

describe("listing", () => {
  // Beyond U+FFFF, UTF-16 and UTF-8 sort differently.
  const name = fc
    .constantFrom("a", "b", "ab", "z", "\u{e000}x", "\u{ffff}", "\u{1f600}", "\u{10000}b", "é", "A", "0")
    .chain((start) => fc.nat(30).map((n) => `${start}${n}`));

  it("gives every entity once and in order, from memory and from the partition, page by page, by any prefix and place to begin", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(name, { maxLength: 40 }),
        fc.uniqueArray(name, { maxLength: 40 }),
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom("", "account/", "account/a", "account/\u{1f600}", "user/", "account/zz"),
        fc.boolean(),
        async (early, late, limit, prefix, restarts) => {
          const under = openShard(bank, { limits: { activeEntitiesMax: 5 } });
          await write(
            under,
            early.map((one) => `account/${one}`),
          );
          await under.checkpoint();
          if (restarts) await under.restart();
          await write(under, [...late.map((one) => `account/${one}`), "user/one"]);
          const all = inOrder([...new Set([...early, ...late].map((one) => `account/${one}`)), "user/one"]);
          const wanted = all.filter((id) => id.startsWith(prefix));
          const before = under.shard.stats();
          expect(idsOf(await under.listed({ prefix, limit }))).toEqual(wanted);
          for (const after of wanted) {
            const page = value(await under.list({ prefix, after, limit })) as WireListed[];
            expect(idsOf(page)).toEqual(wanted.slice(wanted.indexOf(after) + 1).slice(0, limit));
          }
          const { activations, activeEntities } = under.shard.stats();
          expect([activations, activeEntities]).toEqual([before.activations, before.activeEntities]);
          await under.end();
        },
      ),
      { numRuns: 40 },
    );
  });

  it("tells sequence, time and chain of each as memory knows them, also when the partition is older", async () => {
    const under = openShard(bank);
    await write(under, [alice, bob]);
    await under.checkpoint();
    under.advance(5);
    receipt(await under.append(credit(alice, 2, 3)));
    const [first, second] = await under.listed();
    expect(first!.slice(0, 3)).toEqual([alice, 3, under.clock.nowMs]);
    expect(second!.slice(0, 3)).toEqual([bob, 1, under.clock.nowMs - 5]);
    for (const [, , , chain] of [first!, second!]) expect(chain).toMatch(/^[0-9a-f]{64}$/);
    await under.restart();
    expect(await under.listed()).toEqual([first, second]);
    await under.crash("everything");
    under.startWithEmptyPartition();
    expect(await under.listed()).toEqual([first, second]);
  });

  it("P2: leaves out what is not durable yet", async () => {
    const under = openShard(bank);
    receipt(await under.append(credit(alice, 1)));
    const [known] = await under.listed();
    await under.checkpoint();
    under.disk.holdSyncs();
    const asked = [under.append(credit(bob, 1)), under.append(credit(alice, 1)), under.delete(alice)];
    expect(await under.listed({ erased: true })).toEqual([known]);
    expect(await under.listed()).toEqual([known]);
    under.disk.releaseSyncs();
    for (const one of asked) await one;
    expect(idsOf(await under.listed())).toEqual([bob]);
  });

  it("P6: erased ones are listed only when asked for, at every stage of their erasure", async () => {
    const under = openShard(bank);
    await write(under, [alice, bob]);
    await under.checkpoint();
    let done = false;
    const erasing = under.erase(alice).then(() => {
      done = true;
    });
    receipt(await under.append(credit(bob, 1)));
    while (!done) {
      expect(idsOf(await under.listed())).toEqual([bob]);
      const all = await under.listed({ erased: true });
      expect(all.map(([id, seq, , , erased]) => [id, seq, erased])).toEqual([
        [alice, 2, true],
        [bob, 2, false],
      ]);
      await under.turns(1);
    }
    await erasing;
    receipt(await under.append({ ...credit(alice, 1), newLife: true }));
    expect(idsOf(await under.listed())).toEqual([alice, bob]);
  });

  it("P8: a page over ten thousand that are left out takes turns, and so does one over as many that are only in memory", async () => {
    const under = openShard(bank);
    const ids = Array.from({ length: 12_000 }, (_, i) => `account/${String(i).padStart(6, "0")}`);
    await write(under, ids);
    expect(idsOf(value(await under.list({ limit: 3 })) as WireListed[])).toEqual(ids.slice(0, 3));
    expect(idsOf(await under.listed({ limit: 10_000 }))).toEqual(ids);
    await under.checkpoint();
    const asked = under.list({ limit: 10_000 });
    receipt(await under.append(credit(alice, 1)));
    expect(idsOf(value(await asked) as WireListed[])).toEqual(ids.slice(0, 10_000));
    expect(under.shard.stats().activeEntities).toBe(12_001);
  });

  it("P7: a page of nothing, or of too many, is refused", async () => {
    const under = openShard(bank);
    for (const limit of [1, 10_000]) expect(value(await under.list({ limit }))).toEqual([]);
    expect(failure(await under.send(11, alice, new Uint8Array(3))).code).toBe("BAD_FRAME");
  });
});
