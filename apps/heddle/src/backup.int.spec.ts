// Goal: a data folder is backed up beside its node and comes back: all of it, as of a time, or one entity (P2, P5, P6).
// Method: one node as a process of its own; commands run in this process, shards on threads of the pool. What a backup
// promises is tested in packages/backup.
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, type Typed, typed, typedAt } from "./captured-terminal.spec-support.ts";
import { bank, type ServedNode, serve, temporaryFolder } from "./run-heddle.spec-support.ts";

const folder = temporaryFolder();
const file = (name: string) => path.join(folder, name);
const keys = file("data/keys/keys.sqlite");
let node: ServedNode;
let heddle: ReturnType<typeof typedAt>;
let noon: string;
beforeAll(async () => {
  node = await serve(file("data"), ["--shards", "2"]);
  heddle = typedAt(node.url);
  for (const name of ["alice", "bob", "carol"]) await heddle("append", `account/${name}`, "Credited", '{"amount":100}');
  noon = new Date().toISOString();
  while (new Date().toISOString() <= noon);
  for (const name of ["alice", "bob"]) await heddle("append", `account/${name}`, "Debited", '{"amount":30}');
});
afterAll(async () => {
  await node.stop();
  fs.rmSync(folder, { recursive: true, force: true });
});

const json = ({ out }: Typed) => JSON.parse(out) as Record<string, unknown>;
const refusal = ({ code, said }: Typed) => [code, said.trimEnd().split("\n").at(-1)!.trim()];
const backup = (...more: string[]) => typed("backup", file("backup"), "--data", file("data"), ...more);
const restore = (...args: string[]) => typed("restore", file("backup"), ...args, "--keys", keys);

async function served(data: string): Promise<Record<string, unknown>[]> {
  const restored = await serve(data, ["--keys", keys]);
  const at = typedAt(restored.url);
  const entities = linesOf(await at("entities", "--all", "--json")).slice(0, -1);
  const found = [];
  for (const { entity } of entities) found.push(json(await at("get", String(entity), "--json")));
  await restored.stop();
  return found;
}

