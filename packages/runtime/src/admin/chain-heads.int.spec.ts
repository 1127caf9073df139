// Goal: whoever has an export of chain heads can tell, from the log alone, which entities are not as they were.
// Method: crafted folders are exported and then altered, with every checksum renewed. That the audit names the entry is
// tested in audit-life.int.spec.ts.
import fs from "node:fs";
import path from "node:path";
import { systemClock } from "@heddle/kernel";
import { afterEach, describe, expect, it } from "vitest";
import { partitionFolderOf } from "../data-folder.ts";
import { exportChainHeads, verifyChainHeads } from "./chain-heads.ts";
import {
  alterEntry,
  type CraftedAppend,
  craftFolder,
  received,
  sold,
  temporaryFolder,
  tombstone,
} from "./crafted-folder.spec-support.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

async function crafted(appends: readonly CraftedAppend[], options: { index?: boolean } = {}): Promise<string> {
  const data = await craftFolder(appends, { shardCount: 1, ...options });
  folders.push(data);
  return data;
}

async function exported(data: string): Promise<{ text: string; file: string }> {
  let text = "";
  await exportChainHeads({ data, write: (lines) => (text += lines), nowMs: systemClock.now() });
  const folder = temporaryFolder();
  folders.push(folder);
  const file = path.join(folder, "heads.ndjson");
  fs.writeFileSync(file, text);
  return { text, file };
}

const three = [received("item/b", 10), received("item/a", 5), sold("item/b", 3), sold("item/b", 2)];

describe("chain heads: the export", () => {
  it("has a header, a line for each entity in order, and a checksum", async () => {
    const { text } = await exported(await crafted(three));
    const lines = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toMatchObject([
      { format: "heddle-chain-heads", version: 1, context: "shop", shardCount: 1, source: "partition" },
      { entity: "item/a", seq: 1, chain: expect.stringMatching(/^[0-9a-f]{64}$/) },
      { entity: "item/b", seq: 3, chain: expect.stringMatching(/^[0-9a-f]{64}$/) },
      { entities: 2, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ]);
  });

  it("has the same chains when they are computed from the log, because there is no partition", async () => {
    const data = await crafted([...three, tombstone("item/a"), received("item/a", 1)]);
    const fromPartition = (await exported(data)).text.split("\n").slice(1, 3);
    fs.rmSync(partitionFolderOf(data, 0), { recursive: true });
    const { text } = await exported(data);
    expect(text).toContain('"source":"log"');
    expect(text.split("\n").slice(1, 3)).toEqual(fromPartition);
  });
});

describe("chain heads: the verification", () => {
  it("says yes of a folder that only went on", async () => {
    const { file } = await exported(await crafted(three));
    const later = await crafted([...three, received("item/b", 1), received("item/c", 1)]);
    expect(await verifyChainHeads({ data: later, file })).toMatchObject({
      ok: true,
      entities: 2,
      verified: 2,
      mismatchTotal: 0,
    });
  });

  it("names an entity of which an entry was altered, and no other", async () => {
    const data = await crafted(three);
    const { file } = await exported(data);
    alterEntry(data, 0, 2, (entry) => {
      entry[entry.length - 1] = 4;
    });
    const result = await verifyChainHeads({ data, file });
    expect(result).toMatchObject({ ok: false, verified: 1, mismatchTotal: 1 });
    expect(result.mismatches[0]).toMatchObject({ entity: "item/b", seq: 3 });
  });

  it("names an entity of which the last entries were dropped", async () => {
    const { file } = await exported(await crafted(three));
    const result = await verifyChainHeads({ data: await crafted(three.slice(0, 3)), file });
    expect(result.mismatches).toMatchObject([{ entity: "item/b", seq: 3, found: "a history that ends at sequence 2" }]);
  });

  it("names an entity whose entries changed places", async () => {
    const { file } = await exported(await crafted(three));
    const swapped = await crafted([three[0]!, three[1]!, three[3]!, three[2]!]);
    expect((await verifyChainHeads({ data: swapped, file })).mismatches).toMatchObject([{ entity: "item/b" }]);
  });

  it("P6: calls an entity that was erased since erased, also in a new life, and not altered", async () => {
    const { file } = await exported(await crafted(three));
    for (const more of [[], [received("item/b", 7)]]) {
      const data = await crafted([...three, tombstone("item/b"), ...more]);
      expect(await verifyChainHeads({ data, file })).toMatchObject({ ok: true, verified: 1, erased: 1 });
    }
  });

  it("verifies a new life from its tombstone on", async () => {
    const life = [...three, tombstone("item/b"), received("item/b", 7)];
    const data = await crafted(life);
    const { file } = await exported(data);
    expect(await verifyChainHeads({ data, file })).toMatchObject({ ok: true, verified: 2, erased: 0 });
    alterEntry(data, 0, 5, (entry) => {
      entry[entry.length - 1] = 9;
    });
    expect((await verifyChainHeads({ data, file })).mismatches).toMatchObject([{ entity: "item/b", seq: 5 }]);
  });

  it("names an entity whose entries are marked as erased though nobody erased it", async () => {
    const data = await crafted(three);
    const { file } = await exported(data);
    alterEntry(data, 0, 2, (entry) => {
      entry[8] = 4;
    });
    expect((await verifyChainHeads({ data, file })).mismatches).toMatchObject([
      { entity: "item/b", found: "erased entries, and no tombstone behind them" },
    ]);
  });
});

describe("chain heads: what is refused", () => {
  it.each([
    ["a changed line", (text: string) => text.replace('"seq":3', '"seq":2'), 4],
    ["a line that is missing", (text: string) => text.replace(/.*item\/a.*\n/, ""), 3],
    ["a file that was cut", (text: string) => text.slice(0, text.indexOf('{"entities"')), 3],
    ["another kind of file", () => '{"entity":"a/b"}\n{}\n', 1],
    ["an empty file", () => "", 0],
  ])("P7: %s", async (_, spoil, line) => {
    const data = await crafted(three);
    const { text, file } = await exported(data);
    fs.writeFileSync(file, spoil(text));
    await expect(verifyChainHeads({ data, file })).rejects.toMatchObject({ code: "EXPORT_DAMAGED", facts: { line } });
  });

  it("P7: an export of another context", async () => {
    const data = await crafted(three);
    const { file } = await exported(data);
    const description = fs.readFileSync(path.join(data, "heddle.json"), "utf8");
    fs.writeFileSync(path.join(data, "heddle.json"), description.replace('"shop"', '"bank"'));
    await expect(verifyChainHeads({ data, file })).rejects.toMatchObject({ code: "DATA_FOLDER_MISMATCH" });
  });
});
