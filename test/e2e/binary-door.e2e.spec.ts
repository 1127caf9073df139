// Goal: whatever arrives on the binary protocol, the answer is a typed error and nothing has changed (P7).
// Method: a real node, real sockets, bytes made by hand. Decoders by themselves: packages/protocol. HTTP: packages/runtime.
import { limits } from "@heddle/kernel";
import { encodeValue, preface, requestFlags, requestKind, writeU16, writeU32 } from "@heddle/protocol/internal";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestNode, type TestNode } from "../support/node.ts";
import {
  appendBody,
  appendFrame,
  frameOf,
  helloFrame,
  RawClient,
  requestFrame,
  transactBody,
} from "../support/raw-client.ts";

let node: TestNode;
beforeAll(async () => {
  node = await startTestNode({ shards: 2, threads: 1 });
});
afterAll(() => node[Symbol.asyncDispose]());

const credit = (amount: number) => ({ type: "Credited", payload: { amount } });

async function eventsWritten(): Promise<number> {
  return (await node.stats()).reduce((sum, shard) => sum + shard.events, 0);
}

/** Sends one request on an open connection and gives its answer; asserts that nothing was written. */
async function refusalOf(frame: Uint8Array) {
  const before = await eventsWritten();
  const client = await RawClient.open(node.port);
  client.send(frame);
  const reply = await client.reply(1);
  client.destroy();
  expect(await eventsWritten()).toBe(before);
  return reply.kind === "error" ? reply.error : reply;
}

describe("binary door: handshake", () => {
  it("P7: a connection that begins with another protocol version is told which are supported, and closed", async () => {
    const client = await RawClient.connect(node.port);
    const other = preface.slice();
    other[7] = 9;
    client.send(other);
    const reply = await client.reply(0);
    expect(reply).toMatchObject({
      kind: "error",
      call: 0,
      error: { code: "UNSUPPORTED_VERSION", facts: { found: 9 } },
    });
    await client.closed;
  });

  it("P7: a connection that begins with a broken preface is refused and closed", async () => {
    const client = await RawClient.connect(node.port);
    client.send(Uint8Array.of(0xc7, 0x48, 0x00));
    expect(await client.reply(0)).toMatchObject({ kind: "error", error: { code: "BAD_FRAME" } });
    await client.closed;
  });

  it.each([
    ["that is not msgpack", frameOf(requestKind.hello, Uint8Array.of(0xc1)), "BAD_FRAME"],
    ["that is not a map", helloFrame([1]), "BAD_FRAME"],
    ["without a session", helloFrame({ version: 1, client: "x" }), "BAD_FRAME"],
    ["with a session out of range", helloFrame({ version: 1, session: 2 ** 53, client: "x" }), "BAD_FRAME"],
    ["of another version", helloFrame({ version: 7, session: 1, client: "x" }), "UNSUPPORTED_VERSION"],
    ["for another context", helloFrame({ version: 1, session: 1, client: "x", context: "shop" }), "UNKNOWN_CONTEXT"],
  ])("P7: a hello %s is refused and the connection closed", async (_, frame, code) => {
    const client = await RawClient.connect(node.port);
    client.send(preface, frame);
    expect(await client.reply(0)).toMatchObject({ kind: "error", call: 0, error: { code } });
    await client.closed;
  });

  it("P7: a request before the hello is refused", async () => {
    const client = await RawClient.connect(node.port);
    client.send(preface, appendFrame(1, "account/early", [credit(1)]));
    expect(await client.reply(0)).toMatchObject({ kind: "error", error: { code: "BAD_FRAME" } });
    await client.closed;
  });

  it("works when it arrives one byte at a time", async () => {
    const client = await RawClient.connect(node.port);
    const all = [
      preface,
      helloFrame({ version: 1, session: 7, client: "slow" }),
      appendFrame(1, "account/slow", [credit(5)]),
    ];
    for (const part of all) for (const byte of part) client.send(Uint8Array.of(byte));
    expect(await client.reply(0)).toMatchObject({
      kind: "welcome",
      value: { context: "bank", shardCount: 2, durability: "fsync" },
    });
    expect(await client.reply(1)).toMatchObject({ kind: "receipt", call: 1, receipt: { seq: 1 } });
    client.destroy();
  });
});

