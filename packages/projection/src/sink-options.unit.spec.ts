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

  it("name several servers of one cluster with commas between them", () => {
    const rqlite = "http://u:p@a:4001,b:4001,c:4001";
    const mongodb = "mongodb://u:p@a:27017,b:27017/bank?replicaSet=r";
    expect(readSinkOptions([rqlite, mongodb])).toEqual([
      { kind: "rqlite", url: rqlite },
      { kind: "mongodb", url: mongodb },
    ]);
    expect(problem("http://a:4001,b:4001", "http://b:4001")).toBe("http://b:4001/ is named twice");
    expect(problem("http://u:secret@a:4001,,b:4001")).toMatch(/^wanted sqlite, the http:\/\/ address of rqlite/);
    expect(problem("http://u:secret@a:4001,b:port")).not.toContain("secret");
  });

  it("that make no sense are refused, and no password is told", () => {
    for (const text of [
      "",
      "SQLite",
      "postgres://user:secret@host/db",
      "rqlite",
      "127.0.0.1:4001",
      "u:secret@r:4001",
    ]) {
      expect(problem(text)).toMatch(/^wanted sqlite, the http:\/\/ address of rqlite/);
      expect(problem(text)).not.toContain("secret");
    }
  });

  it("whose password is not percent-encoded are refused, and none of it is told", () => {
    for (const text of [
      "http://u:12/secret@r:4001",
      "mongodb://u:12?secret@m/db",
      "mongodb://u:12#secret@m/db",
      "http://u:12%secret@r:4001",
    ]) {
      expect(problem(text)).toMatch(/percent-encode user and password/);
      expect(problem(text)).not.toMatch(/secret|12/);
    }
    expect(problem("mongodb://u:se/cret@m/db")).not.toContain("cret");
    expect(problem("http://u:se//cret@r:4001")).not.toMatch(/se\/|cret/);
  });

  it("that name one place twice are refused", () => {
    expect(problem("sqlite", "sqlite")).toBe("sqlite is named twice");
    expect(problem("http://a:secret@r:4001", "http://b:secret@r:4001/")).toBe("http://r:4001/ is named twice");
    expect(problem("mongodb://m/one", "mongodb://m/two")).toBeUndefined();
  });
});
