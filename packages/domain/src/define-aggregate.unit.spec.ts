// Goal: the types that flow from a domain module, without annotations by its author; checked by tsc.
// What the definitions do once they run is tested in compile.unit.spec.ts.
import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import {
  type AggregateName,
  type AnyContext,
  type CommandContext,
  type CommandInput,
  type CommandName,
  command,
  defineAggregate,
  defineContext,
  type EventInputOf,
  type EventOf,
  type EventType,
  event,
  type Payload,
  type PayloadInput,
  reject,
  type State,
} from "./index.ts";

const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0 }),
  events: {
    Credited: event(z.object({ amount: z.number(), currency: z.enum(["EUR", "USD"]).default("EUR") }), (s, e) => {
      expectTypeOf(s).toEqualTypeOf<{ balance: number }>();
      expectTypeOf(e).toEqualTypeOf<{ amount: number; currency: "EUR" | "USD" }>();
      return { balance: s.balance + e.amount };
    }),
    Debited: event(v.object({ amount: v.pipe(v.string(), v.transform(Number)) }), (s, e) => {
      expectTypeOf(s).toEqualTypeOf<{ balance: number }>();
      expectTypeOf(e).toEqualTypeOf<{ amount: number }>();
      return { balance: s.balance - e.amount };
    }),
    Tagged: event(type({ tags: "string[]" }), (s, e) => {
      expectTypeOf(e).toEqualTypeOf<{ tags: string[] }>();
      return s;
    }),
  },
  invariants: {
    "balance is never negative": (s) => {
      expectTypeOf(s).toEqualTypeOf<{ balance: number }>();
      return s.balance >= 0;
    },
  },
  commands: {
    Withdraw: command(z.object({ amount: z.number() }), (s, input, context) => {
      expectTypeOf(s).toEqualTypeOf<{ balance: number }>();
      expectTypeOf(input).toEqualTypeOf<{ amount: number }>();
      expectTypeOf(context).toEqualTypeOf<CommandContext>();
      if (s.balance < input.amount) return reject("INSUFFICIENT_FUNDS", { balance: s.balance });
      return { type: "Debited", payload: { amount: String(input.amount) } };
    }),
    Tag: command(z.object({ tag: z.string() }), (_, { tag }) => [
      { type: "Tagged", payload: { tags: [tag, "new"] } },
      { type: "Credited", payload: { amount: 1, currency: "EUR" } },
    ]),
  },
});

const Order = defineAggregate("Order", {
  version: 3,
  initial: (): { status: "open" | "closed"; lines: readonly string[] } => ({ status: "open", lines: [] }),
  events: {
    Closed: event(z.object({}), (s) => ({ ...s, status: "closed" })),
  },
});

const bank = defineContext("bank", { aggregates: [Account, Order] });
type Bank = typeof bank;

describe("types: writing an aggregate", () => {
  it("the state of folds, rules and commands comes from initial, in whatever order the parts are written", () => {
    const reversed = defineAggregate("Reversed", {
      commands: {
        Add: command(z.object({ by: z.number() }), (s, { by }) => {
          expectTypeOf(s).toEqualTypeOf<{ total: number }>();
          return { type: "Added", payload: { by } };
        }),
      },
      events: {
        Added: event(z.object({ by: z.number() }), (s, e) => {
          expectTypeOf(s).toEqualTypeOf<{ total: number }>();
          return { total: s.total + e.by };
        }),
      },
      initial: () => ({ total: 0 }),
      version: 1,
    });
    expectTypeOf(reversed.name).toEqualTypeOf<"Reversed">();
  });

  it("a fold that returns another shape than the state does not compile", () => {
    defineAggregate("Wrong", {
      version: 1,
      initial: () => ({ balance: 0 }),
      events: {
        // @ts-expect-error: the state has balance, not balanse
        Credited: event(z.object({ amount: z.number() }), (s, e) => ({ balanse: s.balance + e.amount })),
        // @ts-expect-error: the state is a number too much
        Debited: event(z.object({ amount: z.number() }), (s) => s.balance),
      },
    });
  });

  it("a fold that reads what state or payload do not have does not compile", () => {
    defineAggregate("Wrong", {
      version: 1,
      initial: () => ({ balance: 0 }),
      events: {
        // @ts-expect-error: no such part of the state
        Credited: event(z.object({ amount: z.number() }), (s) => ({ balance: s.balanse })),
        // @ts-expect-error: no such part of the payload
        Debited: event(z.object({ amount: z.number() }), (s, e) => ({ balance: s.balance - e.sum })),
      },
    });
  });

  it("a rule that does not answer with true or false does not compile", () => {
    defineAggregate("Wrong", {
      version: 1,
      initial: () => ({ balance: 0 }),
      events: { Credited: event(z.object({ amount: z.number() }), (s, e) => ({ balance: s.balance + e.amount })) },
      invariants: {
        // @ts-expect-error: a number
        "not a boolean": (s) => s.balance,
        // @ts-expect-error: a promise
        asynchronous: async (s) => s.balance >= 0,
      },
    });
  });

  it("a command may decide only to events of its own aggregate, with payloads that fit", () => {
    defineAggregate("Wrong", {
      version: 1,
      initial: () => ({ balance: 0 }),
      events: { Credited: event(z.object({ amount: z.number() }), (s, e) => ({ balance: s.balance + e.amount })) },
      commands: {
        // @ts-expect-error: no such event
        Unknown: command(z.object({}), () => ({ type: "Debited", payload: { amount: 1 } })),
        // @ts-expect-error: the payload lacks its amount
        Unfit: command(z.object({}), () => ({ type: "Credited", payload: {} })),
        // @ts-expect-error: one of the two is unknown
        Half: command(z.object({}), () => [
          { type: "Credited", payload: { amount: 1 } },
          { type: "X", payload: {} },
        ]),
        // @ts-expect-error: deciding is synchronous
        Later: command(z.object({}), async () => ({ type: "Credited", payload: { amount: 1 } })),
      },
    });
  });

  it("an aggregate or context that is not made by define does not compile", () => {
    // @ts-expect-error: not an aggregate
    defineContext("wrong", { aggregates: [{ version: 1 }] });
    // @ts-expect-error: a fold without its schema
    defineAggregate("Wrong", { version: 1, initial: () => 0, events: { A: (s: number) => s } });
  });
});

