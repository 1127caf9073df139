// The figures of the publisher to NATS.
import type { NatsFigures } from "../nats-publishing.ts";
import type { MetricsPage } from "./metrics-page.ts";

export function writeNats(page: MetricsPage, nats: NatsFigures): void {
  const counter = (name: string, help: string, value: number) => page.add(name, "counter", help, [[{}, value]]);
  page.add("heddle_nats_connected", "gauge", "1 while there is a connection to NATS.", [
    [{}, nats.isConnected ? 1 : 0],
  ]);
  page.add("heddle_nats_problems", "gauge", "Shards that are not published, or 1 for all.", [
    [{}, nats.problems.length],
  ]);
  page.add(
    "heddle_nats_lag_bytes",
    "gauge",
    "Log of the shard that is not in its stream yet.",
    nats.lagBytes.map((bytes, shard) => [{ shard }, bytes]),
  );
  counter("heddle_nats_connections_total", "Connections made to NATS.", nats.connections);
  counter("heddle_nats_messages_total", "Messages that NATS has acknowledged.", nats.messages);
  counter("heddle_nats_bytes_total", "Bytes of log in them.", nats.bytes);
  counter(
    "heddle_nats_unacknowledged_total",
    "Messages that were not acknowledged; what the stream then lacks is sent again.",
    nats.unacknowledged,
  );
  counter("heddle_nats_erased_entries_total", "Entries that were erased in NATS.", nats.erased);
}
