// HttpDoor: the HTTP side of the node's port. Takes over sockets that turned out to speak HTTP, and serves them.
//
// Owns connections, their bounds, and the end of both. The routes are in http-app.ts. The port itself is the listener's.
//
// H1. Every request gets one answer, typed, or its connection ends. Bytes that are no request get one too.
// H2. Nobody holds a connection for good: headers, bodies, silence and idleness have each a bound in time (P8).
// H3. After `close()` no new request is worked on, running ones are finished within `closeMsMax`, and no socket is left.
//
// Not promised: that requests pipelined on one connection run one after another. Their answers come in order.
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { HeddleError } from "@heddle/kernel";
import type { Logger } from "pino";
import { type Answer, errorAnswer } from "./answers.ts";
import { type HttpBounds, httpBounds } from "./bounds.ts";
import { browserProblem, type HostNames } from "./browser-guard.ts";
import { refusal } from "./check-values.ts";
import type { Gateway, NodeFacts, Readiness } from "./gateway.ts";
import { buildHttpApp, type HttpApp } from "./http-app.ts";
import { BodyLedger } from "./json-body.ts";
import { metricsText, type NodeMetrics } from "./metrics.ts";
import { retryAfterSeconds } from "./sending.ts";
import { WebSockets } from "./web-socket.ts";

export interface HttpDoorOptions {
  readonly gateway: Gateway;
  readonly facts: NodeFacts;
  readonly readiness: () => Readiness | Promise<Readiness>;
  readonly metrics: () => Promise<NodeMetrics>;
  readonly logger: Logger;
  /** Names that the Host header may have besides IP addresses and localhost; default none. See browser-guard.ts. */
  readonly hostNames?: HostNames;
  /** Origins of pages that may open a WebSocket, beside the node's own; default none. */
  readonly origins?: readonly string[];
  /** Takes over a WebSocket, as a stream of bytes. Left out: there are none. */
  readonly onWebSocket?: (stream: Duplex) => void;
  readonly bounds?: Partial<HttpBounds>;
}

export interface HttpDoor {
  /**
   * Takes over a socket. `firstBytes` are what was read from it so far, all of it; the caller has removed its own
   * listeners and calls this in the turn in which it read them, or has paused the socket.
   */
  accept(socket: Socket, firstBytes: Uint8Array): void;
  /** Finishes running requests, refuses new ones with `CLOSED`, ends every connection. Safe to call twice. */
  close(): Promise<void>;
}

export async function openHttpDoor(options: HttpDoorOptions): Promise<HttpDoor> {
  const door = new Door(options);
  await door.open();
  return door;
}

class Door implements HttpDoor {
  readonly #options: HttpDoorOptions;
  readonly #bounds: HttpBounds;
  readonly #ledger: BodyLedger;
  /** Every open connection, with the answers it is owed. */
  readonly #sockets = new Map<Socket, Set<ServerResponse>>();
  readonly #counts = new Map<string, { method: string; route: string; status: number; count: number }>();
  readonly #routes = new WeakMap<ServerResponse, string>();
  readonly #webSockets: WebSockets;
  #running = 0;
  #server!: Server;
  #http!: HttpApp;
  #closing: Promise<void> | undefined;
  #onLastSocket: () => void = () => {};

  constructor(options: HttpDoorOptions) {
    this.#options = options;
    this.#bounds = { ...httpBounds, ...options.bounds };
    this.#ledger = new BodyLedger(this.#bounds);
    this.#webSockets = new WebSockets(this.#bounds.webSocketPingMs);
  }

