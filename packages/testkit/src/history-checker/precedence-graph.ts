// PrecedenceGraph: what came before what, and the smallest circles in it.
//
// Nodes are moments, numbered from 0; edges carry a reason that the graph does not look at. "Was over before it began" would be
// an edge for nearly every pair, so the clock has nodes of its own: one for each end, in a row. A moment leads to the node of
// its end, and the last node before its start leads to it. On a way through the graph clock nodes cost nothing.

export interface Edge<Reason> {
  readonly from: number;
  readonly to: number;
  /** Undefined: by the clock. */
  readonly reason: Reason | undefined;
}

export interface Interval {
  readonly start: number;
  readonly end: number;
}

/** Edges that the search for the smallest circle of one knot may walk along. It reports the smallest that it has found then. */
const knotStepsMax = 20_000_000;

export class PrecedenceGraph<Reason> {
  readonly #intervals: readonly Interval[];
  readonly #moments: number;
  readonly #nodes: number;
  readonly #edges: { readonly from: number; readonly to: number; readonly reason: Reason | undefined }[] = [];
  /** Edges by the node that they leave: `#byFrom[#offsets[n]]` to `#byFrom[#offsets[n + 1]]`. */
  #offsets = new Int32Array(0);
  #byFrom = new Int32Array(0);

  /** `intervals`: of the moments, in their order. */
  constructor(intervals: readonly Interval[]) {
    this.#intervals = intervals;
    this.#moments = intervals.length;
    const ends = [...new Set(intervals.map(({ end }) => end))].filter((end) => end < Infinity).sort((a, b) => a - b);
    this.#nodes = this.#moments + ends.length;
    for (let i = 1; i < ends.length; i++) this.#addEdge(this.#moments + i - 1, this.#moments + i, undefined);
    for (const [moment, { start, end }] of intervals.entries()) {
      if (end < Infinity) this.#addEdge(moment, this.#moments + countBelow(ends, end), undefined);
      const over = countBelow(ends, start);
      if (over > 0) this.#addEdge(this.#moments + over - 1, moment, undefined);
    }
  }

  add(from: number, to: number, reason: Reason): void {
    if (from !== to) this.#addEdge(from, to, reason);
  }

  /** One of the smallest circles of each knot (nodes that all lead to each other); at most so many knots. */
  findCycles(knotsMax: number): Edge<Reason>[][] {
    this.#sortEdges();
    const knots = this.#findKnots();
    return knots.slice(0, knotsMax).map((knot) => this.#smallestCycle(knot));
  }

  #addEdge(from: number, to: number, reason: Reason | undefined): void {
    this.#edges.push({ from, to, reason });
  }

