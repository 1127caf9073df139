// The restart scenario: how long a node with a long log needs until it answers, after a clean stop and after kill -9.
//
// The kill comes while all callers write, so that a group is under way, replies are on their way, and a checkpoint is
// behind. After each start every account is read and compared with the clients' book; after each stop the referee
// refolds the whole store. The page cache is warm, as it is when a process dies and its machine does not.
import fs from "node:fs";
import path from "node:path";
import type { NodeOptions } from "@heddle/runtime";
import type { LoadJob } from "../load/job.ts";
import type { RestartReport, RestartRun } from "../report/document.ts";
import { type Conditions, judgeTarget } from "../report/targets.ts";
import { loadScenarios, restartTargets } from "../scenarios.ts";
import { measure } from "./measure.ts";
import { callReferee, checkStates, type Server, startLoad, startNodeProcess } from "./processes.ts";
import type { RunContext } from "./run-scenario.ts";

/** Writing the events may take this long; then the restart is measured with what there is. */
const writingSecondsMax = 1_800;
/** How long a node may take to become ready before the wait is given up. */
const readyMsMax = 600_000;

export async function runRestart(context: RunContext): Promise<RestartReport> {
  const { options, folder, domain, progress } = context;
  const data = path.join(folder, "restart");
  const bookFile = path.join(folder, "restart.book.json");
  const nodeOptions: NodeOptions = {
    domain,
    data,
    host: "127.0.0.1",
    port: 0,
    durability: options.durability,
    ...(options.shards === undefined ? {} : { shards: options.shards }),
    ...(options.threads === undefined ? {} : { threads: options.threads }),
  };
  const { shape, connections } = loadScenarios.batch;
  const job: Omit<LoadJob, "port"> = {
    kind: "load",
    target: "heddle",
    connections,
    shape,
    warmupSeconds: 0,
    seconds: writingSecondsMax,
    eventsMax: options.events,
    sampleSeconds: 5,
    bookFile,
  };
  const restarted = async (startedAt: number, server: Server, what: string): Promise<RestartRun> => {
    await untilReady(server.port);
    const readyMs = Math.round(performance.now() - startedAt);
    progress.note(`${what}: ready after ${(readyMs / 1000).toFixed(2)} s`);
    const { differing } = await checkStates({
      kind: "check",
      target: "heddle",
      port: server.port,
      connections,
      bookFile,
    });
    const { rssBytes, logBytes } = await server.usage();
    await server.close();
    progress.step(`${what}: the referee refolds the store`);
    const referee = await callReferee(data, domain, bookFile);
    progress.note(`${what}: ${referee.text}`);
    return { readyMs, eventsInLog: referee.events, logBytes, rssBytes, differingStates: differing, referee };
  };

  let node = await startNodeProcess(nodeOptions);
  const { threads, shards } = node;
  const writing = await measure(node, { ...job, port: node.port }, options.durability, progress, "restart");
  progress.step("restart: stopping");
  const { logBytes } = await node.usage();
  const stoppingAt = performance.now();
  await node.close();
  const closeMs = Math.round(performance.now() - stoppingAt);
  const cleanAt = performance.now();
  node = await startNodeProcess(nodeOptions);
  const clean = await restarted(cleanAt, node, "restart after a clean stop");

  const killed: RestartRun[] = [];
  for (let kill = 1; kill <= options.rounds; kill++) {
    const what = `restart after kill -9, ${kill}/${options.rounds}`;
    progress.step(`${what}: writing until the kill`);
    node = await startNodeProcess(nodeOptions, undefined);
    const { eventsMax: _, ...endless } = job;
    const load = startLoad({ ...endless, port: node.port }, () => {});
    await load.measuring;
    // Not always the same distance from the last checkpoint.
    await new Promise((resolve) => setTimeout(resolve, (Math.min(options.seconds, 3) + 0.7 * kill) * 1000));
    await node.kill();
    load.abandon();
    await load.done;
    const killedAt = performance.now();
    node = await startNodeProcess(nodeOptions);
    killed.push(await restarted(killedAt, node, what));
  }
  if (!options.keep) {
    fs.rmSync(data, { recursive: true, force: true });
    fs.rmSync(bookFile, { force: true });
  }
  const runs = [clean, ...killed];
  const conditions: Conditions = { durability: options.durability, inMemory: context.inMemory, ownShape: true };
  const slowest = Math.max(...killed.map(({ readyMs }) => readyMs));
  return {
    durability: options.durability,
    cores: context.cores,
    threads,
    shards,
    events: clean.eventsInLog,
    logBytes,
    writing: writing.measurement,
    closeMs,
    clean,
    killed,
    targets: [
      judgeRestart(restartTargets.clean, clean.readyMs, clean.eventsInLog, "after a clean stop", conditions),
      judgeRestart(restartTargets.killed, slowest, clean.eventsInLog, "after kill -9", conditions),
    ],
    refereeOk:
      !writing.givenUp && runs.every(({ referee, differingStates }) => referee.ok && differingStates.length === 0),
  };
}

/** Events in the log that the targets are stated for. */
const eventsWanted = 10_000_000;

function judgeRestart(
  target: (typeof restartTargets)["clean"],
  readyMs: number,
  events: number,
  of: string,
  conditions: Conditions,
) {
  if (events >= eventsWanted) return judgeTarget(target, readyMs / 1000, conditions, { of });
  const outcome = judgeTarget(target, readyMs / 1000, conditions, { of });
  return { ...outcome, reached: undefined, remark: `stated for 10 M events in the log, here are ${events}` };
}

async function untilReady(port: number): Promise<void> {
  const until = performance.now() + readyMsMax;
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
    await answer.arrayBuffer();
    if (answer.ok) return;
    if (performance.now() > until) throw new Error(`the node is not ready after ${readyMsMax / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
