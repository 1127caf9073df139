// Goal: whatever members do, whatever is lost on the way, and however often the node dies: G1, G2, and at least once.
// Method: members by script, which do what the SDK promises (M1 to M4 of group-subscription.ts) and nothing more, are moved in
// an order that a seed chooses: they join, work, say that they live, leave, are frozen; polls and answers are lost; the
// coordinator dies and begins anew from its store, while writers append. Checked at each event that a member takes in hand,
// and when all has come to rest.
import { type EntityId, HeddleError, shardOf } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import {
  type FeedEvent,
  type GroupPlace,
  groupSilenceMs,
  type Reply,
  readGroupPage,
  slotOfEntity,
} from "@heddle/protocol/internal";
import { seededRandom } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { credit, WrittenLogs } from "../written-logs.spec-support.ts";
import { type Given, GroupRig } from "./group-rig.spec-support.ts";

class Chance {
  readonly #random: { safeInteger(): number };

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  below(bound: number): number {
    return this.#random.safeInteger() % bound;
  }

  of(percent: number): boolean {
    return this.below(100) < percent;
  }
}

/** What has become of each entity's events, whoever had them. */
class Ledger {
  readonly #written = new Map<string, number>();
  /** Somebody has dealt with all up to here. */
  readonly #finished = new Map<string, number>();
  /** And the node has said that it knows. */
  readonly #confirmed = new Map<string, number>();

  wrote(entity: string, count: number): void {
    this.#written.set(entity, (this.#written.get(entity) ?? 0) + count);
  }

