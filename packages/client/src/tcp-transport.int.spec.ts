// Goal: the TCP transport keeps the port's promises (T1-T3) on real sockets.
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { connectTcp } from "./tcp-transport.ts";
import type { TransportConnection, TransportHandlers } from "./transport.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A server on a free port; `onSocket` gets every connection. */
async function listen(onSocket: (socket: Socket) => void): Promise<{ host: string; port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    onSocket(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { host: "127.0.0.1", port: (server.address() as { port: number }).port };
}

/** Connects, and gives a promise for each event that the test may wait for. */
function connect(address: { host: string; port: number }, onData: (bytes: Uint8Array) => void = () => undefined) {
  const opened = Promise.withResolvers<void>();
  const drained = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<Error | undefined>();
  const events: string[] = [];
  const handlers: TransportHandlers = {
    onOpen: () => {
      events.push("open");
      opened.resolve();
    },
    onData: (bytes) => {
      events.push("data");
      onData(bytes);
    },
    onDrain: () => drained.resolve(),
    onClose: (error) => {
      events.push("close");
      closed.resolve(error);
    },
  };
  const connection: TransportConnection = connectTcp(address, handlers);
  expect(events).toEqual([]);
  return { connection, events, opened: opened.promise, drained: drained.promise, closed: closed.promise };
}

describe("tcp transport", () => {
  it("sends pieces in order and gives back what comes, of any size", async () => {
    const address = await listen((socket) => socket.pipe(socket));
    const pieces = Array.from({ length: 40 }, (_, i) => new Uint8Array(1 + i * 2_500).fill(i));
    const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const echoed = new Uint8Array(total);
    const whole = Promise.withResolvers<void>();
    let at = 0;
    const { connection, opened, closed } = connect(address, (bytes) => {
      echoed.set(bytes, at);
      at += bytes.length;
      if (at === total) whole.resolve();
    });
    await opened;
    connection.write(pieces.slice(0, 1));
    connection.write(pieces.slice(1));
    await whole.promise;
    expect(echoed).toEqual(Uint8Array.from(pieces.flatMap((piece) => [...piece])));
    connection.close();
    expect(await closed).toBeUndefined();
  });

  it("P8 says when the socket is full, and when it has room again", async () => {
    const accepted = Promise.withResolvers<Socket>();
    const address = await listen((socket) => accepted.resolve(socket.pause()));
    const { connection, opened, drained, closed } = connect(address);
    await opened;
    const piece = new Uint8Array(4 * 1024 * 1024);
    while (connection.write([piece])) {
      // Until the socket's buffers are full.
    }
    // The one side may know of the connection before the other.
    (await accepted.promise).resume();
    await drained;
    connection.destroy();
    await closed;
  });

  it("close sends what was written first", async () => {
    const received = Promise.withResolvers<number>();
    const address = await listen((socket) => {
      let bytes = 0;
      socket.on("data", (data) => {
        bytes += data.length;
      });
      socket.on("end", () => received.resolve(bytes));
    });
    const { connection, opened, closed } = connect(address);
    await opened;
    connection.write([new Uint8Array(3 * 1024 * 1024), new Uint8Array(5)]);
    connection.close();
    expect(await received.promise).toBe(3 * 1024 * 1024 + 5);
    await closed;
  });

  it("T2: a refused attempt is a close with its reason", async () => {
    const address = await listen(() => undefined);
    const server = servers.pop()!;
    await new Promise((resolve) => server.close(resolve));
    const { closed, events } = connect(address);
    expect(await closed).toMatchObject({ code: "ECONNREFUSED" });
    expect(events).toEqual(["close"]);
  });

  it("T3: nothing but the close is heard after destroy", async () => {
    const address = await listen((socket) => socket.write(new Uint8Array(100_000)));
    const { connection, closed, events, opened } = connect(address, () => connection.destroy());
    await opened;
    await closed;
    expect(events).toEqual(["open", "data", "close"]);
  });

  it("the other side's end is a close without a reason", async () => {
    const address = await listen((socket) => socket.end());
    const { closed } = connect(address);
    expect(await closed).toBeUndefined();
  });
});
