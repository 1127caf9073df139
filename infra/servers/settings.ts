// Settings: which servers, in which versions, and how each is set up. One place for what development, tests, benchmarks
// and the compose files share; infra/compose/compose.unit.spec.ts holds the compose files against it.

export type ServerName = "nats" | "rqlite" | "mongo";
export const serverNames: readonly ServerName[] = ["nats", "rqlite", "mongo"];

/**
 * Versions as the go.mod files and the image tags have them. `mongo` is FerretDB here and MongoDB in the images; rqlite is an older
 * one here (`rqlite`) than in the images (`rqliteImage`): README.md says why.
 */
export const versions = {
  nats: "2.14.5",
  rqlite: "8.43.4",
  rqliteImage: "10.2.7",
  ferretdb: "1.24.2",
  mongodb: "8.0.21",
} as const;

export const usualPorts: Readonly<Record<ServerName, number>> = { nats: 4222, rqlite: 4001, mongo: 27_017 };

export const natsSettings = {
  /** JetStream acknowledges what lies on the disk; its own default writes through every two minutes. */
  syncInterval: "always",
  /** A commit group may have 4 MiB; NATS takes 1 MiB by default. */
  maxPayloadBytes: 8 << 20,
  maxMemoryStoreBytes: 256 << 20,
  maxFileStoreBytes: 32 * 2 ** 30,
} as const;

/**
 * SQLite below FerretDB. A commit waits for no disk: every document that is replaced is a commit, and a power cut takes back the
 * last ones only, which a projection finds out. The write-ahead log does not stay as long as it once was, so that what was deleted
 * does not stay in it.
 */
export const ferretPragmas = "_pragma=synchronous(normal)&_pragma=journal_size_limit(0)";

export interface NatsConfigOptions {
  readonly host: string;
  readonly port: number;
  readonly storeFolder: string;
  readonly serverName: string;
  /** Where the server tells how it is (`/healthz`); default: nowhere. */
  readonly monitor?: string;
  /** Default: true. */
  readonly jetstream?: boolean;
  readonly maxStoreBytes?: number;
  readonly maxPayloadBytes?: number;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
}

/** The configuration file of a NATS server. */
export function natsConfig(options: NatsConfigOptions): string {
  const { host, port, storeFolder, serverName, user, password, token } = options;
  const quoted = (text: string) => JSON.stringify(text);
  const lines = [
    `server_name: ${quoted(serverName)}`,
    `listen: ${quoted(`${host}:${port}`)}`,
    ...(options.monitor === undefined ? [] : [`http: ${quoted(options.monitor)}`]),
    `max_payload: ${options.maxPayloadBytes ?? natsSettings.maxPayloadBytes}`,
  ];
  if (options.jetstream !== false) {
    lines.push(
      "jetstream {",
      `  store_dir: ${quoted(storeFolder)}`,
      `  sync_interval: ${natsSettings.syncInterval}`,
      `  max_memory_store: ${natsSettings.maxMemoryStoreBytes}`,
      `  max_file_store: ${options.maxStoreBytes ?? natsSettings.maxFileStoreBytes}`,
      "}",
    );
  }
  if (token !== undefined) lines.push(`authorization { token: ${quoted(token)} }`);
  else if (user !== undefined)
    lines.push(`authorization { user: ${quoted(user)}, password: ${quoted(password ?? "")} }`);
  return `${lines.join("\n")}\n`;
}

export interface RqliteArgsOptions {
  readonly host: string;
  readonly port: number;
  readonly raftPort: number;
  /** The host by which others reach it, when that is not the one that it listens on. */
  readonly advertised?: string;
  readonly authFile?: string;
  /** Known by it among the nodes of a cluster, for good. Default: `heddle`. */
  readonly nodeId?: string;
  /** Raft addresses (`host:port`) of nodes of a cluster that it is to join. */
  readonly join?: readonly string[];
  /** Left out for the image of rqlite, which adds its own. */
  readonly folder?: string;
}

/** The arguments of rqlited. */
export function rqliteArgs(options: RqliteArgsOptions): string[] {
  const { host, port, raftPort, advertised, authFile, nodeId = "heddle", join = [], folder } = options;
  return [
    ...["-node-id", nodeId],
    ...["-http-addr", `${host}:${port}`],
    ...["-raft-addr", `${host}:${raftPort}`],
    ...(advertised === undefined ? [] : ["-http-adv-addr", `${advertised}:${port}`]),
    ...(advertised === undefined ? [] : ["-raft-adv-addr", `${advertised}:${raftPort}`]),
    ...(authFile === undefined ? [] : ["-auth", authFile]),
    ...(join.length === 0 ? [] : ["-join", join.join(",")]),
    ...(folder === undefined ? [] : [folder]),
  ];
}
