// The figures of a node in Prometheus' text format.
//
// Put together by hand rather than by prom-client: the figures arrive as finished snapshots from the shard threads, and
// a registry would want to count them itself. Base units (seconds, bytes) throughout. Counters start at zero with the
// node, or with a shard's restart; Prometheus takes a fall for a restart.
import type { GroupFigures } from "@heddle/feed/internal";
import type { NatsFigures } from "../nats-publishing.ts";
import { type AcrossFigures, writeAcross } from "./across-metrics.ts";
import type { NodeFacts } from "./gateway.ts";
import { writeGroups } from "./group-metrics.ts";
import { type Labels, MetricsPage, type Sample, type SyncHistogram } from "./metrics-page.ts";
import { writeNats } from "./nats-metrics.ts";
import { type ProjectionFigures, writeProjections } from "./projection-metrics.ts";

/** What the node gathers, from its own thread and from each shard's, when somebody asks. */
export interface NodeMetrics {
  readonly node: {
    readonly uptimeMs: number;
    readonly residentBytes: number;
    readonly heapUsedBytes: number;
    /** Of the main thread, since the last time it was asked for. */
    readonly eventLoopDelay: EventLoopDelay;
    /** Open on the port, of every protocol. */
    readonly connections: number;
    /** Of requests that are not answered yet, and of replies that clients have not taken yet. */
    readonly bytesInFlight: number;
  };
  readonly shards: readonly ShardMetrics[];
  /** Left out where there are none, or while their thread cannot answer. */
  readonly projections?: ProjectionFigures | undefined;
  /** Left out where nothing is published. */
  readonly nats?: NatsFigures | undefined;
  /** None where there are none, or while their thread does not run. */
  readonly groups?: readonly GroupFigures[] | undefined;
}

export interface ShardMetrics {
  readonly shard: number;
  readonly state: string;
  /** Left out when the shard cannot answer. */
  readonly figures?: ShardFigures;
}

export interface ShardFigures extends AcrossFigures {
  readonly appends: number;
  readonly events: number;
  /** Commit groups, each with one sync. */
  readonly groups: number;
  readonly syncs: SyncHistogram;
  readonly mailboxDepth: number;
  readonly activeEntities: number;
  /** Entities brought into memory. */
  readonly activations: number;
  /** Memory that active entities take, as estimated. */
  readonly stateBytes: number;
  readonly erasuresRunning: number;
  /** By code. */
  readonly rejections: Readonly<Record<string, number>>;
  /** By code. */
  readonly errors: Readonly<Record<string, number>>;
  readonly logBytes: number;
  readonly checkpoint: { readonly position: number; readonly ageMs: number };
  readonly partitionReads: number;
  /** Subscriptions to one entity that wait. */
  readonly watches: number;
  readonly eventLoopDelay: EventLoopDelay;
}

