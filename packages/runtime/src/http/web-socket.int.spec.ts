// The WebSocket side of the door: who may open one, and that both ways hold back. What is spoken on it is the binary
// protocol, as on any connection: test/e2e/subscribe.e2e.spec.ts, test/browser.
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { limits } from "@heddle/kernel";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { Rig } from "./door-rig.spec-support.ts";
import type { HttpDoorOptions } from "./http-door.ts";
import { readOrigins } from "./origins.ts";

const open: WebSocket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.terminate();
});

async function start(options: Partial<HttpDoorOptions> = {}) {
  const streams: Duplex[] = [];
  const rig = await Rig.start({
    onWebSocket: (stream) => {
      stream.on("error", () => {});
      streams.push(stream);
    },
    ...options,
  });
  return { rig, streams, [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose]() };
}

function dial({ rig }: { rig: Rig }, headers: Record<string, string> = {}, path = "/v1/socket"): WebSocket {
  const socket = new WebSocket(`ws://127.0.0.1:${rig.port}${path}`, { headers });
  socket.on("error", () => {});
  open.push(socket);
  return socket;
}

type Outcome =
  | { readonly open: true }
  | { readonly status: number | undefined; readonly body: Record<string, unknown> };

function outcome(socket: WebSocket): Promise<Outcome> {
  return new Promise((resolve) => {
    socket.on("open", () => resolve({ open: true }));
    socket.on("unexpected-response", (_, response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode, body: JSON.parse(text) as never }));
    });
  });
}

const closed = (socket: WebSocket) => new Promise<number>((resolve) => socket.on("close", resolve));

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

describe("who may open a WebSocket", () => {
  it("programs, and pages of the node's own address", async () => {
    await using node = await start();
    expect(await outcome(dial(node))).toEqual({ open: true });
    expect(await outcome(dial(node, { origin: `http://127.0.0.1:${node.rig.port}` }))).toEqual({ open: true });
    expect(node.streams).toHaveLength(2);
  });

  it("no page of another origin, nor one that reached the node by a name that is not its own", async () => {
    await using node = await start();
    const refused = (path: string) => ({ status: 400, body: { code: "INVALID_REQUEST", facts: { path } } });
    for (const origin of ["http://evil.example", "null", `https://127.0.0.1:${node.rig.port + 1}`]) {
      expect(await outcome(dial(node, { origin })), origin).toMatchObject(refused("Origin"));
    }
    expect(await outcome(dial(node, { host: "evil.example" }))).toMatchObject(refused("Host"));
    expect(node.streams).toEqual([]);
  });

  it("pages of the origins that the operator has listed; for a plain request these are strangers all the same", async () => {
    await using node = await start({ origins: readOrigins(["https://App.example.com/", "http://localhost:5173"]) });
    for (const origin of ["https://app.example.com", "http://localhost:5173"]) {
      expect(await outcome(dial(node, { origin }))).toEqual({ open: true });
      expect(await node.rig.get("/livez", { headers: { origin } })).toMatchObject({ status: 400 });
    }
    expect(await outcome(dial(node, { origin: "https://app.example.com:8443" }))).toMatchObject({ status: 400 });
    expect(await outcome(dial(node, { origin: "https://app.example.com", host: "evil.example" }))).toMatchObject({
      body: { facts: { path: "Host" } },
    });
  });

  it("P7: what is no origin is refused at the start", () => {
    for (const text of ["app.example.com", "https://app.example.com/path", "*", "", "file:///x"]) {
      expect(() => readOrigins([text]), text).toThrowError(expect.objectContaining({ code: "INVALID_REQUEST" }));
    }
  });

  it("nobody once the node closes", async () => {
    const node = await start({ bounds: { closeMsMax: 600_000 } });
    const socket = dial(node);
    await outcome(socket);
    // A WebSocket is not the door's any more: it does not wait for it, and does not end it.
    await node.rig.door.close();
    expect(socket.readyState).toBe(WebSocket.OPEN);
    expect(await outcome(dial(node))).toMatchObject({ status: 503, body: { code: "CLOSED" } });
    await node.rig[Symbol.asyncDispose]();
  });

  it("where the node takes none, the answer says so", async () => {
    await using rig = await Rig.start();
    expect(await outcome(dial({ rig }))).toMatchObject({ status: 400, body: { facts: { path: "Upgrade" } } });
  });
});

