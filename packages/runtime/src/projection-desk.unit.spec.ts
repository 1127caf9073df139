// Goal: every request about projections is answered once, whatever becomes of it, and goes to the sinks that are meant. The
// projections are scripts; real ones: test/e2e/queries.e2e.spec.ts.
import { HeddleError } from "@heddle/kernel";
import type { TrackStatus } from "@heddle/projection/internal";
import {
  frameOffset,
  type ProjectionOperateFields,
  queryFields,
  type Reply,
  readReply,
  requestKind,
  writeProjectionListBody,
  writeProjectionOperateBody,
  writeQueryBody,
  writeRequestHeader,
  writeU32,
} from "@heddle/protocol/internal";
import { describe, expect, it } from "vitest";
import { ProjectionDesk, type ProjectionDeskOptions } from "./projection-desk.ts";

type Write = (reserve: (bytes: number) => { bytes: Uint8Array; at: number }) => number;

function frameOf(kind: number, call: number, write: Write): Uint8Array {
  let room = new Uint8Array();
  const used = write((wanted) => {
    room = new Uint8Array(frameOffset.requestBody + wanted);
    return { bytes: room, at: frameOffset.requestBody };
  });
  const frame = room.subarray(0, frameOffset.requestBody + used);
  writeU32(frame, 0, frame.length - 4);
  writeRequestHeader(frame, 0, { kind, flags: 0, hash: 0, call });
  return frame;
}

const query = (call: number) =>
  frameOf(requestKind.query, call, (reserve) => writeQueryBody(queryFields("select 1", [], {}), reserve));
const list = (call: number, projection = "") =>
  frameOf(requestKind.projectionList, call, (reserve) => writeProjectionListBody({ projection }, reserve));
const operate = (call: number, fields: Partial<ProjectionOperateFields>) =>
  frameOf(requestKind.projectionOperate, call, (reserve) =>
    writeProjectionOperateBody(
      { action: "pause", projection: "accounts", sink: "", entity: "", reason: "", by: "", ...fields },
      reserve,
    ),
  );

const status = (sink: string): TrackStatus => ({
  projection: "accounts",
  sink,
  table: "accounts",
  state: "live",
  problem: undefined,
  version: 1,
  generation: 3,
  positions: [64],
  lagBytes: 36,
  lagMs: 2.4,
  events: 5,
  eventsPerSecond: 1.26,
  setAside: 0,
  setAsideFirst: [],
  waitingForSagas: 0,
  rebuild: undefined,
});

class World {
  readonly replies: { readonly connection: number; readonly requestBytes: number; readonly reply: Reply }[] = [];
  readonly forgotten: number[] = [];
  readonly done: string[] = [];
  readonly waiting: PromiseWithResolvers<Uint8Array>[] = [];
  readonly desk: ProjectionDesk;

  constructor() {
    const sinks = [
      { name: "sqlite", kind: "sqlite" as const },
      { name: "http://r:4001", kind: "rqlite" as const },
    ];
    const act =
      (action: string) =>
      async (...given: readonly unknown[]): Promise<never[]> => {
        this.done.push([action, ...given.filter((one) => one !== undefined)].join(" "));
        return [];
      };
    const projections = {
      list: () => sinks.map(({ name }) => status(name)),
      tracksOf: (projection: string, sink?: string) => {
        if (projection !== "accounts") throw new HeddleError("UNKNOWN_PROJECTION", { projection, known: ["accounts"] });
        const meant = sinks.filter(({ name }) => sink === undefined || name === sink);
        return meant.map((one) => ({ sink: one, status: () => status(one.name) }));
      },
      rebuild: act("rebuild"),
      pause: act("pause"),
      resume: act("resume"),
      retry: act("retry"),
      skip: act("skip"),
    };
    this.desk = new ProjectionDesk({
      projections: projections as unknown as ProjectionDeskOptions["projections"],
      queries: {
        run: () => {
          const waiting = Promise.withResolvers<Uint8Array>();
          this.waiting.push(waiting);
          return waiting.promise;
        },
      },
      sinks,
      source: { end: () => 100 },
      replies: {
        frame: (connection, requestBytes, frame) => {
          this.replies.push({ connection, requestBytes, reply: readReply(frame, 0, frame.length) });
        },
        forget: (connection) => this.forgotten.push(connection),
      },
    });
  }

  receive(connection: number, frame: Uint8Array): void {
    this.desk.receive(connection, frame, 0, frame.length);
  }

  async ask(frame: Uint8Array): Promise<Reply> {
    this.receive(7, frame);
    await turn();
    return this.replies.at(-1)!.reply;
  }
}

/** Everything that promises have started is done, and what was put off to the next turn. */
const turn = async () => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};

const rows = Uint8Array.of(0x92, 0x91, 0xa1, 0x6e, 0x91, 0x91, 1); // [["n"], [[1]]]

