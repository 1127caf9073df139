// Goal: what leaves a node as an export comes into another as it was, whatever cuts it off in between.
// Method: two nodes as processes of their own; commands run in this process. The format and the copying are tested in
// packages/protocol, where a file may be cut in unfinished-export.int.spec.ts.
import fs from "node:fs";
import path from "node:path";
import { Heddle } from "@heddle/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, type Typed, typedAt } from "./captured-terminal.spec-support.ts";
import { launcher, type ServedNode, serve, start, temporaryFolder } from "./run-heddle.spec-support.ts";

const folder = temporaryFolder();
const file = (name: string) => path.join(folder, name);
const nodes: ServedNode[] = [];
let node: ServedNode;
let heddle: ReturnType<typeof typedAt>;
async function another(): Promise<ReturnType<typeof typedAt>> {
  const made = await serve(file(`data-${nodes.length}`), ["--shards", "2", "--durability", "os"]);
  nodes.push(made);
  return typedAt(made.url);
}
beforeAll(async () => {
  heddle = await another();
  node = nodes[0]!;
  await using db = new Heddle(node.url);
  for (let i = 0; i < 40; i++) {
    const entity = db.entity(`account/${String(i).padStart(2, "0")}`);
    await entity.append(
      [
        { type: "Credited", payload: { amount: 10 + i } },
        { type: "Debited", payload: { amount: 3 } },
      ],
      {
        aggregate: "Account",
        id: `open-${i}`,
        metadata: { by: "Zoë" },
      },
    );
    await entity.append("Credited", { amount: 1 });
  }
  // More than is held in memory at once.
  const long = Array.from({ length: 5_000 }, () => ({ type: "Credited", payload: { amount: 1 } }));
  await db.entity("account/long").append(long, { aggregate: "Account" });
  await db.entity("fees/one").append("Credited", { amount: 5 });
});
afterAll(async () => {
  await Promise.all(nodes.map((one) => one.stop()));
  fs.rmSync(folder, { recursive: true, force: true });
});

const json = ({ out }: Typed) => JSON.parse(out) as Record<string, unknown>;
const refusal = ({ code, said }: Typed) => [code, said.trimEnd().split("\n").at(-1)!.trim()];
const read = (name: string) => fs.readFileSync(file(name), "utf8");
/** Without what differs from one export to the next. */
const content = (text: string) => text.replaceAll(/,"(exportedAt|crc)":"[^"]*"/g, "");

async function states(at: typeof heddle): Promise<unknown[]> {
  const listed = linesOf(await at("entities", "--all", "--json")).slice(0, -1);
  return listed.map(({ entity, seq, time, chain }) => ({ entity, seq, time, chain: typeof chain }));
}

