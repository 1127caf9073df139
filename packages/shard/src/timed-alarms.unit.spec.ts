// Goal: of any number of alarms, in an index on disk and in memory, each rings when its time has come, and memory holds few.
// Method: an index that a model keeps, a clock, and turns that the test runs; a checkpoint is made of the calls that one makes.
import type { AlarmRecord } from "@heddle/partition/internal";
import { seededRandom } from "@heddle/testkit";
import { describe, expect, it } from "vitest";
import { compareAlarms, TimedAlarms } from "./timed-alarms.ts";

const never = 2 ** 48 - 1;

class Rig {
  now = 1_000;
  /** What the index has, by entity. */
  readonly index = new Map<string, number>();
  readonly rung: { entity: string; due: number; at: number }[] = [];
  room = Number.POSITIVE_INFINITY;
  /** Of the room, what each alarm takes. */
  roomEach = 1;
  rowsRead = 0;
  #tasks: { at: number; task: () => void }[] = [];
  #changed = new Map<string, number | undefined>();
  readonly alarms: TimedAlarms;

  constructor() {
    this.alarms = new TimedAlarms({
      now: () => this.now,
      count: (query) => this.#rows(query).length,
      page: ({ limit, ...query }) => {
        const rows = this.#rows(query).slice(0, limit);
        this.rowsRead += rows.length;
        return rows;
      },
      room: () => this.room,
      ring: (entity, due) => {
        this.room -= this.roomEach;
        this.rung.push({ entity, due, at: this.now });
      },
      schedule: (task, delayMs) => this.#tasks.push({ at: this.now + delayMs, task }),
    });
  }

  start(): void {
    this.alarms.countStored();
    this.alarms.start();
  }

  change(entity: string, due: number | undefined): void {
    this.#changed.set(entity, due);
    this.alarms.changed(entity, due, this.index.get(entity));
  }

  checkpoint(): void {
    for (const [entity, due] of this.#changed) {
      if (due === undefined) this.index.delete(entity);
      else this.index.set(entity, due);
    }
    for (const entity of this.#changed.keys()) this.alarms.saved(entity);
    this.#changed = new Map();
  }

  /** Everything that is to run by now, and what it leads to. */
  run(ms = 0): void {
    this.now += ms;
    this.alarms.tick();
    for (;;) {
      const due = this.#tasks.filter(({ at }) => at <= this.now);
      if (due.length === 0) return;
      this.#tasks = this.#tasks.filter((one) => !due.includes(one));
      for (const { task } of due) task();
    }
  }

  #rows({ to = Infinity, after }: { readonly to?: number; readonly after?: AlarmRecord | undefined }): AlarmRecord[] {
    return [...this.index]
      .map(([entity, due]) => ({ entity, due }))
      .filter((row) => row.due < to && (after === undefined || compareAlarms(row, after) > 0))
      .sort(compareAlarms);
  }
}

