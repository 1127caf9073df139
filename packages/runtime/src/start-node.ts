// startNode: puts one node together and takes it apart again.
//
// Order of opening: domain, data folder, shard threads (recovery), port. Order of closing: port, answers, threads,
// folder. The main thread routes and writes; it decides nothing and touches no disk after the start.

// startNode: puts one node together and takes it apart again.
//
// Order of opening: domain, data folder, shard threads (recovery), port. Order of closing: port, answers, threads,
// folder. The main thread routes and writes; it decides nothing and touches no disk after the start.
import fs from "node:fs";
import os from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Durability } from "@heddle/event-log";
import { checkNatsOptions, DurableEnds, type NatsOptions } from "@heddle/feed/internal";
import { systemClock, systemRandom } from "@heddle/kernel";
import { readSinkOptions, type SinkOption } from "@heddle/projection/internal";
import { protocolVersion } from "@heddle/protocol";
import { releasePerSecondDefault } from "@heddle/reminder";
import type { ShardStats } from "@heddle/shard";
import { defaultShardLimits, type ShardLimits, syncBucketsUs } from "@heddle/shard/internal";
import { type Logger, pino } from "pino";
import { keysFileOf, openDataFolder, projectionsFileOf, readersFileOf } from "./data-folder.ts";
import { describeContext } from "./describe-context.ts";
import { ErasureDesk } from "./erasure-desk.ts";
import { type DelayMs, delayResolutionMs, eventLoopDelay } from "./event-loop-delay.ts";
import { type FeedStats, feedThread } from "./feed-link.ts";
import type { Readiness } from "./http/gateway.ts";
import { openHttpDoor } from "./http/http-door.ts";
import type { EventLoopDelay, NodeMetrics, ShardMetrics } from "./http/metrics.ts";
import { readOrigins } from "./http/origins.ts";
import { Listener } from "./listener.ts";
import { loadDomain } from "./load-domain.ts";
import { gatewayConnection, NodeGateway } from "./node-gateway.ts";
import { type ProjectionStats, projectionThread } from "./projection-link.ts";
import { ReaderLink } from "./reader-link.ts";
import { Router, shardsOfThread } from "./router.ts";
import { defaultStateBytes, liveBytesOf } from "./state-budget.ts";
import { ThreadLink } from "./thread-link.ts";
import type { ReaderStart, ThreadStats } from "./thread-messages.ts";
import { version } from "./version.ts";
import type { WorkerLinkOptions } from "./worker-link.ts";

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
   * for longest are put to sleep. Default an eighth of the memory that the machine, or the container, has: at least 64 MiB, at
   * most 1 GiB. The node takes up to 300 MB for everything else.
   */
  readonly memory?: { readonly stateBytes?: number };
  /** `ratePerSecondMax`: so many reminders leave the node in a second. Default 10,000. */
  readonly reminders?: { readonly ratePerSecondMax?: number };
  /**
   * File of the key store: the keys of backups, which an erasure destroys. Keep it on another volume than the data, and in
   * no backup. Default `keys/keys.sqlite` in the data folder.
   */
  readonly keys?: string;
  /**
   * Origins of web pages that may use the SDK with this node, over a WebSocket: `https://app.example.com`. Default: only pages
   * of the node's own address.
   */
  readonly origins?: readonly string[];
  /** Publishes the logs of all shards to JetStream, for readers elsewhere. Default: nothing is published. */
  readonly nats?: NatsOptions;
  /** Request bytes that one shard thread may have unanswered before calls get `OVERLOADED`. Default 64 MiB. */
  readonly threadBytesMax?: number;
  /**
   * Where the domain's projections are kept, each in all of them: `sqlite` (a file in the data folder), the `http://` address of
   * rqlite, the `mongodb://` address of MongoDB. Default: SQLite where the domain has projections, or had some.
   */
  readonly sinks?: readonly string[];
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
  /** Shard threads from 0 on, then the feed thread, then the projection thread. */
  failThread(index: number): void;
  /** Of a node that was started with some `crashAt`: now it is this one, counted from here on. */
  crashAt(point: string): void;
  checkpoint(): void;
}

const defaultPort = 9090;
const defaultThreadBytesMax = 64 << 20;

