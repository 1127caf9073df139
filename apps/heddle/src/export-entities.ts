// ExportEntities: many entities as exports one after the other, in the order in which they are listed.
//
// Short histories are fetched side by side and held whole, so that a million small entities do not take a million times a
// round trip; a long one is fetched and given out when its turn comes. Memory is bounded by both.
import type { Heddle, ListedEntity } from "@heddle/client";
import { isHeddleError } from "@heddle/kernel";

/** Exports on their way at once, and how long a history is held whole. */
const ahead = 32;
const heldEventsMax = 1_000;

/** One entity's part of the whole. */
export interface Section {
  readonly entity: string;
  /** Lines, each with its line end. Errors: `ERASED` when the entity is erased while they are read. */
  readonly lines: AsyncIterable<string> | Iterable<string>;
}

/** An entity that was erased since it was listed is left out, where that is known in time. */
export async function* sectionsOf(
  db: Heddle,
  entities: AsyncIterable<ListedEntity> | Iterable<ListedEntity>,
): AsyncGenerator<Section, void, undefined> {
  const waiting: Promise<Section | undefined>[] = [];
  try {
    for await (const listed of entities) {
      const section = sectionOf(db, listed);
      // Its error is met when its turn comes, or never, when an earlier one ends it all.
      section.catch(() => {});
      waiting.push(section);
      if (waiting.length < ahead) continue;
      const next = await waiting.shift()!;
      if (next !== undefined) yield next;
    }
    while (waiting.length > 0) {
      const next = await waiting.shift()!;
      if (next !== undefined) yield next;
    }
  } finally {
    await Promise.allSettled(waiting);
  }
}

async function sectionOf(db: Heddle, { entity, seq }: ListedEntity): Promise<Section | undefined> {
  const lines = db.entity(entity).export();
  if (seq > heldEventsMax) return { entity, lines };
  try {
    const held: string[] = [];
    for await (const line of lines) held.push(line);
    return { entity, lines: held };
  } catch (error) {
    if (isHeddleError(error, "ERASED")) return undefined;
    throw error;
  }
}
