// Entity ids: the only names that users choose for entities, parsed once at the door.
import { HeddleError } from "./errors.ts";
import { limits } from "./limits.ts";
import { systemKinds } from "./system-kinds.ts";

/** `kind/name`, for example `account/alice`. Made only by {@link parseEntityId}. */
export type EntityId = string & { readonly __brand: "EntityId" };

/**
 * Turns a string into an entity id, or throws.
 *
 * Shape:  `kind/name`. The kind is a lower-case word (`[a-z][a-z0-9_-]*`); the name is at least one character of
 *         anything but control characters, and may hold further slashes. At most {@link limits.entityIdBytesMax} bytes.
 *         Entities with the same `{tag}` in their names lie on the same shard (hash.ts).
 * Errors: `INVALID_ENTITY_ID`, with what was found and what was wanted.
 */
export function parseEntityId(text: string): EntityId {
  const problem = entityIdProblem(text);
  if (problem !== undefined) throw new HeddleError("INVALID_ENTITY_ID", { found: excerpt(text), problem });
  return text as EntityId;
}

/** Whether an id is one of Heddle's own entities, or would be. */
export function isSystemEntity(entity: string): boolean {
  return entity.charCodeAt(0) === dollar;
}

/** As {@link parseEntityId}, and ids of Heddle's own entities too: for readers, and for Heddle's own writers. */
export function parseAnyEntityId(text: string): EntityId {
  if (typeof text === "string" && isSystemEntity(text)) {
    for (const { start, idFrom } of systemForms) {
      if (!text.startsWith(start)) continue;
      const problem = isPlainEntityId(text, idFrom) ? undefined : entityIdProblem(text.slice(idFrom));
      if (problem !== undefined) throw new HeddleError("INVALID_ENTITY_ID", { found: excerpt(text), problem });
      return text as EntityId;
    }
  }
  return parseEntityId(text);
}

/** How such an id begins, and from where on it must be an id like any other: reminders are named by a whole one. */
const systemForms = [
  { start: `${systemKinds.saga}/`, idFrom: 1 },
  { start: `${systemKinds.reminders}/`, idFrom: systemKinds.reminders.length + 1 },
] as const;

/** Says what is wrong with a would-be entity id; `undefined` when nothing is. Never throws, whatever it is given. */
export function entityIdProblem(text: unknown): string | undefined {
  if (typeof text === "string" && isPlainEntityId(text)) return undefined;
  if (typeof text !== "string") return `wanted a string, found ${text === null ? "null" : typeof text}`;
  if (text.length === 0) return "it is empty";
  const kindEnd = text.indexOf("/");
  if (kindEnd < 0) return "there is no slash between kind and name";
  if (!kindPattern.test(text.slice(0, kindEnd))) return "the kind is not a lower-case word such as account";
  if (kindEnd === text.length - 1) return "the name after the slash is empty";
  if (unprintable.test(text)) return "it holds a control character or half of a surrogate pair";
  if (utf8Length(text) > limits.entityIdBytesMax) {
    return `it has ${utf8Length(text)} bytes, at most ${limits.entityIdBytesMax} are allowed`;
  }
  return undefined;
}

/** The part before the first slash. */
export function kindOf(entity: EntityId): string {
  return entity.slice(0, entity.indexOf("/"));
}

/** Whether a text can be the kind of an entity. */
export function isKind(text: string): boolean {
  return kindPattern.test(text);
}

/** Bytes that a string takes as UTF-8. */
export function utf8Length(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) bytes += 1;
    else if (unit < 0x800) bytes += 2;
    else if (unit >= 0xd800 && unit < 0xdc00) {
      bytes += 4;
      i++;
    } else bytes += 3;
  }
  return bytes;
}

/**
 * Whether the text from there on is an id of printable ASCII: one pass says so for nearly all ids, in a fifth of the time of the
 * patterns.
 */
function isPlainEntityId(text: string, from = 0): boolean {
  if (text.length - from > limits.entityIdBytesMax) return false;
  let at = from;
  for (; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === slash) break;
    const isLetter = unit >= 0x61 && unit <= 0x7a;
    if (!isLetter && (at === from || !isKindTail(unit))) return false;
  }
  if (at === from || at + 1 >= text.length) return false;
  while (++at < text.length) {
    const unit = text.charCodeAt(at);
    if (unit < 0x20 || unit > 0x7e) return false;
  }
  return true;
}

const slash = 0x2f;
const dollar = 0x24;

/** Digits, underscore, hyphen. */
function isKindTail(unit: number): boolean {
  return (unit >= 0x30 && unit <= 0x39) || unit === 0x5f || unit === 0x2d;
}

const kindPattern = /^[a-z][a-z0-9_-]*$/;
// Half a surrogate pair has no UTF-8 form: two different strings would become the same bytes.
const unprintable = /\p{Cc}|\p{Cs}/u;

function excerpt(text: unknown): string {
  const shown = typeof text === "string" ? text : String(text);
  return shown.length <= 80 ? shown : `${shown.slice(0, 80)}…`;
}
