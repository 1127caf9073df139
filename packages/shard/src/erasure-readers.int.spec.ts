// P6 for those who read the log beside the shard and keep copies: they are told which entries go before the log forgets, and
// the receipt waits until they have nothing left.
//
// Method: readers in memory that take a copy of every entry of the log, as NATS and projections do; what they are asked, when,
// and what of it is still in the log at that moment is written down. The real ones are in test/e2e and test/crash.
import { entryFlags } from "@heddle/event-log/internal";
import { HeddleError } from "@heddle/kernel";
import type { TransactOperation, WireEvent } from "@heddle/protocol/internal";
import { afterEach, describe, expect, it } from "vitest";
import { alice, bank, bob, credit, note } from "./bank.spec-support.ts";
import type { ErasureReceipt } from "./erasures.ts";
import type { CopiesState, ReaderCopies, TombstonePlace } from "./shard-options.ts";
import {
  type Asked,
  closeAll,
  failure,
  openShard,
  receipt,
  type ShardUnderTest,
  type ShardUnderTestOptions,
  value,
} from "./shard-under-test.spec-support.ts";
import { ShardsUnderTest } from "./shards-under-test.spec-support.ts";

afterEach(closeAll);

const marker = "payload-5e1f0c";
const away = () => new HeddleError("SINK_UNAVAILABLE", { sink: "nats", message: "connection refused" });

/** Readers that outlive the shard's process, as a table on a disk does. */
class Copies implements ReaderCopies {
  readonly buried: { tombstone: TombstonePlace; positions: number[]; inLog: number }[] = [];
  readonly asked: TombstonePlace[][] = [];
  /** What they say of an entity. Default: gone. */
  readonly states = new Map<string, CopiesState>();
  buryError: Error | undefined;
  goneError: Error | undefined;
  under!: ShardUnderTest;

  async bury(tombstone: TombstonePlace, positions: Float64Array): Promise<void> {
    if (this.buryError !== undefined) throw this.buryError;
    const { entity, seq, position } = tombstone;
    const inLog = logFilesWith(this.under);
    this.buried.push({ tombstone: { entity, seq, position, shard: 0 }, positions: [...positions], inLog });
  }

  async gone(tombstones: readonly TombstonePlace[]): Promise<readonly CopiesState[]> {
    this.asked.push([...tombstones]);
    if (this.goneError !== undefined) throw this.goneError;
    return tombstones.map(({ entity }) => this.states.get(entity) ?? "gone");
  }

  positionsOf(entity: string): number[] {
    const found = this.buried.filter(({ tombstone }) => tombstone.entity === entity);
    return [...new Set(found.flatMap(({ positions }) => positions))].sort((a, b) => a - b);
  }
}

const logFilesWith = (under: ShardUnderTest) => under.filesWith(marker).filter((name) => name.endsWith(".log")).length;

function open(options: ShardUnderTestOptions = {}): { under: ShardUnderTest; copies: Copies } {
  const copies = new Copies();
  const under = openShard(bank, { limits: { segmentBytes: 900 }, readers: copies, ...options });
  copies.under = under;
  return { under, copies };
}

async function live(under: ShardUnderTest, rounds = 4): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const asked = under.turn(() => [
      under.append(credit(bob, 1, 2)),
      under.append(note(alice, `${marker} ${round}`)),
      under.append(credit(alice, 10, 20)),
    ]);
    for (const one of asked) receipt(await one);
  }
}

/** Where the log has entries of an entity before its last tombstone, by an independent reader, erased or not. */
function positionsInLog(under: ShardUnderTest, entity: string): number[] {
  return under
    .logEntries()
    .filter((entry) => entry.entity === entity)
    .slice(0, -1)
    .map(({ position }) => position);
}

async function eventually(under: ShardUnderTest, entity: string): Promise<ErasureReceipt> {
  for (;;) {
    under.shard.tick();
    const reply = await under.delete(entity);
    if (reply.kind !== "error" || !reply.error.retryable) return value(reply) as ErasureReceipt;
    await under.turns(20);
  }
}

/** Lets the shard ask, until it has asked so often again. */
async function asksAgain(copies: Copies, times = 2): Promise<void> {
  const before = copies.asked.length;
  while (copies.asked.length < before + times) await new Promise((resolve) => setImmediate(resolve));
}

