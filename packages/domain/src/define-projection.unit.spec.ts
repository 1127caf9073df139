// Goal: a domain module's projections are checked like everything else in it, typed by its aggregates and columns, and whatever
// their functions give is a whole row or a clear error.
import { isHeddleError } from "@heddle/kernel";
import { describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { compileContext } from "./compile.ts";
import type { CompiledProjection, Row } from "./compile-projection.ts";
import { defineAggregate, event } from "./define-aggregate.ts";
import { defineContext } from "./define-context.ts";
import {
  type AnyProjection,
  defineProjection,
  type Json,
  type ProjectionEvent,
  type RowOfProjection,
} from "./define-projection.ts";

const amount = z.object({ amount: z.number() });
const Account = defineAggregate("Account", {
  version: 1,
  initial: () => 0,
  events: {
    Credited: event(amount, (s, e) => s + e.amount),
    Debited: event(amount, (s, e) => s - e.amount),
    Closed: event(z.object({}), () => 0),
  },
});
const Owner = defineAggregate("Owner", {
  version: 1,
  initial: () => "",
  events: { Named: event(z.object({ name: z.string() }), (_, e) => e.name), Closed: event(z.object({}), () => "") },
});

const accounts = defineProjection("accounts", {
  version: 1,
  from: [Account, Owner],
  columns: { account: "text", balance: "integer", name: "text?", changedAt: "time?", tags: "json?" },
  key: ["account"],
  indexes: [["balance"], ["name", "balance"]],
  on: {
    Credited: (row, e) => ({ account: e.entity, balance: (row?.balance ?? 0) + e.payload.amount }),
    Named: (row, e) => ({ account: e.entity, balance: row?.balance ?? 0, name: e.payload.name, changedAt: e.time }),
    Closed: () => null,
  },
});

function compiled(projection: AnyProjection): CompiledProjection {
  const context = defineContext("bank", { aggregates: [Account, Owner], projections: [projection] });
  return compileContext(context).projections.get(projection.name)!;
}

function refusal(projections: unknown): string {
  try {
    compileContext(
      defineContext("bank", { aggregates: [Account, Owner], projections: projections as AnyProjection[] }),
    );
  } catch (error) {
    if (!isHeddleError(error, "DOMAIN_LOAD_FAILED")) throw error;
    return error.facts.message;
  }
  return "it was taken";
}

const happened = (more: Partial<ProjectionEvent> = {}): ProjectionEvent => ({
  entity: "account/alice",
  aggregate: "Account",
  type: "Credited",
  payload: { amount: 5 },
  seq: 1,
  time: 7,
  metadata: undefined,
  id: undefined,
  ...more,
});

describe("projections: compiled", () => {
  it("have what a track needs: columns, key, functions by aggregate, and the names of table and collection", () => {
    const projection = compiled(accounts);
    expect(projection).toMatchObject({ name: "accounts", version: 1, table: "accounts", collection: "accounts" });
    expect(projection).toMatchObject({ sagas: "live", ownKey: true, indexes: [["balance"], ["name", "balance"]] });
    expect(projection.columns[2]).toEqual({ name: "name", type: "text", nullable: true });
    expect(projection.key).toEqual([{ name: "account", type: "text", nullable: false }]);
    expect([...projection.functionsOf("Account")!.keys()]).toEqual(["Credited", "Closed"]);
    expect([...projection.functionsOf("Owner")!.keys()]).toEqual(["Named", "Closed"]);
    expect(projection.functionsOf("Nobody")).toBeUndefined();
  });

  it("a context may have none, and one that knew no projections has none", () => {
    const context = defineContext("bank", { aggregates: [Account] });
    expect(compileContext(context).projections.size).toBe(0);
    const { projections: _, ...older } = context;
    const brand = Object.getOwnPropertySymbols(context)[0]!;
    expect(compileContext({ ...older, [brand]: "context" } as never).projections.size).toBe(0);
  });

  it("have a shape that tells whether stored rows are theirs: all but the functions themselves", () => {
    const shapeOf = (change: object) =>
      compiled({ ...accounts, definition: { ...definitionOf(accounts), ...change } } as never).shape;
    const same = shapeOf({});
    expect(shapeOf({ version: 2 })).toBe(same);
    expect(shapeOf({ on: { ...definitionOf(accounts).on, Credited: () => null } })).toBe(same);
    const others = [
      { columns: { ...definitionOf(accounts).columns, balance: "real" } },
      { columns: { ...definitionOf(accounts).columns, more: "text?" } },
      { indexes: [] },
      { table: "konten" },
      { collection: "konten" },
      { sagas: "settled" },
      { keyOf: () => null },
      { on: { Credited: () => null, Named: () => null } },
      { from: [Account], on: { Credited: () => null, Closed: () => null } },
    ].map(shapeOf);
    expect(new Set([same, ...others]).size).toBe(others.length + 1);
  });
});

const whole = {
  version: 1,
  from: [Account],
  columns: { account: "text", balance: "integer", tags: "json?" },
  key: ["account"],
  on: { Credited: () => null },
};
const made = (change: object = {}, name: unknown = "accounts") =>
  (defineProjection as (name: unknown, definition: unknown) => AnyProjection)(name, { ...whole, ...change });

describe("projections: malformed", () => {
  it("P7 the one that the others differ from is fine", () => {
    expect(refusal([made()])).toBe("it was taken");
  });

  it.each<[string, unknown, string]>([
    ["no list", {}, "projections must be a list, found an object"],
    ["an aggregate among them", [Account], "projections[0]: wanted what defineProjection returns, found an aggregate"],
    ["two of one name", [made(), made()], "two projections are named accounts"],
    [
      "two of one table",
      [made(), made({ table: "Accounts" }, "more")],
      "accounts and more have the same table, Accounts",
    ],
    [
      "two of one collection",
      [made(), made({ table: "others", collection: "accounts" }, "more")],
      "accounts and more have the same collection, accounts",
    ],
    ["a name of Heddle's own", [made({}, "$accounts")], "begins with $"],
    [
      "a name with a blank",
      [made({}, "my accounts")],
      'must be letters, digits, _ and -, and begin with a letter; found "my',
    ],
    [
      "a name that is no table's",
      [made({}, "my-accounts")],
      "the name of its table, which is its own, must be letters",
    ],
    ["nothing to define", [defineProjection("accounts", undefined as never)], "wanted a definition, found nothing"],
    ["a part that there is none", [made({ colums: {} })], 'there is no "colums"; known: version, from, columns'],
    ["no version", [made({ version: undefined })], "version must be a whole number from 1, found nothing"],
    ["version 0", [made({ version: 0 })], "found 0"],
    ["sagas of another kind", [made({ sagas: "all" })], 'sagas must be "live" or "settled", found "all"'],
    ["a key function that is none", [made({ keyOf: "account" })], "keyOf must be a function, found a string"],
    ["columns as a list", [made({ columns: ["account"] })], 'columns must be an object such as { account: "text" }'],
    ["no columns", [made({ columns: {} })], "there are no columns"],
    [
      "a type that there is none",
      [made({ columns: { account: "string" } })],
      "column account must be one of text, integer",
    ],
    [
      "a column that is a word of SQL",
      [made({ columns: { account: "text", order: "text" } })],
      'is a word of SQL: "order"',
    ],
    [
      "a column like SQLite's own",
      [made({ columns: { account: "text", rowid: "text" } })],
      'is a word of SQL: "rowid"',
    ],
    ["a column of Heddle's own", [made({ columns: { account: "text", heddle_x: "text" } })], "begins with heddle_"],
    ["a column with a dot", [made({ columns: { account: "text", "a.b": "text" } })], "must be letters, digits and _"],
    [
      "two columns that SQL takes for one",
      [made({ columns: { account: "text", Account: "text" } })],
      "two columns are named",
    ],
    ["no key", [made({ key: undefined })], "key must be a list of at least one column, found nothing"],
    ["an empty key", [made({ key: [] })], "found an empty list"],
    ["a key that is no column", [made({ key: ["id"] })], 'key names "id", which is no column; known: account, balance'],
    ["a key column twice", [made({ key: ["account", "account"], keyOf: () => null })], "the key has a column twice"],
    ["a key that may be null", [made({ columns: { account: "text?" } })], "belongs to the key, so it cannot be null"],
    ["a key of json", [made({ columns: { account: "json" } })], "column account is json: it cannot belong to the key"],
    ["a key of fractions", [made({ columns: { account: "real" } })], "column account is real"],
    [
      "a number for an entity's id",
      [made({ columns: { account: "integer" } })],
      "without keyOf a row's key is the entity's id",
    ],
    [
      "two columns for an entity's id",
      [made({ key: ["account", "balance"] })],
      "without keyOf a row's key is the entity's id",
    ],
    [
      "an index that is no list",
      [made({ indexes: ["balance"] })],
      'an index must be a list of columns such as ["balance"]',
    ],
    ["an index over json", [made({ indexes: [["tags"]] })], "column tags is json: it cannot belong to an index"],
    ["an index over nothing", [made({ indexes: [["nothing"]] })], 'an index names "nothing", which is no column'],
    ["an index twice", [made({ indexes: [["balance"], ["balance"]] })], "two indexes are over balance"],
    ["a table that is a word of SQL", [made({ table: "select" })], 'the name of its table is a word of SQL: "select"'],
    ["a table of Heddle's own", [made({ table: "heddle_x" })], "begins with heddle_ or sqlite_"],
    ["a table that is no text", [made({ table: 7 })], "table must be a string, found a number"],
    ["a collection of MongoDB's own", [made({ collection: "system.users" })], "the name of its collection must be"],
    ["no aggregates", [made({ from: [] })], "from must be a list of at least one aggregate, found an empty list"],
    [
      "the name of an aggregate",
      [made({ from: ["Account"] })],
      "from[0]: wanted what defineAggregate returns, found a string",
    ],
    ["an aggregate twice", [made({ from: [Account, Account] })], "from names Account twice"],
    [
      "an aggregate of another context",
      [
        made({
          from: [
            defineAggregate("Order", { version: 1, initial: () => 0, events: { Credited: event(amount, (s) => s) } }),
          ],
        }),
      ],
      'the context has no aggregate "Order"',
    ],
    [
      "functions as a list",
      [made({ on: [() => null] })],
      "on must be an object of functions by event type, found a list",
    ],
    ["no functions", [made({ on: {} })], "on names no event"],
    [
      "an event that nobody has",
      [made({ on: { Paid: () => null } })],
      'on names the event "Paid", which none of Account has',
    ],
    [
      "a row in place of a function",
      [made({ on: { Credited: {} } })],
      "on.Credited must be a function, found an object",
    ],
    [
      "an aggregate none of whose events matter",
      [made({ from: [Account, Owner] })],
      "from names Owner, but on names none of its events",
    ],
  ])("P7 %s is refused when the module is loaded", (_, projections, message) => {
    expect(refusal(projections)).toContain(message);
  });
});

describe("projections: what a function gives", () => {
  const columns = {
    account: "text",
    n: "integer",
    r: "real?",
    b: "boolean?",
    t: "time?",
    j: "json?",
    s: "text?",
  } as const;
  const apply = (given: unknown, row?: Row, key = "account/alice") => {
    const projection = compiled(made({ columns, on: { Credited: () => given } }));
    return projection.apply(projection.functionsOf("Account")!.get("Credited")!, row, happened(), [key]);
  };
  const fine = { account: "account/alice", n: 1, r: 0.5, b: true, t: 9, j: { a: [1, null] }, s: "text" };

  it("a whole row is taken as it is; what may be null and is left out becomes null", () => {
    expect(apply(fine)).toBe(fine);
    expect(apply({ account: "account/alice", n: 1 })).toEqual({ ...fine, r: null, b: null, t: null, j: null, s: null });
    expect(apply(null)).toBeNull();
    expect(apply(fine, fine)).toBe(fine);
  });

  it("there is no negative zero", () => {
    expect(Object.is(apply({ ...fine, n: -0, r: -0 })!["n"], 0)).toBe(true);
    expect(Object.is(apply({ ...fine, n: -0, r: -0 })!["r"], 0)).toBe(true);
  });

  it.each<[string, unknown, string]>([
    ["nothing", undefined, "it gave nothing, wanted a row, or null for none"],
    ["a promise", Promise.resolve(null), "it gave a promise"],
    ["a list", [fine], "it gave a list"],
    ["text", "row", "it gave a string"],
    ["a column too few", { account: "account/alice" }, "column n is missing"],
    ["a column too many", { ...fine, more: 1 }, 'it gave "more", which is no column; known: account, n, r'],
    [
      "null where there must be a value",
      { ...fine, n: null },
      "column n: wanted a whole number of at most 53 bits, found null",
    ],
    ["a fraction", { ...fine, n: 0.5 }, "found a fraction"],
    ["NaN", { ...fine, n: Number.NaN }, "column n: wanted a whole number of at most 53 bits, found NaN"],
    ["a number beyond 53 bits", { ...fine, n: 2 ** 53 }, "found 9007199254740992"],
    ["infinity", { ...fine, r: Number.POSITIVE_INFINITY }, "column r: wanted a finite number, found Infinity"],
    ["a number as truth", { ...fine, b: 1 }, "column b: wanted true or false, found 1"],
    ["a date", { ...fine, t: new Date(0) }, "column t: wanted whole milliseconds since 1970, found a date"],
    ["text as a number", { ...fine, n: "1" }, "column n: wanted a whole number of at most 53 bits, found a string"],
    ["a number as text", { ...fine, s: 1 }, "column s: wanted text, found 1"],
    ["NUL in a text", { ...fine, s: "a\0b" }, "column s: the text holds a NUL character"],
    ["half of a surrogate pair", { ...fine, s: "\ud83d" }, "column s: the text holds half of a surrogate pair"],
    ["nothing inside of JSON", { ...fine, j: { a: undefined } }, "column j: wanted JSON, found nothing in it"],
    ["NaN inside of JSON", { ...fine, j: [Number.NaN] }, "column j: wanted JSON, found NaN in it"],
    ["a date inside of JSON", { ...fine, j: { at: new Date(0) } }, "found an object of a class in it"],
    ["a bigint inside of JSON", { ...fine, j: [1n] }, "found a bigint in it"],
    [
      "another key",
      { ...fine, account: "account/bob" },
      "it gave a row with another key: account is not the one of keyOf",
    ],
    ["a row as long as a book", { ...fine, s: "x".repeat(3 << 20) }, "it gave a row of 31457"],
  ])("%s is an error that says what was found, and not its content", (_, given, message) => {
    expect(() => apply(given)).toThrow(message);
    expect(() => apply(given)).toThrow("the projection accounts, Account.Credited");
  });

  it("JSON that goes round in a circle, or too deep, is an error", () => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    expect(() => apply({ ...fine, j: circle })).toThrow("it is nested deeper than 64 levels");
  });

  it("a function that asks for it gets the key as an object: with several rows it tells which one is meant", () => {
    const keys: unknown[] = [];
    const on = {
      Credited: (_row: unknown, _event: unknown, key: unknown) => {
        keys.push(key);
        return null;
      },
    };
    const projection = compiled(made({ key: ["account", "balance"], keyOf: () => null, on }));
    projection.apply(projection.functionsOf("Account")!.get("Credited")!, undefined, happened(), ["x", 1]);
    expect(keys).toEqual([{ account: "x", balance: 1 }]);
  });

  it("what a function throws passes through", () => {
    const projection = compiled(
      made({
        on: {
          Credited: () => {
            throw new RangeError("in the function");
          },
        },
      }),
    );
    const run = projection.functionsOf("Account")!.get("Credited")!;
    expect(() => projection.apply(run, undefined, happened(), ["account/alice"])).toThrow(RangeError);
  });
});

