// Erasure in NATS against a real server (P6): that no byte of what was erased is left in the server's files, that all else is as
// it was for readers, and that neither depends on where a process died.
import { fork } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { entryFlags } from "@heddle/event-log/internal";
import { seededRandom } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { filesWith as filesBelow } from "../../../../infra/servers/files-of.spec-support.ts";
import { type RunningServer, startNats } from "../../../../infra/servers/index.ts";
import { connectNats } from "./connection.ts";
import { entriesOf, Logs, published, publisherOf, until } from "./logs.spec-support.ts";
import type { ErasedLife, NatsErasures } from "./nats-erasures.ts";
import { NatsFeed } from "./nats-feed.ts";

/** Files of the server's store in which the text stands. */
const filesWith = (nats: RunningServer, text: string) => filesBelow(path.join(nats.folder, "store"), text);

/** Erases entries as a shard does: tombstone, the readers are told, the log is overwritten. */
async function eraseEntity(logs: Logs, erasures: NatsErasures, shard: number, entity: string, positions: number[]) {
  const position = logs.tombstone(shard, entity);
  await logs.commit(shard);
  const life: ErasedLife = { shard, entity, seq: 9, position };
  erasures.bury(life, Float64Array.from(positions));
  await logs.erase(shard, positions);
  return life;
}

const isGone = (erasures: NatsErasures, life: ErasedLife) =>
  until(
    () => erasures.gone(life) === "gone",
    () => String(erasures.gone(life)),
  );

async function expectSameFeeds(nats: RunningServer, logs: Logs) {
  const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
  for (let shard = 0; shard < logs.shardCount; shard++)
    for (const bytesMax of [1, 3_000])
      expect(await entriesOf(feed, shard, bytesMax)).toEqual(await entriesOf(logs.feed, shard, 4_096));
  await feed.close();
}

const placesOf = (entries: readonly string[]) => entries.map((entry) => entry.split(" ")[1]);

const credit = (text: string) => [{ type: "Credited", payload: { amount: 1, text } }];

/** Groups of appends by three entities, each with a text of its own in all its payloads. */
async function writeMarked(logs: Logs, groups: number, padding = 20): Promise<Map<string, number[]>> {
  const positions = new Map<string, number[]>();
  for (let group = 0; group < groups; group++) {
    for (const name of ["alice", "bob", "carol"]) {
      if (name === "alice" && group % 4 !== 0) continue;
      const at = logs.add(0, `account/${name}`, credit(`SECRET-OF-${name}-${"p".repeat(padding)}`));
      positions.set(name, [...(positions.get(name) ?? []), at]);
    }
    await logs.commit(0);
  }
  return positions;
}

