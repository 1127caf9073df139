import { expect, it } from "vitest";
import { engineFlags, hasEngineFlags, threadPoolSize } from "./process-settings.ts";

it("the engine has no more helpers than there are cores beside a shard's thread, and one at least", () => {
  expect([1, 2, 3, 4].map((cores) => engineFlags(cores))).toEqual([
    ["--v8-pool-size=1"],
    ["--v8-pool-size=1"],
    ["--v8-pool-size=2"],
    ["--v8-pool-size=3"],
  ]);
  expect([5, 64].map((cores) => engineFlags(cores))).toEqual([[], []]);
});

it("what somebody has said about the engine's helpers is seen, in arguments and in the environment", () => {
  expect(hasEngineFlags(engineFlags(2))).toBe(true);
  expect(hasEngineFlags(["--v8_pool_size=3"])).toBe(true);
  expect(hasEngineFlags([], "--enable-source-maps --v8-pool-size=0")).toBe(true);
  expect(hasEngineFlags(["--enable-source-maps"], "")).toBe(false);
});

it("the pool has a thread for each of several shards' syncs, on one core, too", () => {
  expect([threadPoolSize(1), threadPoolSize(4), threadPoolSize(32)]).toEqual([16, 16, 128]);
});
