// The sleepers scenario: many more entities on disk than fit into the memory that the node was given.
//
// What it shows: the node starts, serves appends and reads of entities picked at random over all of them, and its own
// memory stays within the budget and what the rest of it needs. And what waking an entity costs: one that is active, one
// that sleeps, one with a long history from its snapshot, the same without a snapshot that can be used.
import { fork } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { NodeOptions } from "@heddle/runtime";
import type { SleepersReport } from "../report/document.ts";
import { judgeTarget } from "../report/targets.ts";
import { sleepersTargets } from "../scenarios.ts";
import { accountOf, longAccount, type SleepersJob, type SleepersMessage } from "../sleepers/client.ts";
import type { LatencySummary } from "../statistics/histogram.ts";
import { OwnMemory } from "./own-memory.ts";
import { startNodeProcess } from "./processes.ts";
import type { RunContext } from "./run-scenario.ts";

const stateBytes = 256 << 20;
/** Stated for so many. */
const entitiesWanted = 10_000_000;
const longEvents = 100_000;
const callers = 64;
const coldReads = 2_000;

export async function runSleepers(context: RunContext): Promise<SleepersReport> {
  const { options, folder, domain, progress } = context;
  const data = path.join(folder, "sleepers");
  const entities = options.entities;
  const nodeOptions: NodeOptions = {
    domain,
    data,
    host: "127.0.0.1",
    port: 0,
    durability: options.durability,
    memory: { stateBytes },
    ...(options.shards === undefined ? {} : { shards: options.shards }),
    ...(options.threads === undefined ? {} : { threads: options.threads }),
  };
  const ask = <J extends SleepersJob>(job: J, what: string, of?: number) =>
    runClient(job, (done) => progress.step(`sleepers: ${what}`, done.toLocaleString("en-GB"), of && done / of));

  let node = await startNodeProcess(nodeOptions);
  const filling = new OwnMemory(node.pid);
  const filled = await ask({ kind: "fill", port: node.port, entities }, "opening accounts", entities);
  await ask({ kind: "long", port: node.port, events: longEvents }, "one with a long history");
  const fillMemory = filling.stop();
  await node.close();
  progress.note(`sleepers: ${entities.toLocaleString("en-GB")} accounts opened in ${filled.seconds.toFixed(0)} s`);

  const startedAt = performance.now();
  node = await startNodeProcess(nodeOptions);
  const readyMs = Math.round(performance.now() - startedAt);
  const serving = new OwnMemory(node.pid);
  const read = async (names: readonly string[], times: number): Promise<LatencySummary> =>
    (await runClient({ kind: "read", port: node.port, names, times }, () => {})).latency;
  const { result: listing } = await ask({ kind: "list", port: node.port }, "paging over all accounts", entities);
  const { activations } = await node.usage();
  const sleeping = Array.from({ length: coldReads }, () => accountOf(Math.floor(Math.random() * entities)));
  const asleep = await read(sleeping, 1);
  const active = await read(sleeping.slice(0, 100), 20);
  const longWithSnapshot = await read([longAccount], 1);
  const { result: uniform } = await ask(
    { kind: "uniform", port: node.port, entities, callers, seconds: options.seconds * 3 },
    "appends and reads of accounts at random",
  );
  const memory = serving.stop();
  const { logBytes } = await node.usage();
  await node.close();

  node = await startNodeProcess({ ...nodeOptions, domain: fileURLToPath(anotherFold) });
  const longWithoutSnapshot = await read([longAccount], 1);
  await node.close();
  const partitionBytes = sizeOf(path.join(data, "shards"), "data.mdb");
  if (!options.keep) fs.rmSync(data, { recursive: true, force: true });

  const conditions = { durability: options.durability, inMemory: context.inMemory, ownShape: true };
  const ownMegabytes = memory === undefined ? undefined : memory.maxBytes / 2 ** 20;
  const missing = "the system does not tell a process's own memory from mapped files";
  const outcome = judgeTarget(sleepersTargets.memory, ownMegabytes, conditions, { missing });
  const remark = `stated for ${entitiesWanted.toLocaleString("en-GB")} entities`;
  return {
    durability: options.durability,
    cores: context.cores,
    entities,
    stateBytes,
    logBytes,
    partitionBytes,
    fillSeconds: filled.seconds,
    fillMemory,
    readyMs,
    memory,
    listing: { ...listing, activations },
    uniform,
    activation: { active, asleep, longEvents, longWithSnapshot, longWithoutSnapshot },
    targets: [entities >= entitiesWanted ? outcome : { ...outcome, reached: undefined, remark }],
    refereeOk: uniform.wrong === 0 && listing.inOrder && listing.entities === entities + 1 && activations === 0,
  };
}

const anotherFold = new URL("../sleepers/bank-folded-anew.ts", import.meta.url);

type Answer<J extends SleepersJob> = Extract<
  SleepersMessage,
  { readonly kind: J["kind"] extends "fill" | "long" ? "filled" : J["kind"] }
>;

function runClient<J extends SleepersJob>(job: J, onProgress: (done: number) => void): Promise<Answer<J>> {
  const module = fileURLToPath(new URL("../sleepers/client.ts", import.meta.url));
  const child = fork(module, [JSON.stringify(job)], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
  return new Promise((resolve, reject) => {
    let answer: Answer<J> | undefined;
    child.on("message", (message: SleepersMessage) => {
      if (message.kind === "progress") onProgress(message.done);
      else answer = message as Answer<J>;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (answer === undefined) reject(new Error(`the client ended with ${code} and no answer`));
      else resolve(answer);
    });
  });
}

function sizeOf(folder: string, name: string): number {
  const files = fs.readdirSync(folder, { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => path.basename(file) === name)
    .reduce((sum, file) => sum + fs.statSync(path.join(folder, file)).size, 0);
}
