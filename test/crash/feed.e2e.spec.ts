// Goal: whoever follows all entities sees every acknowledged event once, those of an entity in order, and nothing else (P2, P5):
// from the beginning, from a cursor, from now on; while others write in every way there is, and the node puts entities to sleep,
// writes checkpoints, begins new segments, is stopped, and is killed at any moment.
//
// Method: a node in a process of its own, with small segments and few awake entities. What readers saw is held against the
// histories of the entities, which are read on another way.
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { committed, type FeedEventOf, Heddle } from "@heddle/client";
import { describe, expect, it } from "vitest";
import type bank from "../../apps/examples/bank/index.ts";
import { freePort } from "../../infra/servers/index.ts";
import { newFolder } from "../support/node.ts";
import { chooseSeed, Dice } from "./dice.ts";
import { NodeProcess } from "./node-process.ts";

const accounts = 40;
const rounds = 4;
const callsInRound = 250;
const limits = { segmentBytes: 8 << 10, checkpointBytes: 16 << 10, checkpointIntervalMs: 50, activeEntitiesMax: 8 };

type Db = Heddle<typeof bank>;
type Seen = Pick<FeedEventOf<typeof bank>, "entity" | "seq" | "type" | "payload" | "time" | "id" | "cursor">;

const seed = chooseSeed();

describe(`subscriptions to all entities, and kill -9 (HEDDLE_SEED=${seed})`, () => {
  it("P2 P5: see every event once and in order, from the beginning, from any cursor, and from now on", async () => {
    const dice = new Dice(seed);
    const folder = newFolder();
    const port = await freePort();
    const start = async () => {
      const node = new NodeProcess({ data: path.join(folder, "data"), port, shards: 3, threads: 2, limits });
      expect(await node.settled).toBe("ready");
      return node;
    };
    let node = await start();
    const open = () =>
      new Heddle<typeof bank>(`heddle://127.0.0.1:${port}`, {
        reconnectDelayMaxMs: 50,
        connections: 2,
        // The node may be killed before all of them have their first connection.
        connectTimeoutMs: 600_000,
      });
    const [writer, reader] = [open(), open()];
    const whole = new Reader(reader, "beginning");
    const restarting = new Reader(reader, "beginning", dice.fork());
    const later: { readonly reader: Reader; readonly from: Map<string, number> }[] = [];
    let number = 0;
    for (let round = 0; round < rounds; round++) {
      // Nothing is under way. What a transaction leaves to be applied on other shards is there once it was read.
      const from = lastSeqs(await histories(writer));
      // Asked by the client that goes on to write: only its own calls are known to come before and behind.
      later.push({ reader: new Reader(writer, "now"), from });
      let left = callsInRound;
      const isKilled = round % 2 === 0;
      const writers = Array.from({ length: 6 }, async () => {
        while (left-- > 0) {
          await writeSomething(writer, dice, number++);
          if (isKilled && left === callsInRound >>> 1) node.kill();
        }
      });
      if (isKilled) {
        await node.exited;
        node = await start();
      }
      await Promise.all(writers);
      if (!isKilled) {
        await node.close();
        node = await start();
      }
    }
    const truth = await histories(writer);
    const total = [...truth.values()].reduce((sum, events) => sum + events.length, 0);
    expect(total).toBeGreaterThan(rounds * callsInRound);
    for (const one of [whole, restarting]) {
      await one.hasSeen(total);
      expect(byEntity(one.seen)).toEqual(truth);
    }
    expect(restarting.restarts).toBeGreaterThan(10);
    for (const { reader: one, from } of later) {
      const wanted = new Map<string, unknown[]>();
      for (const [entity, events] of truth) {
        const rest = events.slice(from.get(entity) ?? 0);
        if (rest.length > 0) wanted.set(entity, rest);
      }
      await one.hasSeen([...wanted.values()].reduce((sum, events) => sum + events.length, 0));
      expect(byEntity(one.seen)).toEqual(wanted);
    }
    // Behind a cursor from anywhere, exactly the rest: those of another reader too.
    for (let times = 0; times < 5; times++) {
      const at = dice.between(0, total - 1);
      const rest = new Reader(reader, whole.seen[at]!.cursor);
      await rest.hasSeen(total - at - 1);
      expect(byEntity(rest.seen)).toEqual(byEntity(whole.seen.slice(at + 1)));
      await rest.end();
    }
    expect(fs.readdirSync(path.join(folder, "data", "shards", "0000", "log")).length).toBeGreaterThan(3);

    // P6: of an entity that was erased, who reads from the beginning sees that it was, and no more.
    await writer.entity("account/0").delete();
    const left = total - truth.get("account/0")!.length + 1;
    const after = new Reader(reader, "beginning");
    await after.hasSeen(left);
    const seen = byEntity(after.seen);
    expect(seen.get("account/0")!.map((event) => (event as Seen).type)).toEqual(["Erased"]);
    seen.delete("account/0");
    truth.delete("account/0");
    expect(seen).toEqual(truth);
    for (const one of [after, whole, restarting, ...later.map((each) => each.reader)]) await one.end();
    for (const db of [writer, reader]) await db.close();
    await node.close();
    fs.rmSync(folder, { recursive: true, force: true });
  });
});

