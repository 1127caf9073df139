// RqliteClient: rqlite's HTTP API, as far as a sink needs it. Any node of a cluster forwards to its leader, so one address is enough
// while that node is there. Of several addresses one is asked until it has trouble; then the next.
//
// Q6. What a request comes back with is a result, `SINK_UNAVAILABLE`, or `SINK_REFUSED`: an error of a statement, which rqlite
//     puts into a reply with status 200, is never taken for success.
// Not promised: that a request without a reply was not carried out. Whoever writes guards it (RqliteSink).
import { HeddleError } from "@heddle/kernel";
import { addressesOf } from "../server-addresses.ts";

/** SQL and its parameters. A text of the form x'…' would become bytes there: free text travels inside of JSON. */
export type RqliteStatement = readonly [
  sql: string,
  ...params: readonly (string | number | bigint | null | readonly number[])[],
];

export interface RqliteResult {
  readonly columns?: readonly string[];
  readonly values?: readonly (readonly unknown[])[];
  readonly rows_affected?: number;
  readonly error?: string;
}

export interface RqliteClientOptions {
  /** With user and password, if it wants them, and of as many nodes as you like: `http://user:password@a:4001,b:4001`. */
  readonly url: string;
  /** Within it a request is answered, or `SINK_UNAVAILABLE`. Default 30 s. */
  readonly timeoutMs?: number | undefined;
}

export interface RqliteCall {
  /** What stands behind `?`. */
  readonly parameters?: string;
  readonly method?: "GET" | "POST";
  readonly body?: string;
  readonly timeoutMs?: number;
  /** Of the reply. Errors: `QUERY_LIMIT`. */
  readonly bytesMax?: number;
  /** Instead of one of the client's own addresses: this node and no other. */
  readonly origin?: string;
}

export interface RqliteReply {
  readonly status: number;
  readonly text: string;
  /** Which address was asked. */
  readonly origin: string;
}

/** One that is on its way to a leader may be sent on, and on. */
const redirectsMax = 3;
const defaultTimeoutMs = 30_000;
/** Nothing was sent: another node can be asked the same. */
const notReached = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
]);

export class RqliteClient {
  /** The address, or the addresses with commas between them, without user and password. */
  readonly name: string;
  readonly #origins: readonly string[];
  #at = 0;
  readonly #authorization: string | undefined;
  readonly #timeoutMs: number;

