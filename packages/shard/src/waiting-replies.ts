// WaitingReplies: what is to be said once a commit group is durable (P2). Columns of numbers instead of an object for
// each reply, because a group holds hundreds and lives a millisecond.

/** Where replies go. `requestBytes` gives the listener its credit back. */
export interface ReplySink {
  receipt(
    connection: number,
    requestBytes: number,
    call: number,
    shard: number,
    firstSeq: number,
    count: number,
    position: number,
    time: number,
    duplicate: boolean,
  ): void;
  /** `frame` is a whole encoded reply. It is lent: once this returns, other bytes may stand there. */
  frame(connection: number, requestBytes: number, frame: Uint8Array): void;
  /** Sends what was said so far, rather than at the end of the turn: work follows that nobody waits for. */
  flush(): void;
}

const columns = 7;

export class WaitingReplies {
  #receipts = new Float64Array(columns * 64);
  #receiptCount = 0;
  /** Bytes of the replies beside receipts. */
  heldBytes = 0;
  #others: { connection: number; requestBytes: number; call: number; reply: () => Uint8Array }[] = [];

  addReceipt(
    connection: number,
    requestBytes: number,
    call: number,
    firstSeq: number,
    count: number,
    position: number,
    time: number,
  ): void {
    let at = this.#receiptCount * columns;
    if (at === this.#receipts.length) {
      const grown = new Float64Array(at * 2);
      grown.set(this.#receipts);
      this.#receipts = grown;
    }
    const row = this.#receipts;
    row[at++] = connection;
    row[at++] = requestBytes;
    row[at++] = call;
    row[at++] = firstSeq;
    row[at++] = count;
    row[at++] = position;
    row[at] = time;
    this.#receiptCount++;
  }

  /** A reply that is made when the group is durable: a read that saw undurable state, a repeated call. */
  addOther(connection: number, requestBytes: number, call: number, replyBytes: number, reply: () => Uint8Array): void {
    this.heldBytes += replyBytes;
    this.#others.push({ connection, requestBytes, call, reply });
  }

  get size(): number {
    return this.#receiptCount + this.#others.length;
  }

  /** Says everything, in the order of each kind, and is empty afterwards. */
  release(shard: number, sink: ReplySink): void {
    const row = this.#receipts;
    for (let i = 0, at = 0; i < this.#receiptCount; i++, at += columns) {
      sink.receipt(
        row[at]!,
        row[at + 1]!,
        row[at + 2]!,
        shard,
        row[at + 3]!,
        row[at + 4]!,
        row[at + 5]!,
        row[at + 6]!,
        false,
      );
    }
    this.#receiptCount = 0;
    const others = this.#others;
    if (others.length === 0) return;
    this.#others = [];
    this.heldBytes = 0;
    for (const other of others) sink.frame(other.connection, other.requestBytes, other.reply());
  }

  /** Answers everything with a failure instead. */
  fail(sink: ReplySink, failure: (call: number) => Uint8Array): void {
    const row = this.#receipts;
    for (let i = 0, at = 0; i < this.#receiptCount; i++, at += columns) {
      sink.frame(row[at]!, row[at + 1]!, failure(row[at + 2]!));
    }
    this.#receiptCount = 0;
    const others = this.#others;
    this.#others = [];
    this.heldBytes = 0;
    for (const other of others) sink.frame(other.connection, other.requestBytes, failure(other.call));
  }
}
