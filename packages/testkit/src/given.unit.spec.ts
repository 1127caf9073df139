// Goal: given/when/then tells right from wrong about an aggregate, finds folds and deciders that are not pure, and says
// in its message what was wanted and what was found.
// Method: every expectation is tried where it holds and where it does not. Older versions are in stored.unit.spec.ts.
import { AssertionError } from "node:assert";
import { command as decider, defineAggregate, event, reject } from "@heddle/domain";
import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { command, given, type ThenEvent } from "./index.ts";

const amount = z.object({ amount: z.int().positive(), currency: z.string().default("EUR") });

const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ balance: 0, log: [] as readonly string[] }),
  events: {
    Credited: event(amount, (s, e) => ({ balance: s.balance + e.amount, log: [...s.log, e.currency] })),
    Debited: event(amount, (s, e) => ({ balance: s.balance - e.amount, log: [...s.log, e.currency] })),
  },
  invariants: { "balance is never negative": (s) => s.balance >= 0 },
  commands: {
    Withdraw: decider(z.object({ amount: z.int() }), (s, input) =>
      s.balance < input.amount
        ? reject("INSUFFICIENT_FUNDS", { balance: s.balance, asked: input.amount })
        : { type: "Debited", payload: { amount: input.amount } },
    ),
    Stamp: decider(z.object({}), (_, __, { entity, now }) => ({
      type: "Credited",
      payload: { amount: now, currency: entity },
    })),
    Twice: decider(z.object({ amount: z.int() }), (_, input) => [
      { type: "Debited", payload: input },
      { type: "Debited", payload: input },
    ]),
  },
});

const credited = (amount: number) => ({ type: "Credited", payload: { amount } }) as const;
const debited = (amount: number) => ({ type: "Debited", payload: { amount } }) as const;

/** The message of the assertion that the given test fails with. */
function failure(test: () => unknown): AssertionError {
  try {
    test();
  } catch (error) {
    if (error instanceof AssertionError) return error;
    throw error;
  }
  return expect.unreachable("the test passed");
}

describe("given/when/then: what holds", () => {
  it("an event is accepted, and the state follows", () => {
    given(Account)
      .when(credited(5))
      .thenEvents([{ type: "Credited", payload: { amount: 5, currency: "EUR" } }])
      .thenState({ balance: 5, log: ["EUR"] });
  });

  it("the given events alone make a state", () => {
    given(Account, [credited(5), debited(2)]).thenState({ balance: 3, log: ["EUR", "EUR"] });
    given(Account).thenState({ balance: 0, log: [] });
  });

  it("a command decides on the state that the given events made", () => {
    given(Account, [credited(5), credited(6)])
      .when(command("Withdraw", { amount: 11 }))
      .thenEvents([{ type: "Debited", payload: { amount: 11, currency: "EUR" } }])
      .thenState({ balance: 0, log: ["EUR", "EUR", "EUR"] });
  });

  it("a rejection is known by its code, and by its facts where the test names them", () => {
    given(Account, [credited(5)])
      .when(command("Withdraw", { amount: 6 }))
      .thenRejected("INSUFFICIENT_FUNDS")
      .thenRejected("INSUFFICIENT_FUNDS", { balance: 5, asked: 6 })
      .thenState({ balance: 5, log: ["EUR"] });
  });

  it("P3 a broken invariant is known by its name", () => {
    given(Account, [credited(5)])
      .when(debited(6))
      .thenRejected("balance is never negative");
  });

  it("P3 several events are one append: the rule is asked after each, and one failure undoes all", () => {
    given(Account)
      .when([credited(5), debited(6), credited(9)])
      .thenRejected("balance is never negative")
      .thenState({ balance: 0, log: [] });
    given(Account, [credited(5)])
      .when(command("Twice", { amount: 3 }))
      .thenRejected("balance is never negative");
    given(Account, [credited(6)])
      .when(command("Twice", { amount: 3 }))
      .thenState({ balance: 0, log: ["EUR", "EUR", "EUR"] });
  });

  it("P7 what does not fit its schema is known by its path", () => {
    given(Account).when(credited(-5)).thenInvalid("amount");
    given(Account)
      .when(command("Withdraw", { amount: 1.5 }))
      .thenInvalid("amount")
      .thenState({ balance: 0, log: [] });
  });

  it("entity and time come in from the test", () => {
    given(Account)
      .when(command("Stamp", {}, { entity: "account/alice", now: 7 }))
      .thenEvents([{ type: "Credited", payload: { amount: 7, currency: "account/alice" } }]);
  });

  it("a key whose value is undefined counts as absent, on both sides", () => {
    const Noted = defineAggregate("Noted", {
      version: 1,
      initial: (): { note?: string | undefined } => ({}),
      events: { Noted: event(z.object({ note: z.string().optional() }), (_, e) => ({ note: e.note })) },
    });
    given(Noted).when({ type: "Noted", payload: {} }).thenState({});
    given(Noted)
      .when({ type: "Noted", payload: { note: undefined } })
      .thenEvents([{ type: "Noted", payload: {} }]);
  });

  it("dates and bytes are plain data", () => {
    const Blob = defineAggregate("Blob", {
      version: 1,
      initial: () => ({ at: new Date(0), bytes: new Uint8Array() }),
      events: {
        Stored: event(z.object({ at: z.date(), bytes: z.instanceof(Uint8Array) }), (_, e) => ({
          at: e.at,
          bytes: e.bytes,
        })),
      },
    });
    const payload = { at: new Date(5), bytes: Uint8Array.of(1, 2) };
    given(Blob).when({ type: "Stored", payload }).thenState(payload);
  });

  it("what the test itself passes in stays as it is, and is not frozen", () => {
    const payload = { amount: 5 };
    given(Account, [{ type: "Credited", payload }])
      .when({ type: "Credited", payload })
      .thenState({ balance: 10, log: ["EUR", "EUR"] });
    payload.amount = 6;
    expect(payload).toEqual({ amount: 6 });
  });
});

