// SagaRunnerOptions: what a runner of sagas is made with; SagaCounters: what it counts.
import type { CompiledContext } from "@heddle/domain/internal";
import type { Clock, Random } from "@heddle/kernel";
import type { OwnShard, ReplySink, ShardAlarms, ShardCalls } from "@heddle/shard/internal";
import type { SagaLimits } from "./patience.ts";

export interface SagaRunnerOptions {
  readonly shard: number;
  readonly domain: CompiledContext;
  readonly calls: ShardCalls;
  /** The shard, which is opened with the runner's handlers; asked later. */
  readonly own: () => OwnShard;
  readonly replies: ReplySink;
  readonly clock: Clock;
  readonly random: Random;
  /** Those of the shard; asked later. */
  readonly alarms: () => Pick<ShardAlarms, "list">;
  /** Runs a task in a later turn, after a delay in ms. */
  readonly schedule: (task: () => void, delayMs: number) => void;
  readonly report: (level: "info" | "warn" | "error", message: string, facts: Record<string, unknown>) => void;
  readonly limits?: Partial<SagaLimits> | undefined;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

export interface SagaCounters {
  started: number;
  committed: number;
  compensated: number;
  /** Times that a saga became stuck. */
  becameStuck: number;
  /** Steps and compensations that were asked again. */
  stepRetries: number;
}
