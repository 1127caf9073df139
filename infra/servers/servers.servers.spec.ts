// Goal: what every test with real servers relies on: a server is ready when it is started, keeps its data over a kill,
// and is gone when it should be. What rqlite answers is in rqlite.servers.spec.ts.
import { execFileSync, fork, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { MongoClient } from "mongodb";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { obtain, type RunningServer, ServerError, startMongo, startNats, startRqlite } from "./index.ts";

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-servers-spec-"));
});
afterEach(() => {
  fs.rmSync(folder, { recursive: true, force: true });
});

/** Stores a word in the server, and reads it again. */
interface Backend {
  readonly start: (options?: { readonly folder?: string; readonly port?: number }) => Promise<RunningServer>;
  readonly put: (url: string, word: string) => Promise<void>;
  readonly get: (url: string) => Promise<unknown>;
}

const inMongo = async <T>(url: string, use: (client: MongoClient) => Promise<T>) => {
  const client = await new MongoClient(url).connect();
  try {
    return await use(client);
  } finally {
    await client.close();
  }
};

const rqlite = async (url: string, door: string, statements: unknown) => {
  const headers = { "content-type": "application/json" };
  const reply = await fetch(`${url}/db/${door}`, { method: "POST", headers, body: JSON.stringify(statements) });
  const { results } = (await reply.json()) as { results: { error?: string; values?: unknown[][] }[] };
  for (const { error } of results) if (error !== undefined) throw new Error(`rqlite: ${error}`);
  return results;
};

/** A disk may be slow. */
const patience = { timeout: 60_000 };

const backends: Readonly<Record<string, Backend>> = {
  nats: {
    start: startNats,
    put: async (url, word) => {
      await using connection = disposable(await connect({ servers: url }));
      const manager = await jetstreamManager(connection.value, patience);
      await manager.streams.add({ name: "words", subjects: ["words"] });
      await jetstream(connection.value, patience).publish("words", word);
    },
    get: async (url) => {
      await using connection = disposable(await connect({ servers: url }));
      const manager = await jetstreamManager(connection.value, patience);
      return (await manager.streams.getMessage("words", { last_by_subj: "words" }))?.string();
    },
  },
  rqlite: {
    start: startRqlite,
    put: async (url, word) => {
      await rqlite(url, "execute", [["CREATE TABLE words (word TEXT)"], ["INSERT INTO words VALUES (?)", word]]);
    },
    // At its usual level rqlite answers as soon as it leads, also before it has gone through its log after a restart.
    get: async (url) =>
      (await rqlite(url, "query?level=linearizable", ["SELECT word FROM words"]))[0]?.values?.[0]?.[0],
  },
  mongo: {
    start: startMongo,
    put: (url, word) =>
      inMongo(url, async (client) => {
        await client.db("d").collection("words").insertOne({ word });
      }),
    get: (url) => inMongo(url, async (client) => (await client.db("d").collection("words").findOne({}))?.["word"]),
  },
};

function disposable(value: Awaited<ReturnType<typeof connect>>) {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}

/** One that has ended and that nobody has asked about, as in a container whose first process does not, is there and not alive. */
const alive = (pid: number) => {
  const state = spawnSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).stdout.trim();
  return state !== "" && !state.startsWith("Z");
};

