// Erased ids: the name under which an append id is kept once its entity was erased. The id itself is gone (P6), the digest
// still finds it, so that the append never takes effect again (P4).
import { appendIdDigest } from "@heddle/event-log/internal";

// Begins with a zero byte, and so does the name of no id that is likely to be given.
const prefix = "\u0000erased\u0000";
const digestPattern = /^[0-9a-f]{16}$/;

/** The name that takes the place of an append id: 24 characters, the last 16 the digest as hex. */
export function erasedIdName(entity: string, id: string): string {
  return erasedIdNameOfDigest(appendIdDigest(entity, id));
}

/** The same for who has only the digest, as the log keeps it in an erased entry. */
export function erasedIdNameOfDigest(digest: Uint8Array): string {
  return prefix + Buffer.from(digest.buffer, digest.byteOffset, digest.length).toString("hex");
}

export function isErasedIdName(name: string): boolean {
  return name.startsWith(prefix) && digestPattern.test(name.slice(prefix.length));
}
