// OutageRun: reminders by the hundred thousand that are due while nobody is there, and a node that is killed while it makes up for it.
//
// They are set, and the node is killed. It is started again ten minutes after the first of them was due, and killed twice while it
// releases what was missed. When nothing is due any more, every account is asked what is pending still, the node is stopped in
// order, and the judge reads the logs.
//
// The ten minutes are on the clock only: each life of the node has a wall clock that is ahead (shifted-clock.ts), and it knows of no
// other way to tell how long it was away. From then on its clock goes as ours does.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Heddle, type ReminderRecord } from "@heddle/client";
import { auditFolder } from "@heddle/runtime/internal";
import type bank from "@heddle-examples/bank";
import { freePort } from "../../infra/servers/index.ts";
import type { Dice } from "./dice.ts";
import { bankDomain, NodeProcess } from "./node-process.ts";
import { judgeOutage, type OutageVerdict } from "./outage-judge.ts";
import {
  accountOf,
  amountOf,
  downMinutes,
  expectedDeliveries,
  minuteMs,
  type OutagePlan,
  type PlannedReminder,
  remindersOf,
  remindersPerEntity,
} from "./outage-plan.ts";

export interface OutageOptions {
  readonly dice: Dice;
  readonly entities: number;
  /** Of those that are due each minute; beyond ten they go on after the outage. */
  readonly minutes: number;
  readonly shards: number;
  readonly threads: number;
  /** The bound on the rate of release. */
  readonly perSecond: number;
  readonly kills: number;
  readonly progress: (line: string) => void;
}

export interface OutageTotals {
  readonly reminders: number;
  readonly kills: number;
  /** How much the nodes had delivered when they were killed. */
  readonly deliveredAtKills: readonly number[];
  /** Of all accounts, after the last delivery, each with the time that it must have. */
  readonly pending: number;
  readonly releaseSeconds: number;
  readonly verdict: OutageVerdict;
}

const callers = 512;
const openedPerCall = 5_000;
const patienceMs = 300_000;
const pollMs = 50;
const sayEveryMs = 10_000;
const hourMs = 60 * minuteMs;

/** Errors: throws with where the data lies when something cannot be done; the folder is kept then. */
export async function outageRun(options: OutageOptions): Promise<OutageTotals> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "heddle-outage-"));
  const run = new OutageRun(options, path.join(folder, "data"), await freePort());
  try {
    const totals = await run.run();
    if (totals.verdict.objectionTotal === 0) fs.rmSync(folder, { recursive: true, force: true });
    return totals;
  } catch (error) {
    throw new Error(`${(error as Error).message}; data: ${folder}`, { cause: error });
  } finally {
    await run.end();
  }
}

class OutageRun {
  readonly #options: OutageOptions;
  readonly #data: string;
  readonly #plan: OutagePlan;
  readonly #db: Heddle<typeof bank>;
  readonly #port: number;
  #node: NodeProcess | undefined;

