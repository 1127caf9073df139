// Goal: who follows an entity sees its history, each event once and in order, under any schedule of faults: power cuts, lost
// threads and connections, disks that fail or are full, clocks that jump (P2, P5).
//
// Method: the simulator, with a few entities that several clients write to, also in transactions, and readers who begin
// anywhere, leave and come again behind what they saw. In the end each reader's list is held against the history.
import { defaultShardLimits } from "@heddle/shard/internal";
import type { SimulatedWorld } from "@heddle/testkit";
import { Chance, runSimulation } from "@heddle/testkit/internal";
import { describe, expect, it } from "vitest";
import { accounts, type Bank, bank } from "./bank-domain.ts";

const entities = accounts.slice(0, 4);
const [writers, steps, readersOfEach] = [3, 25, 3];

type World = SimulatedWorld<Bank>;

class Followers {
  readonly #world: World;
  /** By reader: the entity, where it began, and the sequences that it saw. */
  readonly seen: { readonly entity: string; readonly from: number; readonly seqs: number[] }[] = [];
  #isOver = false;

  constructor(world: World) {
    this.#world = world;
  }

  async work(): Promise<void> {
    const readers = entities.flatMap((entity) => Array.from({ length: readersOfEach }, () => this.#read(entity)));
    await Promise.all(Array.from({ length: writers }, () => this.#write()));
    await this.#settled();
    this.#isOver = true;
    await Promise.all(readers);
  }

  async #write(): Promise<void> {
    const db = this.#world.client({ timeoutMs: 20_000 });
    for (let step = 0; step < steps; step++) {
      const [one, other] = [this.#anyEntity(), this.#anyEntity()];
      const event = () => ({ amount: 1 + this.#world.below(9), marker: `${this.#world.below(1e9)}` });
      try {
        if (one !== other && this.#world.below(4) === 0) {
          await db.transaction(async (tx) => {
            tx.append(one, "Credited", event(), { aggregate: "Account" });
            tx.append(other, "Credited", event(), { aggregate: "Account" });
          });
        } else await db.entity(one).append("Credited", event(), { aggregate: "Account" });
      } catch (error) {
        this.#world.note(`a write has an unknown outcome: ${(error as Error).message}`);
      }
      await this.#world.sleep(this.#world.below(200));
    }
    await db.close();
  }

  async #read(entity: string): Promise<void> {
    const seqs: number[] = [];
    const from = 1 + this.#world.below(3);
    this.seen.push({ entity, from, seqs });
    const db = this.#world.client();
    while (!this.#isOver) {
      await this.#world.sleep(this.#world.below(500));
      const events = db.entity(entity).subscribe("Account", { from: (seqs.at(-1) ?? from - 1) + 1 });
      // Some are left while they wait, some after an event.
      const patience = this.#world.sleep(500 + this.#world.below(5_000)).then(() => events.return());
      for await (const { seq } of events) seqs.push(seq);
      await patience;
    }
    await db.close();
  }

  /** Until every reader has seen the end of its history. */
  async #settled(): Promise<void> {
    const db = this.#world.client();
    for (const { entity, from, seqs } of this.seen) {
      for (;;) {
        const [newest] = await db
          .entity(entity)
          .history(1)
          .catch(() => [undefined]);
        if (newest !== undefined && (seqs.at(-1) ?? from - 1) >= newest.seq) break;
        await this.#world.sleep(250);
      }
    }
    await db.close();
  }

  async check(world: World): Promise<void> {
    const db = world.client();
    for (const { entity, from, seqs } of this.seen) {
      const history: number[] = [];
      for await (const { seq } of db.entity(entity).events({ aggregate: "Account" })) history.push(seq);
      const wanted = history.filter((seq) => seq >= from);
      if (wanted.join() !== seqs.join())
        world.violation(`a reader of ${entity} saw ${seqs}, its history has ${wanted}`);
    }
    await db.close();
  }

  #anyEntity(): string {
    return entities[this.#world.below(entities.length)]!;
  }
}

function run(seed: number) {
  let followers: Followers | undefined;
  const chance = new Chance(seed).fork("limits");
  const limits = {
    activeEntitiesMax: chance.pick([2, 8, defaultShardLimits.activeEntitiesMax]),
    segmentBytes: chance.pick([2 << 10, defaultShardLimits.segmentBytes]),
    checkpointIntervalMs: chance.pick([50, 500, defaultShardLimits.checkpointIntervalMs]),
  };
  return runSimulation<Bank>(
    {
      context: bank,
      seed,
      workload: async (world) => {
        followers = new Followers(world);
        await followers.work();
      },
      check: (world) => followers!.check(world),
    },
    { limits },
  );
}

describe("simulation: subscriptions to entities", { timeout: 240_000 }, () => {
  it("P2 P5 every reader has the history, over forty seeds", async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const { violations } = await run(seed);
      expect(violations, `seed ${seed}`).toEqual([]);
    }
  });

  it("is the same for the same seed, and has what it is about", async () => {
    const traces = [];
    for (let seed = 1; seed <= 10; seed++) traces.push((await run(seed)).trace);
    expect((await run(3)).trace).toEqual(traces[2]);
    const text = traces.flat().join("\n");
    const wanted = ["watch #", "the power fails", "is lost", "a sync will fail", "hold #"];
    expect(wanted.filter((what) => !text.includes(what))).toEqual([]);
  });
});
