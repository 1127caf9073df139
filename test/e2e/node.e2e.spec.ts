// Goal: one node as its users meet it: SDK and HTTP on one port, durable over a restart, told about in /metrics.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { committed, Heddle } from "@heddle/client";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { newFolder, startTestNode } from "../support/node.ts";

const page = fs.readFileSync(fileURLToPath(new URL("../../docs/reference/metrics.md", import.meta.url)), "utf8");

describe("node: one port", () => {
  it("serves the SDK and HTTP, and both see the same", async () => {
    await using node = await startTestNode({ shards: 3, threads: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const alice = db.entity("account/alice");
    const receipt = committed(await alice.append("Credited", { amount: 5000 }, { metadata: { by: "test" } }));
    expect(receipt).toMatchObject({ ok: true, seq: 1, firstSeq: 1, count: 1, duplicate: false });
    const answer = await fetch(`${node.http}/v1/entities/account/alice?aggregate=Account`);
    expect(await answer.json()).toMatchObject({ state: { balance: 5000 }, seq: 1 });
    const [event] = await alice.history(10);
    expect(event).toMatchObject({
      seq: 1,
      type: "Credited",
      payload: { amount: 5000 },
      metadata: { by: "test" },
      position: receipt.position,
    });
  });

  it("P2 P4: what was acknowledged is there after a restart, and the same id gives the first receipt", async () => {
    const data = path.join(newFolder(), "data");
    let first: unknown;
    {
      await using node = await startTestNode({ data });
      await using db = new Heddle<typeof bank>({ port: node.port });
      first = committed(await db.entity("account/bob").append("Credited", { amount: 7 }, { id: "pay-1" }));
      for (let i = 0; i < 50; i++) committed(await db.entity(`account/${i}`).append("Credited", { amount: i + 1 }));
    }
    await using node = await startTestNode({ data });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const again = committed(await db.entity("account/bob").append("Credited", { amount: 7 }, { id: "pay-1" }));
    expect(again).toEqual({ ...(first as object), duplicate: true });
    await expect(db.entity("account/bob").append("Credited", { amount: 8 }, { id: "pay-1" })).rejects.toMatchObject({
      code: "ID_REUSED",
    });
    for (let i = 0; i < 50; i++)
      expect(await db.entity(`account/${i}`).get()).toEqual({ state: { balance: i + 1 }, seq: 1 });
  });

  it("P7: an entity of a kind that is not declared cannot begin, by whatever way in, and nothing is written", async () => {
    await using node = await startTestNode({ shards: 3, threads: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const slip = "acount/alice";
    const facts = { entity: slip, kind: "acount", known: ["account", "fees"] };
    const credited = { type: "Credited", payload: { amount: 1 } } as const;
    const right = { entity: "account/bob", ...credited };
    const wrong = { entity: slip, ...credited };
    const steps = [
      { entity: "account/bob", forward: credited, back: { type: "Debited", payload: { amount: 1 } } },
      { entity: slip, forward: credited, back: null },
    ];
    const reminder = { at: Date.now() + 3_600_000, ...credited };
    for (const [method, route, body] of [
      ["POST", `/v1/entities/${slip}/append`, credited],
      ["POST", `/v1/entities/${slip}/execute`, { command: "Deposit", input: { amount: 1 } }],
      ["POST", "/v1/transactions", { operations: [right, wrong] }],
      ["POST", "/v1/sagas/pay", { steps }],
      ["PUT", `/v1/entities/${slip}/reminders/bonus`, reminder],
    ] as const) {
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`${node.http}${route}`, { method, headers, body: JSON.stringify(body) });
      const said = await answer.json();
      expect([answer.status, said], route).toMatchObject([404, { ok: false, code: "UNKNOWN_KIND", retryable: false }]);
      expect(said, route).toMatchObject({ facts });
    }
    const refused = { code: "UNKNOWN_KIND", facts };
    await expect(db.entity(slip).append("Credited", { amount: 1 })).rejects.toMatchObject(refused);
    await expect(db.transaction((tx) => void tx.append(slip, "Credited", { amount: 1 }))).rejects.toMatchObject(
      refused,
    );
    await expect(db.entity(slip).remind("bonus", { at: Date.now() + 1e6, ...credited })).rejects.toMatchObject(refused);
    const pay = db
      .saga("pay-2")
      .step("account/bob", credited, { type: "Debited", payload: { amount: 1 } })
      .step(slip, credited, null);
    await expect(pay.commit()).rejects.toMatchObject(refused);
    expect(await db.entity(slip).get()).toEqual({ state: { balance: 0 }, seq: 0 });
    expect(await db.entitiesPage()).toHaveLength(0);

    const results = await db.appendMany([right, wrong]);
    expect(results).toMatchObject([
      { ok: true, seq: 1 },
      { ok: false, error: refused },
    ]);
  });

  it("P1: appends of many callers to one entity get sequences without a gap, and none is lost", async () => {
    await using node = await startTestNode({ shards: 2, threads: 2 });
    const clients = Array.from({ length: 4 }, () => new Heddle<typeof bank>({ port: node.port }));
    const receipts = await Promise.all(
      Array.from({ length: 2_000 }, async (_, i) =>
        committed(await clients[i % 4]!.entity("account/hot").append("Credited", { amount: 1 })),
      ),
    );
    expect(receipts.map((receipt) => receipt.seq).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 2_000 }, (_, i) => i + 1),
    );
    expect(await clients[0]!.entity("account/hot").get()).toEqual({ state: { balance: 2_000 }, seq: 2_000 });
    const [stats] = (await node.stats()).filter((shard) => shard.events > 0);
    // Callers share commits: far fewer syncs than appends.
    expect(stats!.events / stats!.groups).toBeGreaterThan(2);
    await Promise.all(clients.map((client) => client.close()));
  });

  it("P3: of many debits at once only as many are taken as the balance covers", async () => {
    await using node = await startTestNode();
    await using db = new Heddle<typeof bank>({ port: node.port });
    const account = db.entity("account/shared");
    committed(await account.append("Credited", { amount: 90 }));
    const results = await Promise.all(Array.from({ length: 100 }, () => account.append("Debited", { amount: 10 })));
    expect(results.filter((result) => result.ok).length).toBe(9);
    for (const result of results) {
      if (!result.ok)
        expect(result).toMatchObject({ code: "INVARIANT_VIOLATED", facts: { rule: "balance is never negative" } });
    }
    expect(await account.get()).toEqual({ state: { balance: 0 }, seq: 10 });
  });

  it("gives a long history page by page, in order and whole", async () => {
    await using node = await startTestNode();
    await using db = new Heddle<typeof bank>({ port: node.port });
    const account = db.entity("account/long");
    for (let i = 0; i < 20; i++) {
      committed(
        await account.append(
          Array.from({ length: 250 }, (_, n) => ({ type: "Credited" as const, payload: { amount: i * 250 + n + 1 } })),
        ),
      );
    }
    const amounts: number[] = [];
    for await (const event of account.events({ pageEvents: 333 })) {
      expect(event.seq).toBe(amounts.length + 1);
      amounts.push(event.payload.amount);
    }
    expect(amounts).toEqual(Array.from({ length: 5_000 }, (_, i) => i + 1));
    expect((await account.history({ from: 4_000, direction: "backward", limit: 3 })).map((event) => event.seq)).toEqual(
      [4_000, 3_999, 3_998],
    );
    expect((await account.history(2)).map((event) => event.seq)).toEqual([4_999, 5_000]);
  });

  it("appendMany gives one result for each item, in order, good or bad", async () => {
    await using node = await startTestNode({ shards: 2 });
    await using db = new Heddle({ port: node.port });
    const results = await db.appendMany([
      { entity: "account/a", type: "Credited", payload: { amount: 1 } },
      { entity: "nonsense", type: "Credited", payload: { amount: 1 } },
      { entity: "account/b", type: "Debited", payload: { amount: 1 } },
      { entity: "account/a", type: "Credited", payload: { amount: 2 } },
      { entity: "account/c", type: "Credited", payload: { amount: -2 } },
    ]);
    expect(results).toMatchObject([
      { ok: true, seq: 1 },
      { ok: false, code: "FAILED", error: { code: "INVALID_ENTITY_ID" } },
      { ok: false, code: "INVARIANT_VIOLATED" },
      { ok: true, seq: 2 },
      { ok: false, code: "FAILED", error: { code: "INVALID_PAYLOAD" } },
    ]);
  });

  it("names in /metrics exactly what the reference explains", async () => {
    // Nobody is there; what the node says of its publisher it says all the same.
    await using node = await startTestNode({ nats: { url: "nats://127.0.0.1:1" } });
    await using db = new Heddle({ port: node.port });
    await db.entity("account/a").append("Debited", { amount: 1 });
    await db
      .entity("account/a")
      .append("Nonsense", {})
      .catch(() => {});
    await db.entity("account/a").append("Credited", { amount: 1 });
    // Projections and groups say something as soon as their threads do.
    for await (const _ of db.subscribe({ group: "billing" })) break;
    await db.query("SELECT account FROM accounts");
    const text = await (await fetch(`${node.http}/metrics`)).text();
    const shown = [...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]!);
    const explained = [...page.matchAll(/^\| `(\S+)` \|/gm)].map((match) => match[1]!);
    expect(explained.sort()).toEqual(shown.sort());
    expect(text).toContain('durability="fsync"');
    expect(text).toMatch(/heddle_rejections_total\{[^}]*code="INVARIANT_VIOLATED"[^}]*\} 1/);
  });
});
