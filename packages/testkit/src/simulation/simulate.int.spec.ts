// Goal: a domain's own workload runs under faults that its seed repeats, and what the node gets wrong is told.
// Elsewhere: Heddle's own simulator over the bank, with planted bugs (test/simulation).
import { defineAggregate, defineContext, event } from "@heddle/domain";
import { frameOffset, replyKind } from "@heddle/protocol/internal";
import { replyBlockHeaderBytes } from "@heddle/runtime/internal";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { simulate } from "./simulate.ts";
import type { SimulatedWorld, SimulateOptions } from "./simulation.ts";
import { runSimulation } from "./simulation-run.ts";

const Counter = defineAggregate("Counter", {
  version: 1,
  initial: () => ({ sum: 0 }),
  events: { Added: event(z.object({ by: z.number().int() }), (s, e) => ({ sum: s.sum + e.by })) },
  commands: {},
});
const counters = defineContext("counters", { aggregates: [Counter] });
type Counters = typeof counters;
type World = SimulatedWorld<Counters>;

/** Adds so many times, at some of five counters, and looks now and then. */
async function addMany(world: World, times = 60): Promise<void> {
  const client = world.client({ timeoutMs: 60_000 });
  for (let i = 0; i < times; i++) {
    const counter = client.entity(`counter/${world.below(5)}`);
    try {
      if (world.below(4) === 0) await counter.get("Counter");
      else await counter.append("Added", { by: 1 });
    } catch (error) {
      world.note(`was told ${(error as Error).message}`);
    }
    await world.sleep(world.below(30));
  }
}

const simulateCounters = (options: Partial<SimulateOptions<Counters>>) =>
  simulate<Counters>({ context: counters, seed: 1, workload: (world) => addMany(world), ...options });

describe("simulate", { timeout: 240_000 }, () => {
  it("gives the same trace for the same seed, and another one for another seed", async () => {
    const [first, again, other] = [
      await simulateCounters({ seed: 41 }),
      await simulateCounters({ seed: 41 }),
      await simulateCounters({ seed: 42 }),
    ];
    expect(again.trace).toEqual(first.trace);
    expect(again.traceHash).toBe(first.traceHash);
    expect(other.traceHash).not.toBe(first.traceHash);
    expect(first.trace.length).toBeGreaterThan(100);
  });

  it("does not depend on what else runs in the process", async () => {
    const alone = await simulateCounters({ seed: 9 });
    const together = await Promise.all([9, 10, 9].map((seed) => simulateCounters({ seed })));
    expect(together.map(({ traceHash }) => traceHash === alone.traceHash)).toEqual([true, false, true]);
  });

  it("lets happen what it was told to, and nothing else", async () => {
    const calm = await simulateCounters({ faults: {} });
    expect(calm).toMatchObject({ ok: true, violations: [], counts: { lostThreads: 0 } });
    const wild = await simulateCounters({ faults: { crashes: 4, lostThreads: 6 } });
    expect(wild).toMatchObject({ ok: true, violations: [] });
    expect(wild.counts.crashes).toBeGreaterThan(2);
    expect(wild.counts.lostThreads).toBeGreaterThan(2);
  });

  it("P2 P5 finds nothing wrong with the node over many seeds", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { violations } = await simulateCounters({ seed });
      expect(violations, `seed ${seed}`).toEqual([]);
    }
  });

  it("reports what a workload or a check throws, and what they say themselves", async () => {
    const thrown = await simulateCounters({
      workload: async (world) => {
        world.violation("the workload saw something");
        throw new Error("the workload broke");
      },
      check: async () => {
        throw new Error("the check broke");
      },
    });
    expect(thrown.ok).toBe(false);
    expect(thrown.violations.map((text) => text.split("\n")[0])).toEqual([
      "the workload saw something",
      "the workload threw Error: the workload broke",
      "the check threw Error: the check broke",
    ]);
  });

  it("reports a workload that waits for what never comes", async () => {
    const { violations } = await simulateCounters({ workload: () => new Promise(() => {}) });
    expect(violations).toEqual([expect.stringMatching(/^the workload had not ended after/)]);
  });

  it("cuts the power when the workload asks for it, and keeps what was acknowledged", async () => {
    const result = await simulateCounters({
      faults: {},
      workload: async (world) => {
        const counter = world.client().entity("counter/1");
        for (let i = 0; i < 5; i++) {
          await counter.append("Added", { by: 1 });
          await world.crash("some");
        }
        const { state, seq } = await counter.get("Counter");
        if (state.sum !== 5 || seq !== 5) world.violation(`found ${state.sum} at ${seq}`);
      },
    });
    expect(result).toMatchObject({ ok: true, violations: [] });
    expect(result.counts.crashes).toBeGreaterThanOrEqual(5);
  });

  it("refuses a seed that is none", async () => {
    await expect(simulateCounters({ seed: -1 })).rejects.toThrow(/a seed is a whole number/);
    await expect(simulateCounters({ seed: 1.5 })).rejects.toThrow(/a seed is a whole number/);
  });
});

describe("simulate: its own audit", () => {
  const planted = (inner: Parameters<typeof runSimulation>[1]) =>
    runSimulation<Counters>({ context: counters, seed: 4, faults: {}, workload: (world) => addMany(world) }, inner);

  it("P2 finds that what was acknowledged is lost", async () => {
    const { violations } = await planted({ seams: () => ({ liesAboutSync: () => true }) });
    expect(violations).toContainEqual(expect.stringMatching(/^P2 .* was acknowledged|cannot open its shards/));
  });

  it("finds an answer that never came", async () => {
    let replies = 0;
    const { violations } = await planted({
      seams: () => ({ replies: (packed) => (++replies === 20 ? undefined : packed) }),
    });
    expect(violations).toEqual(["1 requests of clients were never answered"]);
  });

  /** Flips a bit of the values that readers are given, as long as there are faults. */
  const spoiling = (placeIn: (reply: Buffer) => number): Parameters<typeof runSimulation>[1] => ({
    seams: ({ isOn }) => ({
      replies: (packed) => {
        const isValue = packed[replyBlockHeaderBytes + frameOffset.kind] === replyKind.value;
        if (!isOn() || !isValue) return packed;
        const wrong = packed.slice();
        wrong[placeIn(Buffer.from(packed))]! ^= 0x40;
        return wrong;
      },
    }),
  });

  it("P5 finds a state that the history does not add up to", async () => {
    // A state is { sum: n }, and n a byte behind its name.
    const { violations } = await planted(spoiling((reply) => reply.indexOf("sum") + 3));
    expect(violations).toContainEqual(expect.stringMatching(/^P5 a reader of counter\/\d was given \{"sum":6\d\}/));
  });

  it("P5 finds a sequence that the history does not have", async () => {
    // The last byte of the value is the sequence.
    const { violations } = await planted(spoiling((reply) => reply.length - 1));
    expect(violations).toContainEqual(expect.stringMatching(/^P5 a reader of counter\/\d was given sequence 6\d/));
  });
});
