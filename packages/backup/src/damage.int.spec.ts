// Goal: a backup that is incomplete, cut, altered, put together from two, or of another version is refused with the
// reason, by whoever reads it, and nothing is made of it.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { isHeddleError } from "@heddle/kernel";
import { beforeEach, describe, expect, it } from "vitest";
import { backUp } from "./back-up.ts";
import { readBackup } from "./backup-folder.ts";
import { checksumOf, type Manifest } from "./manifest.ts";
import { restoreBackup } from "./restore.ts";
import { Source, scratchFolder } from "./source.spec-support.ts";
import { verifyBackup } from "./verify.ts";

let folder: string;
let source: Source;
let options: { data: string; backup: string; keys: string };

beforeEach(async () => {
  folder = scratchFolder();
  source = new Source(path.join(folder, "data"));
  options = { data: source.data, backup: path.join(folder, "backup"), keys: path.join(folder, "keys.sqlite") };
  await write();
  await backUp(options);
  await write();
  await backUp(options);
  source.close();
});

async function write(): Promise<void> {
  for (let group = 0; group < 12; group++) {
    source.add("account/a", [{ n: group, text: "some text" }]);
    source.add("account/b", [{ n: group, text: "some text" }]);
    await source.flush();
  }
}

const inBackup = (name: string) => path.join(options.backup, name);
const segmentFiles = () => fs.readdirSync(inBackup("shards/0000")).map((name) => `shards/0000/${name}`);
const newest = "manifest-000002.json";

function change(name: string, at: number, mask = 1): void {
  const bytes = fs.readFileSync(inBackup(name));
  bytes[at < 0 ? bytes.length + at : at]! ^= mask;
  fs.writeFileSync(inBackup(name), bytes);
}

/** Writes a manifest that is whole in itself. */
function forge(changes: (manifest: Manifest) => object, format = 1): void {
  const { content } = JSON.parse(fs.readFileSync(inBackup(newest), "utf8")) as { content: Manifest };
  const forged = { ...content, ...changes(content) };
  fs.writeFileSync(
    inBackup(newest),
    JSON.stringify({ heddleBackup: format, checksum: checksumOf(forged), content: forged }),
  );
}

/** What a restore and a verification say; they must agree. */
async function problem(): Promise<string> {
  const data = path.join(folder, "restored");
  const told: string[] = [];
  for (const work of [restoreBackup({ ...options, data }), verifyBackup(options)]) {
    const error = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!isHeddleError(error, "BACKUP_REFUSED")) throw error ?? new Error("it was not refused");
    told.push(error.facts.problem);
  }
  expect(fs.readdirSync(folder).filter((name) => name.startsWith("restored"))).toEqual([]);
  expect(told[0]).toBe(told[1]);
  return told[0]!;
}

describe("P7: a damaged backup is refused", () => {
  it("when it is none", async () => {
    fs.rmSync(inBackup("backup.json"));
    expect(await problem()).toBe("it is no backup: there is no backup.json");
    fs.rmSync(options.backup, { recursive: true });
    expect(await problem()).toBe("it is no backup: there is no backup.json");
  });

  it("when no run of it ever ended", async () => {
    for (const name of fs.readdirSync(options.backup)) if (name.startsWith("manifest-")) fs.rmSync(inBackup(name));
    expect(await problem()).toBe("it is incomplete: no run of it has ended");
  });

  it("when a run is asked for that it has not", () => {
    expect(() => readBackup(options.backup, 7)).toThrow("it has no run 7; it has 1, 2");
  });

  it("when a file is missing, or shorter or longer than it was", async () => {
    const name = segmentFiles()[0]!;
    const bytes = fs.readFileSync(inBackup(name));
    fs.writeFileSync(inBackup(name), bytes.subarray(0, -1));
    expect(await problem()).toBe(`${name} has ${bytes.length - 1} bytes, wanted ${bytes.length}`);
    fs.writeFileSync(inBackup(name), Buffer.concat([bytes, Buffer.from("x")]));
    expect(await problem()).toBe(`${name} has ${bytes.length + 1} bytes, wanted ${bytes.length}`);
    fs.rmSync(inBackup(name));
    expect(await problem()).toBe(`it is incomplete: ${name} is missing`);
    await expect(backUp(options)).rejects.toMatchObject({ code: "BACKUP_REFUSED" });
  });

  it("when any byte of a file is altered", async () => {
    const [name] = segmentFiles();
    const { length } = fs.readFileSync(inBackup(name!));
    for (let at = 0; at < length; at += 37) {
      change(name!, at);
      expect(await problem()).toBe(`${name}: it was altered: its checksum does not match`);
      change(name!, at);
    }
  });

  it("when any byte of a manifest is altered, or its end is cut off", async () => {
    const whole = fs.readFileSync(inBackup(newest));
    for (let at = 0; at < whole.length - 1; at += 41) {
      change(newest, at, 2);
      expect(await problem()).toContain(newest);
      fs.writeFileSync(inBackup(newest), whole.subarray(0, at));
      expect(await problem()).toContain(`${newest} was cut or altered`);
      fs.writeFileSync(inBackup(newest), whole);
    }
    change(newest, 60);
    await expect(backUp(options)).rejects.toMatchObject({ code: "BACKUP_REFUSED" });
  });

  it("when a manifest is of another backup, another run, or a later version", async () => {
    forge(() => ({ backup: "another" }));
    expect(await problem()).toBe(`${newest} belongs to another backup`);
    forge(({ shards }) => ({ backup: readBackup(options.backup, 1).backup, run: 5, shards }));
    expect(await problem()).toBe(`${newest} is the manifest of run 5`);
    forge(() => ({ run: 2 }), 2);
    expect(await problem()).toBe(`${newest} has format version 2, this program knows 1`);
  });

  it("when a manifest and the files do not belong together", async () => {
    const shifted = (changes: object) => (manifest: Manifest) => ({
      shards: manifest.shards.map((shard) => ({
        ...shard,
        segments: shard.segments.map((segment, index) => (index === 0 ? { ...segment, ...changes } : segment)),
      })),
    });
    forge(shifted({ length: 8 }));
    expect(await problem()).toContain("the manifest says 8");
    const { length } = readBackup(options.backup, 1).shards[0]!.segments[0]!;
    forge(shifted({ length, salt: 7 }));
    expect(await problem()).toContain("it holds another segment than the manifest says");
  });

  it("when a file says a later version", async () => {
    const [name] = segmentFiles();
    change(name!, 8, 3);
    const sha256 = createHash("sha256")
      .update(fs.readFileSync(inBackup(name!)))
      .digest("hex");
    forge(({ shards: [shard] }) => ({
      shards: [{ ...shard!, segments: [{ ...shard!.segments[0]!, sha256 }, ...shard!.segments.slice(1)] }],
    }));
    expect(await problem()).toBe(`${name}: format version 2, this program knows 1`);
  });

  it("and an earlier run can be restored, when only the newest is damaged", async () => {
    change(newest, 60);
    const { run } = await restoreBackup({ ...options, data: path.join(folder, "restored"), run: 1 });
    expect(run).toBe(1);
  });
});
