// Goal: a domain module's sagas are checked like everything else in it, and typed by its aggregates.
import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { compileContext } from "./compile.ts";
import type { SagaInput, SagaName } from "./context-types.ts";
import { command, defineAggregate, event } from "./define-aggregate.ts";
import { defineContext } from "./define-context.ts";
import { type AnySaga, defineSaga, step } from "./define-saga.ts";

const amount = z.object({ amount: z.number() });
const Account = defineAggregate("Account", {
  version: 1,
  initial: () => 0,
  events: { Credited: event(amount, (s, e) => s + e.amount), Debited: event(amount, (s, e) => s - e.amount) },
  commands: { Deposit: command(amount, () => ({ type: "Credited", payload: { amount: 1 } })) },
});
const input = z.object({ from: z.string(), amount: z.number().default(5) });
const transfer = defineSaga("transfer", {
  input,
  steps: ({ from, amount }) => [
    step(
      `account/${from}`,
      { type: "Debited", payload: { amount } },
      { type: "Credited", payload: { amount } },
      {
        aggregate: Account,
      },
    ),
    [step("account/bank", { command: "Deposit", input: { amount } }, null)],
  ],
});
const bank = defineContext("bank", { aggregates: [Account], sagas: [transfer] });

function refusal(sagas: unknown): string {
  try {
    compileContext(defineContext("bank", { aggregates: [Account], sagas: sagas as readonly AnySaga[] }));
  } catch (error) {
    return (error as Error).message;
  }
  return "it was taken";
}

describe("sagas: compiled", () => {
  it("an input is validated, and its steps come stage by stage with the names of their aggregates", () => {
    const saga = compileContext(bank).sagas.get("transfer")!;
    expect(saga.validate({ from: 5 }).issues).toHaveLength(1);
    const validated = saga.validate({ from: "alice" });
    expect(validated).toMatchObject({ value: { from: "alice", amount: 5 } });
    expect(saga.stages({ from: "alice", amount: 5 })).toEqual([
      [expect.objectContaining({ entity: "account/alice", aggregate: "Account" })],
      [expect.objectContaining({ entity: "account/bank", aggregate: "", back: null })],
    ]);
  });

  it("a context may have none", () => {
    expect(compileContext(defineContext("bank", { aggregates: [Account] })).sagas.size).toBe(0);
  });

  it.each<[string, unknown, string]>([
    ["no list", {}, "sagas must be a list, found an object"],
    ["an aggregate among them", [Account], "sagas[0]: wanted what defineSaga returns, found an aggregate"],
    ["two of one name", [transfer, transfer], "two sagas are named transfer"],
    ["a name of Heddle's own", [defineSaga("$transfer", { input, steps: () => [] })], "begins with $"],
    ["a name that is empty", [defineSaga("", { input, steps: () => [] })], "is empty"],
    [
      "an input that is no schema",
      [defineSaga("t", { input: {} as never, steps: () => [] })],
      "must be a Standard Schema",
    ],
    ["steps that are no function", [defineSaga("t", { input, steps: [] as never })], "the steps must be a function"],
    ["nothing to define", [defineSaga("t", undefined as never)], "must be a Standard Schema"],
  ])("%s is refused when the module is loaded", (_, sagas, message) => {
    expect(refusal(sagas)).toContain(message);
  });

  it.each<[string, () => unknown]>([
    ["nothing", () => undefined],
    ["a promise", () => Promise.reject(new Error("nobody awaits it"))],
    ["something else than steps", () => ["account/alice"]],
    ["a list in a list in a list", () => [[[]]]],
    ["too many steps", () => Array.from({ length: 101 }, () => step("a/b", [], null))],
  ])("steps that are %s fail the module", (_, steps) => {
    const odd = defineSaga("odd", { input, steps: steps as never });
    const saga = compileContext(defineContext("bank", { aggregates: [Account], sagas: [odd] })).sagas.get("odd")!;
    expect(() => saga.stages({})).toThrow("the steps of saga odd");
  });
});

it("sagas: names, inputs and steps are typed", () => {
  expectTypeOf<SagaName<typeof bank>>().toEqualTypeOf<"transfer">();
  expectTypeOf<SagaInput<typeof bank, "transfer">>().toEqualTypeOf<{ from: string; amount?: number | undefined }>();
  const check = (_: () => unknown) => undefined;
  // @ts-expect-error a payload that does not fit its aggregate
  check(() => step("a/b", { type: "Debited", payload: { sum: 1 } }, null, { aggregate: Account }));
  // @ts-expect-error an event that the aggregate does not have
  check(() => step("a/b", { type: "Paid", payload: { amount: 1 } }, null, { aggregate: Account }));
  check(() => step("a/b", { type: "Paid", payload: { amount: 1 } }, null, { aggregate: "Account", timeoutMs: 5 }));
});
