// The data folder: one process at a time, and only the folder that was made for this node. Every process here is real.
//
// A refused process ends with a typed error and code 1, and leaves every byte of the folder as it was. Without write
// permission: a process of root may write anywhere, so the child gives up root's rights before it opens the folder. Who
// runs the tests as somebody else is kept out by the folder's mode alone.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Heddle } from "@heddle/client";
import { logFolderOf, partitionFolderOf } from "@heddle/runtime/internal";
import type bank from "@heddle-examples/bank";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { NodeProcess } from "./node-process.ts";
import { readBytes } from "./read-store.ts";

const flightsDomain = fileURLToPath(new URL("../../apps/examples/flights/index.ts", import.meta.url));
const shards = 2;

let home: string;
let data: string;
/** A folder with something in it, made once and copied for who needs one. */
let template: string;
const started: NodeProcess[] = [];

beforeAll(async () => {
  template = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-lock-"));
  const node = await ready({ data: template, shards });
  expect(await credit(node, "first")).toBe(1);
  expect(await node.close()).toEqual({ code: 0, signal: null });
});

afterAll(() => fs.rmSync(template, { recursive: true, force: true }));

beforeEach(() => {
  home = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-lock-"));
  data = path.join(home, "data");
  // Open to be read: what keeps a process out is to be the one thing that a test closes.
  fs.chmodSync(home, 0o755);
});

afterEach(async () => {
  for (const node of started.splice(0)) {
    node.kill();
    await node.exited;
  }
  fs.rmSync(home, { recursive: true, force: true });
});

type Start = ConstructorParameters<typeof NodeProcess>[0];

function start(options: Partial<Start> = {}): NodeProcess {
  const node = new NodeProcess({ data, port: 0, threads: 1, ...options });
  started.push(node);
  return node;
}

async function ready(options: Partial<Start> = {}): Promise<NodeProcess> {
  const node = start(options);
  expect(await node.settled, node.refusal?.message).toBe("ready");
  return node;
}

async function refusal(options: Partial<Start> = {}): Promise<{ code: string; message: string }> {
  const node = start(options);
  expect(await node.settled).toBe("refused");
  expect(await node.exited).toEqual({ code: 1, signal: null });
  return node.refusal!;
}

async function credit(node: NodeProcess, id: string): Promise<number> {
  await using db = new Heddle<typeof bank>({ host: "127.0.0.1", port: node.port });
  const result = await db.entity("account/alice").append("Credited", { amount: 5 }, { aggregate: "Account", id });
  return result.ok ? result.firstSeq : -1;
}

/** A folder with something in it that no process has open. */
function makeFolder(): void {
  fs.cpSync(template, data, { recursive: true });
}

describe("data folder: one process at a time", () => {
  it("refuses a second process with DATA_FOLDER_IN_USE, and the first goes on undisturbed", async () => {
    // Without projections, whose file would go on after the reply.
    const first = await ready({ shards, sinks: [], limits: { checkpointIntervalMs: 600_000 } });
    await credit(first, "first");
    const before = readBytes(data);
    const { code, message } = await refusal();
    expect(code).toBe("DATA_FOLDER_IN_USE");
    expect(message).toContain(data);
    expect(readBytes(data)).toEqual(before);
    expect(await credit(first, "second")).toBe(2);
  });

  it("refuses a second process whatever it asks for: the folder is looked at only by who has it", async () => {
    await ready({ shards });
    expect((await refusal({ shards: shards + 1 })).code).toBe("DATA_FOLDER_IN_USE");
    expect((await refusal({ domain: flightsDomain })).code).toBe("DATA_FOLDER_IN_USE");
  });

  it("lets exactly one of several processes have a new folder", async () => {
    const rivals = Array.from({ length: 4 }, () => start({ shards }));
    const outcomes = await Promise.all(rivals.map((rival) => rival.settled));
    expect(outcomes.sort()).toEqual(["ready", "refused", "refused", "refused"]);
    const refused = rivals.flatMap((rival) => rival.refusal?.code ?? []);
    expect(refused).toEqual(["DATA_FOLDER_IN_USE", "DATA_FOLDER_IN_USE", "DATA_FOLDER_IN_USE"]);
  });

  it("P5: opens at once after kill -9 of the process that had it, with everything that was acknowledged", async () => {
    let node = await ready({ shards });
    for (let seq = 1; seq <= 5; seq++) {
      expect(await credit(node, `credit-${seq}`)).toBe(seq);
      node.kill();
      expect((await node.exited).signal).toBe("SIGKILL");
      node = await ready();
    }
    expect(await credit(node, "credit-3")).toBe(3);
    expect(await credit(node, "credit-6")).toBe(6);
  });

  it("gives the folder free when the port is taken", async () => {
    const other = await ready({ data: path.join(home, "other"), shards });
    makeFolder();
    expect((await refusal({ port: other.port })).code).toBe("CANNOT_LISTEN");
    expect(await credit(await ready(), "second")).toBe(2);
  });
});

