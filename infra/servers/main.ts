// npm run servers: NATS, rqlite and a MongoDB wire server on loopback, until Ctrl-C.
//
// Exit codes: 0 stopped as asked, 1 a server could not be obtained or started, or ended by itself, 2 wrong arguments.
import path from "node:path";
import { parseArgs } from "node:util";
import { obtain } from "./obtain.ts";
import { ServerError } from "./server-error.ts";
import type { RunningServer } from "./server-process.ts";
import { type ServerName, serverNames, usualPorts } from "./settings.ts";
import { startMongo } from "./start-mongo.ts";
import { startNats } from "./start-nats.ts";
import { startRqlite } from "./start-rqlite.ts";

const help = `Usage: npm run servers -- [options]

Starts NATS (JetStream), rqlite and a MongoDB wire server on 127.0.0.1 and stops them at Ctrl-C.
What is not built yet is built first, with Go, into a cache outside the repository.

  --only <names>       some of them, for example: nats,mongo
  --nats-port <n>      default ${usualPorts.nats}; 0 takes any free port
  --rqlite-port <n>    default ${usualPorts.rqlite}
  --mongo-port <n>     default ${usualPorts.mongo}
  --data <folder>      keeps what they store; default: a temporary folder
  --obtain             builds what is missing and ends
  --json               prints one JSON object
  --help               prints this

HEDDLE_NATS_SERVER, HEDDLE_RQLITED and HEDDLE_FERRETDB name binaries to use as they are.`;

export interface Wanted {
  readonly names: readonly ServerName[];
  readonly ports: Readonly<Record<ServerName, number>>;
  readonly data: string | undefined;
  readonly obtainOnly: boolean;
  readonly json: boolean;
}

class UsageError extends Error {}

/** Errors: `UsageError`, in one line. */
export function wantedOf(args: readonly string[]): Wanted | "help" {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  let values: ReturnType<typeof parse>;
  const parse = () =>
    parseArgs({
      args: [...args],
      options: {
        only: text,
        "nats-port": text,
        "rqlite-port": text,
        "mongo-port": text,
        data: text,
        obtain: flag,
        json: flag,
        help: flag,
      },
    }).values;
  try {
    values = parse();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help === true) return "help";
  const names = values.only?.split(",").map((name) => name.trim()) ?? serverNames;
  const unknown = names.find((name) => !(serverNames as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new UsageError(`--only: no such server: ${unknown}. There are: ${serverNames.join(", ")}`);
  const port = (name: ServerName) => {
    const given = values[`${name}-port`];
    if (given === undefined) return usualPorts[name];
    if (!/^\d{1,5}$/.test(given) || Number(given) > 65_535)
      throw new UsageError(`--${name}-port: ${given} is no port; give a number from 0 to 65535`);
    return Number(given);
  };
  return {
    names: serverNames.filter((name) => names.includes(name)),
    ports: { nats: port("nats"), rqlite: port("rqlite"), mongo: port("mongo") },
    data: values.data,
    obtainOnly: values.obtain === true,
    json: values.json === true,
  };
}

async function main(): Promise<number> {
  const wanted = wantedOf(process.argv.slice(2));
  if (wanted === "help") {
    console.log(help);
    return 0;
  }
  const { names, ports, data, json } = wanted;
  const binaries: Record<string, string> = {};
  for (const name of names) binaries[name] = await obtain(name);
  if (wanted.obtainOnly) {
    if (json) console.log(JSON.stringify(binaries));
    else for (const [name, binary] of Object.entries(binaries)) console.log(`${name.padEnd(6)}  ${binary}`);
    return 0;
  }
  const stopped = new Promise<"asked">((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve("asked"));
  });
  const starts = { nats: startNats, rqlite: startRqlite, mongo: startMongo };
  const running: RunningServer[] = [];
  try {
    for (const name of names) {
      const server = await starts[name]({
        ...(ports[name] === 0 ? {} : { port: ports[name] }),
        ...(data === undefined ? {} : { folder: path.join(data, name) }),
      });
      running.push(server);
    }
    console.log(json ? JSON.stringify(Object.fromEntries(running.map(factsOf))) : tableOf(running));
    const ended = running.map((server) => server.gone.then(() => server));
    const first = await Promise.race([stopped, ...ended]);
    if (first === "asked") return 0;
    console.error(`heddle: ${first.name} ended by itself. It said:\n${first.output().trim()}`);
    return 1;
  } finally {
    await Promise.all(running.map((server) => server.stop()));
  }
}

function factsOf(server: RunningServer): [string, object] {
  const { name, url, port, pid, version, folder } = server;
  return [name, { url, port, pid, version, folder }];
}

function tableOf(running: readonly RunningServer[]): string {
  const lines = running.map((server) => `${server.name.padEnd(6)}  ${server.version.padEnd(8)}  ${server.url}`);
  // A sink given takes the place of the embedded default, so that one is named too.
  const options = running.map(({ name, url }) => (name === "nats" ? `--nats ${url}` : `--sink ${url}`));
  const sinks = options.some((option) => option.startsWith("--sink")) ? ["--sink sqlite"] : [];
  lines.push(
    "",
    ["heddle serve --domain ./apps/examples/bank", ...sinks, ...options].join(" "),
    "",
    "Ctrl-C stops them.",
  );
  return lines.join("\n");
}

if (import.meta.main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`heddle: ${error.message} (--help tells what there is)`);
      process.exitCode = 2;
    } else if (error instanceof ServerError) {
      console.error(`heddle: ${error.message}`);
      process.exitCode = 1;
    } else throw error;
  }
}
