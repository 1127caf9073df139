// The result as text: one table of figures, the targets, and the referee's word.
import type { LatencySummary } from "../statistics/histogram.ts";
import type {
  BenchDocument,
  LoadReport,
  PostgresReport,
  PostgresWayReport,
  RateReport,
  ReadersReport,
  RebuildRun,
  RemindersReport,
  RestartReport,
  RestartRun,
  SleepersReport,
  TransferPathReport,
  TransfersReport,
} from "./document.ts";
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
  if (document.transfers !== undefined) lines.push(...renderTransfers(document.transfers), "");
  if (document.reminders !== undefined) lines.push(...renderReminders(document.reminders), "");
  if (document.readers !== undefined) lines.push(...renderReaders(document.readers), "");
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

const transferColumns = [
  "transfers",
  "mode",
  "callers",
  "transfers/s",
  "p50",
  "p99",
  "p99.9",
  "max",
  "syncs",
  "tr/sync",
  "of PostgreSQL",
  "referee",
];

function renderTransfers(report: TransfersReport): string[] {
  const { postgres } = report;
  const ways = "missing" in postgres ? [] : postgres.ways;
  return [
    ...renderTable(transferColumns, [
      ...report.paths.map((path) => transferRow(path, report)),
      ...ways.map((way) => postgresRow(way, postgres as PostgresReport)),
    ]),
    "",
    `transfers: ${whole(report.accounts)} accounts, pairs at random (seed ${report.seed}); Heddle: ${report.callers} callers, ` +
      `${report.connections} connections; ${report.seconds} s, ${report.paths[0]!.rounds.length} round(s)`,
    ...("missing" in postgres ? [`  PostgreSQL was not measured: ${postgres.missing}`] : renderPostgres(postgres)),
    ...report.paths.flatMap(renderTransferPath),
    ...report.targets.map((target) => `  target ${describeOutcome(target)}`),
  ];
}

function transferRow({ path, rounds, shown, ratios }: TransferPathReport, report: TransfersReport): string[] {
  const { measurement, server, referee, givenUp } = rounds[shown]!;
  const { latency } = measurement;
  const statements = ratios.find(({ way }) => way === "statements");
  return [
    path,
    report.durability,
    String(report.callers),
    whole(measurement.callsPerSecond),
    short(latency.p50Ms),
    short(latency.p99Ms),
    short(latency.p999Ms),
    short(latency.maxMs),
    whole(server.syncs),
    server.groups === 0 ? "-" : short(measurement.calls / server.groups),
    statements === undefined ? "-" : spread(statements.ratio),
    referee.ok && referee.audit?.ok === true && !givenUp ? "OK" : "OBJECTS",
  ];
}

function postgresRow({ way, rounds, shown }: PostgresWayReport, { clients }: PostgresReport): string[] {
  const { transactions, perSecond, latency, syncs, objections } = rounds[shown]!;
  return [
    `PostgreSQL, ${way}`,
    "fsync",
    String(clients),
    whole(perSecond),
    short(latency.p50Ms),
    short(latency.p99Ms),
    short(latency.p999Ms),
    short(latency.maxMs),
    whole(syncs),
    syncs === 0 ? "-" : short(transactions / syncs),
    way === "statements" ? "1" : "-",
    objections.length === 0 ? "OK" : "OBJECTS",
  ];
}

const spread = ({ median, min, max }: { median: number; min: number; max: number }) =>
  `${short(median)} (${short(min)}-${short(max)})`;

function renderPostgres({ version, isolation, clients, threads, settings, ways }: PostgresReport): string[] {
  const values = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  return [
    `  ${version}, ${isolation}; pgbench, ${clients} clients on ${threads} threads, prepared, over a Unix socket; ${values.join(" ")}`,
    ...ways.flatMap(({ way, rounds, shown, transfersPerSecond }) => {
      const { retried, retries, failed, transactions } = rounds[shown]!;
      return [
        `  ${way}: ${spread(transfersPerSecond)} transfers/s; ${whole(retried)} of ${whole(transactions)} met a conflict ` +
          `and were made again (${whole(retries)} times), ${whole(failed)} failed`,
        ...rounds.flatMap(({ objections }) => objections.map((objection) => `    ${objection}`)),
      ];
    }),
  ];
}