describe("projections: keys", () => {
  const keyed = (found: unknown, more: object = {}) =>
    compiled(made({ keyOf: () => found, ...more })).keysOf(happened());
  const two = { key: ["account", "balance"] };

  it("without keyOf an event is about the row of its entity", () => {
    expect(compiled(made()).keysOf(happened())).toEqual([{ id: "account/alice", key: ["account/alice"] }]);
  });

  it("a value, an object, several of them, or none", () => {
    expect(keyed("x")).toEqual([{ id: "x", key: ["x"] }]);
    expect(keyed({ account: "x" })).toEqual([{ id: "x", key: ["x"] }]);
    expect(keyed({ balance: 2, account: "x" }, two)).toEqual([{ id: '["x",2]', key: ["x", 2] }]);
    expect(
      keyed(
        [
          { balance: -0, account: "x" },
          { balance: 1, account: "x" },
        ],
        two,
      ).map(({ id }) => id),
    ).toEqual(['["x",0]', '["x",1]']);
    expect(keyed(null)).toEqual([]);
    expect(keyed([])).toEqual([]);
  });

  it.each<[string, unknown, object, string]>([
    ["nothing", undefined, {}, "the key's account: wanted text, found nothing"],
    ["a number for text", 5, {}, "the key's account: wanted text, found 5"],
    ["one value for two columns", "x", two, "keyOf gave a string, wanted an object with account, balance"],
    ["a column too few", { account: "x" }, two, "the key's balance: wanted a whole number"],
    [
      "a column that is not of the key",
      { account: "x", balance: 1, tags: 1 },
      two,
      'keyOf gave "tags", which is not of the key',
    ],
    ["the same row twice", ["x", "x"], {}, "keyOf gave the same key twice"],
    ["a promise", Promise.resolve(null), {}, "keyOf gave a promise"],
    ["too many", Array.from({ length: 1_001 }, (_, i) => `${i}`), {}, "keyOf gave 1001 keys, at most 1000"],
    ["a key as long as a page", "x".repeat(1_025), {}, "a key of 1025 characters, at most 1024"],
  ])("%s is an error", (_, found, more, message) => {
    expect(() => keyed(found, more)).toThrow(message);
  });
});

