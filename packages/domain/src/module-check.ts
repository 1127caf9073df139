// Checks that every part of a domain module goes through, and the words of their refusals.
//
// Owns names, their bounds and what is reserved, and how a found value is told without its content. A refusal goes out
// through `Refuse`, which knows the module and makes it DOMAIN_LOAD_FAILED.
import { limits } from "@heddle/kernel";
import { utf8Length } from "@heddle/kernel/internal";
import { isBranded } from "./brand.ts";

/** Ends the loading of the module with a sentence, and with the error that caused it, if there is one. */
export type Refuse = (message: string, cause?: unknown) => never;

export function checkName(what: string, name: unknown, refuse: Refuse): asserts name is string {
  if (typeof name !== "string") refuse(`${what} must be a string, found ${whatIs(name)}`);
  if (name === "") refuse(`${what} is empty`);
  if (unprintable.test(name)) refuse(`${what} holds a control character or half of a surrogate pair: ${shown(name)}`);
  const bytes = utf8Length(name);
  if (bytes > limits.nameBytesMax) {
    refuse(`${what} has ${bytes} bytes, at most ${limits.nameBytesMax} are allowed: ${shown(name)}`);
  }
}

/** Names that begin with `$` are Heddle's own: its system events have the aggregate `$heddle`. */
export function checkNotReserved(what: string, name: string, refuse: Refuse): void {
  if (name.startsWith("$")) refuse(`${what} begins with $, which is reserved for Heddle's own: ${shown(name)}`);
}

const unprintable = /\p{Cc}|\p{Cs}/u;

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** What was found, in a word or two, without its content. */
export function whatIs(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (value instanceof Promise) return "a promise";
  if (isBranded(value, "aggregate")) return "an aggregate";
  if (isBranded(value, "context")) return "a context";
  if (isBranded(value, "event")) return "an event";
  if (isBranded(value, "command")) return "a command";
  if (isBranded(value, "saga")) return "a saga";
  if (isBranded(value, "projection")) return "a projection";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

export function shown(value: unknown): string {
  if (typeof value !== "string") return typeof value === "number" ? String(value) : whatIs(value);
  return JSON.stringify(value.length <= 80 ? value : `${value.slice(0, 80)}…`);
}

export function nameOf(value: unknown): string {
  const name = isObject(value) ? value["name"] : undefined;
  return typeof name === "string" && name !== "" ? shown(name) : "without a name";
}
