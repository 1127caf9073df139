// Routes about query models: asking them, and the operator's desk.
import type { ProjectionAction } from "@heddle/protocol/internal";
import type { FastifyInstance } from "fastify";
import type { HttpAppOptions } from "./http-options.ts";
import { readJson } from "./json-body.ts";
import { readNothing } from "./query-checks.ts";
import { sendValue } from "./sending.ts";
import { readProjectionOperation, readSqlQuery } from "./sql-checks.ts";

interface ProjectionParams {
  readonly Params: { readonly projection: string };
}

const actions: readonly ProjectionAction[] = ["rebuild", "pause", "resume", "retry", "skip"];

export function addQueryRoutes(app: FastifyInstance, options: HttpAppOptions): void {
  const { gateway } = options;

  app.post("/v1/query", async (request, reply) => {
    const { columns, rows } = await gateway.query(readSqlQuery(await readJson(request, reply, options)));
    return sendValue(reply, { columns, rows });
  });

  app.get("/v1/projections", async (request, reply) => {
    readNothing(request.query);
    return sendValue(reply, { projections: await gateway.projections() });
  });

  for (const action of actions) {
    app.post<ProjectionParams>(`/v1/projections/:projection/${action}`, async (request, reply) => {
      const body = await readJson(request, reply, options);
      const fields = readProjectionOperation(body, request.params.projection, action);
      return sendValue(reply, { ok: true, projections: await gateway.operateProjection(fields) });
    });
  }
}
