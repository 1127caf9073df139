// MongodbStore: one database of a MongoDB server: its connection, what the server can do, its errors as ours, and writes in
// such parts as it takes.
//
// FerretDB 1.24, which speaks the same protocol, differs where it is asked for below: it keeps a connection to its store for each
// document of an `update` command until the command ends, and stands still for good when it has none left (100); it finds a single
// document by its `_id` quickly, several only by going through all; and it cannot rename a collection onto another.
import { HeddleError } from "@heddle/kernel";
import {
  type AnyBulkWriteOperation,
  type Collection,
  type Db,
  MongoBulkWriteError,
  MongoClient,
  type MongoClientOptions,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
} from "mongodb";

export interface MongoOptions {
  /** `mongodb://user:password@host:port/database?…`, as its driver takes it. Without a database: `heddle`. */
  readonly url: string;
  /** How long a server is looked for, in ms. Default 5 s. */
  readonly selectionTimeoutMs?: number | undefined;
  /** How long an answer is waited for, in ms. Default 30 s. */
  readonly answerTimeoutMs?: number | undefined;
}

/** Everything that Heddle stores has a text as its id. */
export interface Stored {
  readonly _id: string;
  readonly [field: string]: unknown;
}

const codes = { duplicateKey: 11_000, notFound: 26, exists: 48, notImplemented: 238 } as const;
/** Unauthorized, AuthenticationFailed, and Atlas' own. */
const credentialCodes = new Set<unknown>([13, 18, 8000]);
/** The server is being stopped, elected, or started: HostUnreachable, NetworkTimeout, ShutdownInProgress, NotWritablePrimary … */
const passingCodes = new Set<unknown>([6, 7, 89, 91, 189, 262, 9001, 10_107, 11_600, 11_602, 13_435, 13_436]);

/** Of a socket, which the driver hands on as it is when a server dies while something is written to it. */
const socketCodes = /^(E[A-Z]+|ERR_(SOCKET|STREAM)_[A-Z_]+)$/;

/** Where in its sources FerretDB found an error: "[collection.go:135 sqlite.(*collection).InsertAll] database or disk is full". */
const ferretTrace = /^(?:\[[^\]]*\.go:\d+ [^\]]*\] )+/;

/** Operations of one command, and look-ups at once. */
const operationsMax = 1_000;
const operationsMaxOfFerret = 40;
const findsAtOnce = 8;
/** FerretDB gives ten documents in a row in less time than one by its id: many of a small collection are picked out of all. */
const readAllFrom = 100;

export class MongodbStore {
  /** The address without user, password and options. */
  readonly name: string;
  readonly #options: MongoOptions;
  #client: MongoClient | undefined;
  #db: Db | undefined;
  /** Of several that open it at the same time, one makes the client. */
  #opening: Promise<void> | undefined;
  #isFerret = false;
  #lastCommand: Promise<unknown> = Promise.resolve();

  constructor(options: MongoOptions) {
    this.#options = options;
    // Up to the last @: a password that should have been percent-encoded is not to be seen either.
    this.name = options.url.replace(/\/\/.*@/s, "//").replace(/\?.*$/s, "");
  }

  get isFerret(): boolean {
    return this.#isFerret;
  }

