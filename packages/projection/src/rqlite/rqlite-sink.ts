// RqliteSink: projections in rqlite. One write is one request, one transaction, one entry of rqlite's log.
//
// Q7. A write names the revision that it follows in the same transaction (`heddle_guard`), so that one whose reply was lost, one
//     that comes late, and one of somebody else can not be applied again: the whole transaction fails. So do a late `create` and
//     a late `swap`, which name the generations that they saw.
// Q9. A write also names the content of the one that it follows. rqlite carries out what it told an error for (a full disk) when
//     it is started again and reads its log anew. Then those that came later and did not know of it all fail there, whatever was
//     told about them: the rows are older, and are caught up, but never a mixture
//     (docs/decisions/0016-a-write-names-the-content-before-it.md).
// Q8. What is read is what was written before (`level=linearizable`), also when another node has become the leader since.
// Not promised: speed on a cluster across data centres. A write waits for a quorum.
import { createHash } from "node:crypto";
import type { RowKey } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import type {
  GenerationRef,
  GenerationState,
  Held,
  SagaOutcome,
  Sink,
  SinkBatch,
  SinkQuery,
  SinkRows,
  SourcedRow,
  StoredProjection,
} from "../sink.ts";
import { catalogTables, createRowsTable, quoted, rowsTable, showRows } from "../sql-tables.ts";
import { inParts, JsonRows } from "./json-rows.ts";
import { RqliteClient, type RqliteClientOptions, type RqliteStatement } from "./rqlite-client.ts";
import { queryRqlite } from "./rqlite-query.ts";
import { scrubRqlite } from "./rqlite-scrub.ts";

export type RqliteSinkOptions = RqliteClientOptions;

/** An insert into it fails, and the transaction around it: see `guard`. */
const guardTable = "CREATE TABLE IF NOT EXISTS heddle_guard (holds INTEGER NOT NULL CHECK (holds)) STRICT";
const guardFailed = /CHECK constraint failed: holds/;
const catalogLost = /no such table: (main\.)?heddle_(generations|projections|held|outcomes|guard)/;

/** Rows that one page of `rows` has. */
const pageRowsMax = 1_000;

/** Who wrote a revision, and what. */
interface Mark {
  readonly revision: number;
  readonly writer: string;
}

interface StoredGeneration {
  readonly state: GenerationState;
  readonly writer: string;
  readonly isLive: boolean;
  readonly table: string;
}

export class RqliteSink implements Sink {
  readonly name: string;
  readonly kind = "rqlite";
  readonly #client: RqliteClient;
  readonly #rows = new Map<string, JsonRows>();
  /** What stands in a generation, by its table, as far as is known. */
  readonly #marks = new Map<string, Mark>();
  /** What was sent and has not been answered. */
  readonly #underWay = new Set<Promise<unknown>>();
  #opening: Promise<void> | undefined;

  constructor(options: RqliteSinkOptions) {
    this.#client = new RqliteClient(options);
    this.name = this.#client.name;
  }

  open(): Promise<void> {
    this.#opening ??= this.#transaction([...catalogTables, guardTable].map((sql) => [sql])).catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async list(): Promise<readonly string[]> {
    const sql = "SELECT projection FROM heddle_projections UNION SELECT projection FROM heddle_generations";
    const [found] = await this.#read([[sql]]);
    return found!.map(([name]) => name as string);
  }

