// How Heddle knows its own: a mark on everything that this package's functions make.
//
// `instanceof` and plain symbols fail as soon as two copies of the package are installed, one under the node and one
// under the user's module. `Symbol.for` is one symbol for the whole process, whichever copy asks.

export const brand: unique symbol = Symbol.for("@heddle/domain");

export type Branded = "aggregate" | "context" | "event" | "command" | "saga" | "projection";

export function isBranded(value: unknown, wanted: Branded): boolean {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return false;
  return (value as { readonly [brand]?: unknown })[brand] === wanted;
}
