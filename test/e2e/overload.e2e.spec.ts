// Goal: overload slows and is told, and never loses what was acknowledged (P8).
// Method: a real node with small bounds, and clients that send more than it takes or do not read what it says.
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { startTestNode, type TestNode } from "../support/node.ts";
import { appendFrame, historyFrame, listFrame, RawClient, transactFrame } from "../support/raw-client.ts";

const notes = fileURLToPath(new URL("./notes.ts", import.meta.url));
const padding = "x".repeat(500);
const credit = { type: "Credited", payload: { amount: 1, reference: padding } };

describe("overload", () => {
  it("P8: a full thread queue answers OVERLOADED, every call gets one answer, and nothing acknowledged is lost", async () => {
    await using node = await startTestNode({ shards: 1, threadBytesMax: 32 * 1024 });
    const client = await RawClient.open(node.port, 5);
    const calls = 3_000;
    const frames = Array.from({ length: calls }, (_, i) => appendFrame(i + 1, `account/${i % 100}`, [credit]));
    client.send(Buffer.concat(frames));
    await client.reply(calls);
    const answers = client.replies.slice(1);
    const receipts = answers.filter((reply) => reply.kind === "receipt");
    const refused = answers.flatMap((reply) => (reply.kind === "error" ? [reply.error] : []));
    expect(receipts.length + refused.length).toBe(calls);
    expect(new Set(answers.map((reply) => reply.call)).size).toBe(calls);
    expect(refused.length).toBeGreaterThan(0);
    for (const error of refused)
      expect(error).toMatchObject({ code: "OVERLOADED", retryable: true, facts: { depthMax: 32 * 1024 } });
    const [stats] = await node.stats();
    expect(stats!.events).toBe(receipts.length);
    client.destroy();
  });

  it("P8: a reader that does not read is held back: a few of its replies wait, not all", async () => {
    await using node = await startTestNode({ shards: 1 });
    const writer = await RawClient.open(node.port, 8);
    const big = { type: "Credited", payload: { amount: 1, reference: "y".repeat(400_000) } };
    const events = 8;
    for (let call = 1; call <= events; call++) writer.send(appendFrame(call, "account/big", [big]));
    await writer.reply(events);
    writer.destroy();
    // Pages of 3 MB each: 190 MB, if they were all made at once.
    await expectHeldBack(node, (call) => historyFrame(call, "account/big", 100));
  });

  it("P8: so is one that asks for lists and does not read them", async () => {
    await using node = await startTestNode({ shards: 1 });
    const writer = await RawClient.open(node.port, 8);
    const entities = 5_000;
    for (let call = 1; call <= entities; call++) {
      writer.send(appendFrame(call, `account/${"long".repeat(120)}${call}`, [{ ...credit, payload: { amount: 1 } }]));
    }
    await writer.reply(entities);
    writer.destroy();
    // Pages of 2.5 MB each.
    await expectHeldBack(node, (call) => listFrame(call, 10_000));
  });

  it("P8: so is one that asks for the states of several entities at one moment and does not read them", async () => {
    await using node = await startTestNode({ shards: 1, domain: notes });
    const writer = await RawClient.open(node.port, 8);
    const entities = Array.from({ length: 8 }, (_, i) => `note/${i}`);
    const noted = { type: "Noted", payload: { text: "y".repeat(300_000) } };
    for (const [i, entity] of entities.entries()) {
      writer.send(appendFrame(i + 1, entity, [noted], { aggregate: "Note" }));
    }
    await writer.reply(entities.length);
    writer.destroy();
    const operations = entities.map(
      (entity) => ({ kind: "read", entity, aggregate: "Note", wantsState: true }) as const,
    );
    // Replies of 2.4 MB each.
    await expectHeldBack(node, (call) => transactFrame(call, { operations }));
  });

  it("P8: a sender faster than the disk has never more in flight than its bound", async () => {
    await using node = await startTestNode({ shards: 1 });
    const client = await RawClient.open(node.port, 7);
    const calls = 400;
    const big = { type: "Credited", payload: { amount: 1, reference: "z".repeat(100_000) } };
    for (let call = 1; call <= calls; call++) client.send(appendFrame(call, `account/${call}`, [big]));
    let highest = 0;
    while (client.replies.length <= calls) {
      highest = Math.max(highest, await metric(node.http, "heddle_in_flight_bytes"));
      if (client.replies.length <= calls) await client.reply(client.replies.length);
    }
    // The bound is 8 MiB; one read of the socket may pass it by as much as was read.
    expect(highest).toBeLessThan(10 << 20);
    client.destroy();
  });
});

/** Sends many reads whose replies are megabytes, looks at what the node holds, and then takes them all. */
async function expectHeldBack(node: TestNode, frameOf: (call: number) => Uint8Array): Promise<void> {
  const reader = await RawClient.open(node.port, 9);
  reader.pause();
  const calls = 60;
  reader.send(Buffer.concat(Array.from({ length: calls }, (_, i) => frameOf(i + 1))));
  let held = 0;
  while (held < 8 << 20) held = await metric(node.http, "heddle_in_flight_bytes");
  // Eight pages are on their way at most; a second look, after another client was served, finds no more.
  await metric(node.http, "heddle_in_flight_bytes");
  expect(await metric(node.http, "heddle_in_flight_bytes")).toBeLessThan(40 << 20);
  reader.resume();
  const last = await reader.reply(calls);
  expect(last).toMatchObject({ kind: "value", call: calls });
  expect(reader.replies.slice(1).map((reply) => reply.call)).toEqual(Array.from({ length: calls }, (_, i) => i + 1));
  reader.destroy();
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find((found) => found.startsWith(`${name} `));
  if (line === undefined) throw new Error(`no metric ${name}`);
  return Number(line.slice(name.length + 1));
}
