// The OpenAPI paths and components of query-routes.ts.
import { limits } from "@heddle/kernel";
import { queryRowsDefault, queryRowsMax, queryTimeoutMsDefault, queryTimeoutMsMax } from "@heddle/protocol/internal";
import {
  answer,
  anyCall,
  anyWrite,
  closed,
  count,
  errors,
  type Json,
  jsonBody,
  msSince1970,
  name,
  position,
  schema,
  text,
} from "./openapi-parts.ts";

/** What every request to the projection thread can come to. */
const projectionCall = [...anyCall, "NO_QUERY_SINK", "SHARD_STOPPED", "OUTCOME_UNKNOWN"] as const;
const operation = [...projectionCall, ...anyWrite, "UNKNOWN_PROJECTION", "SINK_UNAVAILABLE", "SINK_REFUSED"] as const;

export function queryPaths(): Json {
  const projection = {
    name: "projection",
    in: "path",
    required: true,
    description: `The projection's name. At most ${limits.nameBytesMax} bytes.`,
    schema: { type: "string", minLength: 1 },
    example: "accounts",
  };
  const operate = (action: string, summary: string, body: string, more: readonly "NOT_SET_ASIDE"[] = []): Json => ({
    [`/v1/projections/{projection}/${action}`]: {
      parameters: [projection],
      post: {
        tags: ["queries"],
        operationId: `${action}Projection`,
        summary,
        requestBody: jsonBody(body),
        responses: {
          200: answer("It has been taken up.", schema("ProjectionOperated")),
          ...errors([...operation, ...more]),
        },
      },
    },
  });
  return {
    "/v1/query": {
      post: {
        tags: ["queries"],
        operationId: "query",
        summary: "Ask the tables that projections keep.",
        description:
          "One statement that reads: SELECT, WITH, VALUES or EXPLAIN. `after` takes the receipt of a write, or several, and the " +
          "query then sees it. An answer is whole or an error.",
        requestBody: jsonBody("QueryRequest"),
        responses: {
          200: answer("The rows.", schema("QueryAnswer")),
          ...errors([
            ...projectionCall,
            ...anyWrite,
            "QUERY_REFUSED",
            "QUERY_LIMIT",
            "PROJECTION_LAGS",
            "PROJECTION_CHANGED",
            "SINK_UNAVAILABLE",
            "SINK_REFUSED",
          ]),
        },
      },
    },
    "/v1/projections": {
      get: {
        tags: ["queries"],
        operationId: "projections",
        summary: "Every projection in each of its sinks: its state, how far it is, what it has set aside.",
        responses: { 200: answer("The projections.", schema("Projections")), ...errors(projectionCall) },
      },
    },
    ...operate("rebuild", "Make its rows anew beside those that are read, and swap.", "ProjectionRequest"),
    ...operate("pause", "Let it take no more events, also over restarts.", "ProjectionRequest"),
    ...operate("resume", "Let it go on, or try again.", "ProjectionRequest"),
    ...operate("retry", "Give it the events of an entity again that it has set aside.", "ProjectionRetry", [
      "NOT_SET_ASIDE",
    ]),
    ...operate("skip", "Leave out the one event that it could not take, and go on.", "ProjectionSkip", [
      "NOT_SET_ASIDE",
    ]),
  };
}

const parameter: Json = { type: ["string", "number", "boolean", "null"] };
const place: Json = {
  type: "object",
  description: "A receipt; its shard and position are looked at.",
  properties: { shard: count, position },
  required: ["shard", "position"],
};
const sink: Json = { sink: { ...text, description: "By name or kind. Default: every sink that it is kept in." } };

export const querySchemas: Json = {
  QueryRequest: closed(
    { sql: { ...text, examples: ["select account, balance from accounts where balance > ?"] } },
    {
      params: {
        oneOf: [
          { type: "array", items: parameter },
          { type: "object", additionalProperties: parameter },
        ],
        description: "In order for `?`, or by name for `:name`.",
      },
      after: { oneOf: [place, { type: "array", maxItems: 255, items: place }] },
      sink: { ...text, description: "By name or kind. Default: the first SQL sink." },
      rowsMax: { type: "integer", minimum: 1, maximum: queryRowsMax, default: queryRowsDefault },
      timeoutMs: {
        type: "integer",
        minimum: 1,
        maximum: queryTimeoutMsMax,
        default: queryTimeoutMsDefault,
        description: "For waiting and running together.",
      },
      consistency: {
        enum: ["none", "weak", "linearizable", "strong", "auto"],
        description: "Of rqlite: how sure it has to be that it has seen the last write.",
      },
    },
  ),
  QueryAnswer: closed({
    columns: { type: "array", items: text },
    rows: {
      type: "array",
      items: {
        type: "object",
        description: "By column.",
        additionalProperties: { type: ["string", "number", "null"] },
      },
    },
  }),
  Projections: closed({ projections: { type: "array", items: schema("Projection") } }),
  Projection: closed(
    {
      projection: text,
      sink: text,
      table: { ...text, description: "The table or collection that is read." },
      version: { ...count, description: "Of the definition that its rows were made by; 0 when there are none." },
      state: { enum: ["starting", "live", "rebuilding", "paused", "waiting", "stopped"] },
      shards: { type: "array", items: closed({ shard: count, position, end: position }) },
      lagBytes: { ...count, description: "Of log that it has not seen." },
      lagMs: { ...count, description: "How old the oldest event is that it may not have seen." },
      events: { ...count, description: "Folded since its rows were begun." },
      eventsPerSecond: { type: "number" },
      setAside: { ...count, description: "Entities whose events wait because one of them failed." },
      failures: {
        type: "array",
        description: "The first of them.",
        items: closed({
          entity: text,
          seq: count,
          aggregate: text,
          type: text,
          message: text,
          time: msSince1970,
        }),
      },
      waitingForSagas: { ...count, description: "Entities whose events wait for the end of a saga." },
      generation: { ...count, description: "Of the rows that are read." },
    },
    {
      problem: { ...text, description: "Why it is not live." },
      rebuild: closed({
        reason: text,
        done: { ...count, description: "Bytes of log." },
        total: count,
        events: count,
        eventsPerSecond: { type: "number" },
      }),
    },
  ),
  ProjectionRequest: closed({}, sink),
  ProjectionRetry: closed({ entity: name }, sink),
  ProjectionSkip: closed({ entity: name, reason: { ...text, minLength: 1 } }, { by: text, ...sink }),
  ProjectionOperated: closed({
    ok: { const: true },
    projections: {
      type: "array",
      items: closed({
        projection: text,
        sink: text,
        generation: { ...count, description: "That its rows are of, or will be when the rebuild has ended." },
      }),
    },
  }),
};
