// Goal: every question for events is answered once, with exactly what lies behind its place, and none holds another up.
// Method: logs on a simulated disk; turns and time are moved by hand.
// Tested elsewhere: what entries become (feed-decoder.unit.spec.ts), the way over threads and the wire (test/e2e).
import {
  type FeedFields,
  type FeedPage,
  feedBeginning,
  frameOffset,
  type Reply,
  readFeedPage,
  readReply,
  requestKind,
  writeFeedBody,
  writeRequestHeader,
  writeU32,
  writeUnwatchBody,
} from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { FeedServer } from "./feed-server.ts";
import { credit, domain, WrittenLogs } from "./written-logs.spec-support.ts";

const everything: FeedFields = { from: feedBeginning, waitMs: 1_000, limit: 1_000, kind: "", aggregate: "", types: [] };

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

function frameOf(kind: number, call: number, write: (reserve: Reserve) => number): Uint8Array {
  let bytes = new Uint8Array();
  const bodyBytes = write((wanted) => {
    bytes = new Uint8Array(frameOffset.requestBody + wanted);
    return { bytes, at: frameOffset.requestBody };
  });
  const length = frameOffset.requestBody + bodyBytes;
  writeU32(bytes, 0, length - 4);
  writeRequestHeader(bytes, 0, { kind, flags: 0, hash: 0, call });
  return bytes.subarray(0, length);
}

class Rig {
  readonly logs: WrittenLogs;
  readonly server: FeedServer;
  readonly replies: { readonly connection: number; readonly requestBytes: number; readonly reply: Reply }[] = [];
  reads = 0;
  /** Called when somebody has just looked at an end. */
  afterEnd: () => void = () => {};
  now = 0;
  #turns: (() => void)[] = [];
  #calls = 0;

  constructor(logs = new WrittenLogs(2)) {
    this.logs = logs;
    const { feed } = logs;
    this.server = new FeedServer({
      source: {
        shardCount: feed.shardCount,
        end: (shard) => {
          const end = feed.end(shard);
          this.afterEnd();
          return end;
        },
        read: (...args) => {
          this.reads++;
          return feed.read(...args);
        },
        beginsAt: (...args) => feed.beginsAt(...args),
        get mark() {
          return feed.mark;
        },
        changedSince: (mark, timeoutMs) => feed.changedSince(mark, timeoutMs),
      },
      domain,
      clock: { now: () => 0, monotonic: () => this.now },
      reply: (connection, requestBytes, frame) => {
        this.replies.push({ connection, requestBytes, reply: readReply(frame, 0, frame.length) });
      },
      schedule: (task) => void this.#turns.push(task),
    });
  }

  ask(fields: Partial<FeedFields> = {}, shard = 0, connection = 1): number {
    const call = ++this.#calls;
    const frame = frameOf(requestKind.feed, call, (reserve) => writeFeedBody({ ...everything, ...fields }, reserve));
    this.server.receive(connection, shard, frame, 0, frame.length);
    return call;
  }

