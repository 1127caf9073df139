// Progress: from what has happened to a saga to what is to be done next. Pure: no clock, no messages, no log.
//
// Whoever runs a saga tells what happened (an answer came, a pause is over, time is up, a fact is durable) and gets a list of
// what to do: ask a step, wait before asking again, record a fact. Everything else about a saga follows from here.
//
// G1. No step is asked before all steps of the stages before are known to be done.
// G2. Nothing is compensated but what is known to be done, and no outcome is guessed: before the first compensation every
//     step is known to be done, or known not to have happened. Whoever cannot be known is `unknown`, and the saga STUCK.
// G3. Compensations go back stage by stage, from the last; none begins before `CompensationBegan` is recorded.
// G4. COMMITTED: every step is done. COMPENSATED: none is. Anything else that has ended is STUCK.
// G5. Each of begin, go back, end is recorded before anything is done that rests on it.
import type { Receipt, SagaProblem, SagaState, SagaStepState } from "@heddle/protocol";

/** What a step is asked: to take effect, whether it did, and the same about its compensation. */
export type Task = "forward" | "probeForward" | "back" | "probeBack";

export interface StepProgress {
  readonly stage: number;
  readonly canGoBack: boolean;
  state: SagaStepState;
  receipt: Receipt | undefined;
  compensation: Receipt | undefined;
  problem: SagaProblem | undefined;
  /** Asked now, or after the pause that is under way. */
  task: Task | undefined;
  isPausing: boolean;
  /** It was asked to take effect, in this life or one before, and there is no definite answer. */
  mayHaveHappened: boolean;
  /** The same of its compensation. */
  mayBeUndone: boolean;
  /** In a row, of the task at hand. */
  tries: number;
  /** Times that the compensation was refused. */
  refusals: number;
}

export interface Progress {
  state: SagaState;
  /** Why the saga goes back; undefined as long as it goes forward. */
  why: SagaProblem | undefined;
  readonly steps: readonly StepProgress[];
  /** On its way to the log: nothing else happens before it is there. */
  recording: Milestone | undefined;
  /** Outcomes that no record has. */
  hasNews: boolean;
}

/** What is recorded. `StepsSettled` may be, when there is news and the rest takes long; the others must be. */
export type Milestone = "CompensationBegan" | "Committed" | "Compensated" | "Stuck";

export type Answer =
  /** It took effect, now or before. */
  | { readonly kind: "done"; readonly receipt: Receipt }
  /** To a probe: it did not take effect, and will not by what was asked so far. */
  | { readonly kind: "absent" }
  /** For good: nothing was written. To a probe: nobody will know. */
  | { readonly kind: "no"; readonly problem: SagaProblem }
  /** No definite answer; the same may be asked again. */
  | { readonly kind: "again"; readonly problem: SagaProblem };

export interface Doer {
  ask(step: number, task: Task): void;
  /** Wait, the longer the more often (`tries`), then call `pauseOver`. */
  pause(step: number, tries: number): void;
  /** Write this to the log, then call `recorded`. */
  record(milestone: Milestone): void;
}

/** Refusals of a compensation before it counts as stuck: a rule may say yes a moment later. */
export const compensationRefusalsMax = 5;

export function newStep(stage: number, canGoBack: boolean): StepProgress {
  return {
    stage,
    canGoBack,
    state: "waiting",
    receipt: undefined,
    compensation: undefined,
    problem: undefined,
    task: undefined,
    isPausing: false,
    mayHaveHappened: false,
    mayBeUndone: false,
    tries: 0,
    refusals: 0,
  };
}

export function newProgress(steps: readonly StepProgress[]): Progress {
  return { state: "RUNNING", why: undefined, steps, recording: undefined, hasNews: false };
}

/** Of a saga that goes on in another life: what was asked, and not answered for the record, may have happened. */
export function resumed(state: SagaState, why: SagaProblem | undefined, steps: readonly StepProgress[]): Progress {
  const progress: Progress = { state, why, steps, recording: undefined, hasNews: false };
  for (const step of steps) {
    // What a saga was stuck with before somebody had it go on.
    again(step);
    if (state === "RUNNING" && step.state === "waiting") step.mayHaveHappened = true;
    if (state === "COMPENSATING" && step.state === "done") step.mayBeUndone = true;
    if (state === "RUNNING" && step.state === "refused") progress.why ??= step.problem;
  }
  return progress;
}

