// Projector: projections in a process of their own, out of what a node has published to NATS. It needs no node to be there, and
// a node needs nothing of it.
//
// Owns its sinks as a node does: each projection in a sink has one writer, so a node and a projector share none.
// Not promised: that queries see a write. There is nobody to wait for it; `query` is a node's.
import { mkdirSync } from "node:fs";
import type { CompiledContext } from "@heddle/domain/internal";
import { checkNatsOptions, type FeedSource, loadNats, type NatsFeed, type NatsOptions } from "@heddle/feed/internal";
import { HeddleError, systemClock, systemRandom } from "@heddle/kernel";
import { listedProjection, makeSinks, Projections, readSinkOptions, TrackErasures } from "@heddle/projection/internal";
import type { ListedProjection } from "@heddle/protocol";
import { type Logger, pino } from "pino";
import { lock, projectionsFileOf } from "./data-folder.ts";
import { loadDomain } from "./load-domain.ts";

export interface ProjectorOptions {
  /** Path of the domain module. */
  readonly domain: string;
  readonly nats: NatsOptions;
  /** As a node's. Default: SQLite. */
  readonly sinks?: readonly string[];
  /** Folder of the SQLite sink: no node's data folder, and nobody else's. */
  readonly data: string;
  /** Gives up waiting for the first connection to NATS. */
  readonly signal?: AbortSignal;
  /** Default: silent. */
  readonly logger?: Logger;
  readonly crashAt?: (name: string) => void;
}

export interface Projector {
  readonly context: string;
  readonly shardCount: number;
  readonly sinks: readonly string[];
  list(): readonly ListedProjection[];
  /** Ends after the writes that are under way. */
  close(): Promise<void>;
}

/** Between attempts to find streams, and between looks at what is to be erased. */
const againMs = 1_000;
const tickMs = 250;

/**
 * Resolves when the streams have been found, however long that takes.
 * Errors: `DOMAIN_LOAD_FAILED`, `INVALID_REQUEST`, `SINK_REFUSED` of NATS, `DATA_FOLDER_IN_USE`; the signal's reason.
 */
export async function startProjector(options: ProjectorOptions): Promise<Projector> {
  const logger = options.logger ?? pino({ level: "silent" });
  checkNatsOptions(options.nats);
  const sinkOptions = readSinkOptions(options.sinks ?? ["sqlite"]);
  if (sinkOptions.length === 0) throw new HeddleError("INVALID_REQUEST", { path: "sinks", problem: "there is none" });
  const domain = await loadDomain(options.domain);
  if (domain.projections.size === 0) {
    throw new HeddleError("INVALID_REQUEST", { path: "domain", problem: `${domain.name} has no projections` });
  }
  const usesFile = sinkOptions.some(({ kind }) => kind === "sqlite");
  if (usesFile) mkdirSync(options.data, { recursive: true });
  const release = usesFile ? lock(options.data) : () => {};
  try {
    const source = await openFeed(options, domain, logger);
    try {
      const report = (message: string) => logger.warn(message);
      const sinks = await makeSinks(sinkOptions, { file: projectionsFileOf(options.data), report });
      const projections = new Projections({
        domain,
        source,
        sinks,
        history: `nats:${await beginningOf(source)}`,
        clock: systemClock,
        random: systemRandom,
        report,
        crashPoint: options.crashAt,
      });
      const erasures = new TrackErasures({
        shardCount: source.shardCount,
        sinks,
        tracks: () => projections.tracks,
        report: (level, message, facts) => logger[level](facts, message),
        crashPoint: options.crashAt,
      });
      projections.start();
      const ticker = setInterval(() => erasures.tick(), tickMs);
      return {
        context: domain.name,
        shardCount: source.shardCount,
        sinks: sinks.map(({ name }) => name),
        list: () => projections.list().map((status) => listedProjection(status, source)),
        async close() {
          clearInterval(ticker);
          await erasures.stop();
          // What waits for the server waits no more.
          await source.close();
          await projections.stop();
          release();
        },
      };
    } catch (error) {
      await source.close();
      throw error;
    }
  } catch (error) {
    release();
    throw error;
  }
}

async function openFeed(options: ProjectorOptions, domain: CompiledContext, logger: Logger): Promise<NatsFeed> {
  const { NatsFeed } = await loadNats();
  const { nats, signal } = options;
  let said = "";
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await NatsFeed.open({ context: domain.name, nats });
    } catch (error) {
      if (!(error instanceof HeddleError) || error.code !== "SINK_UNAVAILABLE") throw error;
      if (error.message !== said) logger.warn(error.message);
      said = error.message;
      await pause(againMs, signal);
    }
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end, { once: true });
  });
}

/** Tells one history from any other of the context: when its first entry was written. It stays when that is erased. */
async function beginningOf(source: FeedSource): Promise<number> {
  let first = Number.POSITIVE_INFINITY;
  for (let shard = 0; shard < source.shardCount; shard++) {
    const chunk = source.end(shard) === 0 ? undefined : await source.read(shard, 0, 1);
    chunk?.visit(({ time }) => {
      first = Math.min(first, time);
    });
  }
  return first === Number.POSITIVE_INFINITY ? 0 : first;
}
