// Finding and importing a domain module.
//
// Every way in which that can fail is DOMAIN_LOAD_FAILED, with the path, a message that says what to look at, and the
// original error as cause.
import { readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { HeddleError } from "@heddle/kernel";
import { isBranded } from "./brand.ts";
import { compileContext, loadFailed } from "./compile.ts";
import type { AnyContext } from "./define-context.ts";
import { describeThrown } from "./describe-thrown.ts";

/**
 * Imports a domain module and returns its context, which is checked already: compiling it cannot fail any more.
 *
 * `modulePath` is a file, or a folder: then what its package.json names under `exports` or `main`, or else its index.ts
 * or index.js. Relative paths start at the working directory. A module is imported once per thread; a changed file is
 * seen only after a restart.
 */
export async function loadContext(modulePath: string): Promise<AnyContext> {
  const fail: Fail = (message, cause) => loadFailed(modulePath, message, cause);
  const file = await findFile(resolve(modulePath), fail);
  let module: { readonly default?: unknown };
  try {
    module = await import(pathToFileURL(file).href);
  } catch (error) {
    throw fail(`importing ${file} failed: ${describeThrown(error)}`, error);
  }
  const context = module.default;
  if (context === undefined) throw fail(`${file} has no default export`);
  if (!isBranded(context, "context")) throw fail(`the default export of ${file} is not what defineContext returns`);
  compileContext(context as AnyContext, modulePath);
  return context as AnyContext;
}

type Fail = (message: string, cause?: unknown) => HeddleError;

async function findFile(path: string, fail: Fail): Promise<string> {
  const found = await stat(path).catch((error: unknown) => {
    throw fail(`there is no file or folder ${path}`, error);
  });
  if (!found.isDirectory()) return path;
  const named = await entryOfPackage(path, fail);
  if (named !== undefined) return named;
  for (const name of ["index.ts", "index.js"]) {
    const candidate = join(path, name);
    if (await isFile(candidate)) return candidate;
  }
  throw fail(`the folder ${path} has neither a package.json that names an entry, nor index.ts or index.js`);
}

async function entryOfPackage(folder: string, fail: Fail): Promise<string | undefined> {
  const path = join(folder, "package.json");
  if (!(await isFile(path))) return undefined;
  let manifest: { readonly exports?: unknown; readonly main?: unknown } | null;
  try {
    manifest = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw fail(`${path} cannot be read: ${describeThrown(error)}`, error);
  }
  const entry = rootExport(manifest?.exports) ?? (typeof manifest?.main === "string" ? manifest.main : undefined);
  return entry === undefined ? undefined : join(folder, entry);
}

/** Conditions that hold for an import by Node. */
const conditions = new Set(["node", "import", "module-sync", "default"]);

/** The target of `exports` for the package itself; conditions are tried in the order they are written, as Node does. */
function rootExport(exports: unknown): string | undefined {
  if (typeof exports === "string") return exports;
  if (typeof exports !== "object" || exports === null) return undefined;
  if ("." in exports) return rootExport(exports["."]);
  for (const [condition, target] of Object.entries(exports)) {
    const found = conditions.has(condition) ? rootExport(target) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}
