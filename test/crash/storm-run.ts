// StormRun: a storm of transfers by transactions and sagas over a node that is killed at random moments.
//
// Some accounts are used by transactions only: an auditor adds them up all the while, and the sum never changes. On the others
// sagas, transactions and appends meet; sagas are not isolated, so their sum is held against what was put in at the end.
// Clients die with the node now and then, and leave calls behind that others ask for again, with the same id. Sagas that are
// stuck at the end are given the money that their compensation lacks, and retried.
// All of it is recorded, and in the end one order must explain it (testkit's history checker).
//
// The choices come from a seed. What processes and disks then do is their own.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Heddle, HeddleError } from "@heddle/client";
import { auditFolder } from "@heddle/runtime/internal";
import { freePort } from "../../infra/servers/index.ts";
import type { Dice } from "./dice.ts";
import { bankDomain, NodeProcess } from "./node-process.ts";
import { type Bank, RecordedBank, type SagaCall, type SagaStep, type Transfer } from "./recorded-bank.ts";

export interface StormOptions {
  readonly dice: Dice;
  readonly kills: number;
  readonly shards: number;
  readonly threads: number;
  readonly accounts: number;
  readonly clients: number;
  readonly callersPerClient: number;
  readonly progress: (line: string) => void;
}

export interface StormTotals {
  readonly kills: number;
  readonly audits: number;
  readonly committed: number;
  /** Transfers and sagas that a rule, a command or the caller's own condition said no to. */
  readonly refused: number;
  readonly compensated: number;
  readonly stuck: number;
  /** Calls that were left behind, and asked for again by somebody else. */
  readonly askedAgain: number;
}

/** Errors: throws with everything that is wrong and where the data lies; the folder is kept then. */
export async function stormRun(options: StormOptions): Promise<StormTotals> {
  const run = new StormRun(options, await freePort());
  return run.run();
}

const patienceMs = 300_000;
const startMoney = 100;
const tooMuch = 1_000_000;
const auditorPauseMs = 3;
/** So many answers at most between a start and the kill that follows. */
const answersMax = 300;

/** The call may have taken effect, or may still. */
const uncertainCodes: ReadonlySet<string> = new Set(["CLOSED", "TIMEOUT", "OUTCOME_UNKNOWN", "CONNECTION_FAILED"]);

class StormRun {
  readonly #options: StormOptions;
  readonly #port: number;
  readonly #folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-storm-"));
  readonly #bank = new RecordedBank();
  readonly #isolated: string[];
  readonly #shared: string[];
  readonly #clients: Bank[];
  readonly #leftBehind: (Transfer | SagaCall)[] = [];
  readonly #stuck: SagaCall[] = [];
  readonly #totals = { kills: 0, audits: 0, committed: 0, refused: 0, compensated: 0, stuck: 0, askedAgain: 0 };
  readonly #failed = Promise.withResolvers<never>();
  #node!: NodeProcess;
  #isOver = false;
  #answers = 0;
  #calls = 0;
  #whenAnswered: { readonly at: number; readonly resolve: () => void } | undefined;

  constructor(options: StormOptions, port: number) {
    this.#options = options;
    this.#port = port;
    const accounts = Array.from({ length: options.accounts }, (_, i) => `account/storm-${i}`);
    this.#isolated = accounts.filter((_, i) => i % 2 === 0);
    this.#shared = accounts.filter((_, i) => i % 2 === 1);
    this.#clients = Array.from({ length: options.clients }, () => this.#newClient());
    this.#failed.promise.catch(() => {});
  }

