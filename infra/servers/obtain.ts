// obtain: the binary of a server, built from the Go module proxy when it is not there yet.
//
// Binaries live in a cache outside the repository: $HEDDLE_CACHE, else $XDG_CACHE_HOME/heddle, else ~/.cache/heddle. The
// folder's name holds the version and a hash of everything that the build depends on, so a change builds anew. A binary
// appears there whole or not at all, and of several processes that want the same one builds it while the others wait. What could not
// be fetched is asked for again a few times: Go itself asks once.
//
// An environment variable with a path (see `recipes`) takes the place of the build.
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ServerError } from "./server-error.ts";
import { type ServerName, versions } from "./settings.ts";

interface Recipe {
  /** What the binary is called. */
  readonly binary: string;
  readonly version: string;
  /** The folder with go.mod and go.sum, beside this file. */
  readonly folder: string;
  /** Files that the build depends on. */
  readonly sources: readonly string[];
  readonly goPackage: string;
  readonly tags: string;
  /** Needs a C compiler and the headers of libc. */
  readonly cgo?: boolean;
  /** A variable of its source and the value that it gets: how it comes to know its version. */
  readonly set?: string;
  /** Holds the path of a binary to use as it is. */
  readonly variable: string;
}

export const recipes: Readonly<Record<ServerName, Recipe>> = {
  nats: {
    binary: "nats-server",
    version: versions.nats,
    folder: "nats",
    sources: ["go.mod", "go.sum"],
    goPackage: "github.com/nats-io/nats-server/v2",
    tags: "",
    variable: "HEDDLE_NATS_SERVER",
  },
  rqlite: {
    binary: "rqlited",
    version: versions.rqlite,
    folder: "rqlite",
    sources: ["go.mod", "go.sum"],
    goPackage: "github.com/rqlite/rqlite/v8/cmd/rqlited",
    tags: "",
    cgo: true,
    set: `github.com/rqlite/rqlite/v8/cmd.Version=v${versions.rqlite}`,
    variable: "HEDDLE_RQLITED",
  },
  mongo: {
    binary: "ferretdb",
    version: versions.ferretdb,
    folder: "mongo",
    sources: ["go.mod", "go.sum", "main.go", "id_index.go"],
    goPackage: ".",
    tags: "ferretdb_no_postgresql",
    variable: "HEDDLE_FERRETDB",
  },
};

export interface ObtainOptions {
  /** Gets one line at the begin and the end of a build. Default: standard error. */
  readonly say?: (line: string) => void;
  readonly env?: NodeJS.ProcessEnv;
  /** For tests. */
  readonly pause?: (ms: number) => Promise<unknown>;
}

/** Before each time that it is asked for again. */
const fetchPausesMs = [1_000, 5_000, 15_000] as const;

const obtained = new Map<ServerName, Promise<string>>();

/**
 * The path of the server's binary.
 *
 * Errors: `ServerError` with `NO_SUCH_BINARY` when the variable names none, `NO_GO`, `GO_TOO_OLD`, `NO_C_COMPILER`,
 * `NO_NETWORK`, `BUILD_FAILED`.
 */
export function obtain(name: ServerName, options: ObtainOptions = {}): Promise<string> {
  if (options.env !== undefined) return obtainAnew(name, options);
  let promise = obtained.get(name);
  if (promise === undefined) {
    promise = obtainAnew(name, options);
    obtained.set(name, promise);
    promise.catch(() => obtained.delete(name));
  }
  return promise;
}

/** Where binaries are kept. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const { HEDDLE_CACHE: own, XDG_CACHE_HOME: common, HOME: home } = env;
  if (own !== undefined && own !== "") return path.resolve(own);
  if (common !== undefined && path.isAbsolute(common)) return path.join(common, "heddle");
  return path.join(home ?? os.homedir(), ".cache", "heddle");
}

/** The binary's place in the cache, whether it is there or not. */
export function cachedBinary(name: ServerName, env: NodeJS.ProcessEnv = process.env): string {
  const recipe = recipes[name];
  const hash = createHash("sha256").update(
    JSON.stringify([
      ...[process.platform, process.arch, recipe.goPackage, recipe.tags, buildArgs(recipe)],
      ...(recipe.cgo === true ? ["cgo"] : []),
    ]),
  );
  for (const source of recipe.sources) hash.update(fs.readFileSync(path.join(sourceFolder(recipe), source)));
  const folder = `${recipe.binary}-${recipe.version}-${hash.digest("hex").slice(0, 12)}`;
  return path.join(cacheFolder(env), "servers", folder, recipe.binary);
}

/** The path that the variable names, if it is set. Errors: `NO_SUCH_BINARY` when no file there can be run. */
function givenBinary(variable: string, env: NodeJS.ProcessEnv): string | undefined {
  const given = env[variable];
  if (given === undefined || given === "") return undefined;
  if (isExecutable(given)) return path.resolve(given);
  throw new ServerError("NO_SUCH_BINARY", `${variable} is ${given}, which is no file that can be run`);
}

const buildArgs = ({ set }: Recipe) => [
  "-mod=readonly",
  "-trimpath",
  `-ldflags=-s -w${set === undefined ? "" : ` -X ${set}`}`,
];
const sourceFolder = (recipe: Recipe) => fileURLToPath(new URL(`./${recipe.folder}/`, import.meta.url));

