// The result as text: one table of figures, the targets, and the referee's word.
import type { LatencySummary } from "../statistics/histogram.ts";
import type { BenchDocument, LoadReport, RestartReport, RestartRun, SleepersReport } from "./document.ts";
import { describeOutcome } from "./targets.ts";
import { callsWithoutReceipt } from "./verdict.ts";

const whole = (value: number) => Math.round(value).toLocaleString("en-GB");
const short = (value: number) => (value >= 100 ? whole(value) : value.toFixed(value < 10 ? 2 : 1));
const megabytes = (bytes: number) => `${whole(bytes / 2 ** 20)} MiB`;

export function renderDocument(document: BenchDocument): string {
  const lines = [...renderHead(document), ""];
  if (document.scenarios.length > 0) {
    lines.push(...renderTable(columns, document.scenarios.map(row)), "");
    for (const report of document.scenarios) lines.push(...renderScenario(report), "");
  }
  if (document.restart !== undefined) lines.push(...renderRestart(document.restart), "");
  if (document.sleepers !== undefined) lines.push(...renderSleepers(document.sleepers), "");
  lines.push(renderVerdict(document));
  return lines.join("\n");
}

function renderHead({ host, preflight, durability, histogramResolution }: BenchDocument): string[] {
  const { fileSystem } = host;
  return [
    `Heddle benchmark   durability: ${durability}   domain: bank, invariants on   client on the same machine`,
    `${host.cpu}, ${host.cores} cores, ${whole(host.memoryBytes / 2 ** 30)} GiB, ${host.kernel}, Node ${host.node}, load ${host.loadAverage}`,
    `data on ${fileSystem.type} (${fileSystem.device}): one synced 4 KiB write takes ${whole(preflight.medianUs)} µs ` +
      `(p99 ${whole(preflight.p99Us)} µs), at most ${whole(preflight.thresholdUs)} µs wanted: ${preflight.passed ? "PASS" : "FAIL"}`,
    `latency in ms for a whole call; resolution ${histogramResolution}`,
  ];
}

const columns = [
  "scenario",
  "mode",
  "callers×batch",
  "events/s",
  "calls/s",
  "p50",
  "p99",
  "p99.9",
  "max",
  "syncs",
  "ev/sync",
  "floor",
  "ratio",
  "referee",
];

function row(report: LoadReport): string[] {
  const { measurement, server } = report.rounds[report.shown]!.heddle;
  const { latency } = measurement;
  const [first] = report.ratios;
  return [
    report.scenario,
    report.durability,
    `${report.callers}×${report.batch}`,
    whole(measurement.eventsPerSecond),
    whole(measurement.callsPerSecond),
    short(latency.p50Ms),
    short(latency.p99Ms),
    short(latency.p999Ms),
    short(latency.maxMs),
    whole(server.syncs),
    whole(server.eventsPerGroup),
    whole(first!.floorEventsPerSecond.median),
    `${first!.ratio.median.toFixed(2)} (${first!.ratio.min.toFixed(2)}-${first!.ratio.max.toFixed(2)})`,
    report.refereeOk ? "OK" : "OBJECTS",
  ];
}

function renderTable(head: readonly string[], rows: readonly string[][]): string[] {
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map((cells) => cells[column]!.length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  ")
      .trimEnd();
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)];
}

function renderScenario(report: LoadReport): string[] {
  const { heddle } = report.rounds[report.shown]!;
  const { measurement, server, referee } = heddle;
  const lines = [
    `${report.scenario}: ${report.title}; ${report.protocol}, ${report.connections} connection(s), ${report.shards} shard(s) on ` +
      `${report.threads} thread(s); ${report.seconds} s, ${report.rounds.length} round(s)`,
    `  payload ${report.payload.jsonBytes} B as JSON, ${report.payload.msgpackBytes} B as msgpack; log ${referee.logBytesPerEvent} B an event`,
    `  CPU ${server.cpuSeconds.toFixed(1)} s node, ${heddle.clientCpuSeconds.toFixed(1)} s client in ${measurement.seconds.toFixed(1)} s; ` +
      `node's memory ${megabytes(server.rssBytes)} at the end, ${megabytes(server.rssMaxBytes)} at most`,
  ];
  for (const { floor, ratio, floorEventsPerSecond } of report.ratios) {
    lines.push(
      `  ${floor} floor ${whole(floorEventsPerSecond.median)} events/s (${whole(floorEventsPerSecond.min)}-` +
        `${whole(floorEventsPerSecond.max)}); ratio ${ratio.median.toFixed(3)} (${ratio.min.toFixed(3)}-${ratio.max.toFixed(3)})`,
    );
  }
  if (report.trend !== undefined) {
    const { windowS, ratio, deviation } = report.trend;
    lines.push(
      `  last ${short(windowS)} s over first: ${ratio.toFixed(2)}; rates deviate by ${(100 * deviation).toFixed(1)} %`,
    );
  }
  if (report.openLoop !== undefined) {
    const { offeredPerSecond, latency } = report.openLoop;
    lines.push(
      `  open loop, ${whole(offeredPerSecond)} calls/s offered: p50 ${short(latency.p50Ms)}, p99 ${short(latency.p99Ms)}, ` +
        `p99.9 ${short(latency.p999Ms)}, max ${short(latency.maxMs)} ms from when a call was due`,
    );
  }
  for (const target of report.targets) lines.push(`  target ${describeOutcome(target)}`);
  for (const [round, { heddle: run }] of report.rounds.entries()) {
    const stopped = run.givenUp ? "GIVEN UP after too many failures; " : "";
    lines.push(`  referee, round ${round + 1}: ${stopped}${run.referee.text}`);
    lines.push(...run.referee.objections.map((objection) => `    ${objection}`));
  }
  return lines;
}

