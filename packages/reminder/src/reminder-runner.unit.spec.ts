// Goal: what was held back leaves once there is room for it again, however the room came and went.
// Method: one runner alone, whose rate another runner of the thread takes, whose shard answers when it is told to. All else about
// runners, over a shard: reminder-runner.int.spec.ts.
import { compileContext } from "@heddle/domain/internal";
import { packContent, type Reply } from "@heddle/protocol/internal";
import { innerConnectionMin } from "@heddle/shard/internal";
import { seededRandom } from "@heddle/testkit";
import { expect, it } from "vitest";
import { withReminder } from "./pending-reminders.ts";
import { ReleaseRate } from "./release-rate.ts";
import { ReminderRunner } from "./reminder-runner.ts";
import { type RemindersState, remindersAggregate } from "./reminders-aggregate.ts";
import { bells } from "./reminding-shard.spec-support.ts";

const perSecond = 100_000;

/** A runner whose entities always have one more that is due. */
class Busy {
  readonly clock = { ms: 1_700_000_000_000, now: () => this.clock.ms, monotonic: () => this.clock.ms };
  readonly rate = new ReleaseRate(perSecond, this.clock);
  readonly asked: ((reply: Reply) => void)[] = [];
  readonly runner: ReminderRunner;
  #tasks: (() => void)[] = [];

  constructor() {
    const reminder = {
      name: "r",
      version: 1,
      due: this.clock.ms - 5_000,
      schedule: { cron: "* * * * * *", timeZone: "UTC" },
      missed: "all" as const,
      aggregate: "Bell",
      content: packContent({ command: "Ring", input: {} }),
      last: null,
    };
    this.state = { version: 1, pending: withReminder([], reminder) };
    this.runner = new ReminderRunner({
      shard: 0,
      domain: compileContext(bells, undefined, [remindersAggregate]),
      calls: {
        shardCount: 1,
        connection: innerConnectionMin,
        call: (_kind, _hash, _write, onReply) => void this.asked.push(onReply),
        expect: () => 1,
        forgo: () => {},
      },
      own: () => ({
        shard: 0,
        loss: undefined,
        appendOwn: () => false,
        decideOwn: () => false,
        awaitDurable: () => {},
      }),
      replies: { frame: () => {} },
      alarms: () => ({
        list: () => [],
        ring: () => {},
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

  readonly state: RemindersState;

  /** Rings until the runner takes no more. Returns how many it took. */
  ring(): number {
    let rung = 0;
    while (this.runner.source.room!() > 0) this.runner.source.onAlarm!(`$reminders/bell/${rung++}`, 0, this.state);
    return rung;
  }

  /** The shard answers all that it was asked, and what that leads to. */
  answerAll(): void {
    const receipt = {
      ok: true,
      seq: 1,
      firstSeq: 1,
      count: 1,
      shard: 0,
      position: 1,
      time: 1,
      duplicate: false,
    } as const;
    while (this.asked.length > 0) this.asked.shift()!({ kind: "receipt", call: 1, receipt });
  }

  pass(ms: number): void {
    for (const until = this.clock.ms + ms; this.clock.ms < until; this.clock.ms++) {
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
