import { describe, expect, it } from "vitest";
import { facts, nodeMetrics } from "./door-rig.spec-support.ts";
import { metricsText } from "./metrics.ts";

const http = {
  connections: 2,
  requestsRunning: 1,
  bodyBytes: 10,
  eventStreams: 4,
  requests: [{ method: "GET", route: "/livez", status: 200, count: 5 }],
};
const lines = metricsText(nodeMetrics, facts, http).split("\n");

describe("metrics", () => {
  it("are in Prometheus' text format, line by line", () => {
    expect(lines.pop()).toBe("");
    const label = /[a-z_]+="(?:[^"\\\n]|\\["\\n])*"/.source;
    const sample = new RegExp(`^([a-z][a-z0-9_]*)(?:\\{${label}(?:,${label})*\\})? -?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?$`);
    const types = new Map<string, string>();
    const seen = new Set<string>();
    let family = "";
    for (const line of lines) {
      const [, kind, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
      if (kind === "HELP") {
        expect(types.has(name), `${name} is described once`).toBe(false);
        expect(rest.endsWith(".")).toBe(true);
        family = name;
      } else if (kind === "TYPE") {
        expect(name).toBe(family);
        expect(["counter", "gauge", "histogram"]).toContain(rest);
        expect(name.endsWith("_total")).toBe(rest === "counter");
        types.set(name, rest);
      } else {
        const [, sampled = ""] = sample.exec(line) ?? [];
        expect(sampled, line).not.toBe("");
        expect(types.get(family) === "histogram" ? sampled.replace(/_(bucket|sum|count)$/, "") : sampled).toBe(family);
        const series = line.slice(0, line.lastIndexOf(" "));
        expect(seen.has(series), `${series} stands once`).toBe(false);
        seen.add(series);
      }
    }
  });

  it("say the durability mode and the version", () => {
    expect(lines).toContain('heddle_info{node="node-1",context="bank",durability="fsync",version="1.2.3"} 1');
  });

  it("give each shard's figures in base units", () => {
    for (const line of [
      "heddle_uptime_seconds 90.5",
      'heddle_appends_total{shard="0"} 100',
      'heddle_events_total{shard="0"} 600',
      'heddle_groups_total{shard="0"} 40',
      'heddle_events_per_group{shard="0"} 15',
      'heddle_mailbox_depth{shard="0"} 9',
      'heddle_active_entities{shard="0"} 33',
      'heddle_activations_total{shard="0"} 50',
      'heddle_state_bytes{shard="0"} 7000',
      'heddle_erasures_running{shard="0"} 2',
      'heddle_rejections_total{shard="0",code="SEQUENCE_CONFLICT"} 2',
      'heddle_errors_total{shard="0",code="OVERLOADED"} 1',
      'heddle_checkpoint_age_seconds{shard="0"} 2.5',
      'heddle_partition_reads_total{shard="0"} 12',
      'heddle_watches{shard="0"} 21',
      "heddle_http_event_streams 4",
      'heddle_shard_event_loop_delay_p99_seconds{shard="0"} 0.004',
      "heddle_node_event_loop_delay_max_seconds 0.02",
      'heddle_projection_state{projection="accounts",sink="sqlite",state="rebuilding"} 1',
      'heddle_projection_lag_bytes{projection="accounts",sink="sqlite"} 61440',
      'heddle_projection_lag_seconds{projection="accounts",sink="sqlite"} 1.5',
      'heddle_projection_events_total{projection="accounts",sink="sqlite"} 700',
      'heddle_projection_set_aside{projection="accounts",sink="sqlite"} 1',
      'heddle_projection_rebuild_ratio{projection="accounts",sink="sqlite"} 0.25',
      "heddle_queries_running 1",
      "heddle_queries_waiting 2",
      'heddle_queries_total{outcome="QUERY_REFUSED"} 4',
      "heddle_query_seconds_total 12.5",
      'heddle_http_requests_total{method="GET",route="/livez",status="200"} 5',
    ]) {
      expect(lines).toContain(line);
    }
  });

  it("tell sagas, transactions and reminders by state and outcome", () => {
    const ofShard = lines.filter((line) => /^heddle_(saga|transaction|held|hold|reminder)/.test(line));
    expect(ofShard.map((line) => line.replace('shard="0",', "").replace('{shard="0"}', ""))).toEqual([
      'heddle_sagas{state="running"} 3',
      'heddle_sagas{state="compensating"} 2',
      'heddle_sagas{state="stuck"} 1',
      'heddle_saga_oldest_seconds{state="running"} 61.5',
      'heddle_saga_oldest_seconds{state="compensating"} 2',
      'heddle_saga_oldest_seconds{state="stuck"} 7200',
      "heddle_sagas_started_total 90",
      'heddle_sagas_ended_total{result="committed"} 70',
      'heddle_sagas_ended_total{result="compensated"} 13',
      'heddle_sagas_ended_total{result="stuck"} 4',
      "heddle_saga_step_retries_total 21",
      'heddle_transactions_total{outcome="committed"} 44',
      'heddle_transactions_total{outcome="refused"} 5',
      'heddle_transactions_total{outcome="aborted"} 6',
      "heddle_held_entities 8",
      "heddle_hold_waiters 14",
      "heddle_transactions_pending 15",
      "heddle_reminder_entities 1000",
      "heddle_reminders_due 17",
      "heddle_reminder_lag_seconds 1.25",
      'heddle_reminders_total{outcome="delivered"} 640',
      'heddle_reminders_total{outcome="refused"} 16',
      'heddle_reminders_total{outcome="missed"} 18',
      "heddle_reminder_retries_total 19",
    ]);
  });

  it("give sync times as a cumulative histogram whose last bucket holds all", () => {
    expect(lines.filter((line) => line.startsWith("heddle_sync_seconds"))).toEqual([
      'heddle_sync_seconds_bucket{shard="0",le="0.0001"} 10',
      'heddle_sync_seconds_bucket{shard="0",le="0.00025"} 30',
      'heddle_sync_seconds_bucket{shard="0",le="0.001"} 35',
      'heddle_sync_seconds_bucket{shard="0",le="+Inf"} 40',
      'heddle_sync_seconds_sum{shard="0"} 0.012345',
      'heddle_sync_seconds_count{shard="0"} 40',
    ]);
  });

  it("show a shard that cannot answer by its state alone, with the state's text escaped", () => {
    const ofShard = lines.filter((line) => line.includes('shard="1"'));
    expect(ofShard).toEqual(['heddle_shard_state{shard="1",state="stopped \\"hard\\"\\n\\\\"} 1']);
  });

  it("stand up to a shard that has committed nothing", () => {
    const figures = { ...nodeMetrics.shards[0]!.figures!, groups: 0, events: 0 };
    const text = metricsText({ ...nodeMetrics, shards: [{ shard: 0, state: "running", figures }] }, facts, http);
    expect(text).toContain('heddle_events_per_group{shard="0"} 0\n');
  });
});
