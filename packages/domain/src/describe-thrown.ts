// A sentence about whatever user code threw, for error messages.

/** Characters; enough for a stack of schema complaints, too few to carry a payload's worth of data into a log. */
const descriptionMax = 1_000;

/** Describes anything that can be thrown. Never throws itself, and never returns an empty string. */
export function describeThrown(error: unknown): string {
  try {
    return shortened(description(error)) || "an error without a message";
  } catch {
    return "something that cannot be described";
  }
}

function description(error: unknown): string {
  if (typeof error === "string") return error;
  if (!looksLikeError(error))
    return `a thrown ${error === null ? "null" : typeof error}: ${JSON.stringify(error) ?? String(error)}`;
  const named = typeof error.name === "string" && error.name !== "" && error.name !== "Error";
  return named ? `${error.name}: ${error.message}` : error.message;
}

/** By shape and not by class: an error of another realm is still an error. */
function looksLikeError(error: unknown): error is { readonly name?: unknown; readonly message: string } {
  return typeof error === "object" && error !== null && "message" in error && typeof error.message === "string";
}

function shortened(text: string): string {
  return text.length <= descriptionMax ? text : `${text.slice(0, descriptionMax)}…`;
}
