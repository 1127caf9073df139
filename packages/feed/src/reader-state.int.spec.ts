// Goal: what readers keep is whole and durable, and each has tables of its own.
// Method: real files; a crash is a copy of them.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ReaderState } from "./reader-state.ts";

let folder: string;
const file = () => path.join(folder, "readers", "readers.sqlite");

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-readers-"));
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

const steps = ["CREATE TABLE notes (id INTEGER PRIMARY KEY) STRICT", "ALTER TABLE notes ADD COLUMN text TEXT"];
const textsOf = (state: ReaderState) =>
  state.database
    .prepare("SELECT text FROM notes ORDER BY id")
    .all()
    .map((row) => row["text"]);

describe("reader state", () => {
  it("makes an owner's tables, and brings those of an earlier version up to date, once", () => {
    const first = ReaderState.open(file());
    first.tables("notes", steps.slice(0, 1));
    first.database.exec("INSERT INTO notes VALUES (1)");
    first.close();
    for (let times = 0; times < 2; times++) {
      const state = ReaderState.open(file());
      state.tables("notes", steps);
      state.tables("others", ["CREATE TABLE others (id INTEGER) STRICT"].slice(0, 1));
      expect(textsOf(state)).toEqual([null]);
      state.close();
    }
  });

  it("P7: refuses tables that a later version has made, and leaves them as they are", () => {
    const state = ReaderState.open(file());
    state.tables("notes", steps);
    const thrown = expect.objectContaining({
      code: "DATA_FOLDER_VERSION",
      facts: { folder: file(), found: 2, supported: 1 },
    });
    expect(() => state.tables("notes", steps.slice(0, 1))).toThrow(thrown);
    state.tables("notes", steps);
    state.close();
  });

  it("R1: what a transaction wrote is there after a crash, whole; what threw is not", () => {
    const state = ReaderState.open(file());
    state.tables("notes", steps);
    state.transaction(() => {
      state.database.exec("INSERT INTO notes VALUES (1, 'a')");
      state.database.exec("INSERT INTO notes VALUES (2, 'b')");
    });
    const fails = () =>
      state.transaction(() => {
        state.database.exec("INSERT INTO notes VALUES (3, 'c')");
        throw new Error("no");
      });
    expect(fails).toThrow("no");
    expect(state.transaction(() => 7)).toBe(7);
    const copy = path.join(folder, "copy");
    fs.cpSync(path.dirname(file()), copy, { recursive: true });
    const after = ReaderState.open(path.join(copy, "readers.sqlite"));
    expect(textsOf(after)).toEqual(["a", "b"]);
    expect(after.database.prepare("PRAGMA synchronous").get()).toEqual({ synchronous: 2 });
    after.close();
    state.close();
  });

  it("P7: a file that is none of ours is told by its name", () => {
    fs.mkdirSync(path.dirname(file()));
    fs.writeFileSync(file(), "x".repeat(5_000));
    const thrown = expect.objectContaining({
      code: "DATA_FOLDER_UNWRITABLE",
      message: expect.stringContaining("readers.sqlite"),
    });
    expect(() => ReaderState.open(file())).toThrow(thrown);
  });
});
