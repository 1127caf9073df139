// GroupCoordinator: the consumer groups of a node. Takes polls, deals slots out, reads for members, answers.
//
// C1. Every poll gets one answer: a page with events, an empty page, or an error.
// C2. What a poll said that was dealt with, and who has which slots, is durable before anything is answered. One write serves
//     all polls of a turn.
// C3. A member that waits is alive; one that does not is lost `groupSilenceMs` after its last answer or poll.
// C4. A poll that was overtaken by a newer one of the same member takes nothing from it, and gives nothing.
// C5. Members take turns: one that is far behind holds none up for longer than it takes to read a slice (P8).
// What holds for one group: see group.ts.
import type { CompiledContext } from "@heddle/domain/internal";
import { type Clock, HeddleError } from "@heddle/kernel";
import type { ListedGroup, ListedMember } from "@heddle/protocol";
import {
  encodeErrorReply,
  encodeReply,
  encodeValue,
  type FeedPosition,
  feedBeginning,
  frameOffset,
  frameReply,
  type GroupPollFields,
  groupSlots,
  readGroupForgetBody,
  readGroupPollBody,
  replyKind,
  requestCall,
  slotOfEntity,
  TextCache,
} from "@heddle/protocol/internal";
import { FeedDecoder } from "../feed-decoder.ts";
import { checkFeedNames } from "../feed-names.ts";
import { FeedPage } from "../feed-page.ts";
import { Group, type GroupSource, type Member, type Run, sliceBytesDefault, type Waiter } from "./group.ts";
import type { GroupStore, StoredGroup } from "./group-store.ts";

export interface GroupCoordinatorOptions {
  readonly source: GroupSource;
  readonly domain: CompiledContext;
  readonly clock: Clock;
  readonly store: GroupStore;
  /** Takes one reply to each request; `requestBytes` is the credit that it gives back. */
  readonly reply: (connection: number, requestBytes: number, frame: Uint8Array) => void;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** Bytes of log that a member reads in one turn. Default 256 KiB. */
  readonly sliceBytes?: number;
}

export interface GroupFigures {
  readonly group: string;
  readonly members: number;
  readonly lagBytes: number;
}

/** Work goes on for so many milliseconds before others of the thread have their turn. */
const turnMs = 4;
/** Of a node (P8). */
const groupsMax = 256;
/** So often who waits at the end looks by itself. */
const lookMs = 1_000;
/** Places that moved over nothing but what nobody asked for are written this late. */
const idleWriteMs = 5_000;