describe("given/when/then: what does not hold fails with a message that shows both sides", () => {
  it("other events", () => {
    const error = failure(() =>
      given(Account)
        .when(credited(5))
        .thenEvents([{ type: "Credited", payload: { amount: 6, currency: "EUR" } }]),
    );
    expect(error.message).toBe(
      "the events are not the expected ones\n" +
        "  wanted: [ { type: 'Credited', payload: { amount: 6, currency: 'EUR' } } ]\n" +
        "  found:  [ { type: 'Credited', payload: { amount: 5, currency: 'EUR' } } ]",
    );
    expect(error.actual).toEqual([{ type: "Credited", payload: { amount: 5, currency: "EUR" } }]);
    expect(error.expected).toEqual([{ type: "Credited", payload: { amount: 6, currency: "EUR" } }]);
  });

  it("an event more or less", () => {
    const outcome = given(Account).when([credited(5), credited(5)]);
    expect(failure(() => outcome.thenEvents([])).message).toContain("wanted: []");
    expect(
      failure(() => outcome.thenEvents([{ type: "Credited", payload: { amount: 5, currency: "EUR" } }])),
    ).toBeDefined();
  });

  it("events where there was a rejection, a broken rule or a misfit", () => {
    const wanting = (test: ReturnType<typeof given<typeof Account>>, amount: number) =>
      failure(() => test.when(command("Withdraw", { amount })).thenEvents([])).message;
    expect(wanting(given(Account), 7)).toBe(
      "wanted events, but it was rejected: INSUFFICIENT_FUNDS { balance: 0, asked: 7 }",
    );
    expect(wanting(given(Account), 0.5)).toMatch(/^wanted events, but Withdraw does not fit its schema: amount: /);
    expect(
      failure(() =>
        given(Account)
          .when([credited(1), debited(2)])
          .thenEvents([]),
      ).message,
    ).toBe('wanted events, but event 1 (Debited) breaks the rule "balance is never negative"');
  });

  it("another state", () => {
    const error = failure(() =>
      given(Account)
        .when(credited(5))
        .thenState({ balance: 4, log: ["EUR"] }),
    );
    expect(error.message).toContain("the state is not the expected one (it was accepted:");
    expect(error.message).toContain("wanted: { balance: 4, log: [ 'EUR' ] }");
    expect(error.message).toContain("found:  { balance: 5, log: [ 'EUR' ] }");
  });

  it("another state of the given events alone, at the line of the test", () => {
    const error = failure(() => given(Account, [credited(5)]).thenState({ balance: 4, log: ["EUR"] }));
    expect(error.message).toBe(
      "the given events make another state\n" +
        "  wanted: { balance: 4, log: [ 'EUR' ] }\n" +
        "  found:  { balance: 5, log: [ 'EUR' ] }",
    );
    expect(error.stack?.split("\n").find((line) => line.includes(" at "))).toContain("given.unit.spec.ts");
  });

  it("a rejection where there was none, or another one", () => {
    expect(failure(() => given(Account).when(credited(5)).thenRejected("NO")).message).toMatch(
      /^wanted the rejection NO, but it was accepted: /,
    );
    expect(failure(() => given(Account).when(debited(5)).thenRejected("NO")).message).toBe(
      'wanted the rejection NO, but event 0 (Debited) breaks the rule "balance is never negative"',
    );
  });

  it("other facts", () => {
    const outcome = given(Account).when(command("Withdraw", { amount: 6 }));
    const error = failure(() => outcome.thenRejected("INSUFFICIENT_FUNDS", { balance: 1, asked: 6 }));
    expect(error.message).toContain("the facts of INSUFFICIENT_FUNDS are not the expected ones");
  });

  it("another path", () => {
    const outcome = given(Account).when(credited(-1));
    expect(failure(() => outcome.thenInvalid("")).message).toMatch(
      /^wanted the whole value not to fit its schema, but /,
    );
    expect(failure(() => given(Account).when(credited(1)).thenInvalid("amount")).message).toContain("it was accepted");
  });

  it("the stack begins at the line of the test", () => {
    const error = failure(() => given(Account).when(credited(5)).thenRejected("NO"));
    expect(error.stack?.split("\n")[1]).toContain("given.unit.spec.ts");
  });
});

