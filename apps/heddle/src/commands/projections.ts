// heddle projections: the operator's desk. How far projections are, and what to do about them.
import type { ListedProjection, ProjectionRebuild } from "@heddle/client";
import type { Command } from "commander";
import type { AddCommand, Run } from "../add-command.ts";
import { exitCodes } from "../exit-codes.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { type Progress, startProgress } from "../progress.ts";
import type { Colours, Terminal } from "../terminal.ts";
import { bytes, count, duration, table } from "../text.ts";

export const addProjections: AddCommand = (program, run) => {
  const projections = program
    .command("projections")
    .summary("look after projections (ls, rebuild, pause, resume, retry, skip)")
    .description(
      "A projection keeps a table, or a collection, in step with the events of a node. An event that its function cannot\n" +
        "take is set aside with its error: later events of the same entity wait, others go on.",
    );
  addList(projections, run);
  addRebuild(projections, run);
  addPause(projections, run);
  addResume(projections, run);
  addRetry(projections, run);
  addSkip(projections, run);
};

function addList(projections: Command, run: Run): void {
  withNodeOptions(
    projections
      .command("ls")
      .summary("list projections")
      .description(
        "Lists every projection in each of its sinks: its state, how far it is behind, and what it has set aside.",
      ),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle projections ls
  heddle projections ls --json

With --json each projection in a sink is a line.`,
    )
    .action((values: NodeOptionValues) =>
      run(values, async (terminal) => {
        const listed = await withNode(values, (db) => db.projections());
        if (values.json === true) for (const row of listed) terminal.out(toJson(row));
        else printList(listed, terminal);
        return exitCodes.ok;
      }),
    );
}

function printList(listed: readonly ListedProjection[], terminal: Terminal): void {
  if (listed.length === 0) {
    terminal.say(terminal.sayColours.dim("the domain module has no projections, or the node no sinks"));
    return;
  }
  for (const line of projectionTable(listed, terminal.outColours)) terminal.out(line);
  for (const line of troubles(listed, terminal.outColours)) terminal.out(line);
}

/** Aligned before it is coloured: colours have no width. */
export function projectionTable(listed: readonly ListedProjection[], colours: Colours): string[] {
  const lines = table(
    [
      { title: "projection" },
      { title: "version", align: "right" },
      { title: "behind", align: "right" },
      { title: "for", align: "right" },
      { title: "events", align: "right" },
      { title: "set aside", align: "right" },
      { title: "state" },
      { title: "sink" },
    ],
    listed.map(({ projection, version, lagBytes, lagMs, events, setAside, state, sink }) => [
      projection,
      String(version),
      bytes(lagBytes),
      duration(lagMs),
      count(events),
      count(setAside),
      state,
      sink,
    ]),
  );
  const stateAt = lines[0]!.indexOf("state ");
  return lines.map((line, i) => {
    const state = listed[i - 1]?.state;
    if (state === undefined) return line;
    const end = stateAt + state.length;
    return line.slice(0, stateAt) + inColour(state, colours) + line.slice(end);
  });
}

function inColour(state: ListedProjection["state"], { green, yellow, red }: Colours): string {
  if (state === "live") return green(state);
  return state === "stopped" ? red(state) : yellow(state);
}

function* troubles(listed: readonly ListedProjection[], { yellow, dim }: Colours): Generator<string> {
  for (const { projection, sink, state, problem, rebuild, setAside, failures } of listed) {
    if (problem !== undefined) yield yellow(plain(`${projection} in ${sink} is ${state}: ${problem}`));
    if (rebuild !== undefined) {
      const percent = Math.floor((100 * rebuild.done) / Math.max(1, rebuild.total));
      yield dim(`${projection} in ${sink} is being rebuilt: ${percent}% of ${bytes(rebuild.total)}`);
    }
    for (const failure of failures) yield yellow(cannotTake(projection, { sink, ...failure }));
    const more = setAside - failures.length;
    if (more > 0) yield dim(`and ${count(more)} more entities`);
  }
}

type Failure = ListedProjection["failures"][number] & { readonly sink: string };

function cannotTake(projection: string, { sink, entity, seq, type, message }: Failure): string {
  return plain(`${projection} in ${sink} cannot take ${type}, event ${seq} of ${entity}: ${message}`);
}

/** What is set aside of an entity, in a sink by its name or kind, or in all. */
function failuresOf(
  listed: readonly ListedProjection[],
  projection: string,
  entity: string,
  wanted: string | undefined,
): Failure[] {
  const kindOf = (sink: string) => (sink.startsWith("http") ? "rqlite" : sink.startsWith("mongodb") ? "mongodb" : sink);
  return listed
    .filter((row) => row.projection === projection)
    .filter(({ sink }) => wanted === undefined || wanted === sink || wanted === kindOf(sink))
    .flatMap(({ sink, failures }) => failures.map((failure) => ({ ...failure, sink })))
    .filter((failure) => failure.entity === entity);
}

// What was thrown is anything: none of it may steer the terminal.
function plain(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, " ");
}

interface SinkValues extends NodeOptionValues {
  readonly sink?: string;
}

function addRebuild(projections: Command, run: Run): void {
  withSink(
    projections
      .command("rebuild")
      .summary("make a projection's rows anew from the log")
      .description(
        "Makes the rows anew beside those that are read, while writes continue, and puts them in their place at one moment.\n" +
          "An interrupted command leaves the node to it.",
      ),
    `
Examples:
  heddle projections rebuild accounts
  heddle projections rebuild accounts --sink rqlite --json`,
  ).action((projection: string, values: SinkValues) =>
    run(values, async (terminal) => {
      const bar = new RebuildProgress(terminal, projection, values.json === true);
      try {
        const { sink } = values;
        const onProgress = bar.at.bind(bar);
        const rebuilt = await withNode(values, (db) => db.rebuildProjection(projection, { sink, onProgress }));
        bar.stop();
        if (values.json === true) terminal.out(toJson({ ok: true, projections: rebuilt }));
        else
          for (const one of rebuilt) terminal.out(`${terminal.outColours.green(projection)} in ${one.sink} is rebuilt`);
      } finally {
        bar.stop();
      }
      return exitCodes.ok;
    }),
  );
}

/** One bar for all sinks of a projection, each for as long as the log was when it began. */
class RebuildProgress {
  readonly #terminal: Terminal;
  readonly #projection: string;
  readonly #isQuiet: boolean;
  readonly #bySink = new Map<string, number>();
  #total = 0;
  #progress: Progress | undefined;

  constructor(terminal: Terminal, projection: string, isQuiet: boolean) {
    this.#terminal = terminal;
    this.#projection = projection;
    this.#isQuiet = isQuiet;
  }

  at({ sink, done, total }: ProjectionRebuild & { readonly sink: string }): void {
    if (this.#isQuiet) return;
    this.#bySink.set(sink, done / Math.max(1, total));
    if (this.#progress === undefined) {
      this.#total = total;
      this.#progress = startProgress(this.#terminal, { doing: `rebuilding ${this.#projection}`, total, amount: bytes });
    }
    // The sink that is farthest behind says when all are done.
    this.#progress.at(Math.floor(this.#total * Math.min(...this.#bySink.values())));
  }

  stop(): void {
    this.#progress?.stop();
  }
}

