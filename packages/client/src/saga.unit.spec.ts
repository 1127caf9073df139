// Goal: a saga that is put together becomes one request, and its reply what callers were promised. Steps and bodies themselves
// are protocol's; against a real node: test/e2e/sagas.e2e.spec.ts.
import { hashEntity } from "@heddle/kernel";
import {
  newAppendView,
  readAppendBody,
  readSagaBody,
  readSagaListBody,
  readSagaOperateBody,
  readSagaShowBody,
  readSagaSteps,
  requestKind,
  TextCache,
} from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { type Arrived, answering, value } from "./scripted-node.spec-support.ts";

const texts = new TextCache();
const debit = { type: "Debited", payload: { amount: 5 } };
const credit = { type: "Credited", payload: { amount: 5 } };
const committed = [0, false, [["account/alice", [1, [2, 2, 1, 0, 40, 7], null, null]]]];

function sagaOf({ body }: Arrived) {
  const view = readSagaBody(body, 0, body.length, texts);
  const steps = view.name === "" ? readSagaSteps(body, view.contentFrom, body.length) : [];
  const append = newAppendView();
  const entities = steps.map(({ stage, forwardFrom, forwardTo }) => {
    readAppendBody(body, forwardFrom, forwardTo, texts, append);
    return [stage, append.entity, append.id];
  });
  return { ...view, entities };
}

/** As it is without a compiler. */
type Loose<Names extends string> = { readonly [N in Names]: (...args: unknown[]) => Loose<Names> & Promise<unknown> };

const refusalOf = (path: string) => ({ code: "INVALID_REQUEST", facts: expect.objectContaining({ path }) });

