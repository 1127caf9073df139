// The OpenAPI paths of entity-routes.ts.
import { limits } from "@heddle/kernel";
import {
  aggregateParameter,
  answer,
  anyWrite,
  entityCall,
  entityWrite,
  errors,
  type Json,
  jsonBody,
  moment,
  position,
  query,
  ref,
  schema,
} from "./openapi-parts.ts";
import { historyLimitDefault } from "./query-checks.ts";

export function entityPaths(): Json {
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
        summary: "The state of one aggregate of an entity, now or at an earlier moment.",
        description:
          "An entity without events has its aggregate's initial state, at seq 0. With `seq` or `time` the state is the " +
          "one after that event, or after the last event up to that time; the answer's `seq` says which event that was.",
        parameters: [
          ref("parameters", "aggregate"),
          query("seq", "The state after the event with this sequence; 0 is before the first. Not with time.", position),
          query("time", "The state after the last event up to this time. Not with seq.", moment),
        ],
        responses: {
          200: answer("The durable state.", schema("State")),
          ...errors([...entityCall, "OUT_OF_RANGE", "ERASED", "LOG_DAMAGED"]),
        },
      },
    },
    "/v1/entities/{kind}/{name}/history": {
      parameters: kindAndName,
      get: {
        tags: ["entities"],
        operationId: "history",
        summary: "A page of an entity's events.",
        description:
          "Of an erased entity the page begins at its tombstone, an event `Erased` of the aggregate `$heddle`; what " +
          "restore wrote begins with an event `Restored` of the same.",
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
          query("to", "Sequence to end at, inclusive. 0 is the end, or the start when reading backward.", {
            ...position,
            default: 0,
          }),
          query("since", "Only events from this time on, inclusive.", moment),
          query("until", "Only events up to this time, inclusive.", moment),
          query("direction", "Oldest first, or newest first.", { enum: ["forward", "backward"], default: "forward" }),
        ],
        responses: {
          200: answer("The page.", schema("History")),
          ...errors([...entityCall, "LOG_DAMAGED"]),
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
