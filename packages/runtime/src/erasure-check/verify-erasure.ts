// VerifyErasure: `heddle verify-erasure`. Proves once more, from a data folder's files, that an erased entity is gone (P6).
//
// Changes nothing, needs no domain module, and works beside a running node or on a folder that none has open.
// Not proved: what LMDB's file holds outside of its entries (a scrub overwrote what was there; every change since leaves
// bytes of other entities), what NATS, rqlite and MongoDB have, whose files are elsewhere (a receipt was waited for there), and
// what others copied meanwhile: see docs/how-to/erase-an-entity.md.
import fs from "node:fs";
import { type EntityId, HeddleError, shardOf } from "@heddle/kernel";
import type { ErasureReceipt } from "@heddle/protocol";
import { isInUse } from "../admin/doctor.ts";
import { shardLogBytes } from "../admin/existing-folder.ts";
import type { AdminProgress } from "../admin/shard-pool.ts";
import { keysFileOf, partitionFolderOf, readDataFolder } from "../data-folder.ts";
import { type ErasureCheck, erasureChecks, type Leftover, LeftoverList } from "./checks.ts";
import { checkKeys } from "./keys-check.ts";
import { checkLog } from "./log-check.ts";
import { checkPartition } from "./partition-check.ts";
import { checkReaders } from "./readers-check.ts";
import { readReceipt } from "./receipt.ts";

export interface VerifyErasureOptions {
  readonly data: string;
  /** As `delete` answered it. */
  readonly receipt: unknown;
  /** Default: keys/keys.sqlite in the data folder. */
  readonly keys?: string | undefined;
  /** Leftovers that are told whole; all are counted. Default 100. */
  readonly toldMax?: number;
  /** How long a running node is waited for that has not ended the erasure. Default 10 s. */
  readonly waitMs?: number;
  /** For tests: ends some time after it was called. */
  readonly pause?: (() => Promise<void>) | undefined;
  readonly onProgress?: ((progress: AdminProgress) => void) | undefined;
}

export interface ErasureProof {
  /** Every check holds. */
  readonly ok: boolean;
  readonly receipt: ErasureReceipt;
  /** Each check that was made, in order, and how much it found. */
  readonly checks: readonly { readonly check: ErasureCheck; readonly leftovers: number }[];
  readonly leftovers: readonly Leftover[];
  readonly leftoverTotal: number;
  /** Erased entries that were looked at. */
  readonly entries: number;
  readonly logBytes: number;
  /** False: there is none, and one that is made from this log has nothing of the entity. */
  readonly hasPartition: boolean;
  readonly tookMs: number;
}

/**
 * Errors: `INVALID_REQUEST`, `INVALID_ENTITY_ID` for a receipt that is none; `DATA_FOLDER_*`, also for a receipt of a folder
 * with another count of shards; `LOG_DAMAGED`, `PARTITION_DAMAGED`. What cannot be proved is told in the result.
 */
export async function verifyErasure(options: VerifyErasureOptions): Promise<ErasureProof> {
  const { data, toldMax = 100, waitMs = 10_000, pause, onProgress } = options;
  const startedAt = performance.now();
  const receipt = readReceipt(options.receipt);
  checkShard(data, receipt);
  const leftovers = new LeftoverList(toldMax);
  const hasPartition = fs.existsSync(partitionFolderOf(data, receipt.shard));
  // First of all, because it may wait for what the others look at.
  const patience = { waitMs: isInUse(data) ? waitMs : 0, pause };
  if (hasPartition) await checkPartition({ data, receipt, leftovers, ...patience });
  const totalBytes = shardLogBytes(data, receipt.shard);
  let doneBytes = 0;
  const { entries, hasNewLife } = await checkLog({
    data,
    receipt,
    leftovers,
    onBytes: (bytes) => {
      doneBytes += bytes;
      onProgress?.({ doneBytes: Math.min(doneBytes, totalBytes), totalBytes });
    },
  });
  const ofReaders = new Set(checkReaders({ data, receipt, hasNewLife, leftovers }));
  checkKeys(data, options.keys ?? keysFileOf(data), receipt, leftovers);
  onProgress?.({ doneBytes: totalBytes, totalBytes });
  const made = (Object.keys(erasureChecks) as ErasureCheck[]).filter(
    (check) =>
      (hasPartition || !check.startsWith("partition/")) &&
      (ofReaders.has(check) || !/^(projections|nats)\//.test(check)),
  );
  return {
    ok: leftovers.total === 0,
    receipt,
    checks: made.map((check) => ({ check, leftovers: leftovers.count(check) })),
    leftovers: leftovers.kept,
    leftoverTotal: leftovers.total,
    entries,
    logBytes: doneBytes,
    hasPartition,
    tookMs: performance.now() - startedAt,
  };
}

function checkShard(data: string, receipt: ErasureReceipt): void {
  const facts = readDataFolder(data);
  if (facts === undefined) {
    const message = "it is no data folder: there is no heddle.json";
    throw new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: data, message });
  }
  const shard = shardOf(receipt.entity as EntityId, facts.shardCount);
  if (shard === receipt.shard) return;
  throw new HeddleError("DATA_FOLDER_MISMATCH", {
    folder: data,
    setting: `${facts.shardCount} shards, where ${receipt.entity} lies in`,
    found: `shard ${shard}`,
    wanted: `shard ${receipt.shard}`,
  });
}
