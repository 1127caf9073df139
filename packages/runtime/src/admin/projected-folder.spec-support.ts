// Gives a crafted folder the rows that a node would have made of its logs.
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { compileContext } from "@heddle/domain/internal";
import { nodeDisk } from "@heddle/event-log/internal";
import { DurableEnds, LogFeed } from "@heddle/feed/internal";
import { systemClock, systemRandom } from "@heddle/kernel";
import { SqliteSink, Track } from "@heddle/projection/internal";
import { logFolderOf, projectionsFileOf, readDataFolder } from "../data-folder.ts";
import { systemAggregates } from "../load-domain.ts";
import { openLogReader } from "./existing-folder.ts";
import projectedShop from "./shop-projected.spec-support.ts";

export const projected = fileURLToPath(new URL("./shop-projected.spec-support.ts", import.meta.url));

export const projectedDomain = compileContext(projectedShop, "the shop", systemAggregates);

/** Runs every projection of the shop over the logs, to their ends, into the folder's own file. */
export async function projectFolder(data: string): Promise<void> {
  const { shardCount } = readDataFolder(data)!;
  const ends = new DurableEnds(shardCount);
  const folders = Array.from({ length: shardCount }, (_, shard) => logFolderOf(data, shard));
  for (let shard = 0; shard < shardCount; shard++) ends.advance(shard, logEnd(data, shard));
  const source = new LogFeed({ disk: nodeDisk, folders, ends });
  const sink = new SqliteSink({ file: projectionsFileOf(data) });
  for (const projection of projectedDomain.projections.values()) {
    const track = new Track({
      domain: projectedDomain,
      projection,
      source,
      sink,
      origin: "test",
      clock: systemClock,
      random: systemRandom,
    });
    let isDone = false;
    while (!isDone) isDone = !(await track.work());
    await track.stop();
    if (track.problem !== undefined) throw track.problem;
  }
  sink.close();
  source.close();
}

function logEnd(data: string, shard: number): number {
  const log = openLogReader(data, shard);
  let end = 0;
  log.scan(
    0,
    () => {},
    (position, length) => {
      end = position + length;
    },
  );
  log.close();
  return end;
}

/** Changes the file of the projections by a statement, as nobody should. */
export function alterProjections(data: string, ...statements: readonly string[]): void {
  const database = new DatabaseSync(projectionsFileOf(data));
  try {
    for (const statement of statements) database.exec(statement);
  } finally {
    database.close();
  }
}
