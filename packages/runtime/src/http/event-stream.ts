// EventStreams: server-sent events, from pages of events that come when there are some.
//
// E1. What goes wrong before the first byte has a status and a typed body; later it is an event named `error` with the same
//     body, and the stream ends. A browser then comes again by itself.
// E2. No page is asked for while the reader has not taken the one before (P8). One who stops reading is cut off by the
//     connection's bound on silence.
// E3. Every event, and every pause, says where to go on: `Last-Event-ID` brings it back. Nothing is left out between.
// E4. When the reader goes, what waits for it ends at once; and all streams end when the node closes.
// E5. Readers that are behind take turns, a page or two at a time with turns of the event loop between: a thousand of them hold up
//     neither each other nor who writes (P8).
import { Readable } from "node:stream";
import { HeddleError } from "@heddle/kernel";
import type { FastifyReply } from "fastify";
import type { Logger } from "pino";
import { errorAnswer } from "./answers.ts";
import type { HttpBounds } from "./bounds.ts";

/** One event: where to go on behind it, and its JSON. */
export interface StreamedEvent {
  readonly id: string;
  readonly text: string;
}

export interface StreamPage {
  readonly events: readonly StreamedEvent[];
  /** Where to go on behind the page; behind what it passed over, too. */
  readonly id: string;
}

/** Waits for up to `waitMs`, and comes back soon after the signal, with whatever. */
export type NextPage = (waitMs: number, signal: AbortSignal) => Promise<StreamPage>;

/** A page with so many events says that its reader is behind. */
const behindEvents = 100;

/** Pages of readers that are behind that are made at the same time. */
const pagesAtOnce = 2;

/** What a browser waits before it comes again. */
const retryMs = 1_000;

export class EventStreams {
  readonly #bounds: HttpBounds;
  readonly #logger: Logger;
  readonly #open = new Set<AbortController>();
  /** Each resolves when the last page of its row is made. */
  readonly #rows: Promise<void>[] = Array.from({ length: pagesAtOnce }, () => Promise.resolve());
  #nextRow = 0;
  #isClosing = false;

  constructor(bounds: HttpBounds, logger: Logger) {
    this.#bounds = bounds;
    this.#logger = logger;
  }

  /** Streams that are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Errors: `OVERLOADED`; whatever the first page throws. */
  async send(reply: FastifyReply, next: NextPage): Promise<FastifyReply> {
    const [depth, depthMax] = [this.#open.size, this.#bounds.eventStreamsMax];
    if (depth >= depthMax) throw new HeddleError("OVERLOADED", { queue: "event streams", depth, depthMax });
    const ending = new AbortController();
    this.#open.add(ending);
    reply.raw.once("close", () => {
      this.#open.delete(ending);
      ending.abort();
    });
    // Waits for nothing: it tells whether the question makes sense while there is still a status to say so with.
    const opened = { page: await this.#inTurn(() => next(0, ending.signal)) };
    return reply
      .header("cache-control", "no-store")
      .header("x-accel-buffering", "no")
      .type("text/event-stream")
      .send(Readable.from(this.#text(opened, next, ending.signal), { objectMode: false }));
  }

  /** Ends all streams. */
  close(): void {
    this.#isClosing = true;
    for (const ending of this.#open) ending.abort();
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const row = this.#nextRow++ % pagesAtOnce;
    const before = this.#rows[row]!;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#rows[row] = promise;
    await before;
    try {
      return await work();
    } finally {
      setImmediate(resolve);
    }
  }

  // No page is kept while its text waits for the reader: of streams that nobody reads there may be thousands.
  async *#text(opened: { page: StreamPage | undefined }, next: NextPage, signal: AbortSignal): AsyncGenerator<string> {
    let id = opened.page!.id;
    let isBehind = opened.page!.events.length >= behindEvents;
    const said = (page: StreamPage): string => {
      const before = id;
      id = page.id;
      isBehind = page.events.length >= behindEvents;
      if (page.events.length > 0) return pageText(page);
      // A comment, so that whoever stands between does not take the connection for dead.
      return page.id === before ? ":\n\n" : whereText(page);
    };
    yield `retry: ${retryMs}\n${firstText(opened)}`;
    try {
      while (!signal.aborted) {
        if (isBehind) {
          const text = await this.#inTurn(async () => said(await next(0, signal)));
          if (text !== ":\n\n") yield text;
          continue;
        }
        const text = said(await next(this.#bounds.eventStreamPauseMs, signal));
        if (text !== ":\n\n" || !signal.aborted) yield text;
      }
      if (this.#isClosing) yield errorText(new HeddleError("CLOSED", { what: "the node" }));
    } catch (error) {
      this.#logger.debug({ err: error }, "an event stream broke off");
      yield errorText(error);
    }
  }
}

function firstText(opened: { page: StreamPage | undefined }): string {
  const page = opened.page!;
  opened.page = undefined;
  return page.events.length === 0 ? whereText(page) : pageText(page);
}

function pageText({ events, id }: StreamPage): string {
  let text = "";
  for (const event of events) text += `id: ${event.id}\ndata: ${event.text}\n\n`;
  return events.at(-1)!.id === id ? text : text + whereText({ events: [], id });
}

// Without data it is no event for who listens, and is remembered all the same.
function whereText({ id }: StreamPage): string {
  return `id: ${id}\n\n`;
}

function errorText(error: unknown): string {
  const problem = "the node failed at this call, see its log";
  const typed = error instanceof HeddleError ? error : new HeddleError("OUTCOME_UNKNOWN", { problem });
  return `event: error\ndata: ${errorAnswer(typed).text}\n\n`;
}
