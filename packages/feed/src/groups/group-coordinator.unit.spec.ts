// Goal: members of a group share events as group.ts and group-coordinator.ts promise.
// Method: logs on a simulated disk; turns and time are moved by hand.
// Tested elsewhere: any order of joins, leaves, silences and crashes (group-coordinator.model.unit.spec.ts); what is kept
// (group-store.int.spec.ts); the SDK's side (packages/client); processes that are killed (test/crash/groups.e2e.spec.ts).
import { HeddleError } from "@heddle/kernel";
import { slotOfEntity } from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { credit, WrittenLogs } from "../written-logs.spec-support.ts";
import { countBits, doneOf, GroupRig, slotsOf } from "./group-rig.spec-support.ts";

/** Entities that lie in shard 0 of 1, each in another slot. */
function entitiesBySlot(count: number): string[] {
  const found = new Map<number, string>();
  for (let i = 0; found.size < count; i++) found.set(slotOfEntity(`account/${i}`), `account/${i}`);
  return [...found.values()];
}

async function rigWith(...appends: readonly ReturnType<typeof credit>[]): Promise<GroupRig> {
  const rig = new GroupRig(new WrittenLogs(1));
  if (appends.length > 0) await rig.logs.write(0, ...appends);
  return rig;
}

function refusal(act: () => unknown): HeddleError {
  try {
    act();
  } catch (error) {
    if (error instanceof HeddleError) return error;
  }
  throw new Error("nothing was refused");
}

describe("consumer groups: what a member is given", () => {
  it("G1: what lies behind what it has dealt with, in order, and again what it has not", async () => {
    const rig = await rigWith(credit("account/alice", 1, 2), credit("account/bob", 3));
    const first = rig.poll();
    await rig.settle();
    expect(rig.amounts(first)).toEqual([1, 2, 3]);
    const again = rig.poll({ turn: 2, done: doneOf(rig.page(first), 1) });
    await rig.settle();
    expect(rig.amounts(again)).toEqual([2, 3]);
    const rest = rig.poll({ turn: 3, done: doneOf(rig.page(again)) });
    await rig.settle();
    expect(rig.replies.has(rest)).toBe(false);
    await rig.logs.write(0, credit("account/bob", 4));
    await rig.settle();
    expect(rig.amounts(rest)).toEqual([4]);
  });

  it("C1: an empty page, when there is nothing for as long as it waits", async () => {
    const rig = await rigWith();
    const poll = rig.poll({ waitMs: 500 });
    await rig.after(499);
    expect(rig.replies.has(poll)).toBe(false);
    await rig.after(1);
    expect(rig.page(poll)).toMatchObject({ slots: 2 ** 32 - 1, page: { events: [] } });
  });

  it("only events of its kind, aggregate and types, and no more than it wants", async () => {
    const rig = await rigWith(
      credit("account/alice", 1),
      credit("wallet/alice", 2),
      { entity: "account/alice", events: [{ type: "Debited", payload: { amount: 3 } }] },
      { entity: "account/alice", aggregate: "Notes", events: [{ type: "Noted", payload: { text: "a" } }] },
      credit("account/alice", 5, 6),
    );
    const poll = rig.poll({ kind: "account", aggregate: "Account", types: ["Credited"], limit: 2 });
    await rig.settle();
    expect(rig.amounts(poll)).toEqual([1, 5]);
    const next = rig.poll({ turn: 2, done: doneOf(rig.page(poll)) });
    await rig.settle();
    expect(rig.amounts(next)).toEqual([6]);
  });

  it("what came behind the moment when a group was made that begins now", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    const poll = rig.poll({ from: "now" });
    await rig.settle();
    await rig.logs.write(0, credit("account/alice", 2));
    await rig.settle();
    expect(rig.amounts(poll)).toEqual([2]);
  });

  it("C2: nothing before what it said is durable", async () => {
    const rig = await rigWith(credit("account/alice", 1), credit("account/alice", 2));
    const first = rig.poll({ limit: 1 });
    await rig.settle();
    rig.store.failure = new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: "readers", message: "full" });
    const second = rig.poll({ turn: 2, done: doneOf(rig.page(first)) });
    await rig.settle();
    expect(rig.replies.get(second)).toMatchObject({ kind: "error", error: { code: "DATA_FOLDER_UNWRITABLE" } });
    rig.store.failure = undefined;
    rig.crash();
    const third = rig.poll({ turn: 3, act: "poll" });
    await rig.settle();
    expect(rig.amounts(third)).toEqual([1, 2]);
  });

  it("C2: polls of one turn share one write", async () => {
    const rig = await rigWith(...entitiesBySlot(8).map((entity) => credit(entity, 1)));
    for (let i = 0; i < 4; i++) rig.poll({ group: `group-${i}` });
    rig.turn();
    expect(rig.store.writes).toBe(1);
  });

  it("C4: nothing for a poll that a newer one overtook, which takes nothing back either", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    const newest = rig.poll({ turn: 5 }, 2);
    await rig.settle();
    const old = rig.poll({ turn: 4 }, 1);
    const sameButOlder = rig.poll({ turn: 5 }, 1);
    await rig.settle();
    expect(rig.amounts(newest)).toEqual([1]);
    expect([rig.amounts(old), rig.amounts(sameButOlder)]).toEqual([[], []]);
    expect(rig.list()[0]!.members[0]).toMatchObject({ state: "working" });
  });

  it("the newest poll of a member is answered with events, the one before with none", async () => {
    const rig = await rigWith();
    const before = rig.poll({ turn: 1 });
    await rig.settle();
    const newest = rig.poll({ turn: 2 });
    await rig.logs.write(0, credit("account/alice", 1));
    await rig.settle();
    expect([rig.amounts(before), rig.amounts(newest)]).toEqual([[], [1]]);
  });

  it("an error, when an upcaster cannot take the next event", async () => {
    const broken = { type: "Credited", payload: { units: -1 }, schemaVersion: 1 };
    const rig = await rigWith(credit("account/alice", 1), { entity: "account/alice", events: [broken] });
    const first = rig.poll();
    await rig.settle();
    expect(rig.amounts(first)).toEqual([1]);
    const second = rig.poll({ turn: 2, done: doneOf(rig.page(first)) });
    await rig.settle();
    expect(rig.replies.get(second)).toMatchObject({ kind: "error", error: { code: "DOMAIN_FAILED" } });
  });
});

