// startNode: puts one node together and takes it apart again.
//
// Order of opening: domain, data folder, shard threads (recovery), port. Order of closing: port, answers, threads,
// folder. The main thread routes and writes; it decides nothing and touches no disk after the start.
import os from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Durability } from "@heddle/event-log";
import { systemClock, systemRandom } from "@heddle/kernel";
import { protocolVersion } from "@heddle/protocol";
import { releasePerSecondDefault } from "@heddle/reminder";
import type { ShardStats } from "@heddle/shard";
import { defaultShardLimits, type ShardLimits, syncBucketsUs } from "@heddle/shard/internal";
import { type Logger, pino } from "pino";
import { keysFileOf, openDataFolder } from "./data-folder.ts";
import { describeContext } from "./describe-context.ts";
import { type DelayMs, delayResolutionMs, eventLoopDelay } from "./event-loop-delay.ts";
import type { Readiness } from "./http/gateway.ts";
import { openHttpDoor } from "./http/http-door.ts";
import type { EventLoopDelay, NodeMetrics, ShardMetrics } from "./http/metrics.ts";
import { Listener } from "./listener.ts";
import { loadDomain } from "./load-domain.ts";
import { gatewayConnection, NodeGateway } from "./node-gateway.ts";
import { Router, shardsOfThread } from "./router.ts";
import { ThreadLink } from "./thread-link.ts";
import type { ThreadStats } from "./thread-messages.ts";
import { version } from "./version.ts";

export interface NodeOptions {
  /** Path of the domain module: a file, or a folder with an index. */
  readonly domain: string;
  /** Path of the data folder; made when it is not there. */
  readonly data: string;
  /** Address to listen on. Default 127.0.0.1. */
  readonly host?: string;
  /** Default 9090; 0 takes any free one. */
  readonly port?: number;
  /**
   * Fixed when the data folder is made; leave it out to take what is there. Default for a new folder: one for each
   * shard thread, because every shard syncs a log of its own. Choose more for a folder that will move to more cores.
   */
  readonly shards?: number;
  /** Shard threads. Default: one fewer than there are cores, at least 1, at most one for each shard. */
  readonly threads?: number;
  /** `fsync` (default): an acknowledged event survives a power cut. `os`: it survives the process, not the machine. */
  readonly durability?: Durability;
  readonly limits?: Partial<ShardLimits>;
  /**
   * `stateBytes`: what active entities of all shards together may take in memory, as estimated; beyond it those not used
   * for longest are put to sleep. Default 256 MiB. The node takes up to 300 MB for everything else.
   */
  readonly memory?: { readonly stateBytes?: number };
  /** `ratePerSecondMax`: so many reminders leave the node in a second. Default 10,000. */
  readonly reminders?: { readonly ratePerSecondMax?: number };
  /**
   * File of the key store: the keys of backups, which an erasure destroys. Keep it on another volume than the data, and in
   * no backup. Default `keys/keys.sqlite` in the data folder.
   */
  readonly keys?: string;
  /** Request bytes that one shard thread may have unanswered before calls get `OVERLOADED`. Default 64 MiB. */
  readonly threadBytesMax?: number;
  /** Default: silent. */
  readonly logger?: Logger;
  /** For tests: `name:n` kills the process at a thread's n-th passing of a crash point; `later`: see NodeControls. */
  readonly crashAt?: string;
}

export interface HeddleNode {
  readonly port: number;
  /** For clients: `heddle://host:port`. */
  readonly url: string;
  readonly context: string;
  readonly shardCount: number;
  readonly threadCount: number;
  readonly durability: Durability;
  stats(): Promise<readonly ShardStats[]>;
  /** Answers what it has, writes a last checkpoint, gives the data folder free. Safe to call twice. */
  close(): Promise<void>;
}

/** What tests can do to a node beyond using it. */
export interface NodeControls {
  failThread(index: number): void;
  /** Of a node that was started with some `crashAt`: now it is this one, counted from here on. */
  crashAt(point: string): void;
  checkpoint(): void;
}

