// Goal: the contract that every sink keeps, over a real SQLite file; and what is special to a file: damage, locks, a full disk,
// and the bytes that are left in it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { defineAggregate, defineContext, defineProjection, event } from "@heddle/domain";
import { compileContext, type Row } from "@heddle/domain/internal";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sinkContract } from "../../../../test/contract/sink-contract.ts";
import type { GenerationRef, SinkBatch } from "../sink.ts";
import { valueOfRow } from "./read-rows.spec-support.ts";
import { SqliteSink } from "./sqlite-sink.ts";

let folder: string;
const file = () => path.join(folder, "projections", "projections.sqlite");
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-sqlite-sink-"));
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

describe("sqlite: the contract", () => {
  sinkContract(() => ({
    make: () => new SqliteSink({ file: file() }),
    read: async (projection) => {
      const database = new DatabaseSync(file(), { readOnly: true });
      try {
        const known = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?").get(projection.table);
        if (known === undefined) return undefined;
        return database
          .prepare(`SELECT * FROM "${projection.table}"`)
          .all()
          .map((row) => valueOfRow(projection, row));
      } finally {
        database.close();
      }
    },
    cleanUp: async () => undefined,
  }));
});

const anything = {
  "~standard": { version: 1 as const, vendor: "test", validate: (value: unknown) => ({ value: value as object }) },
};
const Thing = defineAggregate("Thing", {
  version: 1,
  initial: () => 0,
  events: { Happened: event(anything, (s) => s) },
});
const projection = compileContext(
  defineContext("test", {
    aggregates: [Thing],
    projections: [
      defineProjection("things", {
        version: 1,
        from: [Thing],
        columns: { id: "text", secret: "text", filler: "text?" },
        key: ["id"],
        indexes: [["secret"]],
        on: { Happened: () => null },
      }),
    ],
  }),
).projections.get("things")!;
const ref: GenerationRef = { projection, generation: 1 };
const begun = { generation: 1, version: 1, shape: "{}", revision: 0, positions: [0], facts: "{}" };

function batch(revision: number, rows: readonly (Row | string)[], erased: readonly string[] = []): SinkBatch {
  return {
    revision,
    writer: "me",
    positions: [revision],
    facts: "{}",
    erased,
    rows: rows.map((row) =>
      typeof row === "string"
        ? { id: row, key: [row], row: null, source: "" }
        : { id: row["id"] as string, key: [row["id"] as string], row, source: row["id"] as string },
    ),
    held: new Map(),
    outcomes: new Map(),
  };
}

const thing = (id: string, secret: string, filler: string | null = null): Row => ({ id, secret, filler });

describe("sqlite: what users read", () => {
  it("has the columns of the definition and no others, and can be joined over several projections", () => {
    const sink = new SqliteSink({ file: file() });
    sink.open();
    sink.create(ref, begun);
    sink.write(ref, batch(1, [thing("a", "b")]));
    const database = new DatabaseSync(file(), { readOnly: true });
    expect(database.prepare("SELECT * FROM things JOIN things AS others USING (id)").all()).toEqual(
      [{ id: "a", secret: "b", filler: null, "secret:1": "b" }].map(() =>
        expect.objectContaining({ id: "a", secret: "b" }),
      ),
    );
    expect(Object.keys(database.prepare("SELECT * FROM things").get()!)).toEqual(["id", "secret", "filler"]);
    database.close();
    sink.close();
  });

  it("S4 a reader that has begun goes on with the old rows while they are swapped", () => {
    const sink = new SqliteSink({ file: file() });
    sink.open();
    sink.create(ref, begun);
    sink.write(ref, batch(1, [thing("a", "old"), thing("b", "old")]));
    const reader = new DatabaseSync(file(), { readOnly: true });
    reader.exec("BEGIN");
    expect(reader.prepare("SELECT secret FROM things").all()).toHaveLength(2);
    const next = { projection, generation: 2 };
    sink.create(next, { ...begun, generation: 2 });
    sink.write(next, batch(1, [thing("a", "new")]));
    sink.swap(next);
    expect(
      reader
        .prepare("SELECT secret FROM things")
        .all()
        .map((row) => row["secret"]),
    ).toEqual(["old", "old"]);
    reader.exec("COMMIT");
    expect(
      reader
        .prepare("SELECT secret FROM things")
        .all()
        .map((row) => row["secret"]),
    ).toEqual(["new"]);
    reader.close();
    sink.close();
  });
});

