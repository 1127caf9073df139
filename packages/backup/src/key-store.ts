// KeyStore: the keys of a data folder's backups, one for each life of an entity, in one SQLite file (P6).
//
// A backup holds payloads only encrypted, and the keys only here: when a key is gone, what it encrypted is gone from
// every backup ever made. The file says nothing about names: it knows entities by a digest.
//
// Promises. An erased key is in no file when `erase` returns, and no power cut brings it back. A life that was erased
// never gets a key again, whoever asks. Several processes may use one store at once: a node that erases, a backup that
// makes keys. "erased" and "missing" are told apart: an erased life leaves a mark.
// Not promised: anything about copies of the file, or about blocks of the disk that belong to no file any more.
import { randomBytes } from "node:crypto";
import { HeddleError } from "@heddle/kernel";
import { inNameOrder, keyNames, type Named } from "./key-names.ts";
import { KeyTables, keyBytes } from "./key-tables.ts";
import { decodeLife, encodeLife, entityDigest, keyNameBytes, type Life } from "./life.ts";

export type FoundKey = Uint8Array | "erased" | "missing";

/** Keys in one transaction: others wait for its end, about half a second. */
const batchKeysMax = 131_072;

export class KeyStore {
  readonly file: string;
  readonly #tables: KeyTables;

  /** Errors: `KEYS_UNAVAILABLE`; without `create` also when there is no such file. */
  static open(file: string, options: { readonly create: boolean }): KeyStore {
    return new KeyStore(file, options.create);
  }

  private constructor(file: string, create: boolean) {
    this.file = file;
    this.#tables = this.#guarded(() => new KeyTables(file, create));
  }

  /** Random, made with the file: tells a store from all others. */
  get id(): string {
    return this.#tables.id;
  }

  /**
   * The key of each entity and life, made where there was none; `"erased"` for a life that is over.
   * New keys are durable when this returns. No entity and life may be asked for twice in one call.
   */
  keysFor(wanted: readonly Named[]): (Uint8Array | "erased")[] {
    return this.#guarded(() => {
      const names = keyNames(wanted);
      const found = new Array<FoundKey>(wanted.length).fill("missing");
      for (let from = 0; from < wanted.length; from += batchKeysMax) {
        const order = inNameOrder(names, from, Math.min(wanted.length, from + batchKeysMax));
        this.#tables.transaction(() => {
          this.#look(names, order, found);
          const unknown = order.filter((place) => found[place] === "missing");
          if (unknown.length > 0) this.#make(names, unknown, found);
        });
      }
      return found as (Uint8Array | "erased")[];
    });
  }

  /** Looks for keys by their names ({@link keyNames}) and makes none. */
  find(names: Uint8Array): FoundKey[] {
    return this.#guarded(() => {
      const count = names.length / keyNameBytes;
      const found = new Array<FoundKey>(count).fill("missing");
      for (let from = 0; from < count; from += batchKeysMax) {
        this.#look(names, inNameOrder(names, from, Math.min(count, from + batchKeysMax)), found);
      }
      return found;
    });
  }

  /**
   * For each entity, erases the keys of all lives that began before a tombstone (its time and sequence), and marks them
   * as erased, whether they had keys or not; all in one transaction. Gives the number of keys that were destroyed; done
   * again, it gives 0.
   */
  erase(erasures: readonly { readonly entity: string; readonly tombstone: Life }[]): number {
    return this.#guarded(() =>
      this.#tables.transaction(() => {
        let destroyed = 0;
        for (const { entity, tombstone } of erasures) {
          destroyed += this.#tables.erase(entityDigest(entity), encodeLife(tombstone));
        }
        this.#tables.countErasure();
        return destroyed;
      }),
    );
  }

  /** Errors: `KEYS_UNAVAILABLE` when a backup that was made with the store of this id is to be used with another one. */
  checkIs(id: string | undefined): void {
    if (id === undefined || id === this.id) return;
    const problem = `it is the key store ${this.id}, the backup was made with ${id}`;
    throw new HeddleError("KEYS_UNAVAILABLE", { file: this.file, problem });
  }

  /** Whether there is a key for a life of an entity. */
  has(named: Named): boolean {
    return typeof this.find(keyNames([named]))[0] !== "string";
  }

  /** The tombstone before which all lives of an entity are over, if it was ever erased. */
  erasedBefore(entity: string): Life | undefined {
    return this.#guarded(() => {
      const tombstone = this.#tables.erasedBefore(entityDigest(entity));
      return tombstone === undefined ? undefined : decodeLife(tombstone);
    });
  }

  /** How many keys there are of an entity's lives that began before a tombstone: none, once they are erased. */
  keysBefore(entity: string, tombstone: Life): number {
    return this.#guarded(() => this.#tables.keysBefore(entityDigest(entity), encodeLife(tombstone)));
  }

  /** Keys that are there, and entities that were erased. */
  count(): { readonly keys: number; readonly erased: number } {
    return this.#guarded(() => ({
      keys: this.#tables.number("SELECT count(*) AS n FROM ids"),
      erased: this.#tables.number("SELECT count(*) AS n FROM erased"),
    }));
  }

  /** Grows with every `erase`, of whichever process: tells whether any came between two moments. */
  erasures(): number {
    return this.#guarded(() => this.#tables.number("SELECT value AS n FROM facts WHERE name = 'erasures'"));
  }

  close(): void {
    this.#tables.close();
  }

  // Fills in what is found for some places; those that are "missing" stay so. Marks come second: an erasure of another
  // process may lie between the two looks.
  #look(names: Uint8Array, order: Uint32Array, found: FoundKey[]): void {
    const packed = pack(names, order);
    for (const [place, key] of this.#tables.find(order.length, packed)) found[order[place]!] = key;
    for (const place of this.#tables.findErased(order.length, packed)) found[order[place]!] = "erased";
  }

  #make(names: Uint8Array, order: Uint32Array, found: FoundKey[]): void {
    const keys = randomBytes(order.length * keyBytes);
    this.#tables.add(order.length, pack(names, order), keys);
    for (let i = 0; i < order.length; i++) found[order[i]!] = keys.subarray(i * keyBytes, (i + 1) * keyBytes);
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (cause instanceof HeddleError) throw cause;
      throw new HeddleError("KEYS_UNAVAILABLE", { file: this.file, problem: (cause as Error).message }, { cause });
    }
  }
}

function pack(names: Uint8Array, order: Uint32Array): Uint8Array {
  const packed = Buffer.allocUnsafe(order.length * keyNameBytes);
  for (let i = 0; i < order.length; i++) {
    const from = order[i]! * keyNameBytes;
    for (let b = 0; b < keyNameBytes; b++) packed[i * keyNameBytes + b] = names[from + b]!;
  }
  return packed;
}
