// The OpenAPI paths of life-routes.ts.
import { limits } from "@heddle/kernel";
import {
  answer,
  anyWrite,
  entityCall,
  errorSchema,
  errors,
  everyShardCall,
  type Json,
  jsonBody,
  query,
  ref,
  schema,
  text,
} from "./openapi-parts.ts";
import { listLimitDefault } from "./query-checks.ts";

export function lifePaths(): Json {
  const kindAndName = [ref("parameters", "kind"), ref("parameters", "name")];
  return {
    "/v1/entities": {
      get: {
        tags: ["entities"],
        operationId: "entities",
        summary:
          "A page of the entities there are, in the order of their ids' UTF-8 bytes; those that sleep stay asleep.",
        description:
          "The list is at its end when there is no cursor. Entities that are made or erased while it is being paged " +
          "through may be in it or not; every other one is in it once.",
        parameters: [
          query("kind", "Only entities of this kind.", text),
          query("prefix", "Only names that begin so; without a kind, only ids that begin so.", text),
          query("limit", "Entities in the page.", {
            type: "integer",
            minimum: 1,
            maximum: limits.listEntitiesMax,
            default: listLimitDefault,
          }),
          query("cursor", "What the page before gave.", text),
          query("erased", "Erased entities too.", { type: "boolean", default: false }),
        ],
        responses: { 200: answer("The page.", schema("Entities")), ...errors(everyShardCall) },
      },
    },
    "/v1/types": {
      get: {
        tags: ["node"],
        operationId: "types",
        summary: "The event types that are stored, by schema version, and how many events there are of each.",
        responses: { 200: answer("The types.", schema("Types")), ...errors(everyShardCall) },
      },
    },
    "/v1/entities/{kind}/{name}": {
      delete: {
        tags: ["entities"],
        operationId: "delete",
        summary: "Erase an entity: no byte of its payloads stays in any file that Heddle wrote.",
        description:
          "Answers when that is so, a minute at most by default. Again, or by many at once, it gives the same receipt. " +
          "An append with `newLife` begins a new history under the same id.",
        parameters: [
          query("provisional", "Answer once the log is clean; the receipt then says that it is not complete.", {
            type: "boolean",
            default: false,
          }),
        ],
        responses: {
          200: answer("The receipt.", schema("ErasureReceipt")),
          ...errors([
            ...everyShardCall,
            "INVALID_ENTITY_ID",
            "UNSUPPORTED_MEDIA_TYPE",
            "OUT_OF_RANGE",
            "DISK_FULL",
            "LOG_DAMAGED",
          ]),
        },
      },
    },
    "/v1/entities/{kind}/{name}/export": {
      parameters: kindAndName,
      get: {
        tags: ["entities"],
        operationId: "export",
        summary: "All events of an entity, oldest first, in lines that describe themselves.",
        description:
          "A first line with format, context, entity and last sequence; a line for each event; an end line with the schema " +
          "versions. Every line ends with a checksum. `heddle import` takes it. Up to the newest event at the start of the " +
          "call. When something fails in the middle, the connection ends before the last chunk, and there is no end line.",
        responses: {
          200: {
            description: "The lines.",
            content: {
              "application/x-ndjson": { schema: { type: "string", description: "Each line is a JSON object." } },
            },
          },
          ...errors([...entityCall, "LOG_DAMAGED"]),
        },
      },
    },
    "/v1/entities/{kind}/{name}/restore": {
      parameters: kindAndName,
      post: {
        tags: ["entities"],
        operationId: "restore",
        summary: "Bring an entity back to an earlier state, by adding to its history.",
        description:
          "Writes an event `Restored` of the aggregate `$heddle`, after which states are initial, and copies of the events " +
          "that made the earlier state. Today's rules hold for them.",
        parameters: [ref("parameters", "idempotencyKey")],
        requestBody: jsonBody("RestoreRequest"),
        responses: {
          200: answer("The events are durable.", schema("EntityReceipt")),
          409: answer("Rejected; nothing was written.", schema("Rejection")),
          ...errors([
            ...entityCall,
            ...anyWrite,
            "OUT_OF_RANGE",
            "ERASED",
            "ID_REUSED",
            "ID_EXPIRED",
            "DISK_FULL",
            "LOG_DAMAGED",
          ]),
        },
      },
    },
    "/v1/entities/{kind}/{name}/fork": {
      parameters: kindAndName,
      post: {
        tags: ["entities"],
        operationId: "fork",
        summary: "Make a new entity of another one's history, or of its beginning. The other stays as it is.",
        description:
          "The new entity has the same events with the same times, from sequence 1 on, without the ids of their appends. " +
          "Sent again, also after it broke off, it goes on where it got to and has the same outcome; the new entity can be " +
          "seen while it grows.",
        requestBody: jsonBody("ForkRequest"),
        responses: {
          200: answer("The new entity is whole and durable.", schema("Fork")),
          ...errors([...entityCall, ...anyWrite, "OUT_OF_RANGE", "ERASED", "DISK_FULL", "LOG_DAMAGED"]),
          409: answer("ENTITY_EXISTS; or rejected by a rule of today.", {
            anyOf: [errorSchema(["ENTITY_EXISTS"]), schema("Rejection")],
          }),
        },
      },
    },
  };
}
