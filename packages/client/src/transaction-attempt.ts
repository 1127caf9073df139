// Attempt: one run of a transaction's function, and its commit.
//
// A1. Every entity that was read is a condition of the commit, with the sequence of its first reading.
// A2. An outcome that rests upon several entities is given out only if they were so at one moment: what was read is checked
//     with the commit, or by itself where nothing is committed.
import { type EntityId, HeddleError, hashEntity, parseEntityId } from "@heddle/kernel";
import { ofOperation, operationOf } from "@heddle/kernel/internal";
import type { Receipt, TransactionRejection } from "@heddle/protocol";
import {
  receiptOfOperation,
  rejection,
  requestKind,
  type TransactCondition,
  type TransactOperation,
  type WireTransaction,
  writeGetBody,
} from "@heddle/protocol/internal";
import type { Budget } from "./budget.ts";
import { badReply } from "./link.ts";
import type { Sessions } from "./sessions.ts";
import { outcomeOf, send, type TransactReply } from "./transact-call.ts";
import type { RejectedTransaction, Transaction, TransactionWriteOptions } from "./transaction.ts";
import type { Lane } from "./turns.ts";
import { readSnapshot, type Snapshot } from "./wire-values.ts";

export type TransactionFunction = (tx: Transaction) => unknown;

export type AttemptOutcome =
  | {
      readonly kind: "committed";
      readonly value: unknown;
      readonly receipts: readonly Receipt[];
      readonly duplicate: boolean;
    }
  /** Without a commit, and for good. */
  | { readonly kind: "ended"; readonly result: TransactionRejection | RejectedTransaction }
  /** What was read is not so any more. */
  | { readonly kind: "stale"; readonly entity: string };

export class Attempt implements Transaction {
  readonly #sessions: Sessions;
  readonly #budget: Budget;
  readonly #lane: Lane;
  /** The sequence at which each entity was first read. This and what follows are made when they are needed. */
  #seen: Map<EntityId, number> | undefined;
  /** Reads by entity and aggregate. */
  #reads: Map<string, Promise<Snapshot<unknown>>> | undefined;
  /** What `append`, `execute` and `require` asked for, in the order of the calls. */
  readonly #operations: TransactOperation[] = [];
  /** Entities that the first so many operations write to. */
  #written: Set<string> | undefined;
  #writtenOf = 0;
  #rejected: RejectedTransaction | undefined;
  /** Read twice, with different sequences: this run can not be committed any more. */
  #stale: EntityId | undefined;
  #isOver = false;

  constructor(sessions: Sessions, budget: Budget, lane: Lane) {
    this.#sessions = sessions;
    this.#budget = budget;
    this.#lane = lane;
  }

