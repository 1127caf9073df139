// P5: transactions over several shards, whatever is lost when: threads, power, answers, room on the disk. Whoever looks
// afterwards finds all of a transaction or nothing of it, and its id tells which.
import { entryFlags } from "@heddle/event-log/internal";
import { requestKind, type TransactOperation } from "@heddle/protocol/internal";
import type { Survival } from "@heddle/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { bank, credit } from "../bank.spec-support.ts";
import { closeAll, failure, receipt, type ShardUnderTest, value } from "../shard-under-test.spec-support.ts";
import { ShardsUnderTest } from "../shards-under-test.spec-support.ts";

afterEach(closeAll);

const survivals: readonly Survival[] = ["nothing", "some", "everything"];

class Bank {
  readonly shards = new ShardsUnderTest(bank, 3);
  /** On shards 0, 1, 2. */
  readonly accounts = [0, 1, 2].map((shard) => this.shards.account(shard));
  readonly transfer: TransactOperation[];

  constructor() {
    const [a, b, c] = this.accounts as [string, string, string];
    this.transfer = [
      { kind: "execute", entity: a, aggregate: "Account", command: "Withdraw", input: { amount: 30 } },
      { kind: "append", ...credit(b, 10) },
      { kind: "append", ...credit(c, 20) },
    ];
  }

  async begin(): Promise<this> {
    receipt(await this.shards.of(this.accounts[0]!).append(credit(this.accounts[0]!, 100)));
    return this;
  }

  async balances(): Promise<string> {
    const found: number[] = [];
    for (const entity of this.accounts) found.push(await this.shards.balance(entity));
    return found.join(" ");
  }

  /** Whatever happened: all agree, and nothing is open. The same id then makes it happen, once. */
  async checkAllOrNothing(at: number): Promise<string> {
    await this.shards.settled();
    const before = await this.balances();
    expect(["100 0 0", "70 10 20"]).toContain(before);
    const again = value(await this.shards.transact(this.transfer, { id: "t", at, session: 77 }));
    expect(again).toMatchObject({ duplicate: before === "70 10 20" });
    await this.shards.settled();
    expect(await this.balances()).toBe("70 10 20");
    for (const under of this.shards.shards) {
      await under.restart();
      expect(under.shard.state).toBe("open");
    }
    await this.shards.settled();
    expect(await this.balances()).toBe("70 10 20");
    expect(this.openEntries()).toEqual([]);
    return before;
  }

  /** Pending entries that nothing in the log settles, and those that were given up and still have their payloads. */
  openEntries(): string[] {
    return this.shards.shards.flatMap((under, shard) => {
      const pending = new Map<number, boolean>();
      const applied = new Set<number>();
      under.scanLog(({ flags, position, call }) => {
        if ((flags & entryFlags.pending) !== 0) pending.set(position, (flags & entryFlags.erased) !== 0);
        if ((flags & entryFlags.applied) !== 0) applied.add(call);
      });
      return [...pending]
        .filter(([position, isErased]) => isErased === applied.has(position))
        .map(([position]) => `${shard}: ${position}`);
    });
  }
}

async function crashing(under: ShardUnderTest, act: () => void): Promise<void> {
  act();
  for (let turns = 0; !under.isDead && turns < 300; turns++) await under.turns(1);
}

const points = [
  "transaction:prepared",
  "transaction:before-decision",
  "transaction:decided",
  "transaction:before-settle",
  "transaction:settled",
  "log:before-write",
  "log:on-its-way",
  "log:after-sync",
  "shard:before-reply",
  "shard:after-reply",
];

describe("P5: a thread that is lost", () => {
  for (const point of points) {
    it(`at ${point} leaves all or nothing, on any shard, whichever coordinates`, async () => {
      let met = 0;
      for (const [at, survivalsHere] of [
        [0, survivals],
        [1, ["some"]],
      ] as const) {
        for (const lost of [0, 1, 2]) {
          for (const survival of survivalsHere) {
            const run = await new Bank().begin();
            const under = run.shards.shards[lost]!;
            under.armCrash(point, survival);
            await crashing(under, () => void run.shards.transact(run.transfer, { id: "t", at }));
            if (under.isDead) {
              met++;
              await under.partition.close();
              under.start();
              await run.checkAllOrNothing(at);
            }
            await closeAll();
          }
        }
      }
      expect(met).toBeGreaterThan(2);
    });
  }
});