describe("given/when/then: tests that cannot be right", () => {
  it("given events that do not fit or break a rule cannot have happened", () => {
    expect(failure(() => given(Account, [credited(0.5)])).message).toMatch(
      /^the given events cannot have happened: Credited does not fit its schema: amount: /,
    );
    expect(failure(() => given(Account, [credited(1), debited(2)])).message).toBe(
      'the given events cannot have happened: event 1 (Debited) breaks the rule "balance is never negative"',
    );
  });

  it("events and commands that the aggregate does not have do not compile, and fail in plain JavaScript", () => {
    // @ts-expect-error: no such event
    expect(failure(() => given(Account).when({ type: "Closed", payload: {} })).message).toBe(
      "Account has no event Closed; known: Credited, Debited",
    );
    // @ts-expect-error: no such command
    expect(failure(() => given(Account).when(command("Close", {}))).message).toBe(
      "Account has no command Close; known: Withdraw, Stamp, Twice",
    );
  });

  it("payloads, inputs and states of other types do not compile", () => {
    const text = { amount: "5" };
    // @ts-expect-error: amount is a number
    given(Account).when({ type: "Credited", payload: text }).thenInvalid("amount");
    // @ts-expect-error: amount is a number
    given(Account).when(command("Withdraw", text)).thenInvalid("amount");
    // @ts-expect-error: the state has a log
    failure(() => given(Account).when(credited(5)).thenState({ balance: 5 }));
    expectTypeOf<ThenEvent<typeof Account>["type"]>().toEqualTypeOf<"Credited" | "Debited">();
  });

  it("an aggregate that is malformed is refused before anything runs", () => {
    const malformed = defineAggregate("Malformed", { version: 0, initial: () => 0, events: {} });
    expect(() => given(malformed)).toThrow(/version must be a whole number from 1/);
  });
});

