// MongodbSink: projections in MongoDB, as documents that its own drivers read.
//
//   accounts                     what users read: a document for each row
//   heddle_rows_accounts_3       the rows of a generation that is being built; a swap renames it
//   heddle_projections           a document for each projection: both generations, their positions, and a swap under way
//   heddle_settings, heddle_held, heddle_outcomes, heddle_redo
//
// It asks for no transactions, which only replica sets have: a write is written down before it is carried out (redo.ts), and the
// document of its projection, which has the position, is written last.
//
// M1. A document is replaced only by a later revision (`isGuarded`), so that a command which comes late changes nothing. FerretDB
//     is not asked for it: it would go through the whole collection for each document.
// M2. A collection that Heddle did not make is neither written to nor dropped.
// M3. A collection that somebody dropped is found out by the next write, and what was known of it is forgotten.
// Not promised: that documents of one write are seen together; that a swap is seen in one step where the server can not rename a
// collection onto another (FerretDB: for a moment there is no collection, and none with a dot in its name can be swapped); sharded collections, which cannot be renamed. Shown
// with FerretDB only, not with MongoDB itself.
import type { RowKey } from "@heddle/domain/internal";
import type { HeddleError } from "@heddle/kernel";
import type { UpdateFilter } from "mongodb";
import type {
  GenerationRef,
  GenerationState,
  Held,
  SagaOutcome,
  Sink,
  SinkBatch,
  SourcedRow,
  StoredProjection,
} from "../sink.ts";
import { idOf, type RowDocument, rowOf } from "./documents.ts";
import { scrubFerret } from "./ferret-scrub.ts";
import { KnownIds } from "./known-ids.ts";
import { MongodbStore, type MongoOptions, type Stored } from "./mongodb-store.ts";
import {
  carryOut,
  forgetRedo,
  forgetRedosOf,
  heldCollection,
  type Mark,
  nameOf,
  outcomesCollection,
  type Part,
  Redo,
  readParts,
  redoCollection,
} from "./redo.ts";

export interface MongodbSinkOptions extends MongoOptions {
  /** See M1. Default: unless the server is FerretDB. */
  readonly isGuarded?: boolean | undefined;
}

const projectionsCollection = "heddle_projections";
const settingsCollection = "heddle_settings";
/** Rows that one list of `rows` has. */
const pageRowsMax = 1_000;

interface StoredGeneration extends GenerationState {
  readonly writer: string;
  readonly collection: string;
  /** False until the collection stands. */
  readonly isMade: boolean;
}

interface ProjectionFields {
  readonly live?: StoredGeneration;
  readonly next?: StoredGeneration;
  /** The collection that `next` is to become. */
  readonly swapTo?: string;
}

type ProjectionDocument = ProjectionFields & Stored;

export class MongodbSink implements Sink {
  readonly name: string;
  readonly kind = "mongodb";
  readonly #store: MongodbStore;
  readonly #options: MongodbSinkOptions;
  /** By projection: what is done to it, one after another. */
  readonly #last = new Map<string, Promise<unknown>>();
  /** By generation. */
  readonly #known = new Map<string, KnownIds>();
  #attempts = 0;

  constructor(options: MongodbSinkOptions) {
    this.#options = options;
    this.#store = new MongodbStore(options);
    this.name = this.#store.name;
  }