describe("P6: readers that keep copies", () => {
  it("P6: are told of every entry while the log still has it, and asked only once the log is clean", async () => {
    const { under, copies } = open();
    await live(under);
    const erasure = await under.erase(alice);
    const { seq, position } = erasure;
    expect(copies.positionsOf(alice)).toEqual(positionsInLog(under, alice));
    expect(copies.positionsOf(alice)).toHaveLength(8);
    for (const { tombstone, inLog } of copies.buried) {
      expect(tombstone).toEqual({ entity: alice, shard: 0, seq, position });
      expect(inLog).toBeGreaterThan(0);
    }
    expect(copies.asked).toMatchObject([[{ entity: alice, shard: 0, seq, position }]]);
    expect(under.filesWith(marker)).toEqual([]);
  });

  it("P6: hold the receipt back until they have nothing left; an early answer does not wait for them", async () => {
    const { under, copies } = open();
    await live(under);
    copies.states.set(alice, "waiting");
    const whole = under.delete(alice);
    const early = value(await under.delete(alice, { provisional: true })) as ErasureReceipt;
    expect(early.complete).toBe(false);
    await under.until(() => under.crashPoints.includes("erasure:scrubbed"));
    await asksAgain(copies, 4);
    expect(whole.reply).toBeUndefined();
    expect(value(await under.delete(alice, { provisional: true }))).toEqual(early);
    const newLife = under.append({ ...note(alice, "new"), newLife: true });
    expect(failure(await newLife)).toMatchObject({ code: "OVERLOADED", retryable: true });
    copies.states.delete(alice);
    expect(value(await whole)).toEqual({ ...early, complete: true });
    expect(under.shard.stats().erasures).toBeLessThanOrEqual(1);
    receipt(await under.append({ ...note(alice, "new"), newLife: true }));
  });

  it("P6 E4: one that is away holds up neither other erasures nor the scrub; who waits is told, and gets the receipt later", async () => {
    const { under, copies } = open();
    await live(under);
    copies.states.set(alice, away());
    expect(failure(await under.delete(alice))).toMatchObject({ code: "SINK_UNAVAILABLE", retryable: true });
    const scrubs = () => under.crashPoints.filter((point) => point === "erasure:scrubbed").length;
    const before = scrubs();
    for (let i = 0; i < 5; i++) {
      await asksAgain(copies);
      under.shard.tick();
      expect(failure(await under.delete(alice)).code).toBe("SINK_UNAVAILABLE");
    }
    expect(scrubs()).toBe(before);
    expect(await under.erase(bob)).toMatchObject({ complete: true });
    expect(failure(await under.get(alice, "Notes")).code).toBe("ERASED");
    expect(under.filesWith(marker)).toEqual([]);
    copies.states.delete(alice);
    expect(await eventually(under, alice)).toMatchObject({ entity: alice, complete: true });
    // The same for good.
    const again = (await eventually(under, alice)) as unknown;
    expect(await eventually(under, alice)).toEqual(again);
  });

  it("P6: that cannot be told keep the log's bytes where they are: afterwards nobody would know which they were", async () => {
    const { under, copies } = open();
    await live(under);
    copies.buryError = away();
    expect(failure(await under.delete(alice))).toMatchObject({ code: "SINK_UNAVAILABLE", retryable: true });
    expect(logFilesWith(under)).toBeGreaterThan(0);
    expect(failure(await under.get(alice, "Notes")).code).toBe("ERASED");
    copies.buryError = undefined;
    expect(await eventually(under, alice)).toMatchObject({ complete: true });
    expect(logFilesWith(under)).toBe(0);
  });

  it("P6: a question that fails is no answer: it is asked again", async () => {
    const { under, copies } = open();
    await live(under);
    copies.goneError = new Error("a fault of its own");
    expect(failure(await under.delete(alice))).toMatchObject({ code: "OUTCOME_UNKNOWN", retryable: true });
    await asksAgain(copies, 3);
    copies.goneError = undefined;
    expect(await eventually(under, alice)).toMatchObject({ complete: true });
  });

  it("P6 P8: many erasures share their questions, and each is answered as soon as it is gone", async () => {
    const { under, copies } = open({ limits: {} });
    const ids = Array.from({ length: 450 }, (_, i) => `account/erased-${i}`);
    for (const one of under.turn(() => ids.map((id) => under.append(note(id, marker))))) receipt(await one);
    for (const id of ids) copies.states.set(id, "waiting");
    const deletes = under.turn(() => ids.map((id) => under.delete(id)));
    await under.until(() => copies.asked.length > 0);
    await asksAgain(copies, 3);
    // Everybody has been asked about, in turn.
    expect(new Set(copies.asked.flat().map(({ entity }) => entity)).size).toBe(ids.length);
    for (const id of ids.slice(1)) copies.states.delete(id);
    for (const one of deletes.slice(1)) expect(value(await one)).toMatchObject({ complete: true });
    expect(deletes[0]!.reply).toBeUndefined();
    copies.states.clear();
    expect(value(await deletes[0]!)).toMatchObject({ complete: true });
    expect(Math.max(...copies.asked.map(({ length }) => length))).toBeLessThanOrEqual(200);
  });

  it("P6: are told of what a transaction over shards had prepared, and of what became of it", async () => {
    const copies = new Copies();
    const shards = new ShardsUnderTest(bank, 2, { readers: copies });
    const [a, b] = [shards.account(0), shards.account(1)];
    const under = shards.of(b);
    copies.under = under;
    const marked: TransactOperation = { kind: "append", ...note(b, `${marker} in a transaction`) };
    value(await shards.transact([{ kind: "append", ...credit(a, 1) }, marked]));
    await shards.settled();
    const wanted: number[] = [];
    under.scanLog(({ flags, call, position }) => {
      if ((flags & entryFlags.applied) !== 0) wanted.push(call, position);
    });
    expect(wanted).toHaveLength(2);
    value(await under.delete(b));
    expect(copies.positionsOf(b)).toEqual(wanted.sort((x, y) => x - y));
    expect(under.filesWith(marker)).toEqual([]);
  });

  it("P6: a life that was restored to an earlier state is told whole, its copies with it", async () => {
    const { under, copies } = open();
    await live(under);
    receipt(await under.restore(alice, { seq: 3 }));
    await under.erase(alice);
    expect(copies.positionsOf(alice)).toEqual(positionsInLog(under, alice));
    expect(under.filesWith(marker)).toEqual([]);
  });

  it("P6: of a second life they are told its own entries, and not the tombstone that it began behind, which stays", async () => {
    const { under, copies } = open();
    await live(under);
    await under.erase(alice);
    copies.buried.length = 0;
    const { position } = receipt(await under.append({ ...note(alice, "second"), newLife: true }));
    await under.erase(alice);
    expect(copies.positionsOf(alice)).toEqual([position]);
  });
});

