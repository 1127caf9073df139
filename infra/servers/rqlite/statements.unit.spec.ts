// Goal: the stand-in says what rqlite says. What rqlite says is from its documentation and its sources; the same rules
// over HTTP, which also run against a real rqlited, are in ../rqlite.servers.spec.ts.
import { DatabaseSync } from "node:sqlite";
import { beforeEach, describe, expect, it } from "vitest";
import { BadRequest, execute, parseStatements, query, request } from "./statements.ts";

const plain = { associative: false, blobArray: false, transaction: false };
const shown = (results: object[]) => JSON.stringify(results);
let database: DatabaseSync;

const run = (shape: Partial<typeof plain>, ...statements: unknown[]) =>
  shown(execute(database, parseStatements(JSON.stringify(statements)), { ...plain, ...shape }));
const read = (shape: Partial<typeof plain>, ...statements: unknown[]) =>
  shown(query(database, parseStatements(JSON.stringify(statements)), { ...plain, ...shape }));

beforeEach(() => {
  database = new DatabaseSync(":memory:");
  database.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, b BOOLEAN, x)");
});

describe("rqlite stand-in: requests", () => {
  it.each([
    ["{", "invalid JSON body"],
    ["{}", "invalid JSON body"],
    ["[]", "no statements"],
    ["[1]", "invalid request"],
    ['[["SELECT ?", [1, "a"]]]', "unsupported type"],
  ])("are refused as a whole when malformed: %s", (body, problem) => {
    expect(() => parseStatements(body)).toThrow(BadRequest);
    expect(() => parseStatements(body)).toThrow(problem);
  });

  it("carry parameters by position and by name, and bytes as numbers", () => {
    run(
      {},
      ["INSERT INTO t VALUES (?, ?, ?)", 1, true, 1.5],
      ["INSERT INTO t VALUES (:a, :b, :c)", { a: 2, b: false, c: [0, 255] }],
    );
    expect(database.prepare("SELECT id, b, x, typeof(x) AS type FROM t").all()).toEqual([
      { id: 1, b: 1, x: 1.5, type: "real" },
      { id: 2, b: 0, x: Uint8Array.of(0, 255), type: "blob" },
    ]);
  });
});

describe("rqlite stand-in: S1, errors are results", () => {
  const three = ["INSERT INTO t (id) VALUES (1)", "INSERT INTO t (id) VALUES (1)", "INSERT INTO t (id) VALUES (2)"];

  it("a failed statement leaves the others of its request alone", () => {
    expect(run({}, ...three)).toBe(
      '[{"last_insert_id":1,"rows_affected":1},{"error":"UNIQUE constraint failed: t.id"},{"last_insert_id":2,"rows_affected":1}]',
    );
    expect(read({}, "SELECT count(*) AS n FROM t")).toContain("[[2]]");
  });

  it("in a transaction it ends the request, and nothing of it stays", () => {
    expect(run({ transaction: true }, ...three)).toBe(
      '[{"last_insert_id":1,"rows_affected":1},{"error":"UNIQUE constraint failed: t.id"}]',
    );
    expect(read({}, "SELECT count(*) AS n FROM t")).toContain("[[0]]");
    expect(database.isTransaction).toBe(false);
  });

  it("S3: statements without a transaction are one write all the same", () => {
    let commits = 0;
    database.setAuthorizer((action, first) => {
      if (action === 22 && first === "COMMIT") commits++;
      return 0;
    });
    run({}, ...three);
    expect(commits).toBe(1);
  });

  it("a query that writes is refused", () => {
    database.exec("PRAGMA query_only = 1");
    expect(read({}, "DELETE FROM t", "SELECT 1 AS one")).toBe(
      '[{"error":"attempt to change database via query operation"},{"columns":["one"],"types":["integer"],"values":[[1]]}]',
    );
  });
});

describe("rqlite stand-in: rows", () => {
  beforeEach(() => {
    run({}, ["INSERT INTO t VALUES (1, true, ?)", [1, 2]], "INSERT INTO t VALUES (9007199254740993, false, NULL)");
  });

  it("S2: whole numbers keep their 64 bits, in rows and in parameters", () => {
    const [statement] = parseStatements('[["SELECT id FROM t WHERE id = ?", 9007199254740993]]');
    expect(shown(query(database, [statement!], plain))).toBe(
      '[{"columns":["id"],"types":["integer"],"values":[[9007199254740993]]}]',
    );
  });

  it("are arrays or objects, with booleans by declared type and bytes as text or numbers", () => {
    expect(read({}, "SELECT b, x FROM t")).toBe(
      '[{"columns":["b","x"],"types":["boolean","blob"],"values":[[true,"AQI="],[false,null]]}]',
    );
    expect(read({ associative: true, blobArray: true }, "SELECT b, x FROM t")).toBe(
      '[{"types":{"b":"boolean","x":"blob"},"rows":[{"b":true,"x":[1,2]},{"b":false,"x":null}]}]',
    );
  });

  it("are left out when there are none, but their columns are told", () => {
    expect(read({}, "SELECT id FROM t WHERE id = 5")).toBe('[{"columns":["id"],"types":["integer"]}]');
    expect(read({ associative: true }, "SELECT id FROM t WHERE id = 5")).toBe('[{"types":{"id":"integer"},"rows":[]}]');
  });

  it("come from RETURNING, and from reads in a mixed request", () => {
    expect(run({}, "DELETE FROM t WHERE id = 1 RETURNING id")).toBe(
      '[{"columns":["id"],"types":["integer"],"values":[[1]]}]',
    );
    const mixed = parseStatements('["UPDATE t SET x = 1", "SELECT count(*) AS n FROM t"]');
    expect(shown(request(database, mixed, { ...plain, associative: true }))).toMatch(
      /^\[\{.*"rows_affected":1,"rows":null\},\{"types":\{"n":"integer"\},"rows":\[\{"n":1\}\]\}\]$/,
    );
  });

  it("of several statements in one text are those of the last", () => {
    expect(read({}, "SELECT 1 AS a; SELECT 2 AS b")).toContain('"columns":["b"]');
  });
});
