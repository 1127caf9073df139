// EntityEvents: the entries of one entity out of a backup, to be written down or imported into a living node.
import { besideFlags, type EntryView, entityOfEntry } from "@heddle/event-log/internal";
import { type EntityId, HeddleError, parseEntityId, shardOf } from "@heddle/kernel";
import { readBackup } from "./backup-folder.ts";
import { cutOfShard, lengthBeforeCut, type Until } from "./cut.ts";
import { nameAt } from "./key-names.ts";
import { KeyRing } from "./key-ring.ts";
import { KeyStore } from "./key-store.ts";
import { entityDigest, entityDigestBytes } from "./life.ts";
import { openSegment, readSegmentFile } from "./open-segment.ts";
import { refused } from "./refuse.ts";
import { walkSegment } from "./segment-bytes.ts";

export interface EntityEventsOptions {
  readonly backup: string;
  readonly keys: string;
  readonly entity: string;
  /** Which run; the newest by default. */
  readonly run?: number;
  readonly until?: Until;
}

/**
 * Yields the entries of an entity in order: those with payloads, tombstones and other system entries, and erased ones,
 * which their flag tells. A view and its bytes hold until the next is asked for. Nothing for an entity that is not there.
 * Errors: `INVALID_ENTITY_ID`, `BACKUP_REFUSED`, `KEYS_UNAVAILABLE` when the key store does not know the entity's key.
 */
export function* entityEvents(options: EntityEventsOptions): Generator<EntryView, void, undefined> {
  const { backup } = options;
  const entity: EntityId = parseEntityId(options.entity);
  const manifest = readBackup(backup, options.run);
  const shard = manifest.shards[shardOf(entity, manifest.shardCount)]!;
  const cut = cutOfShard(backup, shard, options.until);
  const keys = KeyStore.open(options.keys, { create: false });
  try {
    keys.checkIs(manifest.keyStore);
    const ring = new KeyRing(keys, shard.tombstones);
    const digest = entityDigest(entity);
    for (const segment of shard.segments) {
      const source = readSegmentFile(backup, shard.shard, segment);
      const own = (index: number) => digest.equals(nameAt(source.keyNames, index).subarray(0, entityDigestBytes));
      const found = Array.from({ length: source.entities }, (_, index) =>
        own(index) ? ring.find(nameAt(source.keyNames, index))[0]! : "erased",
      );
      if (found.includes("missing")) {
        const problem = `it has no key for ${entity}, and no mark of an erasure; it may be an old copy`;
        throw new HeddleError("KEYS_UNAVAILABLE", { file: options.keys, problem });
      }
      const { bytes } = openSegment(backup, shard.shard, segment, source, found);
      const length = lengthOf(backup, bytes, segment.base, cut);
      const entries: EntryView[] = [];
      walkSegment(bytes.subarray(0, length), segment.base, (entry) => {
        if (entityOfEntry(entry) === entity && (entry.flags & besideFlags) === 0) entries.push({ ...entry });
      });
      yield* entries;
      if (length < bytes.length) return;
    }
  } finally {
    keys.close();
  }
}

function lengthOf(backup: string, bytes: Uint8Array, base: number, cut: ReturnType<typeof cutOfShard>): number {
  try {
    return lengthBeforeCut(bytes, base, cut);
  } catch (cause) {
    throw refused(backup, (cause as Error).message, cause);
  }
}
