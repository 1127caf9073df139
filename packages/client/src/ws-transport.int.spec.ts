// Goal: the WebSocket transport keeps the port's promises (T1-T3) on real sockets, and is taken where it should be.
// Tested elsewhere: in a browser (test/browser); the node's side (packages/runtime, web-socket.int.spec.ts).
import { afterEach, describe, expect, it, vi } from "vitest";
import { type WebSocket as Peer, WebSocketServer } from "ws";
import { connectAny } from "./connect.ts";
import type { Address, TransportConnection, TransportHandlers } from "./transport.ts";
import { connectWebSocket } from "./ws-transport.ts";

const servers: WebSocketServer[] = [];
afterEach(() => {
  vi.unstubAllGlobals();
  for (const server of servers.splice(0)) {
    for (const peer of server.clients) peer.terminate();
    server.close();
  }
});

/** A server on a free port; `onPeer` gets every connection. */
async function listen(onPeer: (peer: Peer) => void): Promise<Address> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, path: "/v1/socket" });
  server.on("connection", (peer) => {
    peer.on("error", () => undefined);
    onPeer(peer);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.once("listening", resolve));
  return { host: "127.0.0.1", port: (server.address() as { port: number }).port, webSocket: "ws" };
}

/** Connects, and gives a promise for each event that the test may wait for. */
function connect(address: Address, onData: (bytes: Uint8Array) => void = () => undefined) {
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
  const connection: TransportConnection = connectWebSocket(address, handlers);
  expect(events).toEqual([]);
  return { connection, events, opened: opened.promise, drained: drained.promise, closed: closed.promise };
}

describe("WebSocket transport", () => {
  it("sends pieces in order and gives back what comes, of any size", async () => {
    const address = await listen((peer) => peer.on("message", (data) => peer.send(data)));
    const pieces = [...Array.from({ length: 40 }, (_, i) => new Uint8Array(1 + i * 2_500).fill(i))];
    pieces.push(new Uint8Array(5 << 20).map((_, i) => i));
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
    expect(Buffer.compare(echoed, Buffer.concat(pieces))).toBe(0);
    connection.close();
    expect(await closed).toBeUndefined();
  });

  it("sends no message that a node would not take", async () => {
    const sizes: number[] = [];
    const address = await listen((peer) => peer.on("message", (data: Buffer) => sizes.push(data.length)));
    const { connection, opened, closed } = connect(address);
    await opened;
    connection.write([new Uint8Array(17 << 20)]);
    connection.close();
    await closed;
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(17 << 20);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1 << 20);
  });

  it("P8 says when too much is unsent, and when there is room again", async () => {
    let peer: Peer | undefined;
    const address = await listen((one) => {
      peer = one;
      one.pause();
    });
    const { connection, opened, drained, closed } = connect(address);
    await opened;
    const piece = new Uint8Array(4 * 1024 * 1024);
    let writes = 0;
    while (connection.write([piece])) {
      writes++;
      expect(writes).toBeLessThan(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    while (peer === undefined) await new Promise((resolve) => setImmediate(resolve));
    peer.resume();
    await drained;
    connection.destroy();
    await closed;
  });

  it("T2 T3: is closed once, with a reason where it was not our wish, and says nothing behind it", async () => {
    const address = await listen((peer) => {
      peer.on("message", () => peer.terminate());
    });
    const cut = connect(address);
    await cut.opened;
    cut.connection.write([new Uint8Array(1)]);
    expect(await cut.closed).toBeInstanceOf(Error);
    const ours = connect(address);
    await ours.opened;
    ours.connection.destroy();
    expect(await ours.closed).toBeUndefined();
    const early = connect(address);
    early.connection.destroy();
    await early.closed;
    for (const server of servers)
      await new Promise<void>((resolve) => {
        for (const peer of server.clients) peer.terminate();
        server.close(() => resolve());
      });
    expect([cut.events, ours.events, early.events]).toEqual([["open", "close"], ["open", "close"], ["close"]]);
  });

  it("says that nobody is there", async () => {
    const { closed, events } = connect({ host: "127.0.0.1", port: 1, webSocket: "ws" });
    expect(await closed).toBeInstanceOf(Error);
    expect(events).toEqual(["close"]);
  });

  it("takes text for nothing", async () => {
    const address = await listen((peer) => {
      peer.send("hello");
      peer.close();
    });
    const { closed, events } = connect(address);
    await closed;
    expect(events).toEqual(["open", "close"]);
  });
});

describe("which transport", () => {
  const handlers: TransportHandlers = { onOpen: noop, onData: noop, onDrain: noop, onClose: noop };
  const dialled = (address: Address, globals: Record<string, unknown>) => {
    const urls: string[] = [];
    class Dialled {
      constructor(url: string) {
        urls.push(url);
      }
    }
    for (const [name, value] of Object.entries({ WebSocket: Dialled, ...globals })) vi.stubGlobal(name, value);
    connectAny(address, handlers);
    vi.unstubAllGlobals();
    return urls;
  };

  it("is a WebSocket where the address says so, and wherever there is no TCP", () => {
    const inBrowser = { process: undefined, location: { protocol: "http:" } };
    const secure = { process: undefined, location: { protocol: "https:" } };
    expect(dialled({ host: "h", port: 1, webSocket: "wss" }, {})).toEqual(["wss://h:1/v1/socket"]);
    expect(dialled({ host: "::1", port: 9090, webSocket: "ws" }, secure)).toEqual(["ws://[::1]:9090/v1/socket"]);
    expect(dialled({ host: "localhost", port: 9090 }, inBrowser)).toEqual(["ws://localhost:9090/v1/socket"]);
    expect(dialled({ host: "localhost", port: 9090 }, secure)).toEqual(["wss://localhost:9090/v1/socket"]);
    // A worker of a browser has no process and perhaps no location.
    expect(dialled({ host: "localhost", port: 9090 }, { process: undefined, location: undefined })).toHaveLength(1);
  });

  it("is TCP otherwise", async () => {
    const closed = Promise.withResolvers<unknown>();
    connectAny({ host: "127.0.0.1", port: 1 }, { ...handlers, onClose: closed.resolve });
    expect(await closed.promise).toMatchObject({ code: "ECONNREFUSED" });
  });
});

function noop(): void {}
