// ReadersRun: one data folder, one load, and a node with readers that is killed again and again.
//
// Of each kill: the node starts on the folder, clients go on, it dies at the named place or under load. While it is dead, what each
// sink has is held against the logs: the rows are folded once more up to the position that the sink names, so that an event which
// was left out, or counted twice, is a difference in some row. What NATS has must be the logs' own entries, one after the other. At
// the end the node starts once more, the readers catch up, and all of it is compared with all of the logs.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Heddle } from "@heddle/client";
import type { CompiledContext } from "@heddle/domain/internal";
import { LogReader, nodeDisk } from "@heddle/event-log/internal";
import { loadNats } from "@heddle/feed/internal";
import { checkProjection, makeSinks, readSinkOptions, storedRows } from "@heddle/projection/internal";
import { loadDomain, logFolderOf, projectionsFileOf } from "@heddle/runtime/internal";
import { freePort } from "../../infra/servers/index.ts";
import { compareStreams } from "./compare-streams.ts";
import type { Dice } from "./dice.ts";
import { NodeProcess } from "./node-process.ts";
import { ReaderLoad } from "./reader-load.ts";

export const readerBank = fileURLToPath(new URL("./reader-bank.ts", import.meta.url));

/** Crash points of readers, with the passings to choose from. */
export const projectionPoints = {
  "projection:before-write": 15,
  "projection:after-write": 15,
  "projection:before-swap": 1,
  "projection:after-swap": 1,
  "projection:before-scrub": 1,
  "projection:after-scrub": 1,
} as const;

export const publisherPoints = {
  "publisher:sent": 40,
  "publisher:acknowledged": 40,
  "publisher:overwritten": 2,
  "publisher:repair-stored": 2,
  "publisher:repair-alone": 2,
} as const;

export type ReaderKill =
  | { readonly kind: "at-point"; readonly point: string; readonly passing: number }
  /** When clients have had so many answers more. */
  | { readonly kind: "under-load"; readonly answers: number };

export interface ReadersRunOptions {
  readonly dice: Dice;
  /** As the node's option; none for no projections. */
  readonly sinks: readonly string[];
  readonly nats?: { readonly url: string } | undefined;
  readonly shards?: number;
  /** Whether entities are erased and begin anew. Default true. */
  readonly erases?: boolean;
  /** Told of each kill, in a line. */
  readonly progress?: (line: string) => void;
}

export interface ReadersTotals {
  kills: number;
  answers: number;
  /** Rows that were compared, all times together, and comparisons that could not be made because rows were being made anew. */
  rows: number;
  postponed: number;
  /** Entries of streams that were compared. */
  streamed: number;
}

const patienceMs = 300_000;

export class ReadersRun {
  readonly totals: ReadersTotals = { kills: 0, answers: 0, rows: 0, postponed: 0, streamed: 0 };
  readonly #options: ReadersRunOptions;
  readonly #data = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-readers-"));
  readonly #domain: CompiledContext;
  readonly #port: number;
  #node: NodeProcess | undefined;

  static async open(options: ReadersRunOptions): Promise<ReadersRun> {
    return new ReadersRun(options, await loadDomain(readerBank), await freePort());
  }

  private constructor(options: ReadersRunOptions, domain: CompiledContext, port: number) {
    this.#options = options;
    this.#domain = domain;
    this.#port = port;
  }

