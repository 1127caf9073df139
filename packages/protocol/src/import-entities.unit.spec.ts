// Goal: what was exported is there again, whole, once, and nothing else is touched. Against a real node: test/e2e.
import { describe, expect, it } from "vitest";
import { type ImportProgress, importEntities } from "./import-entities.ts";
import type { ImportFields } from "./lifecycle-requests.ts";
import { MemoryNode } from "./memory-node.spec-support.ts";
import type { HistoryFields } from "./requests.ts";

const nothing = { entities: 0, events: 0, present: 0, renumbered: 0, erased: 0 };

/** A node with many entities, long and short, and their export. */
function whole() {
  const node = new MemoryNode();
  for (let i = 0; i < 60; i++) {
    for (let n = 0; n <= i % 5; n++)
      node.write(`account/${i}`, { id: n === 0 ? `id-${i}` : undefined, time: 1_000 + n });
  }
  for (let n = 0; n < 2_300; n++) node.write("account/long", { time: 1_000 + Math.floor(n / 700), metadata: { n: 1 } });
  node.write("account/large", ...Array.from({ length: 4 }, () => ({ payload: "x".repeat(400_000) })));
  const lines = [...node.entities.keys()].flatMap((entity) => node.lines(entity));
  return { node, lines };
}

describe("import", () => {
  it("I1: gives the same entities, event by event", async () => {
    const { node, lines } = whole();
    const copy = new MemoryNode();
    const events = [...node.entities.values()].reduce((sum, { length }) => sum + length, 0);
    expect(await importEntities(copy, lines)).toEqual({ ...nothing, entities: 62, events });
    for (const [entity, events] of node.entities) expect(copy.of(entity), entity).toEqual(events);
    expect(copy.entities.size).toBe(node.entities.size);
  });

  it("I1: an append that had an id stays whole, however many events it has", async () => {
    const node = new MemoryNode();
    node.write("account/a", ...Array.from({ length: 3_000 }, () => ({ id: "one", time: 1_000 })));
    node.write("account/a", ...Array.from({ length: 1_500 }, () => ({ time: 1_000 })));
    const copy = new MemoryNode();
    await importEntities(copy, node.lines("account/a"));
    expect(copy.imports.map(({ id, events }) => [id, events.length])).toEqual([
      ["one", 3_000],
      [undefined, 1_000],
      [undefined, 500],
    ]);
  });

  it("I2: again writes nothing; what was written since is added", async () => {
    const { node, lines } = whole();
    const copy = new MemoryNode();
    const first = await importEntities(copy, lines);
    const again = await importEntities(copy, lines);
    expect(again).toEqual({ ...nothing, entities: 62, present: first.events });
    node.write("account/long", {}, {});
    const more = await importEntities(copy, node.lines("account/long"));
    expect(more).toEqual({ ...nothing, entities: 1, events: 2, present: 2_300 });
    expect(copy.of("account/long")).toEqual(node.of("account/long"));
  });

  it("I2: goes on after a failure at any request", async () => {
    const { node, lines } = whole();
    for (const failing of [0, 1, 5, 30, 59, 60, 61, 62]) {
      const copy = new MemoryNode();
      let left = failing;
      copy.afterImport = () => {
        if (left-- === 0) throw new Error("the line is dead");
      };
      await expect(importEntities(copy, lines)).rejects.toThrow("the line is dead");
      await importEntities(copy, lines);
      for (const [entity, events] of node.entities) expect(copy.of(entity), entity).toEqual(events);
    }
  });

  it("I2: a file that holds an entity twice, the second time longer, is taken as one history", async () => {
    const node = new MemoryNode();
    node.write("account/a", {}, {});
    const first = node.lines("account/a");
    node.write("account/a", {});
    const copy = new MemoryNode();
    let underWay = 0;
    const alone = async <T>(call: Promise<T>): Promise<T> => {
      expect(++underWay).toBe(1);
      return call.finally(() => underWay--);
    };
    const port = {
      history: (fields: HistoryFields) => alone(copy.history(fields)),
      import: (fields: ImportFields) => alone(copy.import(fields)),
    };
    const result = await importEntities(port, [...first, ...node.lines("account/a")]);
    expect(result).toEqual({ ...nothing, entities: 2, events: 3, present: 2 });
    expect(copy.of("account/a")).toEqual(node.of("account/a"));
  });

  it("ENTITY_EXISTS: an entity that has something else, or more; the others are untouched by that", async () => {
    const node = new MemoryNode();
    node.write("account/a", {}, {});
    for (const own of [[{ payload: "own" }], [{}, {}, {}]]) {
      const copy = new MemoryNode();
      copy.write("account/a", ...own);
      const before = structuredClone(copy.of("account/a"));
      await expect(importEntities(copy, node.lines("account/a"))).rejects.toMatchObject({
        code: "ENTITY_EXISTS",
        facts: { entity: "account/a", seq: own.length },
      });
      expect(copy.of("account/a")).toEqual(before);
    }
  });

  it("a payload in a newer shape than the export's is not taken for another event", async () => {
    const node = new MemoryNode();
    node.write("account/a", {}, {});
    const copy = new MemoryNode();
    copy.write("account/a", { schemaVersion: 2, payload: { cents: 100 } });
    expect(await importEntities(copy, node.lines("account/a"))).toMatchObject({ events: 1, present: 1 });
  });

  it("I3 P7: a short entity whose lines are damaged is not begun; those before it are there", async () => {
    const node = new MemoryNode();
    node.write("account/a", {});
    node.write("account/b", {}, {});
    const lines = [...node.lines("account/a"), ...node.lines("account/b")];
    for (const damaged of [lines.slice(0, -1), lines.with(-1, lines.at(-1)!.replace("2", "3"))]) {
      const copy = new MemoryNode();
      await expect(importEntities(copy, damaged)).rejects.toMatchObject({ code: "EXPORT_DAMAGED", facts: { line: 7 } });
      expect([...copy.entities.keys()]).toEqual(["account/a"]);
      await importEntities(copy, lines);
      expect(copy.of("account/b")).toEqual(node.of("account/b"));
    }
  });

  it("P7: what is no export at all is refused by its first line", async () => {
    await expect(importEntities(new MemoryNode(), ["hello"])).rejects.toMatchObject({
      code: "EXPORT_DAMAGED",
      facts: { line: 1 },
    });
    expect(await importEntities(new MemoryNode(), [])).toEqual(nothing);
  });

  it("an entity that was erased once is refused, and with renumber taken in from 1, which is told", async () => {
    const node = new MemoryNode();
    node.write("account/a", {}, {});
    node.erase("account/a");
    node.write("account/a", { payload: "second life" });
    const copy = new MemoryNode();
    await expect(importEntities(copy, node.lines("account/a"))).rejects.toMatchObject({
      code: "INVALID_REQUEST",
      facts: { path: "renumber" },
    });
    expect(copy.imports).toEqual([]);
    const result = await importEntities(copy, node.lines("account/a"), { renumber: true });
    expect(result).toEqual({ ...nothing, entities: 1, events: 1, renumbered: 1 });
    expect(copy.of("account/a")).toMatchObject([{ seq: 1, payload: "second life" }]);
  });

  it("of an entity that is erased there is nothing to import, which is told", async () => {
    const node = new MemoryNode();
    node.write("account/a", {});
    node.erase("account/a");
    const copy = new MemoryNode();
    expect(await importEntities(copy, node.lines("account/a"))).toEqual({ ...nothing, erased: 1 });
    expect(copy.imports).toEqual([]);
  });

  it("an entity that was erased here does not come back", async () => {
    const node = new MemoryNode();
    node.write("account/a", {}, {});
    const lines = node.lines("account/a");
    node.erase("account/a");
    await expect(importEntities(node, lines)).rejects.toMatchObject({ code: "ERASED", facts: { seq: 3 } });
  });

  it("under another id, when there is one entity only", async () => {
    const node = new MemoryNode();
    node.write("account/a", {}, {});
    const copy = new MemoryNode();
    await importEntities(copy, node.lines("account/a"), { as: "account/b" });
    expect(copy.of("account/b")).toEqual(node.of("account/a"));
    const twice = [...node.lines("account/a"), ...node.lines("account/a")];
    await expect(importEntities(copy, twice, { as: "account/c" })).rejects.toMatchObject({ facts: { path: "as" } });
  });

  it("trust is passed on, and a rule that says no is told", async () => {
    const node = new MemoryNode();
    node.write("account/a", {});
    const copy = new MemoryNode();
    await importEntities(copy, node.lines("account/a"), { trusted: true });
    expect(copy.imports[0]).toMatchObject({ trusted: true });
    node.write("account/b", { payload: "forbidden" });
    await expect(importEntities(copy, node.lines("account/b"))).rejects.toMatchObject({ code: "INVARIANT_VIOLATED" });
  });

  it("progress rises to the end", async () => {
    const { lines } = whole();
    const seen: ImportProgress[] = [];
    const result = await importEntities(new MemoryNode(), lines, { onProgress: (progress) => seen.push(progress) });
    expect(seen.at(-1)).toMatchObject({ entities: 62, events: result.events });
    for (let i = 1; i < seen.length; i++) expect(seen[i]!.entities).toBeGreaterThanOrEqual(seen[i - 1]!.entities);
    expect(seen.filter(({ entity }) => entity === "account/long").length).toBeGreaterThan(2);
  });

  it("I4 P8: a caller whose lines are slow to be written is not read ahead of", async () => {
    const { lines } = whole();
    const copy = new MemoryNode();
    let given = 0;
    let furthest = 0;
    copy.beforeImport = () => {
      furthest = Math.max(furthest, given);
      throw new Error("never mind");
    };
    const source = (function* () {
      for (const line of lines) {
        given++;
        yield line;
      }
    })();
    await expect(importEntities(copy, source)).rejects.toThrow("never mind");
    // Thirty-two entities of three lines and more, not the whole file.
    expect(furthest).toBeLessThan(32 * 7 + 3);
  });
});