describe("sqlite: what goes wrong", () => {
  it("P5 a write that fails halfway leaves nothing of itself", () => {
    const sink = new SqliteSink({ file: file() });
    sink.open();
    sink.create(ref, begun);
    sink.write(ref, batch(1, [thing("a", "first")]));
    const whole = batch(2, [thing("a", "second"), thing("b", "second")], ["a"]);
    const broken = {
      ...whole,
      held: new Map([
        [
          "a",
          {
            get entity(): string {
              throw new Error("halfway");
            },
          } as never,
        ],
      ]),
    };
    expect(() => sink.write(ref, broken)).toThrow("halfway");
    expect(sink.describe("things")?.live).toMatchObject({ revision: 1, positions: [1] });
    expect(sink.load(ref, [["a"], ["b"]])).toEqual([{ row: thing("a", "first"), source: "a" }, undefined]);
    sink.write(ref, whole);
    expect(sink.load(ref, [["b"]])[0]?.row["secret"]).toBe("second");
    sink.close();
  });

  it.each(["at start", "while it is open"])("a file that is damaged %s is removed, and made anew", (when) => {
    const replaced: string[] = [];
    const sink = new SqliteSink({ file: file(), onReplaced: (problem) => replaced.push(problem) });
    sink.open();
    sink.create(ref, begun);
    sink.write(
      ref,
      batch(
        1,
        Array.from({ length: 500 }, (_, i) => thing(`thing/${i}`, "s".repeat(200))),
      ),
    );
    sink.scrub();
    if (when === "at start") {
      sink.close();
      fs.writeFileSync(file(), Buffer.alloc(8_192, 0x41));
      sink.open();
    } else {
      // Behind the pages that are at hand: rows that nobody has read yet.
      sink.close();
      const bytes = fs.readFileSync(file());
      bytes.fill(0x41, bytes.length >> 1);
      fs.writeFileSync(file(), bytes);
      sink.open();
      const keys = Array.from({ length: 500 }, (_, i) => [`thing/${i}`]);
      expect(() => sink.load(ref, keys)).toThrow(expect.objectContaining({ code: "SINK_UNAVAILABLE" }));
    }
    expect(replaced).toHaveLength(1);
    expect(sink.describe("things")).toBeUndefined();
    sink.create(ref, begun);
    sink.write(ref, batch(1, [thing("a", "b")]));
    expect(fs.readdirSync(path.dirname(file())).every((name) => name.startsWith("projections.sqlite"))).toBe(true);
    sink.close();
  });

  it("a lock of somebody else is a reason to ask again", async () => {
    const sink = new SqliteSink({ file: file(), busyTimeoutMs: 1 });
    sink.open();
    sink.create(ref, begun);
    // Another process: within one, SQLite's locks are not those of files.
    const code = `
      const { DatabaseSync } = require("node:sqlite");
      const database = new DatabaseSync(${JSON.stringify(file())});
      database.exec("BEGIN IMMEDIATE");
      console.log("locked");
      process.stdin.resume();
    `;
    const child = spawn(process.execPath, ["-e", code], { stdio: ["pipe", "pipe", "inherit"] });
    await once(child.stdout, "data");
    expect(() => sink.write(ref, batch(1, []))).toThrow(expect.objectContaining({ code: "SINK_UNAVAILABLE" }));
    child.kill("SIGKILL");
    await once(child, "exit");
    sink.write(ref, batch(1, []));
    expect(sink.describe("things")?.live?.revision).toBe(1);
    sink.close();
  });

  it("a disk without room is refused, changes nothing, and it goes on when there is room", () => {
    const small = new SqliteSink({ file: file(), bytesMax: 128 << 10 });
    small.open();
    small.create(ref, begun);
    small.write(ref, batch(1, [thing("a", "first")]));
    const much = batch(
      2,
      Array.from({ length: 2_000 }, (_, i) => thing(`thing/${i}`, "s".repeat(100))),
    );
    expect(() => small.write(ref, much)).toThrow(expect.objectContaining({ code: "SINK_REFUSED" }));
    expect(small.describe("things")?.live?.revision).toBe(1);
    expect(small.load(ref, [["a"]])[0]?.row["secret"]).toBe("first");
    small.close();
    const sink = new SqliteSink({ file: file() });
    sink.open();
    sink.write(ref, much);
    expect(sink.describe("things")?.live?.revision).toBe(2);
    sink.close();
  });

  it("a table of somebody else is left alone", () => {
    fs.mkdirSync(path.dirname(file()), { recursive: true });
    const database = new DatabaseSync(file());
    database.exec("CREATE TABLE things (a); INSERT INTO things VALUES (1)");
    database.close();
    const sink = new SqliteSink({ file: file() });
    sink.open();
    expect(() => sink.create(ref, begun)).toThrow(expect.objectContaining({ code: "SINK_REFUSED" }));
    expect(sink.describe("things")).toBeUndefined();
    sink.close();
    const after = new DatabaseSync(file());
    expect(after.prepare("SELECT a FROM things").all()).toHaveLength(1);
    after.close();
  });

  it("a place that cannot be written to is refused", () => {
    fs.writeFileSync(path.join(folder, "projections"), "a file where a folder should be");
    expect(() => new SqliteSink({ file: file() }).open()).toThrow(expect.objectContaining({ code: "SINK_REFUSED" }));
  });
});