describe.each(Object.entries(backends))("servers: %s", (name, { start, put, get }) => {
  it("takes calls as soon as it is started, and leaves nothing behind when it is stopped", async () => {
    const server = await start();
    const { pid } = server;
    await put(server.url, "woof");
    expect(await get(server.url)).toBe("woof");
    expect(fs.existsSync(server.folder)).toBe(true);
    await server.stop();
    expect(alive(pid)).toBe(false);
    expect(server.running).toBe(false);
    expect(fs.existsSync(server.folder)).toBe(false);
    await expect(server.stop()).resolves.toBeUndefined();
  });

  it("has what it acknowledged after kill -9 and a restart, at the same address", async () => {
    await using server = await start();
    const { pid, url } = server;
    await put(url, "woof");
    await server.kill();
    expect(alive(pid)).toBe(false);
    expect(() => server.pid).toThrow(`${name} is not running`);
    await server.restart();
    expect(server.url).toBe(url);
    expect(server.pid).not.toBe(pid);
    expect(await get(url)).toBe("woof");
  });

  it("keeps a folder that was given, and finds its data there again", async () => {
    const first = await start({ folder });
    await put(first.url, "woof");
    await first.stop();
    await using second = await start({ folder });
    expect(await get(second.url)).toBe("woof");
  });

  it("stands still while it is paused, and can be stopped then", async () => {
    const server = await start();
    const state = () => execFileSync("ps", ["-o", "stat=", "-p", String(server.pid)], { encoding: "utf8" })[0];
    server.pause();
    await expect.poll(state).toBe("T");
    server.resume();
    await expect.poll(state).not.toBe("T");
    await put(server.url, "woof");
    server.pause();
    await server.stop();
    expect(server.running).toBe(false);
  });

  it("does not outlive the process that started it, however that ends, nor does its temporary folder", async () => {
    const parent = fork(fileURLToPath(new URL("./start-one.spec-support.ts", import.meta.url)), [name], {
      execArgv: [],
    });
    const [started] = (await once(parent, "message")) as [{ pid: number; folder: string }];
    expect(alive(started.pid)).toBe(true);
    parent.kill("SIGKILL");
    await expect.poll(() => alive(started.pid), { timeout: 30_000 }).toBe(false);
    await expect.poll(() => fs.existsSync(started.folder), { timeout: 30_000 }).toBe(false);
  });

  it("is refused a port that somebody has, in one line", async () => {
    const other = net.createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as net.AddressInfo;
    await expect(start({ port })).rejects.toThrow(
      expect.objectContaining({
        code: "PORT_IN_USE",
        message: expect.stringMatching(new RegExp(`^${name} .*${port}.*$`)),
      }),
    );
    other.close();
  });
});

describe("servers: NATS", () => {
  it("refuses who brings no or wrong credentials", async () => {
    await using withUser = await startNats({ user: "u", password: "p" });
    await expect(connect({ servers: withUser.url })).rejects.toThrow(/authorization/i);
    await using _ = disposable(await connect({ servers: withUser.url, user: "u", pass: "p" }));
    await using withToken = await startNats({ token: "t" });
    await expect(connect({ servers: withToken.url, token: "x" })).rejects.toThrow(/authorization/i);
    await using __ = disposable(await connect({ servers: withToken.url, token: "t" }));
  });

  it("can be one without JetStream", async () => {
    await using server = await startNats({ jetstream: false });
    await using connection = disposable(await connect({ servers: server.url }));
    await expect(jetstreamManager(connection.value)).rejects.toThrow(/jetstream/i);
  });

  it("stores no more than it is allowed to", async () => {
    await using server = await startNats({ maxStoreBytes: 64 << 10 });
    await using connection = disposable(await connect({ servers: server.url }));
    const manager = await jetstreamManager(connection.value);
    await manager.streams.add({ name: "words", subjects: ["words"] });
    // It looks before it stores, so the one that goes beyond is still taken.
    const fill = async () => {
      for (let at = 0; at < 8; at++) await jetstream(connection.value).publish("words", new Uint8Array(48 << 10));
    };
    await expect(fill()).rejects.toThrow(/resource|storage|store/i);
    const { state } = await manager.streams.info("words");
    expect(state.messages).toBe(2);
  });

  it("ends in order when it is stopped, also out of a pause", async () => {
    const server = await startNats({ folder });
    server.pause();
    await server.stop();
    expect(server.output()).toContain("Initiating Shutdown");
  });

  it("that can not start says why in its own words", async () => {
    fs.writeFileSync(path.join(folder, "store"), "a file, where it wants a folder");
    const failure = await startNats({ folder }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ServerError);
    expect((failure as ServerError).code).toBe("DID_NOT_START");
    expect((failure as ServerError).message).toMatch(/^nats did not start on port \d+: it ended with exit code 1\n/);
    expect((failure as ServerError).message).toContain("storage directory");
  });
});