describe("P5: the power fails", () => {
  for (const point of points.slice(0, 5)) {
    it(`at ${point}, for all shards at once: all or nothing`, async () => {
      for (const survival of survivals) {
        for (const lost of [0, 1, 2]) {
          const run = await new Bank().begin();
          const under = run.shards.shards[lost]!;
          under.armCrash(point, survival);
          await crashing(under, () => void run.shards.transact(run.transfer, { id: "t" }));
          if (!under.isDead) {
            await closeAll();
            continue;
          }
          await under.partition.close();
          for (const other of run.shards.shards) if (!other.isDead) await other.crash(survival);
          for (const other of run.shards.shards) other.start();
          await run.checkAllOrNothing(0);
          await closeAll();
        }
      }
    });
  }
});

describe("P5: a log that fails", () => {
  // On the shard that decides the first group is the decision; on the others the first prepares, the second settles.
  for (const [failing, nth] of [
    [0, 1],
    [1, 1],
    [1, 2],
    [2, 1],
    [2, 2],
  ] as const) {
    for (const point of ["log:before-write", "log:on-its-way", "a sync"]) {
      it(`at ${point}, group ${nth} of shard ${failing}, leaves all or nothing`, async () => {
        const run = await new Bank().begin();
        const under = run.shards.shards[failing]!;
        const groupsBefore = under.shard.stats().groups;
        if (point !== "a sync")
          under.failAt(point, Object.assign(new Error("EIO: i/o error, write"), { code: "EIO" }), nth);
        else if (nth === 1) under.disk.failNextSync();
        const asked = run.shards.transact(run.transfer, { id: "t" });
        if (point === "a sync" && nth === 2) {
          await under.until(() => under.shard.stats().groups > groupsBefore);
          under.disk.failNextSync();
        }
        await run.shards.turns(60);
        expect(under.states).toContain("recovering");
        const before = await run.checkAllOrNothing(0);
        const reply = await asked;
        if (reply.kind === "value") expect(before).toBe("70 10 20");
        else expect(failure(reply).retryable).toBe(true);
        if (nth === 2) expect(reply.kind).toBe("value");
      });
    }
  }
});

describe("P5: answers that are lost", () => {
  for (const kind of ["hold", "prepare", "settle"] as const) {
    for (const fate of ["lost", "unheard"] as const) {
      it(`${fate}: of a request to ${kind}, leave all or nothing`, async () => {
        for (const at of [0, 1, 2]) {
          const run = await new Bank().begin();
          let left = 1;
          run.shards.fate = (call) => (call.kind === requestKind[kind] && left-- > 0 ? fate : "delivered");
          const asked = run.shards.transact(run.transfer, { id: "t", at });
          await run.shards.turns();
          const before = await run.checkAllOrNothing(at);
          const reply = await asked;
          if (kind === "settle") expect([reply.kind, before]).toEqual(["value", "70 10 20"]);
          else {
            expect(failure(reply)).toMatchObject({ code: "TRANSACTION_ABORTED", retryable: true });
            expect(before).toBe("100 0 0");
          }
          await closeAll();
        }
      });
    }
  }

  it("a shard that answers nothing at all has the transaction given up in time, and its part too", async () => {
    const run = await new Bank().begin();
    const under = run.shards.shards[2]!;
    under.disk.holdSyncs();
    const asked = run.shards.transact(run.transfer, { id: "t" });
    await run.shards.turns();
    for (let left = 30; left > 0; left--) await run.shards.pass(500);
    expect(failure(await asked).code).toBe("TRANSACTION_ABORTED");
    under.disk.releaseSyncs();
    expect(await run.checkAllOrNothing(0)).toBe("100 0 0");
  });
});