describe("sqlite: bytes of what was deleted", () => {
  const marker = (i: number) => `MARKER-${String(i).padStart(6, "0")}-`;
  const found = (): string[] => {
    const markers: string[] = [];
    for (const name of fs.readdirSync(path.dirname(file()))) {
      const text = fs.readFileSync(path.join(path.dirname(file()), name)).toString("latin1");
      for (const match of text.matchAll(/MARKER-\d{6}-/g)) markers.push(match[0]);
    }
    return markers;
  };

  it("P6 none is in any file after a scrub, wherever rows were moved, grown, indexed and swapped before", () => {
    const sink = new SqliteSink({ file: file() });
    sink.open();
    sink.create(ref, begun);
    const count = 6_000;
    // In no order of the keys, so that pages are split at all places; with rows that grow, so that they move.
    const ids = Array.from({ length: count }, (_, i) => `thing/${(i * 7_919) % count}`);
    let revision = 0;
    for (let from = 0; from < count; from += 500) {
      const part = ids.slice(from, from + 500);
      sink.write(
        ref,
        batch(
          ++revision,
          part.map((id, i) => thing(id, `${marker(from + i)}secret`)),
        ),
      );
    }
    for (let from = 0; from < count; from += 500) {
      const part = ids.slice(from, from + 500);
      sink.write(
        ref,
        batch(
          ++revision,
          part.map((id, i) => thing(id, `${marker(from + i)}secret`, "x".repeat((i * 37) % 900))),
        ),
      );
    }
    const next = { projection, generation: 2 };
    sink.create(next, { ...begun, generation: 2 });
    sink.write(
      next,
      batch(
        1,
        ids.map((id, i) => thing(id, `${marker(i)}again`, `${marker(i)}${"y".repeat(i % 6_000)}`)),
      ),
    );
    sink.swap(next);
    const gone = ids.filter((_, i) => i % 3 !== 0);
    const kept = new Set(ids.flatMap((_, i) => (i % 3 === 0 ? [marker(i)] : [])));
    for (let from = 0; from < gone.length; from += 400) {
      sink.write(next, batch(2 + from / 400, [], gone.slice(from, from + 400)));
    }
    sink.scrub();
    const left = found();
    expect(left.filter((one) => !kept.has(one))).toEqual([]);
    expect(new Set(left)).toEqual(kept);
    const check = new DatabaseSync(file(), { readOnly: true });
    expect(check.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
    expect(check.prepare("SELECT count(*) AS n FROM things").get()).toEqual({ n: kept.size });
    check.close();
    sink.close();
  });

  it("a reader that holds on to old pages holds up the scrub, typed, and not for good", () => {
    const sink = new SqliteSink({ file: file(), busyTimeoutMs: 1 });
    sink.open();
    sink.create(ref, begun);
    sink.write(ref, batch(1, [thing("a", marker(1))]));
    const reader = new DatabaseSync(file(), { readOnly: true });
    reader.exec("BEGIN");
    reader.prepare("SELECT * FROM things").all();
    sink.write(ref, batch(2, [], ["a"]));
    expect(() => sink.scrub()).toThrow(expect.objectContaining({ code: "SINK_UNAVAILABLE" }));
    reader.exec("COMMIT");
    reader.close();
    sink.scrub();
    expect(found()).toEqual([]);
    sink.close();
  });
});
