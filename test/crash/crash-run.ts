// CrashRun: one data folder, one load, and a node that is killed again and again.
//
// Of each kill: the node starts on the folder, clients that were waiting go on, the node dies at the named place, and
// while it is dead its files are held against what the clients were told so far. At the end, and now and then between,
// the clients pause and the running node is asked for everything as well; last of all it is stopped in order.
//
// The choices come from a seed. That they meet the same instruction again is not promised: processes and disks have
// their own time.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Durability } from "@heddle/event-log";
import type { ShardLimits } from "@heddle/shard/internal";
import { freePort } from "../../infra/servers/index.ts";
import { check, describeFaults, type StoredEntity } from "./checker.ts";
import type { Dice } from "./dice.ts";
import { isRefused, Ledger, type SentAppend } from "./ledger.ts";
import { Load } from "./load.ts";
import { NodeProcess } from "./node-process.ts";
import { countSegments, readFiles, readOverHttp, readOverSdk } from "./read-store.ts";

/** Every crash point, with the passings to choose from: those are counted by thread, and rare ones come rarely. */
export const crashPoints = {
  "log:before-write": 60,
  "log:on-its-way": 60,
  "log:after-sync": 60,
  "log:segment-created": 4,
  "shard:before-reply": 60,
  "shard:after-reply": 60,
  "checkpoint:begun": 5,
  "checkpoint:before-commit": 5,
  "checkpoint:after-commit": 5,
  "partition:entities-durable": 5,
  "partition:filter-durable": 5,
  "partition:ids-durable": 5,
  "partition:covered": 5,
} as const;

export type Kill =
  /** The process kills itself when it passes the point for this time. */
  | { readonly kind: "at-point"; readonly point: keyof typeof crashPoints; readonly passing: number }
  /** It is killed when clients have seen so many acknowledgments more. */
  | { readonly kind: "under-load"; readonly acknowledgments: number }
  /** It is killed when so many of its shards have recovered. */
  | { readonly kind: "while-recovering"; readonly shards: number };

export interface Shape {
  readonly shards: number;
  readonly threads: number;
  readonly durability: Durability;
  readonly limits: Partial<ShardLimits>;
}

export interface CrashRunOptions {
  readonly dice: Dice;
  readonly shape: Shape;
  readonly kills: readonly Kill[];
  /** The running node is asked after every so many kills. */
  readonly askEvery: number;
  readonly progress: (line: string) => void;
}

export interface CrashTotals {
  readonly kills: number;
  readonly appends: number;
  readonly events: number;
  /** Sendings that were acknowledged, and among them those that had taken effect before. */
  readonly acknowledged: number;
  readonly duplicates: number;
  /** Appends that were refused by a rule, an expected sequence, a command or an id. */
  readonly refused: number;
  /** Appends of which no client knows what became of them. */
  readonly unanswered: number;
  readonly cutTails: number;
  readonly segments: number;
}

export function addTotals(a: CrashTotals, b: CrashTotals): CrashTotals {
  const keys = Object.keys(a) as (keyof CrashTotals)[];
  return Object.fromEntries(keys.map((key) => [key, a[key] + b[key]])) as unknown as CrashTotals;
}

/** Segments and checkpoints so small that both come many times in a second. */
export function randomShape(dice: Dice): Shape {
  const shards = dice.between(2, 5);
  return {
    shards,
    threads: 2,
    // A killed process loses nothing in mode `os` either: the kernel has what was written.
    durability: dice.chance(75) ? "fsync" : "os",
    limits: {
      segmentBytes: dice.pick([16, 48, 128]) * 1024,
      checkpointBytes: dice.pick([16, 64, 256]) * 1024,
      checkpointIntervalMs: 50,
      activeEntitiesMax: dice.pick([5, 1_000]),
      stateBytesMax: dice.pick([20_000, 64 << 20]),
      groupBytesMax: dice.pick([2 * 1024, 4 << 20]),
      lingerMs: dice.pick([0, 0, 2]),
    },
  };
}

export function killAt(point: keyof typeof crashPoints, dice: Dice): Kill {
  return { kind: "at-point", point, passing: dice.between(1, crashPoints[point]) };
}

export function killUnderLoad(dice: Dice): Kill {
  return { kind: "under-load", acknowledgments: dice.between(1, 800) };
}

export function killWhileRecovering(dice: Dice): Kill {
  return { kind: "while-recovering", shards: dice.between(0, 2) };
}

/** Errors: throws with every fault found and where the data lies; the data folder is kept then. */
export async function crashRun(options: CrashRunOptions): Promise<CrashTotals> {
  const run = new CrashRun(options, await freePort());
  return run.run();
}

/** Whatever is waited for comes much sooner, or not at all. */
const patienceMs = 300_000;

class CrashRun {
  readonly #options: CrashRunOptions;
  readonly #port: number;
  readonly #data = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-crash-"));
  readonly #ledger = new Ledger();
  #node: NodeProcess | undefined;
  #phase = "";
  #cutTails = 0;

  constructor(options: CrashRunOptions, port: number) {
    this.#options = options;
    this.#port = port;
  }