describe("binary door: frames", () => {
  it("P7: a frame longer than the limit is refused by its length alone, and the connection closed", async () => {
    const client = await RawClient.open(node.port);
    const head = new Uint8Array(4);
    writeU32(head, 0, limits.frameBytesMax + 1);
    client.send(head);
    expect(await client.reply(1)).toMatchObject({
      kind: "error",
      call: 0,
      error: { code: "FRAME_TOO_LARGE", facts: { bytesMax: limits.frameBytesMax } },
    });
    await client.closed;
  });

  it("P7: a frame too short for its header is refused and the connection closed", async () => {
    const client = await RawClient.open(node.port);
    client.send(frameOf(requestKind.append, new Uint8Array(3)));
    expect(await client.reply(1)).toMatchObject({ kind: "error", call: 0, error: { code: "BAD_FRAME" } });
    await client.closed;
  });

  it("P7: a connection cut in the middle of a frame leaves nothing behind", async () => {
    const before = await eventsWritten();
    const client = await RawClient.open(node.port);
    const frame = appendFrame(1, "account/cut", [credit(1)]);
    client.send(frame.subarray(0, frame.length - 1));
    client.destroy();
    await client.closed;
    expect(await eventsWritten()).toBe(before);
  });

  it("P7: an unknown kind of request is refused, and the connection goes on", async () => {
    const client = await RawClient.open(node.port);
    client.send(requestFrame(50, 1, "account/a", new Uint8Array(1)), appendFrame(2, "account/goes-on", [credit(1)]));
    expect(await client.reply(1)).toMatchObject({ kind: "error", call: 1, error: { code: "BAD_FRAME" } });
    expect(await client.reply(2)).toMatchObject({ kind: "receipt", call: 2 });
    client.destroy();
  });

  it("P7: an append body cut at any byte is refused", async () => {
    const before = await eventsWritten();
    const client = await RawClient.open(node.port, 99);
    const body = appendBody("account/cut-body", [credit(1)], { id: "one", expectedSeq: 0 });
    for (let length = 0; length < body.length; length++) {
      client.send(requestFrame(requestKind.append, length + 1, "account/cut-body", body.subarray(0, length)));
    }
    for (let length = 0; length < body.length; length++) {
      expect(await client.reply(length + 1)).toMatchObject({ kind: "error", error: { code: "BAD_FRAME" } });
    }
    client.destroy();
    expect(await eventsWritten()).toBe(before);
  });
});

describe("binary door: transactions", () => {
  const read = { kind: "read", entity: "account/x", aggregate: "Account", wantsState: true } as const;
  const append = { kind: "append", entity: "account/x", aggregate: "Account", events: [credit(1)] } as const;
  const execute = {
    kind: "execute",
    entity: "account/x",
    aggregate: "Account",
    command: "Deposit",
    input: { amount: 1 },
  } as const;
  const send = (body: Uint8Array) => refusalOf(requestFrame(requestKind.transact, 1, "account/x", body));

  it("P7: a body cut at any byte is refused", async () => {
    const before = await eventsWritten();
    const client = await RawClient.open(node.port, 98);
    const body = transactBody({ operations: [read, append, execute], id: "one" });
    for (let length = 0; length < body.length; length++) {
      client.send(requestFrame(requestKind.transact, length + 1, "account/x", body.subarray(0, length)));
    }
    for (let length = 0; length < body.length; length++) {
      expect(await client.reply(length + 1)).toMatchObject({ kind: "error", error: { code: "BAD_FRAME" } });
    }
    client.destroy();
    expect(await eventsWritten()).toBe(before);
  });

  it("P7: an operation whose own body is cut, in the middle of a frame that is whole, is refused", async () => {
    for (const operation of [append, execute, read]) {
      const whole = transactBody({ operations: [operation] });
      const head = 3 + 5;
      for (let cut = 1; cut < whole.length - head; cut++) {
        const body = whole.slice(0, whole.length - cut);
        writeU32(body, head - 4, body.length - head);
        expect(await send(body), `${operation.kind}, ${cut} bytes`).toMatchObject({ code: "BAD_FRAME" });
      }
    }
  });

  it.each([
    ["an id of its own in an operation", appendBody("account/x", [credit(1)], { id: "mine" }), "INVALID_REQUEST"],
    ["an entity without a slash", appendBody("account", [credit(1)]), "INVALID_ENTITY_ID"],
    ["one of Heddle's own entities", appendBody("$saga/x", [credit(1)]), "INVALID_REQUEST"],
    ["the name of the journal", appendBody("$transaction", [credit(1)]), "INVALID_ENTITY_ID"],
    ["a payload that does not fit", appendBody("account/x", [credit(-1)]), "INVALID_PAYLOAD"],
  ])("P7: %s is refused", async (_, inner, code) => {
    const body = new Uint8Array(3 + 5 + inner.length);
    writeU16(body, 1, 1);
    body[3] = requestKind.append;
    writeU32(body, 4, inner.length);
    body.set(inner, 8);
    expect(await send(body)).toMatchObject({ code });
  });
});

