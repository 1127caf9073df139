// The routes of life-routes.ts over real sockets, with a fake gateway in place of the shards. `rig.call` holds each answer
// against the OpenAPI document. What the shards make of such calls: life-node.int.spec.ts.
import { HeddleError } from "@heddle/kernel";
import { type ExportItem, ExportReader, rejection, type WireEvent } from "@heddle/protocol/internal";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { errorSamples } from "../../../../test/contract/error-samples.ts";
import { deferred, erasure, event, FakeGateway, Rig, receipt } from "./door-rig.spec-support.ts";

let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => {
  rig.gateway = new FakeGateway();
  rig.logLines.length = 0;
});

const alice = "/v1/entities/account/alice";
const lastCall = (): unknown => rig.gateway.calls.at(-1);
const invalid = (path: string) => ({ status: 400, body: { code: "INVALID_REQUEST", facts: { path } } });

describe("entities", () => {
  const ids = Array.from({ length: 25 }, (_, i) => `account/${String(i).padStart(2, "0")}`);

  it("come in pages, each with the cursor of the next, until there is none", async () => {
    rig.gateway.entities = ids;
    const found: string[] = [];
    let cursor = "";
    do {
      const { status, body } = await rig.get(`/v1/entities?limit=10${cursor}`);
      expect(status).toBe(200);
      for (const listed of body["entities"] as { entity: string }[]) found.push(listed.entity);
      cursor = body["cursor"] === undefined ? "" : `&cursor=${encodeURIComponent(body["cursor"] as string)}`;
    } while (cursor !== "");
    expect(found).toEqual(ids);
    expect(rig.gateway.calls).toHaveLength(3);
  });

  it("are given with last sequence and time, and no cursor where all are in the page", async () => {
    rig.gateway.entities = ids.slice(0, 1);
    expect((await rig.get("/v1/entities?limit=1")).body).toEqual({
      entities: [{ entity: "account/00", seq: 7, time: 1_764_000_000_000, erased: false }],
    });
    rig.gateway.entities = [];
    expect((await rig.get("/v1/entities")).body).toEqual({ entities: [] });
  });

  it("can be asked for by kind, prefix, and with the erased ones", async () => {
    await rig.get("/v1/entities");
    expect(lastCall()).toEqual({ name: "list", fields: { limit: 1_000, erased: false } });
    await rig.get("/v1/entities?kind=account&prefix=a%2Fb&limit=10000&erased=true");
    expect(lastCall()).toEqual({
      name: "list",
      fields: { kind: "account", prefix: "a/b", limit: 10_000, erased: true },
    });
  });

  it("P7: are refused for parameters that are wrong, unknown, or given twice", async () => {
    for (const [query, path] of [
      ["limit=0", "limit"],
      ["limit=10001", "limit"],
      ["limit=ten", "limit"],
      ["kind=Account", "kind"],
      ["kind=a%2Fb", "kind"],
      ["erased=1", "erased"],
      ["page=2", "page"],
      ["kind=a&kind=b", "kind"],
      [`prefix=${"x".repeat(513)}`, "prefix"],
    ] as const) {
      expect(await rig.get(`/v1/entities?${query}`), query).toMatchObject(invalid(path));
    }
    expect(rig.gateway.calls).toEqual([]);
    for (const cursor of ["account%2Falice", "", "1ff"]) {
      expect(await rig.get(`/v1/entities?cursor=${cursor}`), cursor).toMatchObject(invalid("cursor"));
    }
  });
});

describe("types", () => {
  it("are given with version and count", async () => {
    const types = [{ aggregate: "Account", type: "Credited", schemaVersion: 2, count: 600 }];
    expect(await rig.get("/v1/types")).toMatchObject({ status: 200, body: { types } });
    expect(await rig.get("/v1/types?aggregate=Account")).toMatchObject(invalid("aggregate"));
  });
});

