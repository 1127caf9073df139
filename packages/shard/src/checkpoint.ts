// Checkpoint: writes what changed since the last one into the partition, while appends go on.
//
// C1. A checkpoint is a consistent cut: it begins when everything decided is durable, and an entity that has still to be
//     written is written before its next change. So the partition equals a fold of the log up to the covered position.
// C2. Entities are written in slices over many turns; the covered position comes last. A crash in between leaves heads
//     newer than the position, which recovery passes over.
// Not promised: that it succeeds. Recovery then starts from an older position.
import type { CompiledContext } from "@heddle/domain/internal";
import type { CheckpointWriter, Partition, SnapshotRecord } from "@heddle/partition/internal";
import { encodeValue } from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import type { AppendIds } from "./append-ids.ts";
import { type Entity, noExtents } from "./entity.ts";
import { type SessionWindow, sessionIdleMsMax } from "./sessions.ts";

/** Entities written in one turn: about a millisecond of the shard's thread. */
const sliceEntitiesMax = 500;

export interface CheckpointOptions {
  readonly partition: Partition;
  readonly domain: CompiledContext;
  readonly activation: Activation;
  readonly appendIds: AppendIds;
  readonly sessions: Map<number, SessionWindow>;
  readonly covering: number;
  readonly nowMs: number;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
  readonly crashPoint?: ((name: string) => void) | undefined;
}

export class Checkpoint {
  readonly done: Promise<void>;
  readonly #options: CheckpointOptions;
  readonly #writer: CheckpointWriter;
  readonly #cut: Entity[];
  #next = 0;

  constructor(options: CheckpointOptions) {
    this.#options = options;
    this.#writer = options.partition.checkpoint(options.covering);
    this.#cut = options.activation.takeChanged();
    for (const entity of this.#cut) entity.awaitsCheckpoint = true;
    this.#cut.sort((a, b) => (a.id < b.id ? -1 : 1));
    this.#writeSessions();
    options.appendIds.flush((entity, id, position) => this.#writer.putAppendId(entity, id, position));
    this.done = this.#run();
  }

  /** Writes one entity as it stands, if it has still to be written. */
  write(entity: Entity): void {
    if (!entity.awaitsCheckpoint) return;
    entity.awaitsCheckpoint = false;
    entity.flushingExtents = entity.newExtents;
    entity.newExtents = [];
    const snapshots = entity.states === undefined ? [] : this.#snapshots(entity, entity.states);
    this.#writer.putEntity(
      entity.id,
      { seq: entity.seq, position: entity.position, time: entity.time },
      Float64Array.from(entity.flushingExtents),
      snapshots,
    );
  }

  async #run(): Promise<void> {
    const { schedule, crashPoint, appendIds } = this.#options;
    crashPoint?.("checkpoint:begun");
    while (this.#next < this.#cut.length) {
      await new Promise<void>((resolve) => schedule(resolve));
      const end = Math.min(this.#next + sliceEntitiesMax, this.#cut.length);
      for (; this.#next < end; this.#next++) this.write(this.#cut[this.#next]!);
    }
    crashPoint?.("checkpoint:before-commit");
    await this.#writer.commit();
    crashPoint?.("checkpoint:after-commit");
    for (const entity of this.#cut) entity.flushingExtents = noExtents;
    appendIds.flushed();
  }

  #snapshots(entity: Entity, states: readonly unknown[]): SnapshotRecord[] {
    const snapshots: SnapshotRecord[] = [];
    for (const aggregate of this.#options.domain.aggregates.values()) {
      let state: Uint8Array;
      try {
        state = Uint8Array.prototype.slice.call(encodeValue(states[aggregate.index]));
      } catch {
        continue; // A state that is no plain data has no snapshot; its entity is folded from the log each time.
      }
      snapshots.push({ aggregate: aggregate.name, foldVersion: aggregate.version, seq: entity.seq, state });
    }
    return snapshots;
  }

  #writeSessions(): void {
    for (const [session, window] of this.#options.sessions) {
      if (this.#options.nowMs - window.lastSeenMs > sessionIdleMsMax) {
        this.#options.sessions.delete(session);
        this.#writer.dropSession(session);
      } else if (window.dirty) {
        window.dirty = false;
        this.#writer.putSession(session, window.lastSeenMs, window.calls());
      }
    }
  }
}
