// GroupStore: what is kept of consumer groups for good: which events they are for, who has which slots, and how far each slot
// is in each shard's feed.
//
// K1. What one `write` was given is durable when it returns, all of it, or nothing when it throws.
// K2. Names of groups and members, and places: no entity and no payload stands here (P6).
import type { StatementSync } from "node:sqlite";
import { HeddleError } from "@heddle/kernel";
import { type FeedPosition, feedBeginning, type GroupFilter, groupSlots } from "@heddle/protocol/internal";
import type { ReaderState } from "../reader-state.ts";

export interface StoredGroup {
  readonly name: string;
  readonly filter: GroupFilter;
  readonly madeAt: number;
  /** By slot, the member's name; empty for none. */
  readonly owners: readonly string[];
  /** By shard and slot. */
  readonly places: readonly (readonly FeedPosition[])[];
}

/** Of one group, what has changed. */
export type GroupChange =
  | { readonly kind: "made"; readonly group: StoredGroup }
  | { readonly kind: "owners"; readonly name: string; readonly owners: readonly string[] }
  | { readonly kind: "places"; readonly name: string; readonly shard: number; readonly places: readonly FeedPosition[] }
  | { readonly kind: "forgotten"; readonly name: string };

export interface GroupStore {
  load(): StoredGroup[];
  /** Errors: `DATA_FOLDER_UNWRITABLE`. */
  write(changes: readonly GroupChange[]): void;
}

const steps = [
  `CREATE TABLE groups (
     name TEXT PRIMARY KEY, kind TEXT NOT NULL, aggregate TEXT NOT NULL, types TEXT NOT NULL, made_at INTEGER NOT NULL,
     owners TEXT NOT NULL
   ) STRICT;
   CREATE TABLE group_places (
     name TEXT NOT NULL, shard INTEGER NOT NULL, places BLOB NOT NULL, PRIMARY KEY (name, shard)
   ) STRICT, WITHOUT ROWID;`,
];

/** For each slot: f64 record, u32 skip, little-endian. */
const placeBytes = 12;

/** In the tables of the node's readers. */
export class ReaderGroupStore implements GroupStore {
  readonly #state: ReaderState;
  readonly #shardCount: number;
  readonly #statements: Record<"make" | "own" | "place" | "forgetPlaces" | "forget", StatementSync>;

  constructor(state: ReaderState, shardCount: number) {
    this.#state = state;
    this.#shardCount = shardCount;
    state.tables("groups", steps);
    const { database } = state;
    this.#statements = {
      make: database.prepare("INSERT INTO groups VALUES (?, ?, ?, ?, ?, ?)"),
      own: database.prepare("UPDATE groups SET owners = ? WHERE name = ?"),
      place: database.prepare("INSERT OR REPLACE INTO group_places VALUES (?, ?, ?)"),
      forgetPlaces: database.prepare("DELETE FROM group_places WHERE name = ?"),
      forget: database.prepare("DELETE FROM groups WHERE name = ?"),
    };
  }

  load(): StoredGroup[] {
    const { database } = this.#state;
    const placesOf = database.prepare("SELECT shard, places FROM group_places WHERE name = ?");
    return database
      .prepare("SELECT name, kind, aggregate, types, made_at, owners FROM groups ORDER BY made_at, name")
      .all()
      .map((row) => {
        const name = String(row["name"]);
        const places = Array.from({ length: this.#shardCount }, () =>
          new Array<FeedPosition>(groupSlots).fill(feedBeginning),
        );
        for (const of of placesOf.all(name)) places[Number(of["shard"])] = readPlaces(of["places"] as Uint8Array);
        const types = JSON.parse(String(row["types"])) as string[];
        return {
          name,
          filter: { kind: String(row["kind"]), aggregate: String(row["aggregate"]), types },
          madeAt: Number(row["made_at"]),
          owners: JSON.parse(String(row["owners"])) as string[],
          places,
        };
      });
  }

  write(changes: readonly GroupChange[]): void {
    try {
      this.#state.transaction(() => {
        for (const change of changes) this.#apply(change);
      });
    } catch (cause) {
      const message = `the positions of consumer groups: ${(cause as Error).message}`;
      throw new HeddleError("DATA_FOLDER_UNWRITABLE", { folder: "readers", message }, { cause });
    }
  }

  #apply(change: GroupChange): void {
    const { make, own, place, forgetPlaces, forget } = this.#statements;
    switch (change.kind) {
      case "made": {
        const { name, filter, madeAt, owners, places } = change.group;
        const { kind, aggregate, types } = filter;
        make.run(name, kind, aggregate, JSON.stringify(types), madeAt, JSON.stringify(owners));
        for (const [shard, of] of places.entries()) place.run(name, shard, writePlaces(of));
        return;
      }
      case "owners":
        own.run(JSON.stringify(change.owners), change.name);
        return;
      case "places":
        place.run(change.name, change.shard, writePlaces(change.places));
        return;
      case "forgotten":
        forgetPlaces.run(change.name);
        forget.run(change.name);
    }
  }
}

function writePlaces(places: readonly FeedPosition[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(groupSlots * placeBytes));
  for (const [slot, { record, skip }] of places.entries()) {
    view.setFloat64(slot * placeBytes, record, true);
    view.setUint32(slot * placeBytes + 8, skip, true);
  }
  return new Uint8Array(view.buffer);
}

function readPlaces(bytes: Uint8Array): FeedPosition[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: groupSlots }, (_, slot) => {
    return { record: view.getFloat64(slot * placeBytes, true), skip: view.getUint32(slot * placeBytes + 8, true) };
  });
}
