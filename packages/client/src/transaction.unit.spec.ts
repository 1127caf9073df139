// Goal: what a transaction's function did is what is asked of the node, and its outcome rests on what was true at one moment.
// Method: a node by script that keeps accounts; the test changes them between a transaction's steps.
// Tested elsewhere: bytes of the request (protocol), what a node does with it (shard, test/e2e), types (types).
import { type EntityId, HeddleError, hashEntity, limits } from "@heddle/kernel";
import {
  encodeRejectionReply,
  newAppendView,
  newExecuteView,
  newTransactView,
  readAppendBody,
  readExecuteBody,
  readGetBody,
  readTransactBody,
  readTransactRead,
  rejection,
  requestKind,
  TextCache,
} from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { Heddle } from "./heddle.ts";
import {
  type Arrived,
  answering,
  failure,
  outcome,
  ScriptedNode,
  value,
  welcome,
} from "./scripted-node.spec-support.ts";
import type { Transaction } from "./transaction.ts";

const texts = new TextCache();

interface Asked {
  readonly kind: "append" | "execute" | "read";
  readonly entity: string;
  readonly expectedSeq: number;
  readonly what: unknown;
}

/** The operations of a transact request. */
function operationsOf({ body }: Arrived): { id: string; asked: Asked[] } {
  const view = newTransactView();
  readTransactBody(body, 0, body.length, texts, view);
  const asked = view.kinds.slice(0, view.operationCount).map((kind, i): Asked => {
    const range = [body, view.froms[i]!, view.tos[i]!, texts] as const;
    if (kind === requestKind.append) {
      const append = newAppendView();
      readAppendBody(...range, append);
      const { entity, expectedSeq } = append;
      return { kind: "append", entity, expectedSeq, what: append.types.slice(0, append.typeCount) };
    }
    if (kind === requestKind.execute) {
      const execute = newExecuteView();
      readExecuteBody(...range, execute);
      return { kind: "execute", entity: execute.entity, expectedSeq: execute.expectedSeq, what: execute.command };
    }
    const { entity, expectedSeq, wantsState } = readTransactRead(...range);
    return { kind: "read", entity, expectedSeq, what: wantsState };
  });
  return { id: view.id, asked };
}

/** A node that keeps accounts: each operation that writes adds one event; a command `Refuse` is rejected. */
async function bank() {
  const seqs = new Map<string, number>();
  const requests: string[] = [];
  const transacts: { hash: number; id: string; asked: Asked[] }[] = [];
  /** Runs once, before the next transact request is looked at. */
  const before: (() => void)[] = [];
  const seqOf = (entity: string) => seqs.get(entity) ?? 0;
  const transact = (request: Arrived): Uint8Array => {
    before.shift()?.();
    const { id, asked } = operationsOf(request);
    transacts.push({ hash: request.hash, id, asked });
    const shadow = new Map(seqs);
    const results: number[][] = [];
    for (const [operation, { kind, entity, expectedSeq, what }] of asked.entries()) {
      const seq = shadow.get(entity) ?? 0;
      const no = (inner: ReturnType<typeof rejection>) => {
        const facts = { operation, entity, rejection: inner as never };
        return encodeRejectionReply(request.call, rejection("TRANSACTION_REJECTED", facts));
      };
      if (expectedSeq >= 0 && expectedSeq !== seq) {
        return no(rejection("SEQUENCE_CONFLICT", { expectedSeq, actualSeq: seq }));
      }
      if (what === "Refuse") return no(rejection("COMMAND_REJECTED", { command: "Refuse", reason: "NO", details: {} }));
      if (kind !== "read") shadow.set(entity, seq + 1);
      results.push(kind === "read" ? (what === true ? [seq, 10 * seq] : [seq]) : [seq + 1, seq + 1, 1, 2, 4096, 7]);
    }
    for (const [entity, seq] of shadow) seqs.set(entity, seq);
    return value(request.call, { results, duplicate: false });
  };
  const made = await answering((request) => {
    if (request.kind === requestKind.transact) {
      requests.push("transact");
      return transact(request);
    }
    const { entity } = readGetBody(request.body, 0, request.body.length, texts);
    requests.push(`get ${entity}`);
    return value(request.call, { state: 10 * seqOf(entity), seq: seqOf(entity) });
  });
  const change = (entity: string) => seqs.set(entity, seqOf(entity) + 1);
  return { ...made, seqs, requests, transacts, before, change };
}