function renderTransferPath({ path, shards, threads, rounds, shown, transfersPerSecond, ratios }: TransferPathReport) {
  const { measurement, server, clientCpuSeconds } = rounds[shown]!;
  const lines = [
    `  ${path}: ${shards} shard(s) on ${threads} thread(s); ${spread(transfersPerSecond)} transfers/s; ` +
      `${short(server.eventsPerGroup)} events a group; CPU ${server.cpuSeconds.toFixed(1)} s node, ` +
      `${clientCpuSeconds.toFixed(1)} s client in ${measurement.seconds.toFixed(1)} s; memory ${megabytes(server.rssBytes)}`,
  ];
  for (const { way, ratio } of ratios) lines.push(`    ${spread(ratio)} times PostgreSQL's ${way}`);
  for (const [round, { referee, givenUp }] of rounds.entries()) {
    const stopped = givenUp ? "GIVEN UP after too many failures; " : "";
    lines.push(`    round ${round + 1}: ${stopped}${referee.text}; audit: ${referee.audit?.text ?? "not made"}`);
    lines.push(...referee.objections.map((objection) => `      ${objection}`));
  }
  return lines;
}

function renderReaders(report: ReadersReport): string[] {
  const { cost, lag, rebuild, sinks, subscribers, nats } = report;
  const behind = ({ lag, drainedMs }: RateReport) =>
    `rows behind by p50 ${short(lag.p50Ms)}, p99 ${short(lag.p99Ms)}, max ${short(lag.maxMs)} ms, all there ${whole(drainedMs)} ms after the last`;
  const rebuilt = ({ eventsPerSecond, seconds }: RebuildRun) =>
    `${whole(eventsPerSecond)} events/s (${seconds.toFixed(1)} s)`;
  const lines = [
    `readers: ${report.callers} callers, 1 event a call, ${report.connections} connection(s), ${report.shards} shard(s) on ${report.threads} thread(s), ` +
      `durability ${report.durability}`,
    ...cost.rounds.map(
      (round, index) =>
        `  cost ${index + 1}: ${whole(round.without.eventsPerSecond)} events/s without a projection, ${whole(round.with.eventsPerSecond)} with SQLite ` +
        `(${(100 * round.share).toFixed(1)} % less); node's CPU ${round.without.nodeCpuSeconds.toFixed(1)} and ${round.with.nodeCpuSeconds.toFixed(1)} s`,
    ),
    `  SQLite at ${whole(lag.offeredPerSecond)} events/s: ${behind(lag)}; appends p99 ${short(lag.latency.p99Ms)} ms`,
    `  rebuild of ${whole(rebuild.events)} events: ${rebuilt(rebuild.alone)}; beside single appends ${rebuilt(rebuild.besideAppends)}`,
    ...sinks.map((sink) =>
      "missing" in sink
        ? `  ${sink.sink} was not measured: ${sink.missing}`
        : `  ${sink.server} at ${whole(sink.offeredPerSecond)} events/s: ${behind(sink)}; ${whole(sink.projectedPerSecond)} events/s came in over the last two thirds`,
    ),
    `  ${whole(subscribers.subscribers)} subscribers at ${whole(subscribers.offeredPerSecond)} events/s: p50 ${short(subscribers.latency.p50Ms)}, ` +
      `p99 ${short(subscribers.latency.p99Ms)}, max ${short(subscribers.latency.maxMs)} ms from when an append was due to its subscriber`,
    "missing" in nats
      ? `  NATS was not measured: ${nats.missing}`
      : `  ${nats.server}: ${whole(nats.events)} events, ${megabytes(nats.logBytes)} of log, in ${whole(nats.messages)} messages: ${whole(nats.eventsPerSecond)} events/s; ` +
        `beside ${whole(nats.live.eventsPerSecond)} single appends/s, all there ${whole(nats.live.drainedMs)} ms after the last`,
    ...report.verdicts.filter(({ ok }) => !ok).map(({ of, text }) => `    ${of}: ${text}`),
    ...report.targets.map((target) => `  target ${describeOutcome(target)}`),
  ];
  return lines;
}

function renderReminders(report: RemindersReport): string[] {
  const { verdict, memory, audit } = report;
  const { lag } = verdict;
  return [
    `reminders: ${whole(report.reminders)} pending for ${whole(report.entities)} entities, set in ${report.setSeconds.toFixed(0)} s; ` +
      `${report.shards} shard(s) on ${report.threads} thread(s), durability ${report.durability}; started again, ready in ${(report.readyMs / 1000).toFixed(2)} s`,
    `  ${whole(report.due)} due, ${whole(report.offeredPerSecond)} a second: ${whole(report.deliveriesPerSecond)} deliveries/s, ` +
      `${whole(verdict.perSecondMax)} in the best second; behind when they were due by p50 ${short(lag.p50Ms)}, p99 ${short(lag.p99Ms)}, max ${short(lag.maxMs)} ms`,
    `  CPU ${report.cpuSeconds.toFixed(1)} s, own memory ${memory === undefined ? "unknown" : megabytes(memory.maxBytes)} at most, log ${megabytes(report.logBytes)}; ` +
      `${whole(verdict.delivered)} delivered, ${whole(verdict.lost)} lost, ${whole(verdict.early)} early; audit: ${audit.text}`,
    ...verdict.objections.map((objection) => `    ${objection}`),
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
