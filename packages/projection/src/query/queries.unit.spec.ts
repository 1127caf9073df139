// Goal: what a query waits for, where it is run, and what is refused. The sinks are scripts; real files and processes:
// query-processes.int.spec.ts; a real node: test/e2e/queries.e2e.spec.ts.
import { HeddleError } from "@heddle/kernel";
import type { LogPlace, QueryParameters } from "@heddle/protocol";
import { decodeValue, queryFields } from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import type { SinkQuery, SinkRows } from "../sink.ts";
import { Queries } from "./queries.ts";
import type { QueryTask } from "./query-processes.ts";

/** What happened, in order. */
type Step = string;

class World {
  readonly steps: Step[] = [];
  /** Tables that the file's next answer says were read. */
  tables: string[] = [];
  answer: SinkRows = { columns: ["n"], rows: [[1]] };
  lagging: string | undefined;
  asked: SinkQuery | undefined;
  landing: ((place: LogPlace) => Promise<number | undefined>) | undefined;
  task: QueryTask | undefined;

  queries(kinds: readonly ("sqlite" | "rqlite" | "mongodb")[], bytesMax = 1_000): Queries {
    const names = {
      sqlite: "sqlite",
      rqlite: "rqlite at http://127.0.0.1:4001",
      mongodb: "mongodb at 127.0.0.1:27017",
    };
    return new Queries({
      shardCount: 2,
      landing: this.landing,
      bytesMax,
      sinks: kinds.map((kind) => ({
        sink: {
          name: names[kind],
          kind,
          ...(kind === "rqlite" ? { query: (query: SinkQuery) => this.#ask(query) } : {}),
        },
        tracks: ["accounts", "Flights"].map((table) => ({
          projection: table.toLowerCase(),
          table,
          waitFor: async (places: readonly LogPlace[], timeoutMs: number) => {
            this.steps.push(`${kind} ${table} ${places.map(({ shard, position }) => `${shard}:${position}`).join()}`);
            if (this.lagging !== table) return;
            const facts = { projection: table, sink: kind, waitedMs: timeoutMs, state: "paused" };
            throw new HeddleError("PROJECTION_LAGS", facts);
          },
        })),
      })),
      processes: {
        run: async (task) => {
          this.steps.push("run");
          this.task = task;
          return { tables: this.tables, rows: Uint8Array.of(1) };
        },
      },
    });
  }

  async #ask(query: SinkQuery): Promise<SinkRows> {
    this.steps.push("ask");
    this.asked = query;
    return this.answer;
  }
}

const after = { shard: 1, position: 64 };
const ask = (queries: Queries, sql: string, options: object = {}, params?: QueryParameters) =>
  queries.run(queryFields(sql, params, options));
const codeOf = async (run: Promise<unknown>) => {
  const error = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof HeddleError ? error.code : error;
};

describe("queries: what they wait for", () => {
  it("waits for the projections whose tables the SQL names, and for no others", async () => {
    const world = new World();
    world.tables = ["accounts"];
    await ask(world.queries(["sqlite"]), "select * from Accounts", { after });
    expect(world.steps).toEqual(["sqlite accounts 1:64", "run"]);
  });

  it("waits for nothing without `after`", async () => {
    const world = new World();
    world.tables = ["accounts", "flights"];
    await ask(world.queries(["sqlite"]), "select * from accounts");
    expect(world.steps).toEqual(["run"]);
  });

  it("Q6: waits for what it read behind a view, too, and runs again then", async () => {
    const world = new World();
    world.tables = ["accounts", "heddle_rows_flights_12", "late"];
    await ask(world.queries(["sqlite"]), "select * from late, accounts", { after: [after, { shard: 0, position: 8 }] });
    expect(world.steps).toEqual(["sqlite accounts 1:64,0:8", "run", "sqlite Flights 1:64,0:8", "run"]);
  });

  it("Q6: in a store that does not tell what it reads, waits for all when it names no table", async () => {
    const world = new World();
    const queries = world.queries(["rqlite"]);
    await ask(queries, "select * from late", { after });
    expect(world.steps).toEqual(["rqlite accounts 1:64", "rqlite Flights 1:64", "ask"]);
    world.steps.length = 0;
    await ask(queries, "select * from flights", { after });
    expect(world.steps).toEqual(["rqlite Flights 1:64", "ask"]);
  });

  it("waits for where the events of a receipt really stand, and fails when they do not come to stand anywhere", async () => {
    const world = new World();
    world.landing = async ({ position }) => (position === 64 ? 640 : undefined);
    world.tables = ["accounts"];
    const queries = world.queries(["sqlite"]);
    await ask(queries, "select * from accounts", { after });
    expect(world.steps).toEqual(["sqlite accounts 1:640", "run"]);
    const never = { shard: 0, position: 8 };
    expect(await codeOf(ask(queries, "select * from accounts", { after: never }))).toBe("PROJECTION_LAGS");
  });

  it("fails when a projection lags, and does not run", async () => {
    const world = new World();
    world.lagging = "accounts";
    const queries = world.queries(["sqlite"]);
    expect(await codeOf(ask(queries, "select * from accounts", { after }))).toBe("PROJECTION_LAGS");
    expect(world.steps).toEqual(["sqlite accounts 1:64"]);
    expect(queries.stats().ended).toEqual({ ok: 0, PROJECTION_LAGS: 1 });
  });
});

describe("queries: where they go, and with what", () => {
  it("the first SQL sink, or the one that is named by name or kind", async () => {
    const world = new World();
    const queries = world.queries(["mongodb", "sqlite", "rqlite"]);
    await ask(queries, "select 1");
    await ask(queries, "select 1", { sink: "sqlite" });
    await ask(queries, "select 1 as n", { sink: "rqlite" });
    await ask(queries, "select 1 as n", { sink: "rqlite at http://127.0.0.1:4001" });
    expect(world.steps).toEqual(["run", "run", "ask", "ask"]);
    expect(queries.stats().ended).toEqual({ ok: 4 });
  });

  it("no sink that takes SQL: says which there are", async () => {
    for (const named of [{}, { sink: "mongodb" }]) {
      const error = await ask(new World().queries(["mongodb"]), "select 1", named).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "NO_QUERY_SINK", facts: { wanted: "a SQL sink" } });
      expect((error as Error).message).toMatch(
        /^this node keeps its projections in mongodb at .*, and not in a SQL sink\. Name a sink that it has; or start it with --sink sqlite/,
      );
    }
    const other = await ask(new World().queries(["sqlite"]), "select 1", { sink: "rqlite" }).catch((e: unknown) => e);
    expect(other).toMatchObject({ code: "NO_QUERY_SINK", facts: { wanted: "rqlite", known: ["sqlite"] } });
  });

