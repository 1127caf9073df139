// P2 and P5 under random schedules of appends, flushes, syncs that return late or fail, full disks, killed processes
// and power cuts.
//
// Method: a model knows what was added, which groups were sent, and which were reported durable; it knows nothing of
// bytes. After every reopening the log must hold the reported groups, in order and unchanged, then at most the one that
// was under way, whole. fast-check prints the seed and the smallest schedule that breaks a rule.
import { SimulatedDisk, seededRandom } from "@heddle/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Durability } from "./event-log.ts";
import { segmentHeaderBytes } from "./layout.ts";
import { add, type LogUnderTest, openLog, readAll, type Written, writtenAs } from "./log-under-test.spec-support.ts";

type Step =
  | { readonly does: "append"; readonly bodyBytes: number }
  | { readonly does: "flush" | "sync returns" | "sync will fail" | "write will fail" | "memory runs short" }
  | { readonly does: "disk fills up"; readonly room: number }
  | { readonly does: "room is made" }
  | { readonly does: "power cut" | "process dies" | "log is closed and opened"; readonly pick: number };

const always = <D extends Step["does"]>(does: D) => fc.constant({ does });
const pick = fc.nat(1000);
const appends = fc.record({ does: fc.constant("append" as const), bodyBytes: fc.integer({ min: 1, max: 900 }) });
const restarts = (does: "power cut" | "process dies" | "log is closed and opened") =>
  fc.record({ does: fc.constant(does), pick });

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: appends },
  { weight: 10, arbitrary: always("flush") },
  { weight: 9, arbitrary: always("sync returns") },
  { weight: 1, arbitrary: always("sync will fail") },
  { weight: 1, arbitrary: always("write will fail") },
  { weight: 1, arbitrary: always("memory runs short") },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("disk fills up" as const), room: fc.nat(1200) }) },
  { weight: 2, arbitrary: always("room is made") },
  { weight: 2, arbitrary: restarts("power cut") },
  { weight: 1, arbitrary: restarts("process dies") },
  { weight: 1, arbitrary: restarts("log is closed and opened") },
);
const schedules = fc.array(steps, { minLength: 1, maxLength: 120, size: "max" });

/** What happened over all runs: a property that never met the interesting cases would prove nothing. */
const met = { cuts: 0, wholeThoughUnreported: 0, lostThoughSent: 0, failures: 0, severalSegments: 0, openedAgain: 0 };

class Run {
  readonly disk: SimulatedDisk;
  readonly #random: ReturnType<typeof seededRandom>;
  readonly #durability: Durability;
  #opened!: LogUnderTest;
  /** Groups sent, oldest first; the first `#reported` of them were reported durable. */
  #sent: Written[][] = [];
  #reported = 0;
  /** Where each reported group ends. */
  #ends: number[] = [];
  #filling: Written[] = [];
  #nextEntry = 0;

  constructor(seed: number, durability: Durability) {
    this.disk = new SimulatedDisk({ seed });
    this.#random = seededRandom(seed + 1);
    this.#durability = durability;
    this.#open(0);
  }

  take(step: Step): void {
    const { disk } = this;
    switch (step.does) {
      case "append":
        this.#filling.push(add(this.#opened.log, this.#nextEntry++, step.bodyBytes));
        break;
      case "flush":
        this.#flush();
        break;
      case "sync returns":
        disk.returnNextSync();
        this.#afterFailure();
        break;
      case "sync will fail":
        disk.failNextSync();
        break;
      case "write will fail":
        disk.failNextWrite();
        break;
      case "memory runs short":
        disk.dropCleanPages();
        break;
      case "disk fills up":
        disk.setFreeBytes(step.room);
        break;
      case "room is made":
        disk.setFreeBytes(1 << 20);
        break;
      case "power cut":
        disk.crash();
        this.#open(step.pick);
        break;
      case "process dies":
        disk.killProcess();
        this.#open(step.pick);
        break;
      case "log is closed and opened":
        while (disk.returnNextSync()) this.#afterFailure();
        this.#opened.log.close();
        this.#open(step.pick);
        break;
    }
  }

