// A shard's thread in small: opens its partition, writes a checkpoint, closes, and lets the thread end by itself.
import { workerData } from "node:worker_threads";
import { openPartition } from "@heddle/partition/internal";
import { entityName, grow, positionOf } from "./partition-under-test.ts";

const { folder, round } = workerData as { folder: string; round: number };
const partition = openPartition({ folder, shard: 3 });
const writer = partition.checkpoint(positionOf(round));
for (let i = 0; i < 500; i++) grow(writer, entityName(i), round, round);
await writer.commit();
await partition.close({ cleanEnd: positionOf(round) });