describe("heddle backup, restore", () => {
  it("P2: back up beside the node, add a run, check it, and restore what was there", async () => {
    const first = await backup();
    expect(first.code).toBe(0);
    expect(first.out).toMatch(
      /^run 1 of .*: 2 shards, .* of log\nshard {2}position\n {4}0 .*\n {4}1 .*\n\d segments? written \(.*\), 0 B of log kept from earlier runs, .* \(\d+(\.\d)? (B|KiB)\/s\)\n$/,
    );
    await heddle("append", "account/carol", "Debited", '{"amount":1}');
    expect(json(await backup("--json"))).toMatchObject({ ok: true, run: 2, context: "bank", positions: { length: 2 } });
    const files = await typed("backup", "--check", file("backup"));
    expect(files.out).toMatch(/^BACKUP_OK \(run 2 of .*, context bank\)\n/);
    expect(files.out).toContain("--keys checks that they can be decrypted");
    const whole = json(await typed("backup", "--check", file("backup"), "--keys", keys, "--run", "1", "--json"));
    expect(whole).toMatchObject({ ok: true, run: 1, decrypted: true, erased: 0, missing: 0 });

    const restored = await restore(file("restored"));
    expect(restored).toMatchObject({ code: 0, said: expect.stringContaining(`--keys ${keys}\n`) });
    expect(restored.out).toMatch(/^restored .* from run 2 of .*: context bank\nshard {2}position\n/);
    expect(await typed("audit", "--domain", bank, "--data", file("restored"))).toMatchObject({ code: 0 });
    expect(await served(file("restored"))).toEqual([
      { entity: "account/alice", state: { balance: 70 }, seq: 2 },
      { entity: "account/bob", state: { balance: 70 }, seq: 2 },
      { entity: "account/carol", state: { balance: 99 }, seq: 2 },
    ]);
  });

  it("restore an earlier run, and what was there at a time", async () => {
    expect(json(await restore(file("run-1"), "--run", "1", "--json"))).toMatchObject({ ok: true, run: 1 });
    expect(await served(file("run-1"))).toContainEqual({ entity: "account/carol", state: { balance: 100 }, seq: 1 });
    expect((await restore(file("noon"), "--until", noon)).code).toBe(0);
    expect(await served(file("noon"))).toEqual(
      ["alice", "bob", "carol"].map((name) => ({ entity: `account/${name}`, state: { balance: 100 }, seq: 1 })),
    );
  });

  it("take one entity out of a backup, as of a time, for a living node", async () => {
    const one = ["--entity", "account/alice", "--domain", bank];
    const printed = await restore(...one, "--until", noon);
    expect(printed).toMatchObject({ code: 0, said: "1 event of account/alice, up to sequence 1, from run 2\n" });
    expect(linesOf(printed)).toMatchObject([
      { heddle: "export", context: "bank", entity: "account/alice", seq: 1 },
      { seq: 1, type: "Credited", payload: { amount: 100 } },
      { end: true, events: 1 },
    ]);
    const out = file("alice.ndjson");
    expect(json(await restore(...one, "--out", out, "--json"))).toMatchObject({ ok: true, out, events: 2, seq: 2 });
    expect((await heddle("import", out, "--as", "account/alice-before")).code).toBe(0);
    expect(json(await heddle("get", "account/alice-before", "--json"))).toMatchObject({ state: { balance: 70 } });
    await heddle("append", "account/alice", "Credited", '{"amount":1}');
    expect(refusal(await heddle("import", out))).toEqual([1, "ENTITY_EXISTS"]);
  });

  it("P6: what was erased since is in no backup any more, and a restored node has it erased", async () => {
    expect((await heddle("delete", "account/bob", "--yes")).code).toBe(0);
    expect(refusal(await restore("--entity", "account/bob", "--domain", bank))).toEqual([1, "ERASED"]);
    const checked = json(await typed("backup", "--check", file("backup"), "--keys", keys, "--json"));
    expect(checked).toMatchObject({ ok: true, missing: 0 });
    expect(checked["erased"]).toBeGreaterThan(0);
    const restored = await restore(file("without-bob"));
    expect(restored.out).toContain("1 entity was erased since, and so it is here\n");
    expect((await served(file("without-bob"))).map(({ entity }) => entity)).toEqual(["account/alice", "account/carol"]);
  });

  it("P7: refuse a backup that is none or damaged, a run that is not there, and say so", async () => {
    const none = file("none");
    fs.mkdirSync(none);
    expect(refusal(await typed("restore", none, file("x"), "--keys", keys))).toEqual([3, "BACKUP_REFUSED"]);
    expect(refusal(await typed("backup", "--check", none))).toEqual([1, "BACKUP_REFUSED"]);
    expect(refusal(await typed("backup", "--check", path.join(none, "nowhere")))).toEqual([1, "BACKUP_REFUSED"]);
    fs.writeFileSync(path.join(none, "letter.txt"), "dear backup");
    expect(refusal(await typed("backup", none, "--data", file("data")))).toEqual([3, "BACKUP_REFUSED"]);
    expect(refusal(await restore(file("x"), "--run", "9"))).toEqual([3, "BACKUP_REFUSED"]);
    expect(refusal(await typed("backup", file("data/backup"), "--data", file("data")))).toEqual([3, "BACKUP_REFUSED"]);
    expect(refusal(await typed("backup", file("y"), "--data", none))).toEqual([3, "DATA_FOLDER_UNWRITABLE"]);
    expect(fs.readFileSync(path.join(none, "letter.txt"), "utf8")).toBe("dear backup");

    fs.cpSync(file("backup"), file("damaged"), { recursive: true });
    for (const segment of fs.globSync(file("damaged/shards/*/*.seg"))) {
      const bytes = fs.readFileSync(segment);
      bytes[bytes.length - 9]! ^= 1;
      fs.writeFileSync(segment, bytes);
    }
    const damaged = await typed("backup", "--check", file("damaged"), "--json");
    expect(damaged.code).toBe(1);
    expect(json(damaged)).toMatchObject({ ok: false, error: { code: "BACKUP_REFUSED" } });
    expect(refusal(await typed("restore", file("damaged"), file("x"), "--keys", keys))).toEqual([3, "BACKUP_REFUSED"]);
    expect(fs.existsSync(file("x"))).toBe(false);
  });

  it("P7: refuse keys that are none or others, a folder that is not empty, an entity and a module that are others", async () => {
    const nowhere = file("nowhere.sqlite");
    expect(refusal(await typed("restore", file("backup"), file("x"), "--keys", nowhere))).toEqual([
      3,
      "KEYS_UNAVAILABLE",
    ]);
    expect(refusal(await typed("backup", "--check", file("backup"), "--keys", nowhere))).toEqual([
      1,
      "KEYS_UNAVAILABLE",
    ]);
    expect(refusal(await backup("--keys", nowhere))).toEqual([3, "KEYS_UNAVAILABLE"]);
    expect(refusal(await restore(file("data")))).toEqual([3, "DATA_FOLDER_UNWRITABLE"]);
    const of = (entity: string, domain: string) => restore("--entity", entity, "--domain", domain);
    expect(refusal(await of("account/zoe", bank))).toEqual([1, "OUT_OF_RANGE"]);
    expect(refusal(await of("zoe", bank))).toEqual([1, "INVALID_ENTITY_ID"]);
    expect(refusal(await of("account/alice", path.join(bank, "../flights")))).toEqual([3, "DATA_FOLDER_MISMATCH"]);
    expect(refusal(await of("account/alice", file("nowhere.ts")))).toEqual([3, "DOMAIN_LOAD_FAILED"]);
    expect(fs.existsSync(file("x"))).toBe(false);
  });
});
