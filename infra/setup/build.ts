// build.ts: makes what is published. Compiles every package with tsc and stages one folder a package under dist/npm,
// ready for `npm pack` or `npm publish`.
//
// In the repository packages run from their TypeScript sources; a published package runs from JavaScript, because Node
// strips types only outside node_modules. So the staged package.json points its doors at dist/.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const compiled = path.join(root, "dist/compiled");
const staged = path.join(root, "dist/npm");

interface Manifest {
  name: string;
  bin?: Record<string, string>;
  exports?: Record<string, string>;
  devDependencies?: unknown;
  [field: string]: unknown;
}

const folders = [...fs.readdirSync(path.join(root, "packages")).map((name) => `packages/${name}`), "apps/heddle"];

fs.rmSync(path.join(root, "dist"), { recursive: true, force: true });
const done = spawnSync(path.join(root, "node_modules/.bin/tsc"), ["-p", "infra/setup/tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit",
});
if (done.status !== 0) process.exit(done.status ?? 1);

for (const folder of folders) {
  const manifest = JSON.parse(fs.readFileSync(path.join(root, folder, "package.json"), "utf8")) as Manifest;
  const target = path.join(staged, manifest.name.replace("@", "").replace("/", "-"));
  fs.cpSync(path.join(compiled, folder, "src"), path.join(target, "dist"), { recursive: true });
  if (manifest.bin !== undefined)
    fs.cpSync(path.join(root, folder, "bin"), path.join(target, "bin"), { recursive: true });
  fs.copyFileSync(path.join(root, "LICENSE"), path.join(target, "LICENSE"));
  const readme = path.join(root, folder, "README.md");
  if (fs.existsSync(readme)) fs.copyFileSync(readme, path.join(target, "README.md"));
  fs.writeFileSync(path.join(target, "package.json"), `${JSON.stringify(published(manifest), undefined, 2)}\n`);
}
console.log(`heddle: ${folders.length} packages are staged in dist/npm`);

function published(manifest: Manifest): Manifest {
  const { devDependencies: _, exports: doors, ...kept } = manifest;
  const result: Manifest = { ...kept, files: ["dist", "bin"], engines: { node: ">=24" } };
  if (doors === undefined) return result;
  return {
    ...result,
    exports: Object.fromEntries(
      Object.entries(doors).map(([door, source]) => {
        const base = source.replace("./src/", "./dist/").replace(/\.ts$/, "");
        return [door, { types: `${base}.d.ts`, default: `${base}.js` }];
      }),
    ) as never,
  };
}
