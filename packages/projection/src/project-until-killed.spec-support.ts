// The process that specs kill: follows a feed of so many movements into a sink, batch by batch, until all is in it; then it ends
// with 0. Arguments: the sink's address, the number of movements, and a crash point with its turn (`projection:after-write 3`) at
// which it kills itself. Tells its parent of each write.

import { addMovements, project } from "./accounts-under-test.spec-support.ts";
import { MemoryFeed } from "./memory-feed.spec-support.ts";
import { makeSinks, readSinkOptions } from "./sink-options.ts";

const [address, count, point, turn] = process.argv.slice(2);
const feed = new MemoryFeed(2);
addMovements(feed, 0, Number(count));
const [sink] = await makeSinks(readSinkOptions([address!]), { file: "", report: () => undefined });
let left = Number(turn ?? 0);
const projections = project(feed, sink!, {
  // Small, so that there are many writes to die in.
  limits: { eventsMax: 50, bytesMax: 8_192 },
  crashPoint: (name) => {
    if (name === point && --left === 0) process.kill(process.pid, "SIGKILL");
    if (name === "projection:after-write") process.send?.(name);
  },
});
await Promise.all(
  projections.tracks.flatMap((track) =>
    [0, 1].map((shard) => track.waitFor({ shard, position: feed.end(shard) - 1 }, 600_000)),
  ),
);
await projections.stop();
process.exit(0);
