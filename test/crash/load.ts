// Load: clients that use a node, fall with it and go on with it, and enter everything in a ledger.
//
// Several SDK clients with a dozen callers each, and a few callers over HTTP. Each caller makes one call after another:
// single events, batches, commands, appends that a rule will refuse, reads; some with an id of their own, some expecting
// a sequence, some in pairs without waiting, some with so little time that a restart outlasts it. Appends with an id are
// sent again, by other clients and with other content.
// The SDK's own retries are what carries the calls over a restart: no caller here repeats what has no id.
import { setTimeout as pauseMs } from "node:timers/promises";
import { Heddle, HeddleError } from "@heddle/client";
import type bank from "@heddle-examples/bank";
import type { Dice } from "./dice.ts";
import { appendOverHttp, executeOverHttp, type HttpAnswer } from "./http-account.ts";
import { type Answer, type KeptReceipt, type Ledger, receiptsOf, type SentAppend, type SentEvent } from "./ledger.ts";

export interface LoadOptions {
  readonly port: number;
  readonly ledger: Ledger;
  readonly dice: Dice;
  /** Names of the accounts that everybody works on. Now and then somebody takes one that is new. */
  readonly accounts: readonly string[];
  readonly clients: number;
  readonly callersPerClient: number;
  readonly httpCallers: number;
  /** Whether calls of one client keep their order. Not when shards refuse calls and take them later. */
  readonly keepsOrder: boolean;
}

type Bank = Heddle<typeof bank>;
type SdkResult = Awaited<ReturnType<ReturnType<Bank["entity"]>["append"]>>;

interface Client {
  readonly db: Bank;
  /** See the ledger. */
  readonly lane: number;
}

/** An append with an id, for sending again: it must then be what it was, an append or a command. */
interface NamedAppend {
  readonly append: SentAppend;
  readonly asCommand: boolean;
}

/** Longer than any restart takes: a call that meets one is answered all the same. */
const patientMs = 120_000;
/** Shorter than a restart takes: a call that meets one ends without an answer. */
const hastyMs = 150;
/** An HTTP caller's pause before it asks again. */
const httpPauseMs = 50;

/** Refusals after which it is certain that the sending had no effect. */
const certainCodes: ReadonlySet<string> = new Set([
  "INVARIANT_VIOLATED",
  "SEQUENCE_CONFLICT",
  "COMMAND_REJECTED",
  "ID_REUSED",
  "CLOSED",
  // Only for a client that never had a connection.
  "CONNECTION_FAILED",
]);
const uncertainCodes: ReadonlySet<string> = new Set(["TIMEOUT", "OUTCOME_UNKNOWN", "SHARD_STOPPED", "OVERLOADED"]);