  #flush(): void {
    const { log } = this.#opened;
    if (!log.inFlight && this.#filling.length > 0) {
      this.#sent.push(this.#filling);
      this.#filling = [];
    }
    log.flush();
    this.#afterFailure();
    expect(this.#sent.length - this.#reported).toBeLessThanOrEqual(1);
  }

  // As a shard does: what is in memory is dropped and read again, in the same process.
  #afterFailure(): void {
    if (!this.#opened.log.failed) return;
    met.failures++;
    this.#opened.log.close();
    this.#open(0);
  }

  #open(choice: number): void {
    // A caller knows at most that what was reported is durable, and may replay from any record's start before that.
    const end = this.#ends.at(-1) ?? 0;
    const knownEnd = choice % 2 === 0 ? end : 0;
    const skipped = choice % 3 === 0 ? 0 : choice % (this.#ends.length + 1);
    this.#opened = this.#openUnlessSyncFails({ knownEnd, replayFrom: skipped === 0 ? 0 : this.#ends[skipped - 1]! });
    this.disk.holdSyncs();
    const { log, replayed } = this.#opened;
    met.openedAgain++;
    if (log.segments.length > 1) met.severalSegments++;
    if (log.recovery.cutBytes > 0) met.cuts++;

    const found = readAll(this.disk);
    expect(found.tail).toBeUndefined();
    const kept =
      found.entries.length === this.#sent.slice(0, this.#reported).flat().length ? this.#reported : this.#sent.length;
    if (this.#sent.length > this.#reported) met[kept > this.#reported ? "wholeThoughUnreported" : "lostThoughSent"]++;
    this.#sent = this.#sent.slice(0, kept);
    expect(found.entries).toEqual(this.#sent.flat());
    expect(replayed).toEqual(this.#sent.slice(skipped).flat());

    // What a recovery has shown is as durable as what was reported.
    this.#reported = kept;
    if (this.#ends.length < kept) this.#ends.push(log.durableEnd);
    expect([0, segmentHeaderBytes]).toContain(log.durableEnd - (this.#ends.at(-1) ?? 0));
    this.#filling = [];
    log.onDurable = (group) => {
      // Where only the process "dies", its last report may still come: nobody is there to hear it.
      if (this.#opened.log !== log) return;
      expect(group.entries).toBe(this.#sent[this.#reported]!.length);
      expect(log.durableEnd).toBe(group.end);
      this.#reported++;
      this.#ends.push(group.end);
      const last = this.#sent[this.#reported - 1]!.at(-1)!;
      expect(writtenAs(log.read(last.position))).toEqual(last);
    };
  }

  // A sync that was to fail may fail while the log is opened; then it is opened once more.
  #openUnlessSyncFails(where: { knownEnd: number; replayFrom: number }): LogUnderTest {
    const options = { ...where, segmentBytes: 1500, random: this.#random, durability: this.#durability };
    for (let tries = 0; ; tries++) {
      try {
        return openLog(this.disk, options);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EIO" || tries === 3) throw error;
      }
    }
  }
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("P2, P5: any schedule", () => {
  it("what was reported durable is there after every crash, in order and unchanged, and nothing is invented", () => {
    fc.assert(
      fc.property(fc.integer(), schedules, (seed, schedule) => {
        const run = new Run(seed, "fsync");
        for (const step of schedule) run.take(step);
        run.take({ does: "power cut", pick: 0 });
        run.take({ does: "log is closed and opened", pick: 0 });
      }),
      { numRuns: 400 },
    );
    for (const [what, times] of Object.entries(met)) expect(times, what).toBeGreaterThan(5);
  });

  it("mode os: the same holds as long as only the process dies", () => {
    const withoutPower = schedules.map((schedule) =>
      schedule.filter((step) => !["power cut", "memory runs short", "sync will fail"].includes(step.does)),
    );
    return fc.assert(
      fc.asyncProperty(fc.integer(), withoutPower, async (seed, schedule) => {
        const run = new Run(seed, "os");
        for (const step of schedule) {
          // In this mode a group is reported in a later turn, with no sync to wait for.
          if (step.does === "sync returns" || step.does === "log is closed and opened") await nextTurn();
          run.take(step);
        }
      }),
      { numRuns: 100 },
    );
  });
});
