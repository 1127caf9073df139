import { defineConfig } from "vitest/config";

// Tiers, told apart by the file's ending. `unit`, `int` and `servers` sit beside the code; the rest crosses packages and
// lives under test/. `servers` needs real servers (infra/servers) and `browser` needs Chromium; infra/setup/verify.ts
// obtains both. The two `-long` tiers have scripts of their own (`npm run test:crash`, `npm run test:fuzz`).
//
// Time limits end what hangs. None is there to measure: machines that run this may be ten times as slow as another.
const tier = (name: string, include: string[], options: object = {}) => ({
  test: {
    name,
    include,
    root: new URL("..", import.meta.url).pathname,
    exclude: ["**/node_modules/**", "**/dist/**"],
    pool: "forks" as const,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // One second, as it comes, is less than a busy machine may leave a process out for. Shorter than any test may take.
    expect: { poll: { timeout: 45_000 } },
    ...options,
  },
});

export default defineConfig({
  test: {
    projects: [
      tier("unit", ["**/*.unit.spec.ts"]),
      tier("int", ["**/*.int.spec.ts"], { testTimeout: 180_000, hookTimeout: 180_000 }),
      tier("servers", ["**/*.servers.spec.ts"], { testTimeout: 300_000, hookTimeout: 300_000, maxWorkers: 2 }),
      tier("browser", ["test/**/*.browser.spec.ts"], {
        testTimeout: 300_000,
        hookTimeout: 300_000,
        fileParallelism: false,
      }),
      tier("e2e", ["test/**/*.e2e.spec.ts"], { testTimeout: 600_000, hookTimeout: 300_000, fileParallelism: false }),
      tier("crash-long", ["test/crash/*.crash.spec.ts"], { testTimeout: 3_600_000, fileParallelism: false }),
      tier("fuzz-long", ["test/fuzz/*.fuzz.spec.ts"], { testTimeout: 3_600_000 }),
    ],
  },
});
