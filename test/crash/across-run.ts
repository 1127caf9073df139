// AcrossRun: one data folder, and a node that is killed in the middle of transactions, sagas and reminders, at one named place
// each time.
//
// Of each kill: the node is told where to die, somebody asks for a transfer between two shards, the node dies, another starts on
// the same folder. The transfer then comes to its end: by whoever asked first and is still there, or by somebody else who
// asks with the same id. Whoever asks again is told the same. Money has moved once or not at all; what is stuck is listed,
// and an operator can settle it. A reader asks all the while, before, between and after.
//
// At the end the histories of all accounts are held against everything that anybody was told (testkit's history checker), and
// the closed folder is audited.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Heddle } from "@heddle/client";
import { parseEntityId, shardOf } from "@heddle/kernel";
import { auditFolder } from "@heddle/runtime/internal";
import type { ShardLimits } from "@heddle/shard/internal";
import { freePort } from "../../infra/servers/index.ts";
import { bankDomain, NodeProcess } from "./node-process.ts";
import { type Bank, RecordedBank, type SagaCall } from "./recorded-bank.ts";

/** In the order in which a transaction over several shards passes them; the last one only if it is given up. */
export const transactionPoints = [
  "transaction:prepared",
  "transaction:before-decision",
  "transaction:decided",
  "transaction:before-settle",
  "transaction:settled",
  "transaction:aborting",
] as const;

/** In the order in which sagas pass them: those of going back in the middle, those of another life and of operators last. */
export const sagaPoints = [
  "saga:before-started",
  "saga:started",
  "saga:forward",
  "saga:before-compensation",
  "saga:compensation",
  "saga:back",
  "saga:before-end",
  "saga:ended",
  "saga:before-reply",
  "saga:after-reply",
  "saga:resumed",
  "saga:probed",
  "saga:retried",
  "saga:resolved",
] as const;

/** In the order in which a reminder passes them when it is due. */
export const reminderPoints = ["reminder:delivered", "reminder:recorded"] as const;

/** Passed at every commit group, of whichever entity. */
export const groupPoints = ["log:before-write", "log:on-its-way", "log:after-sync"] as const;

/**
 * What is under way when the node dies. `stuck`: the compensation of its first step is refused until somebody pays in, and
 * then an operator retries it, or declares its end. `reminder`: one that is due as soon as it is set.
 */
export const scenarios = {
  transfer: { kind: "transaction", moves: [-5, 5] },
  "refused transfer": { kind: "transaction", moves: [5, -1_000_000] },
  saga: { kind: "saga", ends: "COMMITTED" },
  "compensated saga": { kind: "saga", ends: "COMPENSATED" },
  "stuck saga": { kind: "saga", ends: "STUCK" },
  reminder: { kind: "reminder" },
} as const;

export type Scenario = keyof typeof scenarios;

export const pointsOf = {
  transaction: transactionPoints,
  saga: sagaPoints,
  reminder: reminderPoints,
} as const satisfies Record<(typeof scenarios)[Scenario]["kind"], readonly string[]>;

export interface Kill {
  readonly scenario: Scenario;
  readonly point: string;
  /** From the moment when the transfer is asked for, counted by each thread. */
  readonly passing: number;
  /** Where the next node dies, while it recovers or goes on. */
  readonly next?: string;
  /** Who asks the node that comes after: whoever asked first, or somebody else, because the first has died as well. */
  readonly asker: "first" | "other";
  /** What becomes of it if it is stuck. */
  readonly operator: "retry" | "resolve";
  /** The node dies of what the operator does, not before. */
  readonly operating?: boolean;
}

/** At points that only a node passes which goes on where another died, or one that an operator asks. */
export const laterKills: readonly Omit<Kill, "asker">[] = [
  { scenario: "transfer", point: "transaction:prepared", passing: 1, next: "transaction:aborting", operator: "retry" },
  { scenario: "compensated saga", point: "saga:started", passing: 1, next: "saga:resumed", operator: "retry" },
  { scenario: "saga", point: "saga:started", passing: 1, next: "saga:probed", operator: "retry" },
  { scenario: "stuck saga", point: "saga:retried", passing: 1, operating: true, operator: "retry" },
  { scenario: "stuck saga", point: "saga:resolved", passing: 1, operating: true, operator: "resolve" },
];

export interface AcrossOptions {
  readonly shards: number;
  readonly threads: number;
  readonly limits?: Partial<ShardLimits>;
}

const amount = 5;
/** More than any account has. */
const tooMuch = 1_000_000;
const pairsOfEach = 3;
/** Whatever is waited for comes much sooner, or not at all. */
const patienceMs = 300_000;

type Pair = readonly [from: string, to: string];

