// SagaPages: the sagas of all shards, a page at a time.
//
// S1. All sagas come in the order of their ids; unfinished ones in that of their beginnings, oldest first, and behind them
//     those that are stuck; stuck ones by themselves in the order of their ids. A page's cursor stands for the place behind it.
// Not promised: sagas that begin or end from one page to the next may be in the rest or not.
import { HeddleError, systemKinds } from "@heddle/kernel";
import { u48Max } from "./bytes.ts";
import { compareIds } from "./list-pages.ts";
import type { WireSagaList } from "./saga-replies.ts";
import { checkListLimit, type SagaListFields, type SagaPlace } from "./saga-requests.ts";
import type { SagaPage, SagaQuery } from "./sagas.ts";

const defaultLimit = 100;

/** Errors: `INVALID_REQUEST`; whatever `list`, which asks one shard, rejects with. */
export async function sagaPage(
  list: (shard: number, fields: SagaListFields) => Promise<WireSagaList>,
  shardCount: number,
  query: SagaQuery = {},
): Promise<SagaPage> {
  const { only = "all", limit = defaultLimit, cursor = "" } = query;
  if (only !== "all" && only !== "unfinished" && only !== "stuck") {
    const problem = `wanted all, unfinished or stuck, found ${JSON.stringify(only)}`;
    throw new HeddleError("INVALID_REQUEST", { path: "only", problem });
  }
  checkListLimit(limit);
  const fields: SagaListFields = { only, limit, after: placeOf(cursor) };
  const lists = await Promise.all(Array.from({ length: shardCount }, (_, shard) => list(shard, fields)));
  const found = lists.flatMap(({ sagas }) => sagas);
  found.sort((a, b) => a.place - b.place || compareIds(a.saga, b.saga));
  const page = found.slice(0, limit);
  const last = page.at(-1);
  const hasMore = last !== undefined && (found.length > limit || lists.some(({ more }) => more));
  const lines = page.map(({ place: _, ...listed }) => listed);
  return Object.assign(lines, { cursor: hasMore ? `${last.place}:${last.saga}` : undefined });
}

function placeOf(cursor: string): SagaPlace {
  if (cursor === "") return { time: 0, entity: "" };
  const [, time, saga] = (typeof cursor === "string" && /^(\d{1,15}):(.+)$/su.exec(cursor)) || [];
  if (time === undefined || saga === undefined || Number(time) > u48Max) {
    throw new HeddleError("INVALID_REQUEST", { path: "cursor", problem: "wanted the cursor of a page before" });
  }
  return { time: Number(time), entity: `${systemKinds.saga}/${saga}` };
}