describe("projection desk: queries", () => {
  it("are answered as they end, with their rows or their error, and give back what they counted for", async () => {
    const world = new World();
    world.receive(7, query(1));
    world.receive(8, query(2));
    world.waiting[1]!.resolve(rows);
    world.waiting[0]!.reject(new HeddleError("QUERY_LIMIT", { limit: "rows", max: 5 }));
    await turn();
    expect(world.replies).toMatchObject([
      { connection: 8, requestBytes: query(2).length, reply: { kind: "value", call: 2, value: [["n"], [[1]]] } },
      {
        connection: 7,
        requestBytes: query(1).length,
        reply: { kind: "error", call: 1, error: { code: "QUERY_LIMIT" } },
      },
    ]);
  });

  it("that fail at something of ours say so, typed", async () => {
    const world = new World();
    world.receive(7, query(1));
    world.waiting[0]!.reject(new TypeError("x is undefined"));
    await turn();
    expect(world.replies[0]!.reply).toMatchObject({ kind: "error", error: { code: "OUTCOME_UNKNOWN" } });
  });

  it("P8: of a connection that is gone are answered, and then nothing of it is kept", async () => {
    const world = new World();
    world.receive(7, query(1));
    world.receive(7, query(2));
    world.desk.connectionClosed(7);
    world.desk.connectionClosed(9);
    world.waiting[0]!.resolve(rows);
    await turn();
    expect(world.forgotten).toEqual([]);
    world.waiting[1]!.resolve(rows);
    await turn();
    await turn();
    expect(world.replies).toHaveLength(2);
    expect(world.forgotten).toEqual([7]);
  });

  it("P8: are refused when too many are under way", async () => {
    const world = new World();
    for (let call = 1; call <= 1_024; call++) world.receive(7, query(call));
    expect(() => world.receive(7, query(2_000))).toThrowError(expect.objectContaining({ code: "OVERLOADED" }));
    for (const { resolve } of world.waiting) resolve(rows);
    await turn();
    expect(world.replies).toHaveLength(1_024);
  });

  it("that still wait are answered when the thread is to end, once, and others are refused", async () => {
    const world = new World();
    world.receive(7, query(1));
    world.desk.close();
    world.waiting[0]!.resolve(rows);
    await turn();
    expect(world.replies).toMatchObject([{ reply: { kind: "error", call: 1, error: { code: "CLOSED" } } }]);
    expect(() => world.receive(7, query(2))).toThrowError(expect.objectContaining({ code: "CLOSED" }));
  });

  it("P7: a frame that makes no sense is refused", () => {
    const world = new World();
    const frame = query(1);
    expect(() => world.desk.receive(7, frame, 0, frame.length - 9)).toThrowError(HeddleError);
    expect(() =>
      world.receive(
        7,
        frameOf(requestKind.get, 1, (reserve) => reserve(0).at * 0),
      ),
    ).toThrowError(expect.objectContaining({ code: "BAD_FRAME" }));
  });
});

describe("projection desk: operators", () => {
  it("list what there is, rounded, with the ends of the logs", async () => {
    const world = new World();
    expect(await world.ask(list(1))).toMatchObject({
      value: [
        { projection: "accounts", sink: "sqlite", shards: [{ shard: 0, position: 64, end: 100 }], lagMs: 2 },
        { sink: "http://r:4001", eventsPerSecond: 1.3 },
      ],
    });
    expect(await world.ask(list(2, "acounts"))).toMatchObject({ error: { code: "UNKNOWN_PROJECTION" } });
  });

  it("reach all sinks, or those of a name or kind", async () => {
    const world = new World();
    expect(await world.ask(operate(1, {}))).toMatchObject({
      value: [
        { sink: "sqlite", generation: 3 },
        { sink: "http://r:4001", generation: 3 },
      ],
    });
    await world.ask(operate(2, { action: "resume", sink: "rqlite" }));
    await world.ask(operate(3, { action: "retry", sink: "sqlite", entity: "account/a" }));
    await world.ask(operate(4, { action: "skip", entity: "account/a", reason: "twice", by: "ann" }));
    expect(world.done).toEqual([
      "pause accounts",
      "resume accounts http://r:4001",
      "retry accounts account/a sqlite",
      "skip accounts account/a twice (ann)",
    ]);
    expect(await world.ask(operate(5, { sink: "mongodb" }))).toMatchObject({
      error: { code: "NO_QUERY_SINK", facts: { wanted: "mongodb", known: ["sqlite", "http://r:4001"] } },
    });
    expect(await world.ask(operate(6, { projection: "acounts" }))).toMatchObject({
      error: { code: "UNKNOWN_PROJECTION" },
    });
    expect(world.done).toHaveLength(4);
  });

  it("learn of a rebuild which generation it will end with", async () => {
    const world = new World();
    expect(await world.ask(operate(1, { action: "rebuild", sink: "sqlite" }))).toMatchObject({
      value: [{ projection: "accounts", sink: "sqlite", generation: 4 }],
    });
  });
});
