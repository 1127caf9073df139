// The publisher against a real server: that the streams hold the log's records in order, once, and without a gap, whatever
// the server does meanwhile. Erasure: erase-from-nats.servers.spec.ts; reading back: nats-feed.servers.spec.ts.
import { fork } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { type RunningServer, startNats } from "../../../../infra/servers/index.ts";
import { connectNats, type NatsLink } from "./connection.ts";
import { Logs, messagesOf, published, publisherOf, until } from "./logs.spec-support.ts";
import { LossyProxy } from "./lossy-proxy.spec-support.ts";
import type { NatsPublisher, NatsPublisherOptions } from "./publisher.ts";

/** Holds a stream against its log, read without any code of the publisher: each byte once, in order. */
async function expectCopies(nats: RunningServer, logs: Logs, login: { user?: string; password?: string } = {}) {
  const link = await connectNats({ url: nats.url, ...login });
  for (let shard = 0; shard < logs.shardCount; shard++) {
    if (logs.end(shard) === 0) continue;
    const messages = await messagesOf(link, `heddle-bank-${shard}`, `heddle.bank.log.${shard}`);
    let at = 0;
    for (const { from, to, id } of messages) {
      expect({ from, id: id.replace(/@\d+$/, "") }).toEqual({ from: at, id: `${shard}:${from}-${to}` });
      at = to;
    }
    expect(at).toBe(logs.end(shard));
    expect(Buffer.concat(messages.map(({ data }) => data)).equals(logs.all(shard))).toBe(true);
  }
  await link.close();
}

/** Starts a server again that was killed. Resolves when the publisher has a new connection, and nothing it says is from before. */
async function restarted(nats: RunningServer, publisher: NatsPublisher): Promise<void> {
  const { connections } = publisher.stats;
  await nats.restart();
  await until(
    () => publisher.stats.connections > connections,
    () => stateOf(publisher),
  );
}

const stateOf = (publisher: NatsPublisher) => ({ ...publisher.stats, problems: publisher.problems.map(String) });

describe("publisher: what the streams hold", () => {
  it("has each shard's log in a stream of its own, byte for byte, in order and without a gap", async () => {
    await using nats = await startNats();
    using logs = new Logs({ shardCount: 3, segmentBytes: 20_000 });
    await logs.write(0, 100);
    await logs.write(2, 7);
    const { publisher } = publisherOf(logs, { url: nats.url }, { messageBytes: 1_000 });
    publisher.start();
    await logs.write(0, 50);
    await published(publisher, logs);
    await publisher.stop();
    await expectCopies(nats, logs);
    const link = await connectNats({ url: nats.url });
    await expect(link.jsm.streams.info("heddle-bank-1")).rejects.toThrow("stream not found");
    await link.close();
  });

  it("sends what was written while nobody published, and nothing twice", async () => {
    await using nats = await startNats();
    using logs = new Logs({ shardCount: 2 });
    for (let start = 0; start < 3; start++) {
      await logs.write(0, 20);
      await logs.write(1, 5);
      const { publisher } = publisherOf(logs, { url: nats.url });
      publisher.start();
      await published(publisher, logs);
      await publisher.stop();
    }
    await expectCopies(nats, logs);
  });

  it("splits a record that is larger than a message, and only that", async () => {
    await using nats = await startNats({ maxPayloadBytes: 8_192 });
    using logs = new Logs({});
    await logs.write(0, 2);
    await logs.write(0, 1, 1, "y".repeat(30_000));
    await logs.write(0, 2);
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    await publisher.stop();
    const link = await connectNats({ url: nats.url });
    const messages = await messagesOf(link, "heddle-bank-0", "heddle.bank.log.0");
    expect(messages.map(({ part }) => part)).toEqual(["", "1/5", "2/5", "3/5", "4/5", "5/5", ""]);
    expect(Buffer.concat(messages.map(({ data }) => data)).equals(logs.all(0))).toBe(true);
    await link.close();
  });

  it("begins a record anew that was sent in parts and not to its end", async () => {
    await using nats = await startNats({ maxPayloadBytes: 8_192 });
    using logs = new Logs({});
    await logs.write(0, 1, 1, "y".repeat(30_000));
    let acknowledged = 0;
    const dies = publisherOf(logs, { url: nats.url }).publisher;
    const link = await connectNats({ url: nats.url });
    dies.start();
    await published(dies, logs);
    await dies.stop();
    // As if it had died in the middle.
    for (const seq of [4, 5]) await link.jsm.streams.deleteMessage("heddle-bank-0", seq);
    const { publisher } = publisherOf(logs, { url: nats.url }, { crashPoint: () => acknowledged++ });
    publisher.start();
    await published(publisher, logs);
    await publisher.stop();
    const parts = (await messagesOf(link, "heddle-bank-0", "heddle.bank.log.0")).map(({ part }) => part);
    expect(parts).toEqual(["1/5", "2/5", "3/5", "1/5", "2/5", "3/5", "4/5", "5/5"]);
    await link.close();
  });
});