const [alice, bob, carol] = ["account/alice", "account/bob", "account/carol"] as const;
const read = (entity: string, expectedSeq: number): Asked => ({ kind: "read", entity, expectedSeq, what: false });
const receiptOf = (seq: number) => ({
  ok: true,
  seq,
  firstSeq: seq,
  count: 1,
  shard: 2,
  position: 4096,
  time: 7,
  duplicate: false,
});

/** Lets time go by until the promise is settled. */
async function inTime<T>(node: ScriptedNode, promise: Promise<T>): Promise<T> {
  const result = outcome(promise);
  await node.world.pass(2_000);
  const { value: found, error } = await result;
  if (error !== undefined) throw error;
  return found as T;
}

describe("transaction: commit", () => {
  it("sends what was read as conditions before the writes, in one request, and gives value and receipts", async () => {
    const { db, run, seqs, transacts, requests } = await bank();
    seqs.set(alice, 3);
    const done = await run(
      db.transaction(async (tx) => {
        const { state, seq } = await tx.get(alice, "Account");
        expect([state, seq]).toEqual([30, 3]);
        tx.append(alice, "Debited", { amount: 5 }, { aggregate: "Account", metadata: { why: "rent" } });
        tx.execute(bob, "Deposit", { amount: 5 }, { aggregate: "Account", expectedSeq: 0 });
        tx.require(carol, 0);
        return "paid";
      }),
    );
    expect(done).toEqual({
      ok: true,
      value: "paid",
      receipts: [receiptOf(4), receiptOf(1)],
      attempts: 1,
      duplicate: false,
    });
    expect(requests).toEqual(["get account/alice", "transact"]);
    expect(transacts[0]!.asked).toEqual([
      read(alice, 3),
      { kind: "append", entity: alice, expectedSeq: -1, what: ["Debited"] },
      { kind: "execute", entity: bob, expectedSeq: 0, what: "Deposit" },
      read(carol, 0),
    ]);
  });

  it("what was only read is checked, so that it was true at one moment", async () => {
    const { db, run, transacts } = await bank();
    const sum = await run(
      db.transaction(async (tx) => {
        const [a, b] = await Promise.all([tx.get(alice), tx.get(bob)]);
        return a.seq + b.seq;
      }),
    );
    expect(sum).toEqual({ ok: true, value: 0, receipts: [], attempts: 1, duplicate: false });
    expect(transacts.map(({ asked }) => asked)).toEqual([[read(alice, 0), read(bob, 0)]]);
  });

  it("goes to the lowest shard that it writes to, whichever entity came first, and carries its id", async () => {
    const { db, run, transacts } = await bank();
    const many = Array.from({ length: 20 }, (_, i) => `account/${i}`);
    const shardOf = (entity: string) => hashEntity(entity as EntityId) % welcome.shardCount;
    for (const entities of [many.slice(0, 2), many.slice(3, 6).reverse(), many.slice(7, 9), many]) {
      const credit = (tx: Transaction) => {
        for (const entity of entities) tx.append(entity, "Credited", {});
      };
      await run(db.transaction(credit, { id: "an id" }));
      const { hash, id } = transacts.at(-1)!;
      expect(hash % welcome.shardCount).toBe(Math.min(...entities.map(shardOf)));
      expect(id).toBe("an id");
    }
  });

  it("waits for a first connection to learn of the shards, so that an id has one place", async () => {
    const node = new ScriptedNode();
    const db = new Heddle({}, undefined, node.ports);
    const done = outcome(db.transaction((tx) => tx.append(alice, "Credited", {})));
    await node.world.settle();
    expect(node.arrived.map(({ kind }) => kind)).toEqual([requestKind.transact]);
    node.connection.say(value(node.arrived[0]!.call, { results: [[1, 1, 1, 0, 5, 5]], duplicate: true }));
    await node.world.settle();
    expect((await done).value).toMatchObject({ ok: true, duplicate: true, receipts: [{ seq: 1, duplicate: true }] });
  });

  it("a repeat by id gives the first receipts, whatever was read this time", async () => {
    const { db, run } = await answering((request) => {
      if (request.kind === requestKind.get) return value(request.call, { state: 1, seq: 9 });
      return value(request.call, { results: [[4, 4, 1, 2, 4096, 7]], duplicate: true });
    });
    const done = await run(
      db.transaction(
        async (tx) => {
          await tx.get(bob);
          tx.append(alice, "Credited", {});
        },
        { id: "an id" },
      ),
    );
    expect(done).toMatchObject({ ok: true, duplicate: true, receipts: [{ ...receiptOf(4), duplicate: true }] });
  });
});

