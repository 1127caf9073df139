// P5, P6 on the machine's own files: an erasure beside readers on other threads, which must never see damage, and beside
// appends. What the machine cannot be made to do is tested on the simulated disk: erase.unit.spec.ts and its neighbours.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nodeDisk } from "./disk.ts";
import { type Appended, addAppend, erasedBytes, marker, nextTurn } from "./erasable-log.spec-support.ts";
import { commit, openLog } from "./log-under-test.spec-support.ts";

let folder: string;
beforeEach(() => {
  folder = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "heddle-erase-")), "shard-3");
});
afterEach(() => fs.rmSync(path.dirname(folder), { recursive: true }));

/** Scans a log over and over until it is told to stop, then says how often, or what it met. */
const readerSource = `
  const { parentPort, workerData } = require("node:worker_threads");
  import(workerData.logReader).then(async ({ LogReader }) => {
    const { nodeDisk } = await import(workerData.disk);
    let stop = false;
    let scans = 0;
    parentPort.on("message", () => { stop = true; });
    parentPort.postMessage("ready");
    while (!stop) {
      const log = new LogReader(nodeDisk, workerData.folder);
      const positions = [];
      log.scan(0, (entry) => positions.push(entry.position));
      for (const position of positions) log.read(position);
      log.close();
      if (positions.length < workerData.entries) throw new Error("only " + positions.length + " entries");
      scans++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    parentPort.postMessage(scans);
  });
`;

describe("P6: real files", () => {
  it("are erased while two other threads read all of them, and nobody ever sees damage", async () => {
    const opened = openLog(nodeDisk, { folder, segmentBytes: 60_000, eraseJournalBytes: 4000 });
    const { log } = opened;
    const appended: Appended[] = [];
    for (let group = 0; group < 30; group++) {
      for (let i = 0; i < 40; i++) appended.push(addAppend(log, appended.length));
      await commit(opened);
    }
    const workerData = {
      folder,
      entries: appended.length,
      logReader: new URL("./log-reader.ts", import.meta.url).href,
      disk: new URL("./disk.ts", import.meta.url).href,
    };
    const readers = [1, 2].map(() => new Worker(readerSource, { eval: true, workerData }));
    const messages = readers.map((reader) => inbox(reader));
    await Promise.all(messages.map((next) => next()));
    for (let round = 0; round < 6; round++) {
      const chosen = appended.filter((_, n) => n % 7 === round);
      await log.erase(
        chosen.map(({ position }) => position),
        nextTurn,
      );
    }
    const scans = messages.map((next) => next());
    for (const reader of readers) reader.postMessage("stop");
    for (const count of await Promise.all(scans)) expect(count).toBeGreaterThan(0);
    await Promise.all(readers.map((reader) => reader.terminate()));
    log.close();

    const text = fs.readdirSync(folder).map((name) => fs.readFileSync(path.join(folder, name), "latin1"));
    const left = new Set(text.join("").match(new RegExp(`${marker}\\d+-`, "g")));
    expect(left).toEqual(new Set(appended.flatMap((_, n) => (n % 7 === 6 ? [`${marker}${n}-`] : []))));
    const again = openLog(nodeDisk, { folder });
    for (const [n, each] of appended.entries()) {
      const { bytes, bodyTo } = again.log.read(each.position);
      expect(Buffer.from(bytes.subarray(0, bodyTo))).toEqual(n % 7 === 6 ? each.bytes : erasedBytes(each));
    }
    again.log.close();
  });
});

/** The messages of a thread, one after the other; a thread that fails rejects whoever waits. */
function inbox(worker: Worker): () => Promise<unknown> {
  const arrived: unknown[] = [];
  let failure: unknown;
  let wake = () => {};
  worker.on("message", (message) => {
    arrived.push(message);
    wake();
  });
  worker.on("error", (error) => {
    failure = error;
    wake();
  });
  return async () => {
    while (arrived.length === 0 && failure === undefined) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (failure !== undefined) throw failure;
    return arrived.shift();
  };
}