  /** Runs all kills and the end. Errors: throws with what differs, and where the data lies. */
  async run(kills: readonly ReaderKill[]): Promise<ReadersTotals> {
    const { dice, sinks, progress, erases = true } = this.#options;
    let load: ReaderLoad | undefined;
    let phase = "";
    try {
      for (const [i, kill] of kills.entries()) {
        phase = `kill ${i + 1} of ${kills.length}, ${JSON.stringify(kill)}`;
        const isAtPoint = kill.kind === "at-point";
        await this.#start(isAtPoint ? `${kill.point}:${kill.passing}` : undefined);
        load ??= new ReaderLoad(this.#port, dice.fork(), { hasProjections: sinks.length > 0, erases });
        const before = load.done;
        if (!isAtPoint) {
          await until(`${kill.answers} answers`, () => load!.done >= before + kill.answers || this.#isDead);
          this.#node!.kill();
        }
        const { signal } = await within(`the node's death in ${phase}`, this.#node!.exited);
        if (signal !== "SIGKILL") throw new Error(`the node ended by itself, with ${signal}`);
        this.totals.kills++;
        load.check();
        await this.#compare("so far");
        progress?.(`${phase}: ${load.done} answers, ${JSON.stringify(this.totals)}`);
      }
      phase = "the end";
      this.totals.answers = load?.done ?? 0;
      await this.#finish(load);
    } catch (error) {
      this.#node?.kill();
      await load?.stop().catch(() => undefined);
      throw new Error(`${(error as Error).stack}\nin ${phase}; data: ${this.#data}`, { cause: error });
    }
    fs.rmSync(this.#data, { recursive: true, force: true });
    return this.totals;
  }

  get #isDead(): boolean {
    return this.#node?.exit !== undefined;
  }

  async #start(crashAt: string | undefined): Promise<void> {
    const { sinks, nats, shards = 3 } = this.#options;
    // Segments so small that readers come past their ends all the time.
    const limits = { segmentBytes: 64 << 10, checkpointIntervalMs: 100 };
    this.#node = new NodeProcess({
      domain: readerBank,
      data: this.#data,
      port: this.#port,
      shards,
      threads: 1,
      limits,
      sinks,
      ...(nats === undefined ? {} : { nats: { ...nats, events: true } }),
      ...(crashAt === undefined ? {} : { crashAt }),
    });
    const settled = await within("the node's start", this.#node.settled);
    // One that dies while it starts has been killed at its point.
    if (settled === "refused") throw new Error(`the node refused to start: ${this.#node.refusal!.message}`);
  }

  async #finish(load: ReaderLoad | undefined): Promise<void> {
    await this.#start(undefined);
    const db = new Heddle({ host: "127.0.0.1", port: this.#port });
    try {
      let isFinished = false;
      // While stuck sagas are resolved: an erasure waits for them, and its caller for it.
      const finished = Promise.resolve(load?.finish()).finally(() => {
        isFinished = true;
      });
      await until("the end of all calls", async () => {
        if (!isFinished) await resolveStuck(db);
        return isFinished;
      });
      await finished;
      await until("the readers to catch up", async () => {
        await resolveStuck(db);
        // In this order: once the logs stay as they are, whoever is at their ends has all of them.
        if (!(await this.#isSettled())) return false;
        const rows = await db.projections();
        return rows.every(({ state, lagBytes }) => state === "live" && lagBytes === 0) && (await this.#isPublished());
      });
    } finally {
      await db.close();
    }
    const { code } = await within("the node's end", this.#node!.close());
    if (code !== 0) throw new Error(`the node was stopped in order and ended with code ${code}`);
    await this.#compare("whole");
  }

  // Nothing is left that would write to a log by itself: else the logs go on behind a reader that has come to their end.
  // Erasures wait for the readers, also for rows of several entities that are made anew.
  async #isSettled(): Promise<boolean> {
    const metrics = await this.#metrics();
    if (/^heddle_sagas\{.*state="(running|compensating)".*\} [1-9]/m.test(metrics)) return false;
    if (/^heddle_(transactions_pending|held_entities)(\{.*\})? [1-9]/m.test(metrics)) return false;
    return !/^heddle_\w*erasures\w*(\{.*\})? [1-9]/m.test(metrics);
  }

  /** Every shard's log. */
  async #isPublished(): Promise<boolean> {
    const { nats, shards = 3 } = this.#options;
    if (nats === undefined) return true;
    return [...(await this.#metrics()).matchAll(/^heddle_nats_lag_bytes\S* 0$/gm)].length === shards;
  }

  async #metrics(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.#port}/metrics`)).text();
  }

  async #compare(how: "so far" | "whole"): Promise<void> {
    await this.#compareSinks(how);
    if (this.#options.nats !== undefined) await this.#compareStreams(how);
  }

  async #compareSinks(how: "so far" | "whole"): Promise<void> {
    const report = (message: string) => this.#options.progress?.(message);
    const sinks = await makeSinks(readSinkOptions(this.#options.sinks), {
      file: projectionsFileOf(this.#data),
      report,
    });
    for (const sink of sinks) {
      await sink.open();
      for (const projection of this.#domain.projections.values()) {
        const stored = await storedRows(sink, projection);
        if (stored === undefined) {
          if (how === "whole") throw new Error(`${projection.name} in ${sink.name} has no rows`);
          continue;
        }
        const logs = this.#logs();
        const check = await checkProjection({ domain: this.#domain, projection, logs, stored, toldMax: 5 });
        for (const log of logs) log.close();
        this.totals.rows += check.rows;
        const name = `${projection.name} in ${sink.name}`;
        if (check.differenceTotal > 0) {
          throw new Error(`${name}: ${check.differenceTotal} differences: ${JSON.stringify(check.differences)}`);
        }
        if (check.incomparable !== undefined) this.totals.postponed++;
        if (how !== "whole") continue;
        if (check.incomparable !== undefined) throw new Error(`${name} cannot be compared: ${check.incomparable}`);
        const ends = this.#ends();
        if (check.positions.some((position, shard) => position < ends[shard]!)) {
          throw new Error(`${name} is at ${check.positions} and the logs end at ${ends}`);
        }
      }
      await sink.close();
    }
  }

  async #compareStreams(how: "so far" | "whole"): Promise<void> {
    const { nats, shards = 3 } = this.#options;
    const { NatsFeed } = await loadNats();
    const feed = await NatsFeed.open({ context: this.#domain.name, nats: nats! }).catch((error: unknown) => {
      if (how === "whole") throw error;
      return undefined;
    });
    // It was killed before anything was published.
    if (feed === undefined) return;
    try {
      this.totals.streamed += await compareStreams(feed, { data: this.#data, shards, how });
    } finally {
      await feed.close();
    }
  }

  #logs(): LogReader[] {
    const { shards = 3 } = this.#options;
    return Array.from({ length: shards }, (_, shard) => new LogReader(nodeDisk, logFolderOf(this.#data, shard)));
  }

  #ends(): number[] {
    return this.#logs().map((log) => {
      let end = 0;
      log.scan(
        0,
        () => {},
        (position, length) => {
          end = position + length;
        },
      );
      log.close();
      return end;
    });
  }
}

/** As an operator does: a compensation that meets an erased entity leaves its saga stuck, and other erasures wait for the saga. */
async function resolveStuck(db: Heddle): Promise<void> {
  const stuck = await db.sagas({ only: "stuck" });
  for (const { saga } of stuck) {
    await db.resolveSaga(saga, { as: "COMPENSATED", reason: "its entity is erased", by: "the run" });
  }
}

async function within<T>(what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`waited ${patienceMs} ms for ${what}`)), patienceMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited ${patienceMs} ms for ${what}`);
    await pause(20);
  }
}