describe("publisher: a server that fails", () => {
  it("misses nothing when the server is killed under load, again and again", async () => {
    await using nats = await startNats();
    using logs = new Logs({ shardCount: 2 });
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    for (let round = 0; round < 5; round++) {
      const writing = Promise.all([logs.write(0, 300), logs.write(1, 300)]);
      const before = publisher.stats.messages;
      await until(
        () => publisher.stats.messages > before + 3,
        () => stateOf(publisher),
      );
      await nats.kill();
      await writing;
      await nats.restart();
    }
    await published(publisher, logs);
    expect(publisher.stats.connections).toBeGreaterThanOrEqual(5);
    await publisher.stop();
    await expectCopies(nats, logs);
  });

  it("goes on when a server that stopped answering comes back", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 10);
    const { publisher } = publisherOf(logs, { url: nats.url }, { ackTimeoutMs: 300 });
    publisher.start();
    await published(publisher, logs);
    nats.pause();
    await logs.write(0, 500);
    await until(
      () => publisher.problems.length > 0,
      () => stateOf(publisher),
    );
    expect(publisher.problems).toMatchObject([{ code: "SINK_UNAVAILABLE", retryable: true }]);
    await logs.write(0, 10);
    nats.resume();
    await published(publisher, logs);
    expect(publisher.problems).toEqual([]);
    await publisher.stop();
    await expectCopies(nats, logs);
  });

  it("sends nothing twice whose acknowledgement was lost", async () => {
    await using nats = await startNats();
    await using proxy = await LossyProxy.open(nats.port);
    using logs = new Logs({ shardCount: 2 });
    const { publisher } = publisherOf(logs, { url: proxy.url }, { ackTimeoutMs: 30_000 });
    publisher.start();
    await logs.write(0, 5);
    await published(publisher, logs);
    for (let round = 0; round < 5; round++) {
      proxy.swallowReplies();
      await logs.write(0, 40);
      await logs.write(1, 40);
      const link = await connectNats({ url: nats.url });
      const reached = logs.end(0);
      // The server has it all, and nobody was told.
      await until(async () => {
        const last = await link.jsm.direct.getMessage("heddle-bank-0", { last_by_subj: "heddle.bank.log.0" });
        return Number(last?.header.get("Heddle-To")) === reached;
      });
      await link.close();
      expect(publisher.stats.published[0]).toBeLessThan(reached);
      proxy.cut();
      await logs.write(0, 3);
      await published(publisher, logs);
    }
    await publisher.stop();
    await expectCopies(nats, logs);
  });

  it("has nothing out of order when what a connection before had sent arrives late", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 10);
    const first = publisherOf(logs, { url: nats.url }).publisher;
    first.start();
    await published(first, logs);
    await first.stop();
    await logs.write(0, 60);
    // Sends many small messages, which stay under way.
    const late: Parameters<NatsLink["js"]["publish"]>[] = [];
    const connect: NatsPublisherOptions["connect"] = async (options) => {
      const link = await connectNats(options);
      const closed = new Promise<never>((_, reject) => link.onLost(() => reject(new Error("closed"))));
      closed.catch(() => {});
      link.js.publish = (...message) => {
        late.push(message);
        return closed;
      };
      return link;
    };
    const old = publisherOf(logs, { url: nats.url }, { connect, messageBytes: 500 }).publisher;
    old.start();
    await until(() => late.length > 20);
    await old.stop();
    const { publisher } = publisherOf(logs, { url: nats.url }, { messageBytes: 2_000 });
    publisher.start();
    await published(publisher, logs);
    expect(publisher.stats.messages).toBeLessThan(late.length);
    const link = await connectNats({ url: nats.url });
    const ends = await Promise.allSettled(late.map((message) => link.js.publish(...message)));
    expect(new Set(ends.map(({ status }) => status))).toEqual(new Set(["rejected"]));
    await link.close();
    await logs.write(0, 5);
    await published(publisher, logs);
    await publisher.stop();
    await expectCopies(nats, logs);
  });

  it("fills a stream anew whose server lost everything", async () => {
    await using nats = await startNats();
    using logs = new Logs({ shardCount: 2 });
    await logs.write(0, 50);
    await logs.write(1, 50);
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    await nats.kill();
    fs.rmSync(path.join(nats.folder, "store"), { recursive: true });
    await logs.write(0, 5);
    await restarted(nats, publisher);
    await published(publisher, logs);
    await publisher.stop();
    await expectCopies(nats, logs);
  });

  it("sends again what a server has forgotten that it had acknowledged", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 50);
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    await nats.kill();
    const store = path.join(nats.folder, "store");
    const older = path.join(nats.folder, "older");
    fs.cpSync(store, older, { recursive: true });
    await nats.restart();
    await logs.write(0, 50);
    await published(publisher, logs);
    await nats.kill();
    fs.rmSync(store, { recursive: true });
    fs.renameSync(older, store);
    await restarted(nats, publisher);
    await published(publisher, logs);
    await publisher.stop();
    await expectCopies(nats, logs);
  });

  it("fills a stream anew that somebody deleted or purged", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await logs.write(0, 20);
    await published(publisher, logs);
    const link = await connectNats({ url: nats.url });
    await link.jsm.streams.delete("heddle-bank-0");
    await logs.write(0, 1);
    await published(publisher, logs);
    await expectCopies(nats, logs);
    await link.jsm.streams.purge("heddle-bank-0");
    await publisher.stop();
    const again = publisherOf(logs, { url: nats.url }).publisher;
    again.start();
    await published(again, logs);
    await again.stop();
    await expectCopies(nats, logs);
    await link.close();
  });

  it("waits, and loses nothing, while the server has no room", async () => {
    await using nats = await startNats({ maxStoreBytes: 400_000 });
    using logs = new Logs({ shardCount: 2 });
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await logs.write(0, 500, 10);
    await logs.write(1, 5);
    // It tries again now and then, and there is no problem until it was refused again.
    await until(
      () =>
        publisher.problems.some(
          ({ code, message }) => code === "SINK_REFUSED" && /insufficient|resource|storage|maximum/.test(message),
        ),
      () => stateOf(publisher),
    );
    await until(() => publisher.stats.published[0]! > 100_000);
    expect(publisher.stats.published[0]).toBeLessThan(logs.end(0));
    const config = path.join(nats.folder, "nats.conf");
    const more = fs.readFileSync(config, "utf8").replace("max_file_store: 400000", "max_file_store: 1000000000");
    fs.writeFileSync(config, more);
    process.kill(nats.pid, "SIGHUP");
    await published(publisher, logs);
    expect(publisher.problems).toEqual([]);
    await publisher.stop();
    await expectCopies(nats, logs);
  });
});

