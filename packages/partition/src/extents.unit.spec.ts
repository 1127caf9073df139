// Goal: reading by sequence yields every extent once and in order, whatever cuts replayed checkpoints have left behind
// (X1, X2). The chunks lie in a sorted map here; partition.int.spec.ts does the same over LMDB.
import { InvariantViolation } from "@heddle/kernel/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Extent } from "./contract.ts";
import {
  type Chunk,
  type ChunkSource,
  chunkExtentsMax,
  cutIntoChunks,
  ExtentsBroken,
  readChunk,
  walkBackward,
  walkForward,
  writeChunk,
} from "./extents.ts";
import { openValue, ValueWriter } from "./values.ts";
import { MalformedValue, VarintReader } from "./varint.ts";

const key = Uint8Array.of(1);

/** Entries of a log: counts of events, each entry some bytes behind the one before. */
const entries = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 2 ** 40 })), {
    minLength: 1,
    maxLength: 60,
  })
  .map((steps) => {
    const extents: Extent[] = [];
    let [seq, position] = [1, 0];
    for (const [count, distance] of steps) {
      position += distance;
      extents.push({ firstSeq: seq, count, position });
      seq += count;
    }
    return extents;
  });

/** A checkpoint that takes in some of the entries not yet covered, in pieces of so many extents, and how far it got. */
const attempt = fc.record({
  share: fc.integer({ min: 1, max: 100 }).map((percent) => percent / 100),
  piece: fc.integer({ min: 1, max: 20 }),
  survives: fc.constantFrom("nothing", "all but the position", "everything"),
});
type Attempt = typeof attempt extends fc.Arbitrary<infer A> ? A : never;

const asTriples = (extents: readonly Extent[]): Float64Array =>
  Float64Array.from(extents.flatMap(({ firstSeq, count, position }) => [firstSeq, count, position]));

const endOf = (extent: Extent): number => extent.firstSeq + extent.count - 1;

class ChunkMap implements ChunkSource {
  readonly #chunks = new Map<number, Uint8Array>();

  put(triples: Float64Array): void {
    this.#chunks.set(triples[0]!, writeChunk(new ValueWriter(), key, triples));
  }

  atOrBelow(seq: number, chunksMax: number): Chunk[] {
    return this.#page(
      [...this.#chunks.keys()].filter((first) => first <= seq).sort((a, b) => b - a),
      chunksMax,
    );
  }

  atOrAbove(seq: number, chunksMax: number): Chunk[] {
    return this.#page(
      [...this.#chunks.keys()].filter((first) => first >= seq).sort((a, b) => a - b),
      chunksMax,
    );
  }

