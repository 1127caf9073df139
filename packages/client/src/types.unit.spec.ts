// Goal: the types of a context reach every call. The type checker is the judge; at run time nothing happens here.
import { command, defineAggregate, defineContext, event } from "@heddle/domain";
import { type AppendResult, asSystemEvent, type Receipt, type Rejection } from "@heddle/protocol";
import { expectTypeOf, it } from "vitest";
import { z } from "zod";
import type { AppendManyItem, HistoryEvent } from "./call-types.ts";
import type { Entity } from "./entity.ts";
import { Heddle } from "./heddle.ts";
import type { AppendManyResult, FailedItem } from "./results.ts";
import type { RejectedTransaction } from "./transaction.ts";
import type { Snapshot } from "./wire-values.ts";

const amount = z.object({ amount: z.number(), note: z.string().default("") });
const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0 }),
  events: { Credited: event(amount, (s) => s), Debited: event(amount, (s) => s) },
  commands: { Withdraw: command(z.object({ sum: z.number() }), () => ({ type: "Debited", payload: { amount: 1 } })) },
});
const Limit = defineAggregate("Limit", {
  version: 1,
  initial: () => 0,
  events: { LimitSet: event(z.object({ max: z.number() }), (_, e) => e.max) },
});
const bank = defineContext("bank", { aggregates: [Account, Limit] });
const small = defineContext("small", { aggregates: [Account] });

/** Type checked, never run. */
const check = (_: () => unknown) => undefined;
const many = () => new Heddle<typeof bank>().entity("account/a");
const one = () => new Heddle<typeof small>().entity("account/a");
const untyped = () => new Heddle().entity("account/a");

it("events and payloads are known by aggregate", () => {
  check(() => many().append("Credited", { amount: 1 }, { aggregate: "Account" }));
  check(() => many().append("LimitSet", { max: 1 }, { aggregate: "Limit", id: "x", timeoutMs: 5 }));
  check(() => many().append([{ type: "Credited", payload: { amount: 1 } }] as const, { aggregate: "Account" }));
  // @ts-expect-error an event of another aggregate
  check(() => many().append("LimitSet", { max: 1 }, { aggregate: "Account" }));
  // @ts-expect-error a payload that does not fit
  check(() => many().append("Credited", { amount: "1" }, { aggregate: "Account" }));
  // @ts-expect-error a payload that does not fit, in a list
  check(() => many().append([{ type: "Credited", payload: { max: 1 } }], { aggregate: "Account" }));
  // @ts-expect-error an option that there is not
  check(() => many().append("Credited", { amount: 1 }, { aggregate: "Account", expectedSequence: 5 }));
});

it("the aggregate is asked for where there are several, and may be left out where there is one or nothing is known", () => {
  // @ts-expect-error which aggregate?
  check(() => many().append("Credited", { amount: 1 }));
  // @ts-expect-error which aggregate?
  check(() => many().append("Credited", { amount: 1 }, { id: "x" }));
  // @ts-expect-error which aggregate?
  check(() => many().get());
  check(() => one().append("Credited", { amount: 1 }));
  check(() => one().append("Credited", { amount: 1 }, { id: "x" }));
  check(() => one().append([{ type: "Debited", payload: { amount: 1 } }]));
  check(() => one().get());
  // @ts-expect-error no such aggregate
  check(() => one().append("Credited", { amount: 1 }, { aggregate: "Limit" }));
  check(() => untyped().append("Anything", { at: "all" }));
  check(() => untyped().append("Anything", 5, { aggregate: "Whatever" }));
});

it("commands and their inputs are known", () => {
  check(() => many().execute("Withdraw", { sum: 5 }, { aggregate: "Account", expectedSeq: 1 }));
  check(() => one().execute("Withdraw", { sum: 5 }));
  // @ts-expect-error no such command
  check(() => one().execute("Deposit", { sum: 5 }));
  // @ts-expect-error an input that does not fit
  check(() => one().execute("Withdraw", { amount: 5 }));
  // @ts-expect-error this aggregate has no commands
  check(() => many().execute("Withdraw", { sum: 5 }, { aggregate: "Limit" }));
});