const defaultPort = 9090;
const defaultStateBytes = 256 << 20;

/**
 * Bytes of heap for each that lives in it, with what the collector has not come to (see shard-thread.ts): measured over two
 * million entities, appends and reads at random.
 */
const heapPerLiveByte = 1.8;
const defaultThreadBytesMax = 64 << 20;

/**
 * Starts a node; resolves when every shard has recovered and the port is open.
 * Errors: `DOMAIN_LOAD_FAILED`, `DATA_FOLDER_*`, `LOG_DAMAGED`, `PARTITION_DAMAGED`, `CANNOT_LISTEN`.
 */
export async function startNode(options: NodeOptions): Promise<HeddleNode & NodeControls> {
  const logger = options.logger ?? pino({ level: "silent" });
  const host = options.host ?? "127.0.0.1";
  const durability = options.durability ?? "fsync";
  const startedAt = performance.now();
  const domain = await loadDomain(options.domain);
  const folder = openDataFolder(options.data, {
    context: domain.name,
    shardCount: options.shards,
    defaultShardCount: defaultThreadCount(),
    nowMs: systemClock.now(),
  });
  const { shardCount } = folder.facts;
  const stateBytes = options.memory?.stateBytes ?? defaultStateBytes;
  const threadCount = Math.min(shardCount, options.threads ?? defaultThreadCount());
  const undo: (() => unknown)[] = [() => folder.release()];
  try {
    const links: ThreadLink[] = Array.from(
      { length: threadCount },
      (_, index) =>
        new ThreadLink({
          index,
          start: {
            domain: options.domain,
            data: options.data,
            shards: shardsOfThread(index, threadCount, shardCount),
            shardCount,
            thread: index,
            threadCount,
            durability,
            limits: { ...defaultShardLimits, stateBytesMax: liveBytesOf(stateBytes) / shardCount, ...options.limits },
            remindersPerSecond: (options.reminders?.ratePerSecondMax ?? releasePerSecondDefault) / threadCount,
            keys: options.keys ?? keysFileOf(options.data),
            crashAt: options.crashAt,
          },
          logger,
          onReplies: (connection, calls, requestBytes, frames) => {
            if (connection === gatewayConnection) gateway.deliver(frames);
            else listener.deliver(connection, index, calls, requestBytes, frames);
          },
          onReady: () => {
            for (const other of links) if (other.index !== index && other.ready) links[index]!.connectTo(other);
          },
          onLost: () => {
            gateway.threadLost(index);
            listener.threadLost(index);
          },
          sessions: function* () {
            yield { connection: gatewayConnection, session: gateway.session };
            yield* listener.sessions();
          },
        }),
    );
    const router = new Router({ shardCount, links, threadBytesMax: options.threadBytesMax ?? defaultThreadBytesMax });
    const gateway = new NodeGateway(router, systemRandom);
    const delays = monitorEventLoopDelay({ resolution: delayResolutionMs });
    const nodeName = os.hostname();
    const http = await openHttpDoor({
      gateway,
      facts: { context: describeContext(domain), durability, shardCount, nodeName, version },
      readiness: () => readiness(links),
      metrics: async () => {
        const threads = await Promise.all(links.map((link) => link.stats()));
        const shards: ShardMetrics[] = links.flatMap((link, index) => {
          const stats = threads[index];
          if (stats === undefined) return link.shards.map((shard) => ({ shard, state: "starting" }));
          return stats.shards.map((figures, i) => shardMetrics(figures, stats, i));
        });
        const memory = process.memoryUsage();
        return {
          node: {
            uptimeMs: performance.now() - startedAt,
            residentBytes: memory.rss,
            heapUsedBytes: memory.heapUsed,
            eventLoopDelay: asDelay(eventLoopDelay(delays)),
            connections: listener.socketCount,
            bytesInFlight: listener.bytesInFlight,
          },
          shards: shards.sort((a, b) => a.shard - b.shard),
        } satisfies NodeMetrics;
      },
      logger,
    });
    undo.unshift(() => http.close());
    const welcome = { version: protocolVersion, node: nodeName, context: domain.name, shardCount, durability };
    const listener = new Listener({ router, welcome, http });
    // One after another: two threads recovering at once on few cores make each other slower, and fail less clearly.
    for (const link of links) {
      undo.unshift(() => link.stop());
      await link.start();
    }
    delays.enable();
    undo.unshift(() => delays.disable());
    const port = await listener.listen(options.port ?? defaultPort, host);
    logger.info(
      {
        port,
        host,
        context: domain.name,
        shardCount,
        threadCount,
        durability,
        tookMs: Math.round(performance.now() - startedAt),
      },
      "the node is ready",
    );
    let closing: Promise<void> | undefined;
    return {
      port,
      url: `heddle://${host.includes(":") ? `[${host}]` : host}:${port}`,
      context: domain.name,
      shardCount,
      threadCount,
      durability,
      async stats() {
        const threads = await Promise.all(links.map((link) => link.stats()));
        return threads.flatMap((thread) => thread?.shards ?? []).sort((a, b) => a.shard - b.shard);
      },
      close() {
        closing ??= (async () => {
          listener.stopListening();
          await http.close();
          await Promise.all(links.map((link) => link.stop()));
          await listener.endConnections();
          delays.disable();
          folder.release();
          logger.info("the node is closed");
        })();
        return closing;
      },
      failThread: (index) => links[index]!.tell({ kind: "fail" }),
      crashAt: (point) => {
        for (const link of links) link.tell({ kind: "crash-at", crashAt: point });
      },
      checkpoint: () => {
        for (const link of links) link.tell({ kind: "checkpoint" });
      },
    };
  } catch (error) {
    for (const step of undo) await step();
    throw error;
  }
}