export class Load {
  readonly #options: LoadOptions;
  readonly #ledger: Ledger;
  readonly #clients: Client[] = [];
  readonly #callers: Promise<void>[] = [];
  readonly #named: NamedAppend[] = [];
  #lanes = 0;
  #newAccounts = 0;
  #stopping = false;
  #abandoned = false;
  #gate: PromiseWithResolvers<void> | undefined;
  #busy = 0;
  #whenIdle: (() => void) | undefined;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#ledger = options.ledger;
    for (let i = 0; i < options.clients; i++) this.#clients.push(this.#newClient());
    for (let i = 0; i < options.clients * options.callersPerClient; i++) {
      this.#callers.push(this.#run(options.dice.fork(), (dice) => this.#callOverSdk(i % options.clients, dice)));
    }
    for (let i = 0; i < options.httpCallers; i++) {
      this.#callers.push(this.#run(options.dice.fork(), (dice) => this.#callOverHttp(dice)));
    }
  }

  /** Resolves when no call is under way and none will begin before `resume`. The node must be up. */
  async pause(): Promise<void> {
    this.#gate = Promise.withResolvers<void>();
    if (this.#busy > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve));
  }

  resume(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  /** One client goes away without waiting for its answers, and another takes its place. */
  async replaceClient(index: number): Promise<void> {
    const { db } = this.#clients[index]!;
    this.#clients[index] = this.#newClient();
    await db.close({ timeoutMs: 1 });
  }

  /** Ends when every call has its answer. The node must be up. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.resume();
    await Promise.all(this.#callers);
    await Promise.all(this.#clients.map(({ db }) => db.close()));
  }

  /** Ends without waiting for anything: the run has failed. */
  async abandon(): Promise<void> {
    this.#stopping = true;
    this.#abandoned = true;
    this.resume();
    await Promise.all(this.#clients.map(({ db }) => db.close({ timeoutMs: 1 })));
  }

  #newClient(): Client {
    const { port } = this.#options;
    const db: Bank = new Heddle({
      host: "127.0.0.1",
      port,
      timeoutMs: patientMs,
      connectTimeoutMs: patientMs,
      reconnectDelayMaxMs: 100,
    });
    return { db, lane: ++this.#lanes };
  }

  async #run(dice: Dice, call: (dice: Dice) => Promise<void>): Promise<void> {
    while (!this.#stopping) {
      if (this.#gate !== undefined) {
        await this.#gate.promise;
        continue;
      }
      this.#busy++;
      try {
        await call(dice);
      } catch (error) {
        this.#ledger.surprise(`a call failed with ${describe(error)}`);
        this.#stopping = true;
      }
      if (--this.#busy === 0 && this.#gate !== undefined) this.#whenIdle?.();
    }
  }

  // ——— over the SDK

  async #callOverSdk(index: number, dice: Dice): Promise<void> {
    const client = this.#clients[index]!;
    const entity = this.#pickEntity(dice);
    const choice = dice.between(1, 100);
    if (choice <= 40) await this.#append(client, this.#newAppend(client, entity, dice, 1), dice);
    else if (choice <= 55) await this.#append(client, this.#newAppend(client, entity, dice, dice.between(2, 40)), dice);
    else if (choice <= 60) await this.#pair(client, entity, dice);
    else if (choice <= 75) await this.#execute(client, this.#newAppend(client, entity, dice, 1, "as command"), dice);
    else if (choice <= 80) await this.#append(client, this.#newBadAppend(entity, dice), dice);
    else if (choice <= 87) await this.#readState(client, entity);
    else if (choice <= 91) await this.#readPage(client, entity);
    else if (choice <= 98) await this.#sendAgain(client, dice);
    else await this.#reuseId(client, dice);
  }

  /** Two appends in one turn: the second is sent before the first has its answer. */
  async #pair(client: Client, entity: string, dice: Dice): Promise<void> {
    const appends = [
      this.#newAppend(client, entity, dice, 1),
      this.#newAppend(client, entity, dice, dice.between(1, 5)),
    ];
    await Promise.all(appends.map((append) => this.#append(client, append, dice)));
  }

  #append(client: Client, append: SentAppend, dice: Dice): Promise<void> {
    const events = append.events.map(({ type, amount, reference }) => ({ type, payload: { amount, reference } }));
    const account = client.db.entity(append.entity);
    const options = { ...optionsOf(append), timeoutMs: timeoutOf(append, dice) };
    const [first] = events;
    return this.#settle(append, () =>
      events.length === 1 && dice.chance(50)
        ? account.append(first!.type, first!.payload, options)
        : account.append(events, options),
    );
  }

  #execute(client: Client, append: SentAppend, dice: Dice): Promise<void> {
    const { type, amount, reference } = append.events[0]!;
    const account = client.db.entity(append.entity);
    const options = { ...optionsOf(append), timeoutMs: timeoutOf(append, dice) };
    return this.#settle(append, () => account.execute(commandOf(type), { amount, reference }, options));
  }

  async #settle(append: SentAppend, call: () => Promise<SdkResult>): Promise<void> {
    const sending = this.#ledger.send(append);
    let answer: Answer;
    try {
      const result = await call();
      answer = result.ok ? { kind: "acknowledged", receipt: keep(result) } : { kind: "refused", code: result.code };
    } catch (error) {
      if (!(error instanceof HeddleError)) throw error;
      answer = this.#asAnswer(error.code, describe(error));
    }
    this.#ledger.answer(append, sending, answer);
  }

  async #readState({ db }: Client, entity: string): Promise<void> {
    const sentAt = this.#ledger.tick();
    const read = await this.#reading(() => db.entity(entity).get("Account", { timeoutMs: patientMs }));
    if (read === undefined) return;
    const { state, seq } = read;
    this.#ledger.states.push({ entity, sentAt, answeredAt: this.#ledger.tick(), seq, balance: state.balance });
  }

  async #readPage({ db }: Client, entity: string): Promise<void> {
    const sentAt = this.#ledger.tick();
    const page = await this.#reading(() => db.entity(entity).history(20, { timeoutMs: patientMs }));
    if (page === undefined) return;
    const events = page.map(({ seq, payload }) => ({ seq, reference: payload.reference }));
    this.#ledger.pages.push({ entity, sentAt, answeredAt: this.#ledger.tick(), events });
  }

  /** A client that goes away takes its reads with it. */
  async #reading<T>(read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (error instanceof HeddleError && (error.code === "CLOSED" || error.code === "OUTCOME_UNKNOWN"))
        return undefined;
      throw error;
    }
  }

  // ——— once more with the same id

  async #sendAgain(client: Client, dice: Dice): Promise<void> {
    if (this.#named.length === 0) return;
    const { append, asCommand } = dice.pick(this.#named);
    await (asCommand ? this.#execute(client, append, dice) : this.#append(client, append, dice));
  }

  async #reuseId(client: Client, dice: Dice): Promise<void> {
    if (this.#named.length === 0) return;
    const { append: used } = dice.pick(this.#named);
    if (receiptsOf(used).length === 0) return;
    const { entity, id } = used;
    const events: SentEvent[] = [{ type: "Credited", amount: 1, reference: this.#ledger.newReference() }];
    const other = this.#ledger.enter({ entity, events, id, expectedSeq: undefined, lane: undefined });
    await this.#append(client, other, dice);
    if (receiptsOf(other).length > 0) this.#ledger.surprise(`id ${id} was taken for other content`);
  }

  #remember(append: SentAppend, asCommand: boolean, dice: Dice): void {
    if (append.id === undefined) return;
    const at = this.#named.length < namedMax ? this.#named.length : dice.between(0, namedMax - 1);
    this.#named[at] = { append, asCommand };
  }

  // ——— over HTTP

  async #callOverHttp(dice: Dice): Promise<void> {
    const entity = this.#pickEntity(dice);
    const asCommand = dice.chance(30);
    const id = this.#newId();
    const sent = this.#newEvents(dice, asCommand || dice.chance(50) ? 1 : dice.between(2, 10));
    const append = this.#ledger.enter({ entity, events: sent, id, expectedSeq: undefined, lane: undefined });
    this.#remember(append, asCommand, dice);
    const events = sent.map(({ type, amount, reference }) => ({ type, payload: { amount, reference } }));
    const [first] = events;
    const origin = `http://127.0.0.1:${this.#options.port}`;
    const call = asCommand
      ? () =>
          executeOverHttp(origin, entity, { ...aggregate, command: commandOf(first!.type), input: first!.payload, id })
      : () => appendOverHttp(origin, entity, { ...aggregate, events, id });
    while (!(await this.#settleHttp(append, call)) && !this.#abandoned) await pauseMs(httpPauseMs);
  }

  /** Says whether the answer was final. */
  async #settleHttp(append: SentAppend, call: () => Promise<HttpAnswer>): Promise<boolean> {
    const sending = this.#ledger.send(append);
    let answer: Answer;
    try {
      const { ok, code, receipt } = await call();
      answer = ok ? { kind: "acknowledged", receipt: receipt! } : this.#asAnswer(code, code);
      // A node that is going away takes no more calls: it had no effect, and the next node is asked.
      if (code === "CLOSED") answer = { kind: "unknown", code };
    } catch (error) {
      answer = { kind: "unknown", code: `HTTP: ${(error as Error).message}` };
    }
    this.#ledger.answer(append, sending, answer);
    return answer.kind !== "unknown";
  }

  // ——— what to send

  #pickEntity(dice: Dice): string {
    const { accounts } = this.#options;
    if (dice.chance(3)) return `account/new-${++this.#newAccounts}`;
    // Half of all calls meet on a few accounts.
    return `account/${accounts[dice.between(0, dice.chance(50) ? 3 : accounts.length - 1)]!}`;
  }

  #newAppend(client: Client, entity: string, dice: Dice, count: number, form = "as events"): SentAppend {
    const id = dice.chance(25) ? this.#newId() : undefined;
    const append = this.#ledger.enter({
      entity,
      events: this.#newEvents(dice, count),
      id,
      expectedSeq: dice.chance(10) ? this.#ledger.lastSeqOf(entity) : undefined,
      // An append with an id may be sent by several clients, so it has no place in the order of one.
      lane: this.#options.keepsOrder && id === undefined ? client.lane : undefined,
    });
    this.#remember(append, form === "as command", dice);
    return append;
  }

  /** Its last event takes more than there can be. */
  #newBadAppend(entity: string, dice: Dice): SentAppend {
    const events = this.#newEvents(dice, dice.between(1, 10));
    events.push({ type: "Debited", amount: 1_000_000_000, reference: this.#ledger.newReference() });
    return this.#ledger.enter({ entity, events, id: undefined, expectedSeq: undefined, lane: undefined });
  }

  #newEvents(dice: Dice, count: number): SentEvent[] {
    return Array.from({ length: count }, () => {
      const debited = dice.chance(35);
      const amount = dice.between(1, debited ? 500 : 1_000);
      return { type: debited ? "Debited" : "Credited", amount, reference: this.#ledger.newReference() };
    });
  }

  #newId(): string {
    return `id-${this.#ledger.newReference()}`;
  }

  #asAnswer(code: string, text: string): Answer {
    if (certainCodes.has(code)) return { kind: "refused", code };
    if (!uncertainCodes.has(code)) this.#ledger.surprise(`a call was answered with ${text}`);
    return { kind: "unknown", code };
  }
}

/** Appends with an id that are kept for sending again. */
const namedMax = 300;

const aggregate = { aggregate: "Account" } as const;

function commandOf(type: SentEvent["type"]): "Deposit" | "Withdraw" {
  return type === "Credited" ? "Deposit" : "Withdraw";
}

function optionsOf(append: SentAppend) {
  const { id, expectedSeq } = append;
  return { ...aggregate, id, expectedSeq };
}

function timeoutOf(append: SentAppend, dice: Dice): number {
  return append.sendings.length === 0 && dice.chance(10) ? hastyMs : patientMs;
}

function keep(receipt: KeptReceipt): KeptReceipt {
  const { seq, firstSeq, count, shard, position, time, duplicate } = receipt;
  return { seq, firstSeq, count, shard, position, time, duplicate };
}

function describe(error: unknown): string {
  return error instanceof HeddleError ? `${error.code}: ${error.message}` : String((error as Error)?.stack ?? error);
}
