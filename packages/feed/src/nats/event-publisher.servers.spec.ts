// One message for each event, against a real server: each once, in order for each entity, on a subject that says what it is, and
// gone when its entity is erased.
import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { filesWith } from "../../../../infra/servers/files-of.spec-support.ts";
import { type RunningServer, startNats } from "../../../../infra/servers/index.ts";
import { ReaderState } from "../reader-state.ts";
import { domain } from "../written-logs.spec-support.ts";
import { connectNats } from "./connection.ts";
import { EventNotes } from "./event-publisher.ts";
import { Logs, publisherOf, until } from "./logs.spec-support.ts";

const noted = (text: string) => ({ type: "Noted", payload: { text }, schemaVersion: 1 });

function note(logs: Logs, shard: number, entity: string, ...texts: string[]): number {
  return logs.add(shard, entity, texts.map(noted), {}, "Notes");
}

function eventPublisherOf(logs: Logs, nats: RunningServer) {
  const notes = new EventNotes(ReaderState.open(path.join(logs.folder, "readers.sqlite")));
  const json = (event: object) => JSON.stringify(event);
  const { publisher, erasures } = publisherOf(
    logs,
    { url: nats.url },
    { events: { source: logs.feed, domain, json, notes } },
  );
  const done = () =>
    until(
      () => publisher.areEventsDone && publisher.stats.isConnected,
      () => ({ ...publisher.stats, problems: publisher.problems.map(String) }),
    );
  return { publisher, erasures, done };
}

async function eventsIn(nats: RunningServer, subject = "heddle.bank.events.>") {
  const link = await connectNats({ url: nats.url });
  const found: { subject: string; id: string; event: { entity: string; seq: number; payload: { text: string } } }[] =
    [];
  for (let seq = 1; ; ) {
    const message = await link.jsm.direct.getMessage("heddle-bank-events", { seq, next_by_subj: subject });
    if (message === null) break;
    found.push({ subject: message.subject, id: message.header.get("Nats-Msg-Id"), event: message.json() });
    seq = message.seq + 1;
  }
  await link.close();
  return found;
}

/** Each entity's texts, in the order of the stream. */
async function textsByEntity(nats: RunningServer): Promise<Record<string, string[]>> {
  const texts: Record<string, string[]> = {};
  for (const { event } of await eventsIn(nats)) {
    texts[event.entity] ??= [];
    texts[event.entity]?.push(event.payload.text);
  }
  return texts;
}

