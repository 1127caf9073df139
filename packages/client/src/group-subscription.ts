// A member of a consumer group: one of those who share the events of a feed. Each loop is a member of its own.
//
// M1. Asking for the next event says that the one before is dealt with. The node hears of it within a second, or with the next
//     page; what it has not heard of comes again, to this member or another (at least once).
// M2. While the loop is at an event, the node is told that the member lives, for as long as `handleTimeoutMs`.
// M3. What was asked back is not given to the loop any more, and nothing is when the node may have taken this member for dead:
//     it is asked first. So no two members work at one entity, unless one of them was silent for 10 s.
// M4. Leaving the loop gives back at once what the member had, the event in hand too.
// Not promised: that an event comes once.
import type { AggregateName, AnyContext } from "@heddle/domain";
import { HeddleError } from "@heddle/kernel";
import type { ListedGroup } from "@heddle/protocol";
import {
  type FeedPosition,
  type GroupPage,
  type GroupPollFields,
  groupEventsMax,
  groupSilenceMs,
  readGroupList,
  readGroupPage,
  requestKind,
  slotOfEntity,
  writeGroupForgetBody,
  writeGroupPollBody,
} from "@heddle/protocol/internal";
import type { HistoryEvent } from "./call-types.ts";
import { LongPoll, pollWaitMs } from "./long-poll.ts";
import type { CallOptions } from "./session.ts";
import type { Sessions } from "./sessions.ts";
import { Subscription } from "./subscription.ts";

/** Which group, and, when it is new, which events. What is left out asks for all. */
export interface GroupOptions<A extends string = string, T extends string = string> {
  /** The group's name: 1 to 128 letters, digits, dots, dashes and underscores. The first member makes the group. */
  readonly group: string;
  /** Only events of entities of this kind: `account` for `account/…`. All members of a group say the same. */
  readonly kind?: string | undefined;
  readonly aggregate?: A | undefined;
  readonly types?: readonly T[] | undefined;
  /**
   * Where a new group begins: "beginning" (default), or "now": behind what is durable when its first member asks for its first
   * event. A group that there is goes on where it was.
   */
  readonly from?: "beginning" | "now" | undefined;
  /**
   * How long the loop may be at one event, in milliseconds, 1,000 to 86,400,000. Default 300,000. Then the node takes the member for
   * dead, and others get the event.
   */
  readonly handleTimeoutMs?: number | undefined;
  /** Ends it: the loop throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** An event that a member of a group is given. `aggregate` and `type` tell the payloads apart. */
export type GroupEventOf<
  C extends AnyContext = AnyContext,
  A extends AggregateName<C> = AggregateName<C>,
  T extends string = string,
> = Extract<HistoryEvent<C, A>, { readonly type: T }> & {
  readonly entity: string;
  readonly shard: number;
  /** Place in the entry at `position`, from 0: the two together name the event within its shard. */
  readonly index: number;
};

/** So often a member that holds events says that it lives, and what it has dealt with. */
const tellEveryMs = 1_000;
/** After so long without an answer the node is asked before anything is given to the loop. */
const sureMs = groupSilenceMs - 2_000;
/** Of leaving: the node finds out by itself, a little later. */
const leaveTimeoutMs = 2_000;
const handleTimeoutMsDefault = 300_000;

/** Header of requests that no shard answers. */
const noHash = 0;

interface Item {
  readonly event: GroupEventOf;
  readonly slot: number;
  readonly behind: FeedPosition;
}

interface Place extends FeedPosition {
  readonly slot: number;
  readonly shard: number;
}

export function subscribeToGroup(sessions: Sessions, options: GroupOptions): Subscription<GroupEventOf> {
  const { signal, handleTimeoutMs = handleTimeoutMsDefault } = options;
  if (!Number.isSafeInteger(handleTimeoutMs) || handleTimeoutMs < 1_000 || handleTimeoutMs > 86_400_000) {
    const problem = `wanted a whole number from 1000 to 86400000, found ${String(handleTimeoutMs)}`;
    throw new HeddleError("INVALID_REQUEST", { path: "handleTimeoutMs", problem });
  }
  const member = new GroupMember(sessions, options, handleTimeoutMs);
  return new Subscription((ending) => member.next(ending), signal);
}

class GroupMember {
  readonly #sessions: Sessions;
  readonly #options: GroupOptions;
  readonly #handleTimeoutMs: number;
  readonly #onClosing = () => this.#leave();
  #polls: LongPoll<GroupPollFields, GroupPage> | undefined;
  #id = "";
  #hasJoined = false;
  #hasLeft = false;
  #turn = 0;
  /** What the node gave and the loop has not got yet, from `#at` on. */
  #items: readonly Item[] = [];
  #at = 0;
  /** The event that the loop is at. */
  #inHand: Item | undefined;
  #inHandSinceMs = 0;
  /** By slot, what is dealt with and the node has not heard of. */
  readonly #done = new Map<number, Place>();
  /** Bits of the slots that the member may go on with. */
  #slots = 0;
  /** When the newest poll left that was answered. */
  #heardMs = 0;
  #telling: Promise<void> | undefined;
  #tellAtMs = Number.POSITIVE_INFINITY;
  #stopTimer: () => void = noop;
  #failure: { readonly error: unknown } | undefined;

