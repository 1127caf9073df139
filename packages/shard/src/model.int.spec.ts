// P1 to P5 under random schedules: appends, commands, ids, repetitions and reads of a few entities, while syncs return
// late or fail, the disk runs full, checkpoints begin, fail or are cut short, and the shard is stopped, killed, or loses
// its power.
//
// Method: a model in plain JavaScript takes the same calls in the same order and says what each must be answered. It
// knows nothing of groups, partitions or windows. Calls that a failure left open are sent again in their order, as the SDK
// does, until they have an answer; the order of their effects is then read from the positions in their receipts. fast-check prints the seed and the smallest schedule that breaks a rule.

import { isDeepStrictEqual } from "node:util";
import { HeddleError } from "@heddle/kernel";
import type { AppendFields, Reply } from "@heddle/protocol/internal";
import { SimulatedDisk } from "@heddle/testkit";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { bank, credit, debit, note } from "./bank.spec-support.ts";
import { type Asked, brief, closeAll, openShard, type ShardUnderTest } from "./shard-under-test.spec-support.ts";

afterEach(closeAll);

const entities = ["account/a", "account/b", "account/c"];

type Call =
  | { readonly kind: "append"; readonly fields: AppendFields }
  | { readonly kind: "execute"; readonly entity: string; readonly amount: number; readonly id: string | undefined };

interface Issued {
  readonly call: Call;
  readonly session: number;
  readonly number: number;
}

type Answer =
  | { readonly kind: "receipt"; readonly firstSeq: number; readonly count: number }
  | { readonly kind: "rejected"; readonly code: string }
  | { readonly kind: "error"; readonly code: string };

interface ModelEntity {
  readonly events: [seq: number, type: string, payload: unknown][];
  balance: number;
  texts: string[];
}

/** What must be answered, by the rules alone. */
class Model {
  readonly entities = new Map<string, ModelEntity>(entities.map((id) => [id, { events: [], balance: 0, texts: [] }]));
  readonly #calls = new Map<string, { content: string; answer: Answer }>();

  /** Takes a call: what it must be answered. */
  apply(issued: Issued): Answer {
    return this.#answer(issued, true);
  }

  /** What a call would be answered now. */
  peek(issued: Issued): Answer {
    return this.#answer(issued, false);
  }

  #answer({ call, session, number }: Issued, takes: boolean): Answer {
    const entity = call.kind === "append" ? call.fields.entity : call.entity;
    const id = call.kind === "append" ? call.fields.id : call.id;
    const content = JSON.stringify(call);
    const keys = [`${session} ${number}`, ...(id === undefined ? [] : [`${entity} ${id}`])];
    for (const key of keys) {
      const known = this.#calls.get(key);
      if (known !== undefined) return known.content === content ? known.answer : { kind: "error", code: "ID_REUSED" };
    }
    const answer = this.#decide(call, this.entities.get(entity)!, takes);
    if (takes && answer.kind === "receipt") for (const key of keys) this.#calls.set(key, { content, answer });
    return answer;
  }

  #decide(call: Call, entity: ModelEntity, takes: boolean): Answer {
    const { expectedSeq } = call.kind === "append" ? call.fields : { expectedSeq: undefined };
    if (expectedSeq !== undefined && expectedSeq !== entity.events.length) {
      return { kind: "rejected", code: "SEQUENCE_CONFLICT" };
    }
    if (call.kind === "execute" && call.amount > entity.balance) return { kind: "rejected", code: "COMMAND_REJECTED" };
    const events: readonly { type: string; payload: unknown }[] =
      call.kind === "append" ? call.fields.events : [{ type: "Debited", payload: { amount: call.amount } }];
    let { balance } = entity;
    const texts: string[] = [];
    for (const { type, payload } of events) {
      const { amount = 0, text } = payload as { amount?: number; text?: string };
      if (text !== undefined) texts.push(text);
      balance += type === "Debited" ? -amount : amount;
      if (balance < 0) return { kind: "rejected", code: "INVARIANT_VIOLATED" };
    }
    const firstSeq = entity.events.length + 1;
    if (!takes) return { kind: "receipt", firstSeq, count: events.length };
    for (const { type, payload } of events) entity.events.push([entity.events.length + 1, type, payload]);
    entity.balance = balance;
    entity.texts.push(...texts);
    return { kind: "receipt", firstSeq, count: events.length };
  }
}

