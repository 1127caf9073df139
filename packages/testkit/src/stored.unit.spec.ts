// Goal: tests may tell events as they were stored years ago; upcasters can be tested alone; one that is not pure, or that
// makes something else than plain data, fails the test and is named.
import { AssertionError } from "node:assert";
import { type AnyAggregate, defineAggregate, event } from "@heddle/domain";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { given, stored } from "./index.ts";

const Account = defineAggregate("Account", {
  version: 1,
  initial: () => ({ cents: 0, currencies: [] as readonly string[] }),
  events: {
    Credited: event(
      z.object({ cents: z.int().positive(), currency: z.enum(["EUR", "USD"]) }),
      (s, e) => ({ cents: s.cents + e.cents, currencies: [...s.currencies, e.currency] }),
      {
        version: 3,
        upcast: {
          1: (old: { readonly amount: number }) => ({ cents: old.amount * 100 }),
          2: (old: { readonly cents: number }) => ({ ...old, currency: "EUR" }),
        },
      },
    ),
    Closed: event(z.object({ note: z.string().optional() }), (s) => s),
  },
  invariants: { "at most 10 euros": (s) => s.cents <= 1_000 },
});

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

describe("stored: upcasters alone", () => {
  it("an event of an older version reads in the newest shape", () => {
    stored(Account, { type: "Credited", schemaVersion: 1, payload: { amount: 5 } }).readsAs({
      cents: 500,
      currency: "EUR",
    });
    stored(Account, { type: "Credited", schemaVersion: 2, payload: { cents: 5 } }).readsAs({
      cents: 5,
      currency: "EUR",
    });
  });

  it("an event of the newest version reads as it is", () => {
    const payload = { cents: 5, currency: "USD" } as const;
    stored(Account, { type: "Credited", schemaVersion: 3, payload }).readsAs(payload);
    stored(Account, { type: "Closed", schemaVersion: 1, payload: {} }).readsAs({ note: undefined });
  });

  it("another payload than the expected fails, showing both, at the line of the test", () => {
    const old = stored(Account, { type: "Credited", schemaVersion: 1, payload: { amount: 5 } });
    const error = failure(() => old.readsAs({ cents: 5, currency: "EUR" }));
    expect(error.message).toBe(
      "version 1 of Account.Credited does not read as expected\n" +
        "  wanted: { cents: 5, currency: 'EUR' }\n" +
        "  found:  { cents: 500, currency: 'EUR' }",
    );
    expect(error.stack?.split("\n").find((line) => line.includes(" at "))).toContain("stored.unit.spec.ts");
  });

  it("events that the aggregate does not have, and payloads that no reader can see, do not compile", () => {
    // @ts-expect-error: no such event
    const unknown = failure(() => stored(Account, { type: "Opened", schemaVersion: 1, payload: {} }));
    expect(unknown.message).toBe("Account has no event Opened; known: Credited, Closed");
    const old = stored(Account, { type: "Credited", schemaVersion: 1, payload: { amount: 5 } });
    // @ts-expect-error: the newest shape has no amount
    failure(() => old.readsAs({ amount: 5 }));
  });

  it.each([
    ["Credited", 4, "there are versions 1 to 3"],
    ["Credited", 0, "there are versions 1 to 3"],
    ["Credited", 1.5, "there are versions 1 to 3"],
    ["Closed", 2, "there is only version 1"],
  ] as const)("an event %s cannot have been stored at version %d", (type, schemaVersion, known) => {
    const sentence = `Account.${type} cannot have been stored at version ${schemaVersion}: ${known}`;
    expect(failure(() => stored(Account, { type, schemaVersion, payload: {} })).message).toBe(sentence);
    expect(failure(() => given(Account, [{ type, schemaVersion, payload: {} }])).message).toBe(sentence);
  });

  it("an aggregate with a missing upcaster is refused before anything runs", () => {
    const { upcast } = { upcast: {} as Record<number, () => unknown> };
    const version: number = 2;
    const Stale = defineAggregate("Stale", {
      version: 1,
      initial: () => 0,
      events: { A: event(z.int(), (s) => s, { version, upcast }) },
    });
    expect(() => given(Stale)).toThrow("Stale.A is at version 2 and has no upcaster from version 1 to 2");
  });
});

