// Goal: what a node tells about its domain is what the module declares, versions included.
import { compileContext, defineAggregate, defineContext, defineSaga, event, step } from "@heddle/domain/internal";
import { expect, it } from "vitest";
import { z } from "zod";
import { describeContext } from "./describe-context.ts";

it("the version of a fold and the newest schema version of an event are told apart; sagas are named", () => {
  const Account = defineAggregate("Account", {
    version: 7,
    initial: () => 0,
    events: {
      Credited: event(z.int(), (s, e) => s + e, {
        version: 3,
        upcast: { 1: (old: string) => Number(old), 2: (old: number) => old * 100 },
      }),
      Closed: event(z.object({}), (s) => s),
    },
    invariants: { "never negative": (s) => s >= 0 },
  });
  const credited = { type: "Credited", payload: 1 };
  const transfer = defineSaga("transfer", { input: z.string(), steps: (to) => [step(to, credited, null)] });
  const context = defineContext("bank", { aggregates: [Account], sagas: [transfer] });
  expect(describeContext(compileContext(context))).toEqual({
    name: "bank",
    sagas: [{ name: "transfer" }],
    aggregates: [
      {
        name: "Account",
        version: 7,
        events: [
          { name: "Credited", schemaVersion: 3 },
          { name: "Closed", schemaVersion: 1 },
        ],
        commands: [],
        invariants: ["never negative"],
      },
    ],
  });
  expect(
    describeContext(compileContext(defineContext("bank", { aggregates: [Account], kinds: ["account", "card"] }))),
  ).toMatchObject({ kinds: ["account", "card"] });
});
