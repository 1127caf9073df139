// What the specs of consumer groups share: a coordinator over logs on a simulated disk, whose turns and time are moved by hand,
// a store that outlives it, and members by script, which do what an SDK does and can be cut off.
import { invariant } from "@heddle/kernel/internal";
import type { ListedGroup } from "@heddle/protocol";
import {
  type FeedEvent,
  type FeedPosition,
  frameOffset,
  type GroupPage,
  type GroupPlace,
  type GroupPollFields,
  type Reply,
  readGroupPage,
  readReply,
  requestKind,
  slotOfEntity,
  writeGroupForgetBody,
  writeGroupPollBody,
  writeRequestHeader,
  writeU32,
} from "@heddle/protocol/internal";
import { domain, WrittenLogs } from "../written-logs.spec-support.ts";
import { GroupCoordinator } from "./group-coordinator.ts";
import type { GroupChange, GroupStore, StoredGroup } from "./group-store.ts";

/** Keeps what a write was given, and nothing else, as a disk does. */
export class MemoryGroupStore implements GroupStore {
  readonly #groups = new Map<string, StoredGroup>();
  writes = 0;
  failure: Error | undefined;

  load(): StoredGroup[] {
    return structuredClone([...this.#groups.values()]);
  }

  write(changes: readonly GroupChange[]): void {
    if (this.failure !== undefined) throw this.failure;
    this.writes++;
    for (const change of structuredClone(changes) as GroupChange[]) {
      if (change.kind === "made") {
        invariant(!this.#groups.has(change.group.name), "a group is made once");
        this.#groups.set(change.group.name, change.group);
      } else if (change.kind === "forgotten") this.#groups.delete(change.name);
      else {
        const group = this.#groups.get(change.name)!;
        const next = change.kind === "owners" ? { owners: change.owners } : {};
        const places = group.places.slice();
        if (change.kind === "places") places[change.shard] = change.places;
        this.#groups.set(change.name, { ...group, ...next, places });
      }
    }
  }
}

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

export function frameOf(kind: number, call: number, write: (reserve: Reserve) => number): Uint8Array {
  let bytes = new Uint8Array();
  const bodyBytes = write((wanted) => {
    bytes = new Uint8Array(frameOffset.requestBody + wanted);
    return { bytes, at: frameOffset.requestBody };
  });
  const length = frameOffset.requestBody + bodyBytes;
  writeU32(bytes, 0, length - 4);
  writeRequestHeader(bytes, 0, { kind, flags: 0, hash: 0, call });
  return bytes.subarray(0, length);
}

const joining: GroupPollFields = {
  group: "billing",
  member: "m-1",
  act: "join",
  turn: 1,
  holds: 0,
  limit: 1_000,
  waitMs: 1_000,
  done: [],
  from: "beginning",
  kind: "",
  aggregate: "",
  types: [],
};

export class GroupRig {
  readonly logs: WrittenLogs;
  readonly store = new MemoryGroupStore();
  coordinator: GroupCoordinator;
  now = 0;
  readonly replies = new Map<number, Reply>();
  /** Given each reply once, where somebody wants it. */
  readonly onReply = new Map<number, (reply: Reply) => void>();
  #turns: (() => void)[] = [];
  #wakes: (() => void)[] = [];
  #calls = 0;

  readonly #sliceBytes: number | undefined;

  constructor(logs = new WrittenLogs(2), sliceBytes?: number) {
    this.logs = logs;
    this.#sliceBytes = sliceBytes;
    this.coordinator = this.#start();
  }

  #start(): GroupCoordinator {
    const { feed } = this.logs;
    // What one of before the crash answers is heard by nobody.
    const coordinator: GroupCoordinator = new GroupCoordinator({
      source: {
        shardCount: feed.shardCount,
        end: (shard) => feed.end(shard),
        read: (...args) => feed.read(...args),
        beginsAt: (...args) => feed.beginsAt(...args),
        get mark() {
          return feed.mark;
        },
        changedSince: (mark) => {
          if (mark !== feed.mark) return Promise.resolve();
          return new Promise((resolve) => this.#wakes.push(resolve));
        },
      },
      domain,
      clock: { now: () => 1_700_000_000_000 + this.now, monotonic: () => this.now },
      store: this.store,
      ...(this.#sliceBytes === undefined ? {} : { sliceBytes: this.#sliceBytes }),
      reply: (_connection, _requestBytes, frame) => {
        if (this.coordinator !== coordinator) return;
        const reply = readReply(frame, 0, frame.length);
        invariant(!this.replies.has(reply.call), "a poll is answered once", { call: reply.call });
        this.replies.set(reply.call, reply);
        this.onReply.get(reply.call)?.(reply);
        this.onReply.delete(reply.call);
      },
      schedule: (task) => void this.#turns.push(() => this.coordinator === coordinator && task()),
    });
    return coordinator;
  }

  /** The thread dies and is started again: only the store is left. */
  crash(): void {
    this.#turns = [];
    this.onReply.clear();
    this.coordinator = this.#start();
  }

  poll(fields: Partial<GroupPollFields> = {}, connection = 1, onReply?: (reply: Reply) => void): number {
    const call = ++this.#calls;
    const all = { ...joining, ...fields };
    const frame = frameOf(requestKind.groupPoll, call, (reserve) => writeGroupPollBody(all, reserve));
    if (onReply !== undefined) this.onReply.set(call, onReply);
    this.coordinator.poll(connection, frame, 0, frame.length);
    return call;
  }

  list(): ListedGroup[] {
    const call = ++this.#calls;
    const frame = frameOf(requestKind.groupList, call, (reserve) => {
      reserve(0);
      return 0;
    });
    this.coordinator.list(1, frame, 0, frame.length);
    return replyValue(this.replies.get(call)) as ListedGroup[];
  }

  forget(group = "billing"): boolean {
    const call = ++this.#calls;
    const frame = frameOf(requestKind.groupForget, call, (reserve) => writeGroupForgetBody({ group }, reserve));
    this.coordinator.forget(1, frame, 0, frame.length);
    return replyValue(this.replies.get(call)) as boolean;
  }

  /** One turn of the work that is due. */
  turn(): void {
    for (const task of this.#turns.splice(0)) task();
  }

  /** Turns until nothing is left to do without something happening. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 2; idle++) {
      for (const wake of this.#wakes.splice(0)) wake();
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#turns.length > 0) idle = 0;
      this.turn();
    }
  }

  async after(ms: number): Promise<void> {
    this.now += ms;
    this.coordinator.tick();
    await this.settle();
  }

  page(call: number): GroupPage {
    return readGroupPage(replyValue(this.replies.get(call)));
  }

  amounts(call: number): unknown[] {
    return this.page(call).page.events.map(({ event }) => (event.payload as { amount: number }).amount);
  }
}

export function replyValue(reply: Reply | undefined): unknown {
  if (reply?.kind === "value") return reply.value;
  throw new Error(`no value: ${JSON.stringify(reply)}`);
}

export interface Given {
  readonly event: FeedEvent;
  readonly slot: number;
  readonly behind: FeedPosition;
}

/** The places behind the first so many events of a page: what a member says that has dealt with them. */
export function doneOf({ shard, page: { events } }: GroupPage, count = events.length): GroupPlace[] {
  const bySlot = new Map<number, GroupPlace>();
  for (const { event, behind } of events.slice(0, count)) {
    const slot = slotOfEntity(event.entity);
    bySlot.set(slot, { slot, shard, ...behind });
  }
  return [...bySlot.values()];
}

/** Bits of the slots of a page's events from a number on. */
export function slotsOf({ page: { events } }: GroupPage, from = 0): number {
  let bits = 0;
  for (const { event } of events.slice(from)) bits |= 1 << slotOfEntity(event.entity);
  return bits >>> 0;
}

export function countBits(bits: number): number {
  return bits.toString(2).replaceAll("0", "").length;
}
