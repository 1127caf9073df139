// Routes about the life of entities: which there are, going back, copying, leaving, and being forgotten.
import { Readable } from "node:stream";
import { HeddleError, systemClock } from "@heddle/kernel";
import { type CopyPort, copyHistory, RejectedError } from "@heddle/protocol/internal";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { resultAnswer } from "./answers.ts";
import { refuseBody } from "./body-refusal.ts";
import { refusal } from "./check-values.ts";
import type { EntityParams } from "./entity-routes.ts";
import { exportedEvent, exportPages } from "./export-pages.ts";
import type { Gateway } from "./gateway.ts";
import type { HttpAppOptions } from "./http-options.ts";
import { readJson } from "./json-body.ts";
import { readDelete, readList, readNothing } from "./query-checks.ts";
import { readEntity, readFork, readIdempotencyKey, readRestore } from "./request-checks.ts";
import { send, sendValue } from "./sending.ts";

export function addLifeRoutes(app: FastifyInstance, options: HttpAppOptions): void {
  const { gateway, logger, bounds } = options;
  const context = options.facts.context.name;
  let forks = 0;

  app.get("/v1/entities", async (request, reply) => {
    const page = await gateway.list(readList(request.query));
    const entities = page.map(({ entity, seq, time, erased }) => ({ entity, seq, time, erased }));
    return sendValue(reply, { entities, cursor: page.cursor });
  });

  app.get("/v1/types", async (request, reply) => {
    readNothing(request.query);
    return sendValue(reply, { types: await gateway.types() });
  });

  app.get<EntityParams>("/v1/entities/:kind/:name/export", { exposeHeadRoute: false }, async (request, reply) => {
    const entity = readEntity(request.params.kind, request.params.name);
    readNothing(request.query);
    const pages = exportPages(gateway, context, entity, bounds.exportPageEvents);
    // The first page is read before anything is sent: what can go wrong mostly does so here, and still has a status.
    const first = await pages.next();
    const rest = first.done === true ? [] : withFirst(first.value, pages, logger);
    // In bytes and not in pages, so that a reader who stops holds one page in memory and not sixteen.
    return reply.type("application/x-ndjson").send(Readable.from(rest, { objectMode: false }));
  });

  app.post<EntityParams>("/v1/entities/:kind/:name/restore", async (request, reply) => {
    const entity = readEntity(request.params.kind, request.params.name);
    const key = readIdempotencyKey(request.headers["idempotency-key"]);
    const fields = readRestore(await readJson(request, reply, options), entity, key);
    return send(reply, resultAnswer(entity, await gateway.restore(fields)));
  });

  app.post<EntityParams>("/v1/entities/:kind/:name/fork", async (request, reply) => {
    const source = readEntity(request.params.kind, request.params.name);
    if (request.headers["idempotency-key"] !== undefined) {
      throw refusal("Idempotency-Key", "a fork needs none: sent again, it goes on where the first one got to");
    }
    const { entity, at } = readFork(await readJson(request, reply, options));
    const facts = { queue: "forks under way", depth: forks, depthMax: bounds.forksMax };
    if (forks >= bounds.forksMax) throw new HeddleError("OVERLOADED", facts);
    forks++;
    try {
      const copied = await copyHistory(portOf(gateway), { source, target: entity, at, nowMs: systemClock.now() });
      return sendValue(reply, { ok: true, entity, ...copied });
    } catch (error) {
      if (error instanceof RejectedError) return send(reply, resultAnswer(entity, error.rejection));
      throw error;
    } finally {
      forks--;
    }
  });

  app.delete<EntityParams>("/v1/entities/:kind/:name", async (request, reply) => {
    const fields = readDelete(request.query, readEntity(request.params.kind, request.params.name));
    refuseBody(request);
    if (request.headers["idempotency-key"] !== undefined) {
      throw refusal("Idempotency-Key", "an erasure takes none: sent again, it gives the same receipt");
    }
    return sendValue(reply, await gateway.delete(fields));
  });
}

function portOf(gateway: Gateway): CopyPort {
  return {
    history: async (fields) => (await gateway.history(fields)).map(exportedEvent),
    import: (fields) => gateway.import(fields),
  };
}

async function* withFirst(
  first: string,
  rest: AsyncGenerator<string, void>,
  logger: Logger,
): AsyncGenerator<string, void> {
  yield first;
  try {
    yield* rest;
  } catch (err) {
    // The status is gone out already. The connection breaks off before the last chunk, which a client can tell.
    logger.error({ err }, "an export broke off");
    throw err;
  }
}
