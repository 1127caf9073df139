// The storm: many transfers at once between few accounts, some of which must fail, and an auditor who reads all accounts
// while it blows.
//
// B1. Every transfer ends as planned, with the reason that was planned.
// B2. By transaction: every audit finds all the money. By saga: what an audit misses is at most what is under way, because a
//     saga is not isolated; it never finds more than there is.
// B3. Afterwards every account has what the transfers that were acknowledged left it.
// B4. The closed folder passes Heddle's own audit.
// Not promised: how fast it is; that is the transfers scenario's.
import { Heddle } from "@heddle/client";
import type { SagaResult } from "@heddle/protocol";
import { auditFolder, startNode } from "@heddle/runtime/internal";
import type { TransferWay } from "../load/pairs.ts";
import type stormBank from "./domain.ts";
import { amountMax, type FailReason, type PlannedTransfer, planStorm, type StormPlan } from "./plan.ts";

export interface StormOptions {
  /** Made by the storm; must not be there, or be empty. */
  readonly data: string;
  readonly accounts: number;
  /** By each way. */
  readonly transfers: number;
  /** One after the other, over the same accounts. */
  readonly ways: readonly TransferWay[];
  readonly callers: number;
  readonly seed: number;
  readonly shards?: number;
  readonly threads?: number;
  readonly onProgress?: (way: TransferWay, done: number) => void;
}

export interface StormWayReport {
  readonly way: TransferWay;
  readonly transfers: number;
  readonly moved: number;
  /** By reason; each was planned. */
  readonly failed: Readonly<Partial<Record<FailReason, number>>>;
  readonly audits: number;
  /** The most that an audit missed. */
  readonly missedMax: number;
  readonly tookMs: number;
}

export interface StormReport {
  readonly ok: boolean;
  readonly accounts: number;
  readonly shards: number;
  readonly threads: number;
  readonly durability: string;
  /** All the money there is. */
  readonly total: number;
  readonly ways: readonly StormWayReport[];
  readonly integrity: string;
  /** What was not as it must be; the first of each kind. */
  readonly objections: readonly string[];
  readonly objectionTotal: number;
}

/** Accounts that are opened at a time. */
const openedAtOnce = 500;
const objectionsShownMax = 20;
/** Between two audits at least; else as long as the last one took, because each holds up the transfers of all accounts. */
const auditPauseMs = 50;

/** Errors: what the node and the SDK throw. What is not as it must be is in the report. */
export async function runStorm(options: StormOptions): Promise<StormReport> {
  const { data, accounts, transfers, seed, shards, threads } = options;
  const domain = new URL("./domain.ts", import.meta.url).pathname;
  const node = await startNode({
    domain,
    data,
    host: "127.0.0.1",
    port: 0,
    ...(shards === undefined ? {} : { shards }),
    ...(threads === undefined ? {} : { threads }),
  });
  const { durability, shardCount, threadCount } = node;
  const plan = planStorm({ accounts, transfers: transfers * options.ways.length, seed });
  const total = accounts * plan.opening;
  const storm = new Storm(plan, options);
  const ways: StormWayReport[] = [];
  try {
    await using db = new Heddle<typeof stormBank>({ host: "127.0.0.1", port: node.port, clientName: "storm" });
    await storm.open(db);
    for (const [index, way] of options.ways.entries()) {
      ways.push(await storm.blow(db, way, plan.transfers.slice(index * transfers, (index + 1) * transfers)));
    }
    await storm.compareBalances(db);
  } finally {
    await node.close();
  }
  const audit = await auditFolder({ data, domain });
  if (!audit.ok) storm.object(`the audit found ${audit.problemTotal} problems: ${JSON.stringify(audit.problems[0])}`);
  const { objections, objectionTotal } = storm;
  return {
    ok: objectionTotal === 0,
    accounts,
    shards: shardCount,
    threads: threadCount,
    durability,
    total,
    ways,
    integrity: audit.ok ? `INTEGRITY_OK (${audit.aggregates} aggregates)` : "INTEGRITY_FAILED",
    objections,
    objectionTotal,
  };
}

/** What a storm needs of the SDK. */
export type StormClient = Pick<Heddle<typeof stormBank>, "entity" | "transaction" | "runSaga" | "getMany">;

const account = { aggregate: "Account" } as const;

/** The transfers, the auditor, and the book that the balances are held against. */
export class Storm {
  readonly objections: string[] = [];
  objectionTotal = 0;
  readonly #plan: StormPlan;
  readonly #options: Pick<StormOptions, "callers" | "onProgress">;
  readonly #names: readonly string[];
  readonly #balances: number[];

  constructor(plan: StormPlan, options: Pick<StormOptions, "callers" | "onProgress">) {
    this.#plan = plan;
    this.#options = options;
    this.#names = Array.from({ length: plan.accounts }, (_, index) => `account/${index}`);
    this.#balances = new Array<number>(plan.accounts).fill(plan.opening);
  }

  object(problem: string): void {
    this.objectionTotal++;
    if (this.objections.length < objectionsShownMax) this.objections.push(problem);
  }

