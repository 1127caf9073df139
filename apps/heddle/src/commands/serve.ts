// heddle serve: runs a node until it is told to stop.
import type { LogLevel, NodeOptions } from "@heddle/runtime/internal";
import { type Command, Option } from "commander";
import type { AddCommand } from "../add-command.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { LogLines } from "../log-lines.ts";
import { loopbackHost, wholeNumber } from "../options.ts";
import { UsageError, withAddresses } from "../report-error.ts";
import { stopSignal } from "../stop-signal.ts";
import type { Terminal } from "../terminal.ts";
import { counted } from "../text.ts";
import { sinks } from "./project.ts";

interface ServeValues {
  readonly domain: string;
  readonly data: string;
  readonly host: string;
  readonly port: number;
  readonly shards?: number;
  readonly threads?: number;
  readonly durability: "fsync" | "os";
  readonly stateBytes?: number;
  readonly remindersPerSecond: number;
  readonly keys?: string;
  readonly origin?: readonly string[];
  readonly nats?: string;
  readonly natsEvents?: boolean;
  readonly natsCredentials?: string;
  readonly natsCa?: string;
  readonly natsReplicas?: number;
  readonly sink?: readonly string[];
  readonly logLevel: LogLevel;
  readonly json?: boolean;
}

/** Far more than one machine can use; a shard is a folder, a log and an LMDB environment. */
const shardsMax = 1_024;

export const addServe: AddCommand = (program, run) => {
  withServeOptions(
    program
      .command("serve")
      .summary("run a node")
      .description(
        "Runs a node on one data folder and one port, which speaks the binary protocol, HTTP and JSON.\n" +
          "SIGINT and SIGTERM close it in order: it answers what it has, and the next start is quick.",
      ),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle serve --domain ./apps/examples/bank --data ./data
  heddle serve --domain ./domain.ts --data /var/lib/heddle --port 9191 --log-level warn
  curl http://127.0.0.1:9090/readyz`,
    )
    .action((values: ServeValues) => run(values, (terminal) => serve(values, terminal)));
};

export function withServeOptions(command: Command): Command {
  return command
    .requiredOption("--domain <module>", "domain module: a file, or a folder with an index")
    .option("--data <folder>", "data folder; made when it is not there", "./data")
    .option("--port <n>", "port; 0 takes any free one", wholeNumber(0, 65_535), 9090)
    .option("--host <address>", "address to listen on; loopback only in this version", loopbackHost, "127.0.0.1")
    .option(
      "--shards <n>",
      "shards of a new data folder, fixed from then on (default: one per shard thread)",
      wholeNumber(1, shardsMax),
    )
    .option(
      "--threads <n>",
      "shard threads, at most one per shard (default: one fewer than cores, at least 1)",
      wholeNumber(1, shardsMax),
    )
    .addOption(
      new Option(
        "--durability <mode>",
        "fsync: an acknowledged event survives a power cut; os: it survives the process only",
      )
        .choices(["fsync", "os"])
        .default("fsync"),
    )
    .option(
      "--state-bytes <n>",
      "memory for active entities; beyond it those not used for longest are put to sleep (default: an eighth of the " +
        "machine's memory, 64 MiB to 1 GiB)",
      wholeNumber(1 << 20, 2 ** 40),
    )
    .option(
      "--reminders-per-second <n>",
      "so many reminders leave the node in a second, also after an outage",
      wholeNumber(1, 10_000_000),
      10_000,
    )
    .option("--keys <file>", "key store of the backups (default: keys/keys.sqlite in the data folder)")
    .option(
      "--origin <origin>",
      "web pages that may use the SDK, such as https://app.example.com; may be repeated",
      (origin: string, others: readonly string[] = []) => [...others, origin],
    )
    .option(
      "--sink <sink>",
      "where projections are kept: sqlite, the http:// address of rqlite, mongodb://…, servers of one cluster with commas between them; may be repeated; none for nowhere (default: sqlite where there are projections)",
      sinks,
    )
    .option("--nats <url>", "publish the logs to JetStream there: nats://user:password@host:4222, or tls://…")
    .option("--nats-events", "besides, publish one message for each event")
    .option("--nats-credentials <file>", "credentials of a NATS user, as nsc writes them")
    .option("--nats-ca <file>", "certificates of authorities to trust, for TLS to NATS")
    .option(
      "--nats-replicas <n>",
      "copies of each stream in a NATS cluster, for streams that are made",
      wholeNumber(1, 5),
    )
    .addOption(
      new Option("--log-level <level>", "what is logged")
        .choices(["trace", "debug", "info", "warn", "error", "silent"])
        .default("info"),
    )
    .option("--json", "log JSON lines, and print where it listens as JSON");
}

