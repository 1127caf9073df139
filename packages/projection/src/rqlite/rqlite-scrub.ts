// What it takes until no file of rqlite holds a byte of what was deleted (P6).
//
// rqlite keeps what is written in four places, and none is overwritten by itself:
//
//   db.sqlite      a deleted row's bytes stay on free pages                    VACUUM, through the log, so on every node
//   db.sqlite-wal  old pages stay until it is emptied                          a snapshot empties it
//   raft.db        the requests themselves; taken out of the log, they stay
//                  on its free pages                                           a snapshot takes them out, fillers overwrite
//   snapshots      the database as it was                                      a reap joins all of them into the newest
//
// Snapshots and reaps are a node's own business, so each node is asked for itself. `-raft-snap` (8,192 requests by default) is
// how many requests stay in the log otherwise.
// Needs the permissions execute, query, status and snapshot, and rqlite 10 (reap; before it a snapshot reaps by itself).
// Not promised: nodes that do not answer (then it fails, and is to be tried again); backups that somebody made.
import type { RqliteClient, RqliteStatement } from "./rqlite-client.ts";

/** VACUUM writes the whole database anew, and a snapshot copies it. */
const longMs = 10 * 60_000;
/** A filler takes about a page of raft.db. */
const fillerCharacters = 3_600;
/** Requests at once: rqlite writes that many into its log with one sync. */
const fillersAtOnce = 64;
/** Free pages that raft.db always has: those that the last writes replaced. */
const freePagesSpare = 16;
/** Beyond it, 4 GiB of fillers, the log is too large to be overwritten beside its work. */
const fillersMax = 1 << 20;

interface NodeStatus {
  readonly store?: {
    readonly raft?: { readonly bolt?: { readonly FreePageN?: number; readonly PendingPageN?: number } };
  };
}

export async function scrubRqlite(client: RqliteClient): Promise<void> {
  await client.execute(["VACUUM"], longMs);
  for (const origin of await nodesOf(client)) {
    await snapshot(client, origin);
    await overwriteFreePages(client, origin);
    await snapshot(client, origin);
    await ask(client, origin, "/reap");
  }
}

/** Addresses of all nodes. Errors: `SINK_UNAVAILABLE` when one does not answer. */
async function nodesOf(client: RqliteClient): Promise<readonly string[]> {
  const reply = await client.call("/nodes", { method: "GET", parameters: "nonvoters" });
  if (reply.status !== 200) throw client.unavailable(`/nodes answered ${reply.status}`);
  const nodes = Object.values(JSON.parse(reply.text) as Record<string, { api_addr?: string; reachable?: boolean }>);
  const away = nodes.filter((node) => node.reachable !== true);
  if (away.length > 0)
    throw client.unavailable(`${away.length} of its nodes do not answer; what they store is not scrubbed`);
  // A single node is asked under the address that it is known by: the one it advertises may mean nothing here.
  if (nodes.length === 1) return [client.origin];
  return nodes.map((node) => node.api_addr ?? client.origin);
}

/** All but the last request leave the log, and the write-ahead log is emptied. */
function snapshot(client: RqliteClient, origin: string): Promise<void> {
  return ask(client, origin, "/snapshot", "trailing_logs=1");
}

async function ask(client: RqliteClient, origin: string, path: string, parameters = ""): Promise<void> {
  const reply = await client.call(path, { origin, parameters, timeoutMs: longMs });
  // 204: there is nothing new since the last one. 404: a reap is not known before rqlite 10.
  const isDone = reply.status < 300 || (reply.status === 404 && path === "/reap");
  if (!isDone) throw client.unavailable(`${path} answered ${reply.status}: ${reply.text.trim().slice(0, 200)}`);
}

/** Fills what is free in raft.db: a free page that is taken into use again has been overwritten. */
async function overwriteFreePages(client: RqliteClient, origin: string): Promise<void> {
  const filler: RqliteStatement = ["SELECT ?", "-".repeat(fillerCharacters)];
  for (let fillers = 0; (await freePages(client, origin)) > freePagesSpare; fillers += fillersAtOnce) {
    if (fillers > fillersMax) throw client.unavailable("the free pages of its log do not become fewer");
    await Promise.all(Array.from({ length: fillersAtOnce }, () => client.execute(filler, longMs)));
  }
}

/** None for a server that has no such log. */
async function freePages(client: RqliteClient, origin: string): Promise<number> {
  const reply = await client.call("/status", { origin, method: "GET" });
  if (reply.status !== 200) throw client.unavailable(`/status answered ${reply.status}`);
  const bolt = (JSON.parse(reply.text) as NodeStatus).store?.raft?.bolt;
  return (bolt?.FreePageN ?? 0) + (bolt?.PendingPageN ?? 0);
}