describe("saga", () => {
  it("becomes one request to the shard of its own entity, stages in the order of their making", async () => {
    const { node, db, run } = await answering((request) => value(request.call, committed));
    const saga = db
      .saga("t-1", { timeoutMs: 5_000, stepTimeoutMs: 50 })
      .step("account/alice", debit, credit, { aggregate: "Account" })
      .parallel((side) => side.step("account/bob", credit, debit).step("account/carol", credit, debit));
    const result = await run(saga.commit());
    expect(result).toMatchObject({ resultType: "COMMITTED", saga: "t-1", steps: [{ receipt: { seq: 2 } }] });
    const [request] = node.arrived;
    expect([request!.kind, request!.hash]).toEqual([requestKind.saga, hashEntity("$saga/t-1" as never)]);
    expect(sagaOf(request!)).toMatchObject({
      entity: "$saga/t-1",
      timeoutMs: 5_000,
      stepTimeoutMs: 50,
      entities: [
        [0, "account/alice", "saga:t-1:0:f"],
        [1, "account/bob", "saga:t-1:1:f"],
        [1, "account/carol", "saga:t-1:2:f"],
      ],
    });
  });

  it("is immutable, and can be committed again with the very same bytes", async () => {
    const { node, db, run } = await answering((request) => value(request.call, committed));
    const begun = db.saga("t-1").step("account/alice", debit, credit);
    const longer = begun.step("account/bob", credit, debit);
    await run(begun.commit());
    await run(longer.commit());
    await run(begun.commit());
    const [first, second, third] = node.arrived.map(({ body }) => body);
    expect(third).toEqual(first);
    expect(second).not.toEqual(first);
  });

  it("is shared by whatever is made of it, in stages that do not mix", async () => {
    const { node, db, run } = await answering((request) => value(request.call, committed));
    const begun = db.saga("t-1").step("account/alice", debit, credit);
    const one = begun.step("account/bob", credit, debit);
    const other = begun.parallel((side) => side.step("account/carol", credit, debit)).step("account/dave", debit, null);
    await run(other.commit());
    await run(one.commit());
    const places = node.arrived.map((request) => sagaOf(request).entities.map(([stage, entity]) => [stage, entity]));
    expect(places).toEqual([
      [
        [0, "account/alice"],
        [1, "account/carol"],
        [2, "account/dave"],
      ],
      [
        [0, "account/alice"],
        [1, "account/bob"],
      ],
    ]);
    expect([begun.id, one.id]).toEqual(["t-1", "t-1"]);
  });

  it("P7 what is wrong is refused before it leaves", async () => {
    const { node, db } = await answering((request) => value(request.call, committed));
    expect(() => db.saga("")).toThrow("wanted an id");
    await expect(db.saga("t").commit()).rejects.toMatchObject({ code: "INVALID_REQUEST", facts: { path: "steps" } });
    const missing = db.saga("t").step("account/alice", debit, undefined as never);
    await expect(missing.commit()).rejects.toMatchObject({ facts: { path: "steps.0.back" } });
    const odd = db.saga("t").step("account/alice", { type: "Debited", payload: Symbol("x") }, credit);
    await expect(odd.commit()).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    const twice = db.saga("t").step("account/alice", debit, credit).step("account/alice", debit, credit);
    await expect(twice.commit()).rejects.toMatchObject({ facts: { path: "steps.1.entity" } });
    const late = db.saga("t", { timeoutMs: -1 }).step("account/alice", debit, credit);
    await expect(late.commit()).rejects.toMatchObject({ facts: { path: "timeoutMs" } });
    await expect(db.resolveSaga("t", { reason: "x" } as never)).rejects.toMatchObject({ facts: { path: "as" } });
    await expect(db.retrySaga("t", { reason: "" })).rejects.toMatchObject({ facts: { path: "reason" } });
    await expect(db.sagas({ limit: 0 })).rejects.toMatchObject({ code: "INVALID_REQUEST" });
    expect(node.arrived).toEqual([]);
  });

  it("P7 without a compiler, too: every mistake is typed and says where it is", async () => {
    const { node, db } = await answering((request) => value(request.call, committed));
    const saga = db.saga("t") as unknown as Loose<"step" | "parallel" | "commit">;
    const loose = db as unknown as Loose<"retrySaga" | "resolveSaga">;
    for (const build of [5, undefined, () => undefined, () => 5]) {
      expect(() => saga.parallel(build), String(build)).toThrow(expect.objectContaining(refusalOf("parallel")));
    }
    expect(() => saga.step("account/alice", debit, credit, "Account")).toThrow(
      expect.objectContaining(refusalOf("options")),
    );
    const withOption = (options: object) => saga.step("account/alice", debit, credit, options).commit();
    await expect(withOption({ agregate: "Account" })).rejects.toMatchObject(refusalOf("steps.0.agregate"));
    await expect(withOption({ expectedSeq: 3 })).rejects.toMatchObject(refusalOf("steps.0.expectedSeq"));
    await expect(loose.retrySaga("t")).rejects.toMatchObject(refusalOf("reason"));
    await expect(loose.resolveSaga("t")).rejects.toMatchObject(refusalOf("reason"));
    const circle: Record<string, unknown> = { amount: 5 };
    circle["of"] = { circle };
    const endless = saga.step("account/alice", { type: "Debited", payload: circle }, credit);
    await expect(endless.commit()).rejects.toMatchObject({
      code: "INVALID_REQUEST",
      facts: { path: "steps.0.forward.payload.of.circle", problem: "it refers to itself" },
    });
    expect(node.arrived).toEqual([]);
  });

  it("P7 a time that a saga cannot have is told from its bounds, whatever it is", async () => {
    const { node, db } = await answering((request) => value(request.call, committed));
    for (const timeoutMs of [Number.NaN, -1, 0, 86_400_001, "5" as never]) {
      const saga = db.saga("t", { timeoutMs }).step("account/alice", debit, credit);
      await expect(saga.commit(), String(timeoutMs)).rejects.toMatchObject({
        code: "INVALID_REQUEST",
        facts: { path: "timeoutMs", problem: expect.stringContaining("from 1 to 86400000") },
      });
    }
    const saga = db.saga("t", { waitMs: 600_001 }).step("account/alice", debit, credit);
    await expect(saga.commit()).rejects.toMatchObject({ facts: { path: "waitMs" } });
    expect(node.arrived).toEqual([]);
  });

  it("is waited for as long as its time and its way back take, or as long as the call says; then it goes on without it", async () => {
    const { node, db } = await answering(() => undefined);
    const ended: string[] = [];
    const wait = (name: string, promise: Promise<unknown>) =>
      promise.catch((error) => {
        expect(error).toMatchObject({ code: "TIMEOUT", facts: { saga: "t-1" } });
        expect(error.message).toContain('the saga "t-1" goes on');
        ended.push(`${name} ${error.facts.afterMs}`);
      });
    const step = (options: object) => db.saga("t-1", options).step("account/alice", debit, credit).commit();
    const all = [
      wait("by itself", step({})),
      wait("longer", step({ timeoutMs: 60_000 })),
      wait("short", step({ timeoutMs: 60_000, waitMs: 1_500 })),
      wait("by name", db.runSaga("transfer", "t-1", {}, { waitMs: 2_500 })),
      wait("retry", db.retrySaga("t-1", { reason: "again", timeoutMs: 3_500 })),
    ];
    await node.world.pass(3_600);
    expect(ended).toEqual(["short 1500", "by name 2500", "retry 3500"]);
    await node.world.pass(150_000);
    await Promise.all(all);
    expect(ended.slice(3)).toEqual(["by itself 120000", "longer 150000"]);
  });

  it("a reply of another shape is an error, not a wrong result", async () => {
    const { db, run } = await answering((request) => value(request.call, ["COMMITTED"]));
    const saga = db.saga("t-1").step("account/alice", debit, credit);
    await expect(run(saga.commit())).rejects.toMatchObject({ code: "BAD_FRAME" });
    await expect(run(db.showSaga("t-1"))).rejects.toMatchObject({ code: "BAD_FRAME" });
  });

  it("by name sends the name and the input", async () => {
    const { node, db, run } = await answering((request) => value(request.call, committed));
    await run(db.runSaga("transfer", "t-2", { from: "alice" }, { timeoutMs: 700 }));
    expect(sagaOf(node.arrived[0]!)).toMatchObject({ entity: "$saga/t-2", name: "transfer", timeoutMs: 700 });
  });

  it("an operator's words go with the operation", async () => {
    const { node, db, run } = await answering((request) => value(request.call, committed));
    await run(db.retrySaga("t-1", { reason: "open again", by: "ann" }));
    await run(db.resolveSaga("t-1", { as: "COMPENSATED", reason: "paid back" }));
    expect(node.arrived.map(({ body }) => readSagaOperateBody(body, 0, body.length, texts))).toEqual([
      { entity: "$saga/t-1", as: undefined, reason: "open again", by: "ann" },
      { entity: "$saga/t-1", as: "COMPENSATED", reason: "paid back", by: "" },
    ]);
  });

  it("lists ask every shard, and a record its own", async () => {
    const record = { saga: "t-1", state: "STUCK", startedAt: 1, deadline: 2, steps: [], interventions: [] };
    const { node, db, run } = await answering((request) =>
      value(
        request.call,
        request.kind === requestKind.sagaShow
          ? record
          : { sagas: [{ saga: `s${request.hash}`, state: "STUCK", startedAt: 1, place: 9 }], more: false },
      ),
    );
    const page = await run(db.sagas({ only: "stuck", limit: 3 }));
    expect(page.map(({ saga }) => saga)).toEqual(["s0", "s1", "s2"]);
    await run(db.sagas({ only: "stuck", limit: 3, cursor: page.cursor }));
    expect(readSagaListBody(node.arrived[4]!.body, 0, node.arrived[4]!.body.length, texts)).toEqual({
      only: "stuck",
      limit: 3,
      after: { time: 9, entity: "$saga/s2" },
    });
    expect(await run(db.showSaga("t-1"))).toEqual(record);
    const shown = node.arrived.at(-1)!;
    expect(readSagaShowBody(shown.body, 0, shown.body.length, texts)).toEqual({ entity: "$saga/t-1" });
  });
});
