// The entry of the projection thread: keeps projections in step with the logs of the node, and answers queries.
//
// Closing: queries first, then the writes that are under way, then sinks and logs. A sink that is away or refuses is a state of its
// projections, and stops nothing else.
import { nodeDisk } from "@heddle/event-log/internal";
import { LandingPlaces, LogFeed } from "@heddle/feed/internal";
import { limits, systemClock, systemRandom } from "@heddle/kernel";
import { makeSinks, Projections, Queries, QueryProcesses, TrackErasures } from "@heddle/projection/internal";
import { logFolderOf } from "./data-folder.ts";
import { answerErasure, isErasureAsk } from "./erasure-messages.ts";
import { ProjectionDesk } from "./projection-desk.ts";
import type { ProjectionSettings, ProjectionStats } from "./projection-link.ts";
import { runReaderThread } from "./reader-thread.ts";

/** What a reply has besides its rows. */
const replyOverheadBytes = 64;

await runReaderThread<ProjectionSettings, ProjectionStats>(
  async ({ start, domain, ends, replies, report, crashPoint }) => {
    const { settings, shardCount } = start;
    const folders = Array.from({ length: shardCount }, (_, shard) => logFolderOf(start.data, shard));
    const source = new LogFeed({ disk: nodeDisk, folders, ends });
    const tell = (message: string) => report("warn", message, {});
    const sinks = await makeSinks(settings.sinks, { file: settings.file, report: tell });
    const projections = new Projections({
      domain,
      source,
      sinks,
      history: settings.history,
      clock: systemClock,
      random: systemRandom,
      report: tell,
      crashPoint,
    });
    const erasures = new TrackErasures({
      shardCount,
      sinks,
      tracks: () => projections.tracks,
      report,
      crashPoint,
    });
    const processes = sinks.some(({ kind }) => kind === "sqlite")
      ? new QueryProcesses({ file: settings.file, report: (message, facts) => report("warn", message, facts) })
      : undefined;
    const landing = new LandingPlaces({ disk: nodeDisk, folders, ends });
    const queries = new Queries({
      landing: (place, timeoutMs) => landing.of(place, timeoutMs),
      shardCount,
      sinks: sinks.map((sink) => ({
        sink,
        tracks: projections.tracks.filter((track) => track.sink === sink).map(queried),
      })),
      processes,
      bytesMax: limits.frameBytesMax - replyOverheadBytes,
    });
    const desk = new ProjectionDesk({ projections, queries, sinks, source, replies });
    projections.start();
    return {
      receive: (connection, _shard, bytes, from, to) => desk.receive(connection, bytes, from, to),
      connectionClosed: (connection) => desk.connectionClosed(connection),
      async ask(question) {
        if (isErasureAsk(question)) return answerErasure(question, erasures);
        throw new Error("the projection thread was asked something that it does not know");
      },
      tick() {
        erasures.tick();
        landing.note();
      },
      stats: () => ({
        projections: desk.list(),
        queries: { running: processes?.running ?? 0, waiting: processes?.waiting ?? 0, ...queries.stats() },
      }),
      async close() {
        desk.close();
        landing.close();
        await processes?.close();
        await erasures.stop();
        ends.wake();
        await projections.stop();
        source.close();
      },
    };
  },
);

type AnyTrack = Projections["tracks"][number];

function queried(track: AnyTrack) {
  return {
    projection: track.projection.name,
    table: track.projection.table,
    async waitFor(places: readonly { readonly shard: number; readonly position: number }[], timeoutMs: number) {
      await Promise.all(places.map((place) => track.waitFor(place, timeoutMs)));
    },
  };
}
