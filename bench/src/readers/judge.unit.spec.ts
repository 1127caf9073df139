// The judge of rows: what is equal has no objection, and whatever differs has one. Real sinks: bench.int.spec.ts.
import { describe, expect, it } from "vitest";
import { compareRows } from "./judge.ts";

const accounts = new Map([
  ["account/0", { balance: 5, movements: 2 }],
  ["account/1", { balance: 7, movements: 1 }],
]);
const altered = (account: string, figures: { balance: number; movements: number }) =>
  new Map(accounts).set(account, figures);

describe("readers: the judge of rows", () => {
  it("has nothing to say when every account has its row", () => {
    expect(compareRows(accounts, new Map(accounts))).toEqual({
      ok: true,
      compared: 2,
      events: 3,
      objections: [],
      objectionTotal: 0,
    });
  });

  it.each([
    [
      "a balance that is another",
      altered("account/0", { balance: 6, movements: 2 }),
      /^account\/0: .* balance 6; .* 5$/,
    ],
    ["an event too few or too many", altered("account/1", { balance: 7, movements: 2 }), /^account\/1: 2 movements/],
    ["a row too many", altered("account/2", { balance: 0, movements: 0 }), "account/2: nobody opened it"],
    ["a row too few", new Map([...accounts].slice(1)), "account/0: there is no row"],
  ])("objects to %s", (_, rows, objection) => {
    const { ok, objections, objectionTotal } = compareRows(accounts, rows);
    expect({ ok, objectionTotal }).toEqual({ ok: false, objectionTotal: 1 });
    expect(objections[0]).toMatch(objection);
  });
});