describe("timed alarms: many", () => {
  it("rings all that the index has, a page at a time, and reads no row before it is due", () => {
    const rig = new Rig();
    for (let i = 0; i < 5_000; i++) rig.index.set(`e/${i}`, 10_000 + i);
    rig.start();
    rig.run();
    expect(rig.rung).toEqual([]);
    expect(rig.rowsRead).toBeLessThan(5);
    rig.run(9_000 + 99);
    expect(rig.rung).toHaveLength(100);
    expect(rig.rowsRead).toBeLessThan(110);
    rig.run(10_000);
    expect(rig.rung).toHaveLength(5_000);
    expect(new Set(rig.rung.map(({ entity }) => entity)).size).toBe(5_000);
  });

  it("asks for no more once there is no room, however much of it each takes", () => {
    const rig = new Rig();
    for (let i = 0; i < 100; i++) rig.index.set(`a/${i}`, 2_000);
    rig.room = 100;
    rig.roomEach = 30;
    rig.start();
    rig.run(1_500);
    expect(rig.rung).toHaveLength(4);
  });

  it("asks for no more than there is room for, and goes on when told", () => {
    const rig = new Rig();
    for (let i = 0; i < 3_000; i++) rig.index.set(`e/${i}`, 5);
    rig.room = 10;
    rig.start();
    rig.run();
    expect(rig.rung).toHaveLength(10);
    expect(rig.alarms.countDue()).toBe(2_990);
    rig.run(60_000);
    expect(rig.rung).toHaveLength(10);
    rig.room = 2_990;
    rig.alarms.ring();
    rig.run();
    expect(rig.rung).toHaveLength(3_000);
    expect(rig.alarms.countDue()).toBe(0);
  });

  it("T3: what a checkpoint writes while others are overdue is not passed over, wherever it lies", () => {
    const rig = new Rig();
    for (let i = 0; i < 1_000; i++) rig.index.set(`e/${i}`, 500);
    rig.room = 100;
    rig.start();
    rig.run();
    rig.change("e/a-late-one-behind", 600);
    rig.change("e/0-one-before", 100);
    rig.change("e/in-a-minute", 61_000);
    rig.checkpoint();
    rig.room = 5_000;
    rig.alarms.ring();
    rig.run();
    expect(rig.rung.map(({ entity }) => entity)).toEqual(
      expect.arrayContaining(["e/a-late-one-behind", "e/0-one-before"]),
    );
    expect(rig.rung).toHaveLength(1_002);
    rig.run(60_000);
    expect(rig.rung.at(-1)).toMatchObject({ entity: "e/in-a-minute" });
  });
});

describe("timed alarms: under any schedule", () => {
  it("T1 T2: changes, checkpoints, clocks and what is put back, at random: each alarm that stays rings once its time has come, and no other does", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = seededRandom(seed);
      const chance = (n: number) => random.safeInteger() % n;
      const rig = new Rig();
      /** The alarm of each entity that has not rung since it changed. */
      const waiting = new Map<string, number>();
      const has = new Map<string, number>();
      for (let i = 0; i < chance(40); i++) {
        rig.index.set(`e/${i}`, chance(5_000));
        waiting.set(`e/${i}`, rig.index.get(`e/${i}`)!);
        has.set(`e/${i}`, rig.index.get(`e/${i}`)!);
      }
      rig.start();
      let seen = 0;
      const check = () => {
        for (; seen < rig.rung.length; seen++) {
          const { entity, due, at } = rig.rung[seen]!;
          expect(at, `seed ${seed}: ${entity} is early`).toBeGreaterThanOrEqual(due);
          expect(has.get(entity), `seed ${seed}: ${entity} has no such alarm`).toBe(due);
          waiting.delete(entity);
        }
      };
      for (let step = 0; step < 80; step++) {
        const entity = `e/${chance(50)}`;
        const what = chance(11);
        if (what === 10) {
          const due = has.get(entity);
          // As one does whose alarm came before the clock was set back.
          if (due !== undefined && due !== never && !waiting.has(entity)) {
            rig.now = Math.min(rig.now, due);
            rig.alarms.putBack(entity, due);
            waiting.set(entity, due);
          }
        } else if (what < 4) {
          const due = chance(8) === 0 ? undefined : chance(10) === 0 ? never : rig.now + chance(2_000) - 500;
          if (due !== has.get(entity)) {
            rig.change(entity, due);
            if (due === undefined) has.delete(entity);
            else has.set(entity, due);
            if (due === undefined || due === never) waiting.delete(entity);
            else waiting.set(entity, due);
          }
        } else if (what < 6) rig.checkpoint();
        else if (what < 9) rig.run(chance(700));
        else rig.now = Math.max(0, rig.now - chance(1_000));
        check();
        expect(rig.alarms.count, `seed ${seed}: how many`).toBe(has.size);
      }
      rig.run(20_000);
      check();
      expect([...waiting], `seed ${seed}: has not rung`).toEqual([]);
    }
  });
});
