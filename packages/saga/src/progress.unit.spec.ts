// Goal: whatever happens in whatever order, a saga compensates nothing that did not happen, forgets nothing that did, and ends.
//
// Method: every order of outcomes for sagas of up to three steps, by search. Beside the machine stands a world that knows what
// took effect, answers in the order in which it was asked (as a shard does), loses answers, and loses the runner.
import { describe, expect, it } from "vitest";
import {
  type Answer,
  answered,
  compensationRefusalsMax,
  type Doer,
  goOn,
  type Milestone,
  newProgress,
  newStep,
  type Progress,
  patienceOver,
  pauseOver,
  recorded,
  resumed,
  type Task,
  timeUp,
} from "./progress.ts";

const receipt = { ok: true, seq: 1, firstSeq: 1, count: 1, shard: 0, position: 1, time: 1, duplicate: false } as const;
const problem = { code: "X", message: "x", facts: null };

/** What a search starts with, and how much may go wrong on each way. */
interface Budget {
  /** Answers that say nothing, whether or not it took effect. */
  readonly lost: number;
  readonly crashes: number;
  /** Times that are up: of a step, of the saga, of everybody's patience. */
  readonly late: number;
}

interface Asked {
  readonly step: number;
  readonly task: Task;
}

/** Everything that a moment is made of; plain, so that it can be copied and compared. */
interface Moment {
  progress: Progress;
  /** What is asked and not answered, in order. */
  asked: Asked[];
  /** What is on record. */
  durable: Progress | undefined;
  happened: boolean[];
  undone: boolean[];
  lost: number;
  crashes: number;
  late: number;
  /** Patience ended: what is asked may still take effect afterwards. */
  gaveUp: boolean;
}

// An assertion of the test library for each of a million moments would take longer than the search.
function holds(fact: boolean | undefined, rule: string): void {
  if (fact !== true) expect.fail(rule);
}

class World implements Doer {
  readonly now: Moment;

  constructor(now: Moment) {
    this.now = now;
  }

  ask(step: number, task: Task): void {
    const { progress, happened } = this.now;
    if (task === "forward") {
      for (const [i, other] of progress.steps.entries()) {
        if (other.stage < progress.steps[step]!.stage) holds(happened[i], "G1: the stage before has happened");
      }
      holds(progress.state === "RUNNING", "G1: steps are asked on the way forward");
    }
    if (task === "back") {
      holds(happened[step], "G2: what is compensated has happened");
      holds(this.now.durable?.state === "COMPENSATING", "G3: that it goes back is on record");
      for (const [i, other] of progress.steps.entries()) {
        if (other.stage <= progress.steps[step]!.stage) continue;
        holds(!happened[i] || this.now.undone[i], "G3: later stages are undone first");
      }
    }
    this.now.asked.push({ step, task });
  }

  pause(): void {}
  record(): void {}
}

function copyOfProgress(progress: Progress): Progress {
  return { ...progress, steps: progress.steps.map((step) => ({ ...step })) };
}

function copyOf(moment: Moment): Moment {
  const { progress, asked, happened, undone } = moment;
  return {
    ...moment,
    progress: copyOfProgress(progress),
    asked: asked.slice(),
    happened: happened.slice(),
    undone: undone.slice(),
  };
}

// What tells two moments apart. Pauses count for their being there only: how often a step was asked changes nothing but time.
function keyOf(moment: Moment): string {
  const { progress, durable, asked, happened, undone, lost, crashes, late, gaveUp } = moment;
  const key: unknown[] = [
    progress.state,
    progress.why === undefined,
    progress.recording,
    lost,
    crashes,
    late,
    gaveUp,
    happened,
    undone,
  ];
  for (const { step, task } of asked) key.push(step, task);
  for (const { state, why, steps } of [progress, durable!]) {
    key.push(state, why === undefined);
    for (const step of steps) {
      key.push(step.state, step.task, step.isPausing, step.mayHaveHappened, step.mayBeUndone, step.refusals);
    }
  }
  return key.join();
}

type Choice = (moment: Moment, world: World) => void;

