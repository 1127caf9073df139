// The figures of projections and queries.
import type { ListedProjection } from "@heddle/protocol";
import type { Labels, MetricsPage, Sample } from "./metrics-page.ts";

export interface QueryFigures {
  readonly running: number;
  readonly waiting: number;
  /** By outcome: `ok`, or the code of the error. */
  readonly ended: Readonly<Record<string, number>>;
  readonly sumMs: number;
}

export interface ProjectionFigures {
  readonly projections: readonly ListedProjection[];
  readonly queries: QueryFigures;
}

export function writeProjections(page: MetricsPage, { projections, queries }: ProjectionFigures): void {
  const each = (pick: (projection: ListedProjection) => number): Sample[] =>
    projections.map((row) => [labelsOf(row), pick(row)]);
  const gauge = (name: string, help: string, samples: Sample[]) => page.add(name, "gauge", help, samples);

  gauge(
    "heddle_projection_state",
    "Always 1; the label says what state the projection is in.",
    projections.map((row) => [{ ...labelsOf(row), state: row.state }, 1]),
  );
  gauge(
    "heddle_projection_lag_bytes",
    "Log that the projection has not seen.",
    each((row) => row.lagBytes),
  );
  gauge(
    "heddle_projection_lag_seconds",
    "How old the oldest event is that the projection may not have seen.",
    each((row) => row.lagMs / 1e3),
  );
  page.add(
    "heddle_projection_events_total",
    "counter",
    "Events folded.",
    each((row) => row.events),
  );
  gauge(
    "heddle_projection_set_aside",
    "Entities whose events wait because one of them failed.",
    each((row) => row.setAside),
  );
  gauge(
    "heddle_projection_waiting_for_sagas",
    "Entities whose events wait for the end of a saga.",
    each((row) => row.waitingForSagas),
  );
  gauge(
    "heddle_projection_rebuild_ratio",
    "How much of the log a rebuild has read; of those that are being rebuilt.",
    projections.flatMap((row): Sample[] =>
      row.rebuild === undefined ? [] : [[labelsOf(row), row.rebuild.done / Math.max(1, row.rebuild.total)]],
    ),
  );
  gauge("heddle_queries_running", "Queries under way.", [[{}, queries.running]]);
  gauge("heddle_queries_waiting", "Queries that wait for a process.", [[{}, queries.waiting]]);
  page.add(
    "heddle_queries_total",
    "counter",
    "Queries, by outcome.",
    Object.entries(queries.ended).map(([outcome, count]): Sample => [{ outcome }, count]),
  );
  page.add("heddle_query_seconds_total", "counter", "Time of queries, waiting included.", [[{}, queries.sumMs / 1e3]]);
}

function labelsOf({ projection, sink }: ListedProjection): Labels {
  return { projection, sink };
}
