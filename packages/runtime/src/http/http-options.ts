// HttpAppOptions: what the HTTP application and its routes are built with.
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyServerFactory } from "fastify";
import type { Logger } from "pino";
import type { HttpBounds } from "./bounds.ts";
import type { Gateway, NodeFacts, Readiness } from "./gateway.ts";
import type { BodyLedger } from "./json-body.ts";

export interface HttpAppOptions {
  readonly gateway: Gateway;
  readonly facts: NodeFacts;
  readonly readiness: () => Readiness | Promise<Readiness>;
  readonly metricsText: () => Promise<string>;
  readonly logger: Logger;
  readonly bounds: HttpBounds;
  readonly ledger: BodyLedger;
  readonly serverFactory: FastifyServerFactory;
  readonly onClientError: (error: NodeJS.ErrnoException, socket: Socket) => void;
  /** Told the route of each request that has one. */
  readonly onRoute: (response: ServerResponse, route: string) => void;
}
