// AuditProjections: holds the rows that the node keeps in its SQLite file against the logs, projection by projection.
//
// Reads the file as it is at one moment, so that it may be done beside the node: rows and position move together there.
// Not promised: anything about rqlite and MongoDB, which an audit of files does not reach.
import fs from "node:fs";
import type { CompiledContext } from "@heddle/domain/internal";
import type { LogReader } from "@heddle/event-log/internal";
import { type EntityId, isHeddleError, shardOf } from "@heddle/kernel";
import { checkProjection, type ProjectionCheck, SqliteSnapshot } from "@heddle/projection/internal";
import { projectionsFileOf } from "../data-folder.ts";
import { type AuditProblem, ProblemList } from "./audit-problems.ts";
import { logBytesOf, openLogReader } from "./existing-folder.ts";
import { toSayable } from "./sayable-value.ts";

export interface AuditProjectionOptions {
  readonly data: string;
  readonly domain: CompiledContext;
  readonly shardCount: number;
  readonly problemsMax: number;
  readonly projection: string;
}

export interface ProjectionAudit {
  readonly projection: string;
  /** Undefined when nothing was compared: the notes say why. */
  readonly rows: number | undefined;
  readonly problems: readonly AuditProblem[];
  readonly problemTotal: number;
  readonly notes: readonly string[];
}

/** Whether a data folder has rows of projections. */
export function hasProjections(data: string): boolean {
  return fs.existsSync(projectionsFileOf(data));
}

/** Bytes that comparing all projections reads. */
export function projectionAuditBytes(data: string, shardCount: number, projections: number): number {
  return 2 * projections * logBytesOf(data, shardCount);
}

/** Compares one projection, on this thread. With logs that cannot be read nothing is compared: the audit of the shard says what is wrong. */
export async function auditProjection(
  options: AuditProjectionOptions,
  moved: (bytes: number) => void,
): Promise<ProjectionAudit> {
  const { data, domain, shardCount, problemsMax, projection: name } = options;
  const list = new ProblemList(0, problemsMax);
  const result = (rows: number | undefined, notes: readonly string[] = []): ProjectionAudit => {
    const problems = list.kept.map((problem) => ({ ...problem, shard: shardOfProblem(problem, shardCount) }));
    return { projection: name, rows, problems, problemTotal: list.total, notes };
  };
  const projection = domain.projections.get(name)!;
  const logs: LogReader[] = [];
  let snapshot: SqliteSnapshot | undefined;
  try {
    for (let shard = 0; shard < shardCount; shard++) logs.push(openLogReader(data, shard));
    snapshot = new SqliteSnapshot(projectionsFileOf(data));
    const stored = snapshot.stored(projection);
    if (stored === undefined) return result(undefined, [`the projection ${name} has no rows yet in SQLite`]);
    const check = await checkProjection({ domain, projection, logs, stored, toldMax: problemsMax, moved });
    for (const { kind, entity, where, found, wanted } of check.differences) {
      const place = entity === "" ? {} : { entity };
      const rule = kind === "row" ? "projection/rows" : "projection/position";
      const text = `${name}, ${where}: ${typeof found === "string" ? found : toSayable(found)}`;
      list.add(rule, { ...place, found: text, wanted: typeof wanted === "string" ? wanted : toSayable(wanted) });
    }
    list.total = check.differenceTotal;
    return result(check.incomparable === undefined ? check.rows : undefined, notesOf(check));
  } catch (thrown) {
    if (isHeddleError(thrown, "LOG_DAMAGED")) {
      return result(undefined, [`the projection ${name} was not compared: a log cannot be read`]);
    }
    if (!isHeddleError(thrown, "SINK_REFUSED")) throw thrown;
    const wanted = "a file with the tables of projections; a running node makes it anew, or the next start";
    list.add("projection/readable", { found: `${name}: ${thrown.facts.message}`, wanted });
    return result(undefined);
  } finally {
    snapshot?.close();
    for (const log of logs) log.close();
  }
}

function shardOfProblem({ entity, shard }: AuditProblem, shardCount: number): number {
  return entity === undefined || !entity.includes("/") ? shard : shardOf(entity as EntityId, shardCount);
}

function notesOf({ projection, incomparable, unsure, held }: ProjectionCheck): string[] {
  const notes: string[] = [];
  if (incomparable !== undefined) notes.push(`the projection ${projection} was not compared: ${incomparable}`);
  if (unsure > 0) {
    notes.push(`the projection ${projection}: ${unsure} rows could not be compared, because erasures are under way`);
  }
  if (held > 0) {
    const entities = held === 1 ? "1 entity is" : `${held} entities are`;
    notes.push(`the projection ${projection}: ${entities} set aside, or waiting for a saga: compared up to there`);
  }
  return notes;
}
