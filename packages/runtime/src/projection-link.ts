// What the listener's side has to know of the projection thread.
import type { SinkOption } from "@heddle/projection/internal";
import type { ListedProjection } from "@heddle/protocol";
import type { QueryFigures } from "./http/projection-metrics.ts";
import type { ReaderLinkOptions } from "./reader-link.ts";
import type { ReaderStart } from "./thread-messages.ts";

/** What the projection thread is told when it starts. */
export interface ProjectionSettings {
  readonly sinks: readonly SinkOption[];
  /** File of the SQLite sink. */
  readonly file: string;
  /** Tells this data folder from any other: when it was made. */
  readonly history: string;
}

/** What the projection thread says of itself. */
export interface ProjectionStats {
  readonly projections: readonly ListedProjection[];
  readonly queries: QueryFigures;
}

export function projectionThread(start: ReaderStart<ProjectionSettings>): ReaderLinkOptions<ProjectionStats>["kind"] {
  return {
    what: "projection thread",
    file: "projection-thread",
    name: "heddle-projections",
    start,
    noStats: { projections: [], queries: { running: 0, waiting: 0, ended: {}, sumMs: 0 } },
    facts: {},
  };
}
