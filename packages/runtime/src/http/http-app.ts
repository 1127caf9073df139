// The routes: each turns a request into one call of the gateway, and its outcome into an answer.
//
// Knows nothing of sockets; http-door.ts brings the connections. Fastify routes and writes the answers; bodies are read,
// parsed and checked by this folder's own code, so that there is one way in for all of them and every error is typed.
// Not logged: payloads, and the paths of requests, which hold entity ids.
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { HeddleError } from "@heddle/kernel";
import { invariant } from "@heddle/kernel/internal";
import type { HistoryFields, WireEvent } from "@heddle/protocol/internal";
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerFactory,
  fastify,
} from "fastify";
import type { Logger } from "pino";
import { type Answer, errorAnswer, eventText, resultAnswer, resultsText } from "./answers.ts";
import type { HttpBounds } from "./bounds.ts";
import { canonicalUrl } from "./entity-url.ts";
import type { Gateway, NodeFacts, Readiness } from "./gateway.ts";
import { type BodyLedger, parseJson, readBody, unsupported } from "./json-body.ts";
import { jsonText } from "./json-text.ts";
import { metricsContentType } from "./metrics.ts";
import { openApiDocument } from "./openapi.ts";
import {
  readAppend,
  readAppendMany,
  readEntity,
  readExecute,
  readExport,
  readGet,
  readHistory,
  readIdempotencyKey,
  refusal,
} from "./request-checks.ts";

export interface HttpAppOptions {
  readonly gateway: Gateway;
  readonly facts: NodeFacts;
  readonly readiness: () => Readiness;
  readonly metricsText: () => Promise<string>;
  readonly logger: Logger;
  readonly bounds: HttpBounds;
  readonly ledger: BodyLedger;
  readonly serverFactory: FastifyServerFactory;
  readonly onClientError: (error: NodeJS.ErrnoException, socket: Socket) => void;
  /** Told the route of each request that has one. */
  readonly onRoute: (response: ServerResponse, route: string) => void;
}

export interface HttpApp {
  readonly app: FastifyInstance;
  /** Every route there is, as registered: `/v1/entities/:kind/:name`. */
  readonly routes: readonly Route[];
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
  addNodeRoutes(app, options);
  await app.ready();
  return { app, routes };
}

interface EntityParams {
  readonly Params: { readonly kind: string; readonly name: string };
}

function addEntityRoutes(app: FastifyInstance, options: HttpAppOptions): void {
  const { gateway, facts, logger, bounds, ledger } = options;
  const bodyOf = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> =>
    parseJson(await readBody(request.raw, reply.raw, ledger, bounds.bodyBytesMax));

  app.post<EntityParams>("/v1/entities/:kind/:name/append", async (request, reply) => {
    const entity = readEntity(request.params.kind, request.params.name);
    const key = readIdempotencyKey(request.headers["idempotency-key"]);
    const fields = readAppend(await bodyOf(request, reply), entity, key);
    return send(reply, resultAnswer(entity, await gateway.append(fields)));
  });

  app.post<EntityParams>("/v1/entities/:kind/:name/execute", async (request, reply) => {
    const entity = readEntity(request.params.kind, request.params.name);
    const key = readIdempotencyKey(request.headers["idempotency-key"]);
    const fields = readExecute(await bodyOf(request, reply), entity, key);
    return send(reply, resultAnswer(entity, await gateway.execute(fields)));
  });

  app.get<EntityParams>("/v1/entities/:kind/:name", async (request, reply) => {
    const fields = readGet(request.query, readEntity(request.params.kind, request.params.name));
    const { state, seq } = await gateway.get(fields);
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

  app.get<EntityParams>("/v1/entities/:kind/:name/export", { exposeHeadRoute: false }, async (request, reply) => {
    const entity = readEntity(request.params.kind, request.params.name);
    readExport(request.query);
    const pages = exportPages(gateway, entity, bounds.exportPageEvents);
    // The first page is read before anything is sent: what can go wrong mostly does so here, and still has a status.
    const first = await pages.next();
    const rest = first.done === true ? [] : withFirst(first.value, pages, logger);
    // In bytes and not in pages, so that a reader who stops holds one page in memory and not sixteen.
    return reply.type("application/x-ndjson").send(Readable.from(rest, { objectMode: false }));
  });

  app.post("/v1/append-many", async (request, reply) => {
    if (request.headers["idempotency-key"] !== undefined) {
      throw refusal("Idempotency-Key", "one key cannot name many appends; give each item an id of its own");
    }
    const results = await gateway.appendMany(readAppendMany(await bodyOf(request, reply)));
    return send(reply, { status: 200, text: resultsText(results) });
  });
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
  app.get("/v1/context", (_request, reply) =>
    sendValue(reply, { ...about, context: context.name, aggregates: context.aggregates }),
  );
  app.get("/openapi.json", (_request, reply) => send(reply, { status: 200, text: document }));
  app.get("/livez", (_request, reply) => sendValue(reply, { live: true }));
  app.get("/readyz", (_request, reply) => {
    const { ready, shards } = readiness();
    const reasons = shards.flatMap(({ shard, state, reason }) =>
      ready || reason === undefined ? [] : [`shard ${shard} is ${state}: ${reason}`],
    );
    return send(reply, { status: ready ? 200 : 503, text: jsonText({ ready, reasons, shards }) });
  });
  app.get("/metrics", async (_request, reply) => reply.type(metricsContentType).send(await metricsText()));
}

/** Where the next page starts; `undefined` when there is none. A short page proves nothing, so it asks. */
async function nextFrom(
  gateway: Gateway,
  fields: HistoryFields,
  events: readonly WireEvent[],
): Promise<number | undefined> {
  const last = events.at(-1);
  if (last === undefined) return undefined;
  const from = fields.direction === "forward" ? last[0] + 1 : last[0] - 1;
  if (from === 0) return undefined;
  const [more] = await gateway.history({ ...fields, from, limit: 1 });
  return more?.[0];
}

/** All events up to the newest at the start, a page of lines at a time; later ones would let an export run for ever. */
async function* exportPages(gateway: Gateway, entity: string, limit: number): AsyncGenerator<string, void> {
  const all = { entity, aggregate: "", direction: "forward" } as const;
  const [newest] = await gateway.history({ ...all, from: 0, limit: 1, direction: "backward" });
  const lastSeq = newest?.[0] ?? 0;
  let from = 1;
  while (from <= lastSeq) {
    const page = await gateway.history({ ...all, from, limit: Math.min(limit, lastSeq - from + 1) });
    invariant(page[0]?.[0] === from, "P1/export-no-gap", { wanted: from, found: page[0]?.[0] });
    yield page.map((event) => `${eventText(event)}\n`).join("");
    from = page.at(-1)![0] + 1;
  }
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

function sendValue(reply: FastifyReply, value: unknown): FastifyReply {
  return send(reply, { status: 200, text: jsonText(value) });
}

function send(reply: FastifyReply, answer: Answer): FastifyReply {
  if (answer.status === 503) reply.header("retry-after", retryAfterSeconds);
  // The line end is for people at a terminal.
  return reply.code(answer.status).type("application/json").send(`${answer.text}\n`);
}

/** Long enough to let a queue drain, short enough to go unnoticed. */
export const retryAfterSeconds = "1";

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
