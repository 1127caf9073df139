// The bank's sagas: transfers over two or three accounts, some of them side by side, some with commands. Destinations may be
// frozen, so that steps are refused; and some compensations cost more than an account has, so that the saga is stuck until somebody
// pays in and has it tried again.
import type { Heddle, SagaBuilder } from "@heddle/client";
import type { SagaActIn } from "@heddle/domain";
import type { SagaOperation, SagaStepRun, SentSaga } from "@heddle/testkit";
import type { SimulatedWorld } from "@heddle/testkit/internal";
import type { BankBook } from "./bank-book.ts";
import { accounts, type Bank, historyEventOf } from "./bank-domain.ts";

type Client = Heddle<Bank>;
type Builder = SagaBuilder<Bank>;
type Result = Awaited<ReturnType<Builder["commit"]>>;

interface Begun {
  readonly id: string;
  readonly builder: Builder;
  readonly sent: SentSaga;
  readonly steps: readonly SagaStepRun[];
  /** What its caller was told; undefined without an answer. */
  told: Result | undefined;
}

interface Leg {
  readonly entity: string;
  readonly amount: number;
  /** What undoing it costs beyond the amount: more than any account has before the operator pays in. */
  readonly penalty: number;
  readonly direction: "out" | "in";
}

interface Acts {
  readonly entity: string;
  readonly forward: SagaActIn<Bank, "Account">;
  readonly back: SagaActIn<Bank, "Account">;
}

const outcomes = { COMMITTED: "committed", COMPENSATED: "compensated" } as const;
const retriesMax = 5;
const account = { aggregate: "Account" } as const;

export class BankSagas {
  readonly #world: SimulatedWorld<Bank>;
  readonly #book: BankBook;
  readonly #begun: Begun[] = [];

  constructor(world: SimulatedWorld<Bank>, book: BankBook) {
    this.#world = world;
    this.#book = book;
  }

  async run(client: Client, name: string): Promise<void> {
    const id = `saga-${this.#begun.length + 1}`;
    const legs = this.#legs();
    const sideBySide = legs.length > 2 && this.#below(2) === 0;
    const steps = legs.map((leg, i) => this.#stepRun(leg, sideBySide && i > 0 ? 1 : i));
    let builder = client.saga(id, { timeoutMs: 1_000 + this.#below(5_000), stepTimeoutMs: 500 + this.#below(2_000) });
    const all = legs.map((leg, i) => this.#actsOf(leg, steps[i]!));
    const inTurn = sideBySide ? all.slice(0, 1) : all;
    for (const { entity, forward, back } of inTurn) builder = builder.step(entity, forward, back, account);
    if (sideBySide) {
      const [, second, third] = all;
      builder = builder.parallel((side) =>
        side
          .step(second!.entity, second!.forward, second!.back, account)
          .step(third!.entity, third!.forward, third!.back, account),
      );
    }
    const sent = this.#book.recorder.sendSaga(name, id, steps);
    const begun: Begun = { id, builder, sent, steps, told: undefined };
    this.#begun.push(begun);
    await this.#book.trying(name, async () => {
      // Sometimes two ask for the same at once.
      const twice = this.#below(8) === 0;
      const [first, second] = await Promise.all([builder.commit(), twice ? builder.commit() : undefined]);
      begun.told = first;
      this.#world.note(`${name} is told that ${id} is ${first.resultType}`);
      if (second !== undefined && second.resultType !== first.resultType) {
        this.#world.violation(
          `P4 saga ${id} is ${first.resultType} for one caller and ${second.resultType} for another`,
        );
      }
      const outcome = outcomes[first.resultType as keyof typeof outcomes];
      if (outcome !== undefined) sent.answer(outcome, statesOf(first));
    });
  }

  /** Every saga has ended, or is stuck and listed; those that are stuck end once their accounts can pay. */
  async settle(db: Client): Promise<void> {
    await this.#waitForEnds(db);
    const stuck = new Set((await db.sagas({ only: "stuck", limit: 10_000 })).map(({ saga }) => saga));
    for (const { saga, state } of await db.sagas({ only: "unfinished", limit: 10_000 })) {
      if (state !== "STUCK") this.#world.violation(`saga ${saga} is ${state}, and nobody brings it to an end`);
    }
    for (const begun of this.#begun) {
      const record = await this.#recordOf(db, begun.id);
      if ((record?.state === "STUCK") !== stuck.has(begun.id)) {
        this.#world.violation(`saga ${begun.id} is ${record?.state}, the list of stuck ones says otherwise`);
      }
    }
    for (const id of stuck) await this.#retry(db, id);
    for (const begun of this.#begun) await this.#finish(db, begun);
  }

  async #waitForEnds(db: Client): Promise<void> {
    // Grace for outcomes that nobody knows, and patience for compensations: see packages/saga, patience.ts.
    for (let waits = 0; waits < 60; waits++) {
      const unfinished = await db.sagas({ only: "unfinished", limit: 10_000 });
      if (unfinished.every(({ state }) => state === "STUCK")) return;
      await this.#world.sleep(2_000);
    }
  }

  async #retry(db: Client, id: string): Promise<void> {
    for (let tries = 0; tries < retriesMax; tries++) {
      const { resultType } = await db.retrySaga(id, { reason: "its accounts can pay now" });
      if (resultType !== "STUCK") return;
      await this.#world.sleep(1_000);
    }
    this.#world.violation(`saga ${id} stays stuck, although nothing is in its way`);
  }

