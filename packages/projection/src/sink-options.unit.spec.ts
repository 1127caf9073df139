// Goal: what an operator names is understood, or refused without giving a password away.
import { describe, expect, it } from "vitest";
import { readSinkOptions } from "./sink-options.ts";

const problem = (...texts: readonly string[]) => {
  try {
    readSinkOptions(texts);
  } catch (error) {
    const { code, facts } = error as { code: string; facts: { path: string; problem: string } };
    expect([code, facts.path]).toEqual(["INVALID_REQUEST", "sinks"]);
    return facts.problem;
  }
  return undefined;
};

describe("sink options", () => {
  it("are sqlite, or the address of a server that tells its kind", () => {
    expect(readSinkOptions(["sqlite", "http://127.0.0.1:4001", "https://u:p@r:4001", "mongodb://m/heddle"])).toEqual([
      { kind: "sqlite", url: "" },
      { kind: "rqlite", url: "http://127.0.0.1:4001" },
      { kind: "rqlite", url: "https://u:p@r:4001" },
      { kind: "mongodb", url: "mongodb://m/heddle" },
    ]);
    expect(readSinkOptions([])).toEqual([]);
  });

  it("that make no sense are refused, and no password is told", () => {
    for (const text of ["", "SQLite", "postgres://user:secret@host/db", "rqlite", "127.0.0.1:4001"]) {
      expect(problem(text)).toMatch(/^wanted sqlite, the http:\/\/ address of rqlite/);
      expect(problem(text)).not.toContain("secret");
    }
  });

  it("that name one place twice are refused", () => {
    expect(problem("sqlite", "sqlite")).toBe("sqlite is named twice");
    expect(problem("http://a:secret@r:4001", "http://b:secret@r:4001/")).toBe("http://r:4001/ is named twice");
    expect(problem("mongodb://m/one", "mongodb://m/two")).toBeUndefined();
  });
});
