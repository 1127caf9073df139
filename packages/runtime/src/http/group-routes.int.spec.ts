// The routes of group-routes.ts over real sockets, with a fake gateway in place of the feed thread. `rig.call` holds each answer
// against the OpenAPI document.
import { HeddleError } from "@heddle/kernel";
import { slotOfEntity } from "@heddle/protocol/internal";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FakeGateway, listedGroup, Rig } from "./door-rig.spec-support.ts";

let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => {
  rig.gateway = new FakeGateway();
});

const asked = () => rig.gateway.calls.at(-1)!;
const poll = (body: unknown) => rig.call("POST", "/v1/groups/billing/poll", { body });
const slot = slotOfEntity("account/alice");
const page = `${slot}:1:64.2`;

describe("a member of a consumer group over HTTP", () => {
  it("joins, and is given events with the name of their page", async () => {
    const { status, body } = await poll({ member: "worker-1", kind: "account", types: ["Credited"], from: "now" });
    expect({ status, body }).toMatchObject({
      status: 200,
      body: {
        ok: true,
        page,
        slots: 2,
        events: [{ entity: "account/alice", seq: 3, payload: { amount: 5 }, index: 1 }],
      },
    });
    const filter = { kind: "account", aggregate: "", types: ["Credited"], from: "now" };
    const fields = { group: "billing", member: "worker-1", act: "join", turn: 0, holds: 0, limit: 100, waitMs: 10_000 };
    expect(asked()).toEqual({ name: "groupPoll", fields: { ...fields, ...filter, done: [] } });
  });

  it("says that a page is dealt with, that it is still at it, and that it goes", async () => {
    const place = { slot, shard: 1, record: 64, skip: 2 };
    await poll({ member: "worker-1", done: page, limit: 7, waitMs: 0 });
    expect(asked().fields).toMatchObject({ act: "poll", done: [place], holds: 0, limit: 7, waitMs: 0 });
    await poll({ member: "worker-1", alive: page });
    expect(asked().fields).toMatchObject({ act: "poll", done: [], holds: (1 << slot) >>> 0, limit: 0, waitMs: 0 });
    await poll({ member: "worker-1", done: page, leave: true });
    expect(asked().fields).toMatchObject({ act: "leave", done: [place], holds: 0, limit: 0 });
    // What an answer without events has.
    await poll({ member: "worker-1", done: "" });
    expect(asked().fields).toMatchObject({ act: "poll", done: [], limit: 100 });
  });

  it("hears that it was lost", async () => {
    const error = new HeddleError("GROUP_MEMBER_LOST", { group: "billing", member: "worker-1", problem: "silent" });
    rig.gateway.onGroupPoll = () => Promise.reject(error);
    expect(await poll({ member: "worker-1", done: page })).toMatchObject({ status: 409, body: { code: error.code } });
  });

  it("P7: is refused before anything is asked when something does not fit, with its place", async () => {
    for (const [body, place] of [
      [{}, "member"],
      [{ member: "two words" }, "member"],
      [{ member: 5 }, "member"],
      [{ member: "m", limit: 0 }, "limit"],
      [{ member: "m", limit: 1_001 }, "limit"],
      [{ member: "m", waitMs: 25_001 }, "waitMs"],
      [{ member: "m", from: "0:0" }, "from"],
      [{ member: "m", types: "Credited" }, "types"],
      [{ member: "m", types: [""] }, "types"],
      [{ member: "m", kind: 5 }, "kind"],
      [{ member: "m", done: "no page" }, "done"],
      [{ member: "m", done: "32:0:0.0" }, "done"],
      [{ member: "m", done: 5 }, "done"],
      [{ member: "m", done: page, alive: page }, "alive"],
      [{ member: "m", leave: "yes" }, "leave"],
      [{ member: "m", group: "billing" }, "group"],
    ] as const) {
      const { status, body: answer } = await poll(body);
      expect({ status, answer }).toMatchObject({
        status: 400,
        answer: { code: "INVALID_REQUEST", facts: { path: place } },
      });
    }
    expect(rig.gateway.calls).toEqual([]);
    const { status } = await rig.call("POST", "/v1/groups/a%20b/poll", { body: { member: "m" } });
    expect(status).toBe(400);
  });
});

describe("a node that closes", () => {
  it("holds up nobody who waits for events of a group", async () => {
    await using closing = await Rig.start();
    closing.gateway.onGroupPoll = () => new Promise(() => {});
    const answer = closing.call("POST", "/v1/groups/billing/poll", { body: { member: "m" } });
    while (closing.gateway.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await closing.door.close();
    expect(await answer).toMatchObject({ status: 503, body: { code: "CLOSED" } });
  });
});

describe("consumer groups over HTTP", () => {
  it("are listed", async () => {
    expect(await rig.call("GET", "/v1/groups")).toMatchObject({ status: 200, body: { groups: [listedGroup] } });
  });

  it("are forgotten, and it is told whether there was one", async () => {
    const forget = (group: string) => rig.call("DELETE", `/v1/groups/${group}`);
    expect(await forget("billing")).toMatchObject({ status: 200, body: { ok: true, wasThere: true } });
    expect(await forget("nobody")).toMatchObject({ status: 200, body: { ok: true, wasThere: false } });
    expect(asked()).toEqual({ name: "forgetGroup", fields: { group: "nobody" } });
  });
});