describe("export", () => {
  const path = `${alice}/export`;

  function read(text: string): ExportItem[] {
    const reader = new ExportReader();
    expect(text.endsWith("\n")).toBe(true);
    const items = text
      .slice(0, -1)
      .split("\n")
      .map((line) => reader.read(line)!);
    reader.finish();
    return items;
  }

  const eventsOf = (items: ExportItem[]) => items.flatMap((item) => (item.kind === "event" ? [item.event] : []));

  it("gives all events as lines that a reader of exports takes, paged underneath", async () => {
    rig.gateway.historyLength = 2_500;
    const { status, headers, text } = await rig.get(path);
    expect([status, headers["content-type"]]).toEqual([200, "application/x-ndjson"]);
    const items = read(text);
    expect(items[0]).toMatchObject({
      kind: "header",
      header: { context: "bank", entity: "account/alice", seq: 2_500 },
    });
    expect(items.at(-1)).toEqual({ kind: "end", events: 2_500 });
    expect(eventsOf(items).map(({ seq }) => seq)).toEqual(Array.from({ length: 2_500 }, (_, i) => i + 1));
    expect(rig.gateway.calls.map(({ fields }) => (fields as { limit: number }).limit)).toEqual([1, 1000, 1000, 1000]);
  });

  it("keeps values that JSON has no word for", async () => {
    rig.gateway.historyLength = 1;
    const payload = { big: 2n ** 60n, bytes: new Uint8Array([1, 2]), at: new Date(5), nan: Number.NaN, $x: 1 };
    rig.gateway.payloadOf = () => payload;
    expect(eventsOf(read((await rig.get(path)).text))[0]).toMatchObject({ payload, schemaVersion: 2 });
  });

  it("of an entity without events has a first line and an end", async () => {
    rig.gateway.historyLength = 0;
    const { status, text } = await rig.get(path);
    expect(status).toBe(200);
    expect(read(text)).toMatchObject([
      { kind: "header", header: { seq: 0 } },
      { kind: "end", events: 0 },
    ]);
  });

  it("of a second life begins with the tombstone", async () => {
    const tombstone = [4, 5, "$heddle", "Erased", { from: 1, to: 3 }, null, null, 1, 6] as const;
    const life = [tombstone, event(5), event(6)];
    rig.gateway.onHistory = async ({ direction }) => (direction === "backward" ? [life.at(-1)!] : life);
    expect(eventsOf(read((await rig.get(path)).text)).map(({ seq }) => seq)).toEqual([4, 5, 6]);
  });

  it("ends at what was the newest event when it began", async () => {
    rig.gateway.historyLength = 3;
    const whole = rig.gateway.onHistory;
    rig.gateway.onHistory = async (fields) => {
      const page = await whole(fields);
      rig.gateway.historyLength = 100;
      return page;
    };
    expect(eventsOf(read((await rig.get(path)).text))).toHaveLength(3);
  });

  it("still has a status when the first page fails", async () => {
    rig.gateway.onHistory = async () =>
      Promise.reject(new HeddleError("SHARD_STOPPED", { shard: 1, reason: "damage" }));
    expect(await rig.get(path)).toMatchObject({ status: 503, body: { code: "SHARD_STOPPED" } });
    expect(await rig.get(`${path}?limit=5`)).toMatchObject(invalid("limit"));
  });

  it("breaks the connection off when a later page fails, so that no client takes it for complete", async () => {
    rig.gateway.historyLength = 5_000;
    const whole = rig.gateway.onHistory;
    rig.gateway.onHistory = (fields) => (fields.from > 2_000 ? Promise.reject(new Error("disk")) : whole(fields));
    await expect(rig.get(path)).rejects.toThrow(/aborted|socket|terminated/);
    expect(rig.logLines.join()).toContain("an export broke off");
  });

  it("P6: breaks off, and gives nothing more, when the entity is erased meanwhile", async () => {
    rig.gateway.historyLength = 5_000;
    const whole = rig.gateway.onHistory;
    rig.gateway.onHistory = async (fields) => (fields.from > 2_000 ? [] : whole(fields));
    await expect(rig.get(path)).rejects.toThrow(/aborted|socket|terminated/);
  });

  it("P5: takes a gap in the sequence for a fault and not for the end", async () => {
    rig.gateway.historyLength = 3;
    const whole = rig.gateway.onHistory;
    rig.gateway.onHistory = async (fields) => (await whole(fields)).filter((one) => one[0] !== 1);
    expect(await rig.get(path)).toMatchObject({ status: 503, body: { code: "OUTCOME_UNKNOWN" } });
  });
});