describe("erasure in NATS: what is left", () => {
  it("leaves no byte of an erased entry in the server's files, and all else as it was", async () => {
    await using nats = await startNats();
    using logs = new Logs({ segmentBytes: 8_000 });
    const positions = await writeMarked(logs, 80);
    const { publisher, erasures } = publisherOf(logs, { url: nats.url }, { messageBytes: 1_000 });
    publisher.start();
    await published(publisher, logs);
    expect(filesWith(nats, "SECRET-OF-alice")).not.toEqual([]);
    const life = await eraseEntity(logs, erasures, 0, "account/alice", positions.get("alice")!);
    expect(erasures.gone(life)).toBe("waiting");
    await isGone(erasures, life);
    expect(filesWith(nats, "SECRET-OF-alice")).toEqual([]);
    expect(filesWith(nats, "SECRET-OF-bob")).not.toEqual([]);
    await published(publisher, logs);
    await expectSameFeeds(nats, logs);
    await publisher.stop();
  });

  it("erases from messages that were repaired before, from parts, and from the last one", async () => {
    await using nats = await startNats({ maxPayloadBytes: 8_192 });
    using logs = new Logs({});
    const small = await writeMarked(logs, 12);
    const large = await writeMarked(logs, 2, 9_000);
    const { publisher, erasures } = publisherOf(logs, { url: nats.url }, { messageBytes: 1_000 });
    publisher.start();
    await published(publisher, logs);
    for (const name of ["alice", "bob", "carol"]) {
      const all = [...small.get(name)!, ...large.get(name)!];
      await isGone(erasures, await eraseEntity(logs, erasures, 0, `account/${name}`, all));
      expect(filesWith(nats, `SECRET-OF-${name}`)).toEqual([]);
      await published(publisher, logs);
      await expectSameFeeds(nats, logs);
    }
    await publisher.stop();
    const again = publisherOf(logs, { url: nats.url }).publisher;
    again.start();
    await logs.write(0, 5);
    await published(again, logs);
    expect(again.stats.messages).toBeLessThanOrEqual(5);
    await expectSameFeeds(nats, logs);
    await again.stop();
  });

  it("knows how far a stream is whose last messages were all repaired", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 3);
    const at = [logs.add(0, "account/dora", credit("SECRET-OF-dora"))];
    await logs.commit(0);
    at.push(logs.add(0, "account/dora", credit("SECRET-OF-dora")));
    await logs.commit(0);
    const { publisher, erasures } = publisherOf(logs, { url: nats.url }, { messageBytes: 100 });
    publisher.start();
    await published(publisher, logs);
    const life = { shard: 0, entity: "account/dora", seq: 3, position: 1 };
    erasures.bury(life, Float64Array.from(at));
    await logs.erase(0, at);
    await isGone(erasures, life);
    await publisher.stop();
    await expectSameFeeds(nats, logs);
    const again = publisherOf(logs, { url: nats.url }, { messageBytes: 100 }).publisher;
    again.start();
    await until(() => again.stats.published[0] === logs.end(0));
    expect(again.stats.messages).toBe(0);
    await again.stop();
  });

  it("erases what a transaction had prepared when the log says that it was aborted, without being told", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 3);
    const pending = logs.add(0, "account/alice", credit("SECRET-PENDING"), { flags: entryFlags.pending });
    await logs.commit(0);
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    expect(filesWith(nats, "SECRET-PENDING")).not.toEqual([]);
    await logs.erase(0, [pending]);
    logs.aborted(0, [pending]);
    await logs.commit(0);
    await until(() => filesWith(nats, "SECRET-PENDING").length === 0);
    await published(publisher, logs);
    await expectSameFeeds(nats, logs);
    await publisher.stop();
  });

  it("leaves nothing in the repairs of a stream that is made anew", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const positions = await writeMarked(logs, 8);
    const { publisher, erasures } = publisherOf(logs, { url: nats.url }, { messageBytes: 700 });
    publisher.start();
    await published(publisher, logs);
    await isGone(erasures, await eraseEntity(logs, erasures, 0, "account/alice", positions.get("alice")!));
    await publisher.stop();
    const link = await connectNats({ url: nats.url });
    await link.jsm.streams.delete("heddle-bank-0");
    // The server removes the folder after it has answered, under another name.
    await until(() => !fs.existsSync(path.join(nats.folder, "store/jetstream/$G/streams/.heddle-bank-0")));
    expect(filesWith(nats, "SECRET-OF-bob")).not.toEqual([]);
    // Other messages than before, so that no repair stands where one stood.
    const again = publisherOf(logs, { url: nats.url });
    again.publisher.start();
    await published(again.publisher, logs);
    await expectSameFeeds(nats, logs);
    await isGone(again.erasures, await eraseEntity(logs, again.erasures, 0, "account/bob", positions.get("bob")!));
    expect(filesWith(nats, "SECRET-OF-bob")).toEqual([]);
    await again.publisher.stop();
    await link.close();
  });
});