/** What may live in the heap, so that it takes no more than `bytes` together with what the collector has not come to. */
function liveBytesOf(bytes: number): number {
  return bytes / heapPerLiveByte;
}

/** One core is left to the listener: with a shard thread for each, single appends cost a fifth of their rate. */
function defaultThreadCount(): number {
  return Math.max(1, os.availableParallelism() - 1);
}

function readiness(links: readonly ThreadLink[]): Readiness {
  const shards = links.flatMap((link) =>
    link.shards.map((shard) => {
      if (!link.ready) return { shard, state: "down", reason: link.notReadyReason };
      const { state, reason } = link.shardStates.get(shard)!;
      return reason === "" ? { shard, state } : { shard, state, reason };
    }),
  );
  return { ready: shards.every((shard) => shard.state === "open"), shards: shards.sort((a, b) => a.shard - b.shard) };
}

/** `place` is the shard's among those of its thread. */
function shardMetrics(stats: ShardStats, thread: ThreadStats, place: number): ShardMetrics {
  return {
    shard: stats.shard,
    state: stats.state,
    figures: {
      appends: stats.appends,
      events: stats.events,
      groups: stats.groups,
      syncs: { boundsUs: syncBucketsUs, counts: stats.syncCounts, sumUs: stats.syncSumUs },
      mailboxDepth: stats.mailboxDepth,
      activeEntities: stats.activeEntities,
      activations: stats.activations,
      stateBytes: stats.stateBytes,
      erasuresRunning: stats.erasures,
      rejections: stats.rejections,
      errors: stats.errors,
      logBytes: stats.logBytes,
      checkpoint: { position: stats.checkpointPosition, ageMs: stats.checkpointAgeMs },
      partitionReads: stats.partitionReads,
      sagas: thread.sagas[place]!,
      transactions: stats.transactions,
      reminders: thread.reminders[place]!,
      eventLoopDelay: asDelay(thread.eventLoopDelayMs),
    },
  };
}

function asDelay(delay: DelayMs): EventLoopDelay {
  return { meanMs: delay.mean, p99Ms: delay.p99, maxMs: delay.max };
}
