// Connections: how they are taken over, what slow, endless and malformed senders get, and how they end (H1 to H3 of
// http-door.ts, P7, P8). Real sockets throughout; where time matters the bound is set small, and the spec waits for what
// follows from it. Routes and answers: http-routes.int.spec.ts.
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { AppendResult } from "@heddle/protocol";
import { describe, expect, it } from "vitest";
import { httpBounds } from "./bounds.ts";
import { deferred, Rig, receipt } from "./door-rig.spec-support.ts";

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
const post = (body: string, length = Buffer.byteLength(body)): string =>
  "POST /v1/entities/account/alice/append HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" +
  `content-length: ${length}\r\n\r\n${body}`;
const credited = '{"type":"Credited","payload":{}}';

/** Status and body of the one answer in a text. */
function answerIn(text: string): { status: number; code: unknown; retryAfter: string | undefined } {
  const [head = "", body = ""] = text.split("\r\n\r\n");
  expect(Number(/^content-length: (\d+)$/im.exec(head)?.[1])).toBe(Buffer.byteLength(body, "latin1"));
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]),
    code: JSON.parse(body).code,
    retryAfter: /^retry-after: (.+)$/im.exec(head)?.[1],
  };
}

describe("taking over a connection", () => {
  it("loses no byte, however the first request is cut", async () => {
    await using rig = await Rig.start();
    const text = post(credited);
    for (const cut of [1, 5, 40, text.indexOf("\r\n\r\n") + 2, text.length - 3, text.length]) {
      const connection = await rig.raw(text.slice(0, cut));
      // The rest follows only when the door has the start.
      while (rig.heldSockets < 1) await nextTurn();
      connection.socket.write(text.slice(cut));
      await connection.receives('"ok":true');
      connection.socket.destroy();
      await connection.ended;
      while (rig.heldSockets > 0) await nextTurn();
    }
    expect(rig.gateway.appends).toHaveLength(6);
  });

  it("may happen later, if the socket was paused meanwhile", async () => {
    await using rig = await Rig.start({}, (door, socket, firstBytes) => {
      socket.pause();
      setImmediate(() => door.accept(socket, firstBytes));
    });
    const text = post(credited);
    const connection = await rig.raw(text.slice(0, 50));
    connection.socket.write(text.slice(50));
    await connection.receives('"ok":true');
    connection.socket.destroy();
  });

  it("holds nothing of one that ended before it was handed over", async () => {
    const handedOver = deferred<void>();
    await using rig = await Rig.start({ bounds: { closeMsMax: 600_000 } }, (door, socket, firstBytes) => {
      socket.destroy();
      socket.once("close", () => {
        door.accept(socket, firstBytes);
        handedOver.resolve();
      });
    });
    await rig.raw(get("/livez"));
    await handedOver.promise;
    await rig.door.close();
  });

  it("keeps it for further requests", async () => {
    await using rig = await Rig.start();
    const connection = await rig.raw(get("/livez"));
    await connection.receives('{"live":true}');
    connection.socket.write(post(credited));
    await connection.receives('"ok":true');
    connection.socket.write(get("/livez"));
    await connection.receives('{"live":true}', 2);
    connection.socket.destroy();
  });

  it("answers pipelined requests in order, even when a later one is done first", async () => {
    await using rig = await Rig.start();
    const first = deferred<AppendResult>();
    rig.gateway.onAppend = () => first.promise;
    const connection = await rig.raw(post(credited) + get("/livez") + get("/nothing"));
    while (rig.gateway.appends.length === 0) await nextTurn();
    await rig.get("/livez");
    expect(connection.received).toBe("");
    first.resolve(receipt());
    await connection.receives("UNKNOWN_ROUTE");
    const order = ['"ok":true', '{"live":true}', "UNKNOWN_ROUTE"].map((text) => connection.received.indexOf(text));
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    connection.socket.destroy();
  });

  it("serves many callers over a pool of connections", async () => {
    await using rig = await Rig.start();
    const calls = Array.from({ length: 500 }, (_, i) =>
      fetch(`${rig.url}/v1/entities/account/${i}/append`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: credited,
      }).then(async (response) => (await response.json()) as { entity: string }),
    );
    expect((await Promise.all(calls)).map(({ entity }) => entity)).toEqual(calls.map((_, i) => `account/${i}`));
  });
});