describe("transaction: reads", () => {
  it("a second read of an entity answers from the first, also while that is on its way", async () => {
    const { db, run, requests, change } = await bank();
    const done = await run(
      db.transaction(async (tx) => {
        const [first, second] = await Promise.all([tx.get(alice), tx.get(alice)]);
        change(bob);
        const third = await tx.get(alice);
        return [first.seq, second.seq, third.seq];
      }),
    );
    expect(done).toMatchObject({ value: [0, 0, 0] });
    expect(requests).toEqual(["get account/alice", "transact"]);
  });

  it("a read of what was written to already is refused, and so is a condition on it: read before you write", async () => {
    const { db, run, requests } = await bank();
    const writes: ((tx: Transaction) => void)[] = [
      (tx) => tx.append(alice, "Credited", {}),
      (tx) => tx.execute(alice, "Deposit", {}),
    ];
    const after: ((tx: Transaction) => unknown)[] = [(tx) => tx.get(alice), (tx) => tx.require(alice, 0)];
    for (const [write, then] of writes.flatMap((write) => after.map((then) => [write, then] as const))) {
      const call = db.transaction(async (tx) => {
        write(tx);
        await then(tx);
      });
      await expect(run(call)).rejects.toMatchObject({
        code: "INVALID_REQUEST",
        facts: { problem: expect.stringContaining("written to already") },
      });
    }
    expect(requests).toEqual([]);
  });

  it("a read of an entity of which only a condition was given is none of what was written to", async () => {
    const { db, run } = await bank();
    const done = await run(
      db.transaction(async (tx) => {
        tx.require(alice, 0);
        tx.append(bob, "Credited", {});
        tx.require(alice, 0);
        return (await tx.get(alice)).seq;
      }),
    );
    expect(done).toMatchObject({ ok: true, value: 0 });
  });

  it("two aggregates of one entity, read with a write between them, make the function run again", async () => {
    const { node, db, requests, change } = await bank();
    let runs = 0;
    const done = await inTime(
      node,
      db.transaction(async (tx) => {
        const first = await tx.get(alice, "Account");
        if (++runs === 1) change(alice);
        const second = await tx.get(alice, "Limit").catch(() => first);
        tx.append(bob, "Credited", {});
        return [first.seq, second.seq];
      }),
    );
    expect(done).toMatchObject({ ok: true, value: [1, 1], attempts: 2 });
    expect(requests.filter((one) => one === "transact")).toHaveLength(1);
  });

  it("a read that failed is asked again", async () => {
    let failures = 1;
    const { db, run } = await answering((request) => {
      if (request.kind === requestKind.transact) return value(request.call, { results: [[3]], duplicate: false });
      const erased = new HeddleError("ERASED", { entity: alice, seq: 1, time: 1 });
      return failures-- > 0 ? failure(request.call, erased) : value(request.call, { state: 1, seq: 3 });
    });
    const done = await run(
      db.transaction(async (tx) => {
        await expect(tx.get(alice)).rejects.toMatchObject({ code: "ERASED" });
        return (await tx.get(alice)).seq;
      }),
    );
    expect(done).toMatchObject({ ok: true, value: 3 });
  });
});

