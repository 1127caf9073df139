// servers: real servers for development, tests and benchmarks, on loopback only.
//
// Every start gives a process, a port and a folder of its own, so that tests are independent of each other and may kill
// what they started. What is not installed is built once and kept outside the repository.
export { cacheFolder, obtain } from "./obtain.ts";
export { ServerError, type ServerErrorCode } from "./server-error.ts";
export { freePort, type RunningServer, type StartOptions } from "./server-process.ts";
export { type ServerName, serverNames, usualPorts, versions } from "./settings.ts";
export { type MongoOptions, startMongo } from "./start-mongo.ts";
export { type NatsOptions, startNats } from "./start-nats.ts";
export { type RqliteOptions, startRqlite } from "./start-rqlite.ts";