/** What may happen next. `isProgress` tells what must be there for a saga that has not ended. */
function choices(moment: Moment): { readonly act: Choice; readonly isProgress: boolean }[] {
  const { progress, asked } = moment;
  const found: { act: Choice; isProgress: boolean }[] = [];
  const add = (act: Choice, isProgress = true) => found.push({ act, isProgress });
  const seen = new Set<number>();
  for (const [place, { step, task }] of asked.entries()) {
    // One entity answers in the order in which it was asked.
    if (seen.has(step)) continue;
    seen.add(step);
    for (const { answer, effect } of outcomes(moment, step, task)) {
      add((next, world) => {
        next.asked.splice(place, 1);
        if (answer.kind === "again") next.lost--;
        if (effect && task === "forward") next.happened[step] = true;
        if (effect && task === "back") next.undone[step] = true;
        answered(next.progress, step, task, answer, world);
      });
    }
  }
  for (const [i, step] of progress.steps.entries()) {
    if (step.isPausing) add((next, world) => pauseOver(next.progress, i, world));
    if (moment.late > 0 && step.task === "forward") {
      add((next, world) => {
        next.late--;
        timeUp(next.progress, problem, world, i);
      }, false);
    }
  }
  const milestone = progress.recording;
  if (milestone !== undefined) {
    add((next, world) => {
      next.durable = onRecord(next.progress, milestone);
      recorded(next.progress, milestone, world);
    });
  }
  if (moment.late > 0) {
    add((next, world) => {
      next.late--;
      timeUp(next.progress, problem, world);
    }, false);
    add((next, world) => {
      next.late--;
      next.gaveUp = true;
      patienceOver(next.progress, problem, world);
    }, false);
  }
  if (moment.crashes > 0) {
    for (const isRecorded of milestone === undefined ? [false] : [false, true]) {
      for (const takesEffect of asked.length === 0 ? [false] : [false, true]) {
        add((next, world) => crash(next, world, isRecorded ? milestone : undefined, takesEffect), false);
      }
    }
  }
  return found;
}

function outcomes(moment: Moment, step: number, task: Task): { readonly answer: Answer; readonly effect: boolean }[] {
  const isForward = task === "forward" || task === "probeForward";
  const is = isForward ? moment.happened[step]! : moment.undone[step]!;
  const done = { answer: { kind: "done", receipt }, effect: true } as const;
  const again = { kind: "again", problem } as const;
  const lost = moment.lost > 0 ? [{ answer: again, effect: false }] : [];
  if (task === "probeForward" || task === "probeBack") {
    return [{ answer: is ? done.answer : { kind: "absent" }, effect: false }, ...lost];
  }
  if (is) return [done, ...lost];
  const lostWithEffect = moment.lost > 0 ? [{ answer: again, effect: true }] : [];
  return [done, { answer: { kind: "no", problem }, effect: false }, ...lost, ...lostWithEffect];
}

function onRecord(progress: Progress, milestone: Milestone): Progress {
  const copy = copyOfProgress(progress);
  const state = {
    CompensationBegan: "COMPENSATING",
    Committed: "COMMITTED",
    Compensated: "COMPENSATED",
    Stuck: "STUCK",
  };
  copy.state = state[milestone] as Progress["state"];
  return copy;
}

// The runner is gone, and what it asked with it: what arrived first may have taken effect. Another one goes on from the record.
function crash(next: Moment, world: World, milestone: Milestone | undefined, takesEffect: boolean): void {
  next.crashes--;
  if (milestone !== undefined) next.durable = onRecord(next.progress, milestone);
  for (const { step, task } of takesEffect ? next.asked : []) {
    if (task === "forward") next.happened[step] = true;
    if (task === "back") next.undone[step] = true;
  }
  next.asked = [];
  const record = next.durable!;
  const steps = next.progress.steps.map(({ stage, canGoBack }, i) => {
    const { state, receipt, compensation, problem } = record.steps[i]!;
    return Object.assign(newStep(stage, canGoBack), { state, receipt, compensation, problem });
  });
  if (isEnd(record.state)) next.progress = { ...newProgress(steps), state: record.state };
  else next.progress = resumed(record.state, record.why, steps);
  goOn(next.progress, world);
}

function isEnd(state: string): boolean {
  return state === "COMMITTED" || state === "COMPENSATED" || state === "STUCK";
}

function checkEnd(moment: Moment): void {
  const { progress, happened, undone, asked } = moment;
  const states = progress.steps.map(({ state }) => state);
  switch (progress.state) {
    case "COMMITTED":
      holds(!happened.includes(false), "COMMITTED: every step has happened");
      holds(!undone.includes(true), "COMMITTED: none is undone");
      break;
    case "COMPENSATED":
      for (const [i, did] of happened.entries()) holds(!did || undone[i], "COMPENSATED: nothing is left");
      break;
    case "STUCK":
      holds(
        states.some((state) => state === "stuck" || state === "unknown"),
        "STUCK: with a step",
      );
  }
  if (progress.state !== "STUCK") {
    const open = asked.filter(({ step, task }) =>
      task === "forward" ? !happened[step] : task === "back" ? !undone[step] : false,
    );
    holds(open.length === 0, "nothing takes effect after the end");
  }
  for (const [i, state] of states.entries()) {
    if (state === "done" || state === "stuck") holds(happened[i], "what is called done has happened");
    if (state === "compensated") holds(happened[i] && undone[i], "what is called compensated is undone");
    if (state === "refused") holds(!happened[i], "what is called refused has not happened");
    if (state === "waiting" && !moment.gaveUp) holds(!happened[i], "what is called waiting has not happened");
  }
}