/** Follows everything in the background; with dice, it leaves now and then and begins again behind what it saw last. */
class Reader {
  readonly seen: Seen[] = [];
  restarts = 0;
  readonly #ending = new AbortController();
  readonly #run: Promise<void>;
  #wake: () => void = () => {};

  constructor(db: Db, from: string, dice?: Dice) {
    this.#run = this.#follow(db, from, dice);
  }

  async #follow(db: Db, from: string, dice: Dice | undefined): Promise<void> {
    try {
      for (let at = from; ; at = this.seen.at(-1)?.cursor ?? from) {
        for await (const event of db.subscribe({ from: at, signal: this.#ending.signal })) {
          this.seen.push(event);
          this.#wake();
          if (dice?.chance(2)) break;
        }
        this.restarts++;
      }
    } catch (error) {
      if (!this.#ending.signal.aborted) throw error;
    }
  }

  /** Waits until it has seen so many events. */
  async hasSeen(count: number): Promise<void> {
    const tooLong = AbortSignal.timeout(300_000);
    const overdue = once(tooLong, "abort").then(() => {
      throw new Error(`a reader has seen ${this.seen.length} events of ${count}`);
    });
    while (this.seen.length < count) {
      await Promise.race([this.#run, overdue, new Promise<void>((resolve) => (this.#wake = resolve))]);
    }
    overdue.catch(() => {});
  }

  async end(): Promise<void> {
    this.#ending.abort();
    await this.#run;
  }
}

async function writeSomething(db: Db, dice: Dice, number: number): Promise<void> {
  const account = () => `account/${dice.between(0, accounts - 1)}`;
  const credit = (amount: number) => ({ type: "Credited", payload: { amount } }) as const;
  const kind = dice.between(1, 10);
  if (kind <= 6) {
    committed(await db.entity(account()).append("Credited", { amount: number + 1 }, { id: `append-${number}` }));
  } else if (kind <= 8) {
    const events = Array.from({ length: dice.between(2, 6) }, (_, i) => credit(number + 1 + i));
    committed(await db.entity(account()).append(events));
  } else if (kind === 9) {
    const entities = [account(), account(), account()];
    const done = await db.transaction(
      (tx) => {
        for (const entity of entities) tx.append(entity, "Credited", { amount: number + 1 });
      },
      { id: `transaction-${number}` },
    );
    expect(done).toMatchObject({ ok: true });
  } else {
    const from = dice.between(0, accounts - 1);
    const [one, other] = [`account/${from}`, `account/${(from + dice.between(1, accounts - 1)) % accounts}`];
    const back = { type: "Debited", payload: { amount: 1 } } as const;
    // Every second one comes back: nobody has so much.
    const last = number % 2 === 0 ? credit(1) : ({ type: "Debited", payload: { amount: 1e12 } } as const);
    await db.saga(`saga-${number}`).step(one, credit(1), back, {}).step(other, last, null, {}).commit();
  }
}

/** What each account's history says. */
async function histories(db: Db): Promise<Map<string, unknown[]>> {
  const found = new Map<string, unknown[]>();
  for (let i = 0; i < accounts; i++) {
    const id = `account/${i}`;
    const events = await db.entity(id).history({ limit: 10_000 });
    const seen = events.map(({ seq, type, payload, time, id: appendId }) => ({
      seq,
      type,
      payload,
      time,
      id: appendId,
    }));
    if (events.length > 0) found.set(id, seen);
  }
  return found;
}

function lastSeqs(of: Map<string, unknown[]>): Map<string, number> {
  return new Map([...of].map(([entity, events]) => [entity, events.length]));
}

function byEntity(seen: readonly Seen[]): Map<string, unknown[]> {
  const found = new Map<string, unknown[]>();
  for (const { entity, seq, type, payload, time, id } of seen) {
    const events = found.get(entity) ?? [];
    events.push({ seq, type, payload, time, id });
    found.set(entity, events);
  }
  return found;
}
