// Goal: every frame has the bytes that the header comment of frames.ts draws, and a stream is cut where it should be.
// Method: golden bytes of one frame of each kind; the splitter against every way to cut a stream.
// Tested elsewhere: bodies (append-body, requests, replies), arbitrary bytes (adversarial).
import { HeddleError } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { writeAppendBody } from "./append-body.ts";
import { writeU32 } from "./bytes.ts";
import {
  FrameSplitter,
  frameOffset,
  preface,
  replyKind,
  requestCall,
  requestFlags,
  requestHash,
  requestKind,
  writeRequestHeader,
} from "./frames.ts";
import {
  writeDeleteBody,
  writeGetAtBody,
  writeImportBody,
  writeListBody,
  writeRestoreBody,
} from "./lifecycle-requests.ts";
import type { Moment } from "./moment.ts";
import {
  encodeErrorReply,
  encodeRejectionReply,
  encodeReply,
  receiptFrameBytes,
  rejection,
  writeReceiptFrame,
} from "./replies.ts";
import { encodeHello, writeExecuteBody, writeGetBody, writeHistoryBody } from "./requests.ts";

type WriteBody = (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number;

function request(kind: number, body: WriteBody, flags = 0): Uint8Array {
  let bytes = new Uint8Array();
  const used = body((wanted) => {
    bytes = new Uint8Array(frameOffset.requestBody + wanted);
    return { bytes, at: frameOffset.requestBody };
  });
  writeU32(bytes, 0, frameOffset.requestBody + used - 4);
  writeRequestHeader(bytes, 0, { kind, flags, hash: 0xa1b2c3d4, call: 0x060504030201 });
  return bytes.subarray(0, frameOffset.requestBody + used);
}

const empty: WriteBody = (reserve) => {
  reserve(0);
  return 0;
};

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
/** Text between the numbers, for the reader. */
const text = (value: string) => hex(new TextEncoder().encode(value));
const header = (length: string, kind: string, flags = "00") => `${length}${kind}${flags}d4c3b2a1010203040506`;

describe("frames: golden bytes", () => {
  const event = { type: "Credited", payload: { amount: 5 } };
  const account = { entity: "account/alice", aggregate: "Account" };

  it("preface", () => {
    expect(hex(preface)).toBe(`c7${text("HEDDLE")}01`);
  });

  it("hello", () => {
    const frame = encodeHello({ version: 1, session: 7, client: "c" });
    expect(hex(frame)).toBe(
      `1f00000001de0003a7${text("version")}01a7${text("session")}07a6${text("client")}a1${text("c")}`,
    );
  });

  it("append of one event", () => {
    const body: WriteBody = (reserve) => writeAppendBody({ ...account, events: [event] }, reserve);
    expect(hex(request(requestKind.append, body))).toBe(
      header("40000000", "02") +
        `0d00${text("account/alice")}07${text("Account")}00` +
        `0108${text("Credited")}0000` +
        `0100000091de0001a6${text("amount")}05`,
    );
  });

  it("append of two types with everything, sent again", () => {
    const fields = {
      ...account,
      events: [event, { type: "Closed", payload: null, schemaVersion: 3 }],
      expectedSeq: 0x0a0b0c0d0e0f,
      id: "i",
      metadata: true,
    };
    const body: WriteBody = (reserve) => writeAppendBody(fields, reserve);
    expect(hex(request(requestKind.append, body, requestFlags.retry))).toBe(
      header("59000000", "02", "01") +
        `0d00${text("account/alice")}07${text("Account")}07` +
        `0f0e0d0c0b0a01${text("i")}` +
        `0208${text("Credited")}000006${text("Closed")}0300` +
        `020000000001` +
        `01000000c3` +
        `92de0001a6${text("amount")}05c0`,
    );
  });

  it("execute", () => {
    const body: WriteBody = (reserve) =>
      writeExecuteBody({ ...account, command: "Withdraw", input: 5, metadata: 1, id: "x" }, reserve);
    expect(hex(request(requestKind.execute, body))).toBe(
      header("35000000", "03") +
        `0d00${text("account/alice")}07${text("Account")}06` +
        `01${text("x")}08${text("Withdraw")}010000000105`,
    );
  });

  it("get", () => {
    const body: WriteBody = (reserve) => writeGetBody(account, reserve);
    expect(hex(request(requestKind.get, body))).toBe(
      `${header("23000000", "04")}0d00${text("account/alice")}07${text("Account")}`,
    );
  });

  it("history", () => {
    const body: WriteBody = (reserve) =>
      writeHistoryBody({ ...account, from: 0x010203, limit: 100, direction: "backward" }, reserve);
    expect(hex(request(requestKind.history, body))).toBe(
      `${header("40000000", "05")}0d00${text("account/alice")}07${text("Account")}0302010000006400000001` +
        "000000000000".repeat(3),
    );
    const ranged: WriteBody = (reserve) =>
      writeHistoryBody({ ...account, from: 1, to: 2, since: 3, until: 4, limit: 5, direction: "forward" }, reserve);
    expect(hex(request(requestKind.history, ranged))).toBe(
      `${header("40000000", "05")}0d00${text("account/alice")}07${text("Account")}0100000000000500000000` +
        "020000000000030000000000040000000000",
    );
  });

  it("getAt, by sequence and by time", () => {
    const at = (moment: Moment): WriteBody => {
      return (reserve) => writeGetAtBody({ ...account, at: moment }, reserve);
    };
    const start = `${header("2a000000", "07")}0d00${text("account/alice")}07${text("Account")}`;
    expect(hex(request(requestKind.getAt, at({ seq: 0x0605 })))).toBe(`${start}00050600000000`);
    expect(hex(request(requestKind.getAt, at({ time: 0x0605 })))).toBe(`${start}01050600000000`);
  });

  it("restore", () => {
    const fields = { entity: "account/alice", at: { seq: 7 }, expectedSeq: 9, id: "i" };
    const body: WriteBody = (reserve) => writeRestoreBody(fields, reserve);
    expect(hex(request(requestKind.restore, body))).toBe(
      `${header("2c000000", "08")}0d00${text("account/alice")}000309000000000001${text("i")}00070000000000`,
    );
  });

  it("delete", () => {
    const body: WriteBody = (reserve) => writeDeleteBody({ entity: "account/alice", provisional: true }, reserve);
    expect(hex(request(requestKind.delete, body))).toBe(`${header("1c000000", "09")}0d00${text("account/alice")}01`);
  });

  it("import: time and trust, then an append", () => {
    const fields = { ...account, events: [{ ...event, schemaVersion: 2 }], time: 0x0605, trusted: true };
    const body: WriteBody = (reserve) => writeImportBody(fields, reserve);
    expect(hex(request(requestKind.import, body))).toBe(
      header("47000000", "0a") +
        `05060000000001` +
        `0d00${text("account/alice")}07${text("Account")}00` +
        `0108${text("Credited")}0200` +
        `0100000091de0001a6${text("amount")}05`,
    );
  });

  it("list", () => {
    const fields = { prefix: "account/", after: "account/a", limit: 0x0102, erased: true };
    const body: WriteBody = (reserve) => writeListBody(fields, reserve);
    expect(hex(request(requestKind.list, body))).toBe(
      `${header("26000000", "0b")}0800${text("account/")}0900${text("account/a")}0201000001`,
    );
  });

  it("types", () => {
    expect(hex(request(requestKind.types, empty))).toBe(header("0c000000", "0c"));
  });

  it("ping", () => {
    expect(hex(request(requestKind.ping, empty))).toBe(header("0c000000", "06"));
  });

  it("receipt", () => {
    const frame = new Uint8Array(receiptFrameBytes);
    writeReceiptFrame(frame, 0, 0x060504030201, 0x0b0a, 7, 3, 0x10, 0x20, true);
    expect(hex(frame)).toBe(
      "2000000042010203040506" + "0a0b" + "070000000000" + "03000000" + "100000000000" + "200000000000" + "01",
    );
  });

  it("rejected", () => {
    const value = rejection("SEQUENCE_CONFLICT", { expectedSeq: 7, actualSeq: 8 });
    expect(hex(encodeRejectionReply(1, value))).toBe(
      `4200000043010000000000de0002a4${text("code")}b1${text("SEQUENCE_CONFLICT")}a5${text("facts")}` +
        `de0002ab${text("expectedSeq")}07a9${text("actualSeq")}08`,
    );
  });

  it("error", () => {
    expect(hex(encodeErrorReply(1, new HeddleError("TIMEOUT", { afterMs: 9 })))).toBe(
      `2900000044010000000000de0002a4${text("code")}a7${text("TIMEOUT")}a5${text("facts")}de0001a7${text("afterMs")}09`,
    );
  });

  it("value, welcome and pong", () => {
    expect(hex(encodeReply(replyKind.value, 1, [1]))).toBe("09000000450100000000009101");
    expect(hex(encodeReply(replyKind.welcome, 0, null))).toBe("0800000041000000000000c0");
    expect(hex(encodeReply(replyKind.pong, 0, null))).toBe("0800000046000000000000c0");
  });

  it("hash and call stand where the listener looks for them", () => {
    const frame = request(requestKind.ping, empty);
    expect(requestHash(frame)).toBe(0xa1b2c3d4);
    expect(requestCall(frame)).toBe(0x060504030201);
  });
});

describe("frames: cutting a stream", () => {
  const options = { frameBytesMax: 100_000, frameBytesMin: 11 };

  /** What a splitter makes of a stream that arrives in these chunks. */
  function split(chunks: readonly Uint8Array[]): string[] {
    const splitter = new FrameSplitter(options);
    const frames: string[] = [];
    for (const chunk of chunks) {
      // A copy that is overwritten afterwards: what a splitter keeps must be its own.
      const lent = chunk.slice();
      splitter.push(lent, (bytes, from, to) => frames.push(hex(bytes.subarray(from, to))));
      lent.fill(0xee);
    }
    return frames;
  }

  const frameOf = (length: number, fill: number) => {
    const frame = new Uint8Array(length).fill(fill);
    writeU32(frame, 0, length - 4);
    return frame;
  };

  it("gives the same frames wherever the stream is cut in two", () => {
    const frames = [frameOf(11, 1), frameOf(40, 2), frameOf(3000, 3), frameOf(12, 4)];
    const stream = Uint8Array.from(frames.flatMap((frame) => [...frame]));
    for (let cut = 0; cut <= stream.length; cut++) {
      expect(split([stream.subarray(0, cut), stream.subarray(cut)])).toEqual(frames.map(hex));
    }
  });

  it("gives the same frames byte by byte, and in any chunks", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 11, max: 5_000 }), { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 4_000 }), { minLength: 1 }),
        (lengths, steps) => {
          const frames = lengths.map((length, index) => frameOf(length, index + 1));
          const stream = Uint8Array.from(frames.flatMap((frame) => [...frame]));
          const chunks: Uint8Array[] = [];
          for (let at = 0, i = 0; at < stream.length; i++) {
            const step = steps[i % steps.length]!;
            chunks.push(stream.subarray(at, at + step));
            at += step;
          }
          expect(split(chunks)).toEqual(frames.map(hex));
        },
      ),
      { numRuns: 60 },
    );
    const frames = [frameOf(11, 1), frameOf(70, 2)];
    const stream = Uint8Array.from(frames.flatMap((frame) => [...frame]));
    expect(split(Array.from(stream, (byte) => Uint8Array.of(byte)))).toEqual(frames.map(hex));
  });

  it("says how much of an unfinished frame it holds", () => {
    const splitter = new FrameSplitter(options);
    const frame = frameOf(50, 1);
    splitter.push(frame.subarray(0, 20), () => undefined);
    expect(splitter.pendingBytes).toBe(20);
    splitter.push(frame.subarray(20), () => undefined);
    expect(splitter.pendingBytes).toBe(0);
  });

  it("P7 refuses a frame that is too long as soon as its length is known", () => {
    const splitter = new FrameSplitter(options);
    splitter.push(Uint8Array.of(0xa1, 0x86, 0x01), () => undefined);
    expect(() => splitter.push(Uint8Array.of(0x00), () => undefined)).toThrowError(
      expect.objectContaining({ code: "FRAME_TOO_LARGE", facts: { bytes: 100_001, bytesMax: 100_000 } }),
    );
  });

  it("P7 refuses a frame that is too short for its header", () => {
    const splitter = new FrameSplitter(options);
    expect(() => splitter.push(Uint8Array.of(6, 0, 0, 0, 1, 2, 3, 4, 5, 6), () => undefined)).toThrowError(
      expect.objectContaining({ code: "BAD_FRAME" }),
    );
  });
});