describe("consumer groups: members", () => {
  it("G4: share slots evenly, and a newcomer takes no more than its part", async () => {
    const rig = await rigWith();
    const counts = () => rig.list()[0]!.members.map(({ slots }) => slots);
    for (let i = 1; i <= 5; i++) {
      rig.poll({ member: `m-${i}` });
      await rig.settle();
      const total = counts();
      expect(total.reduce((a, b) => a + b)).toBe(32);
      expect(Math.max(...total) - Math.min(...total)).toBeLessThanOrEqual(1);
    }
    rig.poll({ member: "m-2", act: "leave", turn: 2, limit: 0 });
    await rig.settle();
    expect(counts()).toEqual([8, 8, 8, 8]);
  });

  it("G2: a slot goes to another only when its owner has dealt with what it holds of it", async () => {
    const entities = entitiesBySlot(32);
    const rig = await rigWith(...entities.map((entity) => credit(entity, 1)));
    const mine = rig.poll({ member: "m-1" });
    await rig.settle();
    expect(rig.amounts(mine)).toHaveLength(32);
    const theirs = rig.poll({ member: "m-2" });
    await rig.settle();
    expect(rig.replies.has(theirs)).toBe(false);
    // A sign of life, with the first ten dealt with: what was asked back is not among the slots that it may go on with.
    const page = rig.page(mine);
    const alive = rig.poll({ turn: 2, limit: 0, done: doneOf(page, 10), holds: slotsOf(page, 10) });
    await rig.settle();
    const { slots } = rig.page(alive);
    expect(countBits(slots)).toBeLessThanOrEqual(16);
    expect(countBits(slots) + rig.list()[0]!.members[1]!.slots).toBeLessThanOrEqual(32);
    // It gives back what it does not have in hand: all but its own.
    rig.poll({ turn: 3, limit: 0, holds: (slotsOf(page, 10) & slots) >>> 0 });
    await rig.settle();
    expect(rig.list()[0]!.members.map(({ slots }) => slots)).toEqual([16, 16]);
    const given = rig.page(theirs).page.events.map(({ event }) => slotOfEntity(event.entity));
    expect(given.filter((slot) => (slots & (1 << slot)) !== 0)).toEqual([]);
  });

  it("C3: one that is silent for 10 s loses its slots, and hears of it", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    rig.poll({ member: "m-1" });
    await rig.settle();
    const theirs = rig.poll({ member: "m-2", waitMs: 25_000 });
    await rig.after(10_000);
    expect(rig.replies.has(theirs)).toBe(false);
    await rig.after(1);
    expect(rig.amounts(theirs)).toEqual([1]);
    expect(refusal(() => rig.poll({ member: "m-1", act: "poll", turn: 2 })).code).toBe("GROUP_MEMBER_LOST");
  });

  it("C3: one that waits, or says that it lives, keeps them", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    const first = rig.poll({ member: "m-1" });
    await rig.settle();
    const holds = slotsOf(rig.page(first));
    for (let turn = 2; turn < 8; turn++) {
      rig.poll({ member: "m-1", act: "poll", turn, limit: 0, holds });
      await rig.after(9_000);
    }
    const waits = rig.poll({ member: "m-1", act: "poll", turn: 8, waitMs: 25_000, done: doneOf(rig.page(first)) });
    await rig.after(24_000);
    expect(rig.replies.has(waits)).toBe(false);
    await rig.after(1_000);
    expect(rig.page(waits).slots).toBe(2 ** 32 - 1);
  });

  it("C3: one whose connection is lost has 10 s to come back", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    rig.poll({ waitMs: 25_000, from: "now" }, 7);
    await rig.settle();
    rig.coordinator.connectionClosed(7);
    await rig.after(9_000);
    const back = rig.poll({ act: "poll", turn: 2, waitMs: 25_000 }, 8);
    await rig.logs.write(0, credit("account/alice", 2));
    await rig.settle();
    expect(rig.amounts(back)).toEqual([2]);
  });

  it("G2: those of before a crash keep what they had, until they are silent for too long", async () => {
    const rig = await rigWith(credit("account/alice", 1), credit("account/bob", 2));
    const first = rig.poll({ member: "m-1", limit: 1 });
    await rig.settle();
    rig.crash();
    const theirs = rig.poll({ member: "m-2", waitMs: 25_000 });
    await rig.settle();
    expect(rig.replies.has(theirs)).toBe(false);
    // It goes on as if nothing had been: what it says that it has dealt with counts.
    const second = rig.poll({ member: "m-1", act: "poll", turn: 2, done: doneOf(rig.page(first)) });
    await rig.settle();
    expect([second, theirs].filter((call) => rig.replies.has(call)).flatMap((call) => rig.amounts(call))).toEqual([2]);
    rig.crash();
    const other = rig.poll({ member: "m-3", waitMs: 25_000 });
    await rig.after(10_001);
    expect(rig.amounts(other)).toEqual([2]);
  });

  it("leaving gives back at once what it did not deal with, and may be said twice", async () => {
    const rig = await rigWith(credit("account/alice", 1, 2));
    const first = rig.poll({ member: "m-1" });
    await rig.settle();
    const theirs = rig.poll({ member: "m-2" });
    rig.poll({ member: "m-1", act: "leave", turn: 2, limit: 0, done: doneOf(rig.page(first), 1) });
    await rig.settle();
    expect(rig.amounts(theirs)).toEqual([2]);
    const twice = rig.poll({ member: "m-1", act: "leave", turn: 2, limit: 0 });
    await rig.settle();
    expect(rig.page(twice).slots).toBe(0);
  });

  it("beyond the number of slots stand by, and beyond 256 are told that the group is full", async () => {
    const rig = await rigWith();
    for (let i = 0; i < 256; i++) rig.poll({ member: `m-${i}` });
    await rig.settle();
    expect(rig.list()[0]!.members.filter(({ slots }) => slots === 1)).toHaveLength(32);
    expect(refusal(() => rig.poll({ member: "one-more" })).code).toBe("OVERLOADED");
  });
});

