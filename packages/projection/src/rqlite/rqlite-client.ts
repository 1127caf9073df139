// RqliteClient: rqlite's HTTP API, as far as a sink needs it. One address; any node of a cluster forwards to its leader.
//
// Q6. What a request comes back with is a result, `SINK_UNAVAILABLE`, or `SINK_REFUSED`: an error of a statement, which rqlite
//     puts into a reply with status 200, is never taken for success.
// Not promised: that a request without a reply was not carried out. Whoever writes guards it (RqliteSink).
import { HeddleError } from "@heddle/kernel";

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
  /** With user and password, if it wants them: `http://user:password@host:4001`. */
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
  /** Instead of the client's own address: another node's. */
  readonly origin?: string;
}

export interface RqliteReply {
  readonly status: number;
  readonly text: string;
}

/** One that is on its way to a leader may be sent on, and on. */
const redirectsMax = 3;
const defaultTimeoutMs = 30_000;

export class RqliteClient {
  /** The address without user and password. */
  readonly origin: string;
  readonly #authorization: string | undefined;
  readonly #timeoutMs: number;

  constructor(options: RqliteClientOptions) {
    if (!URL.canParse(options.url)) {
      throw new HeddleError("SINK_REFUSED", {
        sink: "rqlite",
        message: "its address is none, such as http://host:4001",
      });
    }
    const url = new URL(options.url);
    this.origin = url.origin;
    this.#timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    if (url.username !== "") {
      const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
      this.#authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;
    }
  }

  /** All or nothing. Gives a result for each statement. */
  async transaction(statements: readonly RqliteStatement[]): Promise<readonly RqliteResult[]> {
    // Nothing is rewritten on the way: these statements have no random numbers and no clock.
    return this.#results("/db/execute", { parameters: "transaction&noparse", body: JSON.stringify(statements) });
  }

  /** A statement that cannot run inside of a transaction, such as VACUUM. */
  async execute(statement: RqliteStatement, timeoutMs: number): Promise<void> {
    await this.#results("/db/execute", { parameters: "noparse", body: JSON.stringify([statement]), timeoutMs });
  }

  /** Reads, as of every write that was acknowledged before, from whichever node. */
  async read(statements: readonly RqliteStatement[]): Promise<readonly (readonly (readonly unknown[])[])[]> {
    const parameters = "level=linearizable&noparse";
    const results = await this.#results("/db/query", { parameters, body: JSON.stringify(statements) });
    return results.map((result) => result.values ?? []);
  }

  /** One request, whatever its status. Errors: `SINK_UNAVAILABLE` without a reply; `SINK_REFUSED` for 401 and 403. */
  async call(path: string, call: RqliteCall = {}): Promise<RqliteReply> {
    let url = `${call.origin ?? this.origin}${path}${call.parameters === undefined ? "" : `?${call.parameters}`}`;
    for (let redirects = 0; ; redirects++) {
      const reply = await this.#send(url, call);
      if (typeof reply !== "string") return reply;
      if (redirects === redirectsMax) throw this.unavailable("it sends every request on to another node");
      url = new URL(reply, url).href;
    }
  }

  unavailable(message: string, cause?: unknown): HeddleError {
    return new HeddleError("SINK_UNAVAILABLE", { sink: this.origin, message }, { cause });
  }

  refused(message: string, cause?: unknown): HeddleError {
    return new HeddleError("SINK_REFUSED", { sink: this.origin, message }, { cause });
  }

  /** The error that an error text of rqlite or of SQLite in it means. */
  errorOf(text: string): HeddleError {
    if (/locked|busy|leader|timed? ?out|timeout|raft|shutdown|not open/i.test(text)) return this.unavailable(text);
    return this.refused(text);
  }

  /** A reply or, as text, where to ask instead. */
  async #send(url: string, call: RqliteCall): Promise<RqliteReply | string> {
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
    for (const { error } of results) if (error !== undefined) throw this.errorOf(error);
    return results;
  }

  /** What a reply of /db/execute or /db/query says, errors of statements included. */
  resultsOf({ status, text }: RqliteReply, reviver?: Parameters<typeof JSON.parse>[1]): readonly RqliteResult[] {
    if (status >= 500) throw this.unavailable(`it answered ${status}: ${text.trim().slice(0, 200)}`);
    let body: unknown;
    try {
      body = JSON.parse(text, reviver);
    } catch {
      body = undefined;
    }
    const { results, error } = (body ?? {}) as { results?: unknown; error?: unknown };
    // Of the request as a whole: no leader, or one that lost its place meanwhile.
    if (typeof error === "string") throw this.unavailable(error);
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

function reasonOf(thrown: unknown, timeoutMs: number): string {
  if (thrown instanceof Error && thrown.name === "TimeoutError") return `no answer within ${timeoutMs} ms`;
  // fetch says "fetch failed" and keeps the reason behind it.
  const reason = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  return reason instanceof Error ? reason.message || String((reason as NodeJS.ErrnoException).code) : String(reason);
}