  async open(): Promise<void> {
    const { gateway, facts, readiness, logger } = this.#options;
    this.#http = await buildHttpApp({
      gateway,
      facts,
      readiness,
      logger,
      metricsText: () => this.#metricsText(),
      bounds: this.#bounds,
      ledger: this.#ledger,
      serverFactory: (handler) => this.#createServer(handler),
      onClientError: (error, socket) => this.#onClientError(error, socket),
      onRoute: (response, route) => this.#routes.set(response, route),
    });
    // This server never listens, and node starts to watch over slow senders and idle connections when one does.
    this.#server.emit("listening");
  }

  #createServer(handler: (request: IncomingMessage, response: ServerResponse) => void): Server {
    const bounds = this.#bounds;
    const server = createServer({
      headersTimeout: bounds.headersMsMax,
      requestTimeout: bounds.requestMsMax,
      connectionsCheckingInterval: bounds.timeoutCheckMs,
      keepAliveTimeout: bounds.keepAliveMsMax,
      maxHeaderSize: bounds.headerBytesMax,
      // Missing ones are refused in browser-guard.ts, with an answer that says so.
      requireHostHeader: false,
      // Whoever asks for another protocol than a WebSocket, as curl does for HTTP/2, is answered in this one.
      shouldUpgradeCallback: WebSockets.isAsked,
    });
    server.timeout = bounds.silenceMsMax;
    // Beyond a count node drops headers without a word. Their bytes are bounded, which is enough.
    server.maxHeadersCount = 0;
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      const problem = this.#begin(request, response);
      if (problem === undefined) handler(request, response);
      else writeAnswer(response, errorAnswer(problem));
    };
    server.on("request", serve);
    server.on("checkContinue", (request, response) => {
      // A sender that asks first is spared sending a body that will be refused; it then may not use the connection again.
      if (Number(request.headers["content-length"]) > bounds.bodyBytesMax) response.setHeader("connection", "close");
      else response.writeContinue();
      serve(request, response);
    });
    server.on("checkExpectation", (request, response) => {
      this.#begin(request, response);
      const problem = refusal("Expect", `wanted 100-continue, found ${JSON.stringify(request.headers.expect)}`);
      writeAnswer(response, { ...errorAnswer(problem), status: 417 });
    });
    server.on("upgrade", (request, socket, head) => this.#onUpgrade(request, socket as Socket, head));
    this.#server = server;
    return server;
  }

  accept(socket: Socket, firstBytes: Uint8Array): void {
    // Gone while the caller held it paused: there will be no event of its end to wait for.
    if (socket.destroyed) return;
    const problem = this.#connectionProblem();
    if (problem !== undefined) {
      refuseSocket(socket, problem);
      return;
    }
    this.#sockets.set(socket, new Set());
    socket.once("close", () => {
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) this.#onLastSocket();
    });
    // As node does for the sockets of an HTTP server that listens.
    socket.setNoDelay(true);
    socket.unshift(firstBytes);
    this.#server.emit("connection", socket);
    // For a caller who paused it.
    socket.resume();
  }

  #connectionProblem(): HeddleError | undefined {
    if (this.#closing !== undefined) return new HeddleError("CLOSED", { what: "the node" });
    const [depth, depthMax] = [this.#sockets.size, this.#bounds.connectionsMax];
    return depth < depthMax ? undefined : new HeddleError("OVERLOADED", { queue: "HTTP connections", depth, depthMax });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#http.streams.close();
    this.#http.waiting.close();
    this.#webSockets.close();
    for (const [socket, owed] of this.#sockets) {
      if (owed.size === 0) socket.destroySoon();
      for (const response of owed) if (!response.headersSent) response.setHeader("connection", "close");
    }
    if (this.#sockets.size > 0) {
      await new Promise<void>((resolve) => {
        const deadline = setTimeout(() => {
          for (const socket of this.#sockets.keys()) socket.destroy();
        }, this.#bounds.closeMsMax);
        this.#onLastSocket = () => {
          clearTimeout(deadline);
          resolve();
        };
      });
    }
    // Stops the watch over senders; that the server is not listening is no news.
    this.#server.close(() => {});
    await this.#http.app.close();
  }

  /** Enters a request into the books, and says whether it is to be refused whatever it asks. */
  #begin(request: IncomingMessage, response: ServerResponse): HeddleError | undefined {
    const { socket } = request;
    const owed = this.#sockets.get(socket);
    owed?.add(response);
    this.#running++;
    const startedAt = performance.now();
    response.once("close", () => {
      owed?.delete(response);
      this.#running--;
      this.#count(request, response, startedAt);
      // The header `connection: close` came too late for an answer that was under way when the closing began.
      if (this.#closing !== undefined && owed?.size === 0) socket.destroySoon();
    });
    // Keeps a browser from taking an answer for a script or a page.
    response.setHeader("x-content-type-options", "nosniff");
    if (this.#closing !== undefined) {
      response.setHeader("connection", "close");
      return new HeddleError("CLOSED", { what: "the node" });
    }
    const depthMax = this.#bounds.requestsMax;
    if (this.#running > depthMax) {
      return new HeddleError("OVERLOADED", { queue: "HTTP requests", depth: this.#running - 1, depthMax });
    }
    return browserProblem(request.headers, this.#options.hostNames ?? []);
  }

  #onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const { onWebSocket, hostNames = [], origins } = this.#options;
    const problem = this.#upgradeProblem() ?? browserProblem(request.headers, hostNames, origins);
    if (problem !== undefined || onWebSocket === undefined) {
      refuseSocket(socket, problem ?? refusal("Upgrade", "this node takes no WebSockets"));
      return;
    }
    this.#webSockets.accept(request, socket, head, (stream) => {
      // It is no HTTP connection any more: whoever has it ends it.
      this.#sockets.delete(socket);
      onWebSocket(stream);
    });
  }

  #upgradeProblem(): HeddleError | undefined {
    return this.#closing === undefined ? undefined : new HeddleError("CLOSED", { what: "the node" });
  }

  #count(request: IncomingMessage, response: ServerResponse, startedAt: number): void {
    const method = request.method ?? "";
    const route = this.#routes.get(response) ?? "none";
    const status = response.statusCode;
    const key = `${method} ${route} ${status}`;
    const row = this.#counts.get(key) ?? { method, route, status, count: 0 };
    row.count++;
    this.#counts.set(key, row);
    const { logger } = this.#options;
    if (!logger.isLevelEnabled("debug")) return;
    logger.debug({ method, route, status, ms: performance.now() - startedAt }, "request");
  }

  async #metricsText(): Promise<string> {
    return metricsText(await this.#options.metrics(), this.#options.facts, {
      connections: this.#sockets.size,
      requestsRunning: this.#running,
      bodyBytes: this.#ledger.bytes,
      eventStreams: this.#http.streams.size,
      requests: [...this.#counts.values()],
    });
  }

  /** Called for what is no request: bytes that cannot be parsed, headers that are too long, a sender that is too slow. */
  #onClientError(error: NodeJS.ErrnoException, socket: Socket): void {
    const owed = [...(this.#sockets.get(socket) ?? [])];
    // With an answer under way, or more than one owed, another text would be taken for a part of it.
    if (!socket.writable || owed.length > 1 || owed[0]?.headersSent) {
      socket.destroy();
      return;
    }
    refuseSocket(socket, ...this.#clientProblem(error));
  }

  #clientProblem(error: NodeJS.ErrnoException): [problem: HeddleError, status: number] {
    const { headersMsMax, requestMsMax, headerBytesMax } = this.#bounds;
    switch (error.code) {
      case "ERR_HTTP_REQUEST_TIMEOUT":
        return [
          refusal("", `the request took too long: at most ${headersMsMax} ms for headers, ${requestMsMax} ms for all`),
          408,
        ];
      case "HPE_HEADER_OVERFLOW":
        return [refusal("", `request line and headers have more than ${headerBytesMax} bytes`), 431];
      default: {
        const { reason = error.message } = error as { reason?: string };
        return [refusal("", `what arrived is not HTTP/1.1: ${reason}`), 400];
      }
    }
  }
}

function writeAnswer(response: ServerResponse, { status, text }: Answer): void {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.setHeader("content-length", Buffer.byteLength(text));
  if (status === 503) response.setHeader("retry-after", retryAfterSeconds);
  response.end(text);
}

/** Answers on a socket that has no request to answer to, and ends it. */
function refuseSocket(socket: Socket, problem: HeddleError, as?: number): void {
  const { status, text } = { ...errorAnswer(problem), ...(as === undefined ? {} : { status: as }) };
  const retry = status === 503 ? `retry-after: ${retryAfterSeconds}\r\n` : "";
  socket.on("error", () => {});
  socket.write(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/json\r\n${retry}` +
      `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  );
  socket.destroySoon();
}
