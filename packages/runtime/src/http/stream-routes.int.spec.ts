// Server-sent events over real sockets, with a fake gateway in place of the shards. With a node that dies meanwhile:
// test/crash/subscribe.e2e.spec.ts.
import { request as httpRequest, type IncomingMessage } from "node:http";
import { HeddleError } from "@heddle/kernel";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { httpBounds } from "./bounds.ts";
import { deferred, FakeGateway, Rig } from "./door-rig.spec-support.ts";

let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => {
  rig.gateway = new FakeGateway();
});

const alice = "/v1/entities/account/alice/stream";

/** A stream as a reader has it: messages, one behind the other. */
class Stream implements AsyncDisposable {
  readonly #response: IncomingMessage;
  text = "";
  isOver = false;
  #onText: () => void = () => {};

  constructor(response: IncomingMessage) {
    this.#response = response;
    response.on("error", () => {});
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      this.text += chunk;
      this.#onText();
    });
    response.on("close", () => {
      this.isOver = true;
      this.#onText();
    });
  }

  get headers() {
    return this.#response.headers;
  }

  pause(): void {
    this.#response.pause();
  }

  resume(): void {
    this.#response.resume();
  }

  /** The messages so far, without those that are not whole. */
  get messages(): string[] {
    return this.text.split("\n\n").slice(0, -1);
  }

  /** What of them is an event for a listener. */
  get events(): { id: string; data: Record<string, unknown> }[] {
    return this.messages.flatMap((message) => {
      const fieldOf = (name: string) => {
        const line = message.split("\n").find((one) => one.startsWith(`${name}: `));
        return line?.slice(name.length + 2);
      };
      const data = fieldOf("data");
      return data === undefined ? [] : [{ id: fieldOf("id") ?? "", data: JSON.parse(data) }];
    });
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.#onText = resolve;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#response.destroy();
  }
}

function open(path: string, headers: Record<string, string> = {}, at = rig): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port: at.port, path, headers, agent: false });
    request.on("error", reject);
    request.on("response", (response) => {
      expect(response.statusCode).toBe(200);
      resolve(new Stream(response));
    });
    request.end();
  });
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

const watches = () => rig.gateway.calls.filter(({ name }) => name === "watch").map(({ fields }) => fields);

describe("the stream of an entity", () => {
  it("gives what there is and then what comes, as the history does, each with its sequence as its id", async () => {
    await using stream = await open(`${alice}?aggregate=Account&from=2`);
    expect(stream.headers).toMatchObject({ "content-type": "text/event-stream", "cache-control": "no-store" });
    await stream.until(() => stream.events.length === 2);
    const { body } = await rig.get("/v1/entities/account/alice/history?from=2");
    const history = body["events"] as Record<string, unknown>[];
    expect(stream.events).toEqual(
      history.map((data) => ({ id: String(data["seq"]), data: { entity: "account/alice", ...data } })),
    );
    expect(stream.text.startsWith("retry: ")).toBe(true);
    await until(() => watches().length === 2);
    rig.gateway.historyLength = 5;
    rig.gateway.wake();
    await stream.until(() => stream.events.length === 4);
    expect(stream.events.map(({ id }) => id)).toEqual(["2", "3", "4", "5"]);
    const own = { entity: "account/alice", aggregate: "Account", limit: 1_000 };
    expect(watches().slice(0, 2)).toEqual([
      { ...own, from: 2, waitMs: 0 },
      { ...own, from: 4, waitMs: httpBounds.eventStreamPauseMs },
    ]);
  });

  it("goes on behind the id that a browser brings back, whatever the address says", async () => {
    await using stream = await open(`${alice}?from=1`, { "last-event-id": "2" });
    await stream.until(() => stream.events.length === 1);
    expect(stream.events[0]!.id).toBe("3");
    await using fromZero = await open(`${alice}?from=now`, { "last-event-id": "0" });
    await fromZero.until(() => fromZero.events.length === 3);
  });

  it("from now says where that is before the first event, so that one who comes again misses nothing", async () => {
    await using stream = await open(`${alice}?from=now`);
    await stream.until(() => stream.messages.length > 0);
    expect(stream.messages[0]).toMatch(/^retry: \d+\nid: 3$/);
    expect(stream.events).toEqual([]);
    await until(() => watches().length === 2);
    rig.gateway.historyLength = 4;
    rig.gateway.wake();
    await stream.until(() => stream.events.length === 1);
    expect(stream.events[0]!.id).toBe("4");
  });

  it("E3: says that it is there, and where it got to, while nothing comes", async () => {
    let next = 10;
    rig.gateway.onWatch = async ({ waitMs }, signal) => {
      if (waitMs > 0) next = Math.min(next + 1, 13);
      if (next === 13 && waitMs > 0) {
        const { promise, resolve } = deferred<void>();
        signal.addEventListener("abort", () => resolve());
        if (watches().length > 6) await promise;
      }
      return { events: [], next };
    };
    await using stream = await open(alice);
    await stream.until(() => stream.messages.length >= 6);
    expect(stream.messages.slice(0, 6)).toEqual(["retry: 1000\nid: 9", "id: 10", "id: 11", "id: 12", ":", ":"]);
  });

  it("takes ids with slashes, encoded and not", async () => {
    for (const name of ["a%2Fb", "a/b"]) {
      await using stream = await open(`/v1/entities/account/${name}/stream`);
      await stream.until(() => stream.events.length === 3);
      expect(stream.events[0]!.data).toMatchObject({ entity: "account/a/b" });
    }
  });

  it("keeps payloads with line breaks in one message", async () => {
    rig.gateway.payloadOf = () => ({ text: "one\ntwo\r\n\nid: 99\n\nthree\u2028" });
    await using stream = await open(alice);
    await stream.until(() => stream.events.length === 3);
    expect(stream.events[0]).toMatchObject({
      id: "1",
      data: { payload: { text: "one\ntwo\r\n\nid: 99\n\nthree\u2028" } },
    });
  });
});

