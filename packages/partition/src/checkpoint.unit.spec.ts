// Goal: K3 over the moments that a disk cannot be made to show: a page of the filter that was not written, or that changed on its way, is
// written by the next checkpoint. Method: the writer over a queue that does as told.
import { describe, expect, it } from "vitest";
import { BloomFilter } from "./bloom.ts";
import { TableCheckpoint } from "./checkpoint.ts";
import type { Tables } from "./environment.ts";
import { FreshIds } from "./fresh-ids.ts";
import { hashAppendId, newIdHash } from "./id-hash.ts";
import { filterPlaceOfKey } from "./keys.ts";
import { ValueWriter } from "./value-writer.ts";
import type { WriteQueue } from "./write-queue.ts";

const alice = "account/alice";

/** Checkpoints of one partition whose filter knows an id; `settle` is what the disk says to what was put. */
function checkpoints() {
  const filter = new BloomFilter();
  const tables = { filter: "filter", appendIds: "append ids", meta: "meta" } as unknown as Tables;
  const announce = (id: string) => filter.add(hashAppendId(alice, id, newIdHash()));
  const freshId = (id: string) => {
    const ids = new FreshIds();
    ids.add(alice, id, hashAppendId(alice, id, newIdHash()), 7, announce(id));
    return ids;
  };
  /** Pages of the filter that it put, and how it ended. */
  const commit = async (ids: FreshIds, settle: (pagesPut: number) => void = () => {}) => {
    const pages: number[] = [];
    const queue = {
      begin: () => {},
      put: (table: unknown, key: Uint8Array) => {
        if (table !== tables.filter) return;
        const { page } = filterPlaceOfKey(key);
        if (page !== undefined) pages.push(page);
      },
      drained: () => Promise.resolve(),
      settled: async () => settle(pages.length),
    } as unknown as WriteQueue;
    const parts = { place: { folder: "/partition", shard: 0 }, tables, queue, values: new ValueWriter(), filter };
    const writer = new TableCheckpoint({ ...parts, covering: 1, onCovered: () => {}, crashPoint: () => {} });
    writer.takeAppendIds(ids);
    const error = await writer.commit().catch((thrown: Error) => thrown.message);
    return { pages, error };
  };
  return { announce, freshId, commit };
}

describe("K3: pages of the filter", () => {
  it("are written once", async () => {
    const { freshId, commit } = checkpoints();
    expect((await commit(freshId("a"))).pages).toHaveLength(1);
    expect((await commit(new FreshIds())).pages).toEqual([]);
  });

  it("are written again when the checkpoint that put them failed", async () => {
    const { freshId, commit } = checkpoints();
    const failed = await commit(freshId("a"), (pagesPut) => {
      if (pagesPut > 0) throw new Error("no room");
    });
    expect([failed.pages.length, failed.error]).toEqual([1, "no room"]);
    expect((await commit(new FreshIds())).pages).toEqual(failed.pages);
  });

  it("are written again when an id was announced while they were on their way", async () => {
    const { announce, freshId, commit } = checkpoints();
    let announced = 0;
    const first = await commit(freshId("a"), (pagesPut) => {
      // So many that each page has some.
      for (; pagesPut > 0 && announced < 300; announced++) announce(`meanwhile-${announced}`);
    });
    const second = await commit(new FreshIds());
    expect([announced, second.pages.includes(first.pages[0]!)]).toEqual([300, true]);
  });
});
