// SagaPicture: one saga as lines of text, its stages from top to bottom. What stands in it is the record's; what an operator
// can do next is told here.
import type { SagaRecord, SagaState, SagaStepContent, SagaStepState } from "@heddle/protocol";
import { toJson } from "./json.ts";
import type { Colours } from "./terminal.ts";
import { counted, duration, shortened, time } from "./text.ts";

type RecordedStep = SagaRecord["steps"][number];

/** `columns` bounds the lines that hold payloads and messages; commands to be copied are never cut. */
export function sagaPicture(record: SagaRecord, colours: Colours, columns: number): string[] {
  const width = Math.max(columns, 60);
  // Messages and reasons are other people's text: none of it may steer the terminal.
  const short = (line: string) => shortened(line.replaceAll(/\p{Cc}/gu, " "), width);
  return [
    `${colours.bold(record.saga)} is ${inColour(record.state, colours)}: ${meaningOf(record)}`,
    colours.dim(short(circumstances(record))),
    "",
    ...stagesOf(record).flatMap((steps, i, all) => [
      stageTitle(i, steps, all.length),
      ...steps.flatMap((step) => stepLines(step, record.steps.indexOf(step), colours, short)),
    ]),
    `${ending[record.state]} ${inColour(record.state, colours)}`,
    ...interventionLines(record, short),
    ...whatNext(record).flatMap((line, i) => (i === 0 ? ["", line] : [line])),
  ];
}

const meaning: Readonly<Record<SagaState, string>> = {
  RUNNING: "its steps are under way",
  COMPENSATING: "a step could not be done, and what was done is being undone",
  COMMITTED: "all of its steps are done",
  COMPENSATED: "what was done is undone",
  STUCK: "it waits for an operator",
};

function meaningOf({ state, interventions }: SagaRecord): string {
  return interventions.at(-1)?.action === "resolve" ? "an operator declared it so" : meaning[state];
}

const ending: Readonly<Record<SagaState, string>> = {
  RUNNING: "…",
  COMPENSATING: "…",
  COMMITTED: "■",
  COMPENSATED: "■",
  STUCK: "▲",
};

export function inColour(state: SagaState, { green, yellow, red, cyan }: Colours): string {
  if (state === "COMMITTED") return green(state);
  if (state === "COMPENSATED") return yellow(state);
  return state === "STUCK" ? red(state) : cyan(state);
}

function circumstances({ name, startedAt, deadline, endedAt, state }: SagaRecord): string {
  const parts = [
    ...(name === undefined ? [] : [`saga ${name}`]),
    `begun ${time(startedAt)}`,
    ...(endedAt === undefined
      ? state === "RUNNING"
        ? [`to commit by ${time(deadline)}`]
        : []
      : [`${state === "STUCK" ? "stuck since" : "ended"} ${time(endedAt)}, after ${duration(endedAt - startedAt)}`]),
  ];
  return parts.join(", ");
}

function stagesOf({ steps }: SagaRecord): readonly (readonly RecordedStep[])[] {
  return [...Map.groupBy(steps, ({ stage }) => stage)].sort(([a], [b]) => a - b).map(([, ofStage]) => ofStage);
}

function stageTitle(index: number, steps: readonly RecordedStep[], stages: number): string {
  const side = steps.length === 1 ? "" : `, ${counted(steps.length, "step")} side by side`;
  return `● stage ${index + 1} of ${stages}${side}`;
}

const marks: Readonly<Record<SagaStepState, string>> = {
  waiting: "·",
  done: "✓",
  refused: "✗",
  unknown: "?",
  compensated: "↶",
  stuck: "!",
};

function stepLines(
  step: RecordedStep,
  index: number,
  colours: Colours,
  short: (line: string) => string,
): readonly string[] {
  const { state, entity, forward, back, receipt, compensation, problem } = step;
  const under = (text: string) => short(`│      ${text}`);
  return [
    `├─ ${paint(state, colours)(marks[state])} ${index + 1}  ${entity}  ${paint(state, colours)(state)}`,
    under(contentText(forward)),
    ...(receipt === undefined ? [] : [colours.dim(under(placeText(receipt)))]),
    under(back === null ? "nothing undoes it" : `undone by ${contentText(back)}`),
    ...(compensation === undefined ? [] : [colours.dim(under(placeText(compensation)))]),
    ...(problem === undefined ? [] : [colours.yellow(under(`${problem.code}: ${problem.message}`))]),
  ];
}

function paint(state: SagaStepState, { green, yellow, red, dim }: Colours): (text: string) => string {
  if (state === "waiting") return dim;
  if (state === "done") return green;
  return state === "stuck" || state === "unknown" ? red : yellow;
}

/** `Account.Credited {"amount":5}`, or a command with its input. */
export function contentText({ aggregate, command, input, events }: SagaStepContent): string {
  const place = aggregate === "" ? "" : `${aggregate}.`;
  if (command !== undefined) return `${place}${command} ${toJson(input)}`;
  return (events ?? []).map(({ type, payload }) => `${place}${type} ${toJson(payload)}`).join(", ");
}

function placeText({ firstSeq, seq, shard, time: at }: { firstSeq: number; seq: number; shard: number; time: number }) {
  const sequences = firstSeq === seq ? `sequence ${seq}` : `sequences ${firstSeq} to ${seq}`;
  return `${sequences}, shard ${shard}, ${time(at)}`;
}

function interventionLines({ interventions }: SagaRecord, short: (line: string) => string): readonly string[] {
  if (interventions.length === 0) return [];
  return [
    "",
    "operators",
    ...interventions.map(({ action, as, reason, by, time: at }) => {
      const what = as === undefined ? action : `${action} as ${as}`;
      return short(`  ${time(at)}  ${what}${by === "" ? "" : ` by ${by}`}: ${reason}`);
    }),
  ];
}

function whatNext(record: SagaRecord): readonly string[] {
  const { saga, state, steps } = record;
  if (state !== "STUCK") return [];
  const id = shellWord(saga);
  return [
    "What can be done",
    ...steps.flatMap((step, i) => {
      if (step.state === "stuck")
        return [`  step ${i + 1}: make ${step.entity} take ${namesOf(step.back)}, then retry`];
      if (step.state === "unknown") return [`  step ${i + 1}: bring the shard of ${step.entity} back, then retry`];
      return [];
    }),
    `  heddle sagas retry ${id} --reason '…'`,
    "  or, after repairing by hand what stands above, say how it ended; this writes to no entity:",
    `  heddle sagas resolve ${id} --as compensated --reason '…'`,
  ];
}

function namesOf(content: SagaStepContent | null): string {
  if (content === null) return "nothing";
  return content.command ?? (content.events ?? []).map(({ type }) => type).join(", ");
}

/** Quoted where a shell would take it apart. */
function shellWord(text: string): string {
  return /^[\w./:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
