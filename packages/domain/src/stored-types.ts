// Whether a domain can read what is stored, asked once, before anything is served.
//
// The partition counts stored events by type and version; a shard holds that list against the domain when it opens, and
// refuses with SCHEMA_MISMATCH. So a type that a new module forgot is found at start, and not at the entity that has it.

/** An event type as it is stored: there is at least one event of it. */
export interface StoredType {
  readonly aggregate: string;
  readonly type: string;
  readonly schemaVersion: number;
}

/** What of an aggregate matters here. */
interface Known {
  readonly events: ReadonlyMap<string, { readonly schemaVersion: number }>;
}

/** A sentence for each type that the aggregates cannot read, none twice, in the order of `stored`. */
export function unreadableTypes(aggregates: ReadonlyMap<string, Known>, stored: Iterable<StoredType>): string[] {
  const sentences = new Set<string>();
  for (const { aggregate: name, type, schemaVersion } of stored) {
    const aggregate = aggregates.get(name);
    const newest = aggregate?.events.get(type)?.schemaVersion;
    const path = `${name}.${type}`;
    if (aggregate === undefined) {
      sentences.add(`${path} is stored, the domain module has no aggregate ${name}`);
    } else if (newest === undefined) {
      sentences.add(`${path} is stored, the domain module's ${name} has no event ${type}`);
    } else if (schemaVersion > newest) {
      sentences.add(`${path} is stored at version ${schemaVersion}, the domain module knows ${newest}`);
    } else if (!(schemaVersion >= 1)) {
      sentences.add(`${path} is stored at version ${schemaVersion}, versions begin with 1`);
    }
  }
  return [...sentences];
}