  constructor(options: RqliteClientOptions) {
    const addresses = addressesOf(options.url);
    if (addresses === undefined) {
      throw new HeddleError("SINK_REFUSED", {
        sink: "rqlite",
        message: "its address is none, such as http://host:4001",
      });
    }
    const url = addresses[0]!;
    this.#origins = addresses.map(({ origin }) => origin);
    this.name = `${url.protocol}//${addresses.map(({ host }) => host).join(",")}`;
    this.#timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    if (url.username !== "") {
      const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
      this.#authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;
    }
  }

  /** The address that is asked now. */
  get origin(): string {
    return this.#origins[this.#at]!;
  }

  /** All or nothing. Gives a result for each statement. */
  async transaction(statements: readonly RqliteStatement[]): Promise<readonly RqliteResult[]> {
    // Nothing is rewritten on the way: these statements have no random numbers and no clock.
    return this.#results("/db/execute", { parameters: "transaction&noparse", body: JSON.stringify(statements) });
  }

  /**
   * A statement that cannot run inside of a transaction, such as VACUUM. Gives its place in rqlite's log.
   * Errors: `SINK_REFUSED` also from an rqlite that does not tell the place.
   */
  async execute(statement: RqliteStatement, timeoutMs: number): Promise<number> {
    const call = { parameters: "noparse&raft_index", body: JSON.stringify([statement]), timeoutMs };
    const reply = await this.call("/db/execute", call);
    this.#refuseErrors(this.resultsOf(reply));
    const { raft_index: index } = JSON.parse(reply.text) as { raft_index?: number };
    if (index === undefined) throw this.refused("it does not tell a request's place in its log: it is too old");
    return index;
  }

  /** Reads, as of every write that was acknowledged before, from whichever node. */
  async read(statements: readonly RqliteStatement[]): Promise<readonly (readonly (readonly unknown[])[])[]> {
    const parameters = "level=linearizable&noparse";
    const results = await this.#results("/db/query", { parameters, body: JSON.stringify(statements) });
    return results.map((result) => result.values ?? []);
  }

  /** One request, whatever its status. Errors: `SINK_UNAVAILABLE` without a reply; `SINK_REFUSED` for 401 and 403. */
  async call(path: string, call: RqliteCall = {}): Promise<RqliteReply> {
    if (call.origin !== undefined) return this.#ask(call.origin, path, call);
    for (let tries = 1; ; tries++) {
      const { origin } = this;
      try {
        return await this.#ask(origin, path, call);
      } catch (error) {
        if (!(error instanceof HeddleError) || error.code !== "SINK_UNAVAILABLE") throw error;
        this.#turnFrom(origin);
        if (!notReached.has(codeOf(error.cause)) || tries === this.#origins.length) throw error;
      }
    }
  }

  async #ask(origin: string, path: string, call: RqliteCall): Promise<RqliteReply> {
    let url = `${origin}${path}${call.parameters === undefined ? "" : `?${call.parameters}`}`;
    for (let redirects = 0; ; redirects++) {
      const reply = await this.#send(url, call);
      if (typeof reply !== "string") return { ...reply, origin };
      if (redirects === redirectsMax) throw this.unavailable("it sends every request on to another node");
      url = new URL(reply, url).href;
    }
  }

  /** The next one is asked from now on, unless another call has turned already. */
  #turnFrom(origin: string): void {
    if (this.origin === origin) this.#at = (this.#at + 1) % this.#origins.length;
  }

  unavailable(message: string, cause?: unknown): HeddleError {
    return new HeddleError("SINK_UNAVAILABLE", { sink: this.name, message }, { cause });
  }

  refused(message: string, cause?: unknown): HeddleError {
    return new HeddleError("SINK_REFUSED", { sink: this.name, message }, { cause });
  }

  /** The error that an error text of rqlite or of SQLite in it means. */
  errorOf(text: string): HeddleError {
    if (/locked|busy|leader|timed? ?out|timeout|raft|shutdown|not open/i.test(text)) return this.unavailable(text);
    return this.refused(text);
  }

  /** A reply or, as text, where to ask instead. */
  async #send(url: string, call: RqliteCall): Promise<Omit<RqliteReply, "origin"> | string> {
    const timeoutMs = call.timeoutMs ?? this.#timeoutMs;
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (this.#authorization !== undefined) headers["authorization"] = this.#authorization;
    const init: RequestInit = { method: call.method ?? "POST", headers, redirect: "manual" };
    if (call.body !== undefined) init.body = call.body;
    try {
      const reply = await fetch(url, { ...init, signal: AbortSignal.timeout(timeoutMs) });
      const location = reply.headers.get("location");
      if (reply.status >= 301 && reply.status <= 308 && location !== null) {
        await reply.body?.cancel();
        return location;
      }
      const text = call.bytesMax === undefined ? await reply.text() : await boundedText(reply, call.bytesMax);
      if (reply.status === 401 || reply.status === 403) {
        throw this.refused("it does not accept the user, the password, or what they are for");
      }
      return { status: reply.status, text };
    } catch (thrown) {
      if (thrown instanceof HeddleError) throw thrown;
      throw this.unavailable(reasonOf(thrown, timeoutMs), thrown);
    }
  }

  async #results(path: string, call: RqliteCall): Promise<readonly RqliteResult[]> {
    const results = this.resultsOf(await this.call(path, call));
    this.#refuseErrors(results);
    return results;
  }

  #refuseErrors(results: readonly RqliteResult[]): void {
    for (const { error } of results) if (error !== undefined) throw this.errorOf(error);
  }

  /** What a reply of /db/execute or /db/query says, errors of statements included. */
  resultsOf(reply: RqliteReply, reviver?: Parameters<typeof JSON.parse>[1]): readonly RqliteResult[] {
    const { status, text, origin } = reply;
    if (status >= 500) {
      this.#turnFrom(origin);
      throw this.unavailable(`it answered ${status}: ${text.trim().slice(0, 200)}`);
    }
    let body: unknown;
    try {
      body = JSON.parse(text, reviver);
    } catch {
      body = undefined;
    }
    const { results, error } = (body ?? {}) as { results?: unknown; error?: unknown };
    // Of the request as a whole: no leader, or one that lost its place meanwhile.
    if (typeof error === "string") {
      this.#turnFrom(origin);
      throw this.unavailable(error);
    }
    if (status !== 200 || !Array.isArray(results)) {
      throw this.refused(`it answered ${status} and not as rqlite does; is that its address?`);
    }
    return results as readonly RqliteResult[];
  }
}

async function boundedText(reply: Response, bytesMax: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of reply.body ?? []) {
    bytes += part.byteLength;
    if (bytes > bytesMax) throw new HeddleError("QUERY_LIMIT", { limit: `more than ${bytesMax} bytes`, max: bytesMax });
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

/** Of what fetch threw: it says "fetch failed" and keeps the reason behind it. */
function codeOf(thrown: unknown): string {
  const reason = thrown instanceof Error ? (thrown.cause ?? thrown) : thrown;
  return String((reason as NodeJS.ErrnoException | undefined)?.code);
}

function reasonOf(thrown: unknown, timeoutMs: number): string {
  if (thrown instanceof Error && thrown.name === "TimeoutError") return `no answer within ${timeoutMs} ms`;
  // fetch says "fetch failed" and keeps the reason behind it.
  const reason = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  return reason instanceof Error ? reason.message || String((reason as NodeJS.ErrnoException).code) : String(reason);
}
