// ImportEntities: what exports hold, written into a node entity by entity.
//
// I1. Sequences, times, metadata and ids are as exported, and so are the states. Only an entity that was erased once before
//     it was exported cannot keep its sequences: it is taken in from 1, when the caller says so.
// I2. Importing again goes on where it ended. An entity that has anything else than a beginning of its export is refused.
// I3. An entity that fits into memory (1,000 lines and 1 MiB) is not begun before its end line was read and found right.
// I4. Memory is bounded: entities that fit are written side by side, 32 at a time; longer ones as their lines come.
// Not promised: that entities before a damaged line are not there; that entities are whole in the order of the file.
import { HeddleError } from "@heddle/kernel";
import { type CopyPort, EventCopy } from "./copy-events.ts";
import { type ExportedEvent, type ExportHeader, ExportReader } from "./export-format.ts";
import { renumbered } from "./renumbered.ts";
import { isTombstone } from "./system-events.ts";

export interface ImportOptions {
  /**
   * Payloads are not held against their schemas, for schemas that do not take what they give. Rules are asked in any case.
   * Default false.
   */
  readonly trusted?: boolean | undefined;
  /** The id to import to, when the export holds one entity. */
  readonly as?: string | undefined;
  /** Takes in entities that were erased once: their sequences then begin at 1. Default false: they are refused. */
  readonly renumber?: boolean | undefined;
  /** Told each time that an entity is whole, and now and then while a long one is written. */
  readonly onProgress?: ((progress: ImportProgress) => void) | undefined;
}

export interface ImportProgress {
  /** The entity that was written to last. */
  readonly entity: string;
  /** Entities that are whole. */
  readonly entities: number;
  /** Events read so far that are there now. */
  readonly events: number;
}

export interface ImportResult {
  /** Entities that are whole now. */
  readonly entities: number;
  /** Events that this call wrote. */
  readonly events: number;
  /** Events that were there already. */
  readonly present: number;
  /** Entities whose sequences are not those of the export, because they were erased once. */
  readonly renumbered: number;
  /** Exports of which nothing was left but that the entity was erased. */
  readonly erased: number;
}

const parallelMax = 32;
const heldEventsMax = 1_000;
const heldCharactersMax = 1 << 20;

/**
 * Errors: `EXPORT_DAMAGED`, with the line; `ENTITY_EXISTS`, `ERASED`; `INVALID_REQUEST` for an entity that was erased once
 * and no `renumber`, and for `as` with several entities; `RejectedError` when a rule of today says no; whatever the port
 * rejects with. Requests that are on their way when it fails are waited for.
 */
export async function importEntities(
  port: CopyPort,
  lines: AsyncIterable<string> | Iterable<string>,
  options: ImportOptions = {},
): Promise<ImportResult> {
  const importing = new Importing(port, options);
  try {
    for await (const line of lines) await importing.take(line);
    importing.reader.finish();
  } finally {
    await importing.settled();
  }
  return importing.result();
}

class Importing {
  readonly reader = new ExportReader();
  readonly #port: CopyPort;
  readonly #options: ImportOptions;
  readonly #running = new Map<string, Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #open: OpenEntity | undefined;
  #exports = 0;
  #entities = 0;
  #events = 0;
  #present = 0;
  #renumbered = 0;
  #erased = 0;

  constructor(port: CopyPort, options: ImportOptions) {
    this.#port = port;
    this.#options = options;
  }

  async take(line: string): Promise<void> {
    this.#throwFailure();
    const item = this.reader.read(line);
    if (item?.kind === "header") this.#begin(item.header);
    else if (item?.kind === "event") await this.#add(this.#open!, item.event, line.length);
    else if (item?.kind === "end") await this.#end(this.#open!);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#running.values());
  }

  /** Errors: the first failure of what was written side by side. */
  result(): ImportResult {
    this.#throwFailure();
    const [entities, events, present] = [this.#entities, this.#events, this.#present];
    return { entities, events, present, renumbered: this.#renumbered, erased: this.#erased };
  }

  #begin({ entity }: ExportHeader): void {
    const { as } = this.#options;
    if (as !== undefined && ++this.#exports > 1) {
      const problem = `the file holds several entities, which cannot all be imported as ${as}`;
      throw new HeddleError("INVALID_REQUEST", { path: "as", problem });
    }
    this.#open = { exported: entity, entity: as ?? entity, base: 0, held: [], characters: 0, copy: undefined };
  }

  async #add(open: OpenEntity, event: ExportedEvent, characters: number): Promise<void> {
    if (isTombstone(event)) {
      open.base = event.seq;
      return;
    }
    if (open.base > 0 && this.#options.renumber !== true) throw wantsRenumber(open);
    const moved = renumbered(event, open.base);
    if (open.copy !== undefined) {
      await this.#addTo(open.copy, open.entity, moved);
      return;
    }
    open.held.push(moved);
    open.characters += characters;
    if (open.held.length <= heldEventsMax && open.characters <= heldCharactersMax) return;
    // Nothing else is written to the entity meanwhile: a file may hold it twice.
    await this.#running.get(open.entity);
    open.copy = new EventCopy(this.#port, open.entity, this.#options.trusted === true);
    for (const held of open.held.splice(0)) await this.#addTo(open.copy, open.entity, held);
  }

  async #end(open: OpenEntity): Promise<void> {
    this.#open = undefined;
    const { base, copy, held, entity } = open;
    if (copy !== undefined) {
      await copy.finish();
      this.#count(open, copy);
      return;
    }
    if (held.length === 0) {
      if (base > 0) this.#erased++;
      return;
    }
    await this.#running.get(entity);
    while (this.#running.size >= parallelMax) await Promise.race(this.#running.values());
    this.#throwFailure();
    const done = this.#write(open).then(
      () => void this.#running.delete(entity),
      (error: unknown) => {
        this.#running.delete(entity);
        this.#failure ??= { error };
      },
    );
    this.#running.set(entity, done);
  }

  async #write(open: OpenEntity): Promise<void> {
    const copy = new EventCopy(this.#port, open.entity, this.#options.trusted === true);
    for (const event of open.held) await copy.add(event);
    await copy.finish();
    this.#count(open, copy);
  }

  async #addTo(copy: EventCopy, entity: string, event: ExportedEvent): Promise<void> {
    const before = copy.written + copy.present;
    await copy.add(event);
    const done = copy.written + copy.present;
    if (done > before) this.#tell(entity, done);
  }

  #count({ entity, base }: OpenEntity, copy: EventCopy): void {
    this.#entities++;
    this.#events += copy.written;
    this.#present += copy.present;
    if (base > 0) this.#renumbered++;
    this.#tell(entity, 0);
  }

  #tell(entity: string, more: number): void {
    const events = this.#events + this.#present + more;
    this.#options.onProgress?.({ entity, entities: this.#entities, events });
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** An entity whose end line is still to come. */
interface OpenEntity {
  readonly exported: string;
  readonly entity: string;
  /** The sequence of the tombstone that it begins with, or 0. */
  base: number;
  held: ExportedEvent[];
  characters: number;
  /** Writes as the lines come; undefined while all events are held. */
  copy: EventCopy | undefined;
}

function wantsRenumber({ exported, base }: OpenEntity): HeddleError {
  const problem =
    `${exported} was erased once, and its events begin behind sequence ${base}; ` +
    "renumber: true imports them with sequences from 1";
  return new HeddleError("INVALID_REQUEST", { path: "renumber", problem });
}
