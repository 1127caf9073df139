// The referee as a process of its own: node referee/main.ts <data folder> <domain> <book.json> [--audit]
//
// With --audit, what `heddle audit` says of the same folder stands beside its own verdict. // Prints one JSON document and exits with 1 when it objects. Runs only while no node has the folder open for writing.
import fs from "node:fs";
import { auditFolder, loadDomain } from "@heddle/runtime/internal";
import type { BookData } from "../load/book.ts";
import { judge, type Verdict } from "./judge.ts";
import { readStore } from "./read-store.ts";

/** What the referee prints. */
export interface RefereeReport extends Verdict {
  readonly logFolders: number;
  readonly logBytes: number;
  readonly records: number;
  readonly tornBytes: number;
  readonly logBytesPerEvent: number;
  readonly tookMs: number;
  /** Where it was asked for. */
  readonly audit?: { readonly ok: boolean; readonly text: string };
}

const [data, domain, bookFile, withAudit] = process.argv.slice(2);
if (data === undefined || domain === undefined || bookFile === undefined) {
  console.error("usage: node bench/src/referee/main.ts <data folder> <domain module> <book.json> [--audit]");
  process.exit(2);
}
const startedAt = performance.now();
const book = JSON.parse(fs.readFileSync(bookFile, "utf8")) as BookData;
const reading = readStore(data, await loadDomain(domain));
const verdict = judge(reading, book);
const audit = withAudit === "--audit" ? await auditOf(data, domain) : undefined;
const { logFolders, logBytes, records, tornBytes } = reading;
const report: RefereeReport = {
  ...verdict,
  logFolders,
  logBytes,
  records,
  tornBytes,
  logBytesPerEvent: verdict.events === 0 ? 0 : Number((logBytes / verdict.events).toFixed(2)),
  tookMs: Math.round(performance.now() - startedAt),
  ...(audit === undefined ? {} : { audit }),
};
console.log(JSON.stringify(report));
process.exitCode = verdict.ok && audit?.ok !== false ? 0 : 1;

async function auditOf(data: string, domain: string): Promise<RefereeReport["audit"]> {
  const { ok, aggregates, problemTotal, problems } = await auditFolder({ data, domain });
  return {
    ok,
    text: ok
      ? `INTEGRITY_OK (${aggregates} aggregates)`
      : `INTEGRITY_FAILED (${problemTotal} problems, first: ${JSON.stringify(problems[0])})`,
  };
}
