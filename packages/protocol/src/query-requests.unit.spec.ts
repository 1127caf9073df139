// Goal: bodies about queries and projections come back as they went, and what is out of bounds is refused on both sides. Whatever
// the bytes are: test/fuzz.
import { describe, expect, it } from "vitest";
import { decodeValue, encodeValue } from "./payload-codec.ts";
import {
  type ProjectionOperateFields,
  type QueryFields,
  queryFields,
  readProjectionList,
  readProjectionListBody,
  readProjectionOperateBody,
  readQueryBody,
  readQueryResult,
  writeProjectionListBody,
  writeProjectionOperateBody,
  writeQueryBody,
} from "./query-requests.ts";

type Write = (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number;

// Written behind other bytes, as a node does.
function bodyOf(write: Write): Uint8Array {
  const at = 7;
  let room = new Uint8Array();
  const used = write((wanted) => {
    room = new Uint8Array(at + wanted);
    return { bytes: room, at };
  });
  return room.subarray(at, at + used);
}

function caught(run: () => unknown): { readonly code: string; readonly message: string } {
  try {
    run();
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error("nothing was refused");
}

const query = (fields: QueryFields) => bodyOf((reserve) => writeQueryBody(fields, reserve));
const readBack = (bytes: Uint8Array) => readQueryBody(bytes, 0, bytes.length);

describe("query requests", () => {
  it("come back as they went", () => {
    const fields: QueryFields = {
      sql: "select * from accounts where ü = ? -- 😀",
      params: [1, -1.5, "x", null, true, 2n ** 62n, Uint8Array.of(1, 2)],
      after: [
        { shard: 3, position: 2 ** 40 },
        { shard: 65_535, position: 0 },
      ],
      sink: "rqlite",
      rowsMax: 17,
      timeoutMs: 300_000,
      consistency: "strong",
    };
    expect(readBack(query(fields))).toEqual(fields);
    const named = queryFields("select :a", { a: "b" }, {});
    expect(readBack(query(named))).toEqual(named);
  });

  it("have defaults for all that can be left out, and take a receipt for a place", () => {
    expect(queryFields("select 1", undefined, {})).toEqual({
      sql: "select 1",
      params: [],
      after: [],
      sink: "",
      rowsMax: 10_000,
      timeoutMs: 5_000,
      consistency: undefined,
    });
    const receipt = { ok: true, shard: 1, position: 64, seq: 3 };
    expect(readBack(query(queryFields("select 1", [], { after: receipt }))).after).toEqual([
      { shard: 1, position: 64 },
    ]);
  });

  it("are refused with the option's name when something is out of bounds", () => {
    for (const [options, path] of [
      [{ rowsMax: 0 }, "rowsMax"],
      [{ rowsMax: 1_000_001 }, "rowsMax"],
      [{ timeoutMs: 300_001 }, "timeoutMs"],
      [{ timeoutMs: 1.5 }, "timeoutMs"],
      [{ sink: "x".repeat(256) }, "sink"],
      [{ after: { shard: 0, position: -1 } }, "after.0"],
      [{ after: [{ shard: 0, position: 1 }, {}] }, "after.1"],
      [{ after: Array.from({ length: 256 }, () => ({ shard: 0, position: 1 })) }, "after"],
      [{ consistency: "eventually" }, "consistency"],
    ] as const) {
      const error = caught(() => queryFields("select 1", [], options as never));
      expect([error.code, error.message.split(":")[0]]).toEqual(["INVALID_REQUEST", path]);
    }
  });

  it("are refused for a parameter that SQL has no value for", () => {
    for (const params of [
      [undefined],
      [Number.NaN],
      [{}],
      [[]],
      [new Date()],
      ["\ud800"],
      [2n ** 63n],
      { a: undefined },
    ])
      expect(caught(() => queryFields("select ?", params as never, {})).code).toBe("QUERY_REFUSED");
    for (const params of [5, "x", Uint8Array.of(1)])
      expect(caught(() => queryFields("select ?", params as never, {})).message).toContain("as a list or by name");
  });

  it("are answered with rows, or not at all", () => {
    const { columns, rows } = readQueryResult([
      ["a", "__proto__"],
      [
        [1, 2],
        ["x", null],
      ],
    ]);
    expect(columns).toEqual(["a", "__proto__"]);
    expect(rows.map((row) => Object.entries(row))).toEqual([
      [
        ["a", 1],
        ["__proto__", 2],
      ],
      [
        ["a", "x"],
        ["__proto__", null],
      ],
    ]);
    for (const value of [null, [], [["a"]], [["a"], [[1, 2]]], [["a"], [5]], [[5], []]])
      expect(caught(() => readQueryResult(value)).code).toBe("BAD_FRAME");
  });
});

describe("requests about projections", () => {
  it("come back as they went", () => {
    const list = bodyOf((reserve) => writeProjectionListBody({ projection: "acçounts" }, reserve));
    expect(readProjectionListBody(list, 0, list.length)).toEqual({ projection: "acçounts" });
    const fields: ProjectionOperateFields = {
      action: "skip",
      projection: "accounts",
      sink: "sqlite",
      entity: "account/älice",
      reason: "a refund that was booked twice",
      by: "ops",
    };
    const body = bodyOf((reserve) => writeProjectionOperateBody(fields, reserve));
    expect(readProjectionOperateBody(body, 0, body.length)).toEqual(fields);
    expect(caught(() => readProjectionOperateBody(body, 0, body.length - 1)).code).toBe("BAD_FRAME");
  });

  it("say what an operation needs", () => {
    const operate = (fields: Partial<ProjectionOperateFields>) =>
      caught(() =>
        writeProjectionOperateBody(
          { action: "pause", projection: "accounts", sink: "", entity: "", reason: "", by: "", ...fields },
          () => ({ bytes: new Uint8Array(1_000), at: 0 }),
        ),
      ).message.split(":")[0];
    expect(operate({ projection: "" })).toBe("projection");
    expect(operate({ action: "retry" })).toBe("entity");
    expect(operate({ entity: "account/alice" })).toBe("entity");
    expect(operate({ action: "skip", entity: "account/alice" })).toBe("reason");
    expect(operate({ action: "drop" as "pause" })).toBe("action");
  });

  it("are answered with a list, or not at all", () => {
    const row = { projection: "accounts", sink: "sqlite", state: "live", shards: [], failures: [], generation: 1 };
    expect(readProjectionList(decodeValue(encodeValue([row])))).toEqual([row]);
    for (const value of [null, {}, [null], [{ ...row, state: "fine" }], [{ ...row, shards: 5 }]])
      expect(caught(() => readProjectionList(value)).code).toBe("BAD_FRAME");
  });
});
