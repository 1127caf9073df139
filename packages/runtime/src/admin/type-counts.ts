// TypeCounts: how many stored events there are of each type and schema version, as a partition's catalogue has it.
import type { EntryView } from "@heddle/event-log/internal";
import type { TypeCount } from "@heddle/partition/internal";
import { type AppendView, readU16 } from "@heddle/protocol/internal";

export class TypeCounts {
  /** By aggregate, then type, then schema version. */
  readonly #counts = new Map<string, Map<string, number[]>>();

  /** Adds the events of an entry that was just opened. */
  addEntry(entry: EntryView, view: AppendView): void {
    let types = this.#counts.get(view.aggregate);
    if (types === undefined) {
      types = new Map();
      this.#counts.set(view.aggregate, types);
    }
    for (let i = 0; i < view.typeCount; i++) {
      const type = view.types[i]!;
      let versions = types.get(type);
      if (versions === undefined) {
        versions = [];
        types.set(type, versions);
      }
      const version = readU16(entry.bytes, view.versionOffsets[i]!);
      versions[version] = (versions[version] ?? 0) + eventsOfType(entry, view, i);
    }
  }

  add({ aggregate, type, schemaVersion, count }: TypeCount): void {
    const types = this.#counts.get(aggregate) ?? new Map<string, number[]>();
    const versions = types.get(type) ?? [];
    versions[schemaVersion] = (versions[schemaVersion] ?? 0) + count;
    types.set(type, versions);
    this.#counts.set(aggregate, types);
  }

  count(aggregate: string, type: string, schemaVersion: number): number {
    return this.#counts.get(aggregate)?.get(type)?.[schemaVersion] ?? 0;
  }

  /** Those that are not zero, in no particular order. */
  *rows(): Generator<TypeCount> {
    for (const [aggregate, types] of this.#counts) {
      for (const [type, versions] of types) {
        for (const [schemaVersion, count] of versions.entries()) {
          if (count !== undefined && count !== 0) yield { aggregate, type, schemaVersion, count };
        }
      }
    }
  }
}

/** Events of an entry with a type index. */
export function eventsOfType(entry: EntryView, view: AppendView, type: number): number {
  if (view.typeIndexes === 0) return view.eventCount;
  let count = 0;
  for (let i = 0; i < view.eventCount; i++) if (entry.bytes[view.typeIndexes + i] === type) count++;
  return count;
}