describe("servers: MongoDB's wire server", () => {
  const sees = (url: string) => inMongo(url, (client) => client.db("d").collection("words").findOne({}));
  const as = (url: string, user: string) => url.replace("//", `//${user}@`);

  it("refuses who brings no or wrong credentials, also after a restart", async () => {
    await using server = await startMongo({ user: "u", password: "p@ss/word" });
    for (const round of ["made", "started again"]) {
      await expect(sees(server.url), round).rejects.toThrow(/requires authentication/);
      await expect(sees(as(server.url, "u:wrong")), round).rejects.toThrow(/authentication failed/i);
      await expect(sees(as(server.url, "u:p%40ss%2Fword")), round).resolves.toBeNull();
      await server.restart();
    }
    expect(server.output()).not.toContain("p@ss/word");
  });

  it("stores no more than it is allowed to, and goes on with what it has when it is allowed more", async () => {
    const small = await startMongo({ folder, maxStoreBytes: 256 << 10 });
    const add = (url: string, _id: number) =>
      inMongo(url, (client) =>
        client
          .db("d")
          .collection<{ _id: number }>("words")
          .insertOne({ _id, word: "x".repeat(32 << 10) } as { _id: number }),
      );
    const fill = async () => {
      for (let at = 0; at < 16; at++) await add(small.url, at);
    };
    await expect(fill()).rejects.toThrow(/database or disk is full/);
    const count = (url: string) => inMongo(url, (client) => client.db("d").collection("words").countDocuments({}));
    const kept = await count(small.url);
    expect(kept).toBeGreaterThan(2);
    await small.stop();
    await using large = await startMongo({ folder });
    await add(large.url, 99);
    expect(await count(large.url)).toBe(kept + 1);
  });
});

/** Go compiles all of it where the binaries came from a cache, and Go's own is empty. */
const buildTimeoutMs = 1_800_000;

