// Goal: a rehearsal of new code says what would not be as it is, and that nothing is where nothing is.
// Method: crafted folders whose partitions hold the states of the present code are refolded with other modules. What the
// engine finds besides is tested with the audit, which has the same one. The command is tested in apps/heddle.
import fs from "node:fs";
import { type AnyAggregate, defineAggregate, defineContext, event } from "@heddle/domain";
import { compileContext } from "@heddle/domain/internal";
import { afterEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { partitionFolderOf } from "../data-folder.ts";
import { startNode } from "../start-node.ts";
import {
  alterPartition,
  type CraftedAppend,
  craftFolder,
  flipByte,
  received,
  segmentOf,
  shop,
  shopDomain,
  sold,
  temporaryFolder,
  tombstone,
} from "./crafted-folder.spec-support.ts";
import { joinRehearsals, type RehearsalFindings } from "./rehearsal-report.ts";
import { rehearseFolder } from "./rehearse.ts";
import { rehearseSlice } from "./rehearse-slice.ts";
import { emptyStock, Price, priceEvents, Stock, type StockState, stockEvents } from "./shop.spec-support.ts";
import nextContext from "./shop-next.spec-support.ts";

const shopNext = new URL("./shop-next.spec-support.ts", import.meta.url).pathname;
const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

async function crafted(appends: readonly CraftedAppend[], options: { index?: boolean } = {}): Promise<string> {
  const data = await craftFolder(appends, { shardCount: 1, ...options });
  folders.push(data);
  return data;
}

interface Modules {
  readonly domain: typeof shopDomain;
  readonly against?: typeof shopDomain;
  readonly toldMax?: number;
}

async function rehearse(data: string, { domain, against, toldMax = 100 }: Modules): Promise<RehearsalFindings> {
  const slices = await Promise.all(
    [0, 1].map((slice) => rehearseSlice({ data, shard: 0, slice, slices: 2, domain, against, toldMax }, () => {})),
  );
  return joinRehearsals(slices, domain, against, toldMax);
}

/** The present code with other parts in its stock. */
const withStock = (stock: AnyAggregate) => compileContext(defineContext("shop", { aggregates: [stock, Price] }));
const stock = { version: 1, initial: emptyStock };
const next = compileContext(nextContext);

const healthy: readonly CraftedAppend[] = [
  received("item/hammer", 10),
  received("item/nail", 500),
  sold("item/hammer", 3),
  { entity: "item/hammer", aggregate: "Price", events: [{ type: "Set", payload: { cents: 1_250 } }], fingerprint: 1 },
  received("item/saw", 2),
];

const nothing = { differing: 0, differences: [], faults: [], faultyEvents: 0, faultCounts: [] };

describe("rehearsal: what would be the same", () => {
  it.each([
    ["the snapshots that the running code made", undefined],
    ["the present module", shopDomain],
  ])("finds nothing in the present code, against %s", async (_, against) => {
    const found = await rehearse(await crafted(healthy), { domain: shopDomain, ...(against && { against }) });
    expect(found).toMatchObject({
      verdict: "same",
      entities: 3,
      compared: 3,
      comparedEarlier: 0,
      events: 5,
      ...nothing,
    });
  });

  it("counts entities without a snapshot as not compared, and reads them all the same", async () => {
    const data = await crafted([...healthy, sold("item/nail", 600)], { index: false });
    const found = await rehearse(data, { domain: shopDomain });
    expect(found).toMatchObject({ compared: 0, notCompared: { noSnapshot: 3 }, verdict: "broken" });
  });

  it("compares an entity whose snapshot is older than its last event where the snapshot stands", async () => {
    const data = await crafted(healthy.slice(0, 2));
    const longer = await crafted(healthy, { index: false });
    fs.cpSync(partitionFolderOf(data, 0), partitionFolderOf(longer, 0), { recursive: true });
    expect(await rehearse(longer, { domain: shopDomain })).toMatchObject({
      verdict: "same",
      compared: 2,
      comparedEarlier: 1,
      notCompared: { noSnapshot: 1 },
    });
    // The sale came after the snapshot, so what new code makes of it cannot be seen there, but against the old module.
    expect(await rehearse(longer, { domain: next })).toMatchObject({ differing: 0 });
    expect(await rehearse(longer, { domain: next, against: shopDomain })).toMatchObject({ differing: 1 });
  });

  it("P6: compares nothing of an erased entity, and the new life of another", async () => {
    const data = await crafted([
      ...healthy,
      tombstone("item/hammer"),
      tombstone("item/nail"),
      received("item/nail", 7),
      sold("item/nail", 2),
    ]);
    const found = await rehearse(data, { domain: next });
    expect(found).toMatchObject({ compared: 2, notCompared: { erased: 1 }, differing: 1, faults: [] });
    expect(found.differences[0]!.fields).toEqual([{ path: "left", present: "5", next: "3" }]);
  });

  it("takes a damaged snapshot for none", async () => {
    const data = await crafted(healthy);
    const file = `${partitionFolderOf(data, 0)}/data.mdb`;
    const bytes = fs.readFileSync(file);
    const state = Buffer.from("\xa4left\x07", "latin1");
    for (let at = bytes.indexOf(state); at >= 0; at = bytes.indexOf(state, at + 1)) bytes[at + 5] = 8;
    fs.writeFileSync(file, bytes);
    expect(await rehearse(data, { domain: shopDomain })).toMatchObject({
      verdict: "same",
      compared: 2,
      notCompared: { noSnapshot: 1 },
    });
  });
});

describe("rehearsal: what would differ", () => {
  it.each([
    ["the snapshots", undefined],
    ["the present module", shopDomain],
  ])("names every entity whose state is another, field by field, against %s", async (_, against) => {
    const found = await rehearse(await crafted(healthy), { domain: next, ...(against && { against }) });
    expect(found).toMatchObject({ verdict: "differs", differing: 1, compared: 3, faults: [] });
    expect(found.differences).toEqual([
      {
        shard: 0,
        entity: "item/hammer",
        aggregate: "Stock",
        seq: expect.any(Number) as number,
        fields: [{ path: "left", present: "7", next: "4" }],
        fieldTotal: 1,
      },
    ]);
  });

  it("tells so many of them, and counts all", async () => {
    const many = Array.from({ length: 20 }, (_, i) => [received(`item/${i}`, 10), sold(`item/${i}`, 1)]).flat();
    const found = await rehearse(await crafted(many), { domain: next, toldMax: 3 });
    expect(found.differing).toBe(20);
    expect(found.differences).toHaveLength(3);
  });

  it("sees a state that differs though it was altered in the partition only", async () => {
    const data = await crafted(healthy);
    await alterPartition(data, 0, (writer, partition) => {
      const [snapshot] = partition.snapshots("item/saw");
      const stock = { ...snapshot!, aggregate: "Stock", state: Buffer.from("\x81\xa4left\x63", "latin1") };
      writer.putEntity("item/saw", partition.head("item/saw")!, new Float64Array(), [stock]);
    });
    const found = await rehearse(data, { domain: shopDomain });
    expect(found.differences).toMatchObject([{ entity: "item/saw", fields: [{ present: "99", next: "2" }] }]);
  });

  it("notes aggregates that only one of the modules has", async () => {
    const Extra = defineAggregate("Extra", { version: 1, initial: () => ({ cents: 0 }), events: priceEvents });
    const added = compileContext(defineContext("shop", { aggregates: [Stock, Price, Extra] }));
    const data = await crafted(healthy);
    expect(await rehearse(data, { domain: added, against: shopDomain })).toMatchObject({
      verdict: "same",
      notes: expect.arrayContaining(["Extra is new: there is no present state to compare it with"]) as string[],
    });
  });
});

describe("rehearsal: what would break", () => {
  it("tells stored events that the new module does not have, and counts all of them", async () => {
    const { Sold: _, ...events } = stockEvents;
    const data = await crafted([...healthy, sold("item/hammer", 1)]);
    const found = await rehearse(data, { domain: withStock(defineAggregate("Stock", { ...stock, events })) });
    expect(found).toMatchObject({
      verdict: "broken",
      faultyEvents: 2,
      faultCounts: [{ rule: "domain/known", name: "Stock.Sold", events: 2 }],
    });
    expect(found.faults[0]).toMatchObject({ entity: "item/hammer", seq: 2, found: "the event Stock.Sold" });
  });

  it("tells an aggregate that the new module does not have", async () => {
    const domain = compileContext(defineContext("shop", { aggregates: [Stock] }));
    const found = await rehearse(await crafted(healthy), { domain });
    expect(found.faultCounts).toEqual([{ rule: "domain/known", name: "Price", events: 1 }]);
  });

  it("tells a schema version that is newer than the new module's", async () => {
    const adjusted = { entity: "item/saw", events: [{ type: "Adjusted", payload: { by: 1 }, schemaVersion: 2 }] };
    const events = { ...stockEvents, Adjusted: event(stockEvents.Adjusted.schema, (s: StockState) => s) };
    const found = await rehearse(await crafted([...healthy, adjusted]), {
      domain: withStock(defineAggregate("Stock", { ...stock, events })),
    });
    expect(found.faults).toMatchObject([
      { rule: "domain/known", entity: "item/saw", seq: 2, found: "schema version 2 of Stock.Adjusted" },
    ]);
  });

  it("tells payloads that an upcaster cannot take, and what one makes that does not fit", async () => {
    const appends = [7, 13].map((counted) => ({
      entity: "item/saw",
      events: [{ type: "Adjusted", payload: { counted, expected: 5 }, schemaVersion: 1 }],
    }));
    const data = await crafted([...healthy, ...appends]);
    expect((await rehearse(data, { domain: shopDomain })).faults).toMatchObject([{ rule: "domain/upcast", seq: 3 }]);
    const Adjusted = event(z.object({ by: z.int() }), (s: StockState) => s, {
      version: 2,
      upcast: { 1: () => ({ by: 0.5 }) },
    });
    const domain = withStock(defineAggregate("Stock", { ...stock, events: { ...stockEvents, Adjusted } }));
    expect((await rehearse(data, { domain })).faultCounts).toContainEqual({
      rule: "domain/payload",
      name: "Stock.Adjusted",
      events: 2,
    });
  });

  it("tells payloads that the new schema refuses, also where it refuses all of them and nothing was stored as it came", async () => {
    const decided = healthy.map((append) => ({ ...append, fingerprint: 1, flags: 1 }));
    const Received = event(z.object({ quantity: z.int(), from: z.string() }), (s: StockState) => s);
    const domain = withStock(defineAggregate("Stock", { ...stock, events: { ...stockEvents, Received } }));
    for (const appends of [healthy, decided]) {
      const data = await crafted(appends);
      for (const against of [undefined, shopDomain]) {
        const found = await rehearse(data, { domain, ...(against && { against }) });
        expect(found.faultCounts).toContainEqual({ rule: "domain/payload", name: "Stock.Received", events: 3 });
      }
    }
  });

  it("notes payloads that a schema made and would not take back, and calls them no fault", async () => {
    const data = await crafted(healthy);
    for (const against of [undefined, shopDomain]) {
      const found = await rehearse(data, { domain: shopDomain, ...(against && { against }) });
      expect(found.notes).toEqual([
        "Price.Set: 1 payloads could not be checked, because its schema takes none that it made itself",
      ]);
    }
  });

  it("tells folds that throw, and does not compare what they leave", async () => {
    const Sold = event(stockEvents.Sold.schema, (_: StockState): StockState => {
      throw new Error("no sales");
    });
    const domain = withStock(defineAggregate("Stock", { ...stock, events: { ...stockEvents, Sold } }));
    const found = await rehearse(await crafted(healthy), { domain });
    expect(found.faults).toMatchObject([{ rule: "domain/fold", entity: "item/hammer", seq: 2 }]);
    expect(found).toMatchObject({ differing: 0, verdict: "broken" });
  });

  it("P3: tells every rule that would not hold, by the event behind which it does not", async () => {
    const invariants = { "at most 100": (state: StockState) => state.left <= 100 };
    const domain = withStock(defineAggregate("Stock", { ...stock, events: stockEvents, invariants }));
    const found = await rehearse(await crafted([...healthy, received("item/saw", 99), sold("item/saw", 1)]), {
      domain,
    });
    expect(found.faultCounts).toEqual([{ rule: "domain/invariant", name: "Stock: at most 100", events: 2 }]);
    expect(found.faults).toMatchObject([
      { entity: "item/nail", seq: 1, found: '"at most 100" does not hold after Stock.Received' },
      { entity: "item/saw", seq: 2 },
    ]);
  });
});

describe("rehearsal: of a data folder", () => {
  it("changes nothing beside a running node, whose appends and checkpoints go on", async () => {
    const data = temporaryFolder();
    folders.push(data);
    const node = await startNode({ domain: shop, data, port: 0, shards: 2, limits: { checkpointBytes: 4_096 } });
    const url = node.url.replace("heddle:", "http:");
    let posted = 0;
    const post = async () => {
      const items = Array.from({ length: 50 }, (_, i) => ({
        entity: `item/${i}`,
        aggregate: "Stock",
        type: posted++ % 100 < 50 ? "Received" : "Sold",
        payload: { quantity: 1 },
      }));
      const body = JSON.stringify({ items });
      const answer = await fetch(`${url}/v1/append-many`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      expect(answer.status).toBe(200);
      await answer.arrayBuffer();
    };
    try {
      for (let i = 0; i < 10; i++) await post();
      const stop = new AbortController();
      const load = (async () => {
        while (!stop.signal.aborted) await post();
      })();
      const seen: number[] = [];
      const same = await rehearseFolder({ data, domain: shop, onProgress: ({ doneBytes }) => seen.push(doneBytes) });
      const differs = await rehearseFolder({ data, domain: shopNext, against: shop });
      stop.abort();
      await load;
      expect(same).toMatchObject({ verdict: "same", context: "shop", shards: 2, entities: 50, ...nothing });
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));
      // Doubled sales make stocks negative, so the rule is broken, too.
      expect(differs).toMatchObject({ verdict: "broken", against: "module" });
      expect(differs.differing).toBeGreaterThan(0);
    } finally {
      await node.close();
    }
    expect((await rehearseFolder({ data, domain: shop })).events).toBe(posted);
  });

  it("P5: refuses a damaged log, because half a log is no rehearsal", async () => {
    const data = await crafted(healthy);
    flipByte(segmentOf(data, 0), 150);
    await expect(rehearseFolder({ data, domain: shop })).rejects.toMatchObject({ code: "LOG_DAMAGED" });
  });

  it("P7: refuses a module that cannot be loaded, either of the two", async () => {
    const data = await crafted(healthy);
    const missing = `${data}/none.ts`;
    await expect(rehearseFolder({ data, domain: missing })).rejects.toMatchObject({ code: "DOMAIN_LOAD_FAILED" });
    await expect(rehearseFolder({ data, domain: shop, against: missing })).rejects.toMatchObject({
      code: "DOMAIN_LOAD_FAILED",
    });
  });
});