  async run(): Promise<CrashTotals> {
    const { dice, kills, askEvery } = this.#options;
    const load = new Load({
      port: this.#port,
      ledger: this.#ledger,
      dice: dice.fork(),
      accounts: Array.from({ length: 30 }, (_, index) => `crash-${index}`),
      clients: 3,
      callersPerClient: 12,
      httpCallers: 4,
      keepsOrder: true,
    });
    try {
      for (const [index, kill] of kills.entries()) {
        this.#phase = `kill ${index + 1} of ${kills.length}, ${JSON.stringify(kill)}`;
        await this.#startAndKill(kill);
        this.#checkFiles();
        // A client that dies with the node: its last calls have no answer, and nobody asks again.
        if (dice.chance(30)) await load.replaceClient(dice.between(0, 2));
        this.#options.progress(this.#describe());
        if ((index + 1) % askEvery === 0) await this.#startAndAsk(load);
      }
      await this.#finish(load);
    } catch (error) {
      this.#node?.kill();
      await load.abandon();
      throw new Error(`${(error as Error).message}\nin ${this.#phase}; data: ${this.#data}`, { cause: error });
    }
    const totals = this.#totals();
    fs.rmSync(this.#data, { recursive: true, force: true });
    return totals;
  }

  #start(crashAt?: string): NodeProcess {
    const { shape } = this.#options;
    const node = new NodeProcess({ data: this.#data, port: this.#port, ...shape, ...(crashAt && { crashAt }) });
    this.#node = node;
    node.onLog((line) => {
      if (Number(line["cutBytes"] ?? 0) > 0) this.#cutTails++;
    });
    return node;
  }

  async #startAndKill(kill: Kill): Promise<void> {
    const node = this.#start(kill.kind === "at-point" ? `${kill.point}:${kill.passing}` : undefined);
    if (kill.kind === "while-recovering") {
      const enough = Promise.withResolvers<void>();
      let left = kill.shards;
      if (left === 0) enough.resolve();
      node.onLog(({ msg }) => {
        if (msg === "shard is open" && --left === 0) enough.resolve();
      });
      await this.#within("recovery", Promise.race([enough.promise, node.settled]));
    } else {
      await this.#ready(node);
      if (kill.kind === "under-load") {
        await this.#within("acknowledgments", this.#ledger.whenAcknowledged(kill.acknowledgments));
      }
    }
    if (kill.kind !== "at-point") node.kill();
    const { code, signal } = await this.#within("the node's death", node.exited);
    if (signal !== "SIGKILL") throw new Error(`the node ended by itself: code ${code}, signal ${signal}`);
  }

  async #ready(node: NodeProcess): Promise<void> {
    const settled = await this.#within("the node's start", node.settled);
    // A point that a checkpoint passes can come before the port is open.
    if (settled === "refused")
      throw new Error(`the node refused to start: ${node.refusal!.code}: ${node.refusal!.message}`);
  }

  async #startAndAsk(load: Load): Promise<void> {
    this.#phase = `asking the node, after ${this.#phase}`;
    const node = this.#start();
    await this.#ready(node);
    await this.#within("new acknowledgments", this.#ledger.whenAcknowledged(1));
    await this.#within("the clients' pause", load.pause());
    await this.#ask();
    load.resume();
    await this.#within("new acknowledgments", this.#ledger.whenAcknowledged(1));
    node.kill();
    await this.#within("the node's death", node.exited);
    this.#checkFiles();
  }

  async #finish(load: Load): Promise<void> {
    this.#phase = "the last start";
    await this.#ready(this.#start());
    await this.#within("new acknowledgments", this.#ledger.whenAcknowledged(1));
    await this.#within("the clients' end", load.stop());
    await this.#ask();
    const { code } = await this.#within("the node's end", this.#node!.close());
    if (code !== 0) throw new Error(`the node was stopped in order and ended with code ${code}`);
    this.#checkFiles();
    this.#phase = "the start after a stop in order";
    await this.#ready(this.#start());
    await this.#ask();
    await this.#within("the node's end", this.#node!.close());
  }

  async #ask(): Promise<void> {
    const { entities } = this.#ledger;
    this.#check(await this.#within("histories over the SDK", readOverSdk(this.#port, entities)));
    this.#check(await this.#within("histories over HTTP", readOverHttp(this.#port, entities)));
  }

  #checkFiles(): void {
    this.#check(readFiles(this.#data, this.#options.shape.shards));
  }

  #check(store: readonly StoredEntity[]): void {
    const faults = check(this.#ledger, store);
    if (faults.length > 0) throw new Error(describeFaults(faults));
  }

  async #within<T>(what: string, promise: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`waited ${patienceMs} ms for ${what}`)), patienceMs);
    const surprised = this.#ledger.whenSurprised().then(() => {
      throw new Error(`surprise: ${this.#ledger.surprises[0]}`);
    });
    try {
      return await Promise.race([promise, late.promise, surprised]);
    } finally {
      clearTimeout(timer);
    }
  }

  #describe(): string {
    const { appends, events, acknowledged, unanswered, segments } = this.#totals();
    return (
      `${this.#phase}: ${appends} appends (${events} events), ${acknowledged} acknowledged, ` +
      `${unanswered} without an answer, ${segments} segments, ${this.#cutTails} torn tails`
    );
  }

  #totals(): CrashTotals {
    const { appends, answers, acknowledged } = this.#ledger;
    const lacksAnswer = ({ sendings }: SentAppend) =>
      sendings.every(({ answer }) => answer === undefined || answer.kind === "unknown");
    return {
      kills: this.#options.kills.length,
      appends: appends.length,
      events: appends.reduce((sum, append) => sum + append.events.length, 0),
      acknowledged,
      duplicates: answers["duplicate"] ?? 0,
      refused: appends.filter(isRefused).length,
      unanswered: appends.filter(lacksAnswer).length,
      cutTails: this.#cutTails,
      segments: countSegments(this.#data, this.#options.shape.shards),
    };
  }
}