  #page(firsts: number[], chunksMax: number): Chunk[] {
    return firsts.slice(0, chunksMax).map((first) => readChunk(first, openValue(key, this.#chunks.get(first)!)));
  }
}

/** Runs checkpoints as a crashing node would: each begins at the last covered entry. The head is what the last one put. */
function afterAttempts(log: readonly Extent[], attempts: readonly Attempt[]): { chunks: ChunkMap; head: number } {
  const chunks = new ChunkMap();
  let head = 0;
  let covered = 0;
  for (const { share, piece, survives } of attempts) {
    const end = covered + Math.round(share * (log.length - covered));
    if (end === covered || survives === "nothing") continue;
    for (let at = covered; at < end; at += piece) chunks.put(asTriples(log.slice(at, Math.min(at + piece, end))));
    head = endOf(log[end - 1]!);
    if (survives === "everything") covered = end;
  }
  return { chunks, head };
}

describe("extents: reading", () => {
  it("P5 yields each extent once and in order, however crashes and replays have cut the chunks", () => {
    fc.assert(
      fc.property(entries, fc.array(attempt, { minLength: 1, maxLength: 12 }), fc.nat(), (log, attempts, pick) => {
        const { chunks, head } = afterAttempts(log, attempts);
        const stored = log.filter((extent) => extent.firstSeq <= head);
        const from = 1 + (pick % (head + 2));

        expect([...walkForward(chunks, from, head)]).toEqual(stored.filter((extent) => endOf(extent) >= from));
        expect([...walkBackward(chunks, from, head)]).toEqual(
          stored.filter((extent) => extent.firstSeq <= from).reverse(),
        );
      }),
      { numRuns: 2_000 },
    );
  });

  it("begins with the extent that holds the sequence, not with the next one", () => {
    const chunks = new ChunkMap();
    chunks.put(Float64Array.of(1, 10, 100, 11, 5, 200));
    expect([...walkForward(chunks, 12, 15)]).toEqual([{ firstSeq: 11, count: 5, position: 200 }]);
    expect([...walkForward(chunks, 4, 15)].map((extent) => extent.firstSeq)).toEqual([1, 11]);
    expect([...walkBackward(chunks, 12, 15)].map((extent) => extent.firstSeq)).toEqual([11, 1]);
    expect([...walkBackward(chunks, 4, 15)].map((extent) => extent.firstSeq)).toEqual([1]);
  });

  it("looks below for a longer chunk when the nearest one was left behind by a crash and ends too early", () => {
    const chunks = new ChunkMap();
    chunks.put(Float64Array.of(4, 1, 400, 5, 1, 500));
    chunks.put(Float64Array.of(1, 1, 100, 2, 1, 200, 3, 1, 300, 4, 1, 400, 5, 1, 500, 6, 1, 600));
    expect([...walkForward(chunks, 5, 6)].map((extent) => extent.firstSeq)).toEqual([5, 6]);
    expect([...walkForward(chunks, 6, 6)].map((extent) => extent.firstSeq)).toEqual([6]);
    expect([...walkBackward(chunks, 6, 6)].map((extent) => extent.firstSeq)).toEqual([6, 5, 4, 3, 2, 1]);
  });

  it("from above the head begins at the head going down, and yields nothing going up", () => {
    const chunks = new ChunkMap();
    chunks.put(Float64Array.of(1, 1, 100, 2, 1, 200, 3, 1, 300));
    expect([...walkBackward(chunks, Number.POSITIVE_INFINITY, 2)].map((extent) => extent.firstSeq)).toEqual([2, 1]);
    expect([...walkForward(chunks, 3, 2)]).toEqual([]);
    expect([...walkForward(chunks, 1, 0)]).toEqual([]);
    expect([...walkBackward(chunks, 5, 0)]).toEqual([]);
  });

  it("reads no chunk before it is asked for the first extent, and no further than it is asked", () => {
    const calls: string[] = [];
    const inner = new ChunkMap();
    for (let seq = 1; seq <= 1_000; seq++) inner.put(Float64Array.of(seq, 1, seq * 10));
    const source: ChunkSource = {
      atOrBelow(seq, max) {
        calls.push(`below ${seq} × ${max}`);
        return inner.atOrBelow(seq, max);
      },
      atOrAbove(seq, max) {
        calls.push(`above ${seq} × ${max}`);
        return inner.atOrAbove(seq, max);
      },
    };
    const walk = walkForward(source, 1, 1_000);
    expect(calls).toEqual([]);
    for (let i = 0; i < 3; i++) walk.next();
    expect(calls).toEqual(["below 1 × 1", "above 2 × 1", "above 3 × 4"]);
  });

  it("P5 refuses chunks that leave a gap or contradict each other", () => {
    const gap = new ChunkMap();
    gap.put(Float64Array.of(1, 2, 100));
    gap.put(Float64Array.of(5, 2, 300));
    expect(() => [...walkForward(gap, 1, 6)]).toThrow(ExtentsBroken);
    expect(() => [...walkBackward(gap, 6, 6)]).toThrow(ExtentsBroken);

    const contradiction = new ChunkMap();
    contradiction.put(Float64Array.of(1, 3, 100));
    contradiction.put(Float64Array.of(3, 4, 300));
    expect(() => [...walkForward(contradiction, 1, 6)]).toThrow(ExtentsBroken);
    expect(() => [...walkBackward(contradiction, 6, 6)]).toThrow(ExtentsBroken);

    expect(() => [...walkForward(new ChunkMap(), 1, 6)]).toThrow(ExtentsBroken);
    expect(() => [...walkBackward(new ChunkMap(), 6, 6)]).toThrow(ExtentsBroken);
  });
});

describe("extents: chunks", () => {
  it("come back as they were written, with positions up to 2^53", () => {
    fc.assert(
      fc.property(entries, (log) => {
        const triples = asTriples(log);
        const chunk = readChunk(1, openValue(key, writeChunk(new ValueWriter(), key, triples)));
        expect(chunk).toEqual({ firstSeq: 1, lastSeq: endOf(log.at(-1)!), triples });
      }),
    );
    const far = Float64Array.of(2 ** 52, 1, 2 ** 53 - 3, 2 ** 52 + 1, 2 ** 51, 2 ** 53 - 1);
    const chunk = readChunk(2 ** 52, openValue(key, writeChunk(new ValueWriter(), key, far)));
    expect(chunk.triples).toEqual(far);
  });

  it("take three bytes for an entry of one event some hundred bytes behind the last", () => {
    const triples = asTriples(
      Array.from({ length: 1_000 }, (_, i) => ({ firstSeq: i + 1, count: 1, position: 2 ** 40 + i * 300 })),
    );
    expect(writeChunk(new ValueWriter(), key, triples).length).toBeLessThan(3 * 1_000 + 20);
  });

  it("are cut so that none holds more than its bound", () => {
    const triples = asTriples(Array.from({ length: 5_000 }, (_, i) => ({ firstSeq: i + 1, count: 1, position: i })));
    const chunks = cutIntoChunks(triples);
    expect(chunks.map((chunk) => chunk.length / 3)).toEqual([chunkExtentsMax, chunkExtentsMax, 904]);
    expect(chunks.flatMap((chunk) => [...chunk])).toEqual([...triples]);
    expect(cutIntoChunks(new Float64Array(0))).toEqual([]);
  });

  it("are not written with a gap, or with positions that go back", () => {
    expect(() => cutIntoChunks(Float64Array.of(1, 1, 100, 3, 1, 200))).toThrow(InvariantViolation);
    expect(() => cutIntoChunks(Float64Array.of(1, 1))).toThrow(InvariantViolation);
    expect(() => writeChunk(new ValueWriter(), key, Float64Array.of(1, 1, 200, 2, 1, 100))).toThrow(InvariantViolation);
  });

  it("P5 give extents or a refusal for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.maxSafeNat(), (bytes, firstSeq) => {
        try {
          const { triples } = readChunk(firstSeq, new VarintReader(bytes));
          expect(triples.every(Number.isSafeInteger)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedValue);
        }
      }),
    );
  });
});
