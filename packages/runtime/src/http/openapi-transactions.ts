// The OpenAPI paths and components of transaction-routes.ts.
import { limits } from "@heddle/kernel";
import {
  answer,
  anyWrite,
  closed,
  contentShapes,
  entityCall,
  entityWrite,
  errors,
  type Json,
  jsonBody,
  name,
  position,
  ref,
  schema,
  text,
} from "./openapi-parts.ts";

export function transactionPaths(): Json {
  return {
    "/v1/transactions": {
      post: {
        tags: ["transactions"],
        operationId: "transaction",
        summary: "Write to several entities, and read them, at one moment: all of it or nothing.",
        description:
          "Operations take effect in their order; nobody sees a part of them, and nobody else changes these entities " +
          "meanwhile. `expectedSeq` is a condition, of reads too. To write what depends on what was read, read first, and " +
          "give the sequences that were read as conditions; or let commands decide, which are asked at that moment.",
        parameters: [ref("parameters", "idempotencyKey")],
        requestBody: jsonBody("TransactionRequest"),
        responses: {
          200: answer("Everything is durable. One result for each operation, in order.", schema("TransactionResult")),
          409: answer("An operation was rejected; nothing was written.", schema("TransactionRejection")),
          ...errors([...entityWrite, "UNKNOWN_COMMAND", "TRANSACTION_ABORTED"]),
        },
      },
    },
    "/v1/read": {
      post: {
        tags: ["transactions"],
        operationId: "readMany",
        summary: "The states of several entities, all as of one moment.",
        requestBody: jsonBody("ReadRequest"),
        responses: {
          200: answer("The durable states, in the order of the items.", schema("States")),
          ...errors([...entityCall, ...anyWrite, "ERASED", "TRANSACTION_ABORTED"]),
        },
      },
    },
  };
}

const entity: Json = { ...text, description: "kind/name", examples: ["account/alice"] };
const aggregate: Json = {
  ...text,
  description: "May be left out where the event type, or the only aggregate, tells it.",
};
const expectedSeq: Json = {
  ...position,
  description:
    "Reject unless the entity's last event has this sequence when the operation comes to it; 0: it has none.",
};
const writeOptions: Json = {
  aggregate,
  expectedSeq,
  metadata: { description: "Stored with the events; any JSON value." },
  newLife: {
    type: "boolean",
    default: false,
    description: "If the entity was erased, begin a new history under its id rather than answer ERASED.",
  },
};

export const transactionSchemas: Json = {
  TransactionRequest: closed(
    {
      operations: {
        type: "array",
        minItems: 1,
        maxItems: limits.transactionOperationsMax,
        items: schema("TransactionOperation"),
      },
    },
    {
      id: {
        type: "string",
        minLength: 1,
        description:
          "Names this transaction for good: sent again, it returns the first receipts. What it stands for are the " +
          `operations that write. At most ${limits.appendIdBytesMax} bytes.`,
      },
    },
  ),
  TransactionOperation: {
    oneOf: [
      ...contentShapes.map((content) => closed({ entity, ...content }, writeOptions)),
      closed({ entity, read: { const: true } }, { aggregate: name, expectedSeq }),
    ],
  },
  TransactionResult: closed({
    ok: { const: true },
    results: {
      type: "array",
      items: { anyOf: [schema("EntityReceipt"), schema("State"), { type: "null" }] },
      description: "A receipt for a write, a state for a read; null for a read when the transaction was sent before.",
    },
    duplicate: {
      type: "boolean",
      description: "True: its id had taken effect before, and these are its first receipts.",
    },
  }),
  TransactionRejection: closed({
    ok: { const: false },
    code: { const: "TRANSACTION_REJECTED" },
    message: text,
    facts: closed({
      operation: { ...position, description: "Place of the operation, from 0." },
      entity: text,
      rejection: schema("Rejection"),
    }),
  }),
  ReadRequest: closed({
    items: {
      type: "array",
      minItems: 1,
      maxItems: limits.transactionOperationsMax,
      items: closed({ entity }, { aggregate }),
    },
  }),
  States: closed({ states: { type: "array", items: schema("State") } }),
};
