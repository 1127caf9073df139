// The OpenAPI paths and components of saga-routes.ts.
import { limits } from "@heddle/kernel";
import { sagaTimeoutMsMax } from "@heddle/protocol/internal";
import {
  answer,
  anyWrite,
  closed,
  contentShapes,
  count,
  entityCall,
  errors,
  everyShardCall,
  type Json,
  jsonBody,
  msSince1970,
  name,
  query,
  ref,
  schema,
  text,
} from "./openapi-parts.ts";
import { sagaLimitDefault } from "./saga-checks.ts";

export const sagaParameter: Json = {
  name: "saga",
  in: "path",
  required: true,
  description: `The saga's id, which whoever begins it chooses. At most ${limits.sagaIdBytesMax} bytes.`,
  schema: { type: "string", minLength: 1 },
  example: "transfer-001",
};

export function sagaPaths(): Json {
  const oneSaga = [ref("parameters", "saga")];
  const operated: Json = {
    200: answer("It is recorded; the saga as it is then.", schema("Saga")),
    ...errors([...everyShardCall, ...anyWrite, "NO_SUCH_SAGA", "SAGA_NOT_STUCK", "DISK_FULL", "LOG_DAMAGED"]),
  };
  return {
    "/v1/sagas": {
      get: {
        tags: ["sagas"],
        operationId: "sagas",
        summary: "A page of the sagas there are.",
        description:
          "All sagas in the order of their ids; unfinished ones in that of their beginnings, oldest first, and behind them " +
          "those that are stuck. The list is at its end when there is no cursor.",
        parameters: [
          query(
            "only",
            "`unfinished`: running, compensating and stuck ones. `stuck`: those that wait for an operator.",
            {
              enum: ["all", "unfinished", "stuck"],
              default: "all",
            },
          ),
          query("limit", "Sagas in the page.", {
            type: "integer",
            minimum: 1,
            maximum: limits.listEntitiesMax,
            default: sagaLimitDefault,
          }),
          query("cursor", "What the page before gave.", text),
        ],
        responses: { 200: answer("The page.", schema("SagaPage")), ...errors(everyShardCall) },
      },
    },
    "/v1/sagas/{saga}": {
      parameters: oneSaga,
      get: {
        tags: ["sagas"],
        operationId: "showSaga",
        summary: "What a saga did, step by step, and what operators did about it.",
        responses: {
          200: answer("The saga.", schema("Saga")),
          ...errors([...everyShardCall, "NO_SUCH_SAGA", "DOMAIN_FAILED", "LOG_DAMAGED"]),
        },
      },
      post: {
        tags: ["sagas"],
        operationId: "saga",
        summary: "Run a saga: steps on several entities, undone in reverse order when one of them cannot be done.",
        description:
          "Answers with 200 and `resultType` when it has come to a result, whichever it is; until then others see some of its " +
          "steps and not the rest. The same id with the same steps again gives the same result, also while it runs and after a " +
          "time-out of this call; with other steps it is ID_REUSED. An item of `steps` is one step, or an array of steps that " +
          "run side by side.",
        requestBody: jsonBody("SagaRequest"),
        responses: {
          200: answer("The result.", schema("SagaResult")),
          ...errors([
            ...entityCall,
            ...anyWrite,
            "INVALID_PAYLOAD",
            "UNKNOWN_KIND",
            "UNKNOWN_EVENT_TYPE",
            "UNKNOWN_COMMAND",
            "UNKNOWN_SAGA",
            "ID_REUSED",
            "ERASED",
            "DISK_FULL",
            "LOG_DAMAGED",
          ]),
        },
      },
    },
    "/v1/sagas/{saga}/retry": {
      parameters: oneSaga,
      post: {
        tags: ["sagas"],
        operationId: "retrySaga",
        summary: "Let a stuck saga go on.",
        requestBody: jsonBody("SagaRetryRequest"),
        responses: operated,
      },
    },
    "/v1/sagas/{saga}/resolve": {
      parameters: oneSaga,
      post: {
        tags: ["sagas"],
        operationId: "resolveSaga",
        summary: "Say how a stuck saga ended, after repairing by hand. Writes to none of its steps' entities.",
        requestBody: jsonBody("SagaResolveRequest"),
        responses: operated,
      },
    },
  };
}

