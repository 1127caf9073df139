// PartitionCheck: is an erased entity's index clean?
//
// A node answers a deletion before the checkpoint that drops its note of the erasure; so beside a running node that note
// is waited for. A folder without a partition has nothing to be looked at: one is made from the log.
import { setTimeout as sleep } from "node:timers/promises";
import { type DetachedReader, openPartitionReadOnly } from "@heddle/partition/internal";
import type { ErasureReceipt } from "@heddle/protocol";
import { partitionFolderOf } from "../data-folder.ts";
import type { LeftoverList } from "./checks.ts";

export interface PartitionCheckOptions {
  readonly data: string;
  readonly receipt: ErasureReceipt;
  readonly leftovers: LeftoverList;
  /** How long an erasure that is under way is waited for. */
  readonly waitMs: number;
  /** Ends some time after it was called. Default: after a tenth of a second. */
  readonly pause?: (() => Promise<void>) | undefined;
}

const lookAgainMs = 100;

/** Errors: `PARTITION_DAMAGED`. */
export async function checkPartition(options: PartitionCheckOptions): Promise<void> {
  const { data, receipt, leftovers, waitMs, pause = () => sleep(lookAgainMs) } = options;
  const folder = partitionFolderOf(data, receipt.shard);
  const deadline = performance.now() + waitMs;
  // Opened for each look, so that nothing is held open while it waits.
  while (!(await looked(folder, receipt, leftovers, performance.now() >= deadline))) await pause();
}

/** Looks, unless an erasure is under way that may still be waited for: false then. */
async function looked(
  folder: string,
  receipt: ErasureReceipt,
  leftovers: LeftoverList,
  isLast: boolean,
): Promise<boolean> {
  const reader = openPartitionReadOnly({ folder, shard: receipt.shard });
  try {
    if (!isLast && stageOf(reader, receipt) !== undefined) return false;
    look(reader, folder, receipt, leftovers);
    return true;
  } finally {
    await reader.close();
  }
}

// A later erasure of the same entity is not this one's business.
function stageOf(reader: DetachedReader, { entity, seq }: ErasureReceipt): string | undefined {
  return reader.erasures().find((erasure) => erasure.entity === entity && erasure.seq <= seq)?.stage;
}

function look(reader: DetachedReader, folder: string, receipt: ErasureReceipt, leftovers: LeftoverList): void {
  const { entity, seq, position } = receipt;
  const stage = stageOf(reader, receipt);
  if (stage !== undefined) {
    const found = `an erasure under way, at the stage ${JSON.stringify(stage)}`;
    leftovers.add("partition/done", folder, found, "none; a running node goes on with it by itself");
  }
  const covered = reader.coveredPosition;
  const head = reader.head(entity);
  if (covered <= position) {
    leftovers.add("partition/current", folder, `the log up to position ${covered}`, `up to beyond ${position}`);
  } else if (head === undefined || head.baseSeq < seq) {
    const found = head === undefined ? "nothing of the entity" : `a life that began at sequence ${head.baseSeq}`;
    leftovers.add("partition/current", folder, found, `a tombstone at sequence ${seq} or later`);
  }
  const { snapshots, extents, appendIds } = reader.remnants(entity, { belowSeq: seq, belowPosition: position });
  for (const aggregate of snapshots) {
    leftovers.add("partition/snapshots", folder, `a snapshot of ${aggregate}`, `none up to sequence ${seq}`);
  }
  if (extents > 0) leftovers.add("partition/extents", folder, `places of ${extents} entries`, `none below ${seq}`);
  if (appendIds > 0) leftovers.add("partition/append-ids", folder, `${appendIds} append ids`, "digests only");
}
