// The scenarios: what is asked of each contestant, and what Heddle must reach.
//
// The shapes are those of the systems that Heddle is measured against (Warp: single, batch; Atomic State: broker, dense),
// and each floor gets the same shape as Heddle.
import type { EventShape } from "./load/load.ts";
import type { TransferWay } from "./load/pairs.ts";

export type LoadScenarioName = "single" | "batch" | "broker" | "dense";
export type ScenarioName = LoadScenarioName | "restart" | "sleepers" | "transfers" | "reminders" | "readers";

export interface Target {
  readonly id:
    | "ratio"
    | "events/s"
    | "transfers/s"
    | "deliveries/s"
    | "p99"
    | "share of batch"
    | "ready"
    | "own memory"
    | "share"
    | "lag p99";
  readonly wanted: number;
  /** Whether the figure must be at least or below what is wanted. */
  readonly sense: "at least" | "below" | "at most";
  readonly unit: "" | "events/s" | "transfers/s" | "deliveries/s" | "ms" | "s" | "MB";
}

export interface LoadScenario {
  readonly name: LoadScenarioName;
  readonly title: string;
  readonly shape: EventShape;
  readonly connections: number;
  readonly protocol: "binary" | "http";
  /** The first one is the floor that the ratio is taken of. */
  readonly floors: readonly ("binary" | "http")[];
  readonly targets: readonly Target[];
}

/** Stated for two cores with the client on them, `durability: fsync`, invariants on. */
const ratio = (wanted: number): Target => ({ id: "ratio", wanted, sense: "at least", unit: "" });
const rate = (wanted: number): Target => ({ id: "events/s", wanted, sense: "at least", unit: "events/s" });
const p99 = (wanted: number): Target => ({ id: "p99", wanted, sense: "below", unit: "ms" });
const shareOfBatch = (wanted: number): Target => ({ id: "share of batch", wanted, sense: "at least", unit: "" });

export const loadScenarios: { readonly [N in LoadScenarioName]: LoadScenario } = {
  single: {
    name: "single",
    title: "200 callers, 1 event a call",
    shape: { callers: 200, batch: 1, entities: "one" },
    connections: 4,
    protocol: "binary",
    floors: ["binary"],
    targets: [ratio(0.7), p99(10)],
  },
  batch: {
    name: "batch",
    title: "16 callers, 500 events a call",
    shape: { callers: 16, batch: 500, entities: "one" },
    connections: 4,
    protocol: "binary",
    floors: ["binary"],
    targets: [ratio(0.5), rate(1_200_000)],
  },
  broker: {
    name: "broker",
    title: "HTTP+JSON, 1 caller, 1,000 accounts a call",
    shape: { callers: 1, batch: 1_000, entities: "many" },
    connections: 1,
    protocol: "http",
    floors: ["http", "binary"],
    targets: [rate(330_000), p99(10)],
  },
  dense: {
    name: "dense",
    title: "64 callers, 100 events a call",
    shape: { callers: 64, batch: 100, entities: "one" },
    connections: 4,
    protocol: "binary",
    floors: ["binary"],
    targets: [shareOfBatch(0.85), p99(50)],
  },
};

/** Seconds from the start of the process to a node that answers. */
export const restartTargets: { readonly clean: Target; readonly killed: Target } = {
  clean: { id: "ready", wanted: 5, sense: "at most", unit: "s" },
  killed: { id: "ready", wanted: 10, sense: "at most", unit: "s" },
};

/** The node's own memory, with 256 MiB for active entities and ten million entities on disk. */
export const sleepersTargets: { readonly memory: Target } = {
  memory: { id: "own memory", wanted: 556, sense: "at most", unit: "MB" },
};

/** One way to move money between two accounts. */
export interface TransferPath {
  readonly name: "transaction on one shard" | "transaction over two shards" | "saga over two shards";
  readonly way: TransferWay;
  readonly shards: 1 | 2;
  readonly rate: Target;
  /** To PostgreSQL's transfers in the same run. */
  readonly ratio: Target;
}

export const transferCallers = 200;
/** As the SDK comes: who has more than one pays for each, on both sides. */
export const transferConnections = 1;

const transfers = (wanted: number): Target => ({ id: "transfers/s", wanted, sense: "at least", unit: "transfers/s" });

export const transferPaths: readonly TransferPath[] = [
  { name: "transaction on one shard", way: "transaction", shards: 1, rate: transfers(60_000), ratio: ratio(8) },
  { name: "transaction over two shards", way: "transaction", shards: 2, rate: transfers(20_000), ratio: ratio(3) },
  { name: "saga over two shards", way: "saga", shards: 2, rate: transfers(20_000), ratio: ratio(3) },
];

/** With a million reminders pending. */
export const reminderTargets: { readonly rate: Target } = {
  rate: { id: "deliveries/s", wanted: 50_000, sense: "at least", unit: "deliveries/s" },
};

/** Rows in SQLite, rqlite and MongoDB, subscribers, and a stream: beside the writers, on the same two cores. */
export const readersTargets = {
  cost: { id: "share", wanted: 0.35, sense: "below", unit: "" },
  lag: { id: "lag p99", wanted: 250, sense: "below", unit: "ms" },
  rebuild: rate(300_000),
  sink: rate(20_000),
  subscribers: { id: "p99", wanted: 50, sense: "below", unit: "ms" },
  nats: rate(300_000),
} satisfies Record<string, Target>;

export const scenarioNames: readonly ScenarioName[] = [
  "single",
  "batch",
  "broker",
  "dense",
  "restart",
  "sleepers",
  "transfers",
  "reminders",
  "readers",
];