/**
 * Starts a node; resolves when every shard has recovered and the port is open.
 * Errors: `DOMAIN_LOAD_FAILED`, `DATA_FOLDER_*`, `LOG_DAMAGED`, `PARTITION_DAMAGED`, `CANNOT_LISTEN`; `INVALID_REQUEST` for an
 * address of NATS, or of a sink, that is none. A server that is away holds no start up.
 */
export async function startNode(options: NodeOptions): Promise<HeddleNode & NodeControls> {
  const logger = options.logger ?? pino({ level: "silent" });
  const host = options.host ?? "127.0.0.1";
  const durability = options.durability ?? "fsync";
  const startedAt = performance.now();
  if (options.nats !== undefined) checkNatsOptions(options.nats);
  const given = options.sinks === undefined ? undefined : readSinkOptions(options.sinks);
  const domain = await loadDomain(options.domain);
  const folder = openDataFolder(options.data, {
    context: domain.name,
    shardCount: options.shards,
    defaultShardCount: defaultThreadCount(),
    nowMs: systemClock.now(),
  });
  const { shardCount } = folder.facts;
  const stateBytes = options.memory?.stateBytes ?? defaultStateBytes();
  const threadCount = Math.min(shardCount, options.threads ?? defaultThreadCount());
  const ends = new DurableEnds(shardCount);
  const undo: (() => unknown)[] = [() => folder.release()];
  try {
    const common = (index: number): WorkerLinkOptions => ({
      index,
      logger,
      onReplies: (connection, calls, requestBytes, frames) => {
        if (connection === gatewayConnection) gateway.deliver(frames);
        else listener.deliver(connection, index, calls, requestBytes, frames);
      },
      onLost: () => {
        gateway.threadLost(index);
        listener.threadLost(index);
      },
    });
    const readerStart = <S>(settings: S): ReaderStart<S> => {
      return {
        domain: options.domain,
        data: options.data,
        shardCount,
        ends: ends.shared,
        crashAt: options.crashAt,
        settings,
      };
    };
    const projectionsFile = projectionsFileOf(options.data);
    // A file of projections that the domain module has no more is looked after all the same: erasures must reach it.
    const hasProjections = domain.projections.size > 0 || fs.existsSync(projectionsFile);
    const sinks: readonly SinkOption[] = given ?? (hasProjections ? readSinkOptions(["sqlite"]) : []);
    if (!sinks.some(({ kind }) => kind === "sqlite")) removeProjections(projectionsFile, logger);
    const links: ThreadLink[] = Array.from(
      { length: threadCount },
      (_, index) =>
        new ThreadLink({
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
            readers: { publisher: options.nats !== undefined, projections: sinks.length > 0 },
            ends: ends.shared,
            crashAt: options.crashAt,
          },
          ...common(index),
          onReady: () => {
            for (const other of links) if (other.index !== index && other.ready) links[index]!.connectTo(other);
          },
          sessions: function* () {
            yield { connection: gatewayConnection, session: gateway.session };
            yield* listener.sessions();
          },
          onOther: (message, link) => erasures.onQuestion(message, link),
        }),
    );
    const feed = new ReaderLink({
      ...common(threadCount),
      kind: feedThread(readerStart({ state: readersFileOf(options.data), nats: options.nats })),
    });
    const projection =
      sinks.length === 0
        ? undefined
        : new ReaderLink({
            ...common(threadCount + 1),
            kind: projectionThread(
              readerStart({ sinks, file: projectionsFile, history: String(folder.facts.createdMs) }),
            ),
          });
    const erasures = new ErasureDesk({
      publisher: options.nats === undefined ? undefined : feed,
      projections: projection,
    });
    const readers = { feed, projection };
    const router = new Router({
      shardCount,
      links,
      readers,
      ends,
      threadBytesMax: options.threadBytesMax ?? defaultThreadBytesMax,
    });
    const gateway = new NodeGateway(router, systemRandom);
    const delays = monitorEventLoopDelay({ resolution: delayResolutionMs });
    const nodeName = os.hostname();
    const http = await openHttpDoor({
      gateway,
      facts: { context: describeContext(domain), durability, shardCount, nodeName, version },
      readiness: async () => ({
        ...readiness(links),
        projections: await projectionReadiness(projection),
        ...(await natsReadiness(feed)),
      }),
      metrics: async () => {
        const threads = await Promise.all(links.map((link) => link.stats()));
        const shards: ShardMetrics[] = links.flatMap((link, index) => {
          const stats = threads[index];
          if (stats === undefined) return link.shards.map((shard) => ({ shard, state: "starting" }));
          return stats.shards.map((figures, i) => shardMetrics(figures, stats, i));
        });
        const memory = process.memoryUsage();
        const feedStats = await feed.stats();
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
          nats: feedStats?.reader.nats,
          groups: feedStats?.reader.groups,
          projections: (await projection?.stats())?.reader,
        } satisfies NodeMetrics;
      },
      logger,
      origins: readOrigins(options.origins ?? []),
      onWebSocket: (stream) => void listener.acceptStream(stream),
    });
    undo.unshift(() => http.close());
    const welcome = { version: protocolVersion, node: nodeName, context: domain.name, shardCount, durability };
    const listener = new Listener({ router, welcome, http });
    // One after another: two threads recovering at once on few cores make each other slower, and fail less clearly.
    for (const link of links) {
      undo.unshift(() => link.stop());
      await link.start();
    }
    undo.unshift(() => feed.stop());
    if (options.nats !== undefined) await feed.start();
    // Who had consumer groups wants to see how far they are, also while nobody reads.
    else if (fs.existsSync(readersFileOf(options.data))) feed.need();
    if (projection !== undefined) undo.unshift(() => projection.stop());
    // Nobody has to wait for it: requests for it do so by themselves.
    projection?.need();
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
          await Promise.all(router.allLinks.map((link) => link.stop()));
          await listener.endConnections();
          delays.disable();
          folder.release();
          logger.info("the node is closed");
        })();
        return closing;
      },
      failThread: (index) => router.allLinks.find((link) => link.index === index)!.tell({ kind: "fail" }),
      crashAt: (point) => {
        for (const link of router.allLinks) link.tell({ kind: "crash-at", crashAt: point });
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

// Rows that nobody keeps, nobody would erase in (P6). They are made anew when the sink is named again.
function removeProjections(file: string, logger: Logger): void {
  if (!fs.existsSync(file)) return;
  for (const part of [file, `${file}-wal`, `${file}-shm`]) fs.rmSync(part, { force: true });
  logger.warn({ file }, "rows of projections are removed, because SQLite is no sink any more");
}

/** One core is left to the listener: with a shard thread for each, single appends cost a fifth of their rate. */
function defaultThreadCount(): number {
  return Math.max(1, os.availableParallelism() - 1);
}

function readiness(links: readonly ThreadLink[]): Pick<Readiness, "ready" | "shards"> {
  const shards = links.flatMap((link) =>
    link.shards.map((shard) => {
      if (!link.ready) return { shard, state: "down", reason: link.notReadyReason };
      const { state, reason } = link.shardStates.get(shard)!;
      return reason === "" ? { shard, state } : { shard, state, reason };
    }),
  );
  return { ready: shards.every((shard) => shard.state === "open"), shards: shards.sort((a, b) => a.shard - b.shard) };
}

/** A thread that is busy, or away, must not make the node look as if it were. */
const readinessWaitMs = 1_000;

async function projectionReadiness(
  projection: ReaderLink<ProjectionStats> | undefined,
): Promise<Readiness["projections"]> {
  if (projection === undefined) return [];
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, readinessWaitMs, undefined);
  });
  const stats = await Promise.race([projection.stats(), timeout]);
  clearTimeout(timer);
  if (stats === undefined) {
    const reason = projection.ready
      ? `its thread did not answer within ${readinessWaitMs} ms`
      : projection.notReadyReason;
    return [{ projection: "*", sink: "*", state: "waiting", reason }];
  }
  return stats.reader.projections.map(({ projection, sink, state, problem }) => {
    return problem === undefined ? { projection, sink, state } : { projection, sink, state, reason: problem };
  });
}

async function natsReadiness(feed: ReaderLink<FeedStats>): Promise<Pick<Readiness, "nats">> {
  const nats = (await feed.stats())?.reader.nats;
  if (nats === undefined) return {};
  const { server, isConnected, problems } = nats;
  return { nats: { server, connected: isConnected, problems } };
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
      watches: stats.watches,
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
