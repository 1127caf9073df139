// start-one: starts a server, tells its parent where it is, and waits to be killed.
import { startMongo, startNats, startRqlite } from "./index.ts";

const starts: Readonly<Record<string, typeof startNats>> = { nats: startNats, rqlite: startRqlite, mongo: startMongo };
const { pid, folder } = await starts[process.argv[2]!]!();
process.send!({ pid, folder });