describe("consumer groups: bad input changes nothing (P7)", () => {
  it("a member that asks for other events is told what the group is for", async () => {
    const rig = await rigWith();
    rig.poll({ kind: "account", types: ["Credited", "Debited"] });
    rig.poll({ member: "m-2", kind: "account", types: ["Debited", "Credited"] });
    const error = refusal(() => rig.poll({ member: "m-3", kind: "account" }));
    expect(error.code).toBe("INVALID_REQUEST");
    expect(error.message).toContain('{"kind":"account","types":["Credited","Debited"]}');
  });

  it("refuses aggregates and types that the domain does not have, and makes no group for them", async () => {
    const rig = await rigWith();
    expect(refusal(() => rig.poll({ aggregate: "Acount" })).code).toBe("UNKNOWN_AGGREGATE");
    expect(refusal(() => rig.poll({ types: ["Credted"] })).code).toBe("UNKNOWN_EVENT_TYPE");
    expect(rig.list()).toEqual([]);
  });

  it("refuses a place that is none, and takes nothing of that poll", async () => {
    const rig = await rigWith(credit("account/alice", 1), credit("account/bob", 2));
    const first = rig.poll();
    await rig.settle();
    const [good] = doneOf(rig.page(first), 1);
    const bad = [
      { ...good!, record: 2 ** 40 },
      { ...good!, record: good!.record + 1, skip: 0 },
      { ...good!, shard: 1 },
    ];
    for (const place of bad) {
      expect(refusal(() => rig.poll({ turn: 2, done: [good!, place] })).code).toBe("INVALID_REQUEST");
    }
    const again = rig.poll({ turn: 2 });
    await rig.settle();
    expect(rig.amounts(again)).toEqual([1, 2]);
  });

  it("takes no place of a slot that is with somebody else", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    const first = rig.poll({ member: "m-1" });
    await rig.settle();
    rig.poll({ member: "m-2", limit: 0, done: doneOf(rig.page(first)) });
    const again = rig.poll({ member: "m-1", turn: 2 });
    await rig.settle();
    rig.poll({ member: "m-2", act: "leave", limit: 0, turn: 2 });
    await rig.settle();
    expect(rig.amounts(again)).toEqual([1]);
  });

  it("refuses a 257th group", async () => {
    const rig = await rigWith();
    for (let i = 0; i < 256; i++) rig.poll({ group: `group-${i}` });
    await rig.settle();
    expect(refusal(() => rig.poll({ group: "one-more" })).code).toBe("INVALID_REQUEST");
  });
});

