// Goal: the listing stays the architecture. Reads every source file and every package.json; runs none of them.
import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { circlesIn, fileImports, importsOf, order, problemOf, root, sourcesOf } from "./house.ts";

const folders = ["packages", "apps", "bench", "test", "infra"];
const read = (file: string) => fs.readFileSync(path.join(root, file), "utf8");
const packages = fs.readdirSync(path.join(root, "packages")).filter((name) => sourcesOf(`packages/${name}`).length > 0);

describe("house: imports", () => {
  it("go only upwards in the order of the packages, and only through the two doors", () => {
    const problems = folders
      .flatMap(sourcesOf)
      .flatMap((file) => importsOf(file))
      .flatMap((found) => {
        const problem = problemOf(found);
        return problem === undefined ? [] : [`${found.file}:${found.line} imports ${found.specifier}: ${problem}`];
      });
    expect(problems).toEqual([]);
  });

  it.each([
    ["packages/shard/src/a.ts", "@heddle/runtime", "runtime stands below shard"],
    ["packages/shard/src/a.ts", "@heddle/kernel/src/ids.ts", "src/ids.ts is no door"],
    ["packages/shard/src/a.ts", "../../kernel/src/ids.ts", "leaves its package by a path"],
    ["packages/client/src/a.ts", "@heddle/shard", "client imports only kernel, domain, protocol"],
    ["packages/kernel/src/a.ts", "@heddle/domain", "stands below kernel"],
    ["bench/src/a.ts", "../../packages/kernel/src/ids.ts", "reaches into a package by a path"],
  ])("are refused when %s imports %s", (file, specifier, problem) => {
    const [found] = importsOf(file, `import { x } from "${specifier}";\n`);
    expect(problemOf(found!)).toContain(problem);
  });

  it("never lead back to where they began, not even those of types", () => {
    expect(circlesIn(fileImports(folders.flatMap(sourcesOf)))).toEqual([]);
  });

  it("that lead back are found, however long the way is", () => {
    const imports = { a: ["b"], b: ["c", "d"], c: ["a"], d: ["e"], e: [] };
    expect(circlesIn(new Map(Object.entries(imports)))).toEqual([["a", "b", "c"]]);
    expect(circlesIn(new Map([["a", ["a"]]]))).toEqual([["a"]]);
  });

  it("of real servers are for specs only", () => {
    const problemIn = (file: string) =>
      problemOf(importsOf(file, 'import { startNats } from "../../../infra/servers/index.ts";\n')[0]!);
    expect(problemIn("packages/feed/src/a.servers.spec.ts")).toBeUndefined();
    expect(problemIn("packages/feed/src/a.spec-support.ts")).toBeUndefined();
    expect(problemIn("packages/feed/src/a.ts")).toContain("leaves its package by a path");
  });
});

describe("house: packages", () => {
  it("have a place in the order", () => {
    expect(packages.filter((name) => !(order as readonly string[]).includes(name))).toEqual([]);
  });

  it("have two doors, and say at the first what they own and what they do not promise", () => {
    for (const name of packages) {
      const manifest = JSON.parse(read(`packages/${name}/package.json`)) as { name: string; exports: object };
      expect(manifest.name).toBe(`@heddle/${name}`);
      expect(Object.keys(manifest.exports), name).toEqual([".", "./internal"]);
      expect(read(`packages/${name}/src/index.ts`), name).toMatch(new RegExp(`^// ${name}: `));
    }
  });

  it("declare every package that their sources import", () => {
    const problems: string[] = [];
    for (const name of packages) {
      const manifest = JSON.parse(read(`packages/${name}/package.json`)) as Record<string, Record<string, string>>;
      const declared = new Set(Object.keys({ ...manifest["dependencies"], ...manifest["peerDependencies"] }));
      for (const file of sourcesOf(`packages/${name}/src`).filter((source) => !/\.spec(-support)?\.ts$/.test(source))) {
        for (const { specifier, line } of importsOf(file)) {
          if (specifier.startsWith(".") || specifier.startsWith("node:")) continue;
          const target = specifier
            .split("/")
            .slice(0, specifier.startsWith("@") ? 2 : 1)
            .join("/");
          if (!declared.has(target)) problems.push(`${file}:${line} imports ${target}, which its package.json lacks`);
        }
      }
      for (const dependency of declared) {
        const used = sourcesOf(`packages/${name}/src`).some((file) =>
          importsOf(file).some(({ specifier }) => specifier === dependency || specifier.startsWith(`${dependency}/`)),
        );
        if (!used) problems.push(`packages/${name}/package.json lists ${dependency}, which nothing imports`);
      }
    }
    expect(problems).toEqual([]);
  });
});

describe("house: the top level", () => {
  it("holds what the layout says and nothing else", () => {
    const allowed = [
      "package.json",
      "tsconfig.json",
      "turbo.json",
      "packages",
      "apps",
      "infra",
      "bench",
      "test",
      "docs",
    ];
    const usual = ["package-lock.json", "LICENSE", "node_modules", "dist", "data"];
    const documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    const found = fs.readdirSync(root).filter((name) => !name.startsWith("."));
    expect(found.filter((name) => ![...allowed, ...usual, ...documents].includes(name))).toEqual([]);
  });

  it("has a lock file without addresses of a registry", () => {
    expect(read("package-lock.json")).not.toMatch(/"resolved": "https?:/);
  });
});

describe("house: sources", () => {
  it("hold no loose ends", () => {
    const loose = new RegExp(
      [
        "\\bTO" + "DO\\b",
        "\\bFIX" + "ME\\b",
        "\\bas a" + "ny\\b(?! [a-z])",
        "@ts-ig" + "nore",
        "biome-ig" + "nore",
      ].join("|"),
    );
    const problems = folders.flatMap(sourcesOf).flatMap((file) =>
      read(file)
        .split("\n")
        .flatMap((line, at) => (loose.test(line) ? [`${file}:${at + 1} ${line.trim()}`] : [])),
    );
    expect(problems).toEqual([]);
  });
});
