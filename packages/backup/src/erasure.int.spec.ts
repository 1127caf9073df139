// Goal: what is erased cannot be read from any backup, made before, during or after, with any key that is left (P6).
// Method: erasures placed at each step of a run, and a look at every byte of what a restore gives.
import path from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { backUp, backUpShard } from "./back-up.ts";
import { KeyStore } from "./key-store.ts";
import { restoreBackup } from "./restore.ts";
import { filesWith, logFilesOf, Source, scratchFolder } from "./source.spec-support.ts";
import { verifyBackup } from "./verify.ts";

let folder: string;
let source: Source;
let options: { data: string; backup: string; keys: string };
let keys: KeyStore;

const secret = "secret-of-alice";

beforeEach(async () => {
  folder = scratchFolder();
  source = new Source(path.join(folder, "data"));
  options = { data: source.data, backup: path.join(folder, "backup"), keys: path.join(folder, "keys.sqlite") };
  keys = KeyStore.open(options.keys, { create: true });
  await write(secret);
});

async function write(text: string): Promise<void> {
  for (let group = 0; group < 12; group++) {
    source.add("account/alice", [{ text, group }], { id: `${text}-${group}`, metadata: { text } });
    source.add("account/bob", [{ text: "text of bob", group }]);
    await source.flush();
  }
}

async function eraseAlice(): Promise<void> {
  keys.erase([await source.erase("account/alice")]);
}

/** Restores each run, looks for a text in what comes out, and that bob is unharmed. */
async function restored(run: number, text = secret): Promise<string[]> {
  const data = path.join(folder, `restored-${run}`);
  await restoreBackup({ ...options, data, run });
  expect(filesWith(data, "text of bob").length).toBeGreaterThan(0);
  return filesWith(data, text);
}

function end(): void {
  source.close();
  keys.close();
}

describe("P6: an erased entity", () => {
  it("cannot be read from backups that were made before it was erased", async () => {
    await backUp(options);
    expect((await verifyBackup(options)).erased).toBe(0);
    await eraseAlice();
    end();
    expect(await restored(1)).toEqual([]);
    const { readable, erased, missing } = await verifyBackup(options);
    expect(erased).toBe(readable);
    expect([erased > 0, missing]).toEqual([true, 0]);
  });

  it("comes back in a new life, which later backups hold, and which is erased on its own", async () => {
    await backUp(options);
    await eraseAlice();
    await write("second life");
    await backUp(options);
    expect(await restored(2)).toEqual([]);
    expect(filesWith(path.join(folder, "restored-2"), "second life").length).toBeGreaterThan(0);
    expect(logFilesOf(path.join(folder, "restored-2"))).toEqual(logFilesOf(source.data));
    await eraseAlice();
    await backUp(options);
    end();
    expect(await restored(3, "second life")).toEqual([]);
    expect(logFilesOf(path.join(folder, "restored-3"))).toEqual(logFilesOf(source.data));
  });

  it("is left out by a run that has read its payloads before they were erased, and looks for its key after", async () => {
    const made = await backUp({
      ...options,
      // The run has its plan, the log still has the payloads; the erasure gets to the keys first.
      runTasks: async (tasks, onBytes) => {
        source.addTombstone("account/alice");
        await source.flush();
        keys.erase([{ entity: "account/alice", tombstone: source.lifeOf("account/alice") }]);
        return Promise.all(tasks.map((task) => backUpShard(task, onBytes)));
      },
    });
    expect(made.leftOut).toBeGreaterThan(0);
    end();
    expect(await restored(1)).toEqual([]);
    expect((await verifyBackup(options)).erased).toBe(0);
  });

  it("is unreadable when a run wrote its payloads before, and its key goes while the run is under way", async () => {
    const made = await backUp(options, ({ doneBytes }) => {
      if (doneBytes === 0) return;
      keys.erase([{ entity: "account/alice", tombstone: { time: source.now, seq: 13 } }]);
    });
    end();
    expect(made.leftOut).toBeGreaterThan(0);
    expect(await restored(1)).toEqual([]);
  });

  it("whose tombstone is in the backup is not given back, though its key is not erased yet", async () => {
    source.addTombstone("account/alice");
    await source.flush();
    await backUp(options);
    end();
    expect(await restored(1)).toEqual([]);
  });
});
