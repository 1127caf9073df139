// What becomes of a projection when its server is killed, stands still, is away, has a full disk, or when the process that projects
// is killed: the same for every server. Each supplies its own.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { RunningServer } from "../../../infra/servers/index.ts";
import { addMovements, expectedRows, project, shards, storedRows } from "./accounts-under-test.spec-support.ts";
import { MemoryFeed } from "./memory-feed.spec-support.ts";
import type { Projections } from "./projections.ts";
import type { Sink } from "./sink.ts";

export interface ServersUnderTest {
  readonly start: (options?: {
    readonly folder: string;
    readonly port?: number;
    readonly maxStoreBytes?: number;
  }) => Promise<RunningServer>;
  readonly sinkAt: (address: string) => Sink;
  /** Of a sink, for a server's url. */
  readonly addressOf: (url: string) => string;
  /** So many events are projected while processes are killed: a few seconds' work for the server. */
  readonly movements: number;
  /** Room for a few hundred rows, and not for thousands. Left out where a server can not be limited. */
  readonly scarceBytes?: number;
}

const patience = { timeout: 60_000, interval: 20 };

export function sinkFailures(under: ServersUnderTest): void {
  let server: RunningServer;
  let sink: Sink;
  let feed: MemoryFeed;
  let projections: Projections | undefined;

  beforeEach(async () => {
    server = await under.start();
    sink = under.sinkAt(under.addressOf(server.url));
    feed = new MemoryFeed(shards);
  });
  afterEach(async () => {
    server.resume();
    await projections?.stop();
    projections = undefined;
    await sink.close();
    await server.stop();
  });

  const begin = () => {
    projections = project(feed, sink, { limits: { eventsMax: 100, bytesMax: 16_384 } });
  };
  const status = () => projections!.list()[0]!;
  const hasAll = (count: number) =>
    vi.waitFor(async () => {
      expect(status()).toMatchObject({ state: "live", lagBytes: 0 });
      expect(await storedRows(sink)).toEqual(expectedRows(count));
    }, patience);

  it("P5 a server that is killed under load, and comes back, has every event once", async () => {
    begin();
    let count = 0;
    for (let round = 0; round < 3; round++) {
      addMovements(feed, count, count + 700);
      count += 700;
      const before = status().positions.reduce((sum, position) => sum + position, 0);
      await vi.waitFor(
        () => expect(status().positions.reduce((sum, one) => sum + one, 0)).toBeGreaterThan(before),
        patience,
      );
      await server.kill();
      addMovements(feed, count, count + 100);
      count += 100;
      await vi.waitFor(
        () => expect(status()).toMatchObject({ state: "waiting", problem: { code: "SINK_UNAVAILABLE" } }),
        patience,
      );
      await server.restart();
      await hasAll(count);
    }
  });

  it("P5 a server that stands still for a while has every event once: an answer that is late is no failure to write", async () => {
    begin();
    addMovements(feed, 0, 300);
    await hasAll(300);
    for (let round = 1; round <= 2; round++) {
      server.pause();
      addMovements(feed, 300 * round, 300 * (round + 1));
      await vi.waitFor(
        () => expect(status()).toMatchObject({ state: "waiting", problem: { code: "SINK_UNAVAILABLE" } }),
        patience,
      );
      server.resume();
      await hasAll(300 * (round + 1));
    }
  });

  it("a server that is away at the start is waited for", async () => {
    await server.kill();
    addMovements(feed, 0, 200);
    begin();
    await vi.waitFor(
      () => expect(status()).toMatchObject({ state: "waiting", problem: { code: "SINK_UNAVAILABLE" } }),
      patience,
    );
    await server.restart();
    await hasAll(200);
  });

  if (under.scarceBytes !== undefined) {
    it("P5 a server whose disk is full is waited for, and has every event once when there is room again", async () => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-scarce-"));
      let scarce = await under.start({ folder, maxStoreBytes: under.scarceBytes! });
      const own = under.sinkAt(under.addressOf(scarce.url));
      const entities = 2_500;
      const rowsAre = (count: number) =>
        vi.waitFor(async () => {
          expect(status()).toMatchObject({ state: "live", lagBytes: 0 });
          expect(await storedRows(own)).toEqual(expectedRows(count, entities));
        }, patience);
      try {
        projections = project(feed, own, { limits: { eventsMax: 500, bytesMax: 65_536 } });
        addMovements(feed, 0, 100, entities);
        await rowsAre(100);
        addMovements(feed, 100, 3_000, entities);
        const isFull = { state: "waiting", problem: { code: "SINK_REFUSED", message: expect.stringMatching(/full/) } };
        await vi.waitFor(() => expect(status()).toMatchObject(isFull), patience);
        addMovements(feed, 3_000, 3_300, entities);
        // The same after the server was away, and came back with as little room.
        await scarce.kill();
        await vi.waitFor(() => expect(status().problem?.code).toBe("SINK_UNAVAILABLE"), patience);
        await scarce.restart();
        await vi.waitFor(() => expect(status()).toMatchObject(isFull), patience);
        const { port } = scarce;
        await scarce.stop();
        scarce = await under.start({ folder, port });
        await rowsAre(3_300);
      } finally {
        await projections?.stop();
        projections = undefined;
        await own.close();
        await scarce.stop();
        fs.rmSync(folder, { recursive: true, force: true });
      }
    });
  }

  it("P5 the process that projects is killed at any point: no gap, no double", async () => {
    const count = under.movements;
    const points = [
      "projection:before-write 1",
      "projection:after-write 1",
      "projection:after-write 4",
      "at random",
      "at random",
    ];
    for (const point of points) {
      const child = startProjecting(under.addressOf(server.url), count, point === "at random" ? [] : point.split(" "));
      const ended = once(child, "exit");
      if (point === "at random") {
        // Told by the child: who describes a projection while somebody else writes to it carries that one's writes out, too.
        for (let writes = 1 + Math.floor(Math.random() * 5); writes > 0; writes--) await once(child, "message");
        child.kill("SIGKILL");
      }
      await ended;
    }
    const [code] = await once(startProjecting(under.addressOf(server.url), count, []), "exit");
    expect(code).toBe(0);
    expect(await storedRows(sink)).toEqual(expectedRows(count));
  });
}

function startProjecting(address: string, count: number, point: readonly string[]): ChildProcess {
  const file = fileURLToPath(new URL("./project-until-killed.spec-support.ts", import.meta.url));
  return fork(file, [address, String(count), ...point], { execArgv: [] });
}