describe("types: older versions of an event", () => {
  const money = z.object({ cents: z.number(), currency: z.enum(["EUR", "USD"]), tags: z.array(z.string()) });
  const stateOf = { version: 1, initial: () => ({ balance: 0 }) };
  type V1 = { readonly amount: number };
  type V2 = { readonly cents: number };

  it("upcasters leave the inference of state and payload as it is, over every library", () => {
    defineAggregate("Account", {
      ...stateOf,
      events: {
        Credited: event(
          money,
          (s, e) => {
            expectTypeOf(s).toEqualTypeOf<{ balance: number }>();
            expectTypeOf(e).toEqualTypeOf<{ cents: number; currency: "EUR" | "USD"; tags: string[] }>();
            return { balance: s.balance + e.cents };
          },
          {
            version: 3,
            upcast: {
              1: (old: V1) => ({ cents: old.amount * 100 }),
              2: (old: V2) => ({ ...old, currency: "EUR", tags: [] }),
            },
          },
        ),
        Debited: event(v.object({ cents: v.number() }), (s, e) => ({ balance: s.balance - e.cents }), {
          version: 2,
          upcast: { 1: (old: V1) => ({ cents: old.amount * 100 }) },
        }),
        Moved: event(type({ cents: "number" }), (s, e) => ({ balance: s.balance + e.cents }), {
          version: 2,
          upcast: { 1: (old: V1) => ({ cents: old.amount * 100 }) },
        }),
        Kept: event(money, (s) => s, { version: 1 }),
      },
    });
  });

  it("a missing upcaster, or one too many, does not compile", () => {
    const upcast = (old: V2) => ({ ...old, currency: "EUR", tags: [] });
    defineAggregate("Wrong", {
      ...stateOf,
      events: {
        // @ts-expect-error: nothing takes version 1 to 2
        First: event(money, (s) => s, { version: 3, upcast: { 2: upcast } }),
        // @ts-expect-error: nothing takes version 2 to 3
        Last: event(money, (s) => s, { version: 3, upcast: { 1: upcast } }),
        // @ts-expect-error: no upcasters at all
        None: event(money, (s) => s, { version: 2 }),
        // @ts-expect-error: version 2 is the newest
        Many: event(money, (s) => s, { version: 2, upcast: { 1: upcast, 2: upcast } }),
        // @ts-expect-error: there is only version 1
        Unasked: event(money, (s) => s, { upcast: { 1: upcast } }),
      },
    });
  });

  it("a last upcaster whose result is not the schema's does not compile; what others give is their author's", () => {
    defineAggregate("Wrong", {
      ...stateOf,
      events: {
        // @ts-expect-error: the currency is a word
        Kind: event(money, (s) => s, { version: 2, upcast: { 1: (old: V2) => ({ ...old, currency: 7, tags: [] }) } }),
        // @ts-expect-error: the currency is not there
        Part: event(money, (s) => s, { version: 2, upcast: { 1: (old: V2) => ({ ...old, tags: [] }) } }),
        // @ts-expect-error: upcasters are synchronous
        Late: event(z.object({}), (s) => s, { version: 2, upcast: { 1: async (old: V2) => old } }),
        // @ts-expect-error: nobody knows what was stored before the author says it
        Bare: event(z.object({ b: z.number() }), (s) => s, { version: 2, upcast: { 1: (old) => ({ b: old.a }) } }),
        Fine: event(money, (s) => s, {
          version: 3,
          upcast: { 1: (old: string) => old.length, 2: (cents: number) => ({ cents, currency: "EUR", tags: ["old"] }) },
        }),
      },
    });
  });

  it("a version that is not known at compile time, or too high to count, is checked when the module is loaded", () => {
    const version: number = 2;
    event(money, (s: number) => s, { version, upcast: { 1: (old: V2) => old } });
    event(money, (s: number) => s, { version: 65_535, upcast: { 1: (old: V2) => old } });
  });
});