describe("transaction: conflicts", () => {
  it("what changed between reading and commit makes the function run again, and it sees the change", async () => {
    const { node, db, before, change, requests } = await bank();
    before.push(
      () => change(alice),
      () => change(alice),
    );
    const seen: number[] = [];
    const done = await inTime(
      node,
      db.transaction(async (tx) => {
        seen.push((await tx.get(alice)).seq);
        tx.append(bob, "Credited", {});
      }),
    );
    expect(done).toMatchObject({ ok: true, attempts: 3, receipts: [{ seq: 1 }] });
    expect(seen).toEqual([0, 1, 2]);
    expect(requests).toHaveLength(6);
  });

  it("gives up after as many attempts as it may make, with the entity, having written nothing", async () => {
    for (const attempts of [1, 3, undefined]) {
      const { node, db, before, change, seqs } = await bank();
      before.push(...new Array(20).fill(() => change(alice)));
      let runs = 0;
      const call = db.transaction(
        async (tx) => {
          runs++;
          await tx.get(alice);
          tx.append(bob, "Credited", {});
        },
        { attempts },
      );
      const wanted = attempts ?? 10;
      await expect(inTime(node, call)).rejects.toMatchObject({
        code: "TRANSACTION_CONFLICT",
        facts: { entity: alice, attempts: wanted },
      });
      expect([runs, seqs.get(bob)]).toEqual([wanted, undefined]);
    }
  });

  it("takes its turn among its client's own first, then pauses, longer each time, and not for ever", async () => {
    const { node, db, before, change } = await bank();
    before.push(...new Array(20).fill(() => change(alice)));
    const times: number[] = [];
    const call = outcome(
      db.transaction(async (tx) => {
        times.push(node.world.now);
        await tx.get(alice);
      }),
    );
    await node.world.pass(2_000);
    await call;
    const pauses = times.slice(1).map((time, i) => time - times[i]!);
    expect(pauses.slice(0, 2)).toEqual([0, expect.any(Number)]);
    expect(pauses[1]).toBeGreaterThan(0);
    expect(pauses).toEqual(pauses.toSorted((a, b) => a - b));
    expect(pauses.at(-1)).toBeLessThanOrEqual(100);
  });

  it("the time-out and the signal hold for the whole, attempts and pauses included", async () => {
    const { node, db, before, change } = await bank();
    before.push(...new Array(1_000).fill(() => change(alice)));
    const started = node.world.now;
    const busy = (options: { timeoutMs?: number; signal?: AbortSignal }) =>
      outcome(db.transaction((tx) => tx.get(alice), { attempts: 1_000, ...options }));
    const late = busy({ timeoutMs: 300 });
    await node.world.pass(1_000);
    expect((await late).error).toMatchObject({ code: "TIMEOUT", facts: { afterMs: 300 } });
    const controller = new AbortController();
    const aborted = busy({ signal: controller.signal });
    await node.world.pass(50);
    controller.abort(new Error("enough"));
    expect((await aborted).error).toMatchObject({ message: "enough" });
    expect((await busy({ signal: controller.signal })).error).toMatchObject({ message: "enough" });
    expect(node.world.now).toBe(started + 1_050);
  });

  it("TRANSACTION_ABORTED and ENTITY_HELD are outwaited with the same call, and the function does not run again", async () => {
    let refusals = [
      new HeddleError("TRANSACTION_ABORTED", { reason: "shard 3 was lost" }),
      new HeddleError("ENTITY_HELD", { entity: alice, heldMs: 5_000 }),
    ];
    const { node, db } = await answering((request) => {
      const [refusal] = refusals;
      refusals = refusals.slice(1);
      if (refusal !== undefined) return failure(request.call, refusal);
      return value(request.call, { results: [[1, 1, 1, 1, 1, 1]], duplicate: false });
    });
    let runs = 0;
    const done = await inTime(
      node,
      db.transaction((tx) => {
        runs++;
        tx.append(alice, "Credited", {});
      }),
    );
    expect(done).toMatchObject({ ok: true, attempts: 1 });
    expect([runs, new Set(node.arrived.map(({ call }) => call)).size, node.arrived.length]).toEqual([1, 1, 3]);
  });
});