describe("E1: what goes wrong", () => {
  it("before the first byte has its status and a typed body", async () => {
    rig.gateway.onWatch = async () => {
      throw new HeddleError("UNKNOWN_AGGREGATE", { aggregate: "Nobody", known: ["Account"] });
    };
    expect(await rig.get(`${alice}?aggregate=Nobody`)).toMatchObject({
      body: { ok: false, code: "UNKNOWN_AGGREGATE" },
    });
    rig.gateway.onWatch = async () => {
      throw new HeddleError("SHARD_STOPPED", { shard: 1, reason: "it is recovering" });
    };
    expect(await rig.get(alice)).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
  });

  it("later is a message of its own, after which the stream ends", async () => {
    const { onWatch } = rig.gateway;
    rig.gateway.onWatch = async (fields, signal) => {
      if (fields.waitMs === 0) return onWatch(fields, signal);
      throw new HeddleError("OUTCOME_UNKNOWN", { problem: "its thread was lost before it answered" });
    };
    await using stream = await open(alice);
    await stream.until(() => stream.isOver);
    expect(stream.messages.at(-1)).toMatch(/^event: error\ndata: \{"ok":false,"code":"OUTCOME_UNKNOWN"/);
    expect(stream.events.slice(0, 3).map(({ id }) => id)).toEqual(["1", "2", "3"]);
  });

  it("P7: parameters that make no sense are refused by name", async () => {
    const invalid = (path: string) => ({ status: 400, body: { code: "INVALID_REQUEST", facts: { path } } });
    for (const from of ["0", "-1", "1.5", "then", ""])
      expect(await rig.get(`${alice}?from=${from}`)).toMatchObject(invalid("from"));
    expect(await rig.get(`${alice}?limit=5`)).toMatchObject(invalid("limit"));
    expect(await rig.get(alice, { headers: { "last-event-id": "cursor" } })).toMatchObject(invalid("Last-Event-ID"));
    expect(await rig.get("/v1/entities/account/x%00y/stream")).toMatchObject({ body: { code: "INVALID_ENTITY_ID" } });
    expect(rig.gateway.calls).toEqual([]);
  });
});

describe("E2, E4: bounds and ends", () => {
  it("E2: no page is asked for while the reader does not take what there is", async () => {
    const filler = "x".repeat(64 << 10);
    rig.gateway.onWatch = async ({ from }) => {
      const payload = { filler };
      return { events: [[from, 1, "Account", "Credited", payload, null, null, 1, from]], next: from + 1 };
    };
    await using stream = await open(alice);
    stream.pause();
    let before = -1;
    // Until the buffers between the two are full.
    for (let still = 0; still < 200; still++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (watches().length !== before) still = 0;
      before = watches().length;
      expect(before).toBeLessThan(2_000);
    }
    stream.resume();
    await stream.until(() => stream.events.length > before);
  });

  it("E4: a reader that goes ends what waits for it", async () => {
    const aborted = deferred<void>();
    const { onWatch } = rig.gateway;
    rig.gateway.onWatch = (fields, signal) => {
      signal.addEventListener("abort", () => aborted.resolve());
      return onWatch(fields, signal);
    };
    const stream = await open(alice);
    await until(() => watches().length === 2);
    await stream[Symbol.asyncDispose]();
    await aborted.promise;
    await until(() => rig.heldSockets === 0);
    expect(watches()).toHaveLength(2);
  });

  it("P8: holds so many streams and answers OVERLOADED for more, until one ends", async () => {
    await using small = await Rig.start({ bounds: { eventStreamsMax: 2 } });
    const streams = [await open(alice, {}, small), await open(alice, {}, small)];
    expect(await small.get(alice)).toMatchObject({ status: 503, body: { code: "OVERLOADED", facts: { depthMax: 2 } } });
    await streams[0]![Symbol.asyncDispose]();
    await until(() => small.heldSockets === 1);
    await using third = await open(alice, {}, small);
    await third.until(() => third.events.length === 3);
    await streams[1]![Symbol.asyncDispose]();
  });

  it("E4: all end with CLOSED when the node closes, and hold it up for nothing", async () => {
    const closing = await Rig.start({ bounds: { closeMsMax: 600_000 } });
    const streams = [await open(alice, {}, closing), await open(`${alice}?from=now`, {}, closing)];
    await until(() => closing.gateway.calls.length === 4);
    await closing[Symbol.asyncDispose]();
    for (const stream of streams) {
      await stream.until(() => stream.isOver);
      expect(stream.messages.at(-1)).toMatch(/^event: error\ndata: \{"ok":false,"code":"CLOSED"/);
    }
  });
});

describe("the stream of all entities", () => {
  /** Pages of two shards, then nothing for as long as anybody wants. */
  function feed(pages: readonly (readonly [shard: number, from: number, seqs: readonly number[]])[]): void {
    rig.gateway.onFeedPage = async (shard, { from, waitMs }, signal) => {
      const record = from === "now" ? 0 : from.record;
      const page = pages.find(([of, at]) => of === shard && at === record);
      if (page === undefined) {
        const end = deferred<void>();
        signal.addEventListener("abort", () => end.resolve());
        if (waitMs > 0 && !signal.aborted) await end.promise;
        return { events: [], next: { record, skip: 0 } };
      }
      const events = page[2].map((seq, i) => ({
        event: {
          ...{ shard, position: record + 64, index: i, entity: `account/${shard}`, seq, time: 1, aggregate: "Account" },
          ...{ type: "Credited", payload: { amount: seq }, metadata: undefined, id: undefined, schemaVersion: 1 },
        },
        behind: { record, skip: i + 1 },
      }));
      return { events, next: { record: record + 1_000, skip: 0 } };
    };
  }

  it("gives the events of all shards, each with the id that goes on behind it", async () => {
    feed([
      [0, 0, [1, 2]],
      [1, 0, [1]],
      [0, 1_000, [3]],
    ]);
    await using stream = await open("/v1/stream?kind=account&aggregate=Account&types=Credited,Debited");
    await stream.until(() => stream.events.length === 4);
    const of = (shard: number) => stream.events.filter(({ data }) => data["shard"] === shard);
    expect(of(0).map(({ data }) => data["seq"])).toEqual([1, 2, 3]);
    expect(of(1)[0]!.data).toEqual({
      ...{ entity: "account/1", shard: 1, index: 0, seq: 1, time: 1, aggregate: "Account", type: "Credited" },
      ...{ payload: { amount: 1 }, metadata: null, id: null, schemaVersion: 1, position: 64 },
    });
    expect(of(0)[0]!.id).toBe("0:0.1,1:0");
    expect(rig.gateway.calls[0]).toMatchObject({
      name: "feed",
      fields: { kind: "account", aggregate: "Account", types: ["Credited", "Debited"], from: undefined },
    });
  });

  it("goes on where a browser says that it was, or where the address says", async () => {
    feed([[1, 7, [5]]]);
    await using again = await open("/v1/stream?from=now", { "last-event-id": "0:3,1:7" });
    await again.until(() => again.events.length === 1);
    await using given = await open(`/v1/stream?from=${encodeURIComponent("0:3,1:7")}`);
    await given.until(() => given.events.length === 1);
    await using now = await open("/v1/stream?from=now");
    await now.until(() => now.messages.length > 0);
    expect(now.messages[0]).toBe("retry: 1000\nid: 0:4096,1:8192");
  });

  it("P7: refuses what makes no sense by name", async () => {
    const invalid = (path: string) => ({ status: 400, body: { code: "INVALID_REQUEST", facts: { path } } });
    expect(await rig.get("/v1/stream?kind=Account%2F")).toMatchObject(invalid("kind"));
    expect(await rig.get("/v1/stream?types=")).toMatchObject(invalid("types"));
    expect(await rig.get("/v1/stream?types=Credited,,Debited")).toMatchObject(invalid("types"));
    expect(await rig.get("/v1/stream?from=yesterday")).toMatchObject(invalid("from"));
    expect(await rig.get("/v1/stream?shard=1")).toMatchObject(invalid("shard"));
    expect(await rig.get("/v1/stream", { headers: { "last-event-id": "1:7" } })).toMatchObject(invalid("from"));
  });
});