describe("other requests to upgrade", () => {
  it("to the socket's address without one says what it is for", async () => {
    await using node = await start();
    expect(await node.rig.get("/v1/socket")).toMatchObject({ status: 400, body: { facts: { path: "Upgrade" } } });
  });

  it("for another protocol are answered in this one", async () => {
    await using node = await start();
    const headers = { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AAMAAABkAAQAAP__" };
    expect(await node.rig.get("/livez", { headers })).toMatchObject({ status: 200, body: { live: true } });
  });

  it("for a WebSocket at another address, or with a handshake that is none, are refused", async () => {
    await using node = await start();
    expect(await outcome(dial(node, {}, "/v1/entities"))).toMatchObject({ status: 200 });
    const connection = await node.rig.raw(
      "GET /v1/socket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    );
    expect(await connection.ended).toMatch(/^HTTP\/1\.1 400 /);
    expect(node.streams).toEqual([]);
  });
});

describe("the stream", () => {
  it("W1: has the bytes of all messages, one behind the other, both ways", async () => {
    await using node = await start();
    const socket = dial(node);
    await outcome(socket);
    const [stream] = node.streams;
    const received: Buffer[] = [];
    stream!.on("data", (chunk: Buffer) => received.push(chunk));
    for (const text of ["a", "bc", "", "def"]) socket.send(Buffer.from(text));
    await until(() => Buffer.concat(received).toString() === "abcdef");
    const back: Buffer[] = [];
    socket.on("message", (data: Buffer) => back.push(data));
    stream!.write(Buffer.from("gh"));
    stream!.write(Buffer.from("i"));
    await until(() => Buffer.concat(back).toString() === "ghi");
  });

  it("W1, P7: text ends it, and so does a message larger than any frame", async () => {
    await using node = await start();
    const [text, large] = [dial(node), dial(node)];
    await Promise.all([outcome(text), outcome(large)]);
    for (const stream of node.streams) stream.resume().on("end", () => stream.end());
    text.send("hello");
    expect(await closed(text)).toBe(1003);
    large.send(Buffer.alloc(limits.frameBytesMax + 5));
    expect(await closed(large)).toBe(1009);
    await until(() => node.streams.every((stream) => stream.destroyed));
  });

  it("W2, P8: who is not read from fills no more than the network's buffers, and who does not read is known", async () => {
    await using node = await start();
    const socket = dial(node);
    await outcome(socket);
    const [stream] = node.streams;
    const piece = Buffer.alloc(1 << 20);
    let sent = 0;
    const send = () => {
      sent++;
      socket.send(piece, () => {});
    };
    // The peer's own buffer grows when nobody takes what it sends.
    while (socket.bufferedAmount < 32 << 20) {
      send();
      await new Promise((resolve) => setImmediate(resolve));
      expect(sent).toBeLessThan(200);
    }
    expect(stream!.readableLength).toBeLessThan(4 << 20);
    let taken = 0;
    stream!.on("data", (chunk: Buffer) => {
      taken += chunk.length;
    });
    await until(() => taken === sent * piece.length);
    socket.pause();
    let written = 0;
    while (stream!.write(piece) || stream!.writableLength < 32 << 20) {
      written++;
      await new Promise((resolve) => setImmediate(resolve));
      expect(written).toBeLessThan(200);
    }
    expect(stream!.writableLength).toBeGreaterThan(16 << 20);
    socket.resume();
    await until(() => stream!.writableLength === 0);
  });

  it("W3: a peer that answers pings stays, one that does not is cut off", async () => {
    vi.useFakeTimers({ toFake: ["setInterval"] });
    try {
      const pingMs = 30_000;
      await using node = await start({ bounds: { webSocketPingMs: pingMs } });
      const alive = dial(node);
      await outcome(alive);
      const dead = new WebSocket(`ws://127.0.0.1:${node.rig.port}/v1/socket`, { autoPong: false });
      open.push(dead);
      await outcome(dead);
      const cutOff = closed(dead);
      for (let pings = 1; pings <= 3; pings++) {
        const pinged = once(alive, "ping");
        vi.advanceTimersByTime(pingMs);
        await pinged;
        // Behind the answer to the ping.
        const heard = once(node.streams[0]!, "data");
        alive.send(Buffer.from("here"));
        await heard;
      }
      expect(await cutOff).toBe(1006);
      expect(alive.readyState).toBe(WebSocket.OPEN);
    } finally {
      vi.useRealTimers();
    }
  });

  it("ends on the one side when the other ends", async () => {
    await using node = await start();
    const theirs = dial(node);
    await outcome(theirs);
    const ours = dial(node);
    await outcome(ours);
    for (const stream of node.streams) {
      stream.resume();
      stream.on("end", () => stream.end());
    }
    const code = closed(ours);
    node.streams[1]!.end(Buffer.from("the last word"));
    let last = "";
    ours.on("message", (data: Buffer) => {
      last += data.toString();
    });
    await code;
    expect(last).toBe("the last word");
    theirs.terminate();
    await until(() => node.streams.every((stream) => stream.destroyed));
    await until(() => node.rig.heldSockets === 0);
  });
});
