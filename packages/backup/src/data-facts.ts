// DataFacts: what a backup needs to know of a data folder, and where its logs lie.
//
// The folder's description is kept as it stands, so that a restore gives back what this package knows nothing of.
import fs from "node:fs";
import path from "node:path";
import { HeddleError } from "@heddle/kernel";

export interface DataFacts {
  readonly context: string;
  readonly shardCount: number;
  /** Tells one data folder from all others; a restored one is another than its source. */
  readonly identity: string;
  /** All of heddle.json. */
  readonly described: Readonly<Record<string, unknown>>;
}

export const descriptionFile = "heddle.json";

/** Errors: `DATA_FOLDER_UNWRITABLE` when there is none, or it makes no sense. */
export function readDataFacts(data: string): DataFacts {
  const unusable = (message: string, cause?: unknown) =>
    new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: data, message }, { cause });
  let described: Record<string, unknown>;
  try {
    described = JSON.parse(fs.readFileSync(path.join(data, descriptionFile), "utf8")) as Record<string, unknown>;
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === "ENOENT";
    throw unusable(
      isMissing ? `it is no data folder: there is no ${descriptionFile}` : (cause as Error).message,
      cause,
    );
  }
  const { context, shardCount, id, createdMs } = described;
  if (typeof context !== "string" || !Number.isSafeInteger(shardCount)) {
    throw unusable(`${descriptionFile} lacks shardCount or context`);
  }
  const identity = typeof id === "string" ? id : `${context} of ${String(createdMs)}`;
  return { context, shardCount: shardCount as number, identity, described };
}

export function shardFolderName(shard: number): string {
  return path.join("shards", String(shard).padStart(4, "0"));
}

export function logFolderOf(data: string, shard: number): string {
  return path.join(data, shardFolderName(shard), "log");
}
