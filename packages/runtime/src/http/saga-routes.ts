// Routes about sagas: running one, and the operator's desk.
import type { FastifyInstance } from "fastify";
import { refusal } from "./check-values.ts";
import type { HttpAppOptions } from "./http-options.ts";
import { readJson } from "./json-body.ts";
import { readNothing } from "./query-checks.ts";
import { readResolve, readRetry, readSaga, readSagaId, readSagaQuery } from "./saga-checks.ts";
import { sendValue } from "./sending.ts";

interface SagaParams {
  readonly Params: { readonly saga: string };
}

export function addSagaRoutes(app: FastifyInstance, options: HttpAppOptions): void {
  const { gateway } = options;

  app.get("/v1/sagas", async (request, reply) => {
    const page = await gateway.sagaList(readSagaQuery(request.query));
    return sendValue(reply, { sagas: [...page], cursor: page.cursor });
  });

  app.get<SagaParams>("/v1/sagas/:saga", async (request, reply) => {
    readNothing(request.query);
    return sendValue(reply, await gateway.sagaShow(readSagaId(request.params.saga)));
  });

  app.post<SagaParams>("/v1/sagas/:saga", async (request, reply) => {
    if (request.headers["idempotency-key"] !== undefined) {
      throw refusal("Idempotency-Key", "the saga's own id, in the path, makes a repeat safe");
    }
    return sendValue(reply, await gateway.saga(readSaga(await readJson(request, reply, options), request.params.saga)));
  });

  app.post<SagaParams>("/v1/sagas/:saga/retry", async (request, reply) => {
    const fields = readRetry(await readJson(request, reply, options), request.params.saga);
    await gateway.sagaOperate(fields);
    return sendValue(reply, await gateway.sagaShow(fields));
  });

  app.post<SagaParams>("/v1/sagas/:saga/resolve", async (request, reply) => {
    const fields = readResolve(await readJson(request, reply, options), request.params.saga);
    await gateway.sagaOperate(fields);
    return sendValue(reply, await gateway.sagaShow(fields));
  });
}
