// heddle import: NDJSON in, plain events or what heddle export gave. The same file again imports nothing twice, so a run that
// stopped halfway is just run again.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { type AppendResult, type Heddle, HeddleError } from "@heddle/client";
import type { AddCommand } from "../add-command.ts";
import { type ExitCode, exitCodes } from "../exit-codes.ts";
import { importExport, isExport, printImportedExport } from "../import-export.ts";
import { type BadLine, hashFile, type ImportAppend, readImport } from "../import-lines.ts";
import { toJson } from "../json.ts";
import { type NodeOptionValues, withNode, withNodeOptions } from "../node-options.ts";
import { silentProgress, startProgress } from "../progress.ts";
import { isRefusal, UsageError, withoutAdvice } from "../report-error.ts";
import type { Terminal } from "../terminal.ts";
import { bytes, count, counted, duration, rate } from "../text.ts";

/** Appends that are on their way at once. The next ones wait for all of them, so that an entity's lines stay in order. */
const windowAppends = 2_000;
/** Refused lines that are told; all are counted. */
const toldMax = 20;

export interface RefusedLine {
  readonly line: number;
  readonly code: string;
  readonly message: string;
}

export interface ImportReport {
  readonly ok: boolean;
  readonly appends: number;
  readonly events: number;
  /** Events written now. */
  readonly imported: number;
  /** Events that were there already. */
  readonly known: number;
  /** Lines that made no sense, and appends that were refused. */
  readonly refusedTotal: number;
  readonly refused: readonly RefusedLine[];
  readonly tookMs: number;
}

interface ImportValues extends NodeOptionValues {
  readonly trust?: boolean;
  readonly as?: string;
  readonly renumber?: boolean;
}

export const addImport: AddCommand = (program, run) => {
  withNodeOptions(
    program
      .command("import")
      .summary("bring in an export, or append events from NDJSON")
      .description(
        "Brings in what heddle export gave: entities with the sequences, times, ids and states that they had. An entity that\n" +
          "has another history here is refused. Anything else is taken as one event a line, to be appended:\n" +
          "{entity, type, payload, aggregate?, id?, metadata?}. A line without an id gets one made of the file's content and\n" +
          "the line's number. The same file imports nothing twice; a run that stopped halfway is just run again.",
      )
      .argument("[file]", "NDJSON file; - or nothing reads standard input", "-")
      .option("--as <entity>", "of an export of one entity: the id to import it to")
      .option("--renumber", "of an export: take entities that were erased once, from sequence 1 on")
      .option("--trust", "of an export: do not hold payloads against their schemas; rules are asked all the same"),
  )
    .addHelpText(
      "after",
      `
Examples:
  heddle import accounts.ndjson
  echo '{"entity":"account/alice","type":"Credited","payload":{"amount":100}}' | heddle import
  heddle import everything.ndjson --url heddle://127.0.0.1:9191     (what heddle export --all --out wrote)
  heddle import alice.ndjson --as account/alice-before

A refused line is told by its number, the others are imported, and the exit code is 1; an export ends with the first entity
that is refused. An edited file is another file: give ids to lines that may move.`,
    )
    .action((file: string, values: ImportValues) =>
      run(values, (terminal) =>
        withFile(file, (path) =>
          isExport(path) ? takeExport(path, values, terminal) : takeLines(path, values, terminal),
        ),
      ),
    );
};

async function takeExport(path: string, values: ImportValues, terminal: Terminal): Promise<ExitCode> {
  const { trust, as, renumber, json } = values;
  const options = { trusted: trust === true, as, renumber: renumber === true };
  const report = await withNode(values, (db) => importExport(db, path, options, terminal, json === true));
  if (json === true) terminal.out(toJson(report));
  else printImportedExport(terminal, report);
  return exitCodes.ok;
}

async function takeLines(path: string, values: ImportValues, terminal: Terminal): Promise<ExitCode> {
  for (const option of ["as", "renumber", "trust"] as const) {
    if (values[option] === undefined) continue;
    throw new UsageError(`--${option} is for exports, and this file is none`, "Leave it out.");
  }
  const report = await withNode(values, (db) => importFile(db, path, terminal, values.json === true));
  if (values.json === true) terminal.out(toJson(report));
  else printReport(terminal, report);
  return report.ok ? exitCodes.ok : exitCodes.no;
}

