// SinkOptions: where projections are to be kept, as an operator names it, and the sinks that this makes.
//
// Not promised: that a sink can be reached. An option that makes no sense is refused at the start; a server that is away is waited
// for.
import { HeddleError } from "@heddle/kernel";
import { addressesOf } from "./server-addresses.ts";
import type { Sink } from "./sink.ts";
import { SqliteSink } from "./sqlite/sqlite-sink.ts";

/** `sqlite`, `http(s)://…` of rqlite, `mongodb://…`; several servers of one cluster with commas between them. */
export interface SinkOption {
  readonly kind: Sink["kind"];
  /** With user and password, where there are any; empty for SQLite. */
  readonly url: string;
}

const kindsByProtocol: Readonly<Record<string, Sink["kind"]>> = {
  "http:": "rqlite",
  "https:": "rqlite",
  "mongodb:": "mongodb",
  "mongodb+srv:": "mongodb",
};

/** Errors: `INVALID_REQUEST`. Passwords are in none of them. */
export function readSinkOptions(texts: readonly string[]): SinkOption[] {
  const options = texts.map(readOption);
  const places = options.flatMap(({ url }) => placesOf(url));
  const twice = places.find((place, i) => places.indexOf(place) !== i);
  if (twice !== undefined) throw invalid(`${twice === "" ? "sqlite" : twice} is named twice`);
  return options;
}

function readOption(text: string): SinkOption {
  if (text === "sqlite") return { kind: "sqlite", url: "" };
  const address = addressesOf(text)?.[0];
  const kind = kindsByProtocol[address?.protocol ?? ""];
  if (address === undefined || kind === undefined) {
    throw invalid(
      `wanted sqlite, the http:// address of rqlite or the mongodb:// address of MongoDB, found ${JSON.stringify(withoutUser(text))}`,
    );
  }
  if (/@/.test(`${address.pathname}${address.search}${address.hash}`) || !isDecodable(address)) {
    throw invalid(`percent-encode user and password in ${JSON.stringify(withoutUser(text))}`);
  }
  return { kind, url: text };
}

function isDecodable({ username, password }: URL): boolean {
  try {
    decodeURIComponent(`${username}:${password}`);
    return true;
  } catch {
    return false;
  }
}

function placesOf(text: string): readonly string[] {
  const addresses = addressesOf(text) ?? [];
  return text === "" ? [""] : addresses.map(({ protocol, host, pathname }) => `${protocol}//${host}${pathname}`);
}

function withoutUser(text: string): string {
  return text.replace(/^([a-z+]+:\/\/)?.*@/is, "$1").slice(0, 80);
}

function invalid(problem: string): HeddleError<"INVALID_REQUEST"> {
  return new HeddleError("INVALID_REQUEST", { path: "sinks", problem });
}

export interface MakeSinksOptions {
  /** Of the SQLite sink. */
  readonly file: string;
  readonly report: (message: string) => void;
}

/** Connects to nothing yet. Drivers are loaded only where they are needed. */
export async function makeSinks(
  options: readonly SinkOption[],
  { file, report }: MakeSinksOptions,
): Promise<readonly Sink[]> {
  const makers: { readonly [K in Sink["kind"]]: (url: string) => Promise<Sink> } = {
    sqlite: async () => new SqliteSink({ file, onReplaced: (problem) => report(`${file} was made anew: ${problem}`) }),
    rqlite: async (url) => new (await import("./rqlite/rqlite-sink.ts")).RqliteSink({ url }),
    mongodb: async (url) => new (await import("./mongodb/mongodb-sink.ts")).MongodbSink({ url }),
  };
  return Promise.all(options.map(({ kind, url }) => makers[kind](url)));
}