  async describe(projection: string): Promise<StoredProjection | undefined> {
    const [settings, rows] = await this.#read([
      ["SELECT settings FROM heddle_projections WHERE projection=?", projection],
      [selectGenerations, projection],
    ]);
    if (settings!.length === 0 && rows!.length === 0) return undefined;
    const generations = rows!.map(generationOf);
    for (const { state, writer } of generations) {
      this.#marks.set(rowsTable(projection, state.generation), { revision: state.revision, writer });
    }
    return {
      projection,
      live: generations.find(({ isLive }) => isLive)?.state,
      next: generations.find(({ isLive }) => !isLive)?.state,
      settings: String(settings![0]?.[0] ?? ""),
    };
  }

  async create(ref: GenerationRef, state: GenerationState): Promise<void> {
    const { projection, generation } = ref;
    const stored = await this.#generations(projection.name);
    const begunAnew = stored.find((one) => one.state.generation === generation);
    const isLive = begunAnew === undefined ? stored.every((one) => !one.isLive) : begunAnew.isLive;
    const replaced = stored.filter((one) => one === begunAnew || !one.isLive);
    await this.#transaction([
      guard(
        "(SELECT count(*) FROM heddle_generations WHERE projection=?)=? AND NOT EXISTS (SELECT 1 FROM heddle_generations WHERE projection=? AND generation>=? AND (generation<>? OR revision<>?))",
        projection.name,
        stored.length,
        projection.name,
        generation,
        begunAnew?.state.generation ?? -1,
        begunAnew?.state.revision ?? -1,
      ),
      ...(await this.#drop(projection.name, replaced)),
      ...createRowsTable(ref).map((sql): RqliteStatement => [sql]),
      [
        "INSERT INTO heddle_generations (projection,generation,live,table_name,version,shape,revision,writer,positions,facts) VALUES (?,?,?,?,?,?,?,'',?,?)",
        ...[projection.name, generation, isLive ? 1 : 0, projection.table, state.version],
        ...[state.shape, state.revision, JSON.stringify(state.positions), state.facts],
      ],
      ...(isLive ? showRows(ref).map((sql): RqliteStatement => [sql]) : []),
    ]);
  }

  async swap(ref: GenerationRef): Promise<void> {
    const { projection, generation } = ref;
    const stored = await this.#generations(projection.name);
    if (stored.every((one) => one.state.generation !== generation)) {
      throw this.#client.refused(`it has no generation ${generation} of ${projection.name}`);
    }
    const others = stored.filter((one) => one.state.generation !== generation);
    await this.#transaction([
      guard(
        "EXISTS (SELECT 1 FROM heddle_generations WHERE projection=? AND generation=?)",
        projection.name,
        generation,
      ),
      ...(await this.#drop(projection.name, others)),
      [
        "UPDATE heddle_generations SET live=1, table_name=? WHERE projection=? AND generation=?",
        projection.table,
        projection.name,
        generation,
      ],
      ...showRows(ref).map((sql): RqliteStatement => [sql]),
    ]);
  }

  async dropNext(projection: string): Promise<void> {
    const next = (await this.#generations(projection)).filter(({ isLive }) => !isLive);
    if (next.length > 0) await this.#transaction(await this.#drop(projection, next));
  }

  async forget(projection: string): Promise<void> {
    const all = await this.#generations(projection);
    await this.#transaction([
      ...(await this.#drop(projection, all)),
      ["DELETE FROM heddle_projections WHERE projection=?", projection],
    ]);
  }

  async settings(projection: string, settings: string): Promise<void> {
    const sql =
      "INSERT INTO heddle_projections (projection,settings) VALUES (?,?) ON CONFLICT DO UPDATE SET settings=excluded.settings";
    await this.#transaction([[sql, projection, settings]]);
  }

  async load(ref: GenerationRef, keys: readonly RowKey[]): Promise<readonly (SourcedRow | undefined)[]> {
    if (keys.length === 0) return [];
    const rows = this.#rowsOf(ref);
    return rows.loaded(keys.length, await this.#read(rows.load(keys)));
  }

  async held({ projection, generation }: GenerationRef): Promise<readonly Held[]> {
    const sql = "SELECT record FROM heddle_held WHERE projection=? AND generation=?";
    const [found] = await this.#read([[sql, projection.name, generation]]);
    return found!.map(([record]) => JSON.parse(record as string) as Held);
  }

  async outcomes({ projection, generation }: GenerationRef): Promise<readonly SagaOutcome[]> {
    const sql = "SELECT outcome FROM heddle_outcomes WHERE projection=? AND generation=?";
    const [found] = await this.#read([[sql, projection.name, generation]]);
    return found!.map(([outcome]) => JSON.parse(outcome as string) as SagaOutcome);
  }

  async write(ref: GenerationRef, batch: SinkBatch): Promise<void> {
    const { name } = ref.projection;
    const rows = this.#rowsOf(ref);
    const changes = [
      ...rows.erase(batch.erased),
      ...rows.write(batch.rows),
      ...records("held", "entity", "record", name, ref.generation, batch.held),
      ...records("outcomes", "saga", "outcome", name, ref.generation, batch.outcomes),
    ];
    const positions = JSON.stringify(batch.positions);
    const writer = `${batch.writer}/${digestOf([[positions, batch.facts], ...changes])}`;
    const before = await this.#markBefore(ref, batch.revision);
    try {
      await this.#transaction([
        guard(
          "EXISTS (SELECT 1 FROM heddle_generations WHERE projection=? AND generation=? AND revision=? AND writer=?)",
          ...[name, ref.generation, batch.revision - 1, before],
        ),
        [
          "UPDATE heddle_generations SET revision=?, writer=?, positions=?, facts=? WHERE projection=? AND generation=?",
          ...[batch.revision, writer, positions, batch.facts, name, ref.generation],
        ],
        ...changes,
      ]);
    } catch (error) {
      if (!isGuard(error)) throw error;
      await this.#checkWritten(ref, batch, writer);
    }
    this.#marks.set(rowsTable(name, ref.generation), { revision: batch.revision, writer });
  }

  async *rows(ref: GenerationRef): AsyncGenerator<readonly SourcedRow[]> {
    const rows = this.#rowsOf(ref);
    for (let after: SourcedRow | undefined, more = true; more; ) {
      const [found] = await this.#read([rows.page(after, pageRowsMax)]);
      const page = found!.map((values) => rows.rowOf(values));
      if (page.length > 0) yield page;
      after = page.at(-1);
      more = page.length === pageRowsMax;
    }
  }

  async scrub(): Promise<void> {
    await this.open();
    await this.#track(scrubRqlite(this.#client));
  }

  query(query: SinkQuery): Promise<SinkRows> {
    return this.#track(queryRqlite(this.#client, query));
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  #rowsOf(ref: GenerationRef): JsonRows {
    const table = rowsTable(ref.projection.name, ref.generation);
    const known = this.#rows.get(table);
    if (known !== undefined && known.projection === ref.projection) return known;
    const made = new JsonRows(ref);
    this.#rows.set(table, made);
    return made;
  }

  async #generations(projection: string): Promise<readonly StoredGeneration[]> {
    const [rows] = await this.#read([[selectGenerations, projection]]);
    return rows!.map(generationOf);
  }

  /** Statements that drop generations, and the views that show them: another projection may have been given the name since. */
  async #drop(projection: string, generations: readonly StoredGeneration[]): Promise<RqliteStatement[]> {
    if (generations.length === 0) return [];
    const [views] = await this.#read([["SELECT name, sql FROM sqlite_schema WHERE type='view'"]]);
    return generations.flatMap(({ state: { generation } }): RqliteStatement[] => {
      const table = rowsTable(projection, generation);
      this.#rows.delete(table);
      this.#marks.delete(table);
      const shown = views!.filter(([, sql]) => String(sql).endsWith(`FROM ${quoted(table)}`));
      return [
        ...shown.map(([view]): RqliteStatement => [`DROP VIEW IF EXISTS ${quoted(String(view))}`]),
        [`DROP TABLE IF EXISTS ${quoted(table)}`],
        ...["heddle_held", "heddle_outcomes", "heddle_generations"].map(
          (of): RqliteStatement => [`DELETE FROM ${of} WHERE projection=? AND generation=?`, projection, generation],
        ),
      ];
    });
  }

  /** Who wrote the revision before one. Where it is another that stands there, the write will fail whatever this says. */
  async #markBefore({ projection, generation }: GenerationRef, revision: number): Promise<string> {
    const known = this.#marks.get(rowsTable(projection.name, generation));
    if (known?.revision === revision - 1) return known.writer;
    const stored = await this.#generations(projection.name);
    return stored.find(({ state }) => state.generation === generation)?.writer ?? "";
  }

  // Its reply was lost, or somebody else writes (S2).
  async #checkWritten({ projection, generation }: GenerationRef, batch: SinkBatch, writer: string): Promise<void> {
    const sql = "SELECT revision, writer FROM heddle_generations WHERE projection=? AND generation=?";
    const [found] = await this.#read([[sql, projection.name, generation]]);
    const [revision, wrote] = found![0] ?? [];
    if (revision === batch.revision) {
      if (wrote === writer) return;
      // Whoever asks again begins from what is there now.
      if (String(wrote).startsWith(`${batch.writer}/`)) throw this.#client.unavailable("an earlier write came late");
    }
    throw this.#client.refused(
      `the projection ${projection.name} is at revision ${revision ?? "none"} there and at ${batch.revision - 1} here: somebody else writes to it, or older data was put back`,
    );
  }

  #transaction(statements: readonly RqliteStatement[]): Promise<void> {
    return this.#noticing(async () => {
      await this.#client.transaction(statements);
    });
  }

  #read(statements: readonly RqliteStatement[]): Promise<readonly (readonly (readonly unknown[])[])[]> {
    return this.#noticing(async () => {
      await this.open();
      return this.#client.read(statements);
    });
  }

  /** A database without the tables that were in it was put back from a backup, or emptied: it is opened anew. */
  #noticing<T>(work: () => Promise<T>): Promise<T> {
    return this.#track(
      work().catch((error: unknown) => {
        if (!(error instanceof HeddleError) || !catalogLost.test(error.message)) throw error;
        this.#opening = undefined;
        throw this.#client.unavailable("the tables that were made in it are gone, and are made again", error);
      }),
    );
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#underWay.add(work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(work);
    }
  }
}

