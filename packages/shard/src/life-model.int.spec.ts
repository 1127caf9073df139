// The life of entities under random schedules: appends, restorings, deletes and new lives, while checkpoints begin, fail and
// are cut short, syncs fail, and the process is stopped, killed, or loses its power anywhere.
//
// Method: the log is the oracle, read by other means than the shard's (log-check.spec-support.ts). After every step that
// lets things settle, chains, counts, lists and states are held against it, in the end the partition and one made anew; what
// was acknowledged must be in it, where its receipt says. Order of effects and retries are in model.int.spec.ts.
import { HeddleError } from "@heddle/kernel";
import { sortedAppendIds } from "@heddle/partition/internal";
import type { Receipt, Reply } from "@heddle/protocol/internal";
import { SimulatedDisk } from "@heddle/testkit";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { bank, credit, debit, note } from "./bank.spec-support.ts";
import type { ErasureReceipt } from "./erasures.ts";
import { checkAgainstLog, checkPartition, type LogFacts, readLog } from "./log-check.spec-support.ts";
import { type Asked, closeAll, openShard, type ShardUnderTest } from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

/** Never erased: what is appended to it is taken at any time. */
const safe = "account/safe";
const ids = ["account/a", "account/b", "account/c"];

type Call =
  | {
      readonly does: "credit" | "debit" | "note";
      readonly entity: string;
      readonly count: number;
      readonly id: string | undefined;
    }
  | { readonly does: "restore"; readonly entity: string; readonly back: number }
  | { readonly does: "delete"; readonly entity: string };

type Step =
  | { readonly does: "calls"; readonly calls: readonly Call[]; readonly after: "check" | "checkpoint" | "nothing" }
  | { readonly does: "fail"; readonly how: "sync" | "write"; readonly calls: readonly Call[] }
  | { readonly does: "failed checkpoint"; readonly at: string; readonly calls: readonly Call[] }
  | {
      readonly does: "crash";
      readonly at: string;
      readonly survival: "nothing" | "some" | "everything";
      readonly calls: readonly Call[];
    }
  | { readonly does: "restart" | "empty partition" | "erased" | "passivate" };

const entity = fc.constantFrom(...ids);
const call: fc.Arbitrary<Call> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      does: fc.constantFrom("credit" as const, "debit" as const, "note" as const),
      entity,
      count: fc.integer({ min: 1, max: 3 }),
      id: fc.option(fc.nat(1e9).map(String), { nil: undefined }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("restore" as const), entity, back: fc.nat(6) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("delete" as const), entity }) },
);
const calls = fc.array(call, { minLength: 1, maxLength: 8 });
const points = [
  ...["now", "log:before-write", "log:after-sync", "shard:before-reply", "shard:after-reply"],
  ...["checkpoint:begun", "checkpoint:before-commit", "checkpoint:after-commit", "partition:entities-durable"],
  ...["partition:ids-durable", "partition:covered", "partition:extents-forgotten", "partition:scrub-committed"],
  ...["erasure:begun", "erasure:counted", "erasure:overwritten", "erasure:forgotten", "erasure:scrubbed"],
  ...["erase:journal-durable", "erase:half-overwritten", "erase:synced"],
];
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      does: fc.constant("calls" as const),
      calls,
      after: fc.constantFrom("check" as const, "checkpoint" as const, "nothing" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant("fail" as const),
      how: fc.constantFrom("sync" as const, "write" as const),
      calls,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("failed checkpoint" as const),
      at: fc.constantFrom("partition:entities-durable", "partition:ids-durable", "partition:extents-forgotten"),
      calls,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant("crash" as const),
      at: fc.constantFrom(...points),
      survival: fc.constantFrom("nothing" as const, "some" as const, "everything" as const),
      calls,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constantFrom("restart" as const, "empty partition" as const, "erased" as const, "passivate" as const),
    }),
  },
);

/** What happened over all runs. */
const met = { receipts: 0, restorings: 0, erasures: 0, newLives: 0, crashes: 0, checks: 0 };

class Run {
  readonly under: ShardUnderTest;
  readonly #receipts: { entity: string; receipt: Receipt }[] = [];
  readonly #erasures: ErasureReceipt[] = [];
  #asked: { call: Call; asked: Asked }[] = [];

  constructor(seed: number) {
    this.under = openShard(bank, {
      disk: new SimulatedDisk({ seed }),
      limits: { activeEntitiesMax: 1, segmentBytes: 1_500, checkpointBytes: 4_000, groupBytesMax: 2_500 },
    });
  }

  async do(step: Step): Promise<void> {
    const { under } = this;
    switch (step.does) {
      case "calls":
        this.#burst(step.calls);
        if (step.after === "nothing") return;
        if (step.after === "checkpoint") under.shard.requestCheckpoint();
        await this.check();
        return;
      case "fail":
        await under.until(() => under.shard.state === "open");
        under.states.length = 0;
        if (step.how === "sync") under.disk.failNextSync();
        else under.disk.failNextWrite();
        this.#burst([...step.calls, { does: "note", entity: safe, count: 1, id: undefined }]);
        await under.until(() => under.states.at(-1) === "open");
        return;
      case "failed checkpoint":
        under.failAt(step.at, new HeddleError("DISK_FULL", { shard: 0, path: "/partition" }));
        under.shard.requestCheckpoint();
        this.#burst(step.calls);
        await under.turns(20);
        under.failAt("nowhere", new Error("disarmed"));
        return;
      case "crash":
        await this.#crash(step.at, step.survival, step.calls);
        return;
      case "restart":
        await under.restart();
        this.#take();
        return;
      case "empty partition":
        await under.crash("everything");
        this.#cutOff();
        under.startWithEmptyPartition();
        return;
      case "erased":
        await this.#erased();
        return;
      case "passivate":
        await under.checkpoint();
        under.shard.tick();
        for (let i = 0; i < 3; i++) await under.get(`account/other-${i}`, "Notes");
        under.shard.tick();
        return;
    }
  }