describe("binary door: appends", () => {
  it.each([
    ["an unknown aggregate", appendFrame(1, "account/x", [credit(1)], { aggregate: "Acount" }), "UNKNOWN_AGGREGATE"],
    ["an unknown event type", appendFrame(1, "account/x", [{ type: "Stolen", payload: {} }]), "UNKNOWN_EVENT_TYPE"],
    ["a payload that is not of its schema", appendFrame(1, "account/x", [credit(-1)]), "INVALID_PAYLOAD"],
    [
      "a payload that is nothing",
      appendFrame(1, "account/x", [{ type: "Credited", payload: null }]),
      "INVALID_PAYLOAD",
    ],
  ])("P7: %s is refused", async (_, frame, code) => {
    expect(await refusalOf(frame)).toMatchObject({ code });
  });

  it("P7: a payload error says which event, which path and what was wanted", async () => {
    const refusal = await refusalOf(appendFrame(1, "account/x", [credit(1), credit(0.5)]));
    expect(refusal).toMatchObject({
      code: "INVALID_PAYLOAD",
      facts: { type: "Credited", index: 1, issues: [{ path: "amount" }] },
    });
  });

  it.each([
    ["without a slash", "account"],
    ["without a name", "account/"],
    ["without a kind", "/alice"],
    ["with a control character", "account/a\nb"],
    ["with an upper-case kind", "Account/alice"],
    ["that is too long", `account/${"x".repeat(limits.entityIdBytesMax)}`],
    ["that is empty", ""],
  ])("P7: an entity id %s is refused", async (_, entity) => {
    const body = appendBody(entity, [credit(1)]);
    expect(await refusalOf(requestFrame(requestKind.append, 1, "account/x", body))).toMatchObject({
      code: "INVALID_ENTITY_ID",
    });
  });

  it("P7: an entity sent to a shard that does not own it is refused", async () => {
    const owned = ["account/a", "account/b", "account/c", "account/d"];
    const answers = await Promise.all(owned.map((entity) => refusalOrReceipt(entity)));
    expect(answers.filter((code) => code === "BAD_FRAME").length).toBeGreaterThan(0);
    expect(answers.every((code) => code === "BAD_FRAME" || code === "INVALID_PAYLOAD")).toBe(true);
  });

  // The header carries the hash of account/a, the body another entity: routed to a shard that may not own it.
  async function refusalOrReceipt(entity: string): Promise<string> {
    const body = appendBody(entity, [credit(-1)]);
    const refusal = await refusalOf(requestFrame(requestKind.append, 1, "account/a", body));
    return (refusal as { code: string }).code;
  }

  it("P7: payloads that are no msgpack, nested 10,000 deep, or use msgpack records are refused", async () => {
    const good = appendBody("account/x", [credit(1)]);
    const payloadsFrom = good.length - encodeValue([{ amount: 1 }]).length;
    const withPayload = (payload: Uint8Array) => {
      const body = new Uint8Array(payloadsFrom + payload.length);
      body.set(good.subarray(0, payloadsFrom));
      body.set(payload, payloadsFrom);
      return requestFrame(requestKind.append, 1, "account/x", body);
    };
    const record = Uint8Array.of(0x91, 0xd4, 0x72, 0x40, 0x91, 0xa6, 0x61, 0x6d, 0x6f, 0x75, 0x6e, 0x74, 0x01);
    for (const payload of [
      Uint8Array.of(0xc1),
      new Uint8Array(10_000).fill(0x91),
      new Uint8Array(10_000).fill(0x81),
      record,
    ]) {
      expect(await refusalOf(withPayload(payload))).toMatchObject({ code: "BAD_FRAME" });
    }
  });

  it("P7: a count of events that does not match the payloads is refused", async () => {
    const body = appendBody("account/x", [credit(1), credit(2)]).slice();
    const at = body.length - encodeValue([{ amount: 1 }, { amount: 2 }]).length - 4;
    writeU32(body, at, 3);
    expect(await refusalOf(requestFrame(requestKind.append, 1, "account/x", body))).toMatchObject({
      code: "BAD_FRAME",
    });
  });

  it("P4: a call sent twice with the retry flag takes effect once and gives the first receipt again", async () => {
    const client = await RawClient.open(node.port, 1234);
    const frame = appendFrame(1, "account/twice", [credit(7)]);
    client.send(frame);
    const first = await client.reply(1);
    client.destroy();
    const again = await RawClient.open(node.port, 1234);
    again.send(appendFrame(1, "account/twice", [credit(7)], { flags: requestFlags.retry }));
    const second = await again.reply(1);
    again.send(appendFrame(1, "account/twice", [credit(8)], { flags: requestFlags.retry }));
    expect(await again.reply(2)).toMatchObject({ kind: "error", error: { code: "ID_REUSED" } });
    again.destroy();
    if (first.kind !== "receipt" || second.kind !== "receipt") throw new Error("wanted two receipts");
    expect(second.receipt).toEqual({ ...first.receipt, duplicate: true });
  });

  it("P7: an entity id that is not UTF-8 is refused", async () => {
    const body = appendBody("account/xx", [credit(1)]).slice();
    body[2 + "account/x".length] = 0xff;
    expect(await refusalOf(requestFrame(requestKind.append, 1, "account/x", body))).toMatchObject({
      code: "BAD_FRAME",
    });
  });

  it("P7: an entity length that points past the frame is refused", async () => {
    const body = appendBody("account/x", [credit(1)]).slice();
    writeU16(body, 0, 65_535);
    expect(await refusalOf(requestFrame(requestKind.append, 1, "account/x", body))).toMatchObject({
      code: "BAD_FRAME",
    });
  });
});
