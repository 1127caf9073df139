// From query strings to the fields of a call. Pure. As in request-checks.ts: what is unknown, given twice, of a wrong type or
// out of its bounds is refused by name (P7).
import { type EntityId, entityIdProblem, limits } from "@heddle/kernel";
import type { ListQuery, Moment } from "@heddle/protocol";
import {
  type DeleteFields,
  type FeedQuery,
  type GetFields,
  type HistoryFields,
  u48Max,
  type WatchFields,
} from "@heddle/protocol/internal";
import { readName, readText, readTime, refusal } from "./check-values.ts";

/** `aggregate`, and `seq` or `time` for an earlier state. */
export function readGet(query: unknown, entity: EntityId): GetFields & { readonly at?: Moment } {
  const { aggregate = "", seq, time } = readQuery(query, ["aggregate", "seq", "time"]);
  if (seq !== undefined && time !== undefined) throw refusal("time", "wanted either seq or time, found both");
  const fields = { entity, aggregate: readAggregate(aggregate) };
  if (time !== undefined) return { ...fields, at: { time: readTime(time, "time") } };
  return seq === undefined ? fields : { ...fields, at: { seq: readWhole(seq, "seq", 0, u48Max) } };
}

/**
 * `limit` (default 100), `from` and `to` (inclusive sequences), `since` and `until` (inclusive times), `direction`
 * (`forward`, or `backward` from the newest), `aggregate`.
 */
export function readHistory(query: unknown, entity: EntityId): HistoryFields {
  const given = readQuery(query, ["aggregate", "limit", "from", "to", "since", "until", "direction"]);
  const { aggregate = "", limit, from = "0", to = "0", direction = "forward" } = given;
  if (direction !== "forward" && direction !== "backward") {
    throw refusal("direction", `wanted forward or backward, found ${JSON.stringify(direction.slice(0, 40))}`);
  }
  const fields: HistoryFields = {
    entity,
    aggregate: readAggregate(aggregate),
    from: readWhole(from, "from", 0, u48Max),
    to: readWhole(to, "to", 0, u48Max),
    since: given["since"] === undefined ? 0 : readBound(given["since"], "since"),
    until: given["until"] === undefined ? 0 : readBound(given["until"], "until"),
    limit: limit === undefined ? historyLimitDefault : readWhole(limit, "limit", 1, limits.historyEventsMax),
    direction,
  };
  checkRange(fields);
  return fields;
}

export const historyLimitDefault = 100;

/** `aggregate`, and `from`: a sequence (default 1), or `now`. What a browser says when it comes again goes before. */
export function readWatch(query: unknown, lastEventId: unknown): Pick<WatchFields, "aggregate" | "from"> {
  const { aggregate = "", from = "1" } = readQuery(query, ["aggregate", "from"]);
  const isAgain = typeof lastEventId === "string" && lastEventId !== "";
  return {
    aggregate: readAggregate(aggregate),
    from: isAgain ? readWhole(lastEventId, "Last-Event-ID", 0, u48Max - 1) + 1 : readBeginning(from),
  };
}

/**
 * `kind`, `aggregate`, `types` (several with commas between), and `from`: `beginning`, `now`, or the id of a message. What a
 * browser says when it comes again goes before.
 */
export function readFeed(query: unknown, lastEventId: unknown): FeedQuery {
  const { kind, aggregate, types, from } = readQuery(query, ["kind", "aggregate", "types", "from"]);
  const problem = kind === undefined ? undefined : kindProblem(kind);
  if (problem !== undefined) throw refusal("kind", problem);
  const isAgain = typeof lastEventId === "string" && lastEventId !== "";
  return {
    kind,
    aggregate: aggregate === undefined ? undefined : readAggregate(aggregate),
    types: types?.split(",").map((type) => readName(type, -1, "types")),
    from: isAgain ? lastEventId : from,
  };
}

// A watch takes 0 for now.
function readBeginning(from: string): number {
  return from === "now" ? 0 : readWhole(from, "from", 1, u48Max);
}

function readAggregate(aggregate: string): string {
  return aggregate === "" ? "" : readName(aggregate, -1, "aggregate");
}

// The shard takes 0 for a bound that was left out.
function readBound(text: string, field: string): number {
  const time = readTime(text, field);
  if (time === 0) throw refusal(field, "wanted a time after the beginning of 1970; leave it out for no bound");
  return time;
}

function checkRange({ from, to = 0, since = 0, until = 0, direction }: HistoryFields): void {
  const [first, last] = direction === "forward" ? [from, to] : [to, from];
  if (last !== 0 && first > last) {
    throw refusal("to", `the range goes from ${from} to ${to}, which is against its direction, ${direction}`);
  }
  if (until !== 0 && since > until) throw refusal("until", "it lies before since");
}

/** `kind`, `prefix` (of the name; of the whole id without a kind), `limit` (default 1,000), `cursor`, `erased`. */
export function readList(query: unknown): ListQuery {
  const { kind, prefix, limit, cursor, erased } = readQuery(query, ["kind", "prefix", "limit", "cursor", "erased"]);
  const problem = kind === undefined ? undefined : kindProblem(kind);
  if (problem !== undefined) throw refusal("kind", problem);
  const kindBytes = kind === undefined ? 0 : kind.length + 1;
  return {
    kind,
    prefix: prefix ? readText(prefix, -1, "prefix", limits.entityIdBytesMax - kindBytes) : undefined,
    limit: limit === undefined ? listLimitDefault : readWhole(limit, "limit", 1, limits.listEntitiesMax),
    cursor,
    erased: readFlagText(erased, "erased"),
  };
}

function kindProblem(kind: string): string | undefined {
  return kind.includes("/") ? "a kind has no slash" : entityIdProblem(`${kind}/x`);
}

export const listLimitDefault = 1_000;

/** `provisional`: answer once the log is clean. */
export function readDelete(query: unknown, entity: EntityId): DeleteFields {
  const { provisional } = readQuery(query, ["provisional"]);
  return { entity, provisional: readFlagText(provisional, "provisional") };
}

function readFlagText(text: string | undefined, field: string): boolean {
  if (text === undefined || text === "false") return false;
  if (text === "true") return true;
  throw refusal(field, `wanted true or false, found ${JSON.stringify(text.slice(0, 40))}`);
}

/** For routes that take no parameters: what somebody meant by one is not to be passed over. */
export function readNothing(query: unknown): void {
  readQuery(query, []);
}

export function readQuery(query: unknown, known: readonly string[]): Partial<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [key, value] of Object.entries(query as Record<string, unknown>)) {
    if (!known.includes(key)) {
      const list = known.length === 0 ? "this route takes no parameters" : `known: ${known.join(", ")}`;
      throw refusal(key, `unknown; ${list}`);
    }
    if (typeof value !== "string") throw refusal(key, "given more than once");
    found[key] = value;
  }
  return found;
}

export function readWhole(text: string, field: string, min: number, max: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw refusal(field, `wanted a whole number from ${min} to ${max}, found ${JSON.stringify(text.slice(0, 40))}`);
}
