// Goal: what a client writes into a transaction is what the node reads out of it, and what comes back means what it says.
// Tested elsewhere: the bodies of appends and executes (append-body, requests), bytes of any kind (test/fuzz).
import { type EntityId, HeddleError, hashEntity, limits } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newAppendView, readAppendBody } from "./append-body.ts";
import { TextCache, u48Max } from "./bytes.ts";
import { requestKind } from "./frames.ts";
import { decodeValue } from "./payload-codec.ts";
import { newExecuteView, readExecuteBody } from "./requests.ts";
import {
  hashOfTransaction,
  newTransactView,
  readTransactBody,
  readTransaction,
  readTransactRead,
  receiptOfOperation,
  type TransactFields,
  type TransactOperation,
  transactFlags,
  writeTransactBody,
} from "./transaction-requests.ts";

const texts = new TextCache();

function write(fields: TransactFields): Uint8Array {
  let room = new Uint8Array();
  const used = writeTransactBody(fields, (wanted) => {
    room = new Uint8Array(3 + wanted).fill(0xee);
    return { bytes: room, at: 3 };
  });
  expect(used).toBeLessThanOrEqual(room.length - 3);
  return room.slice(3, 3 + used);
}

/** What a body says, in the shape of the fields that it was made of. */
function read(bytes: Uint8Array): TransactFields {
  const padded = new Uint8Array(bytes.length + 3).fill(9);
  padded.set(bytes, 2);
  const view = newTransactView();
  readTransactBody(padded, 2, padded.length - 1, texts, view);
  const operations = Array.from({ length: view.operationCount }, (_, i) =>
    readOperation(padded, view.kinds[i]!, view.froms[i]!, view.tos[i]!),
  );
  return { operations, id: view.id === "" ? undefined : view.id };
}

function readOperation(bytes: Uint8Array, kind: number, from: number, to: number): TransactOperation {
  const seqOf = (seq: number) => (seq < 0 ? undefined : seq);
  if (kind === requestKind.append) {
    const view = newAppendView();
    readAppendBody(bytes, from, to, texts, view);
    expect(view.id).toBe("");
    const payloads = decodeValue(bytes.subarray(view.payloadsFrom, view.end)) as unknown[];
    const typeOf = (i: number) => view.types[view.typeIndexes === 0 ? 0 : bytes[view.typeIndexes + i]!]!;
    const events = payloads.map((payload, i) => ({ type: typeOf(i), payload }));
    return {
      kind: "append",
      entity: view.entity,
      aggregate: view.aggregate,
      events,
      expectedSeq: seqOf(view.expectedSeq),
    };
  }
  if (kind === requestKind.execute) {
    const view = newExecuteView();
    readExecuteBody(bytes, from, to, texts, view);
    expect(view.id).toBe("");
    const { entity, aggregate, command } = view;
    const input = decodeValue(bytes.subarray(view.inputFrom, view.end));
    return { kind: "execute", entity, aggregate, command, input, expectedSeq: seqOf(view.expectedSeq) };
  }
  expect(kind).toBe(requestKind.get);
  const { expectedSeq, ...fields } = readTransactRead(bytes, from, to, texts);
  return { kind: "read", ...fields, expectedSeq: seqOf(expectedSeq) };
}

const name = fc.string({ unit: "grapheme", maxLength: 12 }).filter((text) => text.isWellFormed());
const entity = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).filter((text) => text.isWellFormed());
const seq = fc.option(fc.oneof(fc.nat(), fc.constant(u48Max)), { nil: undefined });
const value = fc.oneof(fc.integer(), fc.array(fc.boolean()), fc.string({ maxLength: 300 }));
const operation: fc.Arbitrary<TransactOperation> = fc.oneof(
  fc.record({
    kind: fc.constant("append" as const),
    entity,
    aggregate: name,
    events: fc.array(fc.record({ type: name, payload: value }), { minLength: 1, maxLength: 5 }),
    expectedSeq: seq,
  }),
  fc.record({
    kind: fc.constant("execute" as const),
    entity,
    aggregate: name,
    command: name,
    input: value,
    expectedSeq: seq,
  }),
  fc.record({
    kind: fc.constant("read" as const),
    entity,
    aggregate: name,
    expectedSeq: seq,
    wantsState: fc.boolean(),
  }),
);

const alice = { kind: "append", entity: "account/alice", aggregate: "Account" } as const;
const credited = { ...alice, events: [{ type: "Credited", payload: { amount: 5 } }] } as const;
const look = { kind: "read", entity: "account/a", aggregate: "", wantsState: false } as const;

