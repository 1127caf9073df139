// The house of DESIGN: packages in their order, each importing only from those above it, through the doors.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** Top to bottom: a package may import only what stands above it. */
export const order = [
  "kernel",
  "domain",
  "protocol",
  "event-log",
  "partition",
  "shard",
  "backup",
  "saga",
  "reminder",
  "feed",
  "projection",
  "cluster",
  "runtime",
  "client",
  "testkit",
] as const;

/** Where a package may import less than what stands above it. */
export const narrowed: Readonly<Record<string, readonly string[]>> = {
  kernel: [],
  protocol: ["kernel"],
  client: ["kernel", "domain", "protocol"],
};

export interface Import {
  readonly file: string;
  readonly line: number;
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/** TypeScript sources below a folder, relative to the root. */
export function sourcesOf(folder: string): string[] {
  const found: string[] = [];
  const walk = (at: string) => {
    for (const entry of fs.readdirSync(path.join(root, at), { withFileTypes: true })) {
      if (["node_modules", "dist", ".turbo"].includes(entry.name)) continue;
      const inside = `${at}/${entry.name}`;
      if (entry.isDirectory()) walk(inside);
      else if (/\.(ts|mts|js|mjs)$/.test(entry.name)) found.push(inside);
    }
  };
  if (fs.existsSync(path.join(root, folder))) walk(folder);
  return found;
}

export function importsOf(file: string, text = fs.readFileSync(path.join(root, file), "utf8")): Import[] {
  const imports: Import[] = [];
  const pattern =
    /^\s*(?:import|export)\s+(type\s+)?(?:[\w*{][^;]*?\sfrom\s+)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;
  for (const match of text.matchAll(pattern)) {
    const line = text.slice(0, match.index).split("\n").length;
    imports.push({ file, line, specifier: (match[2] ?? match[3])!, typeOnly: match[1] !== undefined });
  }
  return imports;
}

/** Why an import is against the house, or undefined. */
export function problemOf({ file, specifier, typeOnly }: Import): string | undefined {
  const from = /^packages\/([^/]+)\//.exec(file)?.[1];
  const isSpec = /\.spec(-support)?\.ts$|^packages\/[^/]+\/test\//.test(file);
  if (specifier.startsWith(".")) {
    const target = path.posix.join(path.posix.dirname(file), specifier);
    const home = from === undefined ? undefined : `packages/${from}/`;
    if (isSpec && (target.startsWith("test/contract/") || target.startsWith("infra/servers/"))) return undefined;
    if (home !== undefined && !target.startsWith(home))
      return "it leaves its package by a path; import the package by name";
    if (home === undefined && target.startsWith("packages/"))
      return "it reaches into a package by a path; import it by name";
    return undefined;
  }
  const scoped = /^@heddle\/([^/]+)(\/.*)?$/.exec(specifier);
  if (scoped === null) return undefined;
  const [, target, door = ""] = scoped;
  if (door !== "" && door !== "/internal")
    return `${door.slice(1)} is no door: a package has two, its name and its name/internal`;
  if (from === undefined) return undefined;
  if (target === from) return isSpec ? undefined : "a package does not import itself by name";
  if (isSpec && target === "testkit") return undefined;
  const here = order.indexOf(from as (typeof order)[number]);
  const there = order.indexOf(target as (typeof order)[number]);
  if (here < 0) return `${from} has no place in the order`;
  if (there < 0) return `${target} has no place in the order`;
  if (there > here) return `${target} stands below ${from}`;
  const allowed = narrowed[from];
  if (allowed !== undefined && !allowed.includes(target!))
    return `${from} imports only ${allowed.join(", ") || "nothing"}`;
  if (from === "client" && target === "domain" && !typeOnly && !isSpec) return "client takes only types from domain";
  return undefined;
}

/** Files that come back to themselves through what they import, types included, each circle in the order of its imports. */
export function circlesIn(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const circles: string[][] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (file: string): void => {
    const at = way.indexOf(file);
    if (at >= 0) circles.push(way.slice(at));
    if (at >= 0 || done.has(file)) return;
    way.push(file);
    for (const target of imports.get(file) ?? []) visit(target);
    way.pop();
    done.add(file);
  };
  for (const file of imports.keys()) visit(file);
  return circles;
}

/** What each file imports by a path. */
export function fileImports(files: readonly string[]): Map<string, string[]> {
  return new Map(
    files.map((file) => {
      const targets = importsOf(file).flatMap(({ specifier }) =>
        specifier.startsWith(".") ? [path.posix.join(path.posix.dirname(file), specifier)] : [],
      );
      return [file, targets];
    }),
  );
}
