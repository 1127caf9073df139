// The OpenAPI 3.1 document of a node: every route, with the names and schemas of the context that the node serves.
//
// Written by hand beside the routes; a test holds that neither has a route that the other lacks, and that answers are of
// the shape that stands here.
import { type ErrorCode, errorTable, limits } from "@heddle/kernel";
import { u48Max } from "@heddle/protocol/internal";
import type { AggregateInfo, JsonSchema, NodeFacts } from "./gateway.ts";
import { historyLimitDefault } from "./request-checks.ts";

type Json = Readonly<Record<string, unknown>>;

export function openApiDocument(facts: NodeFacts): Json {
  return {
    openapi: "3.1.0",
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    info: {
      title: `Heddle: context ${facts.context.name}`,
      version: facts.version,
      summary: "Append events to entities, run commands, read states and histories.",
      description,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/", description: "This node" }],
    tags: [{ name: "entities" }, { name: "node" }],
    paths: { ...entityPaths(), ...nodePaths() },
    components: {
      parameters,
      schemas: { ...plainSchemas, ...contextSchemas(facts.context.aggregates) },
    },
  };
}

const description = `
**Names.** An entity id is kind/name, and the name may hold further slashes. In a path, percent-encode kind and name as
every URL component: \`account/a%2Fb\`. Plain slashes are taken as part of the name too, except that a last segment
\`append\`, \`execute\`, \`history\` or \`export\` is then the action. Names that URLs cannot carry (\`.\` and \`..\`) can
be written with \`/v1/append-many\`, which takes ids in the body.

**Values.** Bodies are JSON in UTF-8. What JSON has no word for is a string in answers: integers beyond 2^53 in decimal,
binary values in base64, timestamps in ISO 8601, NaN and the infinities by name. A number beyond 2^53 in a request loses its last
digits, as everywhere in JSON: send it as a string if the schema takes one. A key \`__proto__\`, half a surrogate pair
and more than ${limits.payloadDepthMax} levels of nesting are refused. Fields and parameters that are not listed here are refused.

**Outcomes.** 200 means durable. 409 is a rejection: the rules said no, and nothing was written. Every other status from 400
up is an operating error with a \`code\`; \`retryable\` says whether the same call can succeed later. Sent again with the
same \`id\`, an append takes effect once. Answers with 503 carry Retry-After.

**Before a route is reached** a request can fail with INVALID_REQUEST: 400 (not HTTP/1.1; a Host or Origin header that is
not this node's), 408 (too slow), 417 (an Expect other than 100-continue), 431 (headers too long); with UNKNOWN_ROUTE: 404,
or 405 and an Allow header when the path has other methods; and with OVERLOADED or CLOSED: 503. HEAD works wherever GET
does, but for exports.
`.trim();

const anyCall: readonly ErrorCode[] = ["INVALID_REQUEST", "OVERLOADED", "CLOSED"];
const entityCall: readonly ErrorCode[] = [
  ...anyCall,
  "INVALID_ENTITY_ID",
  "UNKNOWN_AGGREGATE",
  "DOMAIN_FAILED",
  "SHARD_STOPPED",
  "OUTCOME_UNKNOWN",
  "TIMEOUT",
];
const anyWrite: readonly ErrorCode[] = [
  ...anyCall,
  "UNSUPPORTED_MEDIA_TYPE",
  "FRAME_TOO_LARGE",
  "OUTCOME_UNKNOWN",
  "TIMEOUT",
];
const entityWrite: readonly ErrorCode[] = [
  ...entityCall,
  ...anyWrite,
  "INVALID_PAYLOAD",
  "UNKNOWN_EVENT_TYPE",
  "ID_REUSED",
  "ID_EXPIRED",
  "DISK_FULL",
];

function entityPaths(): Json {
  const kindAndName = [ref("parameters", "kind"), ref("parameters", "name")];
  return {
    "/v1/entities/{kind}/{name}/append": {
      parameters: kindAndName,
      post: {
        tags: ["entities"],
        operationId: "append",
        summary: "Append one event or many to one entity, all or nothing.",
        parameters: [ref("parameters", "idempotencyKey")],
        requestBody: jsonBody("AppendRequest"),
        responses: {
          200: answer("The events are durable.", schema("EntityReceipt")),
          409: answer("Rejected; nothing was written.", schema("Rejection")),
          ...errors(entityWrite),
        },
      },
    },
    "/v1/entities/{kind}/{name}/execute": {
      parameters: kindAndName,
      post: {
        tags: ["entities"],
        operationId: "execute",
        summary: "Run a command of one entity; it decides to events, or rejects.",
        parameters: [ref("parameters", "idempotencyKey")],
        requestBody: jsonBody("ExecuteRequest"),
        responses: {
          200: answer("The events it decided to are durable.", schema("EntityReceipt")),
          409: answer("Rejected; nothing was written.", schema("Rejection")),
          ...errors([...entityWrite, "UNKNOWN_COMMAND"]),
        },
      },
    },
    "/v1/entities/{kind}/{name}": {
      parameters: kindAndName,
      get: {
        tags: ["entities"],
        operationId: "get",
        summary: "The state of one aggregate of an entity.",
        description: "An entity without events has its aggregate's initial state, at seq 0.",
        parameters: [ref("parameters", "aggregate")],
        responses: { 200: answer("The durable state.", schema("State")), ...errors(entityCall) },
      },
    },
    "/v1/entities/{kind}/{name}/history": {
      parameters: kindAndName,
      get: {
        tags: ["entities"],
        operationId: "history",
        summary: "A page of an entity's events.",
        parameters: [
          { ...aggregateParameter, description: "Only events of this aggregate; all when left out." },
          query("limit", "Events in the page.", {
            type: "integer",
            minimum: 1,
            maximum: limits.historyEventsMax,
            default: historyLimitDefault,
          }),
          query("from", "Sequence of the first event, inclusive. 0 is the start, or the end when reading backward.", {
            ...position,
            default: 0,
          }),
          query("direction", "Oldest first, or newest first.", { enum: ["forward", "backward"], default: "forward" }),
        ],
        responses: { 200: answer("The page.", schema("History")), ...errors(entityCall) },
      },
    },
    "/v1/entities/{kind}/{name}/export": {
      parameters: kindAndName,
      get: {
        tags: ["entities"],
        operationId: "export",
        summary: "All events of an entity, oldest first, one JSON document a line.",
        description:
          "Up to the newest event at the start of the call. When something fails in the middle, the connection ends " +
          "before the last chunk: an answer that a client takes for complete is complete.",
        responses: {
          200: {
            description: "Lines of Event.",
            content: { "application/x-ndjson": { schema: { type: "string", description: "Each line is an Event." } } },
          },
          ...errors(entityCall),
        },
      },
    },
    "/v1/append-many": {
      post: {
        tags: ["entities"],
        operationId: "appendMany",
        summary: "Append to many entities: one result for each item, in order.",
        description:
          "Each item is an append of its own. The status is 200 even when items were rejected or failed: look at each " +
          "result. A fault that shows without asking a shard (a field that is missing, unknown or of a wrong type, an " +
          "id that is none) refuses the whole call with 400 and its place, and nothing is written. The header " +
          "Idempotency-Key is refused: each item has an id of its own.",
        requestBody: jsonBody("AppendManyRequest"),
        responses: {
          200: answer("The results.", schema("AppendManyResults")),
          ...errors([...anyWrite, "INVALID_ENTITY_ID"]),
        },
      },
    },
  };
}

function nodePaths(): Json {
  const get = (operationId: string, summary: string, responses: Json): Json => ({
    get: { tags: ["node"], operationId, summary, responses },
  });
  const object = (required: Json): Json => ({ type: "object", properties: required, required: Object.keys(required) });
  const about = { node: text, version: text, context: text, durability: text, shardCount: count };
  const readiness = schema("Readiness");
  return {
    "/": get("about", "What this is and where to go.", {
      200: answer("Facts and links.", object({ heddle: text, ...about, see: { type: "object" } })),
      ...errors(anyCall),
    }),
    "/v1/context": get("context", "The context: its aggregates, events, commands and invariants.", {
      200: answer("The context.", object({ ...about, aggregates: { type: "array", items: schema("Aggregate") } })),
      ...errors(anyCall),
    }),
    "/openapi.json": get("openapi", "This document.", {
      200: answer("An OpenAPI 3.1 document.", { type: "object" }),
      ...errors(anyCall),
    }),
    "/livez": get("livez", "Whether the process answers. Restart it when it does not.", {
      200: answer("It does.", object({ live: { const: true } })),
      ...errors(anyCall),
    }),
    "/readyz": get("readyz", "Whether every shard serves. Send no traffic while it does not.", {
      200: answer("All shards serve.", readiness),
      ...errors(["INVALID_REQUEST"]),
      503: {
        ...answer("Not all shards serve (then with reasons), or the node refuses the request.", {
          anyOf: [readiness, errorSchema(["OVERLOADED", "CLOSED"])],
        }),
        headers: retryAfter,
      },
    }),
    "/metrics": get("metrics", "Figures for Prometheus.", {
      200: { description: "Text format 0.0.4.", content: { "text/plain": { schema: text } } },
      ...errors([...anyCall, "SHARD_STOPPED", "OUTCOME_UNKNOWN", "TIMEOUT"]),
    }),
  };
}

const text: Json = { type: "string" };
const count: Json = { type: "integer", minimum: 0 };
const position: Json = { type: "integer", minimum: 0, maximum: u48Max };
const name: Json = { type: "string", minLength: 1, description: `At most ${limits.nameBytesMax} bytes.` };

const aggregateParameter: Json = {
  name: "aggregate",
  in: "query",
  description: "May be left out in a context that has only one.",
  schema: text,
};

const parameters: Json = {
  kind: {
    name: "kind",
    in: "path",
    required: true,
    description: "The part of the entity's id before its first slash.",
    schema: { type: "string", pattern: "^[a-z][a-z0-9_-]*$" },
    example: "account",
  },
  name: {
    name: "name",
    in: "path",
    required: true,
    description: `The remainder. Kind, slash and name have at most ${limits.entityIdBytesMax} bytes.`,
    schema: { type: "string", minLength: 1 },
    example: "alice",
  },
  aggregate: aggregateParameter,
  idempotencyKey: {
    name: "Idempotency-Key",
    in: "header",
    description: "The same as `id` in the body. Both, and different, is an error.",
    schema: { type: "string", minLength: 1, maxLength: limits.appendIdBytesMax },
  },
};

const appendOptions: Json = {
  aggregate: { ...text, description: "May be left out where the event type, or the only aggregate, tells it." },
  expectedSeq: { ...position, description: "Reject unless the entity's last event has this sequence; 0: it has none." },
  id: {
    type: "string",
    minLength: 1,
    description: `Names this append for good: sent again, it returns the first receipt. At most ${limits.appendIdBytesMax} bytes.`,
  },
  metadata: { description: "Stored with the events; any JSON value." },
};

const oneEvent: Json = { type: name, payload: { description: "As the schema of the event asks." } };
const manyEvents: Json = {
  events: { type: "array", minItems: 1, maxItems: limits.appendEventsMax, items: schema("NewEvent") },
};

const receiptFields: Json = {
  ok: { const: true },
  seq: { ...position, description: "Sequence of the entity's last event." },
  firstSeq: { ...position, description: "Sequence of the first event of this append." },
  count: { ...count, description: "Events written." },
  shard: count,
  position: { ...position, description: "Place in the log of that shard." },
  time: { type: "integer", description: "Milliseconds since 1970." },
  duplicate: { type: "boolean", description: "True: this id had taken effect before, and this is its first receipt." },
};

const plainSchemas: Json = {
  AppendRequest: { oneOf: appendShapes({}) },
  ExecuteRequest: closed(
    { command: name, input: { description: "As the schema of the command asks." } },
    appendOptions,
  ),
  AppendManyRequest: closed({
    items: { type: "array", maxItems: limits.appendManyItemsMax, items: schema("AppendManyItem") },
  }),
  AppendManyItem: {
    oneOf: appendShapes({ entity: { ...text, description: "kind/name", examples: ["account/alice"] } }),
  },
  AppendManyResults: closed({
    results: { type: "array", items: { anyOf: [schema("Receipt"), schema("Rejection"), schema("Error")] } },
  }),
  NewEvent: {
    ...closed(oneEvent),
    description: "The schemas named after aggregate and event say what payloads this context takes.",
  },
  Receipt: closed(receiptFields),
  EntityReceipt: closed({ ...receiptFields, entity: text }),
  Rejection: {
    ...closed({
      ok: { const: false },
      code: { enum: ["INVARIANT_VIOLATED", "SEQUENCE_CONFLICT", "COMMAND_REJECTED"] },
      message: text,
      facts: { type: "object" },
    }),
    description:
      "Facts of INVARIANT_VIOLATED: aggregate, rule, index of the event. Of SEQUENCE_CONFLICT: expectedSeq, actualSeq. " +
      "Of COMMAND_REJECTED: command, reason, details.",
  },
  Error: errorShape({ type: "string", enum: Object.keys(errorTable) }),
  State: closed({ entity: text, aggregate: text, state: {}, seq: position }),
  History: closed(
    { events: { type: "array", items: schema("Event") } },
    { next: { ...position, description: "`from` of the next page; left out at the end." } },
  ),
  Event: closed({
    seq: position,
    time: { type: "integer", description: "Milliseconds since 1970." },
    aggregate: text,
    type: text,
    payload: {},
    metadata: { description: "null when it has none." },
    id: { type: ["string", "null"] },
    schemaVersion: count,
    position,
  }),
  Aggregate: {
    type: "object",
    properties: {
      name: text,
      version: { ...count, description: "Of the fold." },
      events: { type: "array", items: { type: "object", required: ["name", "schemaVersion"] } },
      commands: { type: "array", items: { type: "object", required: ["name"] } },
      invariants: { type: "array", items: text },
    },
    required: ["name", "version", "events", "commands", "invariants"],
  },
  Readiness: closed({
    ready: { type: "boolean" },
    reasons: { type: "array", items: text },
    shards: {
      type: "array",
      items: {
        type: "object",
        properties: { shard: count, state: text, reason: text },
        required: ["shard", "state"],
      },
    },
  }),
};

/** Payloads and inputs of the context, `Account.Credited`, as far as their schemas can be told. */
function contextSchemas(aggregates: readonly AggregateInfo[]): Json {
  const schemas: Record<string, unknown> = {};
  for (const { name: aggregate, events, commands } of aggregates) {
    for (const event of events) {
      const what = `Payload of the event ${event.name} of ${aggregate}, schema version ${event.schemaVersion}.`;
      schemas[componentName("Payload", aggregate, event.name)] = described(event.schema, what);
    }
    for (const command of commands) {
      const what = `Input of the command ${command.name} of ${aggregate}.`;
      schemas[componentName("Input", aggregate, command.name)] = described(command.schema, what);
    }
  }
  return schemas;
}

/** Component names are ASCII words; other characters of a name turn into their code points. */
function componentName(...parts: readonly string[]): string {
  return parts.map((part) => part.replace(/[^A-Za-z0-9_-]/gu, (c) => `-u${c.codePointAt(0)!.toString(16)}-`)).join(".");
}

// A schema of its own document may point into itself; an $id keeps `#/…` meaning that schema and not this document.
function described(own: JsonSchema | undefined, what: string): Json {
  const id = own !== undefined && own["$id"] === undefined && JSON.stringify(own).includes('"$ref":"#');
  return { description: what, ...(id ? { $id: `urn:heddle:${encodeURIComponent(what)}` } : {}), ...own };
}

function appendShapes(entity: Json): readonly Json[] {
  return [closed({ ...entity, ...oneEvent }, appendOptions), closed({ ...entity, ...manyEvents }, appendOptions)];
}

function closed(required: Json, optional: Json = {}): Json {
  return {
    type: "object",
    properties: { ...required, ...optional },
    required: Object.keys(required),
    additionalProperties: false,
  };
}

function errorShape(code: Json): Json {
  return closed({
    ok: { const: false },
    code,
    message: text,
    facts: { type: "object" },
    retryable: { type: "boolean" },
    advice: text,
  });
}

function errorSchema(codes: readonly ErrorCode[]): Json {
  return { allOf: [schema("Error"), { properties: { code: { enum: codes } } }] };
}

/** The answers for these codes, by the status that the error table gives them. */
function errors(codes: readonly ErrorCode[]): Json {
  const byStatus = Map.groupBy(new Set(codes), (code) => errorTable[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, those]) => {
      const error = answer(`${those.join(", ")}.`, errorSchema(those));
      return [status, status === 503 ? { ...error, headers: retryAfter } : error];
    }),
  );
}

const retryAfter: Json = { "Retry-After": { description: "Seconds to wait before the next try.", schema: count } };

function query(parameter: string, what: string, of: Json): Json {
  return { name: parameter, in: "query", description: what, schema: of };
}

function jsonBody(component: string): Json {
  return { required: true, content: { "application/json": { schema: schema(component) } } };
}

function answer(what: string, of: Json): Json {
  return { description: what, content: { "application/json": { schema: of } } };
}

function schema(component: string): Json {
  return ref("schemas", component);
}

function ref(section: string, component: string): Json {
  return { $ref: `#/components/${section}/${component}` };
}