  async open(db: StormClient): Promise<void> {
    const { opening, accounts, frozen } = this.#plan;
    const credited = { type: "Credited", payload: { amount: opening } } as const;
    for (let from = 0; from < accounts; from += openedAtOnce) {
      const names = this.#names.slice(from, from + openedAtOnce).map((name, index) => [name, from + index] as const);
      await Promise.all(
        names.map(async ([name, index]) => {
          const isFrozen = index >= accounts - frozen;
          const events = isFrozen ? [credited, { type: "Frozen", payload: {} } as const] : [credited];
          const result = await db.entity(name).append(events, account);
          if (!result.ok) throw new Error(`${name} could not be opened: ${result.message}`);
        }),
      );
    }
  }

  async blow(db: StormClient, way: TransferWay, transfers: readonly PlannedTransfer[]): Promise<StormWayReport> {
    const failed: Partial<Record<FailReason, number>> = {};
    let moved = 0;
    let next = 0;
    let done = 0;
    const startedAt = performance.now();
    const caller = async () => {
      while (next < transfers.length) {
        const index = next++;
        const transfer = transfers[index]!;
        const failure = await this.#transfer(db, way, transfer, index);
        if (failure === transfer.fails) {
          if (failure === undefined) moved++;
          else failed[failure] = (failed[failure] ?? 0) + 1;
        } else {
          const { from, to, amount, fails = "success" } = transfer;
          this.object(
            `${way} ${index}, ${amount} from ${from} to ${to}: planned was ${fails}, found ${failure ?? "success"}`,
          );
        }
        if (failure === undefined) {
          this.#balances[transfer.from]! -= transfer.amount;
          this.#balances[transfer.to]! += transfer.amount;
        }
        this.#options.onProgress?.(way, ++done);
      }
    };
    const auditing = new AbortController();
    const audits = this.#audit(db, way, auditing.signal);
    await Promise.all(Array.from({ length: this.#options.callers }, caller)).finally(() => auditing.abort());
    const tookMs = performance.now() - startedAt;
    const audited = await audits;
    if (audited.audits === 0) this.object(`${way}: nobody audited`);
    return { way, transfers: transfers.length, moved, failed, ...audited, tookMs };
  }

  /** Why it failed, or undefined. */
  async #transfer(
    db: StormClient,
    way: TransferWay,
    { from, to, amount }: PlannedTransfer,
    index: number,
  ): Promise<string | undefined> {
    const source = this.#names[from]!;
    const target = this.#names[to]!;
    if (way === "saga") {
      return whyCompensated(await db.runSaga("transfer", `storm-${index}`, { from: source, to: target, amount }));
    }
    const result = await db.transaction((tx) => {
      tx.execute(source, "Withdraw", { amount }, account);
      tx.execute(target, "Deposit", { amount }, account);
    });
    if (result.ok) return undefined;
    if (result.code !== "TRANSACTION_REJECTED") return result.code;
    const { rejection } = result.facts;
    return rejection.code === "COMMAND_REJECTED" ? rejection.facts.reason : rejection.code;
  }

  // One audit after another until the storm is over; the last one may see its end.
  async #audit(
    db: StormClient,
    way: TransferWay,
    signal: AbortSignal,
  ): Promise<{ readonly audits: number; readonly missedMax: number }> {
    const items = this.#names.map((entity) => ({ entity, ...account }));
    const total = this.#plan.accounts * this.#plan.opening;
    const missableMax = way === "saga" ? this.#options.callers * amountMax : 0;
    let audits = 0;
    let missedMax = 0;
    do {
      const startedAt = performance.now();
      const states = await db.getMany(items);
      const tookMs = performance.now() - startedAt;
      let found = 0;
      for (const [index, { state }] of states.entries()) {
        found += state.balance;
        if (state.balance < 0) this.object(`audit ${audits} found ${state.balance} in ${this.#names[index]}`);
      }
      const missed = total - found;
      if (missed < 0 || missed > missableMax) {
        this.object(`${way}: audit ${audits} found ${found} of ${total}; ${missableMax} may have been under way`);
      }
      missedMax = Math.max(missedMax, missed);
      audits++;
      await pause(Math.max(auditPauseMs, tookMs), signal);
    } while (!signal.aborted);
    return { audits, missedMax };
  }

  async compareBalances(db: StormClient): Promise<void> {
    const states = await db.getMany(this.#names.map((entity) => ({ entity, ...account })));
    for (const [index, { state }] of states.entries()) {
      const wanted = this.#balances[index]!;
      if (state.balance !== wanted) this.object(`${this.#names[index]} has ${state.balance}, wanted is ${wanted}`);
    }
  }
}

/** What refused the saga, or undefined when it committed. Exported for tests. */
export function whyCompensated({ resultType, steps }: Pick<SagaResult, "resultType" | "steps">): string | undefined {
  if (resultType === "COMMITTED") return undefined;
  if (resultType === "STUCK") return "STUCK";
  const problem = steps.find(({ state }) => state === "refused")?.problem;
  const { reason } = (problem?.facts ?? {}) as { readonly reason?: unknown };
  return typeof reason === "string" ? reason : (problem?.code ?? "COMPENSATED");
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
  });
}
