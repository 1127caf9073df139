// Doctor: `heddle doctor`. Measures the disk under a data folder and reads all that lies in it, without a domain module.
//
// Changes nothing but for a file of its own that it removes. Works beside a running node, and on a folder that no node
// can open: whatever cannot be read becomes a finding, and the rest is looked at all the same.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { HeddleError } from "@heddle/kernel";
import { type DataFolderFacts, logFolderOf, partitionFolderOf, readDataFolder } from "../data-folder.ts";
import { examineLog, type LogExamination } from "./examine-log.ts";
import { type MachineFacts, machineFacts, weakFileSystems } from "./machine-facts.ts";
import type { ProbeAnswer, ProbedPartition } from "./partition-probe.ts";
import { measureSyncLatency, type SyncLatency } from "./sync-latency.ts";

export interface DoctorOptions {
  readonly data: string;
  /** The median of a synced write may take this long. Default 5,000. */
  readonly syncThresholdUs?: number;
  /** Synced writes to measure. Default 200. */
  readonly samples?: number;
  /** Told before each shard. */
  readonly onProgress?: ((progress: { readonly doneShards: number; readonly totalShards: number }) => void) | undefined;
}

/** `fault`: must be mended, or data is lost or a node will not start. `note`: worth knowing. */
export interface Finding {
  readonly severity: "fault" | "note";
  /** What was looked at: `disk`, `data folder`, `shard 3, log`, … */
  readonly where: string;
  readonly problem: string;
  readonly advice: string;
}

export interface ExaminedShard {
  readonly shard: number;
  readonly log: LogExamination;
  /** Undefined when there is none, or it could not be read. */
  readonly partition: ProbedPartition | undefined;
}

export interface DoctorReport {
  /** No faults. */
  readonly ok: boolean;
  readonly data: string;
  readonly machine: MachineFacts | undefined;
  readonly sync: (SyncLatency & { readonly thresholdUs: number; readonly pass: boolean }) | undefined;
  readonly folder: DataFolderFacts | undefined;
  /** A process has it open. */
  readonly inUse: boolean;
  readonly shards: readonly ExaminedShard[];
  readonly findings: readonly Finding[];
}

const defaultSyncThresholdUs = 5_000;
const defaultSamples = 200;
/** Below the first a full disk is near; below the second a shard takes no appends once it was full. */
const freeBytesLow = 1 << 30;
const freeBytesScarce = 32 << 20;

/** Never throws for what it finds. */
export function doctorFolder(options: DoctorOptions): DoctorReport {
  const { data } = options;
  const findings: Finding[] = [];
  const machine = examineMachine(data, findings);
  const sync = machine === undefined ? undefined : examineSync(options, findings);
  const folder = machine === undefined ? undefined : examineFolder(data, findings);
  const inUse = isInUse(data);
  const numbers = shardNumbers(data, folder);
  const shards = numbers.map((shard, done) => {
    options.onProgress?.({ doneShards: done, totalShards: numbers.length });
    return examineShard(data, shard, inUse, findings);
  });
  options.onProgress?.({ doneShards: numbers.length, totalShards: numbers.length });
  const ok = !findings.some((finding) => finding.severity === "fault");
  return { ok, data, machine, sync, folder, inUse, shards, findings };
}

function examineMachine(data: string, findings: Finding[]): MachineFacts | undefined {
  let facts: MachineFacts;
  try {
    facts = machineFacts(data);
  } catch (error) {
    const problem = `it cannot be looked at: ${(error as Error).message}`;
    findings.push({
      severity: "fault",
      where: "data folder",
      problem,
      advice: "Give the path of a data folder: --data",
    });
    return undefined;
  }
  const weakness = weakFileSystems.get(facts.fileSystem);
  if (weakness !== undefined) {
    const advice = "Put the data folder on a local disk.";
    findings.push({
      severity: "note",
      where: "disk",
      problem: `the file system is ${facts.fileSystem}: ${weakness}`,
      advice,
    });
  }
  if (facts.freeBytes < freeBytesLow) {
    const severity = facts.freeBytes < freeBytesScarce ? "fault" : "note";
    const problem = `${Math.floor(facts.freeBytes / (1 << 20))} MiB are free`;
    findings.push({ severity, where: "disk", problem, advice: "Make room; a full disk stops appends, not reads." });
  }
  return facts;
}

function examineSync(options: DoctorOptions, findings: Finding[]): DoctorReport["sync"] {
  const thresholdUs = options.syncThresholdUs ?? defaultSyncThresholdUs;
  try {
    const latency = measureSyncLatency(options.data, options.samples ?? defaultSamples);
    const pass = latency.p50Us <= thresholdUs;
    if (!pass) {
      const { message, advice } = new HeddleError("SLOW_DISK", {
        folder: options.data,
        measuredUs: latency.p50Us,
        thresholdUs,
      });
      findings.push({ severity: "fault", where: "disk", problem: withoutAdvice(message, advice), advice });
    } else if (latency.p99Us > thresholdUs) {
      const problem = `one synced write in a hundred takes ${latency.p99Us} µs or more`;
      findings.push({ severity: "note", where: "disk", problem, advice: "Look for who else uses the disk." });
    }
    return { ...latency, thresholdUs, pass };
  } catch (error) {
    const problem = `no file can be written: ${(error as Error).message}`;
    const advice = "Give the user that runs the node the right to write there.";
    findings.push({ severity: "fault", where: "data folder", problem, advice });
    return undefined;
  }
}

