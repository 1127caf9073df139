// Goal: a parameter is bound as what it is, or refused with its place.
import { describe, expect, it } from "vitest";
import { bindParameters } from "./query-parameters.ts";
import { readSql } from "./read-sql.ts";

const bind = (sql: string, given: unknown) => bindParameters(readSql(sql), given);
const refused = (sql: string, given: unknown) => {
  try {
    bind(sql, given);
  } catch (error) {
    const { code, facts } = error as { code: string; facts: { problem: string } };
    expect(code).toBe("QUERY_REFUSED");
    return facts.problem;
  }
  return undefined;
};

describe("query parameters", () => {
  it("binds whole numbers as integers, and every other type as what it is", () => {
    const given = [5, -0, 1.5, "text", true, false, null, 2n ** 63n - 1n, Uint8Array.of(1)];
    const bound = [5n, -0, 1.5, "text", 1n, 0n, null, 2n ** 63n - 1n, Uint8Array.of(1)];
    expect(bind(`select ${given.map(() => "?").join()}`, given)).toEqual(bound);
  });

  it("binds by name, with the sign that the SQL has", () => {
    expect(bind("select :a, @b, $c", { a: 1, b: "x", c: null })).toEqual({ ":a": 1n, "@b": "x", $c: null });
  });

  it("takes none where none is wanted", () => {
    expect(bind("select 1", undefined)).toEqual([]);
    expect(bind("select 1", [])).toEqual([]);
    expect(bind("select 1", {})).toEqual({});
  });

  it("refuses too few and too many", () => {
    expect(refused("select ?", undefined)).toBe("it wants 1 parameter, 0 came");
    expect(refused("select ?, ?", [1])).toBe("it wants 2 parameters, 1 came");
    expect(refused("select 1", [1])).toBe("it wants 0 parameters, 1 came");
  });

  it("refuses names that are missing or not asked for, and one way of giving for the other", () => {
    expect(refused("select :a, :b", { a: 1 })).toBe("these parameters are missing: :b");
    expect(refused("select :a", undefined)).toBe("these parameters are missing: :a");
    expect(refused("select :a", { a: 1, b: 2 })).toBe('it has no parameter "b"');
    expect(refused("select :a", { __proto__: { a: 1 } })).toBe("these parameters are missing: :a");
    expect(refused("select :a", [1])).toBe("it wants parameters by name: :a");
    expect(refused("select ?", { a: 1 })).toBe("it wants 1 parameter in order, as a list");
    expect(refused("select ?", "x")).toBe("wanted parameters as a list or by name, found string");
  });

  it("refuses what SQL has no value for, and says where", () => {
    expect(refused("select ?, ?", [1, undefined])).toBe("parameter 2 is undefined");
    expect(refused("select ?, ?", Object.assign(new Array(2), { 1: 1 }))).toBe("parameter 1 is undefined");
    expect(refused("select ?", [Number.NaN])).toMatch(/^parameter 1 is NaN/);
    expect(refused("select ?", [2n ** 63n])).toMatch(/64 bits/);
    expect(refused("select ?", [new Date(0)])).toMatch(/milliseconds/);
    expect(refused("select :a", { a: {} })).toBe("parameter a is an object or a list");
    expect(refused("select ?", [() => {}])).toBe("parameter 1 is function");
    expect(refused("select ?", ["\udc00"])).toMatch(/surrogate/);
  });
});