const refused = (fields: TransactFields): HeddleError => {
  try {
    write(fields);
  } catch (error) {
    expect(error).toBeInstanceOf(HeddleError);
    return error as HeddleError;
  }
  throw new Error("it was written");
};

describe("transact: round trip", () => {
  it("gives back every operation, in order, and the id", () => {
    const fields = fc.record({
      operations: fc.array(operation, { minLength: 1, maxLength: 8 }),
      id: fc.option(
        name.filter((id) => id !== ""),
        { nil: undefined },
      ),
    });
    fc.assert(
      fc.property(fields, (given) => {
        expect(read(write(given))).toEqual(given);
      }),
    );
  });

  it("bodies beyond the room that is kept ready come through whole, and so do small ones after them", () => {
    const large = { ...credited, events: [{ type: "Noted", payload: "é".repeat(200_000) }] };
    const given = { operations: [credited, large, look, large, credited] };
    expect(read(write(given)).operations).toMatchObject(given.operations);
    expect(read(write({ operations: [look] })).operations).toEqual([look]);
  });

  it("bodies are not disturbed by a transaction that a payload makes while they are written", () => {
    const alone = write({ operations: [look, credited, credited] });
    let inner: Uint8Array = new Uint8Array();
    const payload = {
      get amount() {
        inner = write({ operations: [look, credited, credited] });
        return 5;
      },
    };
    const outer = write({ operations: [look, { ...alice, events: [{ type: "Credited", payload }] }, credited] });
    expect([inner, outer]).toEqual([alone, alone]);
  });

  it("conditions go before the operations, as reads, and are no part of the places that a refusal names", () => {
    const conditions = [
      { entity: "account/a", expectedSeq: 0 },
      { entity: "account/b", expectedSeq: u48Max },
    ];
    const reads = conditions.map((one) => ({ kind: "read", aggregate: "", wantsState: false, ...one }));
    expect(read(write({ conditions, operations: [credited] })).operations).toMatchObject([...reads, credited]);
    expect(read(write({ conditions, operations: [] })).operations).toEqual(reads);
    const bad = { conditions, operations: [{ ...credited, expectedSeq: -1 }] };
    expect(refused(bad)).toMatchObject({ facts: { path: "operations.0.expectedSeq" } });
  });

  it("says at its first byte whether states are wanted, whatever else there is", () => {
    const long = { ...look, wantsState: true } as const;
    const flagsOf = (fields: TransactFields) => write(fields)[0];
    expect(flagsOf({ operations: [look, credited] })).toBe(0);
    expect(flagsOf({ operations: [look, credited], id: "x" })).toBe(transactFlags.id);
    expect(flagsOf({ operations: [credited, long] })).toBe(transactFlags.long);
    expect(flagsOf({ operations: [long], id: "x" })).toBe(transactFlags.id | transactFlags.long);
  });

  it("an operation never carries an id of its own", () => {
    const withId = { ...credited, id: "an id" } as TransactOperation;
    expect(read(write({ operations: [withId] }))).toMatchObject({ operations: [credited], id: undefined });
  });
});

