// Values as JSON, without loss that goes unnoticed.
//
// Payloads and states come from msgpack and hold more than JSON can say. What JSON has no word for becomes a string:
// integers beyond 2^53 in decimal, bytes in base64, timestamps in ISO 8601, and NaN and the infinities by name.

/** Never throws for anything that msgpack can carry. */
export function jsonText(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      return Number.isFinite(value) ? String(value) : `"${value}"`;
    case "boolean":
      return value ? "true" : "false";
    case "bigint":
      return `"${value}"`;
    case "object":
      return value === null ? "null" : objectText(value);
    default:
      return "null";
  }
}

function objectText(value: object): string {
  if (Array.isArray(value)) return arrayText(value);
  if (value instanceof Uint8Array)
    return `"${Buffer.from(value.buffer, value.byteOffset, value.length).toString("base64")}"`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "null" : `"${value.toISOString()}"`;
  let text = "{";
  for (const [key, field] of Object.entries(value)) {
    if (field === undefined) continue;
    text += `${text === "{" ? "" : ","}${JSON.stringify(key)}:${jsonText(field)}`;
  }
  return `${text}}`;
}

function arrayText(values: readonly unknown[]): string {
  let text = "[";
  for (let i = 0; i < values.length; i++) text += i === 0 ? jsonText(values[i]) : `,${jsonText(values[i])}`;
  return `${text}]`;
}