describe("erasure in NATS: when it is done", () => {
  it("is not done sooner because a server that is just starting does not know the stream yet", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const positions = await writeMarked(logs, 40);
    const stateFile = path.join(logs.folder, "readers.sqlite");
    const { publisher, erasures } = publisherOf(logs, { url: nats.url }, { stateFile, messageBytes: 700 });
    publisher.start();
    await published(publisher, logs);
    await isGone(erasures, await eraseEntity(logs, erasures, 0, "account/alice", positions.get("alice")!));
    await published(publisher, logs);
    await publisher.stop();
    let asked = 0;
    const connect = async (options: Parameters<typeof connectNats>[0]) => {
      const link = await connectNats(options);
      const { streams } = link.jsm;
      const info = streams.info.bind(streams);
      streams.info = (name, query) => info(name === "heddle-bank-0" && asked++ === 0 ? "not-there-yet" : name, query);
      return link;
    };
    const again = publisherOf(logs, { url: nats.url }, { stateFile, connect });
    const life = await eraseEntity(logs, again.erasures, 0, "account/bob", positions.get("bob")!);
    expect(again.erasures.gone(life)).toBe("waiting");
    again.publisher.start();
    await isGone(again.erasures, life);
    expect(filesWith(nats, "SECRET-OF-bob")).toEqual([]);
    await published(again.publisher, logs);
    await expectSameFeeds(nats, logs);
    // What took the place of messages is still there: it was not taken for what a stream before had left.
    const link = await connectNats({ url: nats.url });
    expect((await link.jsm.streams.info("heddle-bank-repairs")).state.messages).toBeGreaterThan(0);
    await link.close();
    await again.publisher.stop();
  });

  it("waits as long as the log has not been overwritten, and while the server is away", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const positions = (await writeMarked(logs, 8)).get("alice")!;
    const { publisher, erasures } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    const life = { shard: 0, entity: "account/alice", seq: 9, position: 1 };
    erasures.bury(life, Float64Array.from(positions));
    expect(erasures.gone(life)).toBe("waiting");
    await logs.write(0, 3);
    await published(publisher, logs);
    expect(erasures.gone(life)).toBe("waiting");
    await nats.kill();
    await logs.erase(0, positions);
    await until(() => typeof erasures.gone(life) !== "string");
    expect(erasures.gone(life)).toMatchObject({ code: "SINK_UNAVAILABLE" });
    await nats.restart();
    await isGone(erasures, life);
    expect(filesWith(nats, "SECRET-OF-alice")).toEqual([]);
    await publisher.stop();
  });

  it("is done at once for what was never published, and for what was not buried", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const positions = (await writeMarked(logs, 8)).get("alice")!;
    const { publisher, erasures } = publisherOf(logs, { url: nats.url });
    const life = await eraseEntity(logs, erasures, 0, "account/alice", positions);
    expect(erasures.gone({ ...life, position: 1 })).toBe("gone");
    publisher.start();
    await isGone(erasures, life);
    await published(publisher, logs);
    expect(filesWith(nats, "SECRET-OF-alice")).toEqual([]);
    await expectSameFeeds(nats, logs);
    await publisher.stop();
  });

  it("takes the same burial twice, and in slices", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const positions = (await writeMarked(logs, 20)).get("bob")!;
    const { publisher, erasures } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    const position = logs.tombstone(0, "account/bob");
    await logs.commit(0);
    const life = { shard: 0, entity: "account/bob", seq: 21, position };
    for (const slice of [positions.slice(0, 7), positions.slice(7), positions.slice(0, 7)])
      erasures.bury(life, Float64Array.from(slice));
    await logs.erase(0, positions);
    await isGone(erasures, life);
    expect(filesWith(nats, "SECRET-OF-bob")).toEqual([]);
    await published(publisher, logs);
    await expectSameFeeds(nats, logs);
    await publisher.stop();
  });

  it("goes on after a crash at each of its places", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const all = await writeMarked(logs, 10);
    const stateFile = path.join(logs.folder, "readers.sqlite");
    const { publisher, erasures } = publisherOf(logs, { url: nats.url }, { stateFile, messageBytes: 500 });
    publisher.start();
    await published(publisher, logs);
    const life = await eraseEntity(logs, erasures, 0, "account/bob", all.get("bob")!);
    await published(publisher, logs);
    await publisher.stop();
    erasures.gone(life);
    const support = new URL("./publisher-process.spec-support.ts", import.meta.url);
    for (const place of ["publisher:repair-stored", "publisher:repair-alone", "publisher:overwritten"]) {
      const child = fork(support, [nats.url, logs.folder, "1", "2", place, stateFile]);
      const signal = await new Promise((resolve) => child.once("exit", (_, by) => resolve(by)));
      expect(signal).toBe("SIGKILL");
      // Some are erased and some are not yet: but each is there, once.
      const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
      expect(placesOf(await entriesOf(feed, 0, 700))).toEqual(placesOf(await entriesOf(logs.feed, 0, 4_096)));
      await feed.close();
    }
    const again = publisherOf(logs, { url: nats.url }, { stateFile, messageBytes: 500 });
    again.publisher.start();
    await isGone(again.erasures, life);
    expect(filesWith(nats, "SECRET-OF-bob")).toEqual([]);
    await expectSameFeeds(nats, logs);
    await again.publisher.stop();
  });
});

