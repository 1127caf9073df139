// docs/explanation/log-format.md is held against the code: the log of its worked example is written here, and every
// byte of the listing must be the byte in the file.
import fs from "node:fs";
import { newAppendView, readAppendBody, TextCache, writeAppendBody, writeU16 } from "@heddle/protocol/internal";
import { SimulatedDisk } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { crc32 } from "./checksum.ts";
import { EventLog } from "./event-log.ts";
import { LogReader } from "./log-reader.ts";

const folder = "/data/shard-3";
const file = `${folder}/0000000000000000.log`;

/** The bytes of the page's listing: lines such as `0040  48 52 45 43   magic`, whose offsets must follow one another. */
function listedBytes(): Uint8Array {
  const page = fs.readFileSync(new URL("../../../docs/explanation/log-format.md", import.meta.url), "utf8");
  const bytes: number[] = [];
  for (const [line, offset, hex] of page.matchAll(
    /^([0-9a-f]{4}) {2}((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: {2,}\S.*)?$/gm,
  )) {
    expect(Number.parseInt(offset!, 16), line).toBe(bytes.length);
    bytes.push(...Buffer.from(hex!.replaceAll(" ", ""), "hex"));
  }
  return Uint8Array.from(bytes);
}

describe("docs/explanation/log-format.md", () => {
  it("lists exactly the bytes that its example writes", async () => {
    const disk = new SimulatedDisk();
    const log = EventLog.open({
      disk,
      folder,
      shard: 3,
      clock: { now: () => 1_700_000_000_000, monotonic: () => 0 },
      random: { safeInteger: () => 0x00c0ffee },
      durability: "fsync",
      knownEnd: 0,
      replayFrom: 0,
      onEntry: () => {},
    });
    const body = new Uint8Array(200);
    const events = [{ type: "Credited", payload: { amount: 5000 } }];
    const length = writeAppendBody({ entity: "account/alice", aggregate: "Account", events }, () => ({
      bytes: body,
      at: 0,
    }));
    const view = newAppendView();
    readAppendBody(body, 0, length, new TextCache(), view);
    const fingerprint = crc32(body, 0, length);
    writeU16(body, view.versionOffsets[0]!, 1);
    const { bytes, at } = log.reserve(length);
    bytes.set(body.subarray(0, length), at);
    const position = log.add(
      {
        flags: 0,
        firstSeq: 1,
        time: 1_700_000_000_123,
        fingerprint,
        session: 77,
        call: 5,
        eventCount: 1,
        payloadsOffset: view.payloadsFrom,
      },
      length,
    );
    log.flush();
    await new Promise<void>((resolve) => {
      log.onDurable = () => resolve();
    });
    log.close();
    expect([position, log.durableEnd]).toEqual([88, 192]);
    const hex = (from: Uint8Array) => Buffer.from(from).toString("hex").replace(/.{32}/g, "$&\n");
    expect(hex(listedBytes())).toBe(hex(disk.readFile(file)));
  });

  it("lists a log that a reader understands", () => {
    const disk = new SimulatedDisk();
    disk.makeFolder(folder);
    disk.writeFile(file, listedBytes());
    const reader = new LogReader(disk, folder);
    const seen: unknown[] = [];
    const result = reader.scan(0, (entry) => {
      const view = newAppendView();
      readAppendBody(entry.bytes, entry.bodyFrom, entry.bodyTo, new TextCache(), view);
      seen.push([entry.position, entry.firstSeq, entry.time, view.entity, view.aggregate, view.types]);
    });
    expect(seen).toEqual([[88, 1, 1_700_000_000_123, "account/alice", "Account", ["Credited"]]]);
    expect(result).toMatchObject({ end: 192, tail: undefined, records: 1 });
  });
});
