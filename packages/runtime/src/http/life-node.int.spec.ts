// What the routes about an entity's life do on a real node: three shards on two threads, a real data folder, real HTTP.
// Shapes of answers and faults that need no shard to be seen: life-routes.int.spec.ts. That no byte of an erased payload is
// left in any file, and crashes on the way, are tested where that is done.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type ExportItem, ExportReader } from "@heddle/protocol/internal";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startNode } from "../start-node.ts";

const domain = fileURLToPath(new URL("../admin/shop.spec-support.ts", import.meta.url));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-life-"));

let node: Awaited<ReturnType<typeof startNode>>;
const start = async () => {
  node = await startNode({ domain, data: path.join(folder, "data"), port: 0, shards: 3, threads: 2 });
};
beforeAll(start);
afterAll(async () => {
  await node.close();
  fs.rmSync(folder, { recursive: true, force: true });
});

interface Answered {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function call(method: string, url: string, body?: unknown): Promise<Answered> {
  const sent =
    body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const response = await fetch(`http://127.0.0.1:${node.port}${url}`, { method, ...sent });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const get = (url: string) => call("GET", url);
const of = (entity: string) =>
  `/v1/entities/${entity.replace(/\/(.*)/s, (_, name: string) => `/${encodeURIComponent(name)}`)}`;
const received = (quantity: number) => ({ aggregate: "Stock", type: "Received", payload: { quantity } });
const append = (entity: string, body: object) => call("POST", `${of(entity)}/append`, body);
const stock = async (entity: string, moment = "") => (await get(`${of(entity)}?aggregate=Stock${moment}`)).body;
const failed = (status: number, code: string) => ({ status, body: { ok: false, code } });

/** An entity with so many events, each of which receives one more; gives the times of the events. */
async function written(entity: string, events: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < events; i++) times.push((await append(entity, received(1))).body["time"] as number);
  return times;
}

async function exported(entity: string): Promise<ExportItem[]> {
  const text = await (await fetch(`http://127.0.0.1:${node.port}${of(entity)}/export`)).text();
  const reader = new ExportReader();
  const items = text
    .slice(0, -1)
    .split("\n")
    .map((line) => reader.read(line)!);
  reader.finish();
  return items;
}

const anHourAhead = () => Date.now() + 3_600_000;

describe("earlier states", () => {
  it("are those after an event, or after the last event up to a time", async () => {
    const times = await written("item/past", 5);
    for (let seq = 0; seq <= 5; seq++) {
      expect(await stock("item/past", `&seq=${seq}`)).toMatchObject({ state: { left: seq }, seq });
    }
    const third = times.lastIndexOf(times[2]!) + 1;
    expect(await stock("item/past", `&time=${times[2]}`)).toMatchObject({ state: { left: third }, seq: third });
    const iso = encodeURIComponent(new Date(times[0]! - 1).toISOString());
    expect(await stock("item/past", `&time=${iso}`)).toMatchObject({ state: { left: 0 }, seq: 0 });
  });

  it("P7: that were not reached are OUT_OF_RANGE", async () => {
    await written("item/short", 2);
    for (const [entity, moment] of [
      ["item/short", "seq=3"],
      ["item/short", `time=${anHourAhead()}`],
      ["item/never-written", "seq=1"],
    ]) {
      const answered = await get(`${of(entity!)}?aggregate=Stock&${moment}`);
      expect(answered, moment).toMatchObject(failed(416, "OUT_OF_RANGE"));
    }
    expect(await stock("item/never-written", "&seq=0")).toMatchObject({ state: { left: 0 }, seq: 0 });
    expect(await get(`${of("item/short")}?aggregate=Nonsense&seq=1`)).toMatchObject(failed(404, "UNKNOWN_AGGREGATE"));
  });
});

describe("history", () => {
  it("goes by range of sequence or of time, either way, with its pages", async () => {
    const times = await written("item/range", 9);
    const seqs = async (query: string) => {
      const { body } = await get(`${of("item/range")}/history?${query}`);
      return [(body["events"] as { seq: number }[]).map(({ seq }) => seq), body["next"]];
    };
    expect(await seqs("from=3&to=6")).toEqual([[3, 4, 5, 6], undefined]);
    expect(await seqs("from=3&to=6&limit=3")).toEqual([[3, 4, 5], 6]);
    expect(await seqs("from=6&to=3&direction=backward")).toEqual([[6, 5, 4, 3], undefined]);
    expect(await seqs("from=50")).toEqual([[], undefined]);
    const [since, until] = [times[2]!, times[5]!];
    const between = times.flatMap((time, i) => (time >= since && time <= until ? [i + 1] : []));
    expect((await seqs(`since=${since}&until=${until}`))[0]).toEqual(between);
    expect((await seqs(`since=${since}&until=${until}&direction=backward`))[0]).toEqual(between.toReversed());
    expect((await seqs(`since=${anHourAhead()}`))[0]).toEqual([]);
  });

  it("P7: of a range that goes against its direction is refused", async () => {
    for (const query of ["from=6&to=3", "from=3&to=6&direction=backward", "since=2000&until=1000"]) {
      const answered = await get(`${of("item/range")}/history?${query}`);
      expect(answered, query).toMatchObject(failed(400, "INVALID_REQUEST"));
    }
  });
});

describe("restore", () => {
  it("P4: brings the earlier state back once, however often it is sent, and leaves others alone", async () => {
    await written("item/mistake", 4);
    await written("item/bystander", 2);
    const url = `${of("item/mistake")}/restore`;
    const first = await call("POST", url, { seq: 2, expectedSeq: 4, id: "undo" });
    expect(first).toMatchObject({ status: 200, body: { ok: true, firstSeq: 5, seq: 7, count: 3, duplicate: false } });
    const again = await call("POST", url, { seq: 2, expectedSeq: 4, id: "undo" });
    expect(again.body).toEqual({ ...first.body, duplicate: true });
    expect(await stock("item/mistake")).toMatchObject({ state: { left: 2 }, seq: 7 });
    expect(await stock("item/mistake", "&seq=4")).toMatchObject({ state: { left: 4 } });
    expect(await stock("item/bystander")).toMatchObject({ state: { left: 2 }, seq: 2 });
    expect(await call("POST", url, { seq: 3, id: "undo" })).toMatchObject(failed(422, "ID_REUSED"));
  });

  it("P7: of what is not there changes nothing", async () => {
    await written("item/as-it-is", 2);
    const url = `${of("item/as-it-is")}/restore`;
    expect(await call("POST", url, { seq: 3 })).toMatchObject(failed(416, "OUT_OF_RANGE"));
    expect(await call("POST", url, { time: anHourAhead() })).toMatchObject(failed(416, "OUT_OF_RANGE"));
    const unknown = await call("POST", `${of("item/never-written")}/restore`, { seq: 1 });
    expect(unknown).toMatchObject(failed(416, "OUT_OF_RANGE"));
    const conflict = await call("POST", url, { seq: 1, expectedSeq: 9 });
    expect(conflict).toMatchObject(failed(409, "SEQUENCE_CONFLICT"));
    expect(await stock("item/as-it-is")).toMatchObject({ state: { left: 2 }, seq: 2 });
  });
});

describe("fork", () => {
  it("gives the new entity the same states at the same sequences, and is the same when sent again", async () => {
    await written("item/origin", 3);
    // Its schema would not take the value that it stored.
    await append("item/origin", { aggregate: "Price", type: "Set", payload: { cents: "250" }, id: "price" });
    await written("item/origin", 1);
    const url = `${of("item/origin")}/fork`;
    const forked = { ok: true, entity: "item/branch", seq: 4 };
    expect(await call("POST", url, { entity: "item/branch", seq: 4 })).toEqual({
      status: 200,
      body: { ...forked, events: 4 },
    });
    expect((await call("POST", url, { entity: "item/branch", seq: 4 })).body).toEqual({ ...forked, events: 0 });
    expect(await stock("item/branch")).toMatchObject({ state: { left: 3 }, seq: 4 });
    expect((await get(`${of("item/branch")}?aggregate=Price`)).body).toMatchObject({ state: { cents: 250 } });
    await written("item/branch", 1);
    expect(await stock("item/origin")).toMatchObject({ state: { left: 4 }, seq: 5 });
    const events = async (entity: string) => (await get(`${of(entity)}/history?to=4`)).body["events"] as object[];
    const bare = (all: object[]) => all.map((one) => ({ ...one, id: null, position: 0 }));
    expect(bare(await events("item/branch"))).toEqual(bare(await events("item/origin")));
    expect(await events("item/branch")).toMatchObject([{}, {}, {}, { id: null }]);
  });

  it("P7: never writes over a living entity, and needs a source", async () => {
    await written("item/source", 2);
    await append("item/other", received(7));
    const url = `${of("item/source")}/fork`;
    expect(await call("POST", url, { entity: "item/other" })).toMatchObject(failed(409, "ENTITY_EXISTS"));
    expect(await stock("item/other")).toMatchObject({ state: { left: 7 }, seq: 1 });
    expect(await call("POST", url, { entity: "item/source" })).toMatchObject(failed(400, "INVALID_REQUEST"));
    expect(await call("POST", url, { entity: "item/new", seq: 9 })).toMatchObject(failed(416, "OUT_OF_RANGE"));
    const unknown = await call("POST", `${of("item/never-written")}/fork`, { entity: "item/new" });
    expect(unknown).toMatchObject(failed(416, "OUT_OF_RANGE"));
    expect((await get(`${of("item/new")}/history`)).body).toEqual({ events: [] });
  });
});

describe("export", () => {
  it("gives every event with its version, and an end that says so", async () => {
    await written("item/leaving", 3);
    const items = await exported("item/leaving");
    expect(items).toMatchObject([
      { kind: "header", header: { context: "shop", entity: "item/leaving", seq: 3 } },
      ...[1, 2, 3].map((seq) => ({ kind: "event", event: { seq, type: "Received", schemaVersion: 1 } })),
      { kind: "end", events: 3 },
    ]);
  });
});

describe("erasing", () => {
  it("P6: answers with a receipt, and with the same one again", async () => {
    await written("item/gone", 4);
    const [first, second] = await Promise.all([call("DELETE", of("item/gone")), call("DELETE", of("item/gone"))]);
    expect(first).toMatchObject({
      status: 200,
      body: { entity: "item/gone", seq: 5, from: 1, to: 4, complete: true },
    });
    expect(second.body).toEqual(first.body);
    expect((await call("DELETE", of("item/gone"))).body).toEqual(first.body);
  });

  it("P6: leaves the tombstone and nothing else to be read", async () => {
    await written("item/forgotten", 3);
    await call("DELETE", of("item/forgotten"));
    for (const query of ["", "&seq=2", "&time=1000"]) {
      const answered = await get(`${of("item/forgotten")}?aggregate=Stock${query}`);
      expect(answered, query).toMatchObject(failed(410, "ERASED"));
    }
    const { body } = await get(`${of("item/forgotten")}/history`);
    const tombstone = { seq: 4, aggregate: "$heddle", type: "Erased", payload: { from: 1, to: 3 } };
    expect(body["events"]).toMatchObject([tombstone]);
    const items = await exported("item/forgotten");
    expect(items.map(({ kind }) => kind)).toEqual(["header", "event", "end"]);
  });

  it("refuses what would bring the entity back, but for a new life that is asked for", async () => {
    await written("item/phoenix", 2);
    await call("DELETE", of("item/phoenix"));
    expect(await append("item/phoenix", received(5))).toMatchObject(failed(410, "ERASED"));
    const sell = { aggregate: "Stock", command: "Sell", input: { quantity: 1 } };
    expect(await call("POST", `${of("item/phoenix")}/execute`, sell)).toMatchObject(failed(410, "ERASED"));
    expect(await call("POST", `${of("item/phoenix")}/restore`, { seq: 1 })).toMatchObject(failed(410, "ERASED"));
    const fork = { entity: "item/ashes" };
    expect(await call("POST", `${of("item/phoenix")}/fork`, fork)).toMatchObject(failed(410, "ERASED"));
    await written("item/living", 1);
    const over = await call("POST", `${of("item/living")}/fork`, { entity: "item/phoenix" });
    expect(over).toMatchObject(failed(410, "ERASED"));
    const begun = await append("item/phoenix", { ...received(5), newLife: true });
    expect(begun).toMatchObject({ status: 200, body: { seq: 4 } });
    const sold = await call("POST", `${of("item/phoenix")}/execute`, { ...sell, newLife: true });
    expect(sold).toMatchObject({ status: 200, body: { seq: 5 } });
    expect(await stock("item/phoenix")).toMatchObject({ state: { left: 4 }, seq: 5 });
    expect(await get(`${of("item/phoenix")}?aggregate=Stock&seq=1`)).toMatchObject(failed(410, "ERASED"));
  });

  it("answers sooner when that will do, and completes by itself", async () => {
    await written("item/soon", 2);
    const early = await call("DELETE", `${of("item/soon")}?provisional=true`);
    expect(early).toMatchObject({ status: 200, body: { seq: 3, complete: false } });
    expect((await call("DELETE", of("item/soon"))).body).toEqual({ ...early.body, complete: true });
  });

  it("P7: of what was never written is OUT_OF_RANGE", async () => {
    expect(await call("DELETE", of("item/never-written"))).toMatchObject(failed(416, "OUT_OF_RANGE"));
  });
});

describe("lists", () => {
  const names = ["a", "b/c", "größe", "\u{ffee}", "\u{1f600}", ...Array.from({ length: 20 }, (_, i) => `n${i}`)];
  const ids = names.map((name) => `listed/${name}`);
  const inOrder = ids.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

  async function listed(query: string): Promise<string[]> {
    const found: string[] = [];
    let cursor = "";
    do {
      const { body } = await get(`/v1/entities?${query}${cursor}`);
      for (const { entity } of body["entities"] as { entity: string }[]) found.push(entity);
      cursor = body["cursor"] === undefined ? "" : `&cursor=${encodeURIComponent(String(body["cursor"]))}`;
    } while (cursor !== "");
    return found;
  }

  it("have all shards' entities in the order of their ids' bytes, whatever the size of a page", async () => {
    for (const id of ids) await append(id, received(1));
    for (const limit of [1, 2, 7, 25, 1_000]) {
      expect(await listed(`kind=listed&limit=${limit}`), `limit ${limit}`).toEqual(inOrder);
    }
    expect(await listed("kind=listed&prefix=n1")).toEqual(inOrder.filter((id) => id.startsWith("listed/n1")));
    expect(await listed("prefix=listed%2Fb")).toEqual(["listed/b/c"]);
    expect(await listed("kind=nobody")).toEqual([]);
    const { body } = await get("/v1/entities?kind=listed&prefix=größe");
    expect(body["entities"]).toEqual([{ entity: "listed/größe", seq: 1, time: expect.any(Number), erased: false }]);
  });

  it("leave erased entities out unless they are asked for", async () => {
    await append("bygone/x", received(1));
    await call("DELETE", of("bygone/x"));
    expect(await listed("kind=bygone")).toEqual([]);
    const { body } = await get("/v1/entities?kind=bygone&erased=true");
    expect(body["entities"]).toMatchObject([{ entity: "bygone/x", seq: 2, erased: true }]);
  });

  it("have sleeping entities too, and wake none of them", async () => {
    await node.close();
    await start();
    const activations = async () => (await node.stats()).reduce((sum, shard) => sum + shard.activations, 0);
    const before = await activations();
    expect(await listed("kind=listed&limit=10")).toEqual(inOrder);
    expect(await activations()).toBe(before);
    await stock("listed/a");
    expect(await activations()).toBe(before + 1);
    const text = await (await fetch(`http://127.0.0.1:${node.port}/metrics`)).text();
    const counts = [...text.matchAll(/^heddle_activations_total\{shard="\d"\} (\d+)$/gm)].map((found) =>
      Number(found[1]),
    );
    expect(counts.reduce((sum, count) => sum + count)).toBe(before + 1);
    expect(text).toMatch(/^heddle_state_bytes\{shard="\d"\} [1-9]\d*$/m);
    expect(text).toMatch(/^heddle_erasures_running\{shard="0"\} 0$/m);
  });
});

describe("types", () => {
  it("are summed over all shards, without what was erased", async () => {
    const receivedCount = async () => {
      const { body } = await get("/v1/types");
      const types = body["types"] as { aggregate: string; type: string; schemaVersion: number; count: number }[];
      expect(types.some(({ aggregate }) => aggregate.startsWith("$"))).toBe(false);
      return types.find(({ aggregate, type }) => aggregate === "Stock" && type === "Received")!;
    };
    await append("counted/before", received(1));
    const before = await receivedCount();
    expect(before.schemaVersion).toBe(1);
    for (let i = 0; i < 9; i++) await append(`counted/${i}`, received(1));
    expect((await receivedCount()).count).toBe(before.count + 9);
    await call("DELETE", of("counted/0"));
    expect((await receivedCount()).count).toBe(before.count + 8);
  });
});
