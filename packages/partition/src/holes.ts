// Holes: what pages of LMDB's trees hold beside what they are for, and its clearing (S1, S2 of scrub.ts).
import { pageHeaderBytes } from "./data-file.ts";
import { tellingLength } from "./key-cut.ts";
import { type KeyEdges, keyOf, nodeHeaderBytes, type TreePage, TreeProblem, type TreeVisitor } from "./tree-walk.ts";
import { isZero, type ZeroWriter } from "./zero-writer.ts";

/** Above any offset within a page. */
const spanFactor = 2 ** 17;

/** Clears what pages of a tree hold beside what they are for. */
export class HoleZeroer implements TreeVisitor {
  /** Whether keys sort by their bytes, so that those of branches can be cut (S2). */
  cutsKeys = true;
  /** Pages of which something was cleared. */
  count = 0;
  readonly #writer: ZeroWriter;
  readonly #pageBytes: number;

  constructor(writer: ZeroWriter, pageBytes: number) {
    this.#writer = writer;
    this.#pageBytes = pageBytes;
  }

  page(page: TreePage, children: readonly KeyEdges[]): void {
    const cleared = new ClearedPart(page.bytes);
    // LMDB's `lower`: where the offsets of the nodes end.
    let end = pageHeaderBytes + 2 * page.nodes.length;
    const spans = page.nodes.map((node, i) => node * spanFactor + page.nodeEnds[i]!);
    for (const span of Float64Array.from(spans).sort()) {
      cleared.clear(end, Math.floor(span / spanFactor));
      end = span % spanFactor;
    }
    cleared.clear(end, page.bytes.length);
    if (page.isBranch && this.cutsKeys) this.#cutKeys(page, children, cleared);
    if (cleared.isEmpty) return;
    this.#writer.bytes(page.bytes, cleared.from, cleared.to, page.number * this.#pageBytes);
    this.count++;
  }

  overflow(firstPage: number, pages: number, valueBytes: number): void {
    const from = firstPage * this.#pageBytes + pageHeaderBytes + valueBytes;
    const to = (firstPage + pages) * this.#pageBytes;
    if (this.#writer.zerosWhereNeeded(from, to)) this.count++;
  }

  #cutKeys(page: TreePage, children: readonly KeyEdges[], cleared: ClearedPart): void {
    for (const [i, node] of page.nodes.entries()) {
      const above = children[i]!.first;
      const below = children[i - 1]?.last;
      const key = keyOf(page.bytes, node);
      if (key.equals(above)) continue;
      // What LMDB leaves of the first key nobody compares with anything.
      if (below !== undefined && !(Buffer.compare(below, key) < 0 && Buffer.compare(key, above) < 0)) {
        throw new TreeProblem(`page ${page.number} has keys that are out of order`);
      }
      const keyAt = node + nodeHeaderBytes;
      cleared.clear(keyAt + tellingLength(key, below, above), keyAt + key.length);
    }
  }
}

/** Sets bytes of a page to zero, and knows which part changed. */
class ClearedPart {
  from = Number.POSITIVE_INFINITY;
  to = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isEmpty(): boolean {
    return this.to === 0;
  }

  clear(from: number, to: number): void {
    if (from >= to || isZero(this.#bytes, from, to)) return;
    this.#bytes.fill(0, from, to);
    this.from = Math.min(this.from, from);
    this.to = Math.max(this.to, to);
  }
}
