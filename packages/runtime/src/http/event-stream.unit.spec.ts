// Event streams without a node: pages come from here, and somebody reads as fast as he can. Over HTTP: stream-routes.int.spec.ts.
import { EventEmitter } from "node:events";
import type { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { httpBounds } from "./bounds.ts";
import { EventStreams, type StreamPage } from "./event-stream.ts";

/** What a route answers with; `body` is there when it is sent. */
class Reply {
  readonly raw = new EventEmitter();
  body: Readable | undefined;

  header(): this {
    return this;
  }

  type(): this {
    return this;
  }

  send(body: Readable): this {
    this.body = body;
    return this;
  }
}

const fullPage: StreamPage = {
  events: Array.from({ length: 1_000 }, (_, index) => ({ id: String(index), text: "{}" })),
  id: "999",
};

describe("event streams", () => {
  it("E5 P8: readers that are behind take turns, so that the event loop goes on between pages", async () => {
    const streams = new EventStreams(httpBounds, pino({ level: "silent" }));
    const readers = 200;
    const pagesOfEach = 3;
    let madeSinceTurn = 0;
    let most = 0;
    let done = false;
    const turn = () => {
      madeSinceTurn = 0;
      if (!done) setImmediate(turn);
    };
    turn();
    const read = async () => {
      let left = pagesOfEach;
      const reply = new Reply();
      const page = async (): Promise<StreamPage> => {
        most = Math.max(most, ++madeSinceTurn);
        if (left-- > 0) return fullPage;
        reply.raw.emit("close");
        return { events: [], id: "999" };
      };
      await streams.send(reply as unknown as FastifyReply, page);
      let events = 0;
      for await (const text of reply.body!) events += String(text).split("data: ").length - 1;
      return events;
    };
    const read200 = await Promise.all(Array.from({ length: readers }, read));
    done = true;
    expect(new Set(read200)).toEqual(new Set([pagesOfEach * 1_000]));
    expect(most).toBeLessThanOrEqual(4);
    expect(streams.size).toBe(0);
  });
});