it("projections: rows are typed by columns, events by aggregates", () => {
  expectTypeOf<RowOfProjection<typeof accounts>>().toEqualTypeOf<{
    readonly account: string;
    readonly balance: number;
    readonly name: string | null;
    readonly changedAt: number | null;
    readonly tags: Json;
  }>();
  const check = (_: () => unknown) => undefined;
  const parts = { version: 1, from: [Account], columns: { account: "text", n: "integer" }, key: ["account"] } as const;
  check(() =>
    defineProjection("p", {
      ...parts,
      on: {
        Credited: (row, e, key) => {
          expectTypeOf(key).toEqualTypeOf<{ readonly account: string }>();
          expectTypeOf(row).toEqualTypeOf<{ readonly account: string; readonly n: number } | undefined>();
          expectTypeOf(e.payload).toEqualTypeOf<{ readonly amount: number }>();
          return { account: e.entity, n: e.payload.amount };
        },
      },
    }),
  );
  check(() =>
    defineProjection("p", {
      ...parts,
      keyOf: (e) => {
        expectTypeOf(e.type).toEqualTypeOf<"Credited" | "Debited" | "Closed">();
        return e.type === "Closed" ? null : [{ account: `${e.payload.amount}` }, e.entity];
      },
      on: { Closed: () => null },
    }),
  );
  // @ts-expect-error a key that is no column
  check(() => defineProjection("p", { ...parts, key: ["id"], on: { Closed: () => null } }));
  // @ts-expect-error a type that there is none
  check(() => defineProjection("p", { ...parts, columns: { account: "string" }, on: { Closed: () => null } }));
  // @ts-expect-error an event that the aggregate does not have
  check(() => defineProjection("p", { ...parts, on: { Paid: () => null } }));
  // @ts-expect-error a row without one of its columns
  check(() => defineProjection("p", { ...parts, on: { Credited: (_, e) => ({ account: e.entity }) } }));
  // @ts-expect-error a value of another type
  check(() => defineProjection("p", { ...parts, on: { Credited: (_, e) => ({ account: e.entity, n: "1" }) } }));
});

function definitionOf(projection: AnyProjection): { readonly on: object; readonly columns: object } {
  return (projection as unknown as { readonly definition: { readonly on: object; readonly columns: object } })
    .definition;
}
