// StoredSchema: which event types a data folder holds, in which versions, and whether a domain module can read them.
//
// Read from the partitions' catalogues, so it is quick whatever the size of the log, and as new as the last checkpoint: a
// node writes one every few seconds, and when it stops. May run beside a node.
import fs from "node:fs";
import { HeddleError } from "@heddle/kernel";
import { openPartitionReadOnly } from "@heddle/partition/internal";
import type { StoredType } from "@heddle/protocol";
import { sumTypes } from "@heddle/protocol/internal";
import { partitionFolderOf } from "../data-folder.ts";
import { loadDomain } from "../load-domain.ts";
import { existingFolder } from "./existing-folder.ts";

export interface StoredSchemaOptions {
  readonly data: string;
  /** Path of the domain module. */
  readonly domain: string;
}

/** An event type that is stored, or that the module declares. */
export interface SchemaRow extends StoredType {
  /** The newest version that the module has; undefined when it does not have the type. */
  readonly newest: number | undefined;
  readonly readable: boolean;
}

export interface StoredSchema {
  /** The module can read everything that is stored. */
  readonly ok: boolean;
  readonly context: string;
  /** By aggregate, type and version; those without events are declared by the module only, at their newest version. */
  readonly types: readonly SchemaRow[];
  /** A sentence for each type that the module cannot read. */
  readonly unreadable: readonly string[];
}

/** Errors: `DOMAIN_LOAD_FAILED`; `DATA_FOLDER_*`; `PARTITION_DAMAGED`, also for a shard that has no partition yet. */
export async function storedSchema({ data, domain: path }: StoredSchemaOptions): Promise<StoredSchema> {
  const domain = await loadDomain(path);
  const { context, shardCount } = await existingFolder(data, path);
  const shards = await Promise.all(Array.from({ length: shardCount }, (_, shard) => catalogueOf(data, shard)));
  const stored = sumTypes(shards);
  const rows: SchemaRow[] = stored.map((row) => ({
    ...row,
    newest: domain.aggregates.get(row.aggregate)?.events.get(row.type)?.schemaVersion,
    readable: domain.unreadable([row]).length === 0,
  }));
  for (const aggregate of domain.aggregates.values()) {
    if (aggregate.system) continue;
    for (const { type, schemaVersion } of aggregate.events.values()) {
      if (rows.some((row) => row.aggregate === aggregate.name && row.type === type)) continue;
      rows.push({ aggregate: aggregate.name, type, schemaVersion, count: 0, newest: schemaVersion, readable: true });
    }
  }
  const unreadable = domain.unreadable(stored);
  return { ok: unreadable.length === 0, context, types: rows.sort(byName), unreadable };
}

async function catalogueOf(data: string, shard: number): Promise<readonly StoredType[]> {
  const folder = partitionFolderOf(data, shard);
  if (!fs.existsSync(folder)) {
    throw new HeddleError("PARTITION_DAMAGED", { folder, problem: "there is none; a node or a rebuild makes it" });
  }
  const reader = openPartitionReadOnly({ folder, shard });
  try {
    return reader.catalogue();
  } finally {
    await reader.close();
  }
}

function byName(a: SchemaRow, b: SchemaRow): number {
  const [x, y] = [`${a.aggregate}\0${a.type}`, `${b.aggregate}\0${b.type}`];
  return x === y ? a.schemaVersion - b.schemaVersion : x < y ? -1 : 1;
}
