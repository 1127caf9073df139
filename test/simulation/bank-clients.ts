// The bank's clients: each does one thing after the other, chosen by the seed, and everything that they ask for and are told
// is written down in one history.
//
// A call that throws has an unknown outcome: it may have taken effect, now or later. One that has an id is sent again by
// another client, as an application would after a restart.
import type { Heddle } from "@heddle/client";
import { HistoryRecorder, type HistoryWrite, type SentOperation } from "@heddle/testkit";
import type { SimulatedWorld } from "@heddle/testkit/internal";
import type { BankBook, Change } from "./bank-book.ts";
import { accounts, type Bank, everyAccount, historyEventOf, pairs } from "./bank-domain.ts";
import { BankReminders } from "./bank-reminders.ts";
import { BankSagas } from "./bank-sagas.ts";

type Client = Heddle<Bank>;

export interface BankOptions {
  readonly clients: number;
  /** Things that each client does. */
  readonly steps: number;
}

const callTimeoutMs = 20_000;
const idAttempts = 3;

export class BankClients implements BankBook {
  readonly recorder = new HistoryRecorder();
  readonly sagas: BankSagas;
  readonly reminders: BankReminders;
  readonly #world: SimulatedWorld<Bank>;
  readonly #options: BankOptions;
  readonly #clients: Client[];
  #markers = 0;

  constructor(world: SimulatedWorld<Bank>, options: BankOptions) {
    this.#world = world;
    this.#options = options;
    this.sagas = new BankSagas(world, this);
    this.reminders = new BankReminders(world, this);
    this.#clients = Array.from({ length: options.clients }, () => world.client({ timeoutMs: callTimeoutMs }));
  }

  /** Fills the accounts, then lets everybody work. */
  async work(): Promise<void> {
    await Promise.all(everyAccount.map((account, i) => this.#payIn(this.#clientOf(i), account)));
    await Promise.all(this.#clients.map((client, i) => this.#workAs(client, `client ${i}`)));
  }

  /** Until it is known to be there. */
  async #payIn(client: Client, account: string): Promise<void> {
    const change = this.change("Credited", 100);
    const sent = this.recorder.send("bank", "append", [writeOf(account, [change])]);
    for (let isThere = false; !isThere; ) {
      await this.trying("bank", async () => {
        const options = { aggregate: "Account", id: "opening" } as const;
        answer(sent, account, [change], await client.entity(account).append([change], options));
        isThere = true;
      });
    }
  }

  async #workAs(client: Client, name: string): Promise<void> {
    for (let step = 0; step < this.#options.steps; step++) {
      await this.#world.sleep(this.#world.below(40));
      await this.#actAs(client, name);
    }
  }

  #actAs(client: Client, name: string): Promise<void> {
    const choice = this.#below(100);
    if (choice < 20) return this.#deposit(client, name, this.#account(), 1 + this.#below(20));
    if (choice < 40) return this.#spend(client, name, this.#account());
    if (choice < 50) return this.#look(client, name, this.#account());
    if (choice < 56) return this.#page(client, name, this.#account());
    if (choice < 60) return this.#freeze(client, name, accounts[this.#below(accounts.length)]!);
    if (choice < 64) return this.#appendOnlyIf(client, name, this.#account());
    if (choice < 72) return this.#audit(client, name);
    if (choice < 80) return this.#transfer(client, name, this.#world.below(2) === 0 ? pairs[0]! : pairs[1]!);
    if (choice < 87) return this.#transfer(client, name, this.#twoAccounts());
    if (choice < 90) return this.reminders.set(client, name);
    return this.sagas.run(client, name);
  }

  // ——— one entity