  constructor(sessions: Sessions, options: GroupOptions, handleTimeoutMs: number) {
    this.#sessions = sessions;
    this.#options = options;
    this.#handleTimeoutMs = handleTimeoutMs;
  }

  /** The next event, alone: so that asking again says that it is dealt with. */
  async next(ending: AbortSignal): Promise<readonly GroupEventOf[]> {
    this.#begin(ending);
    this.#finishInHand();
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#at === this.#items.length) {
        // One poll after the other: this one says what the loop has dealt with, too.
        if (this.#telling !== undefined) await this.#telling;
        else await this.#poll(groupEventsMax, pollWaitMs);
      } else if (this.#now - this.#heardMs > sureMs) await this.#tell();
      else return [this.#take()];
    }
  }

  get #now(): number {
    return this.#sessions.clock.monotonic();
  }

  #begin(ending: AbortSignal): void {
    if (this.#polls !== undefined) return;
    const question = { kind: requestKind.groupPoll, hash: noHash, body: writeGroupPollBody, decode: readGroupPage };
    this.#polls = new LongPoll(this.#sessions, question, ending);
    this.#id = newId(this.#sessions);
    this.#sessions.onClosing.add(this.#onClosing);
    ending.addEventListener("abort", () => this.#leave(), { once: true });
  }

  // --- The loop ---

  #take(): GroupEventOf {
    const item = this.#items[this.#at++]!;
    this.#inHand = item;
    this.#inHandSinceMs = this.#now;
    return item.event;
  }

  #finishInHand(): void {
    const item = this.#inHand;
    if (item === undefined) return;
    this.#inHand = undefined;
    this.#done.set(item.slot, { slot: item.slot, shard: item.event.shard, ...item.behind });
    // Somebody waits for the slot.
    if (!this.#may(item.slot)) this.#tellAfter(0);
  }

  #may(slot: number): boolean {
    return (this.#slots & (1 << slot)) !== 0;
  }

  // --- The node ---