  /** Everything is as the log says, and the log has everything that was acknowledged. */
  async check(): Promise<LogFacts> {
    const { under } = this;
    await under.until(() => under.shard.state === "open");
    // A delete is answered when all is done; until then it is looked at in the middle.
    await under.until(() =>
      this.#asked.every(({ call: { does }, asked }) => does === "delete" || asked.reply !== undefined),
    );
    // Answered when all that was decided is durable.
    while ((await under.types()).kind !== "value") await under.until(() => under.shard.state === "open");
    this.#take();
    const facts = await checkAgainstLog(under);
    const entries = new Map(under.logEntries().map((entry) => [entry.position, entry]));
    for (const { entity, receipt } of this.#receipts) {
      expect(entries.get(receipt.position)).toMatchObject({ entity, firstSeq: receipt.firstSeq });
    }
    for (const { entity, position, seq } of this.#erasures) {
      expect(entries.get(position)).toMatchObject({ entity, firstSeq: seq, eventCount: 1 });
    }
    met.checks++;
    return facts;
  }

  /** The end: erasures are over, and partitions say what the log says. */
  async finish(): Promise<void> {
    const { under } = this;
    await this.#erased();
    await this.check();
    await under.checkpoint();
    checkPartition(under.partition, readLog(under));
    const appendIds = sortedAppendIds(under.partition);
    await under.crash("everything");
    this.#cutOff();
    under.startWithEmptyPartition();
    expect(under.shard.stats().erasures).toBe(0);
    await this.check();
    await under.checkpoint();
    checkPartition(under.partition, readLog(under));
    expect(sortedAppendIds(under.partition)).toEqual(appendIds);
  }

  // Everything that waits to be erased is.
  async #erased(): Promise<void> {
    const { under } = this;
    await under.until(() => {
      under.advance(1_000);
      under.shard.tick();
      return under.shard.state === "open" && under.shard.stats().erasures === 0;
    });
  }

  async #crash(at: string, survival: "nothing" | "some" | "everything", planned: readonly Call[]): Promise<void> {
    const { under } = this;
    await under.until(() => under.shard.state === "open" && !under.shard.stats().isCheckpointing);
    this.#burst(planned);
    if (at !== "now") {
      // A point that is not passed in a while is not on the way of these calls: then the process is killed just there.
      under.armCrash(at, survival);
      under.shard.requestCheckpoint();
      this.#burst([{ does: "note", entity: safe, count: 1, id: undefined }]);
      for (let turns = 0; turns < 60 && !under.isDead; turns++) await under.turns(1);
    }
    if (!under.isDead) await under.crash(survival);
    else await under.partition.close();
    met.crashes++;
    this.#cutOff();
    under.start();
  }

  #burst(planned: readonly Call[]): void {
    if (this.under.isDead) return;
    try {
      this.under.turn(() => this.#asked.push(...planned.map((one) => ({ call: one, asked: this.#send(one) }))));
    } catch (error) {
      // The end of the turn may meet a dead disk.
      if (!this.under.isDead) throw error;
    }
  }

  #send(planned: Call): Asked {
    const { under } = this;
    const { does, entity: of } = planned;
    if (does === "delete") return under.delete(of);
    if (does === "restore") {
      const known = this.#receipts.filter((one) => one.entity === of);
      const last = known.at(-1 - planned.back)?.receipt.seq ?? 1;
      return under.restore(of, { seq: last });
    }
    const amounts = Array.from({ length: planned.count }, (_, i) => 1 + i);
    const fields =
      does === "note" ? note(of, ...amounts.map((n) => `n${n}`)) : (does === "credit" ? credit : debit)(of, ...amounts);
    return under.append({ ...fields, id: planned.id, newLife: true });
  }

  // What was not answered before a crash never is.
  #cutOff(): void {
    this.#take();
    this.#asked = [];
  }

  // Keeps what was acknowledged.
  #take(): void {
    for (const { call: planned, asked } of this.#asked) {
      const reply: Reply | undefined = asked.reply;
      if (reply?.kind === "receipt" && !reply.receipt.duplicate) {
        this.#receipts.push({ entity: planned.entity, receipt: reply.receipt });
        met.receipts++;
        if (planned.does === "restore") met.restorings++;
        if (this.#erasures.some((one) => one.entity === planned.entity)) met.newLives++;
      } else if (reply?.kind === "value") {
        this.#erasures.push(reply.value as ErasureReceipt);
        met.erasures++;
      } else if (reply?.kind === "error") {
        const { code } = reply.error;
        expect(
          ["ERASED", "OVERLOADED", "OUT_OF_RANGE", "SHARD_STOPPED", "DISK_FULL", "ID_REUSED"],
          reply.error.message,
        ).toContain(code);
      }
    }
    this.#asked = this.#asked.filter(({ asked }) => asked.reply === undefined);
  }
}

describe("P1 P5 P6: the life of entities against their log", () => {
  it("P1 P5 P6: chains, counts, lists, states and partitions are as the log says, under any schedule", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.array(step, { minLength: 1, maxLength: 20, size: "max" }),
        async (seed, schedule) => {
          const run = new Run(seed);
          try {
            for (const one of schedule) await run.do(one);
            await run.finish();
          } finally {
            await run.under.end();
          }
        },
      ),
      // What it found is told, also when there is no time to make it smaller.
      { numRuns: 60, interruptAfterTimeLimit: 500_000, markInterruptAsFailure: true },
    );
    for (const [what, times] of Object.entries(met)) expect(times, what).toBeGreaterThan(0);
  }, 600_000);
});
