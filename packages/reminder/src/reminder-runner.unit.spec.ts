// Goal: what was held back leaves once there is room for it again, however the room came and went; and no record tells of what the
// shard has dropped.
// Method: one runner alone, whose rate another runner of the thread takes, whose shard answers when it is told to. All else about
// runners, over a shard: reminder-runner.int.spec.ts.
import { compileContext } from "@heddle/domain/internal";
import { HeddleError } from "@heddle/kernel";
import { packContent, type Reply } from "@heddle/protocol/internal";
import { innerConnectionMin } from "@heddle/shard/internal";
import { seededRandom } from "@heddle/testkit";
import { expect, it } from "vitest";
import { type PendingReminders, withReminder } from "./pending-reminders.ts";
import { ReleaseRate } from "./release-rate.ts";
import { ReminderRunner } from "./reminder-runner.ts";
import { type RemindersState, remindersAggregate } from "./reminders-aggregate.ts";
import { bells } from "./reminding-shard.spec-support.ts";

const perSecond = 100_000;
const receipt = { ok: true, seq: 1, firstSeq: 1, count: 1, shard: 0, position: 1, time: 1, duplicate: false } as const;

/** A runner whose entities always have one more that is due, as long as their state says so. */
class Busy {
  readonly clock = { ms: 1_700_000_000_000, now: () => this.clock.ms, monotonic: () => this.clock.ms };
  readonly rate = new ReleaseRate(perSecond, this.clock);
  readonly asked: ((reply: Reply) => void)[] = [];
  /** Entities that records were written for. */
  readonly recorded: string[] = [];
  /** Alarms that are to ring again. */
  readonly putBack: [entity: string, due: number][] = [];
  /** Times that it said that there is room for alarms. */
  rings = 0;
  readonly own = { loss: undefined as HeddleError | undefined, now: this.clock.ms };
  readonly runner: ReminderRunner;
  readonly due = this.clock.ms - 5_000;
  #tasks: (() => void)[] = [];

  constructor(reminders = 1) {
    const reminder = {
      version: 1,
      due: this.due,
      schedule: { cron: "* * * * * *", timeZone: "UTC" },
      missed: "all" as const,
      aggregate: "Bell",
      content: packContent({ command: "Ring", input: {} }),
      last: null,
    };
    let pending: PendingReminders = [];
    for (let i = 0; i < reminders; i++) pending = withReminder(pending, { ...reminder, name: `r${i}` });
    this.state = { version: 1, pending };
    this.runner = new ReminderRunner({
      shard: 0,
      domain: compileContext(bells, undefined, [remindersAggregate]),
      calls: {
        shardCount: 1,
        connection: innerConnectionMin,
        call: (_kind, _hash, _write, onReply) => void this.asked.push(onReply),
        expect: (_shard, onReply) => this.asked.push(onReply),
        forgo: () => {},
      },
      own: () => ({
        ...this.own,
        shard: 0,
        appendOwn: (entity) => this.recorded.push(entity) > 0,
        decideOwn: () => true,
        awaitDurable: () => {},
      }),
      replies: { frame: () => {} },
      alarms: () => ({
        list: () => [],
        ring: () => void this.rings++,
        putBack: (_kind, entity, due) => this.putBack.push([entity, due]),
        stateOf: () => this.state,
        count: () => 0,
        countDue: () => 0,
        nextDue: () => Number.POSITIVE_INFINITY,
      }),
      clock: this.clock,
      random: seededRandom(1),
      rate: this.rate,
      schedule: (task) => void this.#tasks.push(task),
      report: () => {},
    });
  }

  state: RemindersState;

  /** Rings until the runner takes no more. Returns how many it took. */
  ring(): number {
    let rung = 0;
    while (this.runner.source.room!() > 0) this.runner.source.onAlarm!(`$reminders/bell/${rung++}`, 0, this.state);
    return rung;
  }

  /** The shard answers all that it was asked, and what that leads to. */
  answerAll(): void {
    while (this.asked.length > 0) this.asked.shift()!({ kind: "receipt", call: 1, receipt });
  }

  /** Tasks that it has asked for, for later. */
  get tasks(): number {
    return this.#tasks.length;
  }

