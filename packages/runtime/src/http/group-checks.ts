// From JSON bodies to the fields of a poll of a consumer group. Pure; as in request-checks.ts (P7).
//
// A page is named by text that says which places it ends at: who sends it back has dealt with the page, or is still at it.
// There is nothing else to keep between two polls.
import {
  checkGroupName,
  type GroupPage,
  type GroupPlace,
  type GroupPollFields,
  groupEventsMax,
  groupSlots,
  groupWaitMsMax,
  slotOfEntity,
  u48Max,
} from "@heddle/protocol/internal";
import { asObject, kindOfValue, readName, refusal, unknownField } from "./check-values.ts";

const keys = ["member", "kind", "aggregate", "types", "from", "limit", "waitMs", "done", "alive", "leave"];
export const groupLimitDefault = 100;
export const groupWaitMsDefault = 10_000;

/**
 * `{ member, kind?, aggregate?, types?, from?, limit?, waitMs? }` joins, or asks once more; with `done`, the `page` of the answer
 * before, that page is dealt with; with `alive` it is not yet, and nothing else is wanted; with `leave: true` the member goes.
 */
export function readGroupPoll(body: unknown, group: string): GroupPollFields {
  const object = asObject(body, "");
  for (const key in object) if (!keys.includes(key)) throw unknownField(key, -1, keys.join(", "));
  const { member, kind = "", aggregate = "", types = [], from = "beginning", done, alive, leave = false } = object;
  checkGroupName("group", group);
  if (member === undefined) throw refusal("member", "missing; wanted a name that no other member of the group has");
  checkGroupName("member", member as string);
  if (typeof leave !== "boolean") throw refusal("leave", `wanted true or false, found ${kindOfValue(leave)}`);
  if (done !== undefined && alive !== undefined)
    throw refusal("alive", "a page is either done or not; send one of them");
  if (!Array.isArray(types)) throw refusal("types", `wanted an array, found ${kindOfValue(types)}`);
  if (typeof kind !== "string") throw refusal("kind", `wanted a string, found ${kindOfValue(kind)}`);
  if (from !== "beginning" && from !== "now") throw refusal("from", "wanted beginning or now");
  const held = alive === undefined ? [] : readPage(alive, "alive");
  const isAlive = alive !== undefined || leave;
  const continues = done !== undefined || alive !== undefined;
  return {
    group,
    member: member as string,
    act: leave ? "leave" : continues ? "poll" : "join",
    turn: 0,
    holds: leave ? 0 : bitsOf(held),
    limit: isAlive ? 0 : whole(object["limit"], "limit", 1, groupEventsMax, groupLimitDefault),
    waitMs: isAlive ? 0 : whole(object["waitMs"], "waitMs", 0, groupWaitMsMax, groupWaitMsDefault),
    done: done === undefined ? [] : readPage(done, "done"),
    kind,
    aggregate: aggregate === "" ? "" : readName(aggregate, -1, "aggregate"),
    types: types.map((type) => readName(type, -1, "types")),
    from,
  };
}

/** The name of a page: the place behind its last event of each slot. Empty for a page without events. */
export function pageName({ shard, page }: GroupPage): string {
  const last = new Map<number, string>();
  for (const { event, behind } of page.events) {
    const slot = slotOfEntity(event.entity);
    last.set(slot, `${slot}:${shard}:${behind.record}.${behind.skip}`);
  }
  return [...last.values()].join(",");
}

function readPage(value: unknown, field: string): GroupPlace[] {
  if (typeof value !== "string") throw refusal(field, `wanted the page of an answer, found ${kindOfValue(value)}`);
  if (value === "") return [];
  const parts = value.split(",");
  if (parts.length > groupSlots) throw refusal(field, noPage);
  return parts.map((part) => {
    const found = /^(\d{1,2}):(\d{1,5}):(\d{1,15})\.(\d{1,10})$/.exec(part);
    if (found === null) throw refusal(field, noPage);
    const [slot, shard, record, skip] = found.slice(1).map(Number) as [number, number, number, number];
    if (slot >= groupSlots || shard > 0xffff || record > u48Max || skip > 0xffff_ffff) throw refusal(field, noPage);
    return { slot, shard, record, skip };
  });
}

const noPage = "it is the page of no answer";

function bitsOf(places: readonly GroupPlace[]): number {
  let bits = 0;
  for (const { slot } of places) bits |= 1 << slot;
  return bits >>> 0;
}

function whole(value: unknown, field: string, least: number, most: number, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) return value as number;
  const problem = `wanted a whole number from ${least} to ${most}, found ${kindOfValue(value)}`;
  throw refusal(field, problem);
}
