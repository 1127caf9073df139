// Goal: a fork is the beginning of its source, whatever comes between. Against a real node: test/e2e.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { copyHistory } from "./copy-history.ts";
import type { ExportedEvent } from "./export-format.ts";
import { MemoryNode } from "./memory-node.spec-support.ts";

const source = "account/alice";
const target = "account/fork";
const nowMs = 1_000_000;
const fork = (node: MemoryNode, at?: { seq: number } | { time: number }) =>
  copyHistory(node, { source, target, at: at as never, nowMs });
const withoutIds = (events: readonly ExportedEvent[]) => events.map((event) => ({ ...event, id: undefined }));
const failure = (code: string, facts: object = {}) => ({ code, facts: expect.objectContaining(facts) });

function withEvents(count: number, part: (i: number) => Partial<ExportedEvent> = () => ({})): MemoryNode {
  const node = new MemoryNode();
  for (let i = 1; i <= count; i++) node.write(source, { time: 1_000 + i * 10, id: `id-${i}`, ...part(i) });
  return node;
}

describe("fork", () => {
  it("copies everything, with times, sequences and metadata, but without ids", async () => {
    const node = withEvents(30, (i) => ({ metadata: { by: i }, aggregate: i % 3 === 0 ? "Limit" : "Account" }));
    const before = structuredClone(node.of(source));
    expect(await fork(node)).toEqual({ seq: 30, events: 30 });
    expect(node.of(target)).toEqual(withoutIds(before));
    expect(node.of(source)).toEqual(before);
    expect(node.imports.every(({ id, trusted }) => id === undefined && trusted)).toBe(true);
  });

  it("copies up to a sequence or a time, both inclusive, and nothing for a moment before the first event", async () => {
    for (const [at, seq] of [
      [{ seq: 5 }, 5],
      [{ time: 1_050 }, 5],
      [{ time: 1_059 }, 5],
      [{ seq: 0 }, 0],
      [{ time: 3 }, 0],
      [{ time: 0 }, 0],
    ] as const) {
      const node = withEvents(10);
      expect(await fork(node, at)).toEqual({ seq, events: seq });
      expect(node.of(target)).toEqual(withoutIds(node.of(source).slice(0, seq)));
    }
  });

  it("makes few requests: events of one time go together, a thousand at most", async () => {
    const node = withEvents(2_500, () => ({ time: 1_000, id: undefined }));
    node.pageMax = 1_000;
    await fork(node);
    expect(node.imports.map(({ events }) => events.length)).toEqual([1_000, 1_000, 500]);
    expect(node.imports.map(({ expectedSeq }) => expectedSeq)).toEqual([0, 1_000, 2_000]);
  });

  it("keeps requests at about a megabyte", async () => {
    const node = withEvents(5, () => ({ time: 1_000, id: undefined, payload: "x".repeat(600_000) }));
    await fork(node);
    expect(node.imports).toHaveLength(5);
  });

  it("goes on where it ended, after a failure at any request, before or after that took effect", async () => {
    for (const when of ["beforeImport", "afterImport"] as const) {
      for (let failing = 0; failing < 12; failing++) {
        const node = withEvents(12);
        let left = failing;
        node[when] = () => {
          if (left-- === 0) throw new Error("the line is dead");
        };
        await expect(fork(node)).rejects.toThrow("the line is dead");
        expect(node.of(target)).toHaveLength(when === "beforeImport" ? failing : failing + 1);
        expect((await fork(node)).seq).toBe(12);
        expect(node.of(target)).toEqual(withoutIds(node.of(source)));
      }
    }
  });

  it("again is the same, and writes nothing", async () => {
    const node = withEvents(20);
    await fork(node);
    const imports = node.imports.length;
    expect(await fork(node)).toEqual({ seq: 20, events: 0 });
    expect(node.imports).toHaveLength(imports);
    node.write(source, {});
    expect(await fork(node)).toEqual({ seq: 21, events: 1 });
  });

  it("several at the same time make one copy", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 2, max: 5 }), fc.integer({ min: 1, max: 30 }), async (forks, count) => {
        const node = withEvents(count, (i) => ({ time: 1_000 + Math.floor(i / 3) }));
        const results = await Promise.all(Array.from({ length: forks }, () => fork(node)));
        expect(results.map(({ seq }) => seq)).toEqual(new Array(forks).fill(count));
        expect(results.reduce((sum, { events }) => sum + events, 0)).toBe(count);
        expect(node.of(target)).toEqual(withoutIds(node.of(source)));
      }),
      { numRuns: 30 },
    );
  });

  it("ENTITY_EXISTS: an id that has a history of its own, shorter, longer or elsewhere different", async () => {
    for (const change of [
      (node: MemoryNode) => node.write(target, { payload: "own" }),
      (node: MemoryNode) => {
        node.of(target).push(...withoutIds(node.of(source)));
        node.write(target, { payload: "own" });
      },
      (node: MemoryNode) => node.of(target).push({ ...node.of(source)[0]!, time: 7 }),
      (node: MemoryNode) => node.of(target).push({ ...node.of(source)[0]!, type: "Debited" }),
    ]) {
      const node = withEvents(3);
      change(node);
      const before = structuredClone(node.of(target));
      await expect(fork(node)).rejects.toMatchObject(failure("ENTITY_EXISTS", { entity: target, seq: before.length }));
      expect(node.of(target)).toEqual(before);
    }
    const empty = withEvents(3);
    empty.write(target, {});
    await expect(fork(empty, { seq: 0 })).rejects.toMatchObject(failure("ENTITY_EXISTS"));
  });

  it("ENTITY_EXISTS: what somebody else writes to the id meanwhile is never written behind", async () => {
    const node = withEvents(10);
    node.beforeImport = ({ expectedSeq }) => {
      if (expectedSeq === 4 && node.of(target).length === 4) node.write(target, { payload: "another's" });
    };
    await expect(fork(node)).rejects.toMatchObject(failure("ENTITY_EXISTS", { seq: 5 }));
    expect(node.of(target)).toHaveLength(5);
  });

  it("OUT_OF_RANGE: a source that was never written, a sequence beyond the end, a time to come", async () => {
    await expect(fork(new MemoryNode())).rejects.toMatchObject(failure("OUT_OF_RANGE", { available: "no events" }));
    const node = withEvents(3);
    await expect(fork(node, { seq: 4 })).rejects.toMatchObject(
      failure("OUT_OF_RANGE", { available: "events up to 3" }),
    );
    await expect(fork(node, { time: nowMs + 1 })).rejects.toMatchObject(failure("OUT_OF_RANGE", { entity: source }));
    expect(node.imports).toEqual([]);
  });

  it("ERASED: a source that is erased, or was at that moment, or is while it is copied; and an erased target", async () => {
    const gone = withEvents(3);
    gone.erase(source);
    await expect(fork(gone)).rejects.toMatchObject(failure("ERASED", { entity: source, seq: 4, time: 5_000 }));
    const alive = withEvents(3);
    alive.erase(source);
    alive.write(source, {}, {});
    for (const at of [{ seq: 2 }, { time: 1_010 }]) {
      await expect(fork(alive, at)).rejects.toMatchObject(failure("ERASED", { entity: source }));
    }
    const meanwhile = withEvents(30);
    meanwhile.afterImport = () => meanwhile.of(source).length > 20 && meanwhile.erase(source);
    await expect(fork(meanwhile)).rejects.toMatchObject(failure("ERASED", { entity: source, seq: 31 }));
    const taken = withEvents(3);
    taken.write(target, {});
    taken.erase(target);
    await expect(fork(taken)).rejects.toMatchObject(failure("ERASED", { entity: target }));
  });

  it("of a second life begins at sequence 1, and what was restored in it stays so", async () => {
    const node = withEvents(3);
    node.erase(source);
    const restored = { aggregate: "$heddle", type: "Restored", payload: { seq: 6, copied: 1 } };
    node.write(source, {}, {}, { ...restored, id: "r" }, { payload: "copy" });
    expect(await fork(node)).toEqual({ seq: 4, events: 4 });
    const copies = node.of(target);
    expect(copies.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    expect(copies[2]).toMatchObject({ aggregate: "$heddle", type: "Restored", payload: { seq: 2, copied: 1 } });
    expect(node.imports.filter(({ aggregate }) => aggregate === "$heddle").map(({ events }) => events.length)).toEqual([
      1,
    ]);
  });

  it("a rule of today that says no is told as what it is", async () => {
    const node = withEvents(3, (i) => (i === 2 ? { payload: "forbidden" } : {}));
    await expect(fork(node)).rejects.toMatchObject({ name: "RejectedError", code: "INVARIANT_VIOLATED" });
  });

  it("P7 refuses a fork onto itself", async () => {
    const request = { source, target: source, nowMs };
    await expect(copyHistory(withEvents(3), request)).rejects.toMatchObject(failure("INVALID_REQUEST"));
  });
});
