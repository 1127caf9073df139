// The reminders scenario: a million are pending, the node is started again, and half of them become due within seconds.
//
// What it shows: how fast a node with so many starts, how many it delivers in a second when more are due than it can deliver,
// that none is early, lost or there twice, and what memory that takes. The bound on the release rate is lifted for it: by
// itself a node lets 10,000 leave in a second, so that callers do not feel it.
import { fork } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { NodeOptions } from "@heddle/runtime";
import type { RemindersJob, RemindersMessage } from "../reminders/client.ts";
import { duePerEntity, offeredPerSecond, remindersPerEntity, spreadMs } from "../reminders/plan.ts";
import type { RemindersReport } from "../report/document.ts";
import { judgeTarget } from "../report/targets.ts";
import { reminderTargets } from "../scenarios.ts";
import { OwnMemory } from "./own-memory.ts";
import { startNodeProcess } from "./processes.ts";
import type { RunContext } from "./run-scenario.ts";

/** Stated for so many. */
const remindersWanted = 1_000_000;
const ratePerSecondMax = 1_000_000;
const callers = 512;
const pollMs = 250;
/** Without a delivery for so long after the last one was due, the wait is given up. */
const silenceMsMax = 60_000;

export async function runReminders(context: RunContext): Promise<RemindersReport> {
  const { options, folder, domain, progress } = context;
  const data = path.join(folder, "reminders");
  const entities = Math.floor(options.reminders / remindersPerEntity);
  const due = entities * duePerEntity;
  const nodeOptions: NodeOptions = {
    domain,
    data,
    host: "127.0.0.1",
    port: 0,
    durability: options.durability,
    shards: options.shards ?? 2,
    // Nobody calls while reminders are delivered, so the listener needs no core for itself.
    threads: options.threads ?? 2,
    reminders: { ratePerSecondMax },
  };
  let node = await startNodeProcess(nodeOptions);
  const job: RemindersJob = { kind: "set", port: node.port, entities, callers: options.callers ?? callers };
  const { from, seconds } = await runClient(job, (done) => {
    const total = entities * remindersPerEntity;
    progress.step("reminders: setting", done.toLocaleString("en-GB"), done / total);
  });
  await node.close();

  const startedAt = performance.now();
  node = await startNodeProcess(nodeOptions, options.profile);
  const readyMs = Math.round(performance.now() - startedAt);
  const readyAt = Date.now();
  progress.note(`reminders: ready with ${(entities * remindersPerEntity).toLocaleString("en-GB")} after ${readyMs} ms`);
  const memory = new OwnMemory(node.pid);
  const end = from + spreadMs({ entities });
  let delivered = 0;
  let movedAt = Date.now();
  while (delivered < due && Date.now() < Math.max(movedAt, end) + silenceMsMax) {
    await new Promise((resolve) => setTimeout(resolve, pollMs));
    const now = await deliveredBy(node.port);
    if (now > delivered) movedAt = Date.now();
    delivered = now;
    const wait = from - Date.now();
    if (wait > 0) progress.step("reminders: the first is due", `in ${Math.ceil(wait / 1000)} s`);
    else progress.step("reminders: delivering", delivered.toLocaleString("en-GB"), delivered / due);
  }
  const ownMemory = memory.stop();
  const { logBytes, cpuMs } = await node.usage();
  const { threads, shards } = node;
  await node.close();
  progress.step("reminders: the judge and the audit read the store");
  const { verdict, audit } = await runClient({ kind: "judge", data, domain, plan: { entities, from } }, () => {});
  if (!options.keep) fs.rmSync(data, { recursive: true, force: true });

  // Those that were due before the node was there again could not be delivered earlier.
  const tookMs = Math.max(1, verdict.lastAt - Math.max(from, readyAt));
  const perSecond = Math.round((1_000 * verdict.delivered) / tookMs);
  const conditions = { durability: options.durability, inMemory: context.inMemory, ownShape: true };
  const outcome = judgeTarget(reminderTargets.rate, perSecond, conditions);
  const remark = `stated for ${remindersWanted.toLocaleString("en-GB")} reminders`;
  return {
    durability: options.durability,
    cores: context.cores,
    threads,
    shards,
    entities,
    reminders: entities * remindersPerEntity,
    due,
    offeredPerSecond,
    ratePerSecondMax,
    setSeconds: Number(seconds.toFixed(2)),
    readyMs,
    deliveriesPerSecond: perSecond,
    verdict,
    cpuSeconds: Number((cpuMs / 1000).toFixed(2)),
    memory: ownMemory,
    logBytes,
    audit,
    targets: [options.reminders >= remindersWanted ? outcome : { ...outcome, reached: undefined, remark }],
    refereeOk: verdict.objectionTotal === 0 && audit.ok,
  };
}

/** Out of the node's own metrics, over all shards. */
async function deliveredBy(port: number): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  const lines = (await answer.text()).split("\n");
  return lines
    .filter((line) => line.startsWith("heddle_reminders_total{") && line.includes('outcome="delivered"'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

function runClient<J extends RemindersJob>(
  job: J,
  onProgress: (done: number) => void,
): Promise<Extract<RemindersMessage, { readonly kind: J["kind"] }>> {
  const module = fileURLToPath(new URL("../reminders/client.ts", import.meta.url));
  const child = fork(module, [JSON.stringify(job)], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
  type Answer = Extract<RemindersMessage, { readonly kind: J["kind"] }>;
  return new Promise((resolve, reject) => {
    let answer: Answer | undefined;
    child.on("message", (message: RemindersMessage) => {
      if (message.kind === "progress") onProgress(message.done);
      else answer = message as Answer;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (answer === undefined) reject(new Error(`the client ended with ${code} and no answer`));
      else resolve(answer);
    });
  });
}
