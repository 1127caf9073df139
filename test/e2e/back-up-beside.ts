// Makes runs of a backup beside the node that writes the data folder. After each it finds the ends of the logs once more as a
// run does, but slowly: a shard's log has grown by some records before the next one is looked at. Prints the ends of such a
// slow cut, a line each.
//
//   node back-up-beside.ts DATA SHARDS BACKUP RUNS
import { consistentEnds } from "@heddle/backup/internal";
import { LogReader, nodeDisk } from "@heddle/event-log/internal";
import { backUpFolder, logFolderOf } from "@heddle/runtime/internal";

/** About a hundred entries. */
const growthBytes = 10_000;

const [data = "", shards = "", backup = "", runs = ""] = process.argv.slice(2);
const folders = Array.from({ length: Number(shards) }, (_, shard) => logFolderOf(data, shard));

function lengthOf(folder: string): number {
  const log = new LogReader(nodeDisk, folder);
  try {
    return log.end;
  } finally {
    log.close();
  }
}

for (let i = 0; i < Number(runs); i++) {
  await backUpFolder({ data, backup, keepRuns: 10 });
  const ends = consistentEnds(folders, (look, shard) => {
    if (look === "before" || shard === 0) return;
    const before = lengthOf(folders[shard]!);
    while (lengthOf(folders[shard]!) < before + growthBytes);
  });
  process.stdout.write(`${JSON.stringify(ends)}\n`);
}
