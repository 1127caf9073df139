// Running a domain's functions in a way that tells whether they are pure.
//
// G1, G2 and G3 of given.ts rest on this file.
import { isDeepStrictEqual } from "node:util";
import { described, failed } from "./failed.ts";
import { muchLater } from "./much-later.ts";
import { frozenCopy, plainProblem } from "./plain-data.ts";

/**
 * Runs user code on frozen arguments, and again, much later by its clock, on copies that it could change: it must not
 * throw, must not change them, and must answer the same (G1, G2). The second run is what finds code in sloppy mode,
 * where writing to something frozen is silently ignored, and what is done to dates and bytes, which cannot be frozen.
 * `check` sees the first answer before the two are compared, because no two functions or promises are equal.
 */
export function purely<const TArguments extends readonly unknown[], TAnswer>(
  where: string,
  frozen: TArguments,
  run: (...args: TArguments) => TAnswer,
  check: (answer: TAnswer) => void = () => {},
): TAnswer {
  const before = structuredClone(frozen);
  const copies = structuredClone(frozen) as TArguments;
  let answer: TAnswer;
  try {
    answer = run(...frozen);
  } catch (error) {
    if (throws(() => run(...copies))) throw failed(`${where} failed: ${described(error)}`, { cause: error }, purely);
    throw failed(`${where} ${changesItsArguments} (${described(error)})`, { cause: error }, purely);
  }
  check(answer);
  let again: TAnswer;
  try {
    again = muchLater(() => run(...copies));
  } catch (error) {
    throw failed(`${where} ${answersDifferently} (${described(error)})`, { cause: error }, purely);
  }
  for (const after of [frozen, copies]) {
    if (isDeepStrictEqual(after, before)) continue;
    throw failed(`${where} ${changesItsArguments}`, { actual: after, expected: before }, purely);
  }
  if (!isDeepStrictEqual(again, answer)) {
    throw failed(`${where} ${answersDifferently}`, { actual: again, expected: answer }, purely);
  }
  return answer;
}

const changesItsArguments = "is impure: it changes what it is given. Return a new value instead";
const answersDifferently =
  "is impure: it gives different answers to the same arguments. Replay must be able to repeat it; " +
  "take the time from a command's context, and ids from its input";

function throws(run: () => unknown): boolean {
  try {
    run();
    return false;
  } catch {
    return true;
  }
}

/** The value itself, if it is plain data (G3). */
export function plain<T>(value: T, what: string): T {
  const problem = plainProblem(value, what);
  if (problem === undefined) return value;
  const wanted = "wanted plain data: objects, lists, strings, numbers, booleans, null, dates and bytes";
  throw failed(`${problem}; ${wanted}`, {}, plain);
}

/** A frozen copy of plain data (G3). */
export function frozenPlain<T>(value: T, what: string): T {
  return frozenCopy(plain(value, what));
}
