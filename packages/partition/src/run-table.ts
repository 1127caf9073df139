// Run table: reads an entity's runs of append ids from LMDB. What they hold: id-runs.ts.
//
// Errors of all methods: whatever LMDB says, and those of values that are not what was written.
import { findInPart, type IdRun, partOf, partsOf, readDirectory } from "./id-runs.ts";
import { KeyBuilder } from "./keys.ts";
import type { Table } from "./table.ts";
import { getValue } from "./table.ts";
import type { VarintReader } from "./varint.ts";

const noRuns: readonly IdRun[] = [];

export class RunTable {
  readonly #table: Table;
  readonly #keys = new KeyBuilder();

  constructor(table: Table) {
    this.#table = table;
  }

  /** An entity's runs, oldest first. */
  directory(entity: string): readonly IdRun[] {
    return getValue(this.#table, this.#keys.entity(entity), readDirectory) ?? noRuns;
  }

  /** The entries of a part; undefined when it has none. */
  part(entity: string, run: IdRun, part: number): Uint8Array | undefined {
    return getValue(this.#table, this.#keys.idPart(entity, run.number, part), copyOf);
  }

  /** Parts of a run that have entries, in the order of their hashes. */
  *parts(entity: string, run: IdRun): Generator<Uint8Array, undefined, undefined> {
    for (let part = 0; part < partsOf(run); part++) {
      const entries = this.part(entity, run, part);
      if (entries !== undefined) yield entries;
    }
    return undefined;
  }

  /** Log position of an id; `hash` is the first of its key's in the table of single ids. */
  find(entity: string, hash: number, id: string): number | undefined {
    const runs = this.directory(entity);
    // The newest first: what is asked for again is most often young.
    for (let i = runs.length - 1; i >= 0; i--) {
      const entries = this.part(entity, runs[i]!, partOf(hash, runs[i]!.bits));
      const position = entries === undefined ? undefined : findInPart(entries, hash, id);
      if (position !== undefined) return position;
    }
    return undefined;
  }
}

function copyOf(value: VarintReader): Uint8Array {
  return value.rest();
}
