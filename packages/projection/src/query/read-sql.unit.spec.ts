// Goal: what is refused before a database sees it, and what is found in a query's text. That a handle writes nothing, whatever
// its text: query-processes.int.spec.ts.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readSql, sqlLengthMax } from "./read-sql.ts";

const refused = (sql: unknown) => {
  try {
    readSql(sql);
  } catch (error) {
    const { code, facts } = error as { code: string; facts: { problem: string } };
    expect(code).toBe("QUERY_REFUSED");
    return facts.problem;
  }
  return undefined;
};

describe("reading SQL: one statement that reads", () => {
  it("takes a statement with comments, semicolons in texts and names, and an end", () => {
    for (const sql of [
      "select 1",
      "SELECT 1;",
      "  -- why; this\n/* and; that */ select ';' as \";\", `;`, [;] from t ; -- the end; really\n ;; /* so */",
      "with a as (select 1) select * from a",
      "values (1), (2)",
      "explain query plan select 1",
      "select 'it''s; fine', \"a\"\";b\"",
      "select x'00ff' -- a comment without an end of line",
      "select 1 /* one without an end",
      ";select 1",
    ])
      expect([sql, refused(sql)]).toEqual([sql, undefined]);
  });

  it("refuses what does not begin with SELECT, WITH, VALUES or EXPLAIN, and says what was found", () => {
    for (const [sql, found] of [
      ["insert into t values (1)", "INSERT"],
      ["/* select */ delete from t", "DELETE"],
      ["pragma journal_mode", "PRAGMA"],
      ["attach 'x' as y", "ATTACH"],
      ["selectx", "SELECTX"],
      ["(select 1)", '"(select 1)"'],
      ["'select'", "\"'select'\""],
    ] as const)
      expect(refused(sql)).toBe(`wanted SELECT, WITH, VALUES or EXPLAIN, found ${found}`);
  });

  it("refuses several statements", () => {
    for (const sql of ["select 1; select 2", "select 1;delete from t", "select 1; /* x */ 'x'", "select 1;\n;x"])
      expect(refused(sql)).toMatch(/several statements/);
  });

  it("refuses what is no text, has no statement, does not end, or is too long", () => {
    expect(refused(5)).toBe("wanted SQL as text, found number");
    expect(refused(null)).toBe("wanted SQL as text, found null");
    expect(refused("")).toMatch(/no statement/);
    expect(refused(" ; -- nothing\n ;")).toMatch(/no statement/);
    expect(refused("select 'abc")).toBe("a text that begins at 7 has no end");
    expect(refused('select "abc')).toBe("a name that begins at 7 has no end");
    expect(refused("select [abc")).toBe("a name that begins at 7 has no end");
    expect(refused("select '\ud800'")).toMatch(/surrogate/);
    expect(refused("select 1\0; delete from t")).toMatch(/NUL/);
    expect(refused(`select ${" ".repeat(sqlLengthMax)}`)).toMatch(/100000/);
  });

  it("refuses names of Heddle's own, however they are written", () => {
    for (const sql of [
      "select * from heddle_positions",
      'select * from "HEDDLE_positions"',
      "select * from [heddle_x]",
      "select * from main.heddle_x",
    ])
      expect(refused(sql)).toMatch(/Heddle's own$/);
    expect(refused("select 'heddle_positions' -- heddle_positions")).toBeUndefined();
  });
});

describe("reading SQL: names and parameters", () => {
  it("finds names outside of texts and comments, quoted or not, in small letters", () => {
    const { names } = readSql(
      "select \"Balance\", 'text' from Accounts a join [Flights] /* x */ -- y\n where ünder > 1",
    );
    for (const name of ["balance", "accounts", "a", "flights", "ünder"]) expect(names).toContain(name);
    for (const name of ["text", "x", "y"]) expect(names).not.toContain(name);
  });

  it("counts positional parameters as SQLite does", () => {
    expect(readSql("select ?, ?, '?', ? -- ?").positional).toBe(3);
    expect(readSql("select ?3, ?").positional).toBe(4);
    expect(readSql("select 1").positional).toBe(0);
    expect(refused("select ?0")).toMatch(/no parameter/);
    expect(refused("select ?1001")).toMatch(/no parameter/);
  });

  it("finds named parameters with their signs, and refuses a mixture", () => {
    expect([...readSql("select :a, @b, $c, :a, '$.d', x ->> '$.e'").named]).toEqual([":a", "@b", "$c"]);
    expect(refused("select ?, :a")).toMatch(/positional and named/);
  });

  it("whatever the text is, the outcome is a value or QUERY_REFUSED", () => {
    const piece = fc.constantFrom(
      "select",
      "'",
      '"',
      ";",
      "--",
      "/*",
      "*/",
      "[",
      "]",
      "?",
      ":a",
      "\n",
      " ",
      "x",
      "heddle_",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string())), (pieces) => {
        refused(pieces.join(""));
      }),
    );
  });
});