  async #finish(db: Client, { id, builder, sent, told }: Begun): Promise<void> {
    const record = await this.#recordOf(db, id);
    if (record === undefined) {
      if (told !== undefined)
        this.#world.violation(`P2 saga ${id} was ${told.resultType}, and there is no record of it`);
      sent.answer("failed");
      return;
    }
    const outcome: SagaOperation["outcome"] = outcomes[record.state as keyof typeof outcomes] ?? "stuck";
    const isEnd = told !== undefined && told.resultType !== "STUCK";
    if (isEnd && told.resultType !== record.state) {
      this.#world.violation(`P4 saga ${id} was ${told.resultType} for its caller, its record says ${record.state}`);
    }
    if (!isEnd) sent.answer(outcome, statesOf(record));
    const again = await builder.commit();
    if (!again.duplicate || again.resultType !== record.state) {
      this.#world.violation(`P4 saga ${id} is ${record.state}; asked for again it is ${again.resultType}`);
    }
  }

  async #recordOf(db: Client, id: string) {
    try {
      return await db.showSaga(id);
    } catch (error) {
      if ((error as { code?: unknown }).code === "NO_SUCH_SAGA") return undefined;
      throw error;
    }
  }

  // ——— steps

  /** Some pay out before they have collected: what they must take back then may be spent. */
  #legs(): Leg[] {
    return this.#below(3) === 0 ? this.#legsOf(120).reverse() : this.#legsOf(40);
  }

  /** Out of one account, into one or two others. */
  #legsOf(amountMax: number): Leg[] {
    const start = this.#below(accounts.length);
    const at = (i: number) => accounts[(start + i) % accounts.length]!;
    const amount = 2 + this.#below(amountMax);
    const penalty = this.#below(3) === 0 ? 5_000 : 0;
    if (this.#below(2) === 0) {
      return [
        { entity: at(0), amount, penalty: 0, direction: "out" },
        { entity: at(1 + this.#below(3)), amount, penalty, direction: "in" },
      ];
    }
    const part = 1 + this.#below(amount - 1);
    return [
      { entity: at(0), amount, penalty: 0, direction: "out" },
      { entity: at(1 + this.#below(2)), amount: part, penalty, direction: "in" },
      { entity: at(3 + this.#below(3)), amount: amount - part, penalty: 0, direction: "in" },
    ];
  }

  #stepRun({ entity, amount, penalty, direction }: Leg, stage: number): SagaStepRun {
    const change = (isOut: boolean, how: number) => this.#book.change(isOut ? "Debited" : "Credited", how);
    const isOut = direction === "out";
    return {
      entity,
      stage,
      forward: [historyEventOf(change(isOut, amount))],
      back: [historyEventOf(change(!isOut, amount + penalty))],
    };
  }

  /** A step as events or as commands: either writes the same event. */
  #actsOf({ entity, amount, penalty, direction }: Leg, run: SagaStepRun): Acts {
    const forward = { amount, marker: run.forward[0]!.marker };
    const back = { amount: amount + penalty, marker: run.back![0]!.marker };
    const isOut = direction === "out";
    if (this.#below(2) === 0) {
      const [there, undone] = isOut ? (["Debited", "Credited"] as const) : (["Credited", "Debited"] as const);
      return { entity, forward: { type: there, payload: forward }, back: { type: undone, payload: back } };
    }
    const [act, undo] = isOut ? (["Withdraw", "Deposit"] as const) : (["Deposit", "Withdraw"] as const);
    return { entity, forward: { command: act, input: forward }, back: { command: undo, input: back } };
  }

  #below(bound: number): number {
    return this.#world.below(bound);
  }
}

function statesOf({ steps }: { readonly steps: readonly { readonly state: SagaStepRun["state"] & string }[] }) {
  return steps.map(({ state }) => state);
}