it("states are known", () => {
  check(() => {
    expectTypeOf(many().get("Account")).resolves.toEqualTypeOf<Snapshot<{ balance: number }>>();
    expectTypeOf(many().get("Limit")).resolves.toEqualTypeOf<Snapshot<number>>();
    expectTypeOf(one().get()).resolves.toEqualTypeOf<Snapshot<{ balance: number }>>();
    expectTypeOf(untyped().get("X")).resolves.toEqualTypeOf<Snapshot<unknown>>();
  });
});

it("earlier states are known, and the aggregate may be left out where there is one", () => {
  check(() => {
    expectTypeOf(many().getAt("Account", { seq: 5 })).resolves.toEqualTypeOf<Snapshot<{ balance: number }>>();
    expectTypeOf(many().getAt("Limit", { time: new Date() })).resolves.toEqualTypeOf<Snapshot<number>>();
    expectTypeOf(one().getAt({ seq: 5 })).resolves.toEqualTypeOf<Snapshot<{ balance: number }>>();
    expectTypeOf(one().getAt("Account", { time: 5 }, { timeoutMs: 5 })).resolves.toHaveProperty("state");
    expectTypeOf(untyped().getAt("X", { seq: 0 })).resolves.toEqualTypeOf<Snapshot<unknown>>();
    expectTypeOf(many().fork("account/b")).resolves.toEqualTypeOf<{
      readonly entity: Entity<typeof bank>;
      readonly seq: number;
    }>();
  });
  // @ts-expect-error which aggregate?
  check(() => many().getAt({ seq: 5 }));
  // @ts-expect-error no such aggregate
  check(() => one().getAt("Limit", { seq: 5 }));
  // @ts-expect-error either a sequence or a time
  check(() => one().getAt({ seq: 5, time: 5 }));
  // @ts-expect-error a moment is asked for
  check(() => one().getAt("Account"));
});

it("what Heddle itself wrote is told from the context's own events", () => {
  check(async () => {
    const event = asSystemEvent((await many().history(1))[0]!)!;
    if (event.type === "Erased") expectTypeOf(event.payload.to).toBeNumber();
    else expectTypeOf(event.payload.copied).toBeNumber();
  });
});

it("events of a history are told apart by aggregate and type, and carry what the schema gives out", () => {
  check(async () => {
    const event = (await many().history(1))[0]!;
    expectTypeOf(event).toEqualTypeOf<HistoryEvent<typeof bank>>();
    if (event.type === "LimitSet") {
      expectTypeOf(event.aggregate).toEqualTypeOf<"Limit">();
      expectTypeOf(event.payload).toEqualTypeOf<{ max: number }>();
    } else {
      expectTypeOf(event.payload).toEqualTypeOf<{ amount: number; note: string }>();
    }
    const [limit] = await many().history({ aggregate: "Limit" });
    expectTypeOf(limit!.type).toEqualTypeOf<"LimitSet">();
    for await (const event of many().events({ aggregate: "Account" })) {
      expectTypeOf(event.type).toEqualTypeOf<"Credited" | "Debited">();
    }
    for await (const line of many().export()) expectTypeOf(line).toBeString();
    const [any] = await untyped().history();
    expectTypeOf(any!.payload).toEqualTypeOf<unknown>();
    expectTypeOf(any!.type).toEqualTypeOf<string>();
  });
});

it("items of appendMany are checked, each by its own aggregate", () => {
  const db = () => new Heddle<typeof bank>();
  check(() =>
    db().appendMany([
      { entity: "account/a", aggregate: "Account", type: "Credited", payload: { amount: 1 } },
      { entity: "account/b", aggregate: "Limit", type: "LimitSet", payload: { max: 1 }, id: "x" },
    ]),
  );
  // @ts-expect-error an event of another aggregate
  check(() => db().appendMany([{ entity: "a/b", aggregate: "Limit", type: "Credited", payload: { amount: 1 } }]));
  // @ts-expect-error which aggregate?
  check(() => db().appendMany([{ entity: "a/b", type: "Credited", payload: { amount: 1 } }]));
  check(() => new Heddle<typeof small>().appendMany([{ entity: "a/b", type: "Credited", payload: { amount: 1 } }]));
  expectTypeOf<AppendManyItem>().toExtend<{ type: string; payload: unknown }>();
});

