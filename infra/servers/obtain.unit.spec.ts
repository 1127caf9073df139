// Goal: where binaries are kept, what a failed build tells, and that a failing network is given time. That building works is shown in servers.servers.spec.ts.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildError, cachedBinary, cacheFolder, obtain, recipes } from "./obtain.ts";

describe("servers: the cache", () => {
  it("is $HEDDLE_CACHE, else below $XDG_CACHE_HOME, else below the home folder", () => {
    expect(cacheFolder({ HEDDLE_CACHE: "/c", XDG_CACHE_HOME: "/x", HOME: "/h" })).toBe("/c");
    expect(cacheFolder({ HEDDLE_CACHE: "", XDG_CACHE_HOME: "/x", HOME: "/h" })).toBe("/x/heddle");
    expect(cacheFolder({ XDG_CACHE_HOME: "relative is not allowed there", HOME: "/h" })).toBe("/h/.cache/heddle");
    expect(cacheFolder({ HOME: "/h" })).toBe("/h/.cache/heddle");
  });

  it("names a binary's folder after its version and what it is built from", () => {
    expect(cachedBinary("nats", { HEDDLE_CACHE: "/c" })).toMatch(
      /^\/c\/servers\/nats-server-2\.14\.5-[0-9a-f]{12}\/nats-server$/,
    );
    expect(cachedBinary("rqlite", { HEDDLE_CACHE: "/c" })).toMatch(
      /^\/c\/servers\/rqlited-8\.43\.4-[0-9a-f]{12}\/rqlited$/,
    );
    expect(cachedBinary("mongo", { HEDDLE_CACHE: "/c" })).toMatch(
      /^\/c\/servers\/ferretdb-1\.24\.2-[0-9a-f]{12}\/ferretdb$/,
    );
  });
});

describe("servers: a failed build", () => {
  const recipe = recipes.nats;

  it.each([
    ["NO_GO", "ENOENT", ""],
    ["GO_TOO_OLD", 1, "go: go.mod requires go >= 1.25.0 (running go 1.22.1; GOTOOLCHAIN=local)\n"],
    ["GO_TOO_OLD", 1, "go: download go1.25 for linux/amd64: toolchain not available\n"],
    [
      "NO_NETWORK",
      1,
      'go: downloading a v1.0.0\nmain.go:4: a: Get "https://proxy/": dial tcp: lookup proxy: no such host\n',
    ],
    ["NO_NETWORK", 1, "go: a@v1.0.0: reading https://proxy/a.zip: 403 Forbidden\n"],
    ["NO_C_COMPILER", 1, '# runtime/cgo\ncgo: C compiler "gcc" not found: exec: "gcc": not found in $PATH\n'],
    ["NO_C_COMPILER", 1, "# runtime/cgo\n_cgo_export.c:3:10: fatal error: stdlib.h: No such file or directory\n"],
    ["BUILD_FAILED", 1, "# a\n./a.go:3:1: syntax error: unexpected newline\n"],
    ["BUILD_FAILED", 2, ""],
  ] as const)("is told as %s (exit %s) with the way to mend it", (code, exit, said) => {
    const error = buildError(recipe, exit, said);
    expect(error.code).toBe(code);
    expect(error.message).toContain("nats-server 2.14.5");
    expect(error.message).toContain("HEDDLE_NATS_SERVER");
  });

  it("is told in one line, unless the compiler had something to say", () => {
    const said = "go: downloading a v1.0.0\ngo: a@v1.0.0: dial tcp 10.0.0.1:443: connection refused\n";
    expect(buildError(recipe, 1, said).message.split("\n")).toHaveLength(1);
    expect(buildError(recipe, 1, said).message).toContain("a@v1.0.0: dial tcp");
    expect(buildError(recipe, 1, "x.go:1: wrong\nx.go:2: wrong\n").message).toContain("x.go:1: wrong\nx.go:2: wrong");
  });
});

describe("servers: a build whose network fails", () => {
  let folder: string;
  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-obtain-"));
  });
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** A Go that says something and fails so many times, then builds. */
  function goThatFails(times: number, says: string): NodeJS.ProcessEnv {
    const tries = path.join(folder, "tries");
    const script = `#!/bin/sh
echo try >> "${tries}"
if [ "$(wc -l < "${tries}")" -le ${times} ]; then echo '${says}' >&2; exit 1; fi
while [ "$1" != -o ]; do shift; done
mkdir -p "$(dirname "$2")"
echo '#!/bin/sh' > "$2"
chmod +x "$2"
`;
    fs.writeFileSync(path.join(folder, "go"), script, { mode: 0o755 });
    return { PATH: `${folder}:${process.env["PATH"]}`, HEDDLE_CACHE: folder };
  }

  const reset = "a@v1.0.0: Get https://proxy/a.zip: dial tcp 10.0.0.1:443: i/o timeout";
  const obtained = async (env: NodeJS.ProcessEnv) => {
    const pauses: number[] = [];
    const pause = async (ms: number) => void pauses.push(ms);
    const end = await obtain("nats", { env, say: () => undefined, pause }).catch(({ code }) => code as string);
    return { end, pauses };
  };

  it("is begun again a few times, after longer and longer pauses", async () => {
    const env = goThatFails(2, reset);
    expect(await obtained(env)).toEqual({ end: cachedBinary("nats", env), pauses: [1_000, 5_000] });
  });

  it("is given up at last, and at once where another time would help nobody", async () => {
    expect(await obtained(goThatFails(100, reset))).toEqual({ end: "NO_NETWORK", pauses: [1_000, 5_000, 15_000] });
    expect(await obtained(goThatFails(100, "x.go:1: syntax error"))).toEqual({ end: "BUILD_FAILED", pauses: [] });
  });
});