describe("H1: what is no request", () => {
  it.each<[string, string, number]>([
    ["noise", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400],
    ["words", "hello there\r\n\r\n", 400],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
    ["an unknown method", "FETCH / HTTP/1.1\r\nhost: localhost\r\n\r\n", 400],
    ["a path in raw UTF-8", "GET /v1/entities/account/zoë HTTP/1.1\r\nhost: localhost\r\n\r\n", 400],
    ["a header with a line break in it", "GET / HTTP/1.1\r\nhost: localhost\r\nx: a\rb\r\n\r\n", 400],
    ["two lengths", "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400],
    [
      "a length and chunks",
      "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
      400,
    ],
    ["headers beyond the bound", `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${"y".repeat(20_000)}\r\n\r\n`, 431],
    ["a path beyond the bound", `GET /${"y".repeat(20_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`, 431],
  ])("P7: %s is answered typed, and the connection ends", async (_what, text, status) => {
    await using rig = await Rig.start();
    const connection = await rig.raw(text);
    expect(answerIn(await connection.ended)).toMatchObject({ status, code: "INVALID_REQUEST" });
    expect(rig.gateway.calls).toEqual([]);
  });

  it("P7: a request without Host, or with an expectation that is not known, is answered typed", async () => {
    await using rig = await Rig.start();
    const expecting = await rig.raw(
      "POST / HTTP/1.1\r\nhost: localhost\r\nexpect: wonders\r\nconnection: close\r\n\r\n",
    );
    expect(answerIn(await expecting.ended)).toMatchObject({ status: 417, code: "INVALID_REQUEST" });
    const nameless = await rig.raw("GET /livez HTTP/1.1\r\norigin: http://evil.example\r\nconnection: close\r\n\r\n");
    expect(answerIn(await nameless.ended)).toMatchObject({ status: 400, code: "INVALID_REQUEST" });
    const old = await rig.raw("GET /livez HTTP/1.0\r\n\r\n");
    expect(await old.ended).toContain('{"live":true}');
  });

  it("is not answered in the middle of another answer", async () => {
    await using rig = await Rig.start();
    const first = deferred<AppendResult>();
    rig.gateway.onAppend = () => first.promise;
    const connection = await rig.raw(post(credited) + get("/livez"));
    while (rig.gateway.appends.length === 0) await nextTurn();
    connection.socket.write("noise\r\n\r\n");
    expect(await connection.ended).toBe("");
    first.resolve(receipt());
  });
});

describe("H2: senders and readers that take their time", () => {
  const quick = { headersMsMax: 150, requestMsMax: 300, timeoutCheckMs: 25 };

  it("P8: headers that do not end are answered 408", async () => {
    await using rig = await Rig.start({ bounds: quick });
    const connection = await rig.raw("GET /livez HTTP/1.1\r\nhost: loc");
    expect(answerIn(await connection.ended)).toMatchObject({ status: 408, code: "INVALID_REQUEST" });
  });

  it("P8: headers that trickle are answered 408 too", async () => {
    await using rig = await Rig.start({ bounds: quick });
    const connection = await rig.raw("GET /livez HTTP/1.1\r\n");
    const drip = setInterval(() => connection.socket.write("x: y\r\n"), 10);
    const text = await connection.ended;
    clearInterval(drip);
    expect(answerIn(text)).toMatchObject({ status: 408, code: "INVALID_REQUEST" });
  });

  it("P8: a body that does not come is answered 408, and reaches no shard", async () => {
    await using rig = await Rig.start({ bounds: quick });
    const connection = await rig.raw(post(credited, 1_000));
    expect(answerIn(await connection.ended)).toMatchObject({ status: 408, code: "INVALID_REQUEST" });
    expect(rig.gateway.calls).toEqual([]);
  });

  it("P8: a slow second request on a connection is answered 408 as well", async () => {
    await using rig = await Rig.start({ bounds: quick });
    const connection = await rig.raw(get("/livez"));
    await connection.receives('{"live":true}');
    connection.received = "";
    connection.socket.write("GET /li");
    expect(answerIn(await connection.ended)).toMatchObject({ status: 408 });
  });

  it("P8: an idle connection is ended", async () => {
    await using rig = await Rig.start({ bounds: { keepAliveMsMax: 50 } });
    const connection = await rig.raw(get("/livez"));
    expect(await connection.ended).toContain('{"live":true}');
  });

  it("P8: a connection on which nothing moves is ended", async () => {
    await using rig = await Rig.start({ bounds: { silenceMsMax: 100 } });
    rig.gateway.onAppend = () => deferred<AppendResult>().promise;
    const connection = await rig.raw(post(credited));
    expect(await connection.ended).toBe("");
  });

  it("P8: a reader of an export who stops holds it back, and one who leaves ends it", async () => {
    await using rig = await Rig.start();
    // 10 MB a page: more than the kernel takes for a socket that nobody reads.
    rig.gateway.historyLength = 100_000;
    rig.gateway.payloadOf = () => "x".repeat(10_000);
    const reading = await new Promise<IncomingMessage>((resolve, reject) => {
      const path = "/v1/entities/account/alice/export";
      httpRequest({ host: "127.0.0.1", port: rig.port, path, agent: false }, resolve).on("error", reject).end();
    });
    await new Promise((resolve) => reading.once("readable", resolve));
    for (let i = 0; i < 100; i++) await rig.get("/livez");
    expect(rig.gateway.calls.length).toBeLessThan(6);
    reading.on("error", () => {}).destroy();
    while (rig.heldSockets > 0) await nextTurn();
    const calls = rig.gateway.calls.length;
    for (let i = 0; i < 10; i++) await rig.get("/livez");
    expect(rig.gateway.calls.length).toBe(calls);
    expect(rig.logLines.join()).not.toContain("an export broke off");
  });
});

describe("bodies beyond the bound", () => {
  const json = { "content-type": "application/json" };
  const large = "x".repeat(httpBounds.bodyBytesMax + 1);

  it("P7: are answered 413 to a sender that announces the length", async () => {
    await using rig = await Rig.start();
    const response = await fetch(`${rig.url}/v1/append-many`, { method: "POST", headers: json, body: large });
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({
      code: "FRAME_TOO_LARGE",
      facts: { bytes: large.length, bytesMax: httpBounds.bodyBytesMax },
    });
    expect((await rig.get("/livez")).status).toBe(200);
  });

  it("P7: are answered 413 to a sender that does not, and who then may go on", async () => {
    await using rig = await Rig.start({ bounds: { bodyBytesMax: 1_000 } });
    const chunk = `100\r\n${"x".repeat(256)}\r\n`;
    const head = "POST /v1/append-many HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    const connection = await rig.raw(`${head}transfer-encoding: chunked\r\n\r\n${chunk.repeat(5)}`);
    await connection.receives("FRAME_TOO_LARGE");
    connection.socket.write(`${chunk.repeat(2_000)}0\r\n\r\n${get("/livez")}`);
    await connection.receives('{"live":true}');
    connection.socket.destroy();
  });

  it("P8: do not keep coming for ever after they were refused", async () => {
    const bounds = { bodyBytesMax: 1_000, headersMsMax: 150, requestMsMax: 300, timeoutCheckMs: 25 };
    await using rig = await Rig.start({ bounds });
    const connection = await rig.raw(post("x".repeat(2_000), 1e12));
    await connection.receives("FRAME_TOO_LARGE");
    const flood = setInterval(() => connection.socket.write("x".repeat(10_000)), 5);
    await connection.ended;
    clearInterval(flood);
  });

  it("up to the bound are taken", async () => {
    await using rig = await Rig.start();
    const padding = "x".repeat(httpBounds.bodyBytesMax - 60);
    const body = JSON.stringify({ items: [{ entity: "a/b", type: "A", payload: padding }] });
    expect(body.length).toBeLessThanOrEqual(httpBounds.bodyBytesMax);
    const response = await fetch(`${rig.url}/v1/append-many`, { method: "POST", headers: json, body });
    expect(response.status).toBe(200);
  });

  it("are not even sent by a sender that asks first", async () => {
    await using rig = await Rig.start();
    const ask = (length: number): Promise<{ status: number | undefined; invited: boolean }> =>
      new Promise((resolve, reject) => {
        const headers = { ...json, expect: "100-continue", "content-length": length };
        let invited = false;
        const request = httpRequest({
          host: "127.0.0.1",
          port: rig.port,
          path: "/v1/append-many",
          method: "POST",
          headers,
        });
        request.on("continue", () => {
          invited = true;
          request.end('{"items":[]}');
        });
        request.on("response", (response) => {
          resolve({ status: response.statusCode, invited });
          response.resume();
        });
        request.on("error", reject);
        request.flushHeaders();
      });
    expect(await ask(large.length)).toEqual({ status: 413, invited: false });
    expect(await ask(12)).toEqual({ status: 200, invited: true });
  });
});

describe("P8: more than there is room for", () => {
  it("connections are answered 503 with OVERLOADED and Retry-After", async () => {
    await using rig = await Rig.start({ bounds: { connectionsMax: 1 } });
    const held = await rig.raw(get("/livez"));
    await held.receives('{"live":true}');
    const refused = await rig.raw(get("/livez"));
    expect(answerIn(await refused.ended)).toEqual({ status: 503, code: "OVERLOADED", retryAfter: "1" });
    held.socket.destroy();
    while (rig.heldSockets > 0) await nextTurn();
    expect((await rig.get("/livez")).status).toBe(200);
  });

  it("running requests are answered 503, on one connection and over all", async () => {
    await using rig = await Rig.start({ bounds: { requestsMax: 2 } });
    const running = deferred<AppendResult>();
    rig.gateway.onAppend = () => running.promise;
    const connection = await rig.raw(post(credited).repeat(4));
    while (rig.gateway.appends.length < 2) await nextTurn();
    expect(await rig.get("/livez")).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
    running.resolve(receipt());
    await connection.receives("HTTP/1.1 200", 2);
    await connection.receives("OVERLOADED", 2);
    expect(rig.gateway.appends).toHaveLength(2);
    connection.socket.destroy();
    while (rig.heldSockets > 0) await nextTurn();
    expect((await rig.get("/livez")).status).toBe(200);
  });

  it("bytes of bodies are answered 503, and there is room again when the others are answered", async () => {
    await using rig = await Rig.start({ bounds: { bodyBytesInFlightMax: 100 } });
    const running = deferred<AppendResult>();
    rig.gateway.onAppend = () => running.promise;
    const payload = { type: "A", payload: "x".repeat(50) };
    const first = rig.post("/v1/entities/account/a/append", payload);
    while (rig.gateway.appends.length < 1) await nextTurn();
    expect(await rig.post("/v1/entities/account/b/append", payload)).toMatchObject({
      status: 503,
      body: { code: "OVERLOADED", facts: { queue: "request bodies in memory", depthMax: 100 } },
    });
    running.resolve(receipt());
    expect((await first).status).toBe(200);
    while (rig.heldSockets > 0) await nextTurn();
    expect((await rig.post("/v1/entities/account/b/append", payload)).status).toBe(200);
  });

  it("room is given back by senders who leave in the middle", async () => {
    await using rig = await Rig.start({ bounds: { bodyBytesInFlightMax: 100 } });
    for (let i = 0; i < 5; i++) {
      const connection = await rig.raw(post("x".repeat(80), 90));
      while (!(await rig.get("/metrics")).text.includes("heddle_http_body_bytes 80\n")) await nextTurn();
      connection.socket.destroy();
      while (!(await rig.get("/metrics")).text.includes("heddle_http_body_bytes 0\n")) await nextTurn();
    }
  });
});

describe("H3: closing", () => {
  // So late that a spec which needs it to end fails by its own time.
  const patient = { bounds: { closeMsMax: 600_000 } };

  it("ends idle connections at once", async () => {
    await using rig = await Rig.start(patient);
    const idle = await rig.raw(get("/livez"));
    await idle.receives('{"live":true}');
    const half = await rig.raw("GET /live");
    while (rig.heldSockets < 2) await nextTurn();
    await rig.door.close();
    await idle.ended;
    expect(await half.ended).toBe("");
  });

  it("lets running requests finish, refuses new ones, and then ends their connections", async () => {
    await using rig = await Rig.start(patient);
    const running = deferred<AppendResult>();
    rig.gateway.onAppend = () => running.promise;
    const connection = await rig.raw(post(credited));
    while (rig.gateway.appends.length === 0) await nextTurn();
    const closed = rig.door.close();
    const late = await rig.raw(get("/livez"));
    expect(answerIn(await late.ended)).toEqual({ status: 503, code: "CLOSED", retryAfter: "1" });
    running.resolve(receipt());
    const text = await connection.ended;
    expect(text).toContain("200 OK");
    expect(text).toMatch(/^connection: close\r$/im);
    await closed;
  });

  it("works on no request that comes on an open connection afterwards", async () => {
    await using rig = await Rig.start(patient);
    const running = deferred<AppendResult>();
    rig.gateway.onAppend = () => running.promise;
    const connection = await rig.raw(post(credited));
    while (rig.gateway.appends.length === 0) await nextTurn();
    const closed = rig.door.close();
    connection.socket.write(post(credited));
    // A whole round trip on another connection: by then the door has read the second request.
    await (await rig.raw(get("/livez"))).ended;
    running.resolve(receipt());
    await connection.ended;
    await closed;
    expect(rig.gateway.appends).toHaveLength(1);
  });

  it("finishes an export that is under way", async () => {
    await using rig = await Rig.start(patient);
    rig.gateway.historyLength = 2_000;
    const whole = rig.gateway.onHistory;
    const gate = deferred<void>();
    rig.gateway.onHistory = async (fields) => {
      if (fields.from > 1_000) await gate.promise;
      return whole(fields);
    };
    const connection = await rig.raw(get("/v1/entities/account/alice/export"));
    await connection.receives('{"seq":1000,');
    const closed = rig.door.close();
    gate.resolve();
    const text = await connection.ended;
    expect(text.split('{"seq":')).toHaveLength(2_001);
    expect(text.endsWith("\r\n0\r\n\r\n")).toBe(true);
    await closed;
  });

  it("P8: does not wait for ever for a request that never ends", async () => {
    await using rig = await Rig.start({ bounds: { closeMsMax: 50 } });
    rig.gateway.onAppend = () => deferred<AppendResult>().promise;
    const connection = await rig.raw(post(credited));
    while (rig.gateway.appends.length === 0) await nextTurn();
    await rig.door.close();
    expect(await connection.ended).toBe("");
  });

  it("can be asked for twice, and before any connection", async () => {
    await using rig = await Rig.start(patient);
    await Promise.all([rig.door.close(), rig.door.close()]);
    await rig.door.close();
  });

  it("ends the pooled connections of a client that keeps them", async () => {
    await using rig = await Rig.start(patient);
    const agent = new Agent({ keepAlive: true });
    for (let i = 0; i < 3; i++) {
      await new Promise<void>((resolve, reject) => {
        httpRequest({ host: "127.0.0.1", port: rig.port, path: "/livez", agent }, (response) => {
          response.resume().on("end", resolve);
        })
          .on("error", reject)
          .end();
      });
    }
    await rig.door.close();
    expect(rig.heldSockets).toBe(0);
    agent.destroy();
  });
});
