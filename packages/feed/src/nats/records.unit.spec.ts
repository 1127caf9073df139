import { entryFlags } from "@heddle/event-log/internal";
import { systemAggregate } from "@heddle/protocol/internal";
import { journalEntity } from "@heddle/shard/internal";
import { describe, expect, it } from "vitest";
import { credit, WrittenLogs } from "../written-logs.spec-support.ts";
import { abortedPositions, areSameRecords, isErasedAt, recordsProblem, wholeRecords } from "./records.ts";

async function threeRecords() {
  const logs = new WrittenLogs();
  const positions: number[] = [];
  for (let i = 0; i < 3; i++) {
    positions.push(logs.add(0, credit("account/alice", i)), logs.add(0, credit("account/bob", i, i)));
    await logs.commit();
  }
  const read = () => {
    const first = logs.feed.readRecords(0, 0, 1 << 20)!;
    const parts = [first.bytes.slice()];
    let { to } = first;
    for (
      let run = logs.feed.readRecords(0, to, 1 << 20);
      run !== undefined;
      run = logs.feed.readRecords(0, to, 1 << 20)
    ) {
      parts.push(run.bytes.slice());
      to = run.to;
    }
    return { to, salt: first.salt, bytes: Uint8Array.from(Buffer.concat(parts)) };
  };
  return { logs, positions, read };
}

describe("records as they travel", () => {
  it("are cut where a record ends: at a number of bytes, at a position, never inside, never to nothing", async () => {
    const { read } = await threeRecords();
    const { bytes, to } = read();
    const one = bytes.length / 3;
    const all = Number.POSITIVE_INFINITY;
    expect(wholeRecords(bytes, bytes.length, all)).toBe(bytes.length);
    expect(wholeRecords(bytes, bytes.length - 1, all)).toBe(2 * one);
    expect(wholeRecords(bytes, one, all)).toBe(one);
    expect(wholeRecords(bytes, 1, all)).toBe(one);
    expect(wholeRecords(bytes, bytes.length, to - one)).toBe(2 * one);
  });

  it("are found out when one byte of them is another, wherever it is, and when some are missing", async () => {
    const { read } = await threeRecords();
    const { bytes, to, salt } = read();
    expect(recordsProblem(bytes, to, salt)).toBeUndefined();
    expect(recordsProblem(bytes, to, (salt ^ 1) >>> 0)).toBeDefined();
    expect(recordsProblem(bytes, to + 8, salt)).toBeDefined();
    expect(recordsProblem(bytes.subarray(0, bytes.length - 8), to - 8, salt)).toBeDefined();
    expect(recordsProblem(new Uint8Array(), to, salt)).toBeDefined();
    for (let at = 0; at < bytes.length; at++) {
      bytes[at]! ^= 4;
      expect(recordsProblem(bytes, to, salt), `byte ${at}`).toBeDefined();
      bytes[at]! ^= 4;
    }
  });

  it("are the same when nothing but erased entries differs, and others when anything else does", async () => {
    const { logs, positions, read } = await threeRecords();
    const before = read().bytes;
    await logs.erase(0, positions[2]!, positions[5]!);
    const now = read().bytes;
    expect(Buffer.compare(before, now)).not.toBe(0);
    expect(areSameRecords(before, now)).toBe(true);
    // What is erased does not come back.
    expect(areSameRecords(now, before)).toBe(false);
    expect(areSameRecords(before.subarray(0, before.length - 8), now)).toBe(false);
    const another = await threeRecords();
    await another.logs.erase(0, another.positions[2]!, another.positions[5]!);
    const changed = before.slice();
    // The payload of an entry that was not erased.
    changed[positions[0]! - 64 + 100]! ^= 1;
    expect(areSameRecords(changed, now)).toBe(false);
  });

  it("say which of their entries are erased", async () => {
    const { logs, positions, read } = await threeRecords();
    await logs.erase(0, positions[2]!);
    expect(positions.map((position) => isErasedAt(read().bytes, position))).toEqual([
      false,
      false,
      true,
      false,
      false,
      false,
    ]);
  });

  it("tell where pending entries lie that were overwritten, and nothing of other journal entries", async () => {
    const { logs, read } = await threeRecords();
    expect(abortedPositions(read().bytes)).toEqual([]);
    const journal = (type: string, payload: unknown) =>
      logs.add(
        0,
        { entity: journalEntity, aggregate: systemAggregate, events: [{ type, payload }] },
        { flags: entryFlags.journal },
      );
    journal("TransactionsSettled", { numbers: [64, 88] });
    journal("TransactionAborted", { positions: [72, 300] });
    await logs.commit();
    journal("TransactionAborted", { positions: [4_096] });
    await logs.commit();
    expect(abortedPositions(read().bytes)).toEqual([72, 300, 4_096]);
  });
});
