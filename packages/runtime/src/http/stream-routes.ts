// Routes that stay open: events as they come, of one entity and of all.
import type { FeedEvent, WatchFields } from "@heddle/protocol/internal";
import type { FastifyInstance } from "fastify";
import { eventFields } from "./answers.ts";
import { refusal } from "./check-values.ts";
import type { EntityParams } from "./entity-routes.ts";
import type { EventStreams, StreamPage } from "./event-stream.ts";
import type { HttpAppOptions } from "./http-options.ts";
import { readFeed, readWatch } from "./query-checks.ts";
import { readEntity } from "./request-checks.ts";

/** Events in one page: some hundred kilobytes of JSON at most, or one long event. */
const pageEvents = 1_000;

export function addStreamRoutes(app: FastifyInstance, { gateway }: HttpAppOptions, streams: EventStreams): void {
  app.get<EntityParams>("/v1/entities/:kind/:name/stream", { exposeHeadRoute: false }, async (request, reply) => {
    const entity = readEntity(request.params.kind, request.params.name);
    const { aggregate, from } = readWatch(request.query, request.headers["last-event-id"]);
    let next = from;
    return streams.send(reply, async (waitMs, signal): Promise<StreamPage> => {
      const fields: WatchFields = { entity, aggregate, from: next, limit: pageEvents, waitMs };
      const page = await gateway.watch(fields, signal);
      next = page.next;
      const events = page.events.map((event) => ({
        id: String(event[0]),
        text: `{"entity":${JSON.stringify(entity)},${eventFields(event)}}`,
      }));
      return { events, id: String(next - 1) };
    });
  });

  app.get("/v1/stream", { exposeHeadRoute: false }, async (request, reply) => {
    const feed = gateway.feed(readFeed(request.query, request.headers["last-event-id"]));
    return streams.send(reply, async (waitMs, signal): Promise<StreamPage> => {
      const { events, cursor } = await feed.next(waitMs, signal);
      return { events: events.map((event) => ({ id: event.cursor, text: feedText(event) })), id: cursor };
    });
  });

  app.get("/v1/socket", { exposeHeadRoute: false }, () => {
    throw refusal("Upgrade", "missing; this is where a WebSocket begins");
  });
}

/** The same for one event of any reader of feeds. */
export function feedText(event: FeedEvent): string {
  const { entity, shard, index, seq, time, aggregate, type, payload, metadata, id, schemaVersion, position } = event;
  const fields = [seq, time, aggregate, type, payload, metadata ?? null, id ?? null, schemaVersion, position] as const;
  return `{"entity":${JSON.stringify(entity)},${eventFields(fields)},"shard":${shard},"index":${index}}`;
}
