// Goal: an audit says OK of the rows that a node makes of its logs, whatever became of the entities, and finds every kind of row
// that is not what the logs say. Each rule has its planted fault in audit.int.spec.ts; here are the cases beyond.
// Method: crafted logs, rows made by the real tracks, then changed in the file. What is expected is folded by code of its own.
import fs from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { projectionsFileOf } from "../data-folder.ts";
import { type AuditReport, auditFolder } from "./audit.ts";
import { auditProjection } from "./audit-projections.ts";
import { type CraftedAppend, craftFolder, received, restored, sold, tombstone } from "./crafted-folder.spec-support.ts";
import { alterProjections, projected, projectedDomain, projectFolder } from "./projected-folder.spec-support.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true });
});

async function crafted(appends: readonly CraftedAppend[]): Promise<string> {
  const data = await craftFolder(appends, { settleErasures: true });
  folders.push(data);
  return data;
}

async function projectedOf(appends: readonly CraftedAppend[]): Promise<string> {
  const data = await crafted(appends);
  await projectFolder(data);
  return data;
}

const audit = (data: string): Promise<AuditReport> => auditFolder({ data, domain: projected });
/** What it finds in the rows alone, without threads. */
async function found(data: string): Promise<string[]> {
  const lines: string[] = [];
  for (const projection of projectedDomain.projections.keys()) {
    const options = { data, domain: projectedDomain, shardCount: 2, problemsMax: 100, projection };
    const { problems } = await auditProjection(options, () => {});
    lines.push(...problems.map((problem) => `${problem.rule} ${problem.found} | ${problem.wanted}`));
  }
  return lines;
}

const life: readonly CraftedAppend[] = [
  received("item/a", 10),
  received("item/b", 5),
  sold("item/a", 3),
  received("item/c", 10),
];

describe("audit: rows of projections that are right", () => {
  it("P5: are compared, all of them, and counted", async () => {
    const report = await audit(await projectedOf(life));
    expect(report.problems).toEqual([]);
    expect(report).toMatchObject({ ok: true, notes: [] });
    expect(report.projections).toEqual([
      { name: "stock", rows: 3 },
      { name: "sizes", rows: 3 },
    ]);
  });

  it("P6: of entities that were erased or restored, and that began anew", async () => {
    const appends = [
      ...life,
      tombstone("item/a"),
      received("item/a", 7),
      received("item/d", 1),
      restored("item/b", 1),
      received("item/b", 5),
    ];
    const report = await audit(await projectedOf(appends));
    expect(report.problems).toEqual([]);
    expect(report.projections).toContainEqual({ name: "stock", rows: 4 });
  });

  it("with an event that its function refuses: compared up to there, and noted", async () => {
    const report = await audit(await projectedOf([sold("item/x", 1), ...life, received("item/x", 4)]));
    expect(report.problems.filter(({ rule }) => rule.startsWith("projection/"))).toEqual([]);
    expect(report.notes).toContain(
      "the projection stock: 1 entity is set aside, or waiting for a saga: compared up to there",
    );
  });

  it("of an earlier position than the log's end, and where a tombstone lies behind it", async () => {
    const data = await projectedOf(life);
    const longer = await crafted([...life, tombstone("item/a"), received("item/e", 2)]);
    fs.cpSync(`${data}/projections`, `${longer}/projections`, { recursive: true });
    const report = await audit(longer);
    expect(report.problems).toEqual([]);
    expect(report.notes.join("\n")).toContain("could not be compared, because erasures are under way");
    expect(report.projections).toContainEqual({ name: "stock", rows: 2 });
  });

  it("of another version are not compared, and that is said", async () => {
    const data = await projectedOf(life);
    alterProjections(data, "UPDATE heddle_generations SET version = 9 WHERE projection = 'stock'");
    const report = await audit(data);
    expect(report).toMatchObject({ ok: true, projections: [{ name: "sizes" }] });
    expect(report.notes[0]).toContain("stock was not compared: its rows were made by version 9");
  });

  it("that do not exist yet are no fault", async () => {
    expect(await audit(await crafted(life))).toMatchObject({ ok: true, projections: [], notes: [] });
  });
});

describe("audit: rows of projections that are wrong", () => {
  it.each([
    [
      "a row too few",
      "DELETE FROM heddle_rows_stock_1 WHERE item = 'item/a'",
      'projection/rows stock, the row item/a: no such row | {"item":"item/a","pieces":7,"moves":[1,2]}',
    ],
    [
      "a row too many",
      "INSERT INTO heddle_rows_stock_1 VALUES ('item/z', 1, '[1]')",
      'projection/rows stock, the row item/z: {"item":"item/z","pieces":1,"moves":[1]} | no such row',
    ],
    [
      "another number",
      "UPDATE heddle_rows_stock_1 SET pieces = pieces + 1 WHERE item = 'item/b'",
      "projection/rows stock, the row item/b, column pieces: 6 | 5",
    ],
    [
      "another list in a column of JSON",
      "UPDATE heddle_rows_stock_1 SET moves = '[2,1]' WHERE item = 'item/a'",
      "projection/rows stock, the row item/a, column moves: [2,1] | [1,2]",
    ],
    [
      "an event that was counted twice",
      "UPDATE heddle_rows_sizes_1 SET times = 3 WHERE quantity = 10",
      "projection/rows sizes, the row [10], column times: 3 | 2",
    ],
    [
      "a row that names another entity as its source, where an erasure would not find it",
      "UPDATE heddle_rows_sizes_1 SET heddle_source = 'item/c' WHERE quantity = 3",
      'projection/rows sizes, the row [3]: {"source":"item/c"} | {"source":"item/a"}',
    ],
  ])("finds %s", async (_, statement, wanted) => {
    const data = await projectedOf(life);
    alterProjections(data, statement);
    expect(await found(data)).toEqual([wanted]);
  });

  it("finds rows that are behind their position, and rows that are ahead of it", async () => {
    const data = await projectedOf(life);
    const shorter = await projectedOf(life.slice(0, 2));
    const positions = (of: string) => `(SELECT positions FROM ${of}heddle_generations WHERE projection = 'stock')`;
    const file = projectionsFileOf(shorter);
    alterProjections(
      data,
      `ATTACH '${file}' AS shorter`,
      `UPDATE heddle_generations SET positions = ${positions("shorter.")}`,
    );
    expect((await found(data)).join("\n")).toContain("stock, the row item/a, column pieces: 7 | 10");
    const behind = await projectedOf(life.slice(0, 2));
    fs.rmSync(`${behind}/shards`, { recursive: true });
    fs.cpSync(`${await crafted(life)}/shards`, `${behind}/shards`, { recursive: true });
    const whole = await projectedOf(life);
    alterProjections(
      behind,
      `ATTACH '${projectionsFileOf(whole)}' AS whole`,
      `UPDATE heddle_generations SET positions = ${positions("whole.")}`,
    );
    expect((await found(behind)).join("\n")).toContain("stock, the row item/c: no such row");
  });

  it("P6: finds rows of an entity that was erased", async () => {
    const data = await projectedOf([...life, tombstone("item/a")]);
    alterProjections(data, "INSERT INTO heddle_rows_stock_1 VALUES ('item/a', 7, '[1,2]')");
    expect((await found(data))[0]).toContain("stock, the row item/a");
  });
});