  async open(): Promise<void> {
    if (this.#db !== undefined) return;
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = undefined;
    });
    await this.#opening;
  }

  async #connect(): Promise<void> {
    const { url, selectionTimeoutMs = 5_000, answerTimeoutMs = 30_000 } = this.#options;
    const defaults: MongoClientOptions = {
      appName: "heddle",
      maxPoolSize: 16,
      serverSelectionTimeoutMS: selectionTimeoutMs,
      connectTimeoutMS: selectionTimeoutMs,
      socketTimeoutMS: answerTimeoutMs,
      waitQueueTimeoutMS: answerTimeoutMs,
    };
    // What the address asks for itself is not overruled.
    const own = new Set([...url.matchAll(/[?&]([^=&]+)=/g)].map(([, name]) => name!.toLowerCase()));
    const wanted = Object.entries(defaults).filter(([name]) => !own.has(name.toLowerCase()));
    let client: MongoClient | undefined;
    try {
      client = this.#clientOf(url, Object.fromEntries(wanted));
      const db = client.db(/^mongodb(?:\+srv)?:\/\/[^/]*\/([^?]+)/.exec(url)?.[1] ?? "heddle");
      const info = await db.command({ buildInfo: 1 });
      this.#isFerret = info["ferretdbVersion"] !== undefined;
      this.#client = client;
      this.#db = db;
    } catch (thrown) {
      await client?.close().catch(() => undefined);
      throw this.errorOf(thrown);
    }
  }

  #clientOf(url: string, options: MongoClientOptions): MongoClient {
    try {
      return new MongoClient(url, options);
    } catch (thrown) {
      // What the driver says may quote the address, and so may what it throws.
      const said = url.includes("@") ? "user and password have to be percent-encoded" : (thrown as Error).message;
      throw this.refused(`its address is none that MongoDB's driver can read: ${said}`);
    }
  }

  async close(): Promise<void> {
    await this.#opening?.catch(() => undefined);
    const client = this.#client;
    this.#client = undefined;
    this.#db = undefined;
    await client?.close();
  }

  get db(): Db {
    if (this.#db === undefined) throw this.unavailable("it is not open");
    return this.#db;
  }

  collection(name: string): Collection<Stored> {
    return this.db.collection<Stored>(name);
  }

  /** Replaces documents, or puts them there. Those that are said to be new are tried as new ones first: that is faster. */
  async put(
    collection: string,
    documents: readonly Stored[],
    isNew: (id: string) => boolean,
    below?: number,
  ): Promise<void> {
    const fresh: Stored[] = [];
    const known: Stored[] = [];
    for (const document of documents) (isNew(document._id) ? fresh : known).push(document);
    for (const part of inParts(fresh, operationsMax)) {
      try {
        await this.collection(collection).insertMany(part as Stored[], { ordered: false });
      } catch (thrown) {
        if (!isDuplicate(thrown)) throw thrown;
        known.push(...part);
      }
    }
    // A document that a later write has been at does not match, so that its insert fails: it stays as it is.
    const guard = below === undefined ? {} : { "heddle_row.revision": { $lt: below } };
    const operations = known.map((document): AnyBulkWriteOperation<Stored> => {
      const { _id, ...replacement } = document;
      return { replaceOne: { filter: { _id, ...guard }, replacement, upsert: true } };
    });
    await this.#bulk(collection, operations);
  }

  async remove(collection: string, ids: readonly string[]): Promise<void> {
    const operations = ids.map((_id): AnyBulkWriteOperation<Stored> => ({ deleteOne: { filter: { _id } } }));
    await this.#bulk(collection, operations);
  }

  /** By their ids; those that are not there are left out. */
  async find(collection: string, ids: readonly string[]): Promise<Stored[]> {
    const found: Stored[] = [];
    if (!this.#isFerret) {
      for (const part of inParts(ids, operationsMax)) {
        found.push(
          ...(await this.collection(collection)
            .find({ _id: { $in: part as string[] } })
            .toArray()),
        );
      }
      return found;
    }
    if (ids.length >= readAllFrom && (await this.collection(collection).estimatedDocumentCount()) <= ids.length * 10) {
      const wanted = new Set(ids);
      for await (const document of this.collection(collection).find({}, { batchSize: operationsMax })) {
        if (wanted.has(document._id)) found.push(document);
      }
      return found;
    }
    let next = 0;
    const findSome = async () => {
      while (next < ids.length) {
        const document = await this.collection(collection).findOne({ _id: ids[next++]! });
        if (document !== null) found.push(document);
      }
    };
    await Promise.all(Array.from({ length: Math.min(findsAtOnce, ids.length) }, findSome));
    return found;
  }

  async exists(collection: string): Promise<boolean> {
    // FerretDB has no filter for it.
    return (await this.db.listCollections({}, { nameOnly: true }).toArray()).some(({ name }) => name === collection);
  }

  async make(collection: string): Promise<void> {
    await this.db.createCollection(collection).catch(ignoring(codes.exists));
  }

  async drop(collection: string): Promise<void> {
    await this.collection(collection).drop().catch(ignoring(codes.notFound));
  }

  /** Onto a collection that may be there: in one step where the server can, else `aside` has the old one for a moment. */
  async rename(from: string, to: string, aside: string): Promise<void> {
    try {
      await this.collection(from).rename(to, { dropTarget: true });
      return;
    } catch (thrown) {
      if (!(thrown instanceof MongoServerError) || thrown.code !== codes.notImplemented) throw thrown;
    }
    if (await this.exists(to)) {
      await this.drop(aside);
      await this.collection(to).rename(aside);
    }
    await this.collection(from).rename(to);
  }

  /** Our errors instead of the driver's. */
  async guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      await this.open();
      return await work();
    } catch (thrown) {
      throw this.errorOf(thrown);
    }
  }

  errorOf(error: unknown): HeddleError {
    const thrown = unwrapped(error);
    if (thrown instanceof HeddleError) return thrown;
    const { message, code } = thrown as { readonly message: string; readonly code?: unknown };
    const said = String(message).replace(ferretTrace, "").slice(0, 200);
    if (credentialCodes.has(code))
      return this.refused("it does not accept the user, the password, or what they are for", thrown);
    const isAway =
      thrown instanceof MongoNetworkError ||
      thrown instanceof MongoServerSelectionError ||
      /^Mongo(NotConnected|WaitQueueTimeout|TopologyClosed|ServerClosed|StalePrimary|PoolClosed|PoolCleared|OperationTimeout|ClientClosed)/.test(
        (thrown as Error).name,
      ) ||
      passingCodes.has(code) ||
      (typeof code === "string" && socketCodes.test(code)) ||
      /database is locked|context (canceled|deadline)/.test(said);
    return isAway ? this.unavailable(said, thrown) : this.refused(said, thrown);
  }

  unavailable(message: string, cause?: unknown): HeddleError {
    return new HeddleError("SINK_UNAVAILABLE", { sink: this.name, message }, { cause });
  }

  refused(message: string, cause?: unknown): HeddleError {
    return new HeddleError("SINK_REFUSED", { sink: this.name, message }, { cause });
  }

  async #bulk(collection: string, operations: readonly AnyBulkWriteOperation<Stored>[]): Promise<void> {
    for (const part of inParts(operations, this.#isFerret ? operationsMaxOfFerret : operationsMax)) {
      await this.#alone(async () => {
        try {
          await this.collection(collection).bulkWrite(part, { ordered: false });
        } catch (thrown) {
          if (!isDuplicate(thrown)) throw thrown;
          // Some servers stop at the first one. Each by itself then: a duplicate is a document that is to stay.
          for (const operation of part) {
            await this.collection(collection).bulkWrite([operation]).catch(ignoring(codes.duplicateKey));
          }
        }
      });
    }
  }

  /** With FerretDB one such command at a time, so that it has connections left. */
  async #alone(work: () => Promise<void>): Promise<void> {
    if (!this.#isFerret) return work();
    const done = this.#lastCommand.then(work);
    this.#lastCommand = done.catch(() => undefined);
    return done;
  }
}

/** What a bulk write failed of: the driver wraps everything, also that there was no server. */
function unwrapped(thrown: unknown): unknown {
  if (!(thrown instanceof MongoBulkWriteError)) return thrown;
  const cause: unknown = thrown.errorResponse;
  return cause instanceof Error ? cause : thrown;
}

export function isDuplicate(thrown: unknown): boolean {
  if (thrown instanceof MongoBulkWriteError) {
    const errors = Array.isArray(thrown.writeErrors) ? thrown.writeErrors : [thrown.writeErrors];
    return errors.every(({ code }) => code === codes.duplicateKey) && thrown.code === codes.duplicateKey;
  }
  return thrown instanceof MongoServerError && thrown.code === codes.duplicateKey;
}

function ignoring(code: number): (thrown: unknown) => void {
  return (thrown) => {
    if (!(thrown instanceof MongoServerError) || thrown.code !== code) throw thrown;
  };
}

function* inParts<T>(items: readonly T[], size: number): Generator<T[]> {
  for (let from = 0; from < items.length; from += size) yield items.slice(from, from + size);
}