// Standard input can be read only once, and the ids need the whole of it first.
async function withFile<T>(file: string, run: (path: string) => Promise<T>): Promise<T> {
  if (file !== "-") {
    if (!fs.existsSync(file)) throw new UsageError(`there is no file ${file}`);
    return run(file);
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-import-"));
  try {
    const spooled = path.join(folder, "stdin.ndjson");
    await pipeline(process.stdin, fs.createWriteStream(spooled));
    return await run(spooled);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

export async function importFile(db: Heddle, file: string, terminal: Terminal, quiet: boolean): Promise<ImportReport> {
  const startedAt = performance.now();
  const total = fs.statSync(file).size;
  const fileHash = await hashFile(file);
  const progress = quiet ? silentProgress : startProgress(terminal, { doing: "importing", total, amount: bytes });
  const tally = new Tally();
  let window: ImportAppend[] = [];
  const settle = async () => {
    const settled = await Promise.allSettled(window.map((append) => send(db, append)));
    for (const [index, outcome] of settled.entries()) tally.addOutcome(window[index]!, outcome);
    const last = window.at(-1);
    if (last !== undefined) progress.at(last.endByte);
    window = [];
  };
  try {
    for await (const next of readImport(file, fileHash)) {
      if ("problem" in next) tally.addBadLine(next);
      else window.push(next);
      if (window.length >= windowAppends) await settle();
    }
    await settle();
    progress.at(total);
  } finally {
    progress.stop();
  }
  return tally.report(performance.now() - startedAt);
}

function send(db: Heddle, { entity, aggregate, id, metadata, events }: ImportAppend): Promise<AppendResult> {
  return db.entity(entity).append(events, { aggregate, id, metadata });
}

class Tally {
  #appends = 0;
  #events = 0;
  #imported = 0;
  #known = 0;
  #refusedTotal = 0;
  readonly #refused: RefusedLine[] = [];

  addBadLine({ line, problem }: BadLine): void {
    this.#refuse({ line, code: "BAD_LINE", message: problem });
  }

  /** Errors: throws what stopped the node or the connection; the line is named, as a run from the start goes on there. */
  addOutcome(append: ImportAppend, outcome: PromiseSettledResult<AppendResult>): void {
    const { line, events } = append;
    this.#appends++;
    this.#events += events.length;
    if (outcome.status === "rejected") {
      if (!isRefusal(outcome.reason)) throw stoppedAt(line, outcome.reason);
      this.#refuse({ line, code: outcome.reason.code, message: withoutAdvice(outcome.reason) });
    } else if (!outcome.value.ok) {
      this.#refuse({ line, code: outcome.value.code, message: outcome.value.message });
    } else if (outcome.value.duplicate) this.#known += events.length;
    else this.#imported += events.length;
  }

  report(tookMs: number): ImportReport {
    return {
      ok: this.#refusedTotal === 0,
      appends: this.#appends,
      events: this.#events,
      imported: this.#imported,
      known: this.#known,
      refusedTotal: this.#refusedTotal,
      refused: this.#refused.toSorted((a, b) => a.line - b.line),
      tookMs,
    };
  }

  #refuse(line: RefusedLine): void {
    this.#refusedTotal++;
    if (this.#refused.length < toldMax) this.#refused.push(line);
  }
}

function stoppedAt(line: number, error: unknown): unknown {
  if (!(error instanceof HeddleError)) return error;
  const message = `the import stopped at line ${line}, and goes on when it is run again: ${error.message}`;
  return Object.assign(error, { message });
}

function printReport(terminal: Terminal, report: ImportReport): void {
  const { green, yellow } = terminal.outColours;
  const { refused, refusedTotal, imported, known, tookMs } = report;
  for (const { line, code, message } of refused) terminal.say(`${yellow(`line ${line}:`)} ${message} (${code})`);
  if (refusedTotal > refused.length) terminal.say(`… and ${count(refusedTotal - refused.length)} more`);
  const facts = [`${counted(imported, "event")} imported`];
  if (known > 0) facts.push(`${count(known)} known already`);
  if (refusedTotal > 0) facts.push(`${counted(refusedTotal, "line")} refused`);
  const colour = report.ok ? green : yellow;
  const speed = imported < 1_000 ? "" : ` (${rate(imported, tookMs)})`;
  terminal.out(`${colour(facts.join(", "))} in ${duration(tookMs)}${speed}`);
}