describe("P5: a transaction that was given up after it was prepared", () => {
  for (const survival of survivals) {
    it(`is overwritten, also when the thread is lost at it, and ${survival} survives`, async () => {
      const run = await new Bank().begin();
      let left = 1;
      run.shards.fate = ({ kind }) => (kind === requestKind.prepare && left-- > 0 ? "unheard" : "delivered");
      const lost = run.shards.shards.filter((under) => {
        under.armCrash("transaction:aborting", survival);
        return true;
      });
      void run.shards.transact(run.transfer, { id: "t" });
      await run.shards.turns(40);
      const dead = lost.filter((under) => under.isDead);
      expect(dead.length).toBeGreaterThan(0);
      for (const under of lost) under.disarm();
      for (const under of dead) {
        await under.partition.close();
        under.start();
      }
      expect(await run.checkAllOrNothing(0)).toBe("100 0 0");
    });
  }
});

describe("P5: a checkpoint between prepare and settle", () => {
  it("keeps what is open, and the next start goes on with it", async () => {
    for (const commits of [true, false]) {
      const run = await new Bank().begin();
      run.shards.fate = ({ kind }) => {
        if (commits) return kind === requestKind.settle || kind === requestKind.inquire ? "lost" : "delivered";
        return kind === requestKind.settle || kind === requestKind.inquire
          ? "lost"
          : kind === requestKind.prepare
            ? "unheard"
            : "delivered";
      };
      const asked = run.shards.transact(run.transfer, { id: "t" });
      await asked;
      await run.shards.turns();
      for (const under of run.shards.shards) await under.checkpoint();
      const pending = run.shards.shards.map((under) => under.partition.openTransactions().pending.length);
      expect(pending.reduce((a, b) => a + b)).toBeGreaterThan(0);
      for (const under of run.shards.shards) await under.crash("nothing");
      for (const under of run.shards.shards) under.start();
      run.shards.fate = () => "delivered";
      expect(await run.checkAllOrNothing(0)).toBe(commits ? "70 10 20" : "100 0 0");
      await closeAll();
    }
  });
});

describe("P5: a decision", () => {
  it.each([false, true])(
    "is remembered until all have settled it, whatever is settled after it; checkpoint: %s",
    async (checkpoint) => {
      const run = await new Bank().begin();
      const { shards, accounts } = run;
      const [a, b, c] = accounts as [string, string, string];
      shards.fate = ({ kind, to }) =>
        to === 1 && (kind === requestKind.settle || kind === requestKind.inquire) ? "lost" : "delivered";
      const move = (entity: string): TransactOperation[] => [
        { kind: "execute", entity: a, aggregate: "Account", command: "Withdraw", input: { amount: 5 } },
        { kind: "append", ...credit(entity, 5) },
      ];
      value(await shards.transact(move(b), { at: 0 }));
      for (let i = 0; i < 3; i++) value(await shards.transact(move(c), { at: 0 }));
      await shards.turns();
      if (checkpoint) for (const under of shards.shards) await under.checkpoint();
      for (const under of shards.shards) await under.crash("nothing");
      for (const under of shards.shards) under.start();
      shards.fate = () => "delivered";
      await shards.settled();
      expect(await run.balances()).toBe("80 5 15");
      expect(run.openEntries()).toEqual([]);
    },
  );

  it("is asked for again until it is settled on a disk that was full", async () => {
    const run = await new Bank().begin();
    const under = run.shards.shards[1]!;
    run.shards.fate = ({ kind }) =>
      kind === requestKind.settle || kind === requestKind.inquire ? "lost" : "delivered";
    value(await run.shards.transact(run.transfer, { id: "t" }));
    under.disk.setFreeBytes(0);
    const other = run.shards.account(1, 1);
    failure(await under.append(credit(other, 1)));
    await under.until(() => under.shard.state === "full");
    run.shards.fate = () => "delivered";
    for (let left = 10; left > 0; left--) await run.shards.pass(500);
    expect(under.shard.stats().transactions.pending).toBe(1);
    under.disk.setFreeBytes(1 << 30);
    expect(await run.checkAllOrNothing(0)).toBe("70 10 20");
  });
});
