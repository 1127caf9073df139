// P8: a shard thread that dies is started again, and nobody hangs.
//
// The node runs in this process. A thread is told to fail while clients are at work; its replacement stands at a gate
// until the test has looked at what goes on without it. What clients were told is then held against what is there, as
// in the crash test.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Heddle, HeddleError } from "@heddle/client";
import { parseEntityId, shardOf } from "@heddle/kernel";
import { startNode } from "@heddle/runtime";
import type bank from "@heddle-examples/bank";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { check, describeFaults, type StoredEntity } from "./checker.ts";
import { chooseSeed, Dice } from "./dice.ts";
import { type GateMessage, gateName } from "./gated-bank.ts";
import { Ledger } from "./ledger.ts";
import { Load } from "./load.ts";
import type { LogLine } from "./node-process.ts";
import { readFiles, readOverHttp, readOverSdk } from "./read-store.ts";

const gatedBank = fileURLToPath(new URL("./gated-bank.ts", import.meta.url));
const seed = chooseSeed();
const shards = 5;
const threads = 4;

/** Where threads that start wait for the test. */
class Gate {
  readonly #channel = new BroadcastChannel(gateName);
  readonly #waiting: number[] = [];
  #order: "go" | "end" | "wait" = "go";
  #arrived = Promise.withResolvers<void>();

  constructor() {
    this.#channel.onmessage = (event) => {
      const { kind, thread } = event.data as GateMessage;
      if (kind !== "waits") return;
      this.#waiting.push(thread);
      this.#arrived.resolve();
      this.#serve();
    };
  }

  /** Threads that come wait from now on; resolves when the next one has come. */
  hold(): Promise<void> {
    this.#order = "wait";
    this.#arrived = Promise.withResolvers<void>();
    return this.#arrived.promise;
  }

  /** For those that wait now, and for all that come until the next `hold`. */
  open(order: "go" | "end" = "go"): void {
    this.#order = order;
    this.#serve();
  }

  /** For those that wait now only. */
  end(): void {
    this.open("end");
    this.#order = "wait";
  }

  close(): void {
    this.#channel.close();
  }

  #serve(): void {
    if (this.#order === "wait") return;
    for (const thread of this.#waiting.splice(0)) {
      this.#channel.postMessage({ kind: this.#order, thread } satisfies GateMessage);
    }
  }
}

let data: string;
let gate: Gate;
let logs: LogLine[];
let node: Awaited<ReturnType<typeof startNode>> | undefined;

beforeEach(() => {
  data = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "heddle-thread-")), "data");
  gate = new Gate();
  logs = [];
});

afterEach(async () => {
  gate.open();
  await node?.close();
  node = undefined;
  gate.close();
  fs.rmSync(path.dirname(data), { recursive: true, force: true });
});

async function start() {
  const logger = pino({ level: "info" }, { write: (line: string) => void logs.push(JSON.parse(line) as LogLine) });
  const limits = {
    segmentBytes: 48 * 1024,
    checkpointBytes: 64 * 1024,
    checkpointIntervalMs: 50,
    activeEntitiesMax: 20,
  };
  node = await startNode({ domain: gatedBank, data, port: 0, shards, threads, limits, logger });
  return node;
}

/** Accounts of one thread: shards are dealt to threads in turn. */
function accountsOf(thread: number, count: number): string[] {
  const accounts: string[] = [];
  for (let i = 0; accounts.length < count; i++) {
    const account = parseEntityId(`account/on-${i}`);
    if (shardOf(account, shards) % threads === thread) accounts.push(account);
  }
  return accounts;
}

async function readyz(): Promise<{ status: number; down: number[] }> {
  const response = await fetch(`http://127.0.0.1:${node!.port}/readyz`);
  const { shards: all } = (await response.json()) as { shards: { shard: number; state: string }[] };
  return { status: response.status, down: all.filter(({ state }) => state !== "open").map(({ shard }) => shard) };
}

async function whenReady(): Promise<void> {
  while ((await readyz()).status !== 200);
}

function newClient(options: object = {}): Heddle<typeof bank> {
  return new Heddle<typeof bank>({ host: "127.0.0.1", port: node!.port, ...options });
}

const credit = { amount: 5 };
const account = { aggregate: "Account" } as const;