  /** Some deposits are two events, and some carry an id and are sent until they are known to be there. */
  async #deposit(client: Client, name: string, account: string, amount: number): Promise<void> {
    const count = 1 + Number(this.#below(4) === 0);
    const events = Array.from({ length: count }, () => this.change("Credited", amount));
    const id = this.#below(2) === 0 ? `deposit ${events[0]!.payload.marker}` : undefined;
    const sent = this.recorder.send(name, "append", [writeOf(account, events)]);
    for (let attempt = 0; ; attempt++) {
      const by = attempt === 0 ? client : this.#clientOf(this.#below(this.#clients.length));
      try {
        const result = await by
          .entity(account)
          .append(events, { aggregate: "Account", ...(id === undefined ? {} : { id }) });
        answer(sent, account, events, result);
        return;
      } catch (error) {
        this.#noteFailure(name, error);
        if (id === undefined || attempt === idAttempts) return;
      }
    }
  }

  async #spend(client: Client, name: string, account: string): Promise<void> {
    const change = this.change("Debited", 1 + this.#below(60));
    const sent = this.recorder.send(name, "execute", [writeOf(account, [change])]);
    await this.trying(name, async () => {
      const result = await client.entity(account).execute("Withdraw", change.payload, { aggregate: "Account" });
      answer(sent, account, [change], result);
    });
  }