/** Does what is to be done now. To be called once to begin, and by the functions below. */
export function goOn(progress: Progress, doer: Doer): void {
  if (progress.recording !== undefined) return;
  if (progress.state === "RUNNING") {
    if (progress.why === undefined) goForward(progress, doer);
    else turnBack(progress, doer);
  } else if (progress.state === "COMPENSATING") goBack(progress, doer);
}

function goForward(progress: Progress, doer: Doer): void {
  const { steps } = progress;
  let stage = -1;
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i]!;
    if (step.state === "done") continue;
    if (stage < 0) stage = step.stage;
    else if (step.stage !== stage) return;
    if (step.task === undefined) ask(step, i, step.mayHaveHappened ? "probeForward" : "forward", doer);
  }
  if (stage < 0) record(progress, "Committed", doer);
}

// Learns what is not known yet; then goes back, or finds that there is nothing to go back from.
function turnBack(progress: Progress, doer: Doer): void {
  const { steps } = progress;
  let open = 0;
  let done = 0;
  let unknown = 0;
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i]!;
    if (step.state === "done") done++;
    else if (step.state === "unknown") unknown++;
    else if (step.state === "waiting" && step.mayHaveHappened) {
      open++;
      // One that is asked to take effect will answer; one that waits to be asked again is not asked that any more.
      if (step.task === undefined || (step.task === "forward" && step.isPausing)) ask(step, i, "probeForward", doer);
    }
  }
  if (open > 0) return;
  if (unknown > 0) record(progress, "Stuck", doer);
  else if (done === steps.length) record(progress, "Committed", doer);
  else if (done === 0) record(progress, "Compensated", doer);
  else record(progress, "CompensationBegan", doer);
}

function goBack(progress: Progress, doer: Doer): void {
  const { steps } = progress;
  let stage = -1;
  let isStuck = false;
  let isBusy = false;
  for (let i = steps.length - 1; i >= 0; i--) {
    const step = steps[i]!;
    if (step.state !== "done" && step.state !== "stuck") continue;
    if (stage < 0) stage = step.stage;
    else if (step.stage !== stage) break;
    if (step.state === "stuck") {
      isStuck = true;
      continue;
    }
    isBusy = true;
    if (step.task === undefined) ask(step, i, step.mayBeUndone ? "probeBack" : "back", doer);
  }
  if (isBusy) return;
  if (isStuck) record(progress, "Stuck", doer);
  else record(progress, "Compensated", doer);
}

function ask(step: StepProgress, index: number, task: Task, doer: Doer): void {
  step.task = task;
  step.isPausing = false;
  step.tries = 0;
  send(step, index, task, doer);
}

function send(step: StepProgress, index: number, task: Task, doer: Doer): void {
  if (task === "forward") step.mayHaveHappened = true;
  else if (task === "back") step.mayBeUndone = true;
  step.tries++;
  doer.ask(index, task);
}

function record(progress: Progress, milestone: Milestone, doer: Doer): void {
  progress.recording = milestone;
  doer.record(milestone);
}

/** An answer came. One to something that is not asked any more counts where it is definite, and what it says is not known. */
export function answered(progress: Progress, index: number, task: Task, answer: Answer, doer: Doer): void {
  if (progress.recording !== undefined) return;
  const step = progress.steps[index]!;
  if (progress.state === "RUNNING" && (task === "forward" || task === "probeForward")) {
    forwardAnswered(progress, step, index, task, answer, doer);
  } else if (progress.state === "COMPENSATING" && (task === "back" || task === "probeBack")) {
    backAnswered(progress, step, index, task, answer, doer);
  }
}

function forwardAnswered(
  progress: Progress,
  step: StepProgress,
  index: number,
  task: Task,
  answer: Answer,
  doer: Doer,
): void {
  if (step.state !== "waiting") return;
  const isExpected = step.task === task && !step.isPausing;
  switch (answer.kind) {
    case "done":
      step.receipt = answer.receipt;
      step.problem = undefined;
      settle(progress, step, "done");
      break;
    case "no":
      step.problem = answer.problem;
      progress.why ??= answer.problem;
      settle(progress, step, task === "forward" ? "refused" : "unknown");
      break;
    case "absent":
      if (!isExpected) return;
      step.mayHaveHappened = false;
      step.task = undefined;
      break;
    case "again":
      if (isExpected) pause(step, index, answer.problem, doer);
      // It may be that the saga has turned meanwhile: then it is probed instead.
      break;
  }
  goOn(progress, doer);
}

