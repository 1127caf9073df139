// The client of the sleepers scenario, as a process of its own: node sleepers/client.ts <job as JSON>
//
// Entities are bank accounts by number, each with one credit of a hundred plus its number modulo a thousand: so a reader
// knows every state without a book of ten million lines. Each append of the uniform load adds one.
import { Heddle } from "@heddle/client";
import type bank from "@heddle-examples/bank";
import { LatencyHistogram, type LatencySummary } from "../statistics/histogram.ts";

export type SleepersJob = { readonly port: number } & (
  | { readonly kind: "fill"; readonly entities: number }
  | { readonly kind: "uniform"; readonly entities: number; readonly callers: number; readonly seconds: number }
  | { readonly kind: "long"; readonly events: number }
  | { readonly kind: "list" }
  | { readonly kind: "read"; readonly names: readonly string[]; readonly times: number }
);

export interface UniformResult {
  readonly appends: number;
  readonly reads: number;
  readonly seconds: number;
  readonly appendLatency: LatencySummary;
  readonly readLatency: LatencySummary;
  /** Reads whose state was less than what that entity must hold at least. */
  readonly wrong: number;
}

export interface ListResult {
  readonly entities: number;
  readonly seconds: number;
  /** Whether each id came after the one before, by its bytes. */
  readonly inOrder: boolean;
}

export type SleepersMessage =
  | { readonly kind: "progress"; readonly done: number }
  | { readonly kind: "filled"; readonly seconds: number }
  | { readonly kind: "uniform"; readonly result: UniformResult }
  | { readonly kind: "list"; readonly result: ListResult }
  | { readonly kind: "read"; readonly latency: LatencySummary };

export const longAccount = "account/long";
const fillItems = 5_000;
const fillCalls = 4;
const connections = 4;

/** By number, so that the order of the ids is the order of the numbers. */
export function accountOf(number: number): string {
  return `account/${String(number).padStart(8, "0")}`;
}

function firstCredit(number: number): number {
  return 100 + (number % 1_000);
}

if (import.meta.main) await main(JSON.parse(process.argv[2]!) as SleepersJob);

async function main(job: SleepersJob): Promise<void> {
  process.on("disconnect", () => process.exit(1));
  const db = new Heddle<typeof bank>({ host: "127.0.0.1", port: job.port, connections });
  await db.ready();
  switch (job.kind) {
    case "fill":
      tell({ kind: "filled", seconds: await timed(() => fill(db, job.entities)) });
      break;
    case "long":
      tell({ kind: "filled", seconds: await timed(() => writeLong(db, job.events)) });
      break;
    case "uniform":
      tell({ kind: "uniform", result: await uniform(db, job) });
      break;
    case "list":
      tell({ kind: "list", result: await list(db) });
      break;
    case "read":
      tell({ kind: "read", latency: await read(db, job.names, job.times) });
      break;
  }
  await db.close();
  process.disconnect?.();
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return (performance.now() - startedAt) / 1000;
}

async function fill(db: Heddle<typeof bank>, entities: number): Promise<void> {
  let next = 0;
  let done = 0;
  const progress = setInterval(() => tell({ kind: "progress", done }), 1_000);
  const caller = async () => {
    while (next < entities) {
      const from = next;
      next = Math.min(entities, from + fillItems);
      const items = Array.from({ length: next - from }, (_, i) => ({
        entity: accountOf(from + i),
        aggregate: "Account" as const,
        type: "Credited" as const,
        payload: { amount: firstCredit(from + i), currency: "EUR" },
      }));
      const results = await db.appendMany(items, { timeoutMs: 300_000 });
      const failed = results.find(({ ok }) => !ok);
      if (failed !== undefined) throw new Error(`an account could not be opened: ${JSON.stringify(failed)}`);
      done += items.length;
    }
  };
  await Promise.all(Array.from({ length: fillCalls }, caller));
  clearInterval(progress);
}

async function writeLong(db: Heddle<typeof bank>, events: number): Promise<void> {
  const account = db.entity(longAccount);
  const one = { type: "Credited" as const, payload: { amount: 1, currency: "EUR" } };
  for (let left = events; left > 0; left -= 1_000) {
    await account.append(Array.from({ length: Math.min(left, 1_000) }, () => one));
  }
}

async function uniform(
  db: Heddle<typeof bank>,
  job: { readonly entities: number; readonly callers: number; readonly seconds: number },
): Promise<UniformResult> {
  const appendLatency = new LatencyHistogram();
  const readLatency = new LatencyHistogram();
  let wrong = 0;
  const startedAt = performance.now();
  const until = startedAt + job.seconds * 1000;
  const progress = setInterval(() => tell({ kind: "progress", done: appendLatency.count + readLatency.count }), 1_000);
  const options = { timeoutMs: 120_000 };
  const caller = async (n: number) => {
    for (let i = n; performance.now() < until; i++) {
      const number = Math.floor(Math.random() * job.entities);
      const account = db.entity(accountOf(number));
      const at = performance.now();
      if (i % 2 === 0) {
        const result = await account.append("Credited", { amount: 1, currency: "EUR" }, options);
        if (!result.ok) throw new Error(result.message);
        appendLatency.record(performance.now() - at);
      } else {
        const { state } = await account.get("Account", options);
        readLatency.record(performance.now() - at);
        if (state.balance < firstCredit(number)) wrong++;
      }
    }
  };
  await Promise.all(Array.from({ length: job.callers }, (_, n) => caller(n)));
  clearInterval(progress);
  return {
    appends: appendLatency.count,
    reads: readLatency.count,
    seconds: (performance.now() - startedAt) / 1000,
    appendLatency: appendLatency.summary(),
    readLatency: readLatency.summary(),
    wrong,
  };
}

// The ids are ASCII, so that their characters sort as their bytes do.
async function list(db: Heddle<typeof bank>): Promise<ListResult> {
  let entities = 0;
  let last = "";
  let inOrder = true;
  const startedAt = performance.now();
  const progress = setInterval(() => tell({ kind: "progress", done: entities }), 1_000);
  for await (const page of db.entities({ limit: 1_000 })) {
    for (const { entity } of page) {
      inOrder &&= entity > last;
      last = entity;
    }
    entities += page.length;
  }
  clearInterval(progress);
  return { entities, seconds: (performance.now() - startedAt) / 1000, inOrder };
}

// One after another: what a lone reader waits for.
async function read(db: Heddle<typeof bank>, names: readonly string[], times: number): Promise<LatencySummary> {
  const latency = new LatencyHistogram();
  for (let i = 0; i < times; i++) {
    for (const name of names) {
      const at = performance.now();
      await db.entity(name).get("Account");
      latency.record(performance.now() - at);
    }
  }
  return latency.summary();
}

function tell(message: SleepersMessage): void {
  if (process.send === undefined) throw new Error("this process was not started by the driver");
  process.send(message);
}
