// Circle: where a value that has no end refers to itself, for who could not encode it.
import { HeddleError, limits } from "@heddle/kernel";

/** Values below each other that are looked through. Getters may make new ones for ever. */
const levelsMax = 1_000;

/**
 * What an encoder threw, as the refusal of a call. Out of stack it means that there is no end to what `value`, which stands at
 * `path`, holds: then it says where. Anything else comes back as it is.
 */
export function endlessValue(thrown: unknown, value: unknown, path = ""): unknown {
  if (!(thrown instanceof RangeError) || !/call stack/i.test(thrown.message)) return thrown;
  const circle = circleIn(value);
  const problem =
    circle === undefined ? `it is nested more than ${limits.payloadDepthMax} levels deep` : "it refers to itself";
  const at = [...(path === "" ? [] : [path]), ...(circle ?? [])].join(".");
  return new HeddleError("INVALID_REQUEST", at === "" ? { problem } : { path: at, problem }, { cause: thrown });
}

/** The keys that lead to a value that holds itself; undefined where there is none. */
function circleIn(value: unknown): string[] | undefined {
  const above: Level[] = [];
  const clean = new Set<unknown>();
  let next: unknown = value;
  for (;;) {
    if (isHolder(next) && !clean.has(next)) {
      if (above.some(({ holder }) => holder === next)) return above.map(({ keys, at }) => keys[at - 1]!);
      if (above.length === levelsMax) return undefined;
      above.push({ holder: next, keys: Object.keys(next), at: 0 });
    }
    let last = above.at(-1);
    while (last !== undefined && last.at === last.keys.length) {
      clean.add(last.holder);
      above.pop();
      last = above.at(-1);
    }
    if (last === undefined) return undefined;
    next = (last.holder as Readonly<Record<string, unknown>>)[last.keys[last.at++]!];
  }
}

interface Level {
  readonly holder: object;
  readonly keys: readonly string[];
  /** Keys that were looked at. */
  at: number;
}

function isHolder(value: unknown): value is object {
  return typeof value === "object" && value !== null && !ArrayBuffer.isView(value);
}