  constructor(options: OutageOptions, data: string, port: number) {
    this.#options = options;
    this.#data = data;
    this.#port = port;
    const { entities, minutes } = options;
    // More than an hour away, so that nothing is due before all is set.
    this.#plan = { entities, minutes, from: Math.ceil(Date.now() / hourMs + 1) * hourMs };
    this.#db = new Heddle<typeof bank>({
      ...{ host: "127.0.0.1", port, connections: 4, timeoutMs: patienceMs },
      ...{ connectTimeoutMs: patienceMs, reconnectDelayMaxMs: 100 },
    });
  }

  async run(): Promise<OutageTotals> {
    const { dice, entities, shards, perSecond, kills, progress } = this.#options;
    await this.#start(0);
    await this.#open();
    await this.#set();
    progress(`${entities * remindersPerEntity} reminders are set, and the node is killed`);
    await this.#kill();

    const aheadMs = this.#plan.from + downMinutes * minuteMs - Date.now();
    const startedAt = performance.now();
    const expected = expectedDeliveries(this.#plan);
    const deliveredAtKills: number[] = [];
    let delivered = 0;
    for (let kill = 1; kill <= kills; kill++) {
      // Somewhere in its own part of the release.
      const share = (kill - 1 + dice.between(30, 90) / 100) / (kills + 1);
      await this.#start(aheadMs);
      const before = delivered;
      await this.#until(`kill ${kill}`, async () => {
        const metrics = await this.#metrics();
        delivered = before + metrics.delivered;
        // Where fewer come than must, the judge is to say so.
        return delivered >= share * expected || metrics.due === 0;
      });
      await this.#kill();
      deliveredAtKills.push(delivered);
      progress(`${delivered} of about ${expected} deliveries, and the node is killed`);
    }
    await this.#start(aheadMs);
    const end = this.#plan.from + this.#plan.minutes * minuteMs;
    await this.#until("the last delivery", async () => {
      const { due } = await this.#metrics();
      return due === 0 && Date.now() + aheadMs >= end;
    });
    const releaseSeconds = Math.round((performance.now() - startedAt) / 1_000);
    progress("nothing is due any more; every account is asked what is pending");
    const pending = await this.#checkPending();
    await this.#db.close();
    const { code } = await this.#node!.close();
    if (code !== 0) throw new Error(`the node was stopped in order and ended with code ${code}`);
    progress("the judge and the audit read the store");
    const { problems } = await auditFolder({ data: this.#data, domain: bankDomain });
    if (problems.length > 0) throw new Error(`the audit found ${JSON.stringify(problems)}`);
    const verdict = judgeOutage(this.#data, shards, this.#plan, perSecond);
    const reminders = entities * remindersPerEntity;
    return { reminders, kills, deliveredAtKills, pending, releaseSeconds, verdict };
  }

  async end(): Promise<void> {
    if (this.#node?.exit === undefined) this.#node?.kill();
    await this.#db.close({ timeoutMs: 1 });
  }

  async #start(clockAheadMs: number): Promise<void> {
    const { shards, threads, perSecond } = this.#options;
    const reminders = { ratePerSecondMax: perSecond };
    const node = new NodeProcess(
      { data: this.#data, port: this.#port, shards, threads, reminders, sinks: [] },
      { clockAheadMs },
    );
    this.#node = node;
    const settled = await node.settled;
    if (settled !== "ready") throw new Error(`the node did not start: ${node.refusal?.message ?? settled}`);
  }

  async #kill(): Promise<void> {
    this.#node!.kill();
    await this.#node!.exited;
  }

  async #open(): Promise<void> {
    const { entities } = this.#plan;
    for (let from = 0; from < entities; from += openedPerCall) {
      const items = Array.from({ length: Math.min(openedPerCall, entities - from) }, (_, index) => ({
        entity: accountOf(from + index),
        aggregate: "Account" as const,
        type: "Credited" as const,
        payload: { amount: 1 },
      }));
      const failed = (await this.#db.appendMany(items)).find(({ ok }) => !ok);
      if (failed !== undefined) throw new Error(`an account could not be opened: ${JSON.stringify(failed)}`);
    }
  }

  async #set(): Promise<void> {
    await this.#eachAccount("set", async (number, planned) => {
      const account = this.#db.entity(accountOf(number));
      for (const [place, { name, missed, when }] of planned.entries()) {
        const input = { amount: amountOf(number, place) };
        await account.remind(name, { ...when, command: "Deposit", input, missed }, { aggregate: "Account" });
      }
    });
  }

  /** How many are pending. Errors: throws for an account with others than it must have. */
  async #checkPending(): Promise<number> {
    let pending = 0;
    await this.#eachAccount("asked", async (number, planned) => {
      const found = await this.#db.entity(accountOf(number)).reminders();
      const line = ({ name, due, missed }: Pick<ReminderRecord, "name" | "due" | "missed">) =>
        `${name} ${due} ${missed}`;
      const wanted = planned.flatMap(({ name, nextDue, missed }) =>
        nextDue === undefined ? [] : [{ name, due: nextDue, missed }],
      );
      pending += found.length;
      const [has, mustHave] = [found, wanted].map((list) => list.map(line).sort().join(", "));
      if (has !== mustHave) throw new Error(`${accountOf(number)} has pending ${has}; wanted is ${mustHave}`);
    });
    return pending;
  }

  async #eachAccount(
    what: string,
    work: (number: number, planned: readonly PlannedReminder[]) => Promise<void>,
  ): Promise<void> {
    const { entities } = this.#plan;
    let next = 0;
    let saidAt = performance.now();
    const caller = async () => {
      while (next < entities) {
        const number = next++;
        await work(number, remindersOf(this.#plan, number));
        if (performance.now() - saidAt < sayEveryMs) continue;
        saidAt = performance.now();
        this.#options.progress(`${what}: ${next} of ${entities} accounts`);
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
  }

  async #until(what: string, holds: () => Promise<boolean>): Promise<void> {
    let saidAt = performance.now();
    let moved = await this.#metrics();
    let movedAt = performance.now();
    while (!(await holds())) {
      const figures = await this.#metrics();
      const now = performance.now();
      if (figures.delivered !== moved.delivered) [moved, movedAt] = [figures, now];
      if (now - movedAt > patienceMs) throw new Error(`waited for ${what}: ${JSON.stringify(figures)}`);
      if (now - saidAt > sayEveryMs) {
        saidAt = now;
        this.#options.progress(
          `until ${what}: this node has delivered ${figures.delivered}, ${figures.due} accounts wait`,
        );
      }
      await pause(pollMs);
    }
  }

  /** Out of the node's own metrics, over all shards. */
  async #metrics(): Promise<{ readonly delivered: number; readonly due: number }> {
    const answer = await fetch(`http://127.0.0.1:${this.#port}/metrics`);
    const lines = (await answer.text()).split("\n");
    const sum = (start: string, label = "") =>
      lines
        .filter((line) => line.startsWith(start) && line.includes(label))
        .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
    return {
      delivered: sum("heddle_reminders_total{", 'outcome="delivered"'),
      due: sum("heddle_reminders_due"),
    };
  }
}
