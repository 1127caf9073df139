// Goal: one reader sees the feeds of all shards, each event once, and can go on behind any of them.
// Method: feeds in memory behind the port; each question is answered when the test says so, or at once.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FeedMerge, type FeedPort, type SubscribedEvent } from "./feed-merge.ts";
import type { FeedEvent, FeedFields, FeedPage } from "./feed-requests.ts";

const never = new AbortController().signal;

/** Events of a shard are numbered from 0; the record of number n is n, so that a place is { record: n, skip: 0 or 1 }. */
class Feeds implements FeedPort {
  readonly lengths: number[];
  readonly asked: { readonly shard: number; readonly fields: FeedFields }[] = [];
  underWay = 0;
  underWayMax = 0;
  /** What to wait for before an answer. */
  delay: (shard: number) => Promise<void> = async () => {};
  failure: Error | undefined;

  constructor(...lengths: number[]) {
    this.lengths = lengths;
  }

  async shardCount(): Promise<number> {
    return this.lengths.length;
  }

  async ends(): Promise<readonly number[]> {
    return [...this.lengths];
  }

  async page(shard: number, fields: FeedFields): Promise<FeedPage> {
    this.asked.push({ shard, fields });
    this.underWayMax = Math.max(this.underWayMax, ++this.underWay);
    await this.delay(shard);
    this.underWay--;
    if (this.failure !== undefined) throw this.failure;
    const { from, limit } = fields;
    if (from === "now") throw new Error("now is asked with `ends`");
    const first = from.record + from.skip;
    const numbers = Array.from({ length: Math.min(limit, this.lengths[shard]! - first) }, (_, i) => first + i);
    const events = numbers.map((n) => ({ event: eventOf(shard, n), behind: { record: n, skip: 1 } }));
    return { events, next: { record: first + numbers.length, skip: 0 } };
  }
}

function eventOf(shard: number, n: number): FeedEvent {
  const names = { entity: `account/${shard}`, aggregate: "Account", type: "Credited", schemaVersion: 1, time: n };
  return { shard, position: n, index: 0, seq: n + 1, payload: n, metadata: undefined, id: undefined, ...names };
}

async function take(merge: FeedMerge, count: number): Promise<SubscribedEvent[]> {
  const events: SubscribedEvent[] = [];
  while (events.length < count) events.push(...(await merge.next(0, never)).events);
  return events;
}

const namesOf = (events: readonly SubscribedEvent[]) => events.map(({ shard, position }) => `${shard}:${position}`);

describe("feed merge", () => {
  it("M1 M2: gives every event once, those of a shard in order, and exactly the rest behind any cursor", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(),
        async (lengths, limit, pick) => {
          const feeds = new Feeds(...lengths);
          const total = lengths.reduce((sum, length) => sum + length, 0);
          const all = await take(new FeedMerge(feeds, {}, limit), total);
          const wanted = lengths.map((length, shard) => Array.from({ length }, (_, n) => `${shard}:${n}`));
          for (const [shard, names] of wanted.entries()) {
            expect(namesOf(all.filter((event) => event.shard === shard))).toEqual(names);
          }
          if (total === 0) return;
          const at = pick % total;
          const rest = await take(new FeedMerge(feeds, { from: all[at]!.cursor }, limit), total - at - 1);
          expect(namesOf(rest).sort()).toEqual(namesOf(all.slice(at + 1)).sort());
        },
      ),
    );
  });

  it("M2: a page's cursor stands behind the page, and what it passed over", async () => {
    const feeds = new Feeds(3, 0);
    const merge = new FeedMerge(feeds, {}, 2);
    const pages = [await merge.next(0, never), await merge.next(0, never), await merge.next(0, never)];
    expect(pages.map(({ events }) => events.length).sort()).toEqual([0, 1, 2]);
    expect(pages.at(-1)!.cursor).toBe("0:3,1:0");
    expect((await new FeedMerge(feeds, { from: pages.at(-1)!.cursor }, 2).next(0, never)).events).toEqual([]);
  });

  it("begins now where the feeds end when it is made, whenever it is read", async () => {
    const feeds = new Feeds(2, 1);
    const merge = new FeedMerge(feeds, { from: "now" }, 10);
    feeds.lengths[0] = 4;
    expect(namesOf(await take(merge, 2))).toEqual(["0:2", "0:3"]);
  });

  it("M3: asks each shard one question at a time, and none for whose page nobody has asked", async () => {
    const feeds = new Feeds(100, 100, 100);
    const merge = new FeedMerge(feeds, { kind: "account", aggregate: "Account", types: ["Credited"] }, 10);
    await merge.next(7, never);
    await new Promise((resolve) => setImmediate(resolve));
    expect(feeds.asked.map(({ shard }) => shard).sort()).toEqual([0, 1, 2]);
    const { fields } = feeds.asked[0]!;
    expect(fields).toEqual({
      from: { record: 0, skip: 0 },
      waitMs: 7,
      limit: 10,
      kind: "account",
      aggregate: "Account",
      types: ["Credited"],
    });
    await merge.next(7, never);
    expect(feeds.asked).toHaveLength(4);
    expect(feeds.underWayMax).toBe(3);
  });

  it("a shard that has nothing to tell holds no other up", async () => {
    const feeds = new Feeds(5, 1_000);
    feeds.delay = (shard) => (shard === 0 ? new Promise(() => {}) : Promise.resolve());
    expect(await take(new FeedMerge(feeds, {}, 100), 500)).toHaveLength(500);
  });

  it("an error of one shard is told, once it is its turn and from then on", async () => {
    const feeds = new Feeds(5, 5);
    const merge = new FeedMerge(feeds, {}, 100);
    await merge.next(0, never);
    feeds.failure = new Error("gone");
    await merge.next(0, never);
    await expect(merge.next(0, never)).rejects.toThrow("gone");
    await expect(merge.next(0, never)).rejects.toThrow("gone");
  });

  it("P7: a cursor of another context is refused at the first page", async () => {
    const merge = new FeedMerge(new Feeds(5, 5), { from: "0:1" }, 100);
    await expect(merge.next(0, never)).rejects.toMatchObject({ code: "INVALID_REQUEST", facts: { path: "from" } });
  });
});
