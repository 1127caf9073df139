// The OpenAPI paths of stream-routes.ts.
import { u48Max } from "@heddle/protocol/internal";
import {
  aggregateParameter,
  anyCall,
  entityCall,
  errors,
  everyShardCall,
  type Json,
  query,
  ref,
  text,
} from "./openapi-parts.ts";

export function streamPaths(): Json {
  return {
    "/v1/entities/{kind}/{name}/stream": {
      parameters: [ref("parameters", "kind"), ref("parameters", "name")],
      get: {
        tags: ["entities"],
        operationId: "stream",
        summary: "An entity's events as server-sent events: those that there are, then those that come.",
        description:
          "Each message has as its data one event as the history gives it, with `entity`, and its sequence as its id. Heddle's " +
          "own events are given where no aggregate is named. What goes wrong later is a message `error` with the body " +
          "of an error, and the stream ends. Without events there is a comment line every 15 seconds.",
        parameters: [
          { ...aggregateParameter, description: "Only the events of one aggregate." },
          query("from", "The sequence to begin at; `now` for what comes.", {
            anyOf: [{ type: "integer", minimum: 1, maximum: u48Max }, { const: "now" }],
            default: 1,
          }),
          lastEventId("The sequence of the last message that was taken. Goes before `from`."),
        ],
        responses: { 200: stream, ...errors([...entityCall, "LOG_DAMAGED"]) },
      },
    },
    "/v1/stream": {
      get: {
        tags: ["entities"],
        operationId: "streamAll",
        summary: "The events of all entities as server-sent events: those that there are, then those that come.",
        description:
          "Events of one entity come in their order; between entities there is none. A message is as that of an entity's own " +
          "stream, with `shard`, and `index` in its append; its id is where to go on behind it.",
        parameters: [
          query("kind", "Only events of entities of this kind.", text),
          { ...aggregateParameter, description: "Only the events of one aggregate." },
          query("types", "Only events of these types, with commas between.", text),
          query("from", "`beginning`, `now`, or the id of a message: what lies behind it.", {
            ...text,
            default: "beginning",
          }),
          lastEventId("The id of the last message that was taken. Goes before `from`."),
        ],
        responses: {
          200: stream,
          ...errors([...everyShardCall, "UNKNOWN_AGGREGATE", "UNKNOWN_EVENT_TYPE", "DOMAIN_FAILED", "LOG_DAMAGED"]),
        },
      },
    },
    "/v1/socket": {
      get: {
        tags: ["node"],
        operationId: "socket",
        summary: "The binary protocol over a WebSocket, for the SDK in browsers.",
        description:
          "Binary messages; where one ends means nothing. A page of another origin than the node's own must be one that " +
          "the node was told of.",
        responses: { 101: { description: "The connection is a WebSocket." }, ...errors(anyCall) },
      },
    },
  };
}

const stream: Json = {
  description: "The stream. It ends with the connection.",
  content: { "text/event-stream": { schema: text } },
};

function lastEventId(description: string): Json {
  return { name: "Last-Event-ID", in: "header", description, schema: text };
}
