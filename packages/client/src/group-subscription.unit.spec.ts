// Goal: a member of a consumer group says and gives what M1 to M4 promise, whatever the node answers and when.
// Method: a node by script; time is moved by hand.
// Tested elsewhere: the node's side (packages/feed, groups); bodies (test/fuzz); against a real node (test/e2e/groups.e2e.spec.ts).
import { HeddleError } from "@heddle/kernel";
import { type GroupPollFields, readGroupPollBody, requestKind, slotOfEntity } from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { Heddle } from "./heddle.ts";
import { type Arrived, failure, outcome, ScriptedNode, value } from "./scripted-node.spec-support.ts";

const everySlot = 2 ** 32 - 1;
const bit = (entity: string) => (1 << slotOfEntity(entity)) >>> 0;

/** One event of each entity, all in one record. */
function page(entities: readonly string[], seq = 1, slots = everySlot): unknown {
  const entries = entities.map((entity, at) => {
    const events = [[0, "Credited", 1, { amount: seq }]];
    return [64 * seq, at, 64 * seq + at, entity, "Account", seq, 5, null, undefined, events];
  });
  return [slots, 0, 64 * (seq + 1), 0, entries];
}

const nothing = (slots = everySlot) => [slots, 0, 0, 0, []];

class Rig {
  readonly node = new ScriptedNode();
  readonly db: Heddle;
  /** What the next polls are answered with; one without an answer waits. */
  answers: ((poll: GroupPollFields, call: number) => Uint8Array | undefined)[] = [];

  constructor() {
    const { connect, ...ports } = this.node.ports;
    const answering: typeof connect = (address, handlers) => {
      const transport = connect(address, handlers);
      this.node.connections.at(-1)!.answer = (request) => this.#answer(request);
      return transport;
    };
    this.db = new Heddle({}, undefined, { ...ports, connect: answering });
  }

  #answer(request: Arrived): Uint8Array | undefined {
    if (request.kind !== requestKind.groupPoll) return undefined;
    const poll = pollOf(request);
    if (poll.act === "leave") return value(request.call, nothing(0));
    return this.answers.shift()?.(poll, request.call);
  }

  gives(...pages: readonly unknown[]): void {
    for (const page of pages) this.answers.push((_, call) => value(call, page));
  }

  get polls(): GroupPollFields[] {
    return this.node.arrived.filter(({ kind }) => kind === requestKind.groupPoll).map(pollOf);
  }

  get last(): GroupPollFields {
    return this.polls.at(-1)!;
  }

  async settled<T>(promise: Promise<T>): Promise<T> {
    const result = outcome(promise);
    await this.node.world.settle();
    const { value, error } = await result;
    if (error !== undefined) throw error;
    return value as T;
  }
}

const pollOf = ({ body }: Arrived) => readGroupPollBody(body, 0, body.length);

