// What the parts of the OpenAPI document are made of: schemas in short, and the errors that a route can answer with.
import { type ErrorCode, errorTable, limits } from "@heddle/kernel";
import { u48Max } from "@heddle/protocol/internal";

export type Json = Readonly<Record<string, unknown>>;

export const anyCall: readonly ErrorCode[] = ["INVALID_REQUEST", "OVERLOADED", "CLOSED"];
export const entityCall: readonly ErrorCode[] = [
  ...anyCall,
  "INVALID_ENTITY_ID",
  "UNKNOWN_AGGREGATE",
  "ENTITY_HELD",
  "DOMAIN_FAILED",
  "SHARD_STOPPED",
  "OUTCOME_UNKNOWN",
  "TIMEOUT",
];
/** What every shard is asked, and not one about an entity. */
export const everyShardCall: readonly ErrorCode[] = [...anyCall, "SHARD_STOPPED", "OUTCOME_UNKNOWN", "TIMEOUT"];
export const anyWrite: readonly ErrorCode[] = [
  ...anyCall,
  "UNSUPPORTED_MEDIA_TYPE",
  "FRAME_TOO_LARGE",
  "OUTCOME_UNKNOWN",
  "TIMEOUT",
];
export const entityWrite: readonly ErrorCode[] = [
  ...entityCall,
  ...anyWrite,
  "INVALID_PAYLOAD",
  "UNKNOWN_KIND",
  "UNKNOWN_EVENT_TYPE",
  "ERASED",
  "ID_REUSED",
  "ID_EXPIRED",
  "DISK_FULL",
];

export const text: Json = { type: "string" };
export const count: Json = { type: "integer", minimum: 0 };
export const position: Json = { type: "integer", minimum: 0, maximum: u48Max };
/** A time in a request. */
export const moment: Json = {
  type: ["integer", "string"],
  description: "Milliseconds since 1970, or ISO 8601 with its zone; a date alone is its first moment in UTC.",
  examples: ["2026-01-31T12:00:00Z"],
};
export const name: Json = { type: "string", minLength: 1, description: `At most ${limits.nameBytesMax} bytes.` };

export const msSince1970: Json = { type: "integer", description: "Milliseconds since 1970." };

const oneEvent: Json = { type: name, payload: { description: "As the schema of the event asks." } };
/** What a saga's step or a reminder brings: one event, several, or a command. */
export const contentShapes: readonly Json[] = [
  oneEvent,
  { events: { type: "array", minItems: 1, maxItems: limits.appendEventsMax, items: schema("NewEvent") } },
  { command: name, input: { description: "As the schema of the command asks." } },
];

export const aggregateParameter: Json = {
  name: "aggregate",
  in: "query",
  description: "May be left out in a context that has only one.",
  schema: text,
};

export function closed(required: Json, optional: Json = {}): Json {
  return {
    type: "object",
    properties: { ...required, ...optional },
    required: Object.keys(required),
    additionalProperties: false,
  };
}

export function errorShape(code: Json): Json {
  return closed({
    ok: { const: false },
    code,
    message: text,
    facts: { type: "object" },
    retryable: { type: "boolean" },
    advice: text,
  });
}

export function errorSchema(codes: readonly ErrorCode[]): Json {
  return { allOf: [schema("Error"), { properties: { code: { enum: codes } } }] };
}

/** The answers for these codes, by the status that the error table gives them. */
export function errors(codes: readonly ErrorCode[]): Json {
  const byStatus = Map.groupBy(new Set(codes), (code) => errorTable[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, those]) => {
      const error = answer(`${those.join(", ")}.`, errorSchema(those));
      return [status, status === 503 ? { ...error, headers: retryAfter } : error];
    }),
  );
}

export const retryAfter: Json = {
  "Retry-After": { description: "Seconds to wait before the next try.", schema: count },
};

export function query(parameter: string, what: string, of: Json): Json {
  return { name: parameter, in: "query", description: what, schema: of };
}

export function jsonBody(component: string): Json {
  return { required: true, content: { "application/json": { schema: schema(component) } } };
}

export function answer(what: string, of: Json): Json {
  return { description: what, content: { "application/json": { schema: of } } };
}

export function schema(component: string): Json {
  return ref("schemas", component);
}

export function ref(section: string, component: string): Json {
  return { $ref: `#/components/${section}/${component}` };
}
