// Gaps in the streams against a real server: that each message which is gone has its records somewhere else, however many repairs
// there are, and that it costs nothing to know it where nothing has changed. With erasures: erase-from-nats.servers.spec.ts.
import path from "node:path";
import { describe, expect, it } from "vitest";
import { type RunningServer, startNats } from "../../../../infra/servers/index.ts";
import { connectNats, type NatsLink } from "./connection.ts";
import { entriesOf, Logs, messagesOf, published, publisherOf } from "./logs.spec-support.ts";
import { NatsFeed } from "./nats-feed.ts";
import type { NatsPublisherOptions } from "./publisher.ts";

const logStream = "heddle-bank-0";
const repairStream = "heddle-bank-repairs";

async function expectSameFeed(nats: RunningServer, logs: Logs) {
  const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
  expect(await entriesOf(feed, 0, 3_000)).toEqual(await entriesOf(logs.feed, 0, 4_096));
  await feed.close();
}

/** Starts a publisher, lets it look at the streams, and stops it. Says how many messages it read for that, one at a time. */
async function publishOnce(
  nats: RunningServer,
  logs: Logs,
  messageBytes = 2_000,
  onConnected: (link: NatsLink) => void = () => {},
): Promise<number> {
  let reads = 0;
  const connect: NatsPublisherOptions["connect"] = async (options) => {
    const link = await connectNats(options);
    onConnected(link);
    const { direct } = link.jsm;
    const getMessage = direct.getMessage.bind(direct);
    direct.getMessage = (stream, query) => {
      reads++;
      return getMessage(stream, query);
    };
    return link;
  };
  const stateFile = path.join(logs.folder, "readers.sqlite");
  const { publisher } = publisherOf(logs, { url: nats.url }, { stateFile, messageBytes, connect });
  publisher.start();
  await published(publisher, logs);
  await publisher.stop();
  return reads;
}

const repairCount = async (link: NatsLink) => (await messagesOf(link, repairStream, "heddle.bank.repair.0.*.1")).length;

describe("publisher: messages that are gone", () => {
  it("finds a single one in the middle, however many more repairs there are than messages that are gone", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 100);
    await publishOnce(nats, logs);
    const link = await connectNats({ url: nats.url });
    await link.jsm.streams.deleteMessage(logStream, 3);
    // Larger messages than repairs: several of these for one of those.
    await publishOnce(nats, logs, 500);
    expect(await repairCount(link)).toBeGreaterThan(3);
    for (const seq of [6, 9]) {
      await link.jsm.streams.deleteMessage(logStream, seq);
      await publishOnce(nats, logs);
      await expectSameFeed(nats, logs);
    }
    await link.close();
  });

  it("finds that a repair is gone, or a part of one, and that what it stood for is there again", async () => {
    await using nats = await startNats({ maxPayloadBytes: 8_192 });
    using logs = new Logs({});
    await logs.write(0, 40);
    await logs.write(0, 1, 1, "y".repeat(30_000));
    await logs.write(0, 40);
    await publishOnce(nats, logs);
    const link = await connectNats({ url: nats.url });
    const parts = (await messagesOf(link, logStream, "heddle.bank.log.0")).filter(({ part }) => part !== "");
    for (const { seq } of parts) await link.jsm.streams.deleteMessage(logStream, seq);
    await link.jsm.streams.deleteMessage(logStream, 2);
    await publishOnce(nats, logs, 500);
    const repairs = await messagesOf(link, repairStream, "heddle.bank.repair.0.>");
    const tenth = repairs.findIndex(({ part }) => part === "3/5");
    expect(tenth).toBeGreaterThanOrEqual(0);
    for (const index of [0, tenth]) {
      await link.jsm.streams.deleteMessage(repairStream, repairs[index]!.seq);
      await publishOnce(nats, logs, 500);
      await expectSameFeed(nats, logs);
    }
    await link.close();
  });

  it("finds what is missing when a gap was filled with other repairs than before, and not to its end", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 100);
    await publishOnce(nats, logs);
    const link = await connectNats({ url: nats.url });
    await link.jsm.streams.deleteMessage(logStream, 3);
    await publishOnce(nats, logs, 4_000);
    const [repair] = await messagesOf(link, repairStream, "heddle.bank.repair.0.>");
    await link.jsm.streams.deleteMessage(repairStream, repair!.seq);
    let sent = 0;
    await publishOnce(nats, logs, 500, ({ js }) => {
      const publish = js.publish.bind(js);
      js.publish = (subject, ...rest) =>
        subject.includes(".repair.") && ++sent === 2 ? Promise.reject(new Error("cut off")) : publish(subject, ...rest);
    });
    expect(sent).toBeGreaterThan(3);
    await expectSameFeed(nats, logs);
    await link.close();
  });

  it("finds one part of a record that was sent in several", async () => {
    await using nats = await startNats({ maxPayloadBytes: 8_192 });
    using logs = new Logs({});
    await logs.write(0, 2);
    await logs.write(0, 1, 1, "y".repeat(30_000));
    await logs.write(0, 1, 1, "z".repeat(30_000));
    await logs.write(0, 2);
    await publishOnce(nats, logs);
    const link = await connectNats({ url: nats.url });
    const messages = await messagesOf(link, logStream, "heddle.bank.log.0");
    for (const part of ["3/5", "5/5", "1/5"]) {
      const { seq } = messages.find((message) => message.part === part)!;
      await link.jsm.streams.deleteMessage(logStream, seq);
      await publishOnce(nats, logs);
      await expectSameFeed(nats, logs);
    }
    await link.close();
  });

  it("fills it so that readers go on who had come to the end of a message which is gone", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 100);
    await publishOnce(nats, logs, 500);
    const link = await connectNats({ url: nats.url });
    const messages = await messagesOf(link, logStream, "heddle.bank.log.0");
    // In the middle, at the beginning, and at the end.
    for (const at of [10, 0, messages.length - 5])
      for (const { seq } of messages.slice(at, at + 5)) await link.jsm.streams.deleteMessage(logStream, seq);
    await publishOnce(nats, logs, 4_000);
    const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
    for (const { to } of messages)
      expect(await entriesOf(feed, 0, 3_000, to)).toEqual(await entriesOf(logs.feed, 0, 4_096, to));
    await feed.close();
    await link.close();
  });

  it("reads what stands beside a gap once, and nothing of it at the next connections", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 200);
    await publishOnce(nats, logs, 500);
    const link = await connectNats({ url: nats.url });
    for (let seq = 2; seq < 60; seq += 3) await link.jsm.streams.deleteMessage(logStream, seq);
    expect(await publishOnce(nats, logs)).toBeGreaterThan(20);
    expect(await publishOnce(nats, logs)).toBe(0);
    // One more: it is read, and no other.
    await link.jsm.streams.deleteMessage(logStream, 100);
    expect(await publishOnce(nats, logs)).toBe(2);
    expect(await publishOnce(nats, logs)).toBe(0);
    await expectSameFeed(nats, logs);
    await link.close();
  });

  it("knows nothing of a stream that was made anew under the same name", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 100);
    await publishOnce(nats, logs);
    const link = await connectNats({ url: nats.url });
    await link.jsm.streams.deleteMessage(logStream, 3);
    await publishOnce(nats, logs);
    await link.jsm.streams.delete(logStream);
    await publishOnce(nats, logs);
    await link.jsm.streams.deleteMessage(logStream, 3);
    await publishOnce(nats, logs);
    await expectSameFeed(nats, logs);
    await link.close();
  });
});