  it("SQLite gets integers as integers, with the bounds of the call", async () => {
    const world = new World();
    await ask(world.queries(["sqlite"]), "select :a", { rowsMax: 7, timeoutMs: 900 }, { a: 5 });
    expect(world.task).toMatchObject({ values: { ":a": 5n }, rowsMax: 7, timeoutMs: 900, bytesMax: 1_000 });
  });

  it("a store behind JSON gets plain values, what is left of the time, and the level", async () => {
    const world = new World();
    const queries = world.queries(["rqlite"]);
    await ask(queries, "select :a, :b", { consistency: "strong", timeoutMs: 900 }, { a: true, b: 2n ** 60n });
    expect(world.asked).toMatchObject({ params: { a: 1, b: 2n ** 60n }, consistency: "strong", rowsMax: 10_000 });
    expect(world.asked!.timeoutMs).toBeLessThanOrEqual(900);
    await ask(queries, "select ?", {}, [5]);
    expect(world.asked!.params).toEqual([5]);
  });

  it("gives what a store answered as msgpack of columns and rows", async () => {
    const world = new World();
    world.answer = { columns: ["a", "b"], rows: [[1, null]] };
    expect(decodeValue(await ask(world.queries(["rqlite"]), "select a, b"))).toEqual([["a", "b"], [[1, null]]]);
  });

  it("holds what a store answered against the bounds, too", async () => {
    const world = new World();
    const queries = world.queries(["rqlite"], 60);
    world.answer = { columns: ["a"], rows: [[1], [2]] };
    expect(await codeOf(ask(queries, "select a", { rowsMax: 1 }))).toBe("QUERY_LIMIT");
    world.answer = { columns: ["a"], rows: [["x".repeat(100)]] };
    expect(await codeOf(ask(queries, "select a"))).toBe("QUERY_LIMIT");
    world.answer = { columns: ["a", "a"], rows: [] };
    expect(await codeOf(ask(queries, "select a, a"))).toBe("QUERY_REFUSED");
  });

  it("a receipt of a shard that there is not is refused", async () => {
    const world = new World();
    const other = { shard: 2, position: 64 };
    expect(await codeOf(ask(world.queries(["sqlite"]), "select 1", { after: other }))).toBe("INVALID_REQUEST");
    expect(world.steps).toEqual([]);
  });

  it("what is no query reaches no sink", async () => {
    const world = new World();
    const queries = world.queries(["sqlite"]);
    for (const [sql, params] of [
      ["delete from accounts", []],
      ["select 1; select 2", []],
      ["select ?", []],
      ["select :a", { b: 1 }],
    ] as const)
      expect(await codeOf(ask(queries, sql, { after }, params as QueryParameters))).toBe("QUERY_REFUSED");
    expect(world.steps).toEqual([]);
  });
});
