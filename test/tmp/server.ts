import { startNode } from "@heddle/runtime";
import { pino } from "pino";

const [shards, threads] = process.argv.slice(2).map(Number);
const node = await startNode({
  domain: "/work/main/apps/examples/bank",
  data: process.env.DATA!,
  port: 9391,
  shards: shards!,
  threads: threads!,
  logger: pino({ level: "warn" }),
});
console.log("ready");
process.on("SIGTERM", async () => {
  const t = performance.now();
  const s = await node.stats();
  for (const x of s)
    console.log(
      x.shard,
      "appends",
      x.appends,
      "events",
      x.events,
      "groups",
      x.groups,
      "ev/gr",
      (x.events / x.groups).toFixed(1),
      "syncUs",
      (x.syncSumUs / x.groups).toFixed(0),
      "cp",
      x.checkpoints,
      "logMB",
      x.logBytes >> 20,
    );
  const c = process.cpuUsage();
  console.log(
    "cpu",
    (c.user / 1e6).toFixed(1),
    "sys",
    (c.system / 1e6).toFixed(1),
    "rss",
    process.memoryUsage().rss >> 20,
  );
  await node.close();
  console.log("closed in", performance.now() - t);
  process.exit(0);
});