type Step =
  | { readonly does: "calls"; readonly bursts: readonly (readonly Planned[])[]; readonly checkpointBetween: boolean }
  | { readonly does: "repeat"; readonly pick: number }
  | { readonly does: "fail"; readonly how: "sync" | "write"; readonly calls: readonly Planned[] }
  | { readonly does: "fill"; readonly room: number; readonly calls: readonly Planned[] }
  | { readonly does: "failed checkpoint"; readonly at: string; readonly calls: readonly Planned[] }
  | {
      readonly does: "crash";
      readonly at: string;
      readonly survival: "nothing" | "some" | "everything";
      readonly calls: readonly Planned[];
    }
  | { readonly does: "check" | "checkpoint" | "restart" | "time passes" };

type Planned = { readonly call: Call; readonly session: number };

const entity = fc.constantFrom(...entities);
const amounts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });
const id = fc.option(fc.constantFrom("id-1", "id-2", "id-3", "id-4"), { nil: undefined, freq: 2 });
const expectedSeq = fc.option(fc.nat(6), { nil: undefined, freq: 6 });
const extras = fc.record({ id, expectedSeq, metadata: fc.constantFrom(undefined, undefined, { trace: "x" }) });
const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(entity, amounts, extras).map(([e, a, x]) => appendOf(credit(e, ...a), x)) },
  { weight: 3, arbitrary: fc.tuple(entity, amounts, extras).map(([e, a, x]) => appendOf(debit(e, ...a), x)) },
  { weight: 1, arbitrary: fc.tuple(entity, extras).map(([e, x]) => appendOf(note(e, "a", "b"), x)) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("execute" as const),
      entity,
      amount: fc.integer({ min: 1, max: 12 }),
      id,
    }),
  },
);
const planned: fc.Arbitrary<Planned> = fc.record({ call, session: fc.integer({ min: 1, max: 3 }) });
const burst = fc.array(planned, { minLength: 1, maxLength: 8 });
const always = <D extends Step["does"]>(does: D) => fc.constant({ does });
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      does: fc.constant("calls" as const),
      bursts: fc.array(burst, { minLength: 1, maxLength: 4 }),
      checkpointBetween: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ does: fc.constant("repeat" as const), pick: fc.nat(1_000) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("fail" as const),
      how: fc.constantFrom("sync" as const, "write" as const),
      calls: burst,
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("fill" as const), room: fc.nat(600), calls: burst }) },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("failed checkpoint" as const),
      at: fc.constantFrom("partition:entities-durable", "partition:ids-durable"),
      calls: burst,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant("crash" as const),
      at: fc.constantFrom(
        ...["now", "log:before-write", "log:on-its-way", "log:after-sync", "shard:before-reply", "shard:after-reply"],
        ...["checkpoint:begun", "checkpoint:before-commit", "partition:entities-durable", "partition:covered"],
      ),
      survival: fc.constantFrom("nothing" as const, "some" as const, "everything" as const),
      calls: burst,
    }),
  },
  { weight: 2, arbitrary: always("check") as fc.Arbitrary<Step> },
  { weight: 2, arbitrary: always("checkpoint") as fc.Arbitrary<Step> },
  { weight: 1, arbitrary: always("restart") as fc.Arbitrary<Step> },
  { weight: 1, arbitrary: always("time passes") as fc.Arbitrary<Step> },
);

/** For steps that need something to be written. */
const alwaysAccepted: Planned = { call: appendOf(note("account/c", "x"), {}), session: 1 };

function appendOf(fields: AppendFields, extra: Partial<AppendFields>): Call {
  return { kind: "append", fields: { ...fields, ...extra } };
}

/** What happened over all runs: a property that never met the interesting cases would prove nothing. */
const met = {
  receipts: 0,
  rejections: 0,
  reused: 0,
  duplicates: 0,
  sentAgain: 0,
  crashes: 0,
  recoveries: 0,
  full: 0,
  checkpoints: 0,
  failedCheckpoints: 0,
};

