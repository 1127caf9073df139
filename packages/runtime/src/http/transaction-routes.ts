// Routes over several entities at one moment: transactions, and reads.
import type { TransactOperation, WireOperationResult, WireTransaction } from "@heddle/protocol/internal";
import { receiptOfOperation } from "@heddle/protocol/internal";
import type { FastifyInstance } from "fastify";
import type { NodeFacts } from "./gateway.ts";
import type { HttpAppOptions } from "./http-options.ts";
import { readJson } from "./json-body.ts";
import { jsonText } from "./json-text.ts";
import { readNothing } from "./query-checks.ts";
import { readIdempotencyKey } from "./request-checks.ts";
import { send, sendValue } from "./sending.ts";
import { readReadMany, readTransact } from "./transaction-checks.ts";

export function addTransactionRoutes(app: FastifyInstance, options: HttpAppOptions): void {
  const { gateway, facts } = options;

  app.post("/v1/transactions", async (request, reply) => {
    readNothing(request.query);
    const key = readIdempotencyKey(request.headers["idempotency-key"]);
    const fields = readTransact(await readJson(request, reply, options), key);
    const outcome = await gateway.transact(fields);
    // As for one entity: the request was understood, and the entities as they are say no.
    if (!("results" in outcome)) return send(reply, { status: 409, text: jsonText(outcome) });
    const { duplicate } = outcome;
    return sendValue(reply, { ok: true, results: resultsOf(outcome, fields.operations, facts), duplicate });
  });

  app.post("/v1/read", async (request, reply) => {
    readNothing(request.query);
    const operations = readReadMany(await readJson(request, reply, options));
    const outcome = await gateway.transact({ operations });
    if (!("results" in outcome)) throw new Error("a rejection of what is only read");
    return sendValue(reply, { states: resultsOf(outcome, operations, facts) });
  });
}

/** One for each operation. A repeat has none of its reads. */
function resultsOf(
  { results, duplicate }: WireTransaction,
  operations: readonly TransactOperation[],
  facts: NodeFacts,
): unknown[] {
  let next = 0;
  return operations.map((operation) => {
    if (operation.kind === "read") return duplicate ? null : stateOf(operation, results[next++]!, facts);
    const receipt = receiptOfOperation(results[next++]!, duplicate)!;
    return { ...receipt, entity: operation.entity };
  });
}

function stateOf(
  { entity, aggregate }: TransactOperation,
  [seq, state]: WireOperationResult,
  { context: { aggregates } }: NodeFacts,
): unknown {
  const named = aggregate === "" && aggregates.length === 1 ? aggregates[0]!.name : aggregate;
  return { entity, aggregate: named, state: state ?? null, seq };
}