const timeout: Json = { type: "integer", minimum: 1, maximum: sagaTimeoutMsMax };
const timeouts: Json = {
  timeoutMs: { ...timeout, description: "How long it may take, in ms." },
  stepTimeoutMs: { ...timeout, description: "How long each of its steps may take." },
};
const steps: Json = {
  type: "array",
  minItems: 1,
  maxItems: limits.sagaStepsMax,
  items: { anyOf: [schema("SagaStep"), { type: "array", minItems: 1, items: schema("SagaStep") }] },
};
const operation: Json = { reason: { ...text, minLength: 1, description: "Kept in the saga's history." } };
const operator: Json = { by: { ...text, minLength: 1, description: "Who; kept with the reason." } };

const states = ["RUNNING", "COMPENSATING", "COMMITTED", "COMPENSATED", "STUCK"];
const outcome: Json = {
  entity: text,
  state: { enum: ["waiting", "done", "refused", "unknown", "compensated", "stuck"] },
};
const outcomeOptions: Json = {
  receipt: schema("Receipt"),
  compensation: { ...schema("Receipt"), description: "Of what undid the step." },
  problem: closed({ code: text, message: text, facts: {} }),
};

export const sagaSchemas: Json = {
  SagaRequest: {
    oneOf: [
      closed({ steps }, timeouts),
      closed({ name: { ...name, description: "Of a saga in the domain module." }, input: {} }, timeouts),
    ],
  },
  SagaStep: closed(
    {
      entity: { ...text, description: "kind/name; no two steps have the same", examples: ["account/alice"] },
      forward: { oneOf: contentShapes.map((content) => closed(content)) },
      back: {
        anyOf: [...contentShapes.map((content) => closed(content)), { type: "null" }],
        description: "What undoes it; null for a last step that nothing undoes.",
      },
    },
    {
      aggregate: { ...text, description: "May be left out in a context that has only one." },
      timeoutMs: timeout,
      schemaVsn: { ...count, minimum: 1, description: "Schema version that the payloads have; else the newest." },
    },
  ),
  SagaResult: closed({
    resultType: { enum: ["COMMITTED", "COMPENSATED", "STUCK"] },
    saga: text,
    steps: { type: "array", items: closed(outcome, outcomeOptions) },
    duplicate: { type: "boolean", description: "True: the saga had been begun by an earlier call." },
  }),
  SagaPage: closed(
    {
      sagas: {
        type: "array",
        items: closed(
          { saga: text, state: { enum: states }, startedAt: msSince1970 },
          { name: text, endedAt: msSince1970 },
        ),
      },
    },
    { cursor: { ...text, description: "Of the next page; left out at the end." } },
  ),
  Saga: closed(
    {
      saga: text,
      state: { enum: states },
      startedAt: msSince1970,
      deadline: { ...msSince1970, description: "When it must have ended, unless it is stuck." },
      steps: {
        type: "array",
        items: closed(
          {
            ...outcome,
            forward: schema("Content"),
            back: { anyOf: [schema("Content"), { type: "null" }] },
            stage: count,
          },
          outcomeOptions,
        ),
      },
      interventions: {
        type: "array",
        items: closed(
          { action: { enum: ["retry", "resolve"] }, reason: text, by: text, time: msSince1970 },
          { as: { enum: ["COMMITTED", "COMPENSATED"] } },
        ),
      },
    },
    { name: text, endedAt: msSince1970 },
  ),
  SagaRetryRequest: closed(operation, operator),
  SagaResolveRequest: closed({ as: { enum: ["COMMITTED", "COMPENSATED"] }, ...operation }, operator),
};
