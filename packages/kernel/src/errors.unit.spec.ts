// Operating errors: the table is whole, and every error survives the way to another thread or process as data.
// That docs/reference lists the same codes is tested with the documents.

import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { errorSamples as samples } from "../../../test/contract/error-samples.ts";
import {
  type ErrorCode,
  errorTable,
  fromWireError,
  HeddleError,
  isHeddleError,
  ofOperation,
  operationOf,
  toWireError,
  type WireError,
} from "./errors.ts";

const codes = Object.keys(errorTable) as ErrorCode[];
const sampleOf = (code: ErrorCode) => new HeddleError(code, samples[code]);

describe("error table", () => {
  it("has a row for every code that has facts, and no other", () => {
    expect(codes.toSorted()).toEqual(Object.keys(samples).toSorted());
  });

  it.each(codes)("%s: says everything that it knows, then what to do, in whole sentences", (code) => {
    const { message, advice, retryable } = sampleOf(code);
    for (const fact of leavesOf(samples[code])) expect(message).toContain(String(fact));
    expect(message.endsWith(`. ${advice}`)).toBe(true);
    expect(message).not.toMatch(/undefined|\[object|\.\. |NaN/);
    expect(advice).toMatch(/^[A-Z].*[.?]$|^heddle .*\.$/s);
    expect(retryable).toBe(errorTable[code].retryable);
  });

  it.each(codes)("%s: has an HTTP status of its kind", (code) => {
    const { status, retryable } = errorTable[code];
    expect(Number.isInteger(status) && status >= 400 && status < 600).toBe(true);
    // A client's fault is never cured by sending the same again; what a retry can cure is the server's.
    if (status < 500) expect(retryable).toBe(false);
    if (retryable) expect([503, 504, 507]).toContain(status);
  });

  it("leaves out a path that was not given", () => {
    expect(new HeddleError("INVALID_REQUEST", { problem: "it is empty" }).message).toMatch(/^it is empty\. /);
  });

  it("tells an aggregate that is unknown from one that was not named", () => {
    const known = ["Account"];
    expect(new HeddleError("UNKNOWN_AGGREGATE", { aggregate: "", known }).message).toContain("no aggregate was named");
    expect(new HeddleError("UNKNOWN_AGGREGATE", { aggregate: "X", known }).message).toContain('no aggregate "X"');
  });
});

describe("what an error speaks of", () => {
  const issues = [{ path: "amount", message: "must be positive" }];

  it("is a saga or a transaction where an id was used for one, and not what it is within", () => {
    const saga = new HeddleError("ID_REUSED", { entity: "$saga/t-1", id: "t-1" });
    expect(saga.message).toBe(
      'the saga "t-1" was begun before, with other steps or another input. Give every distinct saga an id of its own.',
    );
    const transaction = new HeddleError("ID_REUSED", { entity: "a transaction", id: "t-1" });
    expect(transaction.message).toContain('the transaction "t-1" took effect before');
    expect(transaction.advice).toBe("Give every distinct transaction an id of its own.");
  });

  it("is the input of a saga, where that does not fit", () => {
    const facts = { aggregate: "$saga", type: "transfer", index: 0, issues };
    const { message } = new HeddleError("INVALID_PAYLOAD", facts);
    expect(message).toMatch(/^the input of the saga transfer does not fit its schema: amount: must be positive\. /);
  });

  it("is a saga that is too large, or that goes on, with what helps then", () => {
    const large = new HeddleError("FRAME_TOO_LARGE", { bytes: 2_000_000, bytesMax: 1_048_576, saga: "t-1" });
    expect(large.message).toMatch(
      /^2000000 bytes in the saga "t-1", at most 1048576 are allowed\. Write what is large /,
    );
    const late = new HeddleError("TIMEOUT", { afterMs: 1_500, saga: "t-1" });
    expect(late.message).toMatch(
      /^no answer within 1500 ms; the saga "t-1" goes on if it has begun\. heddle sagas show/,
    );
    expect(fromWireError(toWireError(late)).message).toBe(late.message);
  });

  it("is one operation of a transaction, with its entity", () => {
    const facts = { aggregate: "Account", type: "Credited", index: 0, issues };
    const error = ofOperation(new HeddleError("INVALID_PAYLOAD", facts), 1, "account/bob");
    expect(error.message).toMatch(
      /^operation 1, account\/bob: payload of Account.Credited \(number 0 of the operation\) /,
    );
    expect(operationOf(error)).toBe(1);
    expect(ofOperation(error, undefined, "account/bob").message).toMatch(/^account\/bob: payload /);
    const slip = new HeddleError("UNKNOWN_KIND", { entity: "acount/bob", kind: "acount", known: ["account"] });
    expect(ofOperation(slip, 1, "acount/bob").message).toMatch(/^operation 1, acount\/bob does not exist, /);
    const held = new HeddleError("ENTITY_HELD", { entity: "account/bob", heldMs: 5 });
    expect(ofOperation(held, 1, "account/bob")).toBe(held);
    expect(operationOf(held)).toBeUndefined();
  });
});

describe("HeddleError", () => {
  it("is an Error with a name, a code, facts and a cause", () => {
    const cause = new Error("ENOSPC");
    const error = new HeddleError("DISK_FULL", samples.DISK_FULL, { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: "HeddleError", code: "DISK_FULL", facts: samples.DISK_FULL, cause });
    expect(String(error)).toMatch(/^HeddleError: no room on the disk/);
  });

  it("is told by its code", () => {
    const error: unknown = sampleOf("DISK_FULL");
    expect(isHeddleError(error, "DISK_FULL") && error.facts.path).toBe("/data/shard-3");
    expect(isHeddleError(error, "TIMEOUT")).toBe(false);
    expect(isHeddleError({ code: "DISK_FULL" }, "DISK_FULL")).toBe(false);
    expect(isHeddleError(undefined, "DISK_FULL")).toBe(false);
  });
});

describe("errors as data", () => {
  const packr = new Packr({ useRecords: false });
  const roads: Record<string, (wire: WireError) => WireError> = {
    "between threads": (wire) => structuredClone(wire),
    "over a socket, as msgpack": (wire) => packr.unpack(packr.pack(wire)),
    "over HTTP, as JSON": (wire) => JSON.parse(JSON.stringify(wire)),
  };

  describe.each(Object.entries(roads))("%s", (_, road) => {
    it.each(codes)("%s arrives as it left", (code) => {
      const left = sampleOf(code);
      const arrived = fromWireError(road(toWireError(left)));
      expect(arrived).toBeInstanceOf(HeddleError);
      const shown = ({ name, code, facts, retryable, advice, message }: HeddleError) => ({
        name,
        code,
        facts,
        retryable,
        advice,
        message,
      });
      expect(shown(arrived)).toEqual(shown(left));
      expect(isHeddleError(arrived, code)).toBe(true);
    });
  });

  it("leaves stack and cause behind: they are the sender's", () => {
    const wire = toWireError(new HeddleError("TIMEOUT", { afterMs: 1 }, { cause: new Error("secret") }));
    expect(wire).toEqual({ code: "TIMEOUT", facts: { afterMs: 1 } });
  });

  it.each([
    ["a code of a later version", { code: "QUOTA_EXCEEDED", facts: { limit: 3 } }],
    ["a name that every object has", { code: "toString", facts: {} }],
    ["facts of another shape", { code: "INVALID_PAYLOAD", facts: { amount: 1 } }],
    ["facts that are missing", { code: "DISK_FULL" }],
    ["no error at all", null],
  ])("turns %s into OUTCOME_UNKNOWN, and shows what came", (_, wire) => {
    const error = fromWireError(wire as WireError);
    expect(error.code).toBe("OUTCOME_UNKNOWN");
    expect(error.message).toContain(JSON.stringify(wire));
  });

  it("P7: whatever arrives, the outcome is a HeddleError", () => {
    const anything = fc.oneof(
      fc.jsonValue(),
      fc.record({ code: fc.constantFrom(...codes, "constructor", "__proto__"), facts: fc.jsonValue() }),
    );
    fc.assert(
      fc.property(anything, (wire) => {
        const error = fromWireError(wire as unknown as WireError);
        expect(error).toBeInstanceOf(HeddleError);
        expect(codes).toContain(error.code);
      }),
      { numRuns: 2000 },
    );
  });
});

/** Every single fact as people read it, but for the number of an event within its call, which only programs need. */
function leavesOf(value: unknown, name = ""): unknown[] {
  if (typeof value !== "object" || value === null) {
    return [name === "time" ? new Date(value as number).toISOString() : value];
  }
  return Object.entries(value).flatMap(([field, inner]) => (field === "index" ? [] : leavesOf(inner, field)));
}
