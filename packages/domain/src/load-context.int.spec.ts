// Goal: a domain module is found by file or folder, and every way in which that fails is DOMAIN_LOAD_FAILED with the
// module's path, a message that says what to look at, and the cause.
// Method: real folders under the system's temporary folder, imported for real.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { isHeddleError } from "@heddle/kernel";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defineContext } from "./define-context.ts";
import { loadContext } from "./load-context.ts";

const domain = new URL("./index.ts", import.meta.url).href;

/** A module without imports from a package, because it lies outside of every package. */
const good = (name: string) => `
import { defineAggregate, defineContext, event } from "${domain}";
const any = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } };
const Counter = defineAggregate("Counter", {
  version: 1,
  initial: () => 0,
  events: { Counted: event(any, (s) => s + 1) },
});
export default defineContext("${name}", { aggregates: [Counter] });
`;

let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-domain-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function write(files: Record<string, string>): Promise<string> {
  const home = await mkdtemp(join(folder, "case-"));
  for (const [path, text] of Object.entries({ "package.json": '{"type":"module"}', ...files })) {
    await mkdir(dirname(join(home, path)), { recursive: true });
    await writeFile(join(home, path), text);
  }
  return home;
}

describe("loading: events with older versions", () => {
  it("a missing upcaster is told when the module is loaded, with the module's path", async () => {
    const stale = good("stale").replace("(s) => s + 1)", "(s) => s + 1, { version: 3, upcast: { 1: (old) => old } })");
    const home = await write({ "bank.ts": stale });
    await expect(loadContext(join(home, "bank.ts"))).rejects.toMatchObject({
      code: "DOMAIN_LOAD_FAILED",
      facts: {
        module: join(home, "bank.ts"),
        message: "Counter.Counted is at version 3 and has no upcaster from version 2 to 3",
      },
    });
  });
});

describe("loading: where a module is found", () => {
  it("a file is imported as it is", async () => {
    const home = await write({ "bank.ts": good("by-file") });
    expect((await loadContext(join(home, "bank.ts"))).name).toBe("by-file");
  });

  it("a folder is what its package.json exports", async () => {
    const named = (exports: unknown, main?: string) => JSON.stringify({ type: "module", exports, main });
    for (const manifest of [
      named("./lib/a.ts"),
      named({ ".": "./lib/a.ts", "./other": "./other.ts" }),
      named({ ".": { types: "./lib/a.d.ts", import: { default: "./lib/a.ts" }, default: "./wrong.ts" } }),
      named({ require: "./wrong.cjs", node: "./lib/a.ts" }),
      named(undefined, "lib/a.ts"),
    ]) {
      const home = await write({ "package.json": manifest, "lib/a.ts": good("by-exports") });
      expect((await loadContext(home)).name).toBe("by-exports");
    }
  });

  it("a folder whose package.json names nothing is its index.ts, or else its index.js", async () => {
    const ts = await write({ "index.ts": good("by-ts"), "index.js": good("by-js") });
    expect((await loadContext(ts)).name).toBe("by-ts");
    const js = await write({ "index.js": good("by-js") });
    expect((await loadContext(js)).name).toBe("by-js");
  });
});

describe("loading: another copy of the package under the user's module", () => {
  it("makes contexts that are recognised, although no class or symbol of the module graph is shared", async () => {
    const source = (name: string) => readFile(new URL(name, import.meta.url), "utf8");
    const home = await write({
      "copy/index.ts": `export * from "./define-aggregate.ts";\nexport * from "./define-context.ts";\n`,
      "copy/define-aggregate.ts": await source("./define-aggregate.ts"),
      "copy/define-context.ts": await source("./define-context.ts"),
      "copy/brand.ts": await source("./brand.ts"),
      "bank.ts": good("by-copy").replace(domain, "./copy/index.ts"),
    });
    const copy: typeof import("./define-context.ts") = await import(
      pathToFileURL(join(home, "copy/define-context.ts")).href
    );
    expect(copy.defineContext).not.toBe(defineContext);
    expect((await loadContext(join(home, "bank.ts"))).name).toBe("by-copy");
  });
});

describe("loading: what is refused", () => {
  async function refusal(path: string) {
    try {
      await loadContext(path);
    } catch (error) {
      if (!isHeddleError(error, "DOMAIN_LOAD_FAILED")) throw error;
      expect(error.facts.module).toBe(path);
      return error;
    }
    return expect.unreachable("the module was loaded");
  }

  it("P7 a path where nothing is", async () => {
    const error = await refusal(join(folder, "missing.ts"));
    expect(error.facts.message).toContain("there is no file or folder");
    expect(error.cause).toMatchObject({ code: "ENOENT" });
  });

  it("P7 a folder without an entry", async () => {
    expect((await refusal(await write({ "readme.txt": "" }))).facts.message).toContain("nor index.ts or index.js");
  });

  it("P7 a package.json that is not JSON", async () => {
    const error = await refusal(await write({ "package.json": "{", "index.ts": good("x") }));
    expect(error.facts.message).toContain("package.json cannot be read: SyntaxError");
  });

  it("P7 a package.json that names a file which is not there", async () => {
    const error = await refusal(await write({ "package.json": '{"type":"module","exports":"./lib.ts"}' }));
    expect(error.facts.message).toMatch(/importing .*lib\.ts failed/);
  });

  it("P7 a module that throws on load, with what it threw", async () => {
    const error = await refusal(join(await write({ "a.ts": 'throw new RangeError("no licence");' }), "a.ts"));
    expect(error.facts.message).toContain("RangeError: no licence");
    expect(error.cause).toMatchObject({ name: "RangeError", message: "no licence" });
  });

  it("P7 a module that is not JavaScript", async () => {
    const error = await refusal(join(await write({ "a.ts": "export default }" }), "a.ts"));
    expect(error.facts.message).toMatch(/importing .*a\.ts failed: \S+/);
    expect(error.cause).toBeDefined();
  });

  it("P7 a module whose import cannot be found", async () => {
    const error = await refusal(join(await write({ "a.ts": 'import "./not-there.ts";' }), "a.ts"));
    expect(error.facts.message).toContain("not-there.ts");
  });

  it("P7 a module without a default export", async () => {
    const home = await write({ "a.ts": good("bank").replace("export default", "export const bank =") });
    expect((await refusal(join(home, "a.ts"))).facts.message).toContain("has no default export");
  });

  it("P7 a default export of another shape", async () => {
    for (const shape of ["{}", "null", "7", "() => 1", '{ name: "bank", aggregates: [] }']) {
      const home = await write({ "a.ts": `export default ${shape};` });
      expect((await refusal(join(home, "a.ts"))).facts.message).toContain("is not what defineContext returns");
    }
  });

  it("P7 a context that is malformed, before anything runs with it", async () => {
    const home = await write({ "a.ts": good("bank").replace("version: 1,\n  initial", "version: 0,\n  initial") });
    expect((await refusal(join(home, "a.ts"))).facts.message).toContain("version must be a whole number from 1");
  });
});
