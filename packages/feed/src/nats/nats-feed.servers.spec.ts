// NatsFeed against a real server: that it gives what the log's own files give, entry for entry and byte for byte.
import { headers } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import { startNats } from "../../../../infra/servers/index.ts";
import { connectNats } from "./connection.ts";
import { entriesOf, Logs, published, publisherOf, until } from "./logs.spec-support.ts";
import { NatsFeed } from "./nats-feed.ts";

async function rawLink(url: string) {
  const link = await connectNats({ url });
  return { js: link.js, jsm: link.jsm, close: () => link.close() };
}

describe("feed from NATS: what it gives", () => {
  it("gives each shard's entries as the log has them, from any record on", async () => {
    await using nats = await startNats();
    using logs = new Logs({ shardCount: 3, segmentBytes: 20_000 });
    await logs.write(0, 100);
    await logs.write(2, 7);
    const { publisher } = publisherOf(logs, { url: nats.url }, { messageBytes: 1_000 });
    publisher.start();
    await published(publisher, logs);
    const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
    expect(feed.shardCount).toBe(3);
    for (const bytesMax of [1, 700, 5_000, 1 << 20]) {
      for (const shard of [0, 1, 2])
        expect(await entriesOf(feed, shard, bytesMax)).toEqual(await entriesOf(logs.feed, shard, 4_096));
    }
    const all = await entriesOf(logs.feed, 0, 4_096);
    const records = [...new Set(all.map((line) => Number(line.split(" ")[0])))];
    for (const record of [records[1]!, records[57]!, records.at(-1)!])
      expect(await entriesOf(feed, 0, 900, record)).toEqual(all.filter((line) => Number(line.split(" ")[0]) >= record));
    await feed.close();
    await publisher.stop();
  });

  it("hears of new records, and gives them once", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 2);
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
    const seen: string[] = [];
    let at = 0;
    for (let round = 0; round < 20; round++) {
      const { mark } = feed;
      if (round > 0) {
        await logs.write(0, 3);
        await feed.changedSince(mark, 30_000);
      }
      await until(async () => {
        const chunk = await feed.read(0, at, 1 << 20);
        chunk?.visit((entry) => seen.push(String(entry.position)));
        at = chunk?.to ?? at;
        return at === logs.end(0);
      });
    }
    expect(seen).toEqual((await entriesOf(logs.feed, 0, 4_096)).map((line) => line.split(" ")[1]));
    await feed.close();
    await publisher.stop();
  });

  it("says that a message is missing, and gives its records as soon as a publisher has filled the gap", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 30);
    const { publisher } = publisherOf(logs, { url: nats.url }, { messageBytes: 1_000 });
    publisher.start();
    await published(publisher, logs);
    await publisher.stop();
    const link = await connectNats({ url: nats.url });
    for (const seq of [1, 5, 6, 9]) await link.jsm.streams.deleteMessage("heddle-bank-0", seq);
    const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
    await expect(entriesOf(feed, 0, 500)).rejects.toMatchObject({ code: "FEED_GAP", facts: { shard: 0, from: 0 } });
    await expect(entriesOf(feed, 0, 500)).rejects.toMatchObject({ code: "FEED_GAP" });
    const again = publisherOf(logs, { url: nats.url }).publisher;
    again.start();
    await published(again, logs);
    expect(await entriesOf(feed, 0, 500)).toEqual(await entriesOf(logs.feed, 0, 4_096));
    await again.stop();
    await link.close();
    await feed.close();
  });

  it("gives no record that is not what its checksum says, nor a message that is none of a log", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    await logs.write(0, 6);
    const { publisher } = publisherOf(logs, { url: nats.url }, { messageBytes: 100 });
    publisher.start();
    await published(publisher, logs);
    await publisher.stop();
    const { js, jsm, close } = await rawLink(nats.url);
    const messages = [];
    for (let seq = 1; seq <= 6; seq++) messages.push((await jsm.streams.getMessage("heddle-bank-0", { seq }))!);
    const { config } = await jsm.streams.info("heddle-bank-0");
    await jsm.streams.delete("heddle-bank-0");
    await jsm.streams.add(config);
    for (const [index, { header, data }] of messages.entries()) {
      if (index === 3) data[90]! ^= 1;
      const set = headers();
      for (const name of ["Heddle-From", "Heddle-To", "Heddle-Salt"]) set.set(name, header.get(name));
      await js.publish("heddle.bank.log.0", data, { headers: set });
    }
    const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
    const chunk = await feed.read(0, 0, 1 << 20);
    expect(chunk?.to).toBe(Number(messages[2]?.header.get("Heddle-To")));
    await expect(feed.read(0, chunk!.to, 1)).rejects.toMatchObject({
      code: "FEED_GAP",
      facts: { from: chunk!.to, found: "records that do not fit their checksums" },
    });
    await js.publish("heddle.bank.log.0", "hello");
    const last = Number(messages[5]?.header.get("Heddle-From"));
    await expect(feed.read(0, last, 1 << 20)).rejects.toMatchObject({ code: "SINK_REFUSED" });
    await feed.close();
    await close();
  });

  it("gives records that are larger than a message of the server", async () => {
    await using nats = await startNats({ maxPayloadBytes: 8_192 });
    using logs = new Logs({});
    await logs.write(0, 3);
    await logs.write(0, 2, 3, "y".repeat(20_000));
    await logs.write(0, 3);
    const { publisher } = publisherOf(logs, { url: nats.url });
    publisher.start();
    await published(publisher, logs);
    const feed = await NatsFeed.open({ context: "bank", nats: { url: nats.url } });
    expect(await entriesOf(feed, 0, 500)).toEqual(await entriesOf(logs.feed, 0, 4_096));
    await publisher.stop();
    await feed.close();
  });
});
