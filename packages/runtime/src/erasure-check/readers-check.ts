// ReadersCheck: what is left of an erased entity with those who read the log and keep files beside it: the projections in SQLite,
// and the list of what is still to be erased in NATS.
//
// Not promised: anything about servers. Their files are not here; that they were waited for is what the receipt says.
import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { isHeddleError } from "@heddle/kernel";
import { readFacts, type SnapshotGeneration, SqliteSnapshot, sourceColumn } from "@heddle/projection/internal";
import type { ErasureReceipt } from "@heddle/protocol";
import { projectionsFileOf, readersFileOf } from "../data-folder.ts";
import type { ErasureCheck, LeftoverList } from "./checks.ts";

export interface ReadersCheckOptions {
  readonly data: string;
  readonly receipt: ErasureReceipt;
  /** The entity's log goes on behind the tombstone: rows are those of the life that began anew. */
  readonly hasNewLife: boolean;
  readonly leftovers: LeftoverList;
}

/** Gives the checks that were made: those for which there is a file. */
export function checkReaders(options: ReadersCheckOptions): ErasureCheck[] {
  const made: ErasureCheck[] = [];
  if (fs.existsSync(projectionsFileOf(options.data))) {
    made.push("projections/passed", "projections/rows");
    checkProjections(options);
  }
  if (fs.existsSync(readersFileOf(options.data))) {
    made.push("nats/done");
    checkNats(options);
  }
  return made;
}

function checkProjections({ data, receipt, hasNewLife, leftovers }: ReadersCheckOptions): void {
  const file = projectionsFileOf(data);
  let snapshot: SqliteSnapshot | undefined;
  try {
    snapshot = new SqliteSnapshot(file);
    for (const generation of snapshot.generations()) {
      checkPassed(file, snapshot, generation, receipt, leftovers);
      checkHeld(file, snapshot, generation, receipt, leftovers);
      if (!hasNewLife) checkRows(file, snapshot, generation, receipt, leftovers);
    }
  } catch (error) {
    if (!isHeddleError(error, "SINK_REFUSED")) throw error;
    leftovers.add("projections/rows", file, error.facts.message, "a file with the tables of projections");
  } finally {
    snapshot?.close();
  }
}

// What is being built anew reads a log that is clean. A position that moved without changing rows may not be written yet.
function checkPassed(
  file: string,
  snapshot: SqliteSnapshot,
  { projection, live, state, table }: SnapshotGeneration,
  { shard, position, entity }: ErasureReceipt,
  leftovers: LeftoverList,
): void {
  if (!live) return;
  const at = state.positions[shard] ?? 0;
  const { shared, kinds, tainted } = readFacts(state.facts);
  const mayBeInShared = shared && kinds.includes(entity.slice(0, entity.indexOf("/")));
  const isTainted = (tainted[shard] ?? Number.POSITIVE_INFINITY) <= position;
  if (isTainted || (at <= position && mayBeInShared)) {
    const found = `${projection} has rows of several entities that are still to be made anew`;
    leftovers.add("projections/passed", file, found, `rows made beyond position ${position} of shard ${shard}`);
  } else if (at <= position && rowsOf(snapshot, table, entity) > 0) {
    const found = `${projection} is at position ${at}, and has rows of the entity`;
    leftovers.add("projections/passed", file, found, `beyond position ${position} of shard ${shard}`);
  }
}

function checkHeld(
  file: string,
  snapshot: SqliteSnapshot,
  { projection, state }: SnapshotGeneration,
  { entity, position }: ErasureReceipt,
  leftovers: LeftoverList,
): void {
  for (const held of snapshot.held(projection, state.generation)) {
    if (held.entity !== entity || held.position > position) continue;
    const found = `${projection} has a note of its event ${held.seq}`;
    leftovers.add("projections/rows", file, found, "none of before the tombstone");
  }
}

function checkRows(
  file: string,
  snapshot: SqliteSnapshot,
  { projection, table }: SnapshotGeneration,
  { entity }: ErasureReceipt,
  leftovers: LeftoverList,
): void {
  const rows = rowsOf(snapshot, table, entity);
  if (rows > 0) leftovers.add("projections/rows", file, `${rows} rows of ${projection} come from it`, "none");
}

// Where no column says what a row comes from, its key does.
function rowsOf(snapshot: SqliteSnapshot, table: string, entity: string): number {
  const columns = snapshot.columnsOf(table);
  const source = columns.find(({ name }) => name === sourceColumn) ?? columns.find(({ isKey }) => isKey);
  return source === undefined ? 0 : snapshot.countWhere(table, source.name, entity);
}

function checkNats({ data, receipt, leftovers }: ReadersCheckOptions): void {
  const file = readersFileOf(data);
  const database = new DatabaseSync(file, { readOnly: true, timeout: 5_000 });
  try {
    const { shard, entity, position } = receipt;
    const has = database.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'nats_erasures'").get();
    if (has?.["n"] === 0) return;
    const waiting = database
      .prepare("SELECT count(*) AS n FROM nats_erasures WHERE shard = ? AND entity = ? AND tombstone <= ?")
      .get(shard, entity, position);
    if (waiting?.["n"] === 0) return;
    const wanted = "nothing; a node with --nats goes on with it by itself";
    leftovers.add("nats/done", file, "what NATS has of it is still to be erased", wanted);
  } finally {
    database.close();
  }
}
