// Goal: what docs/how-to/publish-to-nats.md shows does what it says, with a NATS client and nothing of Heddle's.
import { committed, Heddle } from "@heddle/client";
import { jetstreamManager, type StoredMsg } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { startNats } from "../../infra/servers/index.ts";
import { startTestNode } from "../support/node.ts";
import { entriesOf, mailCredits } from "./consume-from-nats.ts";

it("how to publish to NATS: a consumer deals with each event once, and reads a log's messages byte by byte", async () => {
  await using nats = await startNats();
  await using node = await startTestNode({ shards: 1, nats: { url: nats.url, events: true } });
  await using db = new Heddle<typeof bank>({ port: node.port });
  for (let i = 1; i <= 3; i++) {
    committed(await db.entity("account/alice").append("Credited", { amount: i }));
    committed(await db.entity("account/bob").append("Credited", { amount: 10 * i }));
  }
  committed(await db.entity("account/bob").append("Debited", { amount: 5 }));
  const nc = await connect({ servers: `127.0.0.1:${nats.port}` });
  const jsm = await jetstreamManager(nc);
  const lastOf = (stream: string, subject: string): Promise<StoredMsg | null> =>
    jsm.streams.getMessage(stream, { last_by_subj: subject }).catch(() => null);
  // Both streams are there, up to the last event.
  while ((await lastOf("heddle-bank-events", "heddle.bank.events.account.bob.Debited")) === null);
  const dealtWith = new Set<string>();
  const lines: string[] = [];
  await mailCredits(
    nc,
    async (entity, seq) => !dealtWith.has(`${entity} ${seq}`) && dealtWith.add(`${entity} ${seq}`) !== undefined,
    async (line) => void lines.push(line),
    () => lines.length === 6,
  );
  expect(lines.filter((line) => line.startsWith("account/alice"))).toEqual([1, 2, 3].map((n) => `account/alice: ${n}`));
  expect(lines.filter((line) => line.startsWith("account/bob"))).toEqual([10, 20, 30].map((n) => `account/bob: ${n}`));
  const entries = [];
  let end = "0";
  for (let seq = 1; entries.length < 7; seq++) {
    const message = await jsm.streams.getMessage("heddle-bank-0", { seq }).catch(() => null);
    if (message === null) {
      seq--;
      continue;
    }
    expect(message.header.get("Heddle-From")).toBe(end);
    end = message.header.get("Heddle-To");
    entries.push(...entriesOf(message));
  }
  const alices = entries.filter(({ entity }) => entity === "account/alice");
  expect(alices).toEqual([1, 2, 3].map((seq) => ({ entity: "account/alice", seq, events: 1, erased: false })));
  await nc.close();
});
