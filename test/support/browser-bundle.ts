// The client package as a web application's build takes it in: one module without imports.
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const client = fileURLToPath(new URL("../../packages/client/src/index.ts", import.meta.url));

export interface BrowserBundle {
  /** An ES module that exports what `@heddle/client` does. */
  readonly code: string;
  /** What it would still import from elsewhere. */
  readonly imports: readonly string[];
  /** What the build had to say, such as of modules that are not there in a browser. */
  readonly warnings: readonly string[];
  /** Files that are in it. */
  readonly modules: readonly string[];
}

export async function bundleForBrowser(): Promise<BrowserBundle> {
  const warnings: string[] = [];
  const build = await rolldown({
    input: client,
    platform: "browser",
    logLevel: "warn",
    onLog: (_level, { message }) => warnings.push(message),
  });
  try {
    const { output } = await build.generate({ format: "esm" });
    const [chunk] = output;
    if (output.length !== 1) throw new Error(`wanted one file, the build made ${output.length}`);
    return {
      code: chunk.code,
      imports: [...chunk.imports, ...chunk.dynamicImports],
      warnings,
      modules: chunk.moduleIds,
    };
  } finally {
    await build.close();
  }
}
