// SagaHost: what one live saga has from the runner.
import type { CompiledContext } from "@heddle/domain/internal";
import type { Clock, Random } from "@heddle/kernel";
import type { Reply, sagaEnds } from "@heddle/protocol/internal";
import type { OwnShard, ReplySink, ShardAlarms, ShardCalls } from "@heddle/shard/internal";
import type { LiveSaga } from "./live-saga.ts";
import type { SagaLimits } from "./patience.ts";
import type { SagaEvents } from "./saga-events.ts";
import type { Act, StepPlanner } from "./step-plans.ts";

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

export interface SagaHost {
  readonly options: SagaRunnerOptions;
  readonly limits: SagaLimits;
  readonly planner: StepPlanner;
  readonly events: SagaEvents;
  readonly counters: SagaCounters;
  crashPoint(name: string): void;
  /** Whether the entity with this hash is on the shard of the saga's own history. */
  isOwn(hash: number): boolean;
  /** Decides a step on the own shard, with an early reply; says whether it did (`OwnShard.decideOwn`). */
  decide(act: Act, onReply: (reply: Reply) => void): boolean;
  /** Sends a step's body as it is. */
  send(act: Act, hash: number, onReply: (reply: Reply) => void): void;
  /** The pause before the next attempt, in ms. */
  pauseMs(tries: number): number;
  /** Has `check` called at this time of the monotonic clock, or soon after. */
  wakeBy(at: number): void;
  /** It takes so many bytes. */
  weigh(saga: LiveSaga, bytes: number): void;
  /** It is under way no more. */
  finish(saga: LiveSaga): void;
  countEnd(state: (typeof sagaEnds)[number]): void;
  /** `since`: milliseconds since 1970. */
  isStuck(entity: string, since: number): void;
  notStuck(entity: string): void;
}
