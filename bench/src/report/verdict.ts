// The run as a whole: what its exit code says.
import type { BenchDocument } from "./document.ts";

export const exitCodes = { ok: 0, objection: 1, refused: 2, interrupted: 130 } as const;

/** A store that is not what it should be is always an objection; a missed target is one only where it is asked for. */
export function exitCodeOf(
  { refereeOk, targetsReached }: Pick<BenchDocument, "refereeOk" | "targetsReached">,
  strict: boolean,
): number {
  if (!refereeOk) return exitCodes.objection;
  return strict && targetsReached === false ? exitCodes.objection : exitCodes.ok;
}

/** Calls under load that got no receipt. In the restart scenario a kill leaves some by intention; they do not count. */
export function callsWithoutReceipt({ scenarios, transfers }: Pick<BenchDocument, "scenarios" | "transfers">): {
  refused: number;
  unknown: number;
} {
  let refused = 0;
  let unknown = 0;
  const runs = [
    ...scenarios.flatMap(({ rounds }) => rounds.map(({ heddle }) => heddle)),
    ...(transfers?.paths ?? []).flatMap(({ rounds }) => rounds),
  ];
  for (const { referee } of runs) {
    refused += referee.refusedCalls;
    unknown += referee.unknownCalls;
  }
  return { refused, unknown };
}