  began({ entity, seq }: FeedEvent): void {
    invariant(seq <= (this.#finished.get(entity) ?? 0) + 1, "G1: none left out", { entity, seq });
    invariant(seq > (this.#confirmed.get(entity) ?? 0), "what is confirmed does not come again", { entity, seq });
  }

  finished({ entity, seq }: FeedEvent): void {
    this.#finished.set(entity, Math.max(seq, this.#finished.get(entity) ?? 0));
  }

  confirmed({ entity, seq }: FeedEvent): void {
    this.#confirmed.set(entity, Math.max(seq, this.#confirmed.get(entity) ?? 0));
  }

  get isAllFinished(): boolean {
    return [...this.#written].every(([entity, count]) => this.#finished.get(entity) === count);
  }
}

class World {
  readonly chance: Chance;
  readonly ledger = new Ledger();
  readonly rig: GroupRig;
  readonly members = new Set<ScriptedMember>();
  readonly #shardCount: number;
  #nextMember = 1;
  #connections = 1;

  constructor(seed: number) {
    this.chance = new Chance(seed);
    this.#shardCount = [1, 2, 3, 4][this.chance.below(4)]!;
    // With short slices, slots that are behind have turns of their own.
    const sliceBytes = [undefined, 64, 700][this.chance.below(3)];
    this.rig = new GroupRig(new WrittenLogs(this.#shardCount), sliceBytes);
  }

  newConnection(): number {
    return this.#connections++;
  }

  join(): ScriptedMember {
    const member = new ScriptedMember(this, `m-${this.#nextMember++}`);
    this.members.add(member);
    return member;
  }

  newId(): string {
    return `m-${this.#nextMember++}`;
  }

  async write(): Promise<void> {
    const shards = new Set<number>();
    for (let i = this.chance.below(4); i >= 0; i--) {
      const entity = `account/${this.chance.below(12)}`;
      const shard = shardOf(entity as EntityId, this.#shardCount);
      const amounts = Array.from({ length: 1 + this.chance.below(3) }, () => 1);
      this.rig.logs.add(shard, credit(entity, ...amounts));
      this.ledger.wrote(entity, amounts.length);
      shards.add(shard);
    }
    for (const shard of shards) await this.rig.logs.commit(shard);
  }

  /** G2, and M3 of the members. */
  checkAlone(member: ScriptedMember, { event, slot }: Given): void {
    for (const other of this.members) {
      if (other === member || other.inHand?.slot !== slot || other.mayBeTakenForDead) continue;
      throw new Error(`${member.id} and ${other.id} both work at slot ${slot}, ${event.entity}`);
    }
  }

  async step(): Promise<void> {
    const { chance, rig } = this;
    const members = [...this.members];
    const member = members[chance.below(Math.max(1, members.length))];
    const dice = chance.below(100);
    if (dice < 12) await this.write();
    else if (dice < 15 && members.length < 6) this.join();
    else if (dice < 16) rig.crash();
    else if (dice < 22) await rig.after(chance.below(1_500));
    else if (dice < 23) await rig.after(chance.below(12_000));
    else if (member !== undefined) member.step();
    // What was said and not written yet is lost, when the next step is a crash.
    if (chance.of(25)) return;
    if (chance.of(50)) rig.turn();
    else await rig.settle();
  }
}

/** What an SDK does, a step at a time. */
class ScriptedMember {
  readonly #world: World;
  id: string;
  #connection: number;
  #hasJoined = false;
  #turn = 0;
  #items: Given[] = [];
  inHand: Given | undefined;
  /** Of the newest poll that reached the node, and of the newest that was answered. */
  #saidMs = Number.NEGATIVE_INFINITY;
  #heardMs = 0;
  readonly #done = new Map<number, GroupPlace>();
  #doneEvents: FeedEvent[] = [];
  #slots = 0;
  /** The event in hand is one that it has no right to any more. */
  #isLost = false;
  #isAsking = false;
  #askedMs = 0;
  #frozenUntilMs = 0;

  constructor(world: World, id: string) {
    this.#world = world;
    this.id = id;
    this.#connection = world.newConnection();
  }

  get #now(): number {
    return this.#world.rig.now;
  }

  /** From the moment on when it was silent for so long. */
  get mayBeTakenForDead(): boolean {
    return this.#now - this.#saidMs > groupSilenceMs;
  }

  step(): void {
    const { chance } = this.#world;
    if (this.#now < this.#frozenUntilMs) return;
    if (chance.of(1)) this.#frozenUntilMs = this.#now + chance.below(30_000);
    else if (chance.of(2)) this.#leave();
    else if (this.#isAsking) this.#giveUp();
    else if (this.inHand !== undefined) {
      if (chance.of(60)) this.finish();
      else if (chance.of(50) && !this.#isLost) this.ask(0);
    } else this.goOn();
  }

  /** Asks for more, or takes the next in hand, as the SDK does. */
  goOn(): void {
    this.#isLost = false;
    if (this.#isAsking) return;
    if (this.#items.length === 0) this.ask(1 + this.#world.chance.below(5));
    else if (this.#now - this.#heardMs > groupSilenceMs - 2_000) this.ask(0);
    else {
      const item = this.#items.shift()!;
      this.#world.checkAlone(this, item);
      this.#world.ledger.began(item.event);
      this.inHand = item;
    }
  }

  finish(): void {
    const { event, slot, behind } = this.inHand!;
    this.#world.ledger.finished(event);
    this.inHand = undefined;
    // Of what the member was that is lost, the node wants to hear nothing.
    if (this.#isLost) return;
    this.#doneEvents.push(event);
    this.#done.set(slot, { slot, shard: event.shard, ...behind });
  }

  // The question took too long, or its connection was lost: it is asked again, and what comes of the first is not heard.
  #giveUp(): void {
    if (this.#now - this.#askedMs < 2_000 && !this.#world.chance.of(5)) return;
    this.#isAsking = false;
    if (!this.#world.chance.of(50)) return;
    this.#world.rig.coordinator.connectionClosed(this.#connection);
    this.#connection = this.#world.newConnection();
  }

  ask(limit: number): void {
    const { rig, chance } = this.#world;
    const turn = ++this.#turn;
    const done = [...this.#done.values()];
    const events = this.#doneEvents.slice();
    const askedMs = this.#now;
    this.#isAsking = true;
    this.#askedMs = askedMs;
    if (chance.of(4)) return;
    const act = this.#hasJoined ? "poll" : "join";
    const isAnswerLost = chance.of(6);
    const asked = {
      member: this.id,
      act,
      turn,
      limit,
      done,
      holds: this.holds,
      waitMs: 500 + chance.below(4_000),
    } as const;
    const id = this.id;
    const onReply = (reply: Reply) => {
      if (isAnswerLost || !this.#isAsking || turn !== this.#turn || id !== this.id) return;
      this.#isAsking = false;
      if (reply.kind !== "value") throw new Error(JSON.stringify(reply));
      this.#hasJoined = true;
      this.#heardMs = askedMs;
      for (const place of done) if (this.#done.get(place.slot) === place) this.#done.delete(place.slot);
      for (const event of events) this.#world.ledger.confirmed(event);
      this.#doneEvents = this.#doneEvents.filter((event) => !events.includes(event));
      const { slots, page } = readGroupPage(reply.value);
      this.#slots = slots;
      if (page.events.length > 0) {
        this.#items = page.events.map(({ event, behind }) => ({ event, behind, slot: slotOfEntity(event.entity) }));
      } else this.#items = this.#items.filter(({ slot }) => (this.#slots & (1 << slot)) !== 0);
    };
    try {
      rig.poll(asked, this.#connection, onReply);
      this.#saidMs = this.#now;
    } catch (error) {
      if (!(error instanceof HeddleError) || error.code !== "GROUP_MEMBER_LOST") throw error;
      this.#isAsking = false;
      this.#beginAnew();
    }
  }

  get holds(): number {
    let bits = this.inHand === undefined ? 0 : 1 << this.inHand.slot;
    for (const { slot } of this.#items) bits |= 1 << slot;
    return bits >>> 0;
  }

  #beginAnew(): void {
    this.id = this.#world.newId();
    this.#hasJoined = false;
    this.#isLost = this.inHand !== undefined;
    this.#items = [];
    this.#done.clear();
    this.#doneEvents = [];
  }

  #leave(): void {
    this.inHand = undefined;
    this.#world.members.delete(this);
    const done = [...this.#done.values()];
    // A process that is killed says nothing.
    if (this.#world.chance.of(30)) return;
    const { rig } = this.#world;
    rig.poll({ member: this.id, act: "leave", turn: ++this.#turn, limit: 0, done }, this.#connection);
  }

  thaw(): void {
    this.#frozenUntilMs = 0;
    if (this.#isAsking && this.#now - this.#askedMs > 5_000) this.#isAsking = false;
  }
}

async function run(seed: number, steps: number): Promise<void> {
  const world = new World(seed);
  world.join();
  for (let i = 0; i < steps; i++) await world.step();
  // Then nothing fails any more, and all is dealt with.
  while (world.members.size < 3) world.join();
  const { rig, ledger } = world;
  world.chance.of = () => false;
  for (let round = 0; !(ledger.isAllFinished && rig.list()[0]!.lagBytes === 0 && round > 40); round++) {
    if (round > 4_000) throw new Error("it does not come to rest");
    for (const member of world.members) {
      member.thaw();
      if (member.inHand !== undefined) member.finish();
      member.goOn();
    }
    await rig.after(400);
  }
  const [group] = rig.list();
  const counts = group!.members.map(({ slots }) => slots);
  expect(counts.reduce((a, b) => a + b)).toBe(32);
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  expect(group!.lagBytes).toBe(0);
}

describe("consumer groups: any order of joins, work, silence, losses and crashes", () => {
  const runs = Number(process.env["HEDDLE_GROUP_RUNS"] ?? 25);
  const first = Number(process.env["HEDDLE_GROUP_SEED"] ?? 1);
  it("G1 G2: gives every event, in order, to one member at a time, until it is dealt with", async () => {
    for (let seed = first; seed < first + runs; seed++) {
      await run(seed, 400).catch((error: Error) => {
        throw new Error(`seed ${seed}: ${error.stack}`, { cause: error });
      });
    }
  });
});
