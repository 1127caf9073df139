// The JSON document of a run: everything that was measured, and what it was measured on. Times in ms unless a name says
// otherwise; rates are per second.
import type { HostFacts } from "../driver/host-facts.ts";
import type { Preflight } from "../driver/preflight.ts";
import type { OpenLoopMeasurement } from "../load/job.ts";
import type { Measurement } from "../load/meter.ts";
import type { TransferWay } from "../load/pairs.ts";
import type { PostgresRun, PostgresWay } from "../peers/postgres/bank.ts";
import type { LagReport } from "../readers/lag.ts";
import type { SubscribersResult } from "../readers/subscribers.ts";
import type { RefereeReport } from "../referee/main.ts";
import type { ReminderVerdict } from "../reminders/judge.ts";
import type { LoadScenarioName, TransferPath } from "../scenarios.ts";
import type { ListResult, UniformResult } from "../sleepers/client.ts";
import type { LatencySummary } from "../statistics/histogram.ts";
import type { Spread } from "../statistics/spread.ts";
import type { Trend } from "../statistics/trend.ts";
import type { TargetOutcome } from "./targets.ts";

export const documentFormat = 1;

export interface BenchDocument {
  readonly format: typeof documentFormat;
  readonly heddle: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly tookSeconds: number;
  readonly host: HostFacts;
  readonly preflight: Preflight;
  readonly durability: "fsync" | "os";
  readonly domain: string;
  readonly invariants: true;
  readonly processes: string;
  readonly histogramResolution: string;
  readonly scenarios: readonly LoadReport[];
  readonly restart: RestartReport | undefined;
  readonly sleepers: SleepersReport | undefined;
  readonly transfers: TransfersReport | undefined;
  readonly reminders: RemindersReport | undefined;
  readonly readers: ReadersReport | undefined;
  /** Whether the referee found every store as it should be. */
  readonly refereeOk: boolean;
  /** Undefined where no target could be judged. */
  readonly targetsReached: boolean | undefined;
}

export interface LoadReport {
  readonly scenario: LoadScenarioName;
  readonly title: string;
  readonly protocol: "binary" | "http";
  readonly durability: "fsync" | "os";
  readonly callers: number;
  readonly connections: number;
  readonly batch: number;
  readonly accounts: number;
  readonly payload: PayloadFacts;
  readonly cores: number;
  readonly threads: number;
  readonly shards: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly rounds: readonly Round[];
  /** Index of the round with the median rate: it stands for the scenario where one must. */
  readonly shown: number;
  readonly eventsPerSecond: Spread;
  readonly ratios: readonly FloorRatio[];
  readonly trend: Trend | undefined;
  readonly openLoop: OpenLoopMeasurement | undefined;
  readonly targets: readonly TargetOutcome[];
  readonly refereeOk: boolean;
}

/** Of one event, the mean over a call. */
export interface PayloadFacts {
  readonly jsonBytes: number;
  readonly msgpackBytes: number;
  readonly example: unknown;
}

export interface FloorRatio {
  readonly floor: "binary" | "http";
  /** Heddle's rate over the floor's, round by round. */
  readonly ratio: Spread;
  readonly floorEventsPerSecond: Spread;
}

export interface Round {
  readonly floors: readonly FloorRun[];
  readonly heddle: HeddleRun;
}

/** A server under load, seen from inside and outside. */
export interface ServerFigures {
  /** Over the measurement, all threads. */
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  readonly rssMaxBytes: number;
  /** Groups made durable in the measurement; in mode `fsync` each is one sync. */
  readonly groups: number;
  readonly syncs: number;
  readonly eventsPerGroup: number;
}

export interface FloorRun {
  readonly floor: "binary" | "http";
  readonly measurement: Measurement;
  readonly server: ServerFigures;
  readonly clientCpuSeconds: number;
  readonly logBytesPerEvent: number;
}

