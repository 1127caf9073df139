// Routes about reminders: setting, cancelling, and which there are.
import type { FastifyInstance } from "fastify";
import { refuseBody } from "./body-refusal.ts";
import { refusal } from "./check-values.ts";
import type { EntityParams } from "./entity-routes.ts";
import type { HttpAppOptions } from "./http-options.ts";
import { readJson } from "./json-body.ts";
import { readNothing } from "./query-checks.ts";
import { readRemind, readReminderName, readReminderQuery } from "./reminder-checks.ts";
import { readEntity, readIdempotencyKey } from "./request-checks.ts";
import { sendValue } from "./sending.ts";

interface ReminderParams {
  readonly Params: EntityParams["Params"] & { readonly reminder: string };
}

export function addReminderRoutes(app: FastifyInstance, options: HttpAppOptions): void {
  const { gateway } = options;

  app.get("/v1/reminders", async (request, reply) => {
    const page = await gateway.reminderList(readReminderQuery(request.query));
    return sendValue(reply, { reminders: [...page], cursor: page.cursor });
  });

  app.get<EntityParams>("/v1/entities/:kind/:name/reminders", async (request, reply) => {
    const entity = readEntity(request.params.kind, request.params.name);
    readNothing(request.query);
    return sendValue(reply, { reminders: await gateway.reminders({ entity }) });
  });

  app.put<ReminderParams>("/v1/entities/:kind/:name/reminders/:reminder", async (request, reply) => {
    const { kind, name, reminder } = request.params;
    const entity = readEntity(kind, name);
    readNothing(request.query);
    const key = readIdempotencyKey(request.headers["idempotency-key"]);
    const fields = readRemind(await readJson(request, reply, options), entity, readReminderName(reminder), key);
    return sendValue(reply, await gateway.remind(fields));
  });

  app.delete<ReminderParams>("/v1/entities/:kind/:name/reminders/:reminder", async (request, reply) => {
    const { kind, name, reminder } = request.params;
    const fields = { entity: readEntity(kind, name), name: readReminderName(reminder) };
    readNothing(request.query);
    refuseBody(request);
    if (request.headers["idempotency-key"] !== undefined) {
      throw refusal("Idempotency-Key", "cancelling takes none: sent again, it finds no such reminder");
    }
    await gateway.cancelReminder(fields);
    return sendValue(reply, { ok: true, entity: fields.entity, name: fields.name });
  });
}