describe("a member of a consumer group", () => {
  it("M1: joins with what it asks for, and asking for the next says that the one before is dealt with", async () => {
    const rig = new Rig();
    rig.gives(page(["account/a", "account/b"]));
    const members = rig.db.subscribe({ group: "billing", kind: "account", types: ["Credited"], from: "now" });
    expect(await rig.settled(members.next())).toMatchObject({ value: { entity: "account/a", seq: 1, position: 64 } });
    const asked = { kind: "account", aggregate: "", types: ["Credited"], from: "now", limit: 1_000, waitMs: 10_000 };
    expect(rig.polls).toMatchObject([{ act: "join", group: "billing", holds: 0, done: [], ...asked }]);
    expect(await rig.settled(members.next())).toMatchObject({ value: { entity: "account/b" } });
    expect(rig.polls).toHaveLength(1);
    rig.gives(page(["account/a"], 2));
    expect(await rig.settled(members.next())).toMatchObject({ value: { entity: "account/a", seq: 2 } });
    expect(rig.last).toMatchObject({ act: "poll", holds: 0, limit: 1_000, kind: "", types: [] });
    expect(rig.last.done).toEqual([
      { slot: slotOfEntity("account/a"), shard: 0, record: 64, skip: 1 },
      { slot: slotOfEntity("account/b"), shard: 0, record: 64, skip: 2 },
    ]);
  });

  it("says nothing twice that the node has heard, and all of it again that it may not have", async () => {
    const rig = new Rig();
    rig.gives(page(["account/a"]));
    const members = rig.db.subscribe({ group: "billing" });
    await rig.settled(members.next());
    rig.answers.push((_, call) => failure(call, new HeddleError("SHARD_STOPPED", { shard: 0, reason: "away" })));
    rig.gives(nothing(), page(["account/a"], 2));
    const next = members.next();
    await rig.node.world.pass(100);
    await next;
    const [, refused, heard, after] = rig.polls;
    expect(refused!.done).toHaveLength(1);
    expect(heard!.done).toEqual(refused!.done);
    expect(after!.done).toEqual([]);
  });

  it("M1: what is dealt with while the node is asked is told with the next question", async () => {
    const rig = new Rig();
    rig.gives(page(["account/a", "account/b", "account/c"]));
    const members = rig.db.subscribe({ group: "billing" });
    await rig.settled(members.next());
    let asked = 0;
    rig.answers.push((_, call) => {
      asked = call;
      return undefined;
    });
    await rig.node.world.pass(1_000);
    await rig.settled(members.next());
    rig.node.connection.say(value(asked, nothing()));
    rig.gives(nothing());
    await rig.node.world.pass(1_000);
    expect(rig.last.done).toMatchObject([{ slot: slotOfEntity("account/a") }]);
  });

  it("M2: says every second that it lives, what it has dealt with, and what it still holds", async () => {
    const rig = new Rig();
    rig.gives(page(["account/a", "account/b", "account/c"]), nothing(), nothing());
    const members = rig.db.subscribe({ group: "billing" });
    await rig.settled(members.next());
    await rig.settled(members.next());
    await rig.node.world.pass(1_000);
    expect(rig.polls).toHaveLength(2);
    expect(rig.last).toMatchObject({ act: "poll", limit: 0, waitMs: 0, done: [{ slot: slotOfEntity("account/a") }] });
    expect(rig.last.holds).toBe((bit("account/b") | bit("account/c")) >>> 0);
    await rig.node.world.pass(1_000);
    expect(rig.last.done).toEqual([]);
    expect(rig.polls.map(({ turn }) => turn)).toEqual([1, 2, 3]);
  });

  it("M2: falls silent when the loop is at one event for too long, and asks before it gives another", async () => {
    const rig = new Rig();
    rig.gives(page(["account/a", "account/b"]), nothing(), nothing());
    const members = rig.db.subscribe({ group: "billing", handleTimeoutMs: 2_000 });
    await rig.settled(members.next());
    await rig.node.world.pass(20_000);
    const before = rig.polls.length;
    expect(before).toBeLessThanOrEqual(4);
    const lost = new HeddleError("GROUP_MEMBER_LOST", { group: "billing", member: "m", problem: "silent" });
    rig.answers = [(_, call) => failure(call, lost)];
    rig.gives(page(["account/a"]));
    expect(await rig.settled(members.next())).toMatchObject({ value: { entity: "account/a", seq: 1 } });
    const [asked, joined] = rig.polls.slice(before);
    expect(asked).toMatchObject({ act: "poll", limit: 0 });
    // Nothing that it had as the member that is lost is told of.
    expect(joined).toMatchObject({ act: "join", limit: 1_000, done: [], holds: 0 });
  });

  it("M3: does not give what was asked back, and gives it back at once", async () => {
    const rig = new Rig();
    rig.gives(page(["account/a", "account/b", "account/c"]), nothing(bit("account/b")), nothing(bit("account/b")));
    const members = rig.db.subscribe({ group: "billing" });
    await rig.settled(members.next());
    await rig.node.world.pass(1_000);
    // It still holds the one in hand, and the one that it may keep.
    expect(rig.polls).toHaveLength(3);
    expect(rig.last.holds).toBe((bit("account/a") | bit("account/b")) >>> 0);
    expect(await rig.settled(members.next())).toMatchObject({ value: { entity: "account/b" } });
    rig.gives(nothing(bit("account/b")));
    await rig.node.world.pass(0);
    expect(rig.last).toMatchObject({ limit: 0, holds: bit("account/b"), done: [{ slot: slotOfEntity("account/a") }] });
    rig.gives(page(["account/b"], 2));
    expect(await rig.settled(members.next())).toMatchObject({ value: { entity: "account/b", seq: 2 } });
  });

  it("joins anew when it was taken for dead, and gives no more of what it had", async () => {
    const rig = new Rig();
    const lost = new HeddleError("GROUP_MEMBER_LOST", { group: "billing", member: "m", problem: "silent" });
    rig.gives(page(["account/a", "account/b"]));
    rig.answers.push((_, call) => failure(call, lost));
    const members = rig.db.subscribe({ group: "billing" });
    await rig.settled(members.next());
    await rig.node.world.pass(5_000);
    // It does not join while the loop is at an event that may be with others.
    expect(rig.polls).toHaveLength(2);
    rig.gives(page(["account/c"]));
    expect(await rig.settled(members.next())).toMatchObject({ value: { entity: "account/c" } });
    expect(rig.last).toMatchObject({ act: "join", done: [] });
  });

  it("M4: leaving says what is dealt with, and not the one in hand", async () => {
    const rig = new Rig();
    rig.gives(page(["account/a", "account/b"]));
    const members = rig.db.subscribe({ group: "billing" });
    await rig.settled(members.next());
    await rig.settled(members.next());
    await rig.settled(members.return());
    expect(rig.last).toMatchObject({ act: "leave", holds: 0, done: [{ slot: slotOfEntity("account/a"), skip: 1 }] });
    expect(rig.last.done).toHaveLength(1);
    const before = rig.polls.length;
    await rig.node.world.pass(60_000);
    expect(rig.polls).toHaveLength(before);
    expect(await members.next()).toEqual({ done: true, value: undefined });
  });

  it("M4: closing the client leaves, and cuts off who waits", async () => {
    const rig = new Rig();
    const members = rig.db.subscribe({ group: "billing" });
    const waits = outcome(members.next());
    await rig.node.world.settle();
    await rig.settled(rig.db.close());
    expect((await waits).error).toMatchObject({ code: "CLOSED" });
    expect(rig.last).toMatchObject({ act: "leave" });
    expect(rig.polls.filter(({ act }) => act === "leave")).toHaveLength(1);
  });

  it("throws what the node refuses, and leaves", async () => {
    const rig = new Rig();
    const error = new HeddleError("INVALID_REQUEST", { path: "group", problem: "for other events" });
    rig.answers.push((_, call) => failure(call, error));
    const members = rig.db.subscribe({ group: "billing" });
    await expect(rig.settled(members.next())).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    expect(await members.next()).toEqual({ done: true, value: undefined });
  });
});