const selectGenerations =
  "SELECT generation,live,table_name,version,shape,revision,positions,facts,writer FROM heddle_generations WHERE projection=?";

function generationOf(values: readonly unknown[]): StoredGeneration {
  const [generation, live, table, version, shape, revision, positions, facts, writer] = values;
  return {
    writer: String(writer),
    isLive: live === 1,
    table: String(table),
    state: {
      generation: Number(generation),
      version: Number(version),
      shape: String(shape),
      revision: Number(revision),
      positions: JSON.parse(String(positions)) as number[],
      facts: String(facts),
    },
  };
}

function digestOf(statements: readonly RqliteStatement[]): string {
  const hash = createHash("sha256");
  for (const statement of statements) for (const part of statement) hash.update(`${part}\0`);
  return hash.digest("base64url");
}

/** The transaction fails unless the condition holds. */
function guard(condition: string, ...params: readonly (string | number)[]): RqliteStatement {
  return [`INSERT INTO heddle_guard (holds) SELECT 0 WHERE NOT (${condition})`, ...params];
}

function isGuard(error: unknown): boolean {
  return error instanceof HeddleError && guardFailed.test(error.message);
}

function records(
  table: "held" | "outcomes",
  name: "entity" | "saga",
  content: "record" | "outcome",
  projection: string,
  generation: number,
  changes: ReadonlyMap<string, object | null>,
): RqliteStatement[] {
  const gone: string[] = [];
  const there: string[] = [];
  for (const [id, record] of changes) {
    if (record === null) gone.push(JSON.stringify(id));
    else there.push(JSON.stringify([id, JSON.stringify(record)]));
  }
  const of = (statements: RqliteStatement[]): RqliteStatement[] =>
    statements.map(([sql, items]) => [sql, projection, generation, items!]);
  return [
    ...of(
      inParts(
        `DELETE FROM heddle_${table} WHERE projection=? AND generation=? AND ${name} IN (SELECT value FROM json_each(?))`,
        gone,
      ),
    ),
    ...of(
      inParts(
        `INSERT OR REPLACE INTO heddle_${table} (projection,generation,${name},${content}) SELECT ?,?,value->>0,value->>1 FROM json_each(?)`,
        there,
      ),
    ),
  ];
}