describe("given/when/then: code that is not pure fails the test", () => {
  const one = z.object({ item: z.string() });
  const folding = (fold: (s: { items: string[] }, e: { item: string }) => { items: string[] }) =>
    failure(() =>
      given(
        defineAggregate("Cart", {
          version: 1,
          initial: () => ({ items: [] as string[] }),
          events: { Added: event(one, fold) },
        }),
      )
        .when({ type: "Added", payload: { item: "book" } })
        .thenState({ items: ["book"] }),
    ).message;
  const changes = "is impure: it changes what it is given. Return a new value instead";

  it("a fold that writes into the state", () => {
    expect(
      folding((s, e) => {
        s.items.push(e.item);
        return s;
      }),
    ).toContain(`the fold of Cart.Added ${changes} (TypeError: Cannot add property 0`);
  });

  it("a fold that writes into the payload", () => {
    expect(
      folding((s, e) => {
        e.item = e.item.trim();
        return { items: [...s.items, e.item] };
      }),
    ).toContain(`the fold of Cart.Added ${changes} (TypeError: Cannot assign to read only property 'item'`);
  });

  it("a fold in sloppy mode, whose writes to something frozen are silently ignored", () => {
    const sloppy = new Function("s", "e", "e.item = 'pen'; return { items: s.items.concat('book') };");
    expect(folding(sloppy as (s: { items: string[] }) => { items: string[] })).toBe(
      `the fold of Cart.Added ${changes}`,
    );
  });

  it("a fold that changes bytes in place, which nothing can freeze", () => {
    const Bitmap = defineAggregate("Bitmap", {
      version: 1,
      initial: () => ({ bits: new Uint8Array(2) }),
      events: {
        Set: event(z.object({ at: z.int() }), (s, e) => {
          s.bits[e.at] = 1;
          return { bits: s.bits };
        }),
      },
    });
    const error = failure(() => given(Bitmap).when({ type: "Set", payload: { at: 1 } }));
    expect(error.message).toBe(`the fold of Bitmap.Set ${changes}`);
  });

  it("a fold that counts, or throws dice", () => {
    let calls = 0;
    expect(folding((s) => ({ items: [...s.items, `${calls++}`] }))).toContain(
      "gives different answers to the same arguments",
    );
    expect(folding((s) => ({ items: [...s.items, `${Math.random()}`] }))).toContain("the fold of Cart.Added is impure");
  });

  it("a fold that looks at the clock, however coarsely", () => {
    for (const now of [
      () => Date.now(),
      () => new Date().toISOString(),
      () => Date(),
      () => new Date().getFullYear(),
    ]) {
      expect(folding((s) => ({ items: [...s.items, `${now()}`] }))).toContain("gives different answers");
    }
  });

  it("a fold that fails the second time", () => {
    let calls = 0;
    expect(
      folding((s) => {
        if (calls++ > 0) throw new RangeError("enough");
        return s;
      }),
    ).toMatch(/^the fold of Cart\.Added is impure: it gives different answers .* \(RangeError: enough\)$/);
  });

  it("but a fold may work with dates that it is given", () => {
    const Diary = defineAggregate("Diary", {
      version: 1,
      initial: () => ({ last: new Date(0), days: 0 }),
      events: {
        Written: event(z.object({ at: z.date() }), (s, e) => ({
          last: new Date(e.at.getTime()),
          days: e.at instanceof Date && e.at.getTime() > Date.UTC(2020, 1, 1) ? s.days + 1 : s.days,
        })),
      },
    });
    const at = new Date("2026-11-05T10:00:00Z");
    given(Diary).when({ type: "Written", payload: { at } }).thenState({ last: at, days: 1 });
  });

  it("a fold that is impure only in the given events", () => {
    const Cart = defineAggregate("Cart", {
      version: 1,
      initial: () => ({ items: ["first"] }),
      events: {
        Added: event(one, (s, e) => {
          s.items.push(e.item);
          return s;
        }),
      },
    });
    expect(failure(() => given(Cart, [{ type: "Added", payload: { item: "x" } }])).message).toContain(changes);
  });

  it("an invariant that writes, and a decider that writes or throws dice", () => {
    const Cart = defineAggregate("Cart", {
      version: 1,
      initial: () => ({ items: ["b", "a"] }),
      events: { Added: event(one, (s, e) => ({ items: [...s.items, e.item] })), Kept: event(z.object({}), (s) => s) },
      invariants: { sorted: (s) => s.items.length < 3 || s.items.sort().length > 0 },
      commands: {
        Sort: decider(z.object({}), (s) => ({ type: "Added", payload: { item: s.items.sort()[0] ?? "" } })),
        Dice: decider(z.object({}), () => ({ type: "Added", payload: { item: `${Math.random()}` } })),
      },
    });
    const kept = { type: "Kept", payload: {} } as const;
    const added = { type: "Added", payload: { item: "c" } } as const;
    given(Cart)
      .when(kept)
      .thenState({ items: ["b", "a"] });
    expect(failure(() => given(Cart).when(added)).message).toContain(`an invariant of Cart ${changes}`);
    expect(failure(() => given(Cart).when(command("Sort", {}))).message).toContain(`the command Cart.Sort ${changes}`);
    expect(failure(() => given(Cart).when(command("Dice", {}))).message).toContain(
      "the command Cart.Dice is impure: it gives different",
    );
  });
});

