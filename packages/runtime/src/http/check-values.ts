// The checks that bodies and query strings share: one value each, refused with its place (P7).
//
// `index` is the item's in a call of many, or -1. `refusal` is also how the rest of the HTTP side says `INVALID_REQUEST`.
import { HeddleError, limits } from "@heddle/kernel";
import { utf8Length } from "@heddle/kernel/internal";
import { u48Max } from "@heddle/protocol/internal";

export function readName(value: unknown, index: number, field: string): string {
  return readText(value, index, field, limits.nameBytesMax);
}

export function readId(value: unknown, index: number, idempotencyKey: string | undefined): string {
  const id = readText(value, index, "id", limits.appendIdBytesMax);
  if (idempotencyKey !== undefined && idempotencyKey !== id) {
    throw refusal("id", "differs from the header Idempotency-Key, which means the same; send one of them");
  }
  return id;
}

export function readText(value: unknown, index: number, field: string, bytesMax: number): string {
  if (typeof value !== "string") throw refusal(place(index, field), `wanted a string, found ${kindOfValue(value)}`);
  if (value === "") throw refusal(place(index, field), "it is empty");
  if (value.length * 3 > bytesMax && utf8Length(value) > bytesMax) {
    throw refusal(place(index, field), `it has ${utf8Length(value)} bytes, at most ${bytesMax} are allowed`);
  }
  if (!value.isWellFormed()) throw refusal(place(index, field), halfSurrogate);
  return value;
}

export function readSeq(value: unknown, index: number, field: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= u48Max) return value as number;
  throw refusal(place(index, field), `wanted a whole number from 0 to ${u48Max}, found ${shownNumber(value)}`);
}

export function readStorable(value: unknown, index: number, field: string): unknown {
  const fault = storageFault(value, limits.payloadDepthMax);
  if (fault !== undefined) throw refusal(join(place(index, field), fault.path), fault.problem);
  return value;
}

export function readFlag(value: unknown, index: number, field: string): boolean {
  if (typeof value === "boolean") return value;
  throw refusal(place(index, field), `wanted true or false, found ${kindOfValue(value)}`);
}

/**
 * A time as milliseconds since 1970: from a whole number, or from text that holds one or is ISO 8601 with its zone. A
 * date alone means its first moment in UTC. Digits beyond the millisecond are cut.
 */
export function readTime(value: unknown, field: string): number {
  const found = typeof value === "string" ? msOfText(value) : value;
  if (Number.isSafeInteger(found) && (found as number) >= 0 && (found as number) <= u48Max) return found as number;
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : shownNumber(value);
  throw refusal(field, `wanted milliseconds since 1970, or ISO 8601 such as 2026-01-31T12:00:00Z, found ${shown}`);
}

function msOfText(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  const [, year, month, day] = isoPattern.exec(text) ?? [];
  if (year === undefined) return Number.NaN;
  // Date.parse takes the 31st of any month, for a day of the next.
  const days = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  return Number(day) <= days ? Date.parse(text) : Number.NaN;
}

const isoPattern = /^(\d{4})-(\d{2})-(\d{2})(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2}))?$/;

function shownNumber(value: unknown): string {
  return typeof value === "number" ? String(value) : kindOfValue(value);
}

interface Fault {
  readonly path: string;
  readonly problem: string;
}

const halfSurrogate = "it holds half of a surrogate pair, which has no UTF-8 form";

/** Says what keeps a JSON value from being stored as it is. Recursion is bounded by `levels`. */
function storageFault(value: unknown, levels: number): Fault | undefined {
  if (typeof value === "string") return value.isWellFormed() ? undefined : { path: "", problem: halfSurrogate };
  if (typeof value !== "object" || value === null) return undefined;
  if (levels === 0) return { path: "", problem: `nested more than ${limits.payloadDepthMax} levels deep` };
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const fault = storageFault(value[i], levels - 1);
      if (fault !== undefined) return { path: join(String(i), fault.path), problem: fault.problem };
    }
    return undefined;
  }
  const fields = value as Record<string, unknown>;
  for (const key in fields) {
    if (key === "__proto__") return { path: key, problem: "a key of this name cannot be stored" };
    if (!key.isWellFormed()) return { path: key.toWellFormed(), problem: halfSurrogate };
    const fault = storageFault(fields[key], levels - 1);
    if (fault !== undefined) return { path: join(key, fault.path), problem: fault.problem };
  }
  return undefined;
}

export function asObject(value: unknown, path: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw refusal(path, `wanted an object, found ${kindOfValue(value)}`);
}

export function unknownField(key: string, index: number, known: string): HeddleError {
  return refusal(place(index, key), `unknown; known: ${known}`);
}

export function place(index: number, field: string): string {
  return index < 0 ? field : `items.${index}.${field}`;
}

export function join(path: string, field: string): string {
  if (path === "") return field;
  return field === "" ? path : `${path}.${field}`;
}

export function kindOfValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Keys come from outside and may be as long as a body: the path shows their start. */
export function refusal(path: string, problem: string): HeddleError<"INVALID_REQUEST"> {
  if (path === "") return new HeddleError("INVALID_REQUEST", { problem });
  const shown = path.length <= pathCharactersMax ? path : `${path.slice(0, pathCharactersMax)}…`;
  return new HeddleError("INVALID_REQUEST", { problem, path: shown });
}

const pathCharactersMax = 300;
