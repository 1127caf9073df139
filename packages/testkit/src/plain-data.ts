// Plain data: what msgpack can carry, and so what a state or payload may be made of.
import { limits } from "@heddle/kernel";

/**
 * Says what is not plain about a value, with its path (`state.lines.0.price`); `undefined` when all of it is plain.
 *
 * Plain are null, booleans, numbers, strings, bigints of 64 bits, dates, bytes (Uint8Array), and lists and objects of
 * these. A key whose value is undefined is let through, because it counts as absent.
 */
export function plainProblem(value: unknown, path: string, depth = 0): string | undefined {
  if (value === undefined) return `${path} is undefined`;
  if (typeof value === "function" || typeof value === "symbol") return `${path} is a ${typeof value}`;
  if (typeof value === "bigint" && BigInt.asIntN(64, value) !== value && BigInt.asUintN(64, value) !== value) {
    return `${path} is a bigint of more than 64 bits`;
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (value instanceof Date || value instanceof Uint8Array) return undefined;
  // Also ends the walk through a value that holds itself.
  if (depth === limits.payloadDepthMax) return `${path} is nested deeper than ${limits.payloadDepthMax} levels`;
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      const problem = plainProblem(item, `${path}.${i}`, depth + 1);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return `${path} is a ${classOf(value)}`;
  for (const [key, item] of Object.entries(value)) {
    const problem = item === undefined ? undefined : plainProblem(item, `${path}.${key}`, depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function classOf(value: object): string {
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" ? name : "class instance";
}

/** A copy that cannot be changed, however deep. Of bytes and dates there is a copy too, but no way to freeze it. */
export function frozenCopy<T>(plain: T): T {
  return deepFreeze(structuredClone(plain));
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  Object.freeze(value);
  for (const item of Object.values(value)) deepFreeze(item);
  return value;
}

/** The same value without the keys that are undefined, so that `{ a: undefined }` and `{}` compare as equal. */
export function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== "object" || value === null || value instanceof Date || ArrayBuffer.isView(value)) return value;
  const present = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(present.map(([key, item]) => [key, withoutUndefined(item)]));
}
