// Goal: a run or a restore that is killed anywhere leaves nothing that looks whole, and is simply begun again (P5).
// Method: a child process that kills itself (SIGKILL) at its n-th call to the disk, for every n until it gets through.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { backUp } from "./back-up.ts";
import { readBackup } from "./backup-folder.ts";
import { restoreBackup } from "./restore.ts";
import { filesOf, filesWith, logFilesOf, Source, scratchFolder } from "./source.spec-support.ts";

const child = fileURLToPath(new URL("./crash-child.spec-support.ts", import.meta.url));

/** Whether the child got through. */
function run(what: "backup" | "restore", calls: number, options: object): boolean {
  const { status, signal, stderr } = spawnSync(process.execPath, [child, what, String(calls), JSON.stringify(options)]);
  if (signal !== "SIGKILL" && status !== 0) throw new Error(stderr.toString());
  return signal !== "SIGKILL";
}

async function write(source: Source, groups: number): Promise<void> {
  for (let group = 0; group < groups; group++) {
    source.add("account/a", [{ text: "planted-marker", group }]);
    source.add("account/b", [{ text: "planted-marker", group }]);
    await source.flush();
  }
}

function rig() {
  const folder = scratchFolder();
  const source = new Source(path.join(folder, "data"));
  return {
    folder,
    source,
    options: { data: source.data, backup: path.join(folder, "backup"), keys: path.join(folder, "keys.sqlite") },
    restored: path.join(folder, "restored"),
  };
}

/** A process for each call to the disk. */
const timeout = 600_000;

describe("P5: killed at any call to the disk", { timeout }, () => {
  it("a first run leaves a folder that the next one goes on with", async () => {
    const { source, options, restored } = rig();
    await write(source, 5);
    source.close();
    let kills = 0;
    for (; !run("backup", kills, options); kills++) {
      expect(filesWith(path.dirname(source.data), "planted-marker").every((file) => file.startsWith("data/"))).toBe(
        true,
      );
    }
    expect(kills).toBeGreaterThan(10);
    await restoreBackup({ ...options, data: restored });
    expect(logFilesOf(restored)).toEqual(logFilesOf(source.data));
  });

  it("a further run leaves those before it as they were, and what it left is taken away", async () => {
    const { source, options, restored } = rig();
    await write(source, 4);
    await backUp({ ...options, keepRuns: 1 });
    await write(source, 3);
    source.close();
    const before = logFilesOf(source.data);
    const kept = path.join(path.dirname(options.backup), "kept");
    fs.cpSync(options.backup, kept, { recursive: true });
    let kills = 0;
    for (; ; kills++) {
      fs.rmSync(options.backup, { recursive: true });
      fs.cpSync(kept, options.backup, { recursive: true });
      if (run("backup", kills, { ...options, keepRuns: 1 })) break;
      const manifest = readBackup(options.backup);
      expect([1, 2]).toContain(manifest.run);
      await restoreBackup({ ...options, data: restored });
      if (manifest.run === 2) expect(logFilesOf(restored)).toEqual(before);
      fs.rmSync(restored, { recursive: true });
      await backUp({ ...options, keepRuns: 1 });
      const files = [...filesOf(options.backup).keys()].filter((file) => file.endsWith(".seg"));
      expect(files.length).toBe(readBackup(options.backup).shards[0]!.segments.length);
    }
    expect(kills).toBeGreaterThan(10);
  });

  it("a restore leaves no data folder under its name, and is begun again", async () => {
    const { source, options, restored } = rig();
    await write(source, 5);
    await backUp(options);
    source.close();
    let kills = 0;
    for (; !run("restore", kills, { ...options, data: restored }); kills++) {
      // Renamed and not yet synced: it is there, and then it is whole.
      if (fs.existsSync(restored)) {
        expect(logFilesOf(restored)).toEqual(logFilesOf(source.data));
        fs.rmSync(restored, { recursive: true });
      }
    }
    expect(kills).toBeGreaterThan(10);
    expect(logFilesOf(restored)).toEqual(logFilesOf(source.data));
    expect(fs.existsSync(`${restored}.restoring`)).toBe(false);
  });
});
