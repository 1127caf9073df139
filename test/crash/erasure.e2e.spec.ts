// P6: the node is killed in the middle of an erasure, at every step of it, and the next start finishes what was begun.
//
// Of each kill: a node is told to die at a named place, an entity with random markers in its payloads, metadata, ids and
// state is erased, the node dies. A second node on the same folder goes on by itself; whoever asks again gets the receipt.
// Then no byte of any file in the data folder is left of the markers, and everybody else has what they had.
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Heddle } from "@heddle/client";
import { auditFolder } from "@heddle/runtime/internal";
import type bank from "@heddle-examples/bank";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { pointsOf } from "./across-run.ts";
import { crashPoints } from "./crash-run.ts";
import { bankDomain, NodeProcess } from "./node-process.ts";
import { projectionPoints, publisherPoints } from "./readers-run.ts";

/** In the order in which an erasure passes them. */
const erasurePoints = [
  "erasure:begun",
  "erasure:counted",
  "erasure:readers-told",
  "erase:journal-written",
  "erase:journal-durable",
  "erase:half-overwritten",
  "erase:overwritten",
  "erase:synced",
  "erase:journal-emptied",
  "erasure:overwritten",
  "partition:extents-forgotten",
  "partition:ids-forgotten",
  "erasure:forgotten",
  "partition:scrub-committed",
  "partition:scrub-walked",
  "partition:scrub-written",
  "partition:scrubbed",
  "erasure:scrubbed",
  "erasure:dropped",
] as const;
/** Passed when a partition is made, which partition's own specs kill. */
const makingPoints = ["partition:making", "partition:made"];

const shards = 2;
const accounts = 40;
const markersOf = new Map<string, string[]>();
let data: string;
let node: NodeProcess;
let db: Heddle<typeof bank>;

beforeAll(async () => {
  data = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-erasure-"));
  await start();
  for (let i = 0; i < accounts; i++) await fill(`account/${i}`);
  await stop();
});

afterEach(() => node.kill());

afterAll(() => fs.rmSync(data, { recursive: true, force: true }));

async function start(crashAt?: string): Promise<void> {
  // Checkpoints come often, so that snapshots of many states lie in the partition's pages.
  const limits = { checkpointIntervalMs: 50, segmentBytes: 16 << 10 };
  node = new NodeProcess({ data, port: 0, shards, threads: 1, limits, ...(crashAt === undefined ? {} : { crashAt }) });
  expect(await node.settled, node.refusal?.message).toBe("ready");
  db = new Heddle<typeof bank>({ host: "127.0.0.1", port: node.port });
}

async function stop(): Promise<void> {
  await db.close();
  expect(await node.close()).toEqual({ code: 0, signal: null });
}

async function fill(id: string): Promise<void> {
  const markers = Array.from({ length: 8 }, () => randomBytes(12).toString("hex"));
  markersOf.set(id, markers);
  for (const [i, marker] of markers.entries()) {
    const payload = { amount: 100 + i, currency: "EUR", reference: `payload-${marker}` };
    await db.entity(id).append("Credited", payload, { id: `id-${marker}`, metadata: { note: `note-${marker}` } });
  }
}

/** Files of the data folder in which any of these texts stands. */
function filesWith(texts: readonly string[]): string[] {
  const files = fs.readdirSync(data, { recursive: true, encoding: "utf8" }).map((name) => path.join(data, name));
  return files.filter((file) => {
    if (!fs.statSync(file).isFile()) return false;
    const bytes = fs.readFileSync(file);
    return texts.some((text) => bytes.includes(text));
  });
}

describe("crash: an erasure that is killed", () => {
  it.each(erasurePoints.map((point, i) => [point, `account/${i}`, `account/${i + 20}`] as const))(
    "P6 at %s: is finished by the next start, and no byte is left",
    async (point, erased, other) => {
      const markers = markersOf.get(erased)!;
      expect(filesWith(markers)).not.toEqual([]);
      await start(`${point}:1`);
      const before = await db.entity(other).get();
      const asked = db
        .entity(erased)
        .delete()
        .catch(() => undefined);
      expect(await node.exited).toEqual({ code: null, signal: "SIGKILL" });
      await db.close({ timeoutMs: 0 });
      await asked;

      await start();
      const receipt = await db.entity(erased).delete();
      expect(receipt).toMatchObject({ entity: erased, from: 1, to: 8, seq: 9, complete: true });
      await expect(db.entity(erased).get()).rejects.toMatchObject({ code: "ERASED" });
      await expect(
        db.entity(erased).append("Credited", { amount: 1 }, { id: `id-${markers[0]}` }),
      ).rejects.toMatchObject({ code: "ERASED" });
      expect(await db.entity(other).get()).toEqual(before);
      await stop();
      expect(filesWith(markers)).toEqual([]);
      expect(filesWith(markersOf.get(other)!)).not.toEqual([]);
    },
  );

  it("P6: and all of it passes the audit, everybody else with all that they had", async () => {
    const report = await auditFolder({ data, domain: bankDomain });
    expect(report.problems).toEqual([]);
    await start();
    for (let i = 20; i < accounts; i++) {
      const events = await db.entity(`account/${i}`).history({ limit: 100 });
      const references = events.map(({ payload }) => payload.reference);
      expect(references).toEqual(markersOf.get(`account/${i}`)!.map((marker) => `payload-${marker}`));
    }
    await stop();
  });

  it("every crash point in the code is one where some test kills", () => {
    const packages = path.join(import.meta.dirname, "../../packages");
    const sources = fs
      .readdirSync(packages, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.includes("spec") && !name.includes("node_modules"));
    const found = new Set<string>();
    for (const name of sources) {
      const text = fs.readFileSync(path.join(packages, name), "utf8");
      for (const [, chosen] of text.matchAll(/crashPoint\??\.?\(([^)]*)\)/g)) {
        for (const [, point] of chosen!.matchAll(/"([a-z]+:[a-z-]+)"/g)) found.add(point!);
      }
    }
    const across = [
      ...Object.values(pointsOf).flat(),
      ...Object.keys(projectionPoints),
      ...Object.keys(publisherPoints),
    ];
    expect([...found].sort()).toEqual(
      [...Object.keys(crashPoints), ...erasurePoints, ...makingPoints, ...across].sort(),
    );
  });
});