describe("a message for each event", () => {
  it("has a subject of kind, name and type, an id of entity and sequence, and the event as JSON", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const position = note(logs, 0, "account/alice", "one", "two");
    note(logs, 0, "flight/LH 400/2026.11", "three");
    note(logs, 0, "konto/müller", "four");
    note(logs, 0, "$reminder/account/alice", "nobody's");
    await logs.commit(0);
    const { publisher, done } = eventPublisherOf(logs, nats);
    publisher.start();
    await done();
    await publisher.stop();
    const events = await eventsIn(nats);
    expect(events.map(({ subject, id }) => [subject, id])).toEqual([
      ["heddle.bank.events.account.alice.Noted", "account/alice:1"],
      ["heddle.bank.events.account.alice.Noted", "account/alice:2"],
      ["heddle.bank.events.flight.LH%20400.2026%2E11.Noted", "flight/LH%20400/2026.11:1"],
      ["heddle.bank.events.konto.m%C3%BCller.Noted", "konto/m%C3%BCller:1"],
    ]);
    expect(events[1]?.event).toEqual({
      shard: 0,
      position,
      index: 1,
      entity: "account/alice",
      seq: 2,
      time: 1_700_000_000_001,
      aggregate: "Notes",
      type: "Noted",
      payload: { text: "two" },
      schemaVersion: 1,
    });
  });

  it("goes on behind the last one after a stop, a lost note, a killed server, and a store that was lost", async () => {
    await using nats = await startNats();
    using logs = new Logs({ shardCount: 2, segmentBytes: 20_000 });
    const written: Record<string, string[]> = {};
    for (let round = 0; round < 6; round++) {
      const { publisher, done } = eventPublisherOf(logs, nats);
      publisher.start();
      for (let group = 0; group < 40; group++) {
        const shard = group % 2;
        for (let n = 0; n < 4; n++) {
          const entity = `account/${shard}-${n}`;
          const texts = [`${round}.${group}.a`, `${round}.${group}.b`];
          note(logs, shard, entity, ...texts);
          written[entity] = [...(written[entity] ?? []), ...texts];
        }
        await logs.commit(shard);
      }
      if (round === 2) {
        await nats.kill();
        await nats.restart();
      }
      if (round === 4) {
        await nats.kill();
        fs.rmSync(path.join(nats.folder, "store"), { recursive: true });
        await nats.restart();
      }
      // Stopped in the middle now and then.
      if (round % 2 === 0 || round === 5) await done();
      await publisher.stop();
      if (round === 3) fs.rmSync(path.join(logs.folder, "readers.sqlite"));
    }
    expect(await textsByEntity(nats)).toEqual(written);
  });

  it("stores none behind one that there is no room for, and goes on with that one", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    note(logs, 0, "account/alice", "one");
    await logs.commit(0);
    const first = eventPublisherOf(logs, nats);
    first.publisher.start();
    await first.done();
    await first.publisher.stop();
    const link = await connectNats({ url: nats.url });
    await link.jsm.streams.update("heddle-bank-events", { max_bytes: 50_000 });
    note(logs, 0, "account/alice", "x".repeat(60_000));
    note(logs, 0, "account/alice", "three");
    note(logs, 0, "account/bob", "four");
    await logs.commit(0);
    const { publisher, done } = eventPublisherOf(logs, nats);
    publisher.start();
    await until(() => publisher.problems.length > 0);
    expect(await textsByEntity(nats)).toEqual({ "account/alice": ["one"] });
    await link.jsm.streams.update("heddle-bank-events", { max_bytes: -1 });
    await until(() => publisher.problems.length === 0);
    await done();
    await publisher.stop();
    await link.close();
    const texts = { "account/alice": ["one", "x".repeat(60_000), "three"], "account/bob": ["four"] };
    expect(await textsByEntity(nats)).toEqual(texts);
  });

  it("waits in front of an event that is larger than a message, says so, and the log's stream goes on", async () => {
    await using nats = await startNats({ maxPayloadBytes: 65_536 });
    using logs = new Logs({});
    note(logs, 0, "account/alice", "one");
    note(logs, 0, "account/alice", "x".repeat(70_000));
    note(logs, 0, "account/alice", "three");
    await logs.commit(0);
    const { publisher } = eventPublisherOf(logs, nats);
    publisher.start();
    await until(() => publisher.problems.length > 0);
    await until(() => publisher.stats.published[0] === logs.end(0));
    expect(publisher.problems).toMatchObject([{ code: "SINK_REFUSED" }]);
    expect(publisher.problems[0]?.message).toContain("event 2 of account/alice has 70");
    expect(publisher.stats.connections).toBe(1);
    expect(await textsByEntity(nats)).toEqual({ "account/alice": ["one"] });
    await publisher.stop();
  });

  it("overwrites the messages of an erased entity, and no other's; its next life is told", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const positions = [];
    for (let n = 0; n < 10; n++) {
      positions.push(note(logs, 0, "account/eu/alice", `SECRET-A-${n}`));
      note(logs, 0, "account/eu", "SECRET-B");
      note(logs, 0, "account/eu/alice/savings", "SECRET-C");
      await logs.commit(0);
    }
    const { publisher, erasures, done } = eventPublisherOf(logs, nats);
    publisher.start();
    await done();
    const position = logs.tombstone(0, "account/eu/alice");
    await logs.commit(0);
    const life = { shard: 0, entity: "account/eu/alice", seq: 11, position };
    erasures.bury(life, Float64Array.from(positions));
    await logs.erase(0, positions);
    await until(() => erasures.gone(life) === "gone");
    note(logs, 0, "account/eu/alice", "new");
    await logs.commit(0);
    await done();
    await publisher.stop();
    const store = path.join(nats.folder, "store");
    expect(filesWith(store, "SECRET-A")).toEqual([]);
    expect(filesWith(store, "SECRET-B")).not.toEqual([]);
    const subjects = (await eventsIn(nats, "heddle.bank.events.account.eu.alice.*")).map(({ subject }) => subject);
    expect(subjects).toEqual([
      "heddle.bank.events.account.eu.alice.Erased",
      "heddle.bank.events.account.eu.alice.Noted",
    ]);
    expect((await textsByEntity(nats))["account/eu/alice/savings"]).toHaveLength(10);
  });

  it("erases them also when the node publishes no events any more", async () => {
    await using nats = await startNats();
    using logs = new Logs({});
    const at = note(logs, 0, "account/alice", "SECRET");
    await logs.commit(0);
    const { publisher, done } = eventPublisherOf(logs, nats);
    publisher.start();
    await done();
    await publisher.stop();
    const later = publisherOf(logs, { url: nats.url });
    later.publisher.start();
    const life = { shard: 0, entity: "account/alice", seq: 2, position: at + 1 };
    later.erasures.bury(life, Float64Array.of(at));
    await logs.erase(0, [at]);
    await until(() => later.erasures.gone(life) === "gone");
    expect(await eventsIn(nats)).toEqual([]);
    await later.publisher.stop();
  });
});
