// One erasure with readers, from the first event to the byte scan, whatever readers the node has: accounts whose payloads,
// metadata and ids carry random markers, among them one that transactions, a saga and a set-aside event have touched.
//
// Markers are looked for in every file of the data folder and of the servers, before (they are there) and after (they are not).
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type ErasureReceipt, Heddle, HeddleError } from "@heddle/client";
import type { NodeOptions } from "@heddle/runtime";
import { auditFolder, verifyErasure } from "@heddle/runtime/internal";
import { expect } from "vitest";
import { filesOf } from "../../infra/servers/files-of.spec-support.ts";
import { newFolder, startTestNode } from "../support/node.ts";
import type marked from "./marked-bank.ts";

export const markedBank = fileURLToPath(new URL("./marked-bank.ts", import.meta.url));

export type Bank = Heddle<typeof marked>;
type TestNode = Awaited<ReturnType<typeof startTestNode>>;

/** Texts that stand in what an entity was given, and nowhere else. */
export class Markers {
  readonly all: string[] = [];

  next(): string {
    const marker = `M${randomBytes(9).toString("hex")}`;
    this.all.push(marker);
    return marker;
  }
}

/** Files below some folders in which any of these texts stands, as UTF-8 or UTF-16. */
export function filesWith(folders: readonly string[], texts: readonly string[]): string[] {
  const wanted = texts.flatMap((text) => [Buffer.from(text), Buffer.from(text, "utf16le")]);
  return folders.flatMap((folder) =>
    [...filesOf(folder, (bytes) => wanted.some((one) => bytes.includes(one)))].flatMap(([file, has]) =>
      has ? [file] : [],
    ),
  );
}

export interface ErasedEverywhere {
  readonly node: Partial<NodeOptions>;
  /** Folders of the servers' files. */
  readonly folders: readonly string[];
  /** Which files have to have had a marker, or the scan would show nothing: a part of a path for each reader. */
  readonly hadMarkers: readonly string[];
  /** How long a server takes to overwrite what it was told to, as documented. Default: none, it is done with the receipt. */
  readonly graceMs?: number;
  /** Resolves when every reader has what was written up to now. */
  readonly caughtUp: (node: TestNode, db: Bank) => Promise<void>;
}

const alice = "account/alice";
const bob = "account/bob";

/** Fills an account with markers in every place that takes a text. */
export async function fill(db: Bank, entity: string, markers: Markers, events = 40): Promise<void> {
  const account = db.entity(entity);
  await Promise.all(
    Array.from({ length: events }, (_, i) => {
      const payload = { amount: 100 + i, currency: "EUR", reference: markers.next() };
      const options = { aggregate: "Account", id: markers.next(), metadata: { note: markers.next() } } as const;
      return account.append("Credited", payload, options);
    }),
  );
}

async function touchByOthers(db: Bank, entity: string, markers: Markers): Promise<void> {
  const credited = (reference: string) => ({ amount: 5, currency: "EUR", reference });
  const done = await db.transaction(async (tx) => {
    tx.append(entity, "Credited", credited(markers.next()), { aggregate: "Account" });
    for (const other of ["account/t1", "account/t2", "account/t3"]) {
      tx.append(other, "Credited", credited("of another"), { aggregate: "Account" });
    }
  });
  expect(done.ok).toBe(true);
  const forward = { type: "Credited", payload: credited(markers.next()), aggregate: "Account" } as const;
  const back = { type: "Debited", payload: credited(markers.next()), aggregate: "Account" } as const;
  const saga = await db.saga("s1").step(entity, forward, back).commit();
  expect(saga.resultType).toBe("COMMITTED");
  // Set aside by one of the projections, with an error that has a part of the payload.
  const unlucky = { amount: 13, reference: markers.next() };
  await db.entity(entity).append("Debited", unlucky, { aggregate: "Account" });
}

/** The whole of it. Gives the receipt. */
export async function erasedEverywhere(options: ErasedEverywhere): Promise<ErasureReceipt> {
  const data = path.join(newFolder(), "data");
  const folders = [data, ...options.folders];
  const node = await startTestNode({ domain: markedBank, shards: 3, threads: 1, ...options.node, data });
  const db: Bank = new Heddle(node.url, { timeoutMs: 120_000 });
  try {
    const [ofAlice, ofBob] = [new Markers(), new Markers()];
    await fill(db, bob, ofBob);
    await fill(db, alice, ofAlice);
    await touchByOthers(db, alice, ofAlice);
    await fill(db, bob, ofBob, 5);
    await options.caughtUp(node, db);
    const before = filesWith(folders, ofAlice.all);
    for (const part of options.hadMarkers) {
      expect(
        before.some((file) => file.includes(part)),
        `${part} among ${before.join(", ")}`,
      ).toBe(true);
    }
    const receipt = await db.entity(alice).delete();
    expect(receipt).toMatchObject({ entity: alice, complete: true });
    expect(filesWith([data], ofAlice.all)).toEqual([]);
    await nothingLeft(folders, ofAlice.all, options.graceMs ?? 0);
    expect(filesWith(folders, ofBob.all)).not.toEqual([]);
    // A life that begins anew is kept as any other, and goes as any other.
    const second = new Markers();
    const reference = second.next();
    await db.entity(alice).append("Credited", { amount: 1, reference }, { aggregate: "Account", newLife: true });
    await options.caughtUp(node, db);
    expect(await db.entity(alice).delete()).toMatchObject({ complete: true });
    await nothingLeft(folders, second.all, options.graceMs ?? 0);
    await options.caughtUp(node, db);
    expect((await auditFolder({ data, domain: markedBank })).problems).toEqual([]);
    const proof = await verifyErasure({ data, receipt });
    expect(proof.leftovers).toEqual([]);
    return receipt;
  } finally {
    await db.close();
    await node.close();
    fs.rmSync(path.dirname(data), { recursive: true, force: true });
  }
}

/** What whoever wants the receipt does: asks again while something is held up. */
export async function receiptOf(db: Bank, entity: string): Promise<ErasureReceipt> {
  for (;;) {
    try {
      return await db.entity(entity).delete();
    } catch (error) {
      if (!(error instanceof HeddleError) || !error.retryable) throw error;
      await pause(50);
    }
  }
}

/** Looks until nothing is there, for as long as it may take. */
export async function nothingLeft(
  folders: readonly string[],
  texts: readonly string[],
  graceMs: number,
): Promise<void> {
  const deadline = performance.now() + graceMs;
  let left = filesWith(folders, texts);
  while (left.length > 0 && performance.now() < deadline) {
    await pause(100);
    left = filesWith(folders, texts);
  }
  expect(left).toEqual([]);
}
