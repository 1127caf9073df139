// stand-in: answers rqlite's HTTP API from one SQLite file, for machines without rqlited.
//
// Takes rqlited's own arguments (`-http-addr`, `-auth`, the data folder last; others are ignored), so either is started in
// the same way. Reads follow every write that was acknowledged before them; an acknowledged write is on the disk;
// `db_timeout` ends a read, also one that never ends by itself.
//
// Not promised: anything of Raft (elections, more nodes, followers, what a consistency level means), rqlite's speed, and
// backups, loading and queued writes: `queue` is taken as an ordinary write.
import { type ChildProcess, fork } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import type { ReadDone, ReadJob } from "./reader.ts";
import { BadRequest, execute, parseStatements, request, type Shape } from "./statements.ts";

interface Credential {
  readonly username: string;
  readonly password: string;
  readonly perms: readonly string[];
}

class HttpError extends Error {
  readonly status: number;

  constructor(status: number, message = "") {
    super(message);
    this.status = status;
  }
}

const options = new Map<string, string>();
const args = process.argv.slice(2);
const folder = args.pop()!;
for (let at = 0; at + 1 < args.length; at += 2) options.set(args[at]!, args[at + 1]!);
const [host, port] = options.get("-http-addr")!.split(":") as [string, string];
const authFile = options.get("-auth");
const credentials =
  authFile === undefined ? undefined : (JSON.parse(fs.readFileSync(authFile, "utf8")) as readonly Credential[]);

fs.mkdirSync(folder, { recursive: true });
const file = path.join(folder, "stand-in.sqlite");
const writer = new DatabaseSync(file, { timeout: 5_000 });
writer.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");

// One read at a time: the reader has one thread, and the one that is too slow is ended with its process.
let reader = startReader();
let lastRead: Promise<unknown> = Promise.resolve();

function startReader(): ChildProcess {
  return fork(fileURLToPath(new URL("./reader.ts", import.meta.url)), [file], {
    serialization: "advanced",
    execArgv: [],
  });
}

function read(job: ReadJob, timeoutMs: number): Promise<string> {
  const answered = lastRead.then(() => readNow(job, timeoutMs));
  lastRead = answered.catch(() => undefined);
  return answered;
}

function readNow(job: ReadJob, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      reader.removeAllListeners("message");
      reader.removeAllListeners("exit");
    };
    const replaceReader = () => {
      reader.kill("SIGKILL");
      reader = startReader();
    };
    const tooSlow = () => {
      settle();
      replaceReader();
      resolve(JSON.stringify(job.statements.map(() => ({ error: "query timeout" }))));
    };
    const timer = timeoutMs === 0 ? undefined : setTimeout(tooSlow, timeoutMs);
    reader.once("message", (done: ReadDone) => {
      settle();
      resolve(done);
    });
    reader.once("exit", () => {
      settle();
      replaceReader();
      reject(new HttpError(500, "the reader ended"));
    });
    reader.send(job);
  });
}

const server = http.createServer((incoming, reply) => {
  answer(incoming).then(
    ({ type, body }) => reply.writeHead(200, { "Content-Type": type, "X-Rqlite-Version": "stand-in" }).end(body),
    (error: unknown) => {
      const status = error instanceof BadRequest ? 400 : error instanceof HttpError ? error.status : 500;
      reply.writeHead(status, { "X-Rqlite-Version": "stand-in" }).end((error as Error).message);
    },
  );
});
// Clients keep connections; a query may take longer than Node's defaults allow.
server.requestTimeout = 0;
server.listen(Number(port), host);

async function answer(incoming: http.IncomingMessage): Promise<{ type: string; body: string }> {
  const url = new URL(incoming.url ?? "/", "http://localhost");
  const { pathname, searchParams } = url;
  const json = (body: string) => ({ type: "application/json; charset=utf-8", body });
  const shape: Shape = {
    associative: searchParams.has("associative"),
    blobArray: searchParams.has("blob_array"),
    transaction: searchParams.has("transaction"),
  };
  switch (pathname) {
    case "/readyz":
      allow(incoming, "ready");
      return { type: "text/plain", body: "[+]node ok\n[+]leader ok\n[+]store ok" };
    case "/status":
      allow(incoming, "status");
      return json(
        JSON.stringify({ build: { version: "stand-in" }, http: { auth: credentials ? "enabled" : "disabled" } }),
      );
    case "/nodes":
      allow(incoming, "status");
      return json(JSON.stringify({ 1: { api_addr: `http://${host}:${port}`, reachable: true, leader: true } }));
    case "/snapshot": {
      // What a snapshot does to the database: its write-ahead log is emptied into it.
      allow(incoming, "snapshot");
      await bodyOf(incoming, ["POST"]);
      const { busy } = writer.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get() as { busy: number };
      if (busy !== 0) throw new HttpError(500, "a reader holds on to the write-ahead log");
      return { type: "text/plain", body: "" };
    }
    case "/reap":
      allow(incoming, "snapshot");
      await bodyOf(incoming, ["POST"]);
      return json('{"snapshots_reaped":0,"wals_checkpointed":0}');
    case "/db/execute": {
      allow(incoming, "execute");
      const statements = parseStatements(await bodyOf(incoming, ["POST"]));
      return json(`{"results":${JSON.stringify(execute(writer, statements, shape))}}`);
    }
    case "/db/request": {
      allow(incoming, "execute");
      allow(incoming, "query");
      const statements = parseStatements(await bodyOf(incoming, ["POST"]));
      return json(`{"results":${JSON.stringify(request(writer, statements, shape))}}`);
    }
    case "/db/query": {
      allow(incoming, "query");
      const text = await bodyOf(incoming, ["GET", "POST"]);
      const asked = incoming.method === "GET" ? JSON.stringify([searchParams.get("q") ?? ""]) : text;
      const job = { statements: parseStatements(asked), shape };
      return json(`{"results":${await read(job, durationMs(searchParams.get("db_timeout")))}}`);
    }
    default:
      throw new HttpError(404, "not found");
  }
}

function allow(incoming: http.IncomingMessage, permission: string): void {
  if (credentials === undefined) return;
  const [scheme, encoded] = (incoming.headers.authorization ?? "").split(" ");
  const given = scheme === "Basic" ? Buffer.from(encoded ?? "", "base64").toString() : "";
  const known = credentials.find(({ username, password }) => given === `${username}:${password}`);
  if (known === undefined || !known.perms.some((perm) => perm === "all" || perm === permission))
    throw new HttpError(401);
}

async function bodyOf(incoming: http.IncomingMessage, methods: readonly string[]): Promise<string> {
  if (!methods.includes(incoming.method ?? "")) throw new HttpError(405);
  const parts: Buffer[] = [];
  for await (const part of incoming) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

/** Go's notation of a duration, as far as anyone writes it: `500ms`, `2s`, `1m30s`. */
function durationMs(text: string | null): number {
  if (text === null) return 0;
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) throw new BadRequest("db_timeout is not a valid duration");
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce(
    (sum, [, n, unit]) => sum + Number(n) * units[unit!]!,
    0,
  );
}

process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
  reader.kill("SIGKILL");
  writer.close();
  process.exit(0);
});
