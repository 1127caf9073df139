// KeyRing: which payloads of a backup may be read (P6).
//
// Not those of a life that is over, be it that its key is erased, or that the backup itself has a later tombstone: the
// tombstone is the intent, and the key may be a moment behind, or in an old copy of the key store.
// An erased life is told from one whose key the store does not know at all: that store cannot restore this backup.

import type { FoundKey, KeyStore } from "./key-store.ts";
import { decodeLife, entityDigest, entityDigestBytes, isEarlier, keyNameBytes, type Life } from "./life.ts";
import type { ManifestTombstone } from "./manifest.ts";

export class KeyRing {
  readonly #keys: KeyStore;
  /** Digest of an entity, as latin1: its last tombstone. */
  readonly #last = new Map<string, Life>();

  constructor(keys: KeyStore, tombstones: readonly ManifestTombstone[]) {
    this.#keys = keys;
    for (const { entity, time, seq } of tombstones)
      this.#last.set(entityDigest(entity).toString("latin1"), { time, seq });
  }

  find(names: Uint8Array): FoundKey[] {
    const found = this.#keys.find(names);
    if (this.#last.size === 0) return found;
    for (let i = 0; i < found.length; i++) {
      const at = i * keyNameBytes;
      const digest = Buffer.from(names.buffer, names.byteOffset + at, entityDigestBytes).toString("latin1");
      const last = this.#last.get(digest);
      if (last !== undefined && isEarlier(decodeLife(names, at + entityDigestBytes), last)) found[i] = "erased";
    }
    return found;
  }
}