function examineFolder(data: string, findings: Finding[]): DataFolderFacts | undefined {
  try {
    const facts = readDataFolder(data);
    if (facts === undefined) {
      const problem = "there is no heddle.json: it is no data folder, or it lost its description";
      const advice =
        "A node makes one in an empty folder. In one that holds shards, restore heddle.json from a backup.";
      findings.push({
        severity: fs.existsSync(path.join(data, "shards")) ? "fault" : "note",
        where: "data folder",
        problem,
        advice,
      });
    }
    return facts;
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    const problem = withoutAdvice(error.message, error.advice);
    findings.push({ severity: "fault", where: "data folder", problem, advice: error.advice });
    return undefined;
  }
}

/** Asks for the lock as a reader, who does not keep a node from taking it. */
export function isInUse(data: string): boolean {
  const file = path.join(data, "lock");
  if (!fs.existsSync(file)) return false;
  try {
    const database = new DatabaseSync(file, { readOnly: true });
    try {
      database.prepare("SELECT count(*) FROM sqlite_master").get();
      return false;
    } finally {
      database.close();
    }
  } catch (error) {
    return /locked|busy/i.test((error as Error).message);
  }
}

/** Those that the description promises, and those that are there. */
function shardNumbers(data: string, folder: DataFolderFacts | undefined): number[] {
  const numbers = new Set(Array.from({ length: folder?.shardCount ?? 0 }, (_, shard) => shard));
  const parent = path.join(data, "shards");
  for (const name of fs.existsSync(parent) ? fs.readdirSync(parent) : []) {
    if (/^\d{4,}$/.test(name)) numbers.add(Number(name));
  }
  return [...numbers].sort((a, b) => a - b);
}

function examineShard(data: string, shard: number, inUse: boolean, findings: Finding[]): ExaminedShard {
  // The partition first: beside a running node, a log that is read later has all that it covers.
  const partition = examinePartition(partitionFolderOf(data, shard), shard, findings);
  let log: LogExamination = { segments: [], end: 0, tailBytes: 0, damage: undefined };
  const where = `shard ${shard}, log`;
  try {
    log = examineLog(logFolderOf(data, shard));
  } catch (error) {
    const problem = `it cannot be read: ${(error as Error).message}`;
    findings.push({
      severity: "fault",
      where,
      problem,
      advice: "Give the user that runs the node the right to read it.",
    });
    return { shard, log, partition };
  }
  if (log.damage !== undefined) findings.push({ severity: "fault", where, ...describeDamage(log.damage) });
  else if (partition !== undefined && partition.coveredPosition > log.end) {
    const problem = `it ends at position ${log.end}, but a checkpoint covers it up to ${partition.coveredPosition}: events that were acknowledged are missing`;
    findings.push({ severity: "fault", where, problem, advice: "Restore the last segments from a backup." });
  } else if (log.tailBytes > 0 && !inUse) {
    const problem = `${log.tailBytes} bytes after position ${log.end} are a torn tail; nothing in it was acknowledged`;
    findings.push({ severity: "note", where, problem, advice: "Nothing is to be done: the next start cuts it." });
  }
  return { shard, log, partition };
}

function describeDamage(damage: NonNullable<LogExamination["damage"]>): { problem: string; advice: string } {
  const { file, offset, problem, before, after, missingEvents, missing } = damage;
  const side = (found: { entries: number; events: number }) =>
    `${counted(found.entries, "entry", "entries")} (${counted(found.events, "event", "events")})`;
  const gaps = missing.map(({ entity, fromSeq, toSeq }) => `${entity} ${fromSeq} to ${toSeq}`).join(", ");
  return {
    problem:
      `damaged at ${file}, offset ${offset}: ${problem}. Can be saved: ${side(before)} before it, ${side(after)} from there on` +
      (missingEvents === 0
        ? ""
        : `. Known to be missing: ${counted(missingEvents, "event", "events")} (${gaps}${missing.length < 10 ? "" : ", …"})`),
    advice:
      "A node refuses to read it. Restore the file from a backup; a sealed segment never changes, so any copy will do.",
  };
}

function examinePartition(folder: string, shard: number, findings: Finding[]): ProbedPartition | undefined {
  const where = `shard ${shard}, partition`;
  if (!fs.existsSync(folder)) {
    const advice = "Nothing is to be done: the next start makes it from the log.";
    findings.push({ severity: "note", where, problem: "there is none", advice });
    return undefined;
  }
  const answer = probePartition(folder, shard);
  if (answer.ok) return answer.found;
  const advice = "The log holds everything: heddle index rebuild makes the partition anew.";
  findings.push({ severity: "fault", where, problem: answer.problem.replace(` ${advice}`, ""), advice });
  return undefined;
}

function probePartition(folder: string, shard: number): ProbeAnswer {
  const own = fileURLToPath(import.meta.url);
  const script = path.join(path.dirname(own), `partition-probe${path.extname(own)}`);
  const done = spawnSync(process.execPath, [script, folder, String(shard)], { encoding: "utf8" });
  if (done.signal !== null) return { ok: false, problem: `reading it kills the process (${done.signal})` };
  try {
    return JSON.parse(done.stdout) as ProbeAnswer;
  } catch {
    const said = done.error?.message ?? (done.stderr.trim().split("\n").at(-1) || `exit code ${done.status}`);
    return { ok: false, problem: `it could not be read: ${said}` };
  }
}

function withoutAdvice(message: string, advice: string): string {
  return message.endsWith(advice) ? message.slice(0, -advice.length).trimEnd().replace(/\.$/, "") : message;
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
