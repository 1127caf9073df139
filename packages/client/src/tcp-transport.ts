// TCP in Node. The only file of this package that knows Node.
import type net from "node:net";
import type { Address, TransportConnection, TransportHandlers } from "./transport.ts";

/** Bytes taken from the socket at once. One such buffer serves a connection for life: frames are read while lent. */
const readBytesMax = 256 * 1024;

/** Whether there is TCP here. In a browser there is none. */
export function hasTcp(): boolean {
  return typeof globalThis.process?.getBuiltinModule === "function";
}

export function connectTcp(address: Address, handlers: TransportHandlers): TransportConnection {
  // Asked for here and not imported, so that a bundle for a browser may hold this file.
  const { connect } = globalThis.process.getBuiltinModule("node:net") as typeof net;
  let failure: Error | undefined;
  const socket = connect({
    host: address.host,
    port: address.port,
    noDelay: true,
    // Reading past the stream's machinery saves a buffer and an event for each read.
    onread: {
      buffer: new Uint8Array(readBytesMax),
      callback(length, buffer) {
        handlers.onData(buffer.subarray(0, length));
        return true;
      },
    },
  });
  socket.on("connect", () => handlers.onOpen());
  socket.on("drain", () => handlers.onDrain());
  socket.on("error", (error) => {
    failure = error;
  });
  socket.on("close", () => handlers.onClose(failure));
  return {
    write(pieces) {
      if (pieces.length === 1) return socket.write(pieces[0]!);
      socket.cork();
      let room = true;
      for (const piece of pieces) room = socket.write(piece);
      socket.uncork();
      return room;
    },
    close: () => socket.destroySoon(),
    destroy: () => socket.destroy(),
  };
}
