// FindPostgres: where the programs of PostgreSQL 15 are, and as whom they can be run. Says what is missing when they can not.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

/** What Debian and its descendants call the folder of the package `postgresql-15`. */
export const debianFolder = "/usr/lib/postgresql/15/bin";
export const wantedMajor = 15;

const programs = ["initdb", "postgres", "pg_isready", "psql", "pgbench"] as const;
export type Program = (typeof programs)[number];

export interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface Postgres {
  readonly folder: string;
  /** As the server says it, such as `postgres (PostgreSQL) 15.18`. */
  readonly version: string;
  /** Whom to run it as: PostgreSQL refuses to be root. Undefined: whoever runs this. */
  readonly user: SystemUser | undefined;
}

export type Found = { readonly postgres: Postgres } | { readonly missing: string };

export function findPostgres(folder: string, self = process.getuid?.(), users = readUsers()): Found {
  const absent = programs.filter((program) => !fs.existsSync(path.join(folder, program)));
  if (absent.length > 0) {
    return { missing: `${folder} has no ${absent.join(", ")}: install the package postgresql-${wantedMajor}` };
  }
  const said = spawnSync(path.join(folder, "postgres"), ["--version"], { encoding: "utf8" });
  const version = (said.stdout ?? "").trim();
  if (!new RegExp(`\\) ${wantedMajor}\\b`).test(version)) {
    return {
      missing: `${folder} holds ${version || "a program that does not start"}, wanted is version ${wantedMajor}`,
    };
  }
  if (self !== 0) return { postgres: { folder, version, user: undefined } };
  const user = userToBe(users);
  if (user === undefined) return { missing: "it refuses to run as root, and there is no user postgres or nobody" };
  return { postgres: { folder, version, user } };
}

function readUsers(): string {
  try {
    return fs.readFileSync("/etc/passwd", "utf8");
  } catch {
    return "";
  }
}

/** The package's own user, or the one that may do nothing. */
export function userToBe(passwd: string): SystemUser | undefined {
  for (const wanted of ["postgres", "nobody"]) {
    for (const line of passwd.split("\n")) {
      const [name, , uid, gid] = line.split(":");
      if (name === wanted && uid !== undefined && gid !== undefined)
        return { name, uid: Number(uid), gid: Number(gid) };
    }
  }
  return undefined;
}