  async run(): Promise<StormTotals> {
    try {
      await this.#storm();
    } catch (error) {
      this.#isOver = true;
      this.#node.kill();
      await Promise.all(this.#clients.map((db) => db.close({ timeoutMs: 1 })));
      throw new Error(`${(error as Error).message}\nafter ${JSON.stringify(this.#totals)}; data: ${this.#folder}`, {
        cause: error,
      });
    }
    fs.rmSync(this.#folder, { recursive: true, force: true });
    return this.#totals;
  }

  async #storm(): Promise<void> {
    const { dice, kills, clients, callersPerClient, progress } = this.#options;
    await this.#start();
    const [first] = this.#clients;
    for (const account of [...this.#isolated, ...this.#shared]) await this.#bank.put(first!, account, startMoney);
    const callers = Array.from({ length: clients * callersPerClient }, (_, i) => this.#call(i % clients, dice.fork()));
    const auditor = this.#newClient();
    this.#clients.push(auditor);
    const work = [...callers, this.#audit(auditor)].map((one) => one.catch((error) => this.#failed.reject(error)));
    for (let i = 0; i < kills; i++) {
      // Some die while they recover, or at once after it; the others under load.
      const answers = dice.chance(25) ? 0 : dice.between(1, answersMax);
      if (answers > 0) await this.#within("answers", this.#whenMoreAnswers(answers));
      this.#node.kill();
      await this.#within("the node's death", this.#node.exited);
      this.#totals.kills++;
      progress(`${i + 1} of ${kills} kills: ${JSON.stringify(this.#totals)}`);
      if (dice.chance(50)) await this.#replaceClient(dice.between(0, clients - 1));
      if (dice.chance(20)) await this.#startAndKill(dice);
      await this.#start();
    }
    await this.#within("answers", this.#whenMoreAnswers(answersMax));
    this.#isOver = true;
    await this.#within("the callers' end", Promise.all(work));
    await this.#finish(auditor, dice);
  }

  /** A node that dies while its shards recover, or transactions and sagas go on that the last one has left. */
  async #startAndKill(dice: Dice): Promise<void> {
    const node = this.#newNode();
    const opened = Promise.withResolvers<void>();
    let left = dice.between(1, this.#options.shards);
    node.onLog(({ msg }) => {
      if (msg === "shard is open" && --left === 0) opened.resolve();
    });
    await this.#within("recovery", Promise.race([opened.promise, node.exited]));
    node.kill();
    await this.#within("the node's death", node.exited);
    this.#totals.kills++;
  }

  async #finish(db: Bank, dice: Dice): Promise<void> {
    for (const call of this.#leftBehind) await this.#within("a call left behind", this.#ask(db, call));
    for (const call of this.#stuck) {
      for (const { forward, back } of call.steps) {
        if (back !== null && back.amount < 0) await this.#bank.put(db, forward.account, -back.amount);
      }
      const { resultType, steps } = await this.#within("a retry", this.#bank.retry(db, call));
      if (resultType !== "COMPENSATED") throw new Error(`${call.id} was retried and came to ${resultType}`);
      // Some take back more than they gave.
      for (const [i, { forward, back }] of call.steps.entries()) {
        if (steps[i]!.state === "compensated") this.#bank.money += forward.amount + back!.amount;
      }
    }
    const unfinished = await db.sagas({ only: "unfinished", limit: 10_000 });
    if (unfinished.length > 0) throw new Error(`unfinished sagas are left: ${JSON.stringify(unfinished)}`);
    await this.#within("the last start", this.#restart(dice));
    await this.#bank.check(db);
    await Promise.all(this.#clients.map((client) => client.close({ timeoutMs: 1 })));
    const { code } = await this.#within("the node's end", this.#node.close());
    if (code !== 0) throw new Error(`the node was stopped in order and ended with code ${code}`);
    const { problems } = await auditFolder({ data: this.#folder, domain: bankDomain });
    if (problems.length > 0) throw new Error(`the audit found ${JSON.stringify(problems)}`);
  }

  /** What is there is there after one more death as well. */
  async #restart(dice: Dice): Promise<void> {
    if (dice.chance(50)) this.#node.kill();
    else void this.#node.close();
    await this.#node.exited;
    await this.#start();
  }

  // ——— what callers do

  async #call(client: number, dice: Dice): Promise<void> {
    while (!this.#isOver) {
      const choice = dice.between(1, 100);
      const again = choice <= 5 ? this.#leftBehind.shift() : undefined;
      if (again !== undefined) await this.#tryAgain(this.#clients[client]!, again);
      else if (choice <= 45) await this.#try(client, this.#newTransfer(dice, this.#isolated));
      else if (choice <= 80) await this.#try(client, this.#newSaga(dice));
      else if (choice <= 90) await this.#try(client, this.#newTransfer(dice, this.#shared));
      else await this.#read(client, dice);
      this.#onAnswer();
    }
  }

  async #try(client: number, call: Transfer | SagaCall): Promise<void> {
    try {
      await this.#ask(this.#clients[client]!, call);
    } catch (error) {
      if (!(error instanceof HeddleError)) throw error;
      if (error.code === "TRANSACTION_CONFLICT") this.#totals.refused++;
      else if (!uncertainCodes.has(error.code)) throw error;
      else if (call.id !== undefined) this.#leftBehind.push(call);
    }
  }

  async #tryAgain(db: Bank, call: Transfer | SagaCall): Promise<void> {
    this.#totals.askedAgain++;
    try {
      await this.#ask(db, call);
    } catch (error) {
      if (!(error instanceof HeddleError) || !uncertainCodes.has(error.code)) throw error;
      this.#leftBehind.push(call);
    }
  }

  async #ask(db: Bank, call: Transfer | SagaCall): Promise<void> {
    if (!("steps" in call)) {
      const { ok } = await this.#bank.transfer(db, call);
      this.#totals[ok ? "committed" : "refused"]++;
      return;
    }
    const { resultType } = await this.#bank.saga(db, call);
    if (resultType === "COMMITTED") this.#totals.committed++;
    else if (resultType === "COMPENSATED") this.#totals.compensated++;
    else {
      this.#totals.stuck++;
      this.#stuck.push(call);
    }
  }

  async #read(client: number, dice: Dice): Promise<void> {
    try {
      await this.#bank.balance(this.#clients[client]!, dice.pick(this.#shared), `client ${client}`);
    } catch (error) {
      if (!(error instanceof HeddleError) || !uncertainCodes.has(error.code)) throw error;
    }
  }

  /** What one loses the others get. */
  #newTransfer(dice: Dice, accounts: readonly string[]): Transfer {
    const [from, ...others] = dice.shuffle(accounts).slice(0, dice.between(2, 4));
    const amounts = others.map(() => dice.between(1, 30));
    const sum = amounts.reduce((a, b) => a + b, 0);
    const as = dice.chance(30) ? "event" : "command";
    const moves = [this.#bank.move(from!, -sum, as), ...others.map((to, i) => this.#bank.move(to, amounts[i]!, as))];
    // A function that reads anew would not ask for the same again: such a transfer has no id.
    const reads = dice.chance(40);
    const id = reads || dice.chance(30) ? undefined : `t${++this.#calls}`;
    return this.#bank.newTransfer("caller", id, moves, reads);
  }

  #newSaga(dice: Dice): SagaCall {
    const [from, to, third] = dice.shuffle(this.#shared);
    const [amount, more] = [dice.between(1, 40), dice.between(1, 40)];
    const step = (account: string, sum: number): SagaStep => ({
      forward: this.#bank.move(account, sum),
      back: this.#bank.move(account, -sum),
    });
    const choice = dice.between(1, 100);
    const steps: SagaStep[] = [step(from!, -amount), ...(dice.chance(40) ? [step(third!, -more)] : [])];
    // Given before it is taken: what was given may be gone when the saga goes back.
    if (choice <= 10) steps.splice(0, 2, step(to!, amount), step(from!, -amount));
    else if (choice <= 20) {
      // To take back more than anybody has is refused until somebody pays it in.
      const greedy = { ...step(to!, amount), back: this.#bank.move(to!, -amount - tooMuch, "event") };
      steps.splice(0, 2, greedy, step(from!, -tooMuch));
    }
    const missing = steps.reduce((sum, { forward }) => sum + forward.amount, 0);
    if (choice > 20) steps.push({ forward: this.#bank.move(to!, -missing), back: null });
    return this.#bank.newSaga("caller", `s${++this.#calls}`, steps);
  }

  async #audit(db: Bank): Promise<void> {
    const total = startMoney * this.#isolated.length;
    while (!this.#isOver) {
      const sum = await this.#bank.audit(db, this.#isolated);
      if (sum !== total) throw new Error(`the auditor saw ${sum} where there are ${total}: a half of a transaction`);
      this.#totals.audits++;
      await new Promise((resolve) => setTimeout(resolve, auditorPauseMs));
    }
  }

  // ——— node and clients

  #newNode(): NodeProcess {
    const { shards, threads } = this.#options;
    const limits = {
      segmentBytes: 128 << 10,
      checkpointBytes: 64 << 10,
      checkpointIntervalMs: 50,
      activeEntitiesMax: 20,
    };
    this.#node = new NodeProcess({ data: this.#folder, port: this.#port, shards, threads, limits });
    return this.#node;
  }

  async #start(): Promise<void> {
    const node = this.#newNode();
    const settled = await this.#within("the node's start", node.settled);
    if (settled !== "ready") throw new Error(`the node did not start: ${node.refusal?.message ?? settled}`);
  }

  #newClient(): Bank {
    return new Heddle({
      host: "127.0.0.1",
      port: this.#port,
      timeoutMs: patienceMs,
      connectTimeoutMs: patienceMs,
      reconnectDelayMaxMs: 50,
    });
  }

  /** One client dies with the node: its calls have no answer. */
  async #replaceClient(index: number): Promise<void> {
    const dying = this.#clients[index]!;
    this.#clients[index] = this.#newClient();
    await dying.close({ timeoutMs: 1 });
  }

  #whenMoreAnswers(more: number): Promise<void> {
    return new Promise((resolve) => {
      this.#whenAnswered = { at: this.#answers + more, resolve };
    });
  }

  #onAnswer(): void {
    this.#answers++;
    if (this.#whenAnswered !== undefined && this.#answers >= this.#whenAnswered.at) this.#whenAnswered.resolve();
  }

  async #within<T>(what: string, promise: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`waited ${patienceMs} ms for ${what}`)), patienceMs);
    try {
      return await Promise.race([promise, late.promise, this.#failed.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}