describe("transaction: many at one entity (P8)", () => {
  it("take turns after the first conflict, so that each gets through, however many there are", async () => {
    const { node, db, seqs } = await bank();
    const calls = Array.from({ length: 100 }, () =>
      db.transaction(async (tx) => {
        await tx.get(alice);
        tx.append(alice, "Credited", {});
      }),
    );
    const done = await inTime(node, Promise.all(calls));
    expect(done.filter(({ ok }) => ok)).toHaveLength(100);
    expect(Math.max(...done.map((one) => (one.ok ? one.attempts : Infinity)))).toBe(2);
    expect(seqs.get(alice)).toBe(100);
  });

  it("never wait in a circle, whatever the order in which they read and conflict", async () => {
    const { node, db, seqs } = await bank();
    const both = (first: string, second: string) =>
      db.transaction(
        async (tx) => {
          await tx.get(first);
          await tx.get(second);
          for (const entity of [first, second]) tx.append(entity, "Credited", {});
        },
        { attempts: 100 },
      );
    const calls = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? both(alice, bob) : both(bob, alice)));
    const done = await inTime(node, Promise.all(calls));
    expect(done.filter(({ ok }) => ok)).toHaveLength(60);
    expect([seqs.get(alice), seqs.get(bob)]).toEqual([60, 60]);
  });

  it("let the others pass when one gives up, fails, or left a read unawaited", async () => {
    const { node, db, before, change, run } = await bank();
    const gate = Promise.withResolvers<void>();
    // Has the turn after its first conflict, and keeps it as long as the gate is shut.
    let runs = 0;
    before.push(() => change(alice));
    const keeper = outcome(
      db.transaction(async (tx) => {
        await tx.get(alice);
        if (++runs > 1) await gate.promise;
        tx.append(bob, "Credited", {});
      }),
    );
    await node.world.settle();
    const controller = new AbortController();
    const aborted = outcome(db.transaction((tx) => tx.get(alice), { signal: controller.signal }));
    const late = outcome(db.transaction((tx) => tx.get(alice), { timeoutMs: 100 }));
    const unawaited = outcome(
      db.transaction((tx) => {
        tx.get(alice).catch(() => undefined);
        tx.append(bob, "Credited", {});
      }),
    );
    const failing = outcome(
      db.transaction(async (tx) => {
        await tx.get(alice);
        throw new Error("mine");
      }),
    );
    const last = outcome(db.transaction((tx) => tx.get(alice)));
    await node.world.settle();
    controller.abort(new Error("enough"));
    await node.world.pass(200);
    expect((await aborted).error).toMatchObject({ message: "enough" });
    expect((await late).error).toMatchObject({ code: "TIMEOUT", facts: { afterMs: 100 } });
    expect((await unawaited).value).toMatchObject({ ok: true });
    gate.resolve();
    await node.world.pass(10);
    expect((await keeper).value).toMatchObject({ ok: true, attempts: 2 });
    expect((await failing).error).toMatchObject({ message: "mine" });
    expect((await last).value).toMatchObject({ ok: true, attempts: 1 });
    expect(await run(db.transaction((tx) => tx.get(alice)))).toMatchObject({ ok: true, attempts: 1 });
  });
});

