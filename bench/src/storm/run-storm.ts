// The storm: many transfers at once between few accounts, some of which must fail, and an auditor who reads all accounts
// while it blows. The node is a process of its own, and may be killed again and again (dying-node.ts).
//
// B1. Every transfer ends as planned, with the reason that was planned.
// B2. By transaction: every audit finds all the money. By saga: what an audit misses is at most what is under way, because a
//     saga is not isolated; it never finds more than there is.
// B3. Afterwards every account has what the transfers that were acknowledged left it.
// B4. No saga is left under way, and the closed folder passes Heddle's own audit.
// Not promised: how fast it is; that is the transfers scenario's.
import type { SagaResult } from "@heddle/protocol";
import { auditFolder } from "@heddle/runtime/internal";
import type { TransferWay } from "../load/pairs.ts";
import type { StormClient } from "./domain.ts";
import { DyingNode } from "./dying-node.ts";
import { amountMax, type FailReason, type PlannedTransfer, planKills, planStorm, type StormPlan } from "./plan.ts";

export interface StormOptions {
  /** Made by the storm; must not be there, or be empty. */
  readonly data: string;
  readonly accounts: number;
  /** By each way; at most, where `seconds` are given. */
  readonly transfers: number;
  /** Each way goes on for so long. */
  readonly seconds?: number;
  /** By each way. Default: the node is not killed. */
  readonly kills?: number;
  /** One after the other, over the same accounts. */
  readonly ways: readonly TransferWay[];
  readonly callers: number;
  readonly seed: number;
  readonly shards?: number;
  readonly threads?: number;
  /** `share` of the way is behind it. */
  readonly onProgress?: (way: TransferWay, done: number, share: number) => void;
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
  readonly kills: number;
  readonly tookMs: number;
  /** Over all of its time, that in which the node was dead included. */
  readonly transfersPerSecond: number;
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
  /** Calls without an answer that were made once more with the same id. What the SDK repeats by itself is not counted. */
  readonly askedAgain: number;
  /** Sagas that nobody asked for any more after a kill, and that came to their end all the same. */
  readonly sagasEndedAlone: number;
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
  const { data, accounts, transfers, seconds, kills = 0, seed, shards, threads } = options;
  const domain = new URL("./domain.ts", import.meta.url).pathname;
  const node = await DyingNode.start({
    domain,
    data,
    ...(shards === undefined ? {} : { shards }),
    ...(threads === undefined ? {} : { threads }),
  });
  const { shards: shardCount, threads: threadCount } = node;
  const plan = planStorm({ accounts, transfers: transfers * options.ways.length, seed });
  const storm = new Storm(plan, options);
  const ways: StormWayReport[] = [];
  let durability: string;
  try {
    durability = await node.durability();
    await storm.open(node.client);
    const planned = plan.transfers();
    for (const [index, way] of options.ways.entries()) {
      const deaths = planKills({ kills, seed: seed + index });
      ways.push(
        await storm.blow(node.client, {
          way,
          planned,
          transfers,
          ...(seconds === undefined ? {} : { seconds }),
          deaths,
          kill: () => node.kill(),
        }),
      );
    }
    await storm.expectNoneUnderWay(node.client);
    await storm.compareBalances(node.client);
  } finally {
    await node.close();
  }
  const audit = await auditFolder({ data, domain });
  if (!audit.ok) storm.object(`the audit found ${audit.problemTotal} problems: ${JSON.stringify(audit.problems[0])}`);
  const { objections, objectionTotal } = storm;
  const { askedAgain, sagasEndedAlone } = node;
  return {
    ok: objectionTotal === 0,
    accounts,
    shards: shardCount,
    threads: threadCount,
    durability,
    total: accounts * plan.opening,
    ways,
    askedAgain,
    sagasEndedAlone,
    integrity: audit.ok ? `INTEGRITY_OK (${audit.aggregates} aggregates)` : "INTEGRITY_FAILED",
    objections,
    objectionTotal,
  };
}

/** One way to move money, for a number of transfers or a time. */
export interface Blow extends Pick<StormOptions, "transfers" | "seconds"> {
  readonly way: TransferWay;
  /** Taken from as transfers begin. */
  readonly planned: Iterator<PlannedTransfer, void>;
  /** Shares of the whole, in order, at which `kill` is called. */
  readonly deaths?: readonly number[];
  readonly kill?: () => Promise<void>;
}

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

  async blow(db: StormClient, blow: Blow): Promise<StormWayReport> {
    const { way, planned, transfers, seconds, kill = async () => {} } = blow;
    const deaths = [...(blow.deaths ?? [])];
    const failed: Partial<Record<FailReason, number>> = {};
    let moved = 0;
    let begun = 0;
    let done = 0;
    const startedAt = performance.now();
    const share = () => {
      const ofTime = seconds === undefined ? 0 : (performance.now() - startedAt) / (1_000 * seconds);
      return Math.min(1, Math.max(ofTime, done / transfers));
    };
    const broken = Promise.withResolvers<never>();
    let dying: Promise<unknown> | undefined;
    const killWhenDue = () => {
      if (dying !== undefined || deaths.length === 0 || share() < deaths[0]!) return;
      deaths.shift();
      dying = kill().then(() => {
        dying = undefined;
      }, broken.reject);
    };
    const caller = async () => {
      while (begun < transfers && (seconds === undefined || share() < 1)) {
        const index = begun++;
        const transfer = planned.next().value!;
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
        done++;
        this.#options.onProgress?.(way, done, share());
        killWhenDue();
      }
    };
    const auditing = new AbortController();
    const work = async () => {
      try {
        await Promise.all(Array.from({ length: this.#options.callers }, caller));
        // Those that fell due while the node was being started again.
        for (await dying; deaths.length > 0; deaths.shift()) await kill();
        return performance.now() - startedAt;
      } finally {
        auditing.abort();
      }
    };
    const all = Promise.all([work(), this.#audit(db, way, auditing.signal)]);
    const [tookMs, audited] = await Promise.race([all, broken.promise]);
    if (audited.audits === 0) this.object(`${way}: nobody audited`);
    const transfersPerSecond = Math.round((1_000 * done) / tookMs);
    const kills = blow.deaths?.length ?? 0;
    return { way, transfers: done, moved, failed, ...audited, kills, tookMs, transfersPerSecond };
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
    const result = await db.transaction(
      (tx) => {
        tx.execute(source, "Withdraw", { amount }, account);
        tx.execute(target, "Deposit", { amount }, account);
      },
      { id: `storm-${index}` },
    );
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

  async expectNoneUnderWay(db: StormClient): Promise<void> {
    const sagas = await db.sagas({ only: "unfinished" });
    if (sagas.length > 0) this.object(`sagas are under way still: ${JSON.stringify(sagas.slice(0, 3))}`);
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
