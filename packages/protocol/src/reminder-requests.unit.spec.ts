// Goal: requests about reminders arrive as they were written, and a delivery is the append or command that the reminder was set
// with, with an id and metadata put in. Any bytes at all: test/fuzz.
import { HeddleError, limits } from "@heddle/kernel";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newAppendView, readAppendBody } from "./append-body.ts";
import { TextCache, u48Max } from "./bytes.ts";
import { compareIds } from "./list-pages.ts";
import { decodeValue, encodeValue } from "./payload-codec.ts";
import { reminderPage } from "./reminder-pages.ts";
import {
  isCommand,
  packContent,
  type ReminderContent,
  readCancelReminderBody,
  readContent,
  readRemindBody,
  readReminderListBody,
  readRemindersBody,
  type WireListedReminder,
  writeCancelReminderBody,
  writeDelivery,
  writeRemindBody,
  writeReminderListBody,
  writeRemindersBody,
} from "./reminder-requests.ts";
import { newExecuteView, readExecuteBody } from "./requests.ts";

type Reserve = (bytes: number) => { bytes: Uint8Array; at: number };

function write<F>(writer: (fields: F, reserve: Reserve) => number, fields: F) {
  let bytes = new Uint8Array();
  const used = writer(fields, (wanted) => {
    bytes = new Uint8Array(3 + wanted).fill(0xee);
    return { bytes, at: 3 };
  });
  expect(used).toBeLessThanOrEqual(bytes.length - 3);
  return { bytes, from: 3, to: 3 + used };
}

const texts = new TextCache();
const text = (maxLength: number) =>
  fc.string({ unit: "grapheme", minLength: 1, maxLength }).filter((one) => one.isWellFormed());
const u48 = fc.integer({ min: 0, max: u48Max });
// What JSON brings; but minus zero has no JSON, and the decoder gives one name another, lest it sets a prototype.
const value = fc
  .jsonValue({ maxDepth: 3 })
  .map((one) => JSON.stringify(one))
  .filter((json) => !json.includes("__proto__"))
  .map((json): unknown => JSON.parse(json));
const eventType = text(12);
const contents: fc.Arbitrary<ReminderContent> = fc.oneof(
  fc.record({ command: text(12), input: value }),
  fc.record({ type: eventType, payload: value }),
  fc.record({ events: fc.array(fc.record({ type: eventType, payload: value }), { minLength: 1, maxLength: 5 }) }),
);
const schedules = fc.oneof(fc.record({ at: u48 }), fc.record({ cron: text(20), timeZone: text(20) }));
const asSaid = (content: ReminderContent) =>
  "command" in content
    ? { command: content.command, input: content.input }
    : { events: "events" in content ? content.events : [{ type: content.type, payload: content.payload }] };

describe("reminder requests: round trip", () => {
  it("of what sets one", () => {
    const fields = fc.record({
      entity: text(40),
      aggregate: text(12),
      name: text(20),
      schedule: schedules,
      missed: fc.constantFrom("all" as const, "latest" as const, "skip" as const),
      content: contents.map(packContent),
      id: fc.option(text(20), { nil: undefined }),
    });
    fc.assert(
      fc.property(fields, (one) => {
        const { bytes, from, to } = write(writeRemindBody, one);
        expect(readRemindBody(bytes, from, to, texts)).toEqual(one);
      }),
    );
  });

  it("of what cancels one, of what asks for an entity's, and of what asks a shard", () => {
    fc.assert(
      fc.property(
        text(40),
        text(20),
        u48,
        u48,
        fc.integer({ min: 1, max: 10_000 }),
        (entity, name, before, afterDue, limit) => {
          const cancel = write(writeCancelReminderBody, { entity, name });
          expect(readCancelReminderBody(cancel.bytes, cancel.from, cancel.to, texts)).toEqual({ entity, name });
          const asked = write(writeRemindersBody, { entity });
          expect(readRemindersBody(asked.bytes, asked.from, asked.to, texts)).toEqual({ entity });
          const fields = { before, limit, afterDue, afterEntity: entity };
          const list = write(writeReminderListBody, fields);
          expect(readReminderListBody(list.bytes, list.from, list.to, texts)).toEqual(fields);
        },
      ),
    );
  });

  it("of what it brings", () => {
    fc.assert(
      fc.property(contents, (content) => {
        const packed = packContent(content);
        expect(isCommand(packed)).toBe("command" in content);
        expect(readContent(packed, "Account", texts)).toEqual({ aggregate: "Account", ...asSaid(content) });
      }),
    );
  });
});

