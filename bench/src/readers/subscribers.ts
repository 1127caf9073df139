// The subscribers of the readers scenario, as a process of their own: node readers/subscribers.ts <job as JSON>
//
// Every account has a subscriber of its own. Appends fall due at a rate, whether or not the node keeps up; how long one takes
// counts from when it was due to when its subscriber has it.
import { Heddle } from "@heddle/client";
import type bank from "@heddle-examples/bank";
import { accountNames, aggregate } from "../load/accounts.ts";
import { LatencyHistogram, type LatencySummary } from "../statistics/histogram.ts";

export interface SubscribersJob {
  readonly port: number;
  readonly subscribers: number;
  readonly eventsPerSecond: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
}

export interface SubscribersResult {
  readonly subscribers: number;
  /** Appended, and acknowledged. */
  readonly events: number;
  readonly offeredPerSecond: number;
  readonly latency: LatencySummary;
  readonly missing: number;
  readonly double: number;
  /** That came behind a later one of its account. */
  readonly outOfOrder: number;
  readonly cpuSeconds: number;
}

const connections = 4;
const tickMs = 1;
/** After the last append, subscribers may take so long before what they have not got counts as missing. */
const graceMs = 10_000;

if (import.meta.main) {
  process.on("disconnect", () => process.exit(1));
  const result = await run(JSON.parse(process.argv[2]!) as SubscribersJob);
  process.send!(result, () => process.exit(0));
}

async function run(job: SubscribersJob): Promise<SubscribersResult> {
  const { port, subscribers, eventsPerSecond } = job;
  await using db = new Heddle<typeof bank>({ host: "127.0.0.1", port, connections });
  await db.ready();
  const opening = { type: "Credited", payload: { amount: 1 } } as const;
  const accounts = accountNames.slice(0, subscribers).map((name) => db.entity(name));
  await Promise.all(accounts.map((account) => account.append(opening.type, opening.payload, { aggregate })));

  const dueAt: number[] = [];
  const seen: number[] = [];
  const latency = new LatencyHistogram();
  const warmupEvents = Math.floor(job.warmupSeconds * eventsPerSecond);
  let arrived = 0;
  let outOfOrder = 0;
  const ending = new AbortController();
  const reading = accounts.map(async (account) => {
    let seqBefore = 1;
    try {
      for await (const { seq, payload } of account.subscribe(aggregate, { from: 2, signal: ending.signal })) {
        const number = Number(payload.reference);
        if (seq !== seqBefore + 1) outOfOrder++;
        seqBefore = seq;
        seen[number] = (seen[number] ?? 0) + 1;
        arrived++;
        if (number >= warmupEvents) latency.record(performance.now() - dueAt[number]!);
      }
    } catch (error) {
      if (!ending.signal.aborted) throw error;
    }
  });

  const cpu = process.cpuUsage();
  const total = warmupEvents + Math.floor(job.seconds * eventsPerSecond);
  const startedAt = performance.now();
  const appends: Promise<unknown>[] = [];
  while (dueAt.length < total) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * eventsPerSecond));
    while (dueAt.length < due) {
      const number = dueAt.length;
      dueAt.push(startedAt + (number / eventsPerSecond) * 1000);
      const account = accounts[Math.floor(Math.random() * subscribers)]!;
      appends.push(account.append("Credited", { amount: 1, reference: String(number) }, { aggregate }));
    }
    await new Promise((resolve) => setTimeout(resolve, tickMs));
  }
  const offeredPerSecond = Math.round((1000 * total) / (performance.now() - startedAt));
  await Promise.all(appends);
  const until = performance.now() + graceMs;
  while (arrived < total && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, tickMs));
  const { user, system } = process.cpuUsage(cpu);
  ending.abort();
  await Promise.all(reading);
  let missing = 0;
  let double = 0;
  for (let number = 0; number < total; number++) {
    if (seen[number] === undefined) missing++;
    else if (seen[number]! > 1) double++;
  }
  return {
    subscribers,
    events: total,
    offeredPerSecond,
    latency: latency.summary(),
    missing,
    double,
    outOfOrder,
    cpuSeconds: Number(((user + system) / 1e6).toFixed(2)),
  };
}