  #sortEdges(): void {
    this.#offsets = new Int32Array(this.#nodes + 1);
    for (const { from } of this.#edges) this.#offsets[from + 1]!++;
    for (let node = 0; node < this.#nodes; node++) this.#offsets[node + 1]! += this.#offsets[node]!;
    const next = this.#offsets.slice();
    this.#byFrom = new Int32Array(this.#edges.length);
    for (const [i, { from }] of this.#edges.entries()) this.#byFrom[next[from]!++] = i;
  }

  /** Tarjan's strongly connected components, with a stack of its own instead of recursion; those of several moments. */
  #findKnots(): number[][] {
    const nodes = this.#nodes;
    const orders = new Int32Array(nodes).fill(-1);
    const lows = new Int32Array(nodes);
    const isOpen = new Uint8Array(nodes);
    const cursors = this.#offsets.slice(0, nodes);
    const open: number[] = [];
    const path: number[] = [];
    const knots: number[][] = [];
    let order = 0;
    for (let root = 0; root < nodes; root++) {
      if (orders[root] !== -1) continue;
      path.push(root);
      while (path.length > 0) {
        const node = path.at(-1)!;
        if (orders[node] === -1) {
          orders[node] = lows[node] = order++;
          isOpen[node] = 1;
          open.push(node);
        }
        if (cursors[node]! < this.#offsets[node + 1]!) {
          const { to } = this.#edges[this.#byFrom[cursors[node]!++]!]!;
          if (orders[to] === -1) path.push(to);
          else if (isOpen[to] === 1) lows[node] = Math.min(lows[node]!, orders[to]!);
          continue;
        }
        path.pop();
        const parent = path.at(-1);
        if (parent !== undefined) lows[parent] = Math.min(lows[parent]!, lows[node]!);
        if (lows[node] !== orders[node]) continue;
        const members: number[] = [];
        for (let member = -1; member !== node; ) {
          member = open.pop()!;
          isOpen[member] = 0;
          if (member < this.#moments) members.push(member);
        }
        if (members.length > 1) knots.push(members);
      }
    }
    return knots;
  }

  #smallestCycle(knot: readonly number[]): Edge<Reason>[] {
    const backInTime = this.#findBackInTime(knot);
    if (backInTime !== undefined) return backInTime;
    const search = {
      knot: new Uint8Array(this.#nodes),
      seen: new Int32Array(this.#nodes).fill(-1),
      cameBy: new Int32Array(this.#nodes),
      steps: 0,
    };
    // Clock nodes of other knots are walked through in vain: no way leads back from them.
    search.knot.fill(1, this.#moments);
    for (const moment of knot) search.knot[moment] = 1;
    let smallest: Edge<Reason>[] | undefined;
    for (const start of knot) {
      const found = this.#wayBack(start, smallest === undefined ? Infinity : smallest.length - 1, search);
      if (found !== undefined) smallest = found;
      if (smallest !== undefined && (smallest.length === 2 || search.steps > knotStepsMax)) break;
    }
    return smallest!;
  }

  /** Somebody who came before one that was over when it began: a circle of two, and by far the most frequent. */
  #findBackInTime(knot: readonly number[]): Edge<Reason>[] | undefined {
    for (const moment of knot) {
      for (let at = this.#offsets[moment]!; at < this.#offsets[moment + 1]!; at++) {
        const edge = this.#edges[this.#byFrom[at]!]!;
        if (edge.to >= this.#moments || this.#intervals[edge.to]!.end >= this.#intervals[moment]!.start) continue;
        return [edge, { from: edge.to, to: moment, reason: undefined }];
      }
    }
    return undefined;
  }

  /** The shortest way from a moment back to itself, of at most so many moments; as edges between moments. */
  #wayBack(
    start: number,
    lengthMax: number,
    search: { readonly knot: Uint8Array; readonly seen: Int32Array; readonly cameBy: Int32Array; steps: number },
  ): Edge<Reason>[] | undefined {
    const { knot, seen, cameBy } = search;
    let level = [start];
    for (let length = 1; level.length > 0 && length <= lengthMax; length++) {
      const next: number[] = [];
      // Grows while it is walked: clock nodes belong to the level of the moment that led to them.
      for (let i = 0; i < level.length; i++) {
        const node = level[i]!;
        for (let at = this.#offsets[node]!; at < this.#offsets[node + 1]!; at++) {
          search.steps++;
          const edge = this.#byFrom[at]!;
          const { to } = this.#edges[edge]!;
          if (to === start) return this.#retrace(start, edge, cameBy);
          if (knot[to] === 0 || seen[to] === start) continue;
          seen[to] = start;
          cameBy[to] = edge;
          (to < this.#moments ? next : level).push(to);
        }
      }
      level = next;
    }
    return undefined;
  }

  #retrace(start: number, last: number, cameBy: Int32Array): Edge<Reason>[] {
    const cycle: Edge<Reason>[] = [];
    let edge = this.#edges[last]!;
    let to = edge.to;
    for (;;) {
      if (edge.from < this.#moments) {
        // By way of the clock it is the moment before the clock's nodes that was over.
        cycle.unshift({ from: edge.from, to, reason: edge.reason });
        to = edge.from;
        if (edge.from === start) return cycle;
      }
      edge = this.#edges[cameBy[edge.from]!]!;
    }
  }
}

/** How many of these rising numbers are below one. */
function countBelow(rising: readonly number[], bound: number): number {
  let [low, high] = [0, rising.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rising[middle]! < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
