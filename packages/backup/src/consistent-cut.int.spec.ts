// Goal: a backup beside a running node never takes one side of a transaction or of a saga along and leaves the other.
// Method: logs written record by record, with what each record needs of others told beside it; cut at every choice of ends that
// looks one after the other could have found, and held against the least closed choice, which is computed from what was told.
// And logs that are written to between the looks. Tested elsewhere: a node that restores such a cut (test/e2e/backup-across).
import fs from "node:fs";
import path from "node:path";
import { EventLog, entryFlags, nodeDisk } from "@heddle/event-log/internal";
import { parseAnyEntityId, shardOf, systemClock, systemRandom } from "@heddle/kernel";
import { newAppendView, readAppendBody, sagaStepId, TextCache, writeAppendBody } from "@heddle/protocol/internal";
import { describe, expect, it, onTestFinished } from "vitest";
import { closedEnds, consistentEnds } from "./consistent-cut.ts";
import { scratchFolder } from "./source.spec-support.ts";

interface Entry {
  readonly flags?: number;
  readonly session?: number;
  readonly call?: number;
  readonly entity?: string;
  readonly id?: string;
  readonly type?: string;
  readonly payload?: unknown;
}

/** A record, and the names of those that must be there with it. */
interface Written {
  readonly shard: number;
  readonly end: number;
  readonly needs: readonly string[];
}

class Logs {
  readonly folders: readonly string[];
  readonly records = new Map<string, Written>();
  /** The ends of all logs after each record, and before the first. */
  readonly ends: number[][];
  readonly #logs: EventLog[];

