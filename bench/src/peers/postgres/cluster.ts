// PostgresCluster: one database cluster in a temporary folder, started and stopped as the benchmark goes.
//
// Owns the cluster's folder, its settings and the server's process, which ends with this one. Durability is PostgreSQL's
// full one; every other setting is in its favour (settings, below). Reached by a Unix socket only.
// Not promised: anything about the data after `remove`; that the server ends when this process is killed with SIGKILL.
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { text as readAll } from "node:stream/consumers";
import type { Postgres, Program } from "./find-postgres.ts";

/** All that differs from what `initdb` sets up. Published in README.md; cluster.int.spec.ts asks the server for them. */
export const settings: Readonly<Record<string, string>> = {
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
  default_transaction_isolation: "serializable",
  // None of these costs durability; each makes it faster here than its default.
  shared_buffers: "512MB",
  wal_buffers: "16MB",
  wal_level: "minimal",
  max_wal_senders: "0",
  max_wal_size: "16GB",
  checkpoint_timeout: "1h",
  log_min_messages: "fatal",
};

const database = "postgres";
const owner = "heddle";
const readyMsMax = 30_000;
const pollMs = 50;
/** A server that does not stop in order within this time is killed: its data is thrown away anyway. */
const stopMsMax = 20_000;

export interface RunOptions {
  /** Given to the program on its standard input. */
  readonly input?: string;
  /** What it must not say on standard error. */
  readonly neverSays?: RegExp;
}

export class PostgresCluster {
  readonly postgres: Postgres;
  /** Belongs to the user that the programs run as. */
  readonly folder: string;
  readonly #sockets: string;
  #server: ChildProcess | undefined;
  #killServer = () => {};

  private constructor(postgres: Postgres, folder: string, sockets: string) {
    this.postgres = postgres;
    this.folder = folder;
    this.#sockets = sockets;
  }

  /** Makes a cluster below a folder. Errors: a folder above that keeps its user out; whatever `initdb` says. */
  static async create(postgres: Postgres, below: string): Promise<PostgresCluster> {
    const folder = fs.mkdtempSync(path.join(below, "postgres-"));
    // The path of a Unix socket has some hundred bytes at most, which the data's folder may be too long for.
    const sockets = fs.mkdtempSync(path.join(os.tmpdir(), "pg-"));
    const cluster = new PostgresCluster(postgres, folder, sockets);
    try {
      const { user } = postgres;
      if (user !== undefined) {
        for (const own of [folder, sockets]) fs.chownSync(own, user.uid, user.gid);
        // The folder above belongs to root, who lets nobody in: passing through is all that is needed.
        fs.chmodSync(below, 0o711);
        const closed = closedFolder(path.dirname(fs.realpathSync(below)));
        if (closed !== undefined) {
          throw new Error(`the user ${user.name} may not pass through ${closed}: choose another folder with --data`);
        }
      }
      const locale = ["--encoding=UTF8", "--locale=C"];
      await cluster.run("initdb", ["-D", cluster.#data, "-U", owner, "--auth=trust", ...locale]);
      return cluster;
    } catch (error) {
      await cluster.remove();
      throw error;
    }
  }

  async start(): Promise<void> {
    const values = Object.entries({
      ...settings,
      listen_addresses: "",
      unix_socket_directories: this.#sockets,
      unix_socket_permissions: "0700",
    }).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const server = this.#spawn("postgres", ["-D", this.#data, ...values]);
    this.#server = server;
    this.#killServer = () => {
      server.kill("SIGQUIT");
      fs.rmSync(this.#sockets, { recursive: true, force: true });
    };
    process.once("exit", this.#killServer);
    let said = "";
    server.stdout!.resume();
    server.stderr!.on("data", (part: Buffer) => {
      said = (said + part.toString()).slice(-2_000);
    });
    let ended = false;
    server.once("close", () => {
      ended = true;
    });
    const until = performance.now() + readyMsMax;
    while (!(await this.#ready())) {
      if (ended) throw new Error(`the server ended before it was ready: ${said.trim()}`);
      if (performance.now() > until) throw new Error(`the server is not ready after ${readyMsMax / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }

  /** Stops it in order, with its clients cut off. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    process.removeListener("exit", this.#killServer);
    if (server.exitCode !== null || server.signalCode !== null) return;
    const ended = new Promise((resolve) => server.once("close", resolve));
    server.kill("SIGINT");
    const timer = setTimeout(() => server.kill("SIGKILL"), stopMsMax);
    await ended;
    clearTimeout(timer);
  }

  async remove(): Promise<void> {
    await this.stop();
    for (const own of [this.folder, this.#sockets]) fs.rmSync(own, { recursive: true, force: true });
  }

  /** Runs SQL and returns what it prints: a line for each row, fields apart by `|`. Errors: what the server says. */
  async sql(text: string): Promise<string> {
    const printed = await this.run("psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", ...this.address], { input: text });
    return printed.trim();
  }

  /** How a client program finds the server. */
  get server(): readonly string[] {
    return ["-h", this.#sockets, "-U", owner];
  }

  readonly database = database;

  /** How psql finds the server and the database. */
  get address(): readonly string[] {
    return [...this.server, "-d", database];
  }

  /** Runs one of PostgreSQL's programs to its end. Errors: its last words, when it ends with anything but 0, or it says what it must not. */
  async run(program: Program, args: readonly string[], { input, neverSays }: RunOptions = {}): Promise<string> {
    const child = this.#spawn(program, args, input === undefined ? "ignore" : "pipe");
    child.stdin?.end(input);
    const [out, said, code] = await Promise.all([
      readAll(child.stdout!),
      readAll(child.stderr!),
      new Promise<number | null>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", resolve);
      }),
    ]);
    if (code !== 0) throw new Error(`${program} ended with ${code}: ${said.trim().slice(-2_000)}`);
    if (neverSays?.test(said)) throw new Error(`${program} said what it must not: ${said.slice(0, 500)}`);
    return out;
  }

  get #data(): string {
    return path.join(this.folder, "data");
  }

  async #ready(): Promise<boolean> {
    try {
      await this.run("pg_isready", ["-q", ...this.address]);
      return true;
    } catch {
      return false;
    }
  }

  #spawn(program: Program, args: readonly string[], stdin: "ignore" | "pipe" = "ignore"): ChildProcess {
    const { user } = this.postgres;
    return spawn(path.join(this.postgres.folder, program), args, {
      cwd: this.folder,
      env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC", HOME: this.folder },
      stdio: [stdin, "pipe", "pipe"],
      ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
    });
  }
}

/** The topmost folder on the way that others may not pass through. */
function closedFolder(folder: string): string | undefined {
  const above = path.dirname(folder);
  const closed = above === folder ? undefined : closedFolder(above);
  if (closed !== undefined) return closed;
  return (fs.statSync(folder).mode & 0o001) === 0 ? folder : undefined;
}