  /** One turn of the server's work. */
  turn(): void {
    for (const task of this.#turns.splice(0)) task();
  }

  /** Turns until nothing is left to do without something happening. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 3; idle++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#turns.length > 0) idle = 0;
      this.turn();
    }
  }

  replyTo(call: number): Reply | undefined {
    const found = this.replies.filter(({ reply }) => reply.call === call);
    expect(found.length).toBeLessThanOrEqual(1);
    return found[0]?.reply;
  }

  page(call: number, shard = 0): FeedPage {
    const reply = this.replyTo(call);
    if (reply?.kind !== "value") throw new Error(`no page for call ${call}: ${JSON.stringify(reply)}`);
    return readFeedPage(reply.value, shard);
  }

  amounts(call: number, shard = 0): unknown[] {
    return this.page(call, shard).events.map(({ event }) => (event.payload as { amount: number }).amount);
  }
}

describe("feed server: answers", () => {
  it("S1 S2: gives what there is, and waits for what comes where there is nothing", async () => {
    const rig = new Rig();
    await rig.logs.write(0, credit("account/alice", 1), credit("account/bob", 2, 3));
    const first = rig.ask();
    await rig.settle();
    expect(rig.amounts(first)).toEqual([1, 2, 3]);
    const second = rig.ask({ from: rig.page(first).next });
    const elsewhere = rig.ask({}, 1);
    await rig.settle();
    expect(rig.replyTo(second)).toBeUndefined();
    await rig.logs.write(0, credit("account/alice", 4));
    await rig.settle();
    expect(rig.amounts(second)).toEqual([4]);
    expect(rig.replyTo(elsewhere)).toBeUndefined();
    expect(rig.server.stats()).toEqual({ waiting: 1, events: 4, pages: 2 });
    rig.server.close();
    rig.logs.ends.wake();
    await rig.settle();
  });

  it("S1: what becomes durable at the very moment in which it begins to wait is not waited for", async () => {
    const rig = new Rig();
    rig.logs.add(0, credit("account/alice", 1));
    const tell = await rig.logs.commitUntold();
    const call = rig.ask();
    rig.afterEnd = tell;
    await rig.settle();
    expect(rig.amounts(call)).toEqual([1]);
  });

  it("S2: goes on behind any event of any page, whatever the limit", async () => {
    const rig = new Rig();
    for (let n = 0; n < 6; n++)
      await rig.logs.write(0, credit("account/a", n * 10, n * 10 + 1), credit("order/b", n * 10 + 2));
    const all = Array.from({ length: 6 }, (_, n) => [n * 10, n * 10 + 1, n * 10 + 2]).flat();
    for (const limit of [1, 2, 4, 100]) {
      const found: unknown[] = [];
      let from = feedBeginning;
      while (found.length < all.length) {
        const call = rig.ask({ limit, from });
        await rig.settle();
        const { events } = rig.page(call);
        expect(events.length).toBeGreaterThan(0);
        expect(events.length).toBeLessThanOrEqual(limit);
        found.push(...rig.amounts(call));
        // Not the page's end, but behind its last event, which is the same place.
        from = events.at(-1)!.behind;
      }
      expect(found).toEqual(all);
    }
  });

  it("S1: an empty page says how far was looked when time is up, and at once where nobody wants to wait", async () => {
    const rig = new Rig();
    await rig.logs.write(0, credit("order/1", 1));
    const waits = rig.ask({ kind: "account", waitMs: 500 });
    const hurried = rig.ask({ kind: "account", waitMs: 0 });
    await rig.settle();
    expect(rig.page(hurried)).toEqual({ events: [], next: { record: rig.logs.feed.end(0), skip: 0 } });
    rig.now = 499;
    rig.server.tick();
    expect(rig.replyTo(waits)).toBeUndefined();
    rig.now = 500;
    rig.server.tick();
    expect(rig.page(waits)).toEqual({ events: [], next: { record: rig.logs.feed.end(0), skip: 0 } });
  });

  it("gives long histories in pages of bounded bytes, and an event longer than that by itself", async () => {
    const rig = new Rig();
    const text = (length: number) => ({ type: "Noted", payload: { text: "x".repeat(length) } });
    const note = (...lengths: number[]) => ({ entity: "account/a", aggregate: "Notes", events: lengths.map(text) });
    await rig.logs.write(0, note(...Array.from({ length: 30 }, () => 50_000)), note(1_000_000), note(10, 10));
    const lengths: number[] = [];
    const pages: number[] = [];
    for (let from = feedBeginning; lengths.length < 33; ) {
      const call = rig.ask({ from });
      await rig.settle();
      const { events, next } = rig.page(call);
      const found = events.map(({ event }) => (event.payload as { text: string }).text.length);
      pages.push(found.reduce((sum, length) => sum + length, 0));
      lengths.push(...found);
      from = next;
    }
    expect(lengths).toEqual([...Array.from({ length: 30 }, () => 50_000), 1_000_000, 10, 10]);
    expect(Math.max(...pages)).toBeLessThanOrEqual(1_000_000 + 300_000);
    expect(pages.length).toBeGreaterThan(5);
  });

  it("gives each question back the credit of its own bytes", async () => {
    const rig = new Rig();
    await rig.logs.write(0, credit("account/alice", 1));
    rig.ask({}, 0, 7);
    rig.ask({ types: ["Credited"] }, 0, 8);
    await rig.settle();
    const [plain, typed] = rig.replies;
    expect([plain!.connection, typed!.connection]).toEqual([7, 8]);
    expect(typed!.requestBytes - plain!.requestBytes).toBe("Credited".length + 1);
  });
});

describe("feed server: many readers", () => {
  it("S4: the same question of a thousand readers is read once, and each is answered", async () => {
    const rig = new Rig();
    const calls = Array.from({ length: 1_000 }, (_, i) => rig.ask({}, 0, i));
    await rig.settle();
    const before = rig.reads;
    await rig.logs.write(0, credit("account/alice", 1));
    await rig.settle();
    for (const call of calls) expect(rig.amounts(call)).toEqual([1]);
    expect(rig.reads - before).toBe(1);
  });

  it("S4: readers who came to the same place on different ways are read for together from there on", async () => {
    const rig = new Rig();
    await rig.logs.write(0, credit("order/1", 1));
    await rig.logs.write(0, credit("order/1", 2));
    const end = { record: rig.logs.feed.end(0), skip: 0 };
    const calls = [rig.ask({ kind: "account" }), rig.ask({ kind: "account", from: end }), rig.ask({ kind: "account" })];
    await rig.settle();
    const before = rig.reads;
    await rig.logs.write(0, credit("account/a", 3));
    await rig.settle();
    for (const call of calls) expect(rig.amounts(call)).toEqual([3]);
    expect(rig.reads - before).toBe(1);
  });

  it("S3: who is far behind takes turns with who is not", async () => {
    const rig = new Rig();
    const long = {
      entity: "order/1",
      aggregate: "Notes",
      events: [{ type: "Noted", payload: { text: "x".repeat(300_000) } }],
    };
    for (let n = 0; n < 8; n++) await rig.logs.write(0, long);
    const last = rig.logs.feed.end(0);
    await rig.logs.write(0, credit("account/alice", 1));
    const behind = rig.ask({ kind: "account" });
    const live = rig.ask({ kind: "account", from: { record: last, skip: 0 } });
    // Every look at the clock is a while later, so that a turn is one slice.
    Object.defineProperty(rig, "now", {
      get: (
        () => (n: number) => () =>
          (n += 10)
      )()(0),
    });
    rig.turn();
    rig.turn();
    expect(rig.amounts(live)).toEqual([1]);
    expect(rig.replyTo(behind)).toBeUndefined();
    await rig.settle();
    expect(rig.amounts(behind)).toEqual([1]);
  });

  it("P8: more questions than may wait are OVERLOADED, and there is room again when some were answered", async () => {
    const rig = new Rig();
    for (let i = 0; i < 16_384; i++) rig.ask({ waitMs: 10 });
    expect(() => rig.ask()).toThrow(expect.objectContaining({ code: "OVERLOADED" }));
    rig.now = 10;
    rig.server.tick();
    expect(rig.replies).toHaveLength(16_384);
    expect(rig.server.stats().waiting).toBe(0);
    rig.ask();
    expect(rig.server.stats().waiting).toBe(1);
  });
});

describe("feed server: endings", () => {
  it("P8: answers who is gone with nothing, so that the credit comes back, and nobody twice", async () => {
    const rig = new Rig();
    const gone = rig.ask({}, 0, 1);
    const stays = rig.ask({}, 0, 2);
    const alone = rig.ask({ kind: "order" }, 0, 1);
    await rig.settle();
    rig.server.connectionClosed(1);
    await rig.logs.write(0, credit("order/1", 1));
    await rig.settle();
    expect([rig.amounts(gone), rig.amounts(alone)]).toEqual([[], []]);
    expect(rig.amounts(stays)).toEqual([1]);
    expect(rig.server.stats().waiting).toBe(0);
  });

  it("answers a question that is called off at once, and no other", async () => {
    const rig = new Rig();
    const [first, second, foreign] = [rig.ask({}, 0, 1), rig.ask({}, 0, 1), rig.ask({}, 0, 2)];
    await rig.settle();
    for (const [call, connection] of [
      [first, 1],
      [foreign, 1],
    ] as const) {
      const frame = frameOf(requestKind.unfeed, 900 + call, (reserve) => writeUnwatchBody({ call }, reserve));
      rig.server.forget(connection, frame, 0, frame.length);
      expect(rig.replyTo(900 + call)).toMatchObject({ kind: "value", value: null });
    }
    expect(rig.page(first).events).toEqual([]);
    expect([rig.replyTo(second), rig.replyTo(foreign)]).toEqual([undefined, undefined]);
  });

  it("P6: shows nothing that was erased while a question waited for its turn", async () => {
    const rig = new Rig();
    const position = rig.logs.add(0, credit("account/alice", 1));
    rig.logs.add(0, credit("account/bob", 2));
    await rig.logs.commit();
    const call = rig.ask();
    await rig.logs.erase(0, position);
    await rig.settle();
    expect(rig.amounts(call)).toEqual([2]);
  });

  it("P6: shows nothing that was erased since it was read for another", async () => {
    const rig = new Rig();
    const position = rig.logs.add(0, credit("account/alice", 1));
    rig.logs.add(0, credit("account/bob", 2));
    await rig.logs.commit();
    const before = rig.ask();
    await rig.settle();
    expect(rig.amounts(before)).toEqual([1, 2]);
    await rig.logs.erase(0, position);
    const after = rig.ask();
    await rig.settle();
    expect(rig.amounts(after)).toEqual([2]);
  });

  it("tells whoever waits, and whoever comes, to ask again when it closes", async () => {
    const rig = new Rig();
    const call = rig.ask();
    await rig.settle();
    rig.server.close();
    expect(rig.replyTo(call)).toMatchObject({ kind: "error", error: { code: "SHARD_STOPPED", retryable: true } });
    expect(() => rig.ask()).toThrow(expect.objectContaining({ code: "SHARD_STOPPED" }));
  });
});

describe("feed server: P7", () => {
  it("refuses places that are none of this shard's, and keeps those apart from damage", async () => {
    const rig = new Rig();
    await rig.logs.write(0, credit("account/alice", 1));
    const refused = expect.objectContaining({
      code: "INVALID_REQUEST",
      facts: expect.objectContaining({ path: "from" }),
    });
    expect(() => rig.ask({ from: { record: rig.logs.feed.end(0) + 8, skip: 0 } })).toThrow(refused);
    const call = rig.ask({ from: { record: 72, skip: 0 } });
    await rig.settle();
    expect(rig.replyTo(call)).toMatchObject({ kind: "error", error: { code: "INVALID_REQUEST" } });
    const file = rig.logs.disk.open("/data/0/0000000000000000.log", "write");
    file.write(Uint8Array.of(0xff), 0, 1, 100);
    const damaged = rig.ask();
    await rig.settle();
    expect(rig.replyTo(damaged)).toMatchObject({ kind: "error", error: { code: "LOG_DAMAGED" } });
  });

  it("refuses names that nothing in the domain has", () => {
    const rig = new Rig();
    const known = ["Account", "Notes", "$heddle"];
    const thrown = (code: string, facts: object) =>
      expect.objectContaining({ code, facts: expect.objectContaining(facts) });
    expect(() => rig.ask({ aggregate: "Acount" })).toThrow(thrown("UNKNOWN_AGGREGATE", { aggregate: "Acount", known }));
    const types = ["Credited", "Noted"];
    expect(() => rig.ask({ aggregate: "Account", types })).toThrow(
      thrown("UNKNOWN_EVENT_TYPE", { aggregate: "Account", type: "Noted", index: 1, known: ["Credited", "Debited"] }),
    );
    rig.ask({ types: ["Noted", "Erased"] });
    rig.ask({ aggregate: "$heddle", types: ["Restored"] });
  });

  it("an upcaster that throws fails the question at its event, after everything before it was given", async () => {
    const rig = new Rig();
    const old = (units: number) => ({ type: "Credited", payload: { units }, schemaVersion: 1 });
    await rig.logs.write(0, { entity: "account/alice", events: [old(1), old(-1), old(2)] });
    const first = rig.ask();
    await rig.settle();
    expect(rig.amounts(first)).toEqual([100]);
    const second = rig.ask({ from: rig.page(first).next });
    await rig.settle();
    expect(rig.replyTo(second)).toMatchObject({
      kind: "error",
      error: { code: "DOMAIN_FAILED", facts: { where: expect.stringMatching(/, at event 2 of account\/alice$/) } },
    });
    const { record, skip } = rig.page(first).next;
    const behind = rig.ask({ from: { record, skip: skip + 1 } });
    await rig.settle();
    expect(rig.amounts(behind)).toEqual([200]);
  });
});
