// FeedMerge: the feeds of all shards as one, for one reader.
//
// M1. Events of an entity come in their order; between entities there is none.
// M2. Every event carries the cursor that goes on behind it: whoever begins there gets exactly the rest.
// M3. Each shard has at most one question under way, and at most one page that was not taken: memory is bounded, and who takes
//     nothing asks for nothing.
import { type FeedPosition, feedBeginning, readCursor, writeCursor } from "./feed-cursor.ts";
import type { FeedEvent, FeedFields, FeedPage } from "./feed-requests.ts";

export interface FeedQuery {
  /** Only of entities of this kind: `account` for `account/…`. */
  readonly kind?: string | undefined;
  readonly aggregate?: string | undefined;
  readonly types?: readonly string[] | undefined;
  /** A cursor goes on behind the event that it came with. Default "beginning". */
  readonly from?: "beginning" | "now" | (string & {}) | undefined;
}

/** The way to the feeds. */
export interface FeedPort {
  shardCount(): Promise<number>;
  /** Where each shard's feed ends at the moment of the call. */
  ends(): Promise<readonly number[]>;
  /** Waits for events as the fields say. Comes back soon when the signal says that nobody waits, with whatever. */
  page(shard: number, fields: FeedFields, signal: AbortSignal): Promise<FeedPage>;
}

/** One committed event, with the place behind it. */
export class SubscribedEvent implements FeedEvent {
  readonly shard: number;
  readonly position: number;
  readonly index: number;
  readonly entity: string;
  readonly seq: number;
  readonly time: number;
  readonly aggregate: string;
  readonly type: string;
  readonly payload: unknown;
  readonly metadata: unknown;
  readonly id: string | undefined;
  readonly schemaVersion: number;
  readonly #others: readonly FeedPosition[];
  readonly #behind: FeedPosition;

  constructor(event: FeedEvent, behind: FeedPosition, others: readonly FeedPosition[]) {
    this.shard = event.shard;
    this.position = event.position;
    this.index = event.index;
    this.entity = event.entity;
    this.seq = event.seq;
    this.time = event.time;
    this.aggregate = event.aggregate;
    this.type = event.type;
    this.payload = event.payload;
    this.metadata = event.metadata;
    this.id = event.id;
    this.schemaVersion = event.schemaVersion;
    this.#others = others;
    this.#behind = behind;
  }

  /** Given as `from`, it goes on behind this event. Made when it is asked for. */
  get cursor(): string {
    return writeCursor(this.#others.with(this.shard, this.#behind));
  }
}

export interface SubscribedPage {
  /** None, when a shard had nothing to tell for as long as was to be waited. */
  readonly events: readonly SubscribedEvent[];
  /** Behind the page, and what it passed over. */
  readonly cursor: string;
}

export class FeedMerge {
  readonly #port: FeedPort;
  readonly #filter: Pick<FeedFields, "kind" | "aggregate" | "types" | "limit">;
  readonly #from: string;
  readonly #now: Promise<readonly number[]> | undefined;
  /** By shard, the place behind what was given. */
  #positions: FeedPosition[] | undefined;
  /** Shards that were asked, and whose page was not given yet. */
  readonly #asked = new Set<number>();
  readonly #arrived: { readonly shard: number; readonly page: FeedPage }[] = [];
  #failure: { readonly error: unknown } | undefined;
  #wake = noop;

  /** `limit`: events in a page. With "now", the place is that of this moment. */
  constructor(port: FeedPort, query: FeedQuery, limit: number) {
    const { kind = "", aggregate = "", types = [], from = "beginning" } = query;
    this.#port = port;
    this.#filter = { kind, aggregate, types, limit };
    this.#from = from;
    this.#now = from === "now" ? port.ends() : undefined;
    // Whoever reads is told; one who never does has not asked.
    this.#now?.catch(noop);
  }

  /**
   * The next page of some shard, as soon as there is one; it may be empty when a shard has none for `waitMs`.
   * Errors: `INVALID_REQUEST` for what is no cursor; whatever the port rejects with, and from then on always.
   */
  async next(waitMs: number, signal: AbortSignal): Promise<SubscribedPage> {
    this.#positions ??= await this.#begin();
    const positions = this.#positions;
    for (let shard = 0; shard < positions.length; shard++) {
      if (!this.#asked.has(shard)) void this.#ask(shard, positions[shard]!, waitMs, signal);
    }
    while (this.#arrived.length === 0 && this.#failure === undefined) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    const { shard, page } = this.#arrived.shift()!;
    this.#asked.delete(shard);
    const others = positions.slice();
    positions[shard] = page.next;
    const events = page.events.map(({ event, behind }) => new SubscribedEvent(event, behind, others));
    return { events, cursor: writeCursor(positions) };
  }

  async #begin(): Promise<FeedPosition[]> {
    if (this.#now !== undefined) return (await this.#now).map((record) => ({ record, skip: 0 }));
    const shardCount = await this.#port.shardCount();
    if (this.#from === "beginning") return new Array<FeedPosition>(shardCount).fill(feedBeginning);
    return readCursor(this.#from, shardCount);
  }

  async #ask(shard: number, from: FeedPosition, waitMs: number, signal: AbortSignal): Promise<void> {
    this.#asked.add(shard);
    try {
      const page = await this.#port.page(shard, { ...this.#filter, from, waitMs }, signal);
      this.#arrived.push({ shard, page });
    } catch (error) {
      this.#failure ??= { error };
    }
    this.#wake();
  }
}

function noop(): void {}