it("transactions know events, commands and states, each by its aggregate", () => {
  const db = () => new Heddle<typeof bank>();
  const lone = () => new Heddle<typeof small>();
  check(() =>
    db().transaction(async (tx) => {
      expectTypeOf(tx.get("account/a", "Account")).resolves.toEqualTypeOf<Snapshot<{ balance: number }>>();
      expectTypeOf(tx.get("account/a", "Limit")).resolves.toEqualTypeOf<Snapshot<number>>();
      tx.append("account/a", "Credited", { amount: 1 }, { aggregate: "Account", expectedSeq: 1, metadata: 5 });
      tx.append("account/a", [{ type: "LimitSet", payload: { max: 1 } }], { aggregate: "Limit" });
      tx.execute("account/a", "Withdraw", { sum: 1 }, { aggregate: "Account" });
      // @ts-expect-error an event of another aggregate
      tx.append("account/a", "LimitSet", { max: 1 }, { aggregate: "Account" });
      // @ts-expect-error a payload that does not fit
      tx.append("account/a", "Credited", { amount: "1" }, { aggregate: "Account" });
      // @ts-expect-error which aggregate?
      tx.append("account/a", "Credited", { amount: 1 });
      // @ts-expect-error which aggregate?
      tx.get("account/a");
      // @ts-expect-error the transaction has the id
      tx.append("account/a", "Credited", { amount: 1 }, { aggregate: "Account", id: "x" });
      // @ts-expect-error no such command
      tx.execute("account/a", "Deposit", { sum: 1 }, { aggregate: "Account" });
      // @ts-expect-error an input that does not fit
      tx.execute("account/a", "Withdraw", { amount: 1 }, { aggregate: "Account" });
    }),
  );
  check(() =>
    lone().transaction((tx) => {
      tx.append("account/a", "Credited", { amount: 1 });
      expectTypeOf(tx.get("account/a")).resolves.toEqualTypeOf<Snapshot<{ balance: number }>>();
    }),
  );
  check(() => new Heddle().transaction((tx) => tx.append("any/thing", "Anything", 5, { aggregate: "Whatever" })));
});

it("a transaction's outcome has the function's value without what it rejected", () => {
  check(async () => {
    const done = await new Heddle<typeof small>().transaction(async (tx) => {
      const { state } = await tx.get("account/a");
      return state.balance < 5 ? tx.reject("INSUFFICIENT", { balance: state.balance }) : state.balance;
    });
    if (done.ok) {
      expectTypeOf(done.value).toEqualTypeOf<number>();
      expectTypeOf(done.receipts).toEqualTypeOf<readonly Receipt[]>();
    } else if (done.code === "REJECTED") expectTypeOf(done).toEqualTypeOf<RejectedTransaction>();
    else expectTypeOf(done.facts.rejection).toEqualTypeOf<Rejection>();
  });
});

it("getMany knows the state of each item, of lists too", () => {
  check(async () => {
    const [account, limit] = await new Heddle<typeof bank>().getMany([
      { entity: "account/a", aggregate: "Account" },
      { entity: "account/a", aggregate: "Limit" },
    ]);
    expectTypeOf(account).toEqualTypeOf<Snapshot<{ balance: number }>>();
    expectTypeOf(limit).toEqualTypeOf<Snapshot<number>>();
    const ids: string[] = [];
    const accounts = await new Heddle<typeof bank>().getMany(
      ids.map((entity) => ({ entity, aggregate: "Account" as const })),
    );
    expectTypeOf(accounts).toEqualTypeOf<Snapshot<{ balance: number }>[]>();
    const lone = await new Heddle<typeof small>().getMany(ids.map((entity) => ({ entity })));
    expectTypeOf(lone).toEqualTypeOf<Snapshot<{ balance: number }>[]>();
    const any = await new Heddle().getMany([{ entity: "any/thing", aggregate: "Whatever" }]);
    expectTypeOf(any[0]).toEqualTypeOf<Snapshot<unknown>>();
  });
  // @ts-expect-error which aggregate?
  check(() => new Heddle<typeof bank>().getMany([{ entity: "account/a" }]));
  // @ts-expect-error no such aggregate
  check(() => new Heddle<typeof bank>().getMany([{ entity: "account/a", aggregate: "Acount" }]));
});