describe("heddle export, import", () => {
  it("of one entity: the same history, sequences, times, ids and state elsewhere, and importing again changes nothing", async () => {
    const target = await another();
    const exported = await heddle("export", "account/07");
    expect(exported).toMatchObject({ code: 0, said: "3 events exported\n" });
    expect(linesOf(exported).map((line) => Object.keys(line)[0])).toEqual(["heddle", "seq", "seq", "seq", "end"]);
    fs.writeFileSync(file("07.ndjson"), exported.out);
    expect(await target("import", file("07.ndjson"))).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^1 entity, 3 events imported in /),
    });
    const again = await target("import", file("07.ndjson"), "--json");
    expect(json(again)).toMatchObject({ ok: true, entities: 1, events: 0, present: 3 });
    const history = async (at: typeof heddle) =>
      (JSON.parse((await at("history", "account/07", "--json")).out) as Record<string, unknown>[]).map(
        ({ position: _, ...event }) => event,
      );
    expect(await history(target)).toEqual(await history(heddle));
    // The id that it had is used there as well (P4).
    const used = ["append", "account/07", "Credited", '{"amount":1}', "--id", "open-7"];
    expect(refusal(await target(...used))).toEqual([1, "ID_REUSED"]);
  });

  it("of all: every entity, in order, to the same states; one kind alone; several by name", async () => {
    const target = await another();
    const all = await heddle("export", "--all", "--out", file("all.ndjson"), "--json");
    expect(json(all)).toMatchObject({ ok: true, entities: 42, events: 5_121, keptEntities: 0 });
    expect(await target("import", file("all.ndjson"))).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^42 entities, 5,121 events imported in .*\/s\)\n$/),
    });
    expect(await states(target)).toEqual(await states(heddle));
    const printed = await heddle("export", "--all");
    expect(content(printed.out)).toBe(content(read("all.ndjson")));
    expect(printed.said).toContain("42 entities with 5,121 events exported in ");
    const kind = await heddle("export", "--kind", "fees", "--out", file("other.ndjson"));
    expect(kind.said).toMatch(/1 entity with 1 event exported in /);
    const named = linesOf(await heddle("export", "fees/one", "account/never", "account/00"));
    expect(named.filter((line) => "heddle" in line).map(({ entity, seq }) => [entity, seq])).toEqual([
      ["fees/one", 1],
      ["account/never", 0],
      ["account/00", 3],
    ]);
  });

  it("P5: an export that was cut off anywhere is gone on with: whole entities stay, half of one is taken back", async () => {
    const whole = (await heddle("export", "--all")).out;
    const ends = [...whole.matchAll(/\{"end":true.*\n/g)].map((match) => match.index + match[0].length);
    const cuts = [0, 1, ends[0]!, ends[0]! - 1, ends[20]! + 5, ends[40]! - 3_000, ends[41]! - 1, whole.length];
    for (const cut of cuts) {
      fs.writeFileSync(file("cut.ndjson"), whole.slice(0, cut));
      const kept = ends.filter((end) => end <= cut).length;
      const done = json(await heddle("export", "--all", "--out", file("cut.ndjson"), "--json"));
      expect(done, `cut at ${cut}`).toMatchObject({ keptEntities: kept, entities: 42 - kept });
      expect(content(read("cut.ndjson")), `cut at ${cut}`).toBe(content(whole));
    }
    fs.writeFileSync(file("cut.ndjson"), whole.slice(0, ends[9]! + 40));
    const told = await heddle("export", "--all", "--out", file("cut.ndjson"));
    expect(told.said).toContain("going on behind account/09: 10 entities are there already\n");
    expect(told.said).toMatch(/32 entities with .* exported in .*, 10 kept\n$/);
  });

  it("P5: an export that was killed is completed by the same command", async () => {
    const args = ["export", "--all", "--out", file("killed.ndjson")];
    const running = start(process.execPath, [launcher, ...args], { environment: { HEDDLE_URL: node.url } });
    const begun = () => fs.existsSync(file("killed.ndjson")) && fs.statSync(file("killed.ndjson")).size > 0;
    await new Promise<void>((resolve) => {
      const look = () => (begun() ? resolve() : setImmediate(look));
      look();
    });
    running.child.kill("SIGKILL");
    await running.ended;
    expect((await heddle(...args)).code).toBe(0);
    expect(content(read("killed.ndjson"))).toBe(content((await heddle("export", "--all")).out));
  });

  it("P6: an entity that was erased meanwhile is left out, one that was rewound comes as it is", async () => {
    const source = await another();
    const target = await another();
    for (const name of ["a", "b", "c"]) await source("append", `account/${name}`, "Credited", '{"amount":5}');
    await source("append", "account/b", "Debited", '{"amount":1}');
    await source("rewind", "account/b", "--seq", "1");
    await source("delete", "account/c", "--yes");
    await source("append", "account/c", "Credited", '{"amount":9}', "--new-life");
    await source("delete", "account/a", "--yes");
    const out = file("lives.ndjson");
    expect(json(await source("export", "--all", "--out", out, "--json"))).toMatchObject({ entities: 2 });
    // Its sequences cannot be kept where it was never erased, so that has to be asked for.
    expect(refusal(await target("import", out))).toEqual([1, "INVALID_REQUEST"]);
    expect(json(await target("import", out, "--renumber", "--json"))).toMatchObject({ entities: 2, renumbered: 1 });
    expect(json(await target("get", "account/b", "--json"))).toMatchObject({ state: { balance: 5 }, seq: 4 });
    expect(json(await target("get", "account/c", "--json"))).toMatchObject({ state: { balance: 9 }, seq: 1 });
  });

  it("P7: refuses a file that is cut or changed with its line, and an entity that has another history", async () => {
    const target = await another();
    const whole = (await heddle("export", "account/01", "account/02")).out;
    fs.writeFileSync(file("damaged.ndjson"), whole.slice(0, -20));
    const cut = await target("import", file("damaged.ndjson"), "--json");
    expect(cut.code).toBe(1);
    expect(json(cut)).toMatchObject({ ok: false, error: { code: "EXPORT_DAMAGED", facts: { line: 10 } } });
    fs.writeFileSync(file("damaged.ndjson"), whole.replace('"amount":11', '"amount":99'));
    const changed = await target("import", file("damaged.ndjson"));
    expect(refusal(changed)).toEqual([1, "EXPORT_DAMAGED"]);
    expect(changed.said).toContain("line 2");
    await target("append", "account/02", "Credited", '{"amount":77}');
    fs.writeFileSync(file("whole.ndjson"), whole);
    expect(refusal(await target("import", file("whole.ndjson")))).toEqual([1, "ENTITY_EXISTS"]);
    expect(json(await target("get", "account/02", "--json"))).toMatchObject({ state: { balance: 77 }, seq: 1 });
  });

  it("P7: --as takes one entity, --as and --trust are for exports, and another file is not written over", async () => {
    const target = await another();
    fs.writeFileSync(file("two.ndjson"), (await heddle("export", "account/01", "account/02")).out);
    const two = await target("import", file("two.ndjson"), "--as", "account/x");
    expect(two).toMatchObject({ code: 2, said: expect.stringContaining("the file holds several entities") });
    expect(json(await target("get", "account/x", "--json"))).toMatchObject({ seq: 0 });
    fs.writeFileSync(file("one.ndjson"), (await heddle("export", "account/01")).out);
    expect((await target("import", file("one.ndjson"), "--as", "account/x", "--trust")).code).toBe(0);
    expect(json(await target("get", "account/x", "--json"))).toMatchObject({ state: { balance: 9 }, seq: 3 });
    expect(refusal(await target("import", file("one.ndjson"), "--as", "x"))).toEqual([1, "INVALID_ENTITY_ID"]);

    const plain = '{"entity":"account/p","type":"Credited","payload":{"amount":1}}\n';
    fs.writeFileSync(file("plain.ndjson"), plain);
    const trusted = await target("import", file("plain.ndjson"), "--trust");
    expect(trusted).toMatchObject({ code: 2, said: expect.stringContaining("--trust is for exports") });
    expect(refusal(await heddle("export", "--all", "--out", file("plain.ndjson")))).toEqual([1, "EXPORT_DAMAGED"]);
    expect(read("plain.ndjson")).toBe(plain);
    const nowhere = await heddle("export", "account/01", "--out", file("no/such/folder/x"));
    expect(nowhere).toMatchObject({ code: 3, said: expect.stringContaining("ENOENT") });
  });
});
