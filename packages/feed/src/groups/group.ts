// Group: one consumer group: its members, who has which slots, and how far each slot is in each shard's feed.
//
// G1. Of a slot, events are given in the order of the feed, from the place behind what was dealt with, none left out. What is
//     given and not dealt with is given again.
// G2. A slot changes hands only when its owner holds no event of it, has left, or was silent for `groupSilenceMs`. That holds
//     over a restart of the node, because owners are kept: one of before the restart is taken to hold whatever it may.
// G3. Places only grow. They move when a member says that it has dealt with something, and over what nobody asked for.
// G4. Slots are spread evenly over members, and move no more than that needs.
// Decides and remembers; reads, writes and answers nothing. A change is durable when the coordinator has written it.
import { HeddleError } from "@heddle/kernel";
import {
  type FeedPosition,
  type GroupFilter,
  type GroupPlace,
  type GroupPollFields,
  groupSilenceMs,
  groupSlots,
} from "@heddle/protocol/internal";
import type { LogFeed } from "../log-feed.ts";
import { assignSlots } from "./assign-slots.ts";
import type { GroupChange, StoredGroup } from "./group-store.ts";

export type GroupSource = Pick<LogFeed, "shardCount" | "end" | "read" | "beginsAt" | "mark" | "changedSince">;

/** A poll that is not answered yet. */
export interface Waiter {
  readonly connection: number;
  readonly call: number;
  readonly requestBytes: number;
  readonly limit: number;
  readonly deadline: number;
}

/** What a member was given last. */
interface GivenPage {
  readonly shard: number;
  /** Where the page ends: a slot of which it has dealt with all is there. */
  readonly end: FeedPosition;
  /** By slot, the place behind its last event. */
  readonly last: Map<number, FeedPosition>;
}

export class Member {
  readonly id: string;
  readonly group: Group;
  /** Of its newest poll. */
  turn = -1;
  connection = -1;
  heardMs: number;
  waiter: Waiter | undefined;
  page: GivenPage | undefined;
  /** Bits of slots of which it may have events in hand. */
  held = 0;
  /** Counts runs, so that each place that it reads from has its turn. */
  runs = 0;

  constructor(group: Group, id: string, nowMs: number) {
    this.group = group;
    this.id = id;
    this.heardMs = nowMs;
  }
}

/** Where a member reads next, and for which slots: none of them is before the start. */
export interface Run {
  readonly shard: number;
  readonly start: FeedPosition;
  readonly slots: readonly number[];
}

/** Bytes of log that a member reads before the next has its turn. */
export const sliceBytesDefault = 256 << 10;
/** Members of a group (P8). Those beyond the number of slots stand by. */
const membersMax = 256;

export class Group {
  readonly name: string;
  readonly filter: GroupFilter;
  readonly madeAt: number;
  readonly #source: GroupSource;
  /** In the order in which they joined. */
  readonly #members = new Map<string, Member>();
  readonly #owners: (Member | undefined)[];
  #targets: (Member | undefined)[];
  readonly #places: FeedPosition[][];
  /** A slot and a shard whose numbers differ in these bits have no entity in common: both are made of the same hash. */
  readonly #commonBits: number;
  #isNew: boolean;
  #ownersChanged = false;
  readonly #placesChanged = new Set<number>();
  /** Somebody waits for the changes to be durable. */
  #isOwed: boolean;

