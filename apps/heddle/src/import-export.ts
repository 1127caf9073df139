// ImportExport: brings in what heddle export gave. Importing again goes on where it ended; see the SDK's `import`.
import fs from "node:fs";
import readline from "node:readline";
import type { Heddle, ImportResult } from "@heddle/client";
import { silentProgress, startProgress } from "./progress.ts";
import { UsageError } from "./report-error.ts";
import type { Terminal } from "./terminal.ts";
import { bytes, count, counted, duration, rate } from "./text.ts";

export interface ImportExportOptions {
  readonly trusted: boolean;
  readonly as: string | undefined;
  readonly renumber: boolean;
}

export interface ImportExportReport extends ImportResult {
  readonly ok: true;
  readonly tookMs: number;
}

const exportStart = /^\s*\{"heddle":"export",/;
const firstBytesMax = 4_096;
/** Bytes between two looks at the progress. */
const toldBytes = 64 << 10;

/** Whether a file begins as an export does. */
export function isExport(file: string): boolean {
  const descriptor = fs.openSync(file, "r");
  try {
    const bytes = Buffer.alloc(firstBytesMax);
    const read = fs.readSync(descriptor, bytes, 0, firstBytesMax, 0);
    return exportStart.test(bytes.toString("utf8", 0, read));
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Errors: as `Heddle.import`. */
export async function importExport(
  db: Heddle,
  file: string,
  options: ImportExportOptions,
  terminal: Terminal,
  quiet: boolean,
): Promise<ImportExportReport> {
  const startedAt = performance.now();
  // Known before the first of them is written, rather than after.
  if (options.as !== undefined && (await hasSeveral(file))) {
    throw new UsageError(
      `the file holds several entities, which cannot all be imported as ${options.as}`,
      "Leave out --as.",
    );
  }
  const total = fs.statSync(file).size;
  const progress = quiet ? silentProgress : startProgress(terminal, { doing: "importing", total, amount: bytes });
  try {
    const result = await db.import(linesOf(file, progress.at), options);
    progress.at(total);
    return { ok: true, ...result, tookMs: performance.now() - startedAt };
  } finally {
    progress.stop();
  }
}

async function hasSeveral(file: string): Promise<boolean> {
  let exports = 0;
  for await (const line of linesOf(file, () => {})) if (exportStart.test(line) && ++exports > 1) return true;
  return false;
}

async function* linesOf(file: string, onBytes: (bytes: number) => void): AsyncGenerator<string> {
  const input = fs.createReadStream(file);
  let read = 0;
  let told = 0;
  try {
    for await (const line of readline.createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      yield line;
      read += Buffer.byteLength(line) + 1;
      if (read - told < toldBytes) continue;
      told = read;
      onBytes(read);
    }
  } finally {
    input.destroy();
  }
}

export function printImportedExport(terminal: Terminal, report: ImportExportReport): void {
  const { green, dim } = terminal.outColours;
  const { entities, events, present, renumbered, erased, tookMs } = report;
  const facts = [`${counted(entities, "entity", "entities")}, ${counted(events, "event")} imported`];
  if (present > 0) facts.push(`${count(present)} there already`);
  const speed = events < 1_000 ? "" : ` (${rate(events, tookMs)})`;
  terminal.out(`${green(facts.join(", "))} in ${duration(tookMs)}${speed}`);
  if (renumbered > 0) terminal.out(dim(`${counted(renumbered, "entity", "entities")} begin with sequence 1 here`));
  if (erased > 0) terminal.out(dim(`${counted(erased, "erased entity", "erased entities")} passed over`));
}