describe("data folder: P7 one that does not fit is refused, and not a byte of it changes", () => {
  beforeEach(makeFolder);

  /** What a process makes of a folder that was changed, and that it left it so. */
  async function refusalUnchanged(options: Partial<Start> = {}) {
    const before = readBytes(data);
    const { code, message } = await refusal(options);
    expect(readBytes(data)).toEqual(before);
    return { code, message };
  }

  function editFacts(edit: (facts: Record<string, unknown>) => unknown): void {
    const file = path.join(data, "heddle.json");
    const edited = edit(JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, unknown>);
    fs.writeFileSync(file, typeof edited === "string" ? edited : JSON.stringify(edited));
  }

  it("another format version", async () => {
    editFacts((facts) => ({ ...facts, format: 99 }));
    const { code, message } = await refusalUnchanged();
    expect(code).toBe("DATA_FOLDER_VERSION");
    expect(message).toContain("99");
  });

  it("another shard count", async () => {
    const { code, message } = await refusalUnchanged({ shards: 5 });
    expect(code).toBe("DATA_FOLDER_MISMATCH");
    expect(message).toContain(`shard count ${shards}, but 5 is asked for`);
  });

  it("another context", async () => {
    const { code, message } = await refusalUnchanged({ domain: flightsDomain });
    expect(code).toBe("DATA_FOLDER_MISMATCH");
    expect(message).toContain("context bank, but flights is asked for");
  });

  it.each([
    ["is not JSON", () => "{"],
    ["lacks the shard count", ({ shardCount: _, ...facts }) => facts],
    ["lacks the context", ({ context: _, ...facts }) => facts],
  ] as [string, (facts: Record<string, unknown>) => unknown][])("a description that %s", async (_, edit) => {
    editFacts(edit);
    expect((await refusalUnchanged()).code).toBe("DATA_FOLDER_UNWRITABLE");
  });

  it("a description without a version", async () => {
    editFacts(({ format: _, ...facts }) => facts);
    expect((await refusalUnchanged()).code).toBe("DATA_FOLDER_VERSION");
  });

  it("a shard's log in another shard's place", async () => {
    const logs = [0, 1].map((shard) => logFolderOf(data, shard));
    const full = logs.find((folder) => fs.readdirSync(folder).length > 0)!;
    const empty = logs.find((folder) => folder !== full)!;
    for (const name of fs.readdirSync(full)) fs.copyFileSync(path.join(full, name), path.join(empty, name));
    expect((await refusalUnchangedLogs()).code).toBe("LOG_DAMAGED");
  });

  it("a folder that may not be written", async () => {
    closeFolder(data);
    expect((await refusalUnchanged({ asNobody: true })).code).toBe("DATA_FOLDER_UNWRITABLE");
  });

  it("a folder of which a part may not be written", async () => {
    for (const file of readBytes(data).keys()) closeFolder(file);
    fs.chmodSync(data, 0o777);
    fs.chmodSync(path.join(data, "lock"), 0o666);
    expect((await refusalUnchanged({ asNobody: true })).code).toBe("DATA_FOLDER_UNWRITABLE");
  });

  it("a lock that may not be taken", async () => {
    for (const file of readBytes(data).keys()) fs.chmodSync(file, 0o777);
    fs.chmodSync(data, 0o777);
    closeFolder(path.join(data, "lock"));
    expect((await refusalUnchanged({ asNobody: true })).code).toBe("DATA_FOLDER_UNWRITABLE");
  });

  // The partition of a shard is opened before its log, and notes that it was: only the logs must be as they were.
  async function refusalUnchangedLogs() {
    const logs = () =>
      [...readBytes(data)].filter(([file]) => !file.includes(path.basename(partitionFolderOf(data, 0))));
    const before = logs();
    const found = await refusal();
    expect(logs()).toEqual(before);
    return found;
  }
});

describe("data folder: P7 one that cannot be made is refused, and nothing is made", () => {
  it("below a file", async () => {
    fs.writeFileSync(path.join(home, "file"), "not a folder");
    const { code } = await refusal({ data: path.join(home, "file", "data") });
    expect(code).toBe("DATA_FOLDER_UNWRITABLE");
    expect([...readBytes(home).keys()]).toEqual([path.join(home, "file")]);
  });

  it("in the place of a file", async () => {
    fs.writeFileSync(data, "not a folder");
    expect((await refusal()).code).toBe("DATA_FOLDER_UNWRITABLE");
    expect(fs.readFileSync(data, "utf8")).toBe("not a folder");
  });

  it("in a folder that may not be written", async () => {
    closeFolder(home);
    expect((await refusal({ asNobody: true })).code).toBe("DATA_FOLDER_UNWRITABLE");
    expect(readBytes(home).size).toBe(0);
  });

  it("for a domain module that cannot be loaded", async () => {
    expect((await refusal({ domain: path.join(home, "nothing.ts") })).code).toBe("DOMAIN_LOAD_FAILED");
    expect(readBytes(home).size).toBe(0);
  });
});

/** Everybody may read it, nobody may write it. */
function closeFolder(file: string): void {
  fs.chmodSync(file, fs.statSync(file).isDirectory() ? 0o555 : 0o444);
}
