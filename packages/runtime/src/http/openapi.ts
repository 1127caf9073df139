// The OpenAPI 3.1 document of a node: every route, with the names and schemas of the context that the node serves.
//
// The routes of entities: openapi-entities.ts and openapi-life.ts. Components: openapi-schemas.ts.
//
// Written by hand beside the routes; a test holds that neither has a route that the other lacks, and that answers are of
// the shape that stands here.
import { limits } from "@heddle/kernel";
import type { NodeFacts } from "./gateway.ts";
import { entityPaths } from "./openapi-entities.ts";
import { groupPaths } from "./openapi-groups.ts";
import { lifePaths } from "./openapi-life.ts";
import { answer, anyCall, count, errorSchema, errors, type Json, retryAfter, schema, text } from "./openapi-parts.ts";
import { queryPaths } from "./openapi-queries.ts";
import { reminderPaths } from "./openapi-reminders.ts";
import { sagaPaths } from "./openapi-sagas.ts";
import { contextSchemas, parameters, plainSchemas } from "./openapi-schemas.ts";
import { streamPaths } from "./openapi-streams.ts";
import { transactionPaths } from "./openapi-transactions.ts";

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
    tags: [
      { name: "entities" },
      { name: "transactions" },
      { name: "sagas" },
      { name: "reminders" },
      { name: "groups" },
      { name: "queries" },
      { name: "node" },
    ],
    paths: merged(
      entityPaths(),
      streamPaths(),
      groupPaths(),
      lifePaths(),
      transactionPaths(),
      sagaPaths(),
      reminderPaths(),
      queryPaths(),
      nodePaths(),
    ),
    components: {
      parameters,
      schemas: { ...plainSchemas, ...contextSchemas(facts.context.aggregates) },
    },
  };
}

/** Two parts may have different methods of one path. */
function merged(...parts: readonly Json[]): Json {
  const paths: Record<string, object> = {};
  for (const part of parts) {
    for (const [path, methods] of Object.entries(part)) paths[path] = { ...paths[path], ...(methods as object) };
  }
  return paths;
}

const description = `
**Names.** An entity id is kind/name, and the name may hold further slashes. In a path, percent-encode kind and name as
every URL component: \`account/a%2Fb\`. Plain slashes are taken as part of the name too, except that a last segment
\`append\`, \`execute\`, \`history\`, \`stream\`, \`export\`, \`restore\`, \`fork\` or \`reminders\` is then the
action, and so is a name behind \`reminders\`. Names that URLs cannot carry (\`.\` and \`..\`) can be written with \`/v1/append-many\`, which takes ids in the body.

**Values.** Bodies are JSON in UTF-8. What JSON has no word for is a string in answers: integers beyond 2^53 in decimal,
binary values in base64, timestamps in ISO 8601, NaN and the infinities by name. A number beyond 2^53 in a request loses its last
digits, as everywhere in JSON: send it as a string if the schema takes one. A key \`__proto__\`, half a surrogate pair
and more than ${limits.payloadDepthMax} levels of nesting are refused. Fields and parameters that are not listed here are refused.

**Times** in requests are milliseconds since 1970, or ISO 8601 with its zone (\`2026-01-31T12:00:00Z\`, a plus sign in a
URL percent-encoded); a date alone is its first moment in UTC. In answers they are milliseconds.

**Outcomes.** 200 means durable. 409 is a rejection: the rules said no, and nothing was written. Every other status from 400
up is an operating error with a \`code\`; \`retryable\` says whether the same call can succeed later. Sent again with the
same \`id\`, an append takes effect once. Answers with 503 carry Retry-After.

**Before a route is reached** a request can fail with INVALID_REQUEST: 400 (not HTTP/1.1; a Host or Origin header that is
not this node's), 408 (too slow), 417 (an Expect other than 100-continue), 431 (headers too long); with UNKNOWN_ROUTE: 404,
or 405 and an Allow header when the path has other methods; and with OVERLOADED or CLOSED: 503. HEAD works wherever GET
does, but for exports and streams.
`.trim();

function nodePaths(): Json {
  const get = (operationId: string, summary: string, responses: Json): Json => ({
    get: { tags: ["node"], operationId, summary, responses },
  });
  const object = (required: Json): Json => ({ type: "object", properties: required, required: Object.keys(required) });
  const about = { node: text, version: text, context: text, durability: text, shardCount: count };
  const declared = {
    ...about,
    aggregates: { type: "array", items: schema("Aggregate") },
    sagas: { type: "array", items: object({ name: text }) },
  };
  const readiness = schema("Readiness");
  return {
    "/": get("about", "What this is and where to go.", {
      200: answer("Facts and links.", object({ heddle: text, ...about, see: { type: "object" } })),
      ...errors(anyCall),
    }),
    "/v1/context": get("context", "The context: its aggregates, events, commands and invariants, and its sagas.", {
      200: answer("The context.", {
        type: "object",
        properties: {
          ...declared,
          kinds: { type: "array", items: text, description: "Left out where an entity of any kind may begin." },
        },
        required: Object.keys(declared),
      }),
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
