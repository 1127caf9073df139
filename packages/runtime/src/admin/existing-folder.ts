// A data folder that must be there already, for tools that make none.
import fs from "node:fs";
import path from "node:path";
import { LogReader, nodeDisk } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { type DataFolderFacts, logFolderOf, readDataFolder } from "../data-folder.ts";
import { loadDomain } from "../load-domain.ts";

/** The facts of a folder that must be there and belong to the domain's context. */
export async function existingFolder(data: string, domain: string): Promise<DataFolderFacts> {
  const { name } = await loadDomain(domain);
  const facts = readDataFolder(data);
  if (facts === undefined) {
    throw new HeddleError("DATA_FOLDER_UNWRITABLE", {
      folder: data,
      message: "it is no data folder: there is no heddle.json",
    });
  }
  if (facts.context !== name) {
    throw new HeddleError("DATA_FOLDER_MISMATCH", {
      folder: data,
      setting: "context",
      found: facts.context,
      wanted: name,
    });
  }
  return facts;
}

/** Bytes of all segments; a folder that is missing counts as empty. */
export function logBytesOf(data: string, shardCount: number): number {
  let bytes = 0;
  for (let shard = 0; shard < shardCount; shard++) bytes += shardLogBytes(data, shard);
  return bytes;
}

export function shardLogBytes(data: string, shard: number): number {
  const folder = logFolderOf(data, shard);
  let bytes = 0;
  for (const name of fs.existsSync(folder) ? fs.readdirSync(folder) : []) {
    bytes += fs.statSync(path.join(folder, name)).size;
  }
  return bytes;
}

/** A node that died while it made the data folder may have left shards without a log: those are empty. */
export function openLogReader(data: string, shard: number): LogReader {
  const folder = logFolderOf(data, shard);
  return new LogReader(fs.existsSync(folder) ? nodeDisk : { ...nodeDisk, list: () => [] }, folder);
}
