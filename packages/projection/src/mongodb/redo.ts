// Redo: what makes a write whole in a store without transactions (S1, S2).
//
// A write is first written down: its parts (documents to put and to remove), and then a mark, which is the moment from which it
// counts. After that it is carried out, the state moves on, and mark and parts go. A process that dies before the mark has done
// nothing; one that dies behind it has left a mark whose write is carried out again by whoever describes the projection next.
// Carrying out twice changes nothing.
//
// What is written down is bytes to the server, not documents: it has nothing to take apart, to check, and to put together again,
// which FerretDB takes a third of its time for when rows are new.
//
// The mark's id is made of projection, generation and revision: of two writers only one can make it.
// Not promised: that a reader of several documents finds them of one write.
import { Binary, BSON } from "mongodb";
import type { GenerationRef, SinkBatch } from "../sink.ts";
import { documentOf } from "./documents.ts";
import { isDuplicate, type MongodbStore, type Stored } from "./mongodb-store.ts";

export const redoCollection = "heddle_redo";
export const heldCollection = "heddle_held";
export const outcomesCollection = "heddle_outcomes";

/** A document may have 16 MiB; one row may have half of that. */
const partBytesMax = 6 << 20;
/** Entities whose rows are deleted by one command. */
const sourcesMax = 500;

export interface Part {
  readonly puts: readonly Stored[];
  readonly removes: readonly string[];
}

/** A part as it is stored: BSON of a {@link Part}, as one value. */
interface StoredPart extends Stored {
  readonly of: string;
  readonly bytes: Binary;
}

interface MarkFields {
  /** `projection/generation`: what `heddle_held` and `heddle_outcomes` say too. */
  readonly of: string;
  readonly revision: number;
  readonly writer: string;
  readonly positions: readonly number[];
  readonly facts: string;
  /** Whether a row's source is its key. */
  readonly ownKey: boolean;
  readonly erased: readonly string[];
  readonly held: readonly Stored[];
  readonly noLongerHeld: readonly string[];
  readonly outcomes: readonly Stored[];
  readonly noLongerKnown: readonly string[];
  /** The ids of its parts. One that is small enough is in the mark itself, and this list empty. */
  readonly parts: readonly string[];
  readonly bytes: Binary | null;
}

export type Mark = MarkFields & Stored;

/** A generation, as ids and fields name it. */
export function nameOf(projection: string, generation: number): string {
  return `${projection}/${generation}`;
}

/** What a batch comes to, ready to be written down. */
export class Redo {
  readonly mark: Mark;
  /** What the mark and its parts say, as this process has it. */
  readonly parts: readonly Part[];
  readonly #stored: readonly StoredPart[];

  /** `attempt` tells writes of one process apart, so that parts of one are never those of another's mark. */
  constructor({ projection, generation }: GenerationRef, batch: SinkBatch, attempt: number) {
    const of = nameOf(projection.name, generation);
    const _id = `${of}/${batch.revision}`;
    const parts = [...partsOf(projection, batch)];
    this.parts = parts;
    const isWhole = parts.length <= 1;
    this.#stored = isWhole
      ? []
      : parts.map((part, i) => ({ _id: `${_id}/${batch.writer}/${attempt}/${i}`, of, bytes: bytesOf(part) }));
    const record = (kind: string, id: string, value: object): Stored => ({
      _id: JSON.stringify([of, id]),
      of,
      [kind]: JSON.stringify(value),
    });
    const of2 = <T extends object>(kind: string, changes: ReadonlyMap<string, T | null>) => ({
      put: [...changes].flatMap(([id, value]) => (value === null ? [] : [record(kind, id, value)])),
      remove: [...changes].flatMap(([id, value]) => (value === null ? [JSON.stringify([of, id])] : [])),
    });
    const held = of2("record", batch.held);
    const outcomes = of2("outcome", batch.outcomes);
    this.mark = {
      _id,
      of,
      revision: batch.revision,
      writer: batch.writer,
      positions: batch.positions,
      facts: batch.facts,
      ownKey: projection.ownKey,
      erased: batch.erased,
      held: held.put,
      noLongerHeld: held.remove,
      outcomes: outcomes.put,
      noLongerKnown: outcomes.remove,
      parts: this.#stored.map((part) => part._id),
      bytes: isWhole && parts.length > 0 ? bytesOf(parts[0]!) : null,
    };
  }

