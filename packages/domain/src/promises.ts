// Promises where none are wanted.

/**
 * Whether the value is a promise. If so its rejection, should there be one, is taken care of: nobody is going to await
 * it, and an unhandled rejection would end the thread.
 */
export function isUnwantedPromise(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (typeof (value as { readonly then?: unknown }).then !== "function") return false;
  (value as PromiseLike<unknown>).then(ignore, ignore);
  return true;
}

function ignore(): void {}
