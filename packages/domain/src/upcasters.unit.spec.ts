// Goal: an event that was stored in an older shape is read in its newest, whatever library its schema comes from; a
// missing upcaster is found when the module is loaded, with a sentence that names it.
// Method: real schemas of each library; a property over chains of random steps, held against their composition.
// What the types make of it is tested in define-aggregate.unit.spec.ts.
import { isHeddleError } from "@heddle/kernel";
import { type } from "arktype";
import fc from "fast-check";
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { type CompiledEvent, compileAggregate, compileContext } from "./compile.ts";
import { type AnyAggregate, defineAggregate, event } from "./define-aggregate.ts";
import { defineContext } from "./define-context.ts";

const history = {
  version: 3,
  upcast: {
    1: (old: { readonly amount: number }) => ({ cents: old.amount * 100 }),
    2: (old: { readonly cents: number }) => ({ ...old, currency: "EUR" }),
  },
} as const;

const credited = {
  zod: event(z.object({ cents: z.int(), currency: z.string() }), (s: number, e) => s + e.cents, history),
  valibot: event(v.object({ cents: v.number(), currency: v.string() }), (s: number, e) => s + e.cents, history),
  arktype: event(type({ cents: "number.integer", currency: "string" }), (s: number, e) => s + e.cents, history),
};

/** The aggregate `Account` with the one event `Credited`, made by whatever is given, as plain JavaScript could. */
const account = (credited: unknown): AnyAggregate =>
  (defineAggregate as (name: string, definition: unknown) => AnyAggregate)("Account", {
    version: 1,
    initial: () => 0,
    events: { Credited: credited },
  });
const compiled = (credited: unknown): CompiledEvent => compileAggregate(account(credited)).events.get("Credited")!;
/** `Credited` with options that no type has seen. */
const withOptions = (options: unknown) =>
  (event as (schema: unknown, fold: unknown, options: unknown) => unknown)(z.object({}), (s: unknown) => s, options);

describe.each(Object.entries(credited))("upcasters: over %s", (_, made) => {
  const event = compiled(made);

  it("the newest version is the event's schema version", () => {
    expect(event.schemaVersion).toBe(3);
  });

  it("every older version reads in the newest shape, which the schema takes and the fold understands", () => {
    const newest = { cents: 500, currency: "EUR" };
    expect(event.upcast({ amount: 5 }, 1)).toEqual(newest);
    expect(event.upcast({ cents: 500 }, 2)).toEqual(newest);
    expect(event.validate(event.upcast({ amount: 5 }, 1))).toMatchObject({ value: newest });
    expect(event.fold(1, event.upcast({ amount: 5 }, 1))).toBe(501);
  });

  it("the newest version reads as it is: the very same value, whatever it is", () => {
    for (const payload of [{ cents: 1, currency: "USD" }, undefined, null, 7, { amount: 5 }]) {
      expect(event.upcast(payload, 3)).toBe(payload);
    }
  });

  it("writers know only the newest: an older shape does not fit", () => {
    expect(event.validate({ amount: 5 }).issues?.length).toBeGreaterThan(0);
  });
});

describe("upcasters: one after the other", () => {
  it("reading version n is the composition of the steps from n to the newest, each asked once", () => {
    const step = fc.oneof(
      fc.integer().map((by) => (old: unknown[]) => [...old, by]),
      fc.string().map((word) => (old: unknown[]) => [{ [word]: old }]),
      fc.constant((old: unknown[]) => old.toReversed()),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), fc.jsonValue(), fc.nat(), (steps, payload, place) => {
        const version = steps.length + 1;
        const from = 1 + (place % version);
        const asked: number[] = [];
        const upcast = Object.fromEntries(
          steps.map((next, i) => [
            i + 1,
            (old: unknown[]) => {
              asked.push(i + 1);
              return next(old);
            },
          ]),
        );
        const composed = steps.slice(from - 1).reduce<unknown[]>((old, next) => next(old), [payload]);
        const event = compiled(withOptions({ version, upcast }));
        expect(event.upcast([payload], from)).toEqual(composed);
        expect(asked).toEqual(Array.from({ length: version - from }, (_, i) => from + i));
      }),
    );
  });

  it("one step alone goes one version on", () => {
    const event = compiled(credited.zod);
    expect(event.upcastOnce({ amount: 5 }, 1)).toEqual({ cents: 500 });
    expect(event.upcastOnce({ cents: 500 }, 2)).toEqual({ cents: 500, currency: "EUR" });
  });

  it("reading from version 65,534 of 65,535 asks one step", () => {
    let asked = 0;
    const upcast = Object.fromEntries(
      Array.from({ length: 65_534 }, (_, i) => [i + 1, (old: number) => old + ++asked]),
    );
    expect(compiled(withOptions({ version: 65_535, upcast })).upcast(1, 65_534)).toBe(2);
  });
});