describe("given/when/then: code that fails", () => {
  const Odd = defineAggregate("Odd", {
    version: 1,
    initial: () => ({ value: 0 as unknown }),
    events: {
      Set: event(z.object({ value: z.unknown() }), (_, e) => ({ value: e.value })),
      Made: event(z.object({ what: z.string() }), (_, e) => ({ value: makers[e.what]?.() })),
      Fell: event(z.object({}), () => {
        throw new RangeError("off the edge");
      }),
      Later: event(
        z.string().refine(async () => true),
        (s) => s,
      ),
    },
    commands: {
      Fall: decider(z.object({}), () => {
        throw new RangeError("off the edge");
      }),
      Nothing: decider(z.object({}), () => [] as { type: "Fell"; payload: Record<string, never> }[]),
      Misfit: decider(z.object({}), () => ({ type: "Made", payload: { what: 7 as unknown as string } })),
    },
  });
  const makers: Record<string, () => unknown> = {
    map: () => new Map(),
    class: () => new (class Point {})(),
    function: () => () => 1,
    symbol: () => Symbol("x"),
    bigint: () => 1n << 64n,
    promise: () => Promise.resolve(1),
    circle: () => {
      const circle: unknown[] = [];
      circle.push(circle);
      return circle;
    },
  };

  it("a fold or decider that throws fails the test, with what it threw as cause", () => {
    const fell = failure(() => given(Odd).when({ type: "Fell", payload: {} }));
    expect(fell.message).toBe("the fold of Odd.Fell failed: RangeError: off the edge");
    expect(fell.cause).toBeInstanceOf(RangeError);
    expect(failure(() => given(Odd).when(command("Fall", {}))).message).toBe(
      "the command Odd.Fall failed: RangeError: off the edge",
    );
  });

  it("a decider that answers nonsense, or with a payload that does not fit, fails the test", () => {
    expect(failure(() => given(Odd).when(command("Nothing", {}))).message).toMatch(
      /^the command Odd\.Nothing failed: it returned an empty array, wanted an event/,
    );
    expect(failure(() => given(Odd).when(command("Misfit", {}))).message).toMatch(
      /^the command Odd\.Misfit decided to what does not fit: Made does not fit its schema: what: /,
    );
  });

  it("an asynchronous schema fails the test", () => {
    expect(failure(() => given(Odd).when({ type: "Later", payload: "x" })).message).toMatch(
      /^the payload of Odd\.Later could not be validated: the schema answered with a promise/,
    );
  });

  it.each([
    ["map", "a Map"],
    ["class", "a Point"],
    ["function", "a function"],
    ["symbol", "a symbol"],
    ["bigint", "a bigint of more than 64 bits"],
    ["promise", "a Promise"],
    ["circle", "nested deeper than 64 levels"],
  ])("a state with something that is not plain data fails the test: %s", (what, found) => {
    const { message } = failure(() => given(Odd).when({ type: "Made", payload: { what } }));
    expect(message).toMatch(/^the state after Odd\.Made\.value/);
    expect(message).toContain(`is ${found}; wanted plain data`);
  });

  it("a payload that is not plain data fails the test", () => {
    const { message } = failure(() => given(Odd).when({ type: "Set", payload: { value: [1, new Set()] } }));
    expect(message).toContain("the payload of Odd.Set.value.1 is a Set; wanted plain data");
  });

  it("a fold that forgets to return fails the test", () => {
    const forgetful = defineAggregate("Forgetful", {
      version: 1,
      initial: (): number | undefined => 0,
      events: { Forgot: event(z.object({}), () => undefined) },
    });
    expect(failure(() => given(forgetful).when({ type: "Forgot", payload: {} })).message).toMatch(
      /^the state after Forgetful\.Forgot is undefined; wanted plain data/,
    );
  });
});
