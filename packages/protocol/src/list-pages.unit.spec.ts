// Goal: the entities of all shards come in one order, each once, and a cursor stands for exactly what is left.
import { type EntityId, hashEntity } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ListFields, WireListed } from "./lifecycle-requests.ts";
import { compareIds, type EntityPage, type ListQuery, listPage, listPages } from "./list-pages.ts";

const inBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** Shards that hold these ids, and what they were asked. */
function shards(ids: readonly string[], shardCount: number) {
  const asked: [number, ListFields][] = [];
  const list = async (shard: number, fields: ListFields): Promise<WireListed[]> => {
    asked.push([shard, fields]);
    const mine = ids.filter((id) => hashEntity(id as EntityId) % shardCount === shard);
    const found = mine.filter((id) => id.startsWith(fields.prefix) && inBytes(id, fields.after) > 0).sort(inBytes);
    return found.slice(0, fields.limit).map((id) => [id, 3, 1_000, "ab".repeat(32), false]);
  };
  return { list, asked };
}

async function collect(pages: AsyncIterable<EntityPage>): Promise<EntityPage[]> {
  const found: EntityPage[] = [];
  for await (const page of pages) found.push(page);
  return found;
}
const idsOf = (pages: readonly EntityPage[]) => pages.flat().map(({ entity }) => entity);

const name = fc.oneof(
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 }),
  fc.constantFrom("a", "aa", "a/b", "é", "\uffff", "\ud83d\ude00", "\ue000"),
);
const ids = fc.uniqueArray(
  fc.tuple(fc.constantFrom("account", "acc", "order"), name).map(([kind, rest]) => `${kind}/${rest}`),
  { maxLength: 60 },
);

describe("list", () => {
  it("L1: every entity once, in the order of the ids' bytes, in pages of the limit", async () => {
    await fc.assert(
      fc.asyncProperty(ids, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 30 }), async (ids, n, limit) => {
        const pages = await collect(listPages(shards(ids, n).list, n, { limit }));
        expect(idsOf(pages)).toEqual(ids.toSorted(inBytes));
        for (const page of pages.slice(0, -1)) expect(page).toHaveLength(limit);
        for (const [i, page] of pages.entries()) expect(page.cursor === undefined).toBe(i === pages.length - 1);
      }),
    );
  });

  it("L2: a cursor goes on with exactly the rest, with any limit", async () => {
    await fc.assert(
      fc.asyncProperty(ids, fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 9 }), async (ids, n, limit) => {
        const { list } = shards(ids, n);
        const all = ids.toSorted(inBytes);
        const first = await listPage(list, n, { limit });
        expect(idsOf([first])).toEqual(all.slice(0, limit));
        if (first.cursor === undefined) {
          expect(all.length).toBeLessThanOrEqual(limit);
          return;
        }
        expect(idsOf(await collect(listPages(list, n, { cursor: first.cursor })))).toEqual(all.slice(limit));
      }),
    );
  });

  it("by kind, by the beginning of a name within a kind, and by the beginning of an id", async () => {
    const all = ["account/alice", "account/bob", "accounts/alice", "order/alice", "order/7"];
    const list = async (query: ListQuery) => idsOf(await collect(listPages(shards(all, 3).list, 3, query)));
    expect(await list({ kind: "account" })).toEqual(["account/alice", "account/bob"]);
    expect(await list({ kind: "account", prefix: "al" })).toEqual(["account/alice"]);
    expect(await list({ prefix: "account" })).toEqual(["account/alice", "account/bob", "accounts/alice"]);
    expect(await list({ kind: "device" })).toEqual([]);
  });

  it("gives every field of an entity", async () => {
    const [page] = await collect(listPages(shards(["a/b"], 1).list, 1));
    expect([...page!]).toEqual([{ entity: "a/b", seq: 3, time: 1_000, chain: "ab".repeat(32), erased: false }]);
    const { list, asked } = shards([], 2);
    await listPage(list, 2, { erased: true });
    expect(asked.map(([shard, { erased }]) => [shard, erased])).toEqual([
      [0, true],
      [1, true],
    ]);
  });

  it("L3 P8: a single page asks each shard once, for little more than falls to it", async () => {
    const all = Array.from({ length: 20_000 }, (_, i) => `account/${i}`);
    const { list, asked } = shards(all, 4);
    expect(await listPage(list, 4, { limit: 1_000 })).toHaveLength(1_000);
    expect(asked.length).toBeLessThan(8);
    for (const [, { limit }] of asked) expect(limit).toBeLessThan(400);
  });

  it("L3 P8: all pages take few questions, and hold 10,000 entities ahead at most", async () => {
    const all = Array.from({ length: 20_000 }, (_, i) => `account/${i}`);
    const { list, asked } = shards(all, 4);
    const pages = await collect(listPages(list, 4, { limit: 1_000 }));
    expect(pages).toHaveLength(20);
    expect(asked.length).toBeLessThanOrEqual(12);
    for (const [, { limit }] of asked) expect(limit).toBe(2_500);
  });

  it("P7 refuses a limit, kind, prefix or cursor that is none", async () => {
    const { list, asked } = shards(["a/b"], 1);
    for (const query of [
      { limit: 0 },
      { limit: 10_001 },
      { limit: 1.5 },
      { kind: "" },
      { kind: "Account" },
      { kind: "a/b" },
      { prefix: 5 as never },
      { cursor: "" },
      { cursor: "account/alice" },
      { cursor: "1f" },
      { cursor: "1ff" },
      { cursor: `1${"61".repeat(513)}` },
      { cursor: 5 as never },
    ]) {
      await expect(listPage(list, 1, query), JSON.stringify(query)).rejects.toMatchObject({
        code: "INVALID_REQUEST",
        facts: { path: Object.keys(query)[0] },
      });
    }
    expect(asked).toEqual([]);
  });

  it("orders texts as their UTF-8 bytes", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 8 }).filter((one) => one.isWellFormed());
    const mixed = fc
      .array(fc.constantFrom("a", "é", "\uffff", "\ud83d\ude00", "\ue000", "\ud7ff"))
      .map((a) => a.join(""));
    fc.assert(
      fc.property(fc.oneof(text, mixed), fc.oneof(text, mixed), (a, b) => {
        expect(Math.sign(compareIds(a, b))).toBe(inBytes(a, b));
      }),
    );
  });
});