/** Searches every way from the beginning; how many moments and which ends there were. */
function search(stages: readonly number[], budget: Budget): { moments: number; ends: Set<string> } {
  const steps = stages.map((stage, i) => newStep(stage, !(i === stages.length - 1 && stages.at(-2) !== stage)));
  const first: Moment = {
    progress: newProgress(steps),
    asked: [],
    durable: undefined,
    happened: stages.map(() => false),
    undone: stages.map(() => false),
    ...budget,
    gaveUp: false,
  };
  first.durable = copyOfProgress(first.progress);
  goOn(first.progress, new World(first));
  const seen = new Set<string>();
  const ends = new Set<string>();
  const open = [first];
  for (let moment = open.pop(); moment !== undefined; moment = open.pop()) {
    const key = keyOf(moment);
    if (seen.has(key)) continue;
    seen.add(key);
    if (isEnd(moment.progress.state)) {
      checkEnd(moment);
      ends.add(moment.progress.state);
      continue;
    }
    const next = choices(moment);
    holds(
      next.some(({ isProgress }) => isProgress),
      `a saga that waits for nothing: ${key}`,
    );
    for (const { act } of next) {
      const copy = copyOf(moment);
      act(copy, new World(copy));
      open.push(copy);
    }
  }
  return { moments: seen.size, ends };
}

const layouts = [[0], [0, 1], [0, 0], [0, 1, 2], [0, 0, 1], [0, 1, 1], [0, 0, 0]];

describe("progress: every order of outcomes", () => {
  it.each(layouts.map((stages) => [stages.join(" "), stages] as const))(
    "stages %s: nothing is compensated that did not happen, and all is done or undone, or the saga is stuck",
    (_, stages) => {
      const { ends } = search(stages, { lost: 2, crashes: 1, late: 0 });
      expect([...ends].sort()).toEqual(
        stages.length === 1 ? ["COMMITTED", "COMPENSATED"] : ["COMMITTED", "COMPENSATED", "STUCK"],
      );
    },
  );

  it.each([[0], [0, 1], [0, 0]].map((stages) => [stages.join(" "), stages] as const))(
    "stages %s: time that is up turns a saga back, whatever is under way",
    (_, stages) => {
      const { ends } = search(stages, { lost: 1, crashes: 1, late: 2 });
      expect(ends).toContain("STUCK");
    },
  );

  it("three crashes and three lost answers change nothing of it", () => {
    expect(search([0, 1], { lost: 3, crashes: 3, late: 1 }).moments).toBeGreaterThan(1_000);
  });
});

describe("progress: compensations", () => {
  it("are tried again a few times when they are refused, and then the saga is stuck", () => {
    const said: string[] = [];
    const doer: Doer = {
      ask: (step, task) => said.push(`${task} ${step}`),
      pause: (step, tries) => said.push(`pause ${step} after ${tries}`),
      record: (milestone) => said.push(milestone),
    };
    const progress = newProgress([newStep(0, true), newStep(1, true)]);
    goOn(progress, doer);
    answered(progress, 0, "forward", { kind: "done", receipt }, doer);
    answered(progress, 1, "forward", { kind: "no", problem }, doer);
    recorded(progress, "CompensationBegan", doer);
    for (let i = 1; i < compensationRefusalsMax; i++) {
      answered(progress, 0, "back", { kind: "no", problem }, doer);
      pauseOver(progress, 0, doer);
    }
    answered(progress, 0, "back", { kind: "no", problem }, doer);
    recorded(progress, "Stuck", doer);
    expect(said.slice(0, 5)).toEqual(["forward 0", "forward 1", "CompensationBegan", "back 0", "pause 0 after 1"]);
    expect(said.filter((one) => one === "back 0")).toHaveLength(compensationRefusalsMax);
    expect([progress.state, ...progress.steps.map(({ state }) => state)]).toEqual(["STUCK", "stuck", "refused"]);
  });
});

describe("progress: what nobody will know", () => {
  it("is unknown, and the saga stuck, and nothing is compensated before somebody has it go on", () => {
    const said: string[] = [];
    const doer: Doer = {
      ask: (step, task) => said.push(`${task} ${step}`),
      pause: () => {},
      record: (milestone) => said.push(milestone),
    };
    const steps = [newStep(0, true), newStep(1, true)];
    steps[0]!.state = "done";
    const progress = resumed("RUNNING", undefined, steps);
    goOn(progress, doer);
    answered(progress, 1, "probeForward", { kind: "no", problem }, doer);
    recorded(progress, "Stuck", doer);
    expect(said).toEqual(["probeForward 1", "Stuck"]);
    expect([progress.state, ...progress.steps.map(({ state }) => state)]).toEqual(["STUCK", "done", "unknown"]);
    const retried = resumed("RUNNING", problem, progress.steps);
    goOn(retried, doer);
    answered(retried, 1, "probeForward", { kind: "absent" }, doer);
    recorded(retried, "CompensationBegan", doer);
    expect(said.slice(2)).toEqual(["probeForward 1", "CompensationBegan", "back 0"]);
  });
});