  async open(): Promise<void> {
    await this.#store.guarded(async () => {
      if (this.#store.isFerret) {
        // Who may not even read is told now.
        await this.#projection("");
        return;
      }
      for (const name of [heldCollection, outcomesCollection, redoCollection]) {
        await this.#store.collection(name).createIndex({ of: 1 });
      }
    });
  }

  async list(): Promise<readonly string[]> {
    return this.#store.guarded(async () => {
      const ids = new Set<string>();
      for (const name of [projectionsCollection, settingsCollection]) {
        for await (const { _id } of this.#store.collection(name).find({})) ids.add(_id);
      }
      return [...ids];
    });
  }

  describe(projection: string): Promise<StoredProjection | undefined> {
    return this.#inTurn(projection, async () => {
      await this.#finish(projection);
      const stored = await this.#projection(projection);
      const settings = await this.#store.collection(settingsCollection).findOne({ _id: projection });
      if (stored === undefined && settings === null) return undefined;
      return {
        projection,
        live: stateOf(stored?.live),
        next: stateOf(stored?.next),
        settings: String(settings?.["settings"] ?? ""),
      };
    });
  }

  create(ref: GenerationRef, state: GenerationState): Promise<void> {
    const { name } = ref.projection;
    return this.#inTurn(name, async () => {
      const stored = await this.#projection(name);
      const isLive =
        stored?.live === undefined
          ? stored?.next?.generation !== ref.generation
          : stored.live.generation === ref.generation;
      const place = isLive ? "live" : "next";
      const collection = isLive ? ref.projection.collection : rowsCollection(ref);
      const replaced = stored?.[place];
      if (replaced?.collection !== collection) await this.#refuseForeign(collection);
      const made: StoredGeneration = { ...picked(state), writer: "", collection, isMade: false };
      await this.#set(name, { [place]: made });
      if (replaced !== undefined) await this.#dropGeneration(name, replaced);
      if (isLive && stored?.next !== undefined) await this.#dropNext(name, stored.next);
      await this.#makeCollection(ref, collection);
      await this.#set(name, { [`${place}.isMade`]: true });
      this.#known.set(nameOf(name, ref.generation), new KnownIds(true));
    });
  }

  swap(ref: GenerationRef): Promise<void> {
    const { projection, generation } = ref;
    return this.#inTurn(projection.name, async () => {
      const stored = await this.#projection(projection.name);
      if (stored?.live?.generation === generation) return;
      if (stored?.next?.generation !== generation) {
        throw this.#store.refused(`it has no generation ${generation} of ${projection.name}`);
      }
      if (stored.live?.collection !== projection.collection) await this.#refuseForeign(projection.collection);
      await this.#set(projection.name, { swapTo: projection.collection });
      await this.#finishSwap(projection.name);
    });
  }

  dropNext(projection: string): Promise<void> {
    return this.#inTurn(projection, async () => {
      const next = (await this.#projection(projection))?.next;
      if (next !== undefined) await this.#dropNext(projection, next);
    });
  }

  forget(projection: string): Promise<void> {
    return this.#inTurn(projection, async () => {
      const stored = await this.#projection(projection);
      for (const one of [stored?.live, stored?.next])
        if (one !== undefined) await this.#dropGeneration(projection, one);
      await this.#store.remove(projectionsCollection, [projection]);
      await this.#store.remove(settingsCollection, [projection]);
    });
  }

  settings(projection: string, settings: string): Promise<void> {
    return this.#inTurn(projection, () =>
      this.#store.put(settingsCollection, [{ _id: projection, settings }], () => false),
    );
  }

  load(ref: GenerationRef, keys: readonly RowKey[]): Promise<readonly (SourcedRow | undefined)[]> {
    const { projection } = ref;
    return this.#store.guarded(async () => {
      const collection = await this.#collectionOf(ref);
      const ids = keys.map((key) => idOf(projection, key));
      const found = new Map<string, SourcedRow>();
      for (const document of await this.#store.find(collection, ids)) {
        found.set(document._id, rowOf(projection, document as RowDocument));
      }
      const known = this.#knownOf(ref);
      for (const id of ids) if (!found.has(id)) known.noteAbsent(id);
      return ids.map((id) => found.get(id));
    });
  }

  held(ref: GenerationRef): Promise<readonly Held[]> {
    return this.#records<Held>(heldCollection, "record", ref);
  }

  outcomes(ref: GenerationRef): Promise<readonly SagaOutcome[]> {
    return this.#records<SagaOutcome>(outcomesCollection, "outcome", ref);
  }

  write(ref: GenerationRef, batch: SinkBatch): Promise<void> {
    const { name } = ref.projection;
    return this.#inTurn(name, async () => {
      const redo = new Redo(ref, batch, this.#attempts++);
      const isRecorded = await redo.record(this.#store);
      const found = await this.#generation(ref);
      if (found !== undefined && !(await this.#store.exists(found.generation.collection))) {
        // It would be made by the first document, and have only those that change from now on.
        throw this.#store.unavailable(`the collection ${found.generation.collection} is gone, and is made again`);
      }
      const isAtOurs = found?.generation.revision === batch.revision && found.generation.writer === batch.writer;
      const isBefore = found?.generation.revision === batch.revision - 1;
      if (!isAtOurs && (!isBefore || (!isRecorded && !(await this.#isMarkedBy(redo.mark, batch.writer))))) {
        if (isRecorded) await forgetRedo(this.#store, redo.mark);
        throw this.#otherWriter(name, batch.revision, found?.generation.revision);
      }
      if (!isAtOurs) {
        // One that was given up may have been carried out by the server after all, with other events.
        if (!isRecorded) await redo.recordAgain(this.#store);
        await this.#carryOut(name, found!.place, found!.generation, redo.mark, redo.parts, this.#knownOf(ref));
      }
      await forgetRedo(this.#store, redo.mark);
    });
  }

  async *rows(ref: GenerationRef): AsyncGenerator<readonly SourcedRow[]> {
    const collection = await this.#store.guarded(() => this.#collectionOf(ref));
    const cursor = this.#store.collection(collection).find({}, { batchSize: pageRowsMax });
    try {
      for (let list: SourcedRow[] = []; ; ) {
        const document = await this.#store.guarded(() => cursor.next());
        if (document !== null) list.push(rowOf(ref.projection, document as RowDocument));
        if (list.length > 0 && (document === null || list.length === pageRowsMax)) {
          yield list;
          list = [];
        }
        if (document === null) return;
      }
    } finally {
      await cursor.close();
    }
  }

  /**
   * With FerretDB: see ferret-scrub.ts. MongoDB itself has no command that overwrites: a deleted document's bytes stay in its files
   * until it uses their room again, and in a replica set's oplog until that has gone round. What an operator can do is in
   * docs/how-to/project-into-rqlite-and-mongodb.md.
   */
  async scrub(): Promise<void> {
    await this.#store.guarded(async () => {
      if (this.#store.isFerret) await scrubFerret(this.#store);
    });
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#last.values());
    await this.#store.close();
  }

  // What a process that is no more has begun: a swap, or a write that is marked.
  async #finish(projection: string): Promise<void> {
    await this.#finishSwap(projection);
    const stored = await this.#projection(projection);
    for (const place of ["live", "next"] as const) {
      const generation = stored?.[place];
      if (generation?.isMade !== true) continue;
      if (!(await this.#store.exists(generation.collection))) {
        await this.#giveUp(projection, place, generation);
        continue;
      }
      const marks = await this.#store.find(redoCollection, [
        `${nameOf(projection, generation.generation)}/${generation.revision}`,
        `${nameOf(projection, generation.generation)}/${generation.revision + 1}`,
      ]);
      const mark = (marks as Mark[]).find(({ revision }) => revision > generation.revision);
      const parts = mark === undefined ? [] : await readParts(this.#store, mark);
      if (parts === undefined) {
        // Unless its writer is still there, has carried it out meanwhile, and cleared it away.
        const now = (await this.#projection(projection))?.[place];
        if (now?.revision === generation.revision) await this.#giveUp(projection, place, generation);
        continue;
      }
      if (mark !== undefined) await this.#carryOut(projection, place, generation, mark, parts);
      await forgetRedosOf(this.#store, projection, generation.generation);
    }
  }

  // It will be made again, from the beginning.
  async #giveUp(projection: string, place: "live" | "next", generation: StoredGeneration): Promise<void> {
    await this.#dropGeneration(projection, generation);
    await this.#set(projection, {}, [place]);
  }

  async #carryOut(
    projection: string,
    place: "live" | "next",
    generation: StoredGeneration,
    mark: Mark,
    parts: readonly Part[],
    known?: KnownIds,
  ): Promise<void> {
    const isGuarded = this.#options.isGuarded ?? !this.#store.isFerret;
    await carryOut(this.#store, generation.collection, mark, parts, {
      isGuarded,
      isNew: (id) => known?.isNew(id) ?? false,
    });
    known?.noteWritten(parts);
    // Last: whoever finds it finds all of the write. One that the server carries out late does not go back behind a later one.
    const moved = await this.#store.collection(projectionsCollection).updateOne(
      { _id: projection, [`${place}.generation`]: generation.generation, [`${place}.revision`]: mark.revision - 1 },
      {
        $set: {
          [`${place}.revision`]: mark.revision,
          [`${place}.writer`]: mark.writer,
          [`${place}.positions`]: mark.positions,
          [`${place}.facts`]: mark.facts,
        },
      },
    );
    if (moved.matchedCount === 1) return;
    const now = (await this.#projection(projection))?.[place];
    if (now?.revision !== mark.revision || now.writer !== mark.writer) {
      throw this.#otherWriter(projection, mark.revision, now?.revision);
    }
  }

  async #finishSwap(projection: string): Promise<void> {
    const stored = await this.#projection(projection);
    if (stored?.swapTo === undefined || stored.next === undefined) return;
    const { live, next, swapTo } = stored;
    const aside = `heddle_old_${projection}`;
    if (await this.#store.exists(next.collection)) await this.#store.rename(next.collection, swapTo, aside);
    await this.#store.drop(aside);
    if (live !== undefined && live.collection !== swapTo) await this.#store.drop(live.collection);
    await this.#set(projection, { live: { ...next, collection: swapTo } }, ["next", "swapTo"]);
    if (live !== undefined) await this.#dropRecords(projection, live.generation);
  }

  async #dropNext(projection: string, next: StoredGeneration): Promise<void> {
    await this.#dropGeneration(projection, next);
    await this.#set(projection, {}, ["next", "swapTo"]);
  }

  async #dropGeneration(projection: string, { generation, collection }: StoredGeneration): Promise<void> {
    await this.#store.drop(collection);
    await this.#dropRecords(projection, generation);
  }

  async #dropRecords(projection: string, generation: number): Promise<void> {
    const of = nameOf(projection, generation);
    this.#known.delete(of);
    for (const name of [heldCollection, outcomesCollection, redoCollection]) {
      await this.#store.collection(name).deleteMany({ of });
    }
  }

  async #makeCollection({ projection }: GenerationRef, collection: string): Promise<void> {
    await this.#store.make(collection);
    const indexes = projection.indexes.map((names) => Object.fromEntries(names.map((name) => [name, 1 as const])));
    if (!projection.ownKey) indexes.push({ "heddle_row.source": 1 as const });
    for (const index of indexes) await this.#store.collection(collection).createIndex(index);
  }

  async #refuseForeign(collection: string): Promise<void> {
    if ((await this.#store.exists(collection)) && (await this.#store.collection(collection).findOne({})) !== null) {
      throw this.#store.refused(`there is a collection ${collection} that Heddle did not make, with documents`);
    }
  }

  async #isMarkedBy({ _id }: Mark, writer: string): Promise<boolean> {
    const mark = await this.#store.collection(redoCollection).findOne({ _id });
    return mark?.["writer"] === writer;
  }

  #otherWriter(projection: string, revision: number, found: number | undefined): HeddleError {
    return this.#store.refused(
      `the projection ${projection} is at revision ${found ?? "none"} there and at ${revision - 1} here: somebody else writes to it, or older data was put back`,
    );
  }

  async #generation(
    ref: GenerationRef,
  ): Promise<{ readonly place: "live" | "next"; readonly generation: StoredGeneration } | undefined> {
    const stored = await this.#projection(ref.projection.name);
    for (const place of ["live", "next"] as const) {
      const generation = stored?.[place];
      if (generation?.generation === ref.generation) return { place, generation };
    }
    return undefined;
  }

  async #collectionOf(ref: GenerationRef): Promise<string> {
    const found = await this.#generation(ref);
    if (found === undefined)
      throw this.#store.refused(`it has no generation ${ref.generation} of ${ref.projection.name}`);
    return found.generation.collection;
  }

  #knownOf({ projection, generation }: GenerationRef): KnownIds {
    const name = nameOf(projection.name, generation);
    const known = this.#known.get(name) ?? new KnownIds(false);
    this.#known.set(name, known);
    return known;
  }

  #records<T>(collection: string, field: string, { projection, generation }: GenerationRef): Promise<readonly T[]> {
    return this.#store.guarded(async () => {
      const found = await this.#store
        .collection(collection)
        .find({ of: nameOf(projection.name, generation) })
        .toArray();
      return found.map((document) => JSON.parse(document[field] as string) as T);
    });
  }

  async #projection(projection: string): Promise<ProjectionDocument | undefined> {
    const found = await this.#store.collection(projectionsCollection).findOne({ _id: projection });
    return (found as ProjectionDocument | null) ?? undefined;
  }

  async #set(
    projection: string,
    fields: Readonly<Record<string, unknown>>,
    gone: readonly string[] = [],
  ): Promise<void> {
    const changes: UpdateFilter<Stored> = {};
    if (Object.keys(fields).length > 0) changes.$set = fields;
    if (gone.length > 0) changes.$unset = Object.fromEntries(gone.map((name) => [name, ""]));
    await this.#store.collection(projectionsCollection).updateOne({ _id: projection }, changes, { upsert: true });
  }

  #inTurn<T>(projection: string, work: () => Promise<T>): Promise<T> {
    const last = this.#last.get(projection) ?? Promise.resolve();
    const done = last.then(() => this.#store.guarded(work));
    this.#last.set(
      projection,
      done.catch(() => this.#known.clear()),
    );
    return done;
  }
}

function rowsCollection({ projection, generation }: GenerationRef): string {
  return `heddle_rows_${projection.name}_${generation}`;
}

function picked({ generation, version, shape, revision, positions, facts }: GenerationState): GenerationState {
  return { generation, version, shape, revision, positions, facts };
}

function stateOf(stored: StoredGeneration | undefined): GenerationState | undefined {
  return stored?.isMade === true ? picked(stored) : undefined;
}