  async #look(client: Client, name: string, account: string): Promise<void> {
    const sent = this.recorder.send(name, "get");
    await this.trying(name, async () => {
      const { seq, state } = await client.entity(account).get("Account");
      sent.answer("ok", { reads: [{ entity: account, seq, state }] });
    });
  }

  /** The newest events, by their markers. */
  async #page(client: Client, name: string, account: string): Promise<void> {
    const sent = this.recorder.send(name, "get");
    await this.trying(name, async () => {
      const page = await client.entity(account).history({ direction: "backward", limit: 5 });
      const markers = page.map(({ payload }) => markerOf(payload)).reverse();
      sent.answer("ok", { reads: [{ entity: account, seq: page[0]?.seq ?? 0, markers }] });
    });
  }

  /** Freezes an account for a while. Whoever loses the answer thaws it all the same. */
  async #freeze(client: Client, name: string, account: string): Promise<void> {
    for (const type of ["Frozen", "Thawed"] as const) {
      const event = { type, payload: { marker: this.#marker() } };
      const sent = this.recorder.send(name, "append", [writeOf(account, [event])]);
      await this.trying(name, async () => {
        const result = await client.entity(account).append(type, event.payload, { aggregate: "Account" });
        answer(sent, account, [event], result);
      });
      await this.#world.sleep(this.#below(300));
    }
  }

  /** Reads, and appends only if nobody was in between. */
  async #appendOnlyIf(client: Client, name: string, account: string): Promise<void> {
    await this.trying(name, async () => {
      const looked = this.recorder.send(name, "get");
      const { seq, state } = await client.entity(account).get("Account");
      looked.answer("ok", { reads: [{ entity: account, seq, state }] });
      const change = this.change("Credited", 1);
      const sent = this.recorder.send(name, "append", [{ ...writeOf(account, [change]), expectedSeq: seq }]);
      const options = { aggregate: "Account", expectedSeq: seq } as const;
      const result = await client.entity(account).append([change], options);
      answer(sent, account, [change], result, seq);
    });
  }

  // ——— several entities

  /** All accounts at one moment. */
  async #audit(client: Client, name: string): Promise<void> {
    const sent = this.recorder.send(name, "transaction");
    await this.trying(name, async () => {
      const items = everyAccount.map((entity) => ({ entity, aggregate: "Account" }) as const);
      const states = await client.getMany(items);
      const reads = states.map(({ seq, state }, i) => ({ entity: everyAccount[i]!, seq, state }));
      sent.answer("ok", { reads });
    });
  }

  /** From one account to another, if there is enough; sometimes upon a condition on a third. */
  async #transfer(client: Client, name: string, [from, to]: readonly [string, string]): Promise<void> {
    const amount = 1 + this.#below(50);
    const debit = this.change("Debited", amount);
    const credit = this.change("Credited", amount);
    const witness = this.#below(3) === 0 ? this.#account() : from;
    const id = this.#below(3) === 0 ? `transfer ${debit.payload.marker}` : undefined;
    const writes = [writeOf(from, [debit]), writeOf(to, [credit])];
    const sent = this.recorder.send(name, "transaction", writes);
    let reads: { entity: string; seq: number; state: unknown }[] = [];
    await this.trying(name, async () => {
      const result = await client.transaction(
        async (tx) => {
          reads = [];
          const entities = witness === from || witness === to ? [from] : [from, witness];
          for (const entity of entities) {
            const { seq, state } = await tx.get(entity, "Account");
            reads.push({ entity, seq, state });
            if (entity === from && state.balance < amount) return tx.reject("INSUFFICIENT_FUNDS");
          }
          tx.append(from, [debit], { aggregate: "Account" });
          tx.execute(to, "Deposit", credit.payload, { aggregate: "Account" });
          return undefined;
        },
        id === undefined ? {} : { id },
      );
      if (!result.ok) {
        // What a rule of the node said no to was decided upon states that nobody told.
        sent.answer("rejected", { reads: result.code === "REJECTED" ? reads : [] });
        return;
      }
      const [debited, credited] = result.receipts;
      sent.answer("ok", {
        reads: result.duplicate ? [] : reads,
        writes: [
          { ...writes[0]!, firstSeq: debited!.firstSeq },
          { ...writes[1]!, firstSeq: credited!.firstSeq },
        ],
      });
    });
  }

  // ——— afterwards

  /** Thaws every account and pays into it, so that nothing is in the way of a compensation. */
  async makeRoom(client: Client): Promise<void> {
    for (const account of everyAccount) {
      const events = [
        { type: "Thawed", payload: { marker: this.#marker() } } as const,
        this.change("Credited", 1_000_000),
      ];
      const sent = this.recorder.send("operator", "append", [writeOf(account, events)]);
      answer(sent, account, events, await client.entity(account).append(events, { aggregate: "Account" }));
    }
  }

  // ——— helpers

  async trying(name: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#noteFailure(name, error);
    }
  }

  #noteFailure(name: string, error: unknown): void {
    const code = (error as { code?: unknown }).code;
    this.#world.note(`${name} was told ${String(code ?? error)}`);
    if (code === undefined || neverRight.has(String(code))) this.#world.violation(`${name} was told ${String(error)}`);
  }

  change(type: Change["type"], amount: number): Change {
    return { type, payload: { amount, marker: this.#marker() } };
  }

  #marker(): string {
    return `m${++this.#markers}`;
  }

  #account(): string {
    return everyAccount[this.#below(everyAccount.length)]!;
  }

  #twoAccounts(): readonly [string, string] {
    const from = this.#below(accounts.length);
    const to = (from + 1 + this.#below(accounts.length - 1)) % accounts.length;
    return [accounts[from]!, accounts[to]!];
  }

  #clientOf(index: number): Client {
    return this.#clients[index % this.#clients.length]!;
  }

  #below(bound: number): number {
    return this.#world.below(bound);
  }
}

/** Errors that no fault explains. */
const neverRight: ReadonlySet<string> = new Set([
  "BAD_FRAME",
  "INVALID_REQUEST",
  "ID_REUSED",
  "ID_EXPIRED",
  "LOG_DAMAGED",
  "PARTITION_DAMAGED",
  "UNKNOWN_AGGREGATE",
  "UNKNOWN_KIND",
  "UNKNOWN_EVENT_TYPE",
  "INTERNAL",
]);

export function markerOf(payload: unknown): string {
  return (payload as { marker: string }).marker;
}

function writeOf(
  entity: string,
  events: readonly { readonly type: string; readonly payload: unknown }[],
): HistoryWrite {
  return { entity, events: events.map(historyEventOf) };
}

function answer(
  sent: SentOperation,
  entity: string,
  events: readonly { readonly type: string; readonly payload: unknown }[],
  result: { readonly ok: true; readonly firstSeq: number } | { readonly ok: false },
  expectedSeq?: number,
): void {
  if (!result.ok) sent.answer("rejected");
  else {
    const condition = expectedSeq === undefined ? {} : { expectedSeq };
    sent.answer("ok", { writes: [{ ...writeOf(entity, events), ...condition, firstSeq: result.firstSeq }] });
  }
}
