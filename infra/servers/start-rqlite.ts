// startRqlite: one rqlite node, ready when it leads.
//
// `HEDDLE_RQLITED` names the binary of rqlited. Without it a stand-in answers rqlite's HTTP API from a SQLite file: real
// SQL, durable writes, a process that can be killed, and nothing of Raft (see rqlite/stand-in.ts and README.md). What was
// shown with a stand-in is not shown for rqlite; `standIn` tells which of the two it is.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { givenBinary } from "./obtain.ts";
import { type RunningServer, type StartOptions, startServer } from "./server-process.ts";
import { rqliteArgs } from "./settings.ts";

export interface RqliteOptions extends StartOptions {
  readonly user?: string;
  readonly password?: string;
}

export interface RunningRqlite extends RunningServer {
  readonly standIn: boolean;
}

export const rqliteVariable = "HEDDLE_RQLITED";

export async function startRqlite(options: RqliteOptions = {}): Promise<RunningRqlite> {
  const binary = givenBinary(rqliteVariable);
  const { user, password = "" } = options;
  const headers: Record<string, string> =
    user === undefined ? {} : { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
  const server = await startServer(
    {
      name: "rqlite",
      url: (port) => `http://127.0.0.1:${port}`,
      prepare: ({ port, folder }) => {
        const authFile = path.join(folder, "auth.json");
        if (user !== undefined)
          fs.writeFileSync(authFile, JSON.stringify([{ username: user, password, perms: ["all"] }]), { mode: 0o600 });
        const args = rqliteArgs({
          host: "127.0.0.1",
          port,
          raftPort: port + 1,
          folder: path.join(folder, "store"),
          ...(user === undefined ? {} : { authFile }),
        });
        if (binary !== undefined) return { file: binary, args };
        const standIn = fileURLToPath(new URL("./rqlite/stand-in.ts", import.meta.url));
        return { file: process.execPath, args: [standIn, ...args] };
      },
      probe: async (port) => {
        const ready = await fetch(`http://127.0.0.1:${port}/readyz`, { headers, signal: AbortSignal.timeout(2_000) });
        const said = await ready.text();
        if (!ready.ok) throw new Error(`/readyz: ${ready.status} ${said.replaceAll("\n", " ")}`);
        return ready.headers.get("x-rqlite-version") ?? "unknown";
      },
    },
    options,
  );
  return Object.assign(server, { standIn: binary === undefined });
}
