// Goal: K1 and K2: what groups are, who has which slots and how far they are comes back as it was written, from a file.
// Tested elsewhere: the file itself (reader-state.int.spec.ts); what is written when (group-coordinator.unit.spec.ts).
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { feedBeginning, groupSlots } from "@heddle/protocol/internal";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ReaderState } from "../reader-state.ts";
import { ReaderGroupStore, type StoredGroup } from "./group-store.ts";

let folder: string;
let file: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-groups-"));
  file = path.join(folder, "readers", "readers.sqlite");
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

function within<T>(use: (store: ReaderGroupStore, state: ReaderState) => T): T {
  const state = ReaderState.open(file);
  try {
    return use(new ReaderGroupStore(state, 2), state);
  } finally {
    state.close();
  }
}

function group(name: string, madeAt = 1): StoredGroup {
  const slots = Array.from({ length: groupSlots }, (_, slot) => slot);
  return {
    name,
    filter: { kind: "account", aggregate: "", types: ["Credited", "Größe"] },
    madeAt,
    owners: slots.map((slot) => (slot % 2 === 0 ? "m-1" : "")),
    places: [
      slots.map((slot) => ({ record: 2 ** 47 + slot, skip: 2 ** 32 - 1 - slot })),
      slots.map(() => feedBeginning),
    ],
  };
}

describe("group store", () => {
  it("K1: gives back what was written, in the order in which groups were made", () => {
    within((store) => store.write([{ kind: "made", group: group("later", 2) }]));
    within((store) => store.write([{ kind: "made", group: group("billing", 1) }]));
    expect(within((store) => store.load())).toEqual([group("billing", 1), group("later", 2)]);
  });

  it("K1: places and owners are written over, of one group and shard alone", () => {
    const moved = Array.from({ length: groupSlots }, () => ({ record: 8_192, skip: 3 }));
    const owners = new Array<string>(groupSlots).fill("m-2");
    within((store) => {
      store.write([
        { kind: "made", group: group("a") },
        { kind: "made", group: group("b") },
      ]);
      store.write([
        { kind: "places", name: "a", shard: 1, places: moved },
        { kind: "owners", name: "b", owners },
      ]);
    });
    const [a, b] = within((store) => store.load());
    expect(a).toEqual({ ...group("a"), places: [group("a").places[0], moved] });
    expect(b).toEqual({ ...group("b"), owners });
  });

  it("K1: writes all of it or nothing", () => {
    within((store) => {
      store.write([{ kind: "made", group: group("a") }]);
      const twice = [
        { kind: "made", group: group("b") },
        { kind: "made", group: group("a") },
      ] as const;
      expect(() => store.write(twice)).toThrowError(expect.objectContaining({ code: "DATA_FOLDER_UNWRITABLE" }));
      expect(store.load().map(({ name }) => name)).toEqual(["a"]);
    });
  });

  it("forgets a group with its places", () => {
    within((store, state) => {
      store.write([{ kind: "made", group: group("a") }]);
      store.write([{ kind: "forgotten", name: "a" }]);
      expect(store.load()).toEqual([]);
      expect(state.database.prepare("SELECT count(*) AS n FROM group_places").get()).toEqual({ n: 0 });
    });
  });
});
