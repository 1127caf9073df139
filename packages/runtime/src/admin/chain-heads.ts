// ChainHeads: `heddle chain export` and `heddle chain verify`. Where every entity's hash chain stands, kept outside of the data
// folder, and held against the log again later.
//
// Both only read, and may run beside a node. An export has what the last checkpoint covers.
// Promised: an entry that was altered, dropped or put elsewhere up to an exported sequence makes the chain another one.
// Not promised: which entry it was; the audit tells that, as long as the partition is as it was.
import fs from "node:fs";
import path from "node:path";
import { type EntryView, entityOfEntry, entryFlags } from "@heddle/event-log/internal";
import { type EntityId, HeddleError, shardOf } from "@heddle/kernel";
import { openPartitionReadOnly } from "@heddle/partition/internal";
import { type DataFolderFacts, partitionFolderOf, readDataFolder } from "../data-folder.ts";
import { type ChainHead, ChainHeadsWriter, checkChainHeads, readChainHeads } from "./chain-heads-file.ts";
import { chainAfter, chainAsHex, noChain } from "./entity-chain.ts";
import { logBytesOf, openLogReader } from "./existing-folder.ts";
import { scanInSlices } from "./scan-slices.ts";
import type { AdminProgress } from "./shard-pool.ts";

export interface ExportChainHeadsOptions {
  readonly data: string;
  /** Takes the text, whole lines at a time. */
  readonly write: (text: string) => void;
  /** Waited for now and then, so that a slow reader holds the export back. */
  readonly drained?: () => Promise<void>;
  readonly nowMs: number;
}

export interface ChainHeadsExport {
  readonly context: string;
  readonly entities: number;
  /** `log` if any shard had no partition. */
  readonly source: "partition" | "log";
}

const entitiesPerDrain = 1_000;

/** Errors: `DATA_FOLDER_*`; `PARTITION_DAMAGED`; `LOG_DAMAGED`. */
export async function exportChainHeads(options: ExportChainHeadsOptions): Promise<ChainHeadsExport> {
  const { data, write, drained, nowMs } = options;
  const { context, shardCount } = factsOf(data);
  const shards = Array.from({ length: shardCount }, (_, shard) => shard);
  const source = shards.every((shard) => hasPartition(data, shard)) ? "partition" : "log";
  const writer = new ChainHeadsWriter(write, {
    format: "heddle-chain-heads",
    version: 1,
    context,
    exported: new Date(nowMs).toISOString(),
    shardCount,
    source,
  });
  for (const shard of shards) {
    const heads = hasPartition(data, shard) ? headsOfPartition(data, shard) : headsOfLog(data, shard);
    for await (const head of heads) {
      writer.add(head);
      if (writer.entities % entitiesPerDrain === 0) await drained?.();
    }
  }
  writer.end();
  await drained?.();
  return { context, entities: writer.entities, source };
}

/** What an exported head and the log say of an entity, where they do not say the same. */
export interface ChainMismatch {
  readonly entity: string;
  readonly seq: number;
  readonly found: string;
  readonly wanted: string;
}

export interface ChainVerification {
  readonly ok: boolean;
  readonly context: string;
  /** When the file was exported. */
  readonly exported: string;
  readonly entities: number;
  readonly verified: number;
  /** Entities that were erased since, so that nothing is left to verify. No fault. */
  readonly erased: number;
  /** The first of those that are not as they were. */
  readonly mismatches: readonly ChainMismatch[];
  readonly mismatchTotal: number;
  readonly tookMs: number;
}

export interface VerifyChainHeadsOptions {
  readonly data: string;
  readonly file: string;
  /** Mismatches that are told whole; all are counted. Default 100. */
  readonly toldMax?: number;
  readonly onProgress?: ((progress: AdminProgress) => void) | undefined;
}

/**
 * Computes the chains of the exported entities anew from the log and compares them.
 * Errors: `EXPORT_DAMAGED`; `DATA_FOLDER_*`, also for an export of another context; `LOG_DAMAGED`.
 */
export async function verifyChainHeads(options: VerifyChainHeadsOptions): Promise<ChainVerification> {
  const { data, file, toldMax = 100, onProgress } = options;
  const startedAt = performance.now();
  const header = await checkChainHeads(file);
  const { context, shardCount } = factsOf(data);
  refuseOther(data, "context", context, header.context);
  refuseOther(data, "shard count", String(shardCount), String(header.shardCount));
  const verifier = new Verifier(data, logBytesOf(data, shardCount), onProgress);
  let shard = -1;
  let wanted = new Map<string, Wanted>();
  for await (const head of readChainHeads(file)) {
    const owner = shardOf(head.entity as EntityId, shardCount);
    if (owner !== shard) {
      await verifier.verifyShard(shard, wanted);
      shard = owner;
      wanted = new Map();
    }
    wanted.set(head.entity, new Wanted(head));
  }
  await verifier.verifyShard(shard, wanted);
  return {
    ok: verifier.mismatches.length === 0,
    context,
    exported: header.exported,
    entities: verifier.entities,
    verified: verifier.verified,
    erased: verifier.erased,
    mismatches: verifier.mismatches.slice(0, toldMax),
    mismatchTotal: verifier.mismatches.length,
    tookMs: performance.now() - startedAt,
  };
}

