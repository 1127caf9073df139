// Goal: a key that is erased is gone from the file, an erased life never gets one again, and nobody waits for ever.
// Method: real files, several connections to one of them, and a look at every byte.
import fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { HeddleError } from "@heddle/kernel";
import { describe, expect, it } from "vitest";
import { openKeysOf } from "./bound-keys.ts";
import { keyNames } from "./key-names.ts";
import { KeyStore } from "./key-store.ts";
import { firstLife, type Life } from "./life.ts";
import { filesOf, scratchFolder } from "./source.spec-support.ts";

const life = (time: number, seq: number): Life => ({ time, seq });
const first = (entity: string) => ({ entity, life: firstLife });

function openStore(file = path.join(scratchFolder(), "keys", "keys.sqlite")): KeyStore {
  return KeyStore.open(file, { create: true });
}

function problemOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof HeddleError && error.code === "KEYS_UNAVAILABLE")
      return (error.facts as { problem: string }).problem;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("P6: key store", () => {
  it("gives an entity the same key for each of its lives, and another one to everybody else", () => {
    const store = openStore();
    const wanted = [first("a/1"), first("a/2"), { entity: "a/1", life: life(5, 3) }];
    const keys = store.keysFor(wanted).map((key) => Buffer.from(key as Uint8Array).toString("hex"));
    expect(new Set(keys).size).toBe(3);
    expect(keys.every((key) => key.length === 64)).toBe(true);
    expect(store.keysFor([...wanted].reverse()).map((key) => Buffer.from(key as Uint8Array).toString("hex"))).toEqual(
      [...keys].reverse(),
    );
    const again = KeyStore.open(store.file, { create: false });
    expect(again.find(keyNames(wanted)).map((key) => Buffer.from(key as Uint8Array).toString("hex"))).toEqual(keys);
    expect(again.id).toBe(store.id);
    again.close();
    store.close();
  });

  it("erases every life before a tombstone, leaves the life that it begins, and says so again when asked again", () => {
    const store = openStore();
    store.keysFor([
      first("a/1"),
      { entity: "a/1", life: life(5, 3) },
      { entity: "a/1", life: life(9, 7) },
      first("a/2"),
    ]);
    expect(store.keysBefore("a/1", life(9, 7))).toBe(2);
    expect(store.erase([{ entity: "a/1", tombstone: life(9, 7) }])).toBe(2);
    expect(store.keysBefore("a/1", life(9, 7))).toBe(0);
    expect(store.erase([{ entity: "a/1", tombstone: life(9, 7) }])).toBe(0);
    expect(store.keysFor([first("a/1"), { entity: "a/1", life: life(5, 3) }])).toEqual(["erased", "erased"]);
    expect(store.has({ entity: "a/1", life: life(9, 7) })).toBe(true);
    expect(store.has(first("a/2"))).toBe(true);
    expect(store.count()).toEqual({ keys: 2, erased: 1 });
    expect(store.erasedBefore("a/1")).toEqual(life(9, 7));
    store.close();
  });

  it("never makes a key for a life that was erased before it had one, and keeps the latest mark", () => {
    const store = openStore();
    store.erase([{ entity: "a/1", tombstone: life(9, 7) }]);
    store.erase([{ entity: "a/1", tombstone: life(5, 3) }]);
    expect(store.keysFor([first("a/1"), { entity: "a/1", life: life(5, 3) }])).toEqual(["erased", "erased"]);
    expect(store.erasedBefore("a/1")).toEqual(life(9, 7));
    expect(store.find(keyNames([first("a/1"), first("a/2")]))).toEqual(["erased", "missing"]);
    store.close();
  });

  it("orders lives of the same millisecond by their sequence", () => {
    const store = openStore();
    store.keysFor([
      { entity: "a/1", life: life(9, 7) },
      { entity: "a/1", life: life(9, 300) },
    ]);
    store.erase([{ entity: "a/1", tombstone: life(9, 300) }]);
    expect(store.has({ entity: "a/1", life: life(9, 7) })).toBe(false);
    expect(store.has({ entity: "a/1", life: life(9, 300) })).toBe(true);
    store.close();
  });

  it("holds no byte of an erased key in any file, however its pages were split, filled and refilled", () => {
    const store = openStore();
    const erased: Buffer[] = [];
    const entities = (round: number) => Array.from({ length: 30_000 }, (_, i) => first(`account/${round}-${i}`));
    for (let round = 0; round < 3; round++) {
      const wanted = entities(round);
      const keys = store.keysFor(wanted);
      const chosen = wanted.map((_, i) => i).filter((i) => i % 23 === round);
      erased.push(...chosen.map((i) => Buffer.from(keys[i] as Uint8Array)));
      store.erase(chosen.map((i) => ({ entity: wanted[i]!.entity, tombstone: life(1, 1) })));
    }
    store.keysFor(entities(3));
    store.close();
    const starts = new Set(erased.map((key) => key.toString("latin1", 0, 8)));
    const files = filesOf(path.dirname(store.file));
    expect([...files.keys()]).toEqual(["keys.sqlite"]);
    const text = files.get("keys.sqlite")!.toString("latin1");
    let left = 0;
    for (let at = 0; at + 8 <= text.length; at++) if (starts.has(text.slice(at, at + 8))) left++;
    expect(erased.length).toBeGreaterThan(3_900);
    expect(left).toBe(0);
  });

  it("holds no name of an entity", () => {
    const store = openStore();
    store.keysFor([first("account/planted-name")]);
    store.erase([{ entity: "account/planted-name", tombstone: life(1, 1) }]);
    store.close();
    expect(fs.readFileSync(store.file).includes("planted-name")).toBe(false);
  });

  it("is one store for several processes: what one erases, the other does not make anew", () => {
    const backup = openStore();
    const node = KeyStore.open(backup.file, { create: false });
    backup.keysFor([first("a/1")]);
    expect(node.erase([{ entity: "a/1", tombstone: life(1, 1) }])).toBe(1);
    expect(backup.keysFor([first("a/1"), first("a/2")])[0]).toBe("erased");
    expect(node.erasures()).toBe(1);
    expect(backup.erasures()).toBe(1);
    node.close();
    backup.close();
  });

  it("is one for a data folder: another one is refused, as is a new one where the folder had one", () => {
    const data = scratchFolder();
    const [own, other] = ["own.sqlite", "other.sqlite"].map((name) => path.join(scratchFolder(), name));
    const store = openKeysOf(data, own!);
    expect(problemOf(() => openKeysOf(data, other!))).toBe("there is no such file");
    openStore(other).close();
    expect(problemOf(() => openKeysOf(data, other!))).toContain(`says that this data folder's keys are in ${store.id}`);
    const again = openKeysOf(data, own!);
    expect(again.id).toBe(store.id);
    again.close();
    store.close();
    expect(fs.readdirSync(data)).toEqual(["keystore.id"]);
  });

  it("may be read by its owner only", () => {
    const store = openStore();
    store.close();
    expect(fs.statSync(store.file).mode & 0o777).toBe(0o600);
  });
});

describe("P7: key store", () => {
  it("is refused when it is not there, no store, or of another version, and when it is another one", () => {
    const folder = scratchFolder();
    const file = path.join(folder, "keys.sqlite");
    expect(problemOf(() => KeyStore.open(file, { create: false }))).toBe("there is no such file");
    fs.writeFileSync(file, "no database, but long enough to look like one".repeat(100));
    expect(problemOf(() => KeyStore.open(file, { create: true }))).toContain("not a database");
    fs.writeFileSync(file, "");
    expect(problemOf(() => KeyStore.open(file, { create: false }))).toBe("it is no key store");
    const store = KeyStore.open(file, { create: true });
    expect(problemOf(() => store.checkIs("another"))).toBe(
      `it is the key store ${store.id}, the backup was made with another`,
    );
    store.close();
    const later = new DatabaseSync(file);
    later.exec("UPDATE facts SET value = 9 WHERE name = 'format'");
    later.close();
    expect(problemOf(() => KeyStore.open(file, { create: true }))).toBe("format version 9, this program knows 1");
  });
});
