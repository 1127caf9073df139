// ReaderLoad: everything that readers have to follow: appends, transactions, sagas that come back, erasures and new lives, and
// operators who have projections built anew. Nobody checks answers here: what counts is what the logs have.
import { setTimeout as pause } from "node:timers/promises";
import { Heddle, HeddleError } from "@heddle/client";
import type { Dice } from "./dice.ts";
import type readerBank from "./reader-bank.ts";

type Bank = Heddle<typeof readerBank>;

const aggregate = { aggregate: "Account" } as const;
const projections = ["accounts", "settled", "movements", "currencies"] as const;
const callers = 12;
const accountCount = 25;

export class ReaderLoad {
  /** Calls that were answered with a success. */
  done = 0;
  readonly #db: Bank;
  readonly #running: Promise<void>[];
  readonly #hasProjections: boolean;
  readonly #erases: boolean;
  #isOver = false;
  #fault: unknown;
  #number = 0;

  constructor(port: number, dice: Dice, { hasProjections, erases }: { hasProjections: boolean; erases: boolean }) {
    this.#db = new Heddle({
      host: "127.0.0.1",
      port,
      timeoutMs: 60_000,
      connectTimeoutMs: 60_000,
      reconnectDelayMaxMs: 100,
    });
    this.#hasProjections = hasProjections;
    this.#erases = erases;
    this.#running = Array.from({ length: callers }, () => this.#run(dice.fork()));
  }

  /** Errors: what a caller failed with that is no failure of a call. */
  check(): void {
    if (this.#fault !== undefined) throw this.#fault;
  }

  /** Lets every call come to its end, so that nothing is on its way any more: for a node that runs. */
  async finish(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#running);
    await this.#db.close();
    this.check();
  }

  /** Gives up what is on its way: for a node that is dead. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#db.close({ timeoutMs: 1 });
    await Promise.all(this.#running);
    this.check();
  }

  async #run(dice: Dice): Promise<void> {
    while (!this.#isOver) {
      try {
        await this.#call(dice);
        this.done++;
      } catch (thrown) {
        if (!(thrown instanceof HeddleError) || thrown.code === "LOG_DAMAGED") {
          this.#fault ??= thrown;
          return;
        }
        await pause(5);
      }
    }
  }

  async #call(dice: Dice): Promise<unknown> {
    const [from, to, third] = this.#accounts(dice);
    const choice = dice.between(1, 100);
    const credits = () => ({ type: "Credited", payload: this.#payload(dice) }) as const;
    if (choice <= 55) return this.#db.entity(from).append([credits()], { ...aggregate, newLife: true });
    if (choice <= 65) {
      const events = Array.from({ length: dice.between(2, 20) }, credits);
      return this.#db.entity(from).append(events, { ...aggregate, newLife: true });
    }
    if (choice <= 75) {
      return this.#db.transaction(async (tx) => {
        for (const entity of [from, to, third]) tx.append(entity, "Credited", this.#payload(dice), aggregate);
      });
    }
    if (choice <= 92) {
      const amount = dice.chance(70) ? 1 : 1_000_000_000;
      const move = (type: "Credited" | "Debited") => ({ type, payload: { amount }, ...aggregate }) as const;
      const id = `s${process.pid}-${++this.#number}-${dice.between(0, 1 << 30)}`;
      return this.#db
        .saga(id)
        .step(to, move("Credited"), move("Debited"))
        .step(from, move("Debited"), move("Credited"))
        .commit();
    }
    if (choice <= 97 && this.#erases) return this.#db.entity(from).delete({ provisional: dice.chance(50) });
    if (choice > 97 && this.#hasProjections) return this.#rebuild(dice.pick(projections));
    return this.#db.entity(to).get("Account");
  }

  // Not to its end: the node may be killed before.
  async #rebuild(projection: (typeof projections)[number]): Promise<void> {
    const stop = new AbortController();
    const asked = this.#db.rebuildProjection(projection, { signal: stop.signal });
    await Promise.race([asked, pause(500)]).finally(() => stop.abort());
    await asked.catch(() => undefined);
  }

  #accounts(dice: Dice): [string, string, string] {
    const first = dice.between(0, accountCount - 1);
    const place = (i: number) => `account/r${(first + i) % accountCount}`;
    return [place(0), place(dice.between(1, 7)), place(dice.between(8, 20))];
  }

  #payload(dice: Dice) {
    return {
      amount: dice.between(1, 1_000),
      currency: dice.pick(["EUR", "USD", "CHF", "JPY"]),
      reference: `r${++this.#number} ${"x".repeat(dice.between(0, 60))}`,
    };
  }
}
