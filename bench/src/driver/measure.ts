// One contestant under load: starts a client, and asks the server for its figures when the measurement begins and ends.
import type { LoadJob, OpenLoopMeasurement } from "../load/job.ts";
import type { Measurement } from "../load/meter.ts";
import type { ServerFigures } from "../report/document.ts";
import { type Server, startLoad } from "./processes.ts";
import type { Progress } from "./progress.ts";
import type { ServerUsage } from "./server-process.ts";

export interface Measured {
  readonly measurement: Measurement;
  readonly server: ServerFigures;
  readonly clientCpuSeconds: number;
  readonly clientRssBytes: number;
  readonly openLoop: OpenLoopMeasurement | undefined;
  readonly givenUp: boolean;
}

export async function measure(
  server: Server,
  job: LoadJob,
  durability: "fsync" | "os",
  progress: Progress,
  what: string,
): Promise<Measured> {
  let rate = "";
  let measuringSince: number | undefined;
  const load = startLoad(job, ({ phase, events, sample }) => {
    if (sample !== undefined) rate = `, ${sample.eventsPerSecond.toLocaleString("en-GB")} events/s`;
    const elapsed = measuringSince === undefined ? undefined : (performance.now() - measuringSince) / 1000;
    const byTime = elapsed === undefined ? undefined : Math.min(1, elapsed / job.seconds);
    const share = job.eventsMax === undefined ? byTime : Math.min(1, events / job.eventsMax);
    progress.step(
      `${what}: ${phase}`,
      `${events.toLocaleString("en-GB")} events${rate}`,
      phase === "measuring" ? share : undefined,
    );
  });
  await load.measuring;
  measuringSince = performance.now();
  const before = await server.usage();
  const { measurement, cpuMs, rssBytes } = await load.measured;
  const after = await server.usage();
  const { openLoop, givenUp } = await load.done;
  return {
    measurement,
    server: figures(before, after, durability),
    clientCpuSeconds: cpuMs / 1000,
    clientRssBytes: rssBytes,
    openLoop,
    givenUp,
  };
}

function figures(before: ServerUsage, after: ServerUsage, durability: "fsync" | "os"): ServerFigures {
  const groups = after.groups - before.groups;
  const events = after.events - before.events;
  return {
    cpuSeconds: Number(((after.cpuMs - before.cpuMs) / 1000).toFixed(2)),
    rssBytes: after.rssBytes,
    rssMaxBytes: after.rssMaxBytes,
    groups,
    syncs: durability === "fsync" ? groups : 0,
    eventsPerGroup: groups === 0 ? 0 : Number((events / groups).toFixed(1)),
  };
}