describe(`a lost shard thread (HEDDLE_SEED=${seed})`, () => {
  it("P4 P8: under load, ten times over: every call is answered, and takes effect once", async () => {
    const dice = new Dice(seed);
    const { port, failThread } = await start();
    const ledger = new Ledger();
    const load = new Load({
      port,
      ledger,
      dice: dice.fork(),
      accounts: Array.from({ length: 30 }, (_, index) => `thread-${index}`),
      clients: 3,
      callersPerClient: 12,
      httpCallers: 4,
      // A shard that is being started again refuses calls, and takes them a little later.
      keepsOrder: false,
    });
    await using bystander = newClient();
    const seqs = new Map<string, number>();
    for (let loss = 0; loss < 10; loss++) {
      await ledger.whenAcknowledged(dice.between(1, 300));
      const lost = dice.between(0, threads - 1);
      const atGate = gate.hold();
      failThread(lost);
      await atGate;
      // The lost thread cannot come back before the others have taken these.
      for (let thread = 0; thread < threads; thread++) {
        if (thread === lost) continue;
        for (const id of accountsOf(thread, 3)) {
          const seq = (seqs.get(id) ?? 0) + 1;
          expect(await bystander.entity(id).append("Credited", credit, account)).toMatchObject({ ok: true, seq });
          seqs.set(id, seq);
        }
      }
      gate.open();
      await whenReady();
    }
    await ledger.whenAcknowledged(100);
    await load.stop();

    expect(logs.filter(({ msg }) => msg === "a shard thread is lost; it is started again")).toHaveLength(10);
    expect(ledger.appends.flatMap(({ sendings }) => sendings).every(({ answer }) => answer !== undefined)).toBe(true);
    expectAsTold(ledger, await readOverSdk(port, ledger.entities));
    expectAsTold(ledger, await readOverHttp(port, ledger.entities));
    await node!.close();
    expectAsTold(
      ledger,
      readFiles(data, shards).filter(({ entity }) => !seqs.has(entity)),
    );
  });

  it("P4: appends that were under way when it died take effect once, and so do those that came while it was away", async () => {
    const { failThread } = await start();
    await using db = newClient();
    const ids = accountsOf(0, 10);
    const fifty = () =>
      ids.flatMap((id) => Array.from({ length: 50 }, () => db.entity(id).append("Credited", credit, account)));
    const atGate = gate.hold();
    const early = fifty();
    await Promise.race(early);
    failThread(0);
    await atGate;
    const late = fifty();
    gate.open();
    const receipts = [await Promise.all(early), await Promise.all(late)];
    for (const [index, id] of ids.entries()) {
      const own = receipts.flatMap((half) => half.slice(50 * index, 50 * (index + 1)));
      const seqs = own.map((result) => (result.ok ? result.firstSeq : 0)).sort((a, b) => a - b);
      expect(seqs, id).toEqual(Array.from({ length: 100 }, (_, seq) => seq + 1));
      expect(await db.entity(id).get("Account"), id).toEqual({ state: { balance: 500 }, seq: 100 });
    }
  });

  it("P8: while it is away its entities answer with typed errors, and the node says that it is not ready", async () => {
    const { port, failThread } = await start();
    await using db = newClient();
    const [lost, other] = [accountsOf(0, 1)[0]!, accountsOf(1, 1)[0]!];
    const atGate = gate.hold();
    failThread(0);
    await atGate;

    const error = await db
      .entity(lost)
      .append("Credited", credit, { ...account, timeoutMs: 5_000 })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(HeddleError);
    expect((error as HeddleError).code).toBe("SHARD_STOPPED");
    expect((error as HeddleError).retryable).toBe(true);
    const response = await fetch(`http://127.0.0.1:${port}/v1/entities/${lost}?aggregate=Account`);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ ok: false, code: "SHARD_STOPPED", retryable: true });
    expect(await readyz()).toEqual({ status: 503, down: [0, 4] });
    expect(await db.entity(other).append("Credited", credit, account)).toMatchObject({ ok: true, seq: 1 });

    gate.open();
    await whenReady();
    expect(await db.entity(lost).append("Credited", credit, account)).toMatchObject({ ok: true, seq: 1 });
  });

  it("P8: a replacement that dies before it is ready is replaced in its turn", async () => {
    const { failThread } = await start();
    await using db = newClient();
    const [id] = accountsOf(0, 1);
    expect(await db.entity(id!).append("Credited", credit, account)).toMatchObject({ ok: true, seq: 1 });
    let atGate = gate.hold();
    failThread(0);
    for (let deaths = 0; deaths < 2; deaths++) {
      await atGate;
      atGate = gate.hold();
      gate.end();
    }
    await atGate;
    gate.open();
    expect(await db.entity(id!).append("Credited", credit, account)).toMatchObject({ ok: true, seq: 2 });
  });

  it("P8: all threads at once are no more than each of them", async () => {
    const { failThread } = await start();
    await using db = newClient();
    const ids = [0, 1, 2, 3].flatMap((thread) => accountsOf(thread, 5));
    const calls = ids.map((id) => db.entity(id).append("Credited", credit, account));
    for (let thread = 0; thread < threads; thread++) failThread(thread);
    for (const result of await Promise.all(calls)) expect(result).toMatchObject({ ok: true, seq: 1 });
  });

  it("P6 P8: deletes whose thread is lost are carried over, and get their receipts from the next one", async () => {
    const { failThread } = await start();
    await using client = newClient();
    const accounts = accountsOf(0, 20);
    for (const id of accounts) await client.entity(id).append("Credited", credit, account);
    const receipts = accounts.map((id) => client.entity(id).delete());
    // The first of them is under way.
    await receipts[0];
    receipts.push(
      ...accountsOf(0, 40)
        .slice(20)
        .map(async (id) => {
          await client.entity(id).append("Credited", credit, account);
          return client.entity(id).delete();
        }),
    );
    failThread(0);
    for (const receipt of await Promise.all(receipts)) {
      expect(receipt).toMatchObject({ seq: 2, from: 1, to: 1, complete: true });
    }
    expect(logs.map(({ msg }) => msg)).not.toContain("an erasure could not go on; it is tried again");
  });

  it("a node is closed in order while a thread is away", async () => {
    const { failThread, close } = await start();
    const atGate = gate.hold();
    failThread(0);
    await atGate;
    const closed = close();
    gate.open();
    await closed;
    expect(logs.filter(({ level }) => level >= 50).map(({ msg }) => msg)).not.toContain(
      "a shard thread did not end in time; it is terminated",
    );
    node = undefined;
  });

  it("a node whose thread dies before it is ready refuses to start, and gives the data folder free", async () => {
    gate.open("end");
    const error = await start().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(HeddleError);
    expect((error as HeddleError).code).toBe("SHARD_STOPPED");
    gate.open();
    await start();
  });
});

function expectAsTold(ledger: Ledger, store: readonly StoredEntity[]): void {
  const faults = check(ledger, store);
  if (faults.length > 0) throw new Error(`HEDDLE_SEED=${seed}\n${describeFaults(faults)}`);
}
