// P6, one entry in memory: what is left of it, and what is gone. In files: erase.unit.spec.ts.
import { createHash } from "node:crypto";
import { SimulatedDisk } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { crc32 } from "./checksum.ts";
import { addAppend, erasedBytes, marker } from "./erasable-log.spec-support.ts";
import {
  appendIdDigest,
  appendIdDigestBytes,
  entityOfEntry,
  eraseEntry,
  idDigestOfErased,
  keptBytesOfErased,
} from "./erased-entry.ts";
import { type EntryView, entryChecksumHolds, entryFlags, newEntryView, readEntry } from "./layout.ts";
import { openLog } from "./log-under-test.spec-support.ts";

const { log } = openLog(new SimulatedDisk());

/** An append's bytes between others, as they lie in a record. */
function framed(n: number, options: Parameters<typeof addAppend>[2] = {}) {
  const appended = addAppend(log, n, options);
  const bytes = Buffer.alloc(appended.bytes.length + 20, 0xee);
  appended.bytes.copy(bytes, 10);
  return { appended, bytes, entry: () => viewOf(bytes, 10) };
}

function viewOf(bytes: Uint8Array, at: number): EntryView {
  const view = newEntryView();
  readEntry(bytes, at, 64, view);
  return view;
}

describe("P6: an entry that is erased", () => {
  it("keeps place, length, sequence, time, session, call, count and entity; all else is zero", () => {
    const { appended, bytes, entry } = framed(1);
    const before = { ...entry() };
    expect(eraseEntry(bytes, 10)).toBe(true);
    expect(entry()).toEqual({ ...before, flags: before.flags | entryFlags.erased, fingerprint: 0, payloadsOffset: 0 });
    expect(entityOfEntry(entry())).toBe(appended.entity);
    const kept = keptBytesOfErased(bytes, 10);
    expect(kept).toBe(48 + 2 + appended.entity.length + 1);
    expect(bytes.subarray(10 + kept, bytes.length - 10).every((byte) => byte === 0)).toBe(true);
    expect(bytes.includes(marker)).toBe(false);
  });

  it("is byte for byte what is documented, with an id and without, and has a checksum that holds", () => {
    for (let n = 0; n < 12; n++) {
      const { appended, bytes, entry } = framed(n, { payloadBytes: 15 + 50 * n });
      eraseEntry(bytes, 10);
      expect(bytes.subarray(10, bytes.length - 10)).toEqual(erasedBytes(appended));
      expect(entryChecksumHolds(entry())).toBe(true);
    }
  });

  it("leaves the bytes around it alone", () => {
    const { bytes } = framed(3);
    eraseEntry(bytes, 10);
    expect([...bytes.subarray(0, 10), ...bytes.subarray(-10)]).toEqual(new Array(20).fill(0xee));
  });

  it("P4: keeps a digest of its append id, and none where it had none", () => {
    const { appended, bytes, entry } = framed(3);
    eraseEntry(bytes, 10);
    const sha = createHash("sha256").update(`${appended.entity}\0${appended.id}`).digest().subarray(0, 8);
    expect(Buffer.from(idDigestOfErased(entry())!)).toEqual(sha);
    expect(appendIdDigest(appended.entity, appended.id)).toEqual(sha);
    expect(keptBytesOfErased(bytes, 10)).toBe(48 + 2 + appended.entity.length + 1 + appendIdDigestBytes);
    expect(bytes.includes(appended.id)).toBe(false);
    const without = framed(4);
    eraseEntry(without.bytes, 10);
    expect(idDigestOfErased(without.entry())).toBeUndefined();
  });

  it("has room for the digest also when its payload is as short as can be", () => {
    const { appended, bytes } = framed(3, { payloadBytes: 0, id: "i" });
    eraseEntry(bytes, 10);
    expect(bytes.subarray(10, bytes.length - 10)).toEqual(erasedBytes(appended));
  });

  it("digests tell entity and id apart where they meet", () => {
    expect(appendIdDigest("a/b", "cd")).not.toEqual(appendIdDigest("a/bc", "d"));
  });

  it("is passed over the second time, and so is a tombstone", () => {
    const { bytes } = framed(3);
    eraseEntry(bytes, 10);
    const once = Buffer.from(bytes);
    expect(eraseEntry(bytes, 10)).toBe(false);
    expect(bytes).toEqual(once);
    const tombstone = framed(3, { flags: entryFlags.tombstone });
    const before = Buffer.from(tombstone.bytes);
    expect(eraseEntry(tombstone.bytes, 10)).toBe(false);
    expect(tombstone.bytes).toEqual(before);
  });

  it("is still known as the beginning of a restored state", () => {
    const { bytes, entry } = framed(3, { flags: entryFlags.restored });
    expect(eraseEntry(bytes, 10)).toBe(true);
    expect(entry().flags).toBe(entryFlags.restored | entryFlags.erased);
  });

  it("P5: is refused, unchanged, when its body is no append", () => {
    const { bytes } = framed(3);
    bytes.fill(0xff, 60, 80);
    bytes.writeUInt32LE(crc32(bytes, 14, bytes.length - 10), 10);
    const before = Buffer.from(bytes);
    expect(() => eraseEntry(bytes, 10)).toThrow(expect.objectContaining({ code: "BAD_FRAME" }));
    expect(bytes).toEqual(before);
  });

  it("tells its entity also when it is not erased", () => {
    const { appended, entry } = framed(5);
    expect(entityOfEntry(entry())).toBe(appended.entity);
  });
});
