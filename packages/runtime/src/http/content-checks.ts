// What a saga's step or a reminder brings an entity, from JSON: one event, several, or a command. Pure.
import { limits } from "@heddle/kernel";
import { asObject, join, kindOfValue, readStorable, readText, refusal } from "./check-values.ts";
import { readEventsAt } from "./request-checks.ts";

export type Content =
  | { readonly command: string; readonly input: unknown }
  | { readonly events: readonly { readonly type: string; readonly payload: unknown }[] };

/** The fields that say it, beside others of the same object. */
export const contentFields: ReadonlySet<string> = new Set(["type", "payload", "events", "command", "input"]);

const wanted = "wanted type and payload, or events, or command and input";

/** `{ type, payload }`, `{ events: [{ type, payload }] }` or `{ command, input }`. Other fields of the object are not looked at. */
export function readContentOf(object: Record<string, unknown>, path: string): Content {
  const { type, payload, events, command, input } = object;
  const found = [type, events, command].filter((one) => one !== undefined).length;
  if (found === 0) throw refusal(path, `nothing to do: ${wanted}`);
  if (found > 1) throw refusal(path, `${wanted}; found more than one of them`);
  if (input !== undefined && command === undefined) throw refusal(join(path, "input"), "an event has a payload");
  if (payload !== undefined && type === undefined) throw refusal(join(path, "payload"), "it belongs to no type");
  if (command !== undefined) {
    if (input === undefined)
      throw refusal(join(path, "input"), "missing; write {} or null for a command that takes none");
    return {
      command: readText(command, -1, join(path, "command"), limits.nameBytesMax),
      input: readStorable(input, -1, join(path, "input")),
    };
  }
  if (events !== undefined) return { events: readEventsAt(events, join(path, "events")) };
  if (payload === undefined) {
    throw refusal(join(path, "payload"), "missing; write {} for an event that carries nothing");
  }
  const name = readText(type, -1, join(path, "type"), limits.nameBytesMax);
  return { events: [{ type: name, payload: readStorable(payload, -1, join(path, "payload")) }] };
}

/** The same as an object of its own. */
export function readContent(value: unknown, path: string): Content {
  if (value === undefined) throw refusal(path, `missing; ${wanted}`);
  const object = asObject(value, path);
  for (const key in object) {
    if (!contentFields.has(key)) throw refusal(join(path, key), `unknown; known: ${[...contentFields].join(", ")}`);
  }
  return readContentOf(object, path);
}

/** Milliseconds that a caller gives something: 1 up to a bound. */
export function readMs(value: unknown, path: string, max: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= max) return value as number;
  const found = typeof value === "number" ? value : kindOfValue(value);
  throw refusal(path, `wanted milliseconds, a whole number from 1 to ${max}, found ${found}`);
}