describe("consumer groups: an operator", () => {
  it("sees what a group is for, its members, and how far it is", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    const end = rig.logs.feed.end(0);
    const first = rig.poll({ kind: "account" });
    await rig.settle();
    expect(rig.list()).toEqual([
      {
        group: "billing",
        kind: "account",
        madeAt: 1_700_000_000_000,
        members: [{ member: "m-1", slots: 32, state: "working", silentMs: 0 }],
        shards: [{ shard: 0, position: 0, end }],
        lagBytes: end,
      },
    ]);
    rig.poll({ turn: 2, done: doneOf(rig.page(first)) });
    await rig.settle();
    expect(rig.list()[0]).toMatchObject({ members: [{ state: "waiting" }], shards: [{ position: end }], lagBytes: 0 });
    expect(rig.coordinator.stats()).toEqual([{ group: "billing", members: 1, lagBytes: 0 }]);
  });

  it("forgets a group that has no members, for good", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    const first = rig.poll();
    await rig.settle();
    expect(refusal(() => rig.forget()).code).toBe("INVALID_REQUEST");
    rig.poll({ act: "leave", turn: 2, limit: 0, done: doneOf(rig.page(first)) });
    await rig.settle();
    expect(rig.forget()).toBe(true);
    expect(rig.forget()).toBe(false);
    rig.crash();
    expect(rig.list()).toEqual([]);
    const anew = rig.poll();
    await rig.settle();
    expect(rig.amounts(anew)).toEqual([1]);
  });

  it("places that moved over what nobody asked for are kept, too, a little later", async () => {
    const rig = await rigWith();
    rig.poll({ kind: "wallet", waitMs: 25_000 });
    await rig.settle();
    await rig.logs.write(0, credit("account/alice", 1));
    await rig.settle();
    const end = rig.logs.feed.end(0);
    await rig.after(5_000);
    rig.crash();
    expect(rig.list()[0]!.shards).toEqual([{ shard: 0, position: end, end }]);
  });

  it("begins at the end of a log that has lost what the group had dealt with, and leaves nothing out then", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    const end = rig.logs.feed.end(0);
    for (const place of [
      { record: end + 8_192, skip: 0 },
      { record: end, skip: 2 },
    ]) {
      const name = `at-${place.record}`;
      const group = { name, filter: { kind: "", aggregate: "", types: [] }, madeAt: 1 };
      const [owners, places] = [new Array<string>(32).fill(""), [new Array<typeof place>(32).fill(place)]];
      rig.store.write([{ kind: "made", group: { ...group, owners, places } }]);
    }
    rig.crash();
    const polls = rig.list().map(({ group }) => rig.poll({ group }));
    await rig.settle();
    await rig.logs.write(0, credit("account/alice", 2, 3));
    await rig.settle();
    expect(polls.map((poll) => rig.amounts(poll))).toEqual([
      [2, 3],
      [2, 3],
    ]);
  });

  it("whoever waits when the node closes is told to ask again, and what was said is kept", async () => {
    const rig = await rigWith(credit("account/alice", 1));
    const first = rig.poll();
    await rig.settle();
    const second = rig.poll({ turn: 2, done: doneOf(rig.page(first)) });
    rig.coordinator.close();
    expect(rig.replies.get(second)).toMatchObject({ kind: "error", error: { code: "SHARD_STOPPED" } });
    rig.crash();
    const third = rig.poll({ act: "poll", turn: 3, waitMs: 0 });
    await rig.settle();
    expect(rig.amounts(third)).toEqual([]);
  });
});
