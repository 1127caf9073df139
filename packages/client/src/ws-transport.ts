// A WebSocket, in browsers and wherever else there is one. The node takes its messages as one stream of bytes, so that where
// they end means nothing.
//
// A browser tells nobody when there is room again: what it has not sent is looked at every now and then.
import type { Address, TransportConnection, TransportHandlers } from "./transport.ts";

/** What the platform may have unsent before the caller is asked to wait. */
const unsentBytesMax = 1 << 20;
/** Below what a node takes in one message, and not so much that others wait long behind it. */
const messageBytesMax = 1 << 20;
const lookEveryMs = 5;
const path = "/v1/socket";

export function connectWebSocket(address: Address, handlers: TransportHandlers): TransportConnection {
  const url = urlOf(address);
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  let failure: Error | undefined;
  let isOver = false;
  let isDestroyed = false;
  let look: ReturnType<typeof setTimeout> | undefined;

  const end = (error: Error | undefined) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(look);
    handlers.onClose(error);
  };
  const lookForRoom = () => {
    look = setTimeout(() => {
      if (isDestroyed) return;
      if (socket.bufferedAmount > unsentBytesMax) lookForRoom();
      else {
        look = undefined;
        handlers.onDrain();
      }
    }, lookEveryMs);
  };
  socket.onopen = () => {
    if (!isDestroyed) handlers.onOpen();
  };
  socket.onmessage = ({ data }) => {
    if (!isDestroyed && data instanceof ArrayBuffer) handlers.onData(new Uint8Array(data));
  };
  // Says why only outside of browsers.
  socket.onerror = (event: Event & { readonly message?: string }) => {
    failure = new Error(event.message || `no WebSocket with ${url}`);
  };
  socket.onclose = ({ code, reason }) => {
    const isOrderly = code === 1000 || code === 1005;
    end(failure ?? (isOrderly ? undefined : new Error(`the WebSocket was closed with ${code} ${reason}`.trimEnd())));
  };
  return {
    write(pieces) {
      if (socket.readyState !== WebSocket.OPEN) return true;
      for (const piece of pieces) {
        for (let at = 0; at < piece.length; at += messageBytesMax) {
          socket.send(piece.subarray(at, at + messageBytesMax) as Uint8Array<ArrayBuffer>);
        }
      }
      if (socket.bufferedAmount <= unsentBytesMax) return true;
      if (look === undefined) lookForRoom();
      return false;
    },
    // What was sent goes out before the goodbye.
    close: () => socket.close(),
    destroy() {
      isDestroyed = true;
      // A peer that is gone never says goodbye, and is not waited for.
      socket.close();
      setTimeout(() => end(failure), 0);
    },
  };
}

function urlOf({ host, port, webSocket }: Address): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return `${webSocket ?? ownScheme()}://${name}:${port}${path}`;
}

// A page that came over TLS may open nothing else.
function ownScheme(): "ws" | "wss" {
  const { location } = globalThis as { readonly location?: { readonly protocol: string } };
  return location?.protocol === "https:" ? "wss" : "ws";
}