  pass(ms: number): void {
    for (const until = this.clock.ms + ms; this.clock.ms < until; this.own.now = ++this.clock.ms) {
      for (const task of this.#tasks.splice(0)) task();
    }
  }
}

it("D3: whoever waits leaves when the rate lets it, though as many wait as may be under way", () => {
  const busy = new Busy();
  const rung = busy.ring();
  expect(rung).toBeGreaterThan(500);
  // What is left of the rate goes to another shard of the thread while these end: each has more that is due, and has to wait.
  busy.rate.take(perSecond);
  busy.answerAll();
  expect(busy.runner.stats()).toMatchObject({ delivered: rung, due: rung });
  busy.pass(1_500);
  expect(busy.asked.length).toBeGreaterThan(500);
  busy.answerAll();
  expect(busy.runner.stats().delivered).toBeGreaterThan(rung + 500);
});

it("D5: as long as all that may be under way is, it looks for no room: what ends makes some", () => {
  const busy = new Busy();
  const rung = busy.ring();
  busy.pass(10);
  expect(busy.tasks).toBe(0);
  // A delivery and its record are two answers. The rest stays under way, as where what may pass is tried again.
  for (const onReply of busy.asked.splice(0, 100)) onReply({ kind: "receipt", call: 1, receipt });
  for (const onReply of busy.asked.splice(-100)) onReply({ kind: "receipt", call: 1, receipt });
  expect(busy.runner.stats()).toMatchObject({ delivered: 100, due: rung });
  expect(busy.asked).toHaveLength(rung - 100);
  busy.pass(2);
  expect(busy.asked).toHaveLength(rung);
  busy.pass(10);
  expect(busy.tasks).toBe(0);
  // These have no other that is due: there is room for whoever has waited with an alarm.
  busy.state = { version: 2, pending: [] };
  const { rings } = busy;
  for (const onReply of busy.asked.splice(0, 100)) onReply({ kind: "receipt", call: 1, receipt });
  for (const onReply of busy.asked.splice(-100)) onReply({ kind: "receipt", call: 1, receipt });
  busy.pass(2);
  expect(busy.rings).toBe(rings + 1);
});

it("D2: no record tells of what the shard dropped before the last of an entity's deliveries was answered", () => {
  const busy = new Busy(2);
  busy.runner.source.onAlarm!("$reminders/bell/a", 0, busy.state);
  const [first, second] = busy.asked.splice(0);
  first!({ kind: "receipt", call: 1, receipt });
  busy.own.loss = new HeddleError("SHARD_STOPPED", { shard: 0, reason: "a sync failed" });
  second!({ kind: "receipt", call: 2, receipt });
  expect(busy.recorded).toEqual([]);
  busy.pass(100);
  expect(busy.asked).toHaveLength(2);
  for (const onReply of busy.asked.splice(0)) onReply({ kind: "receipt", call: 1, receipt });
  expect(busy.recorded).toEqual(["$reminders/bell/a"]);
  busy.answerAll();
  expect(busy.runner.stats()).toMatchObject({ delivered: 2, retries: 1 });
});

it("D1: nothing leaves in a turn that began before it was due, though the wall clock has gone on since", () => {
  const busy = new Busy();
  busy.own.now = busy.due - 1;
  busy.runner.source.onAlarm!("$reminders/bell/a", 0, busy.state);
  expect(busy.asked).toEqual([]);
  expect(busy.putBack).toEqual([["$reminders/bell/a", busy.due]]);
  busy.own.now = busy.due;
  busy.runner.source.onAlarm!("$reminders/bell/a", 0, busy.state);
  expect(busy.asked).toHaveLength(1);
});

it("D1: one that is tried again does not leave while the clock is set back, and its alarm is there for the right time", () => {
  const busy = new Busy();
  busy.runner.source.onAlarm!("$reminders/bell/a", 0, busy.state);
  const [onReply] = busy.asked.splice(0);
  onReply!({ kind: "error", call: 1, error: new HeddleError("DISK_FULL", { shard: 0, path: "/log" }) });
  busy.own.now = busy.clock.ms = busy.due - 60_000;
  busy.pass(100);
  expect(busy.asked).toEqual([]);
  expect(busy.putBack).toEqual([["$reminders/bell/a", busy.due]]);
  expect(busy.runner.stats().due).toBe(0);
});
