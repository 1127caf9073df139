// The OpenAPI paths and components of reminder-routes.ts.
import { limits } from "@heddle/kernel";
import { u48Max } from "@heddle/protocol/internal";
import {
  answer,
  anyWrite,
  closed,
  contentShapes,
  count,
  entityCall,
  errors,
  everyShardCall,
  type Json,
  jsonBody,
  moment,
  msSince1970,
  name,
  query,
  ref,
  schema,
  text,
} from "./openapi-parts.ts";
import { reminderLimitDefault } from "./reminder-checks.ts";

export function reminderPaths(): Json {
  const kindAndName = [ref("parameters", "kind"), ref("parameters", "name")];
  const reminder = {
    name: "reminder",
    in: "path",
    required: true,
    description: `The reminder's name, one of its entity's. At most ${limits.reminderNameBytesMax} bytes.`,
    schema: { type: "string", minLength: 1 },
    example: "monthly",
  };
  return {
    "/v1/reminders": {
      get: {
        tags: ["reminders"],
        operationId: "allReminders",
        summary: "Entities that have reminders, in the order in which the first of each is due.",
        parameters: [
          query("before", "Only what is due before this time.", moment),
          query("limit", "Entities in the page.", {
            type: "integer",
            minimum: 1,
            maximum: limits.listEntitiesMax,
            default: reminderLimitDefault,
          }),
          query("cursor", "What the page before gave.", text),
        ],
        responses: { 200: answer("The page.", schema("ReminderPage")), ...errors(everyShardCall) },
      },
    },
    "/v1/entities/{kind}/{name}/reminders": {
      parameters: kindAndName,
      get: {
        tags: ["reminders"],
        operationId: "reminders",
        summary: "The reminders of an entity that wait for their time.",
        responses: { 200: answer("The reminders.", schema("Reminders")), ...errors(entityCall) },
      },
    },
    "/v1/entities/{kind}/{name}/reminders/{reminder}": {
      parameters: [...kindAndName, reminder],
      put: {
        tags: ["reminders"],
        operationId: "remind",
        summary: "Set a reminder of an entity, in place of one of the same name.",
        description:
          "When it is due, the entity gets what it brings, with an id made of name and time: once, whatever happens. `at` is " +
          "one moment; `cron` repeats. `missed` says what becomes of occurrences that the node could not " +
          "deliver in time: all of them, the latest, or none.",
        parameters: [ref("parameters", "idempotencyKey")],
        requestBody: jsonBody("RemindRequest"),
        responses: {
          200: answer("The reminder is durable.", schema("ReminderReceipt")),
          ...errors([
            ...entityCall,
            ...anyWrite,
            "INVALID_PAYLOAD",
            "UNKNOWN_KIND",
            "UNKNOWN_EVENT_TYPE",
            "UNKNOWN_COMMAND",
            "ERASED",
            "ID_REUSED",
            "DISK_FULL",
          ]),
        },
      },
      delete: {
        tags: ["reminders"],
        operationId: "cancelReminder",
        summary: "Cancel a reminder.",
        responses: {
          200: answer("It is cancelled.", closed({ ok: { const: true }, entity: text, name: text })),
          ...errors([...entityCall, ...anyWrite, "UNKNOWN_KIND", "NO_SUCH_REMINDER", "DISK_FULL"]),
        },
      },
    },
  };
}

const missed: Json = { enum: ["all", "latest", "skip"], default: "latest" };
const remindOptions: Json = {
  aggregate: { ...text, description: "Of what it brings; may be left out in a context that has only one." },
  missed,
  id: {
    type: "string",
    minLength: 1,
    description: `Makes a repeat safe. At most ${limits.appendIdBytesMax} bytes.`,
  },
};
const once: Json = { at: moment };
const repeated: Json = { cron: { ...name, examples: ["0 8 1 * *"] } };
const zone: Json = { timeZone: { ...name, default: "UTC", examples: ["Europe/Berlin"] } };

export const reminderSchemas: Json = {
  RemindRequest: {
    oneOf: contentShapes.flatMap((content) => [
      closed({ ...once, ...content }, remindOptions),
      closed({ ...repeated, ...content }, { ...remindOptions, ...zone }),
    ]),
  },
  ReminderReceipt: closed({ ok: { const: true }, name: text, due: msSince1970 }),
  ReminderPage: closed(
    {
      reminders: {
        type: "array",
        items: closed({
          entity: text,
          due: { ...msSince1970, description: "When the first of the entity's reminders is due." },
          name: { ...text, description: "Of that one." },
          pending: { ...count, description: "Reminders that the entity has." },
        }),
      },
    },
    { cursor: { ...text, description: "Of the next page; left out at the end." } },
  ),
  Reminders: closed({ reminders: { type: "array", items: schema("Reminder") } }),
  Reminder: closed(
    {
      name: text,
      due: { type: "integer", maximum: u48Max, description: "When it is due next, in milliseconds since 1970." },
      missed: { enum: ["all", "latest", "skip"] },
      content: schema("Content"),
    },
    {
      cron: text,
      timeZone: text,
      last: closed(
        { due: msSince1970, outcome: { enum: ["delivered", "refused", "missed"] } },
        { code: { ...text, description: "Of the rejection or error that said no." } },
      ),
    },
  ),
  Content: {
    ...closed(
      { aggregate: text },
      {
        command: text,
        input: {},
        events: { type: "array", items: closed({ type: text, payload: {} }) },
      },
    ),
    description: "A command with its input, or events.",
  },
};