describe("transact: bounds (P7)", () => {
  it("refuses no operations, and more than may be, before anything is encoded", () => {
    expect(refused({ operations: [] })).toMatchObject({ code: "INVALID_REQUEST", facts: { path: "operations" } });
    const many = new Array<TransactOperation>(limits.transactionOperationsMax).fill(look);
    expect(read(write({ operations: many })).operations).toHaveLength(limits.transactionOperationsMax);
    expect(refused({ operations: [...many, look] })).toMatchObject({ facts: { path: "operations" } });
  });

  it("names the operation that cannot be written, and what of it", () => {
    const bad: [TransactOperation, string][] = [
      [{ ...credited, expectedSeq: -1 }, "operations.1.expectedSeq"],
      [{ ...credited, events: [] }, "operations.1"],
      [{ ...look, expectedSeq: 1.5 } as TransactOperation, "operations.1.expectedSeq"],
      [{ ...look, aggregate: "x".repeat(129) } as TransactOperation, "operations.1.aggregate"],
    ];
    for (const [one, path] of bad) {
      expect(refused({ operations: [look, one] })).toMatchObject({ code: "INVALID_REQUEST", facts: { path } });
    }
    for (const id of ["", "x".repeat(201), "\ud800"]) {
      expect(refused({ operations: [look], id })).toMatchObject({ code: "INVALID_REQUEST", facts: { path: "id" } });
    }
    expect(read(write({ operations: [look], id: "x".repeat(200) })).id).toHaveLength(200);
  });

  it("refuses more bytes than a frame may have", () => {
    const large = { ...credited, events: [{ type: "Noted", payload: "x".repeat(1_000_000) }] };
    const operations = new Array<TransactOperation>(17).fill(large);
    expect(refused({ operations })).toMatchObject({ code: "FRAME_TOO_LARGE" });
  });

  it("readers refuse flags and kinds that there are not, no operations, and bytes behind the last", () => {
    const bytes = write({ operations: [look] });
    const kindAt = 3;
    const flagsAt = bytes.length - 1;
    for (const [what, body] of Object.entries({
      flags: bytes.with(0, 4),
      kind: bytes.with(kindAt, requestKind.history),
      "read flags": bytes.with(flagsAt, 4),
      none: Uint8Array.of(0, 0, 0),
      "too many": Uint8Array.of(0, 0xff, 0xff),
      more: Uint8Array.of(...bytes, 0),
      less: bytes.subarray(0, -1),
      "an empty id": Uint8Array.of(1, 0, ...bytes.subarray(1)),
    })) {
      expect(() => read(body), what).toThrowError(expect.objectContaining({ code: "BAD_FRAME" }));
    }
  });
});

describe("transact: coordinator", () => {
  const hashes = (all: readonly { entity: string }[]) => all.map(({ entity }) => hashEntity(entity as EntityId));
  const entities = (minLength: number) =>
    fc.array(
      fc.nat(10_000).map((n) => `account/${n}`),
      { minLength, maxLength: 6 },
    );
  const shardCounts = fc.integer({ min: 1, max: 64 });
  const lookAt = (entity: string) => ({ ...look, entity }) as const;

  it("is the lowest shard that is written to, whatever is read, and in whatever order", () => {
    fc.assert(
      fc.property(entities(1), entities(0), shardCounts, (written, read, shardCount) => {
        const writes = written.map((entity) => ({ ...credited, entity }));
        const conditions = read.map((entity) => ({ entity, expectedSeq: 1 }));
        const hash = hashOfTransaction({ operations: writes }, shardCount);
        expect(hash % shardCount).toBe(Math.min(...hashes(writes).map((one) => one % shardCount)));
        expect(hashes(writes)).toContain(hash);
        const mixed = { conditions, operations: [...read.map(lookAt), ...writes.toReversed()] };
        expect(hashOfTransaction(mixed, shardCount) % shardCount).toBe(hash % shardCount);
      }),
    );
  });

  it("is the lowest shard of all where nothing is written", () => {
    fc.assert(
      fc.property(entities(1), shardCounts, (read, shardCount) => {
        const least = Math.min(...hashes(read.map(lookAt)).map((one) => one % shardCount));
        const conditions = read.map((entity) => ({ entity, expectedSeq: 1 }));
        for (const fields of [{ operations: read.map(lookAt) }, { conditions, operations: [] }]) {
          expect(hashOfTransaction(fields, shardCount) % shardCount).toBe(least);
        }
      }),
    );
  });
});

describe("transact: outcome", () => {
  it("tells receipts from reads", () => {
    const results = [[7], [9, { balance: 5 }], [9, 8, 2, 1, 4096, 1_763_600_000_000]] as const;
    const outcome = readTransaction({ results, duplicate: true });
    expect(outcome.results.map((result) => receiptOfOperation(result, outcome.duplicate))).toEqual([
      undefined,
      undefined,
      { ok: true, seq: 9, firstSeq: 8, count: 2, shard: 1, position: 4096, time: 1_763_600_000_000, duplicate: true },
    ]);
  });

  it("P7 refuses what is none", () => {
    const receipt = [1, 1, 1, 1, 1, 1];
    for (const value of [
      undefined,
      null,
      5,
      {},
      { results: [] },
      { results: {}, duplicate: false },
      { results: [[]], duplicate: false },
      { results: [5], duplicate: false },
      { results: [["1"]], duplicate: false },
      { results: [receipt.slice(1)], duplicate: false },
      { results: [receipt.with(3, 1.5)], duplicate: false },
      { results: [receipt], duplicate: 1 },
    ]) {
      const shown = JSON.stringify(value);
      expect(() => readTransaction(value), shown).toThrowError(expect.objectContaining({ code: "BAD_FRAME" }));
    }
  });
});
