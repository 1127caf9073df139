// Ledger: what the clients sent, and what they were told. The checker holds the store against it.
//
// B1. An append is entered before it is sent, with every event that it asks for; so whatever the store holds beyond the
//     ledger was invented.
// B2. Every event carries a reference of its own. Nothing else names it, neither sequence nor time.
// B3. A clock of whole numbers ticks at each sending and each answer. Of two calls, one was over before the other began
//     exactly if its answer has the smaller number. All clients run in one process, so this order is the real one.
// Not promised: to know what became of a call without an answer. It may have happened, whole or not at all.

export interface SentEvent {
  readonly type: "Credited" | "Debited";
  readonly amount: number;
  readonly reference: string;
}

/** What the ledger needs of a receipt; the SDK's and the HTTP answer's both have it. */
export interface KeptReceipt {
  readonly seq: number;
  readonly firstSeq: number;
  readonly count: number;
  readonly shard: number;
  readonly position: number;
  readonly time: number;
  readonly duplicate: boolean;
}

export type Answer =
  | { readonly kind: "acknowledged"; readonly receipt: KeptReceipt }
  /** It is certain that this sending had no effect. */
  | { readonly kind: "refused"; readonly code: string }
  /** It may have had an effect, or may still have one. */
  | { readonly kind: "unknown"; readonly code: string };

/** One time that an append was sent: an append with an id may be sent again, by anybody. */
export interface Sending {
  readonly sentAt: number;
  answer: Answer | undefined;
  answeredAt: number;
}

export interface SentAppend {
  readonly entity: string;
  readonly events: readonly SentEvent[];
  readonly id: string | undefined;
  readonly expectedSeq: number | undefined;
  /** Appends of one lane and entity take effect in the order in which they were sent. Undefined: in any order. */
  readonly lane: number | undefined;
  readonly sendings: Sending[];
}

/** A state that a client was given. */
export interface StateRead {
  readonly entity: string;
  readonly sentAt: number;
  readonly answeredAt: number;
  readonly seq: number;
  readonly balance: number;
}

/** The newest events that a client was given, in rising order. */
export interface PageRead {
  readonly entity: string;
  readonly sentAt: number;
  readonly answeredAt: number;
  readonly events: readonly { readonly seq: number; readonly reference: string | undefined }[];
}

export interface LedgerData {
  readonly appends: readonly SentAppend[];
  readonly states: readonly StateRead[];
  readonly pages: readonly PageRead[];
  /** Answers that no call should have been given. */
  readonly surprises: readonly string[];
}

export class Ledger implements LedgerData {
  readonly appends: SentAppend[] = [];
  readonly states: StateRead[] = [];
  readonly pages: PageRead[] = [];
  readonly surprises: string[] = [];
  /** Answers by their code; "acknowledged" and "duplicate" for the good ones. */
  readonly answers: Record<string, number> = {};
  readonly #lastSeqs = new Map<string, number>();
  readonly #waiting: { readonly at: number; readonly resolve: () => void }[] = [];
  readonly #surprised = Promise.withResolvers<void>();
  #clock = 0;
  #acknowledged = 0;
  #references = 0;

  /** Sendings that were acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  get entities(): string[] {
    return [...new Set(this.appends.map((append) => append.entity))];
  }

  /** The highest sequence of an entity that anybody was told of. */
  lastSeqOf(entity: string): number {
    return this.#lastSeqs.get(entity) ?? 0;
  }

  /** Resolves when so many more sendings have been acknowledged. */
  whenAcknowledged(more: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ at: this.#acknowledged + more, resolve });
    });
  }

  newReference(): string {
    return `r${++this.#references}`;
  }

  tick(): number {
    return ++this.#clock;
  }

  enter(append: Omit<SentAppend, "sendings">): SentAppend {
    const entered = { ...append, sendings: [] };
    this.appends.push(entered);
    return entered;
  }

  send(append: SentAppend): Sending {
    const sending: Sending = { sentAt: this.tick(), answer: undefined, answeredAt: Infinity };
    append.sendings.push(sending);
    return sending;
  }

  answer(append: SentAppend, sending: Sending, answer: Answer): void {
    sending.answer = answer;
    sending.answeredAt = this.tick();
    const acknowledged = answer.kind === "acknowledged";
    this.#count(!acknowledged ? answer.code : answer.receipt.duplicate ? "duplicate" : "acknowledged");
    if (!acknowledged) return;
    this.#acknowledged++;
    this.#lastSeqs.set(append.entity, Math.max(this.lastSeqOf(append.entity), answer.receipt.seq));
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      if (this.#waiting[i]!.at <= this.#acknowledged) this.#waiting.splice(i, 1)[0]!.resolve();
    }
  }

  surprise(text: string): void {
    this.surprises.push(text);
    this.#surprised.resolve();
  }

  /** Resolves at the first surprise. */
  whenSurprised(): Promise<void> {
    return this.#surprised.promise;
  }

  #count(code: string): void {
    this.answers[code] = (this.answers[code] ?? 0) + 1;
  }
}

/** Whether anybody was told that the append happened. */
export function receiptsOf(append: SentAppend): KeptReceipt[] {
  return append.sendings.flatMap(({ answer }) => (answer?.kind === "acknowledged" ? [answer.receipt] : []));
}

/** Whether everybody who sent it was told for certain that it did not happen. */
export function isRefused(append: SentAppend): boolean {
  return append.sendings.every(({ answer }) => answer?.kind === "refused");
}