export interface EventLoopDelay {
  readonly meanMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** The figures of the HTTP side itself. */
export interface HttpFigures {
  readonly connections: number;
  readonly requestsRunning: number;
  readonly bodyBytes: number;
  readonly eventStreams: number;
  readonly requests: readonly { method: string; route: string; status: number; count: number }[];
}

export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8";

export function metricsText(metrics: NodeMetrics, facts: NodeFacts, http: HttpFigures): string {
  const page = new MetricsPage();
  writeNode(page, metrics.node, facts);
  writeHttp(page, http);
  writeShards(page, metrics.shards);
  if (metrics.projections !== undefined) writeProjections(page, metrics.projections);
  if (metrics.nats !== undefined) writeNats(page, metrics.nats);
  if (metrics.groups !== undefined && metrics.groups.length > 0) writeGroups(page, metrics.groups);
  return page.text;
}

function writeNode(page: MetricsPage, node: NodeMetrics["node"], facts: NodeFacts): void {
  const { durability, version, nodeName } = facts;
  const info = { node: nodeName, context: facts.context.name, durability, version };
  page.add("heddle_info", "gauge", "Always 1; what the node is.", [[info, 1]]);
  page.add("heddle_uptime_seconds", "gauge", "Time since the node started.", [[{}, node.uptimeMs / 1e3]]);
  // The names that every Prometheus client library gives these two, so that common dashboards show them.
  page.add("process_resident_memory_bytes", "gauge", "Resident memory of the process.", [[{}, node.residentBytes]]);
  page.add("nodejs_heap_size_used_bytes", "gauge", "Heap in use on the main thread.", [[{}, node.heapUsedBytes]]);
  page.add("heddle_connections", "gauge", "Open connections, of every protocol.", [[{}, node.connections]]);
  page.add(
    "heddle_in_flight_bytes",
    "gauge",
    "Held for clients: requests not answered yet, and replies not taken yet.",
    [[{}, node.bytesInFlight]],
  );
  writeDelay(page, "heddle_node", "the main thread", [[{}, node.eventLoopDelay]]);
}

function writeHttp(page: MetricsPage, http: HttpFigures): void {
  page.add("heddle_http_connections", "gauge", "Open HTTP connections.", [[{}, http.connections]]);
  page.add("heddle_http_requests_running", "gauge", "HTTP requests not answered yet.", [[{}, http.requestsRunning]]);
  page.add("heddle_http_body_bytes", "gauge", "Bodies of HTTP requests not answered yet.", [[{}, http.bodyBytes]]);
  page.add("heddle_http_event_streams", "gauge", "Open streams of server-sent events.", [[{}, http.eventStreams]]);
  page.add(
    "heddle_http_requests_total",
    "counter",
    "HTTP requests, by route and status of the answer.",
    http.requests.map(({ count, ...labels }) => [labels, count]),
  );
}

function writeShards(page: MetricsPage, shards: readonly ShardMetrics[]): void {
  page.add(
    "heddle_shard_state",
    "gauge",
    "Always 1; the label says what state the shard is in.",
    shards.map(({ shard, state }) => [{ shard, state }, 1]),
  );
  const known = shards.flatMap(({ shard, figures }) => (figures === undefined ? [] : [{ shard, figures }]));
  const each = (pick: (figures: ShardFigures) => number): Sample[] =>
    known.map(({ shard, figures }) => [{ shard }, pick(figures)]);
  const eachCode = (pick: (figures: ShardFigures) => Readonly<Record<string, number>>): Sample[] =>
    known.flatMap(({ shard, figures }) =>
      Object.entries(pick(figures)).map(([code, count]): Sample => [{ shard, code }, count]),
    );

  page.add(
    "heddle_appends_total",
    "counter",
    "Appends and commands made durable.",
    each((f) => f.appends),
  );
  page.add(
    "heddle_events_total",
    "counter",
    "Events made durable.",
    each((f) => f.events),
  );
  page.add(
    "heddle_groups_total",
    "counter",
    "Commit groups made durable, each with one sync.",
    each((f) => f.groups),
  );
  page.add(
    "heddle_events_per_group",
    "gauge",
    "Mean events of a commit group since the start.",
    each((f) => (f.groups === 0 ? 0 : f.events / f.groups)),
  );
  page.addHistogram(
    "heddle_sync_seconds",
    "Time of one sync of the event log.",
    known.map(({ shard, figures }) => [{ shard }, figures.syncs]),
  );
  page.add(
    "heddle_mailbox_depth",
    "gauge",
    "Calls waiting in the shard.",
    each((f) => f.mailboxDepth),
  );
  page.add(
    "heddle_active_entities",
    "gauge",
    "Entities held in memory.",
    each((f) => f.activeEntities),
  );
  page.add(
    "heddle_activations_total",
    "counter",
    "Entities brought into memory.",
    each((f) => f.activations),
  );
  page.add(
    "heddle_state_bytes",
    "gauge",
    "Memory that active entities take, as estimated.",
    each((f) => f.stateBytes),
  );
  page.add(
    "heddle_erasures_running",
    "gauge",
    "Erasures that are not complete yet.",
    each((f) => f.erasuresRunning),
  );
  page.add(
    "heddle_rejections_total",
    "counter",
    "Calls that the rules rejected.",
    eachCode((f) => f.rejections),
  );
  page.add(
    "heddle_errors_total",
    "counter",
    "Calls that ended in an operating error.",
    eachCode((f) => f.errors),
  );
  page.add(
    "heddle_log_bytes",
    "gauge",
    "Size of the event log.",
    each((f) => f.logBytes),
  );
  page.add(
    "heddle_checkpoint_position",
    "gauge",
    "Position of the log that the partition covers.",
    each((f) => f.checkpoint.position),
  );
  page.add(
    "heddle_checkpoint_age_seconds",
    "gauge",
    "Time since the last checkpoint.",
    each((f) => f.checkpoint.ageMs / 1e3),
  );
  page.add(
    "heddle_partition_reads_total",
    "counter",
    "Reads of the partition.",
    each((f) => f.partitionReads),
  );
  page.add(
    "heddle_watches",
    "gauge",
    "Subscriptions to one entity that wait for its next event.",
    each((f) => f.watches),
  );
  writeAcross(page, known);
  writeDelay(
    page,
    "heddle_shard",
    "the shard's thread",
    known.map(({ shard, figures }) => [{ shard }, figures.eventLoopDelay]),
  );
}

function writeDelay(
  page: MetricsPage,
  prefix: string,
  what: string,
  series: readonly (readonly [Labels, EventLoopDelay])[],
): void {
  const each = (pick: (delay: EventLoopDelay) => number): Sample[] =>
    series.map(([labels, delay]) => [labels, pick(delay) / 1e3]);
  const add = (which: string, help: string, samples: Sample[]): void =>
    page.add(`${prefix}_event_loop_delay_${which}_seconds`, "gauge", `${help} event-loop delay of ${what}.`, samples);
  add(
    "mean",
    "Mean",
    each((delay) => delay.meanMs),
  );
  add(
    "p99",
    "99th percentile of the",
    each((delay) => delay.p99Ms),
  );
  add(
    "max",
    "Greatest",
    each((delay) => delay.maxMs),
  );
}
