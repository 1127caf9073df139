import { describe, expect, it } from "vitest";
import { findPostgres, userToBe } from "./find-postgres.ts";

const root = "root:x:0:0:root:/root:/bin/bash";
const nobody = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin";
const postgres = "postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";

describe("PostgreSQL: where it is", () => {
  it("says which programs are missing, and the package that has them", () => {
    expect(findPostgres("/nonexistent")).toEqual({
      missing: "/nonexistent has no initdb, postgres, pg_isready, psql, pgbench: install the package postgresql-15",
    });
  });
});

describe("PostgreSQL: whom it runs as, which must not be root", () => {
  it("is the package's own user, or else nobody", () => {
    expect(userToBe([root, nobody, postgres].join("\n"))).toEqual({ name: "postgres", uid: 101, gid: 104 });
    expect(userToBe([root, nobody].join("\n"))).toEqual({ name: "nobody", uid: 65_534, gid: 65_534 });
    expect(userToBe(root)).toBeUndefined();
  });
});