export interface HeddleRun {
  readonly measurement: Measurement;
  readonly server: ServerFigures;
  readonly clientCpuSeconds: number;
  readonly clientRssBytes: number;
  readonly closeMs: number;
  /** Failures made the client stop before its time. */
  readonly givenUp: boolean;
  readonly referee: RefereeReport;
}

export interface RestartReport {
  readonly durability: "fsync" | "os";
  readonly cores: number;
  readonly threads: number;
  readonly shards: number;
  /** Events in the log at the first stop, and its size. */
  readonly events: number;
  readonly logBytes: number;
  readonly writing: Measurement;
  readonly closeMs: number;
  readonly clean: RestartRun;
  /** After `kill -9` under full load, one after another on the same store. */
  readonly killed: readonly RestartRun[];
  readonly targets: readonly TargetOutcome[];
  readonly refereeOk: boolean;
}

/** Far more entities on disk than fit into the memory that the node was given. */
export interface SleepersReport {
  readonly durability: "fsync" | "os";
  readonly cores: number;
  readonly entities: number;
  /** `memory.stateBytes` of the node. */
  readonly stateBytes: number;
  readonly logBytes: number;
  readonly partitionBytes: number;
  readonly fillSeconds: number;
  /** The node's resident set less mapped files, while the entities were written; undefined where the system does not say. */
  readonly fillMemory: { readonly maxBytes: number; readonly bytes: number } | undefined;
  /** From the start of the process to a node that listens. */
  readonly readyMs: number;
  /** The same while it served. */
  readonly memory: { readonly maxBytes: number; readonly bytes: number } | undefined;
  /** All entities, page by page, right after the start; `activations`: how many of them were woken by it. */
  readonly listing: ListResult & { readonly activations: number };
  /** Appends and reads, half and half, of entities picked at random over all. */
  readonly uniform: UniformResult;
  /** Reads one after another, over the wire. */
  readonly activation: {
    readonly active: LatencySummary;
    readonly asleep: LatencySummary;
    readonly longEvents: number;
    readonly longWithSnapshot: LatencySummary;
    /** The fold has another version, so that no snapshot can be used. */
    readonly longWithoutSnapshot: LatencySummary;
  };
  readonly targets: readonly TargetOutcome[];
  /** Whether every state that was read was what it must be at least, and the list was whole, in order, and woke nobody. */
  readonly refereeOk: boolean;
}

/** Money from one account to another, in three ways, beside PostgreSQL. */
export interface TransfersReport {
  readonly durability: "fsync" | "os";
  readonly cores: number;
  readonly callers: number;
  readonly connections: number;
  readonly accounts: number;
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly seed: number;
  readonly paths: readonly TransferPathReport[];
  readonly postgres: PostgresReport | { readonly missing: string };
  readonly targets: readonly TargetOutcome[];
  readonly refereeOk: boolean;
}

export interface TransferPathReport {
  readonly path: TransferPath["name"];
  readonly way: TransferWay;
  readonly shards: number;
  readonly threads: number;
  readonly rounds: readonly TransferRun[];
  readonly shown: number;
  readonly transfersPerSecond: Spread;
  /** To each of PostgreSQL's ways, round by round; none where it was not measured. */
  readonly ratios: readonly { readonly way: PostgresWay; readonly ratio: Spread }[];
}

/** As {@link HeddleRun}; a call is a transfer and has two events. */
export type TransferRun = HeddleRun;

export interface PostgresReport {
  readonly version: string;
  readonly isolation: "SERIALIZABLE";
  /** Of pgbench. */
  readonly clients: number;
  readonly threads: number;
  readonly settings: Readonly<Record<string, string>>;
  readonly ways: readonly PostgresWayReport[];
}

export interface PostgresWayReport {
  readonly way: PostgresWay;
  readonly rounds: readonly PostgresRun[];
  readonly shown: number;
  readonly transfersPerSecond: Spread;
}

