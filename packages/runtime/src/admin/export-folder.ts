// ExportFolder: every event of a data folder, straight from its logs, without a domain module and without a node.
//
// Entities come in the order in which they were written, shard by shard; the events of one in their own order. May run
// beside a node, and then sees what was there when it came to each shard.
import fs from "node:fs";
import { type EntryView, LogReader, nodeDisk } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import { EntryDecoder, type StoredEvent } from "@heddle/shard/internal";
import { logFolderOf, readDataFolder } from "../data-folder.ts";
import { logBytesOf } from "./existing-folder.ts";
import { scanInSlices } from "./scan-slices.ts";
import type { AdminProgress } from "./shard-pool.ts";

export interface ExportedEvent extends StoredEvent {
  readonly entity: string;
}

export interface ExportFolderOptions {
  readonly data: string;
  readonly onEvent: (event: ExportedEvent) => void;
  /** Waited for now and then, so that a slow reader holds the export back. */
  readonly drained?: () => Promise<void>;
  readonly onProgress?: (progress: AdminProgress) => void;
}

/** Log read before the reader is waited for: what it becomes as text must fit into memory. */
const sliceBytes = 1 << 20;

/** Gives the number of events. Errors: `LOG_DAMAGED`, once what stands before the damage was given; `DATA_FOLDER_*`. */
export async function exportFolder({ data, onEvent, drained, onProgress }: ExportFolderOptions): Promise<number> {
  const facts = readDataFolder(data);
  if (facts === undefined) {
    throw new HeddleError("DATA_FOLDER_UNWRITABLE", {
      folder: data,
      message: "it is no data folder: there is no heddle.json",
    });
  }
  const totalBytes = logBytesOf(data, facts.shardCount);
  const decoder = new EntryDecoder();
  let doneBytes = 0;
  let events = 0;
  const onEntry = (entry: EntryView): void => {
    const { entity } = decoder.open(entry);
    for (const event of decoder.events(entry)) {
      onEvent({ entity, ...event });
      events++;
    }
  };
  for (let shard = 0; shard < facts.shardCount; shard++) {
    const folder = logFolderOf(data, shard);
    if (!fs.existsSync(folder)) continue;
    const log = new LogReader(nodeDisk, folder);
    try {
      await scanInSlices(log, {
        sliceBytes,
        onEntry,
        onRecord: (_, length) => {
          doneBytes += length;
        },
        afterSlice: async () => {
          onProgress?.({ doneBytes: Math.min(doneBytes, totalBytes), totalBytes });
          await drained?.();
        },
      });
    } finally {
      log.close();
    }
  }
  onProgress?.({ doneBytes: totalBytes, totalBytes });
  return events;
}
