// heddle project: keeps projections in a process of their own, from what a node has published to NATS.
import type { ListedProjection } from "@heddle/client";
import type { LogLevel, ProjectorOptions } from "@heddle/runtime/internal";
import { Option } from "commander";
import type { AddCommand } from "../add-command.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { LogLines } from "../log-lines.ts";
import { withAddresses } from "../report-error.ts";
import { stopSignal } from "../stop-signal.ts";
import type { Terminal } from "../terminal.ts";
import { counted } from "../text.ts";

interface ProjectValues {
  readonly domain: string;
  readonly nats: string;
  readonly natsCredentials?: string;
  readonly natsCa?: string;
  readonly sink?: readonly string[];
  readonly data: string;
  readonly logLevel: LogLevel;
  readonly json?: boolean;
}

/** Between two lines of the log about how far projections are. */
const lineEveryMs = 10_000;

export const addProject: AddCommand = (program, run) => {
  program
    .command("project")
    .summary("keep projections in a process of their own, from NATS")
    .description(
      "Keeps the domain module's projections in step with what a node publishes (heddle serve --nats), without the node: on\n" +
        "another machine, or in several processes with a sink each. SIGINT and SIGTERM close it in order; killed at any point\n" +
        "it goes on where its sink is. Streams that are not there yet are waited for.",
    )
    .requiredOption("--domain <module>", "domain module: a file, or a folder with an index")
    .requiredOption("--nats <url>", "where the logs are published: nats://user:password@host:4222, or tls://…")
    .option("--nats-credentials <file>", "credentials of a NATS user, as nsc writes them")
    .option("--nats-ca <file>", "certificates of authorities to trust, for TLS to NATS")
    .option(
      "--sink <sink>",
      "sqlite, the http:// address of rqlite, or mongodb://…, servers of one cluster with commas between them; may be repeated (default: sqlite)",
      sinks,
    )
    .option("--data <folder>", "folder for the SQLite sink; not that of a node", "./projected")
    .addOption(
      new Option("--log-level <level>", "what is logged")
        .choices(["trace", "debug", "info", "warn", "error", "silent"])
        .default("info"),
    )
    .option("--json", "log JSON lines, and print what it keeps as JSON")
    .addHelpText(
      "after",
      `
Examples:
  heddle project --domain ./apps/examples/bank --nats nats://127.0.0.1:4222
  heddle project --domain ./domain.ts --nats nats://nats:4222 --sink mongodb://mongo:27017/bank

Every ten seconds a line of the log tells how far each projection is behind.`,
    )
    .action((values: ProjectValues) => run(values, (terminal) => project(values, terminal)));
};

/** May be given many times. */
export function sinks(sink: string, others: readonly string[] = []): string[] {
  return [...others, sink];
}

async function project(values: ProjectValues, terminal: Terminal): Promise<ExitCode> {
  const { nodeLogger, startProjector } = await import("@heddle/runtime/internal");
  const { domain, data, nats: url, natsCredentials, natsCa, sink, logLevel } = values;
  const asJson = values.json === true || !terminal.interactive;
  const logger = nodeLogger(logLevel, asJson ? process.stderr : new LogLines(terminal));
  const stop = stopSignal();
  const gaveUp = new AbortController();
  void stop.asked.then(() => gaveUp.abort());
  try {
    const options: ProjectorOptions = {
      domain,
      data,
      nats: {
        url,
        ...(natsCredentials === undefined ? {} : { credentialsFile: natsCredentials }),
        ...(natsCa === undefined ? {} : { caFile: natsCa }),
      },
      ...(sink === undefined ? {} : { sinks: sink }),
      signal: gaveUp.signal,
      logger,
    };
    const projector = await withAddresses(() => startProjector(options));
    const line = setInterval(() => {
      for (const row of projector.list()) logger.info(figuresOf(row), "projection");
    }, lineEveryMs);
    try {
      const { context, shardCount, sinks } = projector;
      const names = projector.list().map(({ projection }) => projection);
      if (values.json === true) {
        terminal.out(toJson({ ready: true, context, shardCount, sinks, projections: [...new Set(names)] }));
      } else {
        const { green, bold } = terminal.outColours;
        const what = `${counted(new Set(names).size, "projection")} of ${bold(context)}`;
        terminal.out(`${green("projecting")}  ${what} from ${counted(shardCount, "shard")} into ${sinks.join(", ")}`);
      }
      await stop.asked;
    } finally {
      clearInterval(line);
      await projector.close();
    }
    return exitCodes.ok;
  } catch (error) {
    // Told to stop while it was waiting for the streams.
    if (gaveUp.signal.aborted && error === gaveUp.signal.reason) return exitCodes.ok;
    throw error;
  } finally {
    stop.done();
  }
}

function figuresOf({
  projection,
  sink,
  state,
  problem,
  lagBytes,
  lagMs,
  events,
  eventsPerSecond,
  setAside,
}: ListedProjection) {
  const figures = { projection, sink, state, lagBytes, lagMs, events, eventsPerSecond, setAside };
  return problem === undefined ? figures : { ...figures, problem };
}