  /** `stored.owners` are members that are taken to live until they were silent for long enough. */
  constructor(stored: StoredGroup, source: GroupSource, nowMs: number, isNew: boolean) {
    this.name = stored.name;
    this.filter = stored.filter;
    this.madeAt = stored.madeAt;
    this.#source = source;
    this.#places = stored.places.map((of, shard) => of.map((place) => this.#within(shard, place)));
    this.#isNew = isNew;
    this.#isOwed = isNew;
    this.#commonBits = Math.min(groupSlots, source.shardCount & -source.shardCount) - 1;
    this.#owners = stored.owners.map((id, slot) => {
      if (id === "") return undefined;
      const member = this.#members.get(id) ?? new Member(this, id, nowMs);
      this.#members.set(id, member);
      member.held |= bitOf(slot);
      return member;
    });
    this.#targets = this.#owners.slice();
    // The node may have died while slots were changing hands.
    this.#assign();
  }

  // A log that was not synced (`durability: "os"`) may have lost its end with the machine's power, and what is written there
  // now is something else. One that ends at 0 may just not be open.
  #within(shard: number, place: FeedPosition): FeedPosition {
    const end = { record: this.#source.end(shard), skip: 0 };
    if (end.record === 0 || !isBefore(end, place)) return place;
    this.#placesChanged.add(shard);
    return end;
  }

  get members(): Iterable<Member> {
    return this.#members.values();
  }

  get size(): number {
    return this.#members.size;
  }

  member(id: string): Member | undefined {
    return this.#members.get(id);
  }

  // --- Members ---

  /** Errors: `OVERLOADED`; `INVALID_REQUEST` for events that the group is not for. */
  join(fields: GroupPollFields, nowMs: number): Member {
    this.#checkFilter(fields);
    const [depth, depthMax] = [this.#members.size, membersMax];
    if (depth >= depthMax) throw new HeddleError("OVERLOADED", { queue: `members of ${this.name}`, depth, depthMax });
    const member = new Member(this, fields.member, nowMs);
    this.#members.set(member.id, member);
    this.#assign();
    return member;
  }

  /** It has left, or was silent. What it held is given to others. */
  remove(member: Member): void {
    this.#members.delete(member.id);
    for (let slot = 0; slot < groupSlots; slot++) {
      if (this.#owners[slot] === member) this.#setOwner(slot, undefined);
    }
    this.#assign();
  }

  /** Members of which nothing was heard for too long. */
  silent(nowMs: number): Member[] {
    return [...this.#members.values()].filter(
      ({ waiter, heardMs }) => waiter === undefined && nowMs - heardMs > groupSilenceMs,
    );
  }

  #checkFilter({ kind, aggregate, types }: GroupFilter): void {
    const has = this.filter;
    const isSame = kind === has.kind && aggregate === has.aggregate && sorted(types) === sorted(has.types);
    if (isSame) return;
    const shown = JSON.stringify({
      ...(has.kind === "" ? {} : { kind: has.kind }),
      ...(has.aggregate === "" ? {} : { aggregate: has.aggregate }),
      ...(has.types.length === 0 ? {} : { types: has.types }),
    });
    const problem = `the group ${this.name} is for other events: ${shown}; use these, another name, or forget the group`;
    throw new HeddleError("INVALID_REQUEST", { path: "group", problem });
  }

  #assign(): void {
    this.#targets = assignSlots(this.#targets, [...this.#members.values()]);
  }

  /** Lets slots change hands where that can be now. Whether any did. */
  settle(): boolean {
    let hasMoved = false;
    for (let slot = 0; slot < groupSlots; slot++) {
      const [owner, target] = [this.#owners[slot], this.#targets[slot]];
      if (owner === target || (owner !== undefined && (owner.held & bitOf(slot)) !== 0)) continue;
      this.#setOwner(slot, target);
      hasMoved = true;
    }
    return hasMoved;
  }

  #setOwner(slot: number, member: Member | undefined): void {
    this.#owners[slot] = member;
    this.#ownersChanged = true;
    this.#isOwed = true;
  }

  /** Bits of the slots that a member has and is to keep. */
  slotsOf(member: Member): number {
    let bits = 0;
    for (let slot = 0; slot < groupSlots; slot++) if (this.#isFor(slot, member)) bits |= bitOf(slot);
    return bits >>> 0;
  }

  #isFor(slot: number, member: Member): boolean {
    return this.#owners[slot] === member && this.#targets[slot] === member;
  }

  /** How many slots it has, whether or not it is to keep them. */
  countOf(member: Member): number {
    return this.#owners.filter((owner) => owner === member).length;
  }

  // --- Places ---

  /**
   * Takes what a member has dealt with, and what it holds no longer.
   * Errors: `INVALID_REQUEST` for a place that is none; then nothing was taken.
   */
  take(member: Member, { done, holds }: Pick<GroupPollFields, "done" | "holds">): void {
    for (const place of done) this.#checkPlace(member, place);
    for (const { slot, shard, record, skip } of done) {
      if (this.#owners[slot] === member && this.#moveTo(shard, slot, { record, skip })) this.#isOwed = true;
    }
    member.held &= holds;
    const { page } = member;
    for (const [slot, last] of page?.last ?? []) {
      if ((holds & bitOf(slot)) !== 0) continue;
      // What lies between its last event and the page's end was not asked for.
      if (!isBefore(this.#places[page!.shard]![slot]!, last)) this.#moveTo(page!.shard, slot, page!.end);
      page!.last.delete(slot);
    }
    if (page?.last.size === 0) member.page = undefined;
  }

  #checkPlace(member: Member, { slot, shard, record, skip }: GroupPlace): void {
    const problem = this.#problemOf(member, { slot, shard, record, skip });
    if (problem === undefined) return;
    throw new HeddleError("INVALID_REQUEST", { path: "done", problem: `no place in shard ${shard}: ${problem}` });
  }

  #problemOf(member: Member, { slot, shard, record, skip }: GroupPlace): string | undefined {
    const source = this.#source;
    if (shard >= source.shardCount) return `there are ${source.shardCount} shards`;
    if (record > source.end(shard)) return `its log ends at ${source.end(shard)}`;
    const last = member.page?.shard === shard ? member.page.last.get(slot) : undefined;
    if (last !== undefined && last.record === record && last.skip === skip) return undefined;
    if (!isBefore(this.#places[shard]![slot]!, { record, skip })) return undefined;
    return source.beginsAt(shard, record) ? undefined : `no record begins at ${record}`;
  }

  #moveTo(shard: number, slot: number, place: FeedPosition): boolean {
    const places = this.#places[shard]!;
    if (!isBefore(places[slot]!, place)) return false;
    places[slot] = place;
    this.#placesChanged.add(shard);
    return true;
  }

  /** Where a member reads next, or undefined when all its slots are at the ends. */
  nextRun(member: Member, sliceBytes: number): Run | undefined {
    const starts: { shard: number; place: FeedPosition }[] = [];
    for (let shard = 0; shard < this.#source.shardCount; shard++) {
      let reachedTo = 0;
      for (const place of this.#startsIn(shard, member)) {
        // One run takes along what lies within its reach, so that slots come together again.
        if (place.record < reachedTo) continue;
        starts.push({ shard, place });
        reachedTo = place.record + sliceBytes;
      }
    }
    if (starts.length === 0) return undefined;
    const { shard, place } = starts[member.runs++ % starts.length]!;
    // Those that are behind have their own turn: what lies before the start would be left out for them.
    const slots = [...this.#slotsIn(shard, member)].filter((slot) => !isBefore(this.placeOf(shard, slot), place));
    return { shard, start: place, slots };
  }

  /** Places of a member's slots from which there is something to read, in order. */
  #startsIn(shard: number, member: Member): FeedPosition[] {
    const end = this.#source.end(shard);
    const places = Array.from(this.#slotsIn(shard, member), (slot) => this.placeOf(shard, slot));
    return places.filter(({ record }) => record < end).sort((a, b) => a.record - b.record || a.skip - b.skip);
  }

  *#slotsIn(shard: number, member: Member): Generator<number> {
    for (let slot = 0; slot < groupSlots; slot++) {
      if (((slot ^ shard) & this.#commonBits) === 0 && this.#isFor(slot, member)) yield slot;
    }
  }

  placeOf(shard: number, slot: number): FeedPosition {
    return this.#places[shard]![slot]!;
  }

  /** A run has come to `end`. `last` has the slots that it found events of, which are given to the member now. */
  gave(member: Member, { shard, slots }: Run, end: FeedPosition, last: Map<number, FeedPosition>): void {
    for (const slot of slots) {
      if (last.has(slot)) member.held |= bitOf(slot);
      else this.#moveTo(shard, slot, end);
    }
    if (last.size > 0) member.page = { shard, end, last };
  }

  /** By shard: before this position nothing is left to do. */
  positions(): number[] {
    return this.#places.map((places, shard) => {
      const records = places.flatMap(({ record }, slot) => (((slot ^ shard) & this.#commonBits) === 0 ? [record] : []));
      return Math.min(...records);
    });
  }

  // --- What is to be kept ---

  /** Whether a write is due before anybody is answered. */
  get isOwed(): boolean {
    return this.#isOwed;
  }

  get hasChanged(): boolean {
    return this.#isOwed || this.#placesChanged.size > 0;
  }

  changes(): GroupChange[] {
    const { name, filter, madeAt } = this;
    const owners = this.#owners.map((owner) => owner?.id ?? "");
    if (this.#isNew) return [{ kind: "made", group: { name, filter, madeAt, owners, places: this.#places } }];
    const changes: GroupChange[] = this.#ownersChanged ? [{ kind: "owners", name, owners }] : [];
    for (const shard of this.#placesChanged)
      changes.push({ kind: "places", name, shard, places: this.#places[shard]! });
    return changes;
  }

  /** What `changes` gave is durable. */
  written(): void {
    this.#isNew = false;
    this.#ownersChanged = false;
    this.#placesChanged.clear();
    this.#isOwed = false;
  }
}

function bitOf(slot: number): number {
  return 1 << slot;
}

/** Whether `a` lies before `b`. */
export function isBefore(a: FeedPosition, b: FeedPosition): boolean {
  return a.record < b.record || (a.record === b.record && a.skip < b.skip);
}

function sorted(types: readonly string[]): string {
  return [...new Set(types)].sort().join("\0");
}
