// ListedProjection: a track as operators see it, from the command line to the metrics.
import type { FeedSource } from "@heddle/feed/internal";
import type { ListedProjection } from "@heddle/protocol";
import type { TrackStatus } from "./track-status.ts";

export function listedProjection(status: TrackStatus, source: Pick<FeedSource, "end">): ListedProjection {
  const { projection, sink, table, version, state, problem, positions, rebuild } = status;
  return {
    projection,
    sink,
    table,
    version,
    state,
    ...(problem === undefined ? {} : { problem: problem.message }),
    shards: positions.map((position, shard) => ({ shard, position, end: Math.max(position, source.end(shard)) })),
    lagBytes: status.lagBytes,
    lagMs: Math.round(status.lagMs),
    events: status.events,
    eventsPerSecond: rounded(status.eventsPerSecond),
    setAside: status.setAside,
    failures: status.setAsideFirst.map(({ entity, seq, aggregate, type, error, since }) => {
      return { entity, seq, aggregate, type, message: error, time: since };
    }),
    waitingForSagas: status.waitingForSagas,
    generation: status.generation,
    ...(rebuild === undefined
      ? {}
      : {
          rebuild: {
            reason: rebuild.reason,
            done: Math.min(rebuild.doneBytes, rebuild.totalBytes),
            total: rebuild.totalBytes,
            events: rebuild.events,
            eventsPerSecond: rounded(rebuild.eventsPerSecond),
          },
        }),
  };
}

function rounded(rate: number): number {
  return Math.round(10 * rate) / 10;
}
