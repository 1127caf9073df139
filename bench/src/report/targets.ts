// Targets: whether a figure reached what it must. Pure.
import type { Target } from "../scenarios.ts";

export interface TargetOutcome {
  readonly id: Target["id"];
  /** Which figure, where a scenario has several of a kind. */
  readonly of?: string;
  readonly sense: Target["sense"];
  readonly wanted: number;
  /** Undefined where it could not be measured in this run. */
  readonly found: number | undefined;
  readonly unit: Target["unit"];
  /** Undefined: not judged, and why. */
  readonly reached: boolean | undefined;
  readonly remark?: string;
}

/** What the targets are stated for. */
export interface Conditions {
  readonly durability: "fsync" | "os";
  readonly inMemory: boolean;
  /** The number of callers is the scenario's own. */
  readonly ownShape: boolean;
}

export function judgeTarget(
  target: Target,
  found: number | undefined,
  conditions: Conditions,
  extra: { readonly of?: string; readonly missing?: string } = {},
): TargetOutcome {
  const { id, sense, wanted, unit } = target;
  const base = { id, sense, wanted, found, unit, ...(extra.of === undefined ? {} : { of: extra.of }) };
  const refuse = (remark: string) => ({ ...base, reached: undefined, remark });
  if (found === undefined) return refuse(extra.missing ?? "not measured");
  if (conditions.durability !== "fsync") return refuse("stated for durability fsync");
  if (conditions.inMemory) return refuse("the data folder is in memory, where a sync costs nothing");
  if (!conditions.ownShape) return refuse("another number of callers than the scenario's");
  return { ...base, reached: holds(sense, found, wanted) };
}

function holds(sense: Target["sense"], found: number, wanted: number): boolean {
  if (sense === "at least") return found >= wanted;
  return sense === "below" ? found < wanted : found <= wanted;
}

export function describeOutcome({ id, of, sense, wanted, found, unit, reached, remark }: TargetOutcome): string {
  const show = (value: number) => `${shown(value)}${unit === "" ? "" : ` ${unit}`}`;
  const name = of === undefined ? id : `${id} ${of}`;
  const verdict = reached === undefined ? `not judged: ${remark}` : reached ? "reached" : "MISSED";
  return `${name} ${sense} ${show(wanted)}: ${found === undefined ? "-" : show(found)} (${verdict})`;
}

function shown(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en-GB");
  return String(Number(value.toFixed(value < 10 ? 2 : 1)));
}

/** Undefined when nothing was judged. */
export function allReached(outcomes: readonly TargetOutcome[]): boolean | undefined {
  const judged = outcomes.filter(({ reached }) => reached !== undefined);
  return judged.length === 0 ? undefined : judged.every(({ reached }) => reached === true);
}
