// Goal: what the how-to pages about an entity's life say happens when it is done: the commands run, and print what stands
// there; and an entity that was erased is in no byte that a node wrote, nor in what a backup gives back (P6).
// Method: the shell blocks of the pages are run as they are, in a folder of their own beside a real node; a text block behind
// one is what it prints, but for times and places.
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { committed, type Entity, Heddle } from "@heddle/client";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { repository, runPage, shell } from "../support/how-to-page.ts";
import { newFolder, startTestNode } from "../support/node.ts";

// #region look
export async function lookBack(alice: Entity<typeof bank>) {
  const then = await alice.getAt({ seq: 2 });
  const atMidnight = await alice.getAt({ time: new Date("2001-11-20T00:00:00Z") });
  return { then, atMidnight };
}
// #endregion look

// #region rewind
export function undo(alice: Entity<typeof bank>) {
  return alice.restore({ seq: 2 }, { expectedSeq: 3, id: "undo-ticket-17" });
}
// #endregion rewind

// #region fork
export async function tryOnACopy(alice: Entity<typeof bank>) {
  const { entity } = await alice.fork("account/alice-tried", { at: { seq: 2 } });
  await entity.append("Debited", { amount: 4300 });
  return entity;
}
// #endregion fork

// #region erase
export async function forget(alice: Entity<typeof bank>, receiptFile: string) {
  const receipt = await alice.delete();
  fs.writeFileSync(receiptFile, JSON.stringify(receipt));
}
// #endregion erase

async function writeAccount(db: Heddle<typeof bank>, entity: string, metadata?: string): Promise<void> {
  const account = db.entity(entity);
  committed(await account.append("Credited", { amount: 5000 }, { id: `open-${entity}`, metadata }));
  committed(await account.append("Debited", { amount: 700 }, { metadata }));
  committed(await account.append("Debited", { amount: 4000 }, { metadata }));
}

/** Files below a folder that hold a text anywhere, as it is or in one of the forms that bytes take. */
function filesWith(folder: string, text: string): string[] {
  const found: string[] = [];
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    if (fs.readFileSync(file).includes(text)) found.push(path.relative(folder, file));
  }
  return found;
}

describe("the life of an entity: the how-to pages", () => {
  it("go-back-in-time.md: its commands run, and print what it says", async () => {
    const folder = newFolder();
    await using node = await startTestNode({ data: path.join(folder, "data"), shards: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    await writeAccount(db, "account/alice");
    await runPage("go-back-in-time.md", folder, node.url);
  });

  it("erase-an-entity.md: its commands run, and print what it says", async () => {
    const folder = newFolder();
    await using node = await startTestNode({ data: path.join(folder, "data"), shards: 2 });
    await using db = new Heddle<typeof bank>({ port: node.port });
    await writeAccount(db, "account/alice");
    await runPage("erase-an-entity.md", folder, node.url);
  });

  it("their TypeScript does what they say", async () => {
    const folder = newFolder();
    await using node = await startTestNode({ data: path.join(folder, "data") });
    await using db = new Heddle<typeof bank>({ port: node.port });
    await writeAccount(db, "account/alice");
    const alice = db.entity("account/alice");
    const { then, atMidnight } = await lookBack(alice);
    expect([then, atMidnight]).toEqual([
      { state: { balance: 4300 }, seq: 2 },
      { state: { balance: 0 }, seq: 0 },
    ]);
    expect(await undo(alice)).toMatchObject({ ok: true, seq: 6, count: 3 });
    expect(await undo(alice)).toMatchObject({ ok: true, seq: 6, duplicate: true });
    expect(await alice.get()).toEqual({ state: { balance: 4300 }, seq: 6 });
    expect(await (await tryOnACopy(alice)).get()).toEqual({ state: { balance: 0 }, seq: 3 });
    expect(await alice.get()).toEqual({ state: { balance: 4300 }, seq: 6 });
    const file = path.join(folder, "alice.receipt.json");
    await forget(alice, file);
    const proof = await shell(folder, node.url)("heddle verify-erasure alice.receipt.json --data ./data");
    expect(proof).toMatchObject({ code: 0, out: expect.stringMatching(/^ERASURE_OK/) });
  });
});

describe("the life of an entity: erased is gone (P6)", () => {
  it("no byte of it is in any file of the node, or of what its backups give back; others are as they were", async () => {
    const folder = newFolder();
    const data = path.join(folder, "data");
    const marker = randomBytes(24).toString("hex");
    const other = randomBytes(24).toString("hex");
    {
      await using node = await startTestNode({ data, shards: 2 });
      await using db = new Heddle<typeof bank>({ port: node.port });
      const run = shell(folder, node.url);
      const must = async (script: string) => {
        const done = await run(script);
        expect(done.code, `${script}\n${done.said}`).toBe(0);
        return done.out;
      };
      await writeAccount(db, "account/alice", marker);
      await writeAccount(db, "account/bob", other);
      committed(await db.entity("account/alice").append("Credited", { amount: 1 }, { id: `id-${marker}` }));
      await must("heddle rewind account/alice --seq 2");
      await must("heddle backup ./backup --data ./data");
      expect(filesWith(path.join(folder, "backup"), marker)).toEqual([]);
      expect(filesWith(data, marker)).not.toEqual([]);

      await must("heddle delete account/alice --yes --receipt receipt.json");
      expect(filesWith(data, marker)).toEqual([]);
      expect(filesWith(data, other)).not.toEqual([]);
      await must("heddle verify-erasure receipt.json --data ./data");
      await must("heddle backup ./backup --data ./data");
      await must("heddle restore ./backup ./old --run 1 --keys ./data/keys/keys.sqlite");
      await must("heddle restore ./backup ./new --keys ./data/keys/keys.sqlite");
      const entity = await run(
        `heddle restore ./backup --run 1 --entity account/alice --domain ${repository}apps/examples/bank --keys ./data/keys/keys.sqlite`,
      );
      expect(entity).toMatchObject({ code: 1, out: "", said: expect.stringContaining("ERASED") });
      await must(`heddle audit --domain ${repository}apps/examples/bank --data ./data`);
    }
    expect(filesWith(folder, marker)).toEqual([]);
    for (const restored of ["old", "new"]) {
      await using node = await startTestNode({ data: path.join(folder, restored) });
      await using db = new Heddle<typeof bank>({ port: node.port });
      await expect(db.entity("account/alice").get()).rejects.toMatchObject({ code: "ERASED" });
      expect(await db.entity("account/bob").get()).toEqual({ state: { balance: 300 }, seq: 3 });
      const history = await db.entity("account/bob").history();
      expect(history.map(({ metadata }) => metadata)).toEqual([other, other, other]);
    }
    // A proof holds in a restored folder as well, when the tombstone came there with the log.
    const proof = shell(folder, "")("heddle verify-erasure receipt.json --data ./new --keys ./data/keys/keys.sqlite");
    expect(await proof).toMatchObject({ code: 0 });
  });
});