describe("upcasters: code that fails", () => {
  const thrower = () => {
    throw new RangeError("in the step");
  };
  const failing = (step: () => unknown) => compiled(withOptions({ version: 3, upcast: { 1: () => ({}), 2: step } }));

  it("what a step throws passes through; the reader turns it into DOMAIN_FAILED", () => {
    expect(() => failing(thrower).upcast({}, 1)).toThrow(RangeError);
  });

  it.each([
    ["nothing", () => undefined, "it returned nothing, wanted the payload of version 3"],
    ["a promise", async () => ({}), "it returned a promise, wanted the payload of version 3"],
    ["a promise that fails", () => Promise.reject(new Error("late")), "it returned a promise"],
  ])("a step that answers with %s is DOMAIN_FAILED, and named", (_, step, message) => {
    for (const from of [1, 2]) {
      try {
        failing(step).upcast({}, from);
      } catch (error) {
        if (!isHeddleError(error, "DOMAIN_FAILED")) throw error;
        expect(error.facts.where).toBe("the upcaster of event Account.Credited from version 2 to 3");
        expect(error.facts.message).toContain(message);
        continue;
      }
      expect.unreachable("the answer was taken");
    }
  });

  it("null is a payload", () => {
    expect(failing(() => null).upcast({}, 1)).toBeNull();
  });

  it.each([0, -1, 4, 1.5, Number.NaN])("version %d, which the event does not have, is DOMAIN_FAILED", (version) => {
    const event = compiled(credited.zod);
    for (const read of [() => event.upcast({}, version), () => event.upcastOnce({}, version)]) {
      expect(read).toThrow(expect.objectContaining({ code: "DOMAIN_FAILED" }));
    }
  });
});

describe("upcasters: what is refused when a module is loaded", () => {
  const same = (old: unknown) => old;

  it.each<[string, unknown, string]>([
    [
      "a missing last step",
      { version: 3, upcast: { 1: same } },
      "Account.Credited is at version 3 and has no upcaster from version 2 to 3",
    ],
    [
      "a missing first step",
      { version: 3, upcast: { 2: same } },
      "Account.Credited is at version 3 and has no upcaster from version 1 to 2",
    ],
    ["no steps at all", { version: 2 }, "Account.Credited is at version 2 and has no upcaster from version 1 to 2"],
    ["a step left undefined", { version: 2, upcast: { 1: undefined } }, "has no upcaster from version 1 to 2"],
    [
      "a step that is no function",
      { version: 2, upcast: { 1: { amount: "cents" } } },
      "the upcaster of Account.Credited from version 1 to 2 must be a function, found an object",
    ],
    [
      "a step from the newest version",
      { version: 2, upcast: { 1: same, 2: same } },
      'event Account.Credited: there is an upcaster from version "2", but it is at version 2, whose older ones are 1 to 1',
    ],
    [
      "a step although there is no older version",
      { upcast: { 1: same } },
      'there is an upcaster from version "1", but it is at version 1, which has no older one',
    ],
    ["a step from version 0", { version: 2, upcast: { 0: same, 1: same } }, 'there is an upcaster from version "0"'],
    ["a step from -1", { version: 2, upcast: { [-1]: same, 1: same } }, 'an upcaster from version "-1"'],
    ["a step from 1.5", { version: 3, upcast: { 1: same, 1.5: same, 2: same } }, 'an upcaster from version "1.5"'],
    ["a step from a word", { version: 2, upcast: { v1: same, 1: same } }, 'an upcaster from version "v1"'],
    ["another spelling of a version", { version: 2, upcast: { "01": same } }, 'an upcaster from version "01"'],
    ["version 0", { version: 0 }, "event Account.Credited: version must be a whole number from 1 to 65535, found 0"],
    ["version 65536", { version: 65_536 }, "found 65536"],
    ["version 1.5", { version: 1.5 }, "found 1.5"],
    ["a version as text", { version: "2", upcast: { 1: same } }, 'found "2"'],
    ["version null", { version: null }, "found null"],
    ["upcasters as a list", { version: 2, upcast: [same] }, "upcast must be an object with a function for each older"],
    ["upcasters as a function", { version: 2, upcast: same }, "found a function"],
    [
      "a version in place of options",
      2,
      "event Account.Credited: wanted { version, upcast } after the fold, found a num",
    ],
    ["a list in place of options", [], "found an empty list"],
    ["null in place of options", null, "found null"],
  ])("P7 %s", (_, options, message) => {
    try {
      compileContext(defineContext("bank", { aggregates: [account(withOptions(options))] }), "./bank.ts");
    } catch (error) {
      if (!isHeddleError(error, "DOMAIN_LOAD_FAILED")) throw error;
      expect(error.facts.module).toBe("./bank.ts");
      expect(error.facts.message).toContain(message);
      return;
    }
    expect.unreachable("the module was accepted");
  });

  it("no options, or empty ones, are version 1", () => {
    for (const options of [undefined, {}, { version: 1 }, { version: 1, upcast: {} }, { upcast: undefined }]) {
      expect(compiled(withOptions(options)).schemaVersion).toBe(1);
    }
  });
});
