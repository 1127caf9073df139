// A process that publishes the logs of a folder, and kills itself when it has come so many times to one of the publisher's
// named places, or to any.
import { Logs, publisherOf } from "./logs.spec-support.ts";

const [url, folder, shardCount, times, place, stateFile] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  ...string[],
];
let left = Number(times);
const logs = new Logs({ folder, shardCount: Number(shardCount) });
publisherOf(
  logs,
  { url },
  {
    messageBytes: 500,
    ...(stateFile === undefined ? {} : { stateFile }),
    crashPoint: (name) => {
      if ((place === undefined || place === name) && --left === 0) process.kill(process.pid, "SIGKILL");
    },
  },
).publisher.start();
