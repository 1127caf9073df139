// PackedHeads: heads that hold all their entities' extents, in the form in which the partition stores them, one behind the other.
//
// For entities that come by tens of thousands, are put once, and are seldom looked at before: what stands here is handed to LMDB as it
// stands. As objects they would live just long enough to be moved to the engine's old generation, one by one.
//
// R1. A row stays as it is until all rows are cleared: LMDB reads it on another thread. Whoever clears them knows that it has done so.
import { invariant } from "@heddle/kernel/internal";
import { checkInlineExtents } from "./extents.ts";
import { KeyBuilder } from "./keys.ts";
import type { EntityHead } from "./records.ts";
import { arenaBytes, openValue, ValueWriter } from "./value-writer.ts";
import { readHead, writeHead } from "./values.ts";

const rowsMin = 1_024;
/** What a row takes beside its bytes: its entity's id, and its places in the lists. */
const rowBytes = 100;

export class PackedHeads {
  readonly #keys = new KeyBuilder();
  readonly #values = new ValueWriter(() => this.#nextArena());
  /** Room that was used before comes first. */
  readonly #arenas: Uint8Array[] = [];
  #arenasUsed = 0;
  /** By row; longer than there are rows. */
  #entities: string[] = new Array(rowsMin).fill("");
  /** By row: where it begins and ends, in bytes over all arenas. */
  #places = new Float64Array(2 * rowsMin);
  #size = 0;

  /** Rows so far. */
  get size(): number {
    return this.#size;
  }

  /** Memory that the rows take, as estimated. */
  get bytes(): number {
    return this.#size === 0 ? 0 : this.#places[2 * this.#size - 1]! + rowBytes * this.#size;
  }

  /** Adds a head without an alarm, with all extents that there are of the entity (quads), and returns its row. */
  add(entity: string, head: EntityHead, extents: ArrayLike<number>): number {
    if (head.alarm !== undefined) invariant(false, "partition/packed-head-has-no-alarm", { entity });
    checkInlineExtents(entity, head, extents);
    const row = this.#size;
    if (row === this.#entities.length) this.#grow();
    const values = this.#values;
    const bytes = writeHead(values, this.#keys.entity(entity), head, extents).length;
    const from = (this.#arenasUsed - 1) * arenaBytes + values.start;
    this.#places[2 * row] = from;
    this.#places[2 * row + 1] = from + bytes;
    this.#entities[row] = entity;
    this.#size++;
    return row;
  }

  entityAt(row: number): string {
    return this.#entities[row]!;
  }

  headAt(row: number): EntityHead {
    return readHead(openValue(this.#keys.entity(this.entityAt(row)), this.valueAt(row)));
  }

  /** The row as the partition stores it. */
  valueAt(row: number): Uint8Array {
    const from = this.#places[2 * row]!;
    const arena = this.#arenas[Math.floor(from / arenaBytes)]!;
    return arena.subarray(from % arenaBytes, ((this.#places[2 * row + 1]! - 1) % arenaBytes) + 1);
  }

  /** Keeps room for as many that come. What a storm took beyond twice of that is given back. */
  clear(): void {
    const arenasMax = 2 * this.#arenasUsed + 1;
    if (this.#arenas.length > arenasMax) this.#arenas.length = arenasMax;
    if (this.#entities.length > 4 * (this.#size + rowsMin)) {
      this.#entities = new Array(rowsMin).fill("");
      this.#places = new Float64Array(2 * rowsMin);
    } else this.#entities.fill("", 0, this.#size);
    this.#size = 0;
    this.#arenasUsed = 0;
    this.#values.leaveArena();
  }

  #nextArena(): Uint8Array {
    const arena = this.#arenas[this.#arenasUsed] ?? new Uint8Array(arenaBytes);
    this.#arenas[this.#arenasUsed++] = arena;
    return arena;
  }

  #grow(): void {
    this.#entities = this.#entities.concat(new Array(this.#entities.length).fill(""));
    const places = new Float64Array(2 * this.#places.length);
    places.set(this.#places);
    this.#places = places;
  }
}
