// PartitionProbe: reads all of a partition, in a process of its own.
//
// LMDB keeps no checksums of its tree and believes what it maps: some garbage kills the process that reads it. So
// `heddle doctor` does not read partitions itself; it starts this file, which prints what it found as one line of JSON.
// Arguments: the partition's folder, its shard.
import { fileURLToPath } from "node:url";
import { HeddleError } from "@heddle/kernel";
import { openPartitionReadOnly } from "@heddle/partition/internal";

export interface ProbedPartition {
  readonly coveredPosition: number;
  readonly entities: number;
  /** The greatest position that a head names. */
  readonly newestPosition: number;
  readonly snapshots: number;
  readonly appendIds: number;
  readonly sessions: number;
}

export type ProbeAnswer =
  | { readonly ok: true; readonly found: ProbedPartition }
  | { readonly ok: false; readonly problem: string };

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, shard] = process.argv.slice(2);
  console.log(JSON.stringify(await probe(folder!, Number(shard))));
}

async function probe(folder: string, shard: number): Promise<ProbeAnswer> {
  try {
    const partition = openPartitionReadOnly({ folder, shard });
    try {
      const { coveredPosition } = partition;
      let entities = 0;
      let newestPosition = 0;
      let snapshots = 0;
      for (const { entity, head } of partition.entities()) {
        entities++;
        newestPosition = Math.max(newestPosition, head.position);
        snapshots += partition.snapshots(entity).length;
        let reached = 0;
        for (const extent of partition.extents(entity, 1, "forward")) reached = extent.firstSeq + extent.count - 1;
        if (reached < head.seq)
          return { ok: false, problem: `the extents of ${entity} end at ${reached}, its head is ${head.seq}` };
      }
      const appendIds = count(partition.appendIds());
      const sessions = count(partition.sessions());
      return { ok: true, found: { coveredPosition, entities, newestPosition, snapshots, appendIds, sessions } };
    } finally {
      await partition.close();
    }
  } catch (error) {
    return { ok: false, problem: error instanceof HeddleError ? error.message : String(error) };
  }
}

function count(iterable: Iterable<unknown>): number {
  let found = 0;
  for (const _ of iterable) found++;
  return found;
}
