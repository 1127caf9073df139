// heddle export: histories as text that describes itself, of some entities or of all of them.
import fs from "node:fs";
import type { Heddle, ListedEntity } from "@heddle/client";
import { isHeddleError } from "@heddle/kernel";
import { compareIds } from "@heddle/protocol/internal";
import type { AddCommand } from "../add-command.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { sectionsOf } from "../export-entities.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { withOutput } from "../output.ts";
import { type Progress, silentProgress, startProgress } from "../progress.ts";
import { UsageError } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { count, counted, duration, rate } from "../text.ts";
import { readUnfinishedExport, type UnfinishedExport } from "../unfinished-export.ts";

interface ExportValues extends NodeOptionValues {
  readonly all?: boolean;
  readonly kind?: string;
  readonly out?: string;
}

export const addExport: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("export")
      .summary("print the histories of entities, to be imported elsewhere")
      .description(
        "Prints whole histories as lines of JSON that describe themselves: versions, sequences, times, checksums.\n" +
          "heddle import takes them. With --all or --kind every entity, in the order of heddle entities; then --out FILE\n" +
          "can be gone on with: the same command keeps the entities that the file has whole, and adds the rest.",
      )
      .argument("[entities...]", "kind/name, one or several; none with --all or --kind")
      .option("--all", "every entity")
      .option("--kind <kind>", "every entity of this kind, such as account")
      .option("--out <file>", "write to this file"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle export account/alice > alice.ndjson
  heddle export --all --out everything.ndjson     (again: it goes on where it was cut off)
  heddle export --kind account | gzip > accounts.ndjson.gz
  heddle export account/alice | jq 'select(.payload) | .payload'

The output is NDJSON with and without --json. An entity that the file has already is not read again, whatever it did since.`,
    )
    .action((entities: string[], values: ExportValues) =>
      run(values, (terminal) => {
        const everything = values.all === true || values.kind !== undefined;
        if (everything && entities.length > 0) {
          throw new UsageError("--all and --kind go without names", "Leave out one of the two.");
        }
        if (!everything && entities.length === 0) {
          throw new UsageError("no entity is named", "Name one or several, or give --all for every entity.");
        }
        return withNode(values, (db) =>
          everything ? exportAll(db, values, terminal) : exportNamed(db, entities, values, terminal),
        );
      }),
    );
};

async function exportNamed(
  db: Heddle,
  entities: readonly string[],
  { out, json }: ExportValues,
  terminal: Terminal,
): Promise<ExitCode> {
  // An id that is none is refused before the first line.
  const all = entities.map((entity) => db.entity(entity));
  const events = await withOutput(out, terminal, async ({ write, drained }) => {
    let written = 0;
    for (const entity of all) {
      let lines = 0;
      for await (const line of entity.export()) {
        write(line);
        lines++;
        await drained();
      }
      // The first line and the last are no events.
      written += lines - 2;
      if (lines === 2) terminal.say(terminal.sayColours.dim(`${entity.id} was never written`));
    }
    return written;
  });
  if (json === true && out !== undefined) terminal.out(toJson({ ok: true, out, entities: entities.length, events }));
  else if (json !== true) terminal.say(terminal.sayColours.dim(`${counted(events, "event")} exported`));
  return exitCodes.ok;
}

async function exportAll(db: Heddle, values: ExportValues, terminal: Terminal): Promise<ExitCode> {
  const startedAt = performance.now();
  const { out, json, kind } = values;
  const target = out === undefined ? new StandardOutput(terminal) : await FileOutput.open(out, db);
  const { entities: keptEntities, events: keptEvents, lastEntity } = target.kept;
  if (keptEntities > 0 && json !== true) {
    terminal.say(`going on behind ${lastEntity}: ${counted(keptEntities, "entity", "entities")} are there already`);
  }
  const progress =
    json === true
      ? silentProgress
      : startProgress(terminal, { doing: "exporting", total: await totalOf(db, kind), unit: "events" });
  let written: Written;
  try {
    written = await writeSections(db, kind, target, progress);
    progress.at(Number.MAX_SAFE_INTEGER);
  } finally {
    progress.stop();
    target.close();
  }
  const { entities, events } = written;
  const tookMs = performance.now() - startedAt;
  if (json === true && out !== undefined) {
    terminal.out(toJson({ ok: true, out, entities, events, keptEntities, keptEvents, tookMs }));
  } else if (json !== true) {
    const speed = events < 1_000 ? "" : ` (${rate(events, tookMs)})`;
    const told = `${counted(entities, "entity", "entities")} with ${counted(events, "event")} exported in ${duration(tookMs)}${speed}`;
    terminal.say(terminal.sayColours.dim(keptEntities === 0 ? told : `${told}, ${count(keptEntities)} kept`));
  }
  return exitCodes.ok;
}

// Counts of one kind are not kept anywhere; the sequences of its entities come close.
async function totalOf(db: Heddle, kind: string | undefined): Promise<number> {
  let total = 0;
  if (kind === undefined) for (const { count: events } of await db.types()) total += events;
  else for await (const { seq } of listed(db, kind)) total += seq;
  return total;
}

async function* listed(db: Heddle, kind: string | undefined, after?: string): AsyncGenerator<ListedEntity> {
  for await (const page of db.entities({ kind })) {
    for (const one of page) if (after === undefined || compareIds(one.entity, after) > 0) yield one;
  }
}

interface Written {
  readonly entities: number;
  readonly events: number;
}

/** Events between two looks at the progress. */
const toldEvents = 1_000;

async function writeSections(
  db: Heddle,
  kind: string | undefined,
  target: ExportTarget,
  progress: Progress,
): Promise<Written> {
  let [entities, events, told] = [0, 0, 0];
  for await (const { lines } of sectionsOf(db, listed(db, kind, target.kept.lastEntity))) {
    target.begin();
    let inSection = -2;
    try {
      for await (const line of lines) {
        target.write(line);
        if (++inSection % 1_000 === 0) await target.drained();
      }
    } catch (error) {
      // Erased while it was read: what a file has of it is taken back, what was printed cannot be.
      if (!isHeddleError(error, "ERASED") || !target.takeBack()) throw error;
      continue;
    }
    await target.drained();
    entities++;
    events += inSection;
    if (events - told < toldEvents) continue;
    told = events;
    progress.at(target.kept.events + events);
  }
  return { entities, events };
}

interface ExportTarget {
  readonly kept: UnfinishedExport;
  write(line: string): void;
  drained(): Promise<void>;
  /** An entity begins here. */
  begin(): void;
  /** Takes back what was written since `begin`, where that can be done. */
  takeBack(): boolean;
  close(): void;
}

const nothingKept: UnfinishedExport = {
  context: undefined,
  lastEntity: undefined,
  entities: 0,
  events: 0,
  endByte: 0,
};

class StandardOutput implements ExportTarget {
  readonly kept = nothingKept;
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  write(line: string): void {
    this.#terminal.out(line.slice(0, -1));
  }

  drained(): Promise<void> {
    return this.#terminal.drained();
  }

  begin(): void {}

  takeBack(): boolean {
    return false;
  }

  close(): void {}
}

/** A file that is written to from its start to its end, so that whatever stops it leaves whole entities and half of one. */
class FileOutput implements ExportTarget {
  readonly kept: UnfinishedExport;
  readonly #descriptor: number;
  #lines: string[] = [];
  #end: number;
  #begun: number;

  /** Errors: `EXPORT_DAMAGED` for a file that is no export; a `UsageError` for one of another context. */
  static async open(file: string, db: Heddle): Promise<FileOutput> {
    const kept = fs.existsSync(file) ? readUnfinishedExport(file) : nothingKept;
    const { context } = await db.ready();
    if (kept.context !== undefined && kept.context !== context) {
      const problem = `${file} is an export of the context ${kept.context}, this node serves ${context}`;
      throw new UsageError(problem, "Name another file.");
    }
    return new FileOutput(file, kept);
  }

  private constructor(file: string, kept: UnfinishedExport) {
    this.kept = kept;
    this.#descriptor = fs.openSync(file, "a");
    fs.ftruncateSync(this.#descriptor, kept.endByte);
    this.#end = kept.endByte;
    this.#begun = kept.endByte;
  }

  write(line: string): void {
    this.#lines.push(line);
  }

  drained(): Promise<void> {
    const bytes = Buffer.from(this.#lines.join(""), "utf8");
    this.#lines = [];
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(this.#descriptor, bytes, at);
    this.#end += bytes.length;
    return Promise.resolve();
  }

  begin(): void {
    this.#begun = this.#end;
  }

  takeBack(): boolean {
    this.#lines = [];
    this.#end = this.#begun;
    fs.ftruncateSync(this.#descriptor, this.#end);
    return true;
  }

  close(): void {
    fs.fsyncSync(this.#descriptor);
    fs.closeSync(this.#descriptor);
  }
}
