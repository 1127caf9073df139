// Queries and projections: turns what callers say into requests, and replies into what callers see.
import { HeddleError, isHeddleError } from "@heddle/kernel";
import type {
  ListedProjection,
  LogPlace,
  ProjectionRebuild,
  ProjectionRebuilt,
  QueryConsistency,
  QueryParameters,
  QueryResult,
} from "@heddle/protocol";
import {
  type ProjectionAction,
  type ProjectionOperateFields,
  queryFields,
  readProjectionList,
  readQueryResult,
  requestKind,
  writeProjectionListBody,
  writeProjectionOperateBody,
  writeQueryBody,
} from "@heddle/protocol/internal";
import type { CallOptions } from "./session.ts";
import type { Sessions } from "./sessions.ts";

/** What `query` can be given. */
export interface QueryOptions {
  /**
   * What the query must see: the receipt of a write, or several. It waits for the projections whose tables it reads.
   * Errors: `PROJECTION_LAGS` when that takes longer than `timeoutMs`, and at once when it cannot come to pass.
   */
  readonly after?: LogPlace | readonly LogPlace[] | undefined;
  /** The sink to ask, by its name or kind. Default: the node's first SQL sink. */
  readonly sink?: string | undefined;
  /** Rows in the answer, 1 to 1,000,000. Default 10,000. Errors: `QUERY_LIMIT`: an answer is never cut short silently. */
  readonly rowsMax?: number | undefined;
  /** How long waiting and running may take together, in ms, up to 300,000. Default 5,000. Errors: `QUERY_LIMIT`. */
  readonly timeoutMs?: number | undefined;
  /** How sure rqlite has to be that it has seen the last write. SQLite always has. */
  readonly consistency?: QueryConsistency | undefined;
  /** Gives the call up. */
  readonly signal?: AbortSignal | undefined;
}

/** Which of a projection's sinks is meant. */
export interface ProjectionOptions extends CallOptions {
  /** By name or kind. Default: all that the projection is kept in. */
  readonly sink?: string | undefined;
}

export interface RebuildOptions {
  readonly sink?: string | undefined;
  /** Told a few times a second, for each sink, while the new rows are being made. */
  readonly onProgress?: ((progress: ProjectionRebuild & { readonly sink: string }) => void) | undefined;
  /** Stops waiting. The rebuild goes on at the node. */
  readonly signal?: AbortSignal | undefined;
}

export interface SkipOptions extends ProjectionOptions {
  /** Kept in the node's log, for those who come after. */
  readonly reason: string;
  /** Who. */
  readonly by?: string | undefined;
}

/** For the way there and back, and for a thread that is started again meanwhile. */
const querySlackMs = 20_000;
const rebuildPollMs = 250;

/** Header of requests that no shard answers. */
const noHash = 0;

export async function runQuery(
  sessions: Sessions,
  sql: string,
  params: QueryParameters | undefined,
  { signal, ...options }: QueryOptions,
): Promise<QueryResult> {
  const fields = queryFields(sql, params, options);
  const call = { timeoutMs: fields.timeoutMs + querySlackMs, signal };
  // One that waits for a projection, or runs for long, must hold no append up.
  return sessions.waiting().request(requestKind.query, noHash, writeQueryBody, fields, call, readQueryResult);
}

export async function listProjections(
  sessions: Sessions,
  options: CallOptions | undefined,
): Promise<ListedProjection[]> {
  const fields = { projection: "" };
  const session = sessions.of(noHash);
  const { projectionList } = requestKind;
  try {
    return await session.request(projectionList, noHash, writeProjectionListBody, fields, options, readProjectionList);
  } catch (error) {
    // A node without sinks has none.
    if (isHeddleError(error, "NO_QUERY_SINK")) return [];
    throw error;
  }
}

/** Resolves when the node has taken it up: what it was done to, and the generation that each is at, or is coming to. */
export function operateProjection(
  sessions: Sessions,
  action: ProjectionAction,
  projection: string,
  { sink = "", timeoutMs, signal }: ProjectionOptions = {},
  more: Partial<Pick<ProjectionOperateFields, "entity" | "reason" | "by">> = {},
): Promise<ProjectionRebuilt[]> {
  const { entity = "", reason = "", by = "" } = more;
  const fields = { action, projection, sink, entity, reason, by };
  const call = { timeoutMs, signal };
  const read = (value: unknown) => value as ProjectionRebuilt[];
  const { projectionOperate } = requestKind;
  return sessions.of(noHash).request(projectionOperate, noHash, writeProjectionOperateBody, fields, call, read);
}

export async function rebuildProjection(
  sessions: Sessions,
  projection: string,
  { sink, onProgress, signal }: RebuildOptions,
): Promise<ProjectionRebuilt[]> {
  const begun = await operateProjection(sessions, "rebuild", projection, { sink, signal });
  const startedAt = sessions.clock.monotonic();
  for (;;) {
    const listed = await listProjections(sessions, { signal });
    const rows = begun.map((one) => rowOf(listed, one));
    for (const { rebuild, sink } of rows) if (rebuild !== undefined) onProgress?.({ ...rebuild, sink });
    if (rows.every((row, i) => row.generation >= begun[i]!.generation)) return begun;
    const stopped = rows.find(({ state }) => state === "stopped" || state === "paused");
    if (stopped !== undefined) {
      const waitedMs = Math.round(sessions.clock.monotonic() - startedAt);
      const state = stopped.problem === undefined ? stopped.state : `${stopped.state}: ${stopped.problem}`;
      throw new HeddleError("PROJECTION_LAGS", { projection, sink: stopped.sink, waitedMs, state });
    }
    await pause(sessions, signal);
  }
}

function rowOf(listed: readonly ListedProjection[], { projection, sink }: ProjectionRebuilt): ListedProjection {
  const row = listed.find((one) => one.projection === projection && one.sink === sink);
  // The node was started with another domain module meanwhile.
  if (row === undefined) throw new HeddleError("UNKNOWN_PROJECTION", { projection, known: known(listed) });
  return row;
}

function known(listed: readonly ListedProjection[]): string[] {
  return [...new Set(listed.map(({ projection }) => projection))];
}

function pause(sessions: Sessions, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      cancel();
      reject(signal!.reason as Error);
    };
    const cancel = sessions.ports.timers.after(rebuildPollMs, () => {
      signal?.removeEventListener("abort", giveUp);
      resolve();
    });
    if (signal?.aborted === true) giveUp();
    else signal?.addEventListener("abort", giveUp, { once: true });
  });
}