function addPause(projections: Command, run: Run): void {
  withSink(
    projections
      .command("pause")
      .summary("let a projection take no more events")
      .description("The projection stays as it is, also over restarts, until it is resumed. Its rows can be read."),
    `
Examples:
  heddle projections pause accounts
  heddle projections pause accounts --sink mongodb`,
  ).action((projection: string, values: SinkValues) =>
    run(values, async (terminal) => {
      await withNode(values, (db) => db.pauseProjection(projection, { sink: values.sink }));
      sayDone(terminal, values, projection, "is paused");
      return exitCodes.ok;
    }),
  );
}

function addResume(projections: Command, run: Run): void {
  withSink(
    projections
      .command("resume")
      .summary("let a projection go on")
      .description("Lets a paused projection go on where it was, and one that has stopped try again."),
    `
Examples:
  heddle projections resume accounts`,
  ).action((projection: string, values: SinkValues) =>
    run(values, async (terminal) => {
      await withNode(values, (db) => db.resumeProjection(projection, { sink: values.sink }));
      sayDone(terminal, values, projection, "goes on");
      return exitCodes.ok;
    }),
  );
}

function addRetry(projections: Command, run: Run): void {
  withSink(
    projections
      .command("retry")
      .summary("give a projection again what it has set aside")
      .description(
        "Folds the events of an entity that were set aside, from the one that failed on: after the domain module was mended\n" +
          "and the node started again.",
      ),
    `
Examples:
  heddle projections retry accounts account/alice`,
    entityArgument,
  ).action((projection: string, entity: string, values: SinkValues) =>
    run(values, async (terminal) => {
      const left = await withNode(values, async (db) => {
        await db.retrySetAside(projection, entity, { sink: values.sink });
        return failuresOf(await db.projections(), projection, entity, values.sink);
      });
      if (left.length === 0) {
        sayDone(terminal, values, projection, `tries ${entity} again`);
        return exitCodes.ok;
      }
      if (values.json === true) terminal.out(toJson({ ok: false, projection, failures: left }));
      else for (const failure of left) terminal.out(terminal.outColours.yellow(cannotTake(projection, failure)));
      return exitCodes.no;
    }),
  );
}

interface SkipValues extends SinkValues {
  readonly reason: string;
  readonly by?: string;
}

function addSkip(projections: Command, run: Run): void {
  withSink(
    projections
      .command("skip")
      .summary("leave out the event that a projection cannot take")
      .description("Leaves out the one event that failed, and goes on with those of its entity that waited behind it."),
    `
Examples:
  heddle projections skip accounts account/alice --reason 'a test booking' --by ann`,
    entityArgument,
  )
    .requiredOption("--reason <text>", "why; kept in the node's log")
    .option("--by <name>", "who; kept with it")
    .action((projection: string, entity: string, values: SkipValues) =>
      run(values, async (terminal) => {
        const { sink, reason, by } = values;
        await withNode(values, (db) => db.skipSetAside(projection, entity, { sink, reason, by }));
        sayDone(terminal, values, projection, `leaves out the event of ${entity}`);
        return exitCodes.ok;
      }),
    );
}

function withSink(command: Command, help: string, more: (command: Command) => Command = (same) => same): Command {
  const named = more(command.argument("<projection>", "the projection's name"));
  return withNodeOptions(
    named.option("--sink <name>", "in this sink only, by its name or kind (default: in all)"),
  ).addHelpText("after", help);
}

function entityArgument(command: Command): Command {
  return command.argument("<entity>", "kind/name of the entity whose events wait");
}

function sayDone(terminal: Terminal, { json, sink }: SinkValues, projection: string, what: string): void {
  if (json === true) terminal.out(toJson({ ok: true, projection, ...(sink === undefined ? {} : { sink }) }));
  else terminal.out(`${terminal.outColours.green(projection)} ${what}`);
}
