// WebSockets: connections of browsers, each as the plain stream of bytes that the binary protocol wants.
//
// W1. Where a message ends means nothing: the bytes of all of them are the stream. Text is refused.
// W2. Both ways hold back: who is not read from is not taken from the network, and what a browser has not taken counts as
//     unsent (P8). No message is larger than a frame.
// W3. A peer that does not answer pings is cut off. One that is not read from cannot answer, and is not asked.
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { limits } from "@heddle/kernel";
import { createWebSocketStream, type WebSocket, WebSocketServer } from "ws";

/** Where the upgrade is asked for. */
export const webSocketPath = "/v1/socket";

const frameLengthBytes = 4;
/** Status of the protocol for data of a kind that is not taken. */
const unsupportedData = 1003;

export class WebSockets {
  readonly #server = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    maxPayload: limits.frameBytesMax + frameLengthBytes,
    // Payloads are small or packed already, and a context for each connection takes 300 KB.
    perMessageDeflate: false,
  });
  /** Those that have answered since they were asked last. */
  readonly #alive = new WeakSet<WebSocket>();
  readonly #pingMs: number;
  #pinging: NodeJS.Timeout | undefined;

  constructor(pingMs: number) {
    this.#pingMs = pingMs;
  }

  /** Whether a request asks for a WebSocket, rather than for another protocol, or nothing. */
  static isAsked({ headers, url = "" }: IncomingMessage): boolean {
    return headers.upgrade?.toLowerCase() === "websocket" && url.replace(/[?#].*$/s, "") === webSocketPath;
  }

  /** Answers the upgrade, with a refusal where the headers are no handshake, and hands over the stream. */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer, onStream: (stream: Duplex) => void): void {
    this.#server.handleUpgrade(request, socket, head, (peer) => {
      this.#alive.add(peer);
      peer.on("pong", () => this.#alive.add(peer));
      peer.on("message", (_, isBinary) => {
        if (!isBinary) peer.close(unsupportedData, "wanted binary messages");
      });
      // Once what has come meanwhile is read: a node that was held up itself does not blame its peers.
      this.#pinging ??= setInterval(() => setImmediate(() => this.#ping()), this.#pingMs).unref();
      onStream(createWebSocketStream(peer));
    });
  }

  /** Takes no more; those that are open belong to whom they were handed to. */
  close(): void {
    clearInterval(this.#pinging);
    this.#server.close();
  }

  #ping(): void {
    for (const peer of this.#server.clients) {
      if (peer.isPaused) continue;
      if (!this.#alive.delete(peer)) peer.terminate();
      else peer.ping();
    }
  }
}
