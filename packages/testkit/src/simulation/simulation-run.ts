// SimulationRun: a node, its clients and everything that goes wrong, out of one seed.
//
// R1. The same seed, workload and faults give the same trace, event for event, in any process and on any machine.
// R2. The workload runs first, with faults; then the faults end, everything comes back, and what was asked for is waited for;
//     then `check` looks at what there is.
// R3. Shards, calls between threads and the SDK are the code of production. Storage, time, threads and network are not.
// Not owned: what a domain's workload should find; checks of Heddle's own promises stand in watch.ts.
import { Heddle } from "@heddle/client";
import type { Ports } from "@heddle/client/internal";
import type { AnyContext } from "@heddle/domain";
import { type CompiledContext, compileContext } from "@heddle/domain/internal";
import { crc32 } from "@heddle/kernel/internal";
import { systemAggregates } from "@heddle/runtime/internal";
import type { ShardLimits } from "@heddle/shard/internal";
import type { Survival } from "../simulated-disk.ts";
import { Chance } from "./chance.ts";
import { drawFaults, type Faults, nextAfterMs, noFaults } from "./faults.ts";
import { type Seams, SimulatedNode } from "./simulated-node.ts";
import { logFolder } from "./simulated-thread.ts";
import { SimulatedTime } from "./simulated-time.ts";
import type { SimulatedWorld, SimulateOptions, SimulationResult } from "./simulation.ts";
import { Trace } from "./trace.ts";
import { Watch } from "./watch.ts";

export interface Planting {
  readonly chance: Chance;
  readonly trace: Trace;
  /** Lets something happen after so many milliseconds. */
  readonly after: (delayMs: number, run: () => void) => void;
  /** False once the faults are over: whoever looks at what there is finds a node without bugs. */
  readonly isOn: () => boolean;
}

export interface InnerOptions {
  /** Bugs that are planted between the parts. */
  readonly seams?: (planting: Planting) => Seams;
  readonly limits?: Partial<ShardLimits>;
}

/** A workload that has not ended after so long in a simulation never will. */
const workloadMsMax = 10 * 60_000;
const checkMsMax = 10 * 60_000;
const calmMsMax = 5 * 60_000;

/** Crash points of what spans entities; all others are passed by every append. */
const acrossEntities = /^(transaction|saga|reminder)/;

const compiled = new WeakMap<AnyContext, CompiledContext>();

/** Errors: throws for options that make no sense. Whatever goes wrong in the simulation is a violation. */
export async function runSimulation<C extends AnyContext>(
  options: SimulateOptions<C>,
  inner: InnerOptions = {},
): Promise<SimulationResult> {
  const run = new SimulationRun<C>(options, inner);
  return run.result();
}

class SimulationRun<C extends AnyContext> {
  readonly #options: SimulateOptions<C>;
  readonly #time = new SimulatedTime();
  readonly #trace = new Trace(this.#time);
  readonly #chance: Chance;
  readonly #crashPoints: Chance;
  readonly #node: SimulatedNode;
  readonly #watch: Watch;
  readonly #violations: string[] = [];
  readonly #setBacks: { from: number; to: number }[] = [];
  readonly #clients: Heddle<C>[] = [];
  #faults: Faults;
  #isCalm = false;
  #crashes = 0;
  #lostThreads = 0;