async function obtainAnew(name: ServerName, options: ObtainOptions): Promise<string> {
  const env = options.env ?? process.env;
  const recipe = recipes[name];
  const given = givenBinary(recipe.variable, env);
  if (given !== undefined) return given;
  const binary = cachedBinary(name, env);
  if (isExecutable(binary)) return binary;
  const say = options.say ?? ((line: string) => console.error(line));
  const folder = path.dirname(binary);
  fs.mkdirSync(path.dirname(folder), { recursive: true });
  const unlock = await lock(`${folder}.lock`, () =>
    say(`${recipe.binary} ${recipe.version}: another process is building it, waiting`),
  );
  try {
    if (isExecutable(binary)) return binary;
    say(`${recipe.binary} ${recipe.version}: building with Go, once; a minute or a few`);
    const startedAt = performance.now();
    const unfinished = `${folder}.${randomUUID()}`;
    try {
      await buildAndFetch(recipe, path.join(unfinished, recipe.binary), { ...options, env, say });
      // Only a build that died between this line and the next leaves a folder behind without its binary.
      fs.rmSync(folder, { recursive: true, force: true });
      fs.renameSync(unfinished, folder);
    } finally {
      fs.rmSync(unfinished, { recursive: true, force: true });
    }
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
    const megabytes = (fs.statSync(binary).size / 1e6).toFixed(0);
    say(`${recipe.binary} ${recipe.version}: built in ${seconds} s, ${megabytes} MB, ${binary}`);
    return binary;
  } finally {
    unlock();
  }
}

/** Builds, and begins again when the network failed: what was fetched is kept. */
async function buildAndFetch(
  recipe: Recipe,
  output: string,
  options: ObtainOptions & Required<Pick<ObtainOptions, "env" | "say">>,
): Promise<void> {
  const { env, say, pause = setTimeout } = options;
  for (let tries = 0; ; tries++) {
    try {
      return await build(recipe, output, env);
    } catch (error) {
      const ms = fetchPausesMs[tries];
      if (!(error instanceof ServerError) || error.code !== "NO_NETWORK" || ms === undefined) throw error;
      say(`${error.message}; again in ${ms / 1_000} s`);
      await pause(ms);
    }
  }
}

async function build(recipe: Recipe, output: string, env: NodeJS.ProcessEnv): Promise<void> {
  const args = ["build", ...buildArgs(recipe), ...(recipe.tags === "" ? [] : ["-tags", recipe.tags])];
  const go = spawn("go", [...args, "-o", output, recipe.goPackage], {
    cwd: sourceFolder(recipe),
    env: { ...env, CGO_ENABLED: recipe.cgo === true ? "1" : "0", GOWORK: "off" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  go.stderr.setEncoding("utf8").on("data", (part: string) => {
    said = (said + part).slice(-16_384);
  });
  const code = await new Promise<number | "ENOENT">((resolve, reject) => {
    go.once("error", (error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? resolve("ENOENT") : reject(error)));
    go.once("close", (exitCode) => resolve(exitCode ?? 1));
  });
  if (code !== 0) throw buildError(recipe, code, said);
}

/** What went wrong, from what Go said. */
export function buildError(
  recipe: Pick<Recipe, "binary" | "version" | "variable">,
  code: number | "ENOENT",
  said: string,
): ServerError {
  const what = `${recipe.binary} ${recipe.version}`;
  const instead = `or set ${recipe.variable} to the path of a ${recipe.binary}`;
  if (code === "ENOENT")
    return new ServerError(
      "NO_GO",
      `${what} is built with Go, which is not installed: see go.dev/doc/install, ${instead}`,
    );
  const lines = said.split("\n").filter((line) => line !== "" && !line.startsWith("go: downloading "));
  const first = lines[0] ?? `go build ended with exit code ${code}`;
  if (/requires go >=|requires go1|toolchain not available|invalid go version/.test(said))
    return new ServerError("GO_TOO_OLD", `${what} needs a newer Go (${first}): see go.dev/doc/install, ${instead}`);
  if (/C compiler .* not found|fatal error: \S+\.h: No such file/.test(said)) {
    const found = lines.find((line) => /not found|fatal error/.test(line)) ?? first;
    return new ServerError(
      "NO_C_COMPILER",
      `${what} needs a C compiler and the headers of libc (${found.trim()}): install gcc and libc's headers, ${instead}`,
    );
  }
  if (
    /dial tcp|no such host|lookup .*:|connection refused|i\/o timeout|TLS handshake|proxyconnect|\b(403|407|50\d) /.test(
      said,
    )
  )
    return new ServerError(
      "NO_NETWORK",
      `${what} could not be fetched by Go (${first}): look at \`go env GOPROXY\`, ${instead}`,
    );
  return new ServerError(
    "BUILD_FAILED",
    `${what} could not be built, ${instead}. Go said:\n${lines.slice(-20).join("\n")}`,
  );
}

/** Holds a file lock that ends with the process: SQLite's, since Node has none of its own. */
async function lock(file: string, onWait: () => void): Promise<() => void> {
  const database = new DatabaseSync(file);
  for (let tries = 0; ; tries++) {
    try {
      database.exec("BEGIN EXCLUSIVE");
      return () => database.close();
    } catch (error) {
      if (!/database is locked/.test((error as Error).message)) throw error;
      if (tries === 0) onWait();
      await setTimeout(200);
    }
  }
}

function isExecutable(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}