describe("transaction: no", () => {
  it("tx.reject resolves to what it was given, and nothing is written", async () => {
    const { db, run, requests, seqs } = await bank();
    const done = await run(
      db.transaction(async (tx) => {
        tx.append(bob, "Credited", {});
        const { state } = await tx.get(alice);
        return tx.reject("INSUFFICIENT", { state });
      }),
    );
    expect(done).toEqual({ ok: false, code: "REJECTED", reason: "INSUFFICIENT", facts: { state: 0 } });
    expect([requests, seqs.size]).toEqual([["get account/alice"], 0]);
  });

  it("a no to an operation is a value with the place among the caller's own operations", async () => {
    const { db, run } = await bank();
    const done = await run(
      db.transaction(async (tx) => {
        await tx.get(alice);
        tx.append(alice, "Debited", {});
        tx.execute(alice, "Refuse", {});
      }),
    );
    expect(done).toMatchObject({
      ok: false,
      code: "TRANSACTION_REJECTED",
      facts: { operation: 1, entity: alice, rejection: { code: "COMMAND_REJECTED", facts: { reason: "NO" } } },
    });
  });

  it("a condition that the caller gave is no conflict: it is rejected at once", async () => {
    const { db, run, requests } = await bank();
    const calls: ((tx: Transaction) => void)[] = [
      (tx) => tx.require(alice, 7),
      (tx) => tx.append(alice, "Credited", {}, { expectedSeq: 7 }),
    ];
    for (const call of calls) {
      expect(await run(db.transaction(call))).toMatchObject({
        code: "TRANSACTION_REJECTED",
        facts: { operation: 0, entity: alice, rejection: { code: "SEQUENCE_CONFLICT", facts: { expectedSeq: 7 } } },
      });
    }
    expect(requests).toEqual(["transact", "transact"]);
  });

  it("a no that rests upon several entities is said only if they were so at one moment", async () => {
    const noes: Record<string, (tx: Transaction) => unknown> = {
      "tx.reject": (tx) => tx.reject("UNEVEN"),
      "a command": (tx) => tx.execute(carol, "Refuse", {}),
      thrown: () => {
        throw new Error("uneven");
      },
    };
    for (const [what, sayNo] of Object.entries(noes)) {
      const { node, db, change, seqs } = await bank();
      let runs = 0;
      const done = await inTime(
        node,
        db.transaction(async (tx) => {
          const a = await tx.get(alice);
          // Both move together, but this reader comes in between.
          if (++runs === 1) for (const entity of [alice, bob]) change(entity);
          const b = await tx.get(bob);
          if (a.seq !== b.seq) return sayNo(tx);
          tx.append(carol, "Credited", {});
          return "even";
        }),
      );
      expect(done, what).toMatchObject({ ok: true, value: "even", attempts: 2 });
      expect(seqs.get(carol), what).toBe(1);
    }
  });

  it("what the function throws rejects the call, and nothing is sent", async () => {
    const { db, run, requests } = await bank();
    const calls: ((tx: Transaction) => unknown)[] = [
      () => {
        throw new RangeError("mine");
      },
      async () => {
        throw new RangeError("mine");
      },
      async (tx) => {
        await tx.get(alice);
        tx.append(alice, "Credited", {});
        throw new RangeError("mine");
      },
    ];
    for (const call of calls) await expect(run(db.transaction(call))).rejects.toThrow(RangeError);
    expect(requests).toEqual(["get account/alice"]);
  });
});