describe("types: what a context tells a client", () => {
  it("knows aggregates, events and commands by name", () => {
    expectTypeOf<AggregateName<Bank>>().toEqualTypeOf<"Account" | "Order">();
    expectTypeOf<EventType<Bank, "Account">>().toEqualTypeOf<"Credited" | "Debited" | "Tagged">();
    expectTypeOf<EventType<Bank, "Order">>().toEqualTypeOf<"Closed">();
    expectTypeOf<CommandName<Bank, "Account">>().toEqualTypeOf<"Withdraw" | "Tag">();
    expectTypeOf<CommandName<Bank, "Order">>().toEqualTypeOf<never>();
  });

  it("a writer sends the schema's input, a reader sees its output", () => {
    expectTypeOf<PayloadInput<Bank, "Account", "Credited">>().toEqualTypeOf<{
      amount: number;
      currency?: "EUR" | "USD" | undefined;
    }>();
    expectTypeOf<Payload<Bank, "Account", "Credited">>().toEqualTypeOf<{ amount: number; currency: "EUR" | "USD" }>();
    expectTypeOf<PayloadInput<Bank, "Account", "Debited">>().toEqualTypeOf<{ amount: string }>();
    expectTypeOf<Payload<Bank, "Account", "Debited">>().toEqualTypeOf<{ amount: number }>();
    expectTypeOf<CommandInput<Bank, "Account", "Withdraw">>().toEqualTypeOf<{ amount: number }>();
  });

  it("knows the state of each aggregate", () => {
    expectTypeOf<State<Bank, "Account">>().toEqualTypeOf<{ balance: number }>();
    expectTypeOf<State<Bank, "Order">>().toEqualTypeOf<{ status: "open" | "closed"; lines: readonly string[] }>();
  });

  it("the type of an event tells its payload", () => {
    const seen = (event: EventOf<Bank, "Account">): number => {
      if (event.type === "Tagged") return event.payload.tags.length;
      expectTypeOf(event.type).toEqualTypeOf<"Credited" | "Debited">();
      return event.payload.amount;
    };
    expect(seen({ type: "Debited", payload: { amount: 7 } })).toBe(7);
    expectTypeOf<{ type: "Debited"; payload: { amount: "7" } }>().toExtend<EventInputOf<Bank, "Account">>();
    expectTypeOf<{ type: "Debited"; payload: { amount: 7 } }>().not.toExtend<EventInputOf<Bank, "Account">>();
  });

  it("a context is one of AnyContext, over which names are strings and the rest is unknown", () => {
    expectTypeOf<Bank>().toExtend<AnyContext>();
    expectTypeOf<AggregateName<AnyContext>>().toEqualTypeOf<string>();
    expectTypeOf<EventType<AnyContext, "Whatever">>().toEqualTypeOf<string>();
    expectTypeOf<PayloadInput<AnyContext, "Whatever", "Happened">>().toEqualTypeOf<unknown>();
    expectTypeOf<Payload<AnyContext, string, string>>().toEqualTypeOf<unknown>();
    expectTypeOf<State<AnyContext, "Whatever">>().toEqualTypeOf<unknown>();
    expectTypeOf<CommandName<AnyContext, "Whatever">>().toEqualTypeOf<string>();
    expectTypeOf<CommandInput<AnyContext, "Whatever", "Do">>().toEqualTypeOf<unknown>();
    expectTypeOf<EventOf<AnyContext, string>>().toEqualTypeOf<{ readonly type: string; readonly payload: unknown }>();
  });

  it("serves a client that is generic over its context, typed and untyped", () => {
    class Client<C extends AnyContext = AnyContext> {
      append<A extends AggregateName<C>, T extends EventType<C, A>>(
        type: T,
        payload: PayloadInput<C, A, T>,
        options: { aggregate: A },
      ): readonly [string, unknown, string] {
        return [type, payload, options.aggregate];
      }
    }
    new Client<Bank>().append("Debited", { amount: "7" }, { aggregate: "Account" });
    new Client().append("Anything", { at: "all" }, { aggregate: "Whatever" });
    // @ts-expect-error: Order has no such event
    new Client<Bank>().append("Debited", { amount: "7" }, { aggregate: "Order" });
    // @ts-expect-error: a writer sends a string
    new Client<Bank>().append("Debited", { amount: 7 }, { aggregate: "Account" });
  });
});
