// Id hashes: an append id as it is looked for: in the filter, in the runs, among those that no checkpoint has written yet.
import { finalised, secretSeed } from "@heddle/kernel/internal";
import { KeyBuilder } from "./keys.ts";

/** Three independent hashes of an id's key, signed numbers of 32 bits. */
export interface IdHash {
  /** With `second` the same everywhere and for good: part of the partition's format. Runs are sorted by it, unsigned. */
  first: number;
  second: number;
  /** Of no meaning outside this process: nobody can choose ids that have it in common. */
  secret: number;
}

const keys = new KeyBuilder();

export function newIdHash(): IdHash {
  return { first: 0, second: 0, secret: 0 };
}

/** FNV-1a, a multiply-rotate one, and FNV-1a from a secret start, each with murmur3's finaliser. Overwrites `into` and returns it. */
export function hashAppendId(entity: string, id: string, into: IdHash): IdHash {
  start(into);
  // Nearly all are ASCII, and then a character is a byte of the key.
  const isAscii = absorb(entity, 0x80, into) && absorb(separator, 0x80, into) && absorb(id, 0x80, into);
  return isAscii ? finish(into) : hashIdKey(keys.named(entity, id), into);
}

/** The same of an id's key. */
export function hashIdKey(key: Uint8Array, into: IdHash): IdHash {
  start(into);
  absorb(Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1"), 0x100, into);
  return finish(into);
}

const separator = "\0";

// False, with nothing of use in `into`, when a character is not below a bound.
function absorb(text: string, bound: number, into: IdHash): boolean {
  let { first, second, secret } = into;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= bound) return false;
    first = Math.imul(first ^ unit, 0x01000193);
    second = Math.imul(second + unit, 0x5bd1e995);
    second = (second << 13) | (second >>> 19);
    secret = Math.imul(secret ^ unit, 0x01000193);
  }
  into.first = first;
  into.second = second;
  into.secret = secret;
  return true;
}

function start(into: IdHash): void {
  into.first = 0x811c9dc5 | 0;
  into.second = 0x2545f491;
  into.secret = secretSeed;
}

function finish(into: IdHash): IdHash {
  into.first = finalised(into.first);
  into.second = finalised(into.second);
  into.secret = finalised(into.secret);
  return into;
}
