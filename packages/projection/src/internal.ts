// For sibling packages and tests.

// Whether rows are what the logs say
export {
  checkProjection,
  type ProjectionCheck,
  type ProjectionCheckOptions,
  type ProjectionDifference,
  type StoredRows,
  storedRows,
} from "./check/check-projection.ts";
export { type SnapshotGeneration, SqliteSnapshot } from "./check/sqlite-snapshot.ts";
export { readFacts } from "./facts.ts";
export { Folding, type FoldingParts } from "./folding.ts";
export * from "./index.ts";
export { listedProjection } from "./listed-projection.ts";
export { Projections, type ProjectionsOptions } from "./projections.ts";
// Queries
export { Queries, type QueriesOptions } from "./query/queries.ts";
export { QueryProcesses, type QueryProcessesOptions } from "./query/query-processes.ts";
export type {
  Awaitable,
  GenerationRef,
  GenerationState,
  Held,
  RowWrite,
  SagaOutcome,
  Sink,
  SinkBatch,
  SinkQuery,
  SinkRows,
  SourcedRow,
  StoredProjection,
} from "./sink.ts";
export { makeSinks, readSinkOptions, type SinkOption } from "./sink-options.ts";
export { catalogTables, createRowsTable, quoted, rowsTable, showRows, sourceColumn } from "./sql-tables.ts";
export { fromSql, rowOfSql, type SqlValue, toSql } from "./sql-values.ts";
export { SqliteSink, type SqliteSinkOptions } from "./sqlite/sqlite-sink.ts";
export { defaultTrackLimits, Track, type TrackLimits, type TrackOptions } from "./track.ts";
// Erasure
export { type ErasableTrack, TrackErasures } from "./track-erasures.ts";
export type { RebuildStatus, SetAside, TrackProblem, TrackState, TrackStatus } from "./track-status.ts";
