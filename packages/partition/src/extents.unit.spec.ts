// Goal: reading by sequence yields every extent once and in order, whatever cuts replayed checkpoints have left behind
// (X1, X2). The chunks lie in a sorted map here; partition.int.spec.ts does the same over LMDB.
import { InvariantViolation } from "@heddle/kernel/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Chunk,
  type ChunkSource,
  chunkExtentsMax,
  cutIntoChunks,
  ExtentsBroken,
  quadsFrom,
  readChunk,
  type Span,
  walkBackward,
  walkForward,
  writeChunk,
} from "./extents.ts";
import type { Extent } from "./records.ts";
import { openValue, ValueWriter } from "./value-writer.ts";
import { MalformedValue, VarintReader } from "./varint.ts";

const key = Uint8Array.of(1);

/** Entries of a log: counts of events, each entry some bytes behind the one before. */
const entries = fc
  .array(
    fc.tuple(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 2 ** 40 }), fc.nat({ max: 2 ** 32 - 1 })),
    {
      minLength: 1,
      maxLength: 60,
    },
  )
  .map((steps) => {
    const extents: Extent[] = [];
    let [seq, position] = [1, 0];
    for (const [count, distance, check] of steps) {
      position += distance;
      extents.push({ firstSeq: seq, count, position, check });
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

const asQuads = (extents: readonly Extent[]): Float64Array =>
  Float64Array.from(extents.flatMap(({ firstSeq, count, position, check }) => [firstSeq, count, position, check]));

const upTo = (lastSeq: number): Span => ({ firstSeq: 1, lastSeq });

const endOf = (extent: Extent): number => extent.firstSeq + extent.count - 1;

class ChunkMap implements ChunkSource {
  readonly #chunks = new Map<number, Uint8Array>();

  put(quads: Float64Array): void {
    this.#chunks.set(quads[0]!, writeChunk(new ValueWriter(), key, quads));
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
    for (let at = covered; at < end; at += piece) chunks.put(asQuads(log.slice(at, Math.min(at + piece, end))));
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

        expect([...walkForward(chunks, from, upTo(head))]).toEqual(stored.filter((extent) => endOf(extent) >= from));
        expect([...walkBackward(chunks, from, upTo(head))]).toEqual(
          stored.filter((extent) => extent.firstSeq <= from).reverse(),
        );
      }),
      { numRuns: 2_000 },
    );
  });

  it("begins with the extent that holds the sequence, not with the next one", () => {
    const chunks = new ChunkMap();
    chunks.put(Float64Array.of(1, 10, 100, 7, 11, 5, 200, 7));
    expect([...walkForward(chunks, 12, upTo(15))]).toEqual([{ firstSeq: 11, count: 5, position: 200, check: 7 }]);
    expect([...walkForward(chunks, 4, upTo(15))].map((extent) => extent.firstSeq)).toEqual([1, 11]);
    expect([...walkBackward(chunks, 12, upTo(15))].map((extent) => extent.firstSeq)).toEqual([11, 1]);
    expect([...walkBackward(chunks, 4, upTo(15))].map((extent) => extent.firstSeq)).toEqual([1]);
  });

  it("P5 begins at the entity's first sequence in both directions, whatever lies below it", () => {
    fc.assert(
      fc.property(
        entries,
        fc.array(attempt, { minLength: 1, maxLength: 8 }),
        fc.nat(),
        fc.nat(),
        (log, cuts, pick, base) => {
          const { chunks, head } = afterAttempts(log, cuts);
          fc.pre(head > 0);
          const whole = log.filter((extent) => extent.firstSeq <= head);
          const { firstSeq } = whole[base % whole.length]!;
          const span = { firstSeq, lastSeq: head };
          const stored = whole.filter((extent) => extent.firstSeq >= firstSeq);
          const from = 1 + (pick % (head + 2));
          expect([...walkForward(chunks, from, span)]).toEqual(stored.filter((extent) => endOf(extent) >= from));
          expect([...walkBackward(chunks, from, span)]).toEqual(
            stored.filter((extent) => extent.firstSeq <= from).reverse(),
          );
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("P5 refuses an extent that reaches over the entity's first sequence", () => {
    const chunks = new ChunkMap();
    chunks.put(Float64Array.of(1, 4, 100, 7, 5, 1, 200, 7));
    const span = { firstSeq: 3, lastSeq: 5 };
    expect(() => [...walkForward(chunks, 1, span)]).toThrow(ExtentsBroken);
    expect(() => [...walkBackward(chunks, 5, span)]).toThrow(ExtentsBroken);
  });

  it("gives the extents from one on that begins at a sequence, or none", () => {
    const quads = Float64Array.of(1, 4, 100, 7, 5, 1, 200, 8);
    const chunk = { firstSeq: 1, lastSeq: 5, quads };
    expect(quadsFrom(chunk, 5)).toEqual(quads.subarray(4));
    expect(quadsFrom(chunk, 1)).toEqual(quads);
    expect(quadsFrom(chunk, 3)).toBeUndefined();
  });

  it("looks below for a longer chunk when the nearest one was left behind by a crash and ends too early", () => {
    const chunks = new ChunkMap();
    chunks.put(Float64Array.of(4, 1, 400, 7, 5, 1, 500, 7));
    chunks.put(Float64Array.of(1, 1, 100, 7, 2, 1, 200, 7, 3, 1, 300, 7, 4, 1, 400, 7, 5, 1, 500, 7, 6, 1, 600, 7));
    expect([...walkForward(chunks, 5, upTo(6))].map((extent) => extent.firstSeq)).toEqual([5, 6]);
    expect([...walkForward(chunks, 6, upTo(6))].map((extent) => extent.firstSeq)).toEqual([6]);
    expect([...walkBackward(chunks, 6, upTo(6))].map((extent) => extent.firstSeq)).toEqual([6, 5, 4, 3, 2, 1]);
  });

  it("from above the head begins at the head going down, and yields nothing going up", () => {
    const chunks = new ChunkMap();
    chunks.put(Float64Array.of(1, 1, 100, 7, 2, 1, 200, 7, 3, 1, 300, 7));
    expect([...walkBackward(chunks, Number.POSITIVE_INFINITY, upTo(2))].map((extent) => extent.firstSeq)).toEqual([
      2, 1,
    ]);
    expect([...walkForward(chunks, 3, upTo(2))]).toEqual([]);
    expect([...walkForward(chunks, 1, upTo(0))]).toEqual([]);
    expect([...walkBackward(chunks, 5, upTo(0))]).toEqual([]);
  });

  it("reads no chunk before it is asked for the first extent, and no further than it is asked", () => {
    const calls: string[] = [];
    const inner = new ChunkMap();
    for (let seq = 1; seq <= 1_000; seq++) inner.put(Float64Array.of(seq, 1, seq * 10, 7));
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
    const walk = walkForward(source, 1, upTo(1_000));
    expect(calls).toEqual([]);
    for (let i = 0; i < 3; i++) walk.next();
    expect(calls).toEqual(["below 1 × 1", "above 2 × 1", "above 3 × 4"]);
  });

  it("P5 refuses chunks that leave a gap or contradict each other", () => {
    const gap = new ChunkMap();
    gap.put(Float64Array.of(1, 2, 100, 7));
    gap.put(Float64Array.of(5, 2, 300, 7));
    expect(() => [...walkForward(gap, 1, upTo(6))]).toThrow(ExtentsBroken);
    expect(() => [...walkBackward(gap, 6, upTo(6))]).toThrow(ExtentsBroken);

    const contradiction = new ChunkMap();
    contradiction.put(Float64Array.of(1, 3, 100, 7));
    contradiction.put(Float64Array.of(3, 4, 300, 7));
    expect(() => [...walkForward(contradiction, 1, upTo(6))]).toThrow(ExtentsBroken);
    expect(() => [...walkBackward(contradiction, 6, upTo(6))]).toThrow(ExtentsBroken);

    expect(() => [...walkForward(new ChunkMap(), 1, upTo(6))]).toThrow(ExtentsBroken);
    expect(() => [...walkBackward(new ChunkMap(), 6, upTo(6))]).toThrow(ExtentsBroken);
  });
});

describe("extents: chunks", () => {
  it("come back as they were written, with positions up to 2^53", () => {
    fc.assert(
      fc.property(entries, (log) => {
        const quads = asQuads(log);
        const chunk = readChunk(1, openValue(key, writeChunk(new ValueWriter(), key, quads)));
        expect(chunk).toEqual({ firstSeq: 1, lastSeq: endOf(log.at(-1)!), quads });
      }),
    );
    const far = Float64Array.of(2 ** 52, 1, 2 ** 53 - 3, 7, 2 ** 52 + 1, 2 ** 51, 2 ** 53 - 1, 7);
    const chunk = readChunk(2 ** 52, openValue(key, writeChunk(new ValueWriter(), key, far)));
    expect(chunk.quads).toEqual(far);
  });

  it("take seven bytes for an entry of one event some hundred bytes behind the last", () => {
    const quads = asQuads(
      Array.from({ length: 1_000 }, (_, i) => ({ firstSeq: i + 1, count: 1, position: 2 ** 40 + i * 300, check: i })),
    );
    expect(writeChunk(new ValueWriter(), key, quads).length).toBeLessThan(7 * 1_000 + 20);
  });

  it("are cut so that none holds more than its bound", () => {
    const quads = asQuads(
      Array.from({ length: 5_000 }, (_, i) => ({ firstSeq: i + 1, count: 1, position: i, check: i })),
    );
    const chunks = cutIntoChunks(quads);
    expect(chunks.map((chunk) => chunk.length / 4)).toEqual([chunkExtentsMax, chunkExtentsMax, 904]);
    expect(chunks.flatMap((chunk) => [...chunk])).toEqual([...quads]);
    expect(cutIntoChunks(new Float64Array(0))).toEqual([]);
  });

  it("are not written with a gap, or with positions that go back", () => {
    expect(() => cutIntoChunks(Float64Array.of(1, 1, 100, 7, 3, 1, 200, 7))).toThrow(InvariantViolation);
    expect(() => cutIntoChunks(Float64Array.of(1, 1))).toThrow(InvariantViolation);
    expect(() => writeChunk(new ValueWriter(), key, Float64Array.of(1, 1, 200, 7, 2, 1, 100, 7))).toThrow(
      InvariantViolation,
    );
  });

  it("P5 give extents or a refusal for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.maxSafeNat(), (bytes, firstSeq) => {
        try {
          const { quads } = readChunk(firstSeq, new VarintReader(bytes));
          expect(quads.every(Number.isSafeInteger)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedValue);
        }
      }),
    );
  });
});