export class GroupCoordinator {
  readonly #options: GroupCoordinatorOptions;
  readonly #sliceBytes: number;
  readonly #groups = new Map<string, Group>();
  readonly #decoders = new Map<Group, FeedDecoder>();
  readonly #texts = new TextCache();
  readonly #waiting = new Set<Member>();
  /** Of those that wait: the ones to be looked after, in the order of their turns, and the ones that have read all there is. */
  readonly #ready = new Set<Member>();
  readonly #atEnd = new Set<Member>();
  /** Replies that wait for the next write. */
  #owed: {
    readonly connection: number;
    readonly requestBytes: number;
    readonly call: number;
    readonly value: unknown;
  }[] = [];
  /** Groups whose members changed since their slots were dealt out. */
  readonly #unsettled = new Set<Group>();
  #lastIdleWrite: number;
  #isScheduled = false;
  #isWatching = false;
  #isClosed = false;

  /** Errors: whatever the store throws. */
  constructor(options: GroupCoordinatorOptions) {
    this.#options = options;
    this.#sliceBytes = options.sliceBytes ?? sliceBytesDefault;
    const now = options.clock.monotonic();
    this.#lastIdleWrite = now;
    for (const stored of options.store.load()) this.#add(new Group(stored, options.source, now, false));
  }

  // --- Requests ---

  /** Takes a whole request frame of kind `groupPoll`, `bytes[from, to)`. Errors: as `protocol/group-requests.ts` and below. */
  poll(connection: number, bytes: Uint8Array, from: number, to: number): void {
    const fields = readGroupPollBody(bytes, from + frameOffset.requestBody, to);
    const call = requestCall(bytes, from);
    const [requestBytes, now] = [to - from, this.#options.clock.monotonic()];
    if (this.#isClosed) throw closing();
    const member = this.#memberOf(fields, now);
    if (member === undefined) {
      // It is gone, or never was: just what it wants.
      this.#replyLater(connection, requestBytes, call, emptyPage(0));
      return;
    }
    const isOld = fields.turn < member.turn || (fields.turn === member.turn && connection < member.connection);
    if (isOld) {
      this.#replyLater(connection, requestBytes, call, emptyPage(member.group.slotsOf(member)));
      return;
    }
    member.group.take(member, fields);
    member.turn = fields.turn;
    member.connection = connection;
    member.heardMs = now;
    this.#endWaiting(member);
    this.#unsettled.add(member.group);
    if (fields.act === "leave") {
      this.#remove(member);
      this.#replyLater(connection, requestBytes, call, emptyPage(0));
      return;
    }
    member.waiter = { connection, call, requestBytes, limit: fields.limit, deadline: now + fields.waitMs };
    this.#waiting.add(member);
    this.#makeReady(member);
  }

  // Undefined for one that leaves and is not there. Errors: `GROUP_MEMBER_LOST`; those of joining.
  #memberOf(fields: GroupPollFields, now: number): Member | undefined {
    const { act, group: name, member: id } = fields;
    const known = this.#groups.get(name);
    const member = known?.member(id);
    if (member !== undefined) return member;
    if (act === "leave") return undefined;
    if (act === "poll") {
      const problem =
        known === undefined ? "there is no such group" : "it was silent for too long, or the group was begun anew";
      throw new HeddleError("GROUP_MEMBER_LOST", { group: name, member: id, problem });
    }
    const group = known ?? this.#begin(fields);
    const joined = group.join(fields, now);
    if (known === undefined) this.#add(group);
    return joined;
  }

  #begin({ group: name, kind, aggregate, types, from }: GroupPollFields): Group {
    const { domain, source, clock } = this.#options;
    checkFeedNames(domain, { aggregate, types });
    if (this.#groups.size >= groupsMax) {
      const problem = `the node has ${this.#groups.size} groups, at most ${groupsMax} are allowed; forget one that nobody needs`;
      throw new HeddleError("INVALID_REQUEST", { path: "group", problem });
    }
    const stored: StoredGroup = {
      name,
      filter: { kind, aggregate, types },
      madeAt: clock.now(),
      owners: new Array<string>(groupSlots).fill(""),
      places: Array.from({ length: source.shardCount }, (_, shard) => {
        const begin = from === "now" ? { record: source.end(shard), skip: 0 } : feedBeginning;
        return new Array<FeedPosition>(groupSlots).fill(begin);
      }),
    };
    return new Group(stored, source, clock.monotonic(), true);
  }

  #add(group: Group): void {
    const { kind, aggregate, types } = group.filter;
    this.#groups.set(group.name, group);
    const filter = {
      kind: kind === "" ? undefined : kind,
      aggregate: aggregate === "" ? undefined : aggregate,
      types: types.length === 0 ? undefined : new Set(types),
    };
    this.#decoders.set(group, new FeedDecoder(this.#options.domain, filter, this.#texts));
  }

  /** Takes a whole request frame of kind `groupList`. */
  list(connection: number, bytes: Uint8Array, from: number, to: number): void {
    const groups = [...this.#groups.values()].map((group) => this.#listed(group));
    this.#options.reply(connection, to - from, encodeReply(replyKind.value, requestCall(bytes, from), groups));
  }

  /**
   * Takes a whole request frame of kind `groupForget`. The answer says whether there was such a group.
   * Errors: `INVALID_REQUEST` for one that has members.
   */
  forget(connection: number, bytes: Uint8Array, from: number, to: number): void {
    const { group: name } = readGroupForgetBody(bytes, from + frameOffset.requestBody, to);
    if (this.#isClosed) throw closing();
    const group = this.#groups.get(name);
    if (group !== undefined && group.size > 0) {
      const problem = `${name} has ${group.size} members; end them first, each is given up 10 s after it was last heard of`;
      throw new HeddleError("INVALID_REQUEST", { path: "group", problem });
    }
    if (group !== undefined) {
      this.#options.store.write([{ kind: "forgotten", name }]);
      this.#groups.delete(name);
      this.#decoders.delete(group);
      this.#unsettled.delete(group);
    }
    const frame = encodeReply(replyKind.value, requestCall(bytes, from), group !== undefined);
    this.#options.reply(connection, to - from, frame);
  }

  /**
   * Nobody hears answers over this connection any more: they give credit back, and that is all. Members may come back over
   * another.
   */
  connectionClosed(connection: number): void {
    for (const member of this.#waiting) if (member.waiter!.connection === connection) this.#answerEmpty(member);
    const heard = ({ connection: of }: { readonly connection: number }) => of !== connection;
    const unheard = this.#owed.filter((owed) => !heard(owed));
    this.#owed = this.#owed.filter(heard);
    for (const { requestBytes, call, value } of unheard) {
      this.#options.reply(connection, requestBytes, encodeReply(replyKind.value, call, value));
    }
  }

  /** Answers those whose time is up, and takes their slots from those who were silent. */
  tick(): void {
    const now = this.#options.clock.monotonic();
    for (const member of this.#waiting) {
      if (member.waiter!.deadline <= now && !this.#ready.has(member)) this.#answerEmpty(member);
    }
    for (const group of this.#groups.values()) {
      for (const member of group.silent(now)) this.#remove(member);
    }
    if (now - this.#lastIdleWrite >= idleWriteMs) this.#schedule();
  }

  stats(): readonly GroupFigures[] {
    return [...this.#groups.values()].map((group) => {
      const { lagBytes, members } = this.#listed(group);
      return { group: group.name, members: members.length, lagBytes };
    });
  }

  /** Writes what moved, and tells whoever waits to ask again. */
  close(): void {
    this.#isClosed = true;
    try {
      this.#write(true);
    } catch {
      // What was not written was not answered, or nobody asked for it.
    }
    this.#failOwed(closing());
    for (const member of this.#waiting) this.#fail(member, closing());
  }

  #listed(group: Group): ListedGroup {
    const { source, clock } = this.#options;
    const now = clock.monotonic();
    const { kind, aggregate, types } = group.filter;
    const shards = group.positions().map((position, shard) => ({ shard, position, end: source.end(shard) }));
    const members = [...group.members].map((member): ListedMember => {
      const { waiter, heardMs, turn } = member;
      const isWaiting = waiter !== undefined && waiter.limit > 0;
      const state = isWaiting ? "waiting" : turn >= 0 ? "working" : "silent";
      const silentMs = isWaiting ? 0 : Math.round(now - heardMs);
      return { member: member.id, slots: group.countOf(member), state, silentMs };
    });
    return {
      group: group.name,
      ...(kind === "" ? {} : { kind }),
      ...(aggregate === "" ? {} : { aggregate }),
      ...(types.length === 0 ? {} : { types }),
      madeAt: group.madeAt,
      members,
      shards,
      lagBytes: shards.reduce((sum, { position, end }) => sum + Math.max(0, end - position), 0),
    };
  }

  #remove(member: Member): void {
    this.#endWaiting(member);
    member.group.remove(member);
    this.#unsettled.add(member.group);
    this.#schedule();
  }

  // --- Working ---

  #makeReady(member: Member): void {
    this.#atEnd.delete(member);
    this.#ready.add(member);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    this.#options.schedule(() => this.#work());
  }

  #work(): void {
    this.#isScheduled = false;
    if (this.#isClosed) return;
    const { clock } = this.#options;
    this.#settle();
    const now = clock.monotonic();
    const isIdleWrite = now - this.#lastIdleWrite >= idleWriteMs;
    try {
      this.#write(isIdleWrite);
    } catch (error) {
      this.#failAll(error);
      return;
    }
    for (const { connection, requestBytes, call, value } of this.#owed.splice(0)) {
      this.#options.reply(connection, requestBytes, encodeReply(replyKind.value, call, value));
    }
    for (const member of this.#ready) {
      this.#ready.delete(member);
      this.#serve(member);
      if (clock.monotonic() - now >= turnMs) break;
    }
    if (this.#ready.size > 0) this.#schedule();
  }

  // Who has gained slots may have something to read.
  #settle(): void {
    for (const group of this.#unsettled) {
      if (!group.settle()) continue;
      for (const member of group.members) if (member.waiter !== undefined) this.#makeReady(member);
    }
    this.#unsettled.clear();
  }

  // All groups in one transaction; those with nothing that anybody waits for only now and then, or along with others.
  #write(isIdleWrite: boolean): void {
    const groups = [...this.#groups.values()];
    if (!isIdleWrite && !groups.some((group) => group.isOwed)) return;
    const changed = groups.filter((group) => group.hasChanged);
    this.#lastIdleWrite = this.#options.clock.monotonic();
    if (changed.length === 0) return;
    this.#options.store.write(changed.flatMap((group) => group.changes()));
    for (const group of changed) group.written();
  }

  #serve(member: Member): void {
    const { group, waiter } = member;
    if (waiter === undefined) return;
    if (waiter.limit === 0) {
      this.#answerEmpty(member);
      return;
    }
    const run = group.nextRun(member, this.#sliceBytes);
    if (run === undefined) {
      this.#waitAtEnd(member);
      return;
    }
    try {
      this.#read(member, waiter, run);
    } catch (error) {
      if (!(error instanceof HeddleError)) throw error;
      this.#fail(member, error);
    }
  }

  #read(member: Member, waiter: Waiter, run: Run): void {
    const { shard, start, slots } = run;
    const { group } = member;
    const chunk = this.#options.source.read(shard, start.record, this.#sliceBytes);
    if (chunk === undefined) {
      this.#waitAtEnd(member);
      return;
    }
    const isFor = new Array<boolean>(groupSlots).fill(false);
    for (const slot of slots) isFor[slot] = true;
    for (let { limit } = waiter; ; ) {
      const page = new FeedPage(limit);
      const end = this.#decoders.get(group)!.visit(
        chunk,
        {
          events: (entry) => {
            const slot = slotOfEntity(entry.entity);
            if (!isFor[slot]) return undefined;
            const place = group.placeOf(shard, slot);
            if (entry.record < place.record) return undefined;
            const first = entry.record === place.record ? Math.max(0, place.skip - entry.at) : 0;
            return first >= entry.count ? undefined : page.add(entry, first);
          },
        },
        start,
      );
      const body = page.encode(end, [group.slotsOf(member), shard]);
      if (body !== undefined) {
        this.#give(member, waiter, run, page, end, body);
        return;
      }
      if (page.events === 1) throw page.tooLarge();
      limit = page.events >>> 1;
    }
  }

  #give(member: Member, waiter: Waiter, run: Run, page: FeedPage, end: FeedPosition, body: Uint8Array): void {
    const last = new Map<number, FeedPosition>();
    for (const [record, at, , entity, , , , , , events] of page.entries) {
      last.set(slotOfEntity(entity), { record, skip: at + events.at(-1)![0] + 1 });
    }
    member.group.gave(member, run, end, last);
    if (page.events > 0) {
      const { connection, requestBytes, call } = waiter;
      this.#stopWaiting(member);
      this.#options.reply(connection, requestBytes, frameReply(replyKind.value, call, body));
    } else if (page.failure instanceof HeddleError) this.#fail(member, page.failure);
    else if (page.failure !== undefined) throw page.failure;
    else this.#makeReady(member);
  }

  #waitAtEnd(member: Member): void {
    if (member.waiter!.deadline <= this.#options.clock.monotonic()) {
      this.#answerEmpty(member);
      return;
    }
    this.#atEnd.add(member);
    if (!this.#isWatching) void this.#watch();
  }

  // Goes on for as long as somebody waits at the end of the feed.
  async #watch(): Promise<void> {
    const { source } = this.#options;
    this.#isWatching = true;
    for (;;) {
      // Taken first: what changes while the ends are looked at is seen in the next round.
      const { mark } = source;
      for (const member of this.#atEnd)
        if (member.group.nextRun(member, this.#sliceBytes) !== undefined) this.#makeReady(member);
      if (this.#atEnd.size === 0) break;
      await source.changedSince(mark, lookMs);
    }
    this.#isWatching = false;
  }

  // --- Answers ---

  #replyLater(connection: number, requestBytes: number, call: number, value: unknown): void {
    this.#owed.push({ connection, requestBytes, call, value });
    this.#schedule();
  }

  // Of a poll that came to nothing. What it said may not be durable yet.
  #endWaiting(member: Member): void {
    if (member.waiter === undefined) return;
    const { connection, requestBytes, call } = member.waiter;
    this.#stopWaiting(member);
    this.#replyLater(connection, requestBytes, call, emptyPage(0));
  }

  /** After a write. */
  #answerEmpty(member: Member): void {
    const { connection, requestBytes, call } = member.waiter!;
    const body = encodeValue(emptyPage(member.group.slotsOf(member)));
    this.#stopWaiting(member);
    this.#options.reply(connection, requestBytes, frameReply(replyKind.value, call, body));
  }

  #fail(member: Member, error: HeddleError): void {
    const { connection, requestBytes, call } = member.waiter!;
    this.#stopWaiting(member);
    this.#options.reply(connection, requestBytes, encodeErrorReply(call, error));
  }

  /** The write failed: nothing that came is durable, and everybody who waits hears of it. */
  #failAll(thrown: unknown): void {
    if (!(thrown instanceof HeddleError)) throw thrown;
    this.#failOwed(thrown);
    for (const member of this.#waiting) this.#fail(member, thrown);
  }

  #failOwed(error: HeddleError): void {
    for (const { connection, requestBytes, call } of this.#owed.splice(0)) {
      this.#options.reply(connection, requestBytes, encodeErrorReply(call, error));
    }
  }

  #stopWaiting(member: Member): void {
    member.waiter = undefined;
    member.heardMs = this.#options.clock.monotonic();
    this.#waiting.delete(member);
    this.#ready.delete(member);
    this.#atEnd.delete(member);
  }
}

function emptyPage(slots: number): readonly [number, number, number, number, readonly never[]] {
  return [slots, 0, 0, 0, []];
}

function closing(): HeddleError {
  return new HeddleError("SHARD_STOPPED", { shard: 0, reason: "the node is closing" });
}
