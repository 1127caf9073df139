// ThreadCalls over message ports of one thread. Beyond here: that threads find each other and lose each other
// (test/e2e), and what shards say to such calls (packages/shard).
import { MessageChannel } from "node:worker_threads";
import {
  encodeReply,
  frameOffset,
  type Reply,
  readText,
  readU48,
  replyKind,
  requestKind,
  writeText,
} from "@heddle/protocol/internal";
import { innerConnectionMin } from "@heddle/shard/internal";
import { seededRandom } from "@heddle/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { ThreadCalls } from "./thread-calls.ts";
import { ReplyBatch } from "./thread-messages.ts";

interface Received {
  readonly connection: number;
  readonly shard: number;
  readonly text: string;
}

/** A thread whose shards say what they were asked, at once or when told to. */
class Thread {
  readonly calls: ThreadCalls;
  readonly received: Received[] = [];
  readonly toMain: Uint8Array[] = [];
  turns = 0;
  isSilent = false;
  /** What it has not answered while it was silent. */
  readonly late: (() => void)[] = [];
  readonly #replies: ReplyBatch;

  constructor(thread: number, threadCount: number, shardCount: number) {
    this.calls = new ThreadCalls({
      thread,
      threadCount,
      shardCount,
      random: seededRandom(++lives),
      receive: (connection, shard, bytes, from, to) => {
        const text = readText(bytes, from + frameOffset.requestBody, to);
        this.received.push({ connection, shard, text });
        const call = readU48(bytes, from + frameOffset.requestCall);
        const answer = () => this.#replies.frame(connection, to - from, encodeReply(replyKind.value, call, `${text}!`));
        if (this.isSilent) this.late.push(answer);
        else answer();
      },
      endTurn: () => {
        this.turns++;
      },
    });
    this.#replies = new ReplyBatch((packed) => this.toMain.push(packed), this.calls);
  }