  constructor(options: SimulateOptions<C>, inner: InnerOptions) {
    const { context, seed, shards = 4, threads = 2 } = options;
    if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`a seed is a whole number, found ${seed}`);
    this.#options = options;
    this.#chance = new Chance(seed);
    this.#faults =
      options.faults === undefined ? drawFaults(this.#chance.fork("faults")) : { ...noFaults, ...options.faults };
    this.#crashPoints = this.#chance.fork("crash points");
    const delays = this.#chance.fork("delays");
    const syncs = this.#chance.fork("syncs");
    const domain = compile(context);
    this.#watch = new Watch(domain, (text) => this.#violation(text));
    this.#node = new SimulatedNode({
      watch: this.#watch,
      time: this.#time,
      trace: this.#trace,
      chance: this.#chance.fork("node"),
      domain,
      context: context.name,
      shardCount: shards,
      threadCount: threads,
      limits: inner.limits ?? {},
      seams:
        inner.seams?.({
          chance: this.#chance.fork("seams"),
          trace: this.#trace,
          after: (delayMs, run) => void this.#time.after(delayMs, run),
          isOn: () => !this.#isCalm,
        }) ?? {},
      delayMs: (between) => {
        if (delays.happens(this.#faults.delayedMessages)) return delays.between(1_000, 200_000) / 1_000;
        return between === "client" ? delays.between(50, 1_000) / 1_000 : delays.between(5, 60) / 1_000;
      },
      syncFate: (shard) => {
        const failsWith = syncs.happens(this.#faults.failedSyncs) ? "EIO" : undefined;
        if (failsWith !== undefined) this.#trace.note(`shard ${shard}`, "a sync will fail");
        const slow = syncs.happens(this.#faults.slowSyncs);
        return { failsWith, tookMs: syncs.between(slow ? 20_000 : 80, slow ? 300_000 : 2_000) / 1_000 };
      },
      onCrashPoint: (thread, name) => this.#passCrashPoint(thread, name),
      onViolation: (text) => this.#violation(text),
    });
  }

  async result(): Promise<SimulationResult> {
    const { seed, workload, check } = this.#options;
    this.#node.start();
    this.#planFaults();
    await this.#phase("workload", workload, workloadMsMax);
    await this.#calmDown();
    if (check !== undefined) await this.#phase("check", check, checkMsMax);
    await this.#phase("audit", (world) => this.#audit(world), checkMsMax);
    this.#noteLogs();
    return {
      ok: this.#violations.length === 0,
      seed,
      violations: this.#violations,
      trace: this.#trace.lines,
      traceHash: this.#trace.hash(),
      simulatedMs: this.#time.nowMs,
      counts: { events: this.#time.happened, crashes: this.#crashes, lostThreads: this.#lostThreads },
    };
  }

  async #phase(name: string, run: (world: SimulatedWorld<C>) => Promise<void>, msMax: number): Promise<void> {
    if (this.#node.isBroken) return;
    this.#trace.note("simulation", `${name} begins`);
    const until = this.#time.nowMs + msMax;
    let isOver = false;
    const over = run(this.#world(name))
      .catch((error: unknown) => this.#violation(`the ${name} threw ${describe(error)}`))
      .finally(() => {
        isOver = true;
      });
    await this.#runUntil(() => isOver || this.#time.nowMs > until);
    if (isOver) await over;
    else if (!this.#node.isBroken)
      this.#violation(`the ${name} had not ended after ${msMax / 1_000} s: somebody was never answered`);
    this.#trace.note("simulation", `${name} ends`);
  }

  // No more faults; what is lost comes back, and what is under way ends.
  async #calmDown(): Promise<void> {
    this.#isCalm = true;
    this.#faults = noFaults;
    for (const { disk } of this.#node.storages) disk.setFreeBytes(2 ** 40);
    this.#node.spareCheckpoints();
    if (!this.#node.isUp) this.#node.start();
    const until = this.#time.nowMs + calmMsMax;
    let quietSince = Infinity;
    await this.#runUntil(() => {
      const { nowMs } = this.#time;
      const isQuiet = this.#node.isWell && this.#node.unanswered === 0 && this.#node.innerCalls === 0;
      quietSince = isQuiet ? Math.min(quietSince, nowMs) : Infinity;
      return nowMs - quietSince > 1_000 || nowMs > until;
    });
    if (quietSince !== Infinity) {
      // A shard whose last checkpoint failed takes little until the next one.
      this.#node.requestCheckpoints();
      const { nowMs } = this.#time;
      await this.#runUntil(() => this.#time.nowMs > nowMs + 500);
    }
    if (quietSince !== Infinity || this.#node.isBroken) return;
    if (!this.#node.isWell) this.#violation("a shard does not come back");
    const { unanswered, innerCalls } = this.#node;
    if (unanswered > 0) this.#violation(`${unanswered} requests of clients were never answered`);
    if (innerCalls > 0) this.#violation(`${innerCalls} requests between threads were never answered`);
  }

  // What is acknowledged is durable: so the power fails once more before anybody looks.
  async #audit(world: SimulatedWorld<C>): Promise<void> {
    await world.crash("nothing");
    await this.#watch.audit(world.client({ timeoutMs: 60_000 }));
  }

  // Two runs whose traces are the same have written the same bytes.
  #noteLogs(): void {
    for (const [shard, { disk }] of this.#node.storages.entries()) {
      for (const name of disk.list(logFolder).sort()) {
        const bytes = disk.readFile(`${logFolder}/${name}`);
        this.#trace.note(`shard ${shard}`, `${name}: ${bytes.length} bytes, checksum ${crc32(bytes).toString(16)}`);
      }
    }
  }

  #runUntil(isOver: () => boolean): Promise<void> {
    return this.#time.runUntil(
      () => this.#node.isBroken || isOver(),
      (error) => this.#violation(`an event threw ${describe(error)}`),
    );
  }

  #violation(text: string): void {
    this.#violations.push(text);
    // Without the stack, whose paths are those of this machine.
    this.#trace.note("VIOLATION", text.split("\n", 1)[0]!);
  }

  #world(phase: string): SimulatedWorld<C> {
    const chance = this.#chance.fork(phase);
    return {
      client: (options = {}) => {
        const client = new Heddle<C>(options, undefined, this.#ports(`${phase} ${this.#clients.length}`));
        this.#clients.push(client);
        return client;
      },
      below: (bound) => chance.below(bound),
      crash: (survival = "nothing") => this.#crashAndWait(survival),
      sleep: (ms) => this.#sleep(ms),
      now: () => this.#node.wallMs,
      setBacks: () => this.#setBacks,
      note: (text) => this.#trace.note(phase, text),
      violation: (text) => this.#violation(text),
    };
  }

  #ports(name: string): Ports {
    return {
      // A machine of its own: its clock does not jump when the node's does.
      clock: { now: () => Math.floor(this.#node.wallMs - this.#node.skewMs), monotonic: () => this.#time.nowMs },
      random: this.#chance.fork(`client ${name}`),
      timers: {
        after: (delayMs, run) => this.#time.after(delayMs, run),
        afterTurn: (run) => void this.#time.after(0.001, run),
      },
      connect: this.#node.connect,
    };
  }

  // ——— faults

  #planFaults(): void {
    const chance = this.#chance.fork("plan");
    const plan = (rate: number, happen: () => void) => {
      const delayMs = nextAfterMs(chance, rate);
      if (delayMs === Infinity) return;
      this.#time.after(delayMs, () => {
        if (this.#isCalm) return;
        happen();
        plan(rate, happen);
      });
    };
    const node = this.#node;
    const faults = this.#faults;
    plan(faults.crashes, () => this.#crash(chance));
    plan(faults.lostThreads, () => {
      this.#lostThreads++;
      node.loseThread(chance.below(node.threadCount), "a fault");
    });
    plan(faults.brokenConnections, () => node.breakConnection());
    plan(faults.clockJumps, () => {
      const from = node.wallMs;
      node.skewMs += chance.between(-60_000, 60_000);
      if (node.wallMs < from) this.#setBacks.push({ from, to: node.wallMs });
      this.#trace.note("node", `its clock jumps and is ${node.skewMs} ms ahead now`);
    });
    plan(faults.fullDisks, () => this.#fillDisk(chance));
    plan(faults.failedCheckpoints, () => node.failNextCheckpoint());
    plan(faults.checkpoints, () => node.requestCheckpoints());
  }

  // What the event at hand does is done; nothing that it leads to will be.
  #passCrashPoint(thread: number, name: string): void {
    if (!acrossEntities.test(name) || !this.#crashPoints.happens(this.#faults.crashesAtPoints)) return;
    this.#time.after(0, () => {
      if (this.#isCalm || !this.#node.isUp) return;
      if (this.#crashPoints.happens(0.5)) {
        this.#trace.note("node", `dies at ${name}`);
        this.#crash(this.#crashPoints);
      } else {
        this.#lostThreads++;
        this.#node.loseThread(thread, `it died at ${name}`);
      }
    });
  }

  #crash(chance: Chance): void {
    if (!this.#node.isUp) return;
    this.#crashes++;
    this.#node.crash(chance.pick(["some", "some", "nothing", "everything"] as const));
    this.#time.after(chance.between(1, 300), () => {
      if (!this.#node.isUp) this.#node.start();
    });
  }

  async #crashAndWait(survival: Survival): Promise<void> {
    if (this.#node.isUp) {
      this.#crashes++;
      this.#node.crash(survival);
    }
    await this.#sleep(100);
    if (!this.#node.isUp) this.#node.start();
    while (!this.#node.isWell) await this.#sleep(10);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#time.after(ms, resolve));
  }

  #fillDisk(chance: Chance): void {
    const shard = chance.below(this.#node.storages.length);
    const { disk } = this.#node.storages[shard]!;
    disk.setFreeBytes(chance.below(4_096));
    this.#trace.note(`shard ${shard}`, "its disk has no more room");
    this.#time.after(chance.between(10, 2_000), () => {
      disk.setFreeBytes(2 ** 40);
      this.#trace.note(`shard ${shard}`, "its disk has room again");
    });
  }
}

function compile(context: AnyContext): CompiledContext {
  let domain = compiled.get(context);
  if (domain === undefined) {
    domain = compileContext(context, "the simulation", systemAggregates);
    compiled.set(context, domain);
  }
  return domain;
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error);
}