describe("restore", () => {
  const path = `${alice}/restore`;

  it("answers with the receipt of what it wrote", async () => {
    const { status, body } = await rig.post(path, { seq: 5, expectedSeq: 7, id: "r-1" });
    expect(status).toBe(200);
    expect(body).toEqual({ ...receipt({ firstSeq: 8, seq: 10, count: 3 }), entity: "account/alice" });
    const fields = { entity: "account/alice", at: { seq: 5 }, expectedSeq: 7, id: "r-1" };
    expect(lastCall()).toEqual({ name: "restore", fields });
  });

  it("takes a time, and the id as a header", async () => {
    await rig.post(path, { time: "2026-01-31" }, { headers: { "idempotency-key": "r-2" } });
    expect(lastCall()).toMatchObject({ fields: { at: { time: Date.UTC(2026, 0, 31) }, id: "r-2" } });
    const both = await rig.post(path, { seq: 1, id: "r-1" }, { headers: { "idempotency-key": "r-2" } });
    expect(both).toMatchObject(invalid("id"));
  });

  it("P3: answers 409 when a rule of today, or the expected sequence, says no", async () => {
    const conflict = rejection("SEQUENCE_CONFLICT", { expectedSeq: 7, actualSeq: 9 });
    rig.gateway.onRestore = async () => conflict;
    expect(await rig.post(path, { seq: 5, expectedSeq: 7 })).toMatchObject({ status: 409, body: conflict });
  });

  it.each(["OUT_OF_RANGE", "ERASED", "ID_REUSED", "DISK_FULL"] as const)(
    "P7: answers %s with its status",
    async (code) => {
      rig.gateway.onRestore = async () => Promise.reject(new HeddleError(code, errorSamples[code]));
      expect(await rig.post(path, { seq: 5 })).toMatchObject({ body: { code } });
    },
  );

  it("P7: refuses what says no moment, two of them, or more than is known", async () => {
    for (const [body, place] of [
      [{}, "seq"],
      [{ seq: 1, time: 1 }, "time"],
      [{ seq: "1" }, "seq"],
      [{ time: "31.1.2026" }, "time"],
      [{ seq: 1, provisional: true }, "provisional"],
    ] as const) {
      expect(await rig.post(path, body)).toMatchObject(invalid(place));
    }
    expect(rig.gateway.calls).toEqual([]);
  });
});

describe("fork", () => {
  const path = `${alice}/fork`;

  it("copies the events into the new entity, with their times and without their ids", async () => {
    const all = [1, 2, 3].map((seq): WireEvent => {
      const [, time, aggregate, type, payload, metadata, , version, position] = event(seq);
      return [seq, time, aggregate, type, payload, metadata, `id-${seq}`, version, position];
    });
    rig.gateway.onHistory = async ({ entity, direction, from, to = 0 }) => {
      const found = entity === "account/alice" ? all.filter(([seq]) => seq >= from && seq <= (to || 3)) : [];
      return direction === "backward" ? found.toReversed().slice(0, 1) : found;
    };
    const { status, body } = await rig.post(path, { entity: "account/bob", seq: 2 });
    expect([status, body]).toEqual([200, { ok: true, entity: "account/bob", seq: 2, events: 2 }]);
    const imports = rig.gateway.calls.filter(({ name }) => name === "import").map(({ fields }) => fields);
    expect(imports).toMatchObject([
      { entity: "account/bob", expectedSeq: 0, time: 1_764_000_000_001, events: [{ payload: { amount: 1 } }] },
      { entity: "account/bob", expectedSeq: 1, time: 1_764_000_000_002, events: [{ payload: { amount: 2 } }] },
    ]);
    for (const fields of imports) expect((fields as { id?: string }).id).toBeUndefined();
  });

  it("answers 409 when a rule of today says no, and when the new entity has a history of its own", async () => {
    const no = rejection("INVARIANT_VIOLATED", { aggregate: "Account", rule: "balance is never negative", index: 0 });
    rig.gateway.onHistory = async ({ entity }) => (entity === "account/alice" ? [event(1)] : []);
    rig.gateway.onImport = async () => no;
    expect(await rig.post(path, { entity: "account/bob" })).toMatchObject({ status: 409, body: no });
    rig.gateway.onImport = async () => rejection("SEQUENCE_CONFLICT", { expectedSeq: 0, actualSeq: 9 });
    rig.gateway.onHistory = async ({ entity }) => [event(1, { amount: entity.length })];
    const exists = await rig.post(path, { entity: "account/bob" });
    expect(exists).toMatchObject({ status: 409, body: { ok: false, code: "ENTITY_EXISTS" } });
  });

  it("P8: refuses more at once than the bound, and takes others when one is done", async () => {
    await using small = await Rig.start({ bounds: { forksMax: 1 } });
    const held = deferred<readonly WireEvent[]>();
    const begun = deferred<void>();
    small.gateway.onHistory = () => {
      begun.resolve();
      return held.promise;
    };
    const first = small.post(path, { entity: "account/bob" });
    await begun.promise;
    const second = await small.post(path, { entity: "account/carol" });
    expect(second).toMatchObject({ status: 503, body: { code: "OVERLOADED", facts: { depthMax: 1 } } });
    held.resolve([]);
    expect((await first).status).toBe(416);
    expect((await small.post(path, { entity: "account/carol" })).status).toBe(416);
  });

  it("P7: refuses bodies that are wrong, itself as the new entity, a time to come, and what is not there", async () => {
    for (const [body, place] of [
      [{}, "entity"],
      [{ entity: "account/bob", seq: 1, time: 1 }, "time"],
      [{ entity: "account/bob", seq: -1 }, "seq"],
      [{ entity: "account/bob", to: 5 }, "to"],
    ] as const) {
      expect(await rig.post(path, body)).toMatchObject(invalid(place));
    }
    expect(await rig.post(path, { entity: "bob" })).toMatchObject({ status: 400, body: { code: "INVALID_ENTITY_ID" } });
    const keyed = await rig.post(path, { entity: "account/bob" }, { headers: { "idempotency-key": "k" } });
    expect(keyed).toMatchObject(invalid("Idempotency-Key"));
    expect(rig.gateway.calls).toEqual([]);
    const itself = await rig.post(path, { entity: "account/alice" });
    expect(itself).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST" } });
    for (const at of [{ seq: 9 }, { time: Date.now() + 3_600_000 }]) {
      const answered = await rig.post(path, { entity: "account/bob", ...at });
      expect(answered).toMatchObject({ status: 416, body: { code: "OUT_OF_RANGE" } });
    }
    rig.gateway.historyLength = 0;
    expect(await rig.post(path, { entity: "account/bob" })).toMatchObject({ status: 416 });
  });
});