it("results are told apart by ok and code", () => {
  check(async () => {
    const result = await one().append("Credited", { amount: 1 });
    expectTypeOf(result).toEqualTypeOf<AppendResult>();
    if (result.ok) expectTypeOf(result).toEqualTypeOf<Receipt>();
    else expectTypeOf(result).toEqualTypeOf<Rejection>();
    const item = null as unknown as AppendManyResult;
    if (!item.ok && item.code === "FAILED") expectTypeOf(item).toEqualTypeOf<FailedItem>();
    if (!item.ok && item.code === "SEQUENCE_CONFLICT") expectTypeOf(item.facts.actualSeq).toBeNumber();
  });
});

it("an entity of a typed client is not one of another", () => {
  expectTypeOf<Entity<typeof bank>["id"]>().toExtend<string>();
  expectTypeOf<ReturnType<typeof many>>().toEqualTypeOf<Entity<typeof bank>>();
});

it("steps of a saga are known by aggregate, and named sagas by their inputs", () => {
  const db = () => new Heddle<typeof bank>();
  const credit = { type: "Credited", payload: { amount: 1 } } as const;
  check(() =>
    db()
      .saga("s")
      .step("account/a", credit, { command: "Withdraw", input: { sum: 1 } }, { aggregate: "Account" }),
  );
  check(() =>
    db()
      .saga("s")
      .step("limit/a", [{ type: "LimitSet", payload: { max: 1 } }], null, { aggregate: "Limit", schemaVsn: 1 }),
  );
  check(() =>
    db()
      .saga("s")
      .parallel((side) => side.step("account/a", credit, null, { aggregate: "Account" })),
  );
  check(() => new Heddle<typeof small>().saga("s").step("account/a", credit, null));
  check(() =>
    new Heddle().saga("s").step("account/a", { type: "Any", payload: "thing" }, { command: "Any", input: 1 }),
  );
  // @ts-expect-error which aggregate?
  check(() => db().saga("s").step("account/a", credit, null));
  // @ts-expect-error a payload that does not fit
  check(() => db().saga("s").step("account/a", { type: "Credited", payload: {} }, null, { aggregate: "Account" }));
  const limit = { type: "LimitSet", payload: { max: 1 } } as const;
  const withdraw = { command: "Withdraw", input: { sum: 1 } } as const;
  // @ts-expect-error a command of another aggregate, as the compensation
  check(() => db().saga("s").step("limit/a", limit, withdraw, { aggregate: "Limit" }));
  check(() =>
    db().saga("s").step("account/a", credit, null, {
      // @ts-expect-error a misspelt aggregate: the error stands at its name
      aggregate: "Acount",
    }),
  );
  // @ts-expect-error this context has no sagas
  check(() => db().runSaga("transfer", "s", {}));
  check(() => new Heddle().runSaga("any", "s", { any: "thing" }));
});

it("events of a subscription are known as those of a history are", () => {
  check(async () => {
    for await (const event of many().subscribe()) expectTypeOf(event).toEqualTypeOf<HistoryEvent<typeof bank>>();
    for await (const event of many().subscribe("Limit", { from: 8 })) {
      expectTypeOf(event.type).toEqualTypeOf<"LimitSet">();
      expectTypeOf(event.payload).toEqualTypeOf<{ max: number }>();
    }
    for await (const event of one().subscribe({ from: "now" })) {
      if (event.type === "Credited") expectTypeOf(event.payload.note).toEqualTypeOf<string>();
    }
    // @ts-expect-error no such aggregate
    one().subscribe("Limit");
    // @ts-expect-error no such beginning
    one().subscribe("Account", { from: "then" });
    untyped().subscribe("Whatever");
  });
});
