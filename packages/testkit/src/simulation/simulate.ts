// simulate: a domain's entities and clients under everything that can go wrong, out of one seed; the same seed gives the same
// trace, event for event, in any process and on any machine.
import type { AnyContext } from "@heddle/domain";
import type { SimulateOptions, SimulationResult } from "./simulation.ts";

/**
 * Runs one simulation: a node with its shards, threads and disks, the clients of the workload, and faults between them.
 *
 * Errors: throws for options that make no sense. Whatever goes wrong in the simulation is a violation in its result.
 */
export async function simulate<C extends AnyContext>(options: SimulateOptions<C>): Promise<SimulationResult> {
  // Only now: who tests a rule with `given` needs no node.
  const { runSimulation } = await import("./simulation-run.ts");
  return runSimulation(options);
}
