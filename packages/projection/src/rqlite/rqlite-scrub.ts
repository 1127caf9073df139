// What it takes until no file of rqlite holds a byte of what was deleted (P6).
//
// rqlite keeps what is written in four places, and none is overwritten by itself:
//
//   db.sqlite      a deleted row's bytes stay on free pages                    VACUUM, through the log, so on every node
//   db.sqlite-wal  old pages stay until it is emptied                          a snapshot empties it
//   raft.db        the requests themselves; taken out of the log, they stay
//                  on its free pages                                           a snapshot takes them out, fillers overwrite
//   snapshots      the database as it was                                      the next one; a reap where there are several
//
// Snapshots and reaps are a node's own business, so each node is asked for itself, once all have carried out the VACUUM. `-raft-snap`
// (8,192 requests by default) is how many requests stay in the log otherwise.
// Needs the permissions execute, query, status and snapshot, and rqlite 8.38 or newer (it tells a request's place in the log); in 10
// a reap beside it, before that a snapshot reaps by itself.
// Not promised: nodes that do not answer (then it fails, and is to be tried again); backups that somebody made.
import { setTimeout as pause } from "node:timers/promises";
import type { RqliteCall, RqliteClient, RqliteStatement } from "./rqlite-client.ts";

/** VACUUM writes the whole database anew, and a snapshot copies it. */
const longMs = 10 * 60_000;
/** Within it every node has carried out what its leader has. */
const appliedWithinMs = 60_000;
const pollEveryMs = 20;
/** Requests at once: rqlite writes that many into its log with one sync. */
const fillersAtOnce = 64;
/** Characters of fillers that take several pages of raft.db, for long runs of free ones; the one for single pages follows from their size. */
const longFillers = [256 << 10, 16 << 10];
/** What raft.db adds to a filler, and its pages to two of them. */
const fillerOverhead = 320;
/** Free pages that raft.db always has: those that the last writes replaced. */
const freePagesSpare = 16;
/** Fillers are given up when they have taken so many times the room that was free: something else frees it. */
const fillTimesMax = 8;
const fillPagesLeast = 1 << 14;

interface NodeStatus {
  readonly os?: { readonly page_size?: number };
  readonly store?: {
    readonly fsm_index?: number;
    readonly raft?: { readonly bolt?: { readonly FreePageN?: number; readonly PendingPageN?: number } };
  };
}

export async function scrubRqlite(client: RqliteClient): Promise<void> {
  const vacuumed = await client.execute(["VACUUM"], longMs);
  const origins = await nodesOf(client);
  const allApplied = async (index: number) => {
    for (const origin of origins) await applied(client, origin, index);
  };
  await allApplied(vacuumed);
  // The last request of a log stays in it. With a node that was so far behind that it was sent a snapshot, this would be an old one.
  await allApplied(await client.execute(["SELECT 1"], longMs));
  for (const origin of origins) await snapshot(client, origin);
  for (const origin of origins) await overwriteFreePages(client, origin);
  for (const origin of origins) {
    await snapshot(client, origin);
    await ask(client, origin, "/reap");
  }
}

/** Addresses of all nodes. Errors: `SINK_UNAVAILABLE` when one does not answer. */
async function nodesOf(client: RqliteClient): Promise<readonly string[]> {
  const told = await tell<Record<string, { api_addr?: string; reachable?: boolean }>>(client, "/nodes", {
    parameters: "nonvoters",
  });
  const nodes = Object.values(told);
  const away = nodes.filter((node) => node.reachable !== true);
  if (away.length > 0)
    throw client.unavailable(`${away.length} of its nodes do not answer; what they store is not scrubbed`);
  // A single node is asked under the address that it is known by: the one it advertises may mean nothing here.
  if (nodes.length === 1) return [client.origin];
  return nodes.map((node) => node.api_addr ?? client.origin);
}

/** A follower may be behind its leader: what it has not deleted yet, its snapshot would keep. */
async function applied(client: RqliteClient, origin: string, index: number): Promise<void> {
  const deadline = performance.now() + appliedWithinMs;
  for (;;) {
    const { store } = await statusOf(client, origin);
    if ((store?.fsm_index ?? 0) >= index) return;
    if (performance.now() > deadline) throw client.unavailable(`the node ${origin} is behind its leader`);
    await pause(pollEveryMs);
  }
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

/**
 * Fills what is free in raft.db: a free page that is taken into use again has been overwritten.
 *
 * raft.db gives two entries a page of their own, or a run of neighbouring pages when they are longer. So long ones only fit long
 * runs of free pages; those that lie alone need entries of half a page, and they come last.
 */
async function overwriteFreePages(client: RqliteClient, origin: string): Promise<void> {
  const { os } = await statusOf(client, origin);
  const pageBytes = os?.page_size ?? 4096;
  const sizes = [...longFillers, pageBytes / 2 - fillerOverhead];
  const pagesOf = (characters: number) => Math.floor((fillersAtOnce * characters) / pageBytes);
  let free = await freePages(client, origin);
  let filled = 0;
  const filledMax = fillTimesMax * free + fillPagesLeast;
  while (free > freePagesSpare) {
    if (filled > filledMax) throw client.unavailable("the free pages of its log do not become fewer");
    while (sizes.length > 1 && pagesOf(sizes[0]!) > free) sizes.shift();
    await fill(client, origin, sizes[0]!);
    filled += pagesOf(sizes[0]!);
    const left = await freePages(client, origin);
    // It found no run that is long enough, and the file grew instead.
    if (sizes.length > 1 && free - left < pagesOf(sizes[0]!) / 2) sizes.shift();
    free = left;
  }
  // More single pages than are left: the last free ones, and those that were only about to be free.
  await fill(client, origin, sizes.at(-1)!);
}

/** Resolves when they lie in the log of this node: the others of a cluster do not wait for it. */
async function fill(client: RqliteClient, origin: string, characters: number): Promise<void> {
  const filler: RqliteStatement = ["SELECT ?", "-".repeat(characters)];
  const places = await Promise.all(Array.from({ length: fillersAtOnce }, () => client.execute(filler, longMs)));
  await applied(client, origin, Math.max(...places));
}

/** None for a server that has no such log. */
async function freePages(client: RqliteClient, origin: string): Promise<number> {
  const bolt = (await statusOf(client, origin)).store?.raft?.bolt;
  return (bolt?.FreePageN ?? 0) + (bolt?.PendingPageN ?? 0);
}

function statusOf(client: RqliteClient, origin: string): Promise<NodeStatus> {
  return tell<NodeStatus>(client, "/status", { origin });
}

async function tell<T>(client: RqliteClient, path: string, call: RqliteCall): Promise<T> {
  const reply = await client.call(path, { ...call, method: "GET" });
  if (reply.status !== 200) throw client.unavailable(`${path} answered ${reply.status}`);
  try {
    return JSON.parse(reply.text) as T;
  } catch {
    throw client.unavailable(`${path} answered with something else than JSON: ${reply.text.trim().slice(0, 200)}`);
  }
}