  async make(run: TransactionFunction, id: string | undefined): Promise<AttemptOutcome> {
    let value: unknown;
    try {
      value = await run(this);
      this.#isOver = true;
    } catch (error) {
      this.#isOver = true;
      // An error of ours says nothing about what was read; one of the function's own may come from reads that disagree.
      const stale = this.#stale ?? (error instanceof HeddleError ? undefined : await this.#staleAmong());
      if (stale === undefined) throw error;
      return { kind: "stale", entity: stale };
    }
    if (this.#stale !== undefined) return { kind: "stale", entity: this.#stale };
    if (this.#rejected !== undefined) return this.#endedUnlessStale(this.#rejected);
    const conditions = this.#conditions();
    const operations = this.#operations;
    if (conditions.length + operations.length === 0) {
      throw new HeddleError("INVALID_REQUEST", { problem: "the transaction read nothing and wrote nothing" });
    }
    let reply: TransactReply;
    try {
      reply = await send(this.#sessions, this.#budget, { conditions, operations, id });
    } catch (error) {
      throw ofCaller(error, operations, conditions.length);
    }
    const outcome = outcomeOf(reply);
    if ("results" in outcome) {
      return { kind: "committed", value, receipts: this.#receiptsOf(outcome), duplicate: outcome.duplicate };
    }
    const { facts } = outcome;
    if (facts.operation < conditions.length) return { kind: "stale", entity: facts.entity };
    // Places as the caller counts them: the conditions are ours.
    const own = rejection("TRANSACTION_REJECTED", { ...facts, operation: facts.operation - conditions.length });
    return this.#endedUnlessStale(own, facts.entity);
  }

  #receiptsOf({ results, duplicate }: WireTransaction): Receipt[] {
    let writes = 0;
    for (const { kind } of this.#operations) if (kind !== "read") writes++;
    const receipts = new Array<Receipt>(writes);
    let count = 0;
    for (const result of results) {
      const receipt = receiptOfOperation(result, duplicate);
      if (receipt !== undefined) receipts[count++] = receipt;
    }
    if (count !== writes) throw badReply(`${count} receipts of ${writes} operations`);
    return receipts;
  }

  /** A no is only true if what it rests upon was true at one moment. `besides`: an entity that the node looked at. */
  async #endedUnlessStale(
    result: TransactionRejection | RejectedTransaction,
    besides?: string,
  ): Promise<AttemptOutcome> {
    const entity = await this.#staleAmong(besides);
    return entity === undefined ? { kind: "ended", result } : { kind: "stale", entity };
  }

  /** An entity that changed since it was read. Of one entity alone that makes no difference. */
  async #staleAmong(besides?: string): Promise<string | undefined> {
    if (this.#seen === undefined) return undefined;
    const others = besides !== undefined && !this.#seen.has(besides as EntityId) ? 1 : 0;
    if (this.#seen.size + others < 2) return undefined;
    const conditions = this.#conditions();
    const outcome = outcomeOf(await send(this.#sessions, this.#budget, { conditions, operations: [] }));
    return "results" in outcome ? undefined : outcome.facts.entity;
  }

  #conditions(): readonly TransactCondition[] {
    if (this.#seen === undefined) return unconditional;
    const conditions: TransactCondition[] = [];
    for (const [entity, expectedSeq] of this.#seen) conditions.push({ entity, expectedSeq });
    return conditions;
  }

  get(entity: string, aggregate = ""): Promise<Snapshot<never>> {
    return this.#getOnce(entity, aggregate) as Promise<Snapshot<never>>;
  }

  async #getOnce(text: string, aggregate: string): Promise<Snapshot<unknown>> {
    const entity = this.#take(text);
    if (this.#isWritten(entity)) {
      throw new HeddleError("INVALID_REQUEST", { problem: `${entity} was written to already: read before you write` });
    }
    this.#reads ??= new Map();
    const reads = this.#reads;
    const key = `${entity}\n${aggregate}`;
    const known = reads.get(key);
    if (known !== undefined) return known;
    const read = this.#read(entity, aggregate, reads.size === 0);
    reads.set(key, read);
    // A failure is not what the next one should be answered with.
    read.catch(() => reads.delete(key));
    return read;
  }

  async #read(entity: EntityId, aggregate: string, isFirst: boolean): Promise<Snapshot<unknown>> {
    // Only for the first: what was read before would grow old meanwhile.
    if (isFirst && this.#sessions.turns.isTaken(entity)) await this.#lane.waitBehind(entity);
    const hash = hashEntity(entity);
    const options = this.#budget.callOptions();
    const snapshot = await this.#sessions
      .of(hash)
      .request<Snapshot<unknown>, { entity: EntityId; aggregate: string }>(
        requestKind.get,
        hash,
        writeGetBody,
        { entity, aggregate },
        options,
        readSnapshot,
      );
    this.#seen ??= new Map();
    const seen = this.#seen.get(entity) ?? snapshot.seq;
    this.#seen.set(entity, seen);
    if (seen === snapshot.seq) return snapshot;
    this.#stale = entity;
    throw new HeddleError("TRANSACTION_CONFLICT", { entity, attempts: 1 });
  }

  append(text: string, first: unknown, second?: unknown, third?: unknown): void {
    const entity = this.#take(text);
    const isOne = typeof first === "string";
    const options = (isOne ? third : second) as AnyWriteOptions | undefined;
    const events = (isOne ? [{ type: first, payload: second }] : first) as readonly {
      type: string;
      payload: unknown;
    }[];
    this.#operations.push({
      kind: "append",
      entity,
      aggregate: options?.aggregate ?? "",
      events,
      expectedSeq: options?.expectedSeq,
      metadata: options?.metadata,
      newLife: options?.newLife,
    });
  }

  execute(text: string, command: string, input: unknown, options?: AnyWriteOptions): void {
    const entity = this.#take(text);
    this.#operations.push({
      kind: "execute",
      entity,
      aggregate: options?.aggregate ?? "",
      command,
      input,
      expectedSeq: options?.expectedSeq,
      metadata: options?.metadata,
      newLife: options?.newLife,
    });
  }

  require(text: string, seq: number): void {
    const entity = this.#take(text);
    if (this.#isWritten(entity)) {
      const problem = `${entity} was written to already: give the first of its writes expectedSeq`;
      throw new HeddleError("INVALID_REQUEST", { problem });
    }
    this.#operations.push({ kind: "read", entity, aggregate: "", expectedSeq: seq, wantsState: false });
  }

  reject(reason: string, facts: Readonly<Record<string, unknown>> = {}): RejectedTransaction {
    this.#rejected = { ok: false, code: "REJECTED", reason, facts };
    return this.#rejected;
  }

  #isWritten(entity: EntityId): boolean {
    const operations = this.#operations;
    if (operations.length === 0) return false;
    this.#written ??= new Set();
    for (; this.#writtenOf < operations.length; this.#writtenOf++) {
      const operation = operations[this.#writtenOf]!;
      if (operation.kind !== "read") this.#written.add(operation.entity);
    }
    return this.#written.has(entity);
  }

  #take(text: string): EntityId {
    if (!this.#isOver) return parseEntityId(text);
    throw new HeddleError("INVALID_REQUEST", { problem: "the transaction's function has ended: await what it does" });
  }
}

/** With its place as the caller counts operations: the conditions are ours. */
function ofCaller(error: unknown, operations: readonly TransactOperation[], conditionCount: number): unknown {
  const place = error instanceof HeddleError ? operationOf(error) : undefined;
  const operation = place === undefined ? undefined : operations[place - conditionCount];
  if (place === undefined || operation === undefined) return error;
  return ofOperation(error as HeddleError, place - conditionCount, operation.entity);
}

type AnyWriteOptions = TransactionWriteOptions & { readonly aggregate?: string | undefined };

const unconditional: readonly TransactCondition[] = [];
