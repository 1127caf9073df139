// Goal: a reply says to the client what the node said. Golden bytes: frames.unit.spec.ts.
import { HeddleError } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { u48Max } from "./bytes.ts";
import { replyKind } from "./frames.ts";
import {
  encodeErrorReply,
  encodeRejectionReply,
  encodeReply,
  type Rejection,
  type Reply,
  readReply,
  receiptFrameBytes,
  rejection,
  writeReceiptFrame,
} from "./replies.ts";

const read = (frame: Uint8Array): Reply => readReply(frame, 0, frame.length);
const isBadFrame = (frame: Uint8Array) =>
  expect(() => read(frame)).toThrowError(expect.objectContaining({ code: "BAD_FRAME" }));

describe("replies: round trip", () => {
  it("receipts of any numbers", () => {
    const u48 = fc.oneof(fc.nat(), fc.bigInt({ min: 0n, max: BigInt(u48Max) }).map(Number));
    fc.assert(
      fc.property(
        u48,
        fc.integer({ min: 0, max: 0xffff }),
        u48,
        fc.integer({ min: 1, max: 10_000 }),
        u48,
        u48,
        fc.boolean(),
        (call, shard, firstSeq, count, position, time, duplicate) => {
          const frame = new Uint8Array(receiptFrameBytes);
          writeReceiptFrame(frame, 0, call, shard, firstSeq, count, position, time, duplicate);
          expect(read(frame)).toStrictEqual({
            kind: "receipt",
            call,
            receipt: { ok: true, seq: firstSeq + count - 1, firstSeq, count, shard, position, time, duplicate },
          });
        },
      ),
    );
  });

  it("rejections, with the sentence made from the facts", () => {
    const details = { balance: 3 };
    const all: Rejection[] = [
      rejection("INVARIANT_VIOLATED", { aggregate: "Account", rule: "never negative", index: 2 }),
      rejection("SEQUENCE_CONFLICT", { expectedSeq: 1, actualSeq: 2 }),
      rejection("COMMAND_REJECTED", { command: "Withdraw", reason: "TOO_LITTLE", details }),
    ];
    for (const value of all) {
      expect(read(encodeRejectionReply(9, value))).toStrictEqual({ kind: "rejected", call: 9, rejection: value });
    }
    expect(all[0]!.message).toBe('event 2 would break the rule "never negative" of Account');
  });

  it("a transaction's rejection, with the one that an operation was given inside", () => {
    const inner = rejection("COMMAND_REJECTED", { command: "Withdraw", reason: "TOO_LITTLE", details: { balance: 3 } });
    const facts = { operation: 1, entity: "account/alice", rejection: inner };
    const value = rejection("TRANSACTION_REJECTED", facts);
    expect(value.message).toBe(
      "nothing was written, for operation 1, on account/alice: Withdraw was rejected: TOO_LITTLE",
    );
    expect(read(encodeRejectionReply(9, value))).toStrictEqual({ kind: "rejected", call: 9, rejection: value });
    for (const wrong of [
      { ...facts, operation: "1" },
      { ...facts, entity: 5 },
      { ...facts, rejection: value },
      { ...facts, rejection: null },
      { ...facts, rejection: { code: "COMMAND_REJECTED" } },
    ]) {
      isBadFrame(encodeReply(replyKind.rejected, 9, { code: "TRANSACTION_REJECTED", facts: wrong }));
    }
  });

  it("errors, rebuilt from their code with facts, sentence and whether a retry can help", () => {
    const error = new HeddleError("OVERLOADED", { queue: "mailbox", depth: 5, depthMax: 5 });
    const reply = read(encodeErrorReply(9, error)) as Extract<Reply, { kind: "error" }>;
    expect(reply.error).toBeInstanceOf(HeddleError);
    expect(reply.error).toMatchObject({
      code: "OVERLOADED",
      facts: error.facts,
      message: error.message,
      retryable: true,
    });
  });

  it("an error that this version does not know has an unknown outcome", () => {
    const reply = read(encodeReply(replyKind.error, 9, { code: "FROM_THE_FUTURE", facts: {} }));
    expect(reply).toMatchObject({ kind: "error", error: { code: "OUTCOME_UNKNOWN" } });
  });

  it("values, welcomes and pongs", () => {
    const value = [{ a: [1, null, "x"] }, true];
    expect(read(encodeReply(replyKind.value, 3, value))).toEqual({ kind: "value", call: 3, value });
    expect(read(encodeReply(replyKind.welcome, 0, value))).toEqual({ kind: "welcome", call: 0, value });
    expect(read(encodeReply(replyKind.pong, 0, null))).toEqual({ kind: "pong", call: 0 });
  });
});

describe("replies: P7 refuses", () => {
  it("a reply that is too short, of an unknown kind, or a receipt of another length", () => {
    isBadFrame(new Uint8Array(10));
    isBadFrame(encodeReply(99, 1, null));
    isBadFrame(encodeReply(replyKind.receipt, 1, null));
  });

  it("facts that do not fit their code, whatever the sentence about them would run into", () => {
    const wrong = [
      null,
      "text",
      {},
      { code: 5, facts: {} },
      { code: "SEQUENCE_CONFLICT" },
      { code: "SEQUENCE_CONFLICT", facts: null },
      { code: "INVARIANT_VIOLATED", facts: { rule: 10n } },
      { code: "COMMAND_REJECTED", facts: { reason: { toString: 1 } } },
      { code: "toString", facts: {} },
    ];
    for (const value of wrong) isBadFrame(encodeReply(replyKind.rejected, 1, value));
    isBadFrame(encodeReply(replyKind.error, 1, null));
    isBadFrame(encodeReply(replyKind.error, 1, { code: { toString: 1 }, facts: {} }));
  });

  it("no error of a later version: it becomes OUTCOME_UNKNOWN, whatever its facts are", () => {
    const frame = encodeReply(replyKind.error, 1, { code: "FROM_THE_FUTURE", facts: 10n });
    expect(readReply(frame, 0, frame.length)).toMatchObject({ kind: "error", error: { code: "OUTCOME_UNKNOWN" } });
  });
});
