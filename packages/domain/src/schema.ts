// Asking a Standard Schema, on the way of every append.
//
// Owns the step from a library's result to ours. Allocates nothing on success beyond what the schema allocates.
// Not promised: that the value is plain data; that is the schema author's choice.
import { HeddleError, type PayloadIssue } from "@heddle/kernel";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { isUnwantedPromise } from "./promises.ts";

/** The validated value, or what is wrong. `issues` tells which; a path is joined with dots, empty for the whole. */
export type Validated =
  | { readonly issues: undefined; readonly value: unknown }
  | { readonly issues: readonly PayloadIssue[] };

export type StandardProps = StandardSchemaV1["~standard"];

/** Issues that one refusal reports. A list of ten thousand wrong items must not become ten thousand sentences. */
const issuesMax = 32;

/**
 * Validates one value.
 *
 * Errors: DOMAIN_FAILED naming `where` when the schema answers with a promise or with something that is no result.
 *         Whatever the schema itself throws passes through.
 */
export function validate(standard: StandardProps, input: unknown, where: string): Validated {
  const result: unknown = standard.validate(input);
  if (typeof result !== "object" || result === null) throw noResult(result, where);
  const { issues } = result as { readonly issues?: readonly StandardSchemaV1.Issue[] | null };
  if (issues) return { issues: readableIssues(issues) };
  // A promise has neither issues nor a value.
  if (!("value" in result)) throw noResult(result, where);
  return issues === undefined ? (result as Validated) : { issues: undefined, value: result.value };
}

function readableIssues(issues: readonly StandardSchemaV1.Issue[]): readonly PayloadIssue[] {
  if (issues.length === 0) return [{ path: "", message: "the schema refuses it without saying why" }];
  const readable = issues
    .slice(0, issuesMax)
    .map(({ path, message }) => ({ path: dotted(path), message: `${message}` }));
  const more = issues.length - readable.length;
  if (more > 0) readable.push({ path: "", message: `and ${more} more` });
  return readable;
}

function dotted(path: StandardSchemaV1.Issue["path"]): string {
  if (path === undefined) return "";
  return Array.from(path, (segment) => String(typeof segment === "object" ? segment.key : segment)).join(".");
}

function noResult(result: unknown, where: string): HeddleError {
  if (isUnwantedPromise(result)) {
    return new HeddleError("DOMAIN_FAILED", {
      where,
      message:
        "the schema answered with a promise. Only synchronous schemas can be used; " +
        "with some libraries a check that throws looks like an asynchronous one",
    });
  }
  return new HeddleError("DOMAIN_FAILED", {
    where,
    message: "the schema answered with neither a value nor issues, as Standard Schema asks for",
  });
}