  /** Writes parts and mark. False: this revision has a mark already, of whomever. */
  async record(store: MongodbStore): Promise<boolean> {
    for (const part of this.#stored) await store.put(redoCollection, [part], () => true);
    try {
      await store.collection(redoCollection).insertOne(this.mark);
      return true;
    } catch (thrown) {
      if (isDuplicate(thrown)) return false;
      throw thrown;
    }
  }

  /** In the place of a mark that an earlier attempt of the same writer made, after it had been given up. */
  async recordAgain(store: MongodbStore): Promise<void> {
    await store.put(redoCollection, [this.mark], () => false);
  }
}

export interface CarryOutOptions {
  readonly isGuarded: boolean;
  /** Tells documents that are most likely not there yet. */
  readonly isNew: (id: string) => boolean;
}

/** Carries a write out that is marked. */
export async function carryOut(
  store: MongodbStore,
  rows: string,
  mark: Mark,
  parts: readonly Part[],
  { isGuarded, isNew }: CarryOutOptions,
): Promise<void> {
  const below = isGuarded ? mark.revision : undefined;
  await erase(store, rows, mark);
  for (const part of parts) {
    await store.remove(rows, part.removes);
    await store.put(rows, part.puts, isNew, below);
  }
  await store.remove(heldCollection, mark.noLongerHeld);
  await store.put(heldCollection, mark.held, () => false);
  await store.remove(outcomesCollection, mark.noLongerKnown);
  await store.put(outcomesCollection, mark.outcomes, () => false);
}

/** What a mark that is read stands for. Undefined when some of it is gone: somebody else cleared it away. */
export async function readParts(store: MongodbStore, { bytes, parts }: Mark): Promise<Part[] | undefined> {
  const stored = bytes === null ? ((await store.find(redoCollection, parts)) as StoredPart[]) : [{ bytes }];
  if (bytes === null && stored.length < parts.length) return undefined;
  // Values as they are in BSON: a double that is whole would come back as an int.
  return stored.map((part) => BSON.deserialize(part.bytes.value(), { promoteValues: false }) as Part);
}

function bytesOf(part: Part): Binary {
  return new Binary(BSON.serialize(part));
}

export async function forgetRedo(store: MongodbStore, mark: Mark): Promise<void> {
  await store.remove(redoCollection, [mark._id, ...mark.parts]);
}

/** Everything that is written down of a generation: what came to nothing has rows in it that may have to be gone (P6). */
export async function forgetRedosOf(store: MongodbStore, projection: string, generation: number): Promise<void> {
  await store.collection(redoCollection).deleteMany({ of: nameOf(projection, generation) });
}

async function erase(store: MongodbStore, rows: string, { ownKey, erased }: Mark): Promise<void> {
  if (ownKey) return store.remove(rows, erased);
  for (let from = 0; from < erased.length; from += sourcesMax) {
    const sources = erased.slice(from, from + sourcesMax);
    await store.collection(rows).deleteMany({ "heddle_row.source": { $in: sources } });
  }
}

function* partsOf(projection: GenerationRef["projection"], batch: SinkBatch): Generator<Part> {
  let puts: Stored[] = [];
  let removes: string[] = [];
  let bytes = 0;
  for (const write of batch.rows) {
    const document = write.row === null ? undefined : documentOf(projection, write, batch.revision);
    const size = document === undefined ? write.id.length * 3 : BSON.calculateObjectSize(document);
    if (bytes > 0 && bytes + size > partBytesMax) {
      yield { puts, removes };
      puts = [];
      removes = [];
      bytes = 0;
    }
    if (document === undefined) removes.push(write.id);
    else puts.push(document);
    bytes += size;
  }
  if (bytes > 0) yield { puts, removes };
}
