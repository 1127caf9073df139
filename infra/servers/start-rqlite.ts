// startRqlite: one rqlite node, ready when it leads, or has joined a cluster and knows who leads.
//
// Not promised: that a node which was started anew has gone through its log by then. Until it has, it answers reads of the level
// `weak`, rqlite's default, with what was before; those of the level `linearizable` wait.
import fs from "node:fs";
import path from "node:path";
import { obtain } from "./obtain.ts";
import { type RunningServer, type StartOptions, startServer } from "./server-process.ts";
import { rqliteArgs } from "./settings.ts";

export interface RqliteOptions extends StartOptions {
  readonly user?: string;
  readonly password?: string;
  /** What this user may do, by rqlite's names, beside asking whether it is ready. Default: everything. */
  readonly permissions?: readonly string[];
  /** Known by it among the nodes of a cluster. */
  readonly nodeId?: string;
  /** Another node of the cluster that it is to join. Default: it is one by itself. */
  readonly join?: RunningServer;
  /** None of its files grows beyond it, as on a full disk. */
  readonly fileBytesMax?: number;
}

export async function startRqlite(options: RqliteOptions = {}): Promise<RunningServer> {
  const file = await obtain("rqlite");
  const { user, password = "", permissions = ["all"], nodeId, join, fileBytesMax } = options;
  const headers: Record<string, string> =
    user === undefined ? {} : { Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
  return startServer(
    {
      name: "rqlite",
      url: (port) => `http://127.0.0.1:${port}`,
      prepare: ({ port, folder }) => {
        const authFile = path.join(folder, "auth.json");
        const users = [{ username: user, password, perms: [...permissions, "ready"] }];
        if (user !== undefined) fs.writeFileSync(authFile, JSON.stringify(users), { mode: 0o600 });
        const args = rqliteArgs({
          host: "127.0.0.1",
          port,
          raftPort: raftPort(port),
          folder: path.join(folder, "store"),
          ...(user === undefined ? {} : { authFile }),
          ...(nodeId === undefined ? {} : { nodeId }),
          ...(join === undefined ? {} : { join: [`127.0.0.1:${raftPort(join.port)}`] }),
        });
        if (fileBytesMax === undefined) return { file, args };
        // The unit of a shell's ulimit is 512 bytes; some take it for 1,024.
        const limited = `ulimit -S -f ${Math.floor(fileBytesMax / 512)} && exec "$0" "$@"`;
        return { file: "/bin/sh", args: ["-c", limited, file, ...args] };
      },
      probe: async (port) => {
        const ready = await fetch(`http://127.0.0.1:${port}/readyz`, { headers, signal: AbortSignal.timeout(2_000) });
        const said = await ready.text();
        if (!ready.ok) throw new Error(`/readyz: ${ready.status} ${said.replaceAll("\n", " ")}`);
        return ready.headers.get("x-rqlite-version")?.replace(/^v/, "") ?? "unknown";
      },
    },
    options,
  );
}

/** `freePort` keeps the one after a server's own for it. */
const raftPort = (port: number) => port + 1;
