// StoredTypes: what event types a context has events of, over all its shards.

/** Erased events and those of Heddle's own do not count. */
export interface StoredType {
  readonly aggregate: string;
  readonly type: string;
  /** The version that the events were written with; readers get the newest. */
  readonly schemaVersion: number;
  readonly count: number;
}

/** The counts of shards as one list, ordered by aggregate, type and version. */
export function sumTypes(shards: readonly (readonly StoredType[])[]): StoredType[] {
  const sums = new Map<string, StoredType>();
  for (const row of shards.flat()) {
    // Sagas and reminders are kept as events, too.
    if (row.aggregate.startsWith("$")) continue;
    const key = `${row.aggregate}\0${row.type}\0${String(row.schemaVersion).padStart(5, "0")}`;
    const sum = sums.get(key);
    sums.set(key, { ...row, count: row.count + (sum?.count ?? 0) });
  }
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, sum]) => sum);
}
