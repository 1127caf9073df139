// Writes entries into the log of one shard as a node would have, through the event log itself, one group each.
import path from "node:path";
import { EventLog, nodeDisk } from "@heddle/event-log/internal";
import { systemClock, systemRandom } from "@heddle/kernel";
import { writeAppendBody } from "@heddle/protocol/internal";

export interface WrittenEntry {
  readonly entity: string;
  readonly firstSeq: number;
  readonly events: readonly { readonly type: string; readonly payload: unknown }[];
  readonly aggregate?: string;
  readonly flags?: number;
  readonly id?: string;
  /** Milliseconds since 1970. */
  readonly time?: number;
}

/** `alterInMemory` flips a bit of the last entry's payload, so that only the entry's own checksum can tell. */
export async function writeStore(
  data: string,
  entries: readonly WrittenEntry[],
  { shard = 0, alterInMemory = false } = {},
): Promise<string> {
  const log = EventLog.open({
    disk: nodeDisk,
    folder: path.join(data, "shards", `000${shard}`, "log"),
    shard,
    clock: systemClock,
    random: systemRandom,
    durability: "fsync",
    segmentBytes: 300,
    knownEnd: 0,
    replayFrom: 0,
    onEntry: () => {},
  });
  for (const [
    call,
    { entity, firstSeq, events, aggregate = "Account", flags = 0, id, time = 1 },
  ] of entries.entries()) {
    let room: { bytes: Uint8Array; at: number } = { bytes: new Uint8Array(), at: 0 };
    const bytes = writeAppendBody({ entity, aggregate, events, id }, (wanted) => {
      room = log.reserve(wanted);
      return room;
    });
    const eventCount = events.length;
    log.add(
      { flags, firstSeq, time, fingerprint: 0, session: 1, call: call + 1, eventCount, payloadsOffset: 0 },
      bytes,
    );
    // After the entry has its checksum and before the record gets its own.
    if (alterInMemory && call === entries.length - 1) room.bytes[room.at + bytes - 1]! ^= 1;
    await new Promise<void>((resolve) => {
      log.onDurable = () => resolve();
      log.flush();
    });
  }
  log.close();
  return data;
}