class Wanted {
  readonly head: ChainHead;
  seq = 0;
  /** Undefined behind an erased entry, until the tombstone. */
  chain: string | undefined = noChain;
  outcome: "verified" | "erased" | "altered" | undefined = undefined;
  found = "";

  constructor(head: ChainHead) {
    this.head = head;
  }
}

class Verifier {
  readonly #data: string;
  readonly #totalBytes: number;
  readonly #onProgress: ((progress: AdminProgress) => void) | undefined;
  #doneBytes = 0;
  readonly mismatches: ChainMismatch[] = [];
  entities = 0;
  verified = 0;
  erased = 0;

  constructor(data: string, totalBytes: number, onProgress: ((progress: AdminProgress) => void) | undefined) {
    this.#data = data;
    this.#totalBytes = totalBytes;
    this.#onProgress = onProgress;
  }

  async verifyShard(shard: number, wanted: ReadonlyMap<string, Wanted>): Promise<void> {
    if (wanted.size === 0) return;
    await scanShard(this.#data, shard, {
      onEntry: (entry) => {
        const one = wanted.get(entityOfEntry(entry));
        if (one !== undefined) follow(one, entry);
      },
      onBytes: (bytes) => {
        this.#doneBytes += bytes;
      },
      afterSlice: () => {
        const doneBytes = Math.min(this.#doneBytes, this.#totalBytes);
        this.#onProgress?.({ doneBytes, totalBytes: this.#totalBytes });
      },
    });
    for (const one of wanted.values()) this.#judge(one);
  }

  #judge({ head, seq, outcome, found }: Wanted): void {
    this.entities++;
    if (outcome === "verified") this.verified++;
    else if (outcome === "erased") this.erased++;
    else {
      const reached = found === "" ? `a history that ends at sequence ${seq}` : found;
      this.mismatches.push({ entity: head.entity, seq: head.seq, found: reached, wanted: `the chain ${head.chain}` });
    }
  }
}

// Takes in the next entry of an entity. A head is a sequence where an entry ends.
function follow(one: Wanted, entry: EntryView): void {
  const before = one.seq;
  one.seq = entry.firstSeq + entry.eventCount - 1;
  if (before >= one.head.seq) {
    // Behind the head only a tombstone matters: it tells why entries before it were erased.
    if ((entry.flags & entryFlags.tombstone) !== 0 && one.outcome === undefined) one.outcome = "erased";
    return;
  }
  if ((entry.flags & entryFlags.tombstone) !== 0) one.chain = noChain;
  const isErased = (entry.flags & entryFlags.erased) !== 0;
  one.chain = isErased || one.chain === undefined ? undefined : chainAfter(one.chain, entry);
  if (one.seq < one.head.seq) return;
  if (one.chain === undefined) one.found = "erased entries, and no tombstone behind them";
  else if (one.seq === one.head.seq && chainAsHex(one.chain) === one.head.chain) one.outcome = "verified";
  else {
    one.outcome = "altered";
    one.found = one.seq === one.head.seq ? `the chain ${chainAsHex(one.chain)}` : `an entry that ends at ${one.seq}`;
  }
}

async function* headsOfPartition(data: string, shard: number): AsyncGenerator<ChainHead> {
  const partition = openPartitionReadOnly({ folder: partitionFolderOf(data, shard), shard });
  try {
    for (const { entity, head } of partition.entities()) {
      yield { entity, seq: head.seq, chain: chainAsHex(head.chain) };
    }
  } finally {
    await partition.close();
  }
}

async function* headsOfLog(data: string, shard: number): AsyncGenerator<ChainHead> {
  const heads = new Map<string, { seq: number; chain: string }>();
  await scanShard(data, shard, {
    onEntry: (entry) => {
      const entity = entityOfEntry(entry);
      const head = heads.get(entity) ?? { seq: 0, chain: noChain };
      heads.set(entity, head);
      head.seq = entry.firstSeq + entry.eventCount - 1;
      head.chain = chainAfter(head.chain, entry);
    },
  });
  const inOrder = [...heads].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const [entity, { seq, chain }] of inOrder) yield { entity, seq, chain: chainAsHex(chain) };
}

interface ShardScan {
  readonly onEntry: (entry: EntryView) => void;
  readonly onBytes?: (bytes: number) => void;
  readonly afterSlice?: () => void;
}

async function scanShard(data: string, shard: number, { onEntry, onBytes, afterSlice }: ShardScan): Promise<void> {
  const log = openLogReader(data, shard);
  try {
    await scanInSlices(log, { onEntry, onRecord: (_, length) => onBytes?.(length), afterSlice: () => afterSlice?.() });
  } finally {
    log.close();
  }
}

function hasPartition(data: string, shard: number): boolean {
  return fs.existsSync(path.join(partitionFolderOf(data, shard), "data.mdb"));
}

function factsOf(data: string): DataFolderFacts {
  const facts = readDataFolder(data);
  if (facts !== undefined) return facts;
  const message = "it is no data folder: there is no heddle.json";
  throw new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: data, message });
}

function refuseOther(folder: string, setting: string, found: string, wanted: string): void {
  if (found !== wanted) throw new HeddleError("DATA_FOLDER_MISMATCH", { folder, setting, found, wanted });
}
