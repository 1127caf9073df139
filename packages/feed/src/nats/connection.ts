// Connection: one to NATS, for as long as it lasts.
//
// It is not made again by itself: whoever uses it has to compare what the server holds with what it should hold before
// anything else is sent, and nothing may be sent that was meant for the connection before.
import fs from "node:fs";
import { HeddleError } from "@heddle/kernel";
import {
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
} from "@nats-io/jetstream";
import {
  AuthorizationError,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
} from "@nats-io/transport-node";
import { addressesOf, type NatsOptions, sinkName } from "./nats-options.ts";

/** Older ones can not read many messages at once. */
export const serverVersionMin = "2.11.0";

const connectTimeoutMs = 5_000;
/** A server that answers no ping for twice this long is away. */
const pingIntervalMs = 5_000;
/** For requests of JetStream's API. */
const apiTimeoutMs = 10_000;

export interface NatsLink {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  /** Of a message, headers included. */
  readonly payloadBytesMax: number;
  readonly isLost: boolean;
  /** Calls back when it is lost or closed, at once if it is already. Returns what takes the callback back. */
  onLost(callback: () => void): () => void;
  close(): Promise<void>;
}

/** Errors: `SINK_UNAVAILABLE`; `SINK_REFUSED` for credentials, and for a server that is too old or has no JetStream. */
export async function connectNats(options: NatsOptions): Promise<NatsLink> {
  const sink = sinkName(options);
  let nc: NatsConnection;
  try {
    nc = await connect(connectionOptions(options));
  } catch (cause) {
    throw natsError(sink, cause);
  }
  const refused = async (message: string) => {
    await nc.close();
    return new HeddleError("SINK_REFUSED", { sink, message });
  };
  const info = nc.info!;
  if (isOlder(info.version, serverVersionMin))
    throw await refused(`its version is ${info.version}, wanted ${serverVersionMin} or newer`);
  try {
    const jsm = await jetstreamManager(nc, { timeout: apiTimeoutMs });
    return new Link(nc, jetstream(nc, { timeout: apiTimeoutMs }), jsm, info.max_payload);
  } catch (cause) {
    await nc.close();
    throw natsError(sink, cause);
  }
}

function connectionOptions(options: NatsOptions): ConnectionOptions {
  const addresses = addressesOf(options);
  const [first] = addresses;
  const decoded = (text: string | undefined) =>
    text === undefined || text === "" ? undefined : decodeURIComponent(text);
  const inUrl = { user: decoded(first?.username), password: decoded(first?.password) };
  const user = options.user ?? (inUrl.password === undefined ? undefined : inUrl.user);
  const pass = options.password ?? inUrl.password;
  const token = options.token ?? (inUrl.password === undefined ? inUrl.user : undefined);
  const usesTls = options.caFile !== undefined || addresses.some(({ protocol }) => protocol === "tls:");
  return {
    servers: addresses.map(({ host }) => host),
    name: "heddle",
    timeout: connectTimeoutMs,
    reconnect: false,
    pingInterval: pingIntervalMs,
    maxPingOut: 2,
    noAsyncTraces: true,
    ...(user === undefined ? {} : { user, pass: pass ?? "" }),
    ...(token === undefined ? {} : { token }),
    ...(options.credentialsFile === undefined
      ? {}
      : { authenticator: credsAuthenticator(fs.readFileSync(options.credentialsFile)) }),
    ...(usesTls ? { tls: options.caFile === undefined ? {} : { caFile: options.caFile } } : {}),
  };
}

class Link implements NatsLink {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
  readonly payloadBytesMax: number;
  readonly #callbacks = new Set<() => void>();
  #isLost = false;

  constructor(nc: NatsConnection, js: JetStreamClient, jsm: JetStreamManager, payloadBytesMax: number) {
    this.nc = nc;
    this.js = js;
    this.jsm = jsm;
    this.payloadBytesMax = payloadBytesMax;
    void nc.closed().then(() => this.#end());
  }

  onLost(callback: () => void): () => void {
    if (this.#isLost) callback();
    else this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  #end(): void {
    this.#isLost = true;
    for (const callback of this.#callbacks) callback();
    this.#callbacks.clear();
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  async close(): Promise<void> {
    this.#end();
    await this.nc.close();
  }
}

/** JetStream's numbers for "there is no room": of the server, the account, the stream. */
const fullCodes: ReadonlySet<number> = new Set([10023, 10028, 10047, 10077]);

/** Whether a server that holds no more refused it: the same may succeed when there is room. */
export function isStoreFull(error: unknown): boolean {
  return error instanceof JetStreamApiError && fullCodes.has(error.code);
}

class NoJetStream extends Error {
  constructor() {
    super("it has no JetStream, or JetStream is not up");
  }
}

/** What a NATS client threw, as a typed error. */
export function natsError(sink: string, cause: unknown): HeddleError {
  if (cause instanceof HeddleError) return cause;
  const error = innermost(cause);
  const message = messageOf(error);
  const refused =
    error instanceof JetStreamApiError ||
    error instanceof AuthorizationError ||
    error instanceof errors.UserAuthenticationExpiredError ||
    error instanceof errors.PermissionViolationError ||
    error instanceof NoJetStream ||
    (error instanceof Error && /certificate|ENOENT/.test(message));
  return new HeddleError(refused ? "SINK_REFUSED" : "SINK_UNAVAILABLE", { sink, message }, { cause });
}

/** Nobody answers for JetStream, or for the stream: neither may be there, or not yet. */
export function isUnanswered(error: unknown): boolean {
  return error instanceof Error && (error.constructor.name === "JetStreamNotEnabled" || isUnanswered(error.cause));
}

// A refused connection comes wrapped; what it wraps says why.
function innermost(error: unknown): unknown {
  if (isUnanswered(error)) return new NoJetStream();
  const cause = (error as Error | undefined)?.cause;
  return cause instanceof Error && !(error instanceof JetStreamApiError) ? innermost(cause) : error;
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join("; ");
  if (error instanceof JetStreamApiError) return `${error.message} (${error.code})`;
  return error instanceof Error ? error.message || error.name : String(error);
}

function isOlder(version: string, than: string): boolean {
  const numbers = (text: string) => text.split(/[.-]/, 3).map(Number);
  const [found, wanted] = [numbers(version), numbers(than)];
  for (let i = 0; i < 3; i++) if (found[i] !== wanted[i]) return (found[i] ?? 0) < (wanted[i] ?? 0);
  return false;
}
