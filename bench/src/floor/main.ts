// A floor as a process of its own, for the driver: node floor/main.ts <binary|http> <file> <fsync|os>
import { serve } from "../driver/server-process.ts";
import { startBinaryFloor } from "./binary-floor.ts";
import { startHttpFloor } from "./http-floor.ts";

const [kind, file, durability] = process.argv.slice(2) as ["binary" | "http", string, "fsync" | "os"];

await serve(async () => {
  const floor = await (kind === "binary" ? startBinaryFloor : startHttpFloor)(file, durability);
  return {
    port: floor.port,
    shards: 0,
    threads: kind === "binary" ? 1 : 0,
    counts: async () => floor.counters.read(),
    close: () => floor.close(),
  };
});
