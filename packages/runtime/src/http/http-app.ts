// The HTTP application: the routes of the node itself, what every request has in common, and how errors are answered.
// The other routes: entity-routes.ts, group-routes.ts, life-routes.ts, reminder-routes.ts, saga-routes.ts,
// stream-routes.ts, transaction-routes.ts.
//
// Knows nothing of sockets; http-door.ts brings the connections. Fastify routes and writes the answers; bodies are read,
// parsed and checked by this folder's own code, so that there is one way in for all of them and every error is typed.
// Not logged: payloads, and the paths of requests, which hold entity ids.
import { HeddleError } from "@heddle/kernel";
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import type { Logger } from "pino";
import { errorAnswer } from "./answers.ts";
import { refusal } from "./check-values.ts";
import { addEntityRoutes } from "./entity-routes.ts";
import { canonicalUrl } from "./entity-url.ts";
import { EventStreams } from "./event-stream.ts";
import { addGroupRoutes } from "./group-routes.ts";
import type { HttpAppOptions } from "./http-options.ts";
import { unsupported } from "./json-body.ts";
import { jsonText } from "./json-text.ts";
import { addLifeRoutes } from "./life-routes.ts";
import { metricsContentType } from "./metrics.ts";
import { openApiDocument } from "./openapi.ts";
import { addQueryRoutes } from "./query-routes.ts";
import { addReminderRoutes } from "./reminder-routes.ts";
import { addSagaRoutes } from "./saga-routes.ts";
import { send, sendValue } from "./sending.ts";
import { addStreamRoutes } from "./stream-routes.ts";
import { addTransactionRoutes } from "./transaction-routes.ts";
import { WaitingCalls } from "./waiting-calls.ts";

export interface HttpApp {
  readonly app: FastifyInstance;
  /** Every route there is, as registered: `/v1/entities/:kind/:name`. */
  readonly routes: readonly Route[];
  readonly streams: EventStreams;
  readonly waiting: WaitingCalls;
}

interface Route {
  readonly method: string;
  readonly path: string;
}

export async function buildHttpApp(options: HttpAppOptions): Promise<HttpApp> {
  const { logger, bounds } = options;
  const app = fastify({
    serverFactory: options.serverFactory,
    clientErrorHandler: options.onClientError,
    rewriteUrl: (request) => canonicalUrl(request.url ?? "/"),
    frameworkErrors: (error, request, reply) => sendError(logger, typedError(error, request), request, reply),
    routerOptions: { maxParamLength: bounds.headerBytesMax },
  });
  const routes: Route[] = [];
  const streams = new EventStreams(bounds, logger);
  const waiting = new WaitingCalls();
  app.addHook("onRoute", (route) => {
    for (const method of [route.method].flat()) routes.push({ method, path: route.url });
  });
  app.addHook("onRequest", (request, reply, done) => {
    if (request.routeOptions.url !== undefined) options.onRoute(reply.raw, request.routeOptions.url);
    done();
  });
  app.removeAllContentTypeParsers();
  // Lets this one content type pass and no other; the handlers read the body themselves.
  app.addContentTypeParser("application/json", (_request, _body, done) => done(null));
  app.setErrorHandler((error, request, reply) => sendError(logger, typedError(error, request), request, reply));
  app.setNotFoundHandler((request, reply) => sendNoRoute(routes, request, reply));
  addEntityRoutes(app, options);
  addStreamRoutes(app, options, streams);
  addGroupRoutes(app, options, waiting);
  addLifeRoutes(app, options);
  addSagaRoutes(app, options);
  addReminderRoutes(app, options);
  addTransactionRoutes(app, options);
  addQueryRoutes(app, options);
  addNodeRoutes(app, options);
  await app.ready();
  return { app, routes, streams, waiting };
}

function addNodeRoutes(app: FastifyInstance, { facts, readiness, metricsText }: HttpAppOptions): void {
  const { context, durability, shardCount, nodeName, version } = facts;
  const document = JSON.stringify(openApiDocument(facts));
  const about = { node: nodeName, version, context: context.name, durability, shardCount };

  app.get("/", (_request, reply) =>
    sendValue(reply, {
      heddle: "An actor for every entity, a durable log under every actor.",
      ...about,
      see: { routes: "/openapi.json", context: "/v1/context", ready: "/readyz", metrics: "/metrics" },
    }),
  );
  app.get("/v1/context", (_request, reply) => {
    const { name, ...declared } = context;
    return sendValue(reply, { ...about, context: name, ...declared });
  });
  app.get("/openapi.json", (_request, reply) => send(reply, { status: 200, text: document }));
  app.get("/livez", (_request, reply) => sendValue(reply, { live: true }));
  app.get("/readyz", async (_request, reply) => {
    const { ready, shards, projections, nats } = await readiness();
    const reasons = shards.flatMap(({ shard, state, reason }) =>
      ready || reason === undefined ? [] : [`shard ${shard} is ${state}: ${reason}`],
    );
    return send(reply, {
      status: ready ? 200 : 503,
      text: jsonText({ ready, reasons, shards, projections, ...(nats === undefined ? {} : { nats }) }),
    });
  });
  app.get("/metrics", async (_request, reply) => reply.type(metricsContentType).send(await metricsText()));
}

function sendError(logger: Logger, error: HeddleError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const answer = errorAnswer(error);
  // OVERLOADED is counted and not logged as an error: a line for each refusal would make the overload worse.
  const level = answer.status >= 500 && error.code !== "OVERLOADED" ? "error" : "debug";
  const route = request.routeOptions.url ?? "none";
  if (level === "error") logger.error({ err: error, method: request.method, route }, "a request failed");
  else logger.debug({ code: error.code, method: request.method, route }, "a request was refused");
  return send(reply, answer);
}

function typedError(error: unknown, request: FastifyRequest): HeddleError {
  if (error instanceof HeddleError) return error;
  switch ((error as { code?: unknown } | null)?.code) {
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return unsupported(request.headers["content-type"] ?? "");
    case "FST_ERR_BAD_URL":
      return refusal("", "the path holds a percent sign that starts no UTF-8 character; write %25 for a percent sign");
    default:
      // A fault of ours. It may have struck before or after the shard acted, which is just what this code says.
      return new HeddleError(
        "OUTCOME_UNKNOWN",
        { problem: "the node failed at this call, see its log" },
        { cause: error },
      );
  }
}

/** 405 when the path exists with another method: the same code, and the methods that there are. */
function sendNoRoute(routes: readonly Route[], request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const path = request.originalUrl.replace(/[?#].*$/s, "");
  const canonical = canonicalUrl(path);
  const allowed = routes.filter((route) => patternOf(route.path).test(canonical)).map((route) => route.method);
  const facts = { method: request.method, path: path.slice(0, 300) };
  const answer = errorAnswer(new HeddleError("UNKNOWN_ROUTE", facts));
  if (allowed.length === 0) return send(reply, answer);
  return send(reply.header("allow", allowed.join(", ")), { ...answer, status: 405 });
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(".", "\\.").replaceAll(/:[a-z]+/g, "[^/]+")}$`);
}