export class AcrossRun {
  /** How many nodes died at each point. */
  readonly deaths = new Map<string, number>();
  readonly #options: AcrossOptions;
  readonly #port: number;
  readonly #folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-across-"));
  readonly #bank = new RecordedBank();
  readonly #pairs: { readonly transaction: readonly Pair[]; readonly saga: readonly Pair[] };
  #node!: NodeProcess;
  #caller: Bank;
  #other: Bank;
  #reader: Bank;
  #reading: Promise<void> = Promise.resolve();
  #isOver = false;
  #audits = 0;
  #calls = 0;

  static async open(options: AcrossOptions): Promise<AcrossRun> {
    const run = new AcrossRun(options, await freePort());
    try {
      await run.#begin();
    } catch (error) {
      await run.abandon();
      throw error;
    }
    return run;
  }

  private constructor(options: AcrossOptions, port: number) {
    this.#options = options;
    this.#port = port;
    const pairs = this.#findPairs();
    this.#pairs = { transaction: pairs.slice(0, pairsOfEach), saga: pairs.slice(pairsOfEach) };
    [this.#caller, this.#other, this.#reader] = [this.#newClient(), this.#newClient(), this.#newClient()];
  }

  /** How many nodes have died. */
  get kills(): number {
    return [...this.deaths.values()].reduce((sum, deaths) => sum + deaths, 0);
  }

  /** How often the reader has added everything up. */
  get audits(): number {
    return this.#audits;
  }

  /**
   * Whether the node passed the point and died. Errors: throws when anything is not as it should be; the data is kept then.
   */
  async kill(kill: Kill): Promise<boolean> {
    try {
      const { kind } = scenarios[kill.scenario];
      if (kind === "reminder") return await this.#killReminder(kill);
      return kind === "saga" ? await this.#killSaga(kill) : await this.#killTransfer(kill);
    } catch (error) {
      const { scenario, point, passing, next } = kill;
      const where = `${scenario} at ${point}:${passing}${next === undefined ? "" : ` and then at ${next}`}`;
      throw new Error(`${(error as Error).message}\nin ${where}; data: ${this.#folder}`, { cause: error });
    }
  }

  /** Checks all that was recorded, and the folder. */
  async finish(): Promise<void> {
    this.#isOver = true;
    await this.#within("the reader's end", this.#reading);
    const sagas = await this.#other.sagas({ only: "unfinished" });
    if (sagas.length > 0) throw new Error(`unfinished sagas are left: ${JSON.stringify(sagas)}`);
    await this.#bank.check(this.#other);
    await this.#closeClients();
    const { code } = await this.#within("the node's end", this.#node.close());
    if (code !== 0) throw new Error(`the node was stopped in order and ended with code ${code}`);
    const { problems } = await auditFolder({ data: this.#folder, domain: bankDomain });
    if (problems.length > 0) throw new Error(`the audit found ${JSON.stringify(problems)}; data: ${this.#folder}`);
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  /** After a failure: the data stays. */
  async abandon(): Promise<void> {
    this.#isOver = true;
    this.#node.kill();
    await this.#closeClients();
  }

  // ——— transactions

  async #killTransfer(kill: Kill): Promise<boolean> {
    const [from, to] = this.#nextPair(this.#pairs.transaction);
    const [taken, given] = scenarios[kill.scenario as "transfer"].moves;
    const bank = this.#bank;
    const moves = [bank.move(from, taken), bank.move(to, given)];
    this.#calls++;
    // Without an id only the client that asked can ask again: its session and the number of the call are what it is known by.
    const id = kill.asker === "first" && this.#calls % 2 === 0 ? undefined : `transfer-${this.#calls}`;
    const transfer = bank.newTransfer("caller", id, moves);
    const before = await this.#balancesOf([from, to]);
    const hasDied = await this.#dieWhile(kill, (db) => bank.transfer(db, transfer), [from, to]);
    if (id !== undefined) await this.#within("the same answer again", bank.transfer(this.#other, transfer));
    const isDone = transfer.result!.ok;
    if (isDone !== (kill.scenario === "transfer")) throw new Error(`it came to ${JSON.stringify(transfer.result)}`);
    expectEqual(
      "balances",
      await this.#balancesOf([from, to]),
      isDone ? [before[0]! - amount, before[1]! + amount] : before,
    );
    return hasDied;
  }

  // ——— sagas

  async #killSaga(kill: Kill): Promise<boolean> {
    const [from, to] = this.#nextPair(this.#pairs.saga);
    const call = this.#newSaga(kill.scenario, from, to);
    const bank = this.#bank;
    const before = await this.#balancesOf([from, to]);
    let hasDied = false;
    if (kill.operating === true) await this.#within("an answer", bank.saga(this.#caller, call));
    else hasDied = await this.#dieWhile(kill, (db) => bank.saga(db, call), [from, to]);
    const { resultType } = await this.#within("the same answer again", bank.saga(this.#other, call));
    const { ends } = scenarios[kill.scenario as "saga" | "compensated saga" | "stuck saga"];
    if (resultType !== ends) throw new Error(`it came to ${JSON.stringify(call.result)}`);
    const record = await this.#other.showSaga(call.id);
    if (record.state !== ends) throw new Error(`it is on record as ${JSON.stringify(record)}`);
    let moved = resultType === "COMMITTED" ? [-amount, amount] : [0, 0];
    if (resultType === "STUCK") {
      hasDied = (await this.#operate(kill, call, [from, to])) || hasDied;
      // What its first step paid in stays: by declaration, or because more was paid in for the compensation to take.
      moved = [amount, 0];
      bank.money += amount;
    }
    expectEqual("balances", await this.#balancesOf([from, to]), [before[0]! + moved[0]!, before[1]! + moved[1]!]);
    return hasDied;
  }

  #newSaga(scenario: Scenario, from: string, to: string): SagaCall {
    const bank = this.#bank;
    const id = `saga-${++this.#calls}`;
    if (scenario === "stuck saga") {
      const first = { forward: bank.move(from, amount), back: bank.move(from, -tooMuch - amount, "event") };
      return bank.newSaga("caller", id, [first, { forward: bank.move(to, -tooMuch), back: null }]);
    }
    const first = { forward: bank.move(from, -amount), back: bank.move(from, amount) };
    const isRefused = scenario === "compensated saga";
    const second = {
      forward: bank.move(to, isRefused ? -tooMuch : amount),
      back: bank.move(to, isRefused ? tooMuch : -amount),
    };
    return bank.newSaga("caller", id, [first, second]);
  }

  /** Whether the node died of it. */
  async #operate(kill: Kill, call: SagaCall, accounts: Pair): Promise<boolean> {
    const listed = await this.#other.sagas({ only: "stuck" });
    if (!listed.some(({ saga }) => saga === call.id)) {
      throw new Error(`it is stuck, and not among ${JSON.stringify(listed)}`);
    }
    const bank = this.#bank;
    let operate = (db: Bank): Promise<unknown> => bank.resolve(db, call, "COMPENSATED");
    if (kill.operator === "retry") {
      await bank.put(this.#other, accounts[0], tooMuch + amount);
      // The compensation takes what was paid in for it.
      bank.money -= tooMuch + amount;
      operate = (db) => bank.retry(db, call);
    }
    let hasDied = false;
    if (kill.operating === true) hasDied = await this.#dieWhile(kill, operate, accounts);
    else await this.#within("the operator", operate(this.#other));
    const left = await this.#other.sagas({ only: "unfinished" });
    if (left.length > 0) throw new Error(`an operator settled it, and there is still ${JSON.stringify(left)}`);
    const { resultType } = await bank.askAgain(this.#other, call);
    if (resultType !== "COMPENSATED") throw new Error(`it was settled as COMPENSATED, and is said to be ${resultType}`);
    return hasDied;
  }

  // ——— reminders

  async #killReminder(kill: Kill): Promise<boolean> {
    const [account] = this.#nextPair(this.#pairs.saga);
    const bank = this.#bank;
    const before = await this.#balancesOf([account]);
    const reminder = bank.newReminder(`reminder-${++this.#calls}`, account, amount);
    const hasDied = await this.#dieWhile(kill, (db) => bank.remind(db, reminder), [account, account]);
    bank.money += amount;
    expectEqual("balances", await this.#balancesOf([account]), [before[0]! + amount]);
    return hasDied;
  }

  // ——— the node and its death

  /** Whether the node died of it. Either way the call has come to an end, and nothing of it is under way any more. */
  async #dieWhile(kill: Kill, ask: (db: Bank) => Promise<unknown>, accounts: Pair): Promise<boolean> {
    const { point, passing, next, asker } = kill;
    await this.#within("arming", this.#node.crashAt(`${point}:${passing}`));
    const asked = ask(this.#caller);
    // Whether it is awaited depends on who is there to ask.
    asked.catch(() => {});
    const hasDied = await this.#untilQuiet(this.#node, async () => {
      await asked;
      await this.#balancesOf(accounts);
    });
    if (!hasDied) return false;
    this.#countDeath(point);
    if (asker === "other") {
      const dying = this.#caller;
      this.#caller = this.#newClient();
      await dying.close({ timeoutMs: 1 });
    }
    const answer = async () => (asker === "other" ? ask(this.#caller) : asked);
    let answered: Promise<unknown> | undefined;
    if (next !== undefined) {
      const node = this.#start(`${next}:1`);
      const settled = await this.#within("the second start", node.settled);
      if (settled === "refused") throw new Error(`the second node refused to start: ${node.refusal!.message}`);
      answered = answer();
      answered.catch(() => {});
      if (await this.#untilQuiet(node, async () => void (await answered))) this.#countDeath(next);
      else node.kill();
      await this.#within("the second node's death", node.exited);
    }
    await this.#ready(this.#start());
    await this.#within("the answer", answered ?? answer());
    return true;
  }

  #countDeath(point: string): void {
    this.deaths.set(point, (this.deaths.get(point) ?? 0) + 1);
  }

  /**
   * True if the node dies before everything is done and quiet. What comes behind an answer comes before the answer to a read
   * of the same accounts; and once a node that was told to forget its death has answered another read, it will not die.
   */
  #untilQuiet(node: NodeProcess, work: () => Promise<void>): Promise<boolean> {
    const quiet = async () => {
      await work();
      await node.crashAt("none:1");
      await Promise.all(this.#bank.accounts.map((account) => this.#other.entity(account).get("Account")));
      return false;
    };
    const died = node.exited.then(({ code, signal }) => {
      if (signal !== "SIGKILL") throw new Error(`the node ended by itself: code ${code}, signal ${signal}`);
      return true;
    });
    return this.#within("an answer or the node's death", Promise.race([died, quiet()]));
  }

  async #begin(): Promise<void> {
    await this.#ready(this.#start());
    for (const [from, to] of [...this.#pairs.transaction, ...this.#pairs.saga]) {
      await this.#bank.put(this.#caller, from, 10_000);
      await this.#bank.put(this.#caller, to, 10_000);
    }
    this.#reading = this.#read();
    // Noticed when it is awaited, at the end or in the midst of something.
    this.#reading.catch(() => {});
  }

  /** Reads until the end: all accounts of transactions together, whose sum never changes, and those of sagas each. */
  async #read(): Promise<void> {
    const together = this.#pairs.transaction.flat();
    const total = 10_000 * together.length;
    for (let i = 0; !this.#isOver; i++) {
      const sum = await this.#bank.audit(this.#reader, together);
      this.#audits++;
      if (sum !== total) throw new Error(`a reader saw ${sum} where there are ${total}: a half of a transaction`);
      const [from, to] = this.#pairs.saga[i % this.#pairs.saga.length]!;
      await Promise.all([this.#bank.balance(this.#reader, from), this.#bank.balance(this.#reader, to)]);
    }
  }

  async #balancesOf(accounts: readonly string[]): Promise<number[]> {
    const read = Promise.all(accounts.map((account) => this.#bank.balance(this.#other, account, "other")));
    return this.#within("balances", read);
  }

  #start(crashAt = "later"): NodeProcess {
    this.#node = new NodeProcess({ data: this.#folder, port: this.#port, crashAt, ...this.#options });
    return this.#node;
  }

  async #ready(node: NodeProcess): Promise<void> {
    const settled = await this.#within("the node's start", node.settled);
    if (settled !== "ready") throw new Error(`the node did not start: ${node.refusal?.message ?? settled}`);
  }

  #newClient(): Bank {
    return new Heddle({
      host: "127.0.0.1",
      port: this.#port,
      timeoutMs: patienceMs,
      connectTimeoutMs: patienceMs,
      // A node lives for some ten milliseconds: whoever comes late sees nothing of it.
      reconnectDelayMs: 1,
      reconnectDelayMaxMs: 10,
    });
  }

  async #closeClients(): Promise<void> {
    await Promise.all([this.#caller, this.#other, this.#reader].map((db) => db.close({ timeoutMs: 1 })));
  }

  /** Accounts by two, the second on the shard behind the first's; each shard is the first once in turn. */
  #findPairs(): Pair[] {
    const { shards } = this.#options;
    const names = Array.from({ length: shards }, () => [] as string[]);
    for (let i = 0; names.some((list) => list.length < 4 * pairsOfEach); i++) {
      const account = parseEntityId(`account/${i}`);
      names[shardOf(account, shards)]!.push(account);
    }
    return Array.from({ length: 2 * pairsOfEach }, (_, i) => [
      names[i % shards]!.pop()!,
      names[(i + 1) % shards]!.pop()!,
    ]);
  }

  #nextPair(pairs: readonly Pair[]): Pair {
    return pairs[this.#calls % pairs.length]!;
  }

  async #within<T>(what: string, promise: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(`waited ${patienceMs} ms for ${what}`)), patienceMs);
    // The reader ends by itself only at the end, or because it saw what it must not see.
    const stopped = this.#reading.then(() => late.promise);
    try {
      return await Promise.race([promise, late.promise, stopped]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function expectEqual(what: string, found: readonly number[], wanted: readonly number[]): void {
  if (found.join() !== wanted.join()) throw new Error(`${what} are ${found.join()}, not ${wanted.join()}`);
}