  ask(shard: number, text: string): Promise<Reply> {
    const write = (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => {
      const { bytes, at } = reserve(3 * text.length);
      return writeText(bytes, at, text);
    };
    return new Promise((resolve) => this.calls.call(requestKind.get, shard, write, resolve));
  }

  /** A reply of one of its shards to a client. */
  tellClient(): void {
    this.#replies.frame(7, 20, encodeReply(replyKind.value, 1, "hello"));
  }
}

let lives = 0;
const opened: Thread[] = [];
afterEach(() => {
  for (const { calls } of opened.splice(0)) calls.close();
});

function threads(count: number, shardCount: number): Thread[] {
  const all = Array.from({ length: count }, (_, index) => new Thread(index, count, shardCount));
  opened.push(...all);
  return all;
}

function connect(a: Thread, b: Thread): void {
  const { port1, port2 } = new MessageChannel();
  a.calls.connect(opened.indexOf(b), port1);
  b.calls.connect(opened.indexOf(a), port2);
}

const value = (text: string) => expect.objectContaining({ kind: "value", value: text });

describe("calls between shards", () => {
  it("reach a shard of the same thread and bring its reply back", async () => {
    const [thread] = threads(1, 3);
    expect(await Promise.all([thread!.ask(2, "first"), thread!.ask(0, "second")])).toEqual([
      value("first!"),
      value("second!"),
    ]);
    expect(thread!.received).toEqual([
      { connection: innerConnectionMin, shard: 2, text: "first" },
      { connection: innerConnectionMin, shard: 0, text: "second" },
    ]);
    expect(thread!.turns, "of one turn go into one group").toBe(1);
    expect(thread!.toMain).toEqual([]);
  });

  it("are delivered in a turn of their own, requests as well as replies", async () => {
    const [thread] = threads(1, 1);
    let answered = false;
    const asked = thread!.ask(0, "x").then(() => {
      answered = true;
    });
    expect(thread!.received).toEqual([]);
    await Promise.resolve();
    expect(thread!.received.length).toBe(1);
    expect(answered).toBe(false);
    await asked;
  });

  it("that a shard of the same thread takes without a frame are answered once, in a turn of their own, and its turn ends", async () => {
    const [thread] = threads(1, 1);
    const heard: Reply[] = [];
    const call = thread!.calls.expect(0, (reply) => heard.push(reply));
    const forgone = thread!.calls.expect(0, (reply) => heard.push(reply));
    thread!.calls.forgo(forgone);
    await Promise.resolve();
    expect({ turns: thread!.turns, size: thread!.calls.size }).toEqual({ turns: 1, size: 1 });
    for (const number of [call, call, forgone]) {
      thread!.calls.deliver({ kind: "value", call: number, value: "done" });
    }
    expect(heard).toEqual([]);
    await Promise.resolve();
    expect(heard).toEqual([{ kind: "value", call, value: "done" }]);
    expect(thread!.calls.size).toBe(0);
  });

  it("are worked off with all that they lead to before a turn of frames ends, so that one group has all", async () => {
    const [thread] = threads(1, 1);
    const heard: string[] = [];
    const call = thread!.calls.expect(0, () => {
      heard.push(`after ${thread!.turns} turns`);
      void thread!.ask(0, "what it leads to").then(() => heard.push("the rest"));
    });
    thread!.calls.deliver({ kind: "value", call, value: "at once" });
    thread!.calls.endTurn();
    expect({ heard, turns: thread!.turns, received: thread!.received.length, waiting: thread!.calls.size }).toEqual({
      heard: ["after 0 turns"],
      turns: 1,
      received: 1,
      waiting: 0,
    });
    await expect.poll(() => heard.length).toBe(2);
    expect(thread!.turns, "nothing is left for a turn of its own").toBe(1);
  });

  it("reach a shard of another thread, many in one message, in the order in which they were sent", async () => {
    const [a, b] = threads(2, 4);
    connect(a!, b!);
    const texts = Array.from({ length: 3_000 }, (_, index) => `${index} ${"x".repeat(index % 200)}`);
    const replies = await Promise.all(texts.map((text, index) => a!.ask(index % 2 === 0 ? 1 : 3, text)));
    expect(replies).toEqual(texts.map((text) => value(`${text}!`)));
    expect(b!.received.map(({ text }) => text)).toEqual(texts);
    expect(b!.received[0]).toMatchObject({ connection: innerConnectionMin, shard: 1 });
    expect(b!.turns).toBe(1);
    expect(b!.toMain).toEqual([]);
  });

  it("reach shards of the same thread in order, however many there are, and keep their bytes when more come", async () => {
    const kept: { readonly shard: number; readonly bytes: Uint8Array; readonly from: number; readonly to: number }[] =
      [];
    const fromWithin = "y".repeat(300);
    let turns = 0;
    const calls = new ThreadCalls({
      thread: 0,
      threadCount: 1,
      shardCount: 3,
      random: seededRandom(1),
      receive: (_connection, shard, bytes, from, to) => {
        kept.push({ shard, bytes, from, to });
        // What is asked meanwhile comes after what was there, in the same turn.
        if (kept.length <= texts.length) ask(0, fromWithin);
      },
      endTurn: () => {
        turns++;
      },
    });
    const ask = (shard: number, text: string) =>
      calls.call(
        requestKind.get,
        shard,
        (reserve) => {
          const { bytes, at } = reserve(3 * text.length);
          return writeText(bytes, at, text);
        },
        () => {},
      );
    const texts = Array.from({ length: 3_000 }, (_, index) => `${index} ${"x".repeat(index % 200)}`);
    for (const [index, text] of texts.entries()) ask(index % 3, text);
    expect(kept).toEqual([]);
    await Promise.resolve();
    expect({ kept: kept.length, turns }).toEqual({ kept: 2 * texts.length, turns: 1 });
    expect(kept.map(({ shard }) => shard)).toEqual([...texts.map((_, index) => index % 3), ...texts.map(() => 0)]);
    expect(kept.map(({ bytes, from, to }) => readText(bytes, from + frameOffset.requestBody, to))).toEqual([
      ...texts,
      ...texts.map(() => fromWithin),
    ]);
  });

  it("to a thread that is not there are answered with SHARD_STOPPED", async () => {
    const [a] = threads(2, 2);
    expect(await a!.ask(1, "x")).toMatchObject({ kind: "error", error: { code: "SHARD_STOPPED" } });
  });

  it("to a thread that is lost are answered with OUTCOME_UNKNOWN, and later ones reach the next thread there", async () => {
    const [a, b] = threads(2, 2);
    connect(a!, b!);
    b!.isSilent = true;
    const asked = a!.ask(1, "x");
    const own = a!.ask(0, "y");
    expect(await own).toEqual(value("y!"));
    b!.calls.close();
    expect(await asked).toMatchObject({ kind: "error", error: { code: "OUTCOME_UNKNOWN" } });
    expect(a!.calls.size).toBe(0);
    b!.isSilent = false;
    connect(a!, b!);
    expect(await a!.ask(1, "z")).toEqual(value("z!"));
  });

  it("are not taken for answered when an answer comes to a call of the thread's earlier life", async () => {
    const [first, other] = threads(2, 2);
    connect(first!, other!);
    other!.isSilent = true;
    void first!.ask(1, "of an earlier life");
    await expect.poll(() => other!.late.length).toBe(1);
    first!.calls.close();
    const second = new Thread(0, 2, 2);
    opened[0] = second;
    connect(second, other!);
    const answers: Reply[] = [];
    void second.ask(1, "of this life").then((reply) => answers.push(reply));
    await expect.poll(() => other!.late.length).toBe(2);
    for (const answer of other!.late) answer();
    await expect.poll(() => answers).toEqual([value("of this life!")]);
  });

  it("to a thread that was lost are answered though its next life is there before its end is heard", async () => {
    const [a, b] = threads(2, 2);
    const { port1, port2 } = new MessageChannel();
    a!.calls.connect(1, port1);
    b!.isSilent = true;
    b!.calls.connect(0, port2);
    const asked = a!.ask(1, "x");
    await expect.poll(() => b!.late.length).toBe(1);
    b!.calls.close();
    opened[1] = new Thread(1, 2, 2);
    connect(a!, opened[1]);
    const later = a!.ask(1, "z");
    expect(await asked).toMatchObject({ kind: "error", error: { code: "OUTCOME_UNKNOWN" } });
    expect(await later).toEqual(value("z!"));
    expect(a!.calls.size).toBe(0);
  });

  it("T3: what a thread's next lives ask is heard behind all that the lives before them asked", async () => {
    const [a] = threads(2, 2);
    const lives = [1, 2, 3].map(() => new Thread(1, 2, 2));
    // The message port of the first life is slow: nothing of it is heard, neither a word nor its end, until it is let go.
    const first = new MessageChannel();
    const slow = new MessageChannel();
    a!.calls.connect(1, slow.port1);
    lives[0]!.calls.connect(0, first.port2);
    void lives[0]!.ask(0, "first");
    // The second has nothing to say, and ends at once; its end is heard before that of the first.
    const second = new MessageChannel();
    a!.calls.connect(1, second.port1);
    const secondEnded = new Promise((resolve) => second.port1.on("close", resolve));
    lives[1]!.calls.connect(0, second.port2);
    lives[1]!.calls.close();
    await secondEnded;
    opened[1] = lives[2]!;
    connect(a!, lives[2]!);
    const asked = lives[2]!.ask(0, "third");
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(a!.received).toEqual([]);
    first.port1.on("message", (message: Uint8Array) => slow.port2.postMessage(message));
    await expect.poll(() => a!.received.map(({ text }) => text)).toEqual(["first"]);
    slow.port2.close();
    expect(await asked).toEqual(value("third!"));
    expect(a!.received.map(({ text }) => text)).toEqual(["first", "third"]);
    lives[0]!.calls.close();
  });

  it("leave what is said to clients to the listener", async () => {
    const [a, b] = threads(2, 2);
    connect(a!, b!);
    b!.tellClient();
    expect(await a!.ask(1, "x")).toEqual(value("x!"));
    expect(b!.toMain.length).toBe(1);
    expect(a!.toMain).toEqual([]);
  });

  it("that cannot be encoded are not sent, and harm no other", async () => {
    const [a, b] = threads(2, 2);
    connect(a!, b!);
    const bad = (reserve: (bytes: number) => unknown): number => {
      reserve(100_000);
      throw new TypeError("no");
    };
    for (const shard of [0, 1]) expect(() => a!.calls.call(requestKind.get, shard, bad, () => {})).toThrow("no");
    expect(await Promise.all([a!.ask(0, "x"), a!.ask(1, "y")])).toEqual([value("x!"), value("y!")]);
    expect(a!.calls.size).toBe(0);
  });
});