class Run {
  readonly under: ShardUnderTest;
  readonly model = new Model();
  readonly #answered: { issued: Issued; answer: Answer }[] = [];
  readonly #numbers = new Map<number, number>();

  constructor(seed: number) {
    this.under = openShard(bank, {
      disk: new SimulatedDisk({ seed }),
      limits: { activeEntitiesMax: 2, segmentBytes: 2_000, checkpointBytes: 1_500, groupBytesMax: 2_500 },
    });
  }

  async do(step: Step): Promise<void> {
    const { under } = this;
    switch (step.does) {
      case "calls": {
        under.disk.holdSyncs();
        const asked: [Issued, Asked][] = [];
        for (const calls of step.bursts) {
          under.turn(() => asked.push(...calls.map((one) => this.#send(this.#issue(one)))));
          if (step.checkpointBetween) under.shard.requestCheckpoint();
          await under.turns(1);
        }
        under.disk.releaseSyncs();
        await this.#settle(asked);
        return;
      }
      case "repeat": {
        if (this.#answered.length === 0) return;
        const { issued, answer } = this.#answered[step.pick % this.#answered.length]!;
        // Only what took effect has an answer for good.
        if (answer.kind !== "receipt") return;
        const reply = await this.#send(issued, true)[1];
        expect(asAnswer(reply)).toEqual(answer);
        met.duplicates++;
        return;
      }
      case "fail": {
        if (step.how === "sync") under.disk.failNextSync();
        else under.disk.failNextWrite();
        await this.#settle(this.#burst([...step.calls, alwaysAccepted]));
        met.recoveries++;
        return;
      }
      case "fill": {
        under.disk.setFreeBytes(step.room);
        const asked = this.#burst(step.calls);
        await Promise.all(asked.map(([, one]) => one));
        await under.until(() => under.shard.state !== "recovering");
        if (under.shard.state === "full") met.full++;
        under.disk.setFreeBytes(1 << 30);
        under.advance(2_000);
        under.shard.tick();
        expect(under.shard.state).toBe("open");
        await this.#settle(asked);
        return;
      }
      case "failed checkpoint": {
        under.failAt(step.at, new HeddleError("DISK_FULL", { shard: 0, path: "/partition" }));
        under.shard.requestCheckpoint();
        const asked = this.#burst(step.calls);
        await this.#settle(asked);
        met.failedCheckpoints++;
        return;
      }
      case "crash": {
        const asked: [Issued, Asked][] = [];
        const act = () => {
          if (step.at.startsWith("checkpoint:") || step.at.startsWith("partition:")) under.shard.requestCheckpoint();
          this.#burst([...step.calls, alwaysAccepted], asked);
        };
        await this.#idle();
        if (step.at === "now") {
          act();
          await under.crash(step.survival);
        } else await under.crashAt(step.at, act, { survival: step.survival });
        met.crashes++;
        under.start();
        await this.#settle(asked, "cut off");
        return;
      }
      case "check":
        await this.check();
        return;
      case "checkpoint":
        under.shard.requestCheckpoint();
        await this.#idle();
        met.checkpoints++;
        return;
      case "restart":
        await under.restart();
        return;
      case "time passes":
        under.advance(11_000);
        under.shard.tick();
        return;
    }
  }

  /** Everything that can be asked is as the model says. */
  async check(): Promise<void> {
    for (const [id, { events, balance, texts }] of this.model.entities) {
      expect(brief(await this.under.events(id))).toEqual(events);
      const backward = await this.under.history(id, { direction: "backward" });
      expect(backward.kind === "value" && brief(backward.value as never)).toEqual(events.toReversed());
      const amounts = events.filter(([, type]) => type !== "Noted").length;
      expect(await this.under.state(id, "Account")).toEqual({
        state: { balance, events: amounts },
        seq: events.length,
      });
      expect(await this.under.state(id, "Notes")).toEqual({ state: { texts }, seq: events.length });
    }
  }

  // A crash at a checkpoint's places needs one to begin: not while another runs.
  #idle(): Promise<void> {
    return this.under.until(() => !this.under.shard.stats().isCheckpointing);
  }

  #issue({ call: planned, session }: Planned): Issued {
    const number = (this.#numbers.get(session) ?? 0) + 1;
    this.#numbers.set(session, number);
    return { call: planned, session, number };
  }

  // The end of the turn may meet a dead disk, after the calls were sent.
  #burst(calls: readonly Planned[], into: [Issued, Asked][] = []): [Issued, Asked][] {
    this.under.turn(() => into.push(...calls.map((one) => this.#send(this.#issue(one)))));
    return into;
  }

  #send(issued: Issued, retry = false): [Issued, Asked] {
    const caller = { session: issued.session, call: issued.number, retry };
    if (issued.call.kind === "append") return [issued, this.under.append(issued.call.fields, caller)];
    const { entity: of, amount, id: own } = issued.call;
    const fields = { entity: of, aggregate: "Account", command: "Withdraw", input: { amount }, id: own };
    return [issued, this.under.execute(fields, caller)];
  }

  // Gets every call an answer that lasts, and holds the answers against the model.
  async #settle(asked: readonly [Issued, Asked][], fate: "answered" | "cut off" = "answered"): Promise<void> {
    const answered: { issued: Issued; answer: Answer; position: number }[] = [];
    let wasOpen = false;
    for (const [issued, first] of asked) {
      let reply = wasOpen || fate === "cut off" ? first.reply : await first;
      while (reply === undefined || isPassing(reply)) {
        wasOpen = true;
        met.sentAgain++;
        await this.under.until(() => this.under.shard.state !== "recovering");
        reply = await this.#send(issued, true)[1];
      }
      const position = reply.kind === "receipt" ? reply.receipt.position : 0;
      answered.push({ issued, answer: asAnswer(reply), position });
    }
    if (wasOpen) this.#holdAgainstLog(answered);
    else
      for (const { issued, answer } of answered)
        expect(answer, JSON.stringify(issued)).toEqual(this.model.apply(issued));
    for (const { answer } of answered) {
      if (answer.kind === "receipt") met.receipts++;
      if (answer.kind === "rejected") met.rejections++;
      if (answer.kind === "error") met.reused++;
    }
    this.#answered.push(...answered);
  }

  // Calls were sent again, and what was sent after them may have taken effect before: the log's order is the order of
  // effects. What was refused must have been refused rightly at some point on the way.
  #holdAgainstLog(answered: readonly { issued: Issued; answer: Answer; position: number }[]): void {
    const refused = answered.filter(({ answer }) => answer.kind !== "receipt");
    const explained = new Set<unknown>();
    const look = () => {
      for (const one of refused) if (isDeepStrictEqual(this.model.peek(one.issued), one.answer)) explained.add(one);
    };
    look();
    const effects = answered
      .filter(({ answer }) => answer.kind === "receipt")
      .toSorted((a, b) => a.position - b.position);
    for (const { issued, answer } of effects) {
      expect(answer, JSON.stringify(issued)).toEqual(this.model.apply(issued));
      look();
    }
    expect(refused.filter((one) => !explained.has(one))).toEqual([]);
  }
}

/** Refusals after which a call is sent again. */
function isPassing(reply: Reply): boolean {
  return reply.kind === "error" && reply.error.retryable;
}

function asAnswer(reply: Reply): Answer {
  if (reply.kind === "receipt")
    return { kind: "receipt", firstSeq: reply.receipt.firstSeq, count: reply.receipt.count };
  if (reply.kind === "rejected") return { kind: "rejected", code: reply.rejection.code };
  expect(reply.kind).toBe("error");
  return { kind: "error", code: (reply as Extract<Reply, { kind: "error" }>).error.code };
}

describe("P1 to P5: a shard against a model of it", () => {
  it("P1 P2 P3 P4 P5: answers, histories, states and repetitions are as the model says, under any schedule", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.array(steps, { minLength: 1, maxLength: 25, size: "max" }),
        async (seed, schedule) => {
          const run = new Run(seed);
          try {
            for (const step of schedule) await run.do(step);
            run.under.logEntries();
            await run.check();
            await run.under.restart();
            await run.check();
          } finally {
            await run.under.end();
          }
        },
      ),
      { numRuns: 80, endOnFailure: false },
    );
    for (const [what, times] of Object.entries(met)) expect(times, what).toBeGreaterThan(0);
  }, 600_000);
});