describe("given: events as they were stored", () => {
  it("older versions are upcast before they are folded, among events of today", () => {
    given(Account, [
      { type: "Credited", schemaVersion: 1, payload: { amount: 1 } },
      { type: "Credited", payload: { cents: 1, currency: "USD" } },
      { type: "Credited", schemaVersion: 2, payload: { cents: 10 } },
    ]).thenState({ cents: 111, currencies: ["EUR", "USD", "EUR"] });
  });

  it("P3 rules are asked after them too", () => {
    expect(
      failure(() => given(Account, [{ type: "Credited", schemaVersion: 1, payload: { amount: 11 } }])).message,
    ).toBe('the given events cannot have happened: event 0 (Credited) breaks the rule "at most 10 euros"');
  });

  it("what is stored is what a schema made, and is not asked to fit it again", () => {
    const Measured = defineAggregate("Measured", {
      version: 1,
      initial: () => 0,
      events: {
        Read: event(z.string().transform(Number), (s, e) => s + e, {
          version: 2,
          upcast: { 1: (old: { readonly value: number }) => old.value },
        }),
      },
    });
    given(Measured, [
      { type: "Read", schemaVersion: 1, payload: { value: 1 } },
      { type: "Read", schemaVersion: 2, payload: 20 },
      { type: "Read", payload: "300" },
    ])
      .when({ type: "Read", payload: "4000" })
      .thenState(4321);
  });

  it("an event that happens now is of the newest version, whatever it says", () => {
    const old = { type: "Credited", schemaVersion: 1, payload: { amount: 5, cents: 5, currency: "EUR" } } as const;
    given(Account)
      .when(old)
      .thenState({ cents: 5, currencies: ["EUR"] });
  });
});

describe("stored: upcasters that are not pure fail the test", () => {
  const upcasting = (step: (old: { item: string }) => unknown) => {
    const Cart = defineAggregate("Cart", {
      version: 1,
      initial: () => 0,
      events: {
        Added: event(z.unknown(), (s) => s, { version: 3, upcast: { 1: (old: { item: string }) => old, 2: step } }),
      },
    });
    const old = { type: "Added", schemaVersion: 1, payload: { item: "book" } } as const;
    const { message } = failure(() => stored(Cart, old));
    expect(failure(() => given(Cart, [old])).message).toBe(message);
    return message;
  };
  const where = "the upcaster of Cart.Added from version 2 to 3";
  const changes = `${where} is impure: it changes what it is given. Return a new value instead`;

  it("one that writes into the old payload", () => {
    const message = upcasting((old) => {
      old.item = old.item.trim();
      return old;
    });
    expect(message).toContain(changes);
  });

  it("one in sloppy mode, whose writes to something frozen are silently ignored", () => {
    expect(upcasting(new Function("old", "delete old.item; return { sku: 1 };") as () => unknown)).toBe(changes);
  });

  it("one that throws dice, counts, or looks at the clock", () => {
    let calls = 0;
    for (const step of [Math.random, () => calls++, () => Date.now(), (old: object) => ({ ...old, at: new Date() })]) {
      expect(upcasting(step)).toContain(`${where} is impure: it gives different answers to the same arguments`);
    }
  });

  it("one that throws, or answers with nothing, a promise, or what is not plain data", () => {
    const thrower = () => {
      throw new RangeError("off the edge");
    };
    expect(upcasting(thrower)).toBe(`${where} failed: RangeError: off the edge`);
    expect(upcasting(() => undefined)).toBe(`${where} failed: it returned nothing, wanted the payload of version 3`);
    expect(upcasting(async () => ({}))).toBe(`${where} failed: it returned a promise, wanted the payload of version 3`);
    expect(upcasting(() => ({ lines: new Map() }))).toContain(
      "version 3 of Cart.Added.lines is a Map; wanted plain data",
    );
  });

  it("a stored payload that is not plain data", () => {
    const event = { type: "Closed", schemaVersion: 1, payload: { at: new Set() } } as const;
    expect(failure(() => stored(Account, event)).message).toContain(
      "the stored payload of Account.Closed.at is a Set; wanted plain data",
    );
  });

  it("works over an aggregate of which nothing is known at compile time", () => {
    const untyped: AnyAggregate = Account;
    stored(untyped, { type: "Credited", schemaVersion: 2, payload: { cents: 5 } }).readsAs({
      cents: 5,
      currency: "EUR",
    });
  });
});