function renderRestart(report: RestartReport): string[] {
  const run = (what: string, { readyMs, eventsInLog, rssBytes, differingStates, referee }: RestartRun) => [
    `  ${what}: ready in ${(readyMs / 1000).toFixed(2)} s with ${whole(eventsInLog)} events in the log; memory ${megabytes(rssBytes)}; ${referee.text}`,
    ...[...referee.objections, ...differingStates.slice(0, 5)].map((objection) => `    ${objection}`),
  ];
  return [
    `restart: ${whole(report.events)} events, ${megabytes(report.logBytes)} of log, ${report.shards} shard(s) on ${report.threads} thread(s); ` +
      `written at ${whole(report.writing.eventsPerSecond)} events/s, clean stop in ${(report.closeMs / 1000).toFixed(2)} s`,
    ...run("after a clean stop", report.clean),
    ...report.killed.flatMap((killed, i) => run(`after kill -9 under load, ${i + 1}`, killed)),
    ...report.targets.map((target) => `  target ${describeOutcome(target)}`),
  ];
}

function renderSleepers(report: SleepersReport): string[] {
  const { uniform, listing, activation, memory, fillMemory } = report;
  const own = (used: SleepersReport["memory"]) => (used === undefined ? "unknown" : megabytes(used.maxBytes));
  const wakes = (what: string, { p50Ms, p99Ms, maxMs, count }: LatencySummary) =>
    count === 1 ? `${what} ${short(maxMs)} ms` : `${what} p50 ${short(p50Ms)}, p99 ${short(p99Ms)} ms`;
  return [
    `sleepers: ${whole(report.entities)} entities, ${megabytes(report.logBytes)} of log, ${megabytes(report.partitionBytes)} of partition, ` +
      `${megabytes(report.stateBytes)} for active ones; opened in ${report.fillSeconds.toFixed(0)} s (own memory ${own(fillMemory)} at most), ` +
      `ready in ${(report.readyMs / 1000).toFixed(2)} s`,
    `  paged over ${whole(listing.entities)} entities in ${listing.seconds.toFixed(1)} s, ${whole(listing.activations)} of them woken, ` +
      `${listing.inOrder ? "in order" : "OUT OF ORDER"}`,
    `  at random over all: ${whole(uniform.appends / uniform.seconds)} appends/s (p99 ${short(uniform.appendLatency.p99Ms)} ms), ` +
      `${whole(uniform.reads / uniform.seconds)} reads/s (p99 ${short(uniform.readLatency.p99Ms)} ms); own memory ${own(memory)} at most; ` +
      `${uniform.wrong === 0 ? "every state as it must be" : `${whole(uniform.wrong)} states WRONG`}`,
    `  one read: ${wakes("active", activation.active)}; ${wakes("asleep", activation.asleep)}; with ${whole(activation.longEvents)} events ` +
      `${wakes("from its snapshot", activation.longWithSnapshot)}, ${wakes("without one", activation.longWithoutSnapshot)}`,
    ...report.targets.map((target) => `  target ${describeOutcome(target)}`),
  ];
}

function renderVerdict(document: BenchDocument): string {
  const { refereeOk, targetsReached } = document;
  const parts = [
    refereeOk ? "REFEREE_OK: every store holds exactly what was acknowledged" : "REFEREE_OBJECTS: see above",
  ];
  const { refused, unknown } = callsWithoutReceipt(document);
  if (refused > 0) parts.push(`${whole(refused)} calls were REFUSED`);
  if (unknown > 0) parts.push(`${whole(unknown)} calls have an UNKNOWN outcome`);
  if (targetsReached === undefined) parts.push("no target was judged");
  else parts.push(targetsReached ? "all judged targets reached" : "some targets MISSED");
  return parts.join("; ");
}