  constructor(count: number) {
    const root = scratchFolder();
    this.folders = Array.from({ length: count }, (_, shard) => path.join(root, String(shard)));
    this.#logs = this.folders.map((folder, shard) =>
      EventLog.open({
        disk: nodeDisk,
        clock: systemClock,
        random: systemRandom,
        durability: "os",
        // So that the cut and what it needs lie in different segments as well.
        segmentBytes: 500,
        folder,
        shard,
        knownEnd: 0,
        replayFrom: 0,
        onEntry: () => {},
      }),
    );
    this.ends = [this.#logs.map(() => 0)];
    onTestFinished(() => {
      for (const log of this.#logs) log.close();
    });
  }

  /** Writes one record, and gives the position of its last entry. */
  async write(name: string, shard: number, entries: readonly Entry[], needs: readonly string[] = []): Promise<number> {
    const position = this.fill(shard, entries);
    const log = this.#logs[shard]!;
    log.flush();
    while (log.inFlight) await new Promise((resolve) => setImmediate(resolve));
    this.records.set(name, { shard, end: log.durableEnd, needs });
    this.ends.push(this.ends.at(-1)!.with(shard, log.durableEnd));
    return position;
  }

  /** Writes one record at once; whoever reads the file sees it. */
  writeNow(shard: number, entries: readonly Entry[]): number {
    const position = this.fill(shard, entries);
    this.#logs[shard]!.flush();
    return position;
  }

  fill(shard: number, entries: readonly Entry[]): number {
    const log = this.#logs[shard]!;
    let position = 0;
    for (const {
      flags = 0,
      session = 0,
      call = 0,
      entity = "account/a",
      id,
      type = "Noted",
      payload = {},
    } of entries) {
      const events = [{ type, payload, schemaVersion: 1 }];
      const used = writeAppendBody({ entity, aggregate: "Any", events, id }, (wanted) => log.reserve(wanted));
      const { bytes, at } = log.reserve(used);
      const view = newAppendView();
      readAppendBody(bytes, at, at + used, new TextCache(16), view);
      const payloadsOffset = view.payloadsFrom - at;
      const header = { flags, session, call, firstSeq: 1, time: 1, fingerprint: 0, eventCount: 1, payloadsOffset };
      position = log.add(header, used);
    }
    return position;
  }

  async idle(): Promise<number[]> {
    while (this.#logs.some((log) => log.inFlight)) await new Promise((resolve) => setImmediate(resolve));
    return this.#logs.map((log) => log.durableEnd);
  }

  /** The least ends, none before these, with which everything has what it needs. */
  leastClosed(ends: readonly number[]): number[] {
    const closed = [...ends];
    for (let moved = true; moved; ) {
      moved = false;
      for (const { shard, end, needs } of this.records.values()) {
        if (end > closed[shard]!) continue;
        for (const need of needs.map((name) => this.records.get(name)!)) {
          if (need.end <= closed[need.shard]!) continue;
          closed[need.shard] = need.end;
          moved = true;
        }
      }
    }
    return closed;
  }
}

/** Every choice of ends of a first look at one moment, and of second looks at any moments from then on. */
function* looks(logs: Logs): Generator<{ readonly before: number[]; readonly ends: number[] }> {
  const { ends } = logs;
  for (let first = 0; first < ends.length; first++) {
    const choices = ends[0]!.map((_, shard) => [...new Set(ends.slice(first).map((all) => all[shard]!))]);
    let all: number[][] = [[]];
    for (const choice of choices) all = all.flatMap((start) => choice.map((end) => [...start, end]));
    for (const chosen of all) yield { before: ends[first]!, ends: chosen };
  }
}

function expectNeverTorn(logs: Logs): void {
  let moved = 0;
  for (const { before, ends } of looks(logs)) {
    const closed = closedEnds(logs.folders, before, ends);
    expect(closed, `first look ${before}, second ${ends}`).toEqual(logs.leastClosed(ends));
    if (closed.some((end, shard) => end !== ends[shard])) moved++;
  }
  expect(moved).toBeGreaterThan(20);
}

const result = (shard: number, position: number) => [1, 1, 1, shard, position, 1];

const pending = (coordinator: number, number: number): Entry => ({
  flags: entryFlags.pending,
  session: coordinator + 1,
  call: number,
});

const applied = (position: number): Entry => ({ flags: entryFlags.applied, call: position });

function journal(type: string, payload: unknown): Entry {
  return { flags: entryFlags.journal, entity: "$transaction", type, payload };
}

function decided(number: number, results: readonly number[][], settled = [7, 7]): Entry {
  return journal("TransactionDecided", { number, shards: results.map(([, , , shard]) => shard), settled, results });
}

/** A saga whose record lies on a shard, of so many shards. */
function sagaOn(shard: number, shards: number): { readonly id: string; readonly entity: string } {
  for (let i = 0; ; i++) {
    const id = `saga-${i}`;
    const entity = `$saga/${id}`;
    if (shardOf(parseAnyEntityId(entity), shards) === shard) return { id, entity };
  }
}

describe("the cut of a backup: it never tears", () => {
  it("a transaction over three shards: no decision without what was prepared, nothing applied without the decision", async () => {
    const logs = new Logs(3);
    await logs.write("begun", 2, [{}]);
    const one = await logs.write("prepared on 1", 1, [{}, pending(0, 7)]);
    const two = await logs.write("prepared on 2", 2, [{}, pending(0, 7)]);
    await logs.write("aside", 1, [{}]);
    const needs = ["prepared on 1", "prepared on 2"];
    await logs.write("decided", 0, [{}, decided(7, [result(0, 5), result(1, one), result(2, two)])], needs);
    await logs.write("aside on 0", 0, [{}]);
    // Erased meanwhile: what the deciding shard wrote is none of that entity's.
    await logs.write("applied on 2", 2, [{ flags: entryFlags.applied | entryFlags.erased, call: two }], ["decided"]);
    await logs.write("applied on 1", 1, [applied(one), {}], ["decided"]);
    await logs.write("aside at last", 0, [{}]);
    expectNeverTorn(logs);
  });

  it("a decision that notes an earlier one as settled: not without what was applied of it", async () => {
    const logs = new Logs(3);
    await logs.write("begun", 1, [{}]);
    const first = await logs.write("prepared 7", 1, [pending(0, 7)]);
    const given = await logs.write("prepared 8", 1, [pending(0, 8)]);
    await logs.write("decided 7", 0, [decided(7, [result(1, first)])], ["prepared 7"]);
    await logs.write("aborted 8", 1, [journal("TransactionAborted", { positions: [given] })]);
    await logs.write("applied 7", 1, [applied(first), {}], ["decided 7"]);
    const next = await logs.write("prepared 9", 2, [pending(0, 9)]);
    await logs.write("decided 9", 0, [decided(9, [result(2, next)], [7, 9])], ["prepared 9", "applied 7"]);
    await logs.write("applied 9", 2, [applied(next), {}], ["decided 9"]);
    await logs.write("aside", 1, [{}]);
    const settled = journal("TransactionsSettled", { numbers: [9] });
    await logs.write("settled 9", 0, [settled], ["applied 9"]);
    expectNeverTorn(logs);
  });

  it("a saga that commits: no step without its beginning, no end without its steps", async () => {
    const logs = new Logs(3);
    const { id, entity } = sagaOn(1, 3);
    await logs.write("begun", 0, [{}]);
    await logs.write("Started", 1, [{ entity, type: "Started", payload: { steps: new Uint8Array(9) } }]);
    await logs.write("aside", 1, [{}]);
    const step = (index: number): Entry => ({ id: sagaStepId(id, index, "forward") });
    const first = await logs.write("step 0", 0, [step(0)], ["Started"]);
    const settled = { entity, type: "StepsSettled", payload: { outcomes: [[1, result(0, first), null, null]] } };
    await logs.write("StepsSettled", 1, [settled], ["step 0"]);
    const second = await logs.write("step 1", 2, [{}, step(1)], ["Started"]);
    const outcomes = [result(0, first), result(2, second)].map((receipt) => [1, receipt, null, null]);
    const end = { entity, type: "Committed", payload: { at: 1, why: null, outcomes } };
    await logs.write("Committed", 1, [end], ["step 0", "step 1"]);
    await logs.write("aside on 0", 0, [{}]);
    await logs.write("aside on 2", 2, [{}]);
    expectNeverTorn(logs);
  });

  it("a saga that turns back: no compensation without the record that it does, no end without the compensations", async () => {
    const logs = new Logs(2);
    const { id, entity } = sagaOn(1, 2);
    await logs.write("begun", 0, [{}]);
    await logs.write("Started", 1, [{ entity, type: "Started", payload: {} }]);
    const step = await logs.write("step", 0, [{ id: sagaStepId(id, 0, "forward") }], ["Started"]);
    const refused = [2, null, null, ["REJECTED", "no", {}]];
    const began = { why: null, outcomes: [[1, result(0, step), null, null], refused] };
    await logs.write("CompensationBegan", 1, [{ entity, type: "CompensationBegan", payload: began }], ["step"]);
    await logs.write("aside", 1, [{}]);
    const compensation = { id: sagaStepId(id, 0, "back") };
    const back = await logs.write("compensation", 0, [compensation], ["Started", "CompensationBegan"]);
    await logs.write("aside on 0", 0, [{}]);
    const outcomes = [[4, result(0, step), result(0, back), null], refused];
    const end = { entity, type: "Compensated", payload: { at: 1, why: null, outcomes } };
    await logs.write("Compensated", 1, [end], ["step", "compensation"]);
    await logs.write("aside at last", 0, [{}]);
    expectNeverTorn(logs);
  });
});

describe("the cut of a backup: beside a node that writes", () => {
  it("is the end of each log while nothing is written, and 0 where there is none", async () => {
    const logs = new Logs(2);
    await logs.write("one", 1, [{}]);
    expect(consistentEnds([...logs.folders, path.join(logs.folders[0]!, "none")])).toEqual([...(await logs.idle()), 0]);
    fs.rmSync(logs.folders[0]!, { recursive: true });
    expect(consistentEnds(logs.folders)).toEqual([0, (await logs.idle())[1]]);
  });

  it("takes a shard further that was looked at before, and others for what is met there, and no further", async () => {
    const logs = new Logs(4);
    for (const shard of [0, 1, 2, 3]) await logs.write(`begun ${shard}`, shard, [{}]);
    const begun = await logs.idle();
    const upTo: number[] = [];
    const cut = consistentEnds(logs.folders, (look, shard) => {
      if (look !== "end" || shard !== 3) return;
      // Shards 0 to 2 have been looked at. What shard 3 decides now needs shard 1, whose decision needs shard 0; nobody needs 2.
      const zero = logs.writeNow(0, [pending(1, 7)]);
      logs.writeNow(2, [{}]);
      const one = logs.writeNow(1, [pending(3, 8), decided(7, [result(0, zero)]), pending(3, 9)]);
      logs.writeNow(3, [decided(9, [result(1, one), result(1, 7), result(3, 9)])]);
    });
    upTo.push(...(await logs.idle()));
    expect(cut).toEqual([upTo[0], upTo[1], begun[2], upTo[3]]);
  });

  it("does not wait for a position that a log does not reach, and takes no step for one of a saga that cannot be", async () => {
    const logs = new Logs(2);
    const cut = consistentEnds(logs.folders, (look, shard) => {
      if (look !== "end" || shard !== 0) return;
      logs.writeNow(0, [decided(9, [result(1, 1_000_000)]), { id: "saga:\u0001:0:f" }, { id: "saga:nobody:0:f" }]);
    });
    logs.writeNow(1, [{}]);
    const [first] = await logs.idle();
    expect(cut).toEqual([first, 0]);
  });
});
