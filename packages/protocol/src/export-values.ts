// ExportValues: every value that msgpack brings, as JSON and back, exactly.
//
//   bigint                      {"$bigint":"123"}
//   bytes                       {"$bytes":"base64"}
//   date                        {"$date":"2026-01-01T00:00:00.000Z"}, or {"$date":null} for one that is none
//   NaN, ±Infinity, -0          {"$number":"NaN"} "Infinity" "-Infinity" "-0"
//   undefined                   {"$undefined":true}
//   a key that begins with $    has one more $ in front: {"$a":1} is written {"$$a":1}
//
// V1. fromTagged(JSON.parse(JSON.stringify(toTagged(value)))) equals `value`, for whatever `decodeValue` gives.
// Not promised: more than a Date can hold: milliseconds. What is finer in a timestamp is lost where it is decoded.
import { HeddleError, limits } from "@heddle/kernel";

/** The value itself where JSON has a word for all of it, else a copy with tags. Errors: `INVALID_REQUEST`. */
export function toTagged(value: unknown): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : { $number: Object.is(value, -0) ? "-0" : `${value}` };
    case "bigint":
      return { $bigint: `${value}` };
    case "undefined":
      return { $undefined: true };
    case "object":
      if (value === null) return null;
      if (Array.isArray(value)) return taggedArray(value);
      if (value instanceof Uint8Array) return { $bytes: toBase64(value) };
      if (value instanceof Date) return { $date: Number.isNaN(value.getTime()) ? null : value.toISOString() };
      return taggedObject(value as Record<string, unknown>);
    default:
      throw new HeddleError("INVALID_REQUEST", { problem: `a ${typeof value} cannot be exported` });
  }
}

function taggedArray(values: readonly unknown[]): readonly unknown[] {
  let changed: unknown[] | undefined;
  for (let i = 0; i < values.length; i++) {
    const tagged = toTagged(values[i]);
    if (changed === undefined && tagged !== values[i]) changed = values.slice(0, i);
    changed?.push(tagged);
  }
  return changed ?? values;
}

function taggedObject(value: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const keys = Object.keys(value);
  let changed: Record<string, unknown> | undefined;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    const tagged = toTagged(value[key]);
    if (changed === undefined && (tagged !== value[key] || key.startsWith("$"))) {
      changed = {};
      for (const before of keys.slice(0, i)) put(changed, before, value[before]);
    }
    if (changed !== undefined) put(changed, key.startsWith("$") ? `$${key}` : key, tagged);
  }
  return changed ?? value;
}

/** What was written with tags, from what JSON.parse gave; its objects are changed. Errors: throws a TypeError. */
export function fromTagged(value: unknown, depth = 0): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > limits.valueDepthMax) throw new TypeError(`it nests deeper than ${limits.valueDepthMax} levels`);
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = fromTagged(value[i], depth + 1);
    return value;
  }
  const object = value as Record<string, unknown>;
  const keys = Object.keys(object);
  if (keys.length === 1 && isTag(keys[0]!)) return readTag(keys[0]!, object[keys[0]!]);
  if (!keys.some((key) => key.startsWith("$"))) {
    for (const key of keys) put(object, key, fromTagged(object[key], depth + 1));
    return object;
  }
  const made: Record<string, unknown> = {};
  for (const key of keys) {
    if (isTag(key)) throw new TypeError(`${JSON.stringify(key)} stands among other keys`);
    put(made, key.startsWith("$") ? key.slice(1) : key, fromTagged(object[key], depth + 1));
  }
  return made;
}

function isTag(key: string): boolean {
  return key.startsWith("$") && !key.startsWith("$$");
}

function readTag(tag: string, content: unknown): unknown {
  switch (tag) {
    case "$bigint":
      if (typeof content === "string" && /^-?[0-9]{1,20}$/.test(content)) return BigInt(content);
      break;
    case "$bytes":
      if (typeof content === "string" && base64.test(content)) return fromBase64(content);
      break;
    case "$date": {
      const date = new Date(content === null ? Number.NaN : String(content));
      if (content === null || (!Number.isNaN(date.getTime()) && date.toISOString() === content)) return date;
      break;
    }
    case "$number":
      if (typeof content === "string" && numbers.has(content)) return numbers.get(content);
      break;
    case "$undefined":
      if (content === true) return undefined;
      break;
  }
  throw new TypeError(`${JSON.stringify(tag)} is no value that is known here`);
}

const numbers = new Map([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
  ["-0", -0],
]);

// An assignment to this one key would change the object's prototype.
function put(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key !== "__proto__") object[key] = value;
  else Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** As many characters as a call may safely have arguments. */
const stepBytes = 8_192;

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += stepBytes) {
    binary += String.fromCharCode(...bytes.subarray(at, at + stepBytes));
  }
  return btoa(binary);
}

function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
