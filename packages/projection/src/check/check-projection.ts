// CheckProjection: does what a sink has equal the logs? The rows are folded once more (refold.ts) up to the position that the
// sink names, and compared, each column of each row. Audits, tests and the benchmark's referee ask this.
//
// V1. Nothing that is wrong is left out: a row too many, a row too few, another value, a position where no record ends.
// V2. What the log cannot tell any more is counted as such, and is no difference.
// Not promised: an answer for rows of several entities whose functions depend on the order between entities, which nobody has.
import { isDeepStrictEqual } from "node:util";
import type { CompiledContext, CompiledProjection } from "@heddle/domain/internal";
import type { LogReader } from "@heddle/event-log/internal";
import { readFacts } from "../facts.ts";
import type { GenerationRef, GenerationState, Held, Sink, SourcedRow } from "../sink.ts";
import { type ExpectedRow, refold } from "./refold.ts";

/** What a sink has of a projection: its live generation. */
export interface StoredRows {
  readonly state: GenerationState;
  readonly held: readonly Held[];
  readonly rows: AsyncIterable<readonly SourcedRow[]> | Iterable<readonly SourcedRow[]>;
}

export interface ProjectionCheckOptions {
  readonly domain: CompiledContext;
  readonly projection: CompiledProjection;
  /** By shard. */
  readonly logs: readonly LogReader[];
  readonly stored: StoredRows;
  /** Differences that are told whole; all are counted. Default 100. */
  readonly toldMax?: number | undefined;
  readonly moved?: ((bytes: number) => void) | undefined;
}

export interface ProjectionDifference {
  readonly kind: "row" | "position";
  /** The entity that the row comes from; empty for several. */
  readonly entity: string;
  /** Tells which row, or which shard. */
  readonly where: string;
  readonly found: unknown;
  readonly wanted: unknown;
}

export interface ProjectionCheck {
  readonly projection: string;
  /** Why the rows cannot be compared now; undefined when they were. */
  readonly incomparable: string | undefined;
  readonly positions: readonly number[];
  /** Rows that were compared, and events that made them. */
  readonly rows: number;
  readonly events: number;
  /** Rows that the log cannot tell about. */
  readonly unsure: number;
  readonly held: number;
  readonly differences: readonly ProjectionDifference[];
  readonly differenceTotal: number;
}

/** What a sink has; undefined when it has no rows of it. As of the last write, if nobody writes meanwhile. */
export async function storedRows(sink: Sink, projection: CompiledProjection): Promise<StoredRows | undefined> {
  const stored = await sink.describe(projection.name);
  if (stored?.live === undefined) return undefined;
  const ref: GenerationRef = { projection, generation: stored.live.generation };
  return { state: stored.live, held: await sink.held(ref), rows: sink.rows(ref) };
}

/** Errors: `LOG_DAMAGED`; those of the rows' source. */
export async function checkProjection(options: ProjectionCheckOptions): Promise<ProjectionCheck> {
  const { projection, stored, logs, moved, domain } = options;
  const { state, held } = stored;
  const list = new Differences(options.toldMax ?? 100);
  const result = (incomparable: string | undefined, rows = 0, events = 0, unsure = 0): ProjectionCheck => ({
    projection: projection.name,
    incomparable,
    positions: state.positions,
    rows,
    events,
    unsure,
    held: held.length,
    differences: list.told,
    differenceTotal: list.total,
  });
  const reason = whyNot(projection, state);
  if (reason !== undefined) return result(reason);
  const expected = refold({ domain, projection, logs, positions: state.positions, held, moved });
  for (const [shard, isEnd] of expected.atRecordEnd.entries()) {
    if (isEnd) continue;
    const found = `position ${state.positions[shard] ?? 0}`;
    list.add({
      kind: "position",
      entity: "",
      where: `shard ${shard}`,
      found,
      wanted: "the end of a record of the log",
    });
  }
  const compare = new Comparison(projection, expected.rows, expected.unsure, list);
  for await (const page of stored.rows) for (const row of page) compare.stored(row);
  compare.finish();
  return result(undefined, compare.rows, expected.events, compare.unsure);
}

function whyNot(projection: CompiledProjection, state: GenerationState): string | undefined {
  if (state.version !== projection.version) {
    return `its rows were made by version ${state.version} of its definition, which is version ${projection.version} now`;
  }
  if (state.shape !== projection.shape) return "its rows were made by another definition of the same version";
  if (Object.keys(readFacts(state.facts).tainted).length > 0) {
    return "an entity was erased or restored that had written to rows together with others: it is being made anew";
  }
  return undefined;
}

class Differences {
  readonly told: ProjectionDifference[] = [];
  total = 0;
  readonly #toldMax: number;

  constructor(toldMax: number) {
    this.#toldMax = toldMax;
  }

  add(difference: ProjectionDifference): void {
    this.total++;
    if (this.told.length < this.#toldMax) this.told.push(difference);
  }
}

class Comparison {
  rows = 0;
  unsure = 0;
  readonly #projection: CompiledProjection;
  readonly #expected: ReadonlyMap<string, ExpectedRow>;
  readonly #unsure: ReadonlySet<string>;
  readonly #differences: Differences;
  readonly #met = new Set<string>();

  constructor(
    projection: CompiledProjection,
    expected: ReadonlyMap<string, ExpectedRow>,
    unsure: ReadonlySet<string>,
    differences: Differences,
  ) {
    this.#projection = projection;
    this.#expected = expected;
    this.#unsure = unsure;
    this.#differences = differences;
  }

  stored({ row, source }: SourcedRow): void {
    const { id } = this.#projection.keyFrom(
      Object.fromEntries(this.#projection.key.map(({ name }) => [name, row[name]])),
    );
    const isTwice = this.#met.has(id);
    this.#met.add(id);
    const expected = this.#expected.get(id);
    if (this.#cannotTell(source, expected)) return;
    this.rows++;
    const where = `the row ${id}`;
    const wanted = isTwice ? "it once" : (expected?.row ?? "no such row");
    if (typeof wanted === "string") {
      this.#differences.add({ kind: "row", entity: source, where, found: row, wanted });
      return;
    }
    for (const { name } of this.#projection.columns) {
      if (isDeepStrictEqual(row[name], wanted[name])) continue;
      const place = `${where}, column ${name}`;
      this.#differences.add({ kind: "row", entity: source, where: place, found: row[name], wanted: wanted[name] });
    }
    const { source: wantedSource, wasDeleted } = expected!;
    if (source === wantedSource || wasDeleted) return;
    const found = { source };
    this.#differences.add({ kind: "row", entity: source, where, found, wanted: { source: wantedSource } });
  }

  finish(): void {
    for (const expected of this.#expected.values()) {
      const { id, row, source } = expected;
      if (row === null || this.#met.has(id) || this.#cannotTell(source, expected)) continue;
      this.rows++;
      this.#differences.add({ kind: "row", entity: source, where: `the row ${id}`, found: "no such row", wanted: row });
    }
  }

  // A row of several entities may have something of any of them.
  #cannotTell(source: string, expected: ExpectedRow | undefined): boolean {
    const unsure = this.#unsure;
    if (unsure.size === 0) return false;
    const isUnsure = [source, expected?.source ?? source].some((one) => one === "" || unsure.has(one));
    if (isUnsure) this.unsure++;
    return isUnsure;
  }
}