describe("servers: binaries", () => {
  it("are refused in one line when the path given is wrong", async () => {
    const missing = path.join(folder, "nats-server");
    const error = await obtain("nats", { env: { HEDDLE_NATS_SERVER: missing } }).catch((reason: unknown) => reason);
    expect((error as ServerError).code).toBe("NO_SUCH_BINARY");
    expect((error as ServerError).message).toBe(`HEDDLE_NATS_SERVER is ${missing}, which is no file that can be run`);
  });

  it("are used as they are when the path given is right", async () => {
    const env = { HEDDLE_FERRETDB: process.execPath, HEDDLE_CACHE: folder };
    expect(await obtain("mongo", { env })).toBe(process.execPath);
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  it("that can not be built for want of Go are told so in one line, and leave nothing behind", async () => {
    const env = { PATH: folder, HEDDLE_CACHE: folder };
    const error = await obtain("nats", { env, say: () => undefined }).catch((reason: unknown) => reason);
    expect((error as ServerError).code).toBe("NO_GO");
    expect((error as ServerError).message.split("\n")).toHaveLength(1);
    expect(fs.readdirSync(path.join(folder, "servers")).filter((entry) => !entry.endsWith(".lock"))).toEqual([]);
  });

  it(
    "that can not be built for want of a C compiler are told so in one line, and leave nothing behind",
    async () => {
      const env = { ...process.env, CC: path.join(folder, "no-compiler"), HEDDLE_CACHE: folder, HEDDLE_RQLITED: "" };
      const error = await obtain("rqlite", { env, say: () => undefined }).catch((reason: unknown) => reason);
      expect((error as ServerError).code).toBe("NO_C_COMPILER");
      expect((error as ServerError).message.split("\n")).toHaveLength(1);
      expect(fs.readdirSync(path.join(folder, "servers")).filter((entry) => !entry.endsWith(".lock"))).toEqual([]);
    },
    buildTimeoutMs,
  );

  it(
    "that two want at once are built by one, whole, while the other waits",
    async () => {
      const env = { ...process.env, HEDDLE_CACHE: folder, HEDDLE_NATS_SERVER: "" };
      const one = () => {
        const main = fileURLToPath(new URL("./main.ts", import.meta.url));
        const child = spawn(process.execPath, [main, "--obtain", "--only", "nats", "--json"], { env });
        return Promise.all([textOf(child.stdout), textOf(child.stderr)]);
      };
      const both = await Promise.all([one(), one()]);
      const [first, second] = both.map(([out]) => (JSON.parse(out) as { nats: string }).nats);
      expect(first).toBe(second);
      expect(
        both
          .map(([, said]) => said)
          .join("")
          .match(/: built in \d+ s/g),
      ).toHaveLength(1);
      expect(execFileSync(first!, ["--version"], { encoding: "utf8" })).toContain("v2.14.5");
      const entries = fs.readdirSync(path.join(folder, "servers")).filter((entry) => !entry.endsWith(".lock"));
      expect(entries).toEqual([path.basename(path.dirname(first!))]);
    },
    buildTimeoutMs,
  );
});

describe("servers: npm run servers", () => {
  const run = (...args: string[]) =>
    spawn(process.execPath, [fileURLToPath(new URL("./main.ts", import.meta.url)), ...args], { detached: true });

  it("tells the addresses, and at Ctrl-C ends them all and itself with 0", async () => {
    const child = run("--json", "--nats-port", "0", "--rqlite-port", "0", "--mongo-port", "0");
    const exited = once(child, "exit");
    const [line] = (await once(child.stdout.setEncoding("utf8"), "data")) as [string];
    const facts = JSON.parse(line) as Record<string, { url: string; pid: number; folder: string }>;
    expect(Object.keys(facts)).toEqual(["nats", "rqlite", "mongo"]);
    expect(facts["mongo"]?.url).toMatch(/^mongodb:\/\/127\.0\.0\.1:\d+\/$/);
    // To the whole group, as a terminal does.
    process.kill(-child.pid!, "SIGINT");
    expect(await exited).toEqual([0, null]);
    for (const { pid, folder: own } of Object.values(facts)) {
      expect(alive(pid)).toBe(false);
      expect(fs.existsSync(own)).toBe(false);
    }
  });

  it("ends with 1 when one of them ends by itself, and stops the others", async () => {
    const child = run("--json", "--only", "nats,mongo", "--nats-port", "0", "--mongo-port", "0");
    const exited = once(child, "exit");
    const said = textOf(child.stderr);
    const [line] = (await once(child.stdout.setEncoding("utf8"), "data")) as [string];
    const facts = JSON.parse(line) as Record<string, { pid: number }>;
    process.kill(facts["nats"]!.pid, "SIGKILL");
    expect(await exited).toEqual([1, null]);
    expect(await said).toContain("nats ended by itself");
    expect(alive(facts["mongo"]!.pid)).toBe(false);
  });

  it("ends with 1 and one line when a port is taken, with 2 when an argument is wrong", async () => {
    await using nats = await startNats();
    const taken = run("--only", "nats", "--nats-port", String(nats.port));
    expect(await Promise.all([textOf(taken.stderr), once(taken, "exit")])).toEqual([
      `heddle: nats can not have port ${nats.port}: something listens there\n`,
      [1, null],
    ]);
    const wrong = run("--port", "1");
    expect(await once(wrong, "exit")).toEqual([2, null]);
  });
});

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = "";
  for await (const part of stream.setEncoding("utf8")) text += part;
  return text;
}
