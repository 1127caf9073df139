// The routes of reminder-routes.ts over real sockets, with a fake gateway in place of the shards. `rig.call` holds each
// answer against the OpenAPI document.
import { HeddleError, limits } from "@heddle/kernel";
import { packContent, type RemindFields } from "@heddle/protocol/internal";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FakeGateway, Rig } from "./door-rig.spec-support.ts";

let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => {
  rig.gateway = new FakeGateway();
});

const alice = "/v1/entities/account/alice";
const path = `${alice}/reminders/monthly`;
const close = { command: "Close", input: { why: "unused" } };
const asked = (): RemindFields => rig.gateway.calls.at(-1)!.fields as RemindFields;
const put = (body: unknown, options: object = {}) => rig.call("PUT", path, { body, ...options });

describe("reminders over HTTP", () => {
  it("are set for one moment, with what they bring", async () => {
    const { status, body } = await put({ at: "2026-12-01T08:00:00Z", ...close, aggregate: "Account" });
    expect({ status, body }).toEqual({ status: 200, body: { ok: true, name: "monthly", due: 1_764_000_000_000 } });
    expect(asked()).toEqual({
      entity: "account/alice",
      aggregate: "Account",
      name: "monthly",
      schedule: { at: Date.UTC(2026, 11, 1, 8) },
      missed: "latest",
      content: packContent(close),
      id: undefined,
    });
  });

  it("are set to repeat in a time zone, with a policy for what was missed", async () => {
    const event = { type: "Credited", payload: { amount: 5 } };
    const repeated = { cron: "0 8 1 * *", timeZone: "Europe/Berlin", missed: "all" };
    await put({ ...repeated, ...event }, { headers: { "idempotency-key": "set-1" } });
    expect(asked()).toMatchObject({
      schedule: { cron: "0 8 1 * *", timeZone: "Europe/Berlin" },
      missed: "all",
      id: "set-1",
    });
    expect(asked().content).toEqual(packContent(event));
    await put({ ...repeated, events: [event, event] });
    expect(asked().content).toEqual(packContent({ events: [event, event] }));
    await put({ cron: "@daily", ...event });
    expect(asked().schedule).toEqual({ cron: "@daily", timeZone: "UTC" });
  });

  it("can have names and entities with slashes", async () => {
    await rig.call("PUT", "/v1/entities/file/a/b/reminders/x%2Fy", { body: { at: 5, ...close } });
    expect(asked()).toMatchObject({ entity: "file/a/b", name: "x/y" });
    await rig.get("/v1/entities/file/a/b/reminders");
    expect(asked()).toEqual({ entity: "file/a/b" });
  });

  it("are cancelled by name; of one that is not there the answer is 404", async () => {
    expect(await rig.call("DELETE", path)).toMatchObject({
      status: 200,
      body: { ok: true, entity: "account/alice", name: "monthly" },
    });
    expect(asked()).toEqual({ entity: "account/alice", name: "monthly" });
    const error = new HeddleError("NO_SUCH_REMINDER", { entity: "account/alice", reminder: "monthly" });
    rig.gateway.onCancelReminder = () => Promise.reject(error);
    expect(await rig.call("DELETE", path)).toMatchObject({ status: 404, body: { code: "NO_SUCH_REMINDER" } });
  });

  it("are listed, those of an entity whole and those of all entities by their time", async () => {
    const reminder = {
      name: "monthly",
      due: 1_764_000_000_000,
      cron: "0 8 1 * *",
      timeZone: "Europe/Berlin",
      missed: "all",
      content: { aggregate: "Account", command: "Bill", input: {} },
      last: { due: 1_763_000_000_000, outcome: "refused", code: "COMMAND_REJECTED" },
    } as const;
    rig.gateway.entityReminders = [reminder];
    expect((await rig.get(`${alice}/reminders`)).body).toEqual({ reminders: [reminder] });
    expect((await rig.get("/v1/reminders?before=2026-12-01&limit=10")).body).toEqual({
      reminders: [{ entity: "account/alice", due: 1_764_000_000_000, name: "monthly", pending: 2 }],
      cursor: "1764000000000:account/alice",
    });
    expect(asked()).toEqual({ before: Date.UTC(2026, 11, 1), limit: 10 });
  });

  it("P7: are refused with the place of what makes no sense, and no shard is asked", async () => {
    for (const [body, at] of [
      [{ ...close }, "at"],
      [{ at: 5, cron: "* * * * *", timeZone: "UTC", ...close }, "cron"],
      [{ at: 5, timeZone: "UTC", ...close }, "timeZone"],
      [{ cron: "* * * * *", timeZone: 1, ...close }, "timeZone"],
      [{ cron: 5, timeZone: "UTC", ...close }, "cron"],
      [{ at: "soon", ...close }, "at"],
      [{ at: 5, ...close, missed: "none" }, "missed"],
      [{ at: 5, ...close, aggregate: 5 }, "aggregate"],
      [{ at: 5, ...close, type: "Credited", payload: {} }, undefined],
      [{ at: 5 }, undefined],
      [{ at: 5, command: "Close" }, "input"],
      [{ at: 5, ...close, every: "day" }, "every"],
    ] as const) {
      const { status, body: answer } = await put(body);
      expect([status, answer["code"], (answer["facts"] as { path?: string }).path], JSON.stringify(body)).toEqual([
        400,
        "INVALID_REQUEST",
        at,
      ]);
    }
    const long = `${alice}/reminders/${"x".repeat(limits.reminderNameBytesMax + 1)}`;
    expect(await rig.call("PUT", long, { body: { at: 5, ...close } })).toMatchObject({
      status: 400,
      body: { facts: { path: "reminder" } },
    });
    expect(await rig.call("DELETE", path, { body: {} })).toMatchObject({ status: 400 });
    expect(await rig.call("DELETE", path, { headers: { "idempotency-key": "k" } })).toMatchObject({ status: 400 });
    expect(await rig.get("/v1/reminders?limit=0")).toMatchObject({ status: 400 });
    expect(await rig.get(`${alice}/reminders?limit=5`)).toMatchObject({ status: 400 });
    expect(rig.gateway.calls).toEqual([]);
  });
});
