// NATS away for ten minutes by the clock: `npm run test:crash -- nats-away`. HEDDLE_MINUTES says how many.
//
// A node in a process of its own publishes to NATS while writers keep a steady pace. NATS is killed, stays away, is started again
// under the same load; then its store is deleted. After each the streams must be the logs, entry by entry, and NatsFeed must give
// the events of each entity in the order in which clients were told of them. Meanwhile /readyz says what is wrong, and the node's
// memory does not grow by what NATS misses: of ten minutes that is more than the node is allowed here, of two it is not.
// Half a million events at full speed: test/e2e/publish-to-nats.servers.spec.ts.
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { committed, Heddle } from "@heddle/client";
import { entityOfEntry } from "@heddle/event-log/internal";
import { loadNats } from "@heddle/feed/internal";
import { expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { freePort, startNats } from "../../infra/servers/index.ts";
import { newFolder } from "../support/node.ts";
import { compareStreams } from "./compare-streams.ts";
import { NodeProcess } from "./node-process.ts";

const minutes = Number(process.env["HEDDLE_MINUTES"] ?? 10);
const minuteMs = 60_000;
const shards = 2;
const writers = 16;
const accountsPerWriter = 25;
/** Of one writer: sixteen of them make 400 events a second, each with 1 KiB of metadata. */
const writeEveryMs = 40;
const note = "n".repeat(1_024);
/** Beyond what the node takes with NATS beside it. Ten minutes of log are 250 MiB. */
const growthBytesMax = 128 << 20;
const mib = (bytes: number) => `${(bytes / (1 << 20)).toFixed(1)} MiB`;

it(`P5 P8: streams are the logs after NATS was away for ${minutes} minutes under load, and after its store was deleted`, async () => {
  await using nats = await startNats();
  const folder = newFolder();
  const data = path.join(folder, "data");
  const port = await freePort();
  const child = new NodeProcess({ data, port, shards, threads: 1, nats: { url: nats.url } });
  expect(await child.settled).toBe("ready");
  const node = new Observed(port);
  const writing = new Writers(port);
  try {
    await node.say(`NATS is there, the node's data in ${data}`, writing);
    await pause(Math.min(minutes, 1) * minuteMs);
    await node.until("the streams follow", async () => (await node.figures()).lagBytes === 0);
    node.begin();
    await node.say("NATS is killed", writing);
    await nats.kill();
    const written = writing.events;
    const until = performance.now() + minutes * minuteMs;
    await node.until("the node to notice", async () => !(await node.ready()).nats.connected);
    for (let minute = 1; performance.now() < until; minute++) {
      await pause(Math.min(minuteMs, until - performance.now()));
      const { ready, nats: seen } = await node.ready();
      // It takes writes, and says what it does without.
      expect(ready).toBe(true);
      expect(seen).toMatchObject({ server: `NATS at ${nats.url}`, connected: false });
      expect(seen.problems.join()).toContain("cannot be reached");
      await node.say(`NATS is away, minute ${minute} of ${minutes}: ${seen.problems.join("; ")}`, writing);
    }
    const missed = writing.events - written;
    await nats.restart();
    await node.until("NATS to have what it missed", async () => (await node.figures()).lagBytes === 0);
    await node.say(`NATS is back and has the ${missed} events that it missed`, writing);
    expect((await node.ready()).nats).toEqual({ server: `NATS at ${nats.url}`, connected: true, problems: [] });
    await writing.pause();
    await node.compare(nats.url, data, writing);

    writing.resume();
    await nats.kill();
    fs.rmSync(path.join(nats.folder, "store"), { recursive: true });
    await nats.restart();
    await node.until("a new store to have everything", async () => (await node.figures()).lagBytes === 0);
    await node.say("NATS lost its store, and has everything again", writing);
    await writing.pause();
    await node.compare(nats.url, data, writing);
    expect((await node.ready()).nats).toEqual({ server: `NATS at ${nats.url}`, connected: true, problems: [] });
    expect(node.growthBytes).toBeLessThan(growthBytesMax);
    expect((await child.close()).code).toBe(0);
  } finally {
    await writing.close();
    child.kill();
    await child.exited;
  }
  fs.rmSync(folder, { recursive: true, force: true });
});

/** Clients that append one event after the other, each on accounts of its own, and keep what they were told. */
class Writers {
  readonly acknowledged = new Map<string, number>();
  events = 0;
  readonly #db: Heddle<typeof bank>;
  #isOver = false;
  #turns: Promise<void>[] = [];

  constructor(port: number) {
    this.#db = new Heddle<typeof bank>({ port });
    this.resume();
  }

  resume(): void {
    this.#isOver = false;
    this.#turns = Array.from({ length: writers }, (_, writer) => this.#run(writer));
    // Whoever pauses is told.
    for (const turn of this.#turns) turn.catch(() => {});
  }

  /** Resolves when nothing is under way. Errors: what a writer was refused. */
  async pause(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#turns);
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await this.#db.close();
    await Promise.allSettled(this.#turns);
  }

  async #run(writer: number): Promise<void> {
    const startedAt = performance.now();
    for (let turn = 0; !this.#isOver; turn++) {
      const entity = `account/a${writer}-${turn % accountsPerWriter}` as const;
      const receipt = committed(
        await this.#db.entity(entity).append("Credited", { amount: 1 }, { metadata: { note } }),
      );
      this.acknowledged.set(entity, receipt.seq);
      this.events++;
      await pause(Math.max(0, startedAt + turn * writeEveryMs - performance.now()));
    }
  }
}

interface Ready {
  readonly ready: boolean;
  readonly nats: { readonly server: string; readonly connected: boolean; readonly problems: readonly string[] };
}

/** What the node says of itself. */
class Observed {
  readonly #http: string;
  readonly #startedAt = performance.now();
  #memoryBefore = Number.POSITIVE_INFINITY;
  #memoryMax = 0;

  constructor(port: number) {
    this.#http = `http://127.0.0.1:${port}`;
  }

  async ready(): Promise<Ready> {
    return (await (await fetch(`${this.#http}/readyz`)).json()) as Ready;
  }

  async figures(): Promise<{ lagBytes: number; memoryBytes: number }> {
    const text = await (await fetch(`${this.#http}/metrics`)).text();
    const lags = [...text.matchAll(/^heddle_nats_lag_bytes\{.*\} (\d+)$/gm)].map(([, bytes]) => Number(bytes));
    const lagBytes = lags.length === 0 ? Number.POSITIVE_INFINITY : lags.reduce((sum, bytes) => sum + bytes, 0);
    const memoryBytes = Number(/^process_resident_memory_bytes (\d+)$/m.exec(text)?.[1]);
    expect(memoryBytes).toBeGreaterThan(0);
    this.#memoryMax = Math.max(this.#memoryMax, memoryBytes);
    return { lagBytes, memoryBytes };
  }

  /** What memory it has by now is its own; from here on growth counts. */
  begin(): void {
    this.#memoryBefore = this.#memoryMax;
  }

  get growthBytes(): number {
    return this.#memoryMax - this.#memoryBefore;
  }

  async say(what: string, writing: Writers): Promise<void> {
    const { lagBytes, memoryBytes } = await this.figures();
    const seconds = ((performance.now() - this.#startedAt) / 1_000).toFixed(0);
    const growth = this.growthBytes > 0 ? `, at most ${mib(this.growthBytes)} more than before` : "";
    // Not through the console: a line is to be read while the run goes on.
    process.stdout.write(
      `${seconds} s  ${what}; ${writing.events} events, ${mib(lagBytes)} of log not in NATS, ` +
        `the node has ${mib(memoryBytes)}${growth}\n`,
    );
  }

  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + 5 * minuteMs;
    while (!(await holds())) {
      if (performance.now() > deadline) {
        throw new Error(`waited ${(5 * minuteMs) / 1_000} s for ${what}: ${JSON.stringify(await this.ready())}`);
      }
      await pause(50);
    }
  }

  /** Nobody writes meanwhile. */
  async compare(url: string, data: string, writing: Writers): Promise<void> {
    await this.until("the streams' ends", async () => (await this.figures()).lagBytes === 0);
    const { NatsFeed } = await loadNats();
    const feed = await NatsFeed.open({ context: "bank", nats: { url } });
    const last = new Map<string, number>();
    const compared = await compareStreams(feed, {
      data,
      shards,
      how: "whole",
      onEntry: (entry) => {
        const entity = entityOfEntry(entry);
        if (entity.startsWith("$")) return;
        if (entry.firstSeq !== (last.get(entity) ?? 0) + 1)
          throw new Error(`${entity}: ${entry.firstSeq} comes behind ${last.get(entity) ?? 0}`);
        last.set(entity, entry.firstSeq + entry.eventCount - 1);
      },
    });
    await feed.close();
    expect(last).toEqual(writing.acknowledged);
    await this.say(`${compared} entries of the streams are those of the logs, and in order by entity`, writing);
  }
}
