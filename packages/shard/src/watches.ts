// Watches: answers those who follow one entity. The waiting itself is in watchers.ts.
import type { EventLog } from "@heddle/event-log/internal";
import type { HeddleError } from "@heddle/kernel";
import {
  encodeReply,
  readUnwatchBody,
  readWatchBody,
  replyKind,
  type WatchFields,
  type WireWatchPage,
} from "@heddle/protocol/internal";
import type { Activation } from "./activation.ts";
import type { Entity } from "./entity.ts";
import { bodyOf, type Frame, newFrame } from "./frame.ts";
import { HistoryPage } from "./history.ts";
import type { Memory } from "./memory.ts";
import type { OpenGroups } from "./open-groups.ts";
import type { Parts } from "./parts.ts";
import { aggregateToRead } from "./proposals.ts";
import { type Watch, Watchers } from "./watchers.ts";

/**
 * A page of a watch is not added to beyond this; a single event may be longer. Smaller than a page of history: thousands of
 * watches of one connection may have something to say at once.
 */
const pageBytesMax = 64 << 10;

export interface WatchesPorts {
  /** Whether the shard reads: a recovery has it wait. */
  readonly canRead: () => boolean;
  readonly refuse: (frame: Frame, error: unknown) => void;
}

export class Watches {
  readonly #parts: Parts;
  readonly #ports: WatchesPorts;
  readonly #watchers: Watchers;
  #log!: EventLog;
  #groups!: OpenGroups;
  #activation!: Activation;

  constructor(parts: Parts, ports: WatchesPorts) {
    this.#parts = parts;
    this.#ports = ports;
    this.#watchers = new Watchers({
      later: (task) => parts.options.schedule(task, 0),
      look: (watch) => this.#lookAgain(watch),
      answerEmpty: (watch) => this.#reply(frameOf(watch), [[], watch.next]),
      refuse: (watch, error) => ports.refuse(frameOf(watch), error),
    });
  }

  attach({ log, groups, activation }: Memory): void {
    this.#log = log;
    this.#groups = groups;
    this.#activation = activation;
  }

  /** Those that wait. */
  get size(): number {
    return this.#watchers.size;
  }

  watch(frame: Frame): void {
    const fields = readWatchBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    const { domain, clock } = this.#parts.options;
    if (fields.aggregate !== "") aggregateToRead(domain, fields.entity, fields.aggregate);
    if (fields.from === 0) {
      this.#sayNow(frame, fields);
      return;
    }
    this.#watchers.checkRoom();
    const { connection, call, from, to } = frame;
    const { entity, aggregate, limit } = fields;
    const deadline = clock.monotonic() + fields.waitMs;
    const watch = { connection, call, requestBytes: to - from, entity, aggregate, limit, deadline, next: fields.from };
    this.#look(frame, watch);
  }

  /** Its own reply says nothing; the watch has one of its own. */
  unwatch(frame: Frame): void {
    const { call } = readUnwatchBody(frame.bytes, bodyOf(frame), frame.to, this.#parts.texts);
    this.#watchers.end(frame.connection, call);
    this.#groups.say(frame, false, encodeReply(replyKind.value, frame.call, null));
  }

  /** A group with entries of these entities is durable. To be called only while somebody waits. */
  durable(entities: readonly (Entity | undefined)[]): void {
    this.#watchers.durable(entities);
  }

  /** What was written and not acknowledged may be there after a recovery. */
  recovered(): void {
    this.#watchers.wakeAll();
  }

  tick(now: number): void {
    this.#watchers.tick(now);
  }

  forget(connection: number): void {
    this.#watchers.forget(connection);
  }

  stop(error: HeddleError): void {
    this.#watchers.refuseAll(error);
  }

  // What is decided and not durable yet comes before now: the reply waits for it.
  #sayNow(frame: Frame, { entity: id }: WatchFields): void {
    const entity = this.#activation.peek(id);
    const isUndurable = entity !== undefined && this.#groups.isUndurable(entity);
    const page: WireWatchPage = [[], (entity?.seq ?? 0) + 1];
    this.#groups.say(frame, isUndurable, encodeReply(replyKind.value, frame.call, page));
  }

  #lookAgain(watch: Watch): void {
    if (!this.#ports.canRead()) {
      this.#watchers.wait(watch);
      return;
    }
    const frame = frameOf(watch);
    try {
      this.#look(frame, watch);
    } catch (thrown) {
      this.#ports.refuse(frame, thrown);
    }
  }

  #look(frame: Frame, watch: Watch): void {
    const { domain, clock } = this.#parts.options;
    const { aggregate, limit } = watch;
    const range = { entity: watch.entity, aggregate, from: watch.next, limit, direction: "forward" } as const;
    const page = new HistoryPage(range, domain, pageBytesMax);
    this.#parts.overTurns(frame, ({ call }) => {
      const entity = this.#activation.peek(watch.entity);
      const hasMore = entity !== undefined && entity.seq >= watch.next;
      if (hasMore && !page.read(this.#activation, this.#log, entity)) return undefined;
      watch.next = page.next;
      const isOver = page.events.length > 0 || clock.monotonic() >= watch.deadline;
      if (isOver) return encodeReply(replyKind.value, call, [page.events, page.next] satisfies WireWatchPage);
      this.#watchers.wait(watch);
      return "replied";
    });
  }

  #reply(frame: Frame, page: WireWatchPage): void {
    this.#groups.say(frame, false, encodeReply(replyKind.value, frame.call, page));
  }
}

// Without the request's bytes, which the message that brought them would keep in memory.
function frameOf({ connection, call, requestBytes }: Watch): Frame {
  return { ...newFrame(), connection, call, to: requestBytes };
}