describe("transaction: bad input (P7)", () => {
  it("is refused before it leaves", async () => {
    const { db, run, requests } = await bank();
    const bad: [(tx: Transaction) => unknown, object][] = [
      [() => undefined, { code: "INVALID_REQUEST" }],
      [(tx) => tx.append("alice", "Credited", {}), { code: "INVALID_ENTITY_ID" }],
      [(tx) => tx.execute("$saga/x", "Close", {}), { code: "INVALID_ENTITY_ID" }],
      [(tx) => tx.require("alice", 0), { code: "INVALID_ENTITY_ID" }],
      [(tx) => tx.get("alice"), { code: "INVALID_ENTITY_ID" }],
      [(tx) => tx.require(alice, -1), { code: "INVALID_REQUEST", facts: { path: "operations.0.expectedSeq" } }],
      [(tx) => tx.append(alice, []), { code: "INVALID_REQUEST", facts: { path: "operations.0" } }],
      [
        (tx) => {
          for (let i = 0; i <= limits.transactionOperationsMax; i++) tx.append(alice, "Credited", {});
        },
        { code: "INVALID_REQUEST", facts: { path: "operations" } },
      ],
      [(tx) => tx.append(alice, "Noted", "x".repeat(limits.frameBytesMax)), { code: "FRAME_TOO_LARGE" }],
    ];
    for (const [call, wanted] of bad) await expect(run(db.transaction(call))).rejects.toMatchObject(wanted);
    const write = (tx: Transaction) => tx.append(alice, "Credited", {});
    for (const attempts of [0, 1_001, 1.5]) {
      const wanted = { code: "INVALID_REQUEST", facts: { path: "attempts" } };
      await expect(run(db.transaction(write, { attempts }))).rejects.toMatchObject(wanted);
    }
    for (const id of ["", "x".repeat(201)]) {
      const wanted = { code: "INVALID_REQUEST", facts: { path: "id" } };
      await expect(run(db.transaction(write, { id }))).rejects.toMatchObject(wanted);
    }
    expect(requests).toEqual([]);
  });

  it("a transaction that is used after its function ended says so", async () => {
    const { db, run } = await bank();
    let kept: Transaction | undefined;
    await run(
      db.transaction(async (tx) => {
        kept = tx;
        tx.append(alice, "Credited", {});
      }),
    );
    expect(() => kept!.append(bob, "Credited", {})).toThrow("has ended");
    await expect(kept!.get(bob)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
  });

  it("a reply of another shape is an error, not a wrong answer", async () => {
    for (const content of [{}, { results: [], duplicate: false }, { results: [[1]], duplicate: false }]) {
      const { db, run } = await answering((request) => value(request.call, content));
      const call = db.transaction((tx) => tx.append(alice, "Credited", {}));
      await expect(run(call), JSON.stringify(content)).rejects.toMatchObject({ code: "BAD_FRAME" });
      await expect(run(db.getMany([{ entity: alice }]))).rejects.toMatchObject({ code: "BAD_FRAME" });
    }
    const no = rejection("SEQUENCE_CONFLICT", { expectedSeq: 1, actualSeq: 2 });
    const { db, run } = await answering((request) => encodeRejectionReply(request.call, no));
    await expect(run(db.transaction((tx) => tx.append(alice, "X", {})))).rejects.toMatchObject({ code: "BAD_FRAME" });
  });
});

describe("getMany", () => {
  it("reads all in one request, with their states, in the order of the items", async () => {
    const { db, run, seqs, transacts, requests } = await bank();
    seqs.set(bob, 2);
    const states = await run(db.getMany([{ entity: bob }, { entity: alice, aggregate: "Account" }, { entity: bob }]));
    const two = { state: 20, seq: 2 };
    expect(states).toEqual([two, { state: 0, seq: 0 }, two]);
    expect(requests).toEqual(["transact"]);
    expect(transacts[0]!.asked.map(({ kind, entity, what }) => [kind, entity, what])).toEqual([
      ["read", bob, true],
      ["read", alice, true],
      ["read", bob, true],
    ]);
  });

  it("of nothing is nothing; too many and what is no id are refused before they leave", async () => {
    const { db, run, requests } = await bank();
    expect(await run(db.getMany([]))).toEqual([]);
    const many = new Array(limits.transactionOperationsMax + 1).fill({ entity: alice });
    await expect(run(db.getMany(many))).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    await expect(run(db.getMany([{ entity: "alice" }]))).rejects.toMatchObject({ code: "INVALID_ENTITY_ID" });
    expect(requests).toEqual([]);
  });
});