describe("feed from NATS: whatever happened to the stream", () => {
  // No payload is looked at: what a feed gives is held against the log's own, byte for byte.
  it.each([1, 2, 3, 4])("gives what the log gives, seed %i", async (seed) => {
    const random = seededRandom(seed);
    const below = (limit: number) => random.safeInteger() % limit;
    await using nats = await startNats({ maxPayloadBytes: 16_384 });
    using logs = new Logs({ shardCount: 2, segmentBytes: 20_000 });
    const stateFile = path.join(logs.folder, "readers.sqlite");
    const alive = new Map<string, { shard: number; positions: number[] }>();
    let { publisher, erasures } = publisherOf(logs, { url: nats.url }, { stateFile, messageBytes: 2_000 });
    const lives: ErasedLife[] = [];
    publisher.start();
    for (let step = 0; step < 60; step++) {
      const what = below(20);
      if (what === 0) {
        await nats.kill();
        await nats.restart();
      } else if (what === 1) {
        await publisher.stop();
        // Somebody deletes messages: those of a log, and repairs.
        const link = await connectNats({ url: nats.url });
        for (const stream of ["heddle-bank-0", "heddle-bank-1", "heddle-bank-repairs"]) {
          const info = await link.jsm.streams.info(stream).catch(() => undefined);
          const { last_seq: lastSeq = 0 } = info?.state ?? {};
          for (let times = below(4); lastSeq > 0 && times > 0; times--)
            await link.jsm.streams.deleteMessage(stream, 1 + below(lastSeq)).catch(() => false);
        }
        await link.close();
        const messageBytes = 500 + below(5_000);
        ({ publisher, erasures } = publisherOf(logs, { url: nats.url }, { stateFile, messageBytes }));
        publisher.start();
      } else if (what < 5 && alive.size > 0) {
        const [entity, { shard, positions }] = [...alive][below(alive.size)]!;
        alive.delete(entity);
        lives.push(await eraseEntity(logs, erasures, shard, entity, positions));
      } else {
        for (let group = below(6); group >= 0; group--) {
          const shard = below(2);
          for (let append = below(5); append >= 0; append--) {
            const entity = `account/${shard}-${step}-${below(3)}`;
            const text = "z".repeat(below(8) === 0 ? below(30_000) : below(200));
            const known = alive.get(entity) ?? { shard, positions: [] };
            known.positions.push(logs.add(shard, entity, credit(text)));
            alive.set(entity, known);
          }
          await logs.commit(shard);
        }
      }
      for (const life of lives) erasures.gone(life);
    }
    for (const life of lives) await isGone(erasures, life);
    await published(publisher, logs);
    await expectSameFeeds(nats, logs);
    await publisher.stop();
  });
});
