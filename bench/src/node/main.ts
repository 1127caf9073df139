// A Heddle node as a process of its own, for the driver: node node/main.ts <options of startNode as JSON>
import { type NodeOptions, startNode } from "@heddle/runtime";
import { serve } from "../driver/server-process.ts";

const options = JSON.parse(process.argv[2]!) as NodeOptions;

await serve(async () => {
  const node = await startNode(options);
  return {
    port: node.port,
    shards: node.shardCount,
    threads: node.threadCount,
    async counts() {
      const shards = await node.stats();
      return {
        groups: shards.reduce((sum, shard) => sum + shard.groups, 0),
        events: shards.reduce((sum, shard) => sum + shard.events, 0),
        logBytes: shards.reduce((sum, shard) => sum + shard.logBytes, 0),
        activations: shards.reduce((sum, shard) => sum + shard.activations, 0),
      };
    },
    close: () => node.close(),
  };
});
