// ListPages: the entities of all shards in one order, page by page.
//
// L1. The order is that of the ids' UTF-8 bytes, over all shards; no entity comes twice, and none that was there from the
//     first page to the last is left out.
// L2. A page's cursor stands for the place behind it: whoever goes on with it gets exactly the rest.
// L3. Memory is a page, and what the shards gave ahead: about as much again, or 10,000 entities together where a caller
//     goes on from page to page. A shard that is asked for much at once has less to do for each.
// Not promised: entities that are written to for the first time meanwhile may be in the rest or not.
import { HeddleError, limits } from "@heddle/kernel";
import { readText, writeText } from "./bytes.ts";
import type { ListFields, WireListed } from "./lifecycle-requests.ts";

export interface ListQuery {
  /** Only ids of this kind: `account` for `account/…`. */
  readonly kind?: string | undefined;
  /** Only ids whose name begins so, where a kind is given; else ids that begin so. */
  readonly prefix?: string | undefined;
  /** Entities in a page, 1 to 10,000. Default 1,000. */
  readonly limit?: number | undefined;
  /** A page's `cursor`: goes on behind it. */
  readonly cursor?: string | undefined;
  /** Erased entities too. Default false. */
  readonly erased?: boolean | undefined;
}

/** An entity as a list has it. */
export interface ListedEntity {
  readonly entity: string;
  /** Its last sequence. */
  readonly seq: number;
  /** When its last event was written, in ms since 1970. */
  readonly time: number;
  /** The head of its hash chain, as 64 hex digits; empty while none has been computed yet. */
  readonly chain: string;
  readonly erased: boolean;
}

/** Entities in order, and where to go on: `cursor` is undefined on the last page. */
export type EntityPage = readonly ListedEntity[] & { readonly cursor: string | undefined };

/** What listing needs of a node: asks one shard. */
export type ListShard = (shard: number, fields: ListFields) => Promise<readonly WireListed[]>;

const defaultLimit = 1_000;
/** Entities that all shards together are asked for at once by somebody who will want the next page, too. */
const readAhead = 10_000;

/** Pages to the end; none when nothing is found. Errors: `INVALID_REQUEST`; whatever `list` rejects with. */
export async function* listPages(
  list: ListShard,
  shardCount: number,
  query: ListQuery = {},
): AsyncGenerator<EntityPage, void, undefined> {
  const merge = new ListMerge(list, shardCount, query, readAhead);
  for (;;) {
    const page = await merge.page();
    if (page.length > 0) yield page;
    if (page.cursor === undefined) return;
  }
}

/** One page, which may be empty. Errors: as `listPages`. */
export async function listPage(list: ListShard, shardCount: number, query: ListQuery = {}): Promise<EntityPage> {
  return new ListMerge(list, shardCount, query, 0).page();
}

/** A shard's entities that came and were not given out yet. */
interface Source {
  readonly shard: number;
  waiting: readonly WireListed[];
  next: number;
  after: string;
  ended: boolean;
}

class ListMerge {
  readonly #list: ListShard;
  readonly #sources: readonly Source[];
  readonly #limit: number;
  readonly #prefix: string;
  readonly #erased: boolean;
  /** Asked of a shard at once: what falls to it of a page and a little more, so that one question does for most pages. */
  readonly #step: number;

  constructor(list: ListShard, shardCount: number, query: ListQuery, readAhead: number) {
    const { kind, prefix = "", limit = defaultLimit, cursor, erased = false } = query;
    this.#limit = checkLimit(limit);
    this.#prefix = prefixOf(kind, prefix);
    this.#erased = erased;
    this.#list = list;
    const after = cursor === undefined ? "" : readCursor(cursor);
    this.#sources = Array.from({ length: shardCount }, (_, shard) => newSource(shard, after));
    const share = Math.ceil((limit * 1.25) / shardCount) + 8;
    const least = Math.ceil(readAhead / shardCount);
    this.#step = Math.min(Math.max(least, Math.min(share, limit + 1)), limits.listEntitiesMax);
  }

  async page(): Promise<EntityPage> {
    const found: ListedEntity[] = [];
    await Promise.all(this.#sources.map((source) => this.#fill(source)));
    while (found.length < this.#limit) {
      const least = this.#least();
      if (least === undefined) break;
      found.push(listed(least.waiting[least.next++]!));
      await this.#fill(least);
    }
    const hasMore = this.#least() !== undefined;
    const cursor = hasMore ? writeCursor(found[found.length - 1]!.entity) : undefined;
    return Object.assign(found, { cursor });
  }

  #least(): Source | undefined {
    let least: Source | undefined;
    for (const source of this.#sources) {
      if (source.next === source.waiting.length) continue;
      if (least === undefined || compareIds(source.waiting[source.next]![0], least.waiting[least.next]![0]) < 0) {
        least = source;
      }
    }
    return least;
  }

  // Returns nothing to wait for when there is some left, so that most steps of a page take no turn of their own.
  #fill(source: Source): Promise<void> | undefined {
    if (source.next < source.waiting.length || source.ended) return undefined;
    return this.#ask(source);
  }

  async #ask(source: Source): Promise<void> {
    const fields = { prefix: this.#prefix, after: source.after, limit: this.#step, erased: this.#erased };
    source.waiting = await this.#list(source.shard, fields);
    source.next = 0;
    source.ended = source.waiting.length < this.#step;
    source.after = source.waiting[source.waiting.length - 1]?.[0] ?? source.after;
  }
}

function newSource(shard: number, after: string): Source {
  return { shard, waiting: [], next: 0, after, ended: false };
}

function listed([entity, seq, time, chain, erased]: WireListed): ListedEntity {
  return { entity, seq, time, chain, erased };
}

function checkLimit(limit: number): number {
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= limits.listEntitiesMax) return limit;
  const problem = `wanted a whole number from 1 to ${limits.listEntitiesMax}, found ${limit}`;
  throw new HeddleError("INVALID_REQUEST", { path: "limit", problem });
}

function prefixOf(kind: string | undefined, prefix: string): string {
  if (typeof prefix !== "string") {
    throw new HeddleError("INVALID_REQUEST", { path: "prefix", problem: `wanted text, found ${typeof prefix}` });
  }
  if (kind === undefined) return prefix;
  if (typeof kind === "string" && /^[a-z][a-z0-9_-]*$/.test(kind)) return `${kind}/${prefix}`;
  const problem = `wanted a lower-case word such as account, found ${JSON.stringify(kind)}`;
  throw new HeddleError("INVALID_REQUEST", { path: "kind", problem });
}

/**
 * Orders texts as their UTF-8 bytes. UTF-16 units do so by themselves, but for those of characters beyond U+FFFF, which
 * sort below U+E000 to U+FFFF and belong above.
 */
export function compareIds(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

// The last id of the page, in hex, so that nobody is led to put it together. The digit tells versions apart.
function writeCursor(after: string): string {
  const bytes = new Uint8Array(3 * after.length);
  const used = writeText(bytes, 0, after);
  return `1${Array.from(bytes.subarray(0, used), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function readCursor(cursor: string): string {
  if (typeof cursor === "string" && /^1([0-9a-f]{2})+$/.test(cursor)) {
    const bytes = Uint8Array.from(cursor.slice(1).match(/../g)!, (digits) => Number.parseInt(digits, 16));
    try {
      if (bytes.length <= limits.entityIdBytesMax) return readText(bytes, 0, bytes.length);
    } catch {
      // Not text: no cursor of ours.
    }
  }
  throw new HeddleError("INVALID_REQUEST", { path: "cursor", problem: "it is not what a page gave as its cursor" });
}