/** Many pending reminders, of which half become due at once. */
export interface RemindersReport {
  readonly durability: "fsync" | "os";
  readonly cores: number;
  readonly threads: number;
  readonly shards: number;
  readonly entities: number;
  /** Pending at the start, and how many of them were due. */
  readonly reminders: number;
  readonly due: number;
  /** How fast they became due. */
  readonly offeredPerSecond: number;
  /** `reminders.ratePerSecondMax` of the node. */
  readonly ratePerSecondMax: number;
  readonly setSeconds: number;
  /** From the start of the process to a node that listens, all of them pending. */
  readonly readyMs: number;
  /** From when the first was due to when the last was delivered. */
  readonly deliveriesPerSecond: number;
  readonly verdict: ReminderVerdict;
  /** Of the node, since it was started with all of them pending. */
  readonly cpuSeconds: number;
  /** The node's resident set less mapped files, while it delivered. */
  readonly memory: { readonly maxBytes: number; readonly bytes: number } | undefined;
  readonly logBytes: number;
  readonly audit: { readonly ok: boolean; readonly text: string };
  readonly targets: readonly TargetOutcome[];
  readonly refereeOk: boolean;
}

/** What reading costs the writers, and how far behind it is. Single appends unless it says otherwise. */
export interface ReadersReport {
  readonly durability: "fsync" | "os";
  readonly cores: number;
  readonly threads: number;
  readonly shards: number;
  readonly callers: number;
  readonly connections: number;
  /** `share`: of the writers' rate that is lost to a projection into SQLite. */
  readonly cost: { readonly rounds: readonly CostRound[]; readonly share: Spread };
  readonly lag: RateReport;
  readonly rebuild: {
    readonly events: number;
    readonly alone: RebuildRun;
    readonly besideAppends: RebuildRun;
  };
  readonly sinks: readonly SinkReport[];
  readonly subscribers: SubscribersResult;
  readonly nats: StreamReport;
  /** What the referee says of the stores, and of what readers have. */
  readonly verdicts: readonly { readonly of: string; readonly ok: boolean; readonly text: string }[];
  readonly targets: readonly TargetOutcome[];
  readonly refereeOk: boolean;
}

export interface CostRound {
  readonly without: CostRun;
  readonly with: CostRun;
  readonly share: number;
}

export interface CostRun {
  readonly eventsPerSecond: number;
  readonly latency: LatencySummary;
  readonly nodeCpuSeconds: number;
  readonly syncs: number;
}

/** Appends that fell due at a rate, and the rows meanwhile. */
export interface RateReport extends LagReport {
  readonly offeredPerSecond: number;
  readonly events: number;
  /** Of the appends. */
  readonly latency: LatencySummary;
}

export interface RebuildRun {
  readonly seconds: number;
  readonly eventsPerSecond: number;
}

export type SinkReport =
  | (RateReport & { readonly sink: "rqlite" | "mongodb"; readonly server: string })
  | { readonly sink: "rqlite" | "mongodb"; readonly missing: string };

/** A whole log into JetStream, and single appends beside the publisher. */
export type StreamReport =
  | {
      readonly server: string;
      readonly events: number;
      readonly logBytes: number;
      readonly messages: number;
      readonly readyMs: number;
      /** From the start of the node's process to a stream that has all. */
      readonly seconds: number;
      readonly eventsPerSecond: number;
      readonly live: {
        readonly eventsPerSecond: number;
        readonly latency: LatencySummary;
        readonly drainedMs: number;
      };
    }
  | { readonly missing: string };

export interface RestartRun {
  /** From the start of the process to the first 200 of /readyz. */
  readonly readyMs: number;
  readonly eventsInLog: number;
  readonly logBytes: number;
  readonly rssBytes: number;
  /** Accounts whose state, read from the started node, is not what the book says. */
  readonly differingStates: readonly string[];
  readonly referee: RefereeReport;
}