describe("publisher: a server that has no room for one message", () => {
  it("stores none of those behind it, though there is room for them", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 1, 1, "a".repeat(100_000));
    const first = publisherOf(logs, { url: nats.url }).publisher;
    first.start();
    await published(first, logs);
    await first.stop();
    const link = await connectNats({ url: nats.url });
    await link.jsm.streams.update("heddle-bank-0", { max_bytes: 300_000 });
    await logs.write(0, 1, 1, "b".repeat(300_000));
    await logs.write(0, 20, 1);
    const { publisher } = publisherOf(logs, { url: nats.url }, { messageBytes: 500 });
    publisher.start();
    await until(
      () => publisher.problems.length > 0,
      () => stateOf(publisher),
    );
    expect(await messagesOf(link, "heddle-bank-0", "heddle.bank.log.0")).toHaveLength(1);
    await link.jsm.streams.update("heddle-bank-0", { max_bytes: -1 });
    await link.close();
    await published(publisher, logs);
    await publisher.stop();
    await expectCopies(nats, logs);
  });
});

describe("publisher: what is not its stream", () => {
  it("publishes nothing to the copy of another log, says so, and goes on when it is gone", async () => {
    await using nats = await startNats();
    using others = new Logs({});
    await others.write(0, 10);
    const other = publisherOf(others, { url: nats.url }).publisher;
    other.start();
    await published(other, others);
    await other.stop();
    using logs = new Logs({});
    await logs.write(0, 30);
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await until(
      () => publisher.problems.length > 0,
      () => stateOf(publisher),
    );
    expect(publisher.problems).toMatchObject([
      { code: "SINK_REFUSED", facts: { message: expect.stringContaining("another data folder publishes there") } },
    ]);
    await expectCopies(nats, others);
    const link = await connectNats({ url: nats.url });
    await link.jsm.streams.delete("heddle-bank-0");
    await published(publisher, logs);
    await publisher.stop();
    await expectCopies(nats, logs);
    await link.close();
  });

  it("publishes nothing where a folder was put back to an earlier time and went another way", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 10);
    const copy = fs.mkdtempSync(path.join(nats.folder, "copy-"));
    fs.cpSync(logs.folder, copy, { recursive: true });
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await logs.write(0, 10);
    await published(publisher, logs);
    await publisher.stop();
    const shorter = new Logs({ folder: copy });
    const first = publisherOf(shorter, { url: nats.url }).publisher;
    first.start();
    await until(() => first.problems.length > 0);
    expect(first.problems[0]?.message).toMatch(/reaches to position \d+, the log to \d+/);
    await first.stop();
    await shorter.write(0, 40, 3, "another");
    const second = publisherOf(shorter, { url: nats.url }).publisher;
    second.start();
    await until(() => second.problems.length > 0);
    expect(second.problems[0]?.message).toMatch(/has other records at position \d+ than the log/);
    await second.stop();
    shorter.close();
    await expectCopies(nats, logs);
  });

  it("does not change a stream that has other settings, and says which", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 1);
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    await publisher.stop();
    const link = await connectNats({ url: nats.url });
    await link.jsm.streams.update("heddle-bank-0", { max_age: 3_600e9, allow_direct: false });
    const again = publisherOf(logs, { url: nats.url }).publisher;
    again.start();
    await until(() => again.problems.length > 0);
    expect(again.problems[0]?.message).toContain(
      "the stream heddle-bank-0 has other settings: max_age is 3600000000000, wanted 0; allow_direct is false, wanted true",
    );
    await again.stop();
    expect((await link.jsm.streams.info("heddle-bank-0")).config.max_age).toBe(3_600e9);
    await link.close();
  });

  it("says that its credentials were refused, and goes on when they are accepted", async () => {
    await using nats = await startNats({ user: "heddle", password: "right" });
    using logs = new Logs({});
    await logs.write(0, 1);
    const told: (string | undefined)[] = [];
    const wrong = publisherOf(
      logs,
      { url: nats.url.replace("//", "//heddle:wr%40ng@") },
      { onProblem: (problem) => told.push(problem?.code) },
    ).publisher;
    wrong.start();
    await until(() => wrong.problems.length > 0);
    expect(wrong.problems).toMatchObject([{ code: "SINK_REFUSED" }]);
    expect(wrong.problems[0]?.message).toContain("Authorization Violation");
    expect(wrong.problems[0]?.message).not.toMatch(/wr(@|%40)ng/);
    const config = path.join(nats.folder, "nats.conf");
    fs.writeFileSync(config, fs.readFileSync(config, "utf8").replace('"right"', '"wr@ng"'));
    process.kill(nats.pid, "SIGHUP");
    await published(wrong, logs);
    await until(() => told.length === 2);
    await wrong.stop();
    // That it ends is no problem.
    expect(told).toEqual(["SINK_REFUSED", undefined]);
    await expectCopies(nats, logs, { user: "heddle", password: "wr@ng" });
  });

  it("says that a server has no JetStream", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 1);
    await nats.kill();
    const plain = await startNats({ port: nats.port, jetstream: false });
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await until(() => publisher.problems.some(({ code }) => code === "SINK_REFUSED"));
    expect(publisher.problems[0]?.message).toMatch(/jetstream/i);
    await plain.stop();
    await nats.restart();
    await published(publisher, logs);
    await publisher.stop();
  });

  it("refuses an address that is none before anything is tried", () => {
    using logs = new Logs({});
    for (const url of ["http://localhost:4222", "nats://", "nats://user:secret@:4222"])
      expect(() => publisherOf(logs, { url })).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }));
    expect(() => publisherOf(logs, { url: "http://me:secret@localhost" })).toThrow(/^(?!.*secret).*$/s);
  });
});

describe("publisher: a process that is killed", () => {
  it("leaves streams that the next one completes, wherever it died", async () => {
    await using nats = await startNats();
    using logs = new Logs({ shardCount: 2, segmentBytes: 50_000 });
    const support = new URL("./publisher-process.spec-support.ts", import.meta.url);
    for (let round = 0; round < 5; round++) {
      await logs.write(0, 60);
      await logs.write(1, 20);
      // After so many of its named places: sent, acknowledged, sent…
      const child = fork(support, [nats.url, logs.folder, "2", String(3 + round * 7)]);
      const signal = await new Promise((resolve) => child.once("exit", (_, by) => resolve(by)));
      expect(signal).toBe("SIGKILL");
    }
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    await publisher.stop();
    await expectCopies(nats, logs);
  });
});
