// Goal: the page docs/how-to/change-an-event.md is right. Its snippets are the regions below.
// Each rule in detail: stored.unit.spec.ts here, upcasters.unit.spec.ts in domain.
import { compileAggregate, defineAggregate, event } from "@heddle/domain/internal";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { given, stored } from "./index.ts";

// #region first
export const FirstCustomer = defineAggregate("Customer", {
  version: 1,
  initial: () => ({ email: "", greeting: "" }),
  events: {
    Registered: event(z.object({ name: z.string(), mail: z.email() }), (_, e) => ({
      email: e.mail,
      greeting: `Dear ${e.name}`,
    })),
  },
});
// #endregion first

// #region newest
const registered = z.object({ firstName: z.string(), lastName: z.string(), email: z.email() });

interface RegisteredV1 {
  readonly name: string;
  readonly mail: string;
}
interface RegisteredV2 {
  readonly name: string;
  readonly email: string;
}

export const Customer = defineAggregate("Customer", {
  version: 1,
  initial: () => ({ email: "", greeting: "" }),
  events: {
    Registered: event(
      registered,
      (_, e) => ({ email: e.email, greeting: `Dear ${`${e.firstName} ${e.lastName}`.trim()}` }),
      {
        version: 3,
        upcast: {
          // 2 renamed `mail` to `email`.
          1: ({ mail, ...rest }: RegisteredV1) => ({ ...rest, email: mail }),
          // 3 split `name` at its last blank.
          2: ({ name, ...rest }: RegisteredV2) => {
            const at = name.lastIndexOf(" ");
            return { ...rest, firstName: name.slice(0, Math.max(0, at)), lastName: name.slice(at + 1) };
          },
        },
      },
    ),
  },
});
// #endregion newest

// #region tests
it("a customer of the first days reads like one of today", () => {
  stored(Customer, {
    type: "Registered",
    schemaVersion: 1,
    payload: { name: "Ada King Lovelace", mail: "ada@example.org" },
  }).readsAs({ firstName: "Ada King", lastName: "Lovelace", email: "ada@example.org" });
});

it("a single name is a last name, and the greeting stays what it was", () => {
  given(Customer, [
    { type: "Registered", schemaVersion: 1, payload: { name: "Ada Lovelace", mail: "ada@example.org" } },
    { type: "Registered", schemaVersion: 2, payload: { name: "Plato", email: "plato@example.org" } },
  ]).thenState({ email: "plato@example.org", greeting: "Dear Plato" });
});
// #endregion tests

describe("changing an event: what the page says besides", () => {
  it("the state is the same before and after the change", () => {
    const state = { email: "ada@example.org", greeting: "Dear Ada Lovelace" };
    const payload = { name: "Ada Lovelace", mail: "ada@example.org" };
    given(FirstCustomer, [{ type: "Registered", payload }]).thenState(state);
    given(Customer, [{ type: "Registered", schemaVersion: 1, payload }]).thenState(state);
  });

  it("a missing step is told in this sentence", () => {
    const upcast: Record<number, (old: never) => unknown> = { 1: (old) => old };
    const version: number = 3;
    const Stale = defineAggregate("Customer", {
      version: 1,
      initial: () => 0,
      events: { Registered: event(registered, (s) => s, { version, upcast }) },
    });
    expect(() => compileAggregate(Stale)).toThrow(
      "Customer.Registered is at version 3 and has no upcaster from version 2 to 3",
    );
  });
});