describe("erasing", () => {
  it("answers with the receipt", async () => {
    const { status, body } = await rig.call("DELETE", alice);
    expect([status, body]).toEqual([200, erasure()]);
    expect(lastCall()).toEqual({ name: "delete", fields: { entity: "account/alice", provisional: false } });
  });

  it("answers sooner when that will do, and the receipt says so", async () => {
    rig.gateway.onDelete = async () => erasure({ complete: false });
    const { body } = await rig.call("DELETE", `${alice}?provisional=true`);
    expect(body).toMatchObject({ complete: false });
    expect(lastCall()).toMatchObject({ fields: { provisional: true } });
  });

  it("P7: refuses parameters and bodies that it would pass over", async () => {
    expect(await rig.call("DELETE", `${alice}?provisional=yes`)).toMatchObject(invalid("provisional"));
    expect(await rig.call("DELETE", `${alice}?force=true`)).toMatchObject(invalid("force"));
    const keyed = await rig.call("DELETE", alice, { headers: { "idempotency-key": "k" } });
    expect(keyed).toMatchObject(invalid("Idempotency-Key"));
    const withBody = await rig.call("DELETE", alice, { body: { provisional: true } });
    expect(withBody).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST" } });
    const text = { body: "provisional", headers: { "content-type": "text/plain" } };
    expect(await rig.call("DELETE", alice, text)).toMatchObject({ status: 415 });
    expect(await rig.call("DELETE", "/v1/entities/Account/alice")).toMatchObject({
      status: 400,
      body: { code: "INVALID_ENTITY_ID" },
    });
    expect(rig.gateway.calls).toEqual([]);
  });

  it("of what is not there is OUT_OF_RANGE", async () => {
    rig.gateway.onDelete = async () => Promise.reject(new HeddleError("OUT_OF_RANGE", errorSamples.OUT_OF_RANGE));
    expect(await rig.call("DELETE", alice)).toMatchObject({ status: 416, body: { code: "OUT_OF_RANGE" } });
  });
});

describe("bodies of restore and fork", () => {
  it.each(["restore", "fork"])(
    "P7: of %s are answered 415 in another media type, and 413 when too large",
    async (action) => {
      const path = `${alice}/${action}`;
      const form = await rig.post(path, "seq=1", { headers: { "content-type": "application/x-www-form-urlencoded" } });
      expect(form).toMatchObject({ status: 415, body: { code: "UNSUPPORTED_MEDIA_TYPE" } });
      const large = await rig.post(path, Buffer.alloc(16 * 1024 * 1024 + 1, 0x20));
      expect(large).toMatchObject({ status: 413, body: { code: "FRAME_TOO_LARGE" } });
      expect(await rig.call("POST", path)).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST" } });
      expect(await rig.post(path, "{")).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST" } });
      expect(rig.gateway.calls).toEqual([]);
    },
  );
});