describe("reminder requests: the delivery", () => {
  it("is a body that the shard reads as any other, with id and metadata", () => {
    const metadata = { reminder: "monthly", due: 1_700_000_000_000 };
    fc.assert(
      fc.property(contents, text(40), text(12), text(40), (content, entity, aggregate, id) => {
        const delivery = {
          entity,
          aggregate,
          id,
          ...metadata,
          content: packContent(content),
        };
        const { bytes, from, to } = write(writeDelivery, delivery);
        if ("command" in content) {
          const view = newExecuteView();
          readExecuteBody(bytes, from, to, texts, view);
          expect(view).toMatchObject({
            entity,
            aggregate,
            id,
            expectedSeq: -1,
            newLife: false,
            command: content.command,
          });
          expect(decodeValue(bytes.subarray(view.inputFrom, to))).toEqual(content.input);
          expect(bytes.subarray(view.metadataFrom, view.metadataTo)).toEqual(Uint8Array.from(encodeValue(metadata)));
          return;
        }
        const view = newAppendView();
        readAppendBody(bytes, from, to, texts, view);
        expect(view).toMatchObject({ entity, aggregate, id, expectedSeq: -1, newLife: false });
        const { events } = asSaid(content);
        expect(decodeValue(bytes.subarray(view.payloadsFrom, to))).toEqual(events!.map(({ payload }) => payload));
        expect(bytes.subarray(view.metadataFrom, view.metadataTo)).toEqual(Uint8Array.from(encodeValue(metadata)));
      }),
    );
  });
});

describe("reminder requests: what is refused before it leaves", () => {
  const remind = {
    entity: "account/alice",
    aggregate: "Account",
    name: "monthly",
    schedule: { at: 5 },
    missed: "all" as const,
    content: packContent({ command: "Bill", input: {} }),
  };
  const pathOf = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      return (error as HeddleError<"INVALID_REQUEST">).facts.path;
    }
    return undefined;
  };

  it.each([
    ["name", { name: "" }],
    ["name", { name: "é".repeat(limits.reminderNameBytesMax) }],
    ["name", { name: "\ud800" }],
    ["at", { schedule: { at: -1 } }],
    ["at", { schedule: { at: 1.5 } }],
    ["at", { schedule: { at: u48Max + 1 } }],
    ["cron", { schedule: { cron: "", timeZone: "UTC" } }],
    ["timeZone", { schedule: { cron: "* * * * *", timeZone: 5 as never } }],
    ["missed", { missed: "some" as never }],
    ["id", { id: "" }],
  ])("%s: %j", (path, wrong) => {
    expect(pathOf(() => write(writeRemindBody, { ...remind, ...wrong }))).toBe(path);
  });

  it.each([null, 5, {}, { command: "" }, { type: "" }, { events: [{}] }, { events: "x" }])(
    "no content: %j",
    (content) => {
      expect(pathOf(() => packContent(content as never))).toBe("reminder");
    },
  );

  it("no events, and a limit or time of a list that is none", () => {
    expect(() => packContent({ events: [] })).toThrow(HeddleError);
    const list = { before: u48Max, limit: 10, afterDue: 0, afterEntity: "" };
    expect(pathOf(() => write(writeReminderListBody, { ...list, limit: 0 }))).toBe("limit");
    expect(pathOf(() => write(writeReminderListBody, { ...list, before: -1 }))).toBe("before");
  });
});

describe("reminder pages", () => {
  it("R1: all shards' in one order, page by page, each once", async () => {
    const shards: WireListedReminder[][] = [[], [], []];
    for (let i = 0; i < 50; i++) shards[i % 3]!.push([`account/${i}`, (i * 7) % 20, "r", 1]);
    const compare = (a: WireListedReminder, b: WireListedReminder) => a[1] - b[1] || compareIds(a[0], b[0]);
    for (const shard of shards) shard.sort(compare);
    const ask = async (
      shard: number,
      { before, limit, afterDue, afterEntity }: Parameters<Parameters<typeof reminderPage>[0]>[1],
    ) =>
      shards[shard]!.filter((one) => one[1] < before)
        .filter((one) => afterEntity === "" || compare(one, [afterEntity, afterDue, "", 0]) > 0)
        .slice(0, limit);
    const found: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await reminderPage(ask, 3, { limit: 7, cursor });
      found.push(...page.map(({ entity, due }) => `${due} ${entity}`));
      cursor = page.cursor;
    } while (cursor !== undefined);
    expect(found).toEqual(
      shards
        .flat()
        .sort(compare)
        .map(([entity, due]) => `${due} ${entity}`),
    );
    expect((await reminderPage(ask, 3, { before: 3 })).every(({ due }) => due < 3)).toBe(true);
  });

  it.each(["x", "1:", ":account/a", "99999999999999999:account/a"])("refuses the cursor %s", async (cursor) => {
    await expect(reminderPage(async () => [], 1, { cursor })).rejects.toMatchObject({ facts: { path: "cursor" } });
  });
});
