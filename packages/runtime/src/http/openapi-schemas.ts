// The components of the OpenAPI document: parameters that routes share, shapes of bodies and answers, the context's schemas.
import { errorTable, limits } from "@heddle/kernel";
import type { AggregateInfo, JsonSchema } from "./gateway.ts";
import { groupSchemas } from "./openapi-groups.ts";
import {
  aggregateParameter,
  closed,
  count,
  errorShape,
  type Json,
  moment,
  msSince1970,
  name,
  position,
  schema,
  text,
} from "./openapi-parts.ts";
import { querySchemas } from "./openapi-queries.ts";
import { reminderSchemas } from "./openapi-reminders.ts";
import { sagaParameter, sagaSchemas } from "./openapi-sagas.ts";
import { transactionSchemas } from "./openapi-transactions.ts";

export const parameters: Json = {
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
  saga: sagaParameter,
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
  newLife: {
    type: "boolean",
    default: false,
    description: "If the entity was erased, begin a new history under its id rather than answer ERASED.",
  },
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
  time: msSince1970,
  duplicate: { type: "boolean", description: "True: this id had taken effect before, and this is its first receipt." },
};

const newEntity: Json = { ...text, description: "kind/name of the new entity", examples: ["account/alice-2"] };

export const plainSchemas: Json = {
  ...reminderSchemas,
  ...querySchemas,
  ...groupSchemas,
  ...sagaSchemas,
  ...transactionSchemas,
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
  RestoreRequest: {
    oneOf: momentShapes({}, { expectedSeq: appendOptions["expectedSeq"], id: appendOptions["id"] }),
  },
  ForkRequest: {
    oneOf: [closed({ entity: newEntity }), ...momentShapes({ entity: newEntity }, {})],
    description: "Without seq and time: all of the history.",
  },
  Fork: closed({
    ok: { const: true },
    entity: text,
    seq: { ...position, description: "Sequence of the new entity's last event." },
    events: { ...count, description: "Events that this call wrote; 0 when it was all there." },
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
    time: msSince1970,
    aggregate: text,
    type: text,
    payload: {},
    metadata: { description: "null when it has none." },
    id: { type: ["string", "null"] },
    schemaVersion: count,
    position,
  }),
  Entities: closed(
    {
      entities: {
        type: "array",
        items: closed({ entity: text, seq: position, time: msSince1970, erased: { type: "boolean" } }),
      },
    },
    { cursor: { ...text, description: "Of the next page; left out at the end." } },
  ),
  Types: closed({
    types: { type: "array", items: closed({ aggregate: text, type: text, schemaVersion: count, count }) },
  }),
  ErasureReceipt: closed({
    entity: text,
    shard: count,
    seq: { ...position, description: "Sequence of the tombstone." },
    position: { ...position, description: "Place of the tombstone in the log of that shard." },
    time: msSince1970,
    from: { ...position, description: "Sequence of the first event that is gone." },
    to: { ...position, description: "Sequence of the last." },
    complete: {
      type: "boolean",
      description: "False: the log is clean, the shard's other files not yet. Ask again to learn when they are.",
    },
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
  Readiness: closed(
    {
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
      projections: {
        type: "array",
        description: "They do not decide whether the node is ready.",
        items: closed(
          { projection: text, sink: text, state: text },
          { reason: { ...text, description: "Why not live." } },
        ),
      },
    },
    {
      nats: {
        ...closed({ server: text, connected: { type: "boolean" }, problems: { type: "array", items: text } }),
        description: "Of the publisher, if there is one. It does not decide whether the node is ready.",
      },
    },
  ),
};

/** Payloads and inputs of the context, `Account.Credited`, as far as their schemas can be told. */
export function contextSchemas(aggregates: readonly AggregateInfo[]): Json {
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

/** `seq` or `time`, but not both. */
function momentShapes(required: Json, optional: Json): readonly Json[] {
  const seq = { ...position, description: "After the event with this sequence; 0 is before the first." };
  return [closed({ ...required, seq }, optional), closed({ ...required, time: moment }, optional)];
}
