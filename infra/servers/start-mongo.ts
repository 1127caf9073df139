// startMongo: a server that speaks MongoDB's wire protocol: FerretDB with SQLite. What it can not do that MongoDB can: README.md.
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { obtain } from "./obtain.ts";
import { type RunningServer, type StartOptions, startServer } from "./server-process.ts";
import { ferretPragmas, versions } from "./settings.ts";

export interface MongoOptions extends StartOptions {
  /** Who may ask for anything; without one everybody may. Kept in the folder: a later start with another adds none. */
  readonly user?: string;
  readonly password?: string;
  /** Of each database: beyond it a write fails as on a full disk. Default: what the disk has. */
  readonly maxStoreBytes?: number;
}

const pageBytes = 4096;

export async function startMongo(options: MongoOptions = {}): Promise<RunningServer> {
  const file = await obtain("mongo");
  const { user, password = "", maxStoreBytes } = options;
  const limit = maxStoreBytes === undefined ? "" : `&_pragma=max_page_count(${Math.floor(maxStoreBytes / pageBytes)})`;
  const users =
    user === undefined
      ? {}
      : {
          FERRETDB_TEST_ENABLE_NEW_AUTH: "true",
          FERRETDB_SETUP_DATABASE: "admin",
          FERRETDB_SETUP_USERNAME: user,
          FERRETDB_SETUP_PASSWORD: password,
        };
  return startServer(
    {
      name: "mongo",
      url: (port) => `mongodb://127.0.0.1:${port}/`,
      prepare: ({ port, folder }) => {
        const store = path.join(folder, "store");
        fs.mkdirSync(store, { recursive: true });
        // Environment variables, because FerretDB's own command and the one built here both read them.
        const env = {
          FERRETDB_LISTEN_ADDR: `127.0.0.1:${port}`,
          FERRETDB_HANDLER: "sqlite",
          FERRETDB_SQLITE_URL: `${pathToFileURL(store).href.replace("file://", "file:")}/?${ferretPragmas}${limit}`,
          FERRETDB_STATE_DIR: "-",
          FERRETDB_DEBUG_ADDR: "-",
          FERRETDB_TELEMETRY: "disable",
          // Go collects garbage of a heap of 10 MB all the time: a tenth of its processor time.
          GOGC: "400",
          ...users,
        };
        return { file, args: [], env };
      },
      probe: async (port) => {
        await ping(port);
        return versions.ferretdb;
      },
    },
    options,
  );
}

// OP_MSG with one section, the document { ping: 1, $db: "admin" }.
const pingDocument = Buffer.from(
  "\x1e\x00\x00\x00\x10ping\x00\x01\x00\x00\x00\x02$db\x00\x06\x00\x00\x00admin\x00\x00",
  "latin1",
);

/** Asks once and resolves when the reply is `ok`. A driver would do as well, but infra has no packages of its own. */
function ping(port: number): Promise<void> {
  const message = Buffer.alloc(21 + pingDocument.length);
  message.writeInt32LE(message.length, 0);
  message.writeInt32LE(1, 4);
  message.writeInt32LE(2013, 12);
  pingDocument.copy(message, 21);
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", timeout: 2_000 }, () => socket.write(message));
    let reply = Buffer.alloc(0);
    socket.on("data", (part: Buffer) => {
      reply = Buffer.concat([reply, part]);
      if (reply.length < 4 || reply.length < reply.readInt32LE(0)) return;
      socket.destroy();
      // { ok: 1.0 }: the type of a double, the name, and the number.
      const ok = Buffer.from("\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f", "latin1");
      if (reply.includes(ok)) resolve();
      else reject(new Error("the reply to ping is not ok"));
    });
    socket.once("timeout", () => socket.destroy(new Error("no reply to ping")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed before the reply to ping")));
  });
}
