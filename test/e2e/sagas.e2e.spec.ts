// Goal: sagas as their users and operators meet them, on a real node with four shards on two threads: by SDK, HTTP and command
// line, with their ends, repaired when they are stuck, over a lost thread and a restart.
// Method: money moves between accounts, so that every test can count it. Crashes at each point: test/crash; every order of
// outcomes: packages/saga.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { committed, Heddle, type SagaResult } from "@heddle/client";
import { type EntityId, shardOf } from "@heddle/kernel";
import { auditFolder } from "@heddle/runtime/internal";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { runPage, shell } from "../support/how-to-page.ts";
import { newFolder, startTestNode, type TestNode } from "../support/node.ts";
import type bank from "./closable-bank.ts";

const domain = fileURLToPath(new URL("./closable-bank.ts", import.meta.url));
const start = (options: Parameters<typeof startTestNode>[0] = {}) =>
  startTestNode({ domain, shards: 4, threads: 2, ...options });

// #region run
export function close(db: Heddle<typeof bank>, id: string, from: string, to: string, amount: number) {
  return db.runSaga("close-account", id, { from, to, amount });
}
// #endregion run

// #region desk
export async function repairAll(db: Heddle<typeof bank>, reason: string) {
  for (const { saga } of await db.sagas({ only: "stuck" })) {
    const { steps } = await db.showSaga(saga);
    for (const { entity, state } of steps) {
      if (state === "stuck") await db.entity(entity).append("Reopened", {});
    }
    await db.retrySaga(saga, { reason, by: "night shift" });
  }
}
// #endregion desk

async function open(db: Heddle<typeof bank>, accounts: Readonly<Record<string, number>>): Promise<void> {
  for (const [entity, amount] of Object.entries(accounts)) {
    committed(await db.entity(entity).append("Credited", { amount }));
  }
}

async function balances(db: Heddle<typeof bank>, ...accounts: readonly string[]): Promise<number[]> {
  return Promise.all(accounts.map(async (entity) => (await db.entity(entity).get()).state.balance));
}

/** Two steps of which the second pays in: 5 from alice to bob. */
function pay(db: Heddle<typeof bank>, id: string, from = "account/alice", to = "account/bob", amount = 5) {
  return db
    .saga(id)
    .step(from, { type: "Debited", payload: { amount } }, { type: "Credited", payload: { amount } }, {})
    .step(to, { command: "Deposit", input: { amount } }, { command: "Withdraw", input: { amount } }, {})
    .commit();
}

