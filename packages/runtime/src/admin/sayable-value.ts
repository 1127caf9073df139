// A value as a short text: JSON, with a word for what JSON has none for.

const lengthMax = 200;

/** At most {@link lengthMax} characters, and the length of what was cut off. */
export function toSayable(value: unknown): string {
  const text = JSON.stringify(value, sayable) ?? "nothing";
  if (text.length <= lengthMax) return text;
  return `${text.slice(0, lengthMax)}… (${text.length} characters)`;
}

// `this` holds the value before a Date's own toJSON made something of it.
function sayable(this: unknown, key: string, made: unknown): unknown {
  const value = (this as Readonly<Record<string, unknown>>)[key];
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (value instanceof Uint8Array)
    return `${value.length} bytes: ${Buffer.from(value.subarray(0, 40)).toString("base64")}`;
  return made;
}