async function serve(values: ServeValues, terminal: Terminal): Promise<ExitCode> {
  const { nodeLogger, startNode, version } = await import("@heddle/runtime/internal");
  const { domain, data, host, port, shards, threads, durability, stateBytes, remindersPerSecond, keys, logLevel } =
    values;
  const asJson = values.json === true || !terminal.interactive;
  const logger = nodeLogger(logLevel, asJson ? process.stderr : new LogLines(terminal));
  const stop = stopSignal();
  const options: NodeOptions = {
    domain,
    data,
    host,
    port,
    durability,
    reminders: { ratePerSecondMax: remindersPerSecond },
    logger,
    ...(shards === undefined ? {} : { shards }),
    ...(threads === undefined ? {} : { threads }),
    ...(stateBytes === undefined ? {} : { memory: { stateBytes } }),
    ...(keys === undefined ? {} : { keys }),
    ...(values.origin === undefined ? {} : { origins: values.origin }),
    ...natsOptions(values),
    ...sinkOptions(values),
  };
  const node = await withAddresses(() => startNode(options));
  try {
    if (values.json === true) {
      const { url, context, shardCount, threadCount } = node;
      terminal.out(toJson({ ready: true, url, port: node.port, context, shardCount, threadCount, durability, data }));
    } else sayReady(terminal, { ...node, data, version });
    await stop.asked;
    if (values.json !== true) terminal.say(terminal.sayColours.dim("closing; once more stops it at once"));
  } finally {
    await node.close();
    stop.done();
  }
  return exitCodes.ok;
}

function sinkOptions({ sink }: ServeValues): Pick<NodeOptions, "sinks"> {
  if (sink === undefined) return {};
  if (!sink.includes("none")) return { sinks: sink };
  if (sink.length > 1) throw new UsageError("--sink none goes without others", "Leave out one of the two.");
  return { sinks: [] };
}

function natsOptions(values: ServeValues): Pick<NodeOptions, "nats"> {
  const {
    nats: url,
    natsEvents: events,
    natsCredentials: credentialsFile,
    natsCa: caFile,
    natsReplicas: replicas,
  } = values;
  if (url === undefined) {
    const others = { "--nats-events": events, "--nats-credentials": credentialsFile, "--nats-ca": caFile };
    for (const [option, value] of Object.entries({ ...others, "--nats-replicas": replicas })) {
      if (value !== undefined)
        throw new UsageError(`${option} is given without --nats`, "Say where NATS is, with --nats.");
    }
    return {};
  }
  return {
    nats: {
      url,
      ...(events === undefined ? {} : { events }),
      ...(credentialsFile === undefined ? {} : { credentialsFile }),
      ...(caFile === undefined ? {} : { caFile }),
      ...(replicas === undefined ? {} : { replicas }),
    },
  };
}

interface ReadyFacts {
  readonly url: string;
  readonly context: string;
  readonly shardCount: number;
  readonly threadCount: number;
  readonly durability: string;
  readonly data: string;
  readonly version: string;
}

export function sayReady(terminal: Terminal, facts: ReadyFacts): void {
  const { bold, green, yellow } = terminal.outColours;
  const web = facts.url.replace("heddle:", "http:");
  const size = `${counted(facts.shardCount, "shard")} on ${counted(facts.threadCount, "thread")}`;
  terminal.out(
    `${green("ready")}  heddle ${facts.version}: context ${bold(facts.context)}, ${size}, data in ${facts.data}`,
  );
  terminal.out(`       SDK and CLI  ${facts.url}`);
  terminal.out(`       HTTP         ${web}/openapi.json`);
  if (facts.durability === "os") {
    terminal.out(`       ${yellow("durability os: a power cut may lose events that were acknowledged")}`);
  }
}
