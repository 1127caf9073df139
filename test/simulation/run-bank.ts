// One simulation of the bank, from one seed.
import { defaultShardLimits } from "@heddle/shard/internal";
import { Chance, type InnerOptions, runSimulation, type SimulationResult } from "@heddle/testkit/internal";
import { checkBank } from "./bank-check.ts";
import { BankClients } from "./bank-clients.ts";
import { type Bank, bank } from "./bank-domain.ts";
import { type BugName, seamsOf } from "./bugs.ts";

export interface BankRunOptions {
  readonly seed: number;
  readonly bug?: BugName | undefined;
}

export async function runBank({ seed, bug }: BankRunOptions): Promise<SimulationResult> {
  let clients: BankClients | undefined;
  return runSimulation<Bank>(
    {
      context: bank,
      seed,
      workload: async (world) => {
        clients = new BankClients(world, { clients: 4, steps: 25 });
        await clients.work();
      },
      check: (world) => checkBank(world, clients!),
    },
    { limits: drawLimits(new Chance(seed).fork("limits")), ...(bug === undefined ? {} : { seams: seamsOf(bug) }) },
  );
}

/** Some shards keep hardly anything in memory, roll their logs all the time, or write checkpoints without end. */
function drawLimits(chance: Chance): NonNullable<InnerOptions["limits"]> {
  const ordinary = defaultShardLimits;
  return {
    activeEntitiesMax: chance.pick([2, 8, ordinary.activeEntitiesMax]),
    segmentBytes: chance.pick([2 << 10, 16 << 10, ordinary.segmentBytes]),
    checkpointBytes: chance.pick([1 << 10, 8 << 10, ordinary.checkpointBytes]),
    checkpointIntervalMs: chance.pick([50, 500, ordinary.checkpointIntervalMs]),
    lingerMs: chance.pick([0, 0, 1]),
  };
}
