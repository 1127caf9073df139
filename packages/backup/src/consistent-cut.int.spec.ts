// A backup beside a running node: no decision about a transaction is taken along without what it needs of other shards.
// Method: logs that are written to while they are looked at, one after the other.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { EventLog, entryFlags, nodeDisk } from "@heddle/event-log/internal";
import { systemClock, systemRandom } from "@heddle/kernel";
import { writeAppendBody } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { consistentEnds } from "./consistent-cut.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-cut-"));
const logs: EventLog[] = [];

afterEach(() => {
  for (const log of logs.splice(0)) log.close();
  fs.rmSync(root, { recursive: true, force: true });
});

function openLogs(count: number): string[] {
  const folders = Array.from({ length: count }, (_, shard) => path.join(root, String(shard)));
  for (const [shard, folder] of folders.entries()) {
    const common = { disk: nodeDisk, clock: systemClock, random: systemRandom, durability: "os" as const };
    logs.push(EventLog.open({ ...common, folder, shard, knownEnd: 0, replayFrom: 0, onEntry: () => {} }));
  }
  return folders;
}

/** Writes one record, at once: with results, a decision. Gives the position of its entry. */
function write(shard: number, results?: readonly number[][]): number {
  const log = logs[shard]!;
  const facts = { number: 1, shards: [], settled: [1, 1], results };
  const events = [{ type: "TransactionDecided", payload: facts, schemaVersion: 1 }];
  const entity = results === undefined ? "account/a" : "$transaction";
  const used = writeAppendBody({ entity, aggregate: "$heddle", events }, (wanted) => log.reserve(wanted));
  const flags = results === undefined ? entryFlags.pending : entryFlags.journal;
  const header = { flags, firstSeq: 1, time: 1, fingerprint: 0, session: 1, call: 1, eventCount: 1, payloadsOffset: 0 };
  const position = log.add(header, used);
  log.flush();
  return position;
}

/** The logs' ends, once everything that was written is durable. */
async function ends(): Promise<number[]> {
  while (logs.some((log) => log.inFlight)) await new Promise((resolve) => setImmediate(resolve));
  return logs.map((log) => log.durableEnd);
}

const result = (shard: number, position: number) => [1, 1, 1, shard, position, 1];

describe("the cut of a backup", () => {
  it("is the end of each log while nothing is written, and 0 where there is none", async () => {
    const folders = openLogs(2);
    write(1);
    expect(consistentEnds([...folders, path.join(root, "none")])).toEqual([...(await ends()), 0]);
  });

  it("takes a shard further that was looked at before, up to what a decision needs, and others for what is met there", async () => {
    const folders = openLogs(4);
    for (const shard of [0, 1, 2, 3]) write(shard);
    const begun = await ends();
    let prepared = 0;
    const cut = consistentEnds(folders, (look) => {
      if (look !== 3) return;
      // Shards 0 to 2 have been looked at. What shard 3 decides now needs shard 1, whose decision needs shard 0; nobody needs 2.
      prepared = write(0);
      write(2);
      write(3, [result(1, write(1, [result(0, prepared), result(1, 7)])), result(3, 9)]);
    });
    const after = await ends();
    expect(prepared).toBeGreaterThanOrEqual(begun[0]!);
    expect(cut).toEqual([after[0], after[1], begun[2], after[3]]);
  });

  it("ends with the record that is needed, whatever follows it", async () => {
    const folders = openLogs(2);
    for (const shard of [0, 1]) write(shard);
    await ends();
    let prepared = 0;
    const first = consistentEnds(folders, (look) => {
      if (look === 1) prepared = write(0);
    });
    const [needed] = await ends();
    expect(first[0]).toBeLessThanOrEqual(prepared);
    write(0);
    await ends();
    write(1, [result(0, prepared)]);
    await ends();
    const cut = consistentEnds(folders);
    expect(cut).toEqual(await ends());
    expect(cut[0]).toBeGreaterThan(needed!);
  });
});