  /** What fails is thrown where the loop asks next. */
  async #poll(limit: number, waitMs: number): Promise<void> {
    let sentMs = 0;
    let told: readonly Place[] = [];
    const fields = (): GroupPollFields => {
      sentMs = this.#now;
      told = [...this.#done.values()];
      const { group, kind = "", aggregate = "", types = [], from = "beginning" } = this.#options;
      const act = this.#hasJoined ? "poll" : "join";
      const holds = this.#holds;
      // The filter is looked at when a member joins.
      const filter = this.#hasJoined ? noFilter : { kind, aggregate, types, from };
      return { group, member: this.#id, act, turn: ++this.#turn, holds, limit, waitMs, done: told, ...filter };
    };
    try {
      const page = await this.#polls!.ask(fields);
      this.#hasJoined = true;
      this.#heardMs = sentMs;
      for (const place of told) if (this.#done.get(place.slot) === place) this.#done.delete(place.slot);
      this.#receive(page);
    } catch (error) {
      if (error instanceof HeddleError && error.code === "GROUP_MEMBER_LOST") this.#beginAnew();
      else this.#failure = { error };
    }
  }

  get #holds(): number {
    let bits = this.#inHand === undefined ? 0 : 1 << this.#inHand.slot;
    for (let i = this.#at; i < this.#items.length; i++) bits |= 1 << this.#items[i]!.slot;
    return bits >>> 0;
  }

  #receive({ slots, page: { events } }: GroupPage): void {
    this.#slots = slots;
    if (events.length > 0) {
      this.#items = events.map(({ event, behind }) => {
        return { event: event as unknown as GroupEventOf, slot: slotOfEntity(event.entity), behind };
      });
      this.#at = 0;
      this.#tellAfter(tellEveryMs);
      return;
    }
    const left = this.#items.slice(this.#at);
    const kept = left.filter(({ slot }) => this.#may(slot));
    if (kept.length === left.length) return;
    this.#items = kept;
    this.#at = 0;
    this.#tellAfter(0);
  }

  /** It was taken for dead: what it had is with others, or comes again. It joins when the loop asks for more. */
  #beginAnew(): void {
    this.#inHand = undefined;
    this.#id = newId(this.#sessions);
    this.#hasJoined = false;
    this.#items = [];
    this.#at = 0;
    this.#done.clear();
  }

  // --- Signs of life ---

  #tellAfter(delayMs: number): void {
    const atMs = this.#now + delayMs;
    if (this.#hasLeft || this.#tellAtMs <= atMs) return;
    this.#stopTimer();
    this.#tellAtMs = atMs;
    this.#stopTimer = this.#sessions.ports.timers.after(delayMs, () => {
      this.#tellAtMs = Number.POSITIVE_INFINITY;
      const isAtWork = this.#inHand !== undefined || this.#at < this.#items.length;
      const isLate = this.#inHand !== undefined && this.#now - this.#inHandSinceMs > this.#handleTimeoutMs;
      if (isAtWork && !isLate) void this.#tell().then(() => this.#tellAfter(tellEveryMs));
    });
  }

  #tell(): Promise<void> {
    this.#telling ??= this.#poll(0, 0).finally(() => {
      this.#telling = undefined;
    });
    return this.#telling;
  }

  #leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#stopTimer();
    this.#sessions.onClosing.delete(this.#onClosing);
    this.#failure ??= { error: new HeddleError("CLOSED", { what: "the client" }) };
    const { group } = this.#options;
    const fields: GroupPollFields = {
      group,
      member: this.#id,
      act: "leave",
      turn: ++this.#turn,
      holds: 0,
      limit: 0,
      waitMs: 0,
      done: [...this.#done.values()],
      ...noFilter,
    };
    const { groupPoll } = requestKind;
    this.#sessions
      .of(noHash)
      .request(groupPoll, noHash, writeGroupPollBody, fields, { timeoutMs: leaveTimeoutMs }, readGroupPage)
      .catch(noop);
  }
}

const noFilter = { kind: "", aggregate: "", types: [], from: "beginning" } as const;

function newId(sessions: Sessions): string {
  return `m-${sessions.ports.random.safeInteger().toString(36)}`;
}

function noop(): void {}

export function listGroups(sessions: Sessions, options: CallOptions | undefined): Promise<ListedGroup[]> {
  const noBody = (_: undefined, reserve: (bytes: number) => unknown) => {
    reserve(0);
    return 0;
  };
  return sessions.of(noHash).request(requestKind.groupList, noHash, noBody, undefined, options, readGroupList);
}

export function forgetGroup(sessions: Sessions, group: string, options: CallOptions | undefined): Promise<boolean> {
  const read = (value: unknown) => value === true;
  const { groupForget } = requestKind;
  return sessions.of(noHash).request(groupForget, noHash, writeGroupForgetBody, { group }, options, read);
}
