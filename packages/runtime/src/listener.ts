// Listener: the node's one port. The first byte tells the binary protocol from HTTP.
import net from "node:net";
import type { Duplex } from "node:stream";
import { HeddleError } from "@heddle/kernel";
import { preface, type Welcome } from "@heddle/protocol/internal";
import { BinaryConnection } from "./binary-connection.ts";
import type { HttpDoor } from "./http/http-door.ts";
import type { Router } from "./router.ts";

export interface ListenerOptions {
  readonly router: Router;
  readonly welcome: Welcome;
  readonly http: HttpDoor;
}

/** Connections of both kinds together. */
const connectionsMax = 10_000;
/** How long a new connection may stay silent. */
const firstByteTimeoutMs = 10_000;
/** How long closing waits for clients to take what was written. */
const closeGraceMs = 2_000;

export class Listener {
  readonly #options: ListenerOptions;
  readonly #server: net.Server;
  readonly #connections = new Map<number, BinaryConnection>();
  readonly #silent = new Set<net.Socket>();
  #sockets = 0;
  #nextId = 1;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#server = net.createServer({ noDelay: true }, (socket) => this.#onSocket(socket));
    this.#server.maxConnections = connectionsMax;
  }

  /** Errors: `CANNOT_LISTEN` when the port is taken or the address is not this machine's. */
  listen(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", (cause) => {
        reject(new HeddleError("CANNOT_LISTEN", { address: `${host}:${port}`, message: cause.message }, { cause }));
      });
      this.#server.listen(port, host, () => resolve((this.#server.address() as net.AddressInfo).port));
    });
  }

  deliver(connection: number, thread: number, calls: number, requestBytes: number, frames: Uint8Array): void {
    this.#connections.get(connection)?.deliver(thread, calls, requestBytes, frames);
  }

  threadLost(thread: number): void {
    for (const connection of this.#connections.values()) connection.threadLost(thread);
  }

  *sessions(): Generator<{ connection: number; session: number }> {
    for (const { id, session } of this.#connections.values())
      if (session !== undefined) yield { connection: id, session };
  }

  get socketCount(): number {
    return this.#sockets;
  }

  get bytesInFlight(): number {
    let bytes = 0;
    for (const connection of this.#connections.values()) bytes += connection.bytesInFlight;
    return bytes;
  }

  /** Takes no more connections. */
  stopListening(): void {
    this.#server.close();
    for (const socket of this.#silent) socket.destroy();
  }

  /** Ends the connections on the binary protocol; what was answered still goes out. */
  async endConnections(): Promise<void> {
    for (const connection of this.#connections.values()) connection.end();
    const deadline = setTimeout(() => {
      for (const connection of this.#connections.values()) connection.destroy();
    }, closeGraceMs);
    while (this.#connections.size > 0) await new Promise((resolve) => setImmediate(resolve));
    clearTimeout(deadline);
  }

  #onSocket(socket: net.Socket): void {
    this.#sockets++;
    this.#silent.add(socket);
    const timer = setTimeout(() => socket.destroy(), firstByteTimeoutMs);
    const onEarlyError = () => socket.destroy();
    socket.on("error", onEarlyError);
    socket.once("close", () => {
      clearTimeout(timer);
      this.#silent.delete(socket);
      this.#sockets--;
    });
    socket.once("data", (firstBytes: Buffer) => {
      clearTimeout(timer);
      this.#silent.delete(socket);
      socket.removeListener("error", onEarlyError);
      if (firstBytes[0] === preface[0]) this.acceptStream(socket).begin(firstBytes);
      else this.#options.http.accept(socket, firstBytes);
    });
  }

  /** Speaks the binary protocol on a stream that is open: a connection, or what an HTTP connection has become. */
  acceptStream(socket: Duplex): BinaryConnection {
    const id = this.#nextId++;
    const { router, welcome } = this.#options;
    const connection = new BinaryConnection({
      id,
      socket,
      router,
      welcome,
      onOpen: (session) => {
        for (const link of router.links) link.tell({ kind: "connection-opened", connection: id, session });
      },
      onClose: () => {
        this.#connections.delete(id);
        for (const link of router.allLinks) link.tell({ kind: "connection-closed", connection: id });
      },
    });
    this.#connections.set(id, connection);
    return connection;
  }
}
