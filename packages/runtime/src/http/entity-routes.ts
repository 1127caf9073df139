// Routes that write an entity's events and read what they made: append, execute, states, history.
import type { HistoryFields, WireEvent } from "@heddle/protocol/internal";
import type { FastifyInstance } from "fastify";
import { eventText, resultAnswer, resultsText } from "./answers.ts";
import { refusal } from "./check-values.ts";
import type { Gateway } from "./gateway.ts";
import type { HttpAppOptions } from "./http-options.ts";
import { readJson } from "./json-body.ts";
import { readGet, readHistory } from "./query-checks.ts";
import { readAppend, readAppendMany, readEntity, readExecute, readIdempotencyKey } from "./request-checks.ts";
import { send, sendValue } from "./sending.ts";

export interface EntityParams {
  readonly Params: { readonly kind: string; readonly name: string };
}

export function addEntityRoutes(app: FastifyInstance, options: HttpAppOptions): void {
  const { gateway, facts } = options;

  app.post<EntityParams>("/v1/entities/:kind/:name/append", async (request, reply) => {
    const entity = readEntity(request.params.kind, request.params.name);
    const key = readIdempotencyKey(request.headers["idempotency-key"]);
    const fields = readAppend(await readJson(request, reply, options), entity, key);
    return send(reply, resultAnswer(entity, await gateway.append(fields)));
  });

  app.post<EntityParams>("/v1/entities/:kind/:name/execute", async (request, reply) => {
    const entity = readEntity(request.params.kind, request.params.name);
    const key = readIdempotencyKey(request.headers["idempotency-key"]);
    const fields = readExecute(await readJson(request, reply, options), entity, key);
    return send(reply, resultAnswer(entity, await gateway.execute(fields)));
  });

  app.get<EntityParams>("/v1/entities/:kind/:name", async (request, reply) => {
    const { at, ...fields } = readGet(request.query, readEntity(request.params.kind, request.params.name));
    const { state, seq } = await (at === undefined ? gateway.get(fields) : gateway.getAt({ ...fields, at }));
    const { aggregates } = facts.context;
    const aggregate = fields.aggregate === "" && aggregates.length === 1 ? aggregates[0]!.name : fields.aggregate;
    return sendValue(reply, { entity: fields.entity, aggregate, state: state ?? null, seq });
  });

  app.get<EntityParams>("/v1/entities/:kind/:name/history", async (request, reply) => {
    const fields = readHistory(request.query, readEntity(request.params.kind, request.params.name));
    const events = await gateway.history(fields);
    const next = await nextFrom(gateway, fields, events);
    const end = next === undefined ? "" : `,"next":${next}`;
    return send(reply, { status: 200, text: `{"events":[${events.map(eventText).join(",")}]${end}}` });
  });

  app.post("/v1/append-many", async (request, reply) => {
    if (request.headers["idempotency-key"] !== undefined) {
      throw refusal("Idempotency-Key", "one key cannot name many appends; give each item an id of its own");
    }
    const results = await gateway.appendMany(readAppendMany(await readJson(request, reply, options)));
    return send(reply, { status: 200, text: resultsText(results) });
  });
}

/** Where the next page starts; `undefined` when there is none. A short page proves nothing, so it asks. */
async function nextFrom(
  gateway: Gateway,
  fields: HistoryFields,
  events: readonly WireEvent[],
): Promise<number | undefined> {
  const last = events.at(-1);
  if (last === undefined || last[0] === fields.to) return undefined;
  const from = fields.direction === "forward" ? last[0] + 1 : last[0] - 1;
  if (from === 0) return undefined;
  const [more] = await gateway.history({ ...fields, from, limit: 1 });
  return more?.[0];
}
