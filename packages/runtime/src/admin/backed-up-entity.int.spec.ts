// Goal: an entity comes out of a backup as the export of the life that it has there, in the newest shapes.
// Method: crafted folders, backed up on the threads of the pool. What the command says is tested in apps/heddle, what a
// backup promises in packages/backup.
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { KeyStore } from "@heddle/backup";
import { ExportReader } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { keysFileOf } from "../data-folder.ts";
import { type ExportFromBackupOptions, exportFromBackup } from "./backed-up-entity.ts";
import { backUpFolder, checkBackup, restoreFolder } from "./backups.ts";
import {
  type CraftedAppend,
  craftFolder,
  received,
  restored,
  shop,
  sold,
  temporaryFolder,
  tombstone,
} from "./crafted-folder.spec-support.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

interface BackedUp {
  readonly data: string;
  readonly backup: string;
  readonly keys: string;
}

async function backedUp(appends: readonly CraftedAppend[]): Promise<BackedUp> {
  const data = await craftFolder(appends, { index: false });
  const folder = temporaryFolder();
  folders.push(data, folder);
  const backup = path.join(folder, "backup");
  await backUpFolder({ data, backup });
  return { data, backup, keys: keysFileOf(data) };
}

async function exported({ backup, keys }: BackedUp, entity: string, more: Partial<ExportFromBackupOptions> = {}) {
  let text = "";
  const write = (lines: string) => (text += lines);
  const result = await exportFromBackup({ backup, keys, entity, domain: shop, nowMs: 5_000, write, ...more });
  const reader = new ExportReader();
  const items = text.split(/(?<=\n)/).map((line) => reader.read(line));
  reader.finish();
  const events = items.flatMap((item) => (item?.kind === "event" ? [item.event] : []));
  return { result, events, header: items[0] };
}

const old = (entity: string, counted: number, expected: number): CraftedAppend => ({
  entity,
  events: [{ type: "Adjusted", payload: { counted, expected }, schemaVersion: 1 }],
});

describe("an entity out of a backup", () => {
  it("is an export with sequences, times and ids, payloads of older versions in the newest shape", async () => {
    const from = await backedUp([
      received("item/a", 10, { id: "order-17" }),
      old("item/a", 9, 10),
      received("item/b", 1),
    ]);
    const { result, header, events } = await exported(from, "item/a");
    expect(result).toEqual({ entity: "item/a", seq: 2, events: 2, run: 1 });
    expect(header).toMatchObject({
      header: { context: "shop", entity: "item/a", seq: 2, exportedAt: "1970-01-01T00:00:05.000Z" },
    });
    expect(events).toEqual([
      expect.objectContaining({ seq: 1, time: 1_001, type: "Received", id: "order-17", schemaVersion: 1 }),
      expect.objectContaining({ seq: 2, time: 1_002, type: "Adjusted", payload: { by: -1 }, schemaVersion: 2 }),
    ]);
  });

  it("begins with its last tombstone, and holds what a rewind wrote", async () => {
    const from = await backedUp([
      received("item/a", 10),
      sold("item/a", 1),
      tombstone("item/a", { events: [{ type: "Erased", payload: { from: 1, to: 2 } }] }),
      received("item/a", 7),
      restored("item/a", 4),
      received("item/a", 7),
    ]);
    const { events } = await exported(from, "item/a");
    expect(events.map(({ seq, aggregate, type }) => `${seq} ${aggregate}.${type}`)).toEqual([
      "3 $heddle.Erased",
      "4 Stock.Received",
      "5 $heddle.Restored",
      "6 Stock.Received",
    ]);
  });

  it("may be as of an earlier time", async () => {
    const from = await backedUp([received("item/a", 10), sold("item/a", 1), sold("item/a", 2)]);
    const { result } = await exported(from, "item/a", { until: { time: 1_002 } });
    expect(result).toMatchObject({ seq: 2, events: 2 });
    await expect(exported(from, "item/a", { until: { time: 5 } })).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
  });

  it("P6: that was erased, before the backup or since, is told as erased and when", async () => {
    const gone = [received("item/a", 10), tombstone("item/a"), received("item/b", 1)];
    const from = await backedUp(gone);
    const written: string[] = [];
    const write = (text: string) => void written.push(text);
    await expect(exported(from, "item/a", { write })).rejects.toMatchObject({
      code: "ERASED",
      facts: { entity: "item/a", seq: 2, time: 1_002 },
    });
    const keys = KeyStore.open(from.keys, { create: false });
    keys.erase([{ entity: "item/b", tombstone: { time: 9_000, seq: 2 } }]);
    keys.close();
    await expect(exported(from, "item/b", { write })).rejects.toMatchObject({
      code: "ERASED",
      facts: { entity: "item/b", seq: 2, time: 9_000 },
    });
    expect(written).toEqual([]);
  });
});

describe("backups on the pool", () => {
  it("P5: tell of all bytes, refuse what is damaged from the thread that met it, and restore the same log", async () => {
    const { data, backup, keys } = await backedUp(
      Array.from({ length: 40 }, (_, i) => received(`item/${i}`, 1 + (i % 5))),
    );
    const told: number[] = [];
    const onProgress = ({ doneBytes, totalBytes }: { doneBytes: number; totalBytes: number }) =>
      void told.push(doneBytes / totalBytes);
    expect(await checkBackup({ backup, keys, onProgress })).toMatchObject({ shards: 2, readable: 40, missing: 0 });
    expect(told.at(-1)).toBe(1);
    const target = path.join(path.dirname(backup), "target");
    await restoreFolder({ backup, data: target, keys });
    const logs = (of: string) =>
      fs
        .globSync("shards/*/log/*.log", { cwd: of })
        .sort()
        .map((file) => fs.readFileSync(path.join(of, file), "hex"));
    expect(logs(target)).toEqual(logs(data));

    const segment = fs.globSync(path.join(backup, "shards/*/*.seg"))[0]!;
    const bytes = fs.readFileSync(segment);
    bytes[bytes.length - 1]! ^= 1;
    fs.writeFileSync(segment, bytes);
    await expect(checkBackup({ backup })).rejects.toMatchObject({ code: "BACKUP_REFUSED", facts: { folder: backup } });
    const other = path.join(path.dirname(backup), "other");
    await expect(restoreFolder({ backup, data: other, keys })).rejects.toMatchObject({ code: "BACKUP_REFUSED" });
    expect(fs.readdirSync(path.dirname(backup)).sort()).toEqual(["backup", "target"]);
  });

  it("P7: keys that are missing make a check fail, and are told with their number", async () => {
    const { data, backup, keys } = await backedUp([received("item/a", 1), received("item/b", 1)]);
    const database = new DatabaseSync(keys);
    database.exec("DELETE FROM ids");
    database.close();
    expect(await checkBackup({ backup })).toMatchObject({ missing: 0 });
    await expect(checkBackup({ backup, keys })).rejects.toMatchObject({
      code: "KEYS_UNAVAILABLE",
      facts: { problem: expect.stringContaining("for 2 entities") },
    });
    expect(fs.existsSync(data)).toBe(true);
  });
});
