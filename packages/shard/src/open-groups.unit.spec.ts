// Goal: chains go on group by group behind the replies (G2), and few groups wait for theirs (P8).
// Method: a real log on the simulated disk, whose syncs return one by one; an entity of its own for each group.
import { type DurableGroup, EventLog } from "@heddle/event-log/internal";
import type { EntityId } from "@heddle/kernel";
import { SimulatedDisk, seededRandom } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import type { Activation } from "./activation.ts";
import { Entity } from "./entity.ts";
import { HashChain } from "./hash-chain.ts";
import { OpenGroups } from "./open-groups.ts";
import type { ReplySink } from "./waiting-replies.ts";

const head = { seq: 0, position: 0, time: 0, chain: "", baseSeq: 0, alarm: undefined, inlineExtents: undefined };

function open() {
  const disk = new SimulatedDisk();
  disk.holdSyncs();
  const log = EventLog.open({
    disk,
    folder: "/log",
    shard: 0,
    clock: { now: () => 1_000, monotonic: () => 0 },
    random: seededRandom(1),
    durability: "fsync",
    knownEnd: 0,
    replayFrom: 0,
    onEntry: () => {},
  });
  // Nobody is answered here, and no entity comes to its end.
  const groups = new OpenGroups(log, new HashChain(), {} as Activation, {} as ReplySink);
  const memories = new Set<DurableGroup["memory"]>();
  log.onDurable = (group) => {
    memories.add(group.memory);
    groups.chainLater(group, groups.release(0));
  };
  /** A group with one entry of so many bytes becomes durable. */
  const write = (n: number, bodyBytes: number): Entity => {
    const entity = new Entity(`account/${n}` as EntityId, head);
    const { bytes, at } = log.reserve(bodyBytes);
    bytes.fill(n, at, at + bodyBytes);
    const entry = {
      flags: 0,
      firstSeq: 1,
      time: 1,
      fingerprint: 0,
      session: 0,
      call: 0,
      eventCount: 1,
      payloadsOffset: 0,
    };
    entity.extend(1, log.add(entry, bodyBytes), 1);
    groups.entities.push(entity);
    groups.flush();
    disk.returnNextSync();
    return entity;
  };
  return { groups, memories, write };
}

const chained = (entities: readonly Entity[]) => entities.filter(({ chainedSeq }) => chainedSeq === 1).length;

describe("G2: hash chains behind the replies", () => {
  it("go on one group at a time, the oldest first", () => {
    const { groups, write } = open();
    const entities = [0, 1, 2].map((n) => write(n, 100));
    expect([chained(entities), groups.isChained]).toEqual([0, false]);
    groups.chainNext();
    expect(entities.map(({ chainedSeq }) => chainedSeq)).toEqual([1, 0, 0]);
    groups.chainAll();
    expect([chained(entities), groups.isChained]).toEqual([3, true]);
    groups.chainNext();
    expect(new Set(entities.map(({ chain }) => chain)).size).toBe(3);
  });

  it("P8: let few groups wait, and their memory is used again", () => {
    const { memories, write } = open();
    const entities = Array.from({ length: 50 }, (_, n) => write(n, 100));
    expect(chained(entities)).toBe(46);
    expect(memories.size).toBeLessThan(8);
  });

  it("P8: let no large group wait", () => {
    const { groups, write } = open();
    const small = write(0, 100);
    const large = write(1, 1 << 20);
    expect([chained([small, large]), groups.isChained]).toEqual([2, true]);
  });
});
