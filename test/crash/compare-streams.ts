// compareStreams: whether the streams in NATS are the logs of a data folder, entry by entry, those of transactions too, with every
// byte. The logs are read from the files, so the node may be dead, or run and have nothing to write.
import { type EntryView, entityOfEntry, entryFlags, LogReader, nodeDisk } from "@heddle/event-log/internal";
import type { NatsFeed } from "@heddle/feed/internal";
import { logFolderOf } from "@heddle/runtime/internal";

export interface StreamsCompared {
  readonly data: string;
  readonly shards: number;
  /** `so far`: the streams may end before the logs, and until an erasure is done they may have what the log has no more. */
  readonly how: "so far" | "whole";
  readonly onEntry?: (entry: EntryView) => void;
}

/** How many entries of the streams were compared. Errors: throws with the first one that is another than the log's. */
export async function compareStreams(
  feed: Pick<NatsFeed, "read">,
  { data, shards, how, onEntry }: StreamsCompared,
): Promise<number> {
  let compared = 0;
  for (let shard = 0; shard < shards; shard++) {
    const inLog = new Map<number, string>();
    const log = new LogReader(nodeDisk, logFolderOf(data, shard));
    log.scan(0, (entry) => void inLog.set(entry.position, described(entry)));
    log.close();
    const wanted = [...inLog.keys()];
    let at = 0;
    for (let from = 0; ; ) {
      const chunk = await feed.read(shard, from, 1 << 20);
      if (chunk === undefined) break;
      chunk.visit((entry) => {
        const next = wanted[at++];
        if (next === undefined || entry.position !== next) {
          throw new Error(`stream ${shard}: an entry at ${entry.position}, wanted the one at ${next}`);
        }
        onEntry?.(entry);
        const inStream = described(entry);
        const known = inLog.get(next)!;
        if (inStream === known || (how === "so far" && known.startsWith("erased"))) return;
        throw new Error(`stream ${shard}: ${inStream} at ${next}, wanted ${known}`);
      });
      from = chunk.to;
    }
    compared += at;
    if (how === "whole" && at !== wanted.length) {
      throw new Error(`stream ${shard} has ${at} entries, the log has ${wanted.length}`);
    }
  }
  return compared;
}

function described(entry: EntryView): string {
  const isErased = (entry.flags & entryFlags.erased) !== 0;
  const body = isErased
    ? entityOfEntry(entry)
    : Buffer.from(entry.bytes.subarray(entry.bodyFrom, entry.bodyTo)).toString("base64");
  return `${isErased ? "erased" : "whole"} ${entry.flags} ${entry.firstSeq} ${entry.eventCount} ${entry.time} ${body}`;
}
