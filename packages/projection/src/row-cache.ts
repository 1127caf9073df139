// RowCache: the rows that a track has at hand, those used last. What is in it is what the sink has, or is about to get.
//
// Two maps in place of a list in the order of use: a row that is used moves to the young one; when that is full, it becomes the
// old one, and what was in the old one is let go. A look-up costs one map access for rows in use.
import type { RowKey } from "@heddle/domain/internal";
import type { RowWrite } from "./sink.ts";

/** A row at hand, or that there is none. Written as it stands: see `RowWrite`. */
export interface CachedRow extends RowWrite {
  row: RowWrite["row"];
  source: string;
  /** Number of the batch that changed it last. */
  changedIn: number;
}

export function cachedRow(id: string, key: RowKey, source: string): CachedRow {
  return { id, key, row: null, source, changedIn: -1 };
}

export class RowCache {
  readonly #rowsMax: number;
  #young = new Map<string, CachedRow>();
  #old = new Map<string, CachedRow>();
  #hasAll: boolean;

  /** `hasAll`: the sink has no rows yet, so that one that is not here is nowhere, until the first is let go. */
  constructor(rowsMax: number, hasAll: boolean) {
    this.#rowsMax = rowsMax;
    this.#hasAll = hasAll;
  }

  /** Whether a row that is not here is not in the sink either. */
  get hasAll(): boolean {
    return this.#hasAll;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(id: string): CachedRow | undefined {
    const young = this.#young.get(id);
    if (young !== undefined) return young;
    const old = this.#old.get(id);
    if (old === undefined) return undefined;
    this.#old.delete(id);
    this.#young.set(id, old);
    return old;
  }

  set(row: CachedRow): void {
    this.#young.set(row.id, row);
  }

  /** Rows that come from one entity. Looks at all. */
  *from(source: string): Generator<CachedRow> {
    for (const rows of [this.#young, this.#old]) for (const row of rows.values()) if (row.source === source) yield row;
  }

  /** To be called between batches: lets go of what is too much. */
  trim(): void {
    if (this.#young.size * 2 <= this.#rowsMax) return;
    if (this.#old.size > 0) this.#hasAll = false;
    this.#old = this.#young;
    this.#young = new Map();
  }
}
