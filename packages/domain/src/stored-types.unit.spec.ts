// Goal: what a domain cannot read of what is stored is told in sentences, each once; everything else is silence.
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { compileContext } from "./compile.ts";
import { defineAggregate, event } from "./define-aggregate.ts";
import { defineContext } from "./define-context.ts";

const bank = compileContext(
  defineContext("bank", {
    aggregates: [
      defineAggregate("Account", {
        version: 1,
        initial: () => 0,
        events: {
          Credited: event(z.int(), (s, e) => s + e, { version: 2, upcast: { 1: (old: string) => Number(old) } }),
          Closed: event(z.object({}), (s) => s),
        },
      }),
    ],
  }),
);

const stored = (path: string, schemaVersion: number) => {
  const [aggregate = "", type = ""] = path.split(".");
  return { aggregate, type, schemaVersion };
};

describe("stored types", () => {
  it("every version from 1 to the newest of a known event can be read", () => {
    expect(bank.unreadable([])).toEqual([]);
    expect(
      bank.unreadable([stored("Account.Credited", 1), stored("Account.Credited", 2), stored("Account.Closed", 1)]),
    ).toEqual([]);
  });

  it("an unknown aggregate, an unknown event and a version that the domain does not know are told, in their order", () => {
    const sentences = bank.unreadable([
      stored("Account.Credited", 3),
      stored("Account.Credited", 2),
      stored("Ledger.Booked", 1),
      stored("Account.Opened", 1),
      stored("Account.Closed", 0),
    ]);
    expect(sentences).toEqual([
      "Account.Credited is stored at version 3, the domain module knows 2",
      "Ledger.Booked is stored, the domain module has no aggregate Ledger",
      "Account.Opened is stored, the domain module's Account has no event Opened",
      "Account.Closed is stored at version 0, versions begin with 1",
    ]);
  });

  it("a sentence is told once, however many versions it is about", () => {
    expect(bank.unreadable(new Set([stored("Ledger.Booked", 1), stored("Ledger.Booked", 2)]))).toHaveLength(1);
  });

  it("what every object inherits is not known", () => {
    expect(bank.unreadable([stored("constructor.Booked", 1), stored("Account.toString", 1)])).toHaveLength(2);
  });
});