function backAnswered(
  progress: Progress,
  step: StepProgress,
  index: number,
  task: Task,
  answer: Answer,
  doer: Doer,
): void {
  if (step.state !== "done") return;
  const isExpected = step.task === task && !step.isPausing;
  switch (answer.kind) {
    case "done":
      step.compensation = answer.receipt;
      step.problem = undefined;
      settle(progress, step, "compensated");
      break;
    case "no":
      step.problem = answer.problem;
      if (!isExpected) return;
      if (task === "probeBack" || ++step.refusals >= compensationRefusalsMax) settle(progress, step, "stuck");
      else {
        // Nothing was written: what is asked next is the first that may be.
        step.mayBeUndone = false;
        pause(step, index, answer.problem, doer);
      }
      break;
    case "absent":
      if (!isExpected) return;
      step.mayBeUndone = false;
      step.task = undefined;
      break;
    case "again":
      if (isExpected) pause(step, index, answer.problem, doer);
      break;
  }
  goOn(progress, doer);
}

function settle(progress: Progress, step: StepProgress, state: SagaStepState): void {
  step.state = state;
  step.task = undefined;
  step.isPausing = false;
  progress.hasNews = true;
}

function pause(step: StepProgress, index: number, problem: SagaProblem, doer: Doer): void {
  step.problem = problem;
  step.isPausing = true;
  doer.pause(index, step.tries);
}

/** The pause before asking again is over. Nothing happens where the step is not waiting for it any more. */
export function pauseOver(progress: Progress, index: number, doer: Doer): void {
  const step = progress.steps[index]!;
  if (progress.recording !== undefined || !step.isPausing || step.task === undefined) return;
  step.isPausing = false;
  send(step, index, step.task, doer);
}

/**
 * The time of a step is up, or without one that of the whole saga: it goes back. What was asked and is not answered is probed,
 * behind what was asked.
 */
export function timeUp(progress: Progress, why: SagaProblem, doer: Doer, index?: number): void {
  if (progress.recording !== undefined || progress.state !== "RUNNING") return;
  progress.why ??= why;
  for (let i = 0; i < progress.steps.length; i++) {
    const step = progress.steps[i]!;
    if ((index !== undefined && i !== index) || step.state !== "waiting" || step.task === undefined) continue;
    step.problem ??= why;
    if (step.task === "forward") ask(step, i, "probeForward", doer);
  }
  goOn(progress, doer);
}

/** Nobody will wait any longer for what is not known, or not undone: the saga is stuck with it. */
export function patienceOver(progress: Progress, problem: SagaProblem, doer: Doer): void {
  if (progress.recording !== undefined) return;
  if (progress.state === "RUNNING" && progress.why === undefined) return;
  for (const step of progress.steps) {
    const isOpen = progress.state === "RUNNING" && step.state === "waiting" && step.mayHaveHappened;
    const isUndone = progress.state === "COMPENSATING" && step.state === "done" && step.task !== undefined;
    if (!isOpen && !isUndone) continue;
    step.problem ??= problem;
    settle(progress, step, isOpen ? "unknown" : "stuck");
  }
  goOn(progress, doer);
}

/** What was to be recorded is durable. */
export function recorded(progress: Progress, milestone: Milestone, doer: Doer): void {
  progress.recording = undefined;
  progress.hasNews = false;
  switch (milestone) {
    case "CompensationBegan":
      progress.state = "COMPENSATING";
      break;
    case "Committed":
      progress.state = "COMMITTED";
      break;
    case "Compensated":
      progress.state = "COMPENSATED";
      break;
    case "Stuck":
      progress.state = "STUCK";
  }
  goOn(progress, doer);
}

// What could not be learned or undone is tried again.
function again(step: StepProgress): void {
  step.tries = 0;
  step.refusals = 0;
  if (step.state === "unknown") {
    step.state = "waiting";
    step.mayHaveHappened = true;
  } else if (step.state === "stuck") {
    step.state = "done";
    step.mayBeUndone = true;
  }
}