const post = async (node: TestNode, route: string, body: unknown) => {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${node.http}${route}`, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};

/** The sum of a metric over all shards; of those with a label, if one is given. */
async function metric(node: TestNode, name: string, label = ""): Promise<number> {
  const text = await (await fetch(`${node.http}/metrics`)).text();
  const samples = text.split("\n").filter((line) => line.startsWith(`${name}{`) && line.includes(label));
  expect(samples).toHaveLength(4);
  return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

const stateMetric = (node: TestNode, state: string) => metric(node, "heddle_sagas", `state="${state}"`);

async function audited(data: string) {
  const report = await auditFolder({ data, domain });
  expect(report.problems).toEqual([]);
  return report;
}

describe("sagas: their ends", () => {
  it("COMMITTED: every step is done, by builder, by name, over HTTP and the command line, and each is one entry", async () => {
    const folder = newFolder();
    await using node = await start({ data: path.join(folder, "data") });
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, { "account/alice": 100 });
    expect(await pay(db, "by-builder")).toMatchObject({
      resultType: "COMMITTED",
      saga: "by-builder",
      duplicate: false,
      steps: [
        { entity: "account/alice", state: "done", receipt: { seq: 2, count: 1 } },
        { entity: "account/bob", state: "done", receipt: { seq: 1, count: 1 } },
      ],
    });
    const input = { from: "account/alice", to: "account/bob", amount: 7 };
    expect(await db.runSaga("transfer", "by-name", input)).toMatchObject({ resultType: "COMMITTED" });
    expect(await post(node, "/v1/sagas/by-http", { name: "transfer", input })).toMatchObject({
      status: 200,
      body: { resultType: "COMMITTED", saga: "by-http" },
    });
    const forward = { type: "Debited", payload: { amount: 1 } };
    const back = { type: "Credited", payload: { amount: 1 } };
    const steps = [
      { entity: "account/alice", forward, back },
      [
        { entity: "account/bob", forward: back, back: forward },
        { entity: "account/carol", forward: { events: [back, forward, back] }, back: forward },
      ],
    ];
    expect(await post(node, "/v1/sagas/by-http-2", { steps })).toMatchObject({ body: { resultType: "COMMITTED" } });
    const typed = await shell(folder, node.url)(`heddle sagas run transfer by-cli --input '${JSON.stringify(input)}'`);
    expect(typed).toMatchObject({ code: 0, out: expect.stringMatching(/^by-cli is COMMITTED\n/) });
    expect(await balances(db, "account/alice", "account/bob", "account/carol")).toEqual([73, 27, 1]);
    const ids = (await db.entity("account/alice").history(10)).map(({ id }) => id);
    expect(ids).toEqual([
      undefined,
      ...["by-builder", "by-name", "by-http", "by-http-2", "by-cli"].map((saga) => `saga:${saga}:0:f`),
    ]);
    await node.close();
    expect(await audited(node.data)).toMatchObject({ entities: 3, sagas: { ended: 5, unfinished: 0, stuck: 0 } });
  });

  it("steps happen wherever their entities live: on two threads, beside a record on either", async () => {
    const logged: { msg?: string; shard?: number; thread?: number }[] = [];
    const logger = pino({ level: "info" }, { write: (line) => logged.push(JSON.parse(line)) });
    await using node = await start({ logger });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const opened = logged.filter(({ msg }) => msg === "shard is open");
    const threadOf = new Map(opened.map(({ shard, thread }) => [shard, thread]));
    expect(new Set(threadOf.values())).toEqual(new Set([0, 1]));
    await open(db, Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`account/${i}`, 100])));
    const seen = new Set<string>();
    for (let i = 0; i < 64; i++) {
      const { steps } = await pay(db, `t${i}`, `account/${i % 8}`, `account/${(i + 1 + ((i >> 3) % 7)) % 8}`, 1);
      const threads = steps.map(({ receipt }) => threadOf.get(receipt!.shard));
      seen.add([threadOf.get(shardOf(`$saga/t${i}` as EntityId, 4)), ...threads].join(" "));
    }
    for (const ways of ["0 0 1", "0 1 0", "1 0 1", "1 1 0"]) expect(seen).toContain(ways);
  });

  it("COMPENSATED: what was done is undone, and the result says which step said no", async () => {
    await using node = await start();
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, { "account/alice": 100, "account/bob": 9_999 });
    const result = await pay(db, "too-much");
    expect(result).toMatchObject({
      resultType: "COMPENSATED",
      steps: [
        { state: "compensated", receipt: { seq: 2 }, compensation: { seq: 3 } },
        {
          state: "refused",
          problem: { code: "INVARIANT_VIOLATED", facts: { rule: "an account holds at most 10000" } },
        },
      ],
    });
    expect(await balances(db, "account/alice", "account/bob")).toEqual([100, 9_999]);
    expect(await pay(db, "too-much")).toEqual({ ...result, duplicate: true });
    const listed = await db.sagas();
    expect(listed.map(({ saga, state }) => [saga, state])).toEqual([["too-much", "COMPENSATED"]]);
    await node.close();
    expect(await audited(node.data)).toMatchObject({ sagas: { ended: 1 } });
  });

  it("a step that is undone no more than it was done: parallel steps of which one is refused", async () => {
    await using node = await start();
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, { "account/alice": 100, "account/full": 10_000 });
    const one = { type: "Credited", payload: { amount: 1 } } as const;
    const back = { type: "Debited", payload: { amount: 1 } } as const;
    const result = await db
      .saga("side-by-side")
      .step("account/alice", back, one, {})
      .parallel((side) =>
        side.step("account/b", one, back, {}).step("account/full", one, back, {}).step("account/c", one, back, {}),
      )
      .commit();
    expect(result.resultType).toBe("COMPENSATED");
    expect(result.steps.map(({ state }) => state)).toEqual(["compensated", "compensated", "refused", "compensated"]);
    expect(await balances(db, "account/alice", "account/b", "account/c", "account/full")).toEqual([100, 0, 0, 10_000]);
  });
});

/** An account that cannot take back what was on it: see closable-bank.ts. */
async function stickOne(db: Heddle<typeof bank>, id: string, from: string): Promise<SagaResult> {
  await open(db, { [from]: 500 });
  return close(db, id, from, "account/full", 500);
}

describe("sagas: stuck", () => {
  it("are told to the caller, listed, in /metrics and in the log, without a payload", async () => {
    const lines: string[] = [];
    const logger = pino({ level: "info" }, { write: (line: string) => lines.push(line) });
    await using node = await start({ logger });
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, { "account/full": 10_000 });
    const result = await stickOne(db, "closing-17", "account/alice");
    expect(result).toMatchObject({
      resultType: "STUCK",
      steps: [
        { state: "stuck", receipt: { count: 2 }, problem: { facts: { rule: "a closed account is empty" } } },
        { state: "refused" },
      ],
    });
    expect(await db.sagas({ only: "stuck" })).toMatchObject([
      { saga: "closing-17", state: "STUCK", name: "close-account" },
    ]);
    expect(await db.sagas({ only: "unfinished" })).toHaveLength(1);
    const overHttp = await (await fetch(`${node.http}/v1/sagas?only=stuck`)).json();
    expect(overHttp).toMatchObject({ sagas: [{ saga: "closing-17" }] });
    expect(await stateMetric(node, "stuck")).toBe(1);
    expect(await metric(node, "heddle_sagas_started_total")).toBe(1);
    expect(await metric(node, "heddle_sagas_ended_total", 'result="stuck"')).toBe(1);
    const warnings = lines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ level }) => level === 40);
    expect(warnings).toMatchObject([
      { saga: "closing-17", step: 1, entity: "account/alice", code: "INVARIANT_VIOLATED", advice: expect.any(String) },
    ]);
    expect(lines.join("")).not.toContain('"amount"');
  });

  it("stay stuck over a restart, are listed and counted as before, and can be repaired then", async () => {
    const data = path.join(newFolder(), "data");
    {
      await using node = await start({ data });
      await using db = new Heddle<typeof bank>({ port: node.port });
      await open(db, { "account/full": 10_000 });
      await stickOne(db, "closing-17", "account/alice");
    }
    expect(await audited(data)).toMatchObject({ sagas: { ended: 0, stuck: 1 } });
    await using node = await start({ data });
    await using db = new Heddle<typeof bank>({ port: node.port });
    expect((await db.sagas({ only: "stuck" })).map(({ saga }) => saga)).toEqual(["closing-17"]);
    // Counted once it has been read again, a moment after the start.
    await expect.poll(() => stateMetric(node, "stuck")).toBe(1);
    await repairAll(db, "the morning after");
    expect((await db.showSaga("closing-17")).state).toBe("COMPENSATED");
    expect(await stateMetric(node, "stuck")).toBe(0);
  });

  it("go on after a retry, and keep who did it and why; they are listed as stuck no more", async () => {
    await using node = await start();
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, { "account/full": 10_000 });
    await stickOne(db, "closing-17", "account/alice");
    await db.retrySaga("closing-17", { reason: "perhaps it was a passing thing" });
    expect((await db.showSaga("closing-17")).state).toBe("STUCK");
    await repairAll(db, "reopened the account");
    expect(await balances(db, "account/alice", "account/full")).toEqual([500, 10_000]);
    expect(await db.showSaga("closing-17")).toMatchObject({
      state: "COMPENSATED",
      interventions: [
        { action: "retry", reason: "perhaps it was a passing thing", by: "" },
        { action: "retry", reason: "reopened the account", by: "night shift" },
      ],
    });
    expect(await db.sagas({ only: "stuck" })).toEqual([]);
    expect(await stateMetric(node, "stuck")).toBe(0);
    await node.close();
    expect(await audited(node.data)).toMatchObject({ sagas: { ended: 1, stuck: 0 } });
  });

  it("are ended by a resolution, which writes to none of their entities and is the answer from then on", async () => {
    await using node = await start();
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, { "account/full": 10_000 });
    await stickOne(db, "closing-17", "account/alice");
    const before = await db.entity("account/alice").get();
    expect(
      await post(node, "/v1/sagas/closing-17/resolve", { as: "COMPENSATED", reason: "paid in cash", by: "ann" }),
    ).toMatchObject({
      status: 200,
      body: { state: "COMPENSATED", interventions: [{ action: "resolve", as: "COMPENSATED", by: "ann" }] },
    });
    expect(await db.entity("account/alice").get()).toEqual(before);
    expect(await close(db, "closing-17", "account/alice", "account/full", 500)).toMatchObject({
      resultType: "COMPENSATED",
      duplicate: true,
    });
    expect(await post(node, "/v1/sagas/closing-17/retry", { reason: "again" })).toMatchObject({
      status: 409,
      body: { code: "SAGA_NOT_STUCK", facts: { state: "COMPENSATED" } },
    });
    expect(await post(node, "/v1/sagas/no-such/retry", { reason: "again" })).toMatchObject({
      status: 404,
      body: { code: "NO_SUCH_SAGA" },
    });
    await node.close();
    expect(await audited(node.data)).toMatchObject({ sagas: { ended: 1, stuck: 0 } });
  });

  it("repair-a-stuck-saga.md: its commands run, and print what it says", async () => {
    const folder = newFolder();
    await using node = await start({ data: path.join(folder, "data") });
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, { "account/savings": 10_000 });
    for (const [id, from] of [
      ["closing-17", "account/alice"],
      ["closing-18", "account/bob"],
    ] as const) {
      await open(db, { [from]: 500 });
      expect(await close(db, id, from, "account/savings", 500)).toMatchObject({ resultType: "STUCK" });
    }
    fs.writeFileSync(path.join(folder, "domain.ts"), `export { default } from ${JSON.stringify(domain)};\n`);
    await runPage("repair-a-stuck-saga.md", folder, node.url);
  });
});

describe("sagas: once (P4)", () => {
  it("the same id from two clients at the same time is one saga, and both get its result", async () => {
    await using node = await start();
    await using one = new Heddle<typeof bank>({ port: node.port });
    await using two = new Heddle<typeof bank>({ port: node.port });
    await open(one, { "account/alice": 1_000 });
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, i) => pay(i % 2 === 0 ? one : two, `pay-${i >> 2}`)),
    );
    expect(results.every(({ resultType }) => resultType === "COMMITTED")).toBe(true);
    expect(results.filter(({ duplicate }) => !duplicate)).toHaveLength(10);
    expect(await balances(one, "account/alice", "account/bob")).toEqual([950, 50]);
  });

  it("the same id with other steps is refused, while it runs and after", async () => {
    await using node = await start();
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, { "account/alice": 1_000 });
    const [first, other] = await Promise.allSettled([
      pay(db, "pay-1"),
      pay(db, "pay-1", "account/alice", "account/bob", 6),
    ]);
    expect(first).toMatchObject({ status: "fulfilled", value: { resultType: "COMMITTED" } });
    expect(other).toMatchObject({ status: "rejected", reason: { code: "ID_REUSED" } });
    await expect(pay(db, "pay-1", "account/alice", "account/carol")).rejects.toMatchObject({ code: "ID_REUSED" });
    expect(await balances(db, "account/alice", "account/bob", "account/carol")).toEqual([995, 5, 0]);
  });

  it("P7: what is no saga is refused over HTTP before anything begins", async () => {
    await using node = await start();
    const none = await post(node, "/v1/sagas/s-1", { name: "tranfer", input: {} });
    expect(none).toMatchObject({
      status: 404,
      body: { code: "UNKNOWN_SAGA", facts: { known: ["close-account", "transfer"] } },
    });
    const bad = await post(node, "/v1/sagas/s-1", { name: "transfer", input: { from: "account/a", to: 5, amount: 1 } });
    expect(bad).toMatchObject({ status: 422, body: { code: "INVALID_PAYLOAD" } });
    const forward = { type: "Credted", payload: { amount: 1 } };
    const unknown = await post(node, "/v1/sagas/s-1", { steps: [{ entity: "account/a", forward, back: null }] });
    expect(unknown).toMatchObject({ status: 404, body: { code: "UNKNOWN_EVENT_TYPE" } });
    expect(await (await fetch(`${node.http}/v1/sagas`)).json()).toEqual({ sagas: [] });
  });
});

const accounts = Array.from({ length: 20 }, (_, i) => `account/${i}`);

/** So many transfers between twenty accounts of 1,000 each; some of them are refused. */
function storm(db: Heddle<typeof bank>, count: number, name = "storm"): Promise<SagaResult>[] {
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [accounts[i % 20]!, accounts[(i * 7 + 3) % 20]!];
    const other = from === to ? accounts[(i + 1) % 20]! : to;
    return pay(db, `${name}-${i}`, from, other, 1 + ((i * 97) % 400));
  });
}

describe("sagas: over losses (P5)", () => {
  it("a thread lost in the middle: every saga comes to an end, the money is what it was", async () => {
    await using node = await start();
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, Object.fromEntries(accounts.map((entity) => [entity, 1_000])));
    const running = storm(db, 600);
    for (let i = 0; i < 3; i++) {
      await db.entity(accounts[i]!).get();
      node.failThread(i % 2);
    }
    const results = await Promise.all(running);
    expect(results.every(({ resultType }) => resultType === "COMMITTED" || resultType === "COMPENSATED")).toBe(true);
    expect((await balances(db, ...accounts)).reduce((sum, balance) => sum + balance)).toBe(20_000);
    expect(await db.sagas({ only: "unfinished" })).toEqual([]);
    await node.close();
    expect(await audited(node.data)).toMatchObject({ sagas: { ended: 600, unfinished: 0, stuck: 0 } });
  });

  it("an audit beside a running node finds nothing wrong while sagas come and go", async () => {
    await using node = await start();
    await using db = new Heddle<typeof bank>({ port: node.port });
    await open(db, Object.fromEntries(accounts.map((entity) => [entity, 1_000])));
    let isOver = false;
    const running = (async () => {
      for (let round = 0; !isOver; round++) await Promise.all(storm(db, 100, `round-${round}`));
    })();
    for (let i = 0; i < 3; i++) await audited(node.data);
    isOver = true;
    await running;
  });

  it("a node closed in the middle: what had begun goes on by itself when it is started again", async () => {
    const data = path.join(newFolder(), "data");
    {
      const node = await start({ data });
      const db = new Heddle<typeof bank>({ port: node.port });
      await open(db, Object.fromEntries(accounts.map((entity) => [entity, 1_000])));
      const running = storm(db, 400);
      const ends = Promise.allSettled(running);
      await Promise.race(running);
      await node.close();
      await db.close({ timeoutMs: 0 });
      await ends;
      await audited(data);
    }
    await using node = await start({ data });
    await using db = new Heddle<typeof bank>({ port: node.port });
    const results = await Promise.all(storm(db, 400));
    expect(results.every(({ resultType }) => resultType === "COMMITTED" || resultType === "COMPENSATED")).toBe(true);
    expect((await balances(db, ...accounts)).reduce((sum, balance) => sum + balance)).toBe(20_000);
    await node.close();
    expect(await audited(data)).toMatchObject({ sagas: { ended: 400, unfinished: 0, stuck: 0 } });
  });
});

describe("sagas: erased", () => {
  it("P6: an entity takes the records of its sagas with it, over shards; their ids take effect no more, and the audit agrees", async () => {
    const node = await start();
    const db = new Heddle<typeof bank>({ port: node.port });
    await open(db, { "account/alice": 100, "account/carol": 100 });
    const ids = Array.from({ length: 12 }, (_, i) => `gone-${i}`);
    for (const id of ids) expect(await pay(db, id)).toMatchObject({ resultType: "COMMITTED" });
    expect(await pay(db, "kept", "account/carol", "account/bob")).toMatchObject({ resultType: "COMMITTED" });
    expect(await db.entity("account/alice").delete()).toMatchObject({ complete: true });
    for (const id of ids) {
      await expect(pay(db, id)).rejects.toMatchObject({ code: "ERASED" });
      await expect(db.showSaga(id)).rejects.toMatchObject({ code: "ERASED" });
    }
    expect((await db.sagas()).map(({ saga }) => saga)).toEqual(["kept"]);
    expect(await balances(db, "account/bob", "account/carol")).toEqual([65, 95]);
    await db.close();
    await node.close();
    await audited(node.data);
  });
});
