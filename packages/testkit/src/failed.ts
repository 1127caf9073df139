// How a test of a domain fails: an AssertionError that any runner shows, pointing at the line of the test.
import { AssertionError } from "node:assert";
import { inspect, isDeepStrictEqual } from "node:util";
import { describeThrown } from "@heddle/domain/internal";
import { isHeddleError } from "@heddle/kernel";
import { withoutUndefined } from "./plain-data.ts";

export function expectEqual(actual: unknown, expected: unknown, message: string, caller: Caller): void {
  const [found, wanted] = [withoutUndefined(actual), withoutUndefined(expected)];
  if (isDeepStrictEqual(found, wanted)) return;
  const text = `${message}\n  wanted: ${shown(wanted)}\n  found:  ${shown(found)}`;
  throw failed(text, { actual: found, expected: wanted }, caller);
}

/** A HeddleError here is DOMAIN_FAILED: its message already says everything, in sentences for another reader. */
export function described(error: unknown): string {
  return isHeddleError(error, "DOMAIN_FAILED") ? error.facts.message : describeThrown(error);
}

export function shown(value: unknown): string {
  return inspect(value, { depth: 10, breakLength: 120, compact: 3 });
}

/** The function whose caller the error's stack begins with, so that a runner points at the line of the test. */
export type Caller = (...args: never[]) => unknown;

export function failed(
  message: string,
  facts: { readonly actual?: unknown; readonly expected?: unknown; readonly cause?: unknown },
  caller: Caller,
): AssertionError {
  const { cause, ...compared } = facts;
  const error = new AssertionError({ message, operator: "then", stackStartFn: caller, ...compared });
  if (cause !== undefined) error.cause = cause;
  return error;
}
