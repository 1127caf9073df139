// NatsPublishing: the publisher's part of the feed thread: what it publishes and erases, and what the node says of it.
import type { CompiledContext } from "@heddle/domain/internal";
import {
  type LogFeed,
  loadNats,
  NatsErasures,
  type NatsOptions,
  type NatsPublisher,
  type NatsPublisherStats,
  type ReaderState,
  sinkName,
} from "@heddle/feed/internal";
import type { CopiesState, TombstonePlace } from "@heddle/shard/internal";
import type { CrashPoint } from "./crash-points.ts";
import type { CopyKeeper } from "./erasure-messages.ts";
import { jsonText } from "./http/json-text.ts";
import type { ReaderContext } from "./reader-thread.ts";

/** What a node says of its publisher. */
export interface NatsFigures extends NatsPublisherStats {
  readonly server: string;
  /** What keeps the streams from following the log. */
  readonly problems: readonly string[];
}

export interface NatsPublishingOptions {
  readonly nats: NatsOptions;
  readonly domain: CompiledContext;
  readonly source: LogFeed;
  readonly state: ReaderState;
  readonly report: ReaderContext<unknown>["report"];
  readonly crashPoint: CrashPoint;
}

export class NatsPublishing implements CopyKeeper {
  readonly #erasures: NatsErasures;
  readonly #publisher: NatsPublisher;
  readonly #server: string;

  static async start(options: NatsPublishingOptions): Promise<NatsPublishing> {
    const { EventNotes, FilledGaps, NatsPublisher } = await loadNats();
    const { nats, domain, source, state, report, crashPoint } = options;
    const server = sinkName(nats);
    const erasures = new NatsErasures(state);
    const publisher = new NatsPublisher({
      context: domain.name,
      nats,
      events: nats.events === true ? { source, domain, json: jsonText, notes: new EventNotes(state) } : undefined,
      source,
      erasures,
      gaps: new FilledGaps(state),
      crashPoint,
      onProblem: (problem) => {
        if (problem === undefined) report("info", "publishing goes on", { server });
        else report("warn", "publishing is held up", { server, code: problem.code, error: problem.message });
      },
    });
    publisher.start();
    return new NatsPublishing(server, erasures, publisher);
  }

  private constructor(server: string, erasures: NatsErasures, publisher: NatsPublisher) {
    this.#server = server;
    this.#erasures = erasures;
    this.#publisher = publisher;
  }

  get figures(): NatsFigures {
    const problems = this.#publisher.problems.map(({ message }) => message);
    return { server: this.#server, problems, ...this.#publisher.stats };
  }

  bury(tombstone: TombstonePlace, positions: Float64Array): void {
    this.#erasures.bury(tombstone, positions);
  }

  gone(tombstones: readonly TombstonePlace[]): readonly CopiesState[] {
    return tombstones.map((tombstone) => this.#erasures.gone(tombstone));
  }

  stop(): Promise<void> {
    return this.#publisher.stop();
  }
}
