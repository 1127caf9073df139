// Values as JSON. What JSON has no word for becomes a string, as over HTTP: integers beyond 2^53 in decimal, binary values
// in base64, dates in ISO 8601, NaN and the infinities by name.

/** One line. `undefined` at the top becomes null. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, sayable) ?? "null";
}

/** Over several lines, for reading. */
export function toPrettyJson(value: unknown): string {
  return JSON.stringify(value, sayable, 2) ?? "null";
}

// `this` holds the value before a Date's or Buffer's own toJSON made something of it.
function sayable(this: unknown, key: string, made: unknown): unknown {
  const value = (this as Readonly<Record<string, unknown>>)[key];
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  return made;
}