describe("P5 P6: readers, when the erasure is cut off", () => {
  const points = ["begun", "counted", "readers-told", "overwritten", "forgotten", "scrubbed", "dropped"].map(
    (name) => `erasure:${name}`,
  );
  const inLog = [
    "journal-written",
    "journal-durable",
    "half-overwritten",
    "overwritten",
    "synced",
    "journal-emptied",
  ].map((name) => `erase:${name}`);

  it.each([...points, ...inLog])(
    "at %s: they have heard of every entry before it went, and are asked before the receipt",
    async (point) => {
      for (const survival of ["nothing", "some", "everything"] as const) {
        const { under, copies } = open();
        await live(under);
        await under.crashAt(point, () => void under.delete(alice), { survival });
        const toldBefore = copies.positionsOf(alice).length;
        if (logFilesWith(under) === 0) expect(toldBefore).toBe(8);
        copies.states.set(alice, "waiting");
        copies.asked.length = 0;
        under.start();
        const asked: Asked = under.delete(alice);
        // Only behind this point it may have been waited for by the process before.
        if (point !== "erasure:dropped") {
          await asksAgain(copies);
          expect(asked.reply).toBeUndefined();
        }
        copies.states.delete(alice);
        expect(value(await asked)).toMatchObject({ entity: alice, complete: true });
        expect(copies.positionsOf(alice)).toEqual(positionsInLog(under, alice));
        expect(under.filesWith(marker)).toEqual([]);
      }
    },
  );

  it("one that was waited for is waited for by the next process", async () => {
    const { under, copies } = open();
    await live(under);
    copies.states.set(alice, away());
    failure(await under.delete(alice));
    await under.checkpoint();
    await under.crash("everything");
    copies.asked.length = 0;
    under.start();
    await asksAgain(copies);
    expect(failure(await under.delete(alice)).code).toBe("SINK_UNAVAILABLE");
    copies.states.delete(alice);
    expect(await eventually(under, alice)).toMatchObject({ complete: true });
    const events = value(await under.history(alice)) as WireEvent[];
    expect(events).toHaveLength(1);
  });

  it("E3: a stop waits for none of them, and answers who waits", async () => {
    const { under, copies } = open();
    await live(under);
    copies.states.set(alice, "waiting");
    const asked = under.delete(alice);
    await under.until(() => copies.asked.length > 0);
    copies.bury = () => new Promise(() => {});
    const second = under.delete(bob);
    await under.turns(50);
    await under.shard.close();
    for (const one of [asked, second]) expect(failure(await one).code).toBe("SHARD_STOPPED");
    const before = copies.asked.length;
    await under.turns(5_000);
    expect(copies.asked).toHaveLength(before);
  });
});
