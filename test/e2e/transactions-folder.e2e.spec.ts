// Goal: everything that reads a data folder is right about one that is full of transactions: the audit, a rebuilt index, the
// proof of an erasure, heads of the hash chain, backups, and what is restored from one. Method: a bank on several shards,
// transfers with and without ids, some refused, an entity erased; then the folder by itself.
// Tested elsewhere: what transactions promise while a node runs (transactions.e2e.spec.ts).
import fs from "node:fs";
import path from "node:path";
import { committed, Heddle } from "@heddle/client";
import { dumpPartition, openPartitionReadOnly } from "@heddle/partition/internal";
import {
  auditFolder,
  backUpFolder,
  exportChainHeads,
  partitionFolderOf,
  rebuildIndex,
  restoreFolder,
  verifyChainHeads,
  verifyErasure,
} from "@heddle/runtime/internal";
import { describe, expect, it } from "vitest";
import type bankModule from "../../apps/examples/bank/index.ts";
import { bank, newFolder, startTestNode } from "../support/node.ts";

const shards = 3;
const accounts = Array.from({ length: 12 }, (_, i) => `account/${i}`);

async function fill(db: Heddle<typeof bankModule>): Promise<void> {
  for (const entity of accounts) committed(await db.entity(entity).append("Credited", { amount: 100 }));
  await Promise.all(
    Array.from({ length: 150 }, (_, i) =>
      db.transaction(
        (tx) => {
          tx.execute(accounts[(i * 5) % 12]!, "Withdraw", { amount: 1 + (i % 40) });
          tx.execute(accounts[(i * 7 + 1) % 12]!, "Deposit", { amount: 1 + (i % 40) });
          if (i % 4 === 0) tx.append(accounts[(i * 11 + 2) % 12]!, "Credited", { amount: 1 }, { metadata: { i } });
        },
        i % 3 === 0 ? { id: `transfer-${i}` } : {},
      ),
    ),
  );
}

async function dumps(data: string): Promise<unknown[][]> {
  const found: unknown[][] = [];
  for (let shard = 0; shard < shards; shard++) {
    const partition = openPartitionReadOnly({ folder: partitionFolderOf(data, shard), shard });
    found.push([...dumpPartition(partition)]);
    await partition.close();
  }
  return found;
}

async function statesOf(data: string): Promise<unknown[]> {
  await using node = await startTestNode({ data });
  await using db = new Heddle<typeof bankModule>({ port: node.port });
  const found: unknown[] = [];
  for (const entity of accounts) {
    const history: unknown[] = [];
    try {
      for await (const event of db.entity(entity).events()) history.push({ ...event, position: 0 });
      found.push([await db.entity(entity).get("Account"), history]);
    } catch (error) {
      found.push((error as { code: string }).code);
    }
  }
  return found;
}

describe("a data folder full of transactions", () => {
  it("is whole for the audit, the chain, a rebuilt index, the proof of an erasure, and a backup", async () => {
    const root = newFolder();
    const data = path.join(root, "data");
    const erased = accounts[3]!;
    let receipt: unknown;
    {
      await using node = await startTestNode({ data, shards, threads: 2 });
      await using db = new Heddle<typeof bankModule>({ port: node.port });
      await fill(db);
      receipt = await db.entity(erased).delete();
      committed(await db.entity(erased).append("Credited", { amount: 5 }, { newLife: true }));
      await fill(db);
    }
    expect(await auditFolder({ data, domain: bank })).toMatchObject({ ok: true, problems: [] });

    const before = await dumps(data);
    expect(before.flat()).toContainEqual(expect.objectContaining({ table: "append-id", entity: "$transaction" }));
    await rebuildIndex({ data, domain: bank });
    const snapshotsAside = (all: unknown[][]) =>
      all.map((rows) => rows.filter((row) => (row as { table: string }).table !== "snapshot"));
    expect(snapshotsAside(await dumps(data))).toEqual(snapshotsAside(before));
    expect(await auditFolder({ data, domain: bank })).toMatchObject({ ok: true, problems: [] });

    const heads = path.join(root, "heads.ndjson");
    const lines: string[] = [];
    await exportChainHeads({ data, nowMs: 0, write: (text) => void lines.push(text), drained: async () => {} });
    fs.writeFileSync(heads, lines.join(""));
    expect(await verifyChainHeads({ data, file: heads })).toMatchObject({ ok: true });
    expect(await verifyErasure({ data, receipt })).toMatchObject({ ok: true, leftovers: [] });

    const backup = path.join(root, "backup");
    const restored = path.join(root, "restored");
    await backUpFolder({ data, backup });
    await restoreFolder({ backup, data: restored, keys: path.join(data, "keys", "keys.sqlite") });
    expect(await statesOf(restored)).toEqual(await statesOf(data));
    expect(await auditFolder({ data: restored, domain: bank })).toMatchObject({ ok: true, problems: [] });
    fs.rmSync(root, { recursive: true, force: true });
  });
});
