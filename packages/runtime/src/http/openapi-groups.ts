// The OpenAPI paths and components of group-routes.ts.
import { groupEventsMax, groupSlots, groupWaitMsMax } from "@heddle/protocol/internal";
import { groupLimitDefault, groupWaitMsDefault } from "./group-checks.ts";
import {
  answer,
  anyWrite,
  closed,
  count,
  errors,
  everyShardCall,
  type Json,
  jsonBody,
  msSince1970,
  name,
  position,
  schema,
  text,
} from "./openapi-parts.ts";

const groupName: Json = { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$" };

export function groupPaths(): Json {
  const group = { name: "group", in: "path", required: true, schema: groupName, example: "billing" };
  return {
    "/v1/groups": {
      get: {
        tags: ["groups"],
        operationId: "groups",
        summary: "Consumer groups, their members, and how far they are.",
        responses: { 200: answer("The groups.", schema("Groups")), ...errors(everyShardCall) },
      },
    },
    "/v1/groups/{group}": {
      parameters: [group],
      delete: {
        tags: ["groups"],
        operationId: "forgetGroup",
        summary: "Let a group be no more, with its place. One that has members is refused.",
        responses: {
          200: answer("It is no more.", closed({ ok: { const: true }, wasThere: { type: "boolean" } })),
          ...errors([...everyShardCall, "DATA_FOLDER_UNWRITABLE"]),
        },
      },
    },
    "/v1/groups/{group}/poll": {
      parameters: [group],
      post: {
        tags: ["groups"],
        operationId: "pollGroup",
        summary: "Be a member of a group: say what is dealt with, and take the next events.",
        description:
          "The first poll joins, and makes the group if there is none. Each further one sends the `page` of the answer before: as " +
          "`done` when its events are dealt with, which brings the next; as `alive`, at least every 10 seconds, for as long as they " +
          "are not. A member that is silent for longer is lost (GROUP_MEMBER_LOST): its events go to others, and it joins again by a " +
          "poll with neither. Events of an entity come in order, to one member at a time; what was not done comes again.",
        requestBody: jsonBody("GroupPoll"),
        responses: {
          200: answer("The next events; none when there were none for as long as it waited.", schema("GroupPage")),
          ...errors([
            ...everyShardCall,
            ...anyWrite,
            "GROUP_MEMBER_LOST",
            "UNKNOWN_AGGREGATE",
            "UNKNOWN_EVENT_TYPE",
            "DOMAIN_FAILED",
            "LOG_DAMAGED",
            "DATA_FOLDER_UNWRITABLE",
          ]),
        },
      },
    },
  };
}

const filter: Json = {
  kind: { ...text, description: "Only events of entities of this kind." },
  aggregate: { ...text, description: "Only the events of one aggregate." },
  types: { type: "array", maxItems: 255, items: name, description: "Only events of these types." },
};
const page: Json = { ...text, description: "The `page` of the answer before." };

export const groupSchemas: Json = {
  GroupPoll: closed(
    { member: { ...groupName, description: "A name that no other member of the group has." } },
    {
      ...filter,
      from: { enum: ["beginning", "now"], default: "beginning", description: "Where a new group begins." },
      limit: { type: "integer", minimum: 1, maximum: groupEventsMax, default: groupLimitDefault },
      waitMs: { type: "integer", minimum: 0, maximum: groupWaitMsMax, default: groupWaitMsDefault },
      done: page,
      alive: page,
      leave: { type: "boolean", description: "The member goes, and gives back what it holds." },
    },
  ),
  GroupPage: closed({
    ok: { const: true },
    page: { ...text, description: "To be sent back; empty when there are no events." },
    slots: {
      type: "integer",
      minimum: 0,
      maximum: groupSlots,
      description: "Parts of all entities that the member has.",
    },
    events: { type: "array", items: schema("GroupEvent") },
  }),
  GroupEvent: {
    type: "object",
    description: "An event as the history gives it, and where it is from.",
    properties: { entity: text, seq: count, shard: count, index: { ...count, description: "In its append." } },
    required: ["entity", "seq", "shard", "index"],
  },
  Groups: closed({ groups: { type: "array", items: schema("Group") } }),
  Group: closed(
    {
      group: text,
      madeAt: msSince1970,
      members: {
        type: "array",
        items: closed({
          member: text,
          slots: { ...count, description: "Parts of all entities that it has." },
          state: { enum: ["waiting", "working", "silent"] },
          silentMs: { ...count, description: "Since its last sign of life." },
        }),
      },
      shards: { type: "array", items: closed({ shard: count, position, end: position }) },
      lagBytes: { ...count, description: "Of log, from what is dealt with to the end." },
    },
    filter,
  ),
};
