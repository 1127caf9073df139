// The floors as real servers on a real disk, through the clients that measure them.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startFloor } from "../driver/processes.ts";
import { loadEvent, loadEvents } from "../load/accounts.ts";
import { floorTarget } from "../load/floor-target.ts";
import { httpTarget } from "../load/http-target.ts";
import type { Target } from "../load/target.ts";
import { type Floor, startBinaryFloor } from "./binary-floor.ts";
import { startHttpFloor } from "./http-floor.ts";

let folder: string;
let file: string;
let floor: Floor | undefined;
let target: Target | undefined;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-floor-"));
  file = path.join(folder, "floor");
});

afterEach(async () => {
  await target?.close();
  await floor?.close();
  target = undefined;
  floor = undefined;
  fs.rmSync(folder, { recursive: true, force: true });
});

const items = (accounts: readonly number[]) => accounts.map((account, i) => ({ account, event: loadEvent(i, i) }));

describe.each(["fsync", "os"] as const)("binary floor, %s", (durability) => {
  beforeEach(async () => {
    floor = await startBinaryFloor(file, durability);
    target = await floorTarget(floor.port, 2);
  });

  it("answers each call with its account's sequence, when its bytes are in the file", async () => {
    const totals = { events: 0, credited: 0, debited: 0 };
    const first = await target!.append(0, 7, loadEvents(0, 3, totals));
    expect(first).toEqual({ ok: true, seq: 3, firstSeq: 1, count: 3, duplicate: false });
    expect(fs.statSync(file).size).toBe(floor!.counters.read().logBytes);
    expect(await target!.append(1, 7, loadEvents(0, 1, totals))).toMatchObject({ seq: 4, firstSeq: 4 });
    expect(floor!.counters.read()).toMatchObject({ groups: 2, events: 4 });
  });

  it("takes one event for each of many accounts in a call", async () => {
    const results = await target!.appendMany(items([5, 6, 5]));
    expect(results.map((result) => result.ok && result.seq)).toEqual([1, 1, 2]);
  });

  it("shares a sync among the calls of a turn", async () => {
    const totals = { events: 0, credited: 0, debited: 0 };
    await Promise.all(Array.from({ length: 100 }, (_, i) => target!.append(i, i, loadEvents(0, 1, totals))));
    const { groups, events } = floor!.counters.read();
    expect(events).toBe(100);
    expect(groups).toBeLessThan(100);
  });
});

describe("HTTP floor", () => {
  beforeEach(async () => {
    floor = await startHttpFloor(file, "fsync");
    target = httpTarget(floor.port);
  });

  it("answers the broker's requests with a receipt for each item, after one sync for the request", async () => {
    const results = await target!.appendMany(items([1, 2, 1]));
    expect(results.map((result) => result.ok && result.seq)).toEqual([1, 1, 2]);
    expect(floor!.counters.read()).toMatchObject({ groups: 1, events: 3 });
    expect(fs.readFileSync(file, "utf8")).toContain('"entity":"account/2"');
  });
});

describe.each(["binary", "http"] as const)("%s floor: durability", (kind) => {
  const call = (at: Target) =>
    kind === "http" ? at.appendMany(items([1])) : at.append(0, 1, [loadEvent(0, 0)]).then((result) => [result]);
  const connect = (port: number) => (kind === "http" ? httpTarget(port) : floorTarget(port, 1));

  // A device that takes every write and refuses every sync: only who waits for the sync notices.
  const unsyncable = "/dev/null";

  it("P2: gives no answer when the sync fails", async () => {
    const server = await startFloor(kind, unsyncable, "fsync");
    target = await connect(server.port);
    await expect(call(target)).rejects.toThrow();
    await server.kill();
  });

  it("does not sync when it is not asked to", async () => {
    const server = await startFloor(kind, unsyncable, "os");
    target = await connect(server.port);
    expect(await call(target)).toMatchObject([{ ok: true, seq: 1 }]);
    await server.close();
  });
});
